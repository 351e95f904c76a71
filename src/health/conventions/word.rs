//! The words, flags and counts of a status.

use serde_json::Value;

use super::super::words::{self, Tone};
use super::super::{Health, fields};

/// A word of the status with where it stands.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    field: &'static str,
    text: &'a str,
    pub(super) tone: Tone,
}

impl Word<'_> {
    pub(super) fn health(&self, object: &Value) -> Health {
        let reason = || match told(object) {
            Some(told) if told != self.text => format!("{} is {}: {told}", self.field, self.text),
            _ => format!("{} is {}", self.field, self.text),
        };
        match self.tone {
            Tone::Good => Health::healthy(),
            Tone::Waiting => Health::progressing(reason()),
            Tone::Asleep => Health::suspended(reason()),
            Tone::Bad => Health::degraded(reason()),
        }
    }
}

/// The word of a status, the worst where there are several.
pub(super) fn word(object: &Value) -> Option<Word<'_>> {
    let status = object.get("status")?;
    let places = [
        "health",
        "phase",
        "state",
        "status",
        "currentPhase",
        "currentState",
        "overallStatus",
        "overallState",
        "lifecycleState",
        "clusterState",
        "clusterStatus",
        "deploymentStatus",
        "deploymentState",
        "currentStatus",
        "updateStatus",
        "syncStatus",
        "serviceStatus",
        "instanceStatus",
        "resourceStatus",
        "provisioningState",
    ];
    let mut worst: Option<Word<'_>> = None;
    for field in places {
        let Some(value) = status.get(field) else { continue };
        let text = match value {
            Value::String(text) => text.as_str(),
            Value::Object(inner) => {
                let inner = ["status", "state", "phase", "health"].iter().find_map(|name| inner.get(*name)?.as_str());
                let Some(text) = inner else { continue };
                text
            }
            _ => continue,
        };
        let Some(tone) = words::phase(text) else { continue };
        let word = Word { field, text, tone };
        if worst.is_none_or(|worst| rank(tone) > rank(worst.tone)) {
            worst = Some(word);
        }
    }
    worst
}

fn rank(tone: Tone) -> u8 {
    match tone {
        Tone::Good => 0,
        Tone::Waiting => 1,
        Tone::Asleep => 2,
        Tone::Bad => 3,
    }
}

/// What a status tells a person outside its conditions.
pub(in crate::health) fn told(object: &Value) -> Option<&str> {
    let status = object.get("status")?;
    [
        "message",
        "errorMessage",
        "failureMessage",
        "error",
        "statusMessage",
        "phaseReason",
        "failureReason",
        "stateMessage",
        "reason",
        "statusReason",
        "detail",
        "description",
    ]
    .iter()
    .find_map(|field| fields::text(status, field))
}

/// The last signs: an error that is told, a flag, a count.
pub(super) fn fallback(object: &Value) -> Health {
    let Some(status) = object.get("status") else { return Health::healthy() };
    for field in ["error", "errorMessage", "failureMessage", "lastError", "failureReason", "errors"] {
        let told = status.get(field).and_then(|value| match value {
            Value::Array(items) => items.first()?.as_str(),
            value => value.as_str(),
        });
        if let Some(text) = told.filter(|text| !text.is_empty()) {
            return Health::degraded(text);
        }
    }
    let flags = [
        "ready",
        "isReady",
        "available",
        "healthy",
        "readyToUse",
        "synced",
        "initialized",
        "provisioned",
        "scale.statusReplicas",
    ];
    for field in flags {
        match fields::at(status, field).and_then(yes_or_no) {
            Some(true) => return Health::healthy(),
            Some(false) => {
                let said = fields::at(status, field).map(Value::to_string).unwrap_or_default();
                let told = told(object).map(|told| format!(": {told}")).unwrap_or_default();
                return Health::progressing(format!("status.{field} is {}{told}", said.trim_matches('"')));
            }
            None => {}
        }
    }
    let Some(wanted) = fields::number(object, "spec.replicas") else { return Health::healthy() };
    let counted = [
        ("readyReplicas", "ready"),
        ("availableReplicas", "available"),
        ("updatedReplicas", "updated"),
        ("replicas", "there"),
    ];
    for (field, word) in counted {
        if let Some(count) = fields::number(status, field).filter(|&count| count < wanted) {
            return Health::progressing(format!("{count} of {wanted} replicas {word}"));
        }
    }
    Health::healthy()
}

/// What a flag says: a truth value, its name, or `2/3`.
fn yes_or_no(value: &Value) -> Option<bool> {
    let text = match value {
        Value::Bool(flag) => return Some(*flag),
        Value::String(text) => text,
        _ => return None,
    };
    if text.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Some(false);
    }
    let (have, want) = text.split_once('/')?;
    let (have, want): (u32, u32) = (have.trim().parse().ok()?, want.trim().parse().ok()?);
    Some(have >= want)
}
