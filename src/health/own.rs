//! The checks of an Application, compiled once for all of its objects.

use std::{fmt, sync::Arc};

use serde_json::Value;

use super::{
    Evidence, Health, assess_with,
    checks::{Check, CompiledChecks},
};

/// How the objects of an Application are judged: by its own checks, and by the
/// built-in rules where it has none. Two are the same if their checks are.
#[derive(Clone, Default)]
pub struct OwnChecks {
    asked: Arc<[Check]>,
    /// Those that can be used.
    usable: Option<Arc<CompiledChecks>>,
    /// What is wrong with the others.
    problem: Option<Arc<str>>,
}

impl OwnChecks {
    /// Compiles the checks of `spec.health.checks`.
    pub fn of(checks: &[Check]) -> Self {
        if checks.is_empty() {
            return Self::default();
        }
        let asked = checks.into();
        let errors = match CompiledChecks::compile(checks) {
            Ok(all) => return Self { asked, usable: Some(Arc::new(all)), problem: None },
            Err(errors) => errors,
        };
        let words: Vec<String> = errors.iter().map(|error| format!("spec.health.checks: {error}")).collect();
        // One that is wrong stops none of the others.
        let alone = |check: &&Check| CompiledChecks::compile(std::slice::from_ref(*check)).is_ok();
        let usable: Vec<Check> = checks.iter().filter(alone).cloned().collect();
        let usable = CompiledChecks::compile(&usable).ok().map(Arc::new);
        Self { asked, usable, problem: Some(words.join("; ").into()) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.asked.len()
    }

    /// Whether only the built-in rules judge.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// What is wrong with those that cannot be used.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Judges an object. Where a check cannot be used, the built-in rules judge:
    /// what they find broken is not let through for a typing mistake.
    pub fn assess(&self, object: &Value, evidence: &Evidence<'_>) -> Health {
        match &self.usable {
            Some(checks) => checks.assess(object, evidence),
            None => assess_with(object, evidence),
        }
    }
}

impl PartialEq for OwnChecks {
    fn eq(&self, other: &Self) -> bool {
        self.asked == other.asked
    }
}

impl Eq for OwnChecks {}

impl fmt::Debug for OwnChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.asked.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::health::HealthStatus;

    fn check(kind: &str, healthy: &str) -> Check {
        Check { kind: kind.to_owned(), healthy: Some(healthy.to_owned()), ..Check::default() }
    }

    fn config_map(state: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"state": state}})
    }

    #[test]
    fn the_checks_judge_their_kind_and_the_built_in_rules_all_others() {
        let checks = OwnChecks::of(&[check("ConfigMap", "object.data.state == 'ok'")]);
        let judge = |object: &Value| checks.assess(object, &Evidence::default()).status;
        assert_eq!(judge(&config_map("ok")), HealthStatus::Healthy);
        assert_eq!(judge(&config_map("no")), HealthStatus::Progressing);
        assert_eq!(judge(&json!({"apiVersion": "v1", "kind": "Secret"})), HealthStatus::Healthy);
        assert_eq!(checks.problem(), None);
    }

    #[test]
    fn what_cannot_be_used_is_named_and_stops_no_other_check_and_no_rule() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "status": {"phase": "Failed"}});
        let checks =
            OwnChecks::of(&[check("Pod", "object.status.phase =="), check("ConfigMap", "object.data.state == 'ok'")]);
        let judge = |object: &Value| checks.assess(object, &Evidence::default()).status;
        assert_eq!(judge(&pod), HealthStatus::Degraded, "as without the check");
        assert_eq!(judge(&config_map("no")), HealthStatus::Progressing, "the other check goes on");
        let problem = checks.problem().unwrap_or_default();
        assert!(problem.starts_with("spec.health.checks: `healthy` of the check of Pod: does not parse"), "{problem}");
        assert!(!problem.contains("ConfigMap"), "{problem}");
    }

    #[test]
    fn other_checks_are_another_policy() {
        let one = OwnChecks::of(&[check("ConfigMap", "true")]);
        assert_eq!(one, OwnChecks::of(&[check("ConfigMap", "true")]));
        assert_ne!(one, OwnChecks::of(&[check("ConfigMap", "false")]));
        assert_ne!(one, OwnChecks::default());
    }
}
