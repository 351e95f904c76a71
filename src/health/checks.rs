//! The user's own checks, in CEL, for kinds that the built-in rules judge
//! wrongly or not at all.
//!
//! Expressions see one variable, `object`, and no clock. A field that is not
//! there makes an expression false; any other error makes the health Unknown,
//! and its reason never repeats a value of the object.

use std::sync::Arc;

use cel::{Context, Env};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

pub use super::expression::ExpressionProblem;
use super::expression::{Compiled, MOST_STEPS, Size, compile, run};
use super::{Evidence, Health, HealthStatus, assess_with, deletion, fields, tidy};

/// Most checks of one application.
const MOST_CHECKS: usize = 64;
/// Largest text, in bytes, of an object that checks run on.
const MOST_TEXT: usize = 4 << 20;

/// How objects of one kind are judged. The expressions are tried in the order
/// `degraded`, `suspended`, `progressing`, `healthy`; the first that is true
/// decides. Where there is `healthy` and none is true the object is
/// Progressing; without it, the built-in rules decide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Check {
    /// API group; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub group: String,
    /// Kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// True when the object does what it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub healthy: Option<String>,
    /// True while the object is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub progressing: Option<String>,
    /// True when the object failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub degraded: Option<String>,
    /// True when the object is paused on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub suspended: Option<String>,
    /// The reason, as text, of any verdict but Healthy; not for Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
}

/// Why a check is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckError {
    /// Too many checks.
    #[error("there are {0} checks, more than {MOST_CHECKS}")]
    TooMany(usize),
    /// A message about an object whose values are secret.
    #[error("the check of Secret cannot have a `message`: it could show a value")]
    SecretMessage,
    /// A check that judges nothing.
    #[error("the check of {kind} has no expression; give it `healthy` or another")]
    Empty {
        /// Kind of the check.
        kind: String,
    },
    /// An expression that is refused.
    #[error("`{field}` of the check of {kind}: {problem}")]
    Expression {
        /// Kind of the check.
        kind: String,
        /// Which expression.
        field: &'static str,
        /// What is wrong with it.
        problem: ExpressionProblem,
    },
}

struct CompiledCheck {
    group: String,
    kind: String,
    tests: Vec<(HealthStatus, &'static str, Compiled)>,
    decides: bool,
    message: Option<Compiled>,
}

/// Checks, compiled once and used for many objects.
pub struct CompiledChecks {
    checks: Vec<CompiledCheck>,
    env: Arc<Env>,
}

impl CompiledChecks {
    /// Compiles checks, or names everything that is wrong with them.
    ///
    /// # Errors
    /// Every check and expression that is refused.
    pub fn compile(checks: &[Check]) -> Result<Self, Vec<CheckError>> {
        if checks.len() > MOST_CHECKS {
            return Err(vec![CheckError::TooMany(checks.len())]);
        }
        let env = Arc::new(Env::stdlib());
        let mut errors = Vec::new();
        let mut compiled = Vec::with_capacity(checks.len());
        for check in checks {
            let mut read = |field: &'static str, text: &Option<String>| {
                let text = text.as_ref()?;
                compile(&env, text, "object")
                    .map_err(|problem| {
                        errors.push(CheckError::Expression { kind: check.kind.clone(), field, problem });
                    })
                    .ok()
            };
            let fields = [
                (HealthStatus::Degraded, "degraded", &check.degraded),
                (HealthStatus::Suspended, "suspended", &check.suspended),
                (HealthStatus::Progressing, "progressing", &check.progressing),
                (HealthStatus::Healthy, "healthy", &check.healthy),
            ];
            let judges = fields.iter().any(|(_, _, text)| text.is_some());
            let tests = fields
                .into_iter()
                .filter_map(|(status, field, text)| Some((status, field, read(field, text)?)))
                .collect();
            let message = read("message", &check.message);
            if check.message.is_some() && check.kind == "Secret" && check.group.is_empty() {
                errors.push(CheckError::SecretMessage);
            }
            if !judges {
                errors.push(CheckError::Empty { kind: check.kind.clone() });
            }
            compiled.push(CompiledCheck {
                group: check.group.clone(),
                kind: check.kind.clone(),
                tests,
                decides: check.healthy.is_some(),
                message,
            });
        }
        if errors.is_empty() { Ok(Self { checks: compiled, env }) } else { Err(errors) }
    }

    /// Judges an object by the check of its kind, and by the built-in rules
    /// where there is none or it does not decide. An object that is being
    /// deleted, or that its controller has not seen yet, is Progressing.
    pub fn assess(&self, object: &Value, evidence: &Evidence<'_>) -> Health {
        let Some(kind) = fields::text(object, "kind") else { return assess_with(object, evidence) };
        let api_version = fields::text(object, "apiVersion").unwrap_or_default();
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let mut ours = self.checks.iter().filter(|check| check.kind == kind && check.group == group).peekable();
        if ours.peek().is_none() || deletion(group, kind, object).is_some() {
            return assess_with(object, evidence);
        }
        if let Some(behind) = fields::generation_behind(object) {
            return tidy(behind);
        }
        let mut budget = MOST_STEPS;
        match ours.find_map(|check| self.judge(check, object, &mut budget)) {
            Some(health) => tidy(super::evidence::explain(health, object, evidence)),
            None => assess_with(object, evidence),
        }
    }

    fn judge(&self, check: &CompiledCheck, object: &Value, budget: &mut usize) -> Option<Health> {
        let size = Size::of(object);
        let mut context = Context::with_env(Arc::clone(&self.env));
        if size.text > MOST_TEXT {
            return Some(Health::new(HealthStatus::Unknown, "the object is too large for a check"));
        }
        let Ok(bound) = cel::to_value(object) else {
            return Some(Health::new(HealthStatus::Unknown, "the object cannot be given to a check"));
        };
        context.add_variable_from_value("object", bound);
        for (status, field, compiled) in &check.tests {
            match run(compiled, &context, size, budget) {
                Ok(Some(cel::Value::Bool(true))) => {
                    let reason = match (status, &check.message) {
                        (HealthStatus::Healthy, _) => String::new(),
                        (_, None) => format!("the check `{field}` of {} holds", check.kind),
                        (_, Some(message)) => said(message, &context, size, budget),
                    };
                    return Some(Health::new(*status, reason));
                }
                Ok(Some(cel::Value::Bool(false)) | None) => {}
                Ok(Some(_)) => {
                    let reason = format!("the check `{field}` of {} gives no truth value", check.kind);
                    return Some(Health::new(HealthStatus::Unknown, reason));
                }
                Err(problem) => {
                    let reason = format!("the check `{field}` of {} failed: {problem}", check.kind);
                    return Some(Health::new(HealthStatus::Unknown, reason));
                }
            }
        }
        check.decides.then(|| {
            Health::progressing(match &check.message {
                Some(message) => said(message, &context, size, budget),
                None => format!("the check `healthy` of {} does not hold yet", check.kind),
            })
        })
    }
}

/// The reason that an expression gives.
fn said(message: &Compiled, context: &Context<'_, '_>, size: Size, budget: &mut usize) -> String {
    match run(message, context, size, budget) {
        Ok(Some(cel::Value::String(text))) => text.to_string(),
        Ok(Some(_)) => "the check's message is no text".to_owned(),
        Ok(None) => "the check's message names a field that is not there".to_owned(),
        Err(problem) => format!("the check's message failed: {problem}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::health::HealthStatus::{Degraded, Healthy, Progressing, Suspended, Unknown};

    fn widget() -> Check {
        Check { group: "example.com".into(), kind: "Widget".into(), ..Check::default() }
    }

    fn object(status: Value) -> Value {
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "status": status})
    }

    fn judge(check: Check, status: Value) -> Health {
        let checks = CompiledChecks::compile(&[check]).map_err(|errors| errors[0].to_string()).unwrap();
        checks.assess(&object(status), &Evidence::default())
    }

    #[rstest]
    #[case::healthy(json!({"level": 3}), Healthy, "")]
    #[case::not_yet(json!({"level": 1}), Progressing, "level is 1")]
    #[case::degraded(json!({"level": -1}), Degraded, "level is -1")]
    #[case::suspended(json!({"level": 0, "off": true}), Suspended, "level is 0")]
    #[case::nothing_there(json!({}), Progressing, "the check's message names a field that is not there")]
    #[case::wrong_type(json!({"level": "high"}), Unknown, "the check `degraded` of Widget failed: `_<_` cannot be used on these types")]
    fn the_first_expression_that_is_true_decides(
        #[case] status: Value,
        #[case] expected: HealthStatus,
        #[case] reason: &str,
    ) {
        let check = Check {
            healthy: Some("object.status.level >= 3".into()),
            degraded: Some("object.status.level < 0".into()),
            suspended: Some("object.status.off".into()),
            message: Some("'level is ' + string(object.status.level)".into()),
            ..widget()
        };
        let health = judge(check, status);
        assert_eq!(health, Health::new(expected, reason));
    }

    #[test]
    fn lists_are_looked_through() {
        let healthy = "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')";
        let check = Check { healthy: Some(healthy.into()), ..widget() };
        let ready = json!({"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]});
        assert_eq!(judge(check.clone(), ready), Health::healthy());
        let waits = judge(check, json!({"conditions": []}));
        assert_eq!(waits, Health::progressing("the check `healthy` of Widget does not hold yet"));
    }

    #[test]
    fn without_healthy_the_built_in_rules_decide() {
        let check = Check { degraded: Some("object.status.level < 0".into()), ..widget() };
        assert_eq!(judge(check, json!({"level": 1, "phase": "Pending"})).reason, "phase is Pending");
    }

    #[test]
    fn another_kind_is_judged_by_the_built_in_rules() {
        let checks = CompiledChecks::compile(&[Check { healthy: Some("true".into()), ..widget() }]).ok().unwrap();
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Failed"}});
        assert_eq!(checks.assess(&pod, &Evidence::default()).status, Degraded);
    }

    #[test]
    fn deletion_and_generation_come_before_any_check() {
        let checks = CompiledChecks::compile(&[Check { healthy: Some("true".into()), ..widget() }]).ok().unwrap();
        let mut deleted = object(json!({}));
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(checks.assess(&deleted, &Evidence::default()).status, Progressing);
        let mut behind = object(json!({"observedGeneration": 1}));
        behind["metadata"]["generation"] = json!(2);
        assert_eq!(checks.assess(&behind, &Evidence::default()).status, Progressing);
    }

    #[rstest]
    #[case::syntax("object.", "does not parse")]
    #[case::unknown_name("self.status.ready", "there is no `self`; the object is called `object`")]
    #[case::nesting(
        "object.a.all(x, object.b.all(y, object.c.all(z, x == y && y == z)))",
        "nests loops (all, exists, map, filter) deeper than 2"
    )]
    #[case::long(&"true && ".repeat(600), "has 4800 bytes, more than 4096")]
    #[case::large(&format!("[{}] == []", "1,".repeat(600) + "1"), "parts, more than 500")]
    fn an_expression_that_is_refused_says_why(#[case] text: &str, #[case] problem: &str) {
        let check = Check { healthy: Some(text.to_owned()), ..widget() };
        let errors = CompiledChecks::compile(&[check]).err().unwrap();
        assert!(errors[0].to_string().contains(problem), "{}", errors[0]);
    }

    #[test]
    fn every_check_that_is_refused_is_named() {
        let checks = [widget(), Check { healthy: Some("(".into()), message: Some(")".into()), ..widget() }];
        assert_eq!(CompiledChecks::compile(&checks).err().unwrap().len(), 3);
        let many = vec![widget(); MOST_CHECKS + 1];
        assert_eq!(CompiledChecks::compile(&many).err().unwrap(), [CheckError::TooMany(MOST_CHECKS + 1)]);
    }

    #[test]
    fn what_would_cost_too_much_on_an_object_is_not_run() {
        let check =
            Check { healthy: Some("object.status.l.all(x, object.status.l.all(y, x + y > 0))".into()), ..widget() };
        let list: Vec<u32> = (0..20_000).collect();
        let health = judge(check, json!({"l": list}));
        assert_eq!(health.status, Unknown);
        assert!(health.reason.contains("that are left of 1000000"), "{}", health.reason);
    }

    #[test]
    fn many_checks_of_one_object_share_what_they_may_cost() {
        let slow = "!object.status.l.all(x, object.status.l.all(y, x >= 0))";
        let check = Check { degraded: Some(slow.into()), ..widget() };
        let list: Vec<u32> = (0..60).collect();
        assert_ne!(judge(check.clone(), json!({"l": list})).status, Unknown);
        let checks = CompiledChecks::compile(&vec![check; 64]).unwrap();
        let object = json!({"apiVersion": "example.com/v1", "kind": "Widget", "status": {"l": list}});
        let health = checks.assess(&object, &Evidence::default());
        assert_eq!(health.status, Unknown, "{}", health.reason);
    }

    proptest! {
        #[test]
        fn any_text_compiles_or_is_refused(text in "[a-z.()\\[\\]'\"?:+&|!<>=, 0-9]{0,60}") {
            let _ = CompiledChecks::compile(&[Check { healthy: Some(text), ..widget() }]);
        }
    }
}
