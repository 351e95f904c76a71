//! Waves, dependencies, replacement and what is being deleted: what waits for
//! what, on a real cluster.

use serde_json::{Value, json};

use crate::world::{Team, config_map, deployment, eventually, yaml};

fn annotated(mut object: Value, annotations: Value) -> Value {
    object["metadata"]["annotations"] = annotations;
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_is_written_when_the_one_before_is_healthy() {
    let team = Team::new("waves").await;
    let web = |image: &str| annotated(deployment("web", image), json!({"bowline.dev/wave": "-1"}));
    let late = annotated(config_map("late", "git"), json!({"argocd.argoproj.io/sync-wave": "5"}));
    let files = |image: &str| yaml(&[late.clone(), web(image), config_map("plain", "git")]);
    team.push("A broken first wave", &[("deploy/all.yaml", files("registry.example/web:missing"))]);
    team.deploy_shop(json!({"sync": {"timeout": "5m"}}));

    // What is told first depends on how far the rollout is; this is where it stays.
    let waits = format!("1/3 applied, waiting for Deployment {}/web: 0 of 1 replicas available", team.namespace);
    team.until("shop", "waits for the first wave", |status| status["note"] == waits).await;
    team.polls(2).await;
    assert!(team.get("configmaps", "plain").await.is_none(), "the second wave is not begun");

    // The fix does not wait for what it fixes.
    let fixed = team.push("Fix it", &[("deploy/all.yaml", files("registry.example/web:1"))]);
    team.until_synced("shop", &fixed).await;
    assert_eq!(team.history("shop").await, "1 Push Superseded\n2 Push Healthy");
    let version = async |resource: &str, name: &str| {
        let object = team.get(resource, name).await.unwrap();
        object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
    };
    assert!(version("configmaps", "plain").await < version("configmaps", "late").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_waits_for_what_it_depends_on() {
    let team = Team::new("depends").await;
    let reference = format!("apps/namespaces/{}/Deployment/base", team.namespace);
    let dependent = annotated(config_map("after", "git"), json!({"config.kubernetes.io/depends-on": reference}));
    let files = |image: &str| yaml(&[dependent.clone(), deployment("base", image), config_map("apart", "git")]);
    team.push("A broken base", &[("deploy/all.yaml", files("registry.example/base:missing"))]);
    team.deploy_shop(json!({"sync": {"timeout": "5m"}}));
    eventually("what depends on nothing is written", async || {
        team.get("configmaps", "apart").await.map(|_| ()).ok_or_else(|| "not yet".to_owned())
    })
    .await;
    team.polls(2).await;
    assert!(team.get("configmaps", "after").await.is_none());
    let fixed = team.push("Fix it", &[("deploy/all.yaml", files("registry.example/base:1"))]);
    team.until_synced("shop", &fixed).await;
    assert!(team.get("configmaps", "after").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_is_refused_with_its_path_and_nothing_is_written() {
    let team = Team::new("circle").await;
    let on = |name: &str, on: &str| {
        let reference = format!("/namespaces/{}/ConfigMap/{on}", team.namespace);
        annotated(config_map(name, "git"), json!({"config.kubernetes.io/depends-on": reference}))
    };
    team.push("A circle", &[("deploy/all.yaml", yaml(&[on("a", "b"), on("b", "a"), config_map("c", "git")]))]);
    team.deploy_shop(json!({}));
    let status = team.until("shop", "Failed", |status| status["sync"] == "Failed").await;
    insta::assert_snapshot!(status["note"].as_str().unwrap().replace(&team.namespace, "NS"), @"ConfigMap NS/a: depends on itself: ConfigMap NS/a → ConfigMap NS/b → ConfigMap NS/a; remove one of these dependencies (config.kubernetes.io/depends-on)");
    assert!(team.get("configmaps", "c").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_cannot_be_changed_is_replaced_only_where_the_manifest_says_so() {
    let team = Team::new("replace").await;
    let web = |app: &str, replace: &str| {
        let mut web = annotated(deployment("web", "registry.example/web:1"), json!({"bowline.dev/replace": replace}));
        web["spec"]["selector"]["matchLabels"]["app"] = json!(app);
        web["spec"]["template"]["metadata"]["labels"]["app"] = json!(app);
        web.to_string()
    };
    let first = team.push("One", &[("deploy/web.yaml", web("one", "false"))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let before = team.get("apps/v1/deployments", "web").await.unwrap();

    team.push("Another selector", &[("deploy/web.yaml", web("two", "false"))]);
    let status = team.until("shop", "Failed", |status| status["sync"] == "Failed").await;
    insta::assert_snapshot!(status["note"].as_str().unwrap().replace(&team.namespace, "NS"), @r#"Deployment NS/web: cannot be changed: spec.selector.matchLabels.app: "one" → "two"; bring the value back, or annotate it bowline.dev/replace: "true" to have it deleted and made anew"#);

    // What would be refused after the deletion is refused before it.
    let mut broken: Value = serde_json::from_str(&web("two", "true")).unwrap();
    broken["spec"]["template"]["spec"]["containers"][0]["name"] = json!("No Such Name");
    team.push("Broken as well", &[("deploy/web.yaml", broken.to_string())]);
    team.until("shop", "Failed again", |status| status["release"]["number"] == 3 && status["sync"] == "Failed").await;
    let kept = team.get("apps/v1/deployments", "web").await.unwrap();
    assert_eq!(kept["metadata"]["uid"], before["metadata"]["uid"], "nothing was deleted");

    let allowed = team.push("Replace it", &[("deploy/web.yaml", web("two", "true"))]);
    team.until_synced("shop", &allowed).await;
    let after = team.get("apps/v1/deployments", "web").await.unwrap();
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(after["spec"]["selector"]["matchLabels"]["app"], "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_deleted_is_made_anew_when_it_is_gone_and_holds_up_nothing_else() {
    let team = Team::new("going").await;
    let files = |value: &str| yaml(&[config_map("held", value), config_map("free", value)]);
    let first = team.push("One", &[("deploy/all.yaml", files("one"))]);
    team.deploy_shop(json!({"sync": {"timeout": "5m"}}));
    team.until_synced("shop", &first).await;
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    team.patch("configmaps", "held", "somebody", &hold).await;
    team.kubectl(&["delete", "configmap", "held", "--wait=false"]);
    let uid = team.get("configmaps", "held").await.unwrap()["metadata"]["uid"].clone();

    let second = team.push("Two", &[("deploy/all.yaml", files("two"))]);
    eventually("the other object is changed", async || {
        let free = team.get("configmaps", "free").await.unwrap();
        if free["data"]["key"] == "two" { Ok(()) } else { Err(team.status("shop").await.to_string()) }
    })
    .await;
    let waits = format!(
        "1/2 applied, waiting for ConfigMap {}/held to be gone: it waits for the finalizer example.com/hold",
        team.namespace
    );
    team.until("shop", "waits", |status| status["note"] == waits).await;
    team.patch("configmaps", "held", "somebody", &json!({"metadata": {"finalizers": null}})).await;
    team.until_synced("shop", &second).await;
    let held = team.get("configmaps", "held").await.unwrap();
    assert_ne!(held["metadata"]["uid"], uid);
    assert_eq!(held["data"]["key"], "two");
    assert_eq!(team.history("shop").await, "1 Push Healthy\n2 Push Healthy");
}
