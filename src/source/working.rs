//! A directory of this machine as a tree: what the offline commands read.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    files::{Files, Found},
    tree::{EntryKind, Tree, TreeEntry, TreeError},
};

/// Entries that a directory may hold.
const MAX_ENTRIES: usize = 500_000;

/// Bytes of a file that is read.
const MAX_FILE: u64 = 64 << 20;

/// A directory of this machine. Links are listed and never followed; `.git` is
/// left out; files are read when they are asked for.
#[derive(Debug)]
pub struct WorkingTree {
    root: PathBuf,
    entries: Vec<TreeEntry>,
}

impl WorkingTree {
    /// Lists a directory.
    ///
    /// # Errors
    /// It is no directory, cannot be listed, or holds too much.
    pub fn open(directory: &Path) -> Result<Self, TreeError> {
        let unreadable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => TreeError::Missing { path: directory.display().to_string() },
            _ => TreeError::Unreadable { path: directory.display().to_string(), message: error.to_string() },
        };
        if !fs::metadata(directory).map_err(unreadable)?.is_dir() {
            let message = "it is not a directory".to_owned();
            return Err(TreeError::Unreadable { path: directory.display().to_string(), message });
        }
        let mut entries = BTreeMap::new();
        list(directory, &mut entries)?;
        let entries = entries.into_values().collect();
        Ok(Self { root: directory.to_owned(), entries })
    }
}

impl Tree for WorkingTree {
    fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        let missing = || TreeError::Missing { path: path.to_owned() };
        let unreadable =
            |error: std::io::Error| TreeError::Unreadable { path: path.to_owned(), message: error.to_string() };
        let index = self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).map_err(|_| missing())?;
        if self.entries.get(index).is_none_or(|entry| entry.kind != EntryKind::File) {
            return Err(missing());
        }
        let file = self.root.join(path);
        // It may have become a link since it was listed.
        let metadata = fs::symlink_metadata(&file).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(missing());
        }
        if metadata.len() > MAX_FILE {
            return Err(TreeError::TooLarge { path: path.to_owned(), size: metadata.len(), limit: MAX_FILE });
        }
        fs::read(&file).map_err(unreadable)
    }
}

/// A directory of this machine by paths, of which nothing is listed before it
/// is asked for. Links are told and never followed; `.git` is left out.
#[derive(Debug)]
pub struct WorkingFiles {
    root: PathBuf,
}

impl WorkingFiles {
    /// The files below a directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root of the Git working tree that a directory is in, and the path
    /// from there to the directory; the directory itself and the empty path
    /// where it is in none.
    ///
    /// # Errors
    /// The directory cannot be found.
    pub fn around(directory: &Path) -> Result<(Self, String), TreeError> {
        let shown = directory.display().to_string();
        let unreadable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => TreeError::Missing { path: shown.clone() },
            _ => TreeError::Unreadable { path: shown.clone(), message: error.to_string() },
        };
        let whole = fs::canonicalize(directory).map_err(unreadable)?;
        let root = whole.ancestors().find(|above| above.join(".git").exists()).unwrap_or(&whole);
        let below = whole.strip_prefix(root).unwrap_or(Path::new(""));
        let below = below.to_str().map(str::to_owned).ok_or_else(|| TreeError::Unreadable {
            path: shown.clone(),
            message: "its name is not UTF-8".to_owned(),
        })?;
        Ok((Self::new(root), below))
    }
}

impl Files for WorkingFiles {
    fn find(&self, path: &str) -> Result<Option<Found>, TreeError> {
        let unreadable =
            |error: std::io::Error| TreeError::Unreadable { path: path.to_owned(), message: error.to_string() };
        let mut file = self.root.clone();
        let mut metadata = None;
        // A part that is a link is not gone through.
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if metadata.as_ref().is_some_and(|above: &fs::Metadata| !above.is_dir()) || part == ".git" {
                return Ok(None);
            }
            file.push(part);
            metadata = match fs::symlink_metadata(&file) {
                Ok(metadata) => Some(metadata),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(unreadable(error)),
            };
        }
        Ok(match metadata {
            None => Some(Found::Directory),
            Some(metadata) if metadata.is_dir() => Some(Found::Directory),
            Some(metadata) if metadata.is_symlink() => {
                let target = fs::read_link(&file).map_err(unreadable)?;
                Some(Found::Symlink { target: target.to_string_lossy().into_owned() })
            }
            Some(metadata) if metadata.is_file() => Some(Found::File { size: metadata.len() }),
            Some(_) => None,
        })
    }

    fn below(&self, directory: &str) -> Result<Vec<TreeEntry>, TreeError> {
        if self.find(directory)? != Some(Found::Directory) {
            return Err(TreeError::Missing { path: directory.to_owned() });
        }
        let tree = WorkingTree::open(&self.root.join(directory))?;
        let whole = |entry: TreeEntry| {
            let path = if directory.is_empty() { entry.path } else { format!("{directory}/{}", entry.path) };
            TreeEntry { path, ..entry }
        };
        Ok(tree.entries.into_iter().map(whole).collect())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        match self.find(path)? {
            Some(Found::File { size }) if size > MAX_FILE => {
                Err(TreeError::TooLarge { path: path.to_owned(), size, limit: MAX_FILE })
            }
            Some(Found::File { .. }) => fs::read(self.root.join(path))
                .map_err(|error| TreeError::Unreadable { path: path.to_owned(), message: error.to_string() }),
            _ => Err(TreeError::Missing { path: path.to_owned() }),
        }
    }
}

/// Lists everything below a directory, without a recursion that a deep tree
/// could exhaust.
fn list(root: &Path, entries: &mut BTreeMap<String, TreeEntry>) -> Result<(), TreeError> {
    let mut pending = vec![String::new()];
    while let Some(directory) = pending.pop() {
        let shown = if directory.is_empty() { root.display().to_string() } else { directory.clone() };
        let unreadable =
            |error: std::io::Error| TreeError::Unreadable { path: shown.clone(), message: error.to_string() };
        for entry in fs::read_dir(root.join(&directory)).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let Ok(name) = entry.file_name().into_string() else {
                let message = format!("the name {:?} is not UTF-8", entry.file_name());
                return Err(TreeError::Unreadable { path: shown, message });
            };
            let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
            let metadata = fs::symlink_metadata(entry.path()).map_err(unreadable)?;
            if name == ".git" {
                continue;
            }
            let kind = if metadata.is_dir() {
                pending.push(path);
                continue;
            } else if metadata.is_symlink() {
                let target = fs::read_link(entry.path()).map_err(unreadable)?;
                EntryKind::Symlink { target: target.to_string_lossy().into_owned() }
            } else if metadata.is_file() {
                EntryKind::File
            } else {
                // Sockets, pipes and devices are no content.
                continue;
            };
            entries.insert(path.clone(), TreeEntry { path, kind, size: metadata.len() });
            if entries.len() > MAX_ENTRIES {
                let message = format!("it holds more than {MAX_ENTRIES} files");
                return Err(TreeError::Unreadable { path: root.display().to_string(), message });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_is_listed_sorted_without_git_and_links_stay_links() {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in [("b.yaml", "b"), ("a/c.yaml", "c"), ("a-b.yaml", "d"), (".git/config", "g")] {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        symlink("/etc", root.path().join("etc")).unwrap();
        symlink("b.yaml", root.path().join("link.yaml")).unwrap();
        let tree = WorkingTree::open(root.path()).unwrap();
        let paths: Vec<_> = tree.entries().iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["a-b.yaml", "a/c.yaml", "b.yaml", "etc", "link.yaml"]);
        assert_eq!(tree.read("a/c.yaml").unwrap(), b"c");
        for path in ["link.yaml", "etc/passwd", "../x", "missing"] {
            assert!(matches!(tree.read(path), Err(TreeError::Missing { .. })), "{path}");
        }
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "x").unwrap();
        assert!(matches!(WorkingTree::open(&root.path().join("none")), Err(TreeError::Missing { .. })));
        let error = WorkingTree::open(&root.path().join("file")).unwrap_err();
        assert!(error.to_string().ends_with("it is not a directory"), "{error}");
    }
}
