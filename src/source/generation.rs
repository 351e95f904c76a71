//! One bare repository of a mirror on disk, for as long as somebody uses it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use git2::{Repository, RepositoryInitMode, RepositoryInitOptions};
use sha2::{Digest as _, Sha256};

use super::{
    error::SourceError,
    id::CommitId,
    objects::{self, unreadable},
    transport::disk_full,
    url::{RepositoryUrl, visible},
};

/// How many packs a generation may have before it is made anew.
const PACKS: usize = 64;

/// A bare repository of a mirror, numbered. Once another has replaced it, it
/// is removed with the last one who uses it.
#[derive(Debug)]
pub(super) struct Generation {
    path: PathBuf,
    damaged: AtomicBool,
    replaced: AtomicBool,
}

impl Generation {
    fn at(path: PathBuf) -> Self {
        Self { path, damaged: AtomicBool::new(false), replaced: AtomicBool::new(false) }
    }

    /// Makes an empty one.
    pub(super) fn make(directory: &Path, number: u64, url: &RepositoryUrl) -> Result<Self, SourceError> {
        let path = directory.join(format!("{number}.git"));
        private_directory(&path)?;
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false).mode(RepositoryInitMode::SHARED_UMASK);
        Repository::init_opts(&path, &options).map_err(|error| written(url, &path, &error))?;
        Ok(Self::at(path))
    }

    /// Finds the newest one of a mirror with its number, and removes what older
    /// ones left. The number is 0 where there is none.
    pub(super) fn newest(directory: &Path) -> Result<(Option<Self>, u64), SourceError> {
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
        Ok(newest.map_or((None, 0), |(number, path)| (Some(Self::at(path)), number)))
    }

    /// Remembers that objects are missing or wrong: the next fetch makes the
    /// mirror anew.
    pub(super) fn mark_damaged(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    /// Lets it be removed with its last user.
    pub(super) fn mark_replaced(&self) {
        self.replaced.store(true, Ordering::Relaxed);
    }

    /// Opens the repository.
    pub(super) fn open(&self, url: &RepositoryUrl) -> Result<Repository, SourceError> {
        Repository::open_bare(&self.path).map_err(|error| {
            self.mark_damaged();
            unreadable(url, &error)
        })
    }

    /// The directory of its objects, for another repository to read too.
    pub(super) fn objects(&self) -> String {
        self.path.join("objects").display().to_string()
    }

    /// Whether a commit can be read from it.
    pub(super) fn has(&self, url: &RepositoryUrl, commit: &CommitId) -> bool {
        !self.damaged.load(Ordering::Relaxed) && self.open(url).is_ok_and(|repository| holds(&repository, commit))
    }

    /// Why it should be made anew, if it should.
    pub(super) fn worn(&self) -> Option<&'static str> {
        if self.damaged.load(Ordering::Relaxed) {
            return Some("objects of it were missing or damaged");
        }
        let packs = fs::read_dir(self.path.join("objects/pack")).ok()?.flatten();
        let packs = packs.filter(|file| file.path().extension().is_some_and(|extension| extension == "pack")).count();
        (packs > PACKS).then_some("it had too many packs")
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

/// Whether a commit and its tree are in a repository.
pub(super) fn holds(repository: &Repository, commit: &CommitId) -> bool {
    let commit = commit.oid().and_then(|oid| objects::commit(repository, oid).ok());
    commit.is_some_and(|commit| objects::tree(repository, commit.tree_id()).is_ok())
}

/// Where a reference was when it was fetched last.
pub(super) fn kept(repository: &Repository, reference: &str) -> Option<CommitId> {
    repository.refname_to_id(&kept_name(reference)).ok().map(CommitId::from)
}

/// Keeps where a reference is, which also keeps the library from asking for
/// its objects again.
pub(super) fn keep(
    repository: &Repository,
    url: &RepositoryUrl,
    reference: &str,
    commit: &CommitId,
) -> Result<(), SourceError> {
    let Some(oid) = commit.oid().filter(|_| kept(repository, reference).as_ref() != Some(commit)) else {
        return Ok(());
    };
    repository
        .reference(&kept_name(reference), oid, true, "fetch")
        .map(drop)
        .map_err(|error| written(url, repository.path(), &error))
}

/// The name under which it is kept where a reference is. It is a digest: a
/// deleted branch `a` and a new one `a/b` could not stand beside each other.
fn kept_name(reference: &str) -> String {
    let digest = Sha256::digest(reference.as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("refs/bowline/kept/{hex}")
}

/// The error of a write to the cache.
fn written(url: &RepositoryUrl, path: &Path, error: &git2::Error) -> SourceError {
    let message = visible(error.message());
    if disk_full(error.message()) {
        SourceError::DiskFull { url: url.to_string(), message }
    } else {
        SourceError::CacheUnusable { path: path.display().to_string(), message }
    }
}

/// Makes a directory that only this user may enter.
pub(super) fn private_directory(path: &Path) -> Result<(), SourceError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| SourceError::CacheUnusable { path: path.display().to_string(), message: error.to_string() })
}
