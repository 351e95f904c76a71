//! Which files of a tree are read.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::path::{below, resolve};
use crate::{
    manifest::Problem,
    source::tree::{EntryKind, Tree, TreeEntry},
};

/// A file to read: under the path where it is found, from where its content is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selected {
    /// The path by which people know it.
    pub(super) path: String,
    /// The regular file that a link leads to, else the same.
    pub(super) content: String,
}

/// Hops that a chain of links may have.
const LINKS: usize = 16;

/// Selects the manifests below a directory, sorted by path.
pub(super) fn select(
    tree: &dyn Tree,
    directory: &str,
    include: &[String],
    exclude: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<Selected> {
    let (Some(include), Some(exclude)) = (globs("include", include, problems), globs("exclude", exclude, problems))
    else {
        return Vec::new();
    };
    let by_path: BTreeMap<&str, &TreeEntry> = tree.entries().iter().map(|entry| (entry.path.as_str(), entry)).collect();
    let mut selected = Vec::new();
    for (path, entry) in &by_path {
        let Some(relative) = below(directory, path) else { continue };
        let chosen = (include.is_empty() || include.is_match(relative)) && !exclude.is_match(relative);
        if !chosen || !is_manifest(relative) {
            continue;
        }
        match follow(directory, entry, &by_path) {
            Ok(content) => selected.push(Selected { path: (*path).to_owned(), content }),
            Err(message) => problems.push(
                Problem::in_file(*path, message)
                    .hint("replace the link by the file, or exclude it with render.exclude"),
            ),
        }
    }
    selected
}

fn is_manifest(relative: &str) -> bool {
    let hidden = relative.split('/').any(|part| part.starts_with('.'));
    !hidden && [".yaml", ".yml", ".json"].iter().any(|extension| relative.ends_with(extension))
}

fn globs(field: &str, patterns: &[String], problems: &mut Vec<Problem>) -> Option<GlobSet> {
    let mut set = GlobSetBuilder::new();
    let mut valid = true;
    for pattern in patterns {
        match GlobBuilder::new(pattern.strip_prefix("./").unwrap_or(pattern)).literal_separator(true).build() {
            Ok(glob) => {
                set.add(glob);
            }
            Err(error) => {
                valid = false;
                let message = format!("the glob {pattern:?} is not valid: {}", error.kind());
                problems.push(Problem::in_file(format!("render.{field}"), message).hint(
                    "`*` matches within a name, `**` any directories, `{a,b}` either; `\\` takes a character as it is",
                ));
            }
        }
    }
    if !valid {
        return None;
    }
    set.build().map_err(|error| problems.push(Problem::in_file(format!("render.{field}"), error.to_string()))).ok()
}

/// The regular file that an entry is or leads to.
fn follow(directory: &str, entry: &TreeEntry, by_path: &BTreeMap<&str, &TreeEntry>) -> Result<String, String> {
    let mut entry = entry;
    for _ in 0..LINKS {
        let target = match &entry.kind {
            EntryKind::File => return Ok(entry.path.clone()),
            EntryKind::Submodule => return Err("is a submodule, which is read only with source.submodules".to_owned()),
            EntryKind::Symlink { target } => target,
        };
        let Some(path) = resolve(&entry.path, target).filter(|path| below(directory, path).is_some()) else {
            return Err(format!("is a link to {target:?}, which leaves the directory of the application"));
        };
        match by_path.get(path.as_str()) {
            Some(next) => entry = next,
            None => return Err(format!("is a link to {target:?}, which is no file of the application")),
        }
    }
    Err(format!("is a link over more than {LINKS} links, or in a circle"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a.yaml", true)]
    #[case("b/c.yml", true)]
    #[case("d.json", true)]
    #[case("e.txt", false)]
    #[case(".hidden.yaml", false)]
    #[case(".github/workflow.yaml", false)]
    #[case("yaml", false)]
    fn manifests_are_known_by_their_names(#[case] path: &str, #[case] expected: bool) {
        assert_eq!(is_manifest(path), expected);
    }
}
