//! The copies of other repositories' bases, beside that of the repository:
//!
//! ```text
//! workspace/
//! ├── tree/…       the repository
//! └── bases/0/…    the first other one, with its own root
//! ```

use super::base::{Base, BaseReference, NoBase};
use crate::render::{
    path::{join, relative_to},
    prepared::Elsewhere,
    reading::Reading,
    workspace::TREE,
};

/// How many other repositories one render may take bases of.
const LIMIT: usize = 16;

/// The directory of the copies, in the workspace.
const BASES: &str = "bases";

/// A directory of the repository, or of one that bases come from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// Which of the others.
    pub(super) base: Option<usize>,
    /// The directory, from the root of its repository.
    pub(super) directory: String,
}

/// The other repositories at their revisions, by number.
#[derive(Debug, Default)]
pub(super) struct Bases {
    taken: Vec<BaseReference>,
    /// Those that cannot be had: nobody is asked for one twice.
    missed: Vec<(BaseReference, NoBase)>,
}

impl Bases {
    /// The number of the repository that a base is of, which is fetched the
    /// first time.
    ///
    /// # Errors
    /// It may not be loaded, or cannot be fetched now.
    pub(super) fn take(
        &mut self,
        reference: &BaseReference,
        reading: &mut Reading<'_>,
        elsewhere: &mut dyn Elsewhere,
    ) -> Result<usize, NoBase> {
        let same = |taken: &BaseReference| {
            (&taken.repository, &taken.revision) == (&reference.repository, &reference.revision)
        };
        if let Some(number) = self.taken.iter().position(same) {
            return Ok(number);
        }
        if let Some((_, missed)) = self.missed.iter().find(|(missed, _)| same(missed)) {
            return Err(missed.clone());
        }
        if self.taken.len() + self.missed.len() == LIMIT {
            return Err(NoBase::Refused {
                because: format!("would be the base of one repository more than the limit of {LIMIT}"),
                hint: "copy what is needed into the repository".to_owned(),
            });
        }
        match elsewhere.base(reference) {
            Ok(Base { files }) => {
                self.taken.push(reference.clone());
                Ok(reading.add(files))
            }
            Err(missed) => {
                self.missed.push((reference.clone(), missed.clone()));
                Err(missed)
            }
        }
    }

    /// Where a path of a repository is in the workspace, from the copy of the
    /// first one.
    pub(super) fn copy_of(base: Option<usize>, path: &str) -> String {
        match base {
            Some(base) => join(&format!("../{BASES}/{base}"), path),
            None => path.to_owned(),
        }
    }

    /// How a kustomization in a directory names the copy of a base.
    pub(super) fn way(from: Option<usize>, directory: &str, base: usize, path: &str) -> String {
        let up = directory.split('/').filter(|part| !part.is_empty()).count();
        let copy = match from {
            Some(_) => format!("../{base}"),
            None => format!("../{BASES}/{base}"),
        };
        join(&format!("{}{copy}", "../".repeat(up)), path)
    }

    /// A file of one of the others, for people.
    pub(super) fn name(&self, base: usize, file: &str) -> String {
        let place = self.taken.get(base).map(BaseReference::place).unwrap_or_default();
        if file.is_empty() { place } else { format!("{place}//{file}") }
    }

    /// The same of what a kustomization of the repository names by a path that
    /// leads to a copy.
    pub(super) fn file(&self, directory: &str, path: &str) -> Option<String> {
        let whole = relative_to(&join(TREE, directory), path)?;
        let (base, file) = whole.strip_prefix(BASES)?.strip_prefix('/')?.split_once('/')?;
        Some(self.name(base.parse().ok()?, file))
    }

    /// A text with the names of the others in place of those of their copies.
    pub(super) fn by_their_names(&self, text: &str) -> String {
        (0..self.taken.len()).rev().fold(text.to_owned(), |text, base| {
            let copy = format!("{BASES}/{base}");
            let place = self.name(base, "");
            let mut text = text;
            // However a kustomization leads there.
            while text.contains(&format!("../{copy}")) {
                text = text.replace(&format!("../{copy}"), &copy);
            }
            text.replace(&format!("{copy}/"), &format!("{place}//")).replace(&format!("{copy}'"), &format!("{place}'"))
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, "", 0, "web", "../bases/0/web")]
    #[case(None, "overlays/prod", 1, "", "../../../bases/1")]
    #[case(Some(0), "web", 1, "x/y", "../../1/x/y")]
    #[case(Some(0), "", 0, "x", "../0/x")]
    fn a_kustomization_names_the_copy_of_a_base(
        #[case] from: Option<usize>,
        #[case] directory: &str,
        #[case] base: usize,
        #[case] path: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(Bases::way(from, directory, base, path), expected);
        // It leads to where the copy is.
        let place = |base, path: &str| relative_to(TREE, &Bases::copy_of(base, path));
        let leads_to = place(from, directory).and_then(|from| relative_to(&from, expected));
        assert_eq!(leads_to, place(Some(base), path));
    }

    #[test]
    fn what_is_told_names_the_repositories() {
        let reference = BaseReference {
            repository: "https://h.example/org/repo".into(),
            revision: Some("v1".into()),
            path: "web".into(),
        };
        let bases = Bases { taken: vec![reference], missed: Vec::new() };
        assert_eq!(
            bases.file("overlays/prod", "../../../bases/0/web/a.yaml").as_deref(),
            Some("https://h.example/org/repo@v1//web/a.yaml")
        );
        assert_eq!(bases.file("overlays/prod", "../../../home/a.yaml"), None);
        assert_eq!(bases.file("overlays/prod", "../../../bases/x"), None);
        let text = "accumulating resources from '../../bases/0/web': no such file";
        assert_eq!(
            bases.by_their_names(text),
            "accumulating resources from 'https://h.example/org/repo@v1//web': no such file"
        );
    }
}
