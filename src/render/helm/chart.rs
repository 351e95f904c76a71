//! A chart with all that it needs, in a private copy.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use serde_json::Value;

use super::{
    ChartReference, HelmOptions,
    archive::{self, Room},
    lookup::{uses_chance, without_lookup},
    reference::{Locked, locked},
    repository::is_below,
    schema,
};
use crate::{
    manifest::{
        Digest, Position, Problem,
        yaml::{self, read_documents},
    },
    render::{
        DirectoryOptions, RenderFailure,
        path::{join, relative_to},
        prepared::{Elsewhere, Unprepared},
        reading::Reading,
        secrets, sops,
        workspace::Workspace,
    },
};

/// How deep charts may nest in charts by `file://` or by packing.
const NESTING: usize = 8;

/// The values that a chart comes with.
const VALUES: &str = "values.yaml";

/// A chart, ready to be rendered.
pub(super) struct Chart {
    pub(super) workspace: Workspace,
    /// Its directory; empty for the root of the repository. That of a chart of
    /// elsewhere is no directory of the repository.
    pub(super) directory: String,
    /// Its name, as templates and messages have it.
    pub(super) name: String,
    /// Files with values in their order, by the names that people know and by
    /// those in the workspace.
    pub(super) values: Vec<(String, std::path::PathBuf)>,
    /// Values that no message may hold, the longest first.
    pub(super) secrets: Vec<String>,
    /// Whether something in it uses chance or the clock.
    pub(super) uses_chance: bool,
    /// Whether something in it asks for the version of the cluster.
    pub(super) asks_version: bool,
    /// What of the cluster's APIs something in it mentions.
    pub(super) mentions: BTreeSet<String>,
    /// Charts that were copied to places below it, in the order of their depth:
    /// places with the directories that they come from.
    pub(super) copied: Vec<(String, String)>,
    /// Names under which dependencies are known to Helm, with those of their
    /// directories.
    pub(super) aliases: Vec<(String, String)>,
    /// Templates, by their paths below the chart, whose `lookup` now fails.
    pub(super) without_lookup: BTreeSet<String>,
    /// Charts of repositories that it takes, with the digests of what came.
    pub(super) fetched: BTreeMap<String, String>,
}

impl Chart {
    /// Copies a chart and its values.
    pub(super) fn prepare(
        reading: &mut Reading<'_>,
        directory: &str,
        options: &HelmOptions,
        common: &DirectoryOptions,
        elsewhere: &mut dyn Elsewhere,
        room: Room,
    ) -> Result<Self, Unprepared> {
        let workspace = Workspace::new().map_err(|error| {
            Unprepared::of(Problem::in_file(directory, format!("no private directory to render in: {error}")))
        })?;
        let chart = Self {
            workspace,
            directory: directory.to_owned(),
            name: String::new(),
            values: Vec::new(),
            secrets: Vec::new(),
            uses_chance: false,
            asks_version: false,
            mentions: BTreeSet::new(),
            copied: Vec::new(),
            aliases: Vec::new(),
            without_lookup: BTreeSet::new(),
            fetched: BTreeMap::new(),
        };
        let (problems, unavailable) = (Vec::new(), Vec::new());
        let mut copying = Copying { reading, chart, options, common, elsewhere, problems, unavailable, room };
        match &options.chart {
            None => copying.chart_at(directory, "", 0),
            Some(reference) => copying.chart_of_elsewhere(reference),
        }
        copying.values(directory);
        let Copying { mut chart, mut problems, unavailable, .. } = copying;
        secrets::without_in(&mut chart.secrets, &mut problems);
        match (problems.is_empty(), unavailable.is_empty()) {
            (true, true) => Ok(chart),
            (true, false) => Err(Unprepared::Unavailable(unavailable.join("; "))),
            (false, _) => Err(Unprepared::Failed(RenderFailure { problems })),
        }
    }

    /// A path below the chart as Helm names it, as it is in the copy: Helm
    /// knows subcharts by their aliases.
    pub(super) fn without_aliases(&self, path: &str) -> String {
        let mut parts: Vec<&str> = path.split('/').collect();
        for index in 1..parts.len() {
            let alias = (parts[index - 1] == "charts").then(|| self.aliases.iter().find(|(it, _)| it == parts[index]));
            if let Some((_, name)) = alias.flatten() {
                parts[index] = name;
            }
        }
        parts.join("/")
    }

    /// The file that says what the chart is.
    pub(super) fn file(&self) -> String {
        join(&self.directory, "Chart.yaml")
    }
}

struct Copying<'a, 'b> {
    reading: &'a mut Reading<'b>,
    chart: Chart,
    options: &'a HelmOptions,
    common: &'a DirectoryOptions,
    elsewhere: &'a mut dyn Elsewhere,
    problems: Vec<Problem>,
    /// Why charts of repositories cannot be had.
    unavailable: Vec<String>,
    /// What is left for packed charts.
    room: Room,
}

/// A dependency as a chart declares it.
struct Dependency {
    name: String,
    alias: String,
    repository: String,
    version: String,
    at: Position,
}

impl Copying<'_, '_> {
    /// Copies the chart of a directory of the repository to a place below the
    /// chart that is rendered, with those that it has by `file://`.
    fn chart_at(&mut self, directory: &str, place: &str, depth: usize) {
        let files = match self.reading.all_below(directory) {
            Ok(files) => files,
            Err(problems) => return self.problems.extend(problems),
        };
        if !files.iter().any(|(path, _)| path == "Chart.yaml") {
            let message = "does not exist: without it this directory is no chart";
            let hint = "give source.path the directory of a chart, or render.type what it is";
            self.problems.push(Problem::in_file(join(directory, "Chart.yaml"), message).hint(hint));
        }
        self.files_of_chart(directory, place, depth, &files);
    }

    /// Copies a chart of a repository as the one that is rendered.
    fn chart_of_elsewhere(&mut self, reference: &ChartReference) {
        let Some(content) = self.fetched(reference) else { return };
        let name = &reference.name;
        // As Helm calls the packed chart; it leads nowhere in the repository.
        self.chart.directory = format!("{name}.tgz");
        let files = match archive::unpack(&content, &mut self.room) {
            Ok(files) => files,
            Err(message) => return self.problems.push(Problem::in_file(reference.to_string(), message)),
        };
        let below = |(path, content): (String, Vec<u8>)| {
            path.split_once('/').map(|(_, below)| (below.to_owned(), content)).filter(|(below, _)| !below.is_empty())
        };
        let files: Vec<(String, Vec<u8>)> = files.into_iter().filter_map(below).collect();
        let directory = self.chart.directory.clone();
        self.files_of_chart(&directory, "", 0, &files);
    }

    /// A chart of a repository, if it can be had.
    fn fetched(&mut self, reference: &ChartReference) -> Option<Arc<[u8]>> {
        match self.elsewhere.chart(reference) {
            Ok(content) => {
                self.chart.fetched.insert(reference.to_string(), Digest::of(&content).to_string());
                Some(content)
            }
            Err(message) => {
                self.unavailable.push(message);
                None
            }
        }
    }

    fn files_of_chart(&mut self, directory: &str, place: &str, depth: usize, files: &[(String, Vec<u8>)]) {
        let declared: Vec<(&str, &[u8])> = files
            .iter()
            .filter(|(path, _)| matches!(path.as_str(), "Chart.yaml" | "requirements.yaml"))
            .map(|(path, content)| (path.as_str(), content.as_slice()))
            .collect();
        let mut dependencies = Vec::new();
        for (path, content) in declared {
            let file = join(directory, path);
            let (documents, problems) = read_documents(&file, content, &yaml::Limits::default());
            self.problems.extend(problems);
            let Some(document) = documents.into_iter().next() else { continue };
            if path == "Chart.yaml" && place.is_empty() {
                let name = document.value.get("name").and_then(Value::as_str);
                self.chart.name = name.unwrap_or_default().to_owned();
            }
            dependencies.extend(declared_in(&document).into_iter().map(|dependency| (file.clone(), dependency)));
        }
        let mut present = BTreeSet::new();
        let mut locks = Vec::new();
        for (path, content) in files {
            if matches!(path.as_str(), "Chart.lock" | "requirements.lock") {
                locks = locked(content);
            }
            if let Some(name) = path.strip_prefix("charts/").map(|path| path.split('/').next().unwrap_or(path)) {
                present.insert(name.to_owned());
            }
            let file = join(directory, path);
            if path.rsplit('/').next() == Some(VALUES) {
                if let Some(content) = self.decrypted(&file, content.clone()) {
                    self.file(&file, &join(place, path), &content);
                }
            } else {
                self.file(&file, &join(place, path), content);
            }
        }
        let mut copied = Vec::new();
        for (index, (file, dependency)) in dependencies.into_iter().enumerate() {
            let Dependency { name, alias, repository, version, at } = dependency;
            if !alias.is_empty() {
                self.chart.aliases.push((alias, name.clone()));
            }
            let packed = format!("{name}-");
            if present.contains(&name) || present.iter().any(|it| it.starts_with(&packed) && is_packed(it)) {
                continue;
            }
            let missing = |message: String| Problem::in_file(&file, message).at(at);
            let Some(path) = repository.strip_prefix("file://") else {
                if repository.is_empty() {
                    let message = format!("the dependency {name} is not in charts/, and no repository is given for it");
                    self.problems
                        .push(missing(message).hint("run `helm dependency build` and commit what it puts there"));
                    continue;
                }
                let version = match version_of(&locks, index, &name) {
                    Some(locked) => locked,
                    None if locks.is_empty() => version,
                    None => {
                        let message = format!("the dependency {name} is not in Chart.lock");
                        self.problems.push(missing(message).hint("run `helm dependency update` and commit Chart.lock"));
                        continue;
                    }
                };
                match ChartReference::new(&repository, &name, &version) {
                    Ok(reference)
                        if !self.options.repositories.iter().any(|url| is_below(url, &reference.repository)) =>
                    {
                        let message = format!(
                            "the dependency {name} of {repository} is not in charts/, and render.helm.repositories \
                             does not name that repository"
                        );
                        let hint = "name it there, or run `helm dependency build` and commit what it puts into charts/";
                        self.problems.push(missing(message).hint(hint));
                    }
                    Ok(reference) => self.dependency_of_elsewhere(&reference, place, &mut copied),
                    Err(message) => self.problems.push(missing(format!("the dependency {name}: {message}"))),
                }
                continue;
            };
            match relative_to(directory, path) {
                None => self
                    .problems
                    .push(missing(format!("the dependency {name} is at {repository}, outside of the repository"))),
                Some(_) if depth >= NESTING => {
                    self.problems
                        .push(missing(format!("charts nest deeper than the limit of {NESTING}, or in a circle")));
                }
                Some(other) => match self.reading.locate(&join(&other, "Chart.yaml")) {
                    Ok(None) => self.problems.push(missing(format!("the dependency {name} is not at {repository}"))),
                    Ok(Some(_)) => {
                        let place = join(place, &format!("charts/{name}"));
                        self.chart.copied.push((place.clone(), other.clone()));
                        self.chart_at(&other, &place, depth + 1);
                    }
                    Err(problem) => self.problems.push(problem),
                },
            }
        }
    }

    /// Copies a chart of a repository as a packed dependency; several aliases
    /// of one chart share it, as Helm has it.
    fn dependency_of_elsewhere(&mut self, reference: &ChartReference, place: &str, copied: &mut Vec<ChartReference>) {
        if copied.contains(reference) {
            return;
        }
        let Some(content) = self.fetched(reference) else { return };
        copied.push(reference.clone());
        // Two versions of a chart may stand beside each other.
        let name = format!("{}-{}.tgz", reference.name, copied.len());
        self.file(&reference.to_string(), &join(place, &format!("charts/{name}")), &content);
    }

    /// Copies a file of a chart.
    fn file(&mut self, file: &str, place: &str, content: &[u8]) {
        if is_packed(place) && place.split('/').rev().nth(1) == Some("charts") {
            return match self.packed(file, content, 0) {
                Ok(changed) => self.put(file, place, changed.as_deref().unwrap_or(content)),
                Err(message) => self.problems.push(Problem::in_file(file, message)),
            };
        }
        match self.looked_at(file, place, content) {
            Some(changed) => {
                self.chart.without_lookup.insert(place.to_owned());
                self.put(file, place, &changed);
            }
            None => self.put(file, place, content),
        }
    }

    fn put(&mut self, file: &str, place: &str, content: &[u8]) {
        let whole = join(&self.chart.directory, place);
        if let Err(error) = self.chart.workspace.put(&whole, content) {
            self.problems.push(Problem::in_file(file, format!("cannot be copied for rendering: {error}")));
        }
    }

    /// Looks what a file has. What it becomes, where it becomes another.
    fn looked_at(&mut self, file: &str, place: &str, content: &[u8]) -> Option<Vec<u8>> {
        if place.rsplit('/').next() == Some("values.schema.json") {
            self.problems.extend(schema::loads_from_elsewhere(file, content));
        }
        let text = std::str::from_utf8(content).ok()?;
        let is_template = place.split('/').any(|part| part == "templates");
        // Values may hold templates for `tpl`.
        if is_template || place.ends_with("values.yaml") {
            self.notice(text);
        }
        is_template.then(|| without_lookup(text)).flatten().map(String::into_bytes)
    }

    fn notice(&mut self, text: &str) {
        self.chart.uses_chance |= uses_chance(text);
        if text.contains("Capabilities") {
            self.chart.asks_version |= text.contains("KubeVersion");
            let mentioned =
                self.options.capabilities.api_versions.iter().filter(|version| text.contains(version.as_str()));
            self.chart.mentions.extend(mentioned.cloned());
        }
    }

    /// Looks at a packed chart. What it becomes, where it becomes another.
    fn packed(&mut self, file: &str, content: &[u8], depth: usize) -> Result<Option<Vec<u8>>, String> {
        if depth >= NESTING {
            return Err(format!("packed charts nest deeper than the limit of {NESTING}"));
        }
        let mut files = archive::unpack(content, &mut self.room)?;
        let mut changed = false;
        for (path, content) in &mut files {
            let replaced = if is_packed(path) && path.split('/').rev().nth(1) == Some("charts") {
                self.packed(file, content, depth + 1)?
            } else {
                let replaced = self.looked_at(&format!("{file}:{path}"), path, content);
                if replaced.is_some() {
                    self.chart.without_lookup.insert(format!("charts/{path}"));
                }
                replaced
            };
            if let Some(replaced) = replaced {
                *content = replaced;
                changed = true;
            }
        }
        if !changed {
            return Ok(None);
        }
        archive::pack(&files).map(Some).map_err(|error| format!("cannot be copied for rendering: {error}"))
    }

    /// Copies the values; the paths of files are relative to a directory.
    fn values(&mut self, directory: &str) {
        let options = self.options;
        for path in &options.value_files {
            let field = "render.helm.valueFiles";
            if path.contains("://") {
                let message = format!("{path:?} is a URL: value files are files of the repository");
                self.problems.push(Problem::in_file(field, message));
                continue;
            }
            let Some(whole) = relative_to(directory, path) else {
                self.problems.push(Problem::in_file(field, format!("{path:?} leaves the repository")));
                continue;
            };
            match self.reading.file(&whole) {
                Ok(Some(content)) => {
                    if let Some(content) = self.decrypted(&whole, content) {
                        self.value_file(&whole, &content);
                    }
                }
                Ok(None) => {
                    let hint = "paths of value files are relative to source.path";
                    let message = format!("the value file {path:?} does not exist");
                    self.problems.push(Problem::in_file(field, format!("{message} (looked for {whole})")).hint(hint));
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        for source in &options.value_sources {
            if source.secret {
                self.chart.secrets.extend(secrets::in_values(&source.content));
            }
            if let Some(content) = self.decrypted(&source.name, source.content.clone()) {
                self.value_file(&source.name, &content);
            }
        }
        secrets::longest_first(&mut self.chart.secrets);
        if let Some(values) = &options.values {
            self.value_file("render.helm.values", values.to_string().as_bytes());
        }
    }

    /// A file with values, decrypted if it is encrypted. `None` after a problem.
    fn decrypted(&mut self, file: &str, content: Vec<u8>) -> Option<Vec<u8>> {
        let DirectoryOptions { limits, decryption, .. } = self.common;
        match sops::decrypt_file(file, &content, &limits.yaml, decryption) {
            Ok(None) => Some(content),
            Ok(Some(decrypted)) => {
                self.chart.secrets.extend(decrypted.secrets);
                Some(decrypted.content)
            }
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }

    fn value_file(&mut self, name: &str, content: &[u8]) {
        let Ok(text) = std::str::from_utf8(content) else {
            return self.problems.push(Problem::in_file(name, "holds no values: it is not UTF-8"));
        };
        self.notice(text);
        let file = format!("values-{}.yaml", self.chart.values.len());
        match self.chart.workspace.beside(&file, content) {
            Ok(path) => self.chart.values.push((name.to_owned(), path)),
            Err(error) => {
                self.problems.push(Problem::in_file(name, format!("cannot be copied for rendering: {error}")))
            }
        }
    }
}

/// The version of a dependency in a lock file: of the entry at the same place,
/// else of the one with its name.
fn version_of(locks: &[Locked], index: usize, name: &str) -> Option<String> {
    let at_place = locks.get(index).filter(|locked| locked.name == name);
    at_place.or_else(|| locks.iter().find(|locked| locked.name == name)).map(|locked| locked.version.clone())
}

fn is_packed(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "tgz")
}

fn declared_in(document: &yaml::Document) -> Vec<Dependency> {
    let list = document.value.get("dependencies").and_then(Value::as_array);
    let text = |item: &Value, field: &str| item.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let read = |(index, item): (usize, &Value)| Dependency {
        name: text(item, "name"),
        alias: text(item, "alias"),
        repository: text(item, "repository"),
        version: text(item, "version"),
        at: document.positions.nearest(&format!("/dependencies/{index}")),
    };
    list.into_iter().flatten().enumerate().map(read).filter(|dependency| !dependency.name.is_empty()).collect()
}
