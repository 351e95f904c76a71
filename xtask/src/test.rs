//! `cargo xtask test`: format, lints, and all tests against one real control plane.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::{Outcome, workspace};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the tests inside the crates, which need no cluster and no tools
    #[arg(long)]
    unit: bool,
    /// Neither format nor lints
    #[arg(long)]
    only_tests: bool,
    /// Set this machine up to be quick, as root: it is thrown away afterwards
    #[arg(long)]
    throwaway_machine: bool,
    /// Only the tests of this package; may be given several times
    #[arg(long, short, value_name = "NAME")]
    package: Vec<String>,
    /// Only tests whose name contains this
    filter: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let start = Instant::now();
    let mut failed = Vec::new();
    if arguments.throwaway_machine {
        crate::machine::make_quick();
    }
    if !arguments.only_tests {
        step("format");
        if !succeeds(cargo().args(["fmt", "--all", "--check"]))? {
            failed.push("format (mend it by `cargo fmt --all`)");
        }
        step("lints");
        if !succeeds(cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))? {
            failed.push("lints");
        }
        // What only the feature `otel` has is a few lines that put together what
        // tests/otel.rs tests without it: they are compiled, and not built a second
        // time with all tests.
        step("lints with the feature otel");
        let with_otel = ["--package", "bowline", "--features", "otel", "--lib", "--", "-D", "warnings"];
        if !succeeds(cargo().args(["clippy", "--locked"]).args(with_otel))? {
            failed.push("lints with the feature otel");
        }
    }
    step("compiling the tests");
    let mut tests = vec!["test", "--locked"];
    if arguments.package.is_empty() {
        tests.push("--workspace");
    }
    for package in &arguments.package {
        tests.extend(["--package", package]);
    }
    if arguments.unit {
        tests.extend(["--lib", "--bins"]);
    }
    if !succeeds(cargo().args(&tests).arg("--no-run"))? {
        failed.push("compiling the tests");
        return conclude(&Counts::default(), &failed, start);
    }
    let cluster = if arguments.unit {
        None
    } else {
        step("tools");
        crate::tools::build()?;
        match rig::node::is_possible() {
            Ok(()) => drop(crate::tools::build_node()?),
            Err(why) => eprintln!("{}", untested(&why)),
        }
        step("cluster");
        Some(rig::Cluster::start(rig::Options::default())?)
    };
    step("tests");
    let soak = arguments.wants_the_soak().then(|| Soak::start(&tests));
    let mut command = cargo();
    command.args(&tests).arg("--no-fail-fast");
    if let Some(filter) = &arguments.filter {
        command.arg(filter);
    }
    if soak.is_some() {
        command.args(["--", "--skip", SOAK]);
    }
    if let Some(cluster) = &cluster {
        command.envs(cluster.test_environment());
        // These tests wait for a cluster much of the time. But many have one of
        // their own, which keeps a tenth to a third of a processor busy at rest.
        if std::env::var_os(THREADS).is_none() {
            let cores = std::thread::available_parallelism().map_or(2, usize::from);
            command.env(THREADS, (cores + cores.div_ceil(2)).to_string());
        }
    }
    let tested = counted(&mut command, |line| println!("{line}"));
    // Whatever came of the others, nothing is left running.
    let soaked = soak.map(Soak::join);
    let (passed, mut counts) = tested?;
    if !passed {
        failed.push("tests");
    }
    if let Some(soaked) = soaked {
        let (passed, soaked) = soaked?;
        if !passed {
            failed.push("soak");
        }
        counts.merge(&soaked);
    }
    if let Some(cluster) = cluster {
        cluster.stop();
        if let Err(why) = rig::node::is_possible() {
            eprintln!("\n{}", untested(&why));
        }
    }
    conclude(&counts, &failed, start)
}

/// What is said where real pods cannot run, before the tests and after them.
fn untested(why: &str) -> String {
    format!("NOT TESTED: Bowline in real pods (tests/node). {why}. With CI=true this is a failure.")
}

/// How many tests run at a time, for the test programs.
const THREADS: &str = "RUST_TEST_THREADS";

/// Writes what belongs to the code into `charts/`, `manifests/` and `docs/`.
pub(crate) fn generate() -> Outcome {
    // The chart takes up the definitions, and install.yaml is the chart.
    let sources: [&[&str]; 4] = [
        &["--test", "generated"],
        &["--test", "cli_reference"],
        &["--lib", "--", "health::rules::page"],
        &["--test", "chart", "--", "manifests::"],
    ];
    crate::tools::build_some(&["helm"])?;
    for source in sources {
        let mut test = cargo();
        test.args(["test", "--quiet", "--package", "bowline"]).args(source).env("BOWLINE_GENERATE", "1");
        if !succeeds(&mut test)? {
            return Err("generating failed; see above".into());
        }
    }
    Ok(())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

fn conclude(counts: &Counts, failed: &[&str], start: Instant) -> Outcome {
    let Counts { passed, failed: broken, ignored } = counts;
    let ignored = match ignored {
        0 => String::new(),
        ignored => format!(", {ignored} skipped"),
    };
    eprintln!("\nall of it took {}s", start.elapsed().as_secs());
    // Alone on its line, as those who read it by a program expect it.
    println!("{passed} passed, {broken} failed{ignored}");
    match failed {
        [] => Ok(()),
        failed => Err(format!("not in order: {}", failed.join(", ")).into()),
    }
}

/// What the names of the tests begin with that take minutes. They run beside
/// the others, with a control plane of their own.
const SOAK: &str = "soak::";

impl Arguments {
    /// Whether the long tests are among those that were asked for.
    fn wants_the_soak(&self) -> bool {
        let ours = self.package.is_empty() || self.package.iter().any(|name| name == "bowline");
        !self.unit && ours && self.filter.is_none()
    }
}

/// The long tests, while the others run.
struct Soak(JoinHandle<std::io::Result<(bool, Counts)>>);

impl Soak {
    /// Starts them from the packages that `tests` selects, so that nothing is
    /// compiled another way. They are in the group of this process, so that
    /// Ctrl-C ends them as well.
    fn start(tests: &[&str]) -> Self {
        let mut command = cargo();
        command.args(tests).args(["--test", "e2e", "--", "--ignored", "--show-output", SOAK]);
        // What it says comes in one piece at the end; cargo's own words were said before.
        command.stderr(Stdio::null());
        Soak(std::thread::spawn(move || {
            let mut said = String::new();
            let result = counted(&mut command, |line| {
                said.push_str(line);
                said.push('\n');
            });
            print!("\n── soak\n{said}");
            result
        }))
    }

    fn join(self) -> std::io::Result<(bool, Counts)> {
        step("waiting for the soak");
        self.0.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread of the soak panicked")))
    }
}

/// Runs the tests, hands on what they say, and adds up their results.
fn counted(command: &mut Command, mut show: impl FnMut(&str)) -> std::io::Result<(bool, Counts)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut counts = Counts::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            show(&line);
            counts.add(&line);
        }
    }
    Ok((child.wait()?.success(), counts))
}

impl Counts {
    /// Adds what other test programs came to.
    fn merge(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    /// Adds a line such as `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let result = result.split_once(". ").map_or(result, |(_, counts)| counts);
        for part in result.split("; ") {
            let Some((number, what)) = part.split_once(' ') else {
                continue;
            };
            let number: u64 = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// Cargo in the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    // What `cargo run` set for this program is not meant for the next cargo,
    // which would take it for a change and compile again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

fn succeeds(command: &mut Command) -> std::io::Result<bool> {
    Ok(command.status()?.success())
}

fn step(name: &str) {
    eprintln!("── {name}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_test_programs_are_added_up() {
        let mut counts = Counts::default();
        for line in [
            "running 3 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 1.20s",
        ] {
            counts.add(line);
        }
        assert_eq!(counts, Counts { passed: 15, failed: 2, ignored: 1 });
    }

    #[test]
    fn the_soak_counts_like_the_others_and_runs_unless_something_else_was_asked_for() {
        let mut counts = Counts { passed: 3, failed: 0, ignored: 0 };
        counts.merge(&Counts { passed: 1, failed: 1, ignored: 0 });
        assert_eq!(counts, Counts { passed: 4, failed: 1, ignored: 0 });
        let asked = |unit, package: &[&str], filter: Option<&str>| {
            let package = package.iter().map(|name| (*name).to_owned()).collect();
            Arguments { unit, only_tests: true, throwaway_machine: false, package, filter: filter.map(str::to_owned) }
                .wants_the_soak()
        };
        assert!(asked(false, &[], None) && asked(false, &["rig", "bowline"], None));
        assert!(!asked(true, &[], None) && !asked(false, &["rig"], None) && !asked(false, &[], Some("lease")));
    }

    #[test]
    fn the_workspace_is_where_its_lock_file_is() {
        assert!(workspace().join("Cargo.lock").is_file());
    }
}
