//! Who claims a live object: another application or installation, or another
//! tool. Read from the object's own marks before the first write to it.

use serde_json::Value;

use super::{
    APPLICATION_ANNOTATION, Membership, SET_LABEL,
    ownership::{APPLICATIONS, entries, entry_of},
};

/// Annotation of a manifest that lets an object be taken over.
pub(super) const TAKE_OVER: &str = "bowline.dev/take-over";

pub(super) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(name)?.as_str()
}

pub(super) fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(name)?.as_str()
}

pub(super) fn uid(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("uid")?.as_str()
}

/// Whether the object carries the label, the annotation and a field manager's
/// entry of this application.
pub(super) fn carries_our_marks(object: &Value, membership: &Membership) -> bool {
    label(object, SET_LABEL) == Some(&membership.set)
        && annotation(object, APPLICATION_ANNOTATION) == Some(&membership.application)
        && entry_of(object, &membership.manager).is_some()
}

/// Who else claims an object that the inventory does not have with this uid.
pub(super) fn claimant(object: &Value, membership: &Membership) -> Option<String> {
    other_application(object, membership).or_else(|| other_tool(object)).or_else(|| controller(object))
}

/// The object that made this one and looks after it.
fn controller(object: &Value) -> Option<String> {
    let owners = object.get("metadata")?.get("ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    Some(format!("the {} {} that controls it", owner.get("kind")?.as_str()?, owner.get("name")?.as_str()?))
}

fn other_application(object: &Value, membership: &Membership) -> Option<String> {
    let application = annotation(object, APPLICATION_ANNOTATION);
    if let Some(other) = application.filter(|name| *name != membership.application) {
        return Some(format!("the Application {other}"));
    }
    if let Some(set) = label(object, SET_LABEL).filter(|set| *set != membership.set) {
        return Some(match application {
            Some(name) => format!("the Application {name} of another Bowline installation (set {set})"),
            None => format!("another Application (set {set})"),
        });
    }
    other_managers(object, membership).next().map(|manager| format!("the Application of the field manager {manager}"))
}

/// The field managers of other applications that have an entry.
pub(super) fn other_managers<'a>(object: &'a Value, membership: &'a Membership) -> impl Iterator<Item = &'a str> {
    entries(object)
        .filter(|entry| entry.applied && entry.subresource.is_empty())
        .map(|entry| entry.manager)
        .filter(|manager| manager.starts_with(APPLICATIONS) && *manager != membership.manager)
}

fn other_tool(object: &Value) -> Option<String> {
    let in_namespace = |namespace: Option<&str>, name: &str| match namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    };
    // The label `app.kubernetes.io/managed-by: Helm` says nothing by itself:
    // rendered charts carry it wherever they are applied.
    if let Some(name) = annotation(object, "meta.helm.sh/release-name") {
        let namespace = annotation(object, "meta.helm.sh/release-namespace");
        return Some(format!("the Helm release {}", in_namespace(namespace, name)));
    }
    for (tool, prefix) in [("Kustomization", "kustomize.toolkit.fluxcd.io"), ("HelmRelease", "helm.toolkit.fluxcd.io")]
    {
        if let Some(name) = label(object, &format!("{prefix}/name")) {
            let namespace = label(object, &format!("{prefix}/namespace"));
            return Some(format!("the Flux {tool} {}", in_namespace(namespace, name)));
        }
    }
    if let Some(tracking) = annotation(object, "argocd.argoproj.io/tracking-id") {
        return Some(format!("the Argo CD application {}", tracking.split(':').next().unwrap_or(tracking)));
    }
    if let Some(name) = label(object, "argocd.argoproj.io/instance") {
        return Some(format!("the Argo CD application {name}"));
    }
    label(object, "applyset.kubernetes.io/part-of").map(|set| format!("the ApplySet {set}"))
}

/// Who took an object over that the inventory has with this uid: another
/// application whose field manager wrote its own mark. Marks that were edited
/// by hand are drift, and marks of other tools that came later are theirs to
/// explain: neither takes an object away from the application.
pub(super) fn taken_over_by(object: &Value, membership: &Membership) -> Option<String> {
    let other = annotation(object, APPLICATION_ANNOTATION).is_some_and(|name| name != membership.application)
        || label(object, SET_LABEL).is_some_and(|set| set != membership.set);
    if !other {
        return None;
    }
    let marks = [["metadata", "annotations", APPLICATION_ANNOTATION], ["metadata", "labels", SET_LABEL]];
    let writer = other_managers(object, membership).find(|manager| {
        entry_of(object, manager).is_some_and(|fields| marks.iter().any(|at| fields.covers(object, at)))
    });
    writer?;
    other_application(object, membership)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::plan::testing::{MANAGER, policy, with_entry};

    fn object(labels: Value, annotations: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "team-a", "labels": labels, "annotations": annotations}})
    }

    #[rstest]
    #[case::nobody(json!({}), json!({}), None)]
    #[case::a_rendered_chart(json!({"app.kubernetes.io/managed-by": "Helm"}), json!({}), None)]
    #[case::another_application(json!({}), json!({"bowline.dev/application": "team-b/shop"}), Some("the Application team-b/shop"))]
    #[case::another_installation(
        json!({"bowline.dev/set": "else"}), json!({"bowline.dev/application": "team-a/shop"}),
        Some("the Application team-a/shop of another Bowline installation (set else)"))]
    #[case::another_set(json!({"bowline.dev/set": "else"}), json!({}), Some("another Application (set else)"))]
    #[case::helm(
        json!({}), json!({"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "prod"}),
        Some("the Helm release prod/shop"))]
    #[case::flux(
        json!({"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}),
        json!({}), Some("the Flux Kustomization flux-system/apps"))]
    #[case::flux_helm(json!({"helm.toolkit.fluxcd.io/name": "shop"}), json!({}), Some("the Flux HelmRelease shop"))]
    #[case::argo_cd_by_annotation(
        json!({}), json!({"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:team-a/web"}),
        Some("the Argo CD application shop"))]
    #[case::argo_cd_by_label(json!({"argocd.argoproj.io/instance": "shop"}), json!({}), Some("the Argo CD application shop"))]
    #[case::apply_set(json!({"applyset.kubernetes.io/part-of": "applyset-x-v1"}), json!({}), Some("the ApplySet applyset-x-v1"))]
    #[case::ourselves(json!({"bowline.dev/set": "set-of-shop"}), json!({"bowline.dev/application": "team-a/shop"}), None)]
    fn an_object_is_claimed_by_whoever_marked_it(
        #[case] labels: Value,
        #[case] annotations: Value,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(claimant(&object(labels, annotations), &policy().membership).as_deref(), expected);
    }

    #[test]
    fn a_field_manager_of_another_application_claims_an_object_too() {
        let mut object = object(json!({}), json!({}));
        with_entry(&mut object, "bowline/team-b/shop", "Apply", json!({"f:data": {}}));
        assert_eq!(
            claimant(&object, &policy().membership).as_deref(),
            Some("the Application of the field manager bowline/team-b/shop")
        );
    }

    #[test]
    fn marks_edited_by_hand_take_nothing_away_but_those_of_another_application_do() {
        let mut object =
            object(json!({"bowline.dev/set": "set-of-shop"}), json!({"bowline.dev/application": "team-b/shop"}));
        with_entry(&mut object, MANAGER, "Apply", json!({"f:data": {}}));
        assert_eq!(taken_over_by(&object, &policy().membership), None);
        let fields = json!({"f:metadata": {"f:annotations": {"f:bowline.dev/application": {}}}});
        with_entry(&mut object, "bowline/team-b/shop", "Apply", fields);
        assert_eq!(taken_over_by(&object, &policy().membership).as_deref(), Some("the Application team-b/shop"));
    }
}
