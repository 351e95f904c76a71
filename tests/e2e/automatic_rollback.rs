//! A commit that breaks is taken back.

use rig::{Fault, FaultProxy, Seen};
use serde_json::json;

use crate::world::{Application, Site, Start, Team, config_map, deployment, eventually, yaml};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_becomes_healthy_is_taken_back() {
    let site = Site::new();
    let _controller = site.start(&Start::default());
    let team = Team::at(&site, "taken-back").await;
    let content = |image: &str, value: &str| {
        [("deploy/all.yaml", yaml(&[deployment("web", image), config_map("settings", value)]))]
    };
    let good = team.push("Good", &content("registry.example/web:1", "good"));
    team.deploy_shop(json!({"sync": {"timeout": "8s"}}));
    team.until_synced("shop", &good).await;

    let bad = team.push("Bad", &content("registry.example/web:missing", "bad"));
    let status = team
        .until("shop", "Held after the rollback", |status| {
            status["sync"] == "Held" && status["release"]["phase"] == "Healthy"
        })
        .await;
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Failed\n3 AutomaticRollback to 1 Healthy");
    assert_eq!(team.get("configmaps", "settings").await.unwrap()["data"]["key"], "good");
    let web = team.get("apps/v1/deployments", "web").await.unwrap();
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "registry.example/web:1");

    let short = &bad[..7];
    let releases = team.releases("shop").await;
    let outcome = releases[1].status.as_ref().unwrap().outcome.as_ref().unwrap();
    let said = format!(
        "outcome: {}\nreason:  {}\nnote:    {}\nnext:    {}",
        outcome.message,
        releases[2].spec.reason,
        status["note"].as_str().unwrap(),
        status["next"].as_str().unwrap(),
    );
    let said = said.replace(short, "COMMIT").replace(&team.namespace, "NAMESPACE");
    let pod = pod_name(&said);
    let said = said.replace(&pod, "web-POD");
    insta::assert_snapshot!(said, @r#"
    outcome: not healthy in 8s: Deployment NAMESPACE/web: 1 replica of the old release not gone yet; pod web-POD: container main: ImagePullBackOff: Back-off pulling image "registry.example/web:missing": not found
    reason:  not healthy in 8s: Deployment NAMESPACE/web: 1 replica of the old release not gone yet; pod web-POD: container main: ImagePullBackOff: Back-off pulling image "registry.example/web:missing": not found
    note:    COMMIT was taken back: not healthy in 8s: Deployment NAMESPACE/web: 1 replica of the old release not gone yet; pod web-POD: container main: ImagePullBackOff: Back-off pulling image "registry.example/web:missing": not found
    next:    goes on by itself when Git renders different content; to let this content in: bowline sync shop --accept
    "#);
    assert_eq!(status["lastHealthyRelease"], 3, "{status:#}");
    assert_eq!(status["hold"]["rejectedRelease"], 2);
    assert_eq!(releases[1].status.as_ref().unwrap().after.as_ref().unwrap().rolled_back_by, Some(3));

    // It stays out, and the fix goes ahead.
    team.polls(10).await;
    assert_eq!(team.releases("shop").await.len(), 3);
    let fixed = team.push("Fixed", &content("registry.example/web:2", "fixed"));
    assert_eq!(team.until_synced("shop", &fixed).await, 4);
}

/// The name of the pod that a message speaks of: `web-`, a hash and a suffix.
fn pod_name(said: &str) -> String {
    let words = said.split(|character: char| !(character.is_ascii_alphanumeric() || character == '-'));
    let pod = words.filter(|word| word.starts_with("web-")).max_by_key(|word| word.len());
    pod.unwrap_or("web-POD").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_that_breaks_has_nothing_to_go_back_to_and_says_so() {
    let site = Site::new();
    let _controller = site.start(&Start::default());
    let team = Team::at(&site, "first").await;
    team.push("Bad", &[("deploy/web.yaml", deployment("web", "registry.example/web:missing").to_string())]);
    team.deploy_shop(json!({"sync": {"timeout": "2s"}}));
    let status = team.until("shop", "Failed", |status| status["sync"] == "Failed").await;
    let note = status["note"].as_str().unwrap();
    assert!(note.contains("no earlier healthy release"), "{note}");
    assert_eq!(team.history("shop").await, "1 Push Failed");
    team.polls(5).await;
    assert_eq!(team.history("shop").await, "1 Push Failed", "the same content is not tried again and again");
}

/// A pod of its own; kwok lets it run.
fn pod(value: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "annotations": {"example.com/value": value}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": "registry.example/web:1"}],
        },
    })
}

impl Team<'_> {
    /// Says of the pod what a kubelet would.
    async fn pod_is(&self, phase: &str) {
        let path = format!("{}/status", self.path("pods", "web"));
        self.patch_at(&path, "kubelet", &json!({"status": {"phase": phase}})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_degrades_soon_after_it_was_healthy_is_taken_back_also_by_a_controller_that_comes_back() {
    let site = Site::new();
    let mut controller = site.start(&Start::default());
    let team = Team::at(&site, "degrades").await;
    let content = |value: &str| [("deploy/all.yaml", yaml(&[config_map("settings", value), pod(value)]))];
    let good = team.push("Good", &content("good"));
    team.deploy_shop(json!({"sync": {"timeout": "5s"}}));
    team.until_synced("shop", &good).await;
    let bad = team.push("Bad", &content("bad"));
    assert_eq!(team.until_synced("shop", &bad).await, 2);

    team.pod_is("Failed").await;
    let status = team
        .until("shop", "says what is going to happen", |status| {
            status["next"]
                .as_str()
                .is_some_and(|next| next.starts_with("goes back to release 1 if it is still Degraded"))
        })
        .await;
    assert_eq!((&status["sync"], &status["health"]), (&json!("Synced"), &json!("Degraded")), "{status:#}");
    // Nothing of that is in the memory of one process alone.
    controller.start_at_once(&site);
    team.until("shop", "goes back", |status| status["release"]["number"] == 3).await;
    team.pod_is("Running").await;
    team.until("shop", "Held after the rollback", |status| {
        status["sync"] == "Held" && status["release"]["phase"] == "Healthy"
    })
    .await;
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy\n3 AutomaticRollback to 1 Healthy");
    assert_eq!(team.get("configmaps", "settings").await.unwrap()["data"]["key"], "good");
    let releases = team.releases("shop").await;
    let after = releases[1].status.as_ref().unwrap().after.as_ref().unwrap();
    let expected = format!("degraded after it had been healthy: Pod {}/web: ", team.namespace);
    assert!(after.degraded.starts_with(&expected), "{}", after.degraded);
    assert_eq!((after.rolled_back_by, &releases[2].spec.reason), (Some(3), &after.degraded));
    assert_eq!(team.status("shop").await["lastHealthyRelease"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_degrades_and_is_not_watched_is_told_and_left() {
    let site = Site::new();
    let _controller = site.start(&Start::default());
    let team = Team::at(&site, "unwatched").await;
    let content = |value: &str| [("deploy/all.yaml", yaml(&[config_map("settings", value), pod(value)]))];
    let good = team.push("Good", &content("good"));
    team.deploy_shop(json!({"sync": {"timeout": "2s"}, "rollback": {"watch": "0s"}}));
    team.until_synced("shop", &good).await;
    let bad = team.push("Bad", &content("bad"));
    assert_eq!(team.until_synced("shop", &bad).await, 2);
    team.pod_is("Failed").await;
    team.until("shop", "the last healthy release is another one", |status| status["lastHealthyRelease"] == 1).await;
    team.polls(5).await;
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_break_at_once_stay_and_say_that_the_cluster_is_the_cause() {
    let site = Site::new();
    let _controller = site.start(&Start::default());
    let team = Team::at(&site, "at-once").await;
    let names = FIVE;
    let all = |image: &str| -> Vec<(String, String)> {
        let file = |name: &&str| (format!("{name}/web.yaml"), deployment(name, image).to_string());
        names.iter().map(file).collect()
    };
    let push = |subject: &str, image: &str| {
        let files = all(image);
        let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
        team.push(subject, &files)
    };
    let good = push("Good", "registry.example/web:1");
    for name in names {
        team.deploy(&Application { name, path: name, spec: json!({"sync": {"timeout": "25s"}}) });
    }
    for name in names {
        team.until_synced(name, &good).await;
    }
    push("Bad", "registry.example/web:missing");
    for name in names {
        let status = team
            .until(name, "failed", |status| status["release"]["number"] == 2 && status["release"]["phase"] == "Failed")
            .await;
        let note = status["note"].as_str().unwrap();
        assert!(note.contains("many applications broke at once, which points at the cluster"), "{note}");
        assert_eq!(status["next"], format!("fix it in Git, or: bowline rollback {name}"));
    }
    team.polls(5).await;
    for name in names {
        assert_eq!(team.history(name).await, "1 Push Healthy\n2 Push Failed");
    }
    // A person decides.
    let answer = team.roll_back(2, &json!({"applicationRef": {"name": "three"}})).await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
}

/// What five applications of one repository have, in two waves.
fn five(image: &str, value: &str) -> Vec<(String, String)> {
    let file = |name: &&str| {
        let mut web = deployment(name, image);
        web["metadata"]["annotations"] = json!({"bowline.dev/wave": "1"});
        (format!("{name}/all.yaml"), yaml(&[config_map(&format!("settings-{name}"), value), web]))
    };
    FIVE.iter().map(file).collect()
}

const FIVE: [&str; 5] = ["one", "two", "three", "four", "five"];

/// A write that is refused half-way fails at once. Of many to which that
/// happens in the same moment none goes back because it was the first; one to
/// which it happens alone does.
#[tokio::test(flavor = "multi_thread")]
async fn many_whose_writes_are_refused_in_one_moment_all_stay_and_one_alone_goes_back() {
    let site = Site::new();
    let proxy = FaultProxy::start(&site.cluster).unwrap();
    let kubeconfig = Some(proxy.kubeconfig_path().to_owned());
    let _controller = site.start(&Start { kubeconfig, ..Start::default() });
    let team = Team::at(&site, "in-one-moment").await;
    let push = |subject: &str, files: &[(String, String)]| {
        let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
        team.push(subject, &files)
    };
    let refuse = |what: &'static str| {
        let of = move |seen: &Seen| {
            seen.method == "PATCH" && seen.path.contains(what) && !seen.query.contains("dryRun") && !seen.is_watch()
        };
        proxy.strike(of, Fault::Answer { code: 403, retry_after: None });
    };
    let good = push("Good", &five("registry.example/web:1", "good"));
    for name in FIVE {
        team.deploy(&Application { name, path: name, spec: json!({"sync": {"timeout": "10m"}}) });
    }
    for name in FIVE {
        team.until_synced(name, &good).await;
    }
    refuse("/deployments/");
    push("Bad", &five("registry.example/web:2", "bad"));
    for name in FIVE {
        let status = team
            .until(name, "failed", |status| status["release"]["number"] == 2 && status["release"]["phase"] == "Failed")
            .await;
        let note = status["note"].as_str().unwrap();
        assert!(note.contains("many applications broke at once, which points at the cluster"), "{note}");
        let settings = team.get("configmaps", &format!("settings-{name}")).await.unwrap();
        assert_eq!(settings["data"]["key"], "bad", "it had begun");
    }
    team.polls(5).await;
    for name in FIVE {
        assert_eq!(team.history(name).await, "1 Push Healthy\n2 Push Failed");
    }

    proxy.end();
    let fixed = push("Fixed", &five("registry.example/web:3", "fixed"));
    for name in FIVE {
        team.until_synced(name, &fixed).await;
    }
    refuse("/deployments/three");
    push("Bad again", &five("registry.example/web:4", "bad again"));
    team.until("three", "failed", |status| status["release"]["number"].as_u64() > Some(3)).await;
    eventually("it goes back alone", async || {
        let history = team.history("three").await;
        let first = history.lines().nth(4).unwrap_or_default().to_owned();
        if first.starts_with("5 AutomaticRollback to 3") { Ok(()) } else { Err(history) }
    })
    .await;
    proxy.end();
    for name in ["one", "two", "four", "five"] {
        team.until(name, "Healthy", |status| status["release"]["number"] == 4 && status["sync"] == "Synced").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_broke_nothing_of_its_own_and_one_that_cannot_be_undone_are_left_to_a_person() {
    let team = Team::new("brakes").await;
    let content = |value: &str, more: &[serde_json::Value]| {
        [("deploy/all.yaml", yaml(&[&[pod("same"), config_map("settings", value)], more].concat()))]
    };
    let good = team.push("Good", &content("one", &[]));
    team.deploy_shop(json!({"sync": {"timeout": "5s"}}));
    team.until_synced("shop", &good).await;
    let failed = |number: u64| {
        move |status: &serde_json::Value| {
            status["release"]["number"] == number && status["release"]["phase"] == "Failed"
        }
    };
    team.pod_is("Failed").await;
    team.until("shop", "Degraded", |status| status["health"] == "Degraded").await;
    team.push("A value", &content("two", &[]));
    let status = team.until("shop", "failed", failed(2)).await;
    let note = status["note"].as_str().unwrap();
    assert!(
        note.contains("nothing that this release changed is unhealthy, so going back is left to a person"),
        "{note}"
    );

    team.pod_is("Running").await;
    let mut migrate = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate", "annotations": {"bowline.dev/irreversible": "true"}},
        "spec": {"template": {"spec": {"restartPolicy": "Never"}}},
    });
    migrate["spec"]["template"]["spec"]["containers"] = json!([{"name": "main", "image": "registry.example/job:1"}]);
    team.push("A migration", &content("three", &[migrate, deployment("web", "registry.example/web:missing")]));
    let status = team.until("shop", "failed again", failed(3)).await;
    let note = status["note"].as_str().unwrap();
    assert!(note.contains("it ran Job") && note.contains("so going back is left to a person"), "{note}");
    team.polls(3).await;
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Failed\n3 Push Failed");
}
