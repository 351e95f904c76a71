//! Jobs and CronJobs.
//!
//! Conditions of a Job, and which of them decide it before its pods are gone:
//! <https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions>.

use serde_json::Value;

use crate::health::{Health, conditions, fields};

/// Judges a Job.
pub(super) fn job(object: &Value) -> Health {
    if let Some(condition) = ["Failed", "FailureTarget"].iter().find_map(|kind| conditions::holding(object, kind)) {
        let why = condition.why();
        return Health::degraded(if why.is_empty() { "failed".to_owned() } else { format!("failed: {why}") });
    }
    if conditions::holding(object, "Complete").is_some() {
        return Health::healthy();
    }
    if fields::flag(object, "spec.suspend") || conditions::holding(object, "Suspended").is_some() {
        return Health::suspended("is suspended");
    }
    if conditions::holding(object, "SuccessCriteriaMet").is_some() {
        return Health::progressing("its success criteria are met; its other pods have not ended yet");
    }
    let count = |path: &str| fields::number(object, path).unwrap_or(0);
    let wanted = fields::number(object, "spec.completions").or(fields::number(object, "spec.parallelism")).unwrap_or(1);
    let (done, failed) = (count("status.succeeded"), count("status.failed"));
    let active = count("status.active");
    let mut reason = format!("{done} of {} done, {active} active", fields::count(wanted, "pod"));
    if failed > 0 {
        let limit = fields::number(object, "spec.backoffLimit").unwrap_or(6);
        reason.push_str(&format!(", {failed} failed (backoff limit {limit})"));
    }
    Health::progressing(reason)
}

/// Judges a CronJob. Times are written in UTC and in one form, so that their
/// order is that of the text.
pub(super) fn cron_job(object: &Value) -> Health {
    if fields::flag(object, "spec.suspend") {
        return Health::suspended("is suspended");
    }
    let Some(started) = fields::text(object, "status.lastScheduleTime") else { return Health::healthy() };
    if !fields::list(object, "status.active").is_empty() {
        return Health::healthy();
    }
    match fields::text(object, "status.lastSuccessfulTime") {
        Some(succeeded) if succeeded >= started => Health::healthy(),
        Some(succeeded) => {
            Health::degraded(format!("the run of {started} did not succeed; the last that did ended at {succeeded}"))
        }
        None => Health::degraded(format!("the run of {started} did not succeed, and none before it")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::health::HealthStatus::{self, Degraded, Healthy, Progressing, Suspended};
    use crate::health::core::tests::expect;

    #[rstest]
    #[case::new("{}", Progressing, "0 of 1 pod done, 0 active")]
    #[case::runs(
        "{spec: {completions: 5}, status: {active: 1, succeeded: 2}}",
        Progressing,
        "2 of 5 pods done, 1 active"
    )]
    #[case::backs_off(
        "{spec: {backoffLimit: 3}, status: {active: 1, failed: 2}}",
        Progressing,
        "0 of 1 pod done, 1 active, 2 failed (backoff limit 3)"
    )]
    #[case::complete("status: {succeeded: 1, conditions: [{type: Complete, status: 'True'}]}", Healthy, "")]
    #[case::success_policy(
        "status: {active: 1, conditions: [{type: SuccessCriteriaMet, status: 'True', reason: SuccessPolicy}]}",
        Progressing,
        "its success criteria are met; its other pods have not ended yet"
    )]
    #[case::failed(
        "status: {failed: 4, conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded, message: Job has reached the specified backoff limit}]}",
        Degraded,
        "failed: BackoffLimitExceeded: Job has reached the specified backoff limit"
    )]
    #[case::failed_without_words("status: {conditions: [{type: Failed, status: 'True'}]}", Degraded, "failed")]
    #[case::about_to_fail(
        "status: {active: 1, conditions: [{type: FailureTarget, status: 'True', reason: PodFailurePolicy}]}",
        Degraded,
        "failed: PodFailurePolicy"
    )]
    #[case::deadline(
        "status: {conditions: [{type: Failed, status: 'True', reason: DeadlineExceeded}]}",
        Degraded,
        "failed: DeadlineExceeded"
    )]
    #[case::suspended("spec: {suspend: true}", Suspended, "is suspended")]
    #[case::suspended_by_condition(
        "status: {conditions: [{type: Suspended, status: 'True'}]}",
        Suspended,
        "is suspended"
    )]
    #[case::resumed(
        "status: {active: 1, conditions: [{type: Suspended, status: 'False'}]}",
        Progressing,
        "0 of 1 pod done, 1 active"
    )]
    #[case::failed_while_suspended(
        "{spec: {suspend: true}, status: {conditions: [{type: Failed, status: 'True'}]}}",
        Degraded,
        "failed"
    )]
    fn a_job_is_judged_by_its_conditions(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("batch/v1", "Job", rest, status, reason);
    }

    #[rstest]
    #[case::new("{}", Healthy, "")]
    #[case::suspended("spec: {suspend: true}", Suspended, "is suspended")]
    #[case::runs("status: {lastScheduleTime: '2026-01-02T00:00:00Z', active: [{name: a}]}", Healthy, "")]
    #[case::succeeded(
        "status: {lastScheduleTime: '2026-01-02T00:00:00Z', lastSuccessfulTime: '2026-01-02T00:00:09Z'}",
        Healthy,
        ""
    )]
    #[case::last_run_failed(
        "status: {lastScheduleTime: '2026-01-02T00:00:00Z', lastSuccessfulTime: '2026-01-01T00:00:09Z'}",
        Degraded,
        "the run of 2026-01-02T00:00:00Z did not succeed; the last that did ended at 2026-01-01T00:00:09Z"
    )]
    #[case::never_succeeded(
        "status: {lastScheduleTime: '2026-01-02T00:00:00Z'}",
        Degraded,
        "the run of 2026-01-02T00:00:00Z did not succeed, and none before it"
    )]
    fn a_cron_job_is_judged_by_its_last_run(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
        expect("batch/v1", "CronJob", rest, status, reason);
    }
}
