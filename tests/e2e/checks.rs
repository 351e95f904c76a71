//! The application's own checks of health, on the real API server.

use serde_json::{Value, json};

use crate::world::{Site, Start, Team, config_map};

fn checks(healthy: &str) -> Value {
    json!({"checks": [{
        "kind": "ConfigMap",
        "healthy": healthy,
        "degraded": "object.data.key == 'broken'",
        "message": "'the value is ' + object.data.key",
    }]})
}

fn accepted(status: &Value) -> Value {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition["type"] == "ChecksAccepted").unwrap_or_default();
    json!([found["status"], found["message"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_healthy_when_the_checks_of_its_application_say_so() {
    let team = Team::new("checks").await;
    let push = |value: &str| team.push(value, &[("deploy/gate.yaml", config_map("gate", value).to_string())]);
    push("starting");
    team.deploy_shop(json!({"health": checks("object.data.key == 'ready'"), "sync": {"timeout": "5m"}}));
    let waits = format!("1/1 applied, waiting for ConfigMap {}/gate: the value is starting", team.namespace);
    let status = team.until("shop", "waits for its check", |status| status["note"] == waits).await;
    assert_eq!(accepted(&status), json!(["True", "checks in use: 1"]));

    let ready = push("ready");
    team.until_synced("shop", &ready).await;
    assert_eq!(team.history("shop").await, "1 Push Superseded\n2 Push Healthy");

    // Other checks judge what is there, without a commit and without a write.
    let object = team.get("configmaps", "gate").await.unwrap();
    let change = |healthy: &str| json!({"spec": {"health": checks(healthy)}});
    team.patch("applications", "shop", "person", &change("object.data.key == 'perfect'")).await;
    team.until("shop", "Progressing", |status| status["health"] == "Progressing").await;
    assert_eq!(
        team.get("configmaps", "gate").await.unwrap()["metadata"]["resourceVersion"],
        object["metadata"]["resourceVersion"]
    );

    // What cannot be used is said, and stops nothing: the built-in rules judge.
    team.patch("applications", "shop", "person", &change("object.data.key ==")).await;
    let status = team.until("shop", "refused checks", |status| accepted(status)[0] == "False").await;
    let message = accepted(&status)[1].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("spec.health.checks: `healthy` of the check of ConfigMap: does not parse"),
        "{message}"
    );
    team.until("shop", "Healthy by the built-in rules", |status| status["health"] == "Healthy").await;
    let events = team.events("shop").await;
    assert!(events.iter().any(|event| event.contains("ChecksRefused")), "{events:#?}");

    team.patch("applications", "shop", "person", &change("object.data.key == 'perfect'")).await;
    team.until("shop", "Progressing again", |status| status["health"] == "Progressing").await;
    team.patch("applications", "shop", "person", &json!({"spec": {"health": null}})).await;
    let status = team.until("shop", "Healthy", |status| status["health"] == "Healthy").await;
    assert_eq!(accepted(&status), json!([null, null]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_comes_back_judges_by_the_checks_that_can_be_used() {
    let site = Site::new();
    let mut controller = site.start(&Start::default());
    let team = Team::at(&site, "checks-again").await;
    let gate = team.push("Gate", &[("deploy/gate.yaml", config_map("gate", "one").to_string())]);
    // Whether the gate is open is not in Git: a label that somebody else sets.
    let checks = json!({"checks": [
        {"kind": "Service", "healthy": "object.spec.type =="},
        {"kind": "ConfigMap", "healthy": "object.metadata.labels.state == 'open'"},
    ]});
    team.deploy_shop(json!({"health": checks, "sync": {"timeout": "5m"}}));
    let waits = format!("1/1 applied, waiting for ConfigMap {}/gate: the check", team.namespace);
    let status = team
        .until("shop", "waits for the check that can be used", |status| {
            status["note"].as_str().is_some_and(|note| note.starts_with(&waits))
        })
        .await;
    assert_eq!(accepted(&status)[0], "False");
    let message = accepted(&status)[1].as_str().unwrap().to_owned();
    assert!(message.contains("the check of Service: does not parse") && !message.contains("ConfigMap"), "{message}");

    let label = async |state: &str| {
        team.patch("configmaps", "gate", "person", &json!({"metadata": {"labels": {"state": state}}})).await;
    };
    controller.kill();
    label("open").await;
    controller.start_at_once(&site);
    team.until_synced("shop", &gate).await;

    // No built-in rule finds anything wrong with a ConfigMap.
    controller.kill();
    label("closed").await;
    controller.start_at_once(&site);
    let status = team.until("shop", "Progressing again", |status| status["health"] == "Progressing").await;
    assert_eq!(accepted(&status)[0], "False");
    label("open").await;
    team.until("shop", "Healthy again", |status| status["health"] == "Healthy").await;
    assert_eq!(team.history("shop").await, "1 Push Healthy");
}
