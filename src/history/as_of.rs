//! The history as it was at an earlier time.

use jiff::Timestamp;

use super::History;
use crate::api::{Phase, Release};

impl History {
    /// The releases that were made by then, as they were known then: without
    /// the ends, and without what happened to them, that came later.
    ///
    /// Of repairs only the last is known by its time: the number of those
    /// before is kept if that one had happened.
    #[must_use]
    pub fn as_of(&self, at: Timestamp) -> Self {
        let made = self.iter().filter(|release| release.spec.created_at <= at);
        Self::new(made.map(|release| release_as_of(release, self, at)).collect())
    }

    /// The releases that were made since then, or ended since then, or to
    /// which something happened since then.
    #[must_use]
    pub fn since(&self, then: Timestamp) -> Self {
        let later = |release: &&Release| {
            let status = release.status.as_ref();
            let outcome = status.and_then(|status| status.outcome.as_ref());
            let after = status.and_then(|status| status.after.as_ref());
            // What has not ended goes on now.
            release.spec.created_at >= then
                || outcome.is_none_or(|outcome| outcome.ended_at >= then)
                || after.and_then(|after| after.degraded_at).is_some_and(|degraded| degraded >= then)
                || after.and_then(|after| after.last_repair_at).is_some_and(|repair| repair >= then)
        };
        Self::new(self.iter().filter(later).cloned().collect())
    }
}

fn release_as_of(release: &Release, history: &History, at: Timestamp) -> Release {
    let mut release = release.clone();
    let Some(status) = &mut release.status else { return release };
    let later = status.applied_at.is_some_and(|applied| applied > at);
    status.applied_at = status.applied_at.filter(|_| !later);
    status.hooks.retain(|hook| hook.ended_at <= at);
    if let Some(outcome) = status.outcome.take_if(|outcome| outcome.ended_at > at) {
        status.after = None;
        // What was refused never began to be applied; whether the others had
        // begun by then is not kept.
        let was_applied = outcome.touched_cluster || outcome.phase == Phase::Healthy;
        status.phase = Some(match (status.applied_at, was_applied) {
            (Some(_), _) => Phase::Waiting,
            (None, true) => Phase::Applying,
            (None, false) => Phase::Pending,
        });
    } else if later && status.phase == Some(Phase::Waiting) {
        status.phase = Some(Phase::Applying);
    }
    if let Some(after) = &mut status.after {
        after.degraded_at = after.degraded_at.filter(|degraded| *degraded <= at);
        if after.last_repair_at.is_some_and(|repair| repair > at) {
            after.repairs = 0;
            after.last_repair.clear();
            after.last_repair_at = None;
        }
        let made_by_then = |number: &u64| history.get(*number).is_none_or(|release| release.spec.created_at <= at);
        after.rolled_back_by = after.rolled_back_by.filter(made_by_then);
    }
    release
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::SignedDuration;
    use rstest::rstest;

    use super::{super::story::story, *};
    use crate::api::ReleaseStatus;

    /// Each release is made a minute after the one before, and ends at once.
    fn history() -> History {
        let mut history =
            story().push("A").healthy().push("B").healthy().degrades().automatic_rollback_to(1).healthy().history();
        // The second one takes half a minute.
        let mut second = history.get(2).unwrap().clone();
        let end = second.spec.created_at + SignedDuration::from_secs(30);
        let status = second.status.as_mut().unwrap();
        status.outcome.as_mut().unwrap().ended_at = end;
        status.after.as_mut().unwrap().degraded_at = Some(end + SignedDuration::from_secs(20));
        status.after.as_mut().unwrap().rolled_back_by = Some(3);
        history.put(second);
        history
    }

    #[rstest]
    #[case::before_all(-90, 0, None, false)]
    #[case::while_the_second_ran(10, 2, Some(Phase::Applying), false)]
    #[case::when_it_was_healthy(40, 2, Some(Phase::Healthy), false)]
    #[case::when_it_had_degraded(55, 2, Some(Phase::Healthy), true)]
    #[case::after_all(600, 3, Some(Phase::Healthy), true)]
    fn what_came_later_is_not_known(
        #[case] seconds: i64,
        #[case] newest: u64,
        #[case] phase: Option<Phase>,
        #[case] degraded: bool,
    ) {
        let history = history();
        let at = history.get(2).unwrap().spec.created_at + SignedDuration::from_secs(seconds);
        let then = history.as_of(at);
        assert_eq!(then.current().map_or(0, |release| release.spec.number), newest);
        let status = then.current().and_then(|release| release.status.clone());
        assert_eq!(status.and_then(|status| status.phase), phase);
        let second = then.get(2).and_then(|release| release.status.clone()).unwrap_or_default();
        assert_eq!(second.after.and_then(|after| after.degraded_at).is_some(), degraded);
    }

    /// The phase of the second release after ten seconds, when it is changed so.
    fn phase_while_it_ran(change: impl FnOnce(&mut ReleaseStatus)) -> Option<Phase> {
        let mut history = history();
        let mut second = history.get(2).unwrap().clone();
        let at = second.spec.created_at + SignedDuration::from_secs(10);
        change(second.status.as_mut().unwrap());
        history.put(second);
        history.as_of(at).get(2).unwrap().status.clone().unwrap().phase
    }

    #[test]
    fn what_was_refused_later_had_not_reached_the_cluster() {
        let refused = |status: &mut ReleaseStatus| {
            let outcome = status.outcome.as_mut().unwrap();
            (outcome.phase, outcome.touched_cluster) = (Phase::Failed, false);
        };
        assert_eq!(phase_while_it_ran(refused), Some(Phase::Pending));
    }

    #[test]
    fn what_waits_for_health_now_was_being_applied_before_it_was_applied() {
        let waits = |applied: i64| {
            move |status: &mut ReleaseStatus| {
                let ended = status.outcome.take().unwrap().ended_at;
                // It ended after half a minute.
                status.applied_at = Some(ended + SignedDuration::from_secs(applied - 30));
                status.phase = Some(Phase::Waiting);
            }
        };
        assert_eq!(phase_while_it_ran(waits(5)), Some(Phase::Waiting));
        assert_eq!(phase_while_it_ran(waits(20)), Some(Phase::Applying));
    }

    #[test]
    fn the_release_that_takes_one_back_is_told_from_when_it_was_made() {
        let history = history();
        let by = |at| history.as_of(at).get(2).unwrap().status.clone().unwrap().after.unwrap().rolled_back_by;
        let third = history.get(3).unwrap().spec.created_at;
        assert_eq!((by(third - SignedDuration::from_secs(1)), by(third)), (None, Some(3)));
    }

    #[test]
    fn since_has_what_was_made_ended_or_degraded_since() {
        let history = history();
        let numbers = |seconds| -> Vec<u64> {
            let then = history.get(2).unwrap().spec.created_at + SignedDuration::from_secs(seconds);
            history.since(then).iter().map(|release| release.spec.number).collect()
        };
        assert_eq!(numbers(-600), [1, 2, 3]);
        assert_eq!(numbers(45), [2, 3], "release 2 degraded after 50 s");
        assert_eq!(numbers(55), [3]);
        assert_eq!(numbers(600), Vec::<u64>::new());
    }
}
