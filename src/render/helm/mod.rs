//! A Helm chart, rendered by the real program in a private copy.
//!
//! ```text
//! repository ──chart──> workspace ──helm template──> YAML ──output──> objects
//! ```
//!
//! The program speaks to no cluster: what the chart may know of it is handed in
//! as [`Capabilities`], and a template that asks it by `lookup` is refused. It
//! loads nothing: dependencies are in the chart, elsewhere in the repository, or
//! fetched before it is started ([`Programs::fetch_chart`]).

mod archive;
mod chart;
mod complaint;
mod lookup;
mod options;
mod output;
mod reference;
mod repository;
mod schema;

use std::ffi::{OsStr, OsString};

pub use options::{Capabilities, HelmOptions, ValueSource};
pub use reference::ChartReference;
pub use repository::RepositoryAccess;

use archive::Room;
use chart::Chart;

use super::{
    DirectoryOptions, RenderType,
    flatten::Object,
    prepared::{Elsewhere, Unprepared},
    programs::Programs,
    reading::Reading,
};
use crate::manifest::Problem;

/// A chart with all that it needs, ready to be rendered.
pub(super) struct HelmChart {
    chart: Chart,
    options: HelmOptions,
}

impl HelmChart {
    /// Copies the chart of a directory and its values.
    pub(super) fn prepare(
        reading: &mut Reading<'_>,
        directory: &str,
        options: &HelmOptions,
        common: &DirectoryOptions,
        elsewhere: &mut dyn Elsewhere,
    ) -> Result<Self, Unprepared> {
        let room = Room { bytes: common.limits.bytes, files: common.limits.files };
        let chart = Chart::prepare(reading, directory, options, common, elsewhere, room)?;
        Ok(Self { chart, options: options.clone() })
    }

    /// What no message may hold.
    pub(super) fn secrets(&self) -> &[String] {
        &self.chart.secrets
    }

    /// Whether it may render differently each time.
    pub(super) fn uses_chance(&self) -> bool {
        self.chart.uses_chance
    }

    /// What the result depends on beside the files that were read.
    pub(super) fn inputs(&self) -> serde_json::Value {
        let HelmOptions { release_name, value_files, value_sources, values, skip_crds, capabilities, .. } =
            &self.options;
        let sources: Vec<String> =
            value_sources.iter().map(|source| crate::manifest::Digest::of(&source.content).to_string()).collect();
        let mut inputs = serde_json::json!({
            "releaseName": release_name, "valueFiles": value_files, "valueSources": sources,
            "values": values, "skipCRDs": skip_crds,
        });
        if let Some(chart) = &self.options.chart {
            inputs["chart"] = serde_json::json!(chart.to_string());
        }
        if !self.chart.fetched.is_empty() {
            inputs["charts"] = serde_json::json!(self.chart.fetched);
        }
        // A chart that does not ask is the same on another cluster, and a kind
        // that it does not mention makes it no other.
        if self.chart.asks_version {
            inputs["kubeVersion"] = serde_json::json!(capabilities.kube_version);
        }
        if !self.chart.mentions.is_empty() {
            inputs["apiVersions"] = serde_json::json!(self.chart.mentions);
        }
        inputs
    }

    /// Renders it.
    pub(super) fn template(&self, programs: &Programs, common: &DirectoryOptions) -> Result<Vec<Object>, Vec<Problem>> {
        let arguments = self.arguments(common.default_namespace.as_deref());
        let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
        let finished = programs
            .run(RenderType::Helm, &arguments, &self.chart.workspace, &self.chart.file())
            .map_err(|problem| vec![problem])?;
        if !finished.succeeded {
            return Err(vec![complaint::read(&self.chart, &finished.complaints)]);
        }
        output::read(&self.chart, &finished.output, &common.limits)
    }

    fn arguments(&self, namespace: Option<&str>) -> Vec<OsString> {
        let directory = if self.chart.directory.is_empty() { "." } else { self.chart.directory.as_str() };
        // A directory whose name begins with a dash is no flag.
        let chart = format!("./{directory}");
        let mut arguments: Vec<OsString> =
            vec!["template".into(), self.options.release_name.clone().into(), chart.into()];
        if let Some(namespace) = namespace {
            arguments.push(format!("--namespace={namespace}").into());
        }
        if !self.options.skip_crds {
            arguments.push("--include-crds".into());
        }
        for (_, path) in &self.chart.values {
            let mut argument = OsString::from("--values=");
            argument.push(path);
            arguments.push(argument);
        }
        let Capabilities { kube_version, api_versions } = &self.options.capabilities;
        if let Some(version) = kube_version {
            arguments.push(format!("--kube-version={version}").into());
        }
        arguments.extend(api_versions.iter().map(|version| format!("--api-versions={version}").into()));
        arguments
    }
}
