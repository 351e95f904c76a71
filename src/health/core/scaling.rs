//! Autoscalers and disruption budgets.

use serde_json::Value;

use crate::health::conditions::{self, Condition};
use crate::health::{Health, HealthStatus, fields};

/// Judges a HorizontalPodAutoscaler by its conditions:
/// <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale-walkthrough/#appendix-horizontal-pod-autoscaler-status-conditions>.
pub(super) fn autoscaler(object: &Value) -> Health {
    if let Some(behind) = fields::generation_behind(object) {
        return behind;
    }
    // Version 1 of the API has no conditions; the server keeps them here.
    if let Some(text) = fields::annotation(object, "autoscaling.alpha.kubernetes.io/conditions")
        && let Ok(Value::Array(conditions)) = serde_json::from_str(text)
    {
        return autoscaler_conditions(conditions.iter().filter_map(Condition::read));
    }
    autoscaler_conditions(conditions::of_status(object))
}

fn autoscaler_conditions<'a>(conditions: impl Iterator<Item = Condition<'a>>) -> Health {
    let mut able = false;
    let mut disabled = None;
    let mut waits = None;
    for condition in conditions {
        match (condition.kind, condition.truth) {
            ("AbleToScale", conditions::Truth::True) => able = true,
            ("ScalingActive", conditions::Truth::False) if condition.reason == "ScalingDisabled" => {
                disabled = Some("does not scale: its target has 0 replicas");
            }
            // A scale that waits for a window to pass is no failure.
            ("AbleToScale", conditions::Truth::False) if condition.reason.starts_with("Backoff") => {
                waits = Some(condition.describe());
            }
            ("AbleToScale" | "ScalingActive", conditions::Truth::False) => {
                return Health::degraded(condition.describe());
            }
            ("AbleToScale" | "ScalingActive", conditions::Truth::Unknown) => waits = Some(condition.describe()),
            _ => {}
        }
    }
    match (disabled, waits) {
        // Somebody scaled the target to zero on purpose.
        (Some(reason), _) => Health::new(HealthStatus::Healthy, reason),
        (None, Some(reason)) => Health::progressing(reason),
        (None, None) if able => Health::healthy(),
        (None, None) => Health::progressing("waits for its first look at its target"),
    }
}

/// Judges a PodDisruptionBudget. That no disruption is allowed just now is
/// what it is for.
pub(super) fn disruption_budget(object: &Value) -> Health {
    if let Some(behind) = fields::generation_behind(object) {
        return behind;
    }
    if object.get("status").is_none_or(fields::is_empty) {
        return Health::progressing("its controller has not written a status yet");
    }
    match conditions::find(object, "DisruptionAllowed") {
        Some(condition) if condition.reason == "SyncFailed" => Health::degraded(condition.describe()),
        _ => Health::healthy(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::health::HealthStatus::{self, Degraded, Healthy, Progressing};
    use crate::health::core::tests::expect;

    #[rstest]
    #[case::new("spec: {}", Progressing, "waits for its first look at its target")]
    #[case::well(
        "status: {conditions: [{type: AbleToScale, status: 'True', reason: ReadyForNewScale}, {type: ScalingActive, status: 'True'}, {type: ScalingLimited, status: 'False'}]}",
        Healthy,
        ""
    )]
    #[case::limited(
        "status: {conditions: [{type: AbleToScale, status: 'True'}, {type: ScalingActive, status: 'True'}, {type: ScalingLimited, status: 'True', reason: TooManyReplicas}]}",
        Healthy,
        ""
    )]
    #[case::no_metrics(
        "status: {conditions: [{type: AbleToScale, status: 'True'}, {type: ScalingActive, status: 'False', reason: FailedGetResourceMetric, message: no metrics returned}]}",
        Degraded,
        "ScalingActive is False: FailedGetResourceMetric: no metrics returned"
    )]
    #[case::no_target(
        "status: {conditions: [{type: AbleToScale, status: 'False', reason: FailedGetScale, message: 'deployments \"web\" not found'}]}",
        Degraded,
        "AbleToScale is False: FailedGetScale: deployments \"web\" not found"
    )]
    #[case::target_at_zero(
        "status: {conditions: [{type: AbleToScale, status: 'True'}, {type: ScalingActive, status: 'False', reason: ScalingDisabled}]}",
        Healthy,
        "does not scale: its target has 0 replicas"
    )]
    #[case::backs_off(
        "status: {conditions: [{type: AbleToScale, status: 'False', reason: BackoffBoth}]}",
        Progressing,
        "AbleToScale is False: BackoffBoth"
    )]
    #[case::version_1(
        "metadata: {annotations: {autoscaling.alpha.kubernetes.io/conditions: '[{\"type\":\"AbleToScale\",\"status\":\"True\"},{\"type\":\"ScalingActive\",\"status\":\"False\",\"reason\":\"FailedGetResourceMetric\"}]'}}",
        Degraded,
        "ScalingActive is False: FailedGetResourceMetric"
    )]
    #[case::broken_annotation(
        "metadata: {annotations: {autoscaling.alpha.kubernetes.io/conditions: '['}}",
        Progressing,
        "waits for its first look at its target"
    )]
    #[case::not_seen(
        "{metadata: {generation: 2}, status: {observedGeneration: 1, conditions: [{type: AbleToScale, status: 'True'}]}}",
        Progressing,
        "its controller has not seen generation 2 yet (observed 1)"
    )]
    fn an_autoscaler_is_judged_by_its_conditions(
        #[case] rest: &str,
        #[case] status: HealthStatus,
        #[case] reason: &str,
    ) {
        expect("autoscaling/v2", "HorizontalPodAutoscaler", rest, status, reason);
    }

    #[rstest]
    #[case::new("spec: {}", Progressing, "its controller has not written a status yet")]
    #[case::no_disruption_allowed(
        "status: {disruptionsAllowed: 0, conditions: [{type: DisruptionAllowed, status: 'False', reason: InsufficientPods}]}",
        Healthy,
        ""
    )]
    #[case::allowed(
        "status: {conditions: [{type: DisruptionAllowed, status: 'True', reason: SufficientPods}]}",
        Healthy,
        ""
    )]
    #[case::sync_failed(
        "status: {disruptionsAllowed: 0, conditions: [{type: DisruptionAllowed, status: 'False', reason: SyncFailed, message: found no controllers for pod}]}",
        Degraded,
        "DisruptionAllowed is False: SyncFailed: found no controllers for pod"
    )]
    #[case::not_seen(
        "{metadata: {generation: 2}, status: {observedGeneration: 1}}",
        Progressing,
        "its controller has not seen generation 2 yet (observed 1)"
    )]
    fn a_budget_is_judged_by_its_sync(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("policy/v1", "PodDisruptionBudget", rest, status, reason);
    }
}
