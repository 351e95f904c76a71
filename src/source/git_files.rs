//! The whole repository at a commit, asked by path.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use git2::{ObjectType, Oid, Repository};

use super::{
    error::SourceError,
    files::{Files, Found},
    generation::Generation,
    git_tree::{GitTree, tree_at},
    id::CommitId,
    limits::TreeLimits,
    names,
    objects::{self, unreadable},
    submodules::Submodules,
    tree::{Tree as _, TreeEntry, TreeError},
    url::{RepositoryUrl, visible},
};

/// The longest target of a symbolic link that is read, in bytes.
const TARGET_BYTES: usize = 4096;

/// All files of a commit by their paths. Nothing is listed until it is asked
/// for, so that a render of one directory costs nothing for the others.
pub struct GitFiles {
    url: RepositoryUrl,
    commit: CommitId,
    root: Oid,
    limits: TreeLimits,
    repository: Mutex<Repository>,
    generation: Arc<Generation>,
    submodules: Submodules,
}

impl GitFiles {
    pub(super) fn open(
        url: &RepositoryUrl,
        generation: Arc<Generation>,
        commit: &CommitId,
        limits: &TreeLimits,
        submodules: &Submodules,
    ) -> Result<Self, SourceError> {
        let repository = generation.open(url)?;
        submodules.attach(&repository, url)?;
        let root = tree_at(&repository, url, commit, ".", submodules)?.id;
        let (url, commit, limits, submodules) = (url.clone(), commit.clone(), limits.clone(), submodules.clone());
        Ok(Self { url, commit, root, limits, repository: Mutex::new(repository), generation, submodules })
    }

    /// The entry at a path: its object, and whether it is a link.
    fn entry(&self, path: &str) -> Result<Option<(Oid, ObjectType, bool)>, TreeError> {
        let repository = self.repository.lock().unwrap_or_else(PoisonError::into_inner);
        let unreadable = |error: git2::Error| self.unreadable(path, &error);
        let mut at = (self.root, ObjectType::Tree, false);
        let mut here = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if at.1 != ObjectType::Tree || names::refusal(part.as_bytes()).is_some() {
                return Ok(None);
            }
            let tree = objects::tree(&repository, at.0).map_err(unreadable)?;
            let Some(entry) = tree.iter().find(|entry| entry.name_bytes() == part.as_bytes()) else {
                return Ok(None);
            };
            let Some(kind) = entry.kind() else { return Ok(None) };
            at = (entry.id(), kind, entry.filemode() == 0o120_000);
            if !self.submodules.is_empty() {
                if !here.is_empty() {
                    here.push('/');
                }
                here.push_str(part);
            }
            if kind == ObjectType::Commit
                && let Some(tree) = self.submodules.tree(&repository, &here, at.0).map_err(unreadable)?
            {
                at = (tree, ObjectType::Tree, false);
            }
        }
        Ok(Some(at))
    }

    fn unreadable(&self, path: &str, error: &git2::Error) -> TreeError {
        let error = unreadable(&self.url, error);
        if matches!(error, SourceError::RepositoryDamaged { .. }) {
            self.generation.mark_damaged();
            self.submodules.mark_damaged();
        }
        TreeError::Unreadable { path: visible(path), message: error.to_string() }
    }

    fn size(&self, path: &str, id: Oid) -> Result<usize, TreeError> {
        let repository = self.repository.lock().unwrap_or_else(PoisonError::into_inner);
        let header = repository.odb().and_then(|odb| odb.read_header(id));
        header.map(|(size, _)| size).map_err(|error| self.unreadable(path, &error))
    }

    fn blob(&self, path: &str, id: Oid) -> Result<Vec<u8>, TreeError> {
        let repository = self.repository.lock().unwrap_or_else(PoisonError::into_inner);
        let blob = repository.find_blob(id).map(|blob| blob.content().to_vec());
        blob.map_err(|error| self.unreadable(path, &error))
    }
}

impl Files for GitFiles {
    fn find(&self, path: &str) -> Result<Option<Found>, TreeError> {
        let Some((id, kind, link)) = self.entry(path)? else { return Ok(None) };
        Ok(match kind {
            ObjectType::Tree => Some(Found::Directory),
            ObjectType::Commit => Some(Found::Submodule),
            ObjectType::Blob => {
                let size = self.size(path, id)?;
                if !link {
                    return Ok(Some(Found::File { size: size as u64 }));
                }
                let refuse = |message: &str| TreeError::Unreadable { path: visible(path), message: message.to_owned() };
                if size > TARGET_BYTES {
                    return Err(refuse("it is a symbolic link with a target of more than 4096 bytes"));
                }
                let target = String::from_utf8(self.blob(path, id)?).ok().filter(|target| !target.contains('\0'));
                let target =
                    target.ok_or_else(|| refuse("it is a symbolic link whose target is not a path in UTF-8"))?;
                Some(Found::Symlink { target })
            }
            _ => None,
        })
    }

    fn below(&self, directory: &str) -> Result<Vec<TreeEntry>, TreeError> {
        let tree =
            GitTree::open(&self.url, self.generation.clone(), &self.commit, directory, &self.limits, &self.submodules);
        let unreadable =
            |error: SourceError| TreeError::Unreadable { path: visible(directory), message: error.to_string() };
        tree.map(|tree| tree.entries().to_vec()).map_err(unreadable)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        let Some((id, ObjectType::Blob, false)) = self.entry(path)? else {
            return Err(TreeError::Missing { path: visible(path) });
        };
        let (size, limit) = (self.size(path, id)? as u64, self.limits.file_bytes);
        if size > limit {
            return Err(TreeError::TooLarge { path: visible(path), size, limit });
        }
        self.blob(path, id)
    }

    fn content_id(&self, path: &str) -> Option<Vec<u8>> {
        let (id, _, link) = self.entry(path).ok()??;
        // A link and a file may hold the same bytes.
        let mut name = id.as_bytes().to_vec();
        name.push(u8::from(link));
        Some(name)
    }
}

impl fmt::Debug for GitFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitFiles({})", self.commit)
    }
}
