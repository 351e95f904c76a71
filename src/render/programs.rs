//! The programs that render: where they are, and which versions.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::{
    RenderType,
    subprocess::{Finished, Network, ProgramLimits, RunError, run},
    workspace::Workspace,
};
use crate::manifest::Problem;

/// The programs that render, as they were found.
#[derive(Debug, Default)]
pub struct Programs {
    helm: Program,
    kustomize: Program,
    /// What each run may cost.
    pub limits: ProgramLimits,
}

#[derive(Debug, Default)]
struct Program {
    path: Option<PathBuf>,
    version: OnceLock<Option<String>>,
}

impl Program {
    fn find(name: &str, given: Option<&Path>) -> Self {
        let path = given.map(Path::to_owned).or_else(|| on_the_path(name));
        Self { path, version: OnceLock::new() }
    }
}

fn on_the_path(name: &str) -> Option<PathBuf> {
    let directories = env::var_os("PATH")?;
    env::split_paths(&directories).map(|directory| directory.join(name)).find(|path| path.is_file())
}

impl Programs {
    /// Takes the programs that are named; any other is looked for on the `PATH`.
    pub fn find(helm: Option<&Path>, kustomize: Option<&Path>) -> Self {
        Self {
            helm: Program::find("helm", helm),
            kustomize: Program::find("kustomize", kustomize),
            limits: ProgramLimits::default(),
        }
    }

    /// The program of a type of render and its version: `Helm v4.3.1`. None of
    /// a directory, which needs no program, and where it cannot be told.
    pub fn version(&self, kind: RenderType) -> Option<String> {
        let (program, arguments) = match kind {
            RenderType::Directory => return None,
            RenderType::Helm => (&self.helm, ["version", "--template={{.Version}}"].as_slice()),
            RenderType::Kustomize => (&self.kustomize, ["version"].as_slice()),
        };
        let ask = || {
            let workspace = Workspace::new().ok()?;
            let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
            let path = program.path.as_deref()?;
            let finished =
                run(path, &arguments, &workspace.tree(), &workspace.home(), &self.limits, Network::Closed).ok()?;
            let version = String::from_utf8(finished.output).ok().filter(|_| finished.succeeded)?;
            let word = version.split_whitespace().next()?;
            Some(word.chars().take(64).filter(|character| !character.is_control()).collect())
        };
        program.version.get_or_init(ask).as_ref().map(|version| format!("{kind} {version}"))
    }

    /// Runs the program of a type of render in the copy of a workspace.
    pub(super) fn run(
        &self,
        kind: RenderType,
        arguments: &[&OsStr],
        workspace: &Workspace,
        file: &str,
    ) -> Result<Finished, Problem> {
        self.start(kind, arguments, workspace, file, Network::Closed)
    }

    /// Runs Helm to fetch something.
    pub(super) fn fetch(&self, arguments: &[&OsStr], workspace: &Workspace, what: &str) -> Result<Finished, Problem> {
        self.start(RenderType::Helm, arguments, workspace, what, Network::Open)
    }

    fn start(
        &self,
        kind: RenderType,
        arguments: &[&OsStr],
        workspace: &Workspace,
        file: &str,
        network: Network,
    ) -> Result<Finished, Problem> {
        let (program, name) = match kind {
            RenderType::Kustomize => (&self.kustomize, "kustomize"),
            _ => (&self.helm, "helm"),
        };
        let Some(path) = &program.path else {
            let message = format!("is to be rendered by {name}, which was not found");
            return Err(Problem::in_file(file, message).hint(format!("install {name}, or name it with --{name}")));
        };
        run(path, arguments, &workspace.tree(), &workspace.home(), &self.limits, network).map_err(|error| {
            let problem = Problem::in_file(file, error.to_string());
            match error {
                RunError::NotStarted { .. } => problem.hint(format!("--{name} names another program")),
                RunError::TooSlow { .. } => problem.hint("look for a loop in what it renders"),
                RunError::TooMuchOutput { .. } => problem.hint("divide it into several applications"),
                RunError::TooMuchMemory { .. } => {
                    problem.hint("look for a loop in what it renders, or divide it into several applications")
                }
            }
        })
    }
}
