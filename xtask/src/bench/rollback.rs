//! A rollback of everything that an application has, beside `kubectl apply
//! --server-side` of the same manifests.
//!
//! Both change each object from the second content to the first, each on a
//! cluster of its own. What is measured begins with the start of the program
//! that a person would run, and ends with the event of the last object, as a
//! watch from outside sees it.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rig::Cluster;

use super::{
    Result,
    report::Report,
    stage::{NAMESPACE, Stage, bowline},
    watch::Watch,
};
use crate::Outcome;

const APPLICATION: &str = "back";
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(600);

pub(super) fn run(report: &mut Report, objects: u32) -> Outcome {
    report.begin(format!("a rollback of {objects} ConfigMaps"));
    let mut stage = Stage::without_controller(report.is_release())?;
    stage.write_config_maps(APPLICATION, objects, "first")?;
    stage.start_controller()?;
    let commit = stage.repo.commit_and_push("First")?;
    stage.deploy(APPLICATION)?;
    stage.until_synced(APPLICATION, &commit, LIMIT)?;
    stage.write_config_maps(APPLICATION, objects, "second")?;
    let commit = stage.repo.commit_and_push("Second")?;
    stage.until_synced(APPLICATION, &commit, LIMIT)?;
    stage.controller()?.until_at_rest(LIMIT)?;

    eprintln!("bowline rollback");
    let watch = Watch::start(&stage.cluster, NAMESPACE)?;
    watch.drain();
    let began = Instant::now();
    let output = Command::new(bowline(report.is_release()))
        .args(["rollback", APPLICATION, "--yes", "--wait", "--namespace", NAMESPACE, "--timeout", "10m"])
        .env("KUBECONFIG", stage.cluster.kubeconfig_path())
        .stdin(Stdio::null())
        .output()?;
    let said = began.elapsed();
    if !output.status.success() {
        return Err(format!("bowline rollback failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let applied = until_first(&watch, objects)?.saturating_duration_since(began);
    drop(watch);
    report.add("bowline rollback --yes, until all objects are applied", applied.as_secs_f64(), "s", None);
    report.add("  until the program says that they are healthy", said.as_secs_f64(), "s", None);

    let kubectl = kubectl(&stage, objects)?;
    report.add("kubectl apply --server-side, until all objects are applied", kubectl.as_secs_f64(), "s", None);
    report.add("rollback by kubectl", applied.as_secs_f64() / kubectl.as_secs_f64(), "times", None);
    Ok(())
}

/// When the last of the objects had the first content.
fn until_first(watch: &Watch, objects: u32) -> Result<Instant> {
    let mut seen = BTreeSet::new();
    let mut last = Instant::now();
    while seen.len() < objects as usize {
        let event = watch.until("an object of the first content", |event| event.value == "first")?;
        last = event.at;
        seen.insert(event.name);
    }
    Ok(last)
}

/// The same change by kubectl, on a cluster that has the objects of the second
/// content. The files of the working clone have the first.
fn kubectl(stage: &Stage, objects: u32) -> Result<Duration> {
    eprintln!("kubectl apply --server-side, on a cluster of its own");
    let cluster = Cluster::start(rig::Options::default())?;
    cluster.kubectl(&["create", "namespace", NAMESPACE])?;
    let directory = stage.repo.work_path().join(APPLICATION).display().to_string();
    let apply = ["apply", "--server-side", "-n", NAMESPACE, "-f", &directory];
    stage.write_config_maps(APPLICATION, objects, "second")?;
    cluster.kubectl(&apply)?;
    stage.write_config_maps(APPLICATION, objects, "first")?;
    let watch = Watch::start(&cluster, NAMESPACE)?;
    watch.drain();
    let began = Instant::now();
    cluster.kubectl(&apply)?;
    Ok(until_first(&watch, objects)?.saturating_duration_since(began))
}
