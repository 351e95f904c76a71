//! What happens to a release that was healthy and degrades.
//!
//! A release is watched for a while after its end. One that degrades within
//! that time goes back as one that never became healthy would, with the same
//! brakes; what degrades later is noted, and left to a person.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    Decision, View,
    running::{Blame, Deeds, failure, listen, verdict},
};
use crate::{
    api::{ObjectFailure, Phase, Release, RollbackVerdict},
    health::{Health, HealthStatus},
    manifest::ObjectId,
};

/// What is known of a release that ended Healthy, for as long as it is watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// Its number.
    pub release: u64,
    /// The objects that it changed.
    pub changed: BTreeSet<ObjectId>,
    /// Why going back by itself is not safe, if it is not.
    pub irreversible: Option<String>,
}

/// The note that a release degraded, once it has been so for long enough.
pub(super) fn degraded(view: &View<'_>, live: &Release) -> Option<Decision> {
    let status = live.status.as_ref()?;
    let outcome = status.outcome.as_ref().filter(|outcome| outcome.phase == Phase::Healthy)?;
    if status.after.as_ref().is_some_and(|after| after.degraded_at.is_some()) {
        return None;
    }
    if let Some(why) = view.analysis.filter(|_| is_watched(view, live, outcome.ended_at, view.now)) {
        let (rollback, left) = judge(view, live, outcome.touched_cluster, Blame::Release);
        if let Some(first) = listen(view, rollback) {
            return Some(first);
        }
        let left = if left.is_empty() { left } else { format!("; {left}") };
        let message = format!("degraded after it had been healthy: {why}{left}");
        return Some(Decision::NoteDegraded { release: live.spec.number, message, rollback, by_analysis: true });
    }
    let since = view.degraded_since.filter(|since| *since + view.settings.timeout <= view.now)?;
    let (rollback, why) = if is_watched(view, live, outcome.ended_at, since) {
        judge(view, live, outcome.touched_cluster, Blame::Objects)
    } else {
        (RollbackVerdict::None, String::new())
    };
    if let Some(first) = listen(view, rollback) {
        return Some(first);
    }
    let failures: Vec<ObjectFailure> = broken(view).map(failure).collect();
    let what = match failures.first() {
        Some(first) => format!("{}: {}", first.object, first.message),
        None => "its objects are Degraded".to_owned(),
    };
    let others = failures.len().saturating_sub(1);
    let others = if others > 0 { format!(" (and {others} more)") } else { String::new() };
    let why = if why.is_empty() { String::new() } else { format!("; {why}") };
    let message = format!("degraded after it had been healthy: {what}{others}{why}");
    Some(Decision::NoteDegraded { release: live.spec.number, message, rollback, by_analysis: false })
}

/// When a release that degrades goes back, if it stays as it is.
pub fn goes_back_at(view: &View<'_>) -> Option<Timestamp> {
    let live = view.history.applied()?;
    let status = live.status.as_ref()?;
    let outcome = status.outcome.as_ref().filter(|outcome| outcome.phase == Phase::Healthy)?;
    let since = view.degraded_since?;
    let noted = status.after.as_ref().is_some_and(|after| after.degraded_at.is_some());
    let goes = !noted
        && is_watched(view, live, outcome.ended_at, since)
        && judge(view, live, outcome.touched_cluster, Blame::Objects).0 == RollbackVerdict::Automatic;
    goes.then(|| since + view.settings.timeout)
}

/// Whether it is the newest release, and degraded within the time.
fn is_watched(view: &View<'_>, live: &Release, ended_at: Timestamp, since: Timestamp) -> bool {
    let newest = view.history.current().is_some_and(|newest| newest.spec.number == live.spec.number);
    newest && !view.settings.watch.is_zero() && since <= ended_at + view.settings.watch
}

fn judge(view: &View<'_>, live: &Release, touched: bool, blame: Blame) -> (RollbackVerdict, String) {
    let number = live.spec.number;
    let Some(watched) = view.watched.filter(|watched| watched.release == number) else {
        // The actor finds it out before it asks.
        return (RollbackVerdict::None, String::new());
    };
    // What ended Healthy had nothing unhealthy before that counts.
    let own = broken(view).any(|(id, _)| watched.changed.contains(id));
    let deeds = Deeds { touched, own, irreversible: watched.irreversible.as_deref(), blame };
    verdict(view, live, &deeds)
}

fn broken<'a>(view: &'a View<'_>) -> impl Iterator<Item = &'a (ObjectId, Health)> {
    view.live.unhealthy.iter().filter(|(_, health)| health.status == HealthStatus::Degraded)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::SignedDuration;
    use rstest::rstest;

    use super::{
        super::{
            BrakeView,
            world::{Fate, World, web},
        },
        *,
    };
    use crate::api::ReleaseAfter;

    /// Release 2 is healthy, and what it changed crashes after so many seconds.
    fn degrades_after(seconds: i64) -> World {
        let mut world = World::new();
        world.push("a", Fate::Healthy).settle();
        world.push("b", Fate::Healthy).settle();
        world.pass(seconds).degrade(web(), "it crashes");
        world
    }

    fn after(world: &World) -> ReleaseAfter {
        world.history.get(2).unwrap().status.as_ref().unwrap().after.clone().unwrap_or_default()
    }

    #[test]
    fn what_degrades_within_the_time_and_stays_so_goes_back() {
        let mut world = degrades_after(60);
        assert_eq!(world.settle(), Some(world.now + world.settings.timeout), "it is given time, and looked at then");
        world.pass(301).settle();
        assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Healthy; 3 a AutomaticRollback Healthy");
        let after = after(&world);
        assert_eq!(after.degraded, "degraded after it had been healthy: Deployment team/web: it crashes");
        let back = &world.history.get(3).unwrap().spec;
        assert_eq!(back.reason, after.degraded);
        world.pass(3_600).settle();
        assert_eq!(world.history.releases().len(), 3, "and what was taken back stays out");
    }

    #[test]
    fn what_heals_in_time_stays() {
        let mut world = degrades_after(60);
        world.settle();
        world.pass(200).heal().settle();
        world.pass(3_600).settle();
        assert_eq!((world.story().as_str(), after(&world)), ("1 a Push Healthy; 2 b Push Healthy", Default::default()));
    }

    #[rstest]
    #[case::later(|world: &mut World| world.settings.watch = SignedDuration::from_secs(59), None)]
    #[case::never_watched(|world: &mut World| world.settings.watch = SignedDuration::ZERO, None)]
    #[case::switched_off(|world: &mut World| world.settings.automatic_rollback = false, Some("automatic rollback is off"))]
    #[case::many_at_once(|world: &mut World| world.brake = BrakeView::Pulled, Some("many applications broke at once"))]
    #[case::irreversible(|world: &mut World| world.watched.as_mut().unwrap().irreversible = Some("it changed a claim".into()), Some("it changed a claim"))]
    #[case::not_its_own_doing(|world: &mut World| world.watched.as_mut().unwrap().changed.clear(), Some("nothing that this release changed is unhealthy"))]
    fn the_same_brakes_hold_as_for_what_never_got_healthy(#[case] prepare: fn(&mut World), #[case] why: Option<&str>) {
        let mut world = degrades_after(60);
        prepare(&mut world);
        world.pass(301).settle();
        world.pass(3_600).settle();
        assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Healthy");
        let after = after(&world);
        assert!(after.degraded_at.is_some(), "it is noted all the same");
        assert_eq!(after.rollback, Some(RollbackVerdict::Person).filter(|_| why.is_some()));
        let words = after.degraded;
        assert!(why.is_none_or(|why| words.contains(why) && words.contains("bowline rollback shop")), "{words}");
    }

    #[rstest]
    #[case::safe(|_: &mut World| {}, "3 a AutomaticRollback Healthy")]
    #[case::switched_off(|world: &mut World| world.settings.automatic_rollback = false, "")]
    #[case::many_at_once(|world: &mut World| world.brake = BrakeView::Pulled, "")]
    #[case::irreversible(|world: &mut World| world.watched.as_mut().unwrap().irreversible = Some("it changed a claim".into()), "")]
    #[case::too_late(|world: &mut World| world.settings.watch = SignedDuration::from_secs(9), "")]
    fn an_analysis_that_failed_takes_the_release_back_at_once_where_that_is_safe(
        #[case] prepare: fn(&mut World),
        #[case] back: &str,
    ) {
        let mut world = World::new();
        world.push("a", Fate::Healthy).settle();
        world.push("b", Fate::Healthy).settle();
        prepare(&mut world);
        world.pass(10).analysis = Some("the condition of the analysis does not hold (value 0.5)".into());
        world.settle();
        let story = format!("1 a Push Healthy; 2 b Push Healthy; {back}");
        assert_eq!(world.story(), story.trim_end_matches("; "));
    }

    #[test]
    fn a_rollback_that_degrades_is_left_to_a_person() {
        let mut world = World::new();
        world.push("a", Fate::Healthy).settle();
        world.push("b", Fate::Hangs).settle();
        world.pass(301).settle();
        world.degrade(web(), "it crashes").pass(301).settle();
        world.pass(3_600).settle();
        assert_eq!(world.story(), "1 a Push Healthy; 2 b Push Failed; 3 a AutomaticRollback Healthy");
    }

    #[test]
    fn a_verdict_outlives_the_process_and_the_health_that_returns_outranks_it() {
        let mut world = degrades_after(60);
        world.suspended = true;
        world.pass(301).settle();
        assert_eq!(world.history.releases().len(), 2, "nothing begins while it is suspended");
        world.restart();
        world.heal();
        world.suspended = false;
        world.settle();
        assert_eq!(world.history.releases().len(), 2, "what is healthy again is left");
        world.degrade(web(), "it crashes").settle();
        assert_eq!(world.history.releases().len(), 3, "what is not goes back");
    }
}
