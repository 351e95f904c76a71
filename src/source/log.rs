//! Commits and how they follow each other.

use std::collections::{HashSet, VecDeque};

use git2::{Oid, Repository, Sort};
use jiff::Timestamp;

use super::{
    error::SourceError,
    id::CommitId,
    objects::{self, unreadable},
    url::{RepositoryUrl, visible},
};

/// How many commits are looked at to tell how two follow each other.
const WALK: usize = 20_000;

/// The longest text of a commit that is kept, in characters.
const TEXT: usize = 256;

/// A commit, as people are shown it. Texts are cut at 256 characters, and
/// their control characters are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub id: CommitId,
    /// Name and e-mail address of the author, as `Ann <ann@example.com>`. It
    /// is what the commit says and proves nothing.
    pub author: String,
    /// When the author wrote it.
    pub time: Timestamp,
    /// The first line of the message.
    pub subject: String,
    /// Its parents; known even where the parents themselves are not fetched.
    pub parents: Vec<CommitId>,
}

/// The commits between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitLog {
    /// The commits, newest first.
    pub commits: Vec<Commit>,
    /// Whether there are more than were asked for, or than the mirror holds.
    pub more: bool,
}

/// How a commit follows another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It is the same.
    Same,
    /// It descends from the other: a normal push.
    Forward,
    /// The other descends from it: the branch was moved back.
    Backward,
    /// Neither descends from the other: history was rewritten.
    Rewritten,
    /// The mirror does not hold enough history to tell.
    Unknown,
}

pub(super) fn commit(repository: &Repository, url: &RepositoryUrl, id: &CommitId) -> Result<Commit, SourceError> {
    let not_fetched = || SourceError::CommitNotFetched { url: url.to_string(), commit: id.clone() };
    let oid = id.oid().ok_or_else(not_fetched)?;
    match objects::commit(repository, oid) {
        Ok(commit) => Ok(describe(&commit)),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Err(not_fetched()),
        Err(error) => Err(unreadable(url, &error)),
    }
}

fn describe(commit: &git2::Commit<'_>) -> Commit {
    let author = commit.author();
    let text = |bytes: &[u8]| visible(&String::from_utf8_lossy(bytes)).chars().take(TEXT).collect::<String>();
    let message = commit.message_bytes();
    let subject = message.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    Commit {
        id: commit.id().into(),
        author: format!("{} <{}>", text(author.name_bytes()), text(author.email_bytes())),
        // A time out of range is the commit's own nonsense, not an error.
        time: Timestamp::from_second(author.when().seconds()).unwrap_or(Timestamp::UNIX_EPOCH),
        subject: text(subject.trim_ascii()),
        parents: parents(commit).into_iter().map(CommitId::from).collect(),
    }
}

/// The parents that a commit names. The library's own answer leaves out those
/// at which a shallow mirror ends.
fn parents(commit: &git2::Commit<'_>) -> Vec<Oid> {
    let lines = commit.raw_header_bytes().split(|byte| *byte == b'\n');
    let named = lines.filter_map(|line| line.strip_prefix(b"parent "));
    named.filter_map(|name| Oid::from_str(std::str::from_utf8(name).ok()?).ok()).collect()
}

/// The commits that `new` has and `old` has not, newest first; nothing where
/// `old` or the history between is not in the mirror.
pub(super) fn between(
    repository: &Repository,
    url: &RepositoryUrl,
    old: &CommitId,
    new: &CommitId,
    limit: usize,
) -> Result<Option<CommitLog>, SourceError> {
    commit(repository, url, new)?;
    let (Some(old_oid), Some(new_oid)) = (old.oid(), new.oid()) else { return Ok(None) };
    if objects::commit(repository, old_oid).is_err() || relation(repository, old, new) == Relation::Unknown {
        return Ok(None);
    }
    let walk = || -> Result<CommitLog, git2::Error> {
        let mut walk = repository.revwalk()?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
        walk.push(new_oid)?;
        walk.hide(old_oid)?;
        let mut commits = Vec::new();
        for id in walk {
            if commits.len() == limit {
                return Ok(CommitLog { commits, more: true });
            }
            commits.push(describe(&objects::commit(repository, id?)?));
        }
        Ok(CommitLog { commits, more: false })
    };
    // A walk that meets a commit that was not fetched knows too little.
    Ok(walk().ok())
}

/// How `new` follows `old`, as far as the mirror knows. A shallow mirror ends
/// somewhere: beyond a commit that is older than `old` there is no `old`.
pub(super) fn relation(repository: &Repository, old: &CommitId, new: &CommitId) -> Relation {
    if old == new {
        return Relation::Same;
    }
    let (Some(old), Some(new)) = (old.oid(), new.oid()) else { return Relation::Unknown };
    let Ok(from) = objects::commit(repository, old) else { return Relation::Unknown };
    match (ancestor(repository, old, new, from.time().seconds()), objects::commit(repository, new)) {
        (Some(true), _) => Relation::Forward,
        (before, Ok(to)) => match (before, ancestor(repository, new, old, to.time().seconds())) {
            (_, Some(true)) => Relation::Backward,
            (Some(false), Some(false)) => Relation::Rewritten,
            // That the branch was moved back can only be unseen if the new
            // commit is older than where the mirror ends.
            (Some(false), None) if to.time().seconds() >= from.time().seconds() => Relation::Rewritten,
            _ => Relation::Unknown,
        },
        (_, Err(_)) => Relation::Unknown,
    }
}

/// Whether `wanted` is among the ancestors of `start`; nothing where the
/// mirror ends too early to tell.
fn ancestor(repository: &Repository, wanted: Oid, start: Oid, wanted_time: i64) -> Option<bool> {
    let mut seen = HashSet::from([start]);
    let mut queue = VecDeque::from([start]);
    let mut known = true;
    while let Some(id) = queue.pop_front() {
        if seen.len() > WALK {
            return None;
        }
        let Ok(commit) = objects::commit(repository, id) else {
            known = false;
            continue;
        };
        for parent in parents(&commit) {
            if parent == wanted {
                return Some(true);
            }
            if !seen.insert(parent) {
                continue;
            }
            if objects::commit(repository, parent).is_ok() {
                queue.push_back(parent);
            } else if commit.time().seconds() >= wanted_time {
                known = false;
            }
        }
    }
    if known { Some(false) } else { None }
}
