//! What a kustomization names of another repository, as Kustomize reads it:
//! <https://github.com/kubernetes-sigs/kustomize/blob/master/examples/remoteBuild.md>.

use std::{fmt, sync::Arc};

use crate::{manifest::escape_control, render::path::relative_to, source::files::Files};

/// A directory of another repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseReference {
    /// URL of the repository, for Git.
    pub repository: String,
    /// Branch, tag, range of versions or commit; that of the repository if it
    /// is not given.
    pub revision: Option<String>,
    /// The directory, clean; empty for the root.
    pub path: String,
}

/// A repository that a base is read from, at some commit.
#[derive(Clone)]
pub struct Base {
    /// All its files.
    pub files: Arc<dyn Files>,
}

/// Why a base cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoBase {
    /// It may not be loaded: the kustomization has to change, or what the
    /// operator allows.
    Refused {
        /// Why, lower case, without a period.
        because: String,
        /// What to do.
        hint: String,
    },
    /// It cannot be fetched now, in words.
    Unavailable(String),
}

impl BaseReference {
    /// Reads what a kustomization names; none where that is no directory of a
    /// Git repository.
    pub fn parse(written: &str) -> Option<Self> {
        let (place, query) = written.split_once('?').unwrap_or((written, ""));
        let place = place.get(..5).filter(|prefix| prefix.eq_ignore_ascii_case("git::")).map_or(place, |_| &place[5..]);
        let (host, rest) = split_host(place)?;
        let (repository, path) = split_path(rest, &host)?;
        let path = relative_to("", path.trim_start_matches('/'))?;
        Some(Self { repository: format!("{host}{repository}"), revision: revision(query), path })
    }

    /// Whether it names one commit, so that it is the same for ever.
    pub fn is_pinned(&self) -> bool {
        let is_commit = |revision: &String| {
            matches!(revision.len(), 40 | 64) && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        self.revision.as_ref().is_some_and(is_commit)
    }

    /// The repository at its revision, as messages name it.
    pub(super) fn place(&self) -> String {
        let revision = self.revision.as_ref().map(|revision| format!("@{revision}")).unwrap_or_default();
        escape_control(&format!("{}{revision}", crate::source::redact(&self.repository))).into_owned()
    }
}

impl fmt::Display for BaseReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, .. } = self;
        if path.is_empty() { f.write_str(&self.place()) } else { write!(f, "{}//{path}", self.place()) }
    }
}

/// `https://host/`, `ssh://user@host/`, `user@host:`, and what is behind it.
fn split_host(place: &str) -> Option<(String, &str)> {
    let scheme = ["ssh://", "https://", "http://", "file://"]
        .into_iter()
        .find(|scheme| place.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let place = &place[scheme.map_or(0, str::len)..];
    if scheme == Some("file://") {
        return Some(("file://".to_owned(), place));
    }
    let (user, place) = match place.split_once('@').filter(|(user, _)| is_user(user)) {
        Some((user, place)) => (format!("{user}@"), place),
        None => (String::new(), place),
    };
    let is_github = place
        .get(..11)
        .is_some_and(|start| start.eq_ignore_ascii_case("github.com/") || start.eq_ignore_ascii_case("github.com:"));
    let short = scheme.is_none() && (is_github || !user.is_empty());
    if scheme.is_none() && !short {
        return None;
    }
    let end = match (place.find('/'), place.find(':').filter(|_| short)) {
        (Some(slash), Some(colon)) => slash.min(colon),
        (slash, colon) => slash.or(colon)?,
    };
    let (host, rest) = (&place[..end], &place[end + 1..]);
    if host.is_empty() {
        return None;
    }
    // Kustomize takes what is said of this host for one of two addresses.
    let whole = match scheme {
        _ if is_github && (scheme == Some("ssh://") || !user.is_empty()) => format!("{user}github.com:"),
        _ if is_github => "https://github.com/".to_owned(),
        Some(scheme) => format!("{scheme}{user}{host}/"),
        None => format!("{user}{}", &place[..=end]),
    };
    Some((whole, rest))
}

fn is_user(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The repository and the directory within it: `_git/`, `//` or `.git` stand
/// between them; else a repository has an owner and a name.
fn split_path<'a>(rest: &'a str, host: &str) -> Option<(&'a str, &'a str)> {
    let at = |end: usize, skip: usize| (&rest[..end], &rest[end + skip..]);
    let split = if let Some(marker) = rest.find("_git/") {
        let name = marker + "_git/".len();
        at(rest[name..].find('/').map_or(rest.len(), |end| name + end), 0)
    } else if let Some(marker) = rest.find("//") {
        at(marker, 2)
    } else if let Some(marker) = rest.find(".git") {
        at(marker + ".git".len(), 0)
    } else if host == "file://" {
        (rest, "")
    } else if is_file(rest) {
        // What is at such an address is a file of a web server.
        return None;
    } else {
        let (owner, name) = rest.split_once('/')?;
        at(name.find('/').map_or(rest.len(), |end| owner.len() + 1 + end), 0)
    };
    Some(split).filter(|(repository, _)| !repository.trim_matches('/').is_empty())
}

fn is_file(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    [".yaml", ".yml", ".json"].iter().any(|end| lower.ends_with(end))
}

/// `ref`, else `version`.
fn revision(query: &str) -> Option<String> {
    // What cannot be read as a query says nothing, as for Kustomize.
    let escapes = query.split('%').skip(1);
    let is_escape = |rest: &str| rest.len() > 1 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if query.contains(';') || !escapes.into_iter().all(is_escape) {
        return None;
    }
    let values = |name: &'static str| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(move |(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let given = |value: &String| !value.is_empty();
    values("ref").filter(given).or_else(|| values("version").filter(given))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://h.example/org/repo//web/prod?ref=v1", "https://h.example/org/repo", Some("v1"), "web/prod")]
    #[case("https://h.example/org/repo/web?ref=v1&timeout=90s", "https://h.example/org/repo", Some("v1"), "web")]
    #[case("https://h.example/org/repo", "https://h.example/org/repo", None, "")]
    #[case("https://h.example/a/b/c/repo.git/web?version=v2", "https://h.example/a/b/c/repo.git", Some("v2"), "web")]
    #[case("https://h.example/repo.git//web", "https://h.example/repo.git", None, "web")]
    #[case("HTTPS://h.example:8443/repo.git//web", "https://h.example:8443/repo.git", None, "web")]
    #[case("https://h.example/org/project/_git/repo/web", "https://h.example/org/project/_git/repo", None, "web")]
    #[case("github.com/org/repo/web?ref=main", "https://github.com/org/repo", Some("main"), "web")]
    #[case("http://github.com/org/repo/web", "https://github.com/org/repo", None, "web")]
    #[case("git@github.com:org/repo//web?ref=main", "git@github.com:org/repo", Some("main"), "web")]
    #[case("git@h.example:team/deep/repo.git//web", "git@h.example:team/deep/repo.git", None, "web")]
    #[case("ssh://git@h.example:2222/team/repo//web", "ssh://git@h.example:2222/team/repo", None, "web")]
    #[case("ssh://git@github.com/org/repo//web", "git@github.com:org/repo", None, "web")]
    #[case("git::https://h.example/org/repo//web", "https://h.example/org/repo", None, "web")]
    #[case("https://h.example/org/repo//?ref=a%2Fb", "https://h.example/org/repo", Some("a/b"), "")]
    #[case("https://h.example/org/repo//web/../api", "https://h.example/org/repo", None, "api")]
    #[case("https://h.example/org/repo//web?ref=v1;x", "https://h.example/org/repo", None, "web")]
    #[case("https://h.example/org/repo//web?ref=%zz", "https://h.example/org/repo", None, "web")]
    #[case("file:///srv/git/repo//web", "file:///srv/git/repo", None, "web")]
    fn what_is_named_is_a_directory_of_a_repository(
        #[case] written: &str,
        #[case] repository: &str,
        #[case] revision: Option<&str>,
        #[case] path: &str,
    ) {
        let expected = BaseReference {
            repository: repository.to_owned(),
            revision: revision.map(str::to_owned),
            path: path.to_owned(),
        };
        assert_eq!(BaseReference::parse(written), Some(expected));
    }

    #[rstest]
    #[case::a_web_server("https://h.example/a.yaml")]
    #[case::a_web_server_deeper("https://raw.h.example/org/repo/main/deploy/a.YAML?token=x")]
    #[case::nothing_behind_the_host("https://h.example")]
    #[case::only_an_owner("https://h.example/org")]
    #[case::no_host("https:///org/repo")]
    #[case::no_scheme("h.example/org/repo?ref=v1")]
    #[case::above_the_root("https://h.example/org/repo//../x")]
    #[case::nothing("")]
    #[case::cut_within_a_letter("gith\u{fc}b.com/\u{e9}")]
    fn what_is_no_repository_is_not_taken_for_one(#[case] written: &str) {
        assert_eq!(BaseReference::parse(written), None);
    }

    #[test]
    fn only_a_whole_commit_is_pinned() {
        let of = |revision: &str| BaseReference::parse(&format!("https://h.example/o/r?ref={revision}")).unwrap();
        assert!(of(&"a1".repeat(20)).is_pinned());
        for moving in ["main", "v1.2.0", "a1b2c3d", &"g1".repeat(20)] {
            assert!(!of(moving).is_pinned(), "{moving}");
        }
    }

    #[test]
    fn nothing_that_may_be_a_credential_is_shown() {
        let base = BaseReference::parse("https://h.example/org/repo//web?ref=v1").unwrap();
        assert_eq!(base.to_string(), "https://h.example/org/repo@v1//web");
        let base = BaseReference::parse("https://ghp-secret@h.example/org/repo//web").unwrap();
        assert_eq!(base.to_string(), "https://***@h.example/org/repo//web");
    }
}
