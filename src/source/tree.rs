//! A read-only tree of files, whatever it comes from: a commit, a directory of
//! this machine, or memory.

use std::collections::BTreeMap;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A symbolic link with its target as written.
    Symlink {
        /// The target as written.
        target: String,
    },
    /// A submodule that is not read: the Application does not want it.
    Submodule,
}

/// A file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Path relative to the root of the repository, separated by `/`.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes.
    pub size: u64,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The path is not in the tree.
    #[error("{path} does not exist")]
    Missing {
        /// The path asked for.
        path: String,
    },
    /// The underlying store failed.
    #[error("{path} cannot be read: {message}")]
    Unreadable {
        /// The path asked for.
        path: String,
        /// What the store said.
        message: String,
    },
    /// A limit was passed.
    #[error("{path} is {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The path asked for.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
}

/// A tree of files. Implementations list deterministically, sorted by path.
pub trait Tree: Send + Sync {
    /// All entries below the path that the tree was opened at, sorted by path.
    fn entries(&self) -> &[TreeEntry];

    /// The content of a regular file.
    ///
    /// # Errors
    /// The path is not a regular file of the tree, is too large, or cannot be
    /// read.
    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError>;

    /// A name of the content of a regular file, where the store has one that
    /// costs no reading: equal names mean equal content.
    fn content_id(&self, _path: &str) -> Option<Vec<u8>> {
        None
    }
}

/// A tree in memory.
#[derive(Debug, Default)]
pub struct MemoryTree {
    entries: Vec<TreeEntry>,
    files: BTreeMap<String, Vec<u8>>,
}

impl<P: Into<String>, C: Into<Vec<u8>>> FromIterator<(P, C)> for MemoryTree {
    fn from_iter<I: IntoIterator<Item = (P, C)>>(files: I) -> Self {
        let files: BTreeMap<String, Vec<u8>> =
            files.into_iter().map(|(path, content)| (path.into(), content.into())).collect();
        let entries = files
            .iter()
            .map(|(path, content)| TreeEntry { path: path.clone(), kind: EntryKind::File, size: content.len() as u64 })
            .collect();
        Self { entries, files }
    }
}

impl Tree for MemoryTree {
    fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        self.files.get(path).cloned().ok_or_else(|| TreeError::Missing { path: path.to_owned() })
    }

    fn content_id(&self, path: &str) -> Option<Vec<u8>> {
        // In memory nothing is shorter to come by than the content itself.
        self.files.get(path).cloned()
    }
}
