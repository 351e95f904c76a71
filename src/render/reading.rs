//! What a renderer is given of a repository, and thereby what it read.

use std::{collections::BTreeMap, sync::Arc};

use super::{Limits, path::resolve};
use crate::{
    manifest::{Digest, Problem},
    source::{
        files::{Files, Found},
        tree::{EntryKind, TreeError},
    },
};

/// Links that the way to a file may have.
const LINKS: usize = 16;

/// What was looked at, by path: the name of what was there, none where nothing
/// was. Equal names at another commit mean that a render would read the same.
pub type Probes = BTreeMap<String, Option<Vec<u8>>>;

/// A repository that remembers what was read of it, and of others that it
/// names, one of which is looked at at a time. Paths are clean and relative to
/// the root of that one; links are followed within it only.
pub(super) struct Reading<'a> {
    files: &'a dyn Files,
    others: Vec<Arc<dyn Files>>,
    /// Which of the others is looked at.
    other: Option<usize>,
    limits: &'a Limits,
    probes: Probes,
    digests: BTreeMap<String, Digest>,
    bytes: u64,
}

/// What the way to a path ends at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A regular file, under the path where its content is.
    File(String),
    /// A directory, likewise.
    Directory(String),
}

impl<'a> Reading<'a> {
    pub(super) fn new(files: &'a dyn Files, limits: &'a Limits) -> Self {
        let (others, other) = (Vec::new(), None);
        Self { files, others, other, limits, probes: Probes::new(), digests: BTreeMap::new(), bytes: 0 }
    }

    /// Takes in another repository; gives its number.
    pub(super) fn add(&mut self, files: Arc<dyn Files>) -> usize {
        self.others.push(files);
        self.others.len() - 1
    }

    /// Looks at another repository from here on, or at the first again.
    pub(super) fn turn_to(&mut self, other: Option<usize>) {
        self.other = other;
    }

    fn files(&self) -> &dyn Files {
        match self.other {
            Some(other) => &*self.others[other],
            None => self.files,
        }
    }

    /// What a path of the repository that is looked at is called among all that
    /// is read: no path of the first one begins like those of others.
    fn name(&self, path: &str) -> String {
        match self.other {
            Some(other) => format!("../{other}/{path}"),
            None => path.to_owned(),
        }
    }

    /// What is at a path, over links.
    ///
    /// # Errors
    /// A link leaves the repository or goes in a circle, or nothing can be read.
    pub(super) fn locate(&mut self, path: &str) -> Result<Option<Place>, Problem> {
        let found = self.walk(path)?;
        // What was probed last is what the answer depends on.
        let at = match &found {
            Some(Place::File(at) | Place::Directory(at)) => at.as_str(),
            None => path,
        };
        if !matches!(found, Some(Place::Directory(_))) {
            self.probe(at);
        }
        Ok(found)
    }

    fn probe(&mut self, path: &str) {
        // Whether others changed is asked of them, not of the first.
        if self.other.is_none() && !self.probes.contains_key(path) {
            self.probes.insert(path.to_owned(), self.files.content_id(path));
        }
    }

    fn walk(&mut self, path: &str) -> Result<Option<Place>, Problem> {
        let unreadable = |error: TreeError| Problem::in_file(path, error.to_string());
        let mut wanted = path.to_owned();
        'links: for _ in 0..=LINKS {
            let ends: Vec<usize> =
                wanted.match_indices('/').map(|(at, _)| at).chain([wanted.len()]).filter(|at| *at > 0).collect();
            for end in ends {
                let here = &wanted[..end];
                match self.files().find(here).map_err(unreadable)? {
                    None => return Ok(None),
                    Some(Found::Directory) => {}
                    Some(Found::File { .. }) if end == wanted.len() => return Ok(Some(Place::File(wanted))),
                    Some(Found::File { .. }) => return Ok(None),
                    Some(Found::Submodule) => {
                        let message = match self.other {
                            Some(_) => "is in a submodule, which is not read of a base",
                            None => "is in a submodule, which is read only with source.submodules",
                        };
                        return Err(Problem::in_file(path, message));
                    }
                    Some(Found::Symlink { target }) => {
                        let message = || format!("is a link to {target:?}, which leaves the repository");
                        let hint = "replace the link by what it is to lead to";
                        let resolved =
                            resolve(here, &target).ok_or_else(|| Problem::in_file(path, message()).hint(hint))?;
                        let link = here.to_owned();
                        let rest = &wanted[end..];
                        wanted = if resolved.is_empty() {
                            rest.trim_start_matches('/').to_owned()
                        } else {
                            format!("{resolved}{rest}")
                        };
                        self.probe(&link);
                        continue 'links;
                    }
                }
            }
            return Ok(Some(Place::Directory(wanted)));
        }
        Err(Problem::in_file(path, format!("leads over more than {LINKS} links, or in a circle")))
    }

    /// The content of a file; none where nothing is, or no file.
    ///
    /// # Errors
    /// It cannot be read, or a limit is passed.
    pub(super) fn file(&mut self, path: &str) -> Result<Option<Vec<u8>>, Problem> {
        match self.locate(path)? {
            Some(Place::File(content)) => self.content(path, &content).map(Some),
            _ => Ok(None),
        }
    }

    fn content(&mut self, path: &str, at: &str) -> Result<Vec<u8>, Problem> {
        let content = self.files().read(at).map_err(|error| Problem::in_file(path, error.to_string()))?;
        let name = self.name(path);
        if !self.digests.contains_key(&name) {
            self.bytes = self.bytes.saturating_add(content.len() as u64);
            let (files, bytes) = (self.limits.files, self.limits.bytes);
            if self.digests.len() >= files {
                return Err(Problem::in_file(path, format!("with it the render reads more than {files} files")));
            }
            if self.bytes > bytes {
                return Err(Problem::in_file(path, format!("with it the render reads more than {bytes} bytes")));
            }
            self.digests.insert(name, Digest::of(&content));
        }
        Ok(content)
    }

    /// All files below a directory with their content, by their paths relative
    /// to it. Links to files are read, links to directories are refused.
    ///
    /// # Errors
    /// It is no directory, something cannot be read, or a limit is passed.
    pub(super) fn all_below(&mut self, directory: &str) -> Result<Vec<(String, Vec<u8>)>, Vec<Problem>> {
        let entries =
            self.files().below(directory).map_err(|error| vec![Problem::in_file(directory, error.to_string())])?;
        self.probe(directory);
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        for entry in entries {
            let read = match &entry.kind {
                EntryKind::File => self.content(&entry.path, &entry.path).map(Some),
                EntryKind::Submodule => Ok(None),
                EntryKind::Symlink { target } => match self.locate(&entry.path) {
                    Ok(Some(Place::File(at))) => self.content(&entry.path, &at).map(Some),
                    Ok(Some(Place::Directory(_))) => {
                        let message = format!("is a link to the directory {target:?}, which is not followed");
                        Err(Problem::in_file(&entry.path, message).hint("copy the directory in place of the link"))
                    }
                    Ok(None) => {
                        Err(Problem::in_file(&entry.path, format!("is a link to {target:?}, which does not exist")))
                    }
                    Err(problem) => Err(problem),
                },
            };
            match read {
                Ok(Some(content)) => {
                    let relative = entry.path.strip_prefix(directory).unwrap_or(&entry.path);
                    files.push((relative.trim_start_matches('/').to_owned(), content));
                }
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(files) } else { Err(problems) }
    }

    /// What was looked at.
    pub(super) fn probes(&self) -> &Probes {
        &self.probes
    }

    /// What was read, for the digest of the inputs: paths with digests.
    pub(super) fn inputs(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.digests.iter().flat_map(|(path, digest)| [path.clone().into_bytes(), digest.to_string().into_bytes()])
    }

    /// How many files were read.
    pub(super) fn count(&self) -> usize {
        self.digests.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use rstest::rstest;

    use super::*;
    use crate::source::working::WorkingFiles;

    fn repository() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in [("base/a.yaml", "a"), ("app/b.yaml", "b")] {
            let file = root.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        for (link, target) in [
            ("app/up", "../base"),
            ("app/out", "/etc"),
            ("app/far", "../../x"),
            ("app/self", "self"),
            ("app/a", "up/a.yaml"),
        ] {
            symlink(target, root.path().join(link)).unwrap();
        }
        root
    }

    #[rstest]
    #[case("base", Ok(Some(Place::Directory("base".into()))))]
    #[case("app/up/a.yaml", Ok(Some(Place::File("base/a.yaml".into()))))]
    #[case("app/a", Ok(Some(Place::File("base/a.yaml".into()))))]
    #[case("app/none", Ok(None))]
    #[case("app/b.yaml/c", Ok(None))]
    #[case("app/out/passwd", Err("is a link to \"/etc\", which leaves the repository"))]
    #[case("app/far", Err("is a link to \"../../x\", which leaves the repository"))]
    #[case("app/self", Err("leads over more than 16 links, or in a circle"))]
    fn a_path_is_found_over_links_within_the_repository(
        #[case] path: &str,
        #[case] expected: Result<Option<Place>, &str>,
    ) {
        let root = repository();
        let (files, limits) = (WorkingFiles::new(root.path()), Limits::default());
        let found = Reading::new(&files, &limits).locate(path).map_err(|problem| problem.message);
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn what_is_read_is_counted_once_and_bounded() {
        let root = repository();
        let files = WorkingFiles::new(root.path());
        let limits = Limits { files: 1, ..Limits::default() };
        let mut reading = Reading::new(&files, &limits);
        assert_eq!(reading.file("base/a.yaml").unwrap().unwrap(), b"a");
        assert_eq!(reading.file("base/a.yaml").unwrap().unwrap(), b"a");
        assert_eq!(reading.file("base").unwrap(), None);
        let problem = reading.file("app/b.yaml").unwrap_err();
        assert_eq!(problem.to_string(), "app/b.yaml: with it the render reads more than 1 files");
    }
}
