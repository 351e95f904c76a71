//! Many applications of one repository, with and without some that never get
//! healthy, in one run: the ratio of the two is what counts.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Result,
    report::Report,
    stage::{NAMESPACE, Stage},
};
use crate::Outcome;

/// How many applications there are.
const APPLICATIONS: u32 = 500;
/// How many of them hang.
const HANGING: u32 = 20;
/// How long all may take.
const LIMIT: Duration = Duration::from_secs(900);
/// With some that hang the others may take so much longer: what is measured
/// differs by that much from run to run.
const RATIO: f64 = 1.15;

pub(super) fn run(report: &mut Report) -> Outcome {
    let healthy = APPLICATIONS - HANGING;
    report.begin(format!("{APPLICATIONS} applications of 4 objects, of one repository"));
    let without = first_sync(&mut stage(report)?, healthy, 0)?;
    report.add(format!("{healthy} applications healthy"), without, "s", None);
    let mut stage = stage(report)?;
    let with = first_sync(&mut stage, healthy, HANGING)?;
    report.add(format!("{healthy} applications healthy, {HANGING} more hang"), with, "s", None);
    report.add("  ratio", with / without, "", Some(RATIO));
    polls(report, &mut stage)?;
    fix(report, &mut stage)
}

fn stage(report: &Report) -> Result<Stage> {
    let mut stage = Stage::without_controller(report.is_release())?;
    stage.start_controller()?;
    Ok(stage)
}

fn name(number: u32) -> String {
    format!("app-{number:04}")
}

fn objects(number: u32, image: &str) -> String {
    let name = name(number);
    let config = |part: u32| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name}-{part}")},
            "data": {"image": image},
        })
    };
    let web = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": format!("registry.example/web:{image}")}]},
            },
        },
    });
    let all = [config(0), config(1), config(2), web];
    all.iter().map(|object| format!("---\n{object}\n")).collect()
}

/// Makes all applications at once; the seconds until the healthy ones are.
fn first_sync(stage: &mut Stage, healthy: u32, hanging: u32) -> Result<f64> {
    // Those that hang come first, also in the order of their names.
    for number in 0..hanging + healthy {
        let image = if number < hanging { "missing" } else { "one" };
        stage.repo.write(&format!("{}/all.yaml", name(number)), &objects(number, image))?;
    }
    stage.repo.commit_and_push("All")?;
    let items: Vec<Value> = (0..hanging + healthy)
        .map(|number| {
            json!({
                "apiVersion": "bowline.dev/v1alpha1",
                "kind": "Application",
                "metadata": {"name": name(number), "namespace": NAMESPACE},
                "spec": {
                    "source": {"repoURL": stage.url(), "path": name(number), "interval": "1s"},
                    "sync": {"timeout": "1h"},
                },
            })
        })
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let began = Instant::now();
    stage.cluster.kubectl_with_input(&["create", "-f", "-"], &list)?;
    loop {
        stage.controller()?.check()?;
        let synced = synced(stage)?;
        if synced >= healthy {
            return Ok(began.elapsed().as_secs_f64());
        }
        if began.elapsed() > LIMIT {
            return Err(format!("{synced} of {healthy} applications are healthy after {}s", LIMIT.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn synced(stage: &Stage) -> Result<u32> {
    let path = "jsonpath={range .items[*]}{.status.sync} {.status.health}{\"\\n\"}{end}";
    let lines = stage.cluster.kubectl(&["get", "bapp", "-n", NAMESPACE, "-o", path])?;
    Ok(u32::try_from(lines.lines().filter(|line| *line == "Synced Healthy").count())?)
}

/// One conversation with the repository, whatever the number of applications.
fn polls(report: &mut Report, stage: &mut Stage) -> Outcome {
    let before = stage.git_requests();
    std::thread::sleep(Duration::from_secs(10));
    stage.controller()?.check()?;
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let polls = (stage.git_requests() - before) as f64;
    report.add("  requests to Git in 10 s, polled each second", polls, "", Some(22.0));
    Ok(())
}

/// A fix behind a release that hangs: the controller's own share, from the end
/// of the fetch to the end of the writes.
fn fix(report: &mut Report, stage: &mut Stage) -> Outcome {
    let before = stage.own_shares()?.len();
    stage.repo.write(&format!("{}/all.yaml", name(0)), &objects(0, "two"))?;
    let commit = stage.repo.commit_and_push("Fix")?;
    stage.until_synced(&name(0), &commit, LIMIT)?;
    let shares = stage.own_shares()?.split_off(before);
    let share = shares.first().ok_or("the controller's log does not tell when the fix was live")?;
    report.add("a fix behind a release that hangs, after the fetch", *share, "ms", Some(1000.0));
    Ok(())
}
