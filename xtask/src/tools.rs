//! `cargo xtask tools`: a line that moves on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use rig::tools::{Event, TOOLS};

use crate::Outcome;

const QUIET: Duration = Duration::from_secs(15);

pub(crate) fn run() -> Outcome {
    let built = build()?;
    if built == 0 {
        eprintln!("All {} tools are built.", TOOLS.len());
    }
    for tool in TOOLS {
        println!("{}", rig::tools::path(tool.name)?.display());
    }
    Ok(())
}

/// Builds what is missing with progress on standard error, and returns how many those were.
pub(crate) fn build() -> Result<usize, rig::Error> {
    let mut progress = Progress::new();
    rig::tools::build_all(&mut |event| progress.show(&event))
}

/// The same for some of the tools.
pub(crate) fn build_some(names: &[&str]) -> Result<(), rig::Error> {
    for name in names {
        let mut progress = Progress::new();
        rig::tools::build(std::slice::from_ref(rig::tools::named(name)?), &mut |event| progress.show(&event))?;
    }
    Ok(())
}

/// The same for the programs of a node with real pods.
pub(crate) fn build_node() -> Result<usize, rig::Error> {
    let mut progress = Progress::new();
    rig::tools::build(rig::tools::NODE_TOOLS, &mut |event| progress.show(&event))
}

/// The same for the bare client that the benchmark is held against.
pub(crate) fn build_bare_apply() -> Result<usize, rig::Error> {
    let mut progress = Progress::new();
    rig::tools::build(&[rig::tools::BARE_APPLY], &mut |event| progress.show(&event))
}

struct Progress {
    terminal: bool,
    announced: bool,
    last: Option<(String, Instant)>,
}

impl Progress {
    fn new() -> Self {
        Progress { terminal: std::io::stderr().is_terminal(), announced: false, last: None }
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Waiting { elapsed } => self
                .running("waiting", &format!("another run builds the tools; waiting for it  {}", duration(*elapsed))),
            Event::Building { tool, version, number, total, elapsed, compiled, latest } => {
                if !self.announced {
                    self.announced = true;
                    let words =
                        if *total > 1 { "; about 10 minutes on 2 cores the first time, then kept." } else { "." };
                    self.line(&format!("Building the tools{words}"));
                }
                let width = if self.terminal { 44 } else { 120 };
                self.running(
                    tool.name,
                    &format!(
                        "{number} of {total}  {:<24} {version:<8} {:>7}  {compiled} packages  {}",
                        tool.name,
                        duration(*elapsed),
                        shortened(latest, width),
                    ),
                );
            }
            Event::Built { tool, version, number, total, elapsed } => {
                self.line(&format!(
                    "{number} of {total}  {:<24} {version:<8} {:>7}  built",
                    tool.name,
                    duration(*elapsed),
                ));
                self.last = None;
            }
            _ => {}
        }
    }

    /// What goes on now: overwritten on a terminal, said seldom elsewhere.
    fn running(&mut self, what: &str, text: &str) {
        if self.terminal {
            eprint!("\r\x1b[2K{text}");
            let _ = std::io::stderr().flush();
            return;
        }
        let due = match &self.last {
            Some((last, when)) => last != what || when.elapsed() >= QUIET,
            None => true,
        };
        if due {
            self.last = Some((what.to_owned(), Instant::now()));
            eprintln!("{text}");
        }
    }

    fn line(&mut self, text: &str) {
        if self.terminal {
            eprint!("\r\x1b[2K");
        }
        eprintln!("{text}");
    }
}

fn duration(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => format!("{}m {:02}s", seconds / 60, seconds % 60),
    }
}

/// The end of a package's path says more than its beginning.
fn shortened(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let end: String = text.chars().skip(length - width + 1).collect();
    format!("…{end}")
}
