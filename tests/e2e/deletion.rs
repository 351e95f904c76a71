//! What is deleted, what is not, and who allows it.

use serde_json::json;

use crate::world::{Team, config_map, eventually, many_config_maps, rollback_request, sync_request, yaml};

async fn names(team: &Team<'_>) -> Vec<String> {
    let mut names: Vec<String> = team
        .list("configmaps")
        .await
        .iter()
        .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
        .filter(|name| name != "kube-root-ca.crt")
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_past_the_guard_passes_for_exactly_the_plan_that_was_allowed() {
    let team = Team::new("allow").await;
    let first = team.push("Twelve", &[("deploy/all.yaml", many_config_maps(12, "one"))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let second = team.push("Two", &[("deploy/all.yaml", many_config_maps(2, "one"))]);
    team.until("shop", "Failed by the guard", |status| {
        status["sync"] == "Failed" && status["head"]["commit"] == second.as_str()
    })
    .await;
    assert_eq!(names(&team).await.len(), 12);

    team.create(&sync_request("without", &json!({})));
    let answer = team.until_answered("syncrequests", "without").await;
    assert_eq!(answer["phase"], "Refused", "{answer:#}");
    team.create(&sync_request("look", &json!({"dryRun": true})));
    let seen = team.until_answered("syncrequests", "look").await;
    let deletes = seen["plan"]["actions"].as_array().unwrap().iter().filter(|action| action["verb"] == "Delete");
    assert_eq!(deletes.count(), 10, "{seen:#}");

    // What was seen is no longer what would be done.
    let third = team.push("One", &[("deploy/all.yaml", many_config_maps(1, "one"))]);
    team.until("shop", "third is seen", |status| status["head"]["commit"] == third).await;
    team.create(&sync_request("old", &json!({"allowPrune": seen["plan"]["digest"]})));
    let answer = team.until_answered("syncrequests", "old").await;
    assert_eq!(answer["phase"], "Refused", "{answer:#}");
    assert_eq!(names(&team).await.len(), 12);

    team.create(&sync_request("look-again", &json!({"dryRun": true})));
    let seen = team.until_answered("syncrequests", "look-again").await;
    team.create(&sync_request("allow", &json!({"allowPrune": seen["plan"]["digest"]})));
    let answer = team.until_answered("syncrequests", "allow").await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    assert_eq!(names(&team).await, ["item-0"]);
    team.until_synced("shop", &third).await;

    // A person who goes back by a plan that was shown has seen what it deletes.
    let fourth = team.push("Twelve again", &[("deploy/all.yaml", many_config_maps(12, "two"))]);
    team.until_synced("shop", &fourth).await;
    team.create(&rollback_request("back-look", 3, &json!({"toRelease": 2, "dryRun": true})));
    let seen = team.until_answered("rollbackrequests", "back-look").await;
    assert!(seen["plan"]["refusals"].as_array().is_none_or(Vec::is_empty), "{seen:#}");
    assert!(seen["plan"]["notes"].to_string().contains("11 of 12"), "{seen:#}");
    team.create(&rollback_request("back", 3, &json!({"toRelease": 2, "planDigest": seen["plan"]["digest"]})));
    let answer = team.until_answered("rollbackrequests", "back").await;
    assert_eq!(answer["phase"], "Succeeded", "{answer:#}");
    assert_eq!(names(&team).await, ["item-0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_pruned_where_that_is_switched_off() {
    let team = Team::new("keep").await;
    let two = [config_map("one", "git"), config_map("two", "git")];
    let first = team.push("Two", &[("deploy/all.yaml", yaml(&two))]);
    team.deploy_shop(json!({"sync": {"prune": false}}));
    team.until_synced("shop", &first).await;
    let second = team.push("One", &[("deploy/all.yaml", yaml(&two[..1]))]);
    team.until_synced("shop", &second).await;
    assert_eq!(names(&team).await, ["one", "two"]);
    // Switched on, what was left is deleted with the next commit.
    team.patch("applications", "shop", "kubectl-edit", &json!({"spec": {"sync": {"prune": true}}})).await;
    let third = team.push("One more", &[("deploy/three.yaml", config_map("three", "git").to_string())]);
    team.until_synced("shop", &third).await;
    assert_eq!(names(&team).await, ["one", "three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_made_by_hand_is_not_pruned() {
    let team = Team::new("copy").await;
    let two = [config_map("one", "git"), config_map("two", "git")];
    let first = team.push("Two", &[("deploy/all.yaml", yaml(&two))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let live = team.get("configmaps", "two").await.unwrap();
    let mut copy = config_map("copy", "hand");
    copy["metadata"]["labels"] = live["metadata"]["labels"].clone();
    copy["metadata"]["annotations"] = live["metadata"]["annotations"].clone();
    team.create(&copy);
    let second = team.push("One", &[("deploy/all.yaml", yaml(&two[..1]))]);
    team.until_synced("shop", &second).await;
    assert_eq!(names(&team).await, ["copy", "one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_application_leaves_its_objects_or_takes_them_along_as_asked() {
    for (policy, left) in [("Orphan", vec!["by-hand", "one", "two"]), ("Prune", vec!["by-hand"])] {
        let team = Team::new("delete").await;
        let two = [config_map("one", "git"), config_map("two", "git")];
        let first = team.push("Two", &[("deploy/all.yaml", yaml(&two))]);
        team.deploy_shop(json!({"deletionPolicy": policy}));
        team.until_synced("shop", &first).await;
        team.create(&config_map("by-hand", "hand"));
        team.delete("applications", "shop").await;
        eventually("the Application is gone", async || match team.get("applications", "shop").await {
            None => Ok(()),
            Some(there) => Err(there.to_string()),
        })
        .await;
        assert_eq!(names(&team).await, left, "{policy}");
        assert_eq!(team.history("shop").await, "1 Push Healthy", "releases outlive their application");

        // A new one of the same name goes on with the number.
        let second =
            team.push("Changed", &[("deploy/all.yaml", yaml(&[config_map("one", "new"), config_map("two", "new")]))]);
        team.deploy_shop(json!({"deletionPolicy": policy}));
        assert_eq!(team.until_synced("shop", &second).await, 2);
        assert_eq!(team.get("configmaps", "one").await.unwrap()["data"]["key"], "new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_made_again_brings_back_what_went_meanwhile() {
    let team = Team::new("again").await;
    let first = team.push("Two", &[("deploy/all.yaml", many_config_maps(2, "one"))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    team.kubectl(&["delete", "applications.bowline.dev", "shop"]);
    team.kubectl(&["delete", "configmap", "item-0"]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    assert_eq!(names(&team).await, ["item-0", "item-1"]);
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy");
}
