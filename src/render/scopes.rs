//! Whether objects of a kind live in a namespace.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::manifest::{GroupKind, Scope};

/// What to do with an object of a kind that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKind {
    /// Offline: a table knows the cluster-scoped kinds of well-known projects;
    /// most kinds are namespaced.
    WellKnown,
    /// With a cluster at hand: the kind does not exist.
    Refuse,
}

/// Knows the scope of kinds.
pub trait ScopeLookup: Send + Sync {
    /// The scope of a kind, if it is known.
    fn scope(&self, kind: &GroupKind) -> Option<Scope>;

    /// What an unknown kind means.
    fn unknown_kind(&self) -> UnknownKind {
        UnknownKind::WellKnown
    }
}

/// The kinds of Kubernetes itself, versions 1.34 to 1.37.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuiltIn;

impl ScopeLookup for BuiltIn {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        let holds = |table: &[(&str, &[&str])]| {
            table.iter().any(|(group, kinds)| *group == kind.group && kinds.contains(&kind.kind.as_str()))
        };
        if holds(CLUSTER) {
            Some(Scope::Cluster)
        } else if holds(NAMESPACED) {
            Some(Scope::Namespaced)
        } else {
            None
        }
    }
}

const CLUSTER: &[(&str, &[&str])] = &[
    ("", &["ComponentStatus", "Namespace", "Node", "PersistentVolume"]),
    (
        "admissionregistration.k8s.io",
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &["APIService"]),
    ("authentication.k8s.io", &["SelfSubjectReview", "TokenReview"]),
    ("authorization.k8s.io", &["SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview"]),
    ("certificates.k8s.io", &["CertificateSigningRequest", "ClusterTrustBundle"]),
    ("flowcontrol.apiserver.k8s.io", &["FlowSchema", "PriorityLevelConfiguration"]),
    ("internal.apiserver.k8s.io", &["StorageVersion"]),
    ("networking.k8s.io", &["IPAddress", "IngressClass", "ServiceCIDR"]),
    ("node.k8s.io", &["RuntimeClass"]),
    ("rbac.authorization.k8s.io", &["ClusterRole", "ClusterRoleBinding"]),
    ("resource.k8s.io", &["DeviceClass", "DeviceTaintRule", "ResourcePoolStatusRequest", "ResourceSlice"]),
    ("scheduling.k8s.io", &["PriorityClass"]),
    ("storage.k8s.io", &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"]),
    ("storagemigration.k8s.io", &["StorageVersionMigration"]),
];

const NAMESPACED: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "Binding",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
    ),
    ("apps", &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"]),
    ("authorization.k8s.io", &["LocalSubjectAccessReview"]),
    ("autoscaling", &["HorizontalPodAutoscaler"]),
    ("batch", &["CronJob", "Job"]),
    ("certificates.k8s.io", &["PodCertificateRequest"]),
    ("coordination.k8s.io", &["Lease", "LeaseCandidate"]),
    ("discovery.k8s.io", &["EndpointSlice"]),
    ("events.k8s.io", &["Event"]),
    ("extensions", &["DaemonSet", "Deployment", "Ingress", "NetworkPolicy", "ReplicaSet"]),
    ("lifecycle.k8s.io", &["Eviction", "EvictionRequest"]),
    ("networking.k8s.io", &["Ingress", "NetworkPolicy"]),
    ("policy", &["Eviction", "PodDisruptionBudget"]),
    ("rbac.authorization.k8s.io", &["Role", "RoleBinding"]),
    ("resource.k8s.io", &["ResourceClaim", "ResourceClaimTemplate"]),
    ("scheduling.k8s.io", &["CompositePodGroup", "PodGroup", "Workload"]),
    ("storage.k8s.io", &["CSIStorageCapacity"]),
];

/// Scopes that were learned: from the CRDs of an input, or from discovery.
#[derive(Debug, Clone, Default)]
pub struct Scopes {
    known: BTreeMap<GroupKind, Scope>,
}

impl Scopes {
    /// Adds a kind.
    pub fn insert(&mut self, kind: GroupKind, scope: Scope) {
        self.known.insert(kind, scope);
    }

    /// Adds the kind that an object defines, if it is a CRD.
    pub fn learn(&mut self, object: &Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let is_crd = text("/kind") == Some("CustomResourceDefinition")
            && text("/apiVersion").is_some_and(|version| version.starts_with("apiextensions.k8s.io/"));
        if !is_crd {
            return;
        }
        if let (Some(group), Some(kind)) = (text("/spec/group"), text("/spec/names/kind")) {
            let scope = if text("/spec/scope") == Some("Cluster") { Scope::Cluster } else { Scope::Namespaced };
            self.insert(GroupKind::new(group, kind), scope);
        }
    }
}

impl ScopeLookup for Scopes {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        self.known.get(kind).copied()
    }
}

/// Asks one after the other. What an unknown kind means, the last one says.
pub struct Chain<'a>(pub Vec<&'a dyn ScopeLookup>);

impl ScopeLookup for Chain<'_> {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        self.0.iter().find_map(|scopes| scopes.scope(kind))
    }

    fn unknown_kind(&self) -> UnknownKind {
        self.0.last().map_or(UnknownKind::WellKnown, |scopes| scopes.unknown_kind())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_kind_is_in_both_tables() {
        for (group, kinds) in CLUSTER {
            for kind in *kinds {
                let both = NAMESPACED.iter().any(|(other, kinds)| other == group && kinds.contains(kind));
                assert!(!both, "{group}/{kind}");
            }
        }
    }

    #[test]
    fn a_crd_of_the_input_tells_its_kind_and_comes_first() {
        let mut learned = Scopes::default();
        learned.learn(&json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "spec": {"group": "example.com", "names": {"kind": "Tenant"}, "scope": "Cluster"}}));
        let chain = Chain(vec![&learned, &BuiltIn]);
        assert_eq!(chain.scope(&GroupKind::new("example.com", "Tenant")), Some(Scope::Cluster));
        assert_eq!(chain.scope(&GroupKind::new("apps", "Deployment")), Some(Scope::Namespaced));
        assert_eq!(chain.scope(&GroupKind::new("example.com", "Other")), None);
    }
}
