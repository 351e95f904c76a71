//! A repository of files, and how it is rendered.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use bowline::{
    controller::bases::{BasePolicy, may_load},
    render::{
        Base, BaseReference, BuiltIn, Capabilities, ChartReference, DirectoryOptions, Elsewhere, HelmOptions, Limits,
        NoBase, Prepared, Programs, Render, RenderFailure, RenderType, Unprepared, detect, prepare,
    },
    source::{files::Files, working::WorkingFiles},
};

/// The pinned programs.
pub fn program(name: &str) -> PathBuf {
    rig::tools::path(name).unwrap()
}

pub fn programs() -> &'static Arc<Programs> {
    static PROGRAMS: OnceLock<Arc<Programs>> = OnceLock::new();
    PROGRAMS.get_or_init(|| Arc::new(Programs::find(Some(&program("helm")), Some(&program("kustomize")))))
}

/// Files in a directory of their own.
pub struct Repository(tempfile::TempDir);

impl Repository {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let repository = Self(root);
        files.iter().for_each(|(path, content)| repository.put(path, content.as_bytes()));
        repository
    }

    pub fn put(&self, path: &str, content: &[u8]) {
        let file = self.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn files(&self) -> WorkingFiles {
        WorkingFiles::new(self.path())
    }

    pub fn prepare(&self, path: &str, helm: &HelmOptions) -> Result<Prepared, RenderFailure> {
        let kind = detect(&self.files(), if path == "." { "" } else { path }).unwrap();
        assert_ne!(kind, RenderType::Directory, "there is nothing for a program to render at {path}");
        prepared(&self.files(), kind, &options(path), helm)
    }

    pub fn render(&self, path: &str, helm: &HelmOptions) -> Result<Render, RenderFailure> {
        self.prepare(path, helm)?.render(programs(), &options(path), &BuiltIn)
    }

    /// All that is wrong, with hints, as people read it.
    pub fn problems(&self, path: &str, helm: &HelmOptions) -> String {
        match self.render(path, helm) {
            Ok(render) => panic!("it renders to {} objects", render.manifests.len()),
            Err(failure) => words(&failure),
        }
    }
}

/// What takes nothing from elsewhere, since nobody allows it.
struct Nowhere;

impl Elsewhere for Nowhere {
    fn chart(&mut self, chart: &ChartReference) -> Result<Arc<[u8]>, String> {
        panic!("{chart} is of elsewhere")
    }

    fn base(&mut self, base: &BaseReference) -> Result<Base, NoBase> {
        may_load(base, &BasePolicy::default())?;
        panic!("{base} is of elsewhere")
    }
}

/// Prepares what takes nothing from elsewhere.
pub fn prepared(
    files: &dyn Files,
    kind: RenderType,
    options: &DirectoryOptions,
    helm: &HelmOptions,
) -> Result<Prepared, RenderFailure> {
    prepare(files, kind, options, helm, &mut Nowhere).map_err(|error| match error {
        Unprepared::Failed(failure) => failure,
        Unprepared::Unavailable(message) => panic!("{message}"),
    })
}

pub fn options(path: &str) -> DirectoryOptions {
    DirectoryOptions {
        path: path.to_owned(),
        default_namespace: Some("shop".to_owned()),
        limits: Limits::default(),
        ..DirectoryOptions::default()
    }
}

pub fn words(failure: &RenderFailure) -> String {
    let line = |problem: &bowline::manifest::Problem| match &problem.hint {
        Some(hint) => format!("{problem}\n  hint: {hint}"),
        None => problem.to_string(),
    };
    failure.problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A case of `tests/fixtures/programs`: what it shows, directives, files.
pub struct Case {
    pub name: String,
    pub path: String,
    pub helm: HelmOptions,
    pub repository: Repository,
}

impl Case {
    /// All cases, by name.
    pub fn all() -> Vec<Case> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/programs");
        let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| Self::read(file)).collect()
    }

    fn read(file: &Path) -> Case {
        let text = fs::read_to_string(file).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut case = Case {
            name,
            path: ".".to_owned(),
            helm: HelmOptions { release_name: "demo".to_owned(), ..HelmOptions::default() },
            repository: Repository::new(&[]),
        };
        let (head, files) = text.split_once("\n-- ").unwrap();
        for line in head.lines().skip(1) {
            case.directive(line);
        }
        for part in files.split("\n-- ") {
            let (path, content) = part.split_once(" --\n").unwrap();
            // The line break before the next file is the end of this one's.
            case.repository.put(path, format!("{}\n", content.trim_end_matches('\n')).as_bytes());
        }
        case
    }

    fn directive(&mut self, line: &str) {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{}: {line:?}", self.name));
        let words = || value.split_whitespace().map(str::to_owned).collect();
        match name {
            "path" => self.path = value.to_owned(),
            "values" => self.helm.value_files = words(),
            "inline" => self.helm.values = Some(serde_json::from_str(value).unwrap()),
            "kube-version" => self.helm.capabilities.kube_version = Some(value.to_owned()),
            "apis" => {
                let Capabilities { api_versions, .. } = &mut self.helm.capabilities;
                *api_versions = words();
            }
            _ => panic!("{}: no directive {name:?}", self.name),
        }
    }
}
