//! What is waited for: other applications, a right that is granted, the brake;
//! and what is not, told as stories.

#![allow(clippy::unwrap_used)]

use jiff::SignedDuration;
use rstest::rstest;

use super::{
    BRAKE_PAUSE, BrakeView, Decision, Dependencies, Dependency, Unready,
    world::{Fate, World, bundle, web},
};
use crate::api::SyncMode;

#[test]
fn a_release_that_is_healthy_when_a_newer_commit_comes_is_said_to_be_so() {
    let mut world = World::new();
    world.push("a", Fate::Hangs).settle();
    world.live.unhealthy.clear();
    world.push("b", Fate::Healthy).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Healthy");
}

#[test]
fn a_release_that_is_healthy_when_a_person_goes_back_is_said_to_be_so() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Hangs).settle();
    world.live.unhealthy.clear();
    world.ask("r", World::rollback(2, None)).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Healthy; 3 a Rollback Healthy");
}

#[test]
fn what_was_refused_goes_on_by_itself_when_that_is_put_right() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    let until = world.push("b", Fate::Refused).settle();
    assert_eq!(until, Some(world.now + jiff::SignedDuration::from_secs(60)));
    world.pass(60).settle();
    world.pass(60).settle();
    assert_eq!((world.tries, world.story().as_str()), (2, "1 a Push Healthy; 2 b Push Failed"), "no release a try");
    world.fates.retain(|(known, _)| *known != bundle("b"));
    world.pass(60).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Failed; 3 b Push Healthy");
    assert_eq!(world.decide(), Decision::Rest(None));
}

#[rstest]
#[case::suspended(|world: &mut World| world.suspended = true)]
#[case::manual(|world: &mut World| world.settings.mode = SyncMode::Manual)]
#[case::observe_only(|world: &mut World| world.settings.observe_only = true)]
fn what_was_refused_is_left_alone_when(#[case] prepare: fn(&mut World)) {
    let mut world = World::new();
    world.push("a", Fate::Refused).settle();
    prepare(&mut world);
    assert_eq!(world.pass(60).settle(), None);
    assert_eq!(world.tries, 0);
}

/// Found by the simulation: each try would have made a release.
#[test]
fn what_broke_half_way_is_not_tried_again_by_itself() {
    let mut world = World::new();
    world.push("a", Fate::Breaks).settle();
    world.pass(3_600).settle();
    assert_eq!((world.tries, world.story().as_str()), (0, "1 a Push Failed"));
}

#[test]
fn what_a_refusal_was_about_is_looked_at_before_it_is_repaired() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Refused).settle();
    // Somebody takes the object out of the way, and b would go through.
    world.fates.clear();
    world.live.gone.insert(web());
    world.try_again_at = Some(world.now);
    world.settle();
    assert_eq!((world.repairs, world.story().as_str()), (0, "1 a Push Healthy; 2 b Push Failed; 3 b Push Healthy"));
}

#[test]
fn a_rollback_that_was_put_off_does_not_begin_with_the_brake_on() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Hangs).settle();
    world.suspended = true;
    world.pass(301).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Failed");
    world.suspended = false;
    world.brake = BrakeView::Pulled;
    let until = world.settle();
    assert_eq!(until, Some(world.now + BRAKE_PAUSE), "no event tells that the brake is released");
    assert_eq!(world.history.releases().len(), 2);
    world.brake = BrakeView::Off;
    world.settle();
    assert!(world.story().ends_with("3 a AutomaticRollback Healthy"), "{}", world.story());
}

/// Release 2 breaks half-way, and the brake has not heard of it.
fn breaks_at_once() -> World {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.brake = BrakeView::Untold;
    let until = world.push("b", Fate::Breaks).settle();
    assert_eq!(until, Some(world.now + SignedDuration::from_secs(2)), "it listens whether others break too");
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push running", "and nothing is said before");
    world.pass(2);
    world
}

#[test]
fn what_breaks_alone_goes_back_a_moment_later() {
    let mut world = breaks_at_once();
    world.brake = BrakeView::Off;
    world.settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Failed; 3 a AutomaticRollback Healthy");
}

#[test]
fn what_breaks_with_many_others_says_so_and_stays() {
    let mut world = breaks_at_once();
    world.brake = BrakeView::Pulled;
    world.settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Failed");
    let outcome = world.history.current().unwrap().status.as_ref().unwrap().outcome.as_ref().unwrap();
    assert!(outcome.message.contains("many applications broke at once"), "{}", outcome.message);
    world.brake = BrakeView::Off;
    world.pass(3_600).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Failed", "a person decides, also when it was long ago");
}

#[test]
fn a_fix_does_not_wait_for_the_brake() {
    let mut world = breaks_at_once();
    world.push("c", Fate::Healthy).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Superseded; 3 c Push Healthy");
}

#[test]
fn what_goes_back_by_nobody_does_not_listen() {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.brake = BrakeView::Untold;
    world.settings.automatic_rollback = false;
    world.push("b", Fate::Breaks).settle();
    assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Failed");
}

fn waiting() -> Dependencies {
    Dependencies::Waiting(vec![Dependency { name: "database".into(), why: Unready::Missing }])
}

#[rstest]
#[case::waiting(waiting())]
#[case::in_a_circle(Dependencies::Circle(vec!["shop".into(), "shop".into()]))]
fn new_content_waits_for_what_it_depends_on_and_nothing_else_does(#[case] dependencies: Dependencies) {
    let mut world = World::new();
    world.push("a", Fate::Healthy).settle();
    world.push("b", Fate::Healthy).settle();
    world.dependencies = dependencies;
    assert_eq!(world.push("c", Fate::Healthy).settle(), None, "an event ends it");
    assert_eq!(world.history.releases().len(), 2);
    world.live.drifted.insert(web());
    world.settle();
    assert_eq!(world.repairs, 1);
    world.ask("r", World::rollback(2, None)).settle();
    assert!(world.story().ends_with("3 a Rollback Healthy"), "{}", world.story());
    world.ask("s", World::sync(None)).settle();
    assert!(world.story().ends_with("4 c Request Healthy"), "a person decides: {}", world.story());
    world.push("d", Fate::Healthy).settle();
    assert_eq!(world.history.releases().len(), 4);
    world.dependencies = Dependencies::Met;
    world.settle();
    assert!(world.story().ends_with("5 d Push Healthy"), "{}", world.story());
}

#[test]
fn a_release_that_waits_is_not_superseded_by_what_has_to_wait_itself() {
    let mut world = World::new();
    world.push("a", Fate::Hangs).settle();
    world.dependencies = waiting();
    world.push("b", Fate::Healthy).settle();
    assert_eq!(world.story(), "1 a Push running");
    world.dependencies = Dependencies::Met;
    world.settle();
    assert_eq!(world.story(), "1 a Push Superseded; 2 b Push Healthy");
}
