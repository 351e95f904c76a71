//! Applications that wait for others.

use serde_json::{Value, json};

use crate::world::{Application, Team, config_map, sync_request};

const NAMES: [&str; 3] = ["database", "shop", "front"];

fn files(value: &str) -> Vec<(String, String)> {
    NAMES.iter().map(|name| (format!("{name}/one.yaml"), config_map(name, value).to_string())).collect()
}

fn push(team: &Team<'_>, value: &str) -> String {
    let files = files(value);
    let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    team.push(value, &files)
}

fn deploy(team: &Team<'_>, name: &str, spec: Value) {
    team.deploy(&Application { name, path: name, spec });
}

async fn sync(team: &Team<'_>, application: &str, request: &str) {
    let answer = team.ask(&sync_request(request, &json!({"applicationRef": {"name": application}}))).await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
}

async fn until_note(team: &Team<'_>, application: &str, wanted: &str) -> Value {
    team.until(application, wanted, |status| status["note"].as_str().is_some_and(|note| note.contains(wanted))).await
}

fn condition(status: &Value) -> (String, String) {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == "DependenciesReady").cloned();
    let word = |key: &str| found.as_ref().and_then(|found| found[key].as_str()).unwrap_or_default().to_owned();
    (word("status"), word("reason"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_goes_after_those_that_it_depends_on() {
    let team = Team::new("order").await;
    let first = push(&team, "first");
    // In the order in which they cannot be applied.
    deploy(&team, "front", json!({"dependsOn": ["shop"]}));
    deploy(&team, "shop", json!({"dependsOn": ["database"]}));
    let short = &first[..7];
    let status = until_note(&team, "shop", "does not exist").await;
    assert_eq!(status["sync"], "OutOfSync");
    assert_eq!(status["note"], format!("commit {short} waits for database (does not exist)"));
    assert_eq!(
        status["next"],
        "goes on by itself when they are Synced and Healthy; to go ahead now: bowline sync shop"
    );
    assert_eq!(condition(&status), ("False".into(), "Waiting".into()));
    until_note(&team, "front", "waits for shop (OutOfSync").await;

    deploy(&team, "database", json!({"sync": {"mode": "Manual"}}));
    until_note(&team, "shop", "waits for database (OutOfSync").await;
    team.polls(3).await;
    assert!(team.releases("shop").await.is_empty() && team.releases("front").await.is_empty());
    sync(&team, "database", "database-first").await;
    for name in NAMES {
        team.until_synced(name, &first).await;
    }
    // A commit that concerns only the last one: the others have looked at it, too.
    let only = team.push("Only the front", &[("front/one.yaml", config_map("front", "only").to_string())]);
    team.until_synced("front", &only).await;
    for pair in NAMES.windows(2) {
        let ended =
            team.get("releases", &format!("{}-1", pair[0])).await.unwrap()["status"]["outcome"]["endedAt"].clone();
        let began = team.get("releases", &format!("{}-1", pair[1])).await.unwrap()["spec"]["createdAt"].clone();
        let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert!(time(&ended) <= time(&began), "{} at {began} before {} at {ended}", pair[1], pair[0]);
    }
    assert_eq!(condition(&team.status("front").await), ("True".into(), "Ready".into()));

    // The next commit concerns all of them, and the database waits for a
    // person: so do those that depend on it. Another person does not.
    let second = push(&team, "second");
    let behind = |status: &Value| {
        let note = status["note"].as_str().unwrap_or_default();
        note.contains(&second[..7]) && note.contains("waits for database (OutOfSync")
    };
    team.until("shop", "waits with the second commit", behind).await;
    sync(&team, "shop", "shop-second").await;
    assert_eq!(team.get("configmaps", "shop").await.unwrap()["data"]["key"], "second");
    assert_eq!(team.get("configmaps", "database").await.unwrap()["data"]["key"], "first");
    team.until_synced("front", &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_is_refused_with_its_path_and_what_runs_is_left_alone() {
    let team = Team::new("circle").await;
    let first = push(&team, "first");
    deploy(&team, "database", json!({}));
    deploy(&team, "shop", json!({"dependsOn": ["database"]}));
    deploy(&team, "front", json!({"dependsOn": ["shop"]}));
    for name in NAMES {
        team.until_synced(name, &first).await;
    }
    let closed = json!({"spec": {"dependsOn": ["front"]}});
    team.patch("applications", "database", "kubectl-edit", &closed).await;
    let status = until_note(&team, "front", "dependsOn leads in a circle: front → shop → database → front").await;
    assert_eq!(condition(&status), ("False".into(), "Circle".into()));
    until_note(&team, "database", "dependsOn leads in a circle: database → front → shop → database").await;
    push(&team, "second");
    for name in NAMES {
        let status = team.until(name, "Failed", |status| status["sync"] == "Failed").await;
        assert_eq!(status["next"], "take one of them out of dependsOn; what runs is left alone");
        assert_eq!(team.get("configmaps", name).await.unwrap()["data"]["key"], "first");
    }
    let events = team.kubectl(&["get", "events", "--field-selector", "reason=DependencyCircle", "-o", "json"]);
    let events: Value = serde_json::from_str(&events).unwrap();
    let told: std::collections::BTreeSet<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["involvedObject"]["name"].as_str().or(event["regarding"]["name"].as_str()))
        .collect();
    assert_eq!(told, NAMES.into_iter().collect());

    team.patch("applications", "database", "kubectl-edit", &json!({"spec": {"dependsOn": []}})).await;
    for name in NAMES {
        team.until(name, "Synced", |status| status["sync"] == "Synced").await;
        assert_eq!(team.get("configmaps", name).await.unwrap()["data"]["key"], "second");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_depends_on_itself_is_refused_when_it_is_made() {
    let team = Team::new("itself").await;
    let refused = team
        .try_create(&json!({
            "apiVersion": "bowline.dev/v1alpha1",
            "kind": "Application",
            "metadata": {"name": "shop"},
            "spec": {"source": {"repoURL": team.git.url("shop")}, "dependsOn": ["shop"]},
        }))
        .unwrap_err();
    assert!(refused.contains("an Application does not depend on itself"), "{refused}");
}
