//! Where the rig keeps what it builds, and the directories of what it runs.
//!
//! A running instance holds a lock on its directory. The kernel drops the lock
//! with the process, so a directory that nobody locks belongs to an instance
//! that was killed, and the next start removes it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::{At, Result};

const LOCK: &str = "lock";

/// `$BOWLINE_CACHE`, else `$XDG_CACHE_HOME/bowline`, else `~/.cache/bowline`.
pub fn cache_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(dir) = set("BOWLINE_CACHE") {
        return absolute(dir.into());
    }
    if let Some(dir) = set("XDG_CACHE_HOME") {
        return absolute(PathBuf::from(dir).join("bowline"));
    }
    match set("HOME") {
        Some(home) => PathBuf::from(home).join(".cache/bowline"),
        None => std::env::temp_dir().join("bowline-cache"),
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// A directory with everything an instance writes; it goes away with the value.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
    _lock: File,
}

impl RunDirectory {
    /// A new directory with a name of its own. Those of killed instances are removed.
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        let parent = cache_dir().join("run");
        create_private(&parent)?;
        sweep(&parent);
        let kept =
            tempfile::Builder::new().prefix(prefix).tempdir_in(&parent).at("create a directory in", &parent)?.keep();
        Self::lock(kept)
    }

    /// The given directory, emptied. Nobody else may hold it.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        create_private(path)?;
        let held = Self::lock(path.to_owned())?;
        for entry in fs::read_dir(path).at("read", path)? {
            let entry = entry.at("read", path)?.path();
            if entry.ends_with(LOCK) {
                continue;
            }
            if entry.is_dir() {
                fs::remove_dir_all(&entry).at("remove", &entry)?;
            } else {
                fs::remove_file(&entry).at("remove", &entry)?;
            }
        }
        Ok(held)
    }

    fn lock(path: PathBuf) -> Result<Self> {
        let name = path.join(LOCK);
        let file = File::create(&name).at("create", &name)?;
        file.try_lock().map_err(std::io::Error::from).at("lock", &name)?;
        Ok(RunDirectory { path, _lock: file })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the sweep of the next start.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Whether a living process holds the directory.
pub(crate) fn is_held(path: &Path) -> bool {
    match File::open(path.join(LOCK)) {
        Ok(file) => matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)),
        Err(_) => false,
    }
}

pub(crate) fn create_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).at("create", path)
}

/// Removes what killed instances left. A directory without a lock file may be
/// one that is being made at this moment, and is left alone.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.join(LOCK).exists() && !is_held(&path) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}
