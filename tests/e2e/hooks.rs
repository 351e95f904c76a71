//! Hooks and tests of a release: real Jobs, with pods that kwok lets succeed or
//! fail.

use serde_json::{Value, json};

use crate::world::{Site, Start, Team, Watched, config_map, eventually, yaml};

/// A Job that is run in some phase. `pod` says how its pod ends: see the
/// stages of the rig.
fn hook(name: &str, annotations: Value, pod: &str) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "backoffLimit": 0,
            "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "main", "image": "registry.example/job:1"}],
            }},
        },
    });
    if !pod.is_empty() {
        job["spec"]["template"]["metadata"] = json!({"annotations": {"rig.bowline.dev/pod": pod}});
    }
    job
}

fn in_phase(name: &str, phase: &str, pod: &str) -> Value {
    hook(name, json!({"bowline.dev/hook": phase}), pod)
}

async fn uid(team: &Team<'_>, job: &str) -> String {
    let job = team.get("batch/v1/jobs", job).await.unwrap_or_default();
    job["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

/// The results of the hooks of a release: `PreSync migrate succeeded`.
async fn results(team: &Team<'_>, release: u64) -> Vec<String> {
    let releases = team.releases("shop").await;
    let release = releases.iter().find(|found| found.spec.number == release).unwrap();
    let word = |succeeded: bool| if succeeded { "succeeded" } else { "failed" };
    let hooks = &release.status.as_ref().unwrap().hooks;
    hooks.iter().map(|hook| format!("{} {} {}", hook.phase, hook.object.name, word(hook.succeeded))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_before_and_after_what_they_belong_to_once_a_release() {
    let team = Team::new("hooks").await;
    let jobs = [
        in_phase("smoke", "Test", ""),
        in_phase("migrate", "PreSync", ""),
        hook("notify", json!({"bowline.dev/hook": "PostSync", "bowline.dev/hook-delete": "Succeeded"}), ""),
    ];
    let files = |value: &str| yaml(&[&jobs[..], &[config_map("settings", value)]].concat());
    let first = team.push("One", &[("deploy/all.yaml", files("one"))]);
    team.deploy_shop(json!({"sync": {"timeout": "2m"}}));
    team.until_synced("shop", &first).await;
    assert_eq!(
        results(&team, 1).await,
        ["PreSync migrate succeeded", "PostSync notify succeeded", "Test smoke succeeded"]
    );
    let migrate = uid(&team, "migrate").await;
    assert!(!migrate.is_empty(), "it is kept until it is run again");
    assert!(team.get("batch/v1/jobs", "notify").await.is_none(), "it is deleted when it succeeded");
    let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    let job = team.get("batch/v1/jobs", "migrate").await.unwrap();
    let settings = team.get("configmaps", "settings").await.unwrap();
    assert!(version(&job) < version(&settings), "the Job was done before the first object was written");

    // Somebody who deletes it gets no drift, and nothing runs again.
    team.delete("batch/v1/jobs", "migrate").await;
    team.polls(3).await;
    assert!(team.get("batch/v1/jobs", "migrate").await.is_none());
    assert_eq!(team.status("shop").await["sync"], "Synced");

    let second = team.push("Two", &[("deploy/all.yaml", files("two"))]);
    team.until_synced("shop", &second).await;
    assert_eq!(results(&team, 2).await.len(), 3);
    assert_ne!(uid(&team, "migrate").await, migrate);

    // A rollback runs none unless it is told to.
    let before = uid(&team, "migrate").await;
    assert_eq!(team.roll_back(2, &json!({"toRelease": 1})).await["phase"], "Succeeded");
    assert_eq!(uid(&team, "migrate").await, before);
    assert!(results(&team, 3).await.is_empty());
    let settings = team.get("configmaps", "settings").await.unwrap();
    assert_eq!(settings["data"]["key"], "one");

    // What Git no longer has goes, hooks as well.
    let third = team.push("Three", &[("deploy/all.yaml", yaml(&[config_map("settings", "three")]))]);
    team.until_synced("shop", &third).await;
    eventually("the objects of the hooks are gone", async || {
        let left = team.list("batch/v1/jobs").await;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_before_the_sync_ends_the_release_and_nothing_was_changed() {
    let team = Team::new("presync").await;
    let files = |value: &str, pod: &str| {
        yaml(&[in_phase("migrate", "PreSync", pod), in_phase("clean", "SyncFailed", ""), config_map("settings", value)])
    };
    let first = team.push("One", &[("deploy/all.yaml", files("one", ""))]);
    team.deploy_shop(json!({"sync": {"timeout": "2m"}}));
    team.until_synced("shop", &first).await;
    assert!(team.get("batch/v1/jobs", "clean").await.is_none(), "nothing failed yet");

    team.push("Two", &[("deploy/all.yaml", files("two", "fails"))]);
    let status = team.until("shop", "Failed", |status| status["sync"] == "Failed").await;
    insta::assert_snapshot!(status["note"].as_str().unwrap().replace(&team.namespace, "NS"), @"the PreSync hook Job NS/migrate failed: BackoffLimitExceeded: Job has reached the specified backoff limit");
    let settings = team.get("configmaps", "settings").await.unwrap();
    assert_eq!(settings["data"]["key"], "one");
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Failed");
    assert!(team.get("batch/v1/jobs", "clean").await.is_some(), "the hook for failures was run");

    let third = team.push("Three", &[("deploy/all.yaml", files("three", ""))]);
    team.until_synced("shop", &third).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_fails_takes_the_release_back() {
    let team = Team::new("tested").await;
    let helm = |pod: &str| hook("smoke", json!({"helm.sh/hook": "test"}), pod);
    let files = |value: &str, pod: &str| yaml(&[helm(pod), config_map("settings", value)]);
    let first = team.push("One", &[("deploy/all.yaml", files("one", ""))]);
    team.deploy_shop(json!({"sync": {"timeout": "2m"}}));
    team.until_synced("shop", &first).await;
    team.push("Two", &[("deploy/all.yaml", files("two", "fails"))]);
    let status = team.until("shop", "Held", |status| status["sync"] == "Held").await;
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Failed\n3 AutomaticRollback to 1 Healthy");
    let settings = team.get("configmaps", "settings").await.unwrap();
    assert_eq!(settings["data"]["key"], "one");
    let note = status["note"].as_str().unwrap();
    assert!(note.contains("the Test hook Job"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_runs_while_the_controller_is_killed_is_not_run_twice() {
    let site = Site::new();
    let mut controller = site.start(&Start::default());
    let team = Team::at(&site, "killed-hook").await;
    let files = yaml(&[in_phase("migrate", "PreSync", "hangs"), config_map("settings", "git")]);
    let commit = team.push("One", &[("deploy/all.yaml", files)]);
    let begun = team.watch("batch/v1/jobs", |seen: &Watched| seen.kind == "ADDED", 1).await;
    team.deploy_shop(json!({"sync": {"timeout": "5m"}}));
    begun.await.unwrap();
    controller.kill();
    let before = uid(&team, "migrate").await;
    controller.start_at_once(&site);
    team.until("shop", "it goes on", |status| {
        status["note"].as_str().is_some_and(|note| note.contains("PreSync hook"))
    })
    .await;
    team.polls(2).await;
    assert_eq!(uid(&team, "migrate").await, before);
    assert!(team.get("configmaps", "settings").await.is_none());

    // The pod ends after all.
    let pods = team.list("pods").await;
    let pod = pods[0]["metadata"]["name"].as_str().unwrap();
    let path = format!("{}/status", team.path("pods", pod));
    team.patch_at(&path, "kubelet", &json!({"status": {"phase": "Succeeded"}})).await;
    team.until_synced("shop", &commit).await;
    assert_eq!(uid(&team, "migrate").await, before);
    assert_eq!(team.history("shop").await, "1 Push Healthy");
}
