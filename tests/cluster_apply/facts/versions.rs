//! What is owned in one form and stored in another: API versions, `stringData`,
//! nulls, aggregated roles.

use std::time::{Duration, Instant};

use bowline::plan::ownership::entry_api_version;
use serde_json::{Value, json};

use super::{Kept, writes};
use crate::world::World;

fn autoscaler(version: &str, target: Value) -> Value {
    let mut object = json!({
        "apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"minReplicas": 1, "maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    });
    let spec = object["spec"].as_object_mut().unwrap();
    spec.extend(target.as_object().unwrap().clone());
    object
}

#[tokio::test]
async fn a_field_of_one_version_is_hashed_in_the_version_that_it_was_applied_by() {
    let old = autoscaler("v1", json!({"targetCPUUtilizationPercentage": 50}));
    let mut kept = Kept::bring(World::new().await, old).await;
    let manager = kept.app.world.policy.membership.manager.clone();
    assert_eq!(entry_api_version(&kept.live().await, &manager), Some("autoscaling/v1"));

    // In the newer version the field is not there, and somebody changes it in that.
    let newer = kept.kubectl(&["get", "horizontalpodautoscalers.v2.autoscaling/web", "-o", "json"]);
    let newer: Value = serde_json::from_str(&newer).unwrap();
    assert_eq!(newer["spec"].get("targetCPUUtilizationPercentage"), None);
    let metric = |percent: u32| {
        json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": percent}}}]})
    };
    kept.patch("horizontalpodautoscalers.v2.autoscaling/web", "tool", &json!({"spec": metric(80)}));
    assert!(kept.has_drifted().await, "a change that was made in another version is seen");
    kept.repaired().await;
    assert_eq!(kept.live().await["spec"]["targetCPUUtilizationPercentage"], 50);

    // A manifest of the newer version moves the entry, and nothing rests uneasily.
    let plan = kept.bring_anew(autoscaler("v2", metric(50))).await;
    assert_eq!(plan.refusals, []);
    assert_eq!(entry_api_version(&kept.live().await, &manager), Some("autoscaling/v2"));
    kept.is_as_applied("after the version moved").await;
    assert_eq!(writes(&kept.repair().await), 0);
}

#[tokio::test]
async fn string_data_is_owned_where_it_is_stored() {
    let secret =
        |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": data});
    let mut kept = Kept::bring(World::new().await, secret(json!({"password": "git", "user": "git"}))).await;
    let data = |live: &Value| live["data"].clone();
    let git = data(&kept.live().await);
    assert_eq!(git, json!({"password": "Z2l0", "user": "Z2l0"}));
    kept.patch("secret/key", "tool", &json!({"data": {"password": "aGFuZA=="}}));
    assert!(kept.has_drifted().await, "an edit of the data is seen");
    kept.repaired().await;
    assert_eq!(data(&kept.live().await), git);
    // A key that is renamed in the manifest does not stay.
    kept.bring_anew(secret(json!({"passphrase": "git", "user": "git"}))).await;
    assert_eq!(data(&kept.live().await), json!({"passphrase": "Z2l0", "user": "Z2l0"}));
    kept.is_as_applied("after a key was renamed").await;
}

#[tokio::test]
async fn a_null_owns_nothing() {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "annotations": null},
        "spec": {
            "replicas": null,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "creationTimestamp": null},
                "spec": {"containers": [{"name": "main", "image": "registry.example/main:1", "command": null}]},
            },
        },
    });
    let mut kept = Kept::bring(World::new().await, object).await;
    kept.kubectl(&["scale", "deployment/web", "--replicas=2"]);
    kept.is_as_applied("though an autoscaler decides").await;
    kept.patch("deployment/web", "tool", &json!({"metadata": {"annotations": {"tool.example/seen": "1"}}}));
    kept.is_as_applied("though somebody annotates it").await;
    assert_eq!(writes(&kept.repair().await), 0);
    assert_eq!(kept.live().await["spec"]["replicas"], 2);
}

#[tokio::test]
async fn a_null_in_the_data_of_a_config_map_is_an_empty_text() {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"empty": null, "key": "git"}});
    let mut kept = Kept::bring(World::new().await, object).await;
    assert_eq!(kept.live().await["data"], json!({"empty": "", "key": "git"}));
    assert_eq!(writes(&kept.repair().await), 0);
    kept.patch("configmap/a", "tool", &json!({"data": {"empty": "not"}}));
    assert!(kept.has_drifted().await);
    kept.repaired().await;
    assert_eq!(kept.live().await["data"]["empty"], "");
}

#[tokio::test]
async fn a_custom_resource_may_mean_null() {
    let world = World::as_admin().await;
    let group = format!("{}.example.com", world.namespace);
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "limit": {"type": "integer", "nullable": true, "default": 7}}}}}}}]},
    });
    world.create(&definition);
    let name = format!("crd/widgets.{group}");
    world.kubectl(&["wait", "--for=condition=Established", &name, "--timeout=30s"]);
    world.cluster.discovery().invalidate();
    let widget = json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "w"}, "spec": {"limit": null}});
    let mut kept = Kept::bring(world, widget).await;
    assert_eq!(kept.live().await["spec"], json!({"limit": null}), "and not the default");
    kept.patch(&format!("widgets.{group}/w"), "tool", &json!({"spec": {"limit": 5}}));
    let seen = kept.has_drifted().await;
    kept.repaired().await;
    let after = kept.live().await;
    kept.app.world.kubectl(&["delete", &name, "--wait=false"]);
    assert!(seen);
    assert_eq!(after["spec"], json!({"limit": null}));
}

#[tokio::test]
async fn the_rules_of_an_aggregated_role_are_its_controllers() {
    let world = World::as_admin().await;
    let (name, label) = (format!("{}-all", world.namespace), format!("{}.example.com/part", world.namespace));
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {label.clone(): "yes"}}]}, "rules": []});
    let mut kept = Kept::bring(world, role).await;
    let part = format!("{name}-part");
    kept.app.world.create(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": part, "labels": {label: "yes"}},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}));
    let until = Instant::now() + Duration::from_secs(30);
    while kept.live().await["rules"].as_array().is_none_or(Vec::is_empty) {
        assert!(Instant::now() < until, "the controller never filled in the rules");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let drifted = kept.has_drifted().await;
    let plan = kept.repair().await;
    let rules = kept.live().await["rules"].clone();
    kept.app.world.kubectl(&["delete", "clusterrole", &name, &part]);
    assert!(!drifted, "what the controller filled in is its own");
    assert_eq!(writes(&plan), 0, "{plan:#?}");
    assert_eq!(rules.as_array().unwrap().len(), 1);
}
