//! The cache of mirrors on this disk.

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::{
    credentials::Credentials,
    error::SourceError,
    fetch::Fetched,
    generation::private_directory,
    limits::{Limits, ProcessLimits},
    mirror::Mirror,
    process::init_process,
    references::Resolved,
    revision::Revision,
    url::RepositoryUrl,
};

/// The cache of mirrors: one for each repository and credentials, so that
/// nobody reads what another's credentials opened. Clones share it.
#[derive(Clone, Debug)]
pub struct Repositories {
    root: PathBuf,
    mirrors: Arc<Mutex<HashMap<String, Mirror>>>,
    opened: Instant,
    // Held as long as the cache is open.
    _lock: Arc<File>,
}

impl Repositories {
    /// Opens a cache in a directory, which is made private to this user.
    ///
    /// # Errors
    /// The directory cannot be used, or another process uses it.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, SourceError> {
        init_process(&ProcessLimits::default())?;
        let root = root.into();
        let unusable = |message: String| SourceError::CacheUnusable { path: root.display().to_string(), message };
        private_directory(&root)?;
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(&root, permissions).map_err(|error| unusable(error.to_string()))?;
        let lock = File::create(root.join("lock")).map_err(|error| unusable(error.to_string()))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                unusable("another process uses it; give each process a directory of its own".to_owned())
            }
            TryLockError::Error(error) => unusable(error.to_string()),
        })?;
        Ok(Self { root, mirrors: Arc::default(), opened: Instant::now(), _lock: Arc::new(lock) })
    }

    /// The mirror of a repository, as these credentials may see it. It does
    /// not talk to the repository.
    ///
    /// # Errors
    /// The cache's directory cannot be used.
    pub fn mirror(&self, url: &RepositoryUrl, credentials: &Credentials) -> Result<Mirror, SourceError> {
        let digest = Sha256::digest(format!("{}\n{}", url.as_str(), credentials.identity()).as_bytes());
        let key: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mirror) = mirrors.get(&key) {
            return Ok(mirror.clone());
        }
        let mirror = Mirror::new(url.clone(), credentials.clone(), self.root.join(&key))?;
        mirrors.insert(key, mirror.clone());
        Ok(mirror)
    }

    /// The mirror of a repository that another one names: seen by the other's
    /// credentials where both are on one server, else without any.
    ///
    /// # Errors
    /// The cache's directory cannot be used.
    pub fn named_by(&self, other: &Mirror, url: &RepositoryUrl) -> Result<Mirror, SourceError> {
        if other.url().is_beside(url) {
            self.mirror(url, other.credentials())
        } else {
            self.mirror(url, &Credentials::none())
        }
    }

    /// As [`Mirror::fetch`].
    ///
    /// # Errors
    /// As [`Mirror::fetch`].
    pub fn fetch(
        &self,
        url: &RepositoryUrl,
        credentials: &Credentials,
        revision: &Revision,
        limits: &Limits,
        cancel: &CancellationToken,
    ) -> Result<Fetched, SourceError> {
        self.mirror(url, credentials)?.fetch(revision, limits, cancel)
    }

    /// As [`Mirror::poll`].
    ///
    /// # Errors
    /// As [`Mirror::poll`].
    pub fn poll(
        &self,
        url: &RepositoryUrl,
        credentials: &Credentials,
        revisions: &[Revision],
        limits: &Limits,
        cancel: &CancellationToken,
    ) -> Result<Vec<Result<Resolved, SourceError>>, SourceError> {
        self.mirror(url, credentials)?.poll(revisions, limits, cancel)
    }

    /// Removes the mirrors that nobody holds and nobody used for a while, such
    /// as those of credentials that were rotated, and what earlier runs of the
    /// process left. Returns how many were removed.
    ///
    /// # Errors
    /// A directory cannot be removed.
    pub fn sweep(&self, unused_for: Duration) -> Result<usize, SourceError> {
        let now = Instant::now();
        let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        let unusable = |error: std::io::Error| SourceError::CacheUnusable {
            path: self.root.display().to_string(),
            message: error.to_string(),
        };
        mirrors.retain(|_, mirror| mirror.is_held() || now.saturating_duration_since(mirror.used()) < unused_for);
        // What an earlier run of the process left may still be asked for.
        if now.saturating_duration_since(self.opened) < unused_for {
            return Ok(0);
        }
        let mut removed = 0;
        for entry in fs::read_dir(&self.root).map_err(unusable)? {
            let entry = entry.map_err(unusable)?;
            let directory = entry.file_type().map_err(unusable)?.is_dir();
            let kept = mirrors.values().any(|mirror| mirror.directory() == entry.path());
            if directory && !kept {
                fs::remove_dir_all(entry.path()).map_err(unusable)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
