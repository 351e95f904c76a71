//! An object that moves from one application to another is never deleted in
//! between.

use serde_json::{Value, json};

use crate::world::{Application, Site, Start, Team, config_map, eventually};

fn app<'a>(name: &'a str, path: &'a str) -> Application<'a> {
    Application { name, path, spec: json!({}) }
}

/// Two applications with an object each, and `moving` in the first.
async fn two(team: &Team<'_>) -> Value {
    let mut moving = config_map("moving", "first");
    moving["data"]["only-first"] = json!("x");
    let commit = team.push(
        "Both",
        &[
            ("a/own.yaml", config_map("own-of-first", "1").to_string()),
            ("a/moving.yaml", moving.to_string()),
            ("b/own.yaml", config_map("own-of-second", "1").to_string()),
        ],
    );
    team.deploy(&app("first", "a"));
    team.deploy(&app("second", "b"));
    team.until_synced("first", &commit).await;
    team.until_synced("second", &commit).await;
    team.get("configmaps", "moving").await.unwrap()
}

async fn is_the_seconds(team: &Team<'_>, before: &Value) {
    let after = eventually("the object is the second's", async || {
        let object = team.get("configmaps", "moving").await.unwrap_or_default();
        let owner = object["metadata"]["annotations"]["bowline.dev/application"].clone();
        if owner == format!("{}/second", team.namespace) { Ok(object) } else { Err(format!("{object:#}")) }
    })
    .await;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "it is the same object: it was never deleted");
    assert_eq!(after["data"], json!({"key": "second"}), "what only the first had is gone");
    let managers: Vec<_> = after["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["manager"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(managers, [format!("bowline/{}/second", team.namespace)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_commit_it_is_handed_over_whoever_comes_first() {
    let team = Team::new("move").await;
    let before = two(&team).await;
    team.repo.remove("a/moving.yaml").unwrap();
    let moved = team.push("Moved", &[("b/moving.yaml", config_map("moving", "second").to_string())]);
    team.until_synced("second", &moved).await;
    team.until_synced("first", &moved).await;
    is_the_seconds(&team, &before).await;

    // And back, a few times: the order in which the two come is not the same.
    for round in 0..4 {
        let (from, to, name) = if round % 2 == 0 { ("b", "a", "first") } else { ("a", "b", "second") };
        team.repo.remove(&format!("{from}/moving.yaml")).unwrap();
        let path = format!("{to}/moving.yaml");
        let moved = team.push("Moved again", &[(path.as_str(), config_map("moving", name).to_string())]);
        team.until_synced("first", &moved).await;
        team.until_synced("second", &moved).await;
        let object = team.get("configmaps", "moving").await.unwrap();
        assert_eq!(object["metadata"]["uid"], before["metadata"]["uid"], "round {round}");
        assert_eq!(object["data"]["key"], name, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_came_while_no_controller_ran_deletes_nothing_either() {
    let site = Site::new();
    let mut controller = site.start(&Start::default());
    let team = Team::at(&site, "away").await;
    let before = two(&team).await;
    controller.kill();
    team.repo.remove("a/moving.yaml").unwrap();
    let moved = team.push("Moved", &[("b/moving.yaml", config_map("moving", "second").to_string())]);
    controller.start_at_once(&site);
    team.until_synced("first", &moved).await;
    team.until_synced("second", &moved).await;
    is_the_seconds(&team, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_two_commits_the_second_waits_until_the_first_lets_go() {
    let team = Team::new("moves").await;
    let before = two(&team).await;
    team.push("Both have it", &[("b/moving.yaml", config_map("moving", "second").to_string())]);
    let status = team.until("second", "Failed", |status| status["sync"] == "Failed").await;
    assert!(status["note"].as_str().unwrap().contains("belongs to the Application"), "{status:#}");
    assert_eq!(team.get("configmaps", "moving").await.unwrap()["data"]["key"], "first");

    team.repo.remove("a/moving.yaml").unwrap();
    let moved = team.push("The first lets go", &[]);
    team.until_synced("first", &moved).await;
    team.until_synced("second", &moved).await;
    is_the_seconds(&team, &before).await;
    let words = format!("HandedOver: ConfigMap {0}/moving is left to the Application {0}/second", team.namespace);
    eventually("an event tells of it", async || {
        let events = team.events("first").await;
        if events.iter().any(|event| event.starts_with(&words)) { Ok(()) } else { Err(format!("{events:#?}")) }
    })
    .await;
}
