//! Policies of the cluster that change what is applied: no phantom drift, and
//! an end of the repairs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Kept, writes};
use crate::world::World;

const CONFIG_MAP: &str = "configmap/ruled";

fn config_map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ruled"}, "data": {"key": "git", "free": "git"}})
}

/// A policy that writes `data.key` of the ConfigMap `ruled` at each create and
/// update, whoever makes it. It goes with this value.
struct Rule {
    access: rig::Access,
    name: String,
}

impl Rule {
    /// Makes the policy and waits until the server goes by it.
    async fn of(world: &World) -> Self {
        let name = format!("rule-{}", world.namespace);
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail", "reinvocationPolicy": "Never",
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}},
                    "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}],
                },
                "matchConditions": [{"name": "ruled", "expression": "object.metadata.name.startsWith('ruled')"}],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {
                    "expression": "[JSONPatch{op: 'add', path: '/data/key', value: 'policy'}]"}}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name},
        });
        world.create(&policy);
        world.create(&binding);
        let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "probe"},
            "metadata": {"name": "ruled-probe", "namespace": world.namespace}});
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let arguments = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
            let made = world.access.kubectl_with_input(&arguments, &probe.to_string());
            if made.as_ref().is_ok_and(|made| made.contains(r#""key": "policy""#)) {
                return Self { access: world.access.clone(), name };
            }
            assert!(Instant::now() < until, "the policy never came into force: {made:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        let kinds = "mutatingadmissionpolicy,mutatingadmissionpolicybinding";
        let _ = self.access.kubectl(&["delete", kinds, &self.name, "--ignore-not-found"]);
    }
}

#[tokio::test]
async fn what_a_policy_makes_of_our_apply_is_no_phantom() {
    let world = World::new().await;
    let _rule = Rule::of(&world).await;
    let mut kept = Kept::bring(world, config_map()).await;
    assert_eq!(kept.live().await["data"], json!({"key": "policy", "free": "git"}));
    assert_eq!(writes(&kept.repair().await), 0);
    // Drift in another field is repaired as ever, and the policy keeps its own.
    kept.patch(CONFIG_MAP, "tool", &json!({"data": {"free": "hand"}}));
    assert!(kept.has_drifted().await);
    kept.repaired().await;
    assert_eq!(kept.live().await["data"], json!({"key": "policy", "free": "git"}));
}

#[tokio::test]
async fn what_a_policy_does_at_somebody_elses_update_is_drift_that_no_repair_can_undo_and_repairs_end() {
    let mut kept = Kept::bring(World::new().await, config_map()).await;
    let _rule = Rule::of(&kept.app.world).await;
    kept.kubectl(&["annotate", CONFIG_MAP, "example.com/seen=1"]);
    let live = kept.live().await;
    assert_eq!(live["data"]["key"], "policy");
    let manager = &kept.app.world.policy.membership.manager;
    let owner = bowline::plan::ownership::owned_values(&live, manager).unwrap();
    assert!(owner.iter().any(|field| field.path == "data.key"), "the server leaves the ownership with us");
    assert!(kept.has_drifted().await, "the value is another one");
    let plan = kept.repaired().await;
    assert_eq!(writes(&plan), 0, "the dry-run tells that an apply would change nothing");
    let said = plan.overruled.join("; ");
    assert!(said.contains("data.key") && said.contains("admission policy or webhook"), "{said}");
    assert_eq!(kept.live().await["metadata"]["resourceVersion"], live["metadata"]["resourceVersion"]);
}
