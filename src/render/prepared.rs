//! A chart or kustomization: all that it needs is gathered first, so that it is
//! known by the digest of its inputs before a program is started.

use std::{sync::Arc, time::Instant};

use tracing::debug;

use super::{
    ChartReference, DirectoryOptions, HelmOptions, Limits, Programs, Render, RenderFailure, RenderType, ScopeLookup,
    Touches,
    assemble::Assembly,
    directory::{finished, no_directory},
    flatten::Object,
    helm::HelmChart,
    kustomize::{Base, BaseReference, Kustomization, NoBase},
    path::normalise,
    reading::{Place, Probes, Reading},
    secrets, touches,
    unsteady::differences,
};
use crate::{
    manifest::{Digest, InputDigest, Problem, bundle_digest},
    source::files::Files,
};

/// Gives what a render takes from elsewhere than its own repository.
pub trait Elsewhere {
    /// A packed chart of a chart repository.
    ///
    /// # Errors
    /// In words: why it cannot be had.
    fn chart(&mut self, chart: &ChartReference) -> Result<Arc<[u8]>, String>;

    /// The repository of a remote base.
    ///
    /// # Errors
    /// It may not be loaded, or cannot be fetched now.
    fn base(&mut self, base: &BaseReference) -> Result<Base, NoBase>;
}

/// Why a render is not prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unprepared {
    /// All that is wrong with the files.
    Failed(RenderFailure),
    /// Nothing is wrong with them, but a chart or a base cannot be fetched now.
    Unavailable(String),
}

impl Unprepared {
    pub(super) fn of(problem: Problem) -> Self {
        Self::Failed(RenderFailure { problems: vec![problem] })
    }
}

impl From<RenderFailure> for Unprepared {
    fn from(failure: RenderFailure) -> Self {
        Self::Failed(failure)
    }
}

/// All that a render needs, gathered.
pub struct Prepared {
    kind: RenderType,
    source: Gathered,
    inputs: InputDigest,
    probes: Probes,
    files: usize,
}

enum Gathered {
    Chart(Box<HelmChart>),
    Kustomization(Kustomization),
}

/// Gathers what the chart or kustomization of a directory needs, also from
/// elsewhere.
///
/// # Errors
/// Everything that is missing, may not be read, or would be loaded from
/// elsewhere; else what cannot be fetched.
pub fn prepare(
    files: &dyn Files,
    kind: RenderType,
    common: &DirectoryOptions,
    helm: &HelmOptions,
    elsewhere: &mut dyn Elsewhere,
) -> Result<Prepared, Unprepared> {
    let one = Unprepared::of;
    let limits: &Limits = &common.limits;
    let mut reading = Reading::new(files, limits);
    let Some(path) = normalise(&common.path) else {
        let message = "is not a path within the repository: it may not begin with `/` or hold `..`";
        return Err(one(Problem::in_file(&common.path, message)));
    };
    let directory = if path == "." { String::new() } else { path.clone() };
    match reading.locate(&directory).map_err(one)? {
        Some(Place::Directory(real)) if real == directory => {}
        Some(Place::Directory(_)) => {
            let message = "is a symbolic link, which is not followed";
            return Err(one(Problem::in_file(&path, message).hint("give source.path the directory itself")));
        }
        Some(Place::File(_)) => return Err(one(no_directory(&path, true))),
        None => return Err(one(no_directory(&path, false))),
    }
    // Keys are none of it: with any that fit, the same files come to the same.
    let mut options = serde_json::json!({
        "type": kind.to_string(), "path": path, "defaultNamespace": common.default_namespace,
    });
    if let Some(touches) = common.touches.inputs() {
        options["touches"] = touches;
    }
    let source = match kind {
        RenderType::Kustomize => {
            Gathered::Kustomization(Kustomization::prepare(&mut reading, &directory, common, elsewhere)?)
        }
        _ => {
            let chart = HelmChart::prepare(&mut reading, &directory, helm, common, elsewhere)?;
            options["helm"] = chart.inputs();
            Gathered::Chart(Box::new(chart))
        }
    };
    let inputs = [options.to_string().into_bytes()].into_iter().chain(reading.inputs());
    let inputs = InputDigest(Digest::of_parts(inputs));
    Ok(Prepared { kind, source, inputs, probes: reading.probes().clone(), files: reading.count() })
}

impl Prepared {
    /// Digest of everything that the render reads, and of the options.
    pub fn inputs(&self) -> &InputDigest {
        &self.inputs
    }

    /// What was looked at: as long as nothing of it changes, a render comes to
    /// the same.
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// How it is rendered.
    pub fn kind(&self) -> RenderType {
        self.kind
    }

    /// Renders it. A chart that uses chance or the clock is rendered twice, and
    /// the fields that differ are named.
    ///
    /// # Errors
    /// What the program complains of, or all that is wrong with what it renders.
    pub fn render(
        &self,
        programs: &Programs,
        common: &DirectoryOptions,
        scopes: &dyn ScopeLookup,
    ) -> Result<Render, RenderFailure> {
        let twice = matches!(&self.source, Gathered::Chart(chart) if chart.uses_chance());
        let mut render = self.render_once(programs, common, scopes)?;
        if twice {
            let again = self.render_once(programs, common, scopes)?;
            render.unsteady = differences(&render.manifests, &again.manifests);
        }
        Ok(render)
    }

    fn render_once(
        &self,
        programs: &Programs,
        common: &DirectoryOptions,
        scopes: &dyn ScopeLookup,
    ) -> Result<Render, RenderFailure> {
        let began = Instant::now();
        let objects = self.objects(programs, common).map_err(|mut problems| {
            secrets::without_in(&mut self.secrets().to_vec(), &mut problems);
            RenderFailure { problems }
        })?;
        debug!(kind = %self.kind, path = common.path, took = ?began.elapsed(), "rendered: a program ran");
        if objects.len() > common.limits.objects {
            let message = format!("renders to more than the limit of {} objects", common.limits.objects);
            return Err(RenderFailure { problems: vec![Problem::in_file(&common.path, message)] });
        }
        let (mut objects, mut secrets) = (objects, self.secrets().to_vec());
        let patches = &common.touches.patches;
        if let Err(mut problems) = touches::patch(&mut objects, patches, programs, &common.limits.yaml) {
            secrets::without_in(&mut secrets, &mut problems);
            return Err(RenderFailure { problems });
        }
        let mut assembly = Assembly::new(scopes, common.default_namespace.as_deref(), common.lenient, &common.touches);
        for object in objects {
            assembly.place(object);
            assembly.newest.clear();
        }
        let manifests = assembly.finish();
        secrets::without_in(&mut secrets, &mut assembly.problems);
        secrets::without_in(&mut secrets, &mut assembly.warnings);
        // A template is no file that could be left out.
        for problem in assembly.problems.iter_mut().chain(&mut assembly.warnings) {
            problem.hint.take_if(|hint| hint.contains("render.exclude"));
        }
        let bundle = bundle_digest(&manifests);
        let render = Render {
            manifests,
            bundle,
            inputs: self.inputs.clone(),
            files: self.files,
            renderer: renderer(programs, self.kind, &common.touches),
            warnings: std::mem::take(&mut assembly.warnings),
            unsteady: Vec::new(),
            known: Default::default(),
        };
        finished(Some(render), assembly.problems)
    }

    /// What no message may hold.
    fn secrets(&self) -> &[String] {
        match &self.source {
            Gathered::Chart(chart) => chart.secrets(),
            Gathered::Kustomization(kustomization) => kustomization.secrets(),
        }
    }

    fn objects(&self, programs: &Programs, common: &DirectoryOptions) -> Result<Vec<Object>, Vec<Problem>> {
        match &self.source {
            Gathered::Chart(chart) => chart.template(programs, common),
            Gathered::Kustomization(kustomization) => kustomization.build(programs, common),
        }
    }
}

/// The programs that a render took, with their versions.
pub(super) fn renderer(programs: &Programs, kind: RenderType, touches: &Touches) -> String {
    let patched = !touches.patches.is_empty() && kind != RenderType::Kustomize;
    let kinds = [Some(kind).filter(|kind| *kind != RenderType::Directory), patched.then_some(RenderType::Kustomize)];
    let version = |kind: RenderType| programs.version(kind).unwrap_or_else(|| kind.to_string());
    kinds.into_iter().flatten().map(version).collect::<Vec<_>>().join(", ")
}
