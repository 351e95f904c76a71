//! What is asked of a repository.

use std::{fmt, str::FromStr};

use semver::VersionReq;

use super::id::CommitId;

/// What is asked of a repository: the value of `source.revision`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revision {
    /// Nothing, or `HEAD`: the branch that the repository calls its default.
    Default,
    /// A name that is a branch or a tag. If it is both, and they differ, it is
    /// refused.
    Name(String),
    /// `refs/heads/<name>`.
    Branch(String),
    /// `refs/tags/<name>`.
    Tag(String),
    /// Another reference, by its full name, such as `refs/pull/7/head`.
    Reference(String),
    /// A commit, by its full name.
    Commit(CommitId),
    /// The highest tag that is a version within a range.
    SemverRange {
        /// The range as it was written.
        text: String,
        /// The range.
        range: VersionReq,
    },
}

/// Why a text is not a revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the revision `{}` is refused: {reason}", .revision.escape_debug())]
pub struct RevisionRefused {
    /// The text.
    pub revision: String,
    /// Why, and what to do.
    pub reason: String,
}

impl Revision {
    /// Reads `source.revision`, where nothing means the default branch.
    ///
    /// # Errors
    /// The text is neither a possible name nor a range of versions.
    pub fn of(revision: Option<&str>) -> Result<Self, RevisionRefused> {
        revision.unwrap_or_default().parse()
    }
}

impl FromStr for Revision {
    type Err = RevisionRefused;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason: String| RevisionRefused { revision: text.to_owned(), reason };
        let named = |name: &str, full: String, make: fn(String) -> Self| {
            if git2::Reference::is_valid_name(&full) {
                Ok(make(name.to_owned()))
            } else {
                Err(refuse("it is not a name that Git allows".to_owned()))
            }
        };
        let text = text.trim();
        if text.is_empty() || text == "HEAD" {
            return Ok(Self::Default);
        }
        if let Some(name) = text.strip_prefix("refs/heads/") {
            return named(name, text.to_owned(), Self::Branch);
        }
        if let Some(name) = text.strip_prefix("refs/tags/") {
            return named(name, text.to_owned(), Self::Tag);
        }
        if text.starts_with("refs/") {
            return named(text, text.to_owned(), Self::Reference);
        }
        if let Ok(commit) = text.parse() {
            return Ok(Self::Commit(commit));
        }
        if looks_like_range(text) {
            let range = parse_range(text)
                .map_err(|reason| refuse(format!("it is not a range of versions such as `>=1.2 <2`: {reason}")))?;
            return Ok(Self::SemverRange { text: text.to_owned(), range });
        }
        named(text, format!("refs/heads/{text}"), Self::Name)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default branch"),
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Branch(name) => write!(f, "branch `{name}`"),
            Self::Tag(name) => write!(f, "tag `{name}`"),
            Self::Reference(name) => write!(f, "reference `{name}`"),
            Self::Commit(id) => write!(f, "commit {id}"),
            Self::SemverRange { text, .. } => write!(f, "versions `{text}`"),
        }
    }
}

/// The version that a tag names, with or without `v` before it.
pub(super) fn version_of(tag: &str) -> Option<semver::Version> {
    semver::Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

/// A range has an operator, or `x` or `*` as a part. A plain `1.2` or `v1.2.3`
/// is a name: people call branches and tags so.
fn looks_like_range(text: &str) -> bool {
    if text.starts_with(['<', '>', '=', '~', '^']) || text == "*" {
        return true;
    }
    let bare = text.strip_prefix('v').unwrap_or(text);
    let mut parts = bare.split('.');
    parts.next().is_some_and(|major| !major.is_empty() && major.bytes().all(|byte| byte.is_ascii_digit()))
        && bare.split('.').any(|part| matches!(part, "x" | "X" | "*"))
}

/// Reads a range whose parts stand together by spaces or commas, and whose
/// versions may have a `v` before them.
fn parse_range(text: &str) -> Result<VersionReq, String> {
    let mut comparators: Vec<String> = Vec::new();
    let mut operator = String::new();
    for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
        let version = word.trim_start_matches(['<', '>', '=', '~', '^']);
        operator.push_str(&word[..word.len() - version.len()]);
        if version.is_empty() {
            continue;
        }
        let version = version.strip_prefix('v').unwrap_or(version).replace(['x', 'X'], "*");
        comparators.push(format!("{}{version}", std::mem::take(&mut operator)));
    }
    if !operator.is_empty() {
        return Err(format!("`{operator}` has no version after it"));
    }
    VersionReq::parse(&comparators.join(", ")).map_err(|error| error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789ABCDEF01234567";

    #[rstest]
    #[case::nothing("", "the default branch")]
    #[case::head("HEAD", "the default branch")]
    #[case::a_name("main", "`main`")]
    #[case::a_name_with_slashes("release/1.8", "`release/1.8`")]
    #[case::a_branch("refs/heads/main", "branch `main`")]
    #[case::a_tag("refs/tags/v1.0", "tag `v1.0`")]
    #[case::another_reference("refs/pull/7/head", "reference `refs/pull/7/head`")]
    #[case::a_commit(COMMIT, "commit 0123456789abcdef0123456789abcdef01234567")]
    #[case::a_short_commit_is_a_name("0123456", "`0123456`")]
    #[case::a_plain_version_is_a_name("v1.8.0", "`v1.8.0`")]
    #[case::two_numbers_are_a_name("1.8", "`1.8`")]
    #[case::a_name_with_an_x("linux.x", "`linux.x`")]
    #[case::a_range(">=1.2 <2", "versions `>=1.2 <2`")]
    #[case::a_range_with_any_part("v1.8.x", "versions `v1.8.x`")]
    #[case::a_tilde("~1.4", "versions `~1.4`")]
    #[case::any_version("*", "versions `*`")]
    fn a_revision_is_read(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(text.parse::<Revision>().unwrap().to_string(), shown);
    }

    #[rstest]
    #[case::two_dots("main..other")]
    #[case::a_space("my branch")]
    #[case::an_empty_branch("refs/heads/")]
    #[case::a_line_break("a\nb")]
    #[case::a_zero_byte("a\0b")]
    #[case::a_caret("main^")]
    #[case::a_wrong_range(">=one")]
    #[case::an_operator_alone(">=")]
    fn a_revision_is_refused(#[case] text: &str) {
        let message = text.parse::<Revision>().unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".*|[<>=~^v0-9.xX* ,-]{0,16}") {
            if let Err(error) = text.parse::<Revision>() {
                proptest::prop_assert!(!error.to_string().contains(char::is_control), "{}", error);
            }
        }
    }

    #[rstest]
    #[case::between(">=1.2 <2", &["1.2.0", "1.99.0"], &["1.1.9", "2.0.0"])]
    #[case::with_spaces_after_the_operator(">= v1.2, < v2", &["1.2.0"], &["2.0.0"])]
    #[case::any_patch("v1.8.x", &["1.8.0", "1.8.7"], &["1.9.0"])]
    #[case::tilde("~1.4", &["1.4.9"], &["1.5.0"])]
    #[case::caret("^1.4", &["1.5.0"], &["2.0.0"])]
    #[case::prereleases_only_where_asked("*", &["3.0.0"], &["3.0.0-rc.1"])]
    #[case::prereleases_where_asked(">=3.0.0-rc.1", &["3.0.0-rc.2"], &["2.0.0"])]
    fn a_range_takes_versions(#[case] text: &str, #[case] takes: &[&str], #[case] leaves: &[&str]) {
        let Revision::SemverRange { range, .. } = text.parse().unwrap() else { unreachable!("{text} is a range") };
        for version in takes {
            assert!(range.matches(&version.parse().unwrap()), "{version}");
        }
        for version in leaves {
            assert!(!range.matches(&version.parse().unwrap()), "{version}");
        }
    }
}
