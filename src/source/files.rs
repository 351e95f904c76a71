//! A repository as a renderer looks at it: by path, one question at a time,
//! without a listing of all that it holds.

use super::tree::{EntryKind, Tree, TreeEntry, TreeError};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A regular file.
    File {
        /// Size in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// The target as written.
        target: String,
    },
    /// A submodule that is not read: the Application does not want it.
    Submodule,
}

/// The files of a repository by their paths, which are relative to its root,
/// separated by `/`, and clean: no `.`, no `..`, no empty parts. The root is
/// the empty path. Links are told and never followed.
pub trait Files: Send + Sync {
    /// What is at a path, if something is.
    ///
    /// # Errors
    /// The store cannot be read.
    fn find(&self, path: &str) -> Result<Option<Found>, TreeError>;

    /// All files, links and submodules below a directory at any depth, sorted
    /// by path.
    ///
    /// # Errors
    /// It is no directory, holds more than a limit or names that are refused,
    /// or cannot be read.
    fn below(&self, directory: &str) -> Result<Vec<TreeEntry>, TreeError>;

    /// The content of a regular file.
    ///
    /// # Errors
    /// It is no regular file, is too large, or cannot be read.
    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError>;

    /// A name of what is at a path, file or directory, where the store has one
    /// that costs no reading: equal names mean equal content.
    fn content_id(&self, _path: &str) -> Option<Vec<u8>> {
        None
    }
}

/// A tree whose entries are all listed, as files.
pub struct Listed<'a>(pub &'a dyn Tree);

impl Listed<'_> {
    fn entry(&self, path: &str) -> Option<&TreeEntry> {
        let entries = self.0.entries();
        let index = entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
        entries.get(index)
    }

    fn first_below(&self, directory: &str) -> Option<usize> {
        let entries = self.0.entries();
        if directory.is_empty() {
            return (!entries.is_empty()).then_some(0);
        }
        let prefix = format!("{directory}/");
        let index = entries.partition_point(|entry| entry.path.as_str() < prefix.as_str());
        entries.get(index).filter(|entry| entry.path.starts_with(&prefix)).map(|_| index)
    }
}

impl Files for Listed<'_> {
    fn find(&self, path: &str) -> Result<Option<Found>, TreeError> {
        if let Some(entry) = self.entry(path) {
            return Ok(Some(match &entry.kind {
                EntryKind::File => Found::File { size: entry.size },
                EntryKind::Symlink { target } => Found::Symlink { target: target.clone() },
                EntryKind::Submodule => Found::Submodule,
            }));
        }
        Ok((path.is_empty() || self.first_below(path).is_some()).then_some(Found::Directory))
    }

    fn below(&self, directory: &str) -> Result<Vec<TreeEntry>, TreeError> {
        let Some(first) = self.first_below(directory) else {
            return Err(TreeError::Missing { path: directory.to_owned() });
        };
        let inside = |entry: &&TreeEntry| {
            directory.is_empty() || entry.path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
        };
        Ok(self.0.entries()[first..].iter().take_while(inside).cloned().collect())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        self.0.read(path)
    }

    fn content_id(&self, path: &str) -> Option<Vec<u8>> {
        self.0.content_id(path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::tree::MemoryTree, *};

    #[test]
    fn a_listed_tree_is_asked_by_path() {
        let tree: MemoryTree = [("a-b.yaml", "1"), ("a/c.yaml", "2"), ("a/d/e.yaml", "3")].into_iter().collect();
        let files = Listed(&tree);
        assert_eq!(files.find("").unwrap(), Some(Found::Directory));
        assert_eq!(files.find("a").unwrap(), Some(Found::Directory));
        assert_eq!(files.find("a/c.yaml").unwrap(), Some(Found::File { size: 1 }));
        assert_eq!(files.find("b").unwrap(), None);
        let below = |directory: &str| -> Vec<String> {
            files.below(directory).unwrap().into_iter().map(|entry| entry.path).collect()
        };
        assert_eq!(below("a"), ["a/c.yaml", "a/d/e.yaml"]);
        assert_eq!(below("").len(), 3);
        assert!(files.below("a/c.yaml").is_err());
    }
}
