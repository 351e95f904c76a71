//! `cargo xtask simulate`: random histories of one application, by the million.
//!
//! The simulation is test code of the package: it is built with optimisation
//! for the package alone, on the dependencies that are built already, and
//! keeps the checks for overflow that a release build leaves out.

use std::process::Command;

use crate::{Outcome, workspace};

/// The test that plays them.
const TEST: &str = "controller::decide::simulation::the_laws_hold_in_all_histories";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many histories are played
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    histories: u64,
    /// The seed of the first; the others follow it
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let status = Command::new(env!("CARGO"))
        .current_dir(workspace())
        .args(["--config", "profile.dev.package.bowline.opt-level=1"])
        .args(["--config", "profile.dev.package.sha2.opt-level=3"])
        .args(["test", "--locked", "--quiet", "--package", "bowline", "--lib", "--"])
        .args(["--exact", TEST, "--nocapture"])
        .env("BOWLINE_HISTORIES", arguments.histories.to_string())
        .env("BOWLINE_SEED", arguments.seed.to_string())
        .env("RUST_BACKTRACE", "0")
        .status()?;
    if status.success() {
        println!("{} histories from seed {}: every law holds", arguments.histories, arguments.seed);
        return Ok(());
    }
    Err("a law was broken, or the simulation could not be built; see above".into())
}
