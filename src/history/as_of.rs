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
    status.applied_at = status.applied_at.filter(|applied| *applied <= at);
    status.hooks.retain(|hook| hook.ended_at <= at);
    if status.outcome.as_ref().is_some_and(|outcome| outcome.ended_at > at) {
        status.outcome = None;
        status.after = None;
        // Whether it was being applied or had not begun to be is not kept.
        status.phase = Some(if status.applied_at.is_some() { Phase::Waiting } else { Phase::Applying });
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
