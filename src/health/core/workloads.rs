//! Deployments, StatefulSets, DaemonSets, ReplicaSets.
//!
//! A rollout is judged as `kubectl rollout status` judges it:
//! <https://kubernetes.io/docs/concepts/workloads/controllers/>.

use serde_json::Value;

use crate::health::{Health, conditions, fields};

/// Judges a Deployment.
pub(super) fn deployment(object: &Value) -> Health {
    if fields::flag(object, "spec.paused") {
        return Health::suspended("is paused");
    }
    if let Some(behind) = fields::generation_behind(object) {
        return behind;
    }
    let wanted = fields::number(object, "spec.replicas").unwrap_or(1);
    let status = |name: &str| object.get("status").and_then(|status| fields::number(status, name)).unwrap_or(0);
    let (all, updated, available) = (status("replicas"), status("updatedReplicas"), status("availableReplicas"));
    let progress = if updated < wanted {
        Some(format!("{updated} of {wanted} replicas updated, {available} available"))
    } else if all > updated {
        Some(format!("{} of the old release not gone yet", fields::count(all - updated, "replica")))
    } else if available < wanted {
        Some(format!("{available} of {wanted} replicas available"))
    } else {
        None
    };
    let stopped = conditions::find(object, "Progressing")
        .filter(|condition| condition.fails() && condition.reason != "DeploymentPaused");
    if let Some(condition) = stopped {
        let progress = progress.unwrap_or_else(|| format!("{available} of {wanted} replicas available"));
        return Health::degraded(match condition.reason {
            "ProgressDeadlineExceeded" => format!("{progress}; the progress deadline is exceeded"),
            _ => format!("{progress}; {}", condition.describe()),
        });
    }
    let Some(progress) = progress else { return Health::healthy() };
    replica_failure(object, &progress).unwrap_or_else(|| Health::progressing(progress))
}

/// Judges a StatefulSet.
pub(super) fn stateful_set(object: &Value) -> Health {
    if let Some(behind) = fields::generation_behind(object) {
        return behind;
    }
    let wanted = fields::number(object, "spec.replicas").unwrap_or(1);
    let status = |name: &str| object.get("status").and_then(|status| fields::number(status, name)).unwrap_or(0);
    let ready = status("readyReplicas");
    if ready < wanted {
        return Health::progressing(format!("{ready} of {wanted} replicas ready"));
    }
    let available = object.get("status").and_then(|status| fields::number(status, "availableReplicas"));
    if let Some(available) = available.filter(|&available| available < wanted)
        && fields::number(object, "spec.minReadySeconds").unwrap_or(0) > 0
    {
        return Health::progressing(format!("{available} of {wanted} replicas available"));
    }
    let updated = status("updatedReplicas");
    if fields::text(object, "spec.updateStrategy.type") == Some("OnDelete") {
        let old = fields::text(object, "status.updateRevision") != fields::text(object, "status.currentRevision");
        return on_delete(old, updated, wanted);
    }
    let partition = fields::number(object, "spec.updateStrategy.rollingUpdate.partition").unwrap_or(0);
    if partition > 0 {
        let due = (wanted - partition).max(0);
        if updated < due {
            return Health::progressing(format!("{updated} of {due} replicas above partition {partition} updated"));
        }
        return Health::healthy();
    }
    let revision = |name: &str| object.get("status").and_then(|status| fields::text(status, name));
    if revision("updateRevision").is_some() && revision("updateRevision") != revision("currentRevision") {
        return Health::progressing(format!("{updated} of {wanted} replicas updated"));
    }
    if status("replicas") > wanted {
        let more = fields::count(status("replicas") - wanted, "replica");
        return Health::progressing(format!("{more} more than wanted not gone yet"));
    }
    Health::healthy()
}

/// Judges a DaemonSet.
pub(super) fn daemon_set(object: &Value) -> Health {
    if let Some(behind) = fields::generation_behind(object) {
        return behind;
    }
    let Some(status) = object.get("status").filter(|status| !fields::is_empty(status)) else {
        return Health::progressing("its controller has not written a status yet");
    };
    let number = |name: &str| fields::number(status, name).unwrap_or(0);
    let wanted = number("desiredNumberScheduled");
    let (updated, available) = (number("updatedNumberScheduled"), number("numberAvailable"));
    let by_hand = fields::text(object, "spec.updateStrategy.type") == Some("OnDelete");
    if !by_hand && updated < wanted {
        return Health::progressing(format!("{updated} of {wanted} pods updated, {available} available"));
    }
    if available < wanted {
        return Health::progressing(format!("{available} of {wanted} pods available"));
    }
    if by_hand {
        return on_delete(updated < wanted, updated, wanted);
    }
    Health::healthy()
}

/// Judges a ReplicaSet or a ReplicationController.
pub(super) fn replica_set(object: &Value) -> Health {
    if let Some(behind) = fields::generation_behind(object) {
        return behind;
    }
    let wanted = fields::number(object, "spec.replicas").unwrap_or(1);
    let available = fields::number(object, "status.availableReplicas").unwrap_or(0);
    if available >= wanted {
        return Health::healthy();
    }
    let progress = format!("{available} of {wanted} replicas available");
    replica_failure(object, &progress).unwrap_or_else(|| Health::progressing(progress))
}

/// Pods that cannot be made or deleted: a quota, an admission refusal, a
/// ServiceAccount that is not there.
fn replica_failure(object: &Value, progress: &str) -> Option<Health> {
    let condition = conditions::holding(object, "ReplicaFailure")?;
    Some(Health::degraded(format!("{progress}; {}", condition.why())))
}

/// With the strategy OnDelete people decide when a pod is updated: the object
/// is well meanwhile, and says what is left to do.
fn on_delete(old: bool, updated: i64, wanted: i64) -> Health {
    let mut health = Health::healthy();
    if old && updated < wanted {
        let left = fields::count(wanted - updated, "pod");
        health.reason = format!("{left} of an earlier revision, updated when deleted (OnDelete)");
    }
    health
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::health::HealthStatus::{self, Degraded, Healthy, Progressing, Suspended};
    use crate::health::core::tests::expect;

    #[rstest]
    #[case::new("spec: {replicas: 3}", Progressing, "0 of 3 replicas updated, 0 available")]
    #[case::one_by_default("{}", Progressing, "0 of 1 replicas updated, 0 available")]
    #[case::not_seen(
        "{metadata: {generation: 3}, spec: {replicas: 1}, status: {observedGeneration: 2, replicas: 1, updatedReplicas: 1, availableReplicas: 1}}",
        Progressing,
        "its controller has not seen generation 3 yet (observed 2)"
    )]
    #[case::paused("{spec: {replicas: 2, paused: true}, status: {}}", Suspended, "is paused")]
    #[case::rolling(
        "{spec: {replicas: 3}, status: {replicas: 4, updatedReplicas: 2, availableReplicas: 3}}",
        Progressing,
        "2 of 3 replicas updated, 3 available"
    )]
    #[case::old_ones_left(
        "{spec: {replicas: 3}, status: {replicas: 4, updatedReplicas: 3, availableReplicas: 4}}",
        Progressing,
        "1 replica of the old release not gone yet"
    )]
    #[case::not_available(
        "{spec: {replicas: 3}, status: {replicas: 3, updatedReplicas: 3, availableReplicas: 1}}",
        Progressing,
        "1 of 3 replicas available"
    )]
    #[case::deadline(
        "{spec: {replicas: 3}, status: {replicas: 3, updatedReplicas: 3, availableReplicas: 1, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]}}",
        Degraded,
        "1 of 3 replicas available; the progress deadline is exceeded"
    )]
    #[case::quota(
        "{spec: {replicas: 3}, status: {replicas: 1, updatedReplicas: 1, availableReplicas: 1, conditions: [{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: 'pods \"w\" is forbidden: exceeded quota'}]}}",
        Degraded,
        "1 of 3 replicas updated, 1 available; FailedCreate: pods \"w\" is forbidden: exceeded quota"
    )]
    #[case::no_replica_set(
        "{spec: {replicas: 1}, status: {conditions: [{type: Progressing, status: 'False', reason: ReplicaSetCreateError, message: quota}]}}",
        Degraded,
        "0 of 1 replicas updated, 0 available; Progressing is False: ReplicaSetCreateError: quota"
    )]
    #[case::a_failure_that_is_over(
        "{spec: {replicas: 1}, status: {replicas: 1, updatedReplicas: 1, availableReplicas: 1, conditions: [{type: ReplicaFailure, status: 'False'}]}}",
        Healthy,
        ""
    )]
    #[case::available(
        "{spec: {replicas: 2}, status: {replicas: 2, updatedReplicas: 2, availableReplicas: 2}}",
        Healthy,
        ""
    )]
    #[case::scaled_to_zero("{spec: {replicas: 0}, status: {observedGeneration: 1}}", Healthy, "")]
    fn a_deployment_is_judged_by_its_rollout(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("apps/v1", "Deployment", rest, status, reason);
    }

    #[rstest]
    #[case::new("spec: {replicas: 3}", Progressing, "0 of 3 replicas ready")]
    #[case::not_seen(
        "{metadata: {generation: 2}, status: {observedGeneration: 1, readyReplicas: 1}}",
        Progressing,
        "its controller has not seen generation 2 yet (observed 1)"
    )]
    #[case::some_ready("{spec: {replicas: 3}, status: {readyReplicas: 1}}", Progressing, "1 of 3 replicas ready")]
    #[case::min_ready_seconds(
        "{spec: {replicas: 2, minReadySeconds: 10}, status: {replicas: 2, readyReplicas: 2, availableReplicas: 1, currentRevision: a, updateRevision: a}}",
        Progressing,
        "1 of 2 replicas available"
    )]
    #[case::rolling(
        "{spec: {replicas: 3}, status: {replicas: 3, readyReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b}}",
        Progressing,
        "1 of 3 replicas updated"
    )]
    #[case::done(
        "{spec: {replicas: 3}, status: {replicas: 3, readyReplicas: 3, updatedReplicas: 3, currentRevision: b, updateRevision: b}}",
        Healthy,
        ""
    )]
    #[case::scaling_down(
        "{spec: {replicas: 1}, status: {replicas: 2, readyReplicas: 2, currentRevision: b, updateRevision: b}}",
        Progressing,
        "1 replica more than wanted not gone yet"
    )]
    #[case::partition_reached(
        "{spec: {replicas: 3, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}}}, status: {replicas: 3, readyReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b}}",
        Healthy,
        ""
    )]
    #[case::partition_not_reached(
        "{spec: {replicas: 3, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}}, status: {replicas: 3, readyReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b}}",
        Progressing,
        "1 of 2 replicas above partition 1 updated"
    )]
    #[case::partition_above_all(
        "{spec: {replicas: 1, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 9}}}, status: {replicas: 1, readyReplicas: 1, currentRevision: a, updateRevision: b}}",
        Healthy,
        ""
    )]
    #[case::on_delete(
        "{spec: {replicas: 3, updateStrategy: {type: OnDelete}}, status: {replicas: 3, readyReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b}}",
        Healthy,
        "2 pods of an earlier revision, updated when deleted (OnDelete)"
    )]
    #[case::on_delete_not_ready(
        "{spec: {replicas: 3, updateStrategy: {type: OnDelete}}, status: {replicas: 3, readyReplicas: 2}}",
        Progressing,
        "2 of 3 replicas ready"
    )]
    #[case::scaled_to_zero(
        "{spec: {replicas: 0}, status: {replicas: 0, currentRevision: a, updateRevision: a}}",
        Healthy,
        ""
    )]
    fn a_stateful_set_is_judged_by_its_rollout(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("apps/v1", "StatefulSet", rest, status, reason);
    }

    #[rstest]
    #[case::new("spec: {}", Progressing, "its controller has not written a status yet")]
    #[case::not_seen(
        "{metadata: {generation: 2}, status: {observedGeneration: 1, desiredNumberScheduled: 0}}",
        Progressing,
        "its controller has not seen generation 2 yet (observed 1)"
    )]
    #[case::no_node("status: {desiredNumberScheduled: 0, observedGeneration: 1}", Healthy, "")]
    #[case::rolling(
        "status: {desiredNumberScheduled: 4, updatedNumberScheduled: 1, numberAvailable: 3}",
        Progressing,
        "1 of 4 pods updated, 3 available"
    )]
    #[case::surge(
        "{spec: {updateStrategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}}, status: {desiredNumberScheduled: 4, updatedNumberScheduled: 2, numberAvailable: 4}}",
        Progressing,
        "2 of 4 pods updated, 4 available"
    )]
    #[case::not_available(
        "status: {desiredNumberScheduled: 4, updatedNumberScheduled: 4, numberAvailable: 3}",
        Progressing,
        "3 of 4 pods available"
    )]
    #[case::done("status: {desiredNumberScheduled: 4, updatedNumberScheduled: 4, numberAvailable: 4}", Healthy, "")]
    #[case::on_delete(
        "{spec: {updateStrategy: {type: OnDelete}}, status: {desiredNumberScheduled: 2, updatedNumberScheduled: 1, numberAvailable: 2}}",
        Healthy,
        "1 pod of an earlier revision, updated when deleted (OnDelete)"
    )]
    fn a_daemon_set_is_judged_by_its_rollout(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("apps/v1", "DaemonSet", rest, status, reason);
    }

    #[rstest]
    #[case::new("apps/v1", "ReplicaSet", "spec: {replicas: 2}", Progressing, "0 of 2 replicas available")]
    #[case::done("apps/v1", "ReplicaSet", "{spec: {replicas: 2}, status: {availableReplicas: 2}}", Healthy, "")]
    #[case::empty("apps/v1", "ReplicaSet", "{spec: {replicas: 0}, status: {replicas: 0}}", Healthy, "")]
    #[case::quota(
        "apps/v1",
        "ReplicaSet",
        "{spec: {replicas: 2}, status: {replicas: 0, conditions: [{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: exceeded quota}]}}",
        Degraded,
        "0 of 2 replicas available; FailedCreate: exceeded quota"
    )]
    #[case::controller(
        "v1",
        "ReplicationController",
        "{spec: {replicas: 1}, status: {availableReplicas: 1}}",
        Healthy,
        ""
    )]
    fn a_replica_set_is_judged_by_its_available_replicas(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] rest: &str,
        #[case] status: HealthStatus,
        #[case] reason: &str,
    ) {
        expect(api_version, kind, rest, status, reason);
    }
}
