//! What is changed by hand is put back; what is not ours is left alone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{Team, config_map, deployment, eventually, yaml};

/// How many repairs the newest release has seen.
async fn repairs(team: &Team<'_>) -> u32 {
    let releases = team.releases("shop").await;
    let after = releases.last().and_then(|release| release.status.as_ref()?.after.clone());
    after.map(|after| after.repairs).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_and_edited_objects_are_put_back_and_counted() {
    let team = Team::new("drift").await;
    let objects = [config_map("one", "git"), config_map("two", "git"), deployment("web", "registry.example/web:1")];
    let commit = team.push("Three", &[("deploy/all.yaml", yaml(&objects))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &commit).await;

    let before = team.get("configmaps", "one").await.unwrap();
    team.delete("configmaps", "one").await;
    let after = eventually("one is back", async || team.get("configmaps", "one").await.ok_or("it is not there")).await;
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(after["data"], json!({"key": "git"}));

    team.patch("configmaps", "two", "kubectl-edit", &json!({"data": {"key": "hand", "more": "hand"}})).await;
    eventually("two is as in Git, without the field added by hand", async || {
        let two = team.get("configmaps", "two").await.unwrap();
        if two["data"] == json!({"key": "git"}) { Ok(()) } else { Err(two["data"].to_string()) }
    })
    .await;

    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.example/hand:1"}]}}}});
    team.patch("apps/v1/deployments", "web", "kubectl-patch", &image).await;
    eventually("the image is as in Git", async || {
        let web = team.get("apps/v1/deployments", "web").await.unwrap();
        let image = web["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        if image == "registry.example/web:1" { Ok(()) } else { Err(image.to_string()) }
    })
    .await;

    eventually("three repairs are counted", async || {
        let count = repairs(&team).await;
        if count == 3 { Ok(()) } else { Err(format!("{count}")) }
    })
    .await;
    team.until_synced("shop", &commit).await;
    assert_eq!(team.history("shop").await, "1 Push Healthy", "a repair is no release");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_own_is_left_alone() {
    let team = Team::new("others").await;
    let mut web = deployment("web", "registry.example/web:1");
    web["spec"]["replicas"] = json!(2);
    let objects = [web, config_map("one", "git")];
    let commit = team.push("Two", &[("deploy/all.yaml", yaml(&objects))]);
    team.deploy_shop(json!({"sync": {"ignore": [
        {"kind": "Deployment", "pointers": ["/spec/replicas"]},
        {"kind": "ConfigMap", "name": "one", "managers": ["a-controller"]},
    ]}}));
    team.until_synced("shop", &commit).await;

    // An autoscaler writes the scale, the Deployment's controller the status,
    // and a controller that the application names a field of its own.
    let scale = format!("{}/scale", team.path("apps/v1/deployments", "web"));
    team.patch_at(&scale, "autoscaler", &json!({"spec": {"replicas": 5}})).await;
    let theirs = json!({"data": {"added": "by a controller", "key": "by a controller"}});
    team.patch("configmaps", "one", "a-controller", &theirs).await;
    eventually("five pods are available", async || {
        let web = team.get("apps/v1/deployments", "web").await.unwrap();
        if web["status"]["availableReplicas"] == 5 { Ok(()) } else { Err(web["status"].to_string()) }
    })
    .await;
    team.polls(3).await;
    assert_eq!(team.get("apps/v1/deployments", "web").await.unwrap()["spec"]["replicas"], 5);
    assert_eq!(team.get("configmaps", "one").await.unwrap()["data"], theirs["data"]);
    assert_eq!(repairs(&team).await, 0);

    // A commit that changes the Deployment elsewhere keeps what the autoscaler decided.
    let mut web = deployment("web", "registry.example/web:2");
    web["spec"]["replicas"] = json!(2);
    let commit = team.push("An image", &[("deploy/all.yaml", yaml(&[web, config_map("one", "git")]))]);
    team.until_synced("shop", &commit).await;
    let web = team.get("apps/v1/deployments", "web").await.unwrap();
    assert_eq!(web["spec"]["replicas"], 5);
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], "registry.example/web:2");
    assert_eq!(repairs(&team).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_only_reported_where_that_is_asked_for() {
    let team = Team::new("report").await;
    let commit = team.push("One", &[("deploy/one.yaml", config_map("one", "git").to_string())]);
    team.deploy_shop(json!({"sync": {"drift": "Report"}}));
    team.until_synced("shop", &commit).await;
    team.patch("configmaps", "one", "kubectl-edit", &json!({"data": {"key": "hand"}})).await;
    let status = team.until("shop", "OutOfSync", |status| status["sync"] == "OutOfSync").await;
    assert_eq!(status["objects"]["drifted"], 1, "{status:#}");
    let problem = json!({"object": format!("ConfigMap {}/one", team.namespace), "message": "data.key: drifted (changed by kubectl-edit)"});
    assert_eq!(status["problems"], json!([problem]), "object, field and manager are told");
    team.polls(3).await;
    assert_eq!(team.get("configmaps", "one").await.unwrap()["data"]["key"], "hand");
    assert_eq!(repairs(&team).await, 0);

    // Switched to Repair, it is put back.
    team.patch("applications", "shop", "kubectl-edit", &json!({"spec": {"sync": {"drift": "Repair"}}})).await;
    eventually("one is as in Git", async || {
        let one = team.get("configmaps", "one").await.unwrap();
        if one["data"]["key"] == "git" { Ok(()) } else { Err(one["data"].to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_another_program_sets_again_and_again_is_contested_and_settled_by_the_rule_that_is_told() {
    let team = Team::new("contested").await;
    let objects = [config_map("one", "git"), config_map("two", "git")];
    let commit = team.push("Two", &[("deploy/all.yaml", yaml(&objects))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &commit).await;

    // A program that wants something else, and sets it whenever it is not so.
    let competitor = async {
        loop {
            if team.get("configmaps", "one").await.unwrap()["data"]["key"] == "git" {
                team.patch("configmaps", "one", "competitor", &json!({"data": {"key": "theirs"}})).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let told = team.until("shop", "one is contested", |status| {
        status["sync"] == "OutOfSync" && status["problems"].to_string().contains("changed again and again")
    });
    let status: Value = tokio::select! {
        () = competitor => unreachable!("the competitor never ends"),
        status = told => status,
    };
    let message = status["problems"][0]["message"].as_str().unwrap();
    assert!(message.contains("data.key by competitor"), "{message}");
    let events = team.events("shop").await;
    assert!(events.iter().any(|event| event.starts_with("Contested: ") && event.contains("competitor")), "{events:#?}");
    let counted = repairs(&team).await;
    assert!(counted >= 5, "{counted}");

    // The others are repaired as ever, and this one is left alone.
    team.patch("configmaps", "two", "kubectl-edit", &json!({"data": {"key": "hand"}})).await;
    eventually("two is as in Git", async || {
        let two = team.get("configmaps", "two").await.unwrap();
        if two["data"]["key"] == "git" { Ok(()) } else { Err(two["data"].to_string()) }
    })
    .await;
    assert_eq!(team.get("configmaps", "one").await.unwrap()["data"]["key"], "theirs");

    // The rule that the message proposes, taken as it stands.
    let (_, rule) = message.split_once("spec.sync.ignore: ").unwrap();
    let rule: Value = serde_yaml::from_str(rule).unwrap();
    let settled = json!({"spec": {"sync": {"ignore": [rule]}}});
    team.patch("applications", "shop", "kubectl-edit", &settled).await;
    team.until("shop", "nothing drifts any more", |status| {
        status["sync"] == "Synced" && status["objects"]["drifted"] == 0 && status["problems"].is_null()
    })
    .await;
    let counted = repairs(&team).await;
    team.polls(3).await;
    assert_eq!(team.get("configmaps", "one").await.unwrap()["data"]["key"], "theirs");
    assert_eq!(repairs(&team).await, counted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_was_replaced_by_hand_is_put_back_though_both_have_one_name() {
    let team = Team::new("ports").await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]}});
    let commit = team.push("A service", &[("deploy/web.yaml", service.to_string())]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &commit).await;
    let by_hand = json!({"spec": {"ports": [{"name": "http", "port": 81}]}});
    team.patch("services", "web", "kubectl-edit", &by_hand).await;
    eventually("the port is as in Git", async || {
        let ports = team.get("services", "web").await.unwrap()["spec"]["ports"].clone();
        if ports.as_array().is_some_and(|ports| ports.len() == 1 && ports[0]["port"] == 80) {
            Ok(())
        } else {
            Err(ports.to_string())
        }
    })
    .await;
    eventually("one repair is counted", async || match repairs(&team).await {
        1 => Ok(()),
        count => Err(count),
    })
    .await;
    team.until_synced("shop", &commit).await;
    team.polls(2).await;
    assert_eq!(repairs(&team).await, 1);
}
