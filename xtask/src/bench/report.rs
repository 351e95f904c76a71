//! The numbers: as a table for people, as JSON for programs.

use std::path::{Path, PathBuf};

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    version: &'static str,
    profile: &'static str,
    processors: usize,
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
}

impl Report {
    pub(super) fn new(release: bool) -> Self {
        Report {
            version: env!("CARGO_PKG_VERSION"),
            profile: if release { "release" } else { "debug" },
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            numbers: Vec::new(),
        }
    }

    /// Whether a release build is measured.
    pub(super) fn is_release(&self) -> bool {
        self.profile == "release"
    }

    /// Adds a number; with the goal that it should not pass, if there is one.
    pub(super) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str, goal: Option<f64>) {
        let number = Number { name: name.into(), value, unit, goal };
        eprintln!("  {}", number.line());
        self.numbers.push(number);
    }

    /// Adds the middle and the slowest but one in twenty of some times, in
    /// milliseconds.
    pub(super) fn add_times(&mut self, name: &str, times: &[f64], goal: Option<f64>) {
        for (label, share) in [("p50", 0.5), ("p95", 0.95)] {
            if let Some(value) = percentile(times, share) {
                self.add(format!("{name}, {label} of {}", times.len()), value, "ms", goal);
            }
        }
    }

    pub(super) fn print(&self) {
        println!("\nBowline {}, {} build, {} processors", self.version, self.profile, self.processors);
        for number in &self.numbers {
            println!("{}", number.line());
        }
    }

    /// Writes `bench.json` beside the directories of the profiles.
    pub(super) fn write(&self) -> std::io::Result<PathBuf> {
        let path = target_directory().join("bench.json");
        std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(path)
    }
}

impl Number {
    fn line(&self) -> String {
        let goal = match self.goal {
            Some(goal) if self.value <= goal => format!("   (goal: at most {goal})"),
            Some(goal) => format!("   (MISSES THE GOAL of at most {goal})"),
            None => String::new(),
        };
        let value = match self.value {
            value if value == value.trunc() => format!("{value:.0}"),
            value if value < 1.0 => format!("{value:.4}"),
            value => format!("{value:.1}"),
        };
        format!("{:<58} {value:>10} {}{goal}", self.name, self.unit)
    }
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
        let number = |value| Number { name: "repair".into(), value, unit: "ms", goal: Some(500.0) };
        assert!(number(500.0).line().contains("goal: at most 500"));
        assert!(number(500.5).line().contains("MISSES"));
    }
}
