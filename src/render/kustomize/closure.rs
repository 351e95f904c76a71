//! The files that a kustomization needs: what it names, what those name, and
//! nothing else. Whatever it would load from elsewhere is refused.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;

use crate::{
    manifest::{
        Position, Problem,
        yaml::{self, Positions, read_documents},
    },
    render::{
        DirectoryOptions,
        detect::KUSTOMIZATIONS,
        path::{join, relative_to},
        reading::{Place, Reading},
        secrets, sops,
        workspace::Workspace,
    },
};

/// Kustomizations that one render may consist of.
const KUSTOMIZATIONS_LIMIT: usize = 1_000;

/// Fields with paths of manifests, or of directories with kustomizations.
const RESOURCES: &[&str] = &["resources", "bases", "components"];
/// Fields with what changes or makes objects: files, directories with
/// kustomizations, or the thing itself.
const PLUGINS: &[&str] = &["generators", "transformers", "validators"];
/// Fields with paths of files.
const FILES: &[&str] = &["crds", "configurations", "patchesStrategicMerge"];
/// Fields with items that may have a path of a file.
const WITH_PATH: &[&str] = &["patches", "patchesJson6902", "replacements"];
/// Fields with items that make objects of files.
const GENERATORS: &[&str] = &["configMapGenerator", "secretGenerator"];
/// What would have kustomize start Helm, which may load anything.
const CHARTS: &[&str] = &["helmCharts", "helmChartInflationGenerator"];
/// Fields of plugins that may hold paths of files.
const OF_PLUGINS: &[&str] = &["path", "paths", "files", "envs", "env", "crds", "replacements"];

/// Copies all that the kustomization of a directory needs, decrypted where it
/// is encrypted. Gives what was decrypted, which no message may hold.
///
/// # Errors
/// All that is missing, that may not be loaded, or that cannot be decrypted.
pub(super) fn copy(
    reading: &mut Reading<'_>,
    directory: &str,
    workspace: &Workspace,
    options: &DirectoryOptions,
) -> Result<Vec<String>, Vec<Problem>> {
    let mut closure = Closure {
        reading,
        workspace,
        options,
        secrets: Vec::new(),
        problems: Vec::new(),
        pending: VecDeque::from([directory.to_owned()]),
        seen: BTreeSet::new(),
    };
    while let Some(next) = closure.pending.pop_front() {
        if !closure.seen.insert(next.clone()) {
            continue;
        }
        if closure.seen.len() > KUSTOMIZATIONS_LIMIT {
            let message = format!("needs more than {KUSTOMIZATIONS_LIMIT} kustomizations");
            closure.problems.push(Problem::in_file(directory, message));
            break;
        }
        closure.kustomization(&next);
    }
    let Closure { mut problems, mut secrets, .. } = closure;
    secrets::without_in(&mut secrets, &mut problems);
    if problems.is_empty() { Ok(secrets) } else { Err(problems) }
}

struct Closure<'a, 'b> {
    reading: &'a mut Reading<'b>,
    workspace: &'a Workspace,
    options: &'a DirectoryOptions,
    secrets: Vec<String>,
    problems: Vec<Problem>,
    pending: VecDeque<String>,
    seen: BTreeSet<String>,
}

/// A file of a kustomization that names others.
struct Naming<'a> {
    file: &'a str,
    directory: &'a str,
    positions: &'a Positions,
}

impl Naming<'_> {
    fn at(&self, pointer: &str) -> Position {
        self.positions.nearest(pointer)
    }
}

impl Closure<'_, '_> {
    fn kustomization(&mut self, directory: &str) {
        if let Err(error) = self.workspace.make(directory) {
            return self.problems.push(Problem::in_file(directory, error.to_string()));
        }
        let mut found = Vec::new();
        for name in KUSTOMIZATIONS {
            let path = join(directory, name);
            match self.copy_file(&path) {
                Ok(Some(content)) => found.push((path, content)),
                Ok(None) => {}
                Err(problems) => return self.problems.extend(problems),
            }
        }
        let [(file, content)] = found.as_slice() else {
            // Of none and of several kustomize itself has a clear word.
            return;
        };
        let (documents, problems) = read_documents(file, content, &yaml::Limits::default());
        self.problems.extend(problems);
        for document in &documents {
            let naming = Naming { file, directory, positions: &document.positions };
            self.of_kustomization(&document.value, &naming);
        }
    }

    fn of_kustomization(&mut self, value: &Value, naming: &Naming<'_>) {
        for field in CHARTS {
            if value.get(*field).is_some_and(|charts| !charts.is_null()) {
                let message = format!("{field} would load charts while rendering, which is not done");
                let hint = "deploy the chart by an Application of its own with render.type Helm";
                self.problems
                    .push(Problem::in_file(naming.file, message).at(naming.at(&format!("/{field}"))).hint(hint));
            }
        }
        for field in RESOURCES {
            for (pointer, path) in texts(value.get(*field), &format!("/{field}")) {
                self.named(path, &pointer, naming, true);
            }
        }
        for field in PLUGINS {
            for (pointer, text) in texts(value.get(*field), &format!("/{field}")) {
                if is_inline(text) {
                    self.plugin(naming.file, text.as_bytes(), naming.directory, Some(naming.at(&pointer)));
                } else if let Some((file, content)) = self.named(text, &pointer, naming, true) {
                    self.plugin(&file, &content, naming.directory, None);
                }
            }
        }
        for field in FILES {
            for (pointer, path) in texts(value.get(*field), &format!("/{field}")) {
                if !is_inline(path) {
                    self.named(path, &pointer, naming, false);
                }
            }
        }
        for field in WITH_PATH {
            for (index, item) in items(value.get(*field)) {
                if let Some(path) = item.get("path").and_then(Value::as_str) {
                    self.named(path, &format!("/{field}/{index}/path"), naming, false);
                }
            }
        }
        if let Some(path) = value.pointer("/openapi/path").and_then(Value::as_str) {
            self.named(path, "/openapi/path", naming, false);
        }
        for field in GENERATORS {
            for (index, item) in items(value.get(*field)) {
                self.generator(item, &format!("/{field}/{index}"), naming);
            }
        }
    }

    fn generator(&mut self, item: &Value, pointer: &str, naming: &Naming<'_>) {
        for field in ["files", "envs"] {
            for (pointer, text) in texts(item.get(field), &format!("{pointer}/{field}")) {
                let path = if field == "files" { behind_the_key(text) } else { text };
                self.named(path, &pointer, naming, false);
            }
        }
        if let Some(path) = item.get("env").and_then(Value::as_str) {
            self.named(path, &format!("{pointer}/env"), naming, false);
        }
    }

    /// The configuration of a plugin: what it names is relative to the
    /// kustomization that uses it.
    fn plugin(&mut self, file: &str, content: &[u8], directory: &str, at: Option<Position>) {
        // What is no YAML is for kustomize to complain of.
        let (documents, _) = read_documents(file, content, &yaml::Limits::default());
        for document in &documents {
            let mut paths = Vec::new();
            paths_of_plugin(&document.value, &mut paths);
            for path in paths {
                let position = at.unwrap_or(document.position);
                if is_remote(path) {
                    self.problems.push(remote(file, path).at(position));
                } else if let Some(whole) = relative_to(directory, path) {
                    // It may be no path at all.
                    if let Err(problems) = self.copy_file(&whole) {
                        self.problems.extend(problems);
                    }
                }
            }
        }
    }

    /// Copies what a kustomization names. The content, where it is a file.
    fn named(
        &mut self,
        path: &str,
        pointer: &str,
        naming: &Naming<'_>,
        may_be_directory: bool,
    ) -> Option<(String, Vec<u8>)> {
        let at = naming.at(pointer);
        if is_remote(path) {
            self.problems.push(remote(naming.file, path).at(at));
            return None;
        }
        let Some(whole) = relative_to(naming.directory, path) else {
            let message = format!("{path:?} leaves the repository");
            self.problems.push(Problem::in_file(naming.file, message).at(at));
            return None;
        };
        match self.reading.locate(&whole) {
            Ok(Some(Place::File(_))) => match self.copy_file(&whole) {
                Ok(content) => return content.map(|content| (whole, content)),
                Err(problems) => self.problems.extend(problems),
            },
            Ok(Some(Place::Directory(_))) if may_be_directory => self.pending.push_back(whole),
            Ok(Some(Place::Directory(_))) => {
                self.problems
                    .push(Problem::in_file(naming.file, format!("{path:?} is a directory, not a file")).at(at));
            }
            Ok(None) => {
                self.problems.push(Problem::in_file(naming.file, format!("{path:?} does not exist")).at(at));
            }
            Err(problem) => self.problems.push(problem),
        }
        None
    }

    fn copy_file(&mut self, path: &str) -> Result<Option<Vec<u8>>, Vec<Problem>> {
        let Some(mut content) = self.reading.file(path).map_err(|problem| vec![problem])? else { return Ok(None) };
        let DirectoryOptions { limits, decryption, .. } = self.options;
        if let Some(decrypted) = sops::decrypt_file(path, &content, &limits.yaml, decryption)? {
            self.secrets.extend(decrypted.secrets);
            content = decrypted.content;
        }
        let copied = self.workspace.put(path, &content);
        copied.map_err(|error| vec![Problem::in_file(path, error.to_string())])?;
        Ok(Some(content))
    }
}

fn remote(file: &str, path: &str) -> Problem {
    Problem::in_file(file, format!("{path:?} would be loaded from elsewhere while rendering, which is not done"))
        .hint("copy it into the repository")
}

/// Whether kustomize might load it over the network: it takes URLs, and
/// repositories in several short forms. A path of the repository that looks
/// like one is refused as well.
fn is_remote(path: &str) -> bool {
    let lower = path.trim_start().to_ascii_lowercase();
    lower.contains("://")
        || lower.contains("?ref=")
        || lower.contains("?version=")
        || ["git::", "git@", "github.com/", "github.com:", "gh:", "http:", "https:", "ssh:", "file:"]
            .iter()
            .any(|prefix| lower.starts_with(prefix))
        // `user@host:path`, whatever the user.
        || lower.split_once('@').is_some_and(|(_, rest)| rest.contains(':'))
        || lower.split('/').any(|part| part.ends_with(".git"))
}

/// Whether a text is the thing itself rather than its path.
fn is_inline(text: &str) -> bool {
    text.contains('\n') || text.trim_start().starts_with('{')
}

/// `key=path`, or the path alone.
fn behind_the_key(text: &str) -> &str {
    text.split_once('=').map_or(text, |(_, path)| path)
}

/// The texts of a list with their pointers.
fn texts<'a>(list: Option<&'a Value>, pointer: &str) -> Vec<(String, &'a str)> {
    let text = |(index, item): (usize, &'a Value)| Some((format!("{pointer}/{index}"), item.as_str()?));
    items(list).filter_map(text).collect()
}

fn items(list: Option<&Value>) -> impl Iterator<Item = (usize, &Value)> {
    list.and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn paths_of_plugin<'a>(value: &'a Value, paths: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if OF_PLUGINS.contains(&name.as_str()) => paths.push(behind_the_key(text)),
                    Value::Array(texts) if OF_PLUGINS.contains(&name.as_str()) => {
                        paths.extend(texts.iter().filter_map(Value::as_str).map(behind_the_key));
                        texts.iter().for_each(|item| paths_of_plugin(item, paths));
                    }
                    field => paths_of_plugin(field, paths),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths_of_plugin(item, paths)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("../base", false)]
    #[case("deploy.yaml", false)]
    #[case("a/b/c.yaml", false)]
    #[case("https://example.com/a.yaml", true)]
    #[case("HTTPS://example.com/a.yaml", true)]
    #[case("github.com/org/repo//base?ref=v1", true)]
    #[case("git@example.com:org/repo", true)]
    #[case("example.com/org/repo.git//base", true)]
    #[case("ssh://git@example.com/org/repo", true)]
    #[case("example.com/repo?ref=main", true)]
    #[case("org-123@github.com:org/repo", true)]
    #[case("org-base", false)]
    #[case("icons@2x/a.yaml", false)]
    fn what_would_be_loaded_from_elsewhere_is_known(#[case] path: &str, #[case] expected: bool) {
        assert_eq!(is_remote(path), expected);
    }

    #[test]
    fn the_paths_of_a_plugin_are_found_at_any_depth() {
        let value = serde_json::json!({
            "kind": "PatchTransformer", "path": "patch.yaml",
            "spec": {"files": ["a.txt", "key=b.txt"], "replacements": [{"path": "c.yaml"}], "name": "no-path"},
        });
        let mut paths = Vec::new();
        paths_of_plugin(&value, &mut paths);
        paths.sort_unstable();
        assert_eq!(paths, ["a.txt", "b.txt", "c.yaml", "patch.yaml"]);
    }
}
