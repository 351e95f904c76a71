//! The files of a commit below a path, read from a bare repository.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use git2::{ObjectType, Oid, Repository};

use super::{
    error::SourceError,
    generation::Generation,
    id::{CommitId, TreeId},
    limits::TreeLimits,
    names,
    objects::{self, unreadable},
    submodules::Submodules,
    tree::{EntryKind, Tree, TreeEntry, TreeError},
    url::{RepositoryUrl, visible},
};

/// The longest target of a symbolic link that is read, in bytes: the longest
/// path that Linux takes.
const TARGET_BYTES: usize = 4096;

/// How many problems an error lists.
const PROBLEMS: usize = 10;

/// The files of a commit below a path. It stays readable while the mirror is
/// fetched into or made anew.
pub struct GitTree {
    commit: CommitId,
    id: TreeId,
    path: String,
    entries: Vec<TreeEntry>,
    blobs: Vec<Oid>,
    warnings: Vec<TreeWarning>,
    file_bytes: u64,
    repository: Mutex<Repository>,
    generation: Arc<Generation>,
    submodules: Submodules,
}

/// Something in a tree that is allowed, and may still surprise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeWarning {
    /// Two paths differ in the case of letters only.
    CaseCollision {
        /// The first path.
        one: String,
        /// The second path.
        other: String,
    },
    /// A path contains control characters.
    ControlCharacters {
        /// The path.
        path: String,
    },
}

impl fmt::Display for TreeWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CaseCollision { one, other } => {
                write!(f, "`{}` and `{}` differ only in the case of letters", visible(one), visible(other))
            }
            Self::ControlCharacters { path } => write!(f, "`{}` has control characters in its name", visible(path)),
        }
    }
}

impl GitTree {
    pub(super) fn open(
        url: &RepositoryUrl,
        generation: Arc<Generation>,
        commit: &CommitId,
        path: &str,
        limits: &TreeLimits,
        submodules: &Submodules,
    ) -> Result<Self, SourceError> {
        let repository = generation.open(url)?;
        submodules.attach(&repository, url)?;
        let tree = tree_at(&repository, url, commit, path, submodules)?;
        let (mut found, mut problems, dropped) = {
            let mut walk = Walk::new(&repository, url, commit, limits, submodules)?;
            walk.directory(&tree.path, tree.id, 0)?;
            (walk.found, walk.problems, walk.dropped)
        };
        if !problems.is_empty() {
            if dropped > 0 {
                problems.push(format!("and {dropped} more"));
            }
            return Err(SourceError::TreeRefused { commit: commit.clone(), problems });
        }
        found.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        let (entries, blobs): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let warnings = warnings(&entries);
        Ok(Self {
            commit: commit.clone(),
            id: tree.id.into(),
            path: tree.path,
            entries,
            blobs,
            warnings,
            file_bytes: limits.file_bytes,
            repository: Mutex::new(repository),
            generation,
            submodules: submodules.clone(),
        })
    }

    /// The commit that is read.
    pub fn commit(&self) -> &CommitId {
        &self.commit
    }

    /// The name of the tree at the path: equal names mean equal content.
    pub fn id(&self) -> &TreeId {
        &self.id
    }

    /// The path that the tree was opened at; empty for the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is allowed and may still surprise.
    pub fn warnings(&self) -> &[TreeWarning] {
        &self.warnings
    }
}

impl Tree for GitTree {
    fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        let missing = || TreeError::Missing { path: path.to_owned() };
        let index = self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).map_err(|_| missing())?;
        let entry = &self.entries[index];
        let kind = match entry.kind {
            EntryKind::File => None,
            EntryKind::Symlink { .. } => Some("it is a symbolic link"),
            EntryKind::Submodule => Some("it is a submodule"),
        };
        if let Some(message) = kind {
            return Err(TreeError::Unreadable { path: path.to_owned(), message: message.to_owned() });
        }
        if entry.size > self.file_bytes {
            return Err(TreeError::TooLarge { path: path.to_owned(), size: entry.size, limit: self.file_bytes });
        }
        let repository = self.repository.lock().unwrap_or_else(PoisonError::into_inner);
        repository.find_blob(self.blobs[index]).map(|blob| blob.content().to_vec()).map_err(|error| {
            self.generation.mark_damaged();
            self.submodules.mark_damaged();
            TreeError::Unreadable { path: path.to_owned(), message: visible(error.message()) }
        })
    }

    fn content_id(&self, path: &str) -> Option<Vec<u8>> {
        let index = self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
        (self.entries[index].kind == EntryKind::File).then(|| self.blobs[index].as_bytes().to_vec())
    }
}

impl fmt::Debug for GitTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitTree({} at {:?}, {} entries)", self.commit, self.path, self.entries.len())
    }
}

/// A directory of a commit.
#[derive(Debug)]
pub(super) struct Directory {
    /// Its path without dots and slashes at the ends; empty for the root.
    pub(super) path: String,
    pub(super) id: Oid,
}

/// Finds the directory at a path of a commit.
pub(super) fn tree_at(
    repository: &Repository,
    url: &RepositoryUrl,
    commit: &CommitId,
    path: &str,
    submodules: &Submodules,
) -> Result<Directory, SourceError> {
    let not_found = |problem: String, near: String| SourceError::PathNotFound {
        path: visible(path),
        problem,
        commit: commit.clone(),
        near,
    };
    if path.starts_with('/') {
        return Err(not_found(
            "is absolute".to_owned(),
            "; write it relative to the root of the repository".to_owned(),
        ));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(not_found(
            "contains `..`".to_owned(),
            "; write it relative to the root of the repository".to_owned(),
        ));
    }
    let not_fetched = || SourceError::CommitNotFetched { url: url.to_string(), commit: commit.clone() };
    let damaged = |error: git2::Error| unreadable(url, &error);
    let oid = commit.oid().ok_or_else(not_fetched)?;
    let object = objects::commit(repository, oid).map_err(|error| match error.code() {
        git2::ErrorCode::NotFound => not_fetched(),
        _ => damaged(error),
    })?;
    let mut id = object.tree_id();
    let mut above = String::new();
    for part in &parts {
        let tree = objects::tree(repository, id).map_err(damaged)?;
        let here = if above.is_empty() { "the root".to_owned() } else { format!("`{}`", visible(&above)) };
        let Some(entry) = tree.iter().find(|entry| entry.name_bytes() == part.as_bytes()) else {
            let names: Vec<String> =
                tree.iter().map(|entry| String::from_utf8_lossy(entry.name_bytes()).into_owned()).collect();
            return Err(not_found("does not exist".to_owned(), near(part, &here, &names)));
        };
        if !above.is_empty() {
            above.push('/');
        }
        above.push_str(part);
        let mut inner = entry.id();
        let problem = match (entry.kind(), entry.filemode()) {
            (_, 0o120_000) => Some("is a symbolic link, which is not followed"),
            (Some(ObjectType::Tree), _) => None,
            (Some(ObjectType::Commit), _) => match submodules.tree(repository, &above, inner).map_err(damaged)? {
                Some(tree) => {
                    inner = tree;
                    None
                }
                None => Some("is a submodule, which is read only with source.submodules"),
            },
            _ => Some("is a file, not a directory"),
        };
        if let Some(problem) = problem {
            let near = if above == parts.join("/") { String::new() } else { format!(" (at `{}`)", visible(&above)) };
            return Err(not_found(problem.to_owned(), near));
        }
        id = inner;
    }
    Ok(Directory { path: parts.join("/"), id })
}

/// Names the entries that somebody may have meant.
fn near(part: &str, here: &str, names: &[String]) -> String {
    let candidates: Vec<&str> = names.iter().map(String::as_str).collect();
    let close = similar::get_close_matches(part, &candidates, 3, 0.6);
    let quoted =
        |names: &[&str]| names.iter().map(|name| format!("`{}`", visible(name))).collect::<Vec<_>>().join(", ");
    if !close.is_empty() {
        format!("; {here} has {}", quoted(&close))
    } else if candidates.is_empty() {
        format!("; {here} is empty")
    } else {
        let more = if candidates.len() > 5 { format!(" and {} more", candidates.len() - 5) } else { String::new() };
        format!("; {here} has {}{more}", quoted(&candidates[..candidates.len().min(5)]))
    }
}

/// A walk through a tree, within limits.
struct Walk<'a> {
    repository: &'a Repository,
    odb: git2::Odb<'a>,
    url: &'a RepositoryUrl,
    commit: &'a CommitId,
    limits: &'a TreeLimits,
    submodules: &'a Submodules,
    seen: usize,
    bytes: u64,
    found: Vec<(TreeEntry, Oid)>,
    problems: Vec<String>,
    dropped: usize,
}

impl<'a> Walk<'a> {
    fn new(
        repository: &'a Repository,
        url: &'a RepositoryUrl,
        commit: &'a CommitId,
        limits: &'a TreeLimits,
        submodules: &'a Submodules,
    ) -> Result<Self, SourceError> {
        let odb = repository.odb().map_err(|error| unreadable(url, &error))?;
        let (found, problems) = (Vec::new(), Vec::new());
        Ok(Self { repository, odb, url, commit, limits, submodules, seen: 0, bytes: 0, found, problems, dropped: 0 })
    }

    fn too_large(&self, path: &str, message: String) -> SourceError {
        let path = if path.is_empty() { "." } else { path };
        SourceError::TooLarge { subject: format!("`{}` at commit {}", visible(path), self.commit), message }
    }

    fn problem(&mut self, path: &str, problem: &str) {
        if self.problems.len() < PROBLEMS {
            self.problems.push(format!("`{}` {problem}", visible(path)));
        } else {
            self.dropped += 1;
        }
    }

    fn directory(&mut self, path: &str, id: Oid, depth: usize) -> Result<(), SourceError> {
        if depth > self.limits.depth {
            return Err(
                self.too_large(path, format!("directories nest deeper than the limit of {}", self.limits.depth))
            );
        }
        let repository = self.repository;
        let tree = objects::tree(repository, id).map_err(|error| unreadable(self.url, &error))?;
        let mut last: Option<Vec<u8>> = None;
        for entry in tree.iter() {
            self.seen += 1;
            if self.seen > self.limits.entries {
                return Err(
                    self.too_large(path, format!("there are more than the limit of {} files", self.limits.entries))
                );
            }
            let name = entry.name_bytes();
            let shown = String::from_utf8_lossy(name);
            let full = if path.is_empty() { shown.into_owned() } else { format!("{path}/{shown}") };
            if let Some(problem) = names::refusal(name) {
                self.problem(&full, problem);
                continue;
            }
            if last.as_deref() == Some(name) {
                self.problem(&full, "is there twice");
                continue;
            }
            last = Some(name.to_vec());
            match entry.kind() {
                Some(ObjectType::Tree) => self.directory(&full, entry.id(), depth + 1)?,
                Some(ObjectType::Commit) => {
                    let inner = self.submodules.tree(repository, &full, entry.id());
                    if let Some(inner) = inner.map_err(|error| unreadable(self.url, &error))? {
                        self.directory(&full, inner, depth + 1)?;
                        continue;
                    }
                    if self.submodules.lack(&full) {
                        self.problem(&full, "is a submodule that `.gitmodules` does not name");
                        continue;
                    }
                    self.found.push((TreeEntry { path: full, kind: EntryKind::Submodule, size: 0 }, entry.id()));
                }
                Some(ObjectType::Blob) => self.blob(full, entry.id(), entry.filemode() == 0o120_000)?,
                _ => self.problem(&full, "is neither a file nor a directory"),
            }
        }
        Ok(())
    }

    fn blob(&mut self, path: String, id: Oid, link: bool) -> Result<(), SourceError> {
        let (size, kind) = self.odb.read_header(id).map_err(|error| unreadable(self.url, &error))?;
        if kind != ObjectType::Blob {
            self.problem(&path, "is not the file that its directory says");
            return Ok(());
        }
        let kind = if link {
            if size > TARGET_BYTES {
                self.problem(&path, "is a symbolic link with a target of more than 4096 bytes");
                return Ok(());
            }
            let blob = self.repository.find_blob(id).map_err(|error| unreadable(self.url, &error))?;
            match std::str::from_utf8(blob.content()) {
                Ok(target) if !target.contains('\0') => EntryKind::Symlink { target: target.to_owned() },
                _ => {
                    self.problem(&path, "is a symbolic link whose target is not a path in UTF-8");
                    return Ok(());
                }
            }
        } else {
            self.bytes += size as u64;
            if self.bytes > self.limits.total_bytes {
                let limit = self.limits.total_bytes;
                return Err(self.too_large(
                    &path,
                    format!("with this file, all files are more than the limit of {limit} bytes together"),
                ));
            }
            EntryKind::File
        };
        self.found.push((TreeEntry { path, kind, size: size as u64 }, id));
        Ok(())
    }
}

fn warnings(entries: &[TreeEntry]) -> Vec<TreeWarning> {
    let mut warnings = Vec::new();
    let mut folded: BTreeMap<String, &str> = BTreeMap::new();
    for entry in entries {
        if entry.path.chars().any(char::is_control) {
            warnings.push(TreeWarning::ControlCharacters { path: entry.path.clone() });
        }
        if let Some(one) = folded.insert(entry.path.to_lowercase(), &entry.path) {
            warnings.push(TreeWarning::CaseCollision { one: one.to_owned(), other: entry.path.clone() });
        }
    }
    warnings
}
