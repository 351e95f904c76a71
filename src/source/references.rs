//! The references that a repository lists, and what a revision means among
//! them.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{
    error::SourceError,
    id::{CommitId, TagId},
    revision::{Revision, version_of},
    url::{RepositoryUrl, visible},
};

/// What a revision means at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The commit.
    pub commit: CommitId,
    /// The full name of the reference, such as `refs/heads/main`; none where a
    /// commit was asked for.
    pub reference: Option<String>,
    /// The annotated tag, where the reference is one.
    pub tag: Option<TagId>,
}

/// The references that a repository lists.
#[derive(Debug, Default)]
pub(super) struct References {
    head: Option<(Option<String>, CommitId)>,
    commits: BTreeMap<String, CommitId>,
    tags: BTreeMap<String, TagId>,
}

/// How many names an error lists.
const NAMES: usize = 10;

impl References {
    /// Adds one line of the list: a name, its object, and what it is a
    /// symbolic name for. Lines that end in `^{}` give the object that an
    /// annotated tag stands for, and come after the tag's own line.
    pub(super) fn add(&mut self, name: &str, id: CommitId, symbolic_for: Option<&str>) {
        if name == "HEAD" {
            self.head = Some((symbolic_for.map(str::to_owned), id));
        } else if let Some(name) = name.strip_suffix("^{}") {
            if let Some(tag) = self.commits.insert(name.to_owned(), id) {
                self.tags.insert(name.to_owned(), tag.into());
            }
        } else {
            self.commits.insert(name.to_owned(), id);
        }
    }

    /// All references, by full name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &CommitId)> {
        self.commits.iter().map(|(name, id)| (name.as_str(), id))
    }

    /// A digest of the whole list.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for (name, id) in &self.commits {
            hasher.update(format!("{id} {name}\n").as_bytes());
        }
        hasher.finalize().into()
    }

    /// What a revision means. A commit is taken as it is: whether it exists
    /// shows when it is fetched.
    pub(super) fn resolve(&self, url: &RepositoryUrl, revision: &Revision) -> Result<Resolved, SourceError> {
        let exactly = |name: String| {
            let commit = self.commits.get(&name).cloned();
            let tag = self.tags.get(&name).cloned();
            commit.map(|commit| Resolved { commit, reference: Some(name), tag })
        };
        let found = match revision {
            Revision::Default => self.default_branch(),
            Revision::Branch(name) => exactly(format!("refs/heads/{name}")),
            Revision::Tag(name) => exactly(format!("refs/tags/{name}")),
            Revision::Reference(name) => exactly(name.clone()),
            Revision::Commit(commit) => Some(Resolved { commit: commit.clone(), reference: None, tag: None }),
            Revision::Name(name) => {
                match (exactly(format!("refs/heads/{name}")), exactly(format!("refs/tags/{name}"))) {
                    (Some(branch), Some(tag)) if branch.commit != tag.commit => {
                        return Err(SourceError::RevisionAmbiguous {
                            url: url.to_string(),
                            name: name.clone(),
                            branch: branch.commit,
                            tag: tag.commit,
                        });
                    }
                    (branch, tag) => branch.or(tag),
                }
            }
            Revision::SemverRange { range, .. } => self
                .names("refs/tags/")
                .filter_map(|tag| {
                    version_of(tag).filter(|version| range.matches(version)).map(|version| (version, tag))
                })
                .max()
                .and_then(|(_, tag)| exactly(format!("refs/tags/{tag}"))),
        };
        found.ok_or_else(|| SourceError::RevisionNotFound {
            url: url.to_string(),
            revision: revision.to_string(),
            known: self.known(revision),
        })
    }

    fn default_branch(&self) -> Option<Resolved> {
        let (name, commit) = self.head.as_ref()?;
        let reference = Some(name.clone().unwrap_or_else(|| "HEAD".to_owned()));
        Some(Resolved { commit: commit.clone(), reference, tag: None })
    }

    fn names(&self, prefix: &'static str) -> impl Iterator<Item = &str> {
        self.commits.keys().filter_map(move |name| name.strip_prefix(prefix))
    }

    /// What there is instead of what was asked for.
    fn known(&self, revision: &Revision) -> String {
        if self.commits.is_empty() {
            return "the repository is empty: it has no branches and no tags".to_owned();
        }
        let branches = || listed("branches", self.names("refs/heads/").collect());
        let tags = || listed("tags", self.names("refs/tags/").rev_sorted());
        match revision {
            Revision::Default => format!("name a branch in source.revision; {}", branches()),
            Revision::Branch(_) => branches(),
            Revision::Tag(_) => tags(),
            Revision::SemverRange { .. } => {
                let versions: Vec<_> = self.names("refs/tags/").filter(|tag| version_of(tag).is_some()).collect();
                listed("tags that are versions", versions.into_iter().rev_sorted())
            }
            Revision::Name(name) if (4..40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit()) => {
                format!("a commit is named by all of its 40 digits; {}", branches())
            }
            Revision::Name(_) => format!("{}; {}", branches(), tags()),
            Revision::Reference(_) | Revision::Commit(_) => branches(),
        }
    }
}

trait RevSorted<'a> {
    /// Highest version first, then other names from the end of the alphabet:
    /// the newest tags are the likeliest to be meant.
    fn rev_sorted(self) -> Vec<&'a str>;
}

impl<'a, I: Iterator<Item = &'a str>> RevSorted<'a> for I {
    fn rev_sorted(self) -> Vec<&'a str> {
        let mut names: Vec<_> = self.collect();
        names.sort_by(|a, b| (version_of(b), b).cmp(&(version_of(a), a)));
        names
    }
}

fn listed(what: &str, names: Vec<&str>) -> String {
    if names.is_empty() {
        return format!("it has no {what}");
    }
    let shown: Vec<_> = names.iter().take(NAMES).map(|name| visible(name)).collect();
    let more = names.len().saturating_sub(NAMES);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{what}: {}{rest}", shown.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::source::UrlPolicy;

    fn id(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn references() -> References {
        let mut references = References::default();
        references.add("HEAD", id('1'), Some("refs/heads/main"));
        references.add("refs/heads/main", id('1'), None);
        references.add("refs/heads/both", id('2'), None);
        references.add("refs/tags/both", id('3'), None);
        references.add("refs/heads/same", id('4'), None);
        references.add("refs/tags/same", id('4'), None);
        references.add("refs/pull/7/head", id('5'), None);
        references.add("refs/tags/v1.9.0", id('6'), None);
        references.add("refs/tags/v1.10.0", id('a'), None);
        references.add("refs/tags/v1.10.0^{}", id('7'), None);
        references.add("refs/tags/v2.0.0-rc.1", id('8'), None);
        references
    }

    fn url() -> RepositoryUrl {
        RepositoryUrl::parse("https://git.example.com/shop", &UrlPolicy::default()).unwrap()
    }

    #[rstest]
    #[case::the_default_branch("", '1', "refs/heads/main")]
    #[case::a_branch_by_name("main", '1', "refs/heads/main")]
    #[case::a_tag_by_name("v1.9.0", '6', "refs/tags/v1.9.0")]
    #[case::an_annotated_tag_is_its_commit("v1.10.0", '7', "refs/tags/v1.10.0")]
    #[case::a_branch_by_full_name("refs/heads/both", '2', "refs/heads/both")]
    #[case::a_tag_by_full_name("refs/tags/both", '3', "refs/tags/both")]
    #[case::branch_and_tag_that_agree("same", '4', "refs/heads/same")]
    #[case::another_reference("refs/pull/7/head", '5', "refs/pull/7/head")]
    #[case::the_highest_version_not_the_last_name(">=1.0 <2", '7', "refs/tags/v1.10.0")]
    #[case::a_prerelease_where_asked(">=2.0.0-rc.0", '8', "refs/tags/v2.0.0-rc.1")]
    fn a_revision_means_a_commit(#[case] revision: &str, #[case] commit: char, #[case] reference: &str) {
        let resolved = references().resolve(&url(), &revision.parse().unwrap()).unwrap();
        assert_eq!((resolved.commit, resolved.reference.as_deref()), (id(commit), Some(reference)));
    }

    #[rstest]
    #[case::a_deleted_branch(
        "refs/heads/gone",
        "branch `gone` does not exist at https://git.example.com/shop; branches: both, main, same"
    )]
    #[case::a_deleted_tag(
        "refs/tags/gone",
        "tag `gone` does not exist at https://git.example.com/shop; tags: v2.0.0-rc.1, v1.10.0, v1.9.0, same, both"
    )]
    #[case::a_short_commit(
        "0123abc",
        "`0123abc` does not exist at https://git.example.com/shop; a commit is named by all of its 40 digits; branches: both, main, same"
    )]
    #[case::no_such_version(
        ">=7",
        "versions `>=7` does not exist at https://git.example.com/shop; tags that are versions: v2.0.0-rc.1, v1.10.0, v1.9.0"
    )]
    fn what_is_missing_is_named_with_what_there_is(#[case] revision: &str, #[case] message: &str) {
        let error = references().resolve(&url(), &revision.parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!((error.reason(), error.is_transient()), ("RevisionNotFound", false));
    }

    #[test]
    fn an_annotated_tag_is_known_beside_its_commit() {
        let tag = |revision: &str| references().resolve(&url(), &revision.parse().unwrap()).unwrap().tag;
        assert_eq!(tag("v1.10.0"), Some(id('a').into()));
        assert_eq!(tag(">=1.0 <2"), Some(id('a').into()));
        assert_eq!(tag("v1.9.0"), None, "a lightweight tag is no object");
        assert_eq!(tag("main"), None);
    }

    #[test]
    fn a_name_that_is_a_branch_and_another_tag_is_refused() {
        let error = references().resolve(&url(), &"both".parse().unwrap()).unwrap_err();
        assert_eq!(error.reason(), "RevisionAmbiguous");
        assert!(error.to_string().contains("write refs/heads/both or refs/tags/both"), "{error}");
    }
}
