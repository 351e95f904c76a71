//! The behaviour of an application, told as stories.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rstest::rstest;

use super::{
    BrakeView, Decision,
    world::{Fate, World, bundle, web},
};
use crate::{
    api::{Cause, DriftPolicy, Phase, RequestPhase, SyncMode},
    history::same_content,
    plan::{Refusal, RefusalReason},
};

#[test]
fn a_push_becomes_a_healthy_release_and_then_nothing_is_done() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    assert_eq!(world.story(), "1 a Push Healthy");
    assert_eq!(world.decide(), Decision::Rest(None));
}

#[test]
fn the_same_content_by_another_commit_makes_no_release() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("a", Fate::Healthy).settle();
    assert_eq!(world.story(), "1 a Push Healthy");
}

#[test]
fn a_release_that_never_gets_healthy_is_taken_back_and_stays_out() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    let until = world.push("b", Fate::Hangs).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push running");
    assert_eq!(until, Some(world.now + world.settings.timeout), "it waits for an event or for the deadline");
    world.pass(301).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Failed; 3 a AutomaticRollback Healthy");
    world.pass(3_600).settle();
    world.restart().settle();
    assert_eq!(world.history.releases().len(), 3, "it stays out");
    world.push("c", Fate::Healthy).settle();
    assert!(world.story().ends_with("4 c Push Healthy"), "{}", world.story());
    world.push("b", Fate::Hangs).settle();
    assert!(world.story().ends_with("4 c Push Healthy"), "also by a revert of the revert: {}", world.story());
}

#[test]
fn a_newer_commit_supersedes_a_release_that_waits() {
    let mut world = World::new();
    world.push("a", Fate::Hangs).settle();
    world.push("b", Fate::Healthy).settle();
    assert_eq!(world.story(), "1 a Push Superseded; 2 b Push Healthy");
}

#[test]
fn a_newer_commit_supersedes_a_release_between_two_tries() {
    let mut world = World::new();
    world.push("a", Fate::Unanswered).settle();
    world.push("b", Fate::Healthy).settle();
    assert_eq!(world.story(), "1 a Push Superseded; 2 b Push Healthy");
}

#[test]
fn a_failure_before_the_first_write_only_ends_the_release_and_is_not_tried_again() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Refused).settle();
    world.pass(3_600).settle();
    world.restart().settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Failed");
    world.settings.generation += 1;
    world.settle();
    assert_eq!(
        world.story(),
        "1 a Push Healthy; 2 b Push Failed; 3 b Push Failed",
        "a change of the Application is a new try"
    );
}

#[test]
fn a_failure_half_way_is_taken_back() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Breaks).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Failed; 3 a AutomaticRollback Healthy");
}

#[test]
fn the_first_release_has_nothing_to_go_back_to() {
    let mut world = World::new();
    world.push("a", Fate::Hangs).settle();
    world.pass(301).settle();
    world.pass(3_600).settle();
    assert_eq!(world.story(), "1 a Push Failed");
}

#[test]
fn a_rollback_that_fails_too_is_left_to_a_person() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.fates.clear();
    world.push("b", Fate::Hangs).settle();
    world.fates.push((bundle("a"), Fate::Hangs));
    world.pass(301).settle();
    world.pass(301).settle();
    world.pass(3_600).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Failed; 3 a AutomaticRollback Failed");
}

#[rstest]
#[case::switched_off(|world: &mut World| world.settings.automatic_rollback = false, "automatic rollback is off")]
#[case::many_at_once(|world: &mut World| world.brake = BrakeView::Pulled, "many applications broke at once")]
#[case::irreversible(|world: &mut World| world.attempt.as_mut().unwrap().irreversible = Some("it changed a claim".into()), "it changed a claim")]
#[case::not_its_own_doing(|world: &mut World| { world.attempt.as_mut().unwrap().unhealthy_before.insert(web()); }, "nothing that this release changed is unhealthy")]
fn what_is_not_safe_is_left_to_a_person(#[case] prepare: fn(&mut World), #[case] why: &str) {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Hangs).settle();
    prepare(&mut world);
    world.pass(301).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Failed");
    let message = &world.history.current().unwrap().status.as_ref().unwrap().outcome.as_ref().unwrap().message;
    assert!(message.contains(why) && message.contains("bowline rollback shop"), "{message}");
}

#[test]
fn a_rollback_works_while_automatic_sync_is_on_and_holds() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Healthy).settle();
    world.ask("r", World::rollback(2, None)).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Healthy; 3 a Rollback Healthy");
    assert_eq!(world.answers.last().map(|answer| answer.phase), Some(RequestPhase::Succeeded));
    for _ in 0..10 {
        world.pass(60).settle();
    }
    assert_eq!(world.history.releases().len(), 3);
}

#[test]
fn a_rollback_to_an_older_release_rejects_what_lies_between() {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.push(name, Fate::Healthy).settle();
    }
    world.ask("r", World::rollback(3, Some(1))).settle();
    world.push("b", Fate::Healthy).settle();
    assert_eq!(world.history.releases().len(), 4, "{}", world.story());
}

#[test]
fn a_rollback_is_allowed_while_suspended_and_new_content_is_not() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Healthy).settle();
    world.suspended = true;
    world.push("c", Fate::Healthy).settle();
    assert_eq!(world.history.releases().len(), 2);
    world.ask("r", World::rollback(2, None)).settle();
    assert!(world.story().ends_with("3 a Rollback Healthy"), "{}", world.story());
    world.suspended = false;
    world.settle();
    assert!(world.story().ends_with("4 c Push Healthy"), "{}", world.story());
}

#[test]
fn a_rollback_supersedes_a_release_that_hangs() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Hangs).settle();
    world.ask("r", World::rollback(2, None)).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Superseded; 3 a Rollback Healthy");
}

#[test]
fn a_rollback_from_a_release_that_is_no_longer_current_is_refused() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Healthy).settle();
    world.ask("r", World::rollback(1, None)).settle();
    assert_eq!(world.history.releases().len(), 2);
    let answer = world.answers.last().unwrap();
    assert_eq!(answer.phase, RequestPhase::Refused);
    assert!(answer.message.contains("release 2 is"), "{}", answer.message);
}

#[test]
fn an_accept_lets_rejected_content_in_and_only_the_content_it_names() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Healthy).settle();
    world.ask("r", World::rollback(2, None)).settle();
    world.ask("s1", World::sync(None)).settle();
    assert_eq!(world.answers.last().unwrap().phase, RequestPhase::Refused, "a sync without an accept");
    world.ask("s2", World::sync(Some("x"))).settle();
    assert_eq!(world.answers.last().unwrap().phase, RequestPhase::Refused, "an accept of something else");
    world.ask("s3", World::sync(Some("b"))).settle();
    assert!(world.story().ends_with("4 b Request Healthy"), "{}", world.story());
    world.pass(60).settle();
    world.push("c", Fate::Healthy).settle();
    world.push("b", Fate::Healthy).settle();
    assert!(world.story().ends_with("6 b Push Healthy"), "the accept outranks from then on: {}", world.story());
}

#[test]
fn a_sync_of_what_is_on_its_way_ends_with_it_and_does_not_try_it_again() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Hangs).settle();
    world.ask("s", World::sync(None)).settle();
    assert_eq!(world.answers.last().unwrap().phase, RequestPhase::Running);
    world.pass(301).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Failed; 3 a AutomaticRollback Healthy");
    assert_eq!(world.answers.last().unwrap().phase, RequestPhase::Failed);
}

#[test]
fn a_sync_after_a_failure_tries_again() {
    let mut world = World::new();
    world.push("a", Fate::Refused).settle();
    world.ask("s", World::sync(None)).settle();
    assert_eq!(world.story(), "1 a Push Failed; 2 a Request Failed");
}

#[test]
fn an_application_made_again_under_its_name_is_applied_anew() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.inherits = true;
    world.settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 a Push Healthy");
    world.settle();
    assert_eq!(world.history.releases().len(), 2);
}

#[test]
fn a_request_expires() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.head = super::HeadView::Unknown;
    let until = world.ask("s", World::sync(None)).settle();
    assert_eq!(until, Some(world.now + world.settings.request_expiry));
    world.pass(601).settle();
    assert_eq!(world.answers.last().unwrap().phase, RequestPhase::Refused);
}

#[test]
fn a_request_is_carried_out_once_though_it_is_seen_again() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Healthy).settle();
    world.ask("r", World::rollback(2, None));
    let seen = world.requests.clone();
    world.settle();
    world.requests = seen;
    world.restart().settle();
    assert_eq!(world.history.releases().len(), 3, "{}", world.story());
}

#[test]
fn manual_mode_waits_for_a_person_and_still_repairs_and_goes_back() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.settings.mode = SyncMode::Manual;
    world.push("b", Fate::Hangs).settle();
    assert_eq!(world.history.releases().len(), 1);
    world.live.drifted.insert(web());
    world.settle();
    assert_eq!(world.repairs, 1);
    world.ask("s", World::sync(None)).settle();
    assert!(world.story().ends_with("2 b Request running"), "{}", world.story());
    world.pass(301).settle();
    assert!(world.story().ends_with("3 a AutomaticRollback Healthy"), "{}", world.story());
}

#[rstest]
#[case::reported_only(|world: &mut World| world.settings.drift = DriftPolicy::Report)]
#[case::suspended(|world: &mut World| world.suspended = true)]
#[case::observe_only(|world: &mut World| world.settings.observe_only = true)]
#[case::watches_not_in_sync(|world: &mut World| world.live.settled = false)]
fn drift_is_left_alone_when(#[case] prepare: fn(&mut World)) {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    prepare(&mut world);
    world.live.gone.insert(web());
    world.settle();
    assert_eq!(world.repairs, 0);
}

#[test]
fn what_is_taken_away_while_a_release_waits_is_applied_again_and_not_in_a_hurry() {
    let mut world = World::new();
    world.push("a", Fate::Hangs).settle();
    world.live.gone.insert(web());
    world.settle();
    assert!(world.live.gone.is_empty());
    world.live.gone.insert(web());
    let until = world.settle();
    assert_eq!(until, Some(world.now + jiff::SignedDuration::from_secs(2)));
    assert_eq!(world.story(), "1 a Push running");
}

#[test]
fn a_sync_asked_for_in_the_second_in_which_a_release_failed_is_another_try() {
    let mut world = World::new();
    world.push("a", Fate::Refused).settle();
    assert_eq!(world.story(), "1 a Push Failed");
    world.fates.clear();
    world.fates.push((bundle("a"), Fate::Healthy));
    world.ask("r1", World::sync(None)).settle();
    assert_eq!(world.story(), "1 a Push Failed; 2 a Request Healthy");
}

#[test]
fn a_guard_that_refuses_makes_no_release() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Healthy);
    if let super::HeadView::Rendered { guards, .. } = &mut world.head {
        guards.push(Refusal {
            reason: RefusalReason::EmptyRender,
            object: None,
            message: "it renders nothing".into(),
            hint: None,
            transient: false,
        });
    }
    world.settle();
    assert_eq!(world.history.releases().len(), 1);
}

#[test]
fn a_broken_head_changes_nothing() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.head = super::HeadView::Broken { reason: "RenderFailed".into(), message: "web.yaml:3:1".into() };
    world.settle();
    assert_eq!(world.story(), "1 a Push Healthy");
}

#[test]
fn observe_only_never_begins_a_release() {
    let mut world = World::new();
    world.settings.observe_only = true;
    world.push("a", Fate::Healthy).settle();
    world.ask("s", World::sync(None)).settle();
    assert!(world.history.is_empty());
    assert_eq!(world.answers.last().unwrap().phase, RequestPhase::Refused);
}

#[test]
fn no_deadline_is_judged_before_the_watches_are_in_sync() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Hangs).settle();
    world.live.settled = false;
    world.pass(3_600).settle();
    assert!(world.story().ends_with("2 b Push running"), "{}", world.story());
}

/// What may happen to an application.
#[derive(Debug, Clone)]
enum Happening {
    Push(u8, u8),
    Pass(u16),
    Restart,
    Rollback(Option<u8>),
    Sync(bool),
    Drift,
    Heal,
    Suspend(bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..6_u8, 0..8_u8).prop_map(|(name, fate)| Happening::Push(name, fate)),
        3 => (1..900_u16).prop_map(Happening::Pass),
        2 => Just(Happening::Restart),
        2 => proptest::option::of(1..10_u8).prop_map(Happening::Rollback),
        2 => any::<bool>().prop_map(Happening::Sync),
        1 => Just(Happening::Drift),
        1 => Just(Happening::Heal),
        1 => any::<bool>().prop_map(Happening::Suspend),
    ]
}

fn happen(world: &mut World, happening: &Happening, number: usize) {
    match happening {
        Happening::Push(name, fate) => {
            let name = ["a", "b", "c", "d", "e", "f"][usize::from(*name)];
            let fate = match fate {
                0 | 1 => Fate::Hangs,
                2 => Fate::Refused,
                3 => Fate::Breaks,
                4 => Fate::Unanswered,
                _ => Fate::Healthy,
            };
            world.push(name, fate);
        }
        Happening::Pass(seconds) => {
            world.pass(i64::from(*seconds));
        }
        Happening::Restart => {
            world.restart();
        }
        Happening::Rollback(to) => {
            let from = world.history.current().map_or(1, |release| release.spec.number);
            world.ask(&format!("request-{number}"), World::rollback(from, to.map(u64::from)));
        }
        Happening::Sync(accept) => {
            let head = world.head.content().map(|content| content.commit.short.clone());
            let accept = head.filter(|_| *accept);
            world.ask(&format!("request-{number}"), World::sync(accept.as_deref()));
        }
        Happening::Drift => {
            world.live.drifted.insert(web());
        }
        Happening::Heal => world.live.unhealthy.clear(),
        Happening::Suspend(suspended) => world.suspended = *suspended,
    }
}

/// A release may only carry content that was rejected before it if a person
/// asked for it.
fn nothing_rejected_came_back(world: &World) -> Result<(), TestCaseError> {
    let releases = world.history.releases();
    for (index, release) in releases.iter().enumerate() {
        if !matches!(release.spec.cause, Cause::Push) {
            continue;
        }
        let mut rejected = false;
        for earlier in &releases[..index] {
            let covers = |rejection: &crate::api::Rejection| {
                rejection.bundle == release.spec.bundle || rejection.inputs == release.spec.inputs
            };
            if earlier.spec.rejects.iter().any(covers) {
                rejected = true;
            } else if same_content(earlier, release)
                && (earlier.spec.accepts || matches!(earlier.spec.cause, Cause::Rollback))
            {
                rejected = false;
            }
        }
        prop_assert!(!rejected, "release {} carries rejected content: {}", release.spec.number, world.story());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_laws_hold(happenings in proptest::collection::vec(happening(), 1..40)) {
        let mut world = World::new();
        for (number, one) in happenings.iter().enumerate() {
            happen(&mut world, one, number);
            // It comes to rest; that an outcome is written once and that no two
            // releases run at once is asserted by the world itself.
            let until = world.settle();
            prop_assert!(until.is_none_or(|until| until > world.now), "it would wake up at once: {until:?}");
            let unended = world.history.iter().filter(|release| {
                release.status.as_ref().is_none_or(|status| status.outcome.is_none())
            }).count();
            prop_assert!(unended <= 1);
            prop_assert!(crate::history::verify(world.history.releases(), None).problems.is_empty());
        }
        nothing_rejected_came_back(&world)?;
        // Left alone, everything that runs ends.
        for _ in 0..4 {
            world.pass(700).settle();
        }
        prop_assert!(world.newest_phase().is_none_or(Phase::is_final));
        prop_assert!(world.history.running().is_none(), "{}", world.story());
    }
}
