//! Each way in which somebody changes a live object: which of them is drift,
//! and that one repair undoes it.

use bowline::plan::ownership::{entry_of, fingerprint};
use rstest::rstest;
use serde_json::{Value, json};

use super::{Kept, writes};
use crate::world::World;

/// A Deployment without pods: its controller has little to write.
fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "annotations": {"example.com/note": "git"}},
        "spec": {
            "replicas": 0,
            "minReadySeconds": 5,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                    "containers": [
                        {"name": "main", "image": "registry.example/main:1", "args": ["--listen", ":8080"],
                         "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}],
                         "ports": [{"containerPort": 8080}]},
                        {"name": "log", "image": "registry.example/log:1"},
                    ],
                },
            },
        },
    })
}

async fn kept() -> Kept {
    Kept::bring(World::new().await, deployment()).await
}

/// What a person would compare: the content, without what the server counts.
fn content(object: &Value) -> Value {
    let mut annotations = object["metadata"]["annotations"].clone();
    annotations.as_object_mut().unwrap().retain(|name, _| !name.starts_with("deployment.kubernetes.io/"));
    json!([object["spec"], object["metadata"]["labels"], annotations])
}

const IN_TEMPLATE: &str = "/spec/template/spec";

#[rstest]
#[case::a_program_changes_a_value("tool", json!([{"op": "replace", "path": "/spec/minReadySeconds", "value": 7}]))]
#[case::a_program_removes_a_field("tool", json!([{"op": "remove", "path": "/spec/minReadySeconds"}]))]
#[case::a_program_changes_an_item_of_a_list(
    "tool", json!([{"op": "replace", "path": format!("{IN_TEMPLATE}/containers/1/image"), "value": "other"}]))]
#[case::a_program_changes_an_atomic_list(
    "tool", json!([{"op": "add", "path": format!("{IN_TEMPLATE}/containers/0/args/-"), "value": "--debug"}]))]
#[case::a_program_removes_an_item(
    "tool", json!([{"op": "remove", "path": format!("{IN_TEMPLATE}/containers/1")}]))]
#[case::containers_change_places(
    "tool", json!([{"op": "move", "from": format!("{IN_TEMPLATE}/containers/1"), "path": format!("{IN_TEMPLATE}/containers/0")}]))]
#[case::variables_change_places(
    "tool", json!([{"op": "move", "from": format!("{IN_TEMPLATE}/containers/0/env/1"), "path": format!("{IN_TEMPLATE}/containers/0/env/0")}]))]
#[case::an_empty_map_of_ours_gets_a_field(
    "kubectl-patch", json!([{"op": "add", "path": format!("{IN_TEMPLATE}/volumes/0/emptyDir/medium"), "value": "Memory"}]))]
#[case::a_person_adds_a_container(
    "kubectl-edit", json!([{"op": "add", "path": format!("{IN_TEMPLATE}/containers/-"), "value": {"name": "debug", "image": "x"}}]))]
#[case::a_person_adds_a_container_in_front(
    "kubectl-edit", json!([{"op": "add", "path": format!("{IN_TEMPLATE}/containers/0"), "value": {"name": "debug", "image": "x"}}]))]
#[case::a_person_adds_a_variable(
    "kubectl-set", json!([{"op": "add", "path": format!("{IN_TEMPLATE}/containers/0/env/-"), "value": {"name": "C", "value": "3"}}]))]
#[case::a_person_adds_an_annotation(
    "kubectl-edit", json!([{"op": "add", "path": "/metadata/annotations/example.com~1more", "value": "hand"}]))]
#[case::a_person_adds_a_field(
    "kubectl-edit", json!([{"op": "add", "path": "/spec/paused", "value": true}]))]
#[case::the_membership_goes("tool", json!([{"op": "remove", "path": "/metadata/labels/bowline.dev~1set"}]))]
#[case::managed_fields_are_cleared("tool", json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]))]
#[tokio::test]
async fn is_drift_and_one_repair_undoes_it(#[case] manager: &str, #[case] patch: Value) {
    let mut kept = kept().await;
    let before = kept.live().await;
    let manager = format!("--field-manager={manager}");
    kept.kubectl(&["patch", "deployment/web", "--type=json", &manager, "-p", &patch.to_string()]);
    assert!(kept.has_drifted().await, "unseen: {:#}", kept.live().await);
    let plan = kept.repaired().await;
    assert_eq!(writes(&plan), 1, "{plan:#?}");
    assert_eq!(content(&kept.live().await), content(&before));
}

#[rstest]
#[case::sets_the_value_that_is_there("tool", json!({"spec": {"minReadySeconds": 5}}))]
#[case::changes_a_default("tool", json!({"spec": {"progressDeadlineSeconds": 300}}))]
#[case::adds_an_annotation_of_its_own("tool", json!({"metadata": {"annotations": {"tool.example/seen": "1"}}}))]
#[case::adds_a_field_of_its_own("tool", json!({"spec": {"paused": true}}))]
#[case::is_kubectl_rollout_restart(
    "kubectl-rollout", json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}))]
#[case::is_kubectl_annotate("kubectl-annotate", json!({"metadata": {"annotations": {"example.com/more": "1"}}}))]
#[case::is_kubectl_label("kubectl-label", json!({"metadata": {"labels": {"example.com/more": "1"}}}))]
#[tokio::test]
async fn is_no_drift_if_somebody(#[case] manager: &str, #[case] patch: Value) {
    let mut kept = kept().await;
    kept.patch("deployment/web", manager, &patch);
    kept.is_as_applied("though no field of ours was touched").await;
    // And what they did survives a repair of something else.
    let theirs = content(&kept.live().await);
    kept.patch("deployment/web", "tool", &json!({"metadata": {"annotations": {"example.com/note": "changed"}}}));
    assert!(kept.has_drifted().await);
    kept.repaired().await;
    assert_eq!(content(&kept.live().await), theirs);
}

#[tokio::test]
async fn an_injected_container_stays_and_is_no_drift() {
    let mut kept = kept().await;
    let patch =
        json!([{"op": "add", "path": "/spec/template/spec/containers/0", "value": {"name": "proxy", "image": "p"}}]);
    let arguments = ["patch", "deployment/web", "--type=json", "--field-manager=injector", "-p", &patch.to_string()];
    kept.kubectl(&arguments);
    kept.is_as_applied("though a sidecar was injected in front of ours").await;
    kept.patch("deployment/web", "tool", &json!({"spec": {"minReadySeconds": 9}}));
    kept.repaired().await;
    let live = kept.live().await;
    let names: Vec<&str> = live["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|container| container["name"].as_str())
        .collect();
    assert!(names.contains(&"proxy") && names.len() == 3, "{names:?}");
}

#[tokio::test]
async fn an_injected_authority_stays_and_is_no_drift() {
    let world = World::as_admin().await;
    // It is about a kind that nobody serves, so that it stops nobody.
    let (name, group) = (format!("{}-check", world.namespace), format!("{}.example.com", world.namespace));
    let service = json!({"service": {"name": "check", "namespace": world.namespace}});
    let rules =
        json!([{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["widgets"]}]);
    let webhook = |failure: &str| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name}, "webhooks": [{"name": format!("check.{group}"), "clientConfig": service, "rules": rules,
                "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": failure}]})
    };
    let mut kept = Kept::bring(world, webhook("Ignore")).await;
    let inject = json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "Cg=="}]).to_string();
    let object = format!("validatingwebhookconfiguration/{name}");
    kept.kubectl(&["patch", &object, "--type=json", "--field-manager=cert-manager-cainjector", "-p", &inject]);
    let drifted = kept.has_drifted().await;
    kept.bring_anew(webhook("Fail")).await;
    let live = kept.live().await;
    kept.kubectl(&["delete", &object]);
    assert!(!drifted);
    let (policy, authority) = (&live["webhooks"][0]["failurePolicy"], &live["webhooks"][0]["clientConfig"]["caBundle"]);
    assert_eq!((policy, authority), (&json!("Fail"), &json!("Cg==")), "a change elsewhere leaves it");
}

#[tokio::test]
async fn a_write_to_the_status_is_no_drift() {
    let kept = kept().await;
    let patch = json!({"status": {"replicas": 3}}).to_string();
    kept.kubectl(&["patch", "deployment/web", "--subresource=status", "--type=merge", "-p", &patch]);
    kept.is_as_applied("though only the status was written").await;
}

#[tokio::test]
async fn the_scale_subresource_takes_the_field_from_us() {
    let mut kept = kept().await;
    kept.kubectl(&["scale", "deployment/web", "--replicas=1"]);
    assert!(kept.has_drifted().await);
    let plan = kept.repaired().await;
    assert_eq!(kept.live().await["spec"]["replicas"], 0);
    let reason = &plan.actions[0].reason;
    assert!(reason.starts_with("drifted (changed by kubectl"), "{reason}");
}

#[tokio::test]
async fn a_forced_apply_of_another_manager_takes_the_field_from_us() {
    let mut kept = kept().await;
    let namespace = kept.app.world.namespace.clone();
    let theirs = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"minReadySeconds": 8}});
    let apply = |force: &[&str]| {
        let arguments = [&["apply", "--server-side", "--field-manager=other", "-f", "-"], force].concat();
        kept.app.world.access.kubectl_with_input(&arguments, &theirs.to_string())
    };
    let conflict = apply(&[]).unwrap_err().to_string();
    assert!(conflict.contains("conflict"), "without force it is refused: {conflict}");
    kept.is_as_applied("after a refused apply of another manager").await;
    apply(&["--force-conflicts"]).unwrap();
    assert!(kept.has_drifted().await);
    kept.repaired().await;
    assert_eq!(kept.live().await["spec"]["minReadySeconds"], 5);
}

#[tokio::test]
async fn a_change_set_back_by_hand_needs_one_harmless_apply() {
    let mut kept = kept().await;
    for seconds in [7, 5] {
        kept.patch("deployment/web", "tool", &json!({"spec": {"minReadySeconds": seconds}}));
    }
    assert!(kept.has_drifted().await, "the value is ours and the field is not");
    let before = kept.live().await;
    let plan = kept.repaired().await;
    assert_eq!(plan.actions[0].reason, "regains ownership of spec.minReadySeconds (changed by tool)");
    let after = kept.live().await;
    assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"], "nothing but the ownership changes");
}

#[tokio::test]
async fn cleared_managed_fields_come_back_and_leave_no_entry_that_owns_everything() {
    let mut kept = kept().await;
    kept.kubectl(&["patch", "deployment/web", "--type=merge", "-p", r#"{"metadata":{"managedFields":[{}]}}"#]);
    let policy = kept.app.world.policy.clone();
    let hash = |live: &Value| fingerprint(live, &policy.membership.manager, &[], &policy.hand_managers);
    assert_eq!(hash(&kept.live().await), None, "an object in which we own nothing has no fingerprint");
    kept.repaired().await;
    let live = kept.live().await;
    let managers: Vec<&str> = live["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry.get("subresource").is_none())
        .filter_map(|entry| entry["manager"].as_str())
        .collect();
    // The server makes one at the apply, which would keep what a manifest gives up later.
    assert!(!managers.contains(&"before-first-apply"), "{managers:?}");
    assert!(entry_of(&live, &policy.membership.manager).is_some());
    kept.patch("deployment/web", "kubectl-edit", &json!({"metadata": {"annotations": {"example.com/more": "hand"}}}));
    assert!(kept.has_drifted().await, "additions by hand are seen as before");
    kept.repaired().await;
    assert_eq!(kept.live().await["metadata"]["annotations"].get("example.com/more"), None);
}

#[tokio::test]
async fn quantities_that_the_server_writes_otherwise_are_no_drift_and_no_change() {
    let mut object = deployment();
    object["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": "0.5", "memory": "1024Ki"}});
    let mut kept = Kept::bring(World::new().await, object.clone()).await;
    let resources = kept.live().await["spec"]["template"]["spec"]["containers"][0]["resources"].clone();
    let stored = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Mi"}});
    assert_eq!(resources, stored, "the server writes quantities its own way");
    assert_eq!(writes(&kept.repair().await), 0);
    // The same in other words is the same content.
    let resources = &mut object["spec"]["template"]["spec"]["containers"][0]["resources"];
    *resources = stored;
    let plan = kept.bring_anew(object).await;
    assert_eq!(writes(&plan), 0, "{plan:#?}");
}

#[tokio::test]
async fn a_copy_made_with_kubectl_carries_our_label_and_no_entry_of_ours() {
    let kept = kept().await;
    let mut copy: Value = serde_json::from_str(&kept.kubectl(&["get", "deployment/web", "-o", "json"])).unwrap();
    copy["metadata"] = json!({"name": "copy", "namespace": kept.app.world.namespace,
        "labels": copy["metadata"]["labels"], "annotations": copy["metadata"]["annotations"]});
    kept.app.world.create(&copy);
    let live = kept.kubectl(&["get", "deployment/copy", "-o", "json", "--show-managed-fields"]);
    let live: Value = serde_json::from_str(&live).unwrap();
    assert!(live["metadata"]["labels"].get("bowline.dev/set").is_some());
    assert!(entry_of(&live, &kept.app.world.policy.membership.manager).is_none());
}
