//! `bowline completion`: completion for a shell.

use super::{CommandError, Output, command};

/// Prints the completion of a shell.
///
/// For example: `source <(bowline completion bash)`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Runs the command.
pub fn run(args: &Args, output: &mut Output) -> Result<u8, CommandError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "bowline", &mut text);
    output.write(&String::from_utf8_lossy(&text))?;
    Ok(0)
}
