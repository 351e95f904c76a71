//! What is taken, kept and let go of, and what people are told of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{Team, config_map, eventually, many_config_maps, yaml};

async fn until_told(team: &Team<'_>, words: &[&str]) -> String {
    eventually(&format!("an event says {words:?}"), async || {
        let events = team.events("shop").await;
        let found = events.iter().find(|event| words.iter().all(|word| event.contains(word))).cloned();
        found.ok_or_else(|| format!("{events:#?}"))
    })
    .await
}

async fn until_gone(team: &Team<'_>, limit: Duration) {
    let until = Instant::now() + limit;
    while let Some(there) = team.get("applications", "shop").await {
        assert!(Instant::now() < until, "the Application is still there: {there:#}\n{:#?}", team.events("shop").await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn data(data: Value) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": data}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_a_program_took_is_left_to_it_or_taken_as_the_application_says() {
    let team = Team::new("conflict").await;
    let first = team.push("First", &[("deploy/one.yaml", data(json!({"key": "git", "other": "1"})))]);
    team.deploy_shop(json!({"sync": {"conflicts": "Refuse"}}));
    team.until_synced("shop", &first).await;
    let taken = json!({"data": {"key": "operator"}});
    team.patch("configmaps", "one", "operator", &taken).await;
    until_told(&team, &["RepairFailed", "data.key (set by operator)"]).await;

    let second = team.push("Second", &[("deploy/one.yaml", data(json!({"key": "git", "other": "2"})))]);
    let status = team
        .until("shop", "Failed", |status| status["sync"] == "Failed" && status["head"]["commit"] == second.as_str())
        .await;
    let note = status["note"].as_str().unwrap().replace(&team.namespace, "NAMESPACE");
    insta::assert_snapshot!(note, @"ConfigMap NAMESPACE/one: other field managers have another value of data.key (set by operator); leave the field to them with a rule in sync.ignore, take it out of the manifest, or set sync.conflicts: Take");
    let live = team.get("configmaps", "one").await.unwrap();
    assert_eq!(live["data"], json!({"key": "operator", "other": "1"}), "nothing is written");

    team.patch("applications", "shop", "kubectl-edit", &json!({"spec": {"sync": {"conflicts": "Take"}}})).await;
    team.until_synced("shop", &second).await;
    assert_eq!(team.get("configmaps", "one").await.unwrap()["data"], json!({"key": "git", "other": "2"}));
    until_told(&team, &["FieldsTaken", "data.key from operator"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_said_with_the_command_that_would_let_it_go() {
    let team = Team::new("kept").await;
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "files"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let mut marked = config_map("marked", "1");
    marked["metadata"]["annotations"] = json!({"argocd.argoproj.io/sync-options": "Delete=false"});
    let first = team.push("First", &[("deploy/all.yaml", yaml(&[claim, marked, config_map("one", "1")]))]);
    // Nothing binds the claim here, so that it never gets healthy.
    team.deploy_shop(json!({"sync": {"timeout": "10m"}}));
    eventually("all is there", async || {
        let both = (team.get("persistentvolumeclaims", "files").await, team.get("configmaps", "marked").await);
        if let (Some(_), Some(_)) = both { Ok(()) } else { Err(first.clone()) }
    })
    .await;
    let second = team.push("Second", &[("deploy/all.yaml", config_map("one", "2").to_string())]);
    team.until("shop", "second is seen", |status| status["head"]["commit"] == second.as_str()).await;
    let told = until_told(&team, &["Kept", "PersistentVolumeClaim"]).await.replace(&team.namespace, "NAMESPACE");
    insta::assert_snapshot!(told, @r#"Kept: PersistentVolumeClaim NAMESPACE/files stays: is no longer in the bundle; a PersistentVolumeClaim is kept unless it is annotated: `kubectl annotate -n NAMESPACE persistentvolumeclaim files bowline.dev/prune=true`; ConfigMap NAMESPACE/marked stays: is annotated argocd.argoproj.io/sync-options: Delete=false"#);
    assert!(team.get("persistentvolumeclaims", "files").await.is_some());
    assert!(team.get("configmaps", "marked").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_holds_is_told_of_with_the_way_past_it() {
    let team = Team::new("guard").await;
    let first = team.push("Twelve", &[("deploy/all.yaml", many_config_maps(12, "one"))]);
    team.deploy_shop(json!({}));
    team.until_synced("shop", &first).await;
    team.push("Two", &[("deploy/all.yaml", many_config_maps(2, "one"))]);
    let told = until_told(&team, &["PruneLimit"]).await;
    insta::assert_snapshot!(told, @"PruneLimit: 10 of 12 objects would be deleted, more than 50 % (sync.guards.maxPrunePercent); check that the objects are meant to go; to let it pass once: bowline sync shop --allow-prune");
    team.push("None", &[("deploy/all.yaml", "# nothing\n".into())]);
    until_told(&team, &["EmptyRender", "--allow-prune"]).await;
}

fn held(name: &str) -> Value {
    let mut held = config_map(name, "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_does_not_go_keeps_neither_the_release_nor_the_application() {
    let team = Team::new("held").await;
    let all = [held("first-held"), held("second-held"), config_map("one", "1")];
    let first = team.push("All", &[("deploy/all.yaml", yaml(&all))]);
    team.deploy_shop(json!({"deletionPolicy": "Prune"}));
    team.until_synced("shop", &first).await;
    team.push("Without the first", &[("deploy/all.yaml", yaml(&all[1..]))]);
    team.until("shop", "release 2 is healthy", |status| {
        status["release"]["number"] == 2 && status["release"]["phase"] == "Healthy"
    })
    .await;
    let object = format!("ConfigMap {}/first-held", team.namespace);
    until_told(&team, &["Deleting", &object, "example.com/hold"]).await;

    team.delete("applications", "shop").await;
    until_gone(&team, Duration::from_secs(60)).await;
    let object = format!("ConfigMap {}/second-held", team.namespace);
    until_told(&team, &["Deleting", &object, "example.com/hold"]).await;
    assert!(team.get("configmaps", "one").await.is_none());
    for name in ["first-held", "second-held"] {
        let release = r#"[{"op":"remove","path":"/metadata/finalizers"}]"#;
        team.kubectl(&["patch", "configmap", name, "--type=json", "-p", release]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_goes_though_its_service_account_went_first() {
    let team = Team::new("account").await;
    let first = team.push("One", &[("deploy/one.yaml", config_map("one", "1").to_string())]);
    team.deploy_shop(json!({"deletionPolicy": "Prune"}));
    team.until_synced("shop", &first).await;
    team.kubectl(&["delete", "serviceaccount/bowline-deployer", "rolebinding/deployer"]);
    eventually("the rights are gone", async || {
        let account = format!("--as=system:serviceaccount:{}:bowline-deployer", team.namespace);
        match team.try_kubectl(&["auth", "can-i", "delete", "configmaps", &account]) {
            Ok(answer) if answer.trim() == "yes" => Err(answer),
            _ => Ok(()),
        }
    })
    .await;
    team.delete("applications", "shop").await;
    until_gone(&team, Duration::from_secs(60)).await;
    let object = format!("ConfigMap {}/one", team.namespace);
    until_told(&team, &["NotDeleted", &object, "cannot"]).await;
    assert!(team.get("configmaps", "one").await.is_some(), "what nobody may delete stays");
}

/// A kind of the team's own, with the right to deploy it.
fn define(team: &Team<'_>) -> (String, Value) {
    let group = format!("{}.example.com", team.namespace);
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    team.site.cluster.kubectl_with_input(&["create", "-f", "-"], &definition.to_string()).unwrap();
    let name = format!("crd/widgets.{group}");
    team.site.cluster.kubectl(&["wait", "--for=condition=Established", &name, "--timeout=60s"]).unwrap();
    team.kubectl(&["create", "role", "widgets", "--verb=*", &format!("--resource=widgets.{group}")]);
    let account = format!("--serviceaccount={}:bowline-deployer", team.namespace);
    team.kubectl(&["create", "rolebinding", "widgets", "--role=widgets", &account]);
    let widget =
        json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}});
    (group, widget)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_goes_though_the_definition_of_a_kind_went_first() {
    let team = Team::new("crd").await;
    let (group, widget) = define(&team);
    let first = team.push("Both", &[("deploy/all.yaml", yaml(&[widget, config_map("one", "1")]))]);
    team.deploy_shop(json!({"deletionPolicy": "Prune"}));
    team.until_synced("shop", &first).await;
    team.site.cluster.kubectl(&["delete", "crd", &format!("widgets.{group}")]).unwrap();
    team.delete("applications", "shop").await;
    until_gone(&team, Duration::from_secs(120)).await;
    assert!(team.get("configmaps", "one").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_nobody_can_say_anything_of_is_not_pruned_and_keeps_nothing_else() {
    let team = Team::new("unknown").await;
    let (group, widget) = define(&team);
    let first = team.push("Both", &[("deploy/all.yaml", yaml(&[widget, config_map("one", "1")]))]);
    team.deploy_shop(json!({"deletionPolicy": "Prune"}));
    team.until_synced("shop", &first).await;
    // An APIService of the group without a backend: its kinds are unknown. The
    // server keeps its own registration only while that is labelled as such.
    let broken = json!({"metadata": {"labels": {"kube-aggregator.kubernetes.io/automanaged": null}},
        "spec": {"insecureSkipTLSVerify": true, "service": {"name": "nobody", "namespace": team.namespace}}});
    let cluster = &team.site.cluster;
    let service = format!("v1.{group}");
    cluster.kubectl(&["patch", "apiservice", &service, "--type=merge", "-p", &broken.to_string()]).unwrap();
    eventually("the kind cannot be read", async || match team.try_kubectl(&["get", &format!("widgets.v1.{group}")]) {
        Ok(answer) => Err(answer),
        Err(_) => Ok(()),
    })
    .await;
    let second = team.push("Changed, without the widget", &[("deploy/all.yaml", config_map("one", "2").to_string())]);
    team.until("shop", "second is seen", |status| status["head"]["commit"] == second.as_str()).await;
    eventually("the rest is applied", async || {
        let one = team.get("configmaps", "one").await.unwrap_or_default();
        if one["data"]["key"] == "2" { Ok(()) } else { Err(format!("{:#?}", team.events("shop").await)) }
    })
    .await;
    until_told(&team, &["Kept", "Widget", "left for the next release"]).await;

    // Nor does it keep the Application for ever.
    team.delete("applications", "shop").await;
    until_gone(&team, Duration::from_secs(300)).await;
    assert!(team.get("configmaps", "one").await.is_none());
    // The group's own APIService is made again by the server.
    cluster.kubectl(&["delete", "apiservice", &service]).unwrap();
    eventually("the widget is still there", async || team.try_kubectl(&["get", &format!("widgets.v1.{group}"), "w"]))
        .await;
    cluster.kubectl(&["delete", "crd", &format!("widgets.{group}"), "--wait=false"]).unwrap();
}
