//! Whether the next stage of a release may be opened.

use super::{Attempt, HookProgress, Stage, View};
use crate::{
    api::ObjectFailure,
    health::Health,
    manifest::ObjectId,
    plan::{Gate, schedule::HookRun},
};

/// What stands before the next stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opening {
    /// Nothing.
    Open,
    /// What is waited for, in words for a person.
    Waits(String),
    /// What was waited for came about and needs another plan: an object is
    /// gone and can be made anew, or one of an earlier stage was taken away.
    Anew,
    /// It will never be opened.
    Failed {
        /// Why.
        message: String,
        /// What failed.
        failures: Vec<ObjectFailure>,
    },
}

/// Looks at the gate of the next stage.
pub(super) fn opening(view: &View<'_>, attempt: &Attempt) -> Opening {
    let gate = attempt.gate.as_ref();
    if gate.is_open() {
        return Opening::Open;
    }
    if let Some(failed) = failed_hook(view, gate) {
        return failed;
    }
    if !view.live.settled {
        return Opening::Waits("the watches of its objects".to_owned());
    }
    if let Some(id) = gate.gone.iter().find(|id| view.live.deleting.contains(*id)) {
        return Opening::Waits(format!("{id} to be gone: {}", reason_of(view, id)));
    }
    if !gate.gone.is_empty() {
        return Opening::Anew;
    }
    if let Some(words) = running_hook(view, gate) {
        return Opening::Waits(words);
    }
    let concerns = |id: &ObjectId| gate.all_healthy || gate.healthy.contains(id);
    if view.live.gone.iter().chain(&view.live.drifted).any(concerns) {
        return match view.repair_not_before.filter(|time| *time > view.now) {
            None => Opening::Anew,
            Some(_) => Opening::Waits("what was taken away to be put back".to_owned()),
        };
    }
    match view.live.unhealthy.iter().find(|(id, _)| concerns(id) && !is_old_trouble(attempt, gate, id)) {
        Some((id, health)) => Opening::Waits(format!("{id}: {}", words_of(health))),
        None => Opening::Open,
    }
}

/// What a release that is running waits for, in words for a person: before its
/// next stage, or before its end.
pub fn waits_for(view: &View<'_>, attempt: &Attempt) -> Option<String> {
    match &attempt.stage {
        Stage::Planned { stages_left: 1.. } => match opening(view, attempt) {
            Opening::Waits(what) => Some(what),
            _ => None,
        },
        Stage::Planned { .. } | Stage::Applied => {
            let unhealthy = view.live.unhealthy.first().map(|(id, health)| format!("{id}: {}", words_of(health)));
            unhealthy.or_else(|| running_hook(view, &attempt.gate))
        }
        Stage::Unplanned | Stage::Retry { .. } | Stage::Failed { .. } => None,
    }
}

/// The hook that failed, if one did.
pub(super) fn failed_hook(view: &View<'_>, gate: &Gate) -> Option<Opening> {
    gate.hooks.iter().find_map(|run| match view.live.hooks.get(run) {
        Some(HookProgress::Failed(why)) => Some(Opening::Failed {
            message: hook_failed(run, why),
            failures: vec![ObjectFailure { object: run.id.to_string(), health: None, message: why.clone() }],
        }),
        _ => None,
    })
}

/// That a hook failed, in words for a person.
pub fn hook_failed(run: &HookRun, why: &str) -> String {
    // Health says the word already.
    let why = why.strip_prefix("failed: ").unwrap_or(why);
    format!("the {} hook {} failed: {why}", run.phase, run.id)
}

/// The first hook that has not ended, in words.
pub(super) fn running_hook(view: &View<'_>, gate: &Gate) -> Option<String> {
    let words = |run: &HookRun, why: &str| {
        let colon = if why.is_empty() { "" } else { ": " };
        format!("the {} hook {}{colon}{why}", run.phase, run.id)
    };
    gate.hooks.iter().find_map(|run| match view.live.hooks.get(run) {
        Some(HookProgress::Succeeded | HookProgress::Failed(_)) => None,
        Some(HookProgress::Running(why)) => Some(words(run, why)),
        None => Some(words(run, "")),
    })
}

/// Whether an object was unhealthy before and this release has nothing to do
/// with it: the fix for something else would wait for it in vain.
fn is_old_trouble(attempt: &Attempt, gate: &Gate, id: &ObjectId) -> bool {
    !gate.all_healthy && attempt.unhealthy_before.contains(id) && !attempt.changed.contains(id)
}

fn reason_of(view: &View<'_>, id: &ObjectId) -> String {
    let health = view.live.unhealthy.iter().find(|(other, _)| other == id);
    let words = health.map_or_else(|| "it is being deleted".to_owned(), |(_, health)| words_of(health));
    words.strip_prefix("is being deleted; ").map_or(words.clone(), |waits| format!("it {waits}"))
}

fn words_of(health: &Health) -> String {
    if health.reason.is_empty() { health.status.to_string() } else { health.reason.clone() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::sync::Arc;

    use rstest::rstest;

    use super::{
        super::{
            Decision,
            world::{Fate, World, web},
        },
        *,
    };
    use crate::{
        api::{Phase, RollbackVerdict},
        health::HealthStatus,
        manifest::GroupKind,
        plan::schedule::HookPhase,
    };

    fn migrate() -> HookRun {
        let id = ObjectId::new(GroupKind::new("batch", "Job"), Some("team".into()), "migrate");
        HookRun { phase: HookPhase::PreSync, id }
    }

    fn database() -> ObjectId {
        ObjectId::new(GroupKind::new("apps", "StatefulSet"), Some("team".into()), "database")
    }

    /// A release of which one stage is still to be opened.
    fn before_a_stage(gate: Gate) -> World {
        let mut world = World::new();
        world.push("a", Fate::Healthy).settle();
        world.push("b", Fate::Healthy);
        let begin = world.decide();
        world.carry_out(begin);
        let attempt = world.attempt.as_mut().unwrap();
        attempt.stage = Stage::Planned { stages_left: 1 };
        attempt.gate = Arc::new(gate);
        attempt.touched = true;
        world
    }

    fn on_database() -> Gate {
        Gate { healthy: [database()].into(), ..Gate::default() }
    }

    fn progressing(id: ObjectId) -> (ObjectId, Health) {
        (id, Health::new(HealthStatus::Progressing, "0 of 1 ready"))
    }

    #[test]
    fn a_stage_that_waits_for_nothing_is_opened_at_once() {
        assert_eq!(before_a_stage(Gate::default()).decide(), Decision::Apply);
    }

    #[test]
    fn a_wave_is_opened_by_the_health_of_the_one_before_and_by_nothing_else() {
        let mut world = before_a_stage(on_database());
        world.live.unhealthy = vec![progressing(database())];
        let deadline = world.now + world.settings.timeout;
        assert_eq!(world.decide(), Decision::Rest(Some(deadline)), "nothing sleeps or polls");
        world.live.unhealthy = vec![progressing(web())];
        assert_eq!(world.decide(), Decision::Apply, "what it does not wait for does not matter");
    }

    #[test]
    fn what_was_unhealthy_before_and_is_not_touched_holds_nothing_up() {
        let mut world = before_a_stage(on_database());
        world.live.unhealthy = vec![progressing(database())];
        world.attempt.as_mut().unwrap().unhealthy_before = [database()].into();
        assert_eq!(world.decide(), Decision::Apply);
        world.attempt.as_mut().unwrap().changed = [database()].into();
        assert!(matches!(world.decide(), Decision::Rest(_)), "unless the release changes it");
    }

    #[test]
    fn nothing_is_judged_before_the_watches_are_in_sync() {
        let mut world = before_a_stage(on_database());
        world.live.settled = false;
        assert!(matches!(world.decide(), Decision::Rest(_)));
    }

    #[test]
    fn a_stage_that_is_not_opened_in_time_fails_the_release_and_says_what_it_waited_for() {
        let mut world = before_a_stage(on_database());
        world.live.unhealthy = vec![progressing(database())];
        world.attempt.as_mut().unwrap().changed = [database()].into();
        world.pass(301);
        let Decision::End(end) = world.decide() else { panic!("it goes on: {:?}", world.decide()) };
        assert_eq!((end.phase, end.rollback), (Phase::Failed, RollbackVerdict::Automatic));
        assert_eq!(end.message, "not applied in 5m: it waits for StatefulSet team/database: 0 of 1 ready");
        assert_eq!(end.failures.len(), 1);
    }

    #[rstest]
    #[case::taken_away(true, false)]
    #[case::changed(false, true)]
    fn what_was_written_in_an_earlier_wave_and_taken_away_is_put_back(#[case] gone: bool, #[case] drifted: bool) {
        let mut world = before_a_stage(on_database());
        if gone {
            world.live.gone = [database()].into();
        }
        if drifted {
            world.live.drifted = [database()].into();
        }
        assert_eq!(world.decide(), Decision::Plan);
        world.repair_not_before = Some(world.now + jiff::SignedDuration::from_secs(2));
        assert_eq!(world.decide(), Decision::Rest(world.repair_not_before), "with a pause");
    }

    #[test]
    fn what_is_being_deleted_is_waited_for_and_then_planned_anew() {
        let mut world = before_a_stage(Gate { gone: [web()].into(), ..Gate::default() });
        world.live.deleting = [web()].into();
        assert!(matches!(world.decide(), Decision::Rest(Some(_))));
        world.live.deleting.clear();
        world.live.gone = [web()].into();
        assert_eq!(world.decide(), Decision::Plan);
    }

    #[rstest]
    #[case::not_begun(None, false)]
    #[case::running(Some(HookProgress::Running(String::new())), false)]
    #[case::succeeded(Some(HookProgress::Succeeded), true)]
    fn a_hook_opens_what_comes_after_it_when_it_succeeded(#[case] progress: Option<HookProgress>, #[case] opens: bool) {
        let mut world = before_a_stage(Gate { hooks: [migrate()].into(), ..Gate::default() });
        world.live.hooks = progress.into_iter().map(|progress| (migrate(), progress)).collect();
        assert_eq!(world.decide() == Decision::Apply, opens);
    }

    #[rstest]
    #[case::before_anything_was_written(false, RollbackVerdict::None)]
    #[case::after_the_sync(true, RollbackVerdict::Automatic)]
    fn a_hook_that_fails_ends_the_release_at_once(#[case] touched: bool, #[case] rollback: RollbackVerdict) {
        let mut world = before_a_stage(Gate { hooks: [migrate()].into(), ..Gate::default() });
        world.attempt.as_mut().unwrap().touched = touched;
        world.live.hooks = [(migrate(), HookProgress::Failed("exit code 1".into()))].into();
        let Decision::End(end) = world.decide() else { panic!("it goes on: {:?}", world.decide()) };
        assert_eq!((end.phase, end.rollback), (Phase::Failed, rollback));
        assert_eq!(end.message, "the PreSync hook Job team/migrate failed: exit code 1");
    }

    #[test]
    fn a_test_is_waited_for_and_takes_the_release_back_if_it_fails() {
        let smoke = HookRun { phase: HookPhase::Test, ..migrate() };
        let mut world = before_a_stage(Gate { hooks: [smoke.clone()].into(), ..Gate::default() });
        world.attempt.as_mut().unwrap().stage = Stage::Applied;
        world.live.hooks = [(smoke.clone(), HookProgress::Running(String::new()))].into();
        assert!(matches!(world.decide(), Decision::Rest(Some(_))), "all is healthy, and it is not done");
        world.live.hooks = [(smoke.clone(), HookProgress::Failed("exit code 1".into()))].into();
        let Decision::End(end) = world.decide() else { panic!("it goes on: {:?}", world.decide()) };
        assert_eq!((end.phase, end.rollback), (Phase::Failed, RollbackVerdict::Automatic));
        world.live.hooks = [(smoke, HookProgress::Succeeded)].into();
        let Decision::End(end) = world.decide() else { panic!("it goes on: {:?}", world.decide()) };
        assert_eq!(end.phase, Phase::Healthy);
    }

    #[test]
    fn a_newer_commit_takes_the_place_of_a_release_that_waits_for_a_wave() {
        let mut world = before_a_stage(on_database());
        world.live.unhealthy = vec![progressing(database())];
        world.push("c", Fate::Healthy);
        let Decision::End(end) = world.decide() else { panic!("it goes on: {:?}", world.decide()) };
        assert_eq!(end.phase, Phase::Superseded);
    }
}
