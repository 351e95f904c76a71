//! Submodules: repositories within a repository, read in their place.
//!
//! ```text
//! tree ──gitlinks──┐
//! .gitmodules ─────┴─ path, URL, commit ──policy──> mirror ──fetch──> Submodules
//! ```
//!
//! A directory of another repository is found by the commit that the outer
//! tree names, so what is read is settled by the outer commit alone, and so is
//! what a signature of it vouches for. Where that commit comes from is said by
//! `.gitmodules`, which anybody who may push can write: it leads to hosts that
//! the operator allows only, and credentials go nowhere but to the server that
//! they are for.

mod address;
mod gitmodules;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use git2::{ObjectType, Oid, Repository};
use tokio_util::sync::CancellationToken;

use self::gitmodules::Named;
use super::{
    error::SourceError,
    generation::Generation,
    id::CommitId,
    limits::Limits,
    mirror::Mirror,
    names,
    objects::{self, unreadable},
    repositories::Repositories,
    revision::Revision,
    url::{RepositoryUrl, UrlPolicy, visible},
};

/// How many submodules one commit may bring.
const COUNT: usize = 32;

/// How deep submodules may lie within each other.
const DEPTH: usize = 4;

/// The largest `.gitmodules` that is read, in bytes.
const FILE_BYTES: usize = 256 << 10;

/// Where submodules may come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubmodulePolicy {
    /// Which addresses are allowed at all.
    pub urls: UrlPolicy,
    /// Hosts beside that of the repository itself; `*.example.com` is all
    /// below example.com.
    pub hosts: Vec<String>,
}

/// The submodules of a commit that were fetched. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Submodules {
    by_path: Arc<BTreeMap<String, Fetched>>,
    /// The directories whose submodules are all to be there.
    paths: Arc<[String]>,
}

#[derive(Debug)]
struct Fetched {
    url: RepositoryUrl,
    commit: CommitId,
    generation: Arc<Generation>,
}

impl Submodules {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// What tells these from others: which were wanted, and which commit of
    /// each is read.
    pub fn identity(&self) -> String {
        let read = self.by_path.iter().map(|(path, fetched)| format!("{path}@{}", fetched.commit));
        let wanted = self.paths.iter().cloned();
        wanted.chain(read).collect::<Vec<_>>().join("\n")
    }

    /// Lets a handle of the outer repository read their objects too.
    pub(super) fn attach(&self, repository: &Repository, url: &RepositoryUrl) -> Result<(), SourceError> {
        let objects = repository.odb().map_err(|error| unreadable(url, &error))?;
        for fetched in self.by_path.values() {
            let path = fetched.generation.objects();
            objects.add_disk_alternate(&path).map_err(|error| unreadable(&fetched.url, &error))?;
        }
        Ok(())
    }

    /// The tree of the submodule at a path, if it is the one that the outer
    /// tree names there; none where it is not read.
    pub(super) fn tree(&self, repository: &Repository, path: &str, commit: Oid) -> Result<Option<Oid>, git2::Error> {
        let Some(fetched) = self.by_path.get(path).filter(|fetched| fetched.commit.oid() == Some(commit)) else {
            return Ok(None);
        };
        let read = objects::commit(repository, commit).map(|commit| Some(commit.tree_id()));
        read.inspect_err(|_| fetched.generation.mark_damaged())
    }

    /// Whether a submodule that is not here should be.
    pub(super) fn lack(&self, path: &str) -> bool {
        self.paths.iter().any(|wanted| overlap(wanted, path))
    }

    /// Objects are missing, and nobody knows of which: each is fetched anew.
    pub(super) fn mark_damaged(&self) {
        self.by_path.values().for_each(|fetched| fetched.generation.mark_damaged());
    }
}

/// A repository whose submodules are looked for.
struct Outer {
    mirror: Mirror,
    commit: CommitId,
    /// Where it lies in the outermost; empty for that itself.
    at: String,
    depth: usize,
}

impl Repositories {
    /// Fetches the submodules of a fetched commit that lie at, below or above
    /// one of some paths, and theirs.
    ///
    /// # Errors
    /// [`SourceError::SubmoduleRefused`] where one is not allowed, or is not
    /// where `.gitmodules` says; others where one cannot be fetched.
    pub fn submodules(
        &self,
        mirror: &Mirror,
        commit: &CommitId,
        paths: &[String],
        policy: &SubmodulePolicy,
        limits: &Limits,
        cancel: &CancellationToken,
    ) -> Result<Submodules, SourceError> {
        let until = Instant::now() + limits.deadline;
        let mut found: BTreeMap<String, Fetched> = BTreeMap::new();
        let mut outers = vec![Outer { mirror: mirror.clone(), commit: commit.clone(), at: String::new(), depth: 0 }];
        while let Some(outer) = outers.pop() {
            for link in links(&outer, paths)? {
                let refuse = |because: String| refused(&link.path, commit, &because);
                if outer.depth == DEPTH {
                    return Err(refuse(format!("submodules lie deeper within each other than the limit of {DEPTH}")));
                }
                if found.len() == COUNT {
                    return Err(refuse(format!("there are more submodules than the limit of {COUNT}")));
                }
                let url = address::resolve(outer.mirror.url(), &link.url, &policy.urls).map_err(&refuse)?;
                address::check_host(mirror.url(), &url, &policy.hosts).map_err(&refuse)?;
                let inner = self.named_by(mirror, &url)?;
                let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
                let limits = Limits { deadline: left, ..limits.clone() };
                inner.fetch(&Revision::Commit(link.commit.clone()), &limits, cancel)?;
                let generation = inner.generation()?;
                let fetched = Fetched { url, commit: link.commit.clone(), generation };
                outers.push(Outer {
                    mirror: inner,
                    commit: link.commit,
                    at: link.path.clone(),
                    depth: outer.depth + 1,
                });
                found.insert(link.path, fetched);
            }
        }
        Ok(Submodules { by_path: Arc::new(found), paths: paths.into() })
    }
}

/// A place where a tree names a commit of another repository.
struct Link {
    /// Its path in the outermost repository.
    path: String,
    url: String,
    commit: CommitId,
}

/// The submodules of one repository that matter for some paths of the
/// outermost.
fn links(outer: &Outer, paths: &[String]) -> Result<Vec<Link>, SourceError> {
    outer.mirror.read_at(&outer.commit, |repository, url| {
        let damaged = |error: git2::Error| unreadable(url, &error);
        let commit = outer.commit.oid().ok_or_else(|| git2::Error::from_str("a SHA-256 name")).map_err(damaged)?;
        let root = objects::commit(repository, commit).map_err(damaged)?.tree_id();
        let refuse = |because: &str| refused(&join(&outer.at, ".gitmodules"), &outer.commit, because);
        let named = match entry(repository, root, ".gitmodules").map_err(damaged)? {
            None => return Ok(Vec::new()),
            Some((id, ObjectType::Blob, 0o100_644 | 0o100_755 | 0o100_664)) => {
                let (size, _) = repository.odb().and_then(|odb| odb.read_header(id)).map_err(damaged)?;
                if size > FILE_BYTES {
                    return Err(refuse("it is larger than 256 KiB"));
                }
                let blob = repository.find_blob(id).map_err(damaged)?;
                let text = std::str::from_utf8(blob.content()).map_err(|_| refuse("it is not UTF-8"))?;
                gitmodules::parse(text).map_err(|because| refuse(&because))?
            }
            Some(_) => return Err(refuse("it is no regular file")),
        };
        let mut links = Vec::new();
        for Named { path, url } in named {
            let whole = join(&outer.at, &path);
            if path.split('/').any(|part| names::refusal(part.as_bytes()).is_some()) {
                return Err(refused(&whole, &outer.commit, "its path is not one of a tree"));
            }
            // A file may name what its tree does not have any more.
            if paths.iter().any(|wanted| overlap(wanted, &whole))
                && let Some((id, ObjectType::Commit, _)) = entry(repository, root, &path).map_err(damaged)?
            {
                links.push(Link { path: whole, url, commit: id.into() });
            }
        }
        Ok(links)
    })
}

/// What is at a path of a tree: object, kind and mode.
fn entry(repository: &Repository, root: Oid, path: &str) -> Result<Option<(Oid, ObjectType, i32)>, git2::Error> {
    let mut at = (root, ObjectType::Tree, 0o040_000);
    for part in path.split('/') {
        if at.1 != ObjectType::Tree {
            return Ok(None);
        }
        let tree = objects::tree(repository, at.0)?;
        let Some(entry) = tree.iter().find(|entry| entry.name_bytes() == part.as_bytes()) else { return Ok(None) };
        let Some(kind) = entry.kind() else { return Ok(None) };
        at = (entry.id(), kind, entry.filemode());
    }
    Ok(Some(at))
}

/// Whether one of two paths lies within the other.
fn overlap(one: &str, other: &str) -> bool {
    fn parts(path: &str) -> impl Iterator<Item = &str> {
        path.split('/').filter(|part| !part.is_empty() && *part != ".")
    }
    parts(one).zip(parts(other)).all(|(one, other)| one == other)
}

fn join(at: &str, path: &str) -> String {
    if at.is_empty() { path.to_owned() } else { format!("{at}/{path}") }
}

fn refused(path: &str, commit: &CommitId, because: &str) -> SourceError {
    SourceError::SubmoduleRefused { path: visible(path), commit: commit.clone(), because: because.to_owned() }
}
