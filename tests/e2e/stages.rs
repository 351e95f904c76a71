//! What needs something else of the same commit comes after it.

use serde_json::{Value, json};

use crate::world::{Team, config_map, yaml};

fn cluster_admin(team: &Team<'_>) {
    let account = format!("--serviceaccount={}:bowline-deployer", team.namespace);
    let name = format!("{}-deployer", team.namespace);
    team.kubectl(&["create", "clusterrolebinding", &name, "--clusterrole=cluster-admin", &account]);
}

fn definition(group: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
                }},
            }],
        },
    })
}

fn widget(group: &str, size: u32) -> Value {
    json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "one"}, "spec": {"size": size}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_and_its_resource_come_with_one_commit() {
    let team = Team::new("widgets").await;
    cluster_admin(&team);
    let group = format!("{}.example.com", team.namespace);
    let first = team.push("Both", &[("deploy/all.yaml", yaml(&[widget(&group, 1), definition(&group)]))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let resource = format!("{group}/v1/widgets");
    assert_eq!(team.get(&resource, "one").await.unwrap()["spec"]["size"], 1);

    // It is watched like any other kind from then on.
    team.patch(&resource, "one", "kubectl-edit", &json!({"spec": {"size": 7}})).await;
    crate::world::eventually("the size is as in Git", async || {
        let size = team.get(&resource, "one").await.unwrap()["spec"]["size"].clone();
        if size == 1 { Ok(()) } else { Err(size.to_string()) }
    })
    .await;
    assert_eq!(team.history("shop").await, "1 Push Healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_and_its_objects_come_with_one_commit() {
    let team = Team::new("spaces").await;
    cluster_admin(&team);
    let space = format!("{}-inner", team.namespace);
    let mut inside = config_map("inside", "git");
    inside["metadata"]["namespace"] = json!(space);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}});
    let first = team.push("Both", &[("deploy/all.yaml", yaml(&[inside, namespace]))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    let inside = team.site.cluster.kubectl(&["-n", &space, "get", "configmap", "inside", "-o", "json"]).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&inside).unwrap()["data"]["key"], "git");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_destination_namespace_is_made_where_that_is_asked_for() {
    let team = Team::new("made").await;
    cluster_admin(&team);
    let space = format!("{}-target", team.namespace);
    let first = team.push("One", &[("deploy/one.yaml", config_map("one", "git").to_string())]);
    team.deploy_shop(json!({"destination": {"namespace": space}}));
    let status = team.until("shop", "Failed", |status| status["sync"] == "Failed").await;
    let said = format!("{}\n{}", status["note"].as_str().unwrap(), status["next"].as_str().unwrap_or("-"));
    insta::assert_snapshot!(said.replace(&space, "TARGET"), @"
    ConfigMap TARGET/one: the namespace TARGET does not exist; add a Namespace manifest, set destination.createNamespace: true, or run `kubectl create namespace TARGET`
    when that is put right it goes on by itself within 15m; at once: bowline sync shop
    ");

    let create = json!({"spec": {"destination": {"createNamespace": true}}});
    team.patch("applications", "shop", "kubectl-edit", &create).await;
    team.until_synced("shop", &first).await;
    let one = team.site.cluster.kubectl(&["-n", &space, "get", "configmap", "one", "-o", "json"]).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&one).unwrap()["data"]["key"], "git");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_and_its_binding_come_with_one_commit_of_who_may_not_bind_every_role() {
    let team = Team::new("roles").await;
    let rbac = "rbac.authorization.k8s.io";
    let role = json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": "reads"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]});
    let binding = json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": "readers"},
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "reads"},
        "subjects": [{"kind": "ServiceAccount", "name": "default"}]});
    let commit = team.push("A role", &[("deploy/all.yaml", yaml(&[binding, role]))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &commit).await;
    assert_eq!(team.history("shop").await, "1 Push Healthy");
}
