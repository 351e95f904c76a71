//! Object → health, with its reason.
//!
//! Pure: the object comes in as JSON, what is known of its pods and events
//! comes in beside it, and a verdict goes out. Nothing here asks a server,
//! reads a clock or keeps anything between two objects.
//!
//! ```text
//! object ──deletion──> built-in kind? ──yes──> core
//!                          │ no                     ╲
//!                          └──> rules (table) ──> conventions ──> Health
//! pods, events ──evidence──────────────────────────────────────> its reason
//! ```
//!
//! `core` judges the kinds of Kubernetes itself. `rules` is a table, read from
//! `rules/*.yaml`, for kinds of well-known projects; where it has nothing to
//! say, `conventions` reads what most controllers write the same way.

pub mod checks;
mod condition;
mod conditions;
mod conventions;
mod core;
mod evidence;
mod expression;
mod fields;
mod own;
mod rules;
mod words;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{condition::Condition, evidence::Evidence, own::OwnChecks};

/// Judges an object by itself.
///
/// What is not a JSON object, or has no kind, is [`HealthStatus::Unknown`].
pub fn assess(object: &Value) -> Health {
    assess_with(object, &Evidence::default())
}

/// Judges an object with what was read beside it: the pods and events behind
/// a workload tell in the reason why it is not healthy (they never change the
/// verdict), and what discovery said of the kind tells whether an object
/// without a status waits for its controller.
pub fn assess_with(object: &Value, evidence: &Evidence<'_>) -> Health {
    let Some(kind) = fields::text(object, "kind") else {
        return Health::new(HealthStatus::Unknown, "the object has no kind");
    };
    let api_version = fields::text(object, "apiVersion").unwrap_or_default();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let health = deletion(group, kind, object)
        .or_else(|| core::assess(group, kind, object))
        .unwrap_or_else(|| rules::assess(group, kind, object, evidence.status_subresource));
    tidy(evidence::explain(health, object, evidence))
}

/// An object that is being deleted is on its way, whatever its status says.
fn deletion(group: &str, kind: &str, object: &Value) -> Option<Health> {
    fields::at(object, "metadata.deletionTimestamp").filter(|at| !at.is_null())?;
    let mut finalizers: Vec<&str> =
        fields::list(object, "metadata.finalizers").iter().filter_map(Value::as_str).collect();
    if group.is_empty() && kind == "Namespace" {
        return Some(core::namespace_deletion(object));
    }
    finalizers.dedup();
    let reason = match finalizers.as_slice() {
        [] => "is being deleted".to_owned(),
        [one] => format!("is being deleted; waits for the finalizer {one}"),
        many => format!("is being deleted; waits for the finalizers {}", many.join(", ")),
    };
    Some(Health::new(HealthStatus::Progressing, reason))
}

/// The longest reason, in bytes: reasons go into statuses that stay small.
const LONGEST_REASON: usize = 1024;

/// Makes a reason one line of bounded length.
fn tidy(mut health: Health) -> Health {
    if health.reason.contains(|c: char| c.is_control()) {
        health.reason = health.reason.split(|c: char| c.is_control() || c == ' ').filter(|word| !word.is_empty()).fold(
            String::with_capacity(health.reason.len()),
            |mut line, word| {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
                line
            },
        );
    }
    if health.reason.len() > LONGEST_REASON {
        let mut end = LONGEST_REASON;
        while !health.reason.is_char_boundary(end) {
            end -= 1;
        }
        health.reason.truncate(end);
        health.reason.push('…');
    }
    health
}

/// The health of an object or an application, a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HealthStatus {
    /// Does what it is for.
    Healthy,
    /// Paused on purpose.
    Suspended,
    /// Could not be read, or its rule failed.
    Unknown,
    /// Not yet, and may get there by itself.
    Progressing,
    /// Should exist and does not.
    Missing,
    /// Failed, or will not get there by itself.
    Degraded,
}

impl HealthStatus {
    /// Whether a release that has this object may be Healthy: Healthy,
    /// Suspended or Unknown.
    pub fn lets_a_release_be_healthy(self) -> bool {
        matches!(self, Self::Healthy | Self::Suspended | Self::Unknown)
    }

    /// The word itself.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Unknown => "Unknown",
            Self::Progressing => "Progressing",
            Self::Missing => "Missing",
            Self::Degraded => "Degraded",
        }
    }
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verdict with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Why, for a person: empty where a healthy object needs no words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Health {
    /// A verdict with a reason.
    pub fn new(status: HealthStatus, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    /// Healthy, with nothing to say.
    pub fn healthy() -> Self {
        Self { status: HealthStatus::Healthy, reason: String::new() }
    }
}

impl Health {
    /// Suspended, with a reason.
    pub(crate) fn suspended(reason: impl Into<String>) -> Self {
        Self::new(HealthStatus::Suspended, reason)
    }

    /// Progressing, with a reason.
    pub(crate) fn progressing(reason: impl Into<String>) -> Self {
        Self::new(HealthStatus::Progressing, reason)
    }

    /// Degraded, with a reason.
    pub(crate) fn degraded(reason: impl Into<String>) -> Self {
        Self::new(HealthStatus::Degraded, reason)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NAMES: &[&str] = &[
        "metadata",
        "spec",
        "status",
        "conditions",
        "type",
        "status",
        "reason",
        "message",
        "phase",
        "state",
        "health",
        "generation",
        "observedGeneration",
        "replicas",
        "readyReplicas",
        "parents",
        "containerStatuses",
        "waiting",
        "terminated",
        "annotations",
        "deletionTimestamp",
        "finalizers",
        "ready",
        "paused",
        "name",
    ];

    const TYPES: &[(&str, &str)] = &[
        ("v1", "Pod"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("batch/v1", "Job"),
        ("batch/v1", "CronJob"),
        ("v1", "Service"),
        ("v1", "Namespace"),
        ("v1", "PersistentVolumeClaim"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("cert-manager.io/v1", "Certificate"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ("argoproj.io/v1alpha1", "Rollout"),
        ("example.com/v1", "Widget"),
    ];

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            prop::sample::select(&["True", "False", "Ready", "Failed", "Pending", "Running"][..]).prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(prop::sample::select(NAMES), inner, 0..6)
                    .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_object_has_a_verdict_whose_reason_is_one_short_line(
            (api_version, kind) in prop::sample::select(TYPES),
            metadata in value(),
            spec in value(),
            status in value(),
        ) {
            let object = json!({
                "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec, "status": status
            });
            let health = assess(&object);
            prop_assert_eq!(&health, &assess(&object), "the same object has the same health");
            prop_assert!(health.reason.len() <= LONGEST_REASON + 4);
            prop_assert!(!health.reason.contains('\n'));
            prop_assert!(health.status == HealthStatus::Healthy || !health.reason.is_empty());
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let health = tidy(Health::degraded("ü".repeat(LONGEST_REASON)));
        assert!(health.reason.len() <= LONGEST_REASON + '…'.len_utf8() && health.reason.ends_with('…'));
    }

    #[test]
    fn a_reason_of_many_lines_becomes_one() {
        assert_eq!(tidy(Health::degraded("one\n  two\tthree")).reason, "one two three");
    }
}
