//! What is left alone although a hand manager owns it: the server, or the
//! course of a deletion, decides on it.
//!
//! An entry of an update (`kubectl create`, `kubectl apply`) names the defaults
//! that the server added to the request. Removing one of those changes nothing:
//! the server sets it again, and it would be found by hand for ever.

use std::sync::LazyLock;

use serde_json::Value;

/// Fields that hold a default, by the end of their path.
const DEFAULTS: &[(&str, &str)] = &[
    // Pods and their templates.
    ("restartPolicy", r#""Always""#),
    ("terminationGracePeriodSeconds", "30"),
    ("dnsPolicy", r#""ClusterFirst""#),
    ("schedulerName", r#""default-scheduler""#),
    ("securityContext", "{}"),
    ("enableServiceLinks", "true"),
    ("resources", "{}"),
    ("terminationMessagePath", r#""/dev/termination-log""#),
    ("terminationMessagePolicy", r#""File""#),
    ("imagePullPolicy", r#""IfNotPresent""#),
    ("imagePullPolicy", r#""Always""#),
    ("protocol", r#""TCP""#),
    ("httpGet/scheme", r#""HTTP""#),
    ("timeoutSeconds", "1"),
    ("periodSeconds", "10"),
    ("successThreshold", "1"),
    ("failureThreshold", "3"),
    ("grpc/service", r#""""#),
    ("fieldRef/apiVersion", r#""v1""#),
    ("defaultMode", "420"),
    ("emptyDir", "{}"),
    ("hostPath/type", r#""""#),
    // Workloads.
    ("spec/replicas", "1"),
    ("spec/progressDeadlineSeconds", "600"),
    ("spec/revisionHistoryLimit", "10"),
    ("spec/podManagementPolicy", r#""OrderedReady""#),
    ("strategy/type", r#""RollingUpdate""#),
    ("rollingUpdate/maxSurge", r#""25%""#),
    ("rollingUpdate/maxUnavailable", r#""25%""#),
    ("rollingUpdate/maxUnavailable", "1"),
    ("rollingUpdate/maxSurge", "0"),
    ("updateStrategy/type", r#""RollingUpdate""#),
    ("rollingUpdate/partition", "0"),
    ("persistentVolumeClaimRetentionPolicy/whenDeleted", r#""Retain""#),
    ("persistentVolumeClaimRetentionPolicy/whenScaled", r#""Retain""#),
    // Jobs.
    ("spec/backoffLimit", "6"),
    ("spec/completions", "1"),
    ("spec/parallelism", "1"),
    ("spec/completionMode", r#""NonIndexed""#),
    ("spec/podReplacementPolicy", r#""TerminatingOrFailed""#),
    ("spec/manualSelector", "false"),
    ("spec/suspend", "false"),
    ("spec/concurrencyPolicy", r#""Allow""#),
    ("spec/failedJobsHistoryLimit", "1"),
    ("spec/successfulJobsHistoryLimit", "3"),
    // Services and Ingresses.
    ("spec/type", r#""ClusterIP""#),
    ("spec/sessionAffinity", r#""None""#),
    ("spec/internalTrafficPolicy", r#""Cluster""#),
    ("spec/externalTrafficPolicy", r#""Cluster""#),
    ("spec/allocateLoadBalancerNodePorts", "true"),
    ("spec/policyTypes", r#"["Ingress"]"#),
    // Storage.
    ("volumeMode", r#""Filesystem""#),
    ("spec/persistentVolumeReclaimPolicy", r#""Retain""#),
    ("reclaimPolicy", r#""Delete""#),
    ("volumeBindingMode", r#""Immediate""#),
    // Secrets, certificates, webhooks, definitions.
    ("type", r#""Opaque""#),
    ("matchPolicy", r#""Equivalent""#),
    ("namespaceSelector", "{}"),
    ("objectSelector", "{}"),
    ("reinvocationPolicy", r#""Never""#),
    ("failurePolicy", r#""Fail""#),
    ("conversion/strategy", r#""None""#),
    ("preemptionPolicy", r#""PreemptLowerPriority""#),
];

/// Roots beneath which no field has a default.
const FREE: [&str; 4] = ["data", "stringData", "binaryData", "metadata"];

/// Fields that the server allocates or that cannot be taken back, by kind
/// (empty: any) and whole path. A list item is written `*`.
const ALLOCATED: &[(&str, &str)] = &[
    ("", "apiVersion"),
    ("", "kind"),
    ("", "status"),
    ("", "metadata/name"),
    ("", "metadata/namespace"),
    ("", "metadata/generateName"),
    ("", "metadata/finalizers"),
    ("", "metadata/ownerReferences"),
    ("", "metadata/labels/kubernetes.io~metadata.name"),
    ("Namespace", "spec"),
    // A manifest without replicas leaves their number to whoever scales.
    ("Deployment", "spec/replicas"),
    ("StatefulSet", "spec/replicas"),
    ("ReplicaSet", "spec/replicas"),
    ("Service", "spec/clusterIP"),
    ("Service", "spec/clusterIPs"),
    ("Service", "spec/ipFamilies"),
    ("Service", "spec/ipFamilyPolicy"),
    ("Service", "spec/healthCheckNodePort"),
    ("Service", "spec/ports/*/nodePort"),
    ("Service", "spec/ports/*/targetPort"),
    ("Pod", "spec/nodeName"),
    ("Pod", "spec/serviceAccount"),
    ("Pod", "spec/serviceAccountName"),
    ("Pod", "spec/tolerations"),
    ("Pod", "spec/priority"),
    ("Job", "spec/selector"),
    ("Job", "spec/template/metadata/labels"),
    ("PersistentVolumeClaim", "spec/volumeName"),
    ("PersistentVolumeClaim", "spec/storageClassName"),
    ("PersistentVolume", "spec/claimRef"),
    ("ServiceAccount", "secrets"),
    ("CustomResourceDefinition", "spec/names"),
];

/// The defaults as steps and values, read once.
static READ_DEFAULTS: LazyLock<Vec<(Vec<&str>, Value)>> = LazyLock::new(|| {
    let read =
        |(path, value): &(&'static str, &str)| Some((path.split('/').collect(), serde_json::from_str(value).ok()?));
    DEFAULTS.iter().filter_map(read).collect()
});

/// Whether a value that a hand manager owns as a whole is left alone: all it
/// holds is allocated, a default, or Bowline's own.
pub(super) fn is_left_alone<S: AsRef<str>>(kind: &str, place: &[S], value: &Value) -> bool {
    if is_fixed(kind, place) || is_default(place, value) {
        return true;
    }
    let Some(fields) = value.as_object().filter(|fields| !fields.is_empty()) else { return false };
    let mut beneath: Vec<&str> = place.iter().map(AsRef::as_ref).collect();
    fields.iter().all(|(name, child)| {
        beneath.push(name);
        let alone = is_left_alone(kind, &beneath, child);
        beneath.pop();
        alone
    })
}

/// Whether nothing at a place or beneath it is ever dropped.
pub(super) fn is_fixed<S: AsRef<str>>(kind: &str, place: &[S]) -> bool {
    is_own_annotation(place) || is_allocated(kind, place)
}

/// Bowline reads its own annotations from live objects (`bowline.dev/prune`),
/// so that it does not take away what a person tells it there.
fn is_own_annotation<S: AsRef<str>>(place: &[S]) -> bool {
    matches!(place, [metadata, annotations, name]
        if metadata.as_ref() == "metadata" && annotations.as_ref() == "annotations"
            && name.as_ref().starts_with("bowline.dev/"))
}

fn is_allocated<S: AsRef<str>>(kind: &str, place: &[S]) -> bool {
    ALLOCATED.iter().any(|(of_kind, path)| {
        (of_kind.is_empty() || *of_kind == kind)
            && path.bytes().filter(|byte| *byte == b'/').count() + 1 == place.len()
            && path.split('/').zip(place).all(|(step, token)| is_step(step, token.as_ref()))
    })
}

fn is_default<S: AsRef<str>>(place: &[S], value: &Value) -> bool {
    // Names that people choose mean nothing by themselves.
    if place.first().is_some_and(|root| FREE.contains(&root.as_ref())) {
        return false;
    }
    READ_DEFAULTS.iter().any(|(steps, default)| {
        steps.len() <= place.len()
            && steps.iter().rev().zip(place.iter().rev()).all(|(step, token)| *step == token.as_ref())
            && value == default
    })
}

/// `~` stands for the slash within a label's name.
fn is_step(step: &str, token: &str) -> bool {
    step == token
        || (step == "*" && token.parse::<usize>().is_ok())
        || (step.contains('~') && step.replace('~', "/") == token)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_default_of_the_table_can_be_read() {
        assert_eq!(READ_DEFAULTS.len(), DEFAULTS.len());
    }

    #[rstest]
    #[case("Deployment", "/spec/progressDeadlineSeconds", json!(600), true)]
    #[case("Deployment", "/spec/progressDeadlineSeconds", json!(60), false)]
    #[case("Deployment", "/spec/template/spec/containers/0/imagePullPolicy", json!("IfNotPresent"), true)]
    #[case("Deployment", "/spec/template/spec/containers/0/image", json!("x"), false)]
    #[case("Namespace", "/metadata/labels/kubernetes.io~1metadata.name", json!("team"), true)]
    #[case("Namespace", "/metadata/labels", json!({"kubernetes.io/metadata.name": "team"}), true)]
    #[case("Namespace", "/metadata/labels/team", json!("a"), false)]
    #[case("Service", "/spec/clusterIP", json!("10.0.0.1"), true)]
    #[case("Service", "/spec/ports/3/nodePort", json!(30000), true)]
    #[case("ConfigMap", "/metadata/annotations/bowline.dev~1prune", json!("true"), true)]
    #[case("ConfigMap", "/metadata/annotations/example.com~1prune", json!("true"), false)]
    #[case("ConfigMap", "/metadata/finalizers", json!(["x"]), true)]
    #[case("Deployment", "/spec/strategy/rollingUpdate", json!({"maxSurge": "25%", "maxUnavailable": "25%"}), true)]
    #[case("Deployment", "/spec/strategy/rollingUpdate", json!({"maxSurge": 3, "maxUnavailable": "25%"}), false)]
    #[case("ConfigMap", "/data/type", json!("Opaque"), false)]
    #[case("Widget", "/status", json!({}), true)]
    fn what_the_server_sets_is_left_alone(
        #[case] kind: &str,
        #[case] pointer: &str,
        #[case] value: Value,
        #[case] expected: bool,
    ) {
        assert_eq!(is_left_alone(kind, &super::super::tokens_of(pointer), &value), expected);
    }
}
