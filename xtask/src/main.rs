//! The project's own commands: `cargo xtask --help`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod cluster;
mod demo;
mod image;
mod machine;
mod simulate;
mod test;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Bowline's own commands for working on it")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell the story of Bowline in this terminal, on a cluster of its own
    Demo(demo::Arguments),
    /// Build the pinned Kubernetes components that are missing
    Tools,
    /// Check format and lints, and run all tests against a real control plane
    Test(test::Arguments),
    /// Measure: from a commit to the cluster, repair, silence, memory, and the pure parts
    Bench(bench::Arguments),
    /// Play random histories of an application against the laws of its behaviour
    Simulate(simulate::Arguments),
    /// Write the CRDs, the policies and the reference that come from the code
    Generate,
    /// Make the OCI image of the controller, without a daemon
    Image(image::Arguments),
    /// Start, stop or look at a local cluster
    #[command(subcommand)]
    Cluster(cluster::Command),
    #[command(flatten)]
    Hidden(demo::Hidden),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Hidden(command) => demo::host(command),
        Command::Tools => tools::run(),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Generate => test::generate(),
        Command::Image(arguments) => image::run(&arguments),
        Command::Cluster(command) => cluster::run(command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// The checkout.
fn workspace() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A command's error; each has its own words, and all end here.
type Outcome = Result<(), Box<dyn std::error::Error>>;

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
