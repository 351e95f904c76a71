//! The release that is running: plan, apply, wait, end.

use jiff::Timestamp;

use super::{
    Attempt, BrakeView, Decision, End, Stage, View, is_refused_before, is_rejected,
    opening::{Opening, failed_hook, opening, running_hook},
};
use crate::{
    api::{Cause, ObjectFailure, Phase, Release, RollbackVerdict, SyncMode},
    health::{Health, HealthStatus},
    manifest::ObjectId,
};

/// How many failures an outcome names.
const FAILURES_NAMED: usize = 20;

/// The next thing to do for the release that is running.
pub(super) fn decide(view: &View<'_>, running: &Release) -> Decision {
    let number = running.spec.number;
    if let Some(commit) = newer_content(view, running) {
        return make_way(view, number, format!("commit {commit} took its place"));
    }
    if view.settings.observe_only {
        return Decision::Rest(None);
    }
    let Some(attempt) = view.attempt.filter(|attempt| attempt.release == number) else {
        return if view.live.settled { Decision::Plan } else { Decision::Rest(None) };
    };
    let elapsed = attempt.elapsed(view.now);
    let late = elapsed >= view.settings.timeout;
    match &attempt.stage {
        Stage::Unplanned if late => {
            let timeout = short_duration(view);
            fail(view, running, attempt, format!("not applied in {timeout}"), Vec::new(), Blame::Objects)
        }
        // What the watches have not told yet cannot be planned for: drift would
        // be taken for what was applied.
        Stage::Unplanned if !view.live.settled => Decision::Rest(Some(deadline(view, attempt))),
        Stage::Unplanned => Decision::Plan,
        Stage::Retry { message, .. } if late => {
            let timeout = short_duration(view);
            fail(view, running, attempt, format!("not applied in {timeout}: {message}"), Vec::new(), Blame::Objects)
        }
        Stage::Retry { at, .. } if *at > view.now => Decision::Rest(Some((*at).min(deadline(view, attempt)))),
        Stage::Retry { .. } => Decision::Plan,
        Stage::Planned { stages_left: 0 } | Stage::Applied => wait(view, running, attempt, late),
        Stage::Planned { .. } => open(view, running, attempt, late),
        Stage::Failed { message, failures } => {
            fail(view, running, attempt, message.clone(), failures.clone(), Blame::Release)
        }
    }
}

/// Opens the next stage when what it waits for is so.
fn open(view: &View<'_>, running: &Release, attempt: &Attempt, late: bool) -> Decision {
    match opening(view, attempt) {
        Opening::Failed { message, failures } => fail(view, running, attempt, message, failures, Blame::Release),
        Opening::Waits(what) if late => {
            let timeout = short_duration(view);
            let message = format!("not applied in {timeout}: it waits for {what}");
            fail(view, running, attempt, message, unhealthy_failures(view), Blame::Objects)
        }
        _ if late => {
            let timeout = short_duration(view);
            fail(view, running, attempt, format!("not applied in {timeout}"), Vec::new(), Blame::Objects)
        }
        Opening::Open => Decision::Apply,
        Opening::Anew => Decision::Plan,
        Opening::Waits(_) => {
            let again = view.repair_not_before.filter(|time| *time > view.now);
            let end = attempt.counting_since.map(|_| deadline(view, attempt));
            Decision::Rest([again, end].into_iter().flatten().min())
        }
    }
}

/// The commit whose content takes the place of the running release, if there
/// is one: Git asks for something else that may go ahead.
fn newer_content(view: &View<'_>, running: &Release) -> Option<String> {
    let super::HeadView::Rendered { content, guards, .. } = view.head else { return None };
    let may_go_ahead = view.settings.mode == SyncMode::Automatic
        && !view.suspended
        && !view.settings.observe_only
        && view.dependencies.are_met()
        && guards.is_empty()
        && content.bundle != running.spec.bundle
        && !is_rejected(view, content)
        && !is_refused_before(view, content);
    // A person's rollback is not swept away by what Git said before it.
    let asked_after = !matches!(running.spec.cause, Cause::Rollback | Cause::AutomaticRollback)
        || !view
            .history
            .iter()
            .any(|release| release.spec.bundle == content.bundle || release.spec.inputs == content.inputs);
    (may_go_ahead && asked_after).then(|| content.commit.short.clone())
}

/// Ends a release because something newer takes its place: as Healthy, if
/// nobody has said so yet and it is.
pub(super) fn make_way(view: &View<'_>, release: u64, message: String) -> Decision {
    let applied = view.attempt.is_some_and(|attempt| attempt.release == release && is_applied(attempt));
    let live = view.live;
    let differs = !live.gone.is_empty() || !live.drifted.is_empty();
    if applied && live.settled && !differs && live.unhealthy.is_empty() {
        return healthy(release);
    }
    Decision::End(End {
        release,
        phase: Phase::Superseded,
        message,
        failures: Vec::new(),
        rollback: RollbackVerdict::None,
    })
}

fn is_applied(attempt: &Attempt) -> bool {
    matches!(attempt.stage, Stage::Applied | Stage::Planned { stages_left: 0 })
}

fn healthy(release: u64) -> Decision {
    Decision::End(End {
        release,
        phase: Phase::Healthy,
        message: String::new(),
        failures: Vec::new(),
        rollback: RollbackVerdict::None,
    })
}

fn wait(view: &View<'_>, running: &Release, attempt: &Attempt, late: bool) -> Decision {
    if !view.live.settled {
        return Decision::Rest(None);
    }
    let differs = !view.live.gone.is_empty() || !view.live.drifted.is_empty();
    if differs && !late {
        // Somebody took away or changed what was just applied: what is missing
        // is planned and applied again, as a repair would, but with a pause.
        match view.repair_not_before.filter(|time| *time > view.now) {
            None => return Decision::Plan,
            Some(time) => return Decision::Rest(Some(time.min(deadline(view, attempt)))),
        }
    }
    if let Some(Opening::Failed { message, failures }) = failed_hook(view, &attempt.gate) {
        return fail(view, running, attempt, message, failures, Blame::Release);
    }
    let hook = running_hook(view, &attempt.gate);
    if view.live.unhealthy.is_empty() && view.live.gone.is_empty() && hook.is_none() {
        return healthy(running.spec.number);
    }
    if !late {
        return Decision::Rest(attempt.counting_since.map(|_| deadline(view, attempt)));
    }
    let timeout = short_duration(view);
    let first = view.live.unhealthy.first();
    let more = view.live.unhealthy.len().saturating_sub(1);
    let culprit = match first {
        Some((id, health)) if health.reason.is_empty() => format!("{id} is {}", health.status),
        Some((id, health)) => format!("{id}: {}", health.reason),
        None if hook.is_some() => {
            let message = format!("not done in {timeout}: it waits for {}", hook.unwrap_or_default());
            return fail(view, running, attempt, message, Vec::new(), Blame::Release);
        }
        None => view.live.gone.first().map_or_else(String::new, |id| format!("{id} is gone")),
    };
    let others = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    let message = format!("not healthy in {timeout}: {culprit}{others}");
    fail(view, running, attempt, message, unhealthy_failures(view), Blame::Objects)
}

fn unhealthy_failures(view: &View<'_>) -> Vec<ObjectFailure> {
    let gone = view.live.gone.iter().map(|id| ObjectFailure {
        object: id.to_string(),
        health: Some(HealthStatus::Missing),
        message: "is gone".to_owned(),
    });
    view.live.unhealthy.iter().map(failure).chain(gone).take(FAILURES_NAMED).collect()
}

/// What made a release fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The health of its objects, which it may have found as it is.
    Objects,
    /// It alone: its writes, its hooks, its tests.
    Release,
}

/// Ends a release as Failed and says whether it is taken back.
fn fail(
    view: &View<'_>,
    running: &Release,
    attempt: &Attempt,
    message: String,
    failures: Vec<ObjectFailure>,
    blame: Blame,
) -> Decision {
    let applied = matches!(attempt.stage, Stage::Applied | Stage::Planned { .. });
    let deeds = Deeds {
        touched: attempt.touched,
        own: !applied || view.live.unhealthy.iter().any(|(id, _)| is_own_doing(attempt, id)),
        irreversible: attempt.irreversible.as_deref(),
        blame,
    };
    let (rollback, why) = verdict(view, running, &deeds);
    if let Some(first) = listen(view, rollback) {
        return first;
    }
    let message = if why.is_empty() { message } else { format!("{message}; {why}") };
    Decision::End(End { release: running.spec.number, phase: Phase::Failed, message, failures, rollback })
}

/// What is to be done before a verdict stands: what would go back listens for a
/// moment whether others break too.
pub(super) fn listen(view: &View<'_>, verdict: RollbackVerdict) -> Option<Decision> {
    match view.brake {
        _ if verdict != RollbackVerdict::Automatic => None,
        BrakeView::Untold => Some(Decision::TellBrake),
        BrakeView::Listens(until) => Some(Decision::Rest(Some(until))),
        BrakeView::Off | BrakeView::Pulled => None,
    }
}

/// What a release did, as far as that tells whether it may be taken back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deeds<'a> {
    /// Whether it wrote anything.
    pub(super) touched: bool,
    /// Whether an object that it changed is unhealthy, and was not before.
    pub(super) own: bool,
    /// Why going back by itself is not safe, if it is not.
    pub(super) irreversible: Option<&'a str>,
    /// What made it fail.
    pub(super) blame: Blame,
}

/// Whether a release that broke goes back by itself, and what to tell a person
/// if it does not though one might expect it.
pub(super) fn verdict(view: &View<'_>, broke: &Release, deeds: &Deeds<'_>) -> (RollbackVerdict, String) {
    let application = &broke.spec.application;
    let person = |why: &str| {
        (RollbackVerdict::Person, format!("{why}, so going back is left to a person: bowline rollback {application}"))
    };
    if !deeds.touched {
        return (RollbackVerdict::None, String::new());
    }
    match broke.spec.cause {
        Cause::AutomaticRollback => return person("the rollback failed too"),
        Cause::Rollback => return person("this is a rollback itself"),
        Cause::Push | Cause::Request => {}
    }
    if !view.settings.automatic_rollback {
        return person("automatic rollback is off");
    }
    let Some(_) = view.history.rollback_target(broke.spec.number) else {
        return (RollbackVerdict::None, "there is no earlier healthy release to go back to".to_owned());
    };
    if let Some(why) = deeds.irreversible {
        return person(why);
    }
    if view.brake == BrakeView::Pulled {
        return person("many applications broke at once, which points at the cluster");
    }
    if deeds.blame == Blame::Objects && !deeds.own {
        return person("nothing that this release changed is unhealthy");
    }
    (RollbackVerdict::Automatic, String::new())
}

/// Whether an unhealthy object is the release's doing.
fn is_own_doing(attempt: &Attempt, id: &ObjectId) -> bool {
    attempt.changed.contains(id) && !attempt.unhealthy_before.contains(id)
}

pub(super) fn failure((id, health): &(ObjectId, Health)) -> ObjectFailure {
    let message = if health.reason.is_empty() { health.status.to_string() } else { health.reason.clone() };
    ObjectFailure {
        object: id.to_string(),
        health: Some(health.status).filter(|status| *status != HealthStatus::Healthy),
        message,
    }
}

fn deadline(view: &View<'_>, attempt: &Attempt) -> Timestamp {
    view.now + (view.settings.timeout - attempt.elapsed(view.now))
}

fn short_duration(view: &View<'_>) -> String {
    let milliseconds = u64::try_from(view.settings.timeout.as_millis()).unwrap_or(u64::MAX);
    super::super::words::duration(std::time::Duration::from_millis(milliseconds))
}
