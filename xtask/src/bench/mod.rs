//! `cargo xtask bench`: how fast Bowline is, on real components.
//!
//! The pure parts are measured by the benches of the package; the rest on
//! control planes of their own, with the program that users run, as they see
//! it: from outside. What is large is held against a bare client of server-side
//! apply in the same run, since the machine decides how fast an API server is.
//! The numbers go to the terminal and, for programs, to `bench.json` in the
//! target directory.

mod bare;
mod controller;
mod hanging;
mod hook;
mod large;
mod many;
mod micro;
mod repair;
mod report;
mod requests;
mod rollback;
mod small;
mod stage;
mod watch;

use std::time::Duration;

use crate::Outcome;
use report::Report;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Measure a release build, as users run it; without it the numbers are those of a debug build
    #[arg(long)]
    release: bool,
    /// Only these parts; all without it
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// One application of this many ConfigMaps, and no other part; with `--only rollback` a rollback of so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=20_000))]
    objects: Option<u32>,
    /// How often each time is taken on a cluster
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// For how many seconds the idle controller is listened to
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    silence: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// 200 objects: from a push to the cluster, repair, silence
    Small,
    /// An application of 1,000 ConfigMaps, beside a bare client
    #[value(name = "1000")]
    Thousand,
    /// An application of 10,000 ConfigMaps, beside a bare client
    #[value(name = "10000")]
    TenThousand,
    /// 500 applications of one repository of 10,000 files
    Applications,
    /// 500 applications of 4 objects, 20 of which hang
    Hanging,
    /// A rollback of 10, 1,000 and 10,000 ConfigMaps, beside kubectl apply
    Rollback,
    /// The pure parts, by the benches of the package
    Micro,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let mut report = Report::new(arguments.release);
    if !arguments.release {
        eprintln!("These are the numbers of a debug build: `cargo xtask bench --release` has those to quote.");
    }
    let back = arguments.only == [Part::Rollback];
    if arguments.objects.is_some() && !arguments.only.is_empty() && !back {
        return Err("--objects goes with `--only rollback`, or with no part".into());
    }
    let wants = |part| match arguments.objects {
        Some(_) => back && part == Part::Rollback,
        None => arguments.only.is_empty() || arguments.only.contains(&part),
    };
    let mut sizes: Vec<u32> = arguments.objects.filter(|_| !back).into_iter().collect();
    sizes.extend(
        [(Part::Thousand, 1_000), (Part::TenThousand, 10_000)]
            .iter()
            .filter(|(part, _)| wants(*part))
            .map(|(_, size)| size),
    );
    let cluster = !sizes.is_empty()
        || wants(Part::Small)
        || wants(Part::Applications)
        || wants(Part::Hanging)
        || wants(Part::Rollback);
    if cluster {
        crate::tools::build()?;
        stage::build_bowline(arguments.release)?;
    }
    if !sizes.is_empty() {
        crate::tools::build_bare_apply()?;
    }
    if wants(Part::Small) {
        small::run(&mut report, arguments.samples, Duration::from_secs(arguments.silence))?;
    }
    for objects in sizes {
        large::run(&mut report, objects, arguments.samples)?;
    }
    if wants(Part::Applications) {
        many::run(&mut report, Duration::from_secs(arguments.silence))?;
    }
    if wants(Part::Hanging) {
        hanging::run(&mut report)?;
    }
    if wants(Part::Rollback) {
        let sizes = arguments.objects.map_or_else(|| vec![10, 1_000, 10_000], |objects| vec![objects]);
        for objects in sizes {
            rollback::run(&mut report, objects)?;
        }
    }
    if wants(Part::Micro) {
        micro::run(&mut report, arguments.release)?;
    }
    report.print();
    let path = report.write()?;
    eprintln!("written to {}", path.display());
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A count as a number of the report.
fn counted(count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let number = count as f64;
    number
}
