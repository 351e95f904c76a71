//! A directory of YAML and JSON files.

use std::sync::Arc;

use crate::{
    manifest::{
        BundleDigest, Digest, DigestOfParts, GroupVersionKind, InputDigest, Manifest, Problem, Scope, bundle_digest,
        yaml::{self, Document, read_documents},
    },
    source::tree::Tree,
};

use super::{
    Programs, RenderType, ScopeLookup, Touches,
    assemble::Assembly,
    flatten::{Object, flatten},
    known::{KnownFile, KnownFiles},
    path::{below, normalise},
    prepared::renderer,
    secrets,
    select::{Selected, select},
    sops::{self, Decryption},
    touches,
    unsteady::Unsteady,
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
    /// What only the API server would refuse, values of the data of Secrets
    /// and ConfigMaps, is a warning: for commands that show what a file says.
    pub lenient: bool,
    /// What is changed of each object.
    pub touches: Touches,
    /// How files that SOPS encrypted are decrypted.
    pub decryption: Decryption,
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
            lenient: false,
            touches: Touches::default(),
            decryption: Decryption::default(),
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
    /// The program that rendered it, with its version; empty where none was
    /// needed.
    pub renderer: String,
    /// What the API server would refuse, if the render is lenient.
    pub warnings: Vec<Problem>,
    /// Fields that differ each time the same files are rendered.
    pub unsteady: Vec<Unsteady>,
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
/// There is no program at hand for patches.
///
/// # Errors
/// Everything that is wrong with the files; nothing is rendered then.
pub fn directory(
    tree: &dyn Tree,
    options: &DirectoryOptions,
    scopes: &dyn ScopeLookup,
) -> Result<Render, RenderFailure> {
    directory_after(tree, options, scopes, &KnownFiles::default(), &Programs::default())
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
    programs: &Programs,
) -> Result<Render, RenderFailure> {
    let DirectoryOptions { default_namespace, touches, decryption, .. } = options;
    let known = KnownFiles {
        default_namespace: default_namespace.clone(),
        touches: touches.clone(),
        decryption: decryption.fingerprint(),
        ..KnownFiles::default()
    };
    let assembly = Assembly::new(scopes, default_namespace.as_deref(), options.lenient, touches);
    let (waiting, secrets) = (Vec::new(), Vec::new());
    let last_scope = None;
    let mut rendering =
        Rendering { tree, options, before, known, assembly, waiting, scopes, programs, secrets, last_scope };
    let mut render = rendering.run();
    let Rendering { mut secrets, assembly: Assembly { mut problems, .. }, .. } = rendering;
    secrets::without_in(&mut secrets, &mut problems);
    if let Some(render) = &mut render {
        secrets::without_in(&mut secrets, &mut render.warnings);
    }
    finished(render, problems)
}

/// A render, if there is nothing wrong with it.
pub(super) fn finished(render: Option<Render>, mut problems: Vec<Problem>) -> Result<Render, RenderFailure> {
    match render {
        Some(render) if problems.is_empty() => Ok(render),
        _ => {
            problems.sort_by(|one, other| (&one.file, one.position).cmp(&(&other.file, other.position)));
            problems.dedup();
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
    assembly: Assembly<'a>,
    /// Objects that wait for their patches: those of all files.
    waiting: Vec<Object>,
    scopes: &'a dyn ScopeLookup,
    programs: &'a Programs,
    /// What no message may hold.
    secrets: Vec<String>,
    /// The type that was asked for last, and its scope.
    last_scope: Option<(GroupVersionKind, Option<Scope>)>,
}

impl Rendering<'_> {
    /// `None` where there is a problem that forbids going on.
    fn run(&mut self) -> Option<Render> {
        let path = self.path()?;
        let problems = &mut self.assembly.problems;
        let selected = select(self.tree, &path, &self.options.include, &self.options.exclude, problems);
        if selected.is_empty() && !problems.is_empty() {
            return None;
        }
        let mut inputs = self.input_options(&path);
        self.read(&selected, &mut inputs)?;
        self.patch()?;
        let manifests = self.assembly.finish();
        let bundle = bundle_digest(&manifests);
        Some(Render {
            manifests,
            bundle,
            inputs: InputDigest(inputs.digest()),
            files: selected.len(),
            renderer: renderer(self.programs, RenderType::Directory, &self.options.touches),
            warnings: std::mem::take(&mut self.assembly.warnings),
            unsteady: Vec::new(),
            known: std::mem::take(&mut self.known),
        })
    }

    fn path(&mut self) -> Option<String> {
        let wanted = &self.options.path;
        let Some(path) = normalise(wanted) else {
            let message = "is not a path within the repository: it may not begin with `/` or hold `..`";
            self.assembly.problems.push(Problem::in_file(wanted, message));
            return None;
        };
        let exists = path == "." || self.tree.entries().iter().any(|entry| below(&path, &entry.path).is_some());
        if !exists {
            let is_file = self.tree.entries().iter().any(|entry| entry.path == path);
            self.assembly.problems.push(no_directory(&path, is_file));
            return None;
        }
        Some(path)
    }

    fn input_options(&self, path: &str) -> DigestOfParts {
        // Keys are none of it: with any that fit, the same files come to the same.
        let DirectoryOptions { include, exclude, default_namespace, .. } = self.options;
        let mut options = serde_json::json!({
            "type": "Directory", "path": path, "include": include, "exclude": exclude,
            "defaultNamespace": default_namespace,
        });
        if let Some(touches) = self.options.touches.inputs() {
            options["touches"] = touches;
        }
        let mut inputs = DigestOfParts::default();
        inputs.add(options.to_string().as_bytes());
        inputs
    }

    fn read(&mut self, selected: &[Selected], inputs: &mut DigestOfParts) -> Option<()> {
        let limits = &self.options.limits;
        if selected.len() > limits.files {
            let message = format!("holds {} manifest files, more than the limit of {}", selected.len(), limits.files);
            return self.give_up(message);
        }
        let (mut bytes_read, mut objects_read) = (0_u64, 0);
        for file in selected {
            let forgets = self.options.lenient || !self.options.touches.patches.is_empty();
            let id = self.tree.content_id(&file.content).filter(|_| !forgets);
            if let Some(known) = id.as_ref().and_then(|id| self.known_before(file, id)) {
                bytes_read = bytes_read.saturating_add(known.bytes);
                objects_read += known.manifests.len();
                inputs.add(file.path.as_bytes());
                inputs.add(known.digest.to_string().as_bytes());
                known.manifests.iter().for_each(|(_, manifest)| self.assembly.add(Arc::clone(manifest)));
                self.assembly.images_met.extend(&known.images_met);
                self.known.files.insert(file.path.clone(), known);
                self.check_limits(bytes_read, objects_read)?;
                continue;
            }
            let content = match self.tree.read(&file.content) {
                Ok(content) => content,
                Err(error) => {
                    self.assembly.problems.push(Problem::in_file(&file.path, error.to_string()));
                    continue;
                }
            };
            bytes_read = bytes_read.saturating_add(content.len() as u64);
            self.check_limits(bytes_read, objects_read)?;
            let (problems_before, deferred_before) = (self.assembly.problems.len(), self.assembly.deferred.len());
            let documents = self.documents(&file.path, &content);
            let mut objects = Vec::new();
            for document in documents {
                flatten(Object::read(&file.path, document), &mut objects, &mut self.assembly.problems);
            }
            objects_read += objects.len();
            self.check_limits(bytes_read, objects_read)?;
            if !self.options.touches.patches.is_empty() {
                self.waiting.extend(objects);
                objects = Vec::new();
            }
            self.assembly.newest.clear();
            let images_before = std::mem::take(&mut self.assembly.images_met);
            objects.into_iter().for_each(|object| self.assembly.place(object));
            let images_met = std::mem::replace(&mut self.assembly.images_met, images_before);
            self.assembly.images_met.extend(&images_met);
            let digest = Digest::of(&content);
            inputs.add(file.path.as_bytes());
            inputs.add(digest.to_string().as_bytes());
            // Where a file defines kinds, others depend on it, and what it could
            // not place by itself depends on others.
            let by_itself = self.assembly.problems.len() == problems_before
                && self.assembly.deferred.len() == deferred_before
                && self.assembly.newest.iter().all(|(_, manifest)| manifest.id.group != "apiextensions.k8s.io");
            if let Some(id) = id.filter(|_| by_itself) {
                let (bytes, manifests) = (content.len() as u64, std::mem::take(&mut self.assembly.newest));
                let known = KnownFile { content: id, bytes, digest, manifests, images_met };
                self.known.files.insert(file.path.clone(), Arc::new(known));
            }
        }
        Some(())
    }

    /// The documents of a file, decrypted if they are encrypted.
    fn documents(&mut self, path: &str, content: &[u8]) -> Vec<Document> {
        let limits = &self.options.limits.yaml;
        match sops::documents(path, content, limits, &self.options.decryption) {
            Some(Ok(decrypted)) => {
                self.secrets.extend(decrypted.secrets);
                decrypted.content
            }
            Some(Err(problems)) => {
                self.assembly.problems.extend(problems);
                Vec::new()
            }
            None => {
                let (documents, problems) = read_documents(path, content, limits);
                self.assembly.problems.extend(problems);
                documents
            }
        }
    }

    /// What is known of a file, if it would come to the same again.
    fn known_before(&mut self, file: &Selected, id: &[u8]) -> Option<Arc<KnownFile>> {
        let DirectoryOptions { default_namespace, touches, .. } = self.options;
        let same = self.before.default_namespace == *default_namespace && self.before.touches == *touches;
        if !same || self.before.decryption != self.known.decryption {
            return None;
        }
        let known = self.before.files.get(&file.path).filter(|known| known.content == id)?;
        let known = known.clone();
        for (scope, manifest) in &known.manifests {
            // Thousands are of one type.
            let found = match &self.last_scope {
                Some((gvk, found)) if *gvk == manifest.gvk => *found,
                _ => {
                    let found = self.scopes.scope(&manifest.gvk.group_kind());
                    self.last_scope.insert((manifest.gvk.clone(), found)).1
                }
            };
            if found != Some(*scope) {
                return None;
            }
        }
        Some(known)
    }

    /// Has what waits patched, and puts it where the rest is.
    fn patch(&mut self) -> Option<()> {
        let Touches { patches, .. } = &self.options.touches;
        if !self.assembly.problems.is_empty() {
            // Half of the objects are for no patch.
            return Some(());
        }
        let mut objects = std::mem::take(&mut self.waiting);
        match touches::patch(&mut objects, patches, self.programs, &self.options.limits.yaml) {
            Ok(()) => objects.into_iter().for_each(|object| self.assembly.place(object)),
            Err(problems) => {
                self.assembly.problems.extend(problems);
                return None;
            }
        }
        Some(())
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
        self.assembly.problems.push(Problem::in_file(&self.options.path, message));
        None
    }
}

/// The path of an application is no directory.
pub(super) fn no_directory(path: &str, is_file: bool) -> Problem {
    let message = if is_file { "is a file, not a directory" } else { "does not exist" };
    Problem::in_file(path, message).hint("give source.path a directory of the repository")
}
