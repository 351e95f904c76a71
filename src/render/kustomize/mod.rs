//! A kustomization, rendered by the real program in a private copy of just the
//! files that it needs.
//!
//! ```text
//! repository ──closure──> workspace ──kustomize build──> YAML ──origins──> objects
//! ```
//!
//! The program never loads anything by itself: bases of other repositories are
//! fetched before it is started, charts and plugins that are programs are
//! refused. Its own limits hold too: files come from below their kustomization.

mod base;
mod bases;
mod closure;
mod origins;

use std::ffi::OsStr;

use super::{
    DirectoryOptions, RenderType,
    detect::KUSTOMIZATIONS,
    flatten::{Object, flatten},
    path::join,
    prepared::{Elsewhere, Unprepared},
    programs::Programs,
    reading::Reading,
    workspace::Workspace,
};
use crate::manifest::{
    Problem,
    yaml::{self, read_documents},
};

pub use self::base::{Base, BaseReference, NoBase};
use self::{bases::Bases, closure::Copied};

/// A kustomization with all that it needs, ready to be built.
pub(super) struct Kustomization {
    workspace: Workspace,
    /// Its directory; empty for the root of the repository.
    directory: String,
    /// Its file, for people.
    file: String,
    /// Whether the program was asked, beyond what the kustomization asks, to
    /// tell where objects come from.
    asks_for_origins: bool,
    /// Values of encrypted files, which no message may hold.
    secrets: Vec<String>,
    bases: Bases,
}

impl Kustomization {
    /// Copies what the kustomization of a directory needs.
    pub(super) fn prepare(
        reading: &mut Reading<'_>,
        directory: &str,
        options: &DirectoryOptions,
        elsewhere: &mut dyn Elsewhere,
    ) -> Result<Self, Unprepared> {
        let failed = |error: std::io::Error| {
            let problem = Problem::in_file(directory, format!("no private directory to render in: {error}"));
            Unprepared::of(problem)
        };
        let workspace = Workspace::new().map_err(failed)?;
        let Copied { secrets, bases } = closure::copy(reading, directory, &workspace, options, elsewhere)?;
        let name = |name: &&str| join(directory, name);
        let is_there = |file: &String| workspace.tree().join(file).is_file();
        let file = KUSTOMIZATIONS.iter().map(name).find(is_there);
        let file = file.unwrap_or_else(|| if directory.is_empty() { ".".to_owned() } else { directory.to_owned() });
        let asks_for_origins = origins::ask(&workspace.tree().join(&file)).map_err(failed)?;
        Ok(Self { workspace, directory: directory.to_owned(), file, asks_for_origins, secrets, bases })
    }

    /// What no message may hold.
    pub(super) fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// Builds it.
    pub(super) fn build(&self, programs: &Programs, options: &DirectoryOptions) -> Result<Vec<Object>, Vec<Problem>> {
        let directory = if self.directory.is_empty() { "." } else { self.directory.as_str() };
        let arguments = ["build", directory].map(OsStr::new);
        let finished = programs
            .run(RenderType::Kustomize, &arguments, &self.workspace, &self.file)
            .map_err(|problem| vec![problem])?;
        if !finished.succeeded {
            return Err(vec![Problem::in_file(&self.file, self.complaint(&finished.complaints))]);
        }
        let limits =
            yaml::Limits { file_bytes: usize::MAX, documents: options.limits.objects, ..options.limits.yaml.clone() };
        let (documents, problems) = read_documents(&self.file, &finished.output, &limits);
        let rendered = |mut problem: Problem| {
            problem.message = format!("what it renders to: {problem}");
            problem.position = None;
            problem
        };
        let mut problems: Vec<Problem> = problems.into_iter().map(rendered).collect();
        let mut objects = Vec::new();
        for mut document in documents {
            let origin = origins::take(&mut document.value, self.asks_for_origins, &self.directory, &self.bases);
            let origin = crate::manifest::Origin::new(origin.unwrap_or_else(|| self.file.clone()), None);
            flatten(Object { value: document.value, origin, positions: None }, &mut objects, &mut problems);
        }
        if problems.is_empty() { Ok(objects) } else { Err(problems) }
    }

    /// What the program says, in the repository's own names.
    fn complaint(&self, text: &str) -> String {
        let text = self.workspace.without_its_name(text.trim());
        let text = self.bases.by_their_names(text.strip_prefix("Error: ").unwrap_or(&text));
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# Warning:")).collect();
        format!("kustomize: {}", lines.join("; "))
    }
}
