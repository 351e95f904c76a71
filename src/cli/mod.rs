//! The command line: one file a command.
//!
//! Commands that need a cluster speak to it with the caller's own rights. What
//! a person asks for is an object (a SyncRequest, a RollbackRequest, a
//! Suspension) that the controller carries out and this module follows: nothing
//! here changes an application's objects.
//!
//! Data goes to standard output and everything else to standard error, both by
//! [`Output`]. What a person sees is made by pure functions of the resources
//! and the time; what comes from the cluster is escaped before it is shown.
//!
//! ```text
//! arguments ──clap──> Cli ──> command ──Session──> resources ──text──> Output
//!                                        └─ request ──follow──> Output
//! ```

mod any_two;
mod application;
mod at;
mod blame;
mod completion;
mod content;
mod controller;
mod diff;
mod error;
mod export;
mod follow;
mod get;
pub mod health;
mod history;
mod local;
mod moment;
mod output;
mod plan_text;
mod point;
mod progress;
mod release_text;
pub mod render;
mod request;
mod revision;
mod rollback;
mod session;
mod status;
mod status_text;
mod style;
mod suspend;
mod sync;
mod table;
#[cfg(test)]
mod testing;
mod traces;
pub mod validate;
mod words;

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use error::{CommandError, ErrorKind};
pub use output::{Color, Output};
pub use session::Connection;

/// GitOps that holds, explains itself, and takes a bad release back.
#[derive(Debug, Parser)]
#[command(name = "bowline", version, max_term_width = 100, arg_required_else_help = true, subcommand_required = true)]
pub struct Cli {
    #[command(flatten)]
    connection: Connection,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Get(get::Args),
    Status(status::Args),
    Diff(diff::Args),
    Sync(sync::Args),
    History(history::Args),
    Blame(blame::Args),
    Export(export::Args),
    Rollback(rollback::Args),
    Suspend(suspend::SuspendArgs),
    Resume(suspend::ResumeArgs),
    Render(render::Args),
    Health(health::Args),
    Validate(validate::Args),
    Controller(Box<controller::Args>),
    Completion(completion::Args),
}

/// The whole command line, for its reference and for completion.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of the process and gives its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let program = program(arguments.first());
    let command = command().bin_name(program);
    let parsed = command.try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads any more is no error.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut output = Output::standard(cli.color);
    match run(cli, program, &mut output) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// What the person calls the program: kubectl runs a plugin of ours.
fn program(path: Option<&OsString>) -> &'static str {
    let name = path.and_then(|path| Path::new(path).file_stem()).unwrap_or_default();
    if name == "kubectl-bowline" { "kubectl bowline" } else { "bowline" }
}

fn run(cli: Cli, program: &'static str, output: &mut Output) -> Result<u8, CommandError> {
    let connection = &cli.connection;
    match cli.command {
        Command::Controller(args) => wait_for(controller::run(&args, connection, output)),
        Command::Get(args) => wait_for(get::run(&args, connection, program, output)),
        Command::Status(args) => wait_for(status::run(&args, connection, program, output)),
        Command::Diff(args) => wait_for(diff::run(&args, connection, program, output)),
        Command::Sync(args) => wait_for(sync::run(&args, connection, program, output)),
        Command::Blame(args) => wait_for(blame::run(&args, connection, program, output)),
        Command::Export(args) => wait_for(export::run(&args, connection, program, output)),
        Command::History(args) => wait_for(history::run(&args, connection, program, output)),
        Command::Rollback(args) => wait_for(rollback::run(&args, connection, program, output)),
        Command::Suspend(args) => wait_for(suspend::suspend(&args, connection, program, output)),
        Command::Resume(args) => wait_for(suspend::resume(&args, connection, program, output)),
        Command::Render(args) => {
            let (out, err) = output.writers();
            Ok(render::run(&args, &revision::open, out, err)?)
        }
        Command::Health(args) => {
            let (out, err) = output.writers();
            Ok(health::run(&args, out, err)?)
        }
        Command::Validate(args) => {
            let (out, err) = output.writers();
            Ok(validate::run(&args, &revision::open, out, err)?)
        }
        Command::Completion(args) => completion::run(&args, output),
    }
}

/// Runs a command that speaks to a cluster.
fn wait_for(command: impl Future<Output = Result<u8, CommandError>>) -> Result<u8, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("the program cannot start its threads: {error}")))?;
    let result = runtime.block_on(command);
    // A thread that waits for a terminal or a file must not keep the process.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[rstest]
    #[case("/usr/bin/kubectl-bowline", "kubectl bowline")]
    #[case("bowline", "bowline")]
    #[case("./renamed", "bowline")]
    fn a_plugin_is_called_through_kubectl(#[case] path: &str, #[case] expected: &str) {
        assert_eq!(program(Some(&OsString::from(path))), expected);
    }
}
