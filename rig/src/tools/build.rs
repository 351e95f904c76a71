//! Building what is missing, one tool after the other, with progress.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::{Recipe, TOOLS, Tool};
use crate::directory::{cache_dir, create_private};
use crate::error::{At, Error, Result};
use crate::process::spawn;

/// What every build is made with; part of the digest that a binary is kept under.
pub(super) const FLAGS: &str = "CGO_ENABLED=0 -mod=readonly -trimpath -buildvcs=false";

/// How often a running build reports.
const TICK: Duration = Duration::from_millis(200);

/// Progress of a build.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Another run builds; this one waits for it.
    Waiting { elapsed: Duration },
    /// A tool is being built, as the `number`th of `total`.
    Building {
        tool: &'a Tool,
        version: &'a str,
        number: usize,
        total: usize,
        elapsed: Duration,
        /// How many packages were compiled so far; those that Go's own cache has do not count.
        compiled: usize,
        /// What Go said last: a package or a download.
        latest: &'a str,
    },
    /// A tool is built and in its place.
    Built { tool: &'a Tool, version: &'a str, number: usize, total: usize, elapsed: Duration },
}

/// Builds the tools of a cluster that are missing, and returns how many those
/// were.
pub fn build_all(report: &mut dyn FnMut(Event<'_>)) -> Result<usize> {
    build(TOOLS, report)
}

/// Builds those of some tools that are missing, and returns how many those were.
pub fn build(tools: &'static [Tool], report: &mut dyn FnMut(Event<'_>)) -> Result<usize> {
    if missing(tools)?.is_empty() {
        return Ok(0);
    }
    let dir = cache_dir().join("tools");
    create_private(&dir)?;
    let _lock = lock(&dir.join("lock"), report)?;
    // The run that was waited for may have built everything.
    let missing = missing(tools)?;
    let total = missing.len();
    for (index, (tool, recipe)) in missing.iter().enumerate() {
        build_one(tool, recipe, index + 1, total, report)?;
    }
    Ok(total)
}

fn missing(tools: &'static [Tool]) -> Result<Vec<(&'static Tool, Recipe)>> {
    let mut missing = Vec::new();
    for tool in tools {
        let recipe = tool.recipe()?;
        if !recipe.binary.is_file() {
            missing.push((tool, recipe));
        }
    }
    Ok(missing)
}

/// Takes the lock, however long another run holds it. The kernel drops the lock
/// of a run that was killed.
fn lock(path: &Path, report: &mut dyn FnMut(Event<'_>)) -> Result<File> {
    let file = File::create(path).at("create", path)?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                report(Event::Waiting { elapsed: start.elapsed() });
                std::thread::sleep(TICK);
            }
            Err(TryLockError::Error(source)) => return Err(source).at("lock", path),
        }
    }
}

fn build_one(
    tool: &'static Tool,
    recipe: &Recipe,
    number: usize,
    total: usize,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<()> {
    let start = Instant::now();
    let place = recipe.binary.parent().unwrap_or(Path::new("."));
    create_private(place)?;
    let unfinished = place.join("unfinished");
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM", "--", "go", "build", "-v"])
        .args(FLAGS.split(' ').filter(|flag| flag.starts_with('-')))
        .args(["-ldflags", &recipe.linker, "-o"])
        .arg(&unfinished)
        .arg(tool.package)
        .current_dir(&recipe.directory)
        .envs(FLAGS.split(' ').filter_map(|flag| flag.split_once('=')).filter(|(name, _)| !name.starts_with('-')))
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .env_remove("GOFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let line = format!("go build {} (in tools/{})", tool.package, tool.directory);
    let failed = |source| Error::Program { program: "go".into(), source };
    let mut child = spawn(command)?.map_err(failed)?;
    let (sender, lines) = mpsc::channel();
    if let Some(errors) = child.stderr.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(|line| line.ok()) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
    }
    let mut compiled = 0;
    let mut latest = String::new();
    // The end of what Go said is what explains a failure.
    let mut last: VecDeque<String> = VecDeque::new();
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                if !line.contains(' ') {
                    compiled += 1;
                }
                if last.len() == 40 {
                    last.pop_front();
                }
                latest.clone_from(&line);
                last.push_back(line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        report(Event::Building {
            tool,
            version: &recipe.version,
            number,
            total,
            elapsed: start.elapsed(),
            compiled,
            latest: &latest,
        });
    }
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Err(Error::Command { command: line, status, output: Vec::from(last).join("\n") });
    }
    // Renamed when whole: what bears the final name can be run.
    fs::rename(&unfinished, &recipe.binary).at("rename", &unfinished)?;
    report(Event::Built { tool, version: &recipe.version, number, total, elapsed: start.elapsed() });
    Ok(())
}
