//! A bare repository and a working clone of it, by the real `git`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::checked;
use crate::directory::RunDirectory;
use crate::error::{At, Result};
use crate::process;

/// The directory of a server's repositories; removed with its last user.
#[derive(Debug)]
pub(crate) struct Root {
    directory: RunDirectory,
}

impl Root {
    pub(crate) fn new() -> Result<Self> {
        Ok(Root { directory: RunDirectory::new("git-")? })
    }

    /// Where the bare repositories are.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

pub(crate) fn bare_path(root: &Path, name: &str) -> PathBuf {
    root.join(format!("{name}.git"))
}

/// A repository with a working clone to write in. Pushes go straight to the
/// bare repository, whether a server serves it or not.
#[derive(Debug)]
pub struct GitRepo {
    bare: PathBuf,
    work: PathBuf,
    home: PathBuf,
    // Kept for the directory's sake; another process keeps it for one that was opened.
    _root: Option<Arc<Root>>,
}

impl GitRepo {
    /// A repository that no server serves, for `file://`.
    pub fn local(name: &str) -> Result<Self> {
        Self::create(Arc::new(Root::new()?), name)
    }

    pub(crate) fn create(root: Arc<Root>, name: &str) -> Result<Self> {
        let name = checked(name)?;
        let bare = bare_path(root.path(), name);
        let work = root.path().join(format!(".work/{name}"));
        let repo = GitRepo { bare, work, home: root.path().to_owned(), _root: Some(root) };
        for dir in [&repo.bare, &repo.work] {
            fs::create_dir_all(dir).at("create", dir)?;
        }
        repo.in_bare(&["init", "--quiet", "--bare", "--initial-branch=main"])?;
        repo.git(&["init", "--quiet", "--initial-branch=main"])?;
        repo.git(&["remote", "add", "origin", &repo.bare.display().to_string()])?;
        Ok(repo)
    }

    /// A repository that another process made, by its working clone.
    pub fn open(work: &Path) -> Result<Self> {
        let mut repo = GitRepo { bare: PathBuf::new(), work: work.to_owned(), home: work.to_owned(), _root: None };
        repo.bare = repo.git(&["remote", "get-url", "origin"])?.into();
        Ok(repo)
    }

    /// The working clone.
    pub fn work_path(&self) -> &Path {
        &self.work
    }

    /// The bare repository.
    pub fn bare_path(&self) -> &Path {
        &self.bare
    }

    /// The `file://` URL of the bare repository.
    pub fn file_url(&self) -> String {
        format!("file://{}", self.bare.display())
    }

    /// Writes a file of the working clone, with its directories.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.work.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).at("create", parent)?;
        }
        fs::write(&path, text).at("write", &path)
    }

    /// Reads a file of the working clone.
    pub fn read(&self, path: &str) -> Result<String> {
        let path = self.work.join(path);
        fs::read_to_string(&path).at("read", &path)
    }

    /// Copies a directory tree to a path of the working clone.
    pub fn copy_from(&self, directory: &Path, path: &str) -> Result<()> {
        copy(directory, &self.work.join(path))
    }

    /// Removes a file or a directory of the working clone.
    pub fn remove(&self, path: &str) -> Result<()> {
        let path = self.work.join(path);
        if path.is_dir() {
            fs::remove_dir_all(&path).at("remove", &path)
        } else {
            fs::remove_file(&path).at("remove", &path)
        }
    }

    /// Commits everything, also nothing, and returns the commit's id.
    pub fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message])?;
        self.head()
    }

    /// The id of the working clone's commit.
    pub fn head(&self) -> Result<String> {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Pushes the current branch.
    pub fn push(&self) -> Result<()> {
        self.git(&["push", "--quiet", "origin", "HEAD"]).map(drop)
    }

    /// Pushes the current branch over whatever is there.
    pub fn force_push(&self) -> Result<()> {
        self.git(&["push", "--quiet", "--force", "origin", "HEAD"]).map(drop)
    }

    /// Commits everything and pushes it; returns the commit's id.
    pub fn commit_and_push(&self, message: &str) -> Result<String> {
        let id = self.commit(message)?;
        self.push()?;
        Ok(id)
    }

    /// Tags the current commit, annotated, and pushes the tag.
    pub fn tag(&self, name: &str) -> Result<()> {
        self.git(&["tag", "--force", "-a", name, "-m", name])?;
        self.git(&["push", "--quiet", "--force", "origin", &format!("refs/tags/{name}")]).map(drop)
    }

    /// Goes to a branch, which is made here if it does not exist.
    pub fn branch(&self, name: &str) -> Result<()> {
        let exists = self.git(&["rev-parse", "--quiet", "--verify", &format!("refs/heads/{name}")]).is_ok();
        match exists {
            true => self.git(&["checkout", "--quiet", name]),
            false => self.git(&["checkout", "--quiet", "-b", name]),
        }
        .map(drop)
    }

    /// Deletes a branch of the bare repository.
    pub fn delete_branch(&self, name: &str) -> Result<()> {
        self.git(&["push", "--quiet", "--delete", "origin", name]).map(drop)
    }

    /// Sets the working clone and its branch back to a revision.
    pub fn reset(&self, revision: &str) -> Result<()> {
        self.git(&["reset", "--quiet", "--hard", revision]).map(drop)
    }

    /// Commits the reverse of a commit; returns the new commit's id.
    pub fn revert(&self, revision: &str) -> Result<String> {
        self.git(&["revert", "--no-edit", revision])?;
        self.head()
    }

    /// Any git command in the working clone; returns its output without the last line end.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        self.run(&self.work, arguments)
    }

    /// Any git command in the bare repository.
    pub fn in_bare(&self, arguments: &[&str]) -> Result<String> {
        self.run(&self.bare, arguments)
    }

    fn run(&self, dir: &Path, arguments: &[&str]) -> Result<String> {
        let mut command = git(&self.home);
        command.current_dir(dir).args(arguments);
        let output = process::output(&mut command, None)?;
        Ok(String::from_utf8_lossy(&output).trim_end().to_owned())
    }
}

/// `git` with nothing of the machine's or the user's configuration.
pub(super) fn git(home: &Path) -> Command {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        // GIT_DIR and the like, as in a hook, would lead to another repository.
        if name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("HOME", home)
        .env("GIT_AUTHOR_NAME", "Grace")
        .env("GIT_AUTHOR_EMAIL", "grace@example.com")
        .env("GIT_COMMITTER_NAME", "Grace")
        .env("GIT_COMMITTER_EMAIL", "grace@example.com");
    command
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).at("create", to)?;
    for entry in fs::read_dir(from).at("read", from)? {
        let source = entry.at("read", from)?.path();
        let Some(name) = source.file_name() else {
            continue;
        };
        let target = to.join(name);
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target).at("copy", &source)?;
        }
    }
    Ok(())
}
