//! An application of many small objects, beside a bare client that sends the
//! same dry-runs and applies.
//!
//! The bare client runs on a cluster of its own before and after: what the
//! machine does beside is then in both, and no one works on what the other left.

use std::time::{Duration, Instant};

use rig::Cluster;

use super::{
    Result,
    bare::{self, Bare},
    counted, milliseconds, repair,
    report::Report,
    requests::Requests,
    stage::{CONFIG_MAP_BYTES, NAMESPACE, Stage, config_map},
};
use crate::Outcome;

const APPLICATION: &str = "large";
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(600);
/// How much slower than the bare client the first sync may be.
const TIMES_BARE: f64 = 1.25;
/// From the end of a fetch to the cluster, in milliseconds.
const COMMIT_TO_LIVE: f64 = 200.0;
const REQUESTS_A_COMMIT: f64 = 10.0;
/// From the event to the repair, in milliseconds.
const REPAIR: f64 = 100.0;
/// Resident memory with 10,000 objects, in MiB.
const MEMORY: f64 = 100.0;

pub(super) fn run(report: &mut Report, objects: u32, samples: u32) -> Outcome {
    report.begin(format!("{objects} ConfigMaps of {CONFIG_MAP_BYTES} bytes, a file each"));
    let mut stage = Stage::without_controller(report.is_release())?;
    stage.write_config_maps(APPLICATION, objects, "first")?;
    let before = bare_client(&stage)?;
    stage.start_controller()?;
    stage.controller()?.report_memory(report, "without an application", None)?;

    let bare_twice = |after: &Bare| (before.took + after.took) / 2;
    let first = first_sync(report, &mut stage)?;
    let after = bare_client(&stage)?;
    let bare = bare_twice(&after);
    report.add("bare client, dry-run and apply of each", milliseconds(bare) / 1000.0, "s", None);
    report.add("  requests", counted(after.requests), "", None);
    report.add("  before and after Bowline, its slower by its faster run", spread(&before, &after), "times", None);
    report.add("first sync by the bare client", first / milliseconds(bare), "times", Some(TIMES_BARE));

    elsewhere(report, &mut stage)?;
    one_object_commits(report, &mut stage, objects, samples)?;
    repair::run(report, &stage, APPLICATION, objects, samples, REPAIR)?;
    stage.controller()?.report_memory(report, "after the repairs", None)?;
    prune(report, &mut stage, objects)?;
    restart(report, &mut stage)
}

fn spread(before: &Bare, after: &Bare) -> f64 {
    let (one, other) = (before.took.as_secs_f64(), after.took.as_secs_f64());
    one.max(other) / one.min(other)
}

/// The bare client on a cluster of its own.
fn bare_client(stage: &Stage) -> Result<Bare> {
    eprintln!("the bare client, on a cluster of its own");
    let cluster = Cluster::start(rig::Options::default())?;
    cluster.kubectl(&["create", "namespace", NAMESPACE])?;
    bare::dry_run_and_apply(&cluster, NAMESPACE, &stage.repo.work_path().join(APPLICATION))
}

/// The first sync; returns how long it took from the end of the fetch until the
/// last object was written, in milliseconds.
fn first_sync(report: &mut Report, stage: &mut Stage) -> Result<f64> {
    eprintln!("first sync");
    let commit = stage.repo.commit_and_push("All objects")?;
    let (log, audit, worked) =
        (stage.controller()?.mark()?, stage.cluster.audit_log().mark()?, stage.controller()?.worked()?);
    let began = Instant::now();
    stage.deploy(APPLICATION)?;
    let live =
        stage.controller()?.until_logged(log, "the first sync", LIMIT, |line| line["after_fetch_ms"].is_number())?;
    stage.until_synced(APPLICATION, &commit, LIMIT)?;
    let ready = began.elapsed();
    stage.controller()?.until_at_rest(LIMIT)?;
    let took = live["after_fetch_ms"].as_f64().ok_or("the log gives no time")?;
    let requests = Requests::since(&stage.cluster, audit)?;
    requests.explain();
    report.add("first sync, from the end of the fetch to live", took / 1000.0, "s", None);
    report.add("first sync, from the Application to Ready", ready.as_secs_f64(), "s", None);
    report.add("  requests", counted(requests.asked()), "", None);
    let worked = stage.controller()?.worked()? - worked;
    report.add("  time of processors", worked.as_secs_f64(), "s", None);
    stage.controller()?.report_memory(report, "after the first sync", Some(MEMORY))?;
    Ok(took)
}

/// A commit that changes nothing of the application.
fn elsewhere(report: &mut Report, stage: &mut Stage) -> Outcome {
    eprintln!("a commit elsewhere");
    let (log, audit, worked) =
        (stage.controller()?.mark()?, stage.cluster.audit_log().mark()?, stage.controller()?.worked()?);
    stage.repo.write("elsewhere/README.md", "Nothing of the application.\n")?;
    let commit = stage.repo.commit_and_push("Something else")?;
    stage.controller()?.until_logged(log, "the commit elsewhere", LIMIT, |line| line["commit"] == commit.as_str())?;
    stage.controller()?.until_at_rest(LIMIT)?;
    let requests = Requests::since(&stage.cluster, audit)?;
    requests.explain();
    report.add("requests after a commit elsewhere", counted(requests.asked()), "", Some(1.0));
    let worked = stage.controller()?.worked()? - worked;
    report.add("  time of processors", milliseconds(worked), "ms", None);
    Ok(())
}

/// Commits that change one object each.
fn one_object_commits(report: &mut Report, stage: &mut Stage, objects: u32, samples: u32) -> Outcome {
    eprintln!("{samples} commits that change one object each");
    let (audit, worked) = (stage.cluster.audit_log().mark()?, stage.controller()?.worked()?);
    let mut times = Vec::new();
    for sample in 0..samples {
        let log = stage.controller()?.mark()?;
        // Not neighbours: each is in another place of the bundle and the inventory.
        stage.write_config_map(APPLICATION, sample * 7_919 % objects, &format!("commit-{sample}"))?;
        stage.repo.commit_and_push(&format!("Change {sample}"))?;
        let live =
            stage.controller()?.until_logged(log, "a commit", LIMIT, |line| line["after_fetch_ms"].is_number())?;
        times.extend(live["after_fetch_ms"].as_f64());
        stage.controller()?.until_logged(log, "the end of the release", LIMIT, |line| line["outcome"] == "Healthy")?;
    }
    stage.controller()?.until_at_rest(LIMIT)?;
    let requests = Requests::since(&stage.cluster, audit)?;
    requests.explain();
    report.add_times("a commit of one object, from the fetch to live", &times, Some(COMMIT_TO_LIVE));
    let commits = counted(times.len());
    report.add("  requests a commit", counted(requests.asked()) / commits, "", Some(REQUESTS_A_COMMIT));
    let worked = stage.controller()?.worked()? - worked;
    report.add("  time of processors a commit, with the fetch", milliseconds(worked) / commits, "ms", None);
    stage.controller()?.report_memory(report, "after the commits", Some(MEMORY))
}

/// One object less.
fn prune(report: &mut Report, stage: &mut Stage, objects: u32) -> Outcome {
    eprintln!("one object less");
    let name = config_map(APPLICATION, objects - 1);
    let (log, audit) = (stage.controller()?.mark()?, stage.cluster.audit_log().mark()?);
    stage.repo.remove(&format!("{APPLICATION}/{name}.json"))?;
    stage.repo.commit_and_push("One object less")?;
    let live =
        stage.controller()?.until_logged(log, "the pruning", LIMIT, |line| line["after_fetch_ms"].is_number())?;
    stage.controller()?.until_at_rest(LIMIT)?;
    if stage.cluster.kubectl(&["get", "configmap", &name, "-n", NAMESPACE]).is_ok() {
        return Err(format!("{name} was not pruned").into());
    }
    let requests = Requests::since(&stage.cluster, audit)?;
    requests.explain();
    let took = live["after_fetch_ms"].as_f64().ok_or("the log gives no time")?;
    report.add("one object pruned, from the fetch to gone", took, "ms", Some(COMMIT_TO_LIVE));
    report.add("  requests", counted(requests.asked()), "", Some(REQUESTS_A_COMMIT));
    Ok(())
}

/// The controller ends and starts again.
fn restart(report: &mut Report, stage: &mut Stage) -> Outcome {
    eprintln!("the controller is started again");
    let (log, audit) = (stage.controller()?.mark()?, stage.cluster.audit_log().mark()?);
    let began = stage.controller()?.restart()?;
    stage.controller()?.until_logged(log, "the render after the start", LIMIT, |line| line["message"] == "rendered")?;
    let rests = stage.controller()?.until_at_rest(LIMIT)?;
    let requests = Requests::since(&stage.cluster, audit)?;
    requests.explain();
    report.add("after a start, until it rests", rests.saturating_duration_since(began).as_secs_f64(), "s", None);
    report.add("  dry-runs and writes", counted(requests.dry_runs + writes(&requests)), "", Some(0.0));
    report.add("  lists and watches", counted(requests.lists + requests.watches), "", None);
    let worked = stage.controller()?.worked()?;
    report.add("  time of processors", worked.as_secs_f64(), "s", None);
    stage.controller()?.report_memory(report, "after a start", Some(MEMORY))
}

fn writes(requests: &Requests) -> usize {
    let others = requests.others.iter();
    others.filter(|(what, _)| !what.starts_with("get ")).map(|(_, count)| count).sum()
}
