//! A repository in a bad state changes nothing in the cluster, and the status
//! says why.

use serde_json::{Value, json};

use crate::world::{Application, Team, config_map, many_config_maps};

/// What must not change: uids and versions of the team's ConfigMaps, and the
/// history.
async fn untouched(team: &Team<'_>) -> (Vec<Value>, String) {
    let objects = team.list("configmaps").await;
    let versions = objects
        .iter()
        .filter(|object| object["metadata"]["name"] != "kube-root-ca.crt")
        .map(|object| {
            json!([object["metadata"]["name"], object["metadata"]["uid"], object["metadata"]["resourceVersion"]])
        })
        .collect();
    (versions, team.history("shop").await)
}

fn words(status: &Value, commit: &str) -> String {
    let text =
        |field: &str| status[field].as_str().unwrap_or("-").replace(commit, "COMMIT").replace(&commit[..7], "COMMIT");
    format!("sync: {}\nnote: {}\nnext: {}", text("sync"), text("note"), text("next"))
}

async fn deployed(team: &Team<'_>) -> String {
    let commit = team.push("Good", &[("deploy/all.yaml", many_config_maps(12, "good"))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &commit).await;
    commit
}

fn at<'a>(sync: &'a str, commit: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |status| status["sync"] == sync && status["head"]["commit"] == commit
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_renders_nothing_deletes_nothing() {
    let team = Team::new("empty").await;
    deployed(&team).await;
    let before = untouched(&team).await;
    let empty = team.push("Nothing but a comment", &[("deploy/all.yaml", "# moved elsewhere\n---\n".into())]);
    let status = team.until("shop", "Failed at the empty commit", at("Failed", &empty)).await;
    insta::assert_snapshot!(words(&status, &empty), @r"
    sync: Failed
    note: the render has no object and the application has 12; nothing is deleted
    next: check source.path, render.include and the revision; to let it pass once: bowline sync shop --allow-prune
    ");
    team.polls(3).await;
    assert_eq!(untouched(&team).await, before);

    let most = team.push("Most is gone", &[("deploy/all.yaml", many_config_maps(2, "good"))]);
    let status = team.until("shop", "Failed at the commit without most", at("Failed", &most)).await;
    insta::assert_snapshot!(words(&status, &most), @r"
    sync: Failed
    note: 10 of 12 objects would be deleted, more than 50 % (sync.guards.maxPrunePercent)
    next: check that the objects are meant to go; to let it pass once: bowline sync shop --allow-prune
    ");
    team.polls(3).await;
    assert_eq!(untouched(&team).await, before);

    let good = team.push("Back", &[("deploy/all.yaml", many_config_maps(12, "good"))]);
    team.until("shop", "Synced again", at("Synced", &good)).await;
    assert_eq!(untouched(&team).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_named_with_line_and_column() {
    let team = Team::new("broken").await;
    deployed(&team).await;
    let before = untouched(&team).await;
    let broken = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: broken\n data:\n  key: [unclosed\n";
    let commit = team.push("Broken", &[("deploy/broken.yaml", broken.into())]);
    let status = team.until("shop", "Failed at the broken commit", at("Failed", &commit)).await;
    insta::assert_snapshot!(words(&status, &commit), @r"
    sync: Failed
    note: commit COMMIT cannot be rendered: deploy/broken.yaml:5:2: is not YAML: did not find expected key
    next: what runs is left alone; fix it in Git
    ");
    let rendered = status["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Rendered").unwrap();
    assert_eq!((&rendered["status"], &rendered["reason"]), (&json!("False"), &json!("RenderFailed")));
    team.polls(3).await;
    assert_eq!(untouched(&team).await, before);

    team.repo.remove("deploy/broken.yaml").unwrap();
    let good = team.push("Mended", &[]);
    team.until("shop", "Synced again", at("Synced", &good)).await;
    assert_eq!(untouched(&team).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_said_and_nothing_of_it_is_written() {
    let team = Team::new("refused").await;
    deployed(&team).await;
    let before = untouched(&team).await;
    let bad = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "bad"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 99999}]},
    });
    let commit = team.push(
        "Refused",
        &[("deploy/good.yaml", config_map("fine", "new").to_string()), ("deploy/bad.yaml", bad.to_string())],
    );
    let status = team.until("shop", "Failed at the refused commit", at("Failed", &commit)).await;
    let said = words(&status, &commit).replace(&team.namespace, "NAMESPACE");
    insta::assert_snapshot!(said, @r#"
    sync: Failed
    note: Service NAMESPACE/bad: Service "bad" is invalid: [spec.ports[0].port: Invalid value: 99999: must be between 1 and 65535, inclusive, spec.ports[0].targetPort: Invalid value: 99999: must be between 1 and 65535, inclusive]
    next: fix it in Git; if it is put right elsewhere it goes on by itself within 15m, or at once: bowline sync shop
    "#);
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Failed");
    assert_eq!(untouched(&team).await.0, before.0, "not even the object that is fine");
    team.polls(3).await;
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Failed", "the same refusal makes no second release");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_path_is_said() {
    let team = Team::new("path").await;
    let commit = deployed(&team).await;
    let before = untouched(&team).await;
    let path = |path: &str| json!({"spec": {"source": {"path": path}}});
    team.patch("applications", "shop", "kubectl-edit", &path("no/such/directory")).await;
    let status = team.until("shop", "says that there is no such path", |status| status["sync"] == "Unknown").await;
    insta::assert_snapshot!(words(&status, &commit), @r"
    sync: Unknown
    note: path `no/such/directory` does not exist at commit COMMIT; the root has `deploy`
    next: what runs is left alone; it is tried again at the next poll
    ");
    team.polls(3).await;
    assert_eq!(untouched(&team).await, before);
    team.patch("applications", "shop", "kubectl-edit", &path("deploy")).await;
    team.until("shop", "Synced again", at("Synced", &commit)).await;
    assert_eq!(untouched(&team).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_vanishes_is_said() {
    let team = Team::new("branch").await;
    team.push("Main", &[("README.md", "words".into())]);
    team.repo.branch("stable").unwrap();
    let commit = team.push("Good", &[("deploy/all.yaml", many_config_maps(3, "good"))]);
    team.deploy_shop(json!({"source": {"revision": "stable"}}));
    team.until_synced("shop", &commit).await;
    let before = untouched(&team).await;
    team.repo.delete_branch("stable").unwrap();
    let status = team.until("shop", "says that the branch is gone", |status| status["note"].is_string()).await;
    let said = words(&status, &commit).replace(&team.git.port().to_string(), "PORT");
    insta::assert_snapshot!(said, @r"
    sync: Synced
    note: `stable` does not exist at http://127.0.0.1:PORT/shop.git; branches: main; it has no tags
    next: -
    ");
    team.polls(3).await;
    assert_eq!(untouched(&team).await, before);
    team.repo.push().unwrap();
    let status = team.until("shop", "Synced without a note", |status| status["note"].is_null()).await;
    assert_eq!(status["sync"], "Synced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_said() {
    let mut team = Team::new("gone").await;
    let commit = deployed(&team).await;
    let before = untouched(&team).await;
    team.git.stop();
    let status = team.until("shop", "says that the server is gone", |status| status["note"].is_string()).await;
    let said = words(&status, &commit).replace(&team.git.port().to_string(), "PORT");
    insta::assert_snapshot!(said, @r"
    sync: Synced
    note: http://127.0.0.1:PORT/shop.git cannot be reached: failed to connect to 127.0.0.1: Connection refused
    next: -
    ");
    // What is edited by hand is put back all the same.
    team.delete("configmaps", "item-3").await;
    crate::world::eventually("item-3 is back", async || team.get("configmaps", "item-3").await.ok_or("not yet")).await;
    team.git.start_again().unwrap();
    let status = team.until("shop", "Synced without a note", |status| status["note"].is_null()).await;
    assert_eq!(status["sync"], "Synced");
    assert_eq!(untouched(&team).await.1, before.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_force_push_is_followed_and_told_of() {
    let team = Team::new("forced").await;
    team.push("Root", &[("README.md", "words".into())]);
    let root = team.repo.head().unwrap();
    let old = deployed(&team).await;
    team.repo.reset(&root).unwrap();
    team.repo.write("deploy/all.yaml", &many_config_maps(12, "rewritten")).unwrap();
    let new = team.repo.commit("Rewritten").unwrap();
    team.repo.force_push().unwrap();
    team.until_synced("shop", &new).await;
    assert_eq!(team.get("configmaps", "item-1").await.unwrap()["data"]["key"], "rewritten");
    let wanted = format!("main was force-pushed from {} to {}", &old[..7], &new[..7]);
    crate::world::eventually("an event tells of it", async || {
        let events = team.events("shop").await;
        if events.iter().any(|event| event.starts_with("ForcePushed") && event.contains(&wanted)) {
            Ok(())
        } else {
            Err(format!("{events:#?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_never_was_there_is_said() {
    let team = Team::new("never").await;
    let url = team.git.url("no-such-repository");
    team.deploy(&Application { name: "shop", path: ".", spec: json!({"source": {"repoURL": url}}) });
    let status = team
        .until("shop", "says that it is not there", |status| {
            status["note"].as_str().is_some_and(|note| !note.contains("not been read yet"))
        })
        .await;
    let said = words(&status, "none here").replace(&team.git.port().to_string(), "PORT");
    insta::assert_snapshot!(said, @r"
    sync: Unknown
    note: there is no repository at http://127.0.0.1:PORT/no-such-repository.git, or these credentials may not see it: unexpected http status code: 404
    next: what runs is left alone; it is tried again at the next poll
    ");
    assert_eq!(team.history("shop").await, "");
}
