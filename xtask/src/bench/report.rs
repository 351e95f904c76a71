//! The numbers: as a table for people, as JSON for programs.

use std::path::{Path, PathBuf};

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    version: &'static str,
    profile: &'static str,
    processors: usize,
    parts: Vec<Part>,
}

/// What was measured on one stage.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    name: String,
    /// How many processes wanted a processor when it began, over the minute
    /// before: a busy machine measures itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    load_before: Option<f64>,
    numbers: Vec<Number>,
}

/// One thing that was measured.
#[derive(Serialize)]
struct Number {
    name: String,
    value: f64,
    unit: &'static str,
    /// What the project promises, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

impl Report {
    pub(super) fn new(release: bool) -> Self {
        Report {
            version: env!("CARGO_PKG_VERSION"),
            profile: if release { "release" } else { "debug" },
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            parts: Vec::new(),
        }
    }

    /// Begins a part: the numbers that follow are of it.
    pub(super) fn begin(&mut self, name: impl Into<String>) {
        let name = name.into();
        eprintln!("\n{name}");
        self.parts.push(Part { name, load_before: load(), numbers: Vec::new() });
    }

    /// Whether a release build is measured.
    pub(super) fn is_release(&self) -> bool {
        self.profile == "release"
    }

    /// Adds a number; with the goal that it should not pass, if there is one.
    pub(super) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str, goal: Option<f64>) {
        let number = Number::new(name.into(), value, unit, goal);
        eprintln!("  {}", number.line());
        if let Some(part) = self.parts.last_mut() {
            part.numbers.push(number);
        }
    }

    /// Adds the middle and the slowest but one in twenty of some times, in
    /// milliseconds.
    pub(super) fn add_times(&mut self, name: &str, times: &[f64], goal: Option<f64>) {
        for (label, share) in [("p50", 0.5), ("p95", 0.95)] {
            // What is promised is promised of the middle.
            let goal = goal.filter(|_| label == "p50");
            if let Some(value) = percentile(times, share) {
                self.add(format!("{name}, {label} of {}", times.len()), value, "ms", goal);
            }
        }
    }

    pub(super) fn print(&self) {
        println!("\nBowline {}, {} build, {} processors", self.version, self.profile, self.processors);
        for part in &self.parts {
            let load = part.load_before.map(|load| format!(" (load before: {load})")).unwrap_or_default();
            println!("\n{}{load}", part.name);
            for number in &part.numbers {
                println!("  {}", number.line());
            }
        }
        let numbers = || self.parts.iter().flat_map(|part| &part.numbers);
        let (promised, met) =
            (numbers().filter(|it| it.met.is_some()).count(), numbers().filter(|it| it.met == Some(true)).count());
        println!("\n{met} of {promised} targets are met");
    }

    /// Writes `bench.json` beside the directories of the profiles.
    pub(super) fn write(&self) -> std::io::Result<PathBuf> {
        let path = target_directory().join("bench.json");
        std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(path)
    }
}

impl Number {
    fn new(name: String, value: f64, unit: &'static str, goal: Option<f64>) -> Self {
        Number { name, value, unit, goal, met: goal.map(|goal| value <= goal) }
    }

    /// Name, value, target, and whether it is met.
    fn line(&self) -> String {
        let value = match self.value {
            value if value == value.trunc() => format!("{value:.0}"),
            value if value < 1.0 => format!("{value:.4}"),
            value if value < 10.0 => format!("{value:.2}"),
            value => format!("{value:.1}"),
        };
        let line = format!("{:<58} {value:>10} {:<5}", self.name, self.unit);
        match (self.goal, self.met) {
            (Some(goal), Some(met)) => format!("{line} at most {goal:<6} {}", if met { "met" } else { "MISSED" }),
            _ => line.trim_end().to_owned(),
        }
    }
}

/// How many processes wanted a processor in the last minute.
fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// The directory that Cargo builds into, found by this program.
pub(super) fn target_directory() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(2).unwrap_or(Path::new("target")).to_owned()
}

/// The value that this share of all does not pass; none of no values.
fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small counts"
    )]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), Some(10.0));
        assert_eq!(percentile(&values, 0.95), Some(19.0));
        assert_eq!(percentile(&[7.0], 0.95), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn a_goal_that_is_missed_is_called_so() {
        let line = |value| Number::new("repair".into(), value, "ms", Some(500.0)).line();
        let columns = |line: String| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(columns(line(500.0)), "repair 500 ms at most 500 met");
        assert_eq!(columns(line(500.5)), "repair 500.5 ms at most 500 MISSED");
        assert_eq!(columns(Number::new("memory".into(), 42.0, "MiB", None).line()), "memory 42 MiB");
    }

    #[test]
    fn only_the_middle_of_some_times_has_a_goal() {
        let mut report = Report::new(false);
        report.begin("a part");
        report.add_times("repair", &[1.0, 2.0, 900.0], Some(500.0));
        let met: Vec<_> = report.parts[0].numbers.iter().map(|number| (number.value, number.met)).collect();
        assert_eq!(met, [(2.0, Some(true)), (900.0, None)]);
    }
}
