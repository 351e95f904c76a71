//! How a chart is rendered.

use serde_json::Value;

use super::ChartReference;

/// How a chart is rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelmOptions {
    /// The name of the release, which templates have as `.Release.Name`.
    pub release_name: String,
    /// Value files of the repository, relative to the chart's directory. Later
    /// ones outrank earlier ones, and all outrank the chart's own values.
    pub value_files: Vec<String>,
    /// Values that come from elsewhere, in their order; they outrank the files.
    pub value_sources: Vec<ValueSource>,
    /// Values given with the application; they outrank all others.
    pub values: Option<Value>,
    /// Whether the chart's `crds/` are left out.
    pub skip_crds: bool,
    /// What the cluster is, as templates see it.
    pub capabilities: Capabilities,
    /// A chart of a repository that is rendered in place of one of the files.
    pub chart: Option<ChartReference>,
    /// URLs of the repositories, or their beginnings, that dependencies may be
    /// fetched from.
    pub repositories: Vec<String>,
}

impl Default for HelmOptions {
    fn default() -> Self {
        Self {
            release_name: "release-name".to_owned(),
            value_files: Vec::new(),
            value_sources: Vec::new(),
            values: None,
            skip_crds: false,
            capabilities: Capabilities::default(),
            chart: None,
            repositories: Vec::new(),
        }
    }
}

/// Values that come from elsewhere than the repository.
#[derive(Clone, PartialEq, Eq)]
pub struct ValueSource {
    /// Where they come from, for people: `Secret web-values`.
    pub name: String,
    /// YAML.
    pub content: Vec<u8>,
    /// Whether its values are secret: what Helm complains of may hold them.
    pub secret: bool,
}

impl std::fmt::Debug for ValueSource {
    /// The content may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ValueSource({}, {} bytes)", self.name, self.content.len())
    }
}

/// What the cluster is, as templates see it in `.Capabilities`. Where nothing
/// is given, it is what Helm itself was built for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The version of Kubernetes: `v1.37.2`.
    pub kube_version: Option<String>,
    /// What is served: `apps/v1` and `apps/v1/Deployment`.
    pub api_versions: Vec<String>,
}
