//! Roles and the bindings that refer to them.

use serde_json::Value;

use super::Candidate;
use crate::manifest::{GroupKind, ObjectId};

/// The group of roles and their bindings.
const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn is_role(id: &ObjectId) -> bool {
    id.group == RBAC && matches!(id.kind.as_str(), "Role" | "ClusterRole")
}

/// The role that a binding refers to; none of anything else. Of who may not
/// bind just any role the server compares the role's rules with their own
/// rights, for which the role has to be there.
pub(super) fn role_of(candidate: &Candidate) -> Option<ObjectId> {
    if candidate.id.group != RBAC || !matches!(candidate.id.kind.as_str(), "RoleBinding" | "ClusterRoleBinding") {
        return None;
    }
    let reference = candidate.desired.as_deref()?.value.get("roleRef")?;
    let text = |name: &str| reference.get(name).and_then(Value::as_str);
    let kind = text("kind")?;
    let namespace = candidate.id.namespace.clone().filter(|_| kind == "Role");
    Some(ObjectId::new(GroupKind::new(RBAC, kind), namespace, text("name")?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::plan::{
        DryRun, Observation, Observations, OwnedObjects, Plan, RefusalReason, ServerError, conclude, propose,
        testing::{bundle, manifest, policy},
    };

    /// The plan of a binding, and of what else the bundle has, when the server
    /// answers the dry-run of the binding with this code.
    fn plan(kind: &str, others: &[Value], code: u16) -> Plan {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "readers", "namespace": "team-a"},
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": "reads"},
        });
        let desired: Vec<_> = others.iter().cloned().chain([binding]).map(manifest).collect();
        let none = BTreeSet::new();
        let proposal = propose(&desired, &bundle(), &OwnedObjects::new(), &none, &none, &policy());
        let error = ServerError {
            code,
            reason: "NotFound".into(),
            message: "rolebindings \"readers\" not found".into(),
            fields: Vec::new(),
            transient: false,
        };
        let seen: Observations = desired
            .iter()
            .map(|manifest| {
                let dry_run = match manifest.id.kind.as_str() {
                    "RoleBinding" => DryRun::Error(error.clone()),
                    _ => DryRun::Would(Box::new(manifest.value.read().into_owned())),
                };
                (manifest.id.clone(), Observation::Absent { dry_run })
            })
            .collect();
        conclude(&proposal, &seen, &policy())
    }

    fn role(kind: &str, name: &str) -> Value {
        let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "rules": []});
        if kind == "Role" {
            role["metadata"]["namespace"] = json!("team-a");
        }
        role
    }

    #[rstest]
    #[case::of_its_namespace("Role")]
    #[case::of_the_cluster("ClusterRole")]
    fn a_binding_that_cannot_be_judged_without_its_role_comes_after_it(#[case] kind: &str) {
        let plan = plan(kind, &[role(kind, "reads")], 404);
        assert_eq!(plan.refusals, []);
        let order: Vec<_> = plan.actions.iter().map(|it| (it.id.kind.as_str(), it.stage, it.unproven)).collect();
        assert_eq!(order, [(kind, 0, false), ("RoleBinding", 1, true)]);
    }

    #[rstest]
    #[case::another_role(&[role("Role", "writes")], 404)]
    #[case::of_the_cluster(&[role("ClusterRole", "reads")], 404)]
    #[case::none(&[], 404)]
    fn a_role_that_is_not_there_is_waited_for_by_its_name(#[case] others: &[Value], #[case] code: u16) {
        let plan = plan("Role", others, code);
        assert_eq!(plan.refusals.len(), 1);
        assert!(plan.refusals[0].transient);
        assert!(plan.refusals[0].message.starts_with("refers to Role"), "{}", plan.refusals[0].message);
    }

    #[test]
    fn want_of_rights_is_a_refusal_as_ever() {
        let plan = plan("Role", &[role("Role", "reads")], 403);
        assert_eq!(plan.refusals[0].reason, RefusalReason::Forbidden);
        assert!(!plan.refusals[0].transient);
    }
}
