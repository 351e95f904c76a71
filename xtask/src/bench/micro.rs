//! The pure parts, by the benches of the package.

use std::path::Path;

use serde_json::Value;

use super::report::{Report, target_directory};
use crate::Outcome;

pub(super) fn run(report: &mut Report, release: bool) -> Outcome {
    report.begin("the pure parts");
    let results = target_directory().join("criterion");
    // What an earlier run left is not of this one.
    if results.exists() {
        std::fs::remove_dir_all(&results)?;
    }
    let mut bench = crate::test::cargo();
    bench.args(["bench", "--locked", "--package", "bowline", "--bench", "engine", "--bench", "health"]);
    if !release {
        bench.args(["--profile", "dev"]);
    }
    // The rest of the command's words are the report's.
    bench.args(["--", "--quiet", "--noplot"]).env("CRITERION_HOME", &results).stdout(std::process::Stdio::null());
    if !bench.status()?.success() {
        return Err("the benches failed; see above".into());
    }
    let mut means = Vec::new();
    collect(&results, &mut means)?;
    if means.is_empty() {
        return Err(format!("the benches left no results in {}", results.display()).into());
    }
    means.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, nanoseconds) in means {
        let goal = name.starts_with("judge").then_some(50.0).filter(|_| release);
        report.add(name, nanoseconds / 1e6, "ms", goal);
    }
    Ok(())
}

/// The means that criterion left: `…/new/estimates.json`, with the name of the
/// bench beside it.
fn collect(directory: &Path, means: &mut Vec<(String, f64)>) -> Outcome {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        let (estimates, bench) = (path.join("estimates.json"), path.join("benchmark.json"));
        if path.ends_with("new") && estimates.is_file() {
            let estimates: Value = serde_json::from_slice(&std::fs::read(estimates)?)?;
            let bench: Value = serde_json::from_slice(&std::fs::read(bench)?)?;
            let name = bench["full_id"].as_str().unwrap_or_default().to_owned();
            let mean = estimates["mean"]["point_estimate"].as_f64().ok_or("criterion tells no mean")?;
            means.push((name, mean));
        } else {
            collect(&path, means)?;
        }
    }
    Ok(())
}
