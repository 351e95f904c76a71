//! The kinds of Kubernetes itself, one file a group.
//!
//! A kind of a built-in group that no rule names has nothing to judge and is
//! Healthy: a ConfigMap, a Role, a NetworkPolicy.

mod batch;
mod cluster;
mod network;
mod pod;
mod scaling;
mod storage;
mod workloads;

use serde_json::Value;

use super::Health;
use crate::manifest::is_built_in;

pub(super) use cluster::namespace_deletion;
pub(super) use pod::pod_problem;

/// Judges an object of a built-in group; `None` for custom resources.
pub(super) fn assess(group: &str, kind: &str, object: &Value) -> Option<Health> {
    if !is_built_in(group) {
        return None;
    }
    Some(match (group, kind) {
        ("", "Pod") => pod::pod(object),
        ("apps" | "extensions", "Deployment") => workloads::deployment(object),
        ("apps", "StatefulSet") => workloads::stateful_set(object),
        ("apps" | "extensions", "DaemonSet") => workloads::daemon_set(object),
        ("apps" | "extensions", "ReplicaSet") | ("", "ReplicationController") => workloads::replica_set(object),
        ("batch", "Job") => batch::job(object),
        ("batch", "CronJob") => batch::cron_job(object),
        ("", "Service") => network::service(object),
        ("networking.k8s.io" | "extensions", "Ingress") => network::ingress(object),
        ("networking.k8s.io", "ServiceCIDR") => network::service_cidr(object),
        ("", "PersistentVolumeClaim") => storage::claim(object),
        ("", "PersistentVolume") => storage::volume(object),
        ("storage.k8s.io", "VolumeAttachment") => storage::attachment(object),
        ("autoscaling", "HorizontalPodAutoscaler") => scaling::autoscaler(object),
        ("policy", "PodDisruptionBudget") => scaling::disruption_budget(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => cluster::definition(object),
        ("apiregistration.k8s.io", "APIService") => cluster::api_service(object),
        ("", "Namespace") => cluster::namespace(object),
        ("", "Node") => cluster::node(object),
        ("certificates.k8s.io", "CertificateSigningRequest") => cluster::signing_request(object),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => cluster::flow_schema(object),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => cluster::admission_policy(object),
        ("storagemigration.k8s.io", "StorageVersionMigration") => cluster::storage_migration(object),
        _ => Health::healthy(),
    })
}

#[cfg(test)]
pub(in crate::health) mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::health::{Health, HealthStatus, assess};

    /// Reads an object from YAML, the way that people write it.
    pub(in crate::health) fn object(api_version: &str, kind: &str, rest: &str) -> Value {
        let mut object: Value = serde_yaml::from_str(rest).unwrap();
        let fields = object.as_object_mut().unwrap();
        fields.insert("apiVersion".into(), json!(api_version));
        fields.insert("kind".into(), json!(kind));
        object
    }

    /// Judges an object and compares verdict and reason.
    pub(super) fn expect(api_version: &str, kind: &str, rest: &str, status: HealthStatus, reason: &str) {
        let health = assess(&object(api_version, kind, rest));
        assert_eq!(health, Health::new(status, reason), "{kind}: {rest}");
    }

    #[rstest]
    #[case("v1", "ConfigMap")]
    #[case("v1", "Secret")]
    #[case("v1", "ServiceAccount")]
    #[case("v1", "Endpoints")]
    #[case("v1", "LimitRange")]
    #[case("v1", "ResourceQuota")]
    #[case("v1", "Namespace")]
    #[case("rbac.authorization.k8s.io/v1", "Role")]
    #[case("rbac.authorization.k8s.io/v1", "ClusterRoleBinding")]
    #[case("networking.k8s.io/v1", "NetworkPolicy")]
    #[case("networking.k8s.io/v1", "IngressClass")]
    #[case("storage.k8s.io/v1", "StorageClass")]
    #[case("storage.k8s.io/v1", "CSIDriver")]
    #[case("scheduling.k8s.io/v1", "PriorityClass")]
    #[case("discovery.k8s.io/v1", "EndpointSlice")]
    #[case("coordination.k8s.io/v1", "Lease")]
    #[case("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")]
    #[case("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration")]
    #[case("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding")]
    #[case("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration")]
    #[case("node.k8s.io/v1", "RuntimeClass")]
    fn a_kind_without_anything_to_judge_is_healthy(#[case] api_version: &str, #[case] kind: &str) {
        expect(api_version, kind, "metadata: {name: a}", HealthStatus::Healthy, "");
    }

    #[rstest]
    #[case::no_finalizer("{}", "is being deleted")]
    #[case::one("{finalizers: [a/b]}", "is being deleted; waits for the finalizer a/b")]
    #[case::two("{finalizers: [a/b, c/d]}", "is being deleted; waits for the finalizers a/b, c/d")]
    fn deletion_names_the_finalizers(#[case] metadata: &str, #[case] reason: &str) {
        let mut object = object("v1", "ConfigMap", &format!("metadata: {metadata}"));
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(assess(&object), Health::new(HealthStatus::Progressing, reason));
    }

    #[rstest]
    #[case(json!(null))]
    #[case(json!("text"))]
    #[case(json!([]))]
    #[case(json!({"apiVersion": "v1"}))]
    #[case(json!({"apiVersion": "v1", "kind": 3}))]
    fn what_is_no_object_is_unknown(#[case] value: Value) {
        assert_eq!(assess(&value).status, HealthStatus::Unknown);
    }
}
