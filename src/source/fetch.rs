//! Asking a repository what a revision means, and bringing its commit here.

use git2::Repository;
use tokio_util::sync::CancellationToken;

use super::{
    error::SourceError,
    generation::{Generation, holds, keep, kept},
    id::CommitId,
    limits::Limits,
    log,
    mirror::{Mirror, Moved},
    references::{References, Resolved},
    revision::Revision,
    transport::{Request, Want, converse},
    url::RepositoryUrl,
};

/// How many commits of history are fetched when a reference moved: enough to
/// tell a push from a rewritten history, and to list what was pushed.
const HISTORY: u16 = 50;

/// A fetched revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// What the revision means now.
    pub resolved: Resolved,
    /// How the reference moved since the last fetch of it, if it did. Only the
    /// first fetch after a push tells it; [`Mirror::relation`] tells it again.
    pub moved: Option<Moved>,
    /// How many bytes of objects were received; 0 where all was there.
    pub bytes: u64,
    /// Why the mirror had to be made anew, if it had to.
    pub renewed: Option<String>,
}

impl Mirror {
    /// Asks the repository once what several revisions mean. It receives no
    /// objects.
    ///
    /// # Errors
    /// The outer error is that of the repository, the inner ones those of each
    /// revision.
    pub fn poll(
        &self,
        revisions: &[Revision],
        limits: &Limits,
        cancel: &CancellationToken,
    ) -> Result<Vec<Result<Resolved, SourceError>>, SourceError> {
        let revisions = revisions.to_vec();
        self.talk(limits, cancel, move |mirror, request| {
            let mut resolved = Vec::new();
            let repository = match mirror.generation()?.open(mirror.url()) {
                Ok(repository) => repository,
                Err(_) => {
                    let fresh = mirror.make_generation(&mut mirror.state())?;
                    mirror.put_in_use(fresh.clone());
                    fresh.open(mirror.url())?
                }
            };
            converse(&repository, request, |references| {
                resolved = revisions.iter().map(|revision| references.resolve(mirror.url(), revision)).collect();
                Ok(Want::Nothing)
            })?;
            Ok(resolved)
        })
    }

    /// Brings a revision's commit here, if it is not here yet. A commit that is
    /// here needs no repository. One fetch of a mirror runs at a time; the
    /// others wait for it.
    ///
    /// # Errors
    /// See [`SourceError`]. What was fetched before stays readable.
    pub fn fetch(
        &self,
        revision: &Revision,
        limits: &Limits,
        cancel: &CancellationToken,
    ) -> Result<Fetched, SourceError> {
        if let Revision::Commit(commit) = revision
            && self.generation()?.has(self.url(), commit)
        {
            let resolved = Resolved { commit: commit.clone(), reference: None, tag: None };
            return Ok(Fetched { resolved, moved: None, bytes: 0, renewed: None });
        }
        let revision = revision.clone();
        self.talk(limits, cancel, move |mirror, request| fetch_or_renew(mirror, &revision, request))
    }
}

/// Fetches into the mirror as it is, or into a new generation if that fails by
/// what the mirror holds.
fn fetch_or_renew(mirror: &Mirror, revision: &Revision, request: &Request<'_>) -> Result<Fetched, SourceError> {
    let generation = mirror.generation()?;
    let because = match generation.worn() {
        Some(worn) => worn.to_owned(),
        None => match fetch_into(mirror, &generation, revision, request, false) {
            // A mirror that holds something asks in other ways than an empty
            // one; a server that fails at the one may manage the other.
            Err(SourceError::RepositoryDamaged { message, .. } | SourceError::GitFailed { message, .. }) => message,
            other => return other,
        },
    };
    let fresh = mirror.make_generation(&mut mirror.state())?;
    let fetched = fetch_into(mirror, &fresh, revision, request, true).inspect_err(|_| fresh.mark_replaced())?;
    mirror.put_in_use(fresh);
    Ok(Fetched { renewed: Some(because), ..fetched })
}

fn fetch_into(
    mirror: &Mirror,
    generation: &Generation,
    revision: &Revision,
    request: &Request<'_>,
    anew: bool,
) -> Result<Fetched, SourceError> {
    let url = mirror.url();
    let repository = generation.open(url)?;
    let mut resolved = None;
    let mut listed = None;
    let mut everything = Vec::new();
    let received = converse(&repository, request, |references| {
        let found = references.resolve(url, revision)?;
        let digest = references.digest();
        if mirror.state().absent.get(&found.commit) == Some(&digest) {
            return Err(not_contained(url, revision));
        }
        let want = if holds(&repository, &found.commit) && holds_tag(&repository, &found) {
            Want::Nothing
        } else {
            everything = all_refspecs(references);
            want(mirror, &repository, references, &found)
        };
        (resolved, listed) = (Some(found), Some(digest));
        Ok(want)
    });
    let (Some(resolved), Some(listed)) = (resolved, listed) else {
        let message = "it listed no references".to_owned();
        return Err(received.err().unwrap_or(SourceError::GitFailed { url: url.to_string(), message }));
    };
    let bytes = match received {
        // Not every server gives a commit by its name, and some know no
        // shallow history: take all that it lists.
        Err(SourceError::GitFailed { .. } | SourceError::RepositoryDamaged { .. })
            if anew && !everything.is_empty() =>
        {
            converse(&repository, request, |_| Ok(Want::Objects { refspecs: everything, depth: 0 }))?
        }
        received => received?,
    };
    // What the mirror lacked before is seen through a new handle only.
    let repository = generation.open(url)?;
    if !holds(&repository, &resolved.commit) {
        let error = absent(url, &repository, revision, &resolved, anew);
        if matches!(error, SourceError::RevisionNotFound { .. }) {
            mirror.state().absent.insert(resolved.commit, listed);
        }
        return Err(error);
    }
    let moved = remember(mirror, &repository, &resolved)?;
    Ok(Fetched { resolved, moved, bytes, renewed: None })
}

/// Whether the annotated tag is here, where the revision is one.
pub(super) fn holds_tag(repository: &Repository, resolved: &Resolved) -> bool {
    let id = resolved.tag.as_ref().and_then(|tag| tag.oid().ok());
    id.is_none_or(|id| repository.odb().is_ok_and(|objects| objects.exists(id)))
}

/// Which objects to ask for: the newest commit alone at first, some history
/// when a reference moved. A local repository gives no part of a history.
fn want(mirror: &Mirror, repository: &Repository, references: &References, found: &Resolved) -> Want {
    let refspec = match &found.reference {
        Some(name) => format!("+{name}:refs/bowline/incoming"),
        None => references
            .iter()
            .find(|(_, commit)| **commit == found.commit)
            .map_or_else(|| found.commit.to_string(), |(name, _)| format!("+{name}:refs/bowline/incoming")),
    };
    let known = found.reference.as_ref().is_some_and(|name| tip(mirror, repository, name).is_some());
    let depth = if mirror.url().is_local() {
        0
    } else if known {
        HISTORY
    } else {
        1
    };
    Want::Objects { refspecs: vec![refspec], depth }
}

/// Refspecs for all branches and tags.
fn all_refspecs(references: &References) -> Vec<String> {
    let names = references.iter().map(|(name, _)| name);
    names
        .filter(|name| name.starts_with("refs/heads/") || name.starts_with("refs/tags/"))
        .map(|name| format!("+{name}:refs/bowline/incoming"))
        .collect()
}

/// The error for a commit that the repository did not send.
fn absent(
    url: &RepositoryUrl,
    repository: &Repository,
    revision: &Revision,
    resolved: &Resolved,
    anew: bool,
) -> SourceError {
    let exists = resolved.commit.oid().is_some_and(|oid| repository.find_object(oid, None).is_ok());
    if !exists && !anew && resolved.reference.is_some() {
        // The repository left out what the mirror claimed to have.
        let message = format!("commit {} is incomplete", resolved.commit);
        return SourceError::RepositoryDamaged { url: url.to_string(), message };
    }
    let known = match (&resolved.reference, resolved.commit.oid()) {
        (_, None) => "it is a SHA-256 name, and only SHA-1 repositories can be read",
        (_, _) if exists => "it names no commit",
        (Some(_), _) => "the repository lists it but did not send its commit",
        (None, _) => return not_contained(url, revision),
    };
    SourceError::RevisionNotFound { url: url.to_string(), revision: revision.to_string(), known: known.to_owned() }
}

fn not_contained(url: &RepositoryUrl, revision: &Revision) -> SourceError {
    SourceError::RevisionNotFound {
        url: url.to_string(),
        revision: revision.to_string(),
        known: "no branch or tag contains it, or it was removed".to_owned(),
    }
}

/// Where a reference was at the last fetch.
fn tip(mirror: &Mirror, repository: &Repository, name: &str) -> Option<CommitId> {
    let tip = mirror.state().tips.get(name).cloned();
    tip.or_else(|| kept(repository, name))
}

/// Keeps where a reference is now, and tells how it moved.
fn remember(mirror: &Mirror, repository: &Repository, resolved: &Resolved) -> Result<Option<Moved>, SourceError> {
    let name = resolved.reference.clone().unwrap_or_else(|| resolved.commit.to_string());
    let before = tip(mirror, repository, &name);
    keep(repository, mirror.url(), &name, &resolved.commit)?;
    mirror.state().tips.insert(name, resolved.commit.clone());
    let from = before.filter(|from| *from != resolved.commit);
    Ok(from.map(|from| Moved { relation: log::relation(repository, &from, &resolved.commit), from }))
}
