//! `config.kubernetes.io/depends-on`, the annotation that kpt and Config Sync
//! read too: references separated by commas, each of the form
//! `<group>/namespaces/<namespace>/<kind>/<name>` or, for objects without a
//! namespace, `<group>/<kind>/<name>`. The group is empty for the core group.

use super::{Refusal, invalid};
use crate::manifest::{GroupKind, Manifest, ObjectId};

/// The annotation.
pub(super) const DEPENDS_ON: &str = "config.kubernetes.io/depends-on";

/// The objects that a manifest depends on.
pub(super) fn dependencies(manifest: &Manifest) -> Result<Vec<ObjectId>, Box<Refusal>> {
    let Some(text) = manifest.annotation(DEPENDS_ON) else { return Ok(Vec::new()) };
    let references = text.split(',').map(str::trim);
    references
        .map(|reference| {
            parse(reference).ok_or_else(|| {
                let form =
                    "has a reference that is not of the form group/namespaces/namespace/kind/name or group/kind/name";
                invalid(manifest, DEPENDS_ON, reference, form)
            })
        })
        .collect()
}

fn parse(reference: &str) -> Option<ObjectId> {
    let parts: Vec<&str> = reference.split('/').collect();
    let (group, namespace, kind, name) = match parts.as_slice() {
        [group, "namespaces", namespace, kind, name] if !namespace.is_empty() => (group, Some(*namespace), kind, name),
        [group, kind, name] => (group, None, kind, name),
        _ => return None,
    };
    if kind.is_empty() || name.is_empty() {
        return None;
    }
    Some(ObjectId::new(GroupKind::new(*group, *kind), namespace.map(str::to_owned), *name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::of_a_group("apps/namespaces/team-a/Deployment/web", Some("Deployment.apps/team-a/web"))]
    #[case::of_the_core_group("/namespaces/team-a/ConfigMap/env", Some("ConfigMap/team-a/env"))]
    #[case::without_a_namespace("/Namespace/team-a", Some("Namespace//team-a"))]
    #[case::a_kind_of_the_cluster(
        "rbac.authorization.k8s.io/ClusterRole/reader",
        Some("ClusterRole.rbac.authorization.k8s.io//reader")
    )]
    #[case::a_namespace_called_namespaces("/namespaces/namespaces/Pod/p", Some("Pod/namespaces/p"))]
    #[case::nothing("", None)]
    #[case::too_short("Deployment/web", None)]
    #[case::too_long("apps/v1/namespaces/a/Deployment/web", None)]
    #[case::no_name("apps/namespaces/a/Deployment/", None)]
    #[case::no_namespace("apps/namespaces//Deployment/web", None)]
    fn a_reference_names_one_object(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(parse(text).map(|id| id.key()).as_deref(), expected);
    }
}
