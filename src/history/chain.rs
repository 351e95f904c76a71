//! The chain: each release carries the digest of the one before, with its
//! outcome, so that an edited, removed or slipped-in release is found.
//!
//! The chain is evidence, not a lock: whoever may write all releases of an
//! application and its status can forge the whole of it. `verify` finds what
//! was changed piecemeal.

use std::{collections::BTreeMap, fmt};

use super::{ReleaseNumber, WHOLE_WINDOW, releases::outcome};
use crate::{
    api::Release,
    manifest::{Digest, ReleaseDigest, canonical_json},
};

/// What the chain of an application's releases says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainReport {
    /// The release from which on everything is as it was written, up to the
    /// newest; none if there is no release.
    pub whole_from: Option<ReleaseNumber>,
    /// What is wrong, oldest first.
    pub problems: Vec<ChainProblem>,
}

/// Something that is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainProblem {
    /// A release is not as it was when the next one was made.
    Edited(ReleaseNumber),
    /// One of two neighbours was changed, and which one cannot be told.
    Broken {
        /// The earlier of the two.
        earlier: ReleaseNumber,
        /// The later of the two.
        later: ReleaseNumber,
    },
    /// Releases between two kept ones are gone.
    Removed {
        /// The first that is gone.
        first: ReleaseNumber,
        /// The last that is gone.
        last: ReleaseNumber,
    },
    /// A release was made after another one than its number says.
    Reordered {
        /// The release.
        release: ReleaseNumber,
        /// The one after which it was made.
        made_after: ReleaseNumber,
    },
    /// A release was not made by the controller: it names nothing before it,
    /// or something that never was.
    Forged(ReleaseNumber),
    /// Two objects claim one number.
    Doubled(ReleaseNumber),
    /// A release has no outcome, though later ones exist.
    Unended(ReleaseNumber),
    /// The end of the chain that the Application's status names is not here:
    /// the newest release was edited, or newer ones were removed.
    EndUnknown,
}

impl fmt::Display for ChainProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edited(release) => write!(f, "release {release} was edited after the next one was made"),
            Self::Broken { earlier, later } => {
                write!(f, "release {later} does not fit release {earlier}: one of the two was edited")
            }
            Self::Removed { first, last } if first == last => write!(f, "release {first} was removed"),
            Self::Removed { first, last } => write!(f, "releases {first} to {last} were removed"),
            Self::Reordered { release, made_after } => {
                write!(f, "release {release} was made after release {made_after}, not after the one before it")
            }
            Self::Forged(release) => write!(f, "release {release} was not made by the controller"),
            Self::Doubled(release) => write!(f, "there is more than one release {release}"),
            Self::Unended(release) => write!(f, "release {release} has no outcome, though later releases exist"),
            Self::EndUnknown => f.write_str(
                "the end of the chain that the status names is gone: the newest release was edited, or newer ones were removed",
            ),
        }
    }
}

/// The digest of a release with its outcome; none before it has ended. It
/// covers the spec and the outcome, not what happened afterwards.
pub fn release_digest(release: &Release) -> Option<ReleaseDigest> {
    let outcome = outcome(release)?;
    let spec = serde_json::to_value(&release.spec).ok()?;
    let outcome = serde_json::to_value(outcome).ok()?;
    Some(ReleaseDigest(Digest::of_parts([b"release".to_vec(), canonical_json(&spec), canonical_json(&outcome)])))
}

/// Checks the chain of an application's releases, given in any order, against
/// itself and against the end that the Application's status names, if it names
/// one. A beginning that was trimmed is as it should be.
pub fn verify(releases: &[Release], end: Option<&ReleaseDigest>) -> ChainReport {
    let mut sorted: Vec<&Release> = releases.iter().collect();
    sorted.sort_by_key(|release| release.spec.number);
    let digests: Vec<Option<ReleaseDigest>> = sorted.iter().map(|release| release_digest(release)).collect();
    let chain = Chain { releases: sorted, digests };

    let mut report = ChainReport { whole_from: chain.number(0), problems: Vec::new() };
    if let Some(first) = chain.releases.first() {
        // Only the very first release has nothing before it.
        if (first.spec.number == 1) != first.spec.previous.is_none() {
            report.problems.push(ChainProblem::Forged(first.spec.number));
        }
    }
    for later in 1..chain.releases.len() {
        let link = chain.link(later, end);
        if link.is_some() {
            report.whole_from = chain.number(later);
        }
        report.problems.extend(link.flatten());
    }
    if end.is_some_and(|end| !chain.knows(end)) {
        report.problems.push(ChainProblem::EndUnknown);
    }
    // An edit shows at both of its links; it is one problem.
    let mut seen = Vec::new();
    report.problems.retain(|problem| {
        let new = !seen.contains(problem);
        seen.push(problem.clone());
        new
    });
    // What was found edited is itself no part of what is whole.
    let edited = report.problems.iter().filter_map(|problem| match problem {
        ChainProblem::Edited(release) | ChainProblem::Forged(release) => Some(release + 1),
        ChainProblem::Broken { later, .. } => Some(*later),
        _ => None,
    });
    let newest = chain.releases.last().map(|release| release.spec.number);
    report.whole_from = report.whole_from.into_iter().chain(edited).max().filter(|from| Some(*from) <= newest);
    report
}

/// Releases by number, with the digest of each that has ended.
struct Chain<'a> {
    releases: Vec<&'a Release>,
    digests: Vec<Option<ReleaseDigest>>,
}

impl Chain<'_> {
    fn number(&self, index: usize) -> Option<ReleaseNumber> {
        self.releases.get(index).map(|release| release.spec.number)
    }

    /// What is wrong between a release and the one before it: `None` if the
    /// link holds, `Some(None)` if it is a break that is as it should be.
    fn link(&self, later: usize, end: Option<&ReleaseDigest>) -> Option<Option<ChainProblem>> {
        let (before, after) = (self.releases[later - 1], self.releases[later]);
        let (earlier_number, number) = (before.spec.number, after.spec.number);
        if earlier_number == number {
            return Some(Some(ChainProblem::Doubled(number)));
        }
        if number > earlier_number + 1 {
            // Retention leaves gaps only below the newest releases.
            let trimmed = self.releases.len() - later >= WHOLE_WINDOW;
            let removed = ChainProblem::Removed { first: earlier_number + 1, last: number - 1 };
            return Some((!trimmed).then_some(removed));
        }
        let Some(digest) = &self.digests[later - 1] else {
            return Some(Some(ChainProblem::Unended(earlier_number)));
        };
        let Some(previous) = &after.spec.previous else {
            return Some(Some(ChainProblem::Forged(number)));
        };
        if previous == digest {
            return None;
        }
        if let Some(made_after) = self.made_after(previous) {
            return Some(Some(ChainProblem::Reordered { release: number, made_after }));
        }
        let problem = match self.is_attested(later, end) {
            Some(true) => ChainProblem::Edited(earlier_number),
            Some(false) => ChainProblem::Edited(number),
            None if self.is_end(later - 1, end) => ChainProblem::Forged(number),
            None => ChainProblem::Broken { earlier: earlier_number, later: number },
        };
        Some(Some(problem))
    }

    /// Whether a release is as its successor, or the end of the chain, says;
    /// none if nothing vouches for it.
    fn is_attested(&self, index: usize, end: Option<&ReleaseDigest>) -> Option<bool> {
        let digest = self.digests[index].as_ref();
        match self.releases.get(index + 1) {
            Some(next) => Some(next.spec.previous.as_ref() == digest),
            None => (end.is_some() && end == digest).then_some(true),
        }
    }

    fn is_end(&self, index: usize, end: Option<&ReleaseDigest>) -> bool {
        end.is_some() && self.digests[index].as_ref() == end
    }

    fn made_after(&self, previous: &ReleaseDigest) -> Option<ReleaseNumber> {
        let by_digest: BTreeMap<&ReleaseDigest, ReleaseNumber> = self
            .digests
            .iter()
            .zip(&self.releases)
            .filter_map(|(digest, release)| Some((digest.as_ref()?, release.spec.number)))
            .collect();
        by_digest.get(previous).copied()
    }

    /// Whether the end that a status names is here. The status is written
    /// after the outcome, so that it may be some releases behind.
    fn knows(&self, end: &ReleaseDigest) -> bool {
        self.digests.iter().flatten().any(|digest| digest == end)
            || self.releases.iter().any(|release| release.spec.previous.as_ref() == Some(end))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{
        super::{History, story::story},
        *,
    };

    fn six() -> History {
        story()
            .push("A")
            .healthy()
            .push("B")
            .failed()
            .push("C")
            .healthy()
            .push("D")
            .healthy()
            .push("E")
            .healthy()
            .push("F")
            .healthy()
            .history()
    }

    fn edit(mut releases: Vec<Release>, number: ReleaseNumber, edit: impl Fn(&mut Release)) -> Vec<Release> {
        releases.iter_mut().filter(|release| release.spec.number == number).for_each(edit);
        releases
    }

    fn without(releases: Vec<Release>, gone: &[ReleaseNumber]) -> Vec<Release> {
        releases.into_iter().filter(|release| !gone.contains(&release.spec.number)).collect()
    }

    fn all() -> Vec<Release> {
        six().releases().to_vec()
    }

    #[rstest]
    #[case::as_it_was_written(all(), 1, vec![])]
    #[case::nothing_at_all(vec![], 0, vec![])]
    #[case::a_trimmed_beginning(without(all(), &[1, 2]), 3, vec![])]
    #[case::what_happened_afterwards_is_no_part(
        edit(all(), 3, |release| release.status.get_or_insert_default().after = Some(crate::api::ReleaseAfter { repairs: 3, ..Default::default() })),
        1, vec![]
    )]
    #[case::a_reason_was_edited(edit(all(), 3, |release| release.spec.reason = "x".into()), 4, vec![ChainProblem::Edited(3)])]
    #[case::an_outcome_was_edited(
        edit(all(), 2, |release| release.status.iter_mut().flat_map(|status| &mut status.outcome).for_each(|outcome| outcome.phase = crate::api::Phase::Healthy)),
        3, vec![ChainProblem::Edited(2)]
    )]
    #[case::two_were_edited(
        edit(edit(all(), 2, |release| release.spec.reason = "x".into()), 5, |release| release.spec.reason = "x".into()),
        6, vec![ChainProblem::Edited(2), ChainProblem::Edited(5)]
    )]
    #[case::the_link_itself_was_edited(
        edit(all(), 4, |release| release.spec.previous = Some(ReleaseDigest(Digest::of(b"x")))), 5, vec![ChainProblem::Edited(4)]
    )]
    #[case::one_was_removed(without(all(), &[4]), 5, vec![ChainProblem::Removed { first: 4, last: 4 }])]
    #[case::some_were_removed(without(all(), &[3, 4, 5]), 6, vec![ChainProblem::Removed { first: 3, last: 5 }])]
    #[case::the_newest_was_edited(edit(all(), 6, |release| release.spec.reason = "x".into()), 1, vec![ChainProblem::EndUnknown])]
    #[case::the_newest_was_removed(without(all(), &[6]), 1, vec![ChainProblem::EndUnknown])]
    #[case::one_that_had_no_end(
        edit(all(), 4, |release| release.status = None), 5, vec![ChainProblem::Unended(4)]
    )]
    fn what_was_done_to_the_chain_is_found(
        #[case] releases: Vec<Release>,
        #[case] whole_from: ReleaseNumber,
        #[case] problems: Vec<ChainProblem>,
    ) {
        let end = if releases.is_empty() { None } else { six().tip() };
        let report = verify(&releases, end.as_ref());
        assert_eq!(report, ChainReport { whole_from: Some(whole_from).filter(|from| *from > 0), problems });
    }

    #[test]
    fn two_releases_that_changed_places_are_found() {
        let mut releases = all();
        releases[2].spec.number = 4;
        releases[3].spec.number = 3;
        let report = verify(&releases, six().tip().as_ref());
        assert!(!report.problems.is_empty() && report.whole_from >= Some(5), "{report:?}");
        assert!(report.problems.iter().any(|problem| matches!(problem, ChainProblem::Reordered { .. })), "{report:?}");
    }

    #[test]
    fn a_release_that_was_slipped_in_at_the_end_is_found() {
        let honest = six();
        let mut releases = all();
        let mut forged = releases[5].clone();
        forged.spec.number = 7;
        forged.spec.previous = Some(ReleaseDigest(Digest::of(b"guessed")));
        releases.push(forged);
        let report = verify(&releases, honest.tip().as_ref());
        assert_eq!(report, ChainReport { whole_from: None, problems: vec![ChainProblem::Forged(7)] });
    }

    #[test]
    fn a_copy_of_a_number_is_found() {
        let mut releases = all();
        releases.push(releases[2].clone());
        assert!(verify(&releases, None).problems.contains(&ChainProblem::Doubled(3)));
    }

    #[test]
    fn without_an_end_to_compare_either_of_the_newest_two_may_be_the_edited_one() {
        let releases = edit(all(), 5, |release| release.spec.reason = "x".into());
        assert_eq!(verify(&releases, None).problems, [ChainProblem::Broken { earlier: 5, later: 6 }]);
    }

    #[test]
    fn the_status_may_lag_behind_the_newest_outcome() {
        let end = release_digest(&all()[4]);
        assert_eq!(verify(&all(), end.as_ref()), ChainReport { whole_from: Some(1), problems: vec![] });
    }

    #[test]
    fn a_running_release_is_part_of_a_whole_chain() {
        let history = story().push("A").healthy().push("B").applying().history();
        let report = verify(history.releases(), release_digest(&history.releases()[0]).as_ref());
        assert_eq!(report, ChainReport { whole_from: Some(1), problems: vec![] });
    }

    #[test]
    fn the_digest_of_a_release_is_the_same_for_ever() {
        let digest = six().tip().map(|digest| digest.short(16));
        assert_eq!(digest.as_deref(), Some("32d8a9add98b16bb"));
    }
}
