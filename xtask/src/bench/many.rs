//! Many small applications of one large repository.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    counted,
    report::Report,
    requests::Requests,
    stage::{NAMESPACE, Stage},
};
use crate::Outcome;

const APPLICATIONS: u32 = 500;
const OBJECTS: u32 = 4;
/// Files of each directory: manifests, and what else lies beside them.
const FILES: u32 = 20;
const LIMIT: Duration = Duration::from_secs(300);

pub(super) fn run(report: &mut Report, silence: Duration) -> Outcome {
    let files = APPLICATIONS * FILES;
    report.begin(format!("{APPLICATIONS} applications of {OBJECTS} ConfigMaps, of one repository of {files} files"));
    let mut stage = Stage::without_controller(report.is_release())?;
    let names: Vec<String> = (0..APPLICATIONS).map(|number| format!("team-{number:03}")).collect();
    for name in &names {
        stage.write_config_maps(name, OBJECTS, "first")?;
        for number in OBJECTS..FILES {
            stage.repo.write(&format!("{name}/notes-{number:02}.txt"), &format!("{name}, {number}\n"))?;
        }
    }
    let commit = stage.repo.commit_and_push("All applications")?;
    stage.start_controller()?;
    stage.controller()?.report_memory(report, "without an application", None)?;
    let audit = stage.cluster.audit_log().mark()?;
    let began = Instant::now();
    stage.deploy_all(&names)?;
    until_all_ready(&mut stage, &commit)?;
    report.add("first sync of all, until each is Ready", began.elapsed().as_secs_f64(), "s", None);
    stage.controller()?.until_at_rest(LIMIT)?;
    let requests = Requests::since(&stage.cluster, audit)?;
    requests.explain();
    report.add("  requests an application", counted(requests.asked()) / f64::from(APPLICATIONS), "", None);
    stage.controller()?.report_memory(report, "after the first sync", None)?;

    eprintln!("silence: {}s", silence.as_secs());
    let (audit, worked) = (stage.cluster.audit_log().mark()?, stage.controller()?.worked()?);
    std::thread::sleep(silence);
    let requests = Requests::since(&stage.cluster, audit)?;
    requests.explain();
    let seconds = silence.as_secs();
    report.add(format!("requests in {seconds} s at rest"), counted(requests.asked()), "", Some(0.0));
    let worked = (stage.controller()?.worked()? - worked).as_secs_f64() / silence.as_secs_f64();
    report.add("  share of a processor", worked * 100.0, "%", None);

    eprintln!("a commit for one of them");
    let (log, audit, git) = (stage.controller()?.mark()?, stage.cluster.audit_log().mark()?, stage.git_requests());
    let pushed = Instant::now();
    stage.write_config_map(&names[0], 0, "second")?;
    stage.repo.commit_and_push("One object of one application")?;
    let live = stage.controller()?.until_logged(log, "a commit", LIMIT, |line| line["after_fetch_ms"].is_number())?;
    stage.controller()?.until_at_rest(LIMIT)?;
    // Looks at what is new take two requests a second at most, a fetch two more.
    let (looked, seconds) = (stage.git_requests() - git, pushed.elapsed().as_secs_f64());
    let requests = Requests::since(&stage.cluster, audit)?;
    requests.explain();
    let lines = stage.controller()?.log_since(log)?;
    let rendered = lines.iter().filter(|line| line["message"] == "rendered").count();
    report.add("  renders", counted(rendered), "", Some(1.0));
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    report.add(format!("  requests to Git in {seconds:.1} s, polled every second"), looked as f64, "", None);
    let took = live["after_fetch_ms"].as_f64().ok_or("the log gives no time")?;
    report.add("a commit for one of them, from the fetch to live", took, "ms", Some(200.0));
    // The others note where the head is when a minute or two have passed.
    report.add("  requests of all", counted(requests.asked()), "", Some(10.0));
    Ok(())
}

fn until_all_ready(stage: &mut Stage, commit: &str) -> Outcome {
    let deadline = Instant::now() + LIMIT;
    loop {
        let text = stage.cluster.kubectl(&["get", "bapp", "-n", NAMESPACE, "-o", "json"])?;
        let list: Value = serde_json::from_str(&text)?;
        let ready = |item: &&Value| {
            let status = &item["status"];
            status["sync"] == "Synced" && status["health"] == "Healthy" && status["head"]["commit"] == commit
        };
        let count = list["items"].as_array().map_or(0, |items| items.iter().filter(ready).count());
        if count == APPLICATIONS as usize {
            return Ok(());
        }
        stage.controller()?.check()?;
        if Instant::now() > deadline {
            return Err(format!("{count} of {APPLICATIONS} are Ready within {}s", LIMIT.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
