//! A repository of this machine at a revision, for the offline commands.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tokio_util::sync::CancellationToken;

use crate::{
    cluster::error::chain,
    source::{
        Credentials, GitTree, Limits, Repositories, RepositoryUrl, Revision, TreeLimits, UrlPolicy,
        tree::{Tree, TreeEntry, TreeError},
    },
};

/// Opens a repository of this machine at a revision. Its commit is copied to a
/// temporary mirror, as the controller does: the working tree is not looked at.
pub fn open(directory: &Path, revision: &str) -> Result<Box<dyn Tree>, String> {
    let path = fs::canonicalize(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let url = url::Url::from_directory_path(&path)
        .map_err(|()| format!("{} cannot be written as a file URL", path.display()))?;
    let url = RepositoryUrl::parse(url.as_str(), &UrlPolicy { allow_file: true, ..UrlPolicy::default() })
        .map_err(|error| error.to_string())?;
    let revision: Revision = revision.parse().map_err(|error| format!("{error}"))?;
    let cache = Temporary::new().map_err(|error| format!("no temporary directory can be made: {error}"))?;
    let opened = fetch(&cache, &url, &revision).map_err(|error| chain(&*error))?;
    Ok(Box::new(Fetched { tree: opened, _cache: cache }))
}

fn fetch(cache: &Temporary, url: &RepositoryUrl, revision: &Revision) -> Result<GitTree, Box<dyn std::error::Error>> {
    let mirror = Repositories::open(&cache.0)?.mirror(url, &Credentials::none())?;
    let fetched = mirror.fetch(revision, &Limits::default(), &CancellationToken::new())?;
    Ok(mirror.tree(&fetched.resolved.commit, ".", &TreeLimits::default())?)
}

/// A tree with the mirror that it is read from.
struct Fetched {
    tree: GitTree,
    _cache: Temporary,
}

impl Tree for Fetched {
    fn entries(&self) -> &[TreeEntry] {
        self.tree.entries()
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        self.tree.read(path)
    }
}

/// A private directory that is removed when it is dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("bowline-{:016x}", rand::random::<u64>()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is left behind is in the temporary directory and private.
        let _ = fs::remove_dir_all(&self.0);
    }
}
