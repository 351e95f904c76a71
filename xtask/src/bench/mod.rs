//! `cargo xtask bench`: how fast Bowline is, on real components.
//!
//! The pure parts are measured by the benches of the package; the rest on a
//! control plane of its own, with the program that users run, as they see it:
//! by a watch from outside. The numbers go to the terminal and, for programs,
//! to `bench.json` in the target directory.

mod many;
mod micro;
mod parts;
mod report;
mod stage;
mod watch;

use std::time::Duration;

use crate::Outcome;
use report::Report;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Measure a release build, as users run it; without it the numbers are those of a debug build
    #[arg(long)]
    release: bool,
    /// Only the parts on a cluster
    #[arg(long, conflicts_with = "only_micro")]
    only_cluster: bool,
    /// Only the pure parts
    #[arg(long)]
    only_micro: bool,
    /// Only many applications of one repository, some of which hang: how many
    #[arg(long, value_name = "APPLICATIONS", conflicts_with_all = ["only_cluster", "only_micro"],
          value_parser = clap::value_parser!(u32).range(2..))]
    only_many: Option<u32>,
    /// How often each time is taken on the cluster
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// For how many seconds the idle controller is listened to
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    silence: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let mut report = Report::new(arguments.release);
    if !arguments.release {
        eprintln!("These are the numbers of a debug build: `cargo xtask bench --release` has those to quote.");
    }
    if !arguments.only_micro {
        crate::tools::build()?;
        stage::build_bowline(arguments.release)?;
        match arguments.only_many {
            Some(applications) => many::run(&mut report, applications)?,
            None => parts::run(&mut report, arguments.samples, Duration::from_secs(arguments.silence))?,
        }
    }
    if !arguments.only_cluster && arguments.only_many.is_none() {
        micro::run(&mut report, arguments.release)?;
    }
    report.print();
    let path = report.write()?;
    eprintln!("written to {}", path.display());
    Ok(())
}
