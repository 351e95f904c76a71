//! `decide`: the whole behaviour of an application as one pure function.
//!
//! It looks at what is known and says the one next thing to do. The actor does
//! it, which changes what is known, and asks again; when nothing is to be done
//! it rests until an event or until the time that `decide` names.

mod dependencies;
mod opening;
mod requests;
mod running;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_waiting;
mod view;
mod watch;
#[cfg(test)]
mod world;

use jiff::{SignedDuration, Timestamp};

pub use dependencies::{Dependencies, Dependency, Unready, circle};
pub use opening::{hook_failed, waits_for};
pub use view::{
    Ask, Attempt, BrakeView, ContentId, HeadView, HookProgress, Live, Request, Resolution, Settings, Stage, View,
};
pub use watch::{Watched, goes_back_at};

use crate::api::{Cause, DriftPolicy, ObjectFailure, Phase, RollbackVerdict, SyncMode};

/// Where the content of a release comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// What Git asks for.
    Head,
    /// What an earlier release had, from the cluster.
    Release(u64),
}

/// A release to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// Why.
    pub cause: Cause,
    /// Its content.
    pub content: Content,
    /// uid of the request that asks for it.
    pub request: Option<String>,
    /// Whether rejected content is let in.
    pub accepts: bool,
    /// What went wrong, for an automatic rollback.
    pub reason: String,
}

/// How a release ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Number of the release.
    pub release: u64,
    /// Healthy, Failed or Superseded.
    pub phase: Phase,
    /// Why, for a person.
    pub message: String,
    /// The objects that failed.
    pub failures: Vec<ObjectFailure>,
    /// Whether it is taken back by itself.
    pub rollback: RollbackVerdict,
}

/// How a request ends, or goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// uid of the request.
    pub request: String,
    /// Where it is now.
    pub phase: crate::api::RequestPhase,
    /// Why, for a person.
    pub message: String,
    /// The release that it made.
    pub release: Option<u64>,
}

/// The one next thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing, until an event or this time.
    Rest(Option<Timestamp>),
    /// Look at the repository for a person who asks for a sync, and make the
    /// revision that is asked for the head.
    Look {
        /// uid of the request.
        request: String,
    },
    /// Tell a person what became of a request.
    Answer(Answer),
    /// Make the plan that a dry run asks for and leave it in its status.
    DryRun {
        /// uid of the request.
        request: String,
        /// The content to plan.
        content: Content,
    },
    /// Begin a release.
    Begin(Begin),
    /// Plan the release that is running.
    Plan,
    /// Apply the next stage of its plan.
    Apply,
    /// Tell the brake on rollbacks that the application breaks: others may
    /// break in the same moment, and then none goes back by itself.
    TellBrake,
    /// End it.
    End(End),
    /// Look whether content that was refused would go through by now, without
    /// a release: somebody may have put right outside of Git what it was
    /// refused for.
    TryAgain,
    /// Put drifted objects back.
    Repair,
    /// Note that the healthy release degraded later.
    NoteDegraded {
        /// Number of the release.
        release: u64,
        /// What degraded, for a person.
        message: String,
        /// Whether it is taken back by itself.
        rollback: RollbackVerdict,
        /// Whether the analysis said so, and not the health of objects.
        by_analysis: bool,
    },
}

/// How long a rollback waits that the brake holds up before it looks again.
const BRAKE_PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// Says the one next thing to do.
pub fn decide(view: &View<'_>) -> Decision {
    if let Some(decision) = requests::answer(view) {
        return decision;
    }
    if let Some(running) = view.history.running() {
        return running::decide(view, running);
    }
    if let Some(begin) = automatic_rollback(view) {
        return Decision::Begin(begin);
    }
    if let Some(begin) = new_content(view) {
        return Decision::Begin(begin);
    }
    // Before repairs: an object that somebody took out of the way of what Git
    // asks for is not to be put back first.
    if view.try_again_at.is_some_and(|due| due <= view.now) && may_try_again(view) {
        return Decision::TryAgain;
    }
    if let Some(decision) = keep(view) {
        return decision;
    }
    Decision::Rest(wake_at(view))
}

/// The rollback of a release that ended so, if the last one did.
fn automatic_rollback(view: &View<'_>) -> Option<Begin> {
    // The brake may have been pulled since the release ended.
    if view.brake == BrakeView::Pulled {
        return None;
    }
    pending_rollback(view)
}

fn pending_rollback(view: &View<'_>) -> Option<Begin> {
    if view.inherits {
        return None;
    }
    if view.suspended || view.settings.observe_only {
        return None;
    }
    let newest = view.history.current()?;
    let status = newest.status.as_ref()?;
    let outcome = status.outcome.as_ref()?;
    let reason = match status.after.as_ref() {
        _ if outcome.rollback == RollbackVerdict::Automatic => &outcome.message,
        // What is healthy again is left as it is.
        Some(after)
            if after.rollback == Some(RollbackVerdict::Automatic)
                && (after.by_analysis || view.degraded_since.is_some()) =>
        {
            &after.degraded
        }
        _ => return None,
    };
    // Fixed content that is already here goes ahead of going back.
    if new_content(view).is_some() {
        return None;
    }
    let target = view.history.rollback_target(newest.spec.number)?;
    if view.unusable_target == Some(target.spec.number) {
        return None;
    }
    Some(Begin {
        cause: Cause::AutomaticRollback,
        content: Content::Release(target.spec.number),
        request: None,
        accepts: false,
        reason: reason.clone(),
    })
}

/// The release of what Git asks for, if it is new and may go ahead by itself.
fn new_content(view: &View<'_>) -> Option<Begin> {
    if view.suspended || view.settings.observe_only || view.settings.mode == SyncMode::Manual || is_live(view) {
        return None;
    }
    if !view.dependencies.are_met() {
        return None;
    }
    let HeadView::Rendered { content, guards, .. } = view.head else { return None };
    if !guards.is_empty() || is_rejected(view, content) || is_refused_before(view, content) {
        return None;
    }
    Some(Begin { cause: Cause::Push, content: Content::Head, request: None, accepts: false, reason: String::new() })
}

/// Whether the cluster has been brought what Git asks for.
pub(super) fn is_live(view: &View<'_>) -> bool {
    if view.inherits {
        return false;
    }
    let (Some(content), Some(live)) = (view.head.content(), view.history.applied()) else { return false };
    let outcome = live.status.as_ref().and_then(|status| status.outcome.as_ref());
    live.spec.bundle == content.bundle && outcome.is_some_and(|outcome| outcome.phase == Phase::Healthy)
}

/// Whether content stays out because it was taken back.
pub(super) fn is_rejected(view: &View<'_>, content: &ContentId) -> bool {
    view.history.rejection_of(&content.bundle, &content.inputs).is_some()
}

/// Whether the newest release failed with this content and nothing has changed
/// since, so that another try would fail alike.
pub(super) fn is_refused_before(view: &View<'_>, content: &ContentId) -> bool {
    !view.inherits
        && !view.offered
        && view.lifted != Some(&content.bundle)
        && view
            .history
            .refused_before(&content.bundle)
            .is_some_and(|release| release.spec.generation >= view.settings.generation)
}

/// Whether what Git asks for was refused and may go through later without a
/// commit: a right may be granted, a quota raised, an object moved out of the
/// way. What broke half-way, or was applied and never got healthy, would only
/// do so again: that is left to a person.
pub(super) fn may_try_again(view: &View<'_>) -> bool {
    if view.suspended || view.settings.observe_only || view.settings.mode == SyncMode::Manual {
        return false;
    }
    let HeadView::Rendered { content, guards, .. } = view.head else { return false };
    let refused = || {
        let status = view.history.current()?.status.as_ref()?;
        let outcome = status.outcome.as_ref()?;
        // A hook that failed would be run again, and nothing outside tells that
        // it would succeed.
        let hooks = status.hooks.iter().all(|hook| hook.succeeded);
        Some(hooks && !outcome.touched_cluster && outcome.failures.iter().all(|failure| failure.health.is_none()))
    };
    guards.is_empty()
        && view.dependencies.are_met()
        && !is_rejected(view, content)
        && is_refused_before(view, content)
        && refused().unwrap_or(false)
}

/// What keeps the live release as it is: repairs, and a note when it degrades.
fn keep(view: &View<'_>) -> Option<Decision> {
    if view.inherits {
        return None;
    }
    let live = view.history.applied()?;
    let healthy = live.status.as_ref()?.outcome.as_ref()?.phase == Phase::Healthy;
    let has_drift = !view.live.drifted.is_empty() || !view.live.gone.is_empty();
    let may_repair = view.live.settled
        && healthy
        && !view.suspended
        && !view.settings.observe_only
        && view.settings.drift == DriftPolicy::Repair
        && view.repair_not_before.is_none_or(|time| time <= view.now);
    if has_drift && may_repair {
        return Some(Decision::Repair);
    }
    watch::degraded(view, live)
}

/// When to look again though no event comes.
fn wake_at(view: &View<'_>) -> Option<Timestamp> {
    let expiry = view.requests.iter().map(|request| request.created_at + view.settings.request_expiry).min();
    let has_drift = !view.live.drifted.is_empty() || !view.live.gone.is_empty();
    let repair = view.repair_not_before.filter(|_| has_drift);
    let degraded = view.degraded_since.map(|since| since + view.settings.timeout);
    let again = view.try_again_at.filter(|_| may_try_again(view));
    // No event tells that the brake is released.
    let brake = (view.brake == BrakeView::Pulled && pending_rollback(view).is_some()).then(|| view.now + BRAKE_PAUSE);
    [expiry, repair, degraded, again, brake, view.suspended_until]
        .into_iter()
        .flatten()
        .filter(|time| *time > view.now)
        .min()
}
