//! The files that a kustomization needs: what it names, what those name, and
//! nothing else. Bases of other repositories are copied beside it, where they
//! may be loaded, and named there; whatever else would come from elsewhere is
//! refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use crate::{
    manifest::{
        Position, Problem,
        writer::to_yaml,
        yaml::{self, Positions, read_documents},
    },
    render::{
        DirectoryOptions, RenderFailure,
        detect::KUSTOMIZATIONS,
        path::{join, relative_to},
        prepared::{Elsewhere, Unprepared},
        reading::{Place, Reading},
        secrets, sops,
        workspace::Workspace,
    },
    source::redact,
};

use super::{
    base::{BaseReference, NoBase},
    bases::{Bases, Spot},
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
/// Fields of their items and of `openapi` that name files.
const OF_ITEMS: &[&str] = &["path", "files", "envs", "env"];
/// Fields of plugins that may hold paths of files.
const OF_PLUGINS: &[&str] = &["path", "paths", "files", "envs", "env", "crds", "replacements"];

/// What was copied.
pub(super) struct Copied {
    /// What was decrypted, which no message may hold.
    pub(super) secrets: Vec<String>,
    /// The bases of other repositories.
    pub(super) bases: Bases,
}

/// Copies all that the kustomization of a directory needs, decrypted where it
/// is encrypted.
///
/// # Errors
/// All that is missing, that may not be loaded, or that cannot be decrypted;
/// else what cannot be fetched.
pub(super) fn copy(
    reading: &mut Reading<'_>,
    directory: &str,
    workspace: &Workspace,
    options: &DirectoryOptions,
    elsewhere: &mut dyn Elsewhere,
) -> Result<Copied, Unprepared> {
    let mut closure = Closure {
        reading,
        workspace,
        options,
        elsewhere,
        bases: Bases::default(),
        here: None,
        secrets: Vec::new(),
        problems: Vec::new(),
        unavailable: Vec::new(),
        named: BTreeSet::new(),
        renamed: Vec::new(),
        pending: VecDeque::from([Spot { base: None, directory: directory.to_owned() }]),
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
        closure.visit(&next);
    }
    closure.reading.turn_to(None);
    // At the end: the same file may have been copied again for another reason.
    for (file, name, text) in &closure.renamed {
        if closure.named.contains(file) {
            let message = "names a base of another repository, and cannot be a file for something else as well";
            closure.problems.push(Problem::in_file(name, message));
        } else if let Err(error) = closure.workspace.put(file, text.as_bytes()) {
            closure.problems.push(Problem::in_file(name, error.to_string()));
        }
    }
    let Closure { mut problems, mut secrets, bases, unavailable, .. } = closure;
    secrets::without_in(&mut secrets, &mut problems);
    match (problems.is_empty(), unavailable.is_empty()) {
        (true, true) => Ok(Copied { secrets, bases }),
        (true, false) => Err(Unprepared::Unavailable(unavailable.join("; "))),
        (false, _) => Err(RenderFailure { problems }.into()),
    }
}

struct Closure<'a, 'b> {
    reading: &'a mut Reading<'b>,
    workspace: &'a Workspace,
    options: &'a DirectoryOptions,
    elsewhere: &'a mut dyn Elsewhere,
    bases: Bases,
    /// The repository that is looked at: one of the bases, or the first.
    here: Option<usize>,
    secrets: Vec<String>,
    problems: Vec<Problem>,
    /// Why bases cannot be had now.
    unavailable: Vec<String>,
    /// Files that are named by their paths, as they are in the copy.
    named: BTreeSet<String>,
    /// Kustomizations whose copies name copies of bases, with their names for
    /// people and their texts.
    renamed: Vec<(String, String, String)>,
    pending: VecDeque<Spot>,
    seen: BTreeSet<Spot>,
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
    /// Copies a kustomization; what is wrong in a base is told of that.
    fn visit(&mut self, spot: &Spot) {
        let before = self.problems.len();
        self.here = spot.base;
        self.reading.turn_to(spot.base);
        self.kustomization(&spot.directory);
        if let Some(base) = spot.base {
            for problem in &mut self.problems[before..] {
                problem.file = self.bases.name(base, &problem.file);
            }
        }
    }

    fn kustomization(&mut self, directory: &str) {
        if let Err(error) = self.workspace.make(&Bases::copy_of(self.here, directory)) {
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
        let mut moved = BTreeMap::new();
        for document in &documents {
            let naming = Naming { file, directory, positions: &document.positions };
            self.check_spelling(&document.value, &naming);
            self.of_kustomization(&document.value, &naming, &mut moved);
        }
        match documents.as_slice() {
            _ if moved.is_empty() => {}
            [document] => self.name_copies(file, &document.value, moved),
            several => {
                let message = format!("has {} documents, of which Kustomize reads one", several.len());
                self.problems.push(Problem::in_file(file, message));
            }
        }
    }

    /// Kustomize knows its fields whatever the case of their letters. Those that
    /// name what it loads have to be known here, so they are spelled as they are.
    fn check_spelling(&mut self, value: &Value, naming: &Naming<'_>) {
        let of_all = [RESOURCES, PLUGINS, FILES, WITH_PATH, GENERATORS, CHARTS, &["openapi"]];
        self.check_fields(value, "", &of_all.concat(), naming);
        for field in WITH_PATH.iter().chain(GENERATORS) {
            for (index, item) in items(value.get(*field)) {
                self.check_fields(item, &format!("/{field}/{index}"), OF_ITEMS, naming);
            }
        }
        if let Some(openapi) = value.get("openapi") {
            self.check_fields(openapi, "/openapi", OF_ITEMS, naming);
        }
    }

    fn check_fields(&mut self, value: &Value, pointer: &str, known: &[&str], naming: &Naming<'_>) {
        for name in value.as_object().into_iter().flat_map(Map::keys) {
            if let Some(meant) = known.iter().find(|known| *known != name && is_spelled(name, known)) {
                let at = naming.at(&format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")));
                let message = format!("{name:?} is read as {meant} by Kustomize");
                self.problems.push(Problem::in_file(naming.file, message).at(at).hint(format!("write {meant}")));
            }
        }
    }

    /// Has the copy of a kustomization name the copies of bases.
    fn name_copies(&mut self, file: &str, value: &Value, moved: BTreeMap<String, String>) {
        let mut value = value.clone();
        for (pointer, place) in moved {
            if let Some(named) = value.pointer_mut(&pointer) {
                *named = place.into();
            }
        }
        let name = self.here.map_or_else(|| file.to_owned(), |base| self.bases.name(base, file));
        self.renamed.push((Bases::copy_of(self.here, file), name, to_yaml(&value)));
    }

    /// A base of another repository; gives where its copy is, as the
    /// kustomization is to name it.
    fn base(&mut self, written: &str, at: Position, naming: &Naming<'_>) -> Option<String> {
        let Some(reference) = BaseReference::parse(written) else {
            let problem = remote(naming.file, written).at(at);
            self.problems
                .push(problem.hint("copy it into the repository: only directories of Git repositories are loaded"));
            return None;
        };
        match self.bases.take(&reference, self.reading, self.elsewhere) {
            Ok(base) => {
                self.reading.turn_to(Some(base));
                let found = self.reading.locate(&reference.path);
                self.reading.turn_to(self.here);
                let because = match found {
                    Ok(Some(Place::Directory(_))) => None,
                    Ok(_) => Some(format!("{} has no directory {:?}", reference.place(), reference.path)),
                    Err(problem) => Some(format!("{reference} {}", problem.message)),
                };
                if let Some(because) = because {
                    self.problems.push(Problem::in_file(naming.file, because).at(at));
                    return None;
                }
                self.pending.push_back(Spot { base: Some(base), directory: reference.path.clone() });
                Some(Bases::way(self.here, naming.directory, base, &reference.path))
            }
            Err(NoBase::Refused { because, hint }) => {
                let message = format!("{reference} {because}");
                self.problems.push(Problem::in_file(naming.file, message).at(at).hint(hint));
                None
            }
            Err(NoBase::Unavailable(message)) => {
                self.unavailable.push(message);
                None
            }
        }
    }

    /// Copies what a kustomization names. `moved` takes in what is named by
    /// other paths in the copy, by its pointer.
    fn of_kustomization(&mut self, value: &Value, naming: &Naming<'_>, moved: &mut BTreeMap<String, String>) {
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
                if !is_remote(path) {
                    self.named(path, &pointer, naming, true);
                } else if let Some(place) = self.base(path, naming.at(&pointer), naming) {
                    moved.insert(pointer, place);
                }
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
                Ok(content) => {
                    self.named.insert(Bases::copy_of(self.here, &whole));
                    return content.map(|content| (whole, content));
                }
                Err(problems) => self.problems.extend(problems),
            },
            Ok(Some(Place::Directory(_))) if may_be_directory => {
                self.pending.push_back(Spot { base: self.here, directory: whole });
            }
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
        let copied = self.workspace.put(&Bases::copy_of(self.here, path), &content);
        copied.map_err(|error| vec![Problem::in_file(path, error.to_string())])?;
        Ok(Some(content))
    }
}

fn remote(file: &str, path: &str) -> Problem {
    let path = redact(path);
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

/// Whether a name is that of a field to whom the case of letters says nothing:
/// to Go's encoding/json, to which two letters beyond ASCII are such as well.
fn is_spelled(name: &str, field: &str) -> bool {
    let folded = name.chars().map(|letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    });
    folded.eq(field.chars().map(|letter| letter.to_ascii_lowercase()))
}

fn is_of_plugin(name: &str) -> bool {
    OF_PLUGINS.iter().any(|known| is_spelled(name, known))
}

fn paths_of_plugin<'a>(value: &'a Value, paths: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if is_of_plugin(name) => paths.push(behind_the_key(text)),
                    Value::Array(texts) if is_of_plugin(name) => {
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

    #[rstest]
    #[case("resources", "resources", true)]
    #[case("Resources", "resources", true)]
    #[case("re\u{17f}ources", "resources", true)]
    #[case("patche\u{17f}\u{17f}trategicMerge", "patchesStrategicMerge", true)]
    #[case("resource", "resources", false)]
    fn a_field_is_known_as_kustomize_knows_it(#[case] name: &str, #[case] field: &str, #[case] expected: bool) {
        assert_eq!(is_spelled(name, field), expected);
    }

    #[test]
    fn the_paths_of_a_plugin_are_found_at_any_depth() {
        let value = serde_json::json!({
            "kind": "PatchTransformer", "Path": "patch.yaml",
            "spec": {"files": ["a.txt", "key=b.txt"], "replacements": [{"path": "c.yaml"}], "name": "no-path"},
        });
        let mut paths = Vec::new();
        paths_of_plugin(&value, &mut paths);
        paths.sort_unstable();
        assert_eq!(paths, ["a.txt", "b.txt", "c.yaml", "patch.yaml"]);
    }
}
