//! A small application as a team has it: from a push to the cluster, repair,
//! silence, memory.

use std::time::{Duration, Instant};

use super::{
    counted, milliseconds, repair,
    report::Report,
    requests::Requests,
    stage::{NAMESPACE, Stage},
    watch::Watch,
};
use crate::Outcome;

/// The application that commits change.
const SHOP: &str = "shop";
const SHOP_OBJECTS: u32 = 50;
/// The application that fills up to 200 objects.
const REST: &str = "rest";
const REST_OBJECTS: u32 = 150;
/// How long applications may take until they are as wanted.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn run(report: &mut Report, samples: u32, silence: Duration) -> Outcome {
    report.begin(format!("{} ConfigMaps of two applications", SHOP_OBJECTS + REST_OBJECTS));
    let mut stage = Stage::without_controller(report.is_release())?;
    stage.start_controller()?;
    stage.write_config_maps(SHOP, SHOP_OBJECTS, "first")?;
    let commit = stage.repo.commit_and_push("Fifty objects")?;
    stage.deploy(SHOP)?;
    stage.until_synced(SHOP, &commit, LIMIT)?;
    report.add("memory with 50 objects", stage.controller()?.memory("VmRSS:")?, "MiB", None);
    commit_to_live(report, &mut stage, samples)?;
    push_to_live(report, &mut stage, samples)?;
    repair::run(report, &stage, SHOP, SHOP_OBJECTS, samples, 500.0)?;
    report.add("memory after the repairs", stage.controller()?.memory("VmRSS:")?, "MiB", None);
    idle(report, &mut stage, silence)
}

/// From the end of `git push` until a watch sees the change of one ConfigMap.
fn commit_to_live(report: &mut Report, stage: &mut Stage, samples: u32) -> Outcome {
    eprintln!(
        "commit to live: {samples} commits, each changes one of {SHOP_OBJECTS} objects; Git is polled every second"
    );
    let watch = Watch::start(&stage.cluster, NAMESPACE)?;
    let before = stage.own_shares()?.len();
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
        stage.until_synced(SHOP, &commit, LIMIT)?;
    }
    report.add_times("commit to live, 50 objects, 1 s poll", &times, Some(2000.0));
    let shares = stage.own_shares()?.split_off(before);
    if shares.len() < times.len() {
        return Err(format!("the controller's log tells {} of {} own shares", shares.len(), times.len()).into());
    }
    report.add_times("the controller's own share after the fetch", &shares, Some(300.0));
    report.add("memory after the commits", stage.controller()?.memory("VmRSS:")?, "MiB", None);
    Ok(())
}

/// From the end of `git push` until a watch sees the change, where a webhook
/// tells of the push.
fn push_to_live(report: &mut Report, stage: &mut Stage, samples: u32) -> Outcome {
    eprintln!("push to live: {samples} pushes that a webhook announces; Git is polled every hour");
    stage.poll_hourly(SHOP)?;
    // The change of the Application is a reason to look once more.
    stage.controller()?.until_at_rest(LIMIT)?;
    let watch = Watch::start(&stage.cluster, NAMESPACE)?;
    let mut times = Vec::new();
    for sample in 0..samples {
        let (number, value) = (sample % SHOP_OBJECTS, format!("push-{sample}"));
        stage.write_config_map(SHOP, number, &value)?;
        let commit = stage.repo.commit(&format!("Push {sample}"))?;
        stage.repo.push()?;
        let pushed = Instant::now();
        stage.announce()?;
        let live = watch.until(&format!("push {sample}"), |seen| seen.value == value)?;
        times.push(milliseconds(live.at.saturating_duration_since(pushed)));
        stage.until_synced(SHOP, &commit, LIMIT)?;
    }
    report.add_times("push to live, 50 objects, by webhook", &times, Some(500.0));
    Ok(())
}

/// What an idle controller asks of the API server, by its audit log.
fn idle(report: &mut Report, stage: &mut Stage, silence: Duration) -> Outcome {
    stage.write_config_maps(REST, REST_OBJECTS, "first")?;
    let commit = stage.repo.commit_and_push("A hundred and fifty more")?;
    stage.deploy(REST)?;
    for application in [SHOP, REST] {
        stage.until_synced(application, &commit, LIMIT)?;
    }
    // Statuses and events of that are on their way for a moment.
    std::thread::sleep(Duration::from_secs(3));
    eprintln!("silence: {}s with {} objects in sync", silence.as_secs(), SHOP_OBJECTS + REST_OBJECTS);
    let (mark, polls) = (stage.cluster.audit_log().mark()?, stage.git_requests());
    std::thread::sleep(silence);
    stage.controller()?.check()?;
    let polls = stage.git_requests() - polls;
    let requests = Requests::since(&stage.cluster, mark)?;
    requests.explain();
    let seconds = silence.as_secs();
    if requests.leases == 0 {
        return Err("the audit log has no renewal of the lease: it is not the right one".into());
    }
    report.add(format!("requests in {seconds} s, 200 objects in sync"), counted(requests.asked()), "", Some(0.0));
    report.add(format!("  renewals of watches in {seconds} s"), counted(requests.watches), "", None);
    report.add(format!("  renewals of the lease in {seconds} s"), counted(requests.leases), "", None);
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    report.add(format!("  requests to Git in {seconds} s"), polls as f64, "", None);
    report.add("memory with 200 objects", stage.controller()?.memory("VmRSS:")?, "MiB", None);
    Ok(())
}
