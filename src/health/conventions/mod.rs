//! What custom resources have in common, for kinds that no rule names.
//!
//! The API conventions
//! (<https://github.com/kubernetes/community/blob/main/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties>)
//! know conditions, whose types read either way round (`Ready`, `Degraded`),
//! and `observedGeneration`; many controllers write a word in `status.phase`
//! or `status.state` instead, or as well. A condition `Ready` decides where
//! there is one; the other conditions and the words decide together, the
//! worst of them first.

mod found;
mod word;

use serde_json::Value;

use self::found::{Found, comes_later, tone_of_failing, truth};
use self::word::{Word, fallback, word};
use super::conditions::{Condition, Truth};
use super::words::{self, Tone};
use super::{Health, fields};

pub(super) use self::word::told;

/// Judges a custom resource by conventions alone.
pub(super) fn assess(object: &Value, has_status: Option<bool>) -> Health {
    suspended(object)
        .or_else(|| fields::generation_behind(object))
        .or_else(|| unwritten(object, has_status))
        .unwrap_or_else(|| verdict(object))
}

/// Paused by a field of its spec.
pub(super) fn suspended(object: &Value) -> Option<Health> {
    let by_field =
        |spec| ["suspend", "suspended", "paused", "pause"].into_iter().find(|field| fields::flag(spec, field));
    if let Some(field) = object.get("spec").and_then(by_field) {
        return Some(Health::suspended(format!("spec.{field} is true")));
    }
    let annotation = pausing_annotation(object)?;
    Some(Health::suspended(format!("is paused by its annotation {annotation}")))
}

/// An annotation by which its own project pauses an object. One of another
/// project (a GitOps tool that is told to leave the object alone) says nothing
/// of its health.
fn pausing_annotation(object: &Value) -> Option<&str> {
    let annotations = fields::at(object, "metadata.annotations")?.as_object()?;
    let group = fields::text(object, "apiVersion")?.split_once('/')?.0;
    let domain = |name: &str| name.rmatch_indices('.').nth(1).map_or(0, |(dot, _)| dot + 1);
    let (name, _) = annotations.iter().find(|(name, value)| {
        let Some((project, name)) = name.split_once('/') else { return false };
        matches!(
            name,
            "pause"
                | "paused"
                | "suspend"
                | "suspended"
                | "pause-reconciliation"
                | "pause-reconcile"
                | "reconciliation-paused"
                | "reconcile-paused"
                | "paused-reconciliation"
        ) && value.as_str().is_some_and(|value| value.eq_ignore_ascii_case("true"))
            && project[domain(project)..] == group[domain(group)..]
    })?;
    Some(name)
}

/// The verdict on an object whose controller has written nothing.
///
/// Where it is not known whether the kind has a status, an empty one tells
/// that it does. An object without any is taken to be of a kind that has none:
/// those stay so for ever, while a controller writes its first status soon.
pub(super) fn unwritten(object: &Value, has_status: Option<bool>) -> Option<Health> {
    let status = object.get("status");
    // What the definition of the kind writes before any controller does.
    if status.is_some_and(only_defaulted) {
        return Some(Health::progressing("its controller has not written a status yet"));
    }
    if status.is_some_and(|status| !fields::is_empty(status)) {
        return None;
    }
    let waits = has_status.unwrap_or_else(|| object.get("status").is_some_and(|status| !status.is_null()));
    Some(if waits { Health::progressing("its controller has not written a status yet") } else { Health::healthy() })
}

/// Whether a status has nothing but an observed generation that no object has.
fn only_defaulted(status: &Value) -> bool {
    let Some(fields) = status.as_object() else { return false };
    fields.iter().all(|(name, value)| name == "observedGeneration" || fields::is_empty(value))
        && fields::number(status, "observedGeneration").is_some_and(|observed| observed < 0)
}

/// Judges what the status says.
pub(super) fn verdict(object: &Value) -> Health {
    let found = Found::in_status(object);
    let word = word(object);
    // What says that it failed, or that it is paused, is believed first.
    if let Some(condition) = found.failed {
        return Health::degraded(condition.describe());
    }
    if let Some(condition) = found.asleep {
        return Health::suspended(condition.describe());
    }
    if let Some(ready) = found.ready {
        return by_ready(object, &found, ready, word);
    }
    let words = word.map(|word| word.health(object));
    let conditions = by_positives(object, &found);
    match (conditions, words) {
        (Some(conditions), Some(words)) => worse(conditions, words),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => fallback(object),
    }
}

/// `Ready` is the sum of the others.
fn by_ready(object: &Value, found: &Found<'_>, ready: Condition<'_>, word: Option<Word<'_>>) -> Health {
    if let Some(health) = stale(object, &ready) {
        return health;
    }
    let broken = found
        .positives
        .iter()
        .find(|condition| truth(condition) == Truth::False && words::reason(condition.reason) == Some(Tone::Bad));
    match truth(&ready) {
        Truth::True => {
            if let Some(busy) = found.busy {
                return Health::progressing(busy.describe());
            }
            if let Some(word) = word.filter(|word| word.tone == Tone::Asleep) {
                return word.health(object);
            }
            let asleep = found.positives.iter().find(|condition| {
                truth(condition) == Truth::False && words::reason(condition.reason) == Some(Tone::Asleep)
            });
            match (broken, asleep) {
                (Some(condition), _) => Health::degraded(condition.describe()),
                (None, Some(condition)) => Health::suspended(condition.describe()),
                (None, None) => Health::healthy(),
            }
        }
        Truth::Unknown => match word.filter(|word| matches!(word.tone, Tone::Asleep | Tone::Bad)) {
            Some(word) => word.health(object),
            None if words::reason(ready.reason) == Some(Tone::Asleep) => Health::suspended(ready.describe()),
            None => Health::progressing(ready.describe()),
        },
        Truth::False => {
            let tone = tone_of_failing(&ready);
            let health = match (tone, word.map(|word| (word.tone, word))) {
                (Some(Tone::Bad), _) => Health::degraded(ready.describe()),
                (_, Some((Tone::Bad | Tone::Asleep, word))) => word.health(object),
                (Some(Tone::Asleep), _) => Health::suspended(ready.describe()),
                (Some(Tone::Waiting), _) if broken.is_some() => {
                    Health::degraded(broken.map(|condition| condition.describe()).unwrap_or_default())
                }
                (Some(Tone::Waiting), _) | (None, Some((Tone::Waiting, _))) => Health::progressing(ready.describe()),
                _ if found.busy.is_some() => Health::progressing(ready.describe()),
                _ => Health::degraded(ready.describe()),
            };
            explained(health, &ready, found)
        }
    }
}

/// A `Ready` that says nothing of its own borrows the words of the condition
/// that fails beneath it.
fn explained(mut health: Health, ready: &Condition<'_>, found: &Found<'_>) -> Health {
    if ready.message.is_empty()
        && health.reason.starts_with(ready.kind)
        && let Some(below) = found.positives.iter().find(|condition| truth(condition) == Truth::False)
    {
        health.reason.push_str("; ");
        health.reason.push_str(&below.describe());
    }
    health
}

/// Without `Ready`, each condition that should hold counts.
fn by_positives(object: &Value, found: &Found<'_>) -> Option<Health> {
    if found.positives.is_empty()
        && let Some(condition) = found.unnamed
    {
        return Some(Health::degraded(condition.describe()));
    }
    let mut waiting = found.busy;
    let mut holds = false;
    let mut stale_one = None;
    for condition in &found.positives {
        match truth(condition) {
            Truth::True => {
                holds = true;
                stale_one = stale_one.or_else(|| stale(object, condition));
            }
            Truth::Unknown => waiting = waiting.or(Some(*condition)),
            Truth::False => match tone_of_failing(condition) {
                Some(Tone::Asleep) => return Some(Health::suspended(condition.describe())),
                Some(Tone::Waiting) => waiting = waiting.or(Some(*condition)),
                None if found.busy.is_some() || comes_later(condition.kind) => waiting = waiting.or(Some(*condition)),
                _ => return Some(Health::degraded(condition.describe())),
            },
        }
    }
    match waiting {
        Some(condition) => Some(Health::progressing(condition.describe())),
        None if stale_one.is_some() => stale_one,
        None if holds || found.calm => Some(Health::healthy()),
        None => None,
    }
}

/// A condition that was written for an earlier generation says nothing of
/// this one. A status that names the present generation vouches for it.
fn stale(object: &Value, condition: &Condition<'_>) -> Option<Health> {
    let generation = fields::number(object, "metadata.generation")?;
    let observed = condition.observed_generation?;
    let vouched = fields::number(object, "status.observedGeneration").is_some_and(|seen| seen >= generation);
    if observed >= generation || vouched {
        return None;
    }
    Some(Health::progressing(format!(
        "{} is of generation {observed}, and its controller has not seen generation {generation} yet",
        condition.kind
    )))
}

fn worse(one: Health, other: Health) -> Health {
    use super::HealthStatus::{Degraded, Progressing, Suspended};
    let rank = |health: &Health| match health.status {
        Degraded => 3,
        Suspended => 2,
        Progressing => 1,
        _ => 0,
    };
    if rank(&other) > rank(&one) { other } else { one }
}

#[cfg(test)]
mod tests;
