//! A rollback that holds.

use serde_json::{Value, json};

use crate::world::{Team, config_map, rollback_request, sync_request};

fn rollback(from: u64, to: u64, reason: &str) -> Value {
    rollback_request(&format!("back-from-{from}"), from, &json!({"toRelease": to, "reason": reason}))
}

fn value(value: &str) -> (&'static str, String) {
    ("deploy/one.yaml", config_map("one", value).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_holds_until_git_says_something_different_or_a_person_accepts() {
    let mut team = Team::new("hold").await;
    let good = team.push("Good", &[value("good")]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &good).await;
    let bad = team.push("Bad", &[value("bad")]);
    assert_eq!(team.until_synced("shop", &bad).await, 2);

    // The way back needs no Git. Who asks is what the server knows, not what the request says.
    team.git.stop();
    let mut request = rollback(2, 1, "the queue backs up");
    request["spec"]["requestedBy"] = json!("somebody-else");
    let asked = team.try_create(&request);
    match asked {
        Ok(made) => assert_eq!(made["spec"]["requestedBy"], "rig:admin", "a forged name is overwritten"),
        Err(refused) => panic!("the name is stamped where the server can do so: {refused}"),
    }
    let answer = team.until_answered("rollbackrequests", "back-from-2").await;
    assert_eq!((&answer["phase"], &answer["release"]), (&json!("Succeeded"), &json!(3)), "{answer:#}");
    assert_eq!(team.get("configmaps", "one").await.unwrap()["data"]["key"], "good");
    let release = team.releases("shop").await.pop().unwrap();
    assert_eq!((release.spec.requested_by.as_str(), release.spec.verified), ("rig:admin", true));
    assert_eq!(release.spec.reason, "the queue backs up");

    // Ten polls do not bring it back.
    team.git.start_again().unwrap();
    let held = |status: &Value| status["sync"] == "Held";
    // Until the server is asked again, the note says too that it could not be reached.
    let note = format!("{} was rolled back by rig:admin: \"the queue backs up\"", &bad[..7]);
    let status = team.until("shop", "Held", |status| held(status) && status["note"] == note).await;
    assert_eq!(status["hold"]["rejectedRelease"], 2);
    assert_eq!(status["hold"]["rejectedBy"], 3);
    team.polls(10).await;
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy\n3 Rollback to 1 Healthy");

    // Nor does a commit elsewhere, a comment, or another that renders the same.
    let comment = format!("# a comment\n{}", config_map("one", "bad"));
    let same = team.push("A comment", &[("deploy/one.yaml", comment), ("README.md", "words".into())]);
    team.until("shop", "Held at the comment", |status| held(status) && status["head"]["commit"] == same).await;

    // A revert is what runs already; the revert of the revert is the bad content again.
    let revert = team.push("Revert", &[value("good")]);
    team.until("shop", "looked at the revert", |status| {
        status["head"]["commit"] == revert && status["sync"] == "Synced"
    })
    .await;
    let again = team.push("Revert the revert", &[value("bad")]);
    team.until("shop", "Held at the revert of the revert", |status| held(status) && status["head"]["commit"] == again)
        .await;
    team.polls(3).await;
    assert_eq!(team.get("configmaps", "one").await.unwrap()["data"]["key"], "good");
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy\n3 Rollback to 1 Healthy");

    // The next different commit goes ahead by itself.
    let fixed = team.push("Fixed", &[value("fixed")]);
    assert_eq!(team.until_synced("shop", &fixed).await, 4);

    // The bad content is rejected still, until somebody accepts it.
    let bad_again = team.push("Bad once more", &[value("bad")]);
    let status =
        team.until("shop", "Held once more", |status| held(status) && status["head"]["commit"] == bad_again).await;
    let mut sync = sync_request("without-accept", &json!({"reason": "it is fine now"}));
    let answer = team.ask(&sync).await;
    assert_eq!(answer["phase"], "Refused", "{answer:#}");
    assert!(answer["message"].as_str().unwrap().contains("--accept"), "{answer:#}");
    sync["metadata"]["name"] = json!("with-accept");
    sync["spec"]["accept"] = status["hold"]["bundle"].clone();
    team.create(&sync);
    let answer = team.until_answered("syncrequests", "with-accept").await;
    assert_eq!((&answer["phase"], &answer["release"]), (&json!("Succeeded"), &json!(5)), "{answer:#}");
    assert_eq!(team.until_synced("shop", &bad_again).await, 5);
    assert_eq!(team.get("configmaps", "one").await.unwrap()["data"]["key"], "bad");
    let release = team.releases("shop").await.pop().unwrap();
    assert!(release.spec.accepts);
    assert_eq!(release.spec.requested_by, "rig:admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_refused_when_what_it_was_asked_for_is_no_longer_so() {
    let team = Team::new("stale").await;
    let first = team.push("First", &[value("one")]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let second = team.push("Second", &[value("two")]);
    team.until_synced("shop", &second).await;
    for (request, words) in
        [(rollback(1, 1, "too late"), "release 1 is no longer current"), (rollback(2, 7, "there is none"), "7")]
    {
        team.create(&request);
        let name = request["metadata"]["name"].as_str().unwrap();
        let answer = team.until_answered("rollbackrequests", name).await;
        assert_eq!(answer["phase"], "Refused", "{answer:#}");
        assert!(answer["message"].as_str().unwrap().contains(words), "{answer:#}");
    }
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy");
}
