//! The controller that is measured: its log, its memory, its work.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::Command;
use std::time::{Duration, Instant};

use rig::{Launch, Process};
use serde_json::Value;

use super::{Result, report::Report};
use crate::Outcome;

/// How often the log and the clock of the processor are looked at.
const LOOK: Duration = Duration::from_millis(10);
/// A controller that works no more than a share of this time is at rest: it
/// looks at Git each second, for hundreds of applications in some parts.
const REST: Duration = Duration::from_secs(2);
const REST_SHARE: u32 = 20;
/// How long it may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(30);

pub(super) struct Controller {
    process: Process,
    launch: Launch,
}

impl Controller {
    pub(super) fn start(launch: Launch) -> Result<Self> {
        Ok(Controller { process: Process::start(&launch)?, launch })
    }

    /// An error with the end of its log if it has ended by itself.
    pub(super) fn check(&mut self) -> Outcome {
        Ok(self.process.check()?)
    }

    /// Ends it as Kubernetes does (SIGTERM), and starts it again with the same
    /// cache.
    pub(super) fn restart(&mut self) -> Result<Instant> {
        let ended = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status()?;
        if !ended.success() {
            return Err("the controller could not be told to end".into());
        }
        let deadline = Instant::now() + STOP_LIMIT;
        while self.process.ended().is_none() {
            if Instant::now() > deadline {
                return Err(format!("the controller did not end within {}s", STOP_LIMIT.as_secs()).into());
            }
            std::thread::sleep(LOOK);
        }
        let began = Instant::now();
        self.process = Process::start(&self.launch)?;
        Ok(began)
    }

    /// The end of the log as it is now.
    pub(super) fn mark(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.launch.log)?.len())
    }

    /// The lines of the log after a mark; a line that is being written is left out.
    pub(super) fn log_since(&self, mark: u64) -> Result<Vec<Value>> {
        let mut file = File::open(&self.launch.log)?;
        file.seek(SeekFrom::Start(mark))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Waits for a line of the log after a mark.
    pub(super) fn until_logged(
        &mut self,
        mark: u64,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(line) = self.log_since(mark)?.into_iter().find(|line| wanted(line)) {
                return Ok(line);
            }
            self.check()?;
            if Instant::now() > deadline {
                return Err(format!("the controller's log has no word of {what} within {}s", limit.as_secs()).into());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until it rests, and returns since when it does.
    pub(super) fn until_at_rest(&mut self, limit: Duration) -> Result<Instant> {
        let deadline = Instant::now() + limit;
        let mut since = (Instant::now(), self.worked()?);
        while since.0.elapsed() < REST {
            std::thread::sleep(LOOK * 10);
            self.check()?;
            let worked = self.worked()?;
            if worked - since.1 > REST / REST_SHARE {
                since = (Instant::now(), worked);
            }
            if Instant::now() > deadline {
                return Err(format!("the controller does not rest within {}s", limit.as_secs()).into());
            }
        }
        Ok(since.0)
    }

    /// How long processors have worked for it.
    pub(super) fn worked(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The name of the program, which may hold spaces, ends with the last bracket.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let ticks =
            |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).ok_or("no time in stat");
        // Linux counts in hundredths of a second wherever it tells programs.
        Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
    }

    /// Adds its memory now, and what it was at most.
    pub(super) fn report_memory(&self, report: &mut Report, when: &str, most: Option<f64>) -> Outcome {
        report.add(format!("memory {when}"), self.memory("VmRSS:")?, "MiB", None);
        report.add(format!("memory {when}, at most since the start"), self.memory("VmHWM:")?, "MiB", most);
        Ok(())
    }

    /// A line of the kernel's word on its memory, in MiB.
    pub(super) fn memory(&self, line: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let found = status.lines().find_map(|text| text.strip_prefix(line));
        let found = found.ok_or_else(|| format!("the kernel tells no {line}"))?;
        let kibibytes: f64 = found.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kibibytes / 1024.0)
    }
}
