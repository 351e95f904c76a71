//! At three in the morning somebody must know: word of what happened, to a
//! real HTTP server.

use bowline::notify::Key;
use rig::{Posted, Receiver};
use serde_json::{Value, json};

use crate::world::{Site, Start, Team, config_map, deployment, eventually, yaml};

const SECRET: &str = "a key of at least 16 bytes";

fn secret() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook"}, "stringData": {"key": SECRET}})
}

fn body(posted: &Posted) -> Value {
    serde_json::from_slice(&posted.body).unwrap()
}

/// What was posted of an application, one line each: the event and its message.
fn told(receiver: &Receiver) -> Vec<String> {
    let lines = receiver.posted();
    lines.iter().map(body).map(|body| format!("{} {}", word(&body["type"]), word(&body["data"]["message"]))).collect()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

async fn until_told(receiver: &Receiver, count: usize) -> Vec<String> {
    eventually(&format!("{count} notifications"), async || {
        let told = told(receiver);
        if told.len() >= count { Ok(told) } else { Err(told.join("\n")) }
    })
    .await
}

/// Waits until all that was delivered is remembered in the cluster.
async fn until_remembered(team: &Team<'_>, count: usize) {
    eventually(&format!("{count} notifications are remembered"), async || {
        let after = team.releases("shop").await.into_iter().filter_map(|release| release.status?.after);
        let told: Vec<String> = after.flat_map(|after| after.told).collect();
        if told.len() == count { Ok(()) } else { Err(told.join("\n")) }
    })
    .await;
}

fn start() -> Start {
    Start { arguments: vec!["--outgoing-hosts", "127.0.0.1"], ..Start::default() }
}

fn content(image: &str, value: &str) -> [(&'static str, String); 1] {
    [("deploy/all.yaml", yaml(&[deployment("web", image), config_map("settings", value)]))]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_taken_back_is_told_of_once_signed_and_also_after_a_restart() {
    let site = Site::new();
    let mut controller = site.start(&start());
    let team = Team::at(&site, "told").await;
    let receiver = Receiver::start().unwrap();
    team.create(&secret());
    let good = team.push("Good", &content("registry.example/web:1", "good"));
    team.deploy_shop(json!({
        "sync": {"timeout": "10s"},
        "notify": {"url": receiver.url("/hook"), "secretRef": {"name": "hook"}},
    }));
    team.until_synced("shop", &good).await;
    let bad = team.push("Bad", &content("registry.example/web:missing", "bad"));
    team.until("shop", "Held after the rollback", |status| {
        status["sync"] == "Held" && status["release"]["phase"] == "Healthy"
    })
    .await;
    let lines = until_told(&receiver, 3).await;
    until_remembered(&team, 3).await;
    let short = &bad[..7];
    let mut kinds: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["Failed", "Held", "RolledBack"], "{lines:#?}");
    let line = |kind: &str| lines.iter().find(|line| line.starts_with(kind)).unwrap().clone();
    assert!(line("Failed").starts_with(&format!("Failed release 2 ({short}) failed: not healthy in 10s: Deployment")));
    let back = "RolledBack release 3 brought back the content of release 1, and that of release 2 stays out";
    assert!(line("RolledBack").starts_with(back), "{}", line("RolledBack"));
    assert!(line("Held").starts_with(&format!("Held {short} renders what release 2 had and release 3 rejected")));

    let key = Key::read(SECRET.as_bytes()).unwrap();
    for posted in receiver.posted() {
        let (id, seconds) = (posted.header("webhook-id"), posted.header("webhook-timestamp").parse().unwrap());
        assert_eq!(posted.header("webhook-signature"), key.sign(id, seconds, &posted.body));
        let body = body(&posted);
        assert_eq!((&body["id"], &body["data"]["application"]), (&json!(id), &json!("shop")));
        assert_eq!(body["data"]["namespace"], json!(team.namespace));
    }

    // Neither time nor a restart says it again.
    controller.start_at_once(&site);
    let fixed = team.push("Fixed", &content("registry.example/web:2", "fixed"));
    team.until_synced("shop", &fixed).await;
    team.polls(5).await;
    assert_eq!(told(&receiver).len(), 3, "{:#?}", told(&receiver));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_told_before_a_restart_is_told_after_it_and_nothing_waits_for_it() {
    let site = Site::new();
    let mut controller = site.start(&start());
    let team = Team::at(&site, "later").await;
    let receiver = Receiver::start().unwrap();
    receiver.answer_with(503);
    team.push("Cannot be applied", &[("deploy/one.yaml", "apiVersion: v1\nkind: Unheard\n".to_owned())]);
    team.deploy_shop(json!({"notify": {"url": receiver.url("/")}}));
    let lines = until_told(&receiver, 2).await;
    assert!(lines.iter().all(|line| line.starts_with("Failed ")), "it is tried again: {lines:#?}");
    eventually("an Event says so", async || {
        let events = team.events("shop").await;
        let said = events.iter().any(|event| event.starts_with("NotificationFailed: ") && event.contains("503"));
        if said { Ok(()) } else { Err(events.join("\n")) }
    })
    .await;
    // The application goes on meanwhile.
    let good = team.push("Good", &[("deploy/one.yaml", config_map("one", "good").to_string())]);
    team.until_synced("shop", &good).await;
    let bad = team.push("Bad", &[("deploy/one.yaml", config_map("one", "bad").to_string())]);
    team.until_synced("shop", &bad).await;
    team.roll_back(2, &json!({"reason": "queue backs up"})).await;
    eventually("the rollback was tried to be told", async || {
        let lines = told(&receiver);
        if lines.iter().any(|line| line.starts_with("RolledBack")) { Ok(()) } else { Err(lines.join("\n")) }
    })
    .await;
    controller.kill();
    let before = receiver.posted();
    receiver.answer_with(200);
    controller.start_at_once(&site);
    until_remembered(&team, 2).await;
    let after: Vec<Posted> = receiver.posted().split_off(before.len());
    let mut kinds: Vec<String> = after.iter().map(|posted| word(&body(posted)["type"])).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["Held", "RolledBack"], "what is over and was never of a release is not told any more");
    let ids = |posted: &[Posted], kind: &str| -> Vec<String> {
        let of_kind = posted.iter().filter(|posted| body(posted)["type"] == kind);
        of_kind.map(|posted| posted.header("webhook-id").to_owned()).collect()
    };
    assert!(ids(&before, "RolledBack").contains(&ids(&after, "RolledBack")[0]), "the same occasion has the same id");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_nobody_has_the_operators_receiver_and_nobody_reaches_the_controllers_own_machine() {
    let site = Site::new();
    let receiver = Receiver::start().unwrap();
    let key_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key_file.path(), SECRET).unwrap();
    let (url, path) = (receiver.url("/operator"), key_file.path().to_str().unwrap().to_owned());
    let arguments = vec!["--notify-url", url.leak(), "--notify-key-file", path.leak()];
    let controller = site.start(&Start { arguments, ..Start::default() });
    let team = Team::at(&site, "operators").await;
    let broken = [("deploy/one.yaml", "apiVersion: v1\nkind: Unheard\n".to_owned())];
    team.push("Cannot be applied", &broken);
    team.deploy_shop(json!({}));
    until_told(&receiver, 1).await;
    let posted = receiver.posted().remove(0);
    assert_eq!(posted.path, "/operator");
    let key = Key::read(SECRET.as_bytes()).unwrap();
    let seconds = posted.header("webhook-timestamp").parse().unwrap();
    assert_eq!(posted.header("webhook-signature"), key.sign(posted.header("webhook-id"), seconds, &posted.body));

    let spy = Team::at(&site, "spy").await;
    spy.push("Cannot be applied", &broken);
    spy.deploy_shop(json!({"notify": {"url": receiver.url("/metadata")}}));
    eventually("it is refused", async || {
        let events = spy.events("shop").await;
        let said = events.iter().any(|event| event.contains("127.0.0.1 is an address of this machine"));
        if said { Ok(()) } else { Err(events.join("\n")) }
    })
    .await;
    assert!(receiver.posted().iter().all(|posted| posted.path == "/operator"));
    let failed = controller.metric("bowline_notifications_total{event=\"Failed\",outcome=\"failed\"}");
    assert_eq!(failed.len(), 1, "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fight_over_an_object_and_a_release_that_degrades_are_told_of() {
    let site = Site::new();
    let _controller = site.start(&start());
    let team = Team::at(&site, "fight").await;
    let receiver = Receiver::start().unwrap();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "main", "image": "registry.example/web:1"}]},
    });
    let good = team.push("Good", &[("deploy/all.yaml", yaml(&[config_map("one", "good"), pod]))]);
    team.deploy_shop(json!({"sync": {"timeout": "3s"}, "notify": {"url": receiver.url("/")}}));
    team.until_synced("shop", &good).await;
    let mut round = 0;
    let lines = eventually("the fight is told of", async || {
        // Each time that it is put back it is edited again.
        let live = team.get("configmaps", "one").await.unwrap();
        if live["data"]["key"] == "good" {
            round += 1;
            let edit = json!({"data": {"key": format!("edited {round}")}});
            team.patch("configmaps", "one", "kubectl-edit", &edit).await;
        }
        let lines = told(&receiver);
        if lines.iter().any(|line| line.starts_with("Contested")) { Ok(lines) } else { Err(lines.join("\n")) }
    })
    .await;
    let expected = format!("Contested ConfigMap {}/one is changed again and again: data.key", team.namespace);
    assert!(lines.len() == 1 && lines[0].starts_with(&expected), "{lines:#?}");

    team.patch_at(&format!("{}/status", team.path("pods", "web")), "kubelet", &json!({"status": {"phase": "Failed"}}))
        .await;
    let lines = until_told(&receiver, 2).await;
    let expected =
        format!("Degraded release 1 ({}) degraded after it had been healthy: Pod {}/web: ", &good[..7], team.namespace);
    assert!(lines[1].starts_with(&expected) && lines.len() == 2, "{lines:#?}");
}
