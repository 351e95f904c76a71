//! Who starts a release: Git, a person, or nobody for a while.

use serde_json::json;

use crate::world::{Site, Start, Team, config_map, eventually, sync_request};

fn value(value: &str) -> (&'static str, String) {
    ("deploy/one.yaml", config_map("one", value).to_string())
}

async fn live(team: &Team<'_>) -> String {
    let one = team.get("configmaps", "one").await.unwrap_or_default();
    one["data"]["key"].as_str().unwrap_or("nothing").to_owned()
}

async fn until_live(team: &Team<'_>, wanted: &str) {
    eventually(&format!("{wanted} is live"), async || {
        let live = live(team).await;
        if live == wanted { Ok(()) } else { Err(live) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_manual_mode_new_content_waits_for_a_person_and_repairs_go_on() {
    let team = Team::new("manual").await;
    let first = team.push("First", &[value("one")]);
    team.deploy_shop(json!({"sync": {"mode": "Manual"}}));
    let status = team.until("shop", "OutOfSync", |status| status["sync"] == "OutOfSync").await;
    let short = &first[..7];
    assert_eq!(status["note"], format!("commit {short} waits for a person (sync.mode is Manual)"));
    assert_eq!(status["next"], "to apply it: bowline sync shop");
    team.polls(3).await;
    assert_eq!(live(&team).await, "nothing");
    team.create(&sync_request("first", &json!({"reason": "go"})));
    let answer = team.until_answered("syncrequests", "first").await;
    assert_eq!((&answer["phase"], &answer["release"]), (&json!("Succeeded"), &json!(1)), "{answer:#}");
    team.until_synced("shop", &first).await;

    team.patch("configmaps", "one", "kubectl-edit", &json!({"data": {"key": "hand"}})).await;
    until_live(&team, "one").await;
    assert_eq!(team.history("shop").await, "1 Request Healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_asked_for_stays_until_the_head_changes() {
    let team = Team::new("pin").await;
    let first = team.push("First", &[value("one")]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let second = team.push("Second", &[value("two")]);
    team.until_synced("shop", &second).await;

    team.create(&sync_request("pin", &json!({"revision": first})));
    let answer = team.until_answered("syncrequests", "pin").await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    assert_eq!(live(&team).await, "one");
    team.polls(5).await;
    assert_eq!(live(&team).await, "one");
    let status = team.status("shop").await;
    assert_eq!(status["pin"]["commit"], first, "{status:#}");
    assert_eq!(status["pin"]["headThen"], second, "{status:#}");
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy\n3 Request Healthy");

    let third = team.push("Third", &[value("three")]);
    team.until_synced("shop", &third).await;
    assert_eq!(live(&team).await, "three");
    assert!(team.status("shop").await["pin"].is_null());

    team.create(&sync_request("nowhere", &json!({"revision": "no-such-branch"})));
    let answer = team.until_answered("syncrequests", "nowhere").await;
    assert_eq!(answer["phase"], "Refused", "{answer:#}");
    assert!(answer["message"].as_str().unwrap().contains("no-such-branch"), "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_application_is_left_alone_and_can_still_be_rolled_back() {
    let team = Team::new("suspend").await;
    let first = team.push("First", &[value("one")]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let second = team.push("Second", &[value("two")]);
    team.until_synced("shop", &second).await;
    team.patch("applications", "shop", "kubectl-edit", &json!({"spec": {"suspend": true}})).await;
    team.until("shop", "Suspended", |status| status["sync"] == "Suspended").await;

    let third = team.push("Third", &[value("three")]);
    team.until("shop", "third is seen", |status| status["head"]["commit"] == third).await;
    team.patch("configmaps", "one", "kubectl-edit", &json!({"data": {"key": "hand"}})).await;
    team.polls(3).await;
    assert_eq!(live(&team).await, "hand");
    assert_eq!(team.releases("shop").await.len(), 2);

    team.create(&sync_request("sync", &json!({})));
    let answer = team.until_answered("syncrequests", "sync").await;
    assert_eq!(answer["phase"], "Refused", "{answer:#}");
    assert!(answer["message"].as_str().unwrap().contains("suspended"), "{answer:#}");
    let answer = team.roll_back(2, &json!({})).await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    assert_eq!(live(&team).await, "one");

    team.patch("applications", "shop", "kubectl-edit", &json!({"spec": {"suspend": false}})).await;
    team.until_synced("shop", &third).await;
    assert_eq!(live(&team).await, "three");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_says_who_and_why_and_ends_by_itself() {
    let team = Team::new("until").await;
    let first = team.push("First", &[value("one")]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(6);
    team.create(&json!({
        "apiVersion": "bowline.dev/v1alpha1",
        "kind": "Suspension",
        "metadata": {"name": "freeze"},
        "spec": {"applicationRef": {"name": "shop"}, "reason": "the auditors are here", "until": until.to_string()},
    }));
    let status = team.until("shop", "Suspended", |status| status["sync"] == "Suspended").await;
    let note = status["note"].as_str().unwrap();
    assert!(note.contains("rig:admin") && note.contains("the auditors are here"), "{note}");
    let ready = status["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Ready").unwrap();
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("Suspended")));
    let second = team.push("Second", &[value("two")]);
    team.until("shop", "second is seen", |status| status["head"]["commit"] == second).await;
    assert_eq!(live(&team).await, "one");
    team.until_synced("shop", &second).await;
    assert!(jiff::Timestamp::now() >= until, "not before its time");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observing_controller_plans_and_reports_and_writes_nothing() {
    let site = Site::new();
    let _controller = site.start(&Start { arguments: vec!["--observe-only"], ..Start::default() });
    let team = Team::at(&site, "observe").await;
    let first = team.push("First", &[value("one")]);
    let mark = site.cluster.audit_log().mark().unwrap();
    team.deploy_shop(json!({}));
    let status = team.until("shop", "OutOfSync", |status| status["sync"] == "OutOfSync").await;
    let short = &first[..7];
    assert_eq!(status["note"], format!("commit {short} would be applied; the controller only observes"));
    team.create(&sync_request("plan", &json!({"dryRun": true})));
    let answer = team.until_answered("syncrequests", "plan").await;
    assert_eq!(answer["plan"]["actions"][0]["verb"], "Create", "{answer:#}");
    team.create(&sync_request("sync", &json!({})));
    let answer = team.until_answered("syncrequests", "sync").await;
    assert_eq!(answer["phase"], "Refused", "{answer:#}");
    assert!(answer["message"].as_str().unwrap().contains("--observe-only"), "{answer:#}");
    assert_eq!(live(&team).await, "nothing");
    let writes: Vec<String> = site
        .cluster
        .audit_log()
        .by_user_agent(mark, "bowline-controller")
        .unwrap()
        .into_iter()
        .filter(|request| ["create", "update", "patch", "delete"].contains(&request.verb.as_str()))
        .filter(|request| !request.uri.contains("dryRun=All"))
        .filter(|request| {
            let about = request.object_ref.clone().unwrap_or_default();
            about.api_group != "bowline.dev" && !["leases", "events"].contains(&about.resource.as_str())
        })
        .map(|request| format!("{} {}", request.verb, request.uri))
        .collect();
    assert!(writes.is_empty(), "{writes:#?}");
}
