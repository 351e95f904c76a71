//! A repository that the real `git` makes, and a cache to fetch it into.

use std::{
    cell::Cell,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bowline::source::{
    CommitId, Credentials, Fetched, Limits, Mirror, Repositories, RepositoryUrl, Revision, SourceError, UrlPolicy,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub struct Repository {
    directory: TempDir,
    clock: Cell<u64>,
}

impl Repository {
    pub fn empty() -> Self {
        let repository = Self { directory: tempfile::tempdir().unwrap(), clock: Cell::new(1_700_000_000) };
        repository.git(&["init", "--quiet", "--initial-branch=main", "."]);
        repository
    }

    /// A repository with one commit that holds `app/a.yaml`.
    pub fn new() -> Self {
        let repository = Self::empty();
        repository.push("app/a.yaml", "a: 1\n");
        repository
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn url(&self) -> RepositoryUrl {
        let policy = UrlPolicy { allow_file: true, ..UrlPolicy::default() };
        RepositoryUrl::parse(&format!("file://{}", self.path().display()), &policy).unwrap()
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_with(arguments, b"")
    }

    pub fn git_with(&self, arguments: &[&str], input: &[u8]) -> String {
        let date = format!("{} +0000", self.clock.get());
        let mut child = Command::new("git")
            .args(arguments)
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Ann Author")
            .env("GIT_AUTHOR_EMAIL", "ann@example.com")
            .env("GIT_COMMITTER_NAME", "Carl Committer")
            .env("GIT_COMMITTER_EMAIL", "carl@example.com")
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits a file to the branch that is checked out.
    pub fn push(&self, path: &str, content: impl AsRef<[u8]>) -> CommitId {
        let file = self.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
        self.commit(&format!("change {path}"))
    }

    /// Commits everything that is there.
    pub fn commit(&self, message: &str) -> CommitId {
        self.clock.set(self.clock.get() + 60);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.head()
    }

    pub fn head(&self) -> CommitId {
        self.git(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    /// Makes a blob.
    pub fn blob(&self, content: &[u8]) -> String {
        self.git_with(&["hash-object", "-w", "--stdin"], content)
    }

    /// Makes a tree of `(mode, kind, object, name)` without any of Git's own
    /// checks of names.
    pub fn raw_tree(&self, entries: &[(&str, &str, &[u8])]) -> String {
        let mut bytes = Vec::new();
        for (mode, object, name) in entries {
            bytes.extend_from_slice(mode.as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(name);
            bytes.push(0);
            let hex = |index: usize| u8::from_str_radix(&object[index * 2..index * 2 + 2], 16).unwrap();
            bytes.extend((0..20).map(hex));
        }
        self.git_with(&["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], &bytes)
    }

    /// Commits a tree to the branch `main`.
    pub fn push_tree(&self, tree: &str) -> CommitId {
        self.clock.set(self.clock.get() + 60);
        let commit = self.git(&["commit-tree", tree, "-m", "a tree by hand"]);
        self.git(&["update-ref", "refs/heads/main", &commit]);
        commit.parse().unwrap()
    }
}

/// A cache, and a repository that is asked through it.
pub struct Cache {
    pub repositories: Repositories,
    directory: TempDir,
    url: RepositoryUrl,
}

impl Cache {
    pub fn of(repository: &Repository) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let repositories = Repositories::open(directory.path()).unwrap();
        Self { repositories, directory, url: repository.url() }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn mirror(&self) -> Mirror {
        self.repositories.mirror(&self.url, &Credentials::none()).unwrap()
    }

    pub fn fetch(&self, revision: &str) -> Result<Fetched, SourceError> {
        let revision = revision.parse::<Revision>()?;
        self.mirror().fetch(&revision, &Limits::default(), &CancellationToken::new())
    }

    /// The commit of a revision, fetched.
    pub fn commit(&self, revision: &str) -> CommitId {
        self.fetch(revision).unwrap().resolved.commit
    }

    /// Writes an object into the cache, as a hostile server could send it, and
    /// returns its name.
    pub fn plant(&self, kind: &str, content: &[u8]) -> String {
        let mut child = Command::new("git")
            .args(["hash-object", "-w", "--literally", "--stdin", "-t", kind])
            .current_dir(&self.generations()[0])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(content).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The bare repositories of the cache.
    pub fn generations(&self) -> Vec<PathBuf> {
        let children =
            |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        let mirrors = children(self.path()).into_iter().filter(|path| path.is_dir());
        let mut generations: Vec<_> = mirrors.flat_map(|mirror| children(&mirror)).collect();
        generations.sort();
        generations
    }
}
