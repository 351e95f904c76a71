//! The conditions of a status, sorted by what they say.

use serde_json::Value;

use super::super::conditions::{self, Condition, Truth};
use super::super::fields;
use super::super::words::{self, Tone};

/// The conditions of a status, sorted by what they say.
#[derive(Default)]
pub(super) struct Found<'a> {
    /// `Ready`.
    pub(super) ready: Option<Condition<'a>>,
    /// The first that says that it failed.
    pub(super) failed: Option<Condition<'a>>,
    /// The first that says that it is paused.
    pub(super) asleep: Option<Condition<'a>>,
    /// The first that says that it is on its way.
    pub(super) busy: Option<Condition<'a>>,
    /// Those that should hold.
    pub(super) positives: Vec<Condition<'a>>,
    /// The first of a type that says nothing, which does not hold because of a
    /// failure.
    pub(super) unnamed: Option<Condition<'a>>,
    /// A condition that should not hold does not.
    pub(super) calm: bool,
}

impl<'a> Found<'a> {
    pub(super) fn in_status(object: &'a Value) -> Self {
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
            // Over, and not well: `Completed` with the reason `Failed`.
            Some(Tone::Good)
                if is_end(condition.kind)
                    && condition.holds()
                    && words::reason(condition.reason) == Some(Tone::Bad) =>
            {
                self.failed = self.failed.or(Some(condition));
            }
            // These go to false in the course of a healthy life.
            Some(Tone::Good) if is_passing(condition.kind) => self.calm |= condition.holds(),
            Some(Tone::Good) => self.positives.push(condition),
            None if condition.is("ResolvedRefs") || condition.is("RefsResolved") => self.positives.push(condition),
            Some(Tone::Waiting) | None => {
                if condition.fails() && words::reason(condition.reason) == Some(Tone::Bad) {
                    self.unnamed = self.unnamed.or(Some(condition));
                }
            }
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
        || ["InProgress", "Progressing", "Reconciling", "Updating", "Upgrading"]
            .iter()
            .any(|busy| ends_with(kind, busy))
}

/// A `Progressing` that stays true once the work is done, as a Deployment
/// writes it.
fn is_done(reason: &str) -> bool {
    ["Available", "Complete", "Completed", "Succeeded", "Ready", "Finished", "Done", "Healthy", "Stable", "AsExpected"]
        .iter()
        .any(|done| ends_with(reason, done))
}

/// Conditions that hold at some times and not at others: an activity, a
/// switch, an offer.
fn is_passing(kind: &str) -> bool {
    let offers = ["Enabled", "UpdateAvailable", "UpdatesAvailable", "UpgradeAvailable", "VersionAvailable"];
    offers.iter().any(|offer| ends_with(kind, offer))
        || ["Running", "Active", "Enabled", "Started", "ScalingActive", "Serving"]
            .iter()
            .any(|passing| kind.eq_ignore_ascii_case(passing))
}

/// Conditions that hold once the work is over, however it went.
fn is_end(kind: &str) -> bool {
    ["Complete", "Completed", "Finished", "Done"].iter().any(|end| ends_with(kind, end))
}

/// Whether a condition of this type is false for every object at first, so
/// that false alone is no failure.
pub(super) fn comes_later(kind: &str) -> bool {
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
pub(super) fn tone_of_failing(condition: &Condition<'_>) -> Option<Tone> {
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
pub(super) fn truth(condition: &Condition<'_>) -> Truth {
    match condition.truth {
        Truth::Unknown => match words::phase(condition.said) {
            Some(Tone::Bad | Tone::Asleep) => Truth::False,
            Some(Tone::Good) => Truth::True,
            _ => Truth::Unknown,
        },
        known => known,
    }
}
