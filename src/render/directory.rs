//! A directory of YAML and JSON files.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    manifest::{
        BundleDigest, Digest, InputDigest, Manifest, ObjectId, Origin, Problem, Scope, bundle_digest, gvk_of,
        yaml::{self, read_documents},
    },
    source::tree::Tree,
};

use super::{
    ScopeLookup, Scopes, UnknownKind, detect,
    flatten::{Object, flatten},
    known::{KnownFile, KnownFiles},
    select::{Selected, below, normalise, select},
    well_known,
};

/// What a render may cost at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Files that are read.
    pub files: usize,
    /// Bytes of all files together.
    pub bytes: u64,
    /// Objects.
    pub objects: usize,
    /// What one file may cost.
    pub yaml: yaml::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files: 20_000, bytes: 256 << 20, objects: 100_000, yaml: yaml::Limits::default() }
    }
}

/// How a directory is rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryOptions {
    /// The directory, relative to the root of the repository; `.` for all.
    pub path: String,
    /// Globs of the files to read, relative to the directory; empty for all.
    pub include: Vec<String>,
    /// Globs of files not to read; they outrank `include`.
    pub exclude: Vec<String>,
    /// The namespace of namespaced objects that name none.
    pub default_namespace: Option<String>,
    /// Somebody asked for the type Directory, so that charts and
    /// kustomizations are not recognised.
    pub explicit: bool,
    /// What only the API server would refuse, values of the data of Secrets
    /// and ConfigMaps, is a warning: for commands that show what a file says.
    pub lenient: bool,
    /// What it may cost.
    pub limits: Limits,
}

impl Default for DirectoryOptions {
    fn default() -> Self {
        Self {
            path: ".".to_owned(),
            include: Vec::new(),
            exclude: Vec::new(),
            default_namespace: None,
            explicit: false,
            lenient: false,
            limits: Limits::default(),
        }
    }
}

/// What a tree renders to.
#[derive(Debug, Clone, PartialEq)]
pub struct Render {
    /// The manifests, sorted by identity. There may be none.
    pub manifests: Vec<Arc<Manifest>>,
    /// Digest of the manifests.
    pub bundle: BundleDigest,
    /// Digest of everything that was read, and of the options.
    pub inputs: InputDigest,
    /// How many files were read.
    pub files: usize,
    /// What the API server would refuse, if the render is lenient.
    pub warnings: Vec<Problem>,
    /// What the next render need not read again.
    pub known: KnownFiles,
}

/// Why a tree does not render: all that is wrong, sorted by file and position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", summary(.problems))]
pub struct RenderFailure {
    /// At least one.
    pub problems: Vec<Problem>,
}

fn summary(problems: &[Problem]) -> String {
    match problems {
        [] => "the render failed".to_owned(),
        [problem] => problem.to_string(),
        [problem, others @ ..] => format!("{problem} (and {} more)", others.len()),
    }
}

/// Renders a directory: all YAML and JSON files below it but hidden ones.
///
/// # Errors
/// Everything that is wrong with the files; nothing is rendered then.
pub fn directory(
    tree: &dyn Tree,
    options: &DirectoryOptions,
    scopes: &dyn ScopeLookup,
) -> Result<Render, RenderFailure> {
    directory_after(tree, options, scopes, &KnownFiles::default())
}

/// As [`directory`], after an earlier render: files whose content is known are
/// not read again, and their manifests are the same ones. What comes of it is
/// what would come of it without.
///
/// # Errors
/// Everything that is wrong with the files; nothing is rendered then.
pub fn directory_after(
    tree: &dyn Tree,
    options: &DirectoryOptions,
    scopes: &dyn ScopeLookup,
    before: &KnownFiles,
) -> Result<Render, RenderFailure> {
    let known = KnownFiles { default_namespace: options.default_namespace.clone(), ..KnownFiles::default() };
    let mut rendering = Rendering {
        tree,
        options,
        before,
        known,
        of_file: Vec::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
        manifests: BTreeMap::new(),
        defined: Scopes::default(),
        deferred: Vec::new(),
    };
    let render = rendering.run(scopes);
    let mut problems = rendering.problems;
    match render {
        Some(render) if problems.is_empty() => Ok(render),
        _ => {
            problems.sort_by(|one, other| (&one.file, one.position).cmp(&(&other.file, other.position)));
            Err(RenderFailure { problems })
        }
    }
}

struct Rendering<'a> {
    tree: &'a dyn Tree,
    options: &'a DirectoryOptions,
    /// What an earlier render knew.
    before: &'a KnownFiles,
    known: KnownFiles,
    /// The manifests of the file that is being read.
    of_file: Vec<(Scope, Arc<Manifest>)>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    manifests: BTreeMap<ObjectId, Arc<Manifest>>,
    /// Kinds that CRDs of the input define.
    defined: Scopes,
    /// Objects of kinds that only a CRD of the input can define. All others
    /// become manifests file by file, so that not all files are held at once.
    deferred: Vec<Object>,
}

impl Rendering<'_> {
    /// `None` where there is a problem that forbids going on.
    fn run(&mut self, scopes: &dyn ScopeLookup) -> Option<Render> {
        let path = self.path()?;
        self.refuse_other_types(&path)?;
        let before = self.problems.len();
        let selected = select(self.tree, &path, &self.options.include, &self.options.exclude, &mut self.problems);
        if selected.is_empty() && self.problems.len() > before {
            return None;
        }
        let mut inputs = self.input_options(&path);
        self.read(&selected, &mut inputs, scopes)?;
        self.place_deferred(scopes);
        let manifests: Vec<_> = std::mem::take(&mut self.manifests).into_values().collect();
        let bundle = bundle_digest(&manifests);
        Some(Render {
            manifests,
            bundle,
            inputs: InputDigest(Digest::of_parts(inputs)),
            files: selected.len(),
            warnings: std::mem::take(&mut self.warnings),
            known: std::mem::take(&mut self.known),
        })
    }

    fn path(&mut self) -> Option<String> {
        let wanted = &self.options.path;
        let Some(path) = normalise(wanted) else {
            let message = "is not a path within the repository: it may not begin with `/` or hold `..`";
            self.problems.push(Problem::in_file(wanted, message));
            return None;
        };
        let exists = path == "." || self.tree.entries().iter().any(|entry| below(&path, &entry.path).is_some());
        if !exists {
            let is_file = self.tree.entries().iter().any(|entry| entry.path == path);
            let message = if is_file { "is a file, not a directory" } else { "does not exist" };
            self.problems.push(Problem::in_file(path, message).hint("give source.path a directory of the repository"));
            return None;
        }
        Some(path)
    }

    /// A chart's templates and a kustomization's parts are no manifests: they
    /// are never applied as if they were.
    fn refuse_other_types(&mut self, path: &str) -> Option<()> {
        if self.options.explicit {
            return Some(());
        }
        let Some((kind, file)) = detect::detected(self.tree, path) else { return Some(()) };
        let message = format!("makes this directory one of render.type {kind}, which is not supported yet");
        let hint = "set render.type to Directory to apply its YAML files as they are, or render it to plain manifests";
        self.problems.push(Problem::in_file(file, message).hint(hint));
        None
    }

    fn input_options(&self, path: &str) -> Vec<Vec<u8>> {
        let DirectoryOptions { include, exclude, default_namespace, .. } = self.options;
        let options = serde_json::json!({
            "type": "Directory", "path": path, "include": include, "exclude": exclude,
            "defaultNamespace": default_namespace,
        });
        vec![options.to_string().into_bytes()]
    }

    fn read(&mut self, selected: &[Selected], inputs: &mut Vec<Vec<u8>>, scopes: &dyn ScopeLookup) -> Option<()> {
        let limits = &self.options.limits;
        if selected.len() > limits.files {
            let message = format!("holds {} manifest files, more than the limit of {}", selected.len(), limits.files);
            return self.give_up(message);
        }
        let (mut bytes_read, mut objects_read) = (0_u64, 0);
        for file in selected {
            let id = self.tree.content_id(&file.content).filter(|_| !self.options.lenient);
            if let Some(known) = id.as_ref().and_then(|id| self.known_before(file, id, scopes)) {
                bytes_read = bytes_read.saturating_add(known.bytes);
                objects_read += known.manifests.len();
                inputs.push(file.path.clone().into_bytes());
                inputs.push(known.digest.clone().into_bytes());
                known.manifests.iter().for_each(|(_, manifest)| self.add(Arc::clone(manifest)));
                self.known.files.insert(file.path.clone(), known);
                self.check_limits(bytes_read, objects_read)?;
                continue;
            }
            let content = match self.tree.read(&file.content) {
                Ok(content) => content,
                Err(error) => {
                    self.problems.push(Problem::in_file(&file.path, error.to_string()));
                    continue;
                }
            };
            bytes_read = bytes_read.saturating_add(content.len() as u64);
            self.check_limits(bytes_read, objects_read)?;
            let (problems_before, deferred_before) = (self.problems.len(), self.deferred.len());
            let (documents, problems) = read_documents(&file.path, &content, &limits.yaml);
            self.problems.extend(problems);
            let mut objects = Vec::new();
            for document in documents {
                flatten(&file.path, document, &mut objects, &mut self.problems);
            }
            objects_read += objects.len();
            self.check_limits(bytes_read, objects_read)?;
            self.of_file.clear();
            objects.into_iter().for_each(|object| self.place(object, scopes));
            let digest = Digest::of(&content).to_string();
            inputs.push(file.path.clone().into_bytes());
            inputs.push(digest.clone().into_bytes());
            // Where a file defines kinds, others depend on it, and what it could
            // not place by itself depends on others.
            let by_itself = self.problems.len() == problems_before
                && self.deferred.len() == deferred_before
                && self.of_file.iter().all(|(_, manifest)| manifest.id.group != "apiextensions.k8s.io");
            if let Some(id) = id.filter(|_| by_itself) {
                let (bytes, manifests) = (content.len() as u64, std::mem::take(&mut self.of_file));
                self.known.files.insert(file.path.clone(), KnownFile { content: id, bytes, digest, manifests });
            }
        }
        Some(())
    }

    /// What is known of a file, if it would come to the same again.
    fn known_before(&self, file: &Selected, id: &[u8], scopes: &dyn ScopeLookup) -> Option<KnownFile> {
        if self.before.default_namespace != self.options.default_namespace {
            return None;
        }
        let known = self.before.files.get(&file.path).filter(|known| known.content == id)?;
        let same =
            known.manifests.iter().all(|(scope, manifest)| scopes.scope(&manifest.gvk.group_kind()) == Some(*scope));
        same.then(|| known.clone())
    }

    fn check_limits(&mut self, bytes: u64, objects: usize) -> Option<()> {
        let limits = &self.options.limits;
        if bytes > limits.bytes {
            return self.give_up(format!("its files are more than the limit of {} bytes together", limits.bytes));
        }
        if objects > limits.objects {
            return self.give_up(format!("holds more than the limit of {} objects", limits.objects));
        }
        Some(())
    }

    fn give_up<T>(&mut self, message: String) -> Option<T> {
        self.problems.push(Problem::in_file(&self.options.path, message));
        None
    }

    fn place(&mut self, object: Object, scopes: &dyn ScopeLookup) {
        self.defined.learn(&object.value);
        match gvk_of(&object.value).map(|gvk| scopes.scope(&gvk.group_kind())) {
            Some(Some(scope)) => self.manifest(object, scope),
            Some(None) => self.deferred.push(object),
            // What is wrong with the type is found with the rest of the object.
            None => self.manifest(object, Scope::Namespaced),
        }
    }

    fn place_deferred(&mut self, scopes: &dyn ScopeLookup) {
        for object in std::mem::take(&mut self.deferred) {
            let Some(kind) = gvk_of(&object.value).map(|gvk| gvk.group_kind()) else { continue };
            match (self.defined.scope(&kind), scopes.unknown_kind()) {
                (Some(scope), _) => self.manifest(object, scope),
                (None, UnknownKind::WellKnown) => self.manifest(object, well_known::scope(&kind)),
                (None, UnknownKind::Refuse) => {
                    let message =
                        format!("kind {kind} is not served by the cluster and no CRD of this application defines it");
                    self.problems.push(
                        Problem::in_file(&object.origin.file, message)
                            .at(object.positions.nearest("/kind"))
                            .hint("install its CRD first, or add it to this application"),
                    );
                }
            }
        }
    }

    fn manifest(&mut self, object: Object, scope: Scope) {
        let namespace = self.options.default_namespace.as_deref();
        let Object { value, origin, positions } = object;
        match Manifest::read_with_faults(value, namespace, scope, Some(origin), Some(&positions)) {
            Err(problems) => self.problems.extend(problems),
            Ok((manifest, faults)) => {
                if self.options.lenient { &mut self.warnings } else { &mut self.problems }.extend(faults);
                let manifest = Arc::new(manifest);
                self.of_file.push((scope, Arc::clone(&manifest)));
                self.add(manifest);
            }
        }
    }

    fn add(&mut self, manifest: Arc<Manifest>) {
        match self.manifests.get(&manifest.id) {
            Some(first) => self.problems.push(duplicate(first, &manifest)),
            None => {
                self.manifests.insert(manifest.id.clone(), manifest);
            }
        }
    }
}

fn duplicate(first: &Manifest, second: &Manifest) -> Problem {
    let place = |origin: &Option<Origin>| match origin {
        Some(Origin { file, position: Some(position), .. }) => format!("{file}:{}:{}", position.line, position.column),
        Some(Origin { file, position: None, .. }) => file.clone(),
        None => "elsewhere".to_owned(),
    };
    let file = second.origin.as_ref().map(|origin| origin.file.clone()).unwrap_or_default();
    let mut problem = Problem::in_file(file, format!("{} is defined twice", second.id))
        .hint(format!("it is defined at {} too; keep one of them", place(&first.origin)));
    problem.position = second.origin.as_ref().and_then(|origin| origin.position);
    problem
}
