//! A private directory for a program that renders: a copy of just the files
//! that it needs, an empty home beside it, and nothing else. It is removed when
//! it is dropped.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A private directory for one render.
pub(super) struct Workspace {
    root: tempfile::TempDir,
}

impl Workspace {
    /// An empty one. Only this user may look into it.
    pub(super) fn new() -> io::Result<Self> {
        let private = fs::Permissions::from_mode(0o700);
        let root = tempfile::Builder::new().prefix("bowline-render-").permissions(private).tempdir()?;
        for part in [TREE, HOME] {
            fs::create_dir(root.path().join(part))?;
        }
        Ok(Self { root })
    }

    /// Where the copy of the repository is.
    pub(super) fn tree(&self) -> PathBuf {
        self.root.path().join(TREE)
    }

    /// An empty home.
    pub(super) fn home(&self) -> PathBuf {
        self.root.path().join(HOME)
    }

    /// Beside the copy: for files that are not of the repository.
    pub(super) fn beside(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.root.path().join(name);
        fs::write(&path, content)?;
        Ok(path)
    }

    /// Puts a file into the copy, under a clean path.
    pub(super) fn put(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let file = self.tree().join(path);
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(file, content)
    }

    /// Makes sure that a directory of the copy is there.
    pub(super) fn make(&self, path: &str) -> io::Result<()> {
        fs::create_dir_all(self.tree().join(path))
    }

    /// A text of a program without the names of this directory, which say
    /// nothing to whoever reads it.
    pub(super) fn without_its_name(&self, text: &str) -> String {
        let tree = self.tree();
        let names = [tree.as_path(), self.root.path()];
        names.iter().fold(text.to_owned(), |text, name| without(&text, name))
    }
}

/// The directory of the copy.
pub(super) const TREE: &str = "tree";
const HOME: &str = "home";

fn without(text: &str, name: &Path) -> String {
    let name = name.to_string_lossy();
    text.replace(&format!("{name}/"), "").replace(&*name, ".")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_and_goes_when_it_is_dropped() {
        let workspace = Workspace::new().unwrap();
        workspace.put("a/b.yaml", b"x").unwrap();
        let root = workspace.root.path().to_owned();
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o077, 0);
        let text = format!("error in {}/a/b.yaml, from {}", workspace.tree().display(), workspace.tree().display());
        assert_eq!(workspace.without_its_name(&text), "error in a/b.yaml, from .");
        drop(workspace);
        assert!(!root.exists());
    }
}
