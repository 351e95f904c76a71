//! The program `bowline`, which works as `kubectl bowline` too.

use std::process::ExitCode;

fn main() -> ExitCode {
    bowline::cluster::client::install_crypto_provider();
    bowline::cli::main(std::env::args_os())
}
