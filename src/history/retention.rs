//! What may be forgotten.

use std::collections::BTreeSet;

use super::{
    Decision, History, ReleaseNumber,
    hold::{covers, lets_in},
};
use crate::manifest::{BundleDigest, InputDigest};

/// Among this many newest releases retention leaves no gap: a release that is
/// missing there was removed by somebody else.
pub const WHOLE_WINDOW: usize = 100;

/// The releases to delete, oldest first, so that `limit` of them are left.
///
/// Never among them: the running one, the newest, the one that is in the
/// cluster, the last healthy one, the target of a rollback from the newest,
/// the evidence of a hold on what the head renders, and what the caller pins.
/// Releases between a kept one and the newest stay too, so that the chain has
/// no gaps, up to the [`WHOLE_WINDOW`] newest.
pub fn trim(
    history: &History,
    limit: usize,
    head: Option<(&BundleDigest, &InputDigest)>,
    pins: &BTreeSet<ReleaseNumber>,
) -> Vec<ReleaseNumber> {
    let numbers: Vec<ReleaseNumber> = history.iter().map(|release| release.spec.number).collect();
    let newest_first = |count: usize| numbers.get(numbers.len().saturating_sub(count.max(1))).copied();
    let (Some(window), Some(whole)) = (newest_first(limit), newest_first(limit.max(WHOLE_WINDOW))) else {
        return Vec::new();
    };
    let pinned = pinned(history, head, pins);
    let oldest = pinned.first().copied().unwrap_or(window).min(window);
    let kept = |number: &ReleaseNumber| pinned.contains(number) || (*number >= oldest && *number >= whole);
    numbers.iter().copied().filter(|number| !kept(number)).collect()
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
