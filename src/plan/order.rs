//! The order in which objects of one stage are written.
//!
//! | written | kinds |
//! | --- | --- |
//! | first | Namespace, PriorityClass, ResourceQuota, LimitRange, ServiceAccount, Secret, ConfigMap, roles and bindings, StorageClass, PersistentVolume, PersistentVolumeClaim, CustomResourceDefinition, NetworkPolicy, Service |
//! | then | workloads, and every kind that is not named here |
//! | last | HorizontalPodAutoscaler, PodDisruptionBudget, Ingress, APIService, admission policies and webhooks |
//!
//! Deletions come after everything else, in the reverse order.

use crate::manifest::ObjectId;

const FIRST: &[(&str, &str)] = &[
    ("", "Namespace"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("node.k8s.io", "RuntimeClass"),
    ("", "ResourceQuota"),
    ("", "LimitRange"),
    ("", "ServiceAccount"),
    ("", "Secret"),
    ("", "ConfigMap"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "StorageClass"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("networking.k8s.io", "IngressClass"),
    ("", "Service"),
];

const WORKLOADS: &[(&str, &str)] = &[
    ("apps", "DaemonSet"),
    ("", "Pod"),
    ("", "ReplicationController"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("apps", "Deployment"),
    ("batch", "Job"),
    ("batch", "CronJob"),
];

const LAST: &[(&str, &str)] = &[
    ("policy", "PodDisruptionBudget"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("networking.k8s.io", "Ingress"),
    ("apiregistration.k8s.io", "APIService"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
];

/// Sorts objects as they are written: namespaces and what others need first.
pub fn sort_as_written<T>(objects: &mut [T], id: impl Fn(&T) -> &ObjectId) {
    objects.sort_by(|one, other| (rank(id(one)), id(one)).cmp(&(rank(id(other)), id(other))));
}

/// The place of a kind in the order: the lower is written first.
pub(super) fn rank(id: &ObjectId) -> usize {
    let place = |table: &[(&str, &str)]| table.iter().position(|(group, kind)| *group == id.group && *kind == id.kind);
    if let Some(index) = place(FIRST) {
        return index;
    }
    if let Some(index) = place(WORKLOADS) {
        return FIRST.len() + index;
    }
    // Kinds that are not named come after the workloads: a custom resource
    // may need the operator that a Deployment of the same application runs.
    let others = FIRST.len() + WORKLOADS.len();
    place(LAST).map_or(others, |index| others + 1 + index)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::manifest::GroupKind;

    #[rstest]
    #[case(("", "Namespace"), ("", "Secret"))]
    #[case(("", "ServiceAccount"), ("rbac.authorization.k8s.io", "RoleBinding"))]
    #[case(("", "Secret"), ("apps", "Deployment"))]
    #[case(("", "PersistentVolumeClaim"), ("apps", "StatefulSet"))]
    #[case(("apiextensions.k8s.io", "CustomResourceDefinition"), ("example.com", "Widget"))]
    #[case(("", "Service"), ("apps", "Deployment"))]
    #[case(("apps", "Deployment"), ("example.com", "Widget"))]
    #[case(("apps", "Deployment"), ("autoscaling", "HorizontalPodAutoscaler"))]
    #[case(("example.com", "Service"), ("networking.k8s.io", "Ingress"))]
    #[case(("networking.k8s.io", "Ingress"), ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"))]
    fn the_one_is_written_before_the_other(#[case] one: (&str, &str), #[case] other: (&str, &str)) {
        let id = |(group, kind): (&str, &str)| ObjectId::new(GroupKind::new(group, kind), None, "x");
        assert!(rank(&id(one)) < rank(&id(other)));
    }
}
