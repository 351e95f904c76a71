//! Whether a line of a rule holds for an object, and what it says.

use std::fmt::Write as _;

use serde_json::Value;

use super::language::{Asks, Operand, Path, Step, Subject, Test, path};
use super::table::Line;
use crate::health::conditions::{self, Condition};
use crate::health::{Health, HealthStatus, conventions, fields};

/// The verdict of a line, if all its tests hold.
pub(super) fn line(line: &Line, object: &Value) -> Option<Health> {
    if !line.tests.iter().all(|test| holds(test, object)) {
        return None;
    }
    Some(match &line.says {
        Some(says) => Health::new(line.verdict, fill(says, object)),
        None if line.verdict == HealthStatus::Healthy => Health::healthy(),
        None => Health::new(line.verdict, reason(line, object)),
    })
}

fn holds(test: &Test, object: &Value) -> bool {
    let found = match &test.subject {
        Subject::Condition { .. } => condition(test, object).is_some(),
        Subject::Field { path, asks } => match asks {
            Asks::IsNot(values) => any(object, path, &mut |value| {
                !fields::is_empty(value) && !values.iter().any(|pattern| says(value, &|text| pattern.matches(text)))
            }),
            Asks::Is(values) => {
                any(object, path, &mut |value| values.iter().any(|pattern| says(value, &|text| pattern.matches(text))))
            }
            Asks::Contains(parts) => any(object, path, &mut |value| {
                says(value, &|text| {
                    let text = text.to_lowercase();
                    parts.iter().any(|part| text.contains(part.as_str()))
                })
            }),
            Asks::There => any(object, path, &mut |_| true),
            Asks::Set => any(object, path, &mut |value| match value {
                Value::Bool(flag) => *flag,
                Value::Number(number) => number.as_f64() != Some(0.0),
                other => !fields::is_empty(other),
            }),
            Asks::Less(than) => compare(object, path, than, |left, right| left < right),
            Asks::More(than) => compare(object, path, than, |left, right| left > right),
        },
    };
    found != test.negated
}

/// The first condition that a test means.
fn condition<'a>(test: &Test, object: &'a Value) -> Option<Condition<'a>> {
    let Subject::Condition { base, types, statuses, reasons, message } = &test.subject else { return None };
    let mut found = None;
    any(object, base, &mut |value| {
        found = conditions::of(value).find(|condition| {
            types.iter().any(|kind| kind.matches(condition.kind))
                && (statuses.is_empty() || statuses.iter().any(|status| status.matches(condition.said)))
                && (reasons.is_empty() || reasons.iter().any(|reason| reason.matches(condition.reason)))
                && (message.is_empty() || {
                    let text = condition.message.to_lowercase();
                    message.iter().any(|part| text.contains(part.as_str()))
                })
        });
        found.is_some()
    });
    found
}

/// Whether a test holds for any value at a path.
fn any<'a>(value: &'a Value, path: &[Step], test: &mut dyn FnMut(&'a Value) -> bool) -> bool {
    match path.split_first() {
        None => test(value),
        Some((Step::Field(name), rest)) => value.get(name).is_some_and(|value| any(value, rest, test)),
        Some((Step::Each, rest)) => match value {
            Value::Array(items) => items.iter().any(|item| any(item, rest, test)),
            Value::Object(values) => values.values().any(|value| any(value, rest, test)),
            _ => false,
        },
    }
}

/// Whether a value, as text, passes a test.
fn says(value: &Value, test: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => test(text),
        Value::Bool(true) => test("true"),
        Value::Bool(false) => test("false"),
        Value::Number(number) => test(&number.to_string()),
        _ => false,
    }
}

fn compare(object: &Value, left: &Path, right: &Operand, order: fn(i64, i64) -> bool) -> bool {
    let number = |path: &Path| {
        let mut found = None;
        any(object, path, &mut |value| {
            found = fields::integer(value);
            found.is_some()
        });
        found
    };
    let right = match right {
        Operand::Number(number) => Some(*number),
        Operand::Field(path) => number(path),
    };
    let Some(right) = right else { return false };
    let mut there = false;
    let holds = any(object, left, &mut |value| {
        fields::integer(value).is_some_and(|left| {
            there = true;
            order(left, right)
        })
    });
    holds || (!there && order(0, right))
}

/// What the first test that found something found.
fn reason(line: &Line, object: &Value) -> String {
    for test in line.tests.iter().filter(|test| !test.negated) {
        if let Some(condition) = condition(test, object) {
            return condition.describe();
        }
        if let Subject::Field { path, .. } = &test.subject {
            let mut fields = path.iter().filter_map(|step| match step {
                Step::Field(name) => Some(name.as_str()),
                Step::Each => None,
            });
            // `phase is Failed`, `spec.paused is true`.
            let name = match path.first() {
                Some(Step::Field(first)) if first == "status" => fields.next_back().unwrap_or_default().to_owned(),
                _ => fields.collect::<Vec<_>>().join("."),
            };
            let mut text = String::new();
            any(object, path, &mut |value| {
                says(value, &|_| true) && {
                    text = plain(value);
                    true
                }
            });
            let told = conventions::told(object).filter(|told| *told != text);
            let text = format!("{name} is {text}");
            return told.map_or(text.clone(), |told| format!("{text}: {told}"));
        }
    }
    conventions::told(object).unwrap_or("its status does not say that it is ready yet").to_owned()
}

/// Fills `{status.path}` in a template with what is found there; nothing where
/// there is nothing, and then also without the `: ` before it.
fn fill(template: &str, object: &Value) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((name, after)) = after.split_once('}') else { break };
        let mut value = String::new();
        if let Ok(path) = path(name) {
            any(object, &path, &mut |found| {
                value = plain(found);
                !value.is_empty()
            });
        }
        if value.is_empty() && text.ends_with(": ") {
            text.truncate(text.len() - 2);
        }
        let _ = write!(text, "{value}");
        rest = after;
    }
    text.push_str(rest);
    text
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
