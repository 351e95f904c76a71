//! What was read beside an object, and how it goes into the reason.

use serde_json::Value;

use super::{Health, HealthStatus, core, fields};

/// What is known of an object beyond itself. Nothing of it changes a verdict
/// but `status_subresource`; pods and events are read by the caller, and only
/// for a workload that is not healthy.
#[derive(Debug, Clone, Default)]
pub struct Evidence<'a> {
    /// The pods behind a workload.
    pub pods: Vec<&'a Value>,
    /// Events about the object, `v1` or `events.k8s.io/v1`, in any order.
    pub events: Vec<&'a Value>,
    /// Whether the kind of a custom resource has a status, from discovery;
    /// `None` where it is not known, as offline.
    pub status_subresource: Option<bool>,
}

/// How many pods a reason names.
const PODS_NAMED: usize = 3;

/// Adds to the reason of an unhealthy object what its pods and events say:
/// `1 of 3 replicas available; pod web-abc: container app: CrashLoopBackOff,
/// exit code 1`.
pub(super) fn explain(mut health: Health, object: &Value, evidence: &Evidence<'_>) -> Health {
    if !matches!(health.status, HealthStatus::Progressing | HealthStatus::Degraded) {
        return health;
    }
    let mut failing: Vec<(&str, Health)> = evidence
        .pods
        .iter()
        .filter_map(|pod| Some((fields::text(pod, "metadata.name")?, core::pod_problem(pod)?)))
        .collect();
    // Failed before waiting, then by name, so that the reason is stable.
    failing.sort_by(|(left, a), (right, b)| b.status.cmp(&a.status).then(left.cmp(right)));
    for (name, problem) in failing.iter().take(PODS_NAMED) {
        append(&mut health.reason, &format!("pod {name}: {}", problem.reason));
    }
    if failing.len() > PODS_NAMED {
        append(&mut health.reason, &format!("and {} more", fields::count((failing.len() - PODS_NAMED) as i64, "pod")));
    }
    // A pod that names its own problem is the better witness.
    if failing.iter().all(|(_, problem)| problem.status != HealthStatus::Degraded)
        && let Some(event) = last_warning(object, &evidence.events)
    {
        append(&mut health.reason, &event);
    }
    health
}

/// Whether an event says why its object is not there yet: a warning, or what a
/// claim waits for.
fn tells(event: &Value) -> bool {
    fields::text(event, "type") == Some("Warning")
        || matches!(
            fields::text(event, "reason"),
            Some("WaitForFirstConsumer" | "WaitForPodScheduled" | "ExternalProvisioning" | "Provisioning")
        )
}

/// The newest warning about the object, in the words of the event.
fn last_warning(object: &Value, events: &[&Value]) -> Option<String> {
    let uid = fields::text(object, "metadata.uid");
    let about = |event: &Value| {
        let subject = ["involvedObject.uid", "regarding.uid"].iter().find_map(|path| fields::text(event, path));
        uid.is_none() || subject.is_none() || subject == uid
    };
    // Times are written in UTC and in one form, so that their order is that of the text.
    let time = |event: &Value| {
        [
            "series.lastObservedTime",
            "lastTimestamp",
            "deprecatedLastTimestamp",
            "eventTime",
            "metadata.creationTimestamp",
        ]
        .iter()
        .find_map(|path| fields::text(event, path))
        .map(str::to_owned)
    };
    let event = events
        .iter()
        .filter(|event| about(event) && tells(event))
        .max_by_key(|event| (fields::text(event, "type") == Some("Warning"), time(event)))?;
    let reason = fields::text(event, "reason").unwrap_or("Warning");
    let message = ["message", "note"].iter().find_map(|path| fields::text(event, path)).unwrap_or_default();
    Some(if message.is_empty() { reason.to_owned() } else { format!("{reason}: {}", message.trim()) })
}

fn append(reason: &mut String, more: &str) {
    // The object's own condition often carries the same sentence.
    if reason.contains(more) {
        return;
    }
    if !reason.is_empty() {
        reason.push_str("; ");
    }
    reason.push_str(more);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::health::assess_with;

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "uid": "u1"},
            "spec": {"replicas": 3},
            "status": {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 1}
        })
    }

    fn crashing(name: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "status": {"phase": "Running", "containerStatuses": [{
                "name": "app", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1}}
            }]}
        })
    }

    fn warning(uid: &str, time: &str, message: &str) -> Value {
        json!({"type": "Warning", "reason": "FailedCreate", "message": message, "lastTimestamp": time,
               "involvedObject": {"uid": uid}})
    }

    #[test]
    fn a_pod_explains_its_workload() {
        let ready = json!({"metadata": {"name": "web-ok"}, "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}]}});
        let pod = crashing("web-abc");
        let evidence = Evidence { pods: vec![&ready, &pod], ..Evidence::default() };
        let health = assess_with(&deployment(), &evidence);
        assert_eq!(health.status, HealthStatus::Progressing);
        assert_eq!(
            health.reason,
            "1 of 3 replicas available; pod web-abc: container app: CrashLoopBackOff, exit code 1"
        );
    }

    #[test]
    fn many_pods_are_counted_and_not_all_named() {
        let pods: Vec<Value> = (0..5).map(|n| crashing(&format!("web-{n}"))).collect();
        let evidence = Evidence { pods: pods.iter().collect(), ..Evidence::default() };
        let reason = assess_with(&deployment(), &evidence).reason;
        assert!(reason.contains("pod web-2") && !reason.contains("pod web-3"), "{reason}");
        assert!(reason.ends_with("and 2 pods more"), "{reason}");
    }

    #[test]
    fn the_newest_warning_about_the_object_is_told() {
        let old = warning("u1", "2026-01-01T00:00:00Z", "old");
        let new = warning("u1", "2026-01-02T00:00:00Z", "exceeded quota");
        let other = warning("u2", "2026-01-03T00:00:00Z", "of another object");
        let evidence = Evidence { events: vec![&new, &old, &other], ..Evidence::default() };
        assert_eq!(
            assess_with(&deployment(), &evidence).reason,
            "1 of 3 replicas available; FailedCreate: exceeded quota"
        );
    }

    #[test]
    fn a_claim_says_what_it_waits_for() {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": "Pending"}});
        let event = json!({"type": "Normal", "reason": "WaitForFirstConsumer",
            "message": "waiting for first consumer to be created before binding"});
        let other = json!({"type": "Normal", "reason": "Labeled", "message": "of no interest"});
        let evidence = Evidence { events: vec![&event, &other], ..Evidence::default() };
        assert_eq!(
            assess_with(&claim, &evidence).reason,
            "waits for a volume; WaitForFirstConsumer: waiting for first consumer to be created before binding"
        );
    }

    #[test]
    fn evidence_says_nothing_of_a_healthy_object() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap"});
        let pod = crashing("a");
        let evidence = Evidence { pods: vec![&pod], ..Evidence::default() };
        assert_eq!(assess_with(&object, &evidence), Health::healthy());
    }
}
