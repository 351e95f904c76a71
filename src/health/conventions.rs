//! What custom resources have in common, for kinds that no rule names.
//!
//! The API conventions
//! (<https://github.com/kubernetes/community/blob/main/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties>)
//! know conditions, whose types read either way round (`Ready`, `Degraded`),
//! and `observedGeneration`; many controllers write a word in `status.phase`
//! or `status.state` instead, or as well. A condition `Ready` decides where
//! there is one; the other conditions and the words decide together, the
//! worst of them first.

use serde_json::Value;

use super::conditions::{self, Condition, Truth};
use super::words::{self, Tone};
use super::{Health, fields};

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
/// Where it is not known whether the kind has a status, an object that a
/// server has stored (it has a uid) is taken to wait for its controller, as
/// most kinds have one; a manifest has nothing to judge.
pub(super) fn unwritten(object: &Value, has_status: Option<bool>) -> Option<Health> {
    if object.get("status").is_some_and(|status| !fields::is_empty(status)) {
        return None;
    }
    let waits = has_status.unwrap_or_else(|| fields::text(object, "metadata.uid").is_some());
    Some(if waits { Health::progressing("its controller has not written a status yet") } else { Health::healthy() })
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
    let conditions = by_positives(&found);
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
    match truth(&ready) {
        Truth::True => {
            if let Some(busy) = found.busy {
                return Health::progressing(busy.describe());
            }
            if let Some(word) = word.filter(|word| word.tone == Tone::Asleep) {
                return word.health(object);
            }
            let broken = found.positives.iter().find(|condition| {
                truth(condition) == Truth::False && words::reason(condition.reason) == Some(Tone::Bad)
            });
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
        && let Some(below) = found.positives.iter().find(|condition| truth(condition) == Truth::False)
    {
        health.reason.push_str("; ");
        health.reason.push_str(&below.describe());
    }
    health
}

/// Without `Ready`, each condition that should hold counts.
fn by_positives(found: &Found<'_>) -> Option<Health> {
    let mut waiting = found.busy;
    let mut holds = false;
    for condition in &found.positives {
        match truth(condition) {
            Truth::True => holds = true,
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
        None if holds || found.calm => Some(Health::healthy()),
        None => None,
    }
}

/// Whether a condition of this type is false for every object at first, so
/// that false alone is no failure.
fn comes_later(kind: &str) -> bool {
    [
        "Complete",
        "Completed",
        "Finished",
        "Initialized",
        "Created",
        "Started",
        "Established",
        "Updated",
        "Bound",
        "Provisioned",
        "Installed",
        "Deployed",
        "Attached",
        "Joined",
        "Registered",
        "Bootstrapped",
        "Approved",
    ]
    .iter()
    .any(|later| ends_with(kind, later))
}

fn ends_with(text: &str, end: &str) -> bool {
    let from = text.len().checked_sub(end.len());
    from.and_then(|from| text.get(from..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// What a condition that should hold and does not tells of itself.
fn tone_of_failing(condition: &Condition<'_>) -> Option<Tone> {
    match condition.severity {
        "Info" => return Some(Tone::Waiting),
        "Error" => return Some(Tone::Bad),
        _ => {}
    }
    if let Some(tone @ (Tone::Bad | Tone::Asleep)) = words::phase(condition.said) {
        return Some(tone);
    }
    words::reason(condition.reason).or_else(|| words::message(condition.message))
}

/// Some projects write another word than True and False, as `Degraded`.
fn truth(condition: &Condition<'_>) -> Truth {
    match condition.truth {
        Truth::Unknown => match words::phase(condition.said) {
            Some(Tone::Bad | Tone::Asleep) => Truth::False,
            Some(Tone::Good) => Truth::True,
            _ => Truth::Unknown,
        },
        known => known,
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

/// The conditions of a status, sorted by what they say.
#[derive(Default)]
struct Found<'a> {
    /// `Ready`.
    ready: Option<Condition<'a>>,
    /// The first that says that it failed.
    failed: Option<Condition<'a>>,
    /// The first that says that it is paused.
    asleep: Option<Condition<'a>>,
    /// The first that says that it is on its way.
    busy: Option<Condition<'a>>,
    /// Those that should hold.
    positives: Vec<Condition<'a>>,
    /// A condition that should not hold does not.
    calm: bool,
}

impl<'a> Found<'a> {
    fn in_status(object: &'a Value) -> Self {
        let mut found = Self::default();
        let Some(status) = object.get("status") else { return found };
        for condition in conditions::of(status) {
            found.sort(condition);
        }
        // Routes and policies tell their state once for each parent.
        for parents in ["parents", "ancestors"] {
            for condition in fields::list(status, parents).iter().flat_map(conditions::of) {
                found.sort(condition);
            }
        }
        found
    }

    fn sort(&mut self, condition: Condition<'a>) {
        if condition.is("Ready") {
            self.ready = Some(condition);
            return;
        }
        if is_busy(condition.kind) {
            match condition.truth {
                Truth::True if is_done(condition.reason) => self.calm = true,
                Truth::True => self.busy = self.busy.or(Some(condition)),
                // `Progressing` that ended because it failed.
                Truth::False if words::reason(condition.reason) == Some(Tone::Bad) => {
                    self.failed = self.failed.or(Some(condition));
                }
                _ => self.calm = true,
            }
            return;
        }
        match words::condition_type(condition.kind) {
            // `NotReady` is `Ready` told the other way round.
            Some(Tone::Bad) if condition.is("NotReady") || condition.is("NotAvailable") => {
                if condition.holds() {
                    let turned =
                        Condition { truth: Truth::False, said: "False", kind: &condition.kind[3..], ..condition };
                    self.positives.push(turned);
                }
            }
            Some(Tone::Bad) => match condition.truth {
                Truth::True => self.failed = self.failed.or(Some(condition)),
                _ => self.calm = true,
            },
            Some(Tone::Asleep) => match condition.truth {
                Truth::True => self.asleep = self.asleep.or(Some(condition)),
                _ => self.calm = true,
            },
            // These go to false in the course of a healthy life.
            Some(Tone::Good) if is_passing(condition.kind) => self.calm |= condition.holds(),
            Some(Tone::Good) => self.positives.push(condition),
            None if condition.is("ResolvedRefs") || condition.is("RefsResolved") => self.positives.push(condition),
            Some(Tone::Waiting) | None => {}
        }
    }
}

/// Conditions that say that work is under way.
fn is_busy(kind: &str) -> bool {
    [
        "Progressing",
        "Reconciling",
        "Updating",
        "Upgrading",
        "Creating",
        "Provisioning",
        "Deploying",
        "Installing",
        "Initializing",
        "Pending",
        "Deleting",
        "Terminating",
        "Restarting",
        "Resizing",
        "Migrating",
        "RollingUpdate",
        "InProgress",
    ]
    .iter()
    .any(|busy| kind.eq_ignore_ascii_case(busy))
        || ends_with(kind, "InProgress")
}

/// A `Progressing` that stays true once the work is done, as a Deployment
/// writes it.
fn is_done(reason: &str) -> bool {
    ["Available", "Complete", "Completed", "Succeeded", "Ready", "Finished", "Done", "Healthy", "Stable", "AsExpected"]
        .iter()
        .any(|done| ends_with(reason, done))
}

/// Conditions that hold at some times and not at others.
fn is_passing(kind: &str) -> bool {
    ["Running", "Active", "Enabled", "Started", "ScalingActive", "Serving"]
        .iter()
        .any(|passing| kind.eq_ignore_ascii_case(passing))
}

/// A word of the status with where it stands.
#[derive(Clone, Copy)]
struct Word<'a> {
    field: &'static str,
    text: &'a str,
    tone: Tone,
}

impl Word<'_> {
    fn health(&self, object: &Value) -> Health {
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
fn word(object: &Value) -> Option<Word<'_>> {
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

/// What a status tells a person outside its conditions.
pub(super) fn told(object: &Value) -> Option<&str> {
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
fn fallback(object: &Value) -> Health {
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
    for field in ["ready", "isReady", "available", "healthy", "readyToUse", "synced", "initialized", "provisioned"] {
        match status.get(field).and_then(yes_or_no) {
            Some(true) => return Health::healthy(),
            Some(false) => {
                let said = status.get(field).map(Value::to_string).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::health::HealthStatus::{self, Degraded, Healthy, Progressing, Suspended};
    use crate::health::core::tests::object;
    use crate::health::{Evidence, Health, assess, assess_with};

    fn judge(rest: &str) -> Health {
        assess(&object("example.com/v1", "Widget", rest))
    }

    #[rstest]
    #[case::nothing_but_a_spec("spec: {size: 3}", Healthy, "")]
    #[case::stored_without_status("metadata: {uid: u}", Progressing, "its controller has not written a status yet")]
    #[case::status_without_a_sign("status: {address: 192.0.2.1}", Healthy, "")]
    #[case::generation(
        "{metadata: {generation: 4}, status: {observedGeneration: 3, conditions: [{type: Ready, status: 'True'}]}}",
        Progressing,
        "its controller has not seen generation 4 yet (observed 3)"
    )]
    #[case::suspended(
        "{spec: {suspend: true}, status: {conditions: [{type: Ready, status: 'False', reason: Failed}]}}",
        Suspended,
        "spec.suspend is true"
    )]
    #[case::paused("spec: {paused: true}", Suspended, "spec.paused is true")]
    #[case::paused_by_annotation(
        "metadata: {annotations: {widgets.example.com/paused: 'true'}}",
        Suspended,
        "is paused by its annotation widgets.example.com/paused"
    )]
    #[case::paused_for_another_project("metadata: {annotations: {gitops.example.org/paused: 'true'}}", Healthy, "")]
    fn what_stands_beside_the_status_comes_first(
        #[case] rest: &str,
        #[case] status: HealthStatus,
        #[case] reason: &str,
    ) {
        assert_eq!(judge(rest), Health::new(status, reason));
    }

    #[rstest]
    #[case(Some(true), Progressing)]
    #[case(Some(false), Healthy)]
    #[case(None, Healthy)]
    fn discovery_tells_whether_a_status_is_to_come(
        #[case] status_subresource: Option<bool>,
        #[case] status: HealthStatus,
    ) {
        let evidence = Evidence { status_subresource, ..Evidence::default() };
        let widget = object("example.com/v1", "Widget", "spec: {size: 3}");
        assert_eq!(assess_with(&widget, &evidence).status, status);
    }

    #[rstest]
    #[case::ready("[{type: Ready, status: 'True'}]", Healthy, "")]
    #[case::ready_as_a_flag("[{type: Ready, status: true}]", Healthy, "")]
    #[case::ready_of_an_old_generation(
        "[{type: Ready, status: 'True', observedGeneration: 1}]",
        Progressing,
        "Ready is of generation 1, and its controller has not seen generation 2 yet"
    )]
    #[case::unknown("[{type: Ready, status: Unknown, message: looking}]", Progressing, "Ready is Unknown: looking")]
    #[case::failed(
        "[{type: Ready, status: 'False', reason: ApplyFailed, message: no rights}]",
        Degraded,
        "Ready is False: ApplyFailed: no rights"
    )]
    #[case::without_a_reason("[{type: Ready, status: 'False'}]", Degraded, "Ready is False")]
    #[case::on_its_way(
        "[{type: Ready, status: 'False', reason: Provisioning}]",
        Progressing,
        "Ready is False: Provisioning"
    )]
    #[case::waits_for_another(
        "[{type: Ready, status: 'False', reason: DependencyNotReady}]",
        Progressing,
        "Ready is False: DependencyNotReady"
    )]
    #[case::told_by_the_message(
        "[{type: Ready, status: 'False', reason: NotReady, message: waiting for the load balancer}]",
        Progressing,
        "Ready is False: NotReady: waiting for the load balancer"
    )]
    #[case::message_of_a_failure(
        "[{type: Ready, status: 'False', message: could not find the secret}]",
        Degraded,
        "Ready is False: could not find the secret"
    )]
    #[case::switched_off("[{type: Ready, status: 'False', reason: Suspended}]", Suspended, "Ready is False: Suspended")]
    #[case::severity_info(
        "[{type: Ready, status: 'False', reason: X, severity: Info}]",
        Progressing,
        "Ready is False: X"
    )]
    #[case::severity_error(
        "[{type: Ready, status: 'False', reason: Waiting, severity: Error}]",
        Degraded,
        "Ready is False: Waiting"
    )]
    #[case::stalled(
        "[{type: Ready, status: Unknown}, {type: Stalled, status: 'True', reason: BadSpec}]",
        Degraded,
        "Stalled is True: BadSpec"
    )]
    #[case::reconciling(
        "[{type: Ready, status: 'True'}, {type: Reconciling, status: 'True', reason: NewSpec}]",
        Progressing,
        "Reconciling is True: NewSpec"
    )]
    #[case::not_ready_but_working(
        "[{type: Ready, status: 'False'}, {type: Progressing, status: 'True'}]",
        Progressing,
        "Ready is False"
    )]
    #[case::degraded(
        "[{type: Available, status: 'True'}, {type: Degraded, status: 'True', reason: OneDown}]",
        Degraded,
        "Degraded is True: OneDown"
    )]
    #[case::not_degraded("[{type: Degraded, status: 'False'}]", Healthy, "")]
    #[case::rolled_out(
        "[{type: Available, status: 'True'}, {type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]",
        Healthy,
        ""
    )]
    #[case::rolling_out(
        "[{type: Available, status: 'True'}, {type: Progressing, status: 'True', reason: ReplicaSetUpdated}]",
        Progressing,
        "Progressing is True: ReplicaSetUpdated"
    )]
    #[case::progress_failed(
        "[{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]",
        Degraded,
        "Progressing is False: ProgressDeadlineExceeded"
    )]
    #[case::a_failure_by_another_name(
        "[{type: ReplicaFailure, status: 'True', reason: FailedCreate}]",
        Degraded,
        "ReplicaFailure is True: FailedCreate"
    )]
    #[case::paused("[{type: Paused, status: 'True'}]", Suspended, "Paused is True")]
    #[case::synced_and_not(
        "[{type: Ready, status: 'True'}, {type: Synced, status: 'False', reason: ReconcileError}]",
        Degraded,
        "Synced is False: ReconcileError"
    )]
    #[case::succeeded("[{type: Succeeded, status: 'True'}]", Healthy, "")]
    #[case::running(
        "[{type: Succeeded, status: Unknown, reason: Running}]",
        Progressing,
        "Succeeded is Unknown: Running"
    )]
    #[case::did_not_succeed(
        "[{type: Succeeded, status: 'False', reason: Failed}]",
        Degraded,
        "Succeeded is False: Failed"
    )]
    #[case::complete("[{type: Complete, status: 'True'}]", Healthy, "")]
    #[case::not_complete("[{type: Complete, status: 'False'}]", Progressing, "Complete is False")]
    #[case::another_word(
        "[{type: Available, status: Degraded, reason: SomePodsNotReady}]",
        Degraded,
        "Available is Degraded: SomePodsNotReady"
    )]
    #[case::turned_round(
        "[{type: NotReady, status: 'True', reason: Creating}]",
        Progressing,
        "Ready is False: Creating"
    )]
    #[case::only_unknown_types("[{type: Upgradeable, status: 'False'}]", Healthy, "")]
    fn conditions_are_read_by_type_status_and_reason(
        #[case] conditions: &str,
        #[case] status: HealthStatus,
        #[case] reason: &str,
    ) {
        let health = judge(&format!("{{metadata: {{generation: 2}}, status: {{conditions: {conditions}}}}}"));
        assert_eq!(health, Health::new(status, reason));
    }

    #[rstest]
    #[case("{phase: Running}", Healthy, "")]
    #[case("{state: active}", Healthy, "")]
    #[case("{health: green}", Healthy, "")]
    #[case("{health: {status: Progressing, message: rolling}}", Progressing, "health is Progressing")]
    #[case("{status: Pending}", Progressing, "status is Pending")]
    #[case("{phase: Failed, message: disk full}", Degraded, "phase is Failed: disk full")]
    #[case("{phase: Running, health: red}", Degraded, "health is red")]
    #[case("{state: STOPPED}", Suspended, "state is STOPPED")]
    #[case(
        "{phase: Ready, conditions: [{type: Available, status: 'False', reason: X}]}",
        Degraded,
        "Available is False: X"
    )]
    #[case("{phase: Provisioning, conditions: [{type: Ready, status: 'False'}]}", Progressing, "Ready is False")]
    #[case(
        "{phase: Error, conditions: [{type: Ready, status: 'False', reason: Reconciling}]}",
        Degraded,
        "phase is Error"
    )]
    #[case("{ready: true}", Healthy, "")]
    #[case("{ready: 'False'}", Progressing, "status.ready is False")]
    #[case("{ready: 1/3}", Progressing, "status.ready is 1/3")]
    #[case("{ready: 3/3}", Healthy, "")]
    #[case("{errors: [no such zone]}", Degraded, "no such zone")]
    #[case("{replicas: 1}", Progressing, "1 of 2 replicas there")]
    #[case("{phase: ImagePullBackOff}", Degraded, "phase is ImagePullBackOff")]
    #[case("{phase: ScaledToZero}", Suspended, "phase is ScaledToZero")]
    #[case("{phase: Bootstrap}", Progressing, "phase is Bootstrap")]
    #[case("{state: ROLLBACK_COMPLETE}", Degraded, "state is ROLLBACK_COMPLETE")]
    #[case("{ready: false}", Progressing, "status.ready is false")]
    #[case("{error: no such zone}", Degraded, "no such zone")]
    #[case("{readyReplicas: 1}", Progressing, "1 of 2 replicas ready")]
    #[case("{readyReplicas: 2}", Healthy, "")]
    #[case(
        "{parents: [{conditions: [{type: Accepted, status: 'False', reason: NotAllowedByListeners}]}]}",
        Degraded,
        "Accepted is False: NotAllowedByListeners"
    )]
    fn words_flags_and_counts_are_read_where_conditions_are_silent(
        #[case] status_field: &str,
        #[case] status: HealthStatus,
        #[case] reason: &str,
    ) {
        let health = judge(&format!("{{spec: {{replicas: 2}}, status: {status_field}}}"));
        assert_eq!(health, Health::new(status, reason));
    }
}
