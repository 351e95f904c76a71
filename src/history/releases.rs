//! The releases of one application, in order, and what they say of it.

use std::slice;

use super::release_digest;
use crate::{
    api::{Phase, Release, ReleaseOutcome, ReleaseStatus},
    manifest::{BundleDigest, ReleaseDigest},
};

/// The number of a release, from 1.
pub type ReleaseNumber = u64;

/// The releases of one application, sorted by number.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    releases: Vec<Release>,
}

impl History {
    /// Makes a history of the releases of one application, in any order.
    pub fn new(mut releases: Vec<Release>) -> Self {
        releases.sort_by_key(|release| release.spec.number);
        Self { releases }
    }

    /// The releases, oldest first.
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// Goes through the releases, oldest first.
    pub fn iter(&self) -> slice::Iter<'_, Release> {
        self.releases.iter()
    }

    /// Whether there has been no release.
    pub fn is_empty(&self) -> bool {
        self.releases.is_empty()
    }

    /// The release of a number, if it is kept.
    pub fn get(&self, number: ReleaseNumber) -> Option<&Release> {
        self.releases
            .binary_search_by_key(&number, |release| release.spec.number)
            .ok()
            .and_then(|index| self.releases.get(index))
    }

    /// Takes in a release that was made or changed, in place of the one with
    /// its number.
    pub fn put(&mut self, release: Release) {
        match self.releases.binary_search_by_key(&release.spec.number, |kept| kept.spec.number) {
            Ok(index) => self.releases[index] = release,
            Err(index) => self.releases.insert(index, release),
        }
    }

    /// Forgets a release that was deleted.
    pub fn forget(&mut self, number: ReleaseNumber) {
        self.releases.retain(|release| release.spec.number != number);
    }

    /// The newest release.
    pub fn current(&self) -> Option<&Release> {
        self.releases.last()
    }

    /// The release that has not ended.
    pub fn running(&self) -> Option<&Release> {
        self.iter().rev().find(|release| outcome(release).is_none())
    }

    /// The number that the next release gets.
    pub fn next_number(&self) -> ReleaseNumber {
        self.current().map_or(1, |release| release.spec.number.saturating_add(1))
    }

    /// What the next release names as the one before: the digest of the newest
    /// release, if that has ended.
    pub fn tip(&self) -> Option<ReleaseDigest> {
        self.current().and_then(release_digest)
    }

    /// The newest release that ended Healthy and did not degrade later.
    pub fn last_healthy(&self) -> Option<&Release> {
        self.iter().rev().find(|release| is_good(release))
    }

    /// Where a rollback from a release goes if nobody names a target: the
    /// newest earlier release that ended Healthy, did not degrade later, and
    /// whose content is neither rejected nor that of the release it leaves.
    pub fn rollback_target(&self, from: ReleaseNumber) -> Option<&Release> {
        let left = self.get(from)?;
        self.iter()
            .rev()
            .filter(|release| release.spec.number < from)
            .filter(|release| is_good(release))
            .filter(|release| !super::same_content(release, left))
            .find(|release| self.rejection_of(&release.spec.bundle, &release.spec.inputs).is_none())
    }

    /// The release whose content is in the cluster: the newest that touched
    /// it, or found it as it should be. A release that failed half-way counts,
    /// since some of the cluster is as it says.
    pub fn applied(&self) -> Option<&Release> {
        self.iter().rev().find(|release| is_in_the_cluster(release))
    }

    /// The releases whose content reached the cluster, wholly or in part, the
    /// oldest first.
    pub fn reached_cluster(&self) -> impl DoubleEndedIterator<Item = &Release> {
        self.iter().filter(|release| is_in_the_cluster(release))
    }

    /// The newest release, if it failed with this bundle: the same refusal of
    /// the same bundle makes no second release.
    pub fn refused_before(&self, bundle: &BundleDigest) -> Option<&Release> {
        self.current().filter(|release| {
            release.spec.bundle == *bundle && outcome(release).is_some_and(|outcome| outcome.phase == Phase::Failed)
        })
    }

    /// The release that a request made: a request is carried out at most once.
    pub fn made_by_request(&self, uid: &str) -> Option<&Release> {
        self.iter().rev().find(|release| !uid.is_empty() && release.spec.request == uid)
    }
}

impl<'a> IntoIterator for &'a History {
    type Item = &'a Release;
    type IntoIter = slice::Iter<'a, Release>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn status(release: &Release) -> Option<&ReleaseStatus> {
    release.status.as_ref()
}

pub(super) fn outcome(release: &Release) -> Option<&ReleaseOutcome> {
    status(release)?.outcome.as_ref()
}

/// Whether it ended Healthy and did not degrade later.
fn is_good(release: &Release) -> bool {
    let degraded =
        status(release).and_then(|status| status.after.as_ref()).is_some_and(|after| after.degraded_at.is_some());
    outcome(release).is_some_and(|outcome| outcome.phase == Phase::Healthy) && !degraded
}

/// A release that ended Healthy without a write found its content there.
fn is_in_the_cluster(release: &Release) -> bool {
    match outcome(release) {
        Some(outcome) => outcome.touched_cluster || outcome.phase == Phase::Healthy,
        None => status(release)
            .and_then(|status| status.phase)
            .is_some_and(|phase| matches!(phase, Phase::Applying | Phase::Waiting)),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{
        super::story::{Story, content, story},
        *,
    };

    #[rstest]
    #[case::nothing_yet(story(), None)]
    #[case::the_first_runs(story().push("A"), None)]
    #[case::the_newest(story().push("A").healthy().push("B").healthy(), Some(2))]
    #[case::a_failed_one_does_not_count(story().push("A").healthy().push("B").failed(), Some(1))]
    #[case::nor_one_that_degraded_later(story().push("A").healthy().push("B").healthy().degrades(), Some(1))]
    #[case::nor_one_that_was_superseded(story().push("A").healthy().push("B").push("C"), Some(1))]
    #[case::a_rollback_counts(story().push("A").healthy().push("B").failed().automatic_rollback_to(1).healthy(), Some(3))]
    fn the_last_healthy_release_is_known(#[case] story: Story, #[case] expected: Option<ReleaseNumber>) {
        assert_eq!(number(story.history().last_healthy()), expected);
    }

    #[rstest]
    #[case::nothing_before(story().push("A").failed(), None)]
    #[case::the_one_before(story().push("A").healthy().push("B").failed(), Some(1))]
    #[case::healthy_is_left_as_well(story().push("A").healthy().push("B").healthy(), Some(1))]
    #[case::never_a_failed_one(story().push("A").healthy().push("B").failed().push("C").failed(), Some(1))]
    #[case::never_one_that_degraded(story().push("A").healthy().push("B").healthy().degrades().push("C").failed(), Some(1))]
    #[case::never_the_same_content(story().push("A").healthy().push("B").healthy().push("B").failed(), Some(1))]
    #[case::nor_the_same_inputs(story().push("A").healthy().push("B1<B").healthy().push("B2<B").failed(), Some(1))]
    #[case::never_rejected_content(
        story().push("A").healthy().push("B").healthy().rollback_to(1).healthy().push("C").failed(),
        Some(3)
    )]
    #[case::only_rejected_content_is_left(
        story().push("B").healthy().push("A").healthy().rollback_to(1).healthy(),
        None
    )]
    #[case::while_it_runs(story().push("A").healthy().push("B").applying(), Some(1))]
    fn a_rollback_goes_to_the_newest_good_content(#[case] story: Story, #[case] expected: Option<ReleaseNumber>) {
        let history = story.history();
        let from = history.current().map_or(0, |release| release.spec.number);
        assert_eq!(number(history.rollback_target(from)), expected);
    }

    #[rstest]
    #[case::pending(story().push("A").healthy().push("B"), Some(1))]
    #[case::applying(story().push("A").healthy().push("B").applying(), Some(2))]
    #[case::refused_before_the_first_write(story().push("A").healthy().push("B").refused(), Some(1))]
    #[case::failed_half_way(story().push("A").healthy().push("B").failed(), Some(2))]
    #[case::nothing_to_write(story().push("A").healthy().push("B").already_there(), Some(2))]
    fn what_is_in_the_cluster_is_known(#[case] story: Story, #[case] expected: Option<ReleaseNumber>) {
        assert_eq!(number(story.history().applied()), expected);
    }

    #[rstest]
    #[case::failed_with_it(story().push("A").healthy().push("B").refused(), "B", true)]
    #[case::other_content(story().push("A").healthy().push("B").refused(), "A", false)]
    #[case::not_the_newest(story().push("B").refused().push("A").healthy(), "B", false)]
    #[case::it_went_well(story().push("B").healthy(), "B", false)]
    fn the_same_refusal_is_known(#[case] story: Story, #[case] name: &str, #[case] expected: bool) {
        assert_eq!(story.history().refused_before(&content(name).0).is_some(), expected);
    }

    #[test]
    fn numbers_go_on_after_the_oldest_were_forgotten() {
        let mut history = story().push("A").healthy().push("B").healthy().push("C").history();
        history.forget(1);
        assert_eq!((history.next_number(), number(history.running())), (4, Some(3)));
        assert_eq!(history.tip(), None, "a release that has not ended has no digest to name");
    }

    #[test]
    fn the_order_in_which_releases_are_read_does_not_matter() {
        let history = story().push("A").healthy().push("B").failed().push("C").history();
        let reversed: Vec<Release> = history.iter().rev().cloned().collect();
        assert_eq!(History::new(reversed), history);
    }

    fn number(release: Option<&Release>) -> Option<ReleaseNumber> {
        release.map(|release| release.spec.number)
    }
}
