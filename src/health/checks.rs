//! The user's own checks, in CEL, for kinds that the built-in rules judge
//! wrongly or not at all.
//!
//! Expressions see one variable, `object`, and no clock. What they may cost is
//! bounded before they run: by their length, their size, how deep their loops
//! nest, and the size of the object they run on. A field that is not there
//! makes an expression false; any other error makes the health Unknown, and
//! its reason never repeats a value of the object.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr};
use cel::{Context, Env, ExecutionError, IdedExpr, Program};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{Evidence, Health, HealthStatus, assess_with, deletion, fields, tidy};

/// Longest expression, in bytes.
const LONGEST: usize = 4096;
/// Most checks of one application.
const MOST_CHECKS: usize = 64;
/// Most nodes of one expression, its macros expanded.
const MOST_NODES: usize = 500;
/// Deepest nesting of `all`, `exists`, `map` and the like.
const DEEPEST: u32 = 2;
/// Most steps of all evaluations on one object, estimated from expressions and
/// object.
pub(super) const MOST_STEPS: usize = 1_000_000;
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

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpressionProblem {
    /// It is longer than allowed.
    #[error("has {0} bytes, more than {LONGEST}")]
    TooLong(usize),
    /// It is larger than allowed.
    #[error("has {0} parts, more than {MOST_NODES}")]
    TooLarge(usize),
    /// Its loops nest deeper than allowed.
    #[error("nests loops (all, exists, map, filter) deeper than {DEEPEST}")]
    TooDeep,
    /// It does not parse.
    #[error("does not parse: {0}")]
    Syntax(String),
    /// It names what there is not.
    #[error("there is no `{0}`; the object is called `object`")]
    UnknownName(String),
}

pub(super) struct Compiled {
    program: Program,
    nodes: usize,
    depth: u32,
    /// How many times two values are joined.
    joins: usize,
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
                compile(&env, text)
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

/// Evaluates an expression; `None` where a field that it needs is not there.
/// What it may cost is taken off the budget before it runs.
pub(super) fn run(
    compiled: &Compiled,
    context: &Context<'_, '_>,
    size: Size,
    budget: &mut usize,
) -> Result<Option<cel::Value>, String> {
    // A list that is looped over may have been joined with others before.
    let length = size.longest.max(1).saturating_mul(1 + compiled.joins);
    let steps = (0..compiled.depth).fold(compiled.nodes, |steps, _| steps.saturating_mul(length));
    let Some(left) = budget.checked_sub(steps) else {
        return Err(format!("it could take {steps} steps, more than the {budget} that are left of {MOST_STEPS}"));
    };
    *budget = left;
    let outcome = catch_unwind(AssertUnwindSafe(|| compiled.program.execute(context)));
    match outcome {
        Ok(Ok(value)) => Ok(Some(value)),
        Ok(Err(ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_))) => Ok(None),
        Ok(Err(error)) => Err(describe(&error)),
        Err(_) => Err("the evaluation broke off".to_owned()),
    }
}

/// What failed, without the values that it failed on: they may be secret.
fn describe(error: &ExecutionError) -> String {
    match error {
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}`"),
        ExecutionError::NoSuchOverload(overload) => {
            format!("`{}` cannot be used on these types", overload.function())
        }
        ExecutionError::UnexpectedType { got, want } => format!("found {got} where {want} is needed"),
        ExecutionError::UnsupportedBinaryOperator(operator, ..) | ExecutionError::Overflow(operator, ..) => {
            format!("`{operator}` cannot be used on these values")
        }
        ExecutionError::NotSupportedAsMethod { method, .. } => format!("`{method}` cannot be used on this value"),
        ExecutionError::FunctionError { function, .. } => format!("`{function}` failed"),
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("a function was given {actual} values instead of {expected}")
        }
        ExecutionError::ValuesNotComparable(..) => "two values cannot be compared".to_owned(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".to_owned(),
        _ => "a value is not of the type that is needed".to_owned(),
    }
}

fn compile(env: &Env, text: &str) -> Result<Compiled, ExpressionProblem> {
    compile_naming(env, text, "object")
}

/// Compiles an expression that sees one variable of this name.
pub(super) fn compile_naming(env: &Env, text: &str, name: &'static str) -> Result<Compiled, ExpressionProblem> {
    if text.len() > LONGEST {
        return Err(ExpressionProblem::TooLong(text.len()));
    }
    let program =
        catch_unwind(AssertUnwindSafe(|| env.compile(text)))
            .map_err(|_| ExpressionProblem::Syntax("the parser broke off".to_owned()))?
            .map_err(|errors| {
                let first = errors.errors.first();
                ExpressionProblem::Syntax(first.map_or_else(String::new, |error| {
                    format!("at {}:{}: {}", error.pos.0, error.pos.1, error.msg.trim())
                }))
            })?;
    let mut walk = Walk { nodes: 0, depth: 0, joins: 0, names: vec![name], unknown: None };
    walk.visit(program.expression(), 0);
    let Walk { nodes, depth, joins, unknown, .. } = walk;
    if nodes > MOST_NODES {
        return Err(ExpressionProblem::TooLarge(nodes));
    }
    if depth > DEEPEST {
        return Err(ExpressionProblem::TooDeep);
    }
    match unknown {
        Some(name) => Err(ExpressionProblem::UnknownName(name)),
        None => Ok(Compiled { program, nodes, depth, joins }),
    }
}

/// Counts the parts and the nesting of an expression, and looks for names that
/// are not bound.
struct Walk<'a> {
    nodes: usize,
    depth: u32,
    joins: usize,
    names: Vec<&'a str>,
    unknown: Option<String>,
}

/// Names of types, which may stand where a variable does.
const TYPES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint", "dyn", "optional"];

impl<'a> Walk<'a> {
    fn visit(&mut self, expression: &'a IdedExpr, depth: u32) {
        self.nodes += 1;
        self.depth = self.depth.max(depth);
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => {
                if !self.names.contains(&name.as_str()) && !TYPES.contains(&name.as_str()) {
                    self.unknown.get_or_insert_with(|| name.clone());
                }
            }
            Expr::Call(call) => {
                // Expanded macros join too, one item at a time, inside their loop.
                self.joins += usize::from(call.func_name == "_+_");
                call.target.iter().for_each(|target| self.visit(target, depth));
                call.args.iter().for_each(|argument| self.visit(argument, depth));
            }
            Expr::Select(select) => self.visit(&select.operand, depth),
            Expr::List(list) => list.elements.iter().for_each(|element| self.visit(element, depth)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr, depth)),
            Expr::Struct(made) => made.entries.iter().for_each(|entry| self.entry(&entry.expr, depth)),
            Expr::Comprehension(each) => {
                self.visit(&each.iter_range, depth);
                self.visit(&each.accu_init, depth);
                let bound = self.names.len();
                self.names.extend([each.iter_var.as_str(), each.accu_var.as_str()]);
                self.names.extend(each.iter_var2.as_deref());
                for part in [&each.loop_cond, &each.loop_step, &each.result] {
                    self.visit(part, depth + 1);
                }
                self.names.truncate(bound);
            }
        }
    }

    fn entry(&mut self, entry: &'a EntryExpr, depth: u32) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value, depth),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key, depth);
                self.visit(&entry.value, depth);
            }
        }
    }
}

/// How large an object is for an expression.
#[derive(Clone, Copy, Default)]
pub(super) struct Size {
    /// Entries of its longest list or map.
    longest: usize,
    /// Bytes of all its text.
    text: usize,
}

impl Size {
    pub(super) fn of(value: &Value) -> Self {
        let mut size = Self::default();
        size.add(value);
        size
    }

    fn add(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.text += text.len(),
            Value::Array(items) => {
                self.longest = self.longest.max(items.len());
                items.iter().for_each(|item| self.add(item));
            }
            Value::Object(fields) => {
                self.longest = self.longest.max(fields.len());
                for (name, value) in fields {
                    self.text += name.len();
                    self.add(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
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
