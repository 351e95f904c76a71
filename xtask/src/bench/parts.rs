//! The parts on a cluster: from a commit to the cluster, silence, repair,
//! memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{
    report::Report,
    stage::{NAMESPACE, Stage, config_map},
    watch::Watch,
};
use crate::Outcome;

/// The application that commits change.
const SHOP: &str = "shop";
const SHOP_OBJECTS: u32 = 50;
/// The application that fills up to 200 objects.
const REST: &str = "rest";
const REST_OBJECTS: u32 = 150;

pub(super) fn run(report: &mut Report, samples: u32, silence: Duration) -> Outcome {
    let mut stage = Stage::set_up(report.is_release())?;
    stage.write_config_maps(SHOP, SHOP_OBJECTS, "first")?;
    let commit = stage.repo.commit_and_push("Fifty objects")?;
    stage.deploy(SHOP)?;
    stage.until_synced(SHOP, &commit)?;
    report.add("memory with 50 objects", stage.memory()?, "MiB", None);
    commit_to_live(report, &mut stage, samples)?;
    repair(report, &mut stage, samples)?;
    idle(report, &mut stage, silence)
}

/// From the end of `git push` until a watch sees the change of one ConfigMap.
fn commit_to_live(report: &mut Report, stage: &mut Stage, samples: u32) -> Outcome {
    eprintln!(
        "commit to live: {samples} commits, each changes one of {SHOP_OBJECTS} objects; Git is polled every second"
    );
    let watch = Watch::start(&stage.cluster, NAMESPACE)?;
    let before = stage.own_shares().len();
    let mut times = Vec::new();
    for sample in 0..samples {
        let (number, value) = (sample % SHOP_OBJECTS, format!("commit-{sample}"));
        // The commit before went live just after a poll: pushes are spread over
        // the interval, or all would wait for the whole of it.
        std::thread::sleep(Duration::from_millis(u64::from(sample) * 370 % 1000));
        stage.write_config_map(SHOP, number, &value)?;
        let commit = stage.repo.commit(&format!("Change {sample}"))?;
        stage.repo.push()?;
        let pushed = Instant::now();
        let live = watch.until(&format!("commit {sample}"), |seen| seen.value == value)?;
        times.push(milliseconds(live.at.saturating_duration_since(pushed)));
        stage.until_synced(SHOP, &commit)?;
    }
    report.add_times("commit to live, 50 objects, 1 s poll", &times, Some(2000.0));
    let shares = stage.own_shares().split_off(before);
    if shares.len() < times.len() {
        return Err(format!("the controller's log tells {} of {} own shares", shares.len(), times.len()).into());
    }
    report.add_times("the controller's own share after the fetch", &shares, Some(300.0));
    report.add("memory after the commits", stage.memory()?, "MiB", None);
    Ok(())
}

/// From the event of a deletion or an edit until the event of its repair, both
/// seen by one watch.
fn repair(report: &mut Report, stage: &mut Stage, samples: u32) -> Outcome {
    eprintln!("repair: {samples} objects deleted, {samples} edited");
    let watch = Watch::start(&stage.cluster, NAMESPACE)?;
    let (mut deleted, mut edited) = (Vec::new(), Vec::new());
    for sample in 0..samples {
        // Each another object: one that changes again and again is left alone
        // for a while, on purpose.
        let name = config_map(SHOP, sample % SHOP_OBJECTS);
        watch.drain();
        stage.cluster.kubectl(&["delete", "configmap", &name, "-n", NAMESPACE, "--wait=false"])?;
        let gone = watch.until(&format!("the deletion of {name}"), |seen| seen.name == name)?;
        let back = watch.until(&format!("the repair of {name}"), |seen| seen.name == name && seen.uid != gone.uid)?;
        if back.value != gone.value {
            return Err(format!("{name} came back with {:?} instead of {:?}", back.value, gone.value).into());
        }
        deleted.push(milliseconds(back.at.saturating_duration_since(gone.at)));
    }
    for sample in 0..samples {
        let name = config_map(SHOP, (SHOP_OBJECTS - 1) - sample % SHOP_OBJECTS);
        watch.drain();
        let value = format!("edited-{sample}");
        let patch = format!(r#"{{"data":{{"value":"{value}"}}}}"#);
        stage.cluster.kubectl(&["patch", "configmap", &name, "-n", NAMESPACE, "--type=merge", "-p", &patch])?;
        let edit = watch.until(&format!("the edit of {name}"), |seen| seen.name == name && seen.value == value)?;
        let back = watch.until(&format!("the repair of {name}"), |seen| seen.name == name && seen.value != value)?;
        edited.push(milliseconds(back.at.saturating_duration_since(edit.at)));
    }
    report.add_times("a deleted object is back", &deleted, Some(500.0));
    report.add_times("an edited object is back", &edited, Some(500.0));
    report.add("memory after the repairs", stage.memory()?, "MiB", None);
    Ok(())
}

/// What an idle controller asks of the API server, by its audit log.
fn idle(report: &mut Report, stage: &mut Stage, silence: Duration) -> Outcome {
    stage.write_config_maps(REST, REST_OBJECTS, "first")?;
    let commit = stage.repo.commit_and_push("A hundred and fifty more")?;
    stage.deploy(REST)?;
    for application in [SHOP, REST] {
        stage.until_synced(application, &commit)?;
    }
    // Statuses and events of that are on their way for a moment.
    std::thread::sleep(Duration::from_secs(3));
    eprintln!("silence: {}s with {} objects in sync", silence.as_secs(), SHOP_OBJECTS + REST_OBJECTS);
    let (mark, polls) = (stage.cluster.audit_log().mark()?, stage.git_requests());
    std::thread::sleep(silence);
    stage.controller.check()?;
    let polls = stage.git_requests() - polls;
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for request in stage.cluster.audit_log().by_user_agent(mark, "bowline-controller")? {
        let about = request.object_ref.unwrap_or_default();
        let what = match (request.verb.as_str(), about.resource.as_str()) {
            ("watch", _) => "watch",
            (_, "leases") => "lease",
            (verb, resource) => {
                eprintln!("  asked: {verb} {resource} {}/{}", about.namespace, about.name);
                "other"
            }
        };
        *counts.entry(what).or_default() += 1;
    }
    let seconds = silence.as_secs();
    let count = |what| f64::from(counts.get(what).copied().unwrap_or_default());
    if count("lease") == 0.0 {
        return Err("the audit log has no renewal of the lease: it is not the right one".into());
    }
    report.add(format!("requests in {seconds} s, 200 objects in sync"), count("other"), "", Some(0.0));
    report.add(format!("  renewals of watches in {seconds} s"), count("watch"), "", None);
    report.add(format!("  renewals of the lease in {seconds} s"), count("lease"), "", None);
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    report.add(format!("  requests to Git in {seconds} s"), polls as f64, "", None);
    report.add("memory with 200 objects", stage.memory()?, "MiB", None);
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
