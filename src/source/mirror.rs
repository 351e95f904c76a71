//! One repository, as one caller may see it, on this disk.
//!
//! A mirror is a series of *generations*, each a bare repository. A damaged
//! one, or one of too many small packs, is replaced by a new one, and removed
//! when the last tree that reads from it is dropped. One conversation with the
//! repository goes on at a time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    credentials::Credentials,
    error::SourceError,
    fetch::holds_tag,
    generation::{Generation, holds},
    git_files::GitFiles,
    git_tree::{GitTree, tree_at},
    id::{CommitId, TreeId},
    limits::{Limits, TreeLimits},
    log::{self, Commit, CommitLog, Relation},
    objects::unreadable,
    references::Resolved,
    submodules::Submodules,
    transport::Request,
    url::RepositoryUrl,
};

/// How often one who waits looks whether it was cancelled.
const PATIENCE: Duration = Duration::from_millis(50);

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

/// What changes in a mirror.
#[derive(Debug)]
pub(super) struct State {
    talking: bool,
    used: Instant,
    generation: Option<Arc<Generation>>,
    number: u64,
    /// Where references were when they were fetched last. The generation keeps
    /// the same; this outlives a damaged one.
    pub(super) tips: BTreeMap<String, CommitId>,
    /// Commits that the repository did not have when it listed what has this
    /// digest: nobody searches all its history for them again until it lists
    /// something else.
    pub(super) absent: BTreeMap<CommitId, [u8; 32]>,
}

impl Mirror {
    pub(super) fn new(url: RepositoryUrl, credentials: Credentials, directory: PathBuf) -> Result<Self, SourceError> {
        let (newest, number) = Generation::newest(&directory)?;
        let state = State {
            talking: false,
            used: Instant::now(),
            generation: newest.map(Arc::new),
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

    pub(super) fn credentials(&self) -> &Credentials {
        &self.shared.credentials
    }

    /// The files of a fetched commit below a path; `.` is the root.
    ///
    /// # Errors
    /// The path does not exist there, a limit is passed, or the tree holds what
    /// is not read. After [`SourceError::RepositoryDamaged`] the next fetch
    /// makes the mirror anew.
    pub fn tree(&self, commit: &CommitId, path: &str, limits: &TreeLimits) -> Result<GitTree, SourceError> {
        self.tree_with(commit, path, limits, &Submodules::default())
    }

    /// The same with submodules, whose files are read in their place.
    ///
    /// # Errors
    /// As [`Mirror::tree`].
    pub fn tree_with(
        &self,
        commit: &CommitId,
        path: &str,
        limits: &TreeLimits,
        submodules: &Submodules,
    ) -> Result<GitTree, SourceError> {
        let url = self.url();
        self.reading(commit, |generation| GitTree::open(url, generation.clone(), commit, path, limits, submodules))
    }

    /// All files of a fetched commit, asked by path, with those of submodules
    /// in their place.
    ///
    /// # Errors
    /// The commit is not fetched, or the mirror is damaged.
    pub fn files(
        &self,
        commit: &CommitId,
        limits: &TreeLimits,
        submodules: &Submodules,
    ) -> Result<GitFiles, SourceError> {
        self.reading(commit, |generation| GitFiles::open(self.url(), generation.clone(), commit, limits, submodules))
    }

    /// The name of the tree below a path of a fetched commit. Equal names mean
    /// equal content: a push elsewhere changed nothing here.
    ///
    /// # Errors
    /// As [`Mirror::tree`].
    pub fn tree_id(&self, commit: &CommitId, path: &str, submodules: &Submodules) -> Result<TreeId, SourceError> {
        self.reading(commit, |generation| {
            let repository = generation.open(self.url())?;
            submodules.attach(&repository, self.url())?;
            tree_at(&repository, self.url(), commit, path, submodules).map(|directory| directory.id.into())
        })
    }

    /// The names of the trees below several paths of a fetched commit, submodules
    /// aside, by path; those that do not exist are left out.
    ///
    /// # Errors
    /// The commit is not fetched, or the mirror is damaged.
    pub fn tree_ids(&self, commit: &CommitId, paths: &BTreeSet<&str>) -> Result<HashMap<String, TreeId>, SourceError> {
        self.reading(commit, |generation| {
            let repository = generation.open(self.url())?;
            let none = Submodules::default();
            let id = |path: &&str| Some(tree_at(&repository, self.url(), commit, path, &none).ok()?.id.into());
            Ok(paths.iter().filter_map(|path| Some(((*path).to_owned(), id(path)?))).collect())
        })
    }

    /// Who wrote a fetched commit, when, and what for.
    ///
    /// # Errors
    /// It is not fetched, or damaged.
    pub fn commit(&self, commit: &CommitId) -> Result<Commit, SourceError> {
        self.reading(commit, |generation| log::commit(&generation.open(self.url())?, self.url(), commit))
    }

    /// Whether what a revision means is here: its commit, and its annotated
    /// tag where it is one.
    pub fn holds(&self, resolved: &Resolved) -> bool {
        let held = self.reading(&resolved.commit, |generation| {
            let repository = generation.open(self.url())?;
            Ok(holds(&repository, &resolved.commit) && holds_tag(&repository, resolved))
        });
        held.unwrap_or(false)
    }

    /// An object as it is stored, of the repository that holds a commit.
    pub(super) fn raw(
        &self,
        commit: &CommitId,
        read: impl FnOnce(&git2::Repository) -> Result<Vec<u8>, git2::Error>,
    ) -> Result<Vec<u8>, SourceError> {
        self.reading(commit, |generation| {
            let repository = generation.open(self.url())?;
            read(&repository).map_err(|error| unreadable(self.url(), &error))
        })
    }

    /// Reads from the repository that holds a commit.
    pub(super) fn read_at<T>(
        &self,
        commit: &CommitId,
        read: impl FnOnce(&git2::Repository, &RepositoryUrl) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        self.reading(commit, |generation| read(&generation.open(self.url())?, self.url()))
    }

    /// The commits that `new` has and `old` has not, newest first, at most
    /// `limit`; nothing where the mirror does not hold the history between.
    ///
    /// # Errors
    /// `new` is not fetched, or the mirror is damaged.
    pub fn log_between(&self, old: &CommitId, new: &CommitId, limit: usize) -> Result<Option<CommitLog>, SourceError> {
        self.reading(new, |generation| log::between(&generation.open(self.url())?, self.url(), old, new, limit))
    }

    /// How `new` follows `old`, as far as the mirror knows.
    ///
    /// # Errors
    /// The mirror is damaged.
    pub fn relation(&self, old: &CommitId, new: &CommitId) -> Result<Relation, SourceError> {
        self.reading(new, |generation| Ok(log::relation(&generation.open(self.url())?, old, new)))
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

    /// Where it is on this disk: each repository, and each of its credentials,
    /// has a directory of its own.
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No code that could panic runs under the lock and leaves it half
        // changed.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation in use, or a first one.
    pub(super) fn generation(&self) -> Result<Arc<Generation>, SourceError> {
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

    /// An empty generation, not in use yet.
    pub(super) fn make_generation(&self, state: &mut State) -> Result<Arc<Generation>, SourceError> {
        state.number += 1;
        Generation::make(&self.shared.directory, state.number, self.url()).map(Arc::new)
    }

    /// Puts a generation into use.
    pub(super) fn put_in_use(&self, generation: Arc<Generation>) {
        let replaced = self.state().generation.replace(generation);
        if let Some(replaced) = replaced {
            replaced.mark_replaced();
        }
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
            return Err(SourceError::CommitNotFetched { url: self.url().to_string(), commit: commit.clone() });
        };
        let result = read(&generation);
        if matches!(result, Err(SourceError::RepositoryDamaged { .. })) {
            generation.mark_damaged();
        }
        result
    }

    /// Waits for the turn to talk to the repository, and talks on a thread of
    /// its own. The library cannot be interrupted while it waits for a server:
    /// a caller whose time is up, or who is cancelled, leaves that thread
    /// behind, which keeps the turn until the library gives up.
    pub(super) fn talk<T: Send + 'static>(
        &self,
        limits: &Limits,
        cancel: &CancellationToken,
        work: impl FnOnce(&Self, &Request<'_>) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let deadline = Instant::now() + limits.deadline;
        let turn = self.take_turn(limits, deadline, cancel)?;
        let (send, receive) = mpsc::sync_channel(1);
        let (own_limits, own_cancel) = (limits.clone(), cancel.clone());
        let talking = thread::Builder::new().name("git".to_owned()).spawn(move || {
            let request = turn.mirror.request(&own_limits, deadline, &own_cancel);
            let result = work(&turn.mirror, &request);
            drop(turn);
            // Nobody may be waiting any more.
            let _ = send.send(result);
        });
        if let Err(error) = talking {
            let message = format!("no thread to talk to it: {error}");
            return Err(SourceError::GitFailed { url: self.url().to_string(), message });
        }
        loop {
            match receive.recv_timeout(PATIENCE) {
                Ok(result) => return result,
                Err(mpsc::RecvTimeoutError::Timeout) => self.request(limits, deadline, cancel).check()?,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let message = "the thread that talks to it ended early".to_owned();
                    return Err(SourceError::GitFailed { url: self.url().to_string(), message });
                }
            }
        }
    }

    fn request<'a>(&'a self, limits: &'a Limits, deadline: Instant, cancel: &'a CancellationToken) -> Request<'a> {
        Request { url: self.url(), credentials: &self.shared.credentials, limits, deadline, cancel }
    }

    fn take_turn(&self, limits: &Limits, deadline: Instant, cancel: &CancellationToken) -> Result<Turn, SourceError> {
        self.request(limits, deadline, cancel).check()?;
        let start = Instant::now();
        let mut state = self.state();
        while state.talking {
            let url = || self.url().to_string();
            if cancel.is_cancelled() {
                return Err(SourceError::Cancelled { url: url() });
            }
            if Instant::now() >= deadline {
                return Err(SourceError::Busy { url: url(), waited: start.elapsed() });
            }
            state = self.shared.turn.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.talking = true;
        state.used = Instant::now();
        Ok(Turn { mirror: self.clone() })
    }
}

/// The right to talk to the repository, given back when it is dropped.
struct Turn {
    mirror: Mirror,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.mirror.state().talking = false;
        self.mirror.shared.turn.notify_one();
    }
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
