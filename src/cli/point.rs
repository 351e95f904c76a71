//! A state of an application that a person names: a release, the commit of
//! one, or what is live.

use std::{collections::BTreeSet, convert::Infallible, str::FromStr};

use super::{CommandError, words};
use crate::{api::Release, history::History};

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Point {
    /// `live`: what is in the cluster.
    Live,
    /// `12`: a release.
    Release(u64),
    /// `HEAD~3`: so many commits before the newest, of those that were released
    /// and are kept. Commits that change nothing of an application make no
    /// release, and only Git could count them.
    Head(usize),
    /// Anything else: a commit of a release, or else a revision of Git.
    Revision(String),
}

/// What it means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Resolved<'a> {
    /// What is in the cluster.
    Live,
    /// A release that is kept.
    Release(&'a Release),
    /// A revision that no kept release has, which only Git knows.
    Revision(&'a str),
}

/// So many digits of a commit name it.
const COMMIT_DIGITS: usize = 7;

impl FromStr for Point {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let back = |rest: &str| match rest {
            "" => Some(0),
            rest if rest.bytes().all(|byte| byte == b'^') => Some(rest.len()),
            rest => rest.strip_prefix('~')?.parse().ok(),
        };
        Ok(match (text, text.parse()) {
            ("live", _) => Self::Live,
            // With more digits it may be a commit that has no letters.
            (_, Ok(number)) if text.len() < COMMIT_DIGITS => Self::Release(number),
            _ => match text.strip_prefix("HEAD").and_then(back) {
                Some(back) => Self::Head(back),
                None => Self::Revision(text.to_owned()),
            },
        })
    }
}

impl Point {
    /// What it means in a history.
    pub fn resolve<'a>(&'a self, application: &str, history: &'a History) -> Result<Resolved<'a>, CommandError> {
        let releases = history.releases();
        match self {
            Self::Live => Ok(Resolved::Live),
            Self::Release(number) => match history.get(*number) {
                Some(release) => Ok(Resolved::Release(release)),
                None => Err(not_kept(application, &format!("release {number}"), history)),
            },
            Self::Head(back) => match of_commits(history).nth(*back) {
                Some(release) => Ok(Resolved::Release(release)),
                None => {
                    let error = not_kept(application, &format!("HEAD~{back}"), history);
                    let commits = words::count(of_commits(history).count(), "commit");
                    Err(error.hint(format!("they have {commits} from Git, and HEAD is the newest of them")))
                }
            },
            Self::Revision(text) => {
                let digits = text.len() >= COMMIT_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                let lower = text.to_ascii_lowercase();
                let of_commit = |release: &&Release| digits && release.spec.commit.id.starts_with(&lower);
                // A rollback carries an old commit: the newest release that brought
                // it is meant, as long as one is kept.
                let brought = |release: &&Release| of_commit(release) && release.spec.rollback_to.is_none();
                let newest_first = || releases.iter().rev();
                let found = newest_first().find(brought).or_else(|| newest_first().find(of_commit));
                match found.or_else(|| history.get(text.parse().ok()?)) {
                    Some(release) => Ok(Resolved::Release(release)),
                    None => Ok(Resolved::Revision(text)),
                }
            }
        }
    }

    /// The kept release that it means; what is live is the release whose content
    /// is in the cluster.
    pub fn release<'a>(
        &'a self,
        application: &str,
        history: &'a History,
        program: &str,
    ) -> Result<&'a Release, CommandError> {
        match self.resolve(application, history)? {
            Resolved::Release(release) => Ok(release),
            Resolved::Revision(text) => Err(unreleased(text, application, program)),
            Resolved::Live => history.applied().ok_or_else(|| {
                CommandError::failed(format!("no release of {application} has reached the cluster"))
                    .hint(format!("`{program} history {application}` lists them"))
            }),
        }
    }
}

/// The newest release of each commit that came from Git, the newest commit
/// first: what a rollback brings back came before.
fn of_commits(history: &History) -> impl Iterator<Item = &Release> {
    let mut seen = BTreeSet::new();
    let brought = history.iter().rev().filter(|release| release.spec.rollback_to.is_none());
    brought.filter(move |release| seen.insert(release.spec.commit.id.as_str()))
}

/// Why a revision is no release, and where to look.
pub fn unreleased(revision: &str, application: &str, program: &str) -> CommandError {
    CommandError::usage(format!("no kept release has {}", words::line(revision)))
        .hint(format!("`{program} history {application}` lists them"))
}

fn not_kept(application: &str, what: &str, history: &History) -> CommandError {
    let numbers: Vec<u64> = history.iter().map(|release| release.spec.number).collect();
    let error = CommandError::failed(format!("{what} of {application} is not kept"));
    match (numbers.first(), numbers.last()) {
        (Some(first), Some(last)) if first == last => error.hint(format!("only release {first} is kept")),
        (Some(first), Some(last)) => error.hint(format!("releases {first} to {last} are kept")),
        _ => error.hint("it has had no release yet"),
    }
}

impl Resolved<'_> {
    /// In words: `release 12`.
    pub fn words(&self) -> String {
        match self {
            Self::Live => "live".to_owned(),
            Self::Release(release) => format!("release {}", release.spec.number),
            Self::Revision(text) => words::line(text),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::{super::testing::Releases, *};
    use crate::api::{Cause, Phase};

    /// Releases 3 to 6, of which 6 goes back to 4.
    fn history() -> History {
        let mut releases = Releases::of("shop");
        for _ in 1..=5 {
            releases = releases.release(1_000, |_| {}).ended(Phase::Healthy, 3, "");
        }
        let releases = releases.release(500, |spec| {
            spec.cause = Cause::Rollback;
            spec.rollback_to = Some(4);
            spec.commit.id = format!("{:040x}", 4);
        });
        History::new(releases.from(3))
    }

    #[rstest]
    #[case("12", Point::Release(12))]
    #[case("live", Point::Live)]
    #[case("HEAD", Point::Head(0))]
    #[case("HEAD~3", Point::Head(3))]
    #[case("HEAD^^", Point::Head(2))]
    #[case("HEAD~x", Point::Revision("HEAD~x".into()))]
    #[case("main", Point::Revision("main".into()))]
    #[case("123456", Point::Release(123_456))]
    #[case::a_commit_may_have_no_letters("82837254", Point::Revision("82837254".into()))]
    fn what_is_typed_is_understood(#[case] text: &str, #[case] point: Point) {
        assert_eq!(text.parse(), Ok(point));
    }

    #[rstest]
    #[case("5", "release 5")]
    #[case::of_the_newest_commit_and_not_the_rollback("HEAD", "release 5")]
    #[case("HEAD~1", "release 4")]
    #[case("HEAD~2", "release 3")]
    #[case::the_release_that_brought_it_and_not_the_rollback("0000000000000000000000000000000000000004", "release 4")]
    #[case::the_same_in_short("00000000000000000000000000000000000000", "release 5")]
    #[case::a_number_of_many_digits("0000005", "release 5")]
    #[case("live", "live")]
    #[case("main", "main")]
    #[case::not_enough_digits("0000", "release 0")]
    fn a_point_is_a_release_where_one_is_meant(#[case] text: &str, #[case] words: &str) {
        let history = history();
        let Ok(point) = text.parse::<Point>();
        let resolved = point.resolve("shop", &history).map(|resolved| resolved.words());
        match resolved {
            Ok(resolved) => assert_eq!(resolved, words),
            Err(error) => assert_eq!(error.error, format!("{words} of shop is not kept")),
        }
    }

    #[rstest]
    #[case("2", "")]
    #[case("HEAD~3", "they have 3 commits from Git, and HEAD is the newest of them")]
    #[case("HEAD~18446744073709551615", "they have 3 commits from Git, and HEAD is the newest of them")]
    fn a_release_that_is_not_kept_is_said_with_those_that_are(#[case] text: &str, #[case] more: &str) {
        let Ok(point) = text.parse::<Point>();
        let error = point.resolve("shop", &history()).map(|resolved| resolved.words()).unwrap_err();
        let hints = ["releases 3 to 6 are kept", more];
        assert_eq!(error.hints, hints[..if more.is_empty() { 1 } else { 2 }]);
    }

    /// A commit that was tried again, or asked for again, is one commit.
    #[test]
    fn commits_are_counted_and_not_releases() {
        let of_commit =
            |commit: u64| move |spec: &mut crate::api::ReleaseSpec| spec.commit.id = format!("{commit:040x}");
        let mut releases = Releases::of("shop");
        for commit in [1, 2, 2, 3, 1] {
            releases = releases.release(1_000, of_commit(commit)).ended(Phase::Failed, 3, "");
        }
        let history = History::new(releases.from(1));
        let numbers: Vec<u64> = of_commits(&history).map(|release| release.spec.number).collect();
        assert_eq!(numbers, [5, 4, 3], "commits 1, 3 and 2");
    }

    #[test]
    fn where_a_release_is_needed_live_is_the_one_in_the_cluster_and_a_branch_is_none() {
        let history = history();
        let release = |text: &str| {
            let Ok(point) = text.parse::<Point>();
            point
                .release("shop", &history, "bowline")
                .map(|release| release.spec.number)
                .map_err(|error| error.to_string())
        };
        assert_eq!((release("live"), release("4")), (Ok(5), Ok(4)));
        insta::assert_snapshot!(release("main").unwrap_err(), @r"
        error: no kept release has main
        hint: `bowline history shop` lists them
        ");
    }
}
