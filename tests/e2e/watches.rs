//! A kind that cannot be watched makes its own objects Unknown and no others,
//! and it is said.

use serde_json::{Value, json};

use crate::world::{Site, Start, Team, config_map, eventually, yaml};

const GROUP: &str = "soak.example.com";

/// A kind of two versions, of which the first is stored.
fn definition() -> Value {
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}})
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{GROUP}")},
        "spec": {"group": GROUP, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [version("v1", true), version("v2", false)]},
    })
}

/// Has versions converted by a webhook that nobody answers, or without one.
fn convert_by(team: &Team<'_>, webhook: bool) {
    let conversion = if webhook {
        json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://127.0.0.1:1/convert"}}})
    } else {
        json!({"strategy": "None", "webhook": null})
    };
    let patch = json!({"spec": {"conversion": conversion}}).to_string();
    let name = format!("widgets.{GROUP}");
    team.kubectl(&["patch", "crd", &name, "--type=merge", "-p", &patch]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_conversion_webhook_makes_its_kind_unknown_and_nothing_else_stops() {
    let site = Site::new();
    let controller = site.start(&Start::default());
    let team = Team::at(&site, "kinds").await;
    team.create(&definition());
    team.kubectl(&["wait", "--for=condition=Established", "crd", &format!("widgets.{GROUP}"), "--timeout=60s"]);
    let account = format!("--serviceaccount={}:bowline-deployer", team.namespace);
    team.kubectl(&["create", "rolebinding", "everything", "--clusterrole=cluster-admin", &account]);
    let widget =
        json!({"apiVersion": format!("{GROUP}/v2"), "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}});
    let commit = team.push("Two", &[("deploy/all.yaml", yaml(&[config_map("one", "git"), widget]))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &commit).await;

    convert_by(&team, true);
    let about_widgets = |status: &Value| status["problems"].to_string().contains("cannot be watched (ServerError)");
    let status = team.until("shop", "widgets are unknown", about_widgets).await;
    let problem = &status["problems"][0];
    assert_eq!((&problem["object"], &problem["health"]), (&json!(format!("Widget.{GROUP}")), &json!("Unknown")));
    assert_eq!(status["objects"]["drifted"], 0, "what cannot be read is not gone: {status:#}");
    assert_eq!(controller.metric("bowline_watches{status=\"broken\"}"), ["bowline_watches{status=\"broken\"} 1"]);
    let text = team.bowline(&["status", "shop"]).1;
    assert!(text.contains("cannot be watched") && text.contains("Widget"), "{text}");

    // What is of another kind is repaired meanwhile, and Git is followed.
    team.patch("configmaps", "one", "kubectl-edit", &json!({"data": {"key": "hand"}})).await;
    eventually("one is as in Git", async || {
        let one = team.get("configmaps", "one").await.unwrap();
        if one["data"]["key"] == "git" { Ok(()) } else { Err(one["data"].to_string()) }
    })
    .await;

    convert_by(&team, false);
    team.until("shop", "widgets are known again", |status| {
        status["sync"] == "Synced" && status["health"] == "Healthy" && status["problems"].is_null()
    })
    .await;
    assert_eq!(controller.metric("bowline_watches{status=\"broken\"}"), Vec::<String>::new());
    assert_eq!(team.history("shop").await, "1 Push Healthy");
}
