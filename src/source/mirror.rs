//! One repository, as one caller may see it, on this disk.
//!
//! A mirror is a series of *generations*, each a bare repository. A damaged
//! one, or one of too many small packs, is replaced by a new one, and removed
//! when the last tree that reads from it is dropped.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use git2::{Repository, RepositoryInitMode, RepositoryInitOptions};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::{
    credentials::Credentials,
    error::SourceError,
    git_tree::{GitTree, damaged, tree_at},
    id::{CommitId, TreeId},
    limits::{Limits, TreeLimits},
    log::{self, Commit, CommitLog, Relation},
    references::{References, Resolved},
    revision::Revision,
    transport::{Request, Want, converse, disk_full},
    url::{RepositoryUrl, visible},
};

/// How many commits of history are fetched when a reference moved: enough to
/// tell a push from a rewritten history, and to list what was pushed.
const HISTORY: u16 = 50;

/// How many packs a generation may have before it is made anew.
const PACKS: usize = 64;

/// How often a waiting fetch looks whether it was cancelled.
const PATIENCE: Duration = Duration::from_millis(100);

/// A fetched revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// What the revision means now.
    pub resolved: Resolved,
    /// How the reference moved since the last fetch of it, if it did.
    pub moved: Option<Moved>,
    /// How many bytes of objects were received; 0 where all was there.
    pub bytes: u64,
    /// Why the mirror had to be made anew, if it had to.
    pub renewed: Option<String>,
}

/// How a reference moved between two fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where it was.
    pub from: CommitId,
    /// How the new commit follows it.
    pub relation: Relation,
}

impl Moved {
    /// Whether history was rewritten or moved back: worth an event.
    pub fn is_forced(&self) -> bool {
        matches!(self.relation, Relation::Rewritten | Relation::Backward)
    }
}

/// One repository, as one caller may see it. Clones share it.
#[derive(Clone, Debug)]
pub struct Mirror {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    url: RepositoryUrl,
    credentials: Credentials,
    directory: PathBuf,
    state: Mutex<State>,
    turn: Condvar,
}

#[derive(Debug)]
struct State {
    fetching: bool,
    used: Instant,
    generation: Option<Arc<Generation>>,
    number: u64,
    /// Where references were when they were fetched last. The generation holds
    /// the same as references of its own; this outlives a damaged one.
    tips: BTreeMap<String, CommitId>,
    /// Commits that the repository did not have when it listed what has this
    /// digest: nobody searches all its history for them again until it lists
    /// something else.
    absent: BTreeMap<CommitId, [u8; 32]>,
}

/// A bare repository on disk, removed with the last one who uses it once
/// another has replaced it.
#[derive(Debug)]
pub(super) struct Generation {
    path: PathBuf,
    damaged: AtomicBool,
    replaced: AtomicBool,
}

impl Generation {
    fn new(path: PathBuf) -> Self {
        Self { path, damaged: AtomicBool::new(false), replaced: AtomicBool::new(false) }
    }

    pub(super) fn mark_damaged(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    pub(super) fn open(&self, url: &RepositoryUrl) -> Result<Repository, SourceError> {
        Repository::open_bare(&self.path).map_err(|error| {
            self.mark_damaged();
            damaged(url, &error)
        })
    }

    /// Whether a commit and its tree are there.
    fn holds(repository: &Repository, commit: &CommitId) -> bool {
        commit.oid().and_then(|oid| repository.find_commit(oid).ok()).is_some_and(|commit| commit.tree().is_ok())
    }

    fn worn(&self) -> bool {
        let packs = fs::read_dir(self.path.join("objects/pack"));
        packs.map_or(0, |files| {
            files.flatten().filter(|file| file.path().extension().is_some_and(|extension| extension == "pack")).count()
        }) > PACKS
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if self.replaced.load(Ordering::Relaxed) {
            // What stays is removed when the cache is opened again.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Mirror {
    pub(super) fn new(url: RepositoryUrl, credentials: Credentials, directory: PathBuf) -> Result<Self, SourceError> {
        let (newest, number) = newest_generation(&directory)?;
        let state = State {
            fetching: false,
            used: Instant::now(),
            generation: newest.map(|path| Arc::new(Generation::new(path))),
            number,
            tips: BTreeMap::new(),
            absent: BTreeMap::new(),
        };
        let shared = Shared { url, credentials, directory, state: Mutex::new(state), turn: Condvar::new() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The repository.
    pub fn url(&self) -> &RepositoryUrl {
        &self.shared.url
    }

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
        let generation = self.generation()?;
        let request = self.request(limits, Instant::now() + limits.deadline, cancel);
        let mut resolved = Vec::new();
        let listed = generation.open(&self.shared.url).and_then(|repository| {
            converse(&repository, &request, |references| {
                resolved = revisions.iter().map(|revision| references.resolve(&self.shared.url, revision)).collect();
                Ok(Want::Nothing)
            })
        });
        match listed {
            Err(SourceError::RepositoryDamaged { .. }) if !generation.path.join("HEAD").exists() => {
                self.renew()?;
                self.poll(revisions, limits, cancel)
            }
            Err(error) => Err(error),
            Ok(_) => Ok(resolved),
        }
    }

    /// Brings a revision's commit here, if it is not here yet. Only one fetch
    /// of a mirror runs at a time; the others wait for it.
    ///
    /// # Errors
    /// See [`SourceError`]. What was fetched before stays readable.
    pub fn fetch(
        &self,
        revision: &Revision,
        limits: &Limits,
        cancel: &CancellationToken,
    ) -> Result<Fetched, SourceError> {
        let deadline = Instant::now() + limits.deadline;
        let request = self.request(limits, deadline, cancel);
        let _turn = self.take_turn(&request)?;
        let generation = self.generation()?;
        if let (Revision::Commit(commit), false) = (revision, generation.damaged.load(Ordering::Relaxed))
            && generation.open(&self.shared.url).is_ok_and(|repository| Generation::holds(&repository, commit))
        {
            let resolved = Resolved { commit: commit.clone(), reference: None };
            return Ok(Fetched { resolved, moved: None, bytes: 0, renewed: None });
        }
        let worn = if generation.damaged.load(Ordering::Relaxed) {
            Some("objects of it were missing or damaged".to_owned())
        } else if generation.worn() {
            Some("it had too many packs".to_owned())
        } else {
            None
        };
        if worn.is_some() {
            drop(generation);
            return self.fetch_anew(revision, &request, worn);
        }
        match self.fetch_into(&generation, revision, &request, false) {
            Err(SourceError::RepositoryDamaged { message, .. }) => {
                drop(generation);
                self.fetch_anew(revision, &request, Some(message))
            }
            Err(error @ SourceError::GitFailed { .. }) => {
                // A mirror that holds little asks in other ways than a new one;
                // servers that fail at the one may manage the other.
                let SourceError::GitFailed { message, .. } = &error else { return Err(error) };
                let renewed = Some(message.clone());
                drop(generation);
                self.fetch_anew(revision, &request, renewed)
            }
            other => other,
        }
    }

    /// The files of a fetched commit below a path; `.` is the root.
    ///
    /// # Errors
    /// The path does not exist there, a limit is passed, or the tree holds what
    /// is not read. After [`SourceError::RepositoryDamaged`] the next fetch
    /// makes the mirror anew.
    pub fn tree(&self, commit: &CommitId, path: &str, limits: &TreeLimits) -> Result<GitTree, SourceError> {
        self.reading(commit, |generation| GitTree::open(&self.shared.url, generation.clone(), commit, path, limits))
    }

    /// The name of the tree below a path of a fetched commit. Equal names mean
    /// equal content: a push elsewhere changed nothing here.
    ///
    /// # Errors
    /// As [`Mirror::tree`].
    pub fn tree_id(&self, commit: &CommitId, path: &str) -> Result<TreeId, SourceError> {
        self.reading(commit, |generation| {
            let repository = generation.open(&self.shared.url)?;
            tree_at(&repository, &self.shared.url, commit, path).map(|directory| directory.id.into())
        })
    }

    /// Who wrote a fetched commit, when, and what for.
    ///
    /// # Errors
    /// It is not fetched, or damaged.
    pub fn commit(&self, commit: &CommitId) -> Result<Commit, SourceError> {
        self.reading(commit, |generation| log::commit(&generation.open(&self.shared.url)?, &self.shared.url, commit))
    }

    /// The commits that `new` has and `old` has not, newest first, at most
    /// `limit`; nothing where the mirror does not hold the history between.
    ///
    /// # Errors
    /// `new` is not fetched, or the mirror is damaged.
    pub fn log_between(&self, old: &CommitId, new: &CommitId, limit: usize) -> Result<Option<CommitLog>, SourceError> {
        self.reading(new, |generation| {
            log::between(&generation.open(&self.shared.url)?, &self.shared.url, old, new, limit)
        })
    }

    /// How `new` follows `old`, as far as the mirror knows.
    ///
    /// # Errors
    /// The mirror is damaged.
    pub fn relation(&self, old: &CommitId, new: &CommitId) -> Result<Relation, SourceError> {
        self.reading(new, |generation| Ok(log::relation(&generation.open(&self.shared.url)?, old, new)))
    }

    /// When the mirror was used last.
    pub(super) fn used(&self) -> Instant {
        self.state().used
    }

    /// Whether somebody else has the mirror, or reads a tree of it.
    pub(super) fn is_held(&self) -> bool {
        let read = self.state().generation.as_ref().is_some_and(|generation| Arc::strong_count(generation) > 1);
        read || Arc::strong_count(&self.shared) > 1
    }

    pub(super) fn directory(&self) -> &Path {
        &self.shared.directory
    }

    fn request<'a>(&'a self, limits: &'a Limits, deadline: Instant, cancel: &'a CancellationToken) -> Request<'a> {
        Request { url: &self.shared.url, credentials: &self.shared.credentials, limits, deadline, cancel }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that could panic runs under the lock and leaves it half
        // changed.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reading<T>(
        &self,
        commit: &CommitId,
        read: impl FnOnce(&Arc<Generation>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let generation = {
            let mut state = self.state();
            state.used = Instant::now();
            state.generation.clone()
        };
        let Some(generation) = generation else {
            return Err(SourceError::CommitNotFetched { url: self.shared.url.to_string(), commit: commit.clone() });
        };
        let result = read(&generation);
        if matches!(result, Err(SourceError::RepositoryDamaged { .. })) {
            generation.mark_damaged();
        }
        result
    }

    fn take_turn(&self, request: &Request<'_>) -> Result<Turn<'_>, SourceError> {
        let start = Instant::now();
        let mut state = self.state();
        while state.fetching {
            let url = || self.shared.url.to_string();
            if request.cancel.is_cancelled() {
                return Err(SourceError::Cancelled { url: url() });
            }
            if Instant::now() >= request.deadline {
                return Err(SourceError::Busy { url: url(), waited: start.elapsed() });
            }
            state = self.shared.turn.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.fetching = true;
        state.used = Instant::now();
        Ok(Turn { mirror: self })
    }

    /// The generation in use, or a first one.
    fn generation(&self) -> Result<Arc<Generation>, SourceError> {
        let mut state = self.state();
        state.used = Instant::now();
        match &state.generation {
            Some(generation) => Ok(generation.clone()),
            None => {
                let generation = self.make_generation(&mut state)?;
                state.generation = Some(generation.clone());
                Ok(generation)
            }
        }
    }

    /// Replaces the generation in use by an empty one.
    fn renew(&self) -> Result<(), SourceError> {
        let mut state = self.state();
        let generation = self.make_generation(&mut state)?;
        replace(&mut state, generation);
        Ok(())
    }

    fn make_generation(&self, state: &mut State) -> Result<Arc<Generation>, SourceError> {
        state.number += 1;
        let path = self.shared.directory.join(format!("{}.git", state.number));
        private_directory(&path)?;
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false).mode(RepositoryInitMode::SHARED_UMASK);
        match Repository::init_opts(&path, &options) {
            Ok(_) => Ok(Arc::new(Generation::new(path))),
            Err(error) if disk_full(error.message()) => {
                Err(SourceError::DiskFull { url: self.shared.url.to_string(), message: visible(error.message()) })
            }
            Err(error) => {
                Err(SourceError::CacheUnusable { path: path.display().to_string(), message: visible(error.message()) })
            }
        }
    }

    /// Fetches into a new generation, which replaces the one in use if that
    /// succeeds.
    fn fetch_anew(
        &self,
        revision: &Revision,
        request: &Request<'_>,
        renewed: Option<String>,
    ) -> Result<Fetched, SourceError> {
        let fresh = self.make_generation(&mut self.state())?;
        let fetched = self.fetch_into(&fresh, revision, request, true).inspect_err(|_| {
            fresh.replaced.store(true, Ordering::Relaxed);
        })?;
        replace(&mut self.state(), fresh);
        Ok(Fetched { renewed, ..fetched })
    }

    fn fetch_into(
        &self,
        generation: &Generation,
        revision: &Revision,
        request: &Request<'_>,
        anew: bool,
    ) -> Result<Fetched, SourceError> {
        let url = &self.shared.url;
        let repository = generation.open(url)?;
        let mut resolved: Option<Resolved> = None;
        let mut everything = Vec::new();
        let mut listed = None;
        let first = converse(&repository, request, |references| {
            let found = references.resolve(url, revision)?;
            listed = Some(references.digest());
            if self.state().absent.get(&found.commit).is_some_and(|then| Some(*then) == listed) {
                return Err(not_contained(url, revision));
            }
            let want = if Generation::holds(&repository, &found.commit) {
                Want::Nothing
            } else {
                everything = all_refspecs(references);
                self.want(&repository, references, &found, anew)
            };
            resolved = Some(found);
            Ok(want)
        });
        let (resolved, bytes) = match (resolved, first) {
            (Some(resolved), Ok(bytes)) => (resolved, bytes),
            // Not every server gives a commit by its name, and some know no
            // shallow history: take all that it lists.
            (Some(resolved), Err(error @ (SourceError::GitFailed { .. } | SourceError::RepositoryDamaged { .. })))
                if anew =>
            {
                let refspecs = std::mem::take(&mut everything);
                if refspecs.is_empty() {
                    return Err(error);
                }
                let bytes = converse(&repository, request, |_| Ok(Want::Objects { refspecs, depth: 0 }))?;
                (resolved, bytes)
            }
            (_, Err(error)) => return Err(error),
            (None, Ok(_)) => {
                return Err(SourceError::GitFailed { url: url.to_string(), message: "nothing was listed".to_owned() });
            }
        };
        // What the mirror lacked before is seen through a new handle only.
        let repository = generation.open(url)?;
        if !Generation::holds(&repository, &resolved.commit) {
            let error = self.absent(&repository, revision, &resolved, anew);
            if let (SourceError::RevisionNotFound { .. }, Some(listed)) = (&error, listed) {
                self.state().absent.insert(resolved.commit, listed);
            }
            return Err(error);
        }
        let moved = self.remember(&repository, &resolved)?;
        Ok(Fetched { resolved, moved, bytes, renewed: None })
    }

    /// Which objects to ask for: the newest commit alone at first, some history
    /// when a reference moved. A local repository gives no part of a history.
    fn want(&self, repository: &Repository, references: &References, found: &Resolved, anew: bool) -> Want {
        let refspec = match &found.reference {
            Some(name) => format!("+{name}:refs/bowline/incoming"),
            None => references
                .iter()
                .find(|(_, commit)| **commit == found.commit)
                .map_or_else(|| found.commit.to_string(), |(name, _)| format!("+{name}:refs/bowline/incoming")),
        };
        let known = found.reference.as_ref().is_some_and(|name| self.tip(repository, name).is_some());
        let depth = if self.shared.url.is_local() {
            0
        } else if known && !anew {
            HISTORY
        } else {
            1
        };
        Want::Objects { refspecs: vec![refspec], depth }
    }

    /// The error for a commit that the repository did not send.
    fn absent(&self, repository: &Repository, revision: &Revision, resolved: &Resolved, anew: bool) -> SourceError {
        let url = self.shared.url.to_string();
        let exists = resolved.commit.oid().is_some_and(|oid| repository.find_object(oid, None).is_ok());
        if !exists && !anew && resolved.reference.is_some() {
            // The repository left out what the mirror claimed to have.
            return SourceError::RepositoryDamaged {
                url,
                message: format!("commit {} is incomplete", resolved.commit),
            };
        }
        let known = match (&resolved.reference, resolved.commit.oid()) {
            (_, None) => "it is a SHA-256 name, and only SHA-1 repositories can be read".to_owned(),
            (_, _) if exists => "it names no commit".to_owned(),
            (Some(_), _) => "the repository lists it but did not send its commit".to_owned(),
            (None, _) => return not_contained(&self.shared.url, revision),
        };
        SourceError::RevisionNotFound { url, revision: revision.to_string(), known }
    }

    /// Where a reference was at the last fetch.
    fn tip(&self, repository: &Repository, name: &str) -> Option<CommitId> {
        let kept = self.state().tips.get(name).cloned();
        kept.or_else(|| repository.refname_to_id(&kept_name(name)).ok().map(CommitId::from))
    }

    /// Keeps where a reference is now, and tells how it moved.
    fn remember(&self, repository: &Repository, resolved: &Resolved) -> Result<Option<Moved>, SourceError> {
        let Some(oid) = resolved.commit.oid() else { return Ok(None) };
        let name = resolved.reference.clone().unwrap_or_else(|| resolved.commit.to_string());
        let before = self.tip(repository, &name);
        let unchanged = repository.refname_to_id(&kept_name(&name)).is_ok_and(|kept| kept == oid);
        if !unchanged {
            repository.reference(&kept_name(&name), oid, true, "fetch").map_err(|error| {
                if disk_full(error.message()) {
                    SourceError::DiskFull { url: self.shared.url.to_string(), message: visible(error.message()) }
                } else {
                    damaged(&self.shared.url, &error)
                }
            })?;
        }
        self.state().tips.insert(name, resolved.commit.clone());
        Ok(before
            .filter(|from| *from != resolved.commit)
            .map(|from| Moved { relation: log::relation(repository, &from, &resolved.commit), from }))
    }
}

fn not_contained(url: &RepositoryUrl, revision: &Revision) -> SourceError {
    SourceError::RevisionNotFound {
        url: url.to_string(),
        revision: revision.to_string(),
        known: "no branch or tag contains it, or it was removed".to_owned(),
    }
}

/// The right to fetch, given back when it is dropped.
struct Turn<'a> {
    mirror: &'a Mirror,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.mirror.state().fetching = false;
        self.mirror.shared.turn.notify_one();
    }
}

fn replace(state: &mut State, generation: Arc<Generation>) {
    if let Some(old) = state.generation.replace(generation) {
        old.replaced.store(true, Ordering::Relaxed);
    }
}

/// Refspecs for all branches and tags.
fn all_refspecs(references: &References) -> Vec<String> {
    let names = references.iter().map(|(name, _)| name);
    names
        .filter(|name| name.starts_with("refs/heads/") || name.starts_with("refs/tags/"))
        .map(|name| format!("+{name}:refs/bowline/incoming"))
        .collect()
}

/// The name under which the mirror keeps where a reference is. It is a digest:
/// a deleted branch `a` and a new one `a/b` could not stand beside each other.
fn kept_name(reference: &str) -> String {
    let digest = Sha256::digest(reference.as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("refs/bowline/kept/{hex}")
}

/// Finds the newest generation of a mirror, and removes what older ones left.
fn newest_generation(directory: &Path) -> Result<(Option<PathBuf>, u64), SourceError> {
    private_directory(directory)?;
    let unusable = |error: std::io::Error| SourceError::CacheUnusable {
        path: directory.display().to_string(),
        message: error.to_string(),
    };
    let mut generations: BTreeMap<u64, PathBuf> = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(unusable)? {
        let path = entry.map_err(unusable)?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".git")?.parse().ok());
        if let Some(number) = number {
            generations.insert(number, path);
        }
    }
    let newest = generations.pop_last();
    for path in generations.into_values() {
        fs::remove_dir_all(path).map_err(unusable)?;
    }
    Ok(newest.map_or((None, 0), |(number, path)| (Some(path), number)))
}

/// Makes a directory that only this user may enter.
pub(super) fn private_directory(path: &Path) -> Result<(), SourceError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| SourceError::CacheUnusable { path: path.display().to_string(), message: error.to_string() })
}
