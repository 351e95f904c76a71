//! What was rejected, and until when it stays out.
//!
//! A Rollback or AutomaticRollback rejects the content of the release that it
//! leaves, and of every release after its target whose content differs. A
//! Failed release alone rejects nothing. What a release rejects is written
//! into its spec, so that the hold is derived from releases and stored nowhere
//! else, and outlives the releases that carried the content.

use super::{History, ReleaseNumber};
use crate::{
    api::{Cause, Rejection, Release},
    manifest::{BundleDigest, InputDigest},
};

/// Content that stays out, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rejected<'a> {
    /// The release that carried the content when it was rejected.
    pub release: ReleaseNumber,
    /// The release that rejected it.
    pub by: &'a Release,
    /// Why, in the words of the person or of the automatic rollback.
    pub reason: &'a str,
    /// Who asked for it; empty for an automatic rollback.
    pub requested_by: &'a str,
}

/// The newest word on some content.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision<'a> {
    /// It stays out.
    Rejected(Rejected<'a>),
    /// It was rejected once, and this release lets it in again.
    Accepted(&'a Release),
}

/// Whether two releases carry the same content: the same bundle or the same
/// inputs of the render. Either is enough, so that neither a chart with random
/// values nor another version of Bowline lets rejected content in again.
pub fn same_content(one: &Release, other: &Release) -> bool {
    one.spec.bundle == other.spec.bundle || one.spec.inputs == other.spec.inputs
}

impl History {
    /// Why this content stays out, if it does.
    pub fn rejection_of(&self, bundle: &BundleDigest, inputs: &InputDigest) -> Option<Rejected<'_>> {
        match self.decision_on(bundle, inputs)? {
            Decision::Rejected(rejected) => Some(rejected),
            Decision::Accepted(_) => None,
        }
    }

    /// The newest word on this content; none if it was never rejected, as far
    /// as the kept releases tell.
    pub fn decision_on(&self, bundle: &BundleDigest, inputs: &InputDigest) -> Option<Decision<'_>> {
        let mut decision = None;
        for release in self {
            let carries = release.spec.bundle == *bundle || release.spec.inputs == *inputs;
            if carries {
                if decision.is_some() && lets_in(release) {
                    decision = Some(Decision::Accepted(release));
                }
                // The content of a rollback's target is never rejected by that rollback.
                continue;
            }
            if !is_rollback(release) {
                continue;
            }
            let rejection = release.spec.rejects.iter().find(|rejection| covers(rejection, bundle, inputs));
            if let Some(rejection) = rejection {
                decision = Some(Decision::Rejected(Rejected {
                    release: rejection.release,
                    by: release,
                    reason: &release.spec.reason,
                    requested_by: &release.spec.requested_by,
                }));
            }
        }
        decision
    }

    /// What a rollback to a release must carry as rejected: the content of the
    /// newest release and of every other one after the target, where it
    /// differs from the target's; each content once, under the newest release
    /// that carried it, newest first. Empty where the target is not kept.
    pub fn rejections_for(&self, target: ReleaseNumber) -> Vec<Rejection> {
        let Some(target) = self.get(target) else { return Vec::new() };
        let mut rejections: Vec<Rejection> = Vec::new();
        for release in self.iter().rev().take_while(|release| release.spec.number > target.spec.number) {
            let known = |rejection: &Rejection| {
                rejection.bundle == release.spec.bundle && rejection.inputs == release.spec.inputs
            };
            if same_content(release, target) || rejections.iter().any(known) {
                continue;
            }
            rejections.push(Rejection {
                release: release.spec.number,
                bundle: release.spec.bundle.clone(),
                inputs: release.spec.inputs.clone(),
            });
        }
        rejections.truncate(MOST_REJECTIONS);
        rejections
    }
}

/// How many rejections one release may carry, as its schema says.
const MOST_REJECTIONS: usize = 100;

/// Whether a rejection is of this content.
pub(super) fn covers(rejection: &Rejection, bundle: &BundleDigest, inputs: &InputDigest) -> bool {
    rejection.bundle == *bundle || rejection.inputs == *inputs
}

/// Whether a release lets its content in though it was rejected: a person said
/// so, or named it as the target of a rollback.
pub(super) fn lets_in(release: &Release) -> bool {
    release.spec.accepts || release.spec.cause == Cause::Rollback
}

fn is_rollback(release: &Release) -> bool {
    matches!(release.spec.cause, Cause::Rollback | Cause::AutomaticRollback)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::{
        super::story::{Story, content, story},
        *,
    };

    /// 1: A healthy, 2: B healthy, 3: rollback to A.
    fn rolled_back() -> Story {
        story().push("A").healthy().push("B").healthy().rollback_to(1).healthy()
    }

    #[rstest]
    #[case::what_was_left(rolled_back(), "B", Some((2, 3)))]
    #[case::by_bundle_alone(rolled_back(), "B<other", Some((2, 3)))]
    #[case::by_inputs_alone(rolled_back(), "other<B", Some((2, 3)))]
    #[case::never_the_target(rolled_back(), "A", None)]
    #[case::never_what_is_new(rolled_back(), "C", None)]
    #[case::a_failure_alone_rejects_nothing(story().push("A").healthy().push("B").failed(), "B", None)]
    #[case::all_after_the_target(
        story().push("A").healthy().push("B").failed().push("C").failed().rollback_to(1).healthy(), "B", Some((2, 4))
    )]
    #[case::an_automatic_one_as_well(
        story().push("A").healthy().push("B").failed().automatic_rollback_to(1).healthy(), "B", Some((2, 3))
    )]
    #[case::also_after_new_content(rolled_back().push("C").healthy(), "B", Some((2, 3)))]
    #[case::also_if_the_rollback_failed(
        story().push("A").healthy().push("B").healthy().rollback_to(1).failed(), "B", Some((2, 3))
    )]
    #[case::an_accept_outranks(rolled_back().accept("B").healthy(), "B", None)]
    #[case::an_accept_by_the_same_inputs(rolled_back().accept("B2<B").healthy(), "B2<B", None)]
    #[case::an_accept_of_something_else_does_not(rolled_back().accept("C").healthy(), "B", Some((2, 3)))]
    #[case::rejected_again_after_an_accept(
        rolled_back().accept("B").healthy().rollback_to(3).healthy(), "B", Some((4, 5))
    )]
    #[case::a_rollback_to_it_lets_it_in(rolled_back().rollback_to(2).healthy(), "B", None)]
    #[case::and_rejects_what_it_leaves(rolled_back().rollback_to(2).healthy(), "A", Some((3, 4)))]
    #[case::the_target_stays_though_it_was_tried_again(
        story().push("A").healthy().push("B").failed().push("A").failed().rollback_to(1).healthy(), "A", None
    )]
    fn rejected_content_stays_out(
        #[case] story: Story,
        #[case] name: &str,
        #[case] expected: Option<(ReleaseNumber, ReleaseNumber)>,
    ) {
        let (bundle, inputs) = content(name);
        let history = story.history();
        let rejected = history.rejection_of(&bundle, &inputs);
        assert_eq!(rejected.map(|rejected| (rejected.release, rejected.by.spec.number)), expected);
    }

    #[test]
    fn the_hold_says_who_and_why() {
        let (bundle, inputs) = content("B");
        let history = rolled_back().history();
        let rejected = history.rejection_of(&bundle, &inputs).expect("B was rolled back");
        assert_eq!((rejected.requested_by, rejected.reason), ("ada", "queue backs up"));
    }

    #[test]
    fn the_hold_outlives_the_release_that_carried_the_content() {
        let (bundle, inputs) = content("B");
        let mut history = rolled_back().history();
        history.forget(2);
        assert!(history.rejection_of(&bundle, &inputs).is_some());
    }

    #[test]
    fn each_content_is_rejected_once_under_its_newest_release() {
        let history = story()
            .push("A")
            .healthy()
            .push("B")
            .failed()
            .push("C")
            .failed()
            .push("B")
            .failed()
            .push("A")
            .failed()
            .history();
        let rejections: Vec<_> = history.rejections_for(1).iter().map(|rejection| rejection.release).collect();
        assert_eq!(rejections, [4, 3]);
    }

    /// What may happen to an application, in any order.
    fn any_story() -> impl Strategy<Value = History> {
        prop::collection::vec((0..7_u8, 0..5_u8, 0..100_u64), 1..30).prop_map(|steps| {
            let mut story = story().push("A").healthy();
            for (step, name, target) in steps {
                let name = ["A", "B", "C", "B2<B", "C<A"][usize::from(name)];
                let history = story.history();
                let newest = history.next_number() - 1;
                story = Story::from(history);
                story = match step {
                    0 => story.push(name).healthy(),
                    1 => story.push(name).failed(),
                    2 => story.push(name).refused(),
                    3 => story.push(name),
                    4 => story.accept(name).healthy(),
                    5 => story.rollback_to(1 + target % newest).healthy(),
                    _ => story.automatic_rollback_to(1 + target % newest).failed(),
                };
            }
            story.history()
        })
    }

    proptest! {
        #[test]
        fn the_content_of_a_rollback_is_not_rejected_by_it(history in any_story()) {
            for release in &history {
                if let Some(rejected) = history.rejection_of(&release.spec.bundle, &release.spec.inputs) {
                    prop_assert!(!same_content(rejected.by, release));
                }
            }
        }

        #[test]
        fn a_rollback_rejects_what_it_leaves_unless_it_is_its_target(history in any_story(), target in 0..100_u64) {
            let left = history.current().expect("there is a release").clone();
            let target = history.get(1 + target % left.spec.number).expect("none was trimmed").clone();
            let after = Story::from(history).rollback_to(target.spec.number).history();
            let rejected = after.rejection_of(&left.spec.bundle, &left.spec.inputs).is_some();
            prop_assert_eq!(rejected, !same_content(&left, &target));
            prop_assert!(after.rejection_of(&target.spec.bundle, &target.spec.inputs).is_none());
        }

        #[test]
        fn a_default_target_is_never_rejected_and_never_what_is_left(history in any_story()) {
            let left = history.current().expect("there is a release");
            if let Some(target) = history.rollback_target(left.spec.number) {
                prop_assert!(!same_content(target, left));
                prop_assert!(history.rejection_of(&target.spec.bundle, &target.spec.inputs).is_none());
            }
        }
    }
}
