//! What may be forgotten.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    Decision, History, ReleaseNumber,
    hold::{covers, lets_in},
};
use crate::{
    api::Release,
    manifest::{BundleDigest, InputDigest},
};

/// Among this many newest releases retention leaves no gap: a release that is
/// missing there was removed by somebody else.
pub const WHOLE_WINDOW: usize = 100;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// How many releases, at most.
    pub limit: usize,
    /// Releases that were made by then are not kept for their number.
    pub since: Option<Timestamp>,
}

impl Keep {
    /// So many releases, whatever their age.
    pub fn newest(limit: usize) -> Self {
        Self { limit, since: None }
    }
}

/// The releases to delete, oldest first, so that no more are left than are to
/// be kept.
///
/// Never among them: the running one, the newest, the one that is in the
/// cluster, the last healthy one, the target of a rollback from the newest,
/// the evidence of a hold on what the head renders, and what the caller pins.
/// Releases between a kept one and the newest stay too, so that the chain has
/// no gaps, up to the [`WHOLE_WINDOW`] newest.
pub fn trim(
    history: &History,
    keep: Keep,
    head: Option<(&BundleDigest, &InputDigest)>,
    pins: &BTreeSet<ReleaseNumber>,
) -> Vec<ReleaseNumber> {
    let limit = keep.limit;
    let numbers: Vec<ReleaseNumber> = history.iter().map(|release| release.spec.number).collect();
    let newest_first = |count: usize| numbers.get(numbers.len().saturating_sub(count.max(1))).copied();
    let (Some(window), Some(whole)) = (newest_first(limit), newest_first(limit.max(WHOLE_WINDOW))) else {
        return Vec::new();
    };
    // Where all are too old, the newest stays.
    let is_young = |release: &&Release| keep.since.is_none_or(|since| release.spec.created_at > since);
    let oldest_young = history.iter().find(is_young).or(history.current()).map(|release| release.spec.number);
    let window = window.max(oldest_young.unwrap_or(window));
    let pinned = pinned(history, head, pins);
    let oldest = pinned.first().copied().unwrap_or(window).min(window);
    let kept = |number: &ReleaseNumber| pinned.contains(number) || (*number >= oldest && *number >= whole);
    numbers.iter().copied().filter(|number| !kept(number)).collect()
}

/// When the next release is so old that it is to be deleted, if nothing else
/// happens: `age` is how old releases may become.
pub fn next_too_old(
    history: &History,
    limit: usize,
    age: SignedDuration,
    head: Option<(&BundleDigest, &InputDigest)>,
    pins: &BTreeSet<ReleaseNumber>,
) -> Option<Timestamp> {
    let keep = Keep { limit, since: Some(Timestamp::MAX) };
    let first = trim(history, keep, head, pins).into_iter().next()?;
    // It goes together with the releases between it and what is kept: when it
    // is too old itself.
    history.get(first)?.spec.created_at.checked_add(age).ok()
}

/// The releases that must stay, whatever their age.
fn pinned(
    history: &History,
    head: Option<(&BundleDigest, &InputDigest)>,
    pins: &BTreeSet<ReleaseNumber>,
) -> BTreeSet<ReleaseNumber> {
    let current = history.current();
    let target = current.and_then(|current| history.rollback_target(current.spec.number));
    let mut pinned: BTreeSet<ReleaseNumber> =
        [current, history.running(), history.applied(), history.last_healthy(), target]
            .into_iter()
            .flatten()
            .map(|release| release.spec.number)
            .chain(pins.iter().copied().filter(|number| history.get(*number).is_some()))
            .collect();
    if let Some((bundle, inputs)) = head {
        pinned.extend(history.decision_on(bundle, inputs).map(|decision| decision.made_by()));
    }
    pinned.extend(accepts_of(history, &pinned));
    pinned
}

/// The accepts that outrank what kept releases reject: without them, content
/// that a person let in again would be held once more.
fn accepts_of(history: &History, kept: &BTreeSet<ReleaseNumber>) -> Vec<ReleaseNumber> {
    let rejects: Vec<_> = kept
        .iter()
        .filter_map(|number| history.get(*number))
        .flat_map(|release| release.spec.rejects.iter().map(move |rejection| (release.spec.number, rejection)))
        .collect();
    history
        .iter()
        .filter(|release| {
            rejects.iter().any(|(by, rejection)| {
                *by < release.spec.number && covers(rejection, &release.spec.bundle, &release.spec.inputs)
            })
        })
        .filter(|release| lets_in(release))
        .map(|release| release.spec.number)
        .collect()
}

impl Decision<'_> {
    /// The number of the release that made the decision.
    fn made_by(&self) -> ReleaseNumber {
        match self {
            Self::Rejected(rejected) => rejected.by.spec.number,
            Self::Accepted(release) => release.spec.number,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::{
        super::story::{Story, content, story},
        *,
    };

    /// Some healthy releases, each of its own content.
    fn healthy(count: usize) -> Story {
        (0..count).fold(story(), |story, number| story.push(&format!("healthy {number}")).healthy())
    }

    fn failing(story: Story, count: usize) -> Story {
        (0..count).fold(story, |story, number| story.push(&format!("failing {number}")).failed())
    }

    #[rstest]
    #[case::within_the_limit(healthy(3), 3, None, &[], &[])]
    #[case::the_oldest_go(healthy(5), 3, None, &[], &[1, 2])]
    #[case::the_last_healthy_stays_with_all_after_it(failing(healthy(2), 5), 3, None, &[], &[1])]
    #[case::the_target_of_a_rollback_stays(
        healthy(3).push("B").healthy().push("B").healthy().push("B").healthy(), 2, None, &[], &[1, 2]
    )]
    #[case::a_pin_stays_with_all_after_it(healthy(6), 2, None, &[3], &[1, 2])]
    #[case::a_pin_on_nothing_is_nothing(healthy(4), 2, None, &[77], &[1, 2])]
    #[case::a_running_one_is_the_newest(healthy(3).push("B").applying(), 2, None, &[], &[1, 2])]
    fn the_oldest_are_forgotten_but_never_what_is_needed(
        #[case] story: Story,
        #[case] limit: usize,
        #[case] head: Option<&str>,
        #[case] pins: &[ReleaseNumber],
        #[case] expected: &[ReleaseNumber],
    ) {
        assert_eq!(trimmed(&story.history(), limit, head, pins), expected);
    }

    #[test]
    fn the_evidence_of_a_hold_stays_while_the_head_renders_it() {
        let story = healthy(1).push("B").healthy().rollback_to(1).healthy();
        let history = (0..6).fold(story, |story, number| story.push(&format!("C{number}")).healthy()).history();
        assert_eq!(trimmed(&history, 2, Some("B"), &[]), [1, 2], "release 3 rejects what the head renders");
        assert_eq!(trimmed(&history, 2, Some("C5"), &[]), [1, 2, 3, 4, 5, 6, 7]);
    }

    /// A history of `healthy` has a release a minute.
    #[rstest]
    #[case::all_are_young(healthy(5), 0, &[])]
    #[case::some_are_too_old(healthy(5), 2, &[1, 2])]
    #[case::all_are_too_old(healthy(5), 60, &[1, 2, 3])]
    #[case::the_last_healthy_and_what_is_after_it_stay(failing(healthy(2), 3), 60, &[1])]
    fn what_is_too_old_goes_but_never_what_is_needed(
        #[case] story: Story,
        #[case] minutes: i64,
        #[case] expected: &[ReleaseNumber],
    ) {
        let history = story.history();
        let first = history.get(1).unwrap().spec.created_at;
        let since = Some(first + SignedDuration::from_mins(minutes) - SignedDuration::from_secs(30));
        assert_eq!(trim(&history, Keep { limit: 100, since }, None, &BTreeSet::new()), expected);
    }

    #[test]
    fn the_evidence_of_a_hold_is_never_too_old() {
        let story = healthy(1).push("B").healthy().rollback_to(1).healthy();
        let history = (0..6).fold(story, |story, number| story.push(&format!("C{number}")).healthy()).history();
        let all_old = Keep { limit: 100, since: Some(Timestamp::MAX) };
        let (bundle, inputs) = content("B");
        let trimmed = trim(&history, all_old, Some((&bundle, &inputs)), &BTreeSet::new());
        assert_eq!(trimmed, [1, 2], "release 3 rejects what the head renders");
        assert_eq!(trim(&history, all_old, None, &BTreeSet::new()), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn the_time_of_the_next_deletion_is_known_and_at_that_time_there_is_one() {
        let mut history = healthy(5).history();
        let age = SignedDuration::from_mins(10);
        let none = BTreeSet::new();
        let mut gone = Vec::new();
        while let Some(due) = next_too_old(&history, 100, age, None, &none) {
            let at = |now: Timestamp| trim(&history, Keep { limit: 100, since: Some(now - age) }, None, &none);
            assert_eq!(at(due - SignedDuration::from_nanos(1)), Vec::<ReleaseNumber>::new());
            let old = at(due);
            assert!(!old.is_empty());
            for number in old {
                history.forget(number);
                gone.push(number);
            }
        }
        assert_eq!(gone, [1, 2, 3], "4 is the target of a rollback from 5");
    }

    #[test]
    fn far_behind_the_newest_only_what_is_needed_stays() {
        let history = failing(healthy(3), 150).history();
        let trimmed = trimmed(&history, 10, None, &[]);
        // 3 is the last healthy one, and 54 to 153 are the newest hundred.
        let expected: Vec<ReleaseNumber> = [1, 2].into_iter().chain(4..=53).collect();
        assert_eq!(trimmed, expected);
    }

    #[test]
    fn an_accept_stays_as_long_as_the_rejection_that_it_outranks() {
        let story = healthy(1).push("B").healthy().rollback_to(1).healthy().accept("B").failed();
        let mut history = failing(story, 120).history();
        for number in trimmed(&history, 10, None, &[]) {
            history.forget(number);
        }
        let (bundle, inputs) = content("B");
        assert!(history.get(3).is_some(), "release 3 is the last healthy one");
        assert!(history.rejection_of(&bundle, &inputs).is_none());
    }

    proptest! {
        #[test]
        fn forgetting_changes_no_answer(steps in prop::collection::vec((0..6_u8, 0..5_u8, 0..40_u64), 1..40), limit in 2..6_usize, head in 0..5_u8) {
            let names = ["A", "B", "C", "D", "E"];
            let history = steps.into_iter().fold(story().push("A").healthy(), |story, (step, name, target)| {
                let name = names[usize::from(name)];
                let history = story.history();
                let target = 1 + target % (history.next_number() - 1);
                let (bundle, inputs) = content(name);
                let held = history.rejection_of(&bundle, &inputs).is_some();
                let story = Story::from(history);
                match step {
                    0..=2 if held => story,
                    0 | 1 => story.push(name).healthy(),
                    2 => story.push(name).failed(),
                    3 => story.accept(name).healthy(),
                    4 => story.rollback_to(target).healthy(),
                    _ => story.automatic_rollback_to(target).failed(),
                }
            }).history();
            let head = content(names[usize::from(head)]);
            let mut kept = history.clone();
            for number in trim(&history, Keep::newest(limit), Some((&head.0, &head.1)), &BTreeSet::new()) {
                kept.forget(number);
                // It may end here, if a release cannot be deleted.
                let report = super::super::verify(kept.releases(), history.tip().as_ref());
                prop_assert!(report.problems.is_empty(), "{:?}", report);
            }
            let number = |release: Option<&crate::api::Release>| release.map(|release| release.spec.number);
            let newest = history.next_number() - 1;
            prop_assert_eq!(kept.next_number(), history.next_number());
            prop_assert_eq!(number(kept.last_healthy()), number(history.last_healthy()));
            prop_assert_eq!(number(kept.applied()), number(history.applied()));
            prop_assert_eq!(number(kept.rollback_target(newest)), number(history.rollback_target(newest)));
            let held = |history: &History| history.rejection_of(&head.0, &head.1).map(|rejected| rejected.by.spec.number);
            prop_assert_eq!(held(&kept), held(&history));
            let report = super::super::verify(kept.releases(), history.tip().as_ref());
            prop_assert!(report.problems.is_empty(), "{:?}", report);
        }
    }

    fn trimmed(history: &History, limit: usize, head: Option<&str>, pins: &[ReleaseNumber]) -> Vec<ReleaseNumber> {
        let head = head.map(content);
        let head = head.as_ref().map(|(bundle, inputs)| (bundle, inputs));
        trim(history, Keep::newest(limit), head, &pins.iter().copied().collect())
    }
}
