//! How files become manifests.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Duration, RenderKind, ValuesKind};

/// How files become manifests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RenderSpec {
    /// Found out from the files if it is not given.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<RenderKind>,
    /// Globs of the files to read, relative to the path; all YAML and JSON files if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub include: Vec<String>,
    /// Globs of the files to leave out, relative to the path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub exclude: Vec<String>,
    /// How a Helm chart is rendered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helm: Option<HelmSpec>,
    /// How a kustomization is rendered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kustomize: Option<KustomizeSpec>,
    /// Patches for what is rendered, carried out by Kustomize in this order, before labels, annotations and images.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub patches: Vec<PatchSpec>,
    /// Labels for each object itself, neither for its pods nor for its selectors.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations for each object itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Other names, tags or digests for images of containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub images: Vec<ImageSpec>,
    /// How files that SOPS encrypted are decrypted; without it they are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decryption: Option<DecryptionSpec>,
}

/// Another name, tag or digest for an image. An image that no container has is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.newName) || has(self.newTag) || has(self.digest)").message("needs newName, newTag or digest"),
    validation = Rule::new("!has(self.newTag) || !has(self.digest)").message("newTag and digest exclude each other")
)]
pub struct ImageSpec {
    /// The image as the files name it, without tag and digest.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^@ ]+$"))]
    pub name: String,
    /// The name in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^@ ]+$"))]
    pub new_name: Option<String>,
    /// The tag in its place, which takes a digest away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))]
    pub new_tag: Option<String>,
    /// The digest in its place, which takes a tag away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[a-z0-9+._-]+:[A-Fa-f0-9]{32,}$"))]
    pub digest: Option<String>,
}

/// A patch. A patch for which there is no object is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PatchSpec {
    /// A strategic merge patch, or a list of JSON 6902 operations, as YAML or JSON.
    #[schemars(length(min = 1, max = 65536))]
    pub patch: String,
    /// The objects that it is for; needed for a list of operations. Without it a patch is for what it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<PatchTarget>,
}

/// Objects that a patch is for. Group, version, kind, name and namespace are regular expressions that match as a whole; what is not given matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PatchTarget {
    /// API group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub group: Option<String>,
    /// Version of the API group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub version: Option<String>,
    /// Kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub kind: Option<String>,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub name: Option<String>,
    /// Namespace, as the files have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub namespace: Option<String>,
    /// Labels, as `kubectl --selector` takes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub label_selector: Option<String>,
    /// Annotations, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub annotation_selector: Option<String>,
}

/// How files that SOPS encrypted are decrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecryptionSpec {
    /// Secret of the application's own namespace with age identities in entries whose names end with `.agekey`, or in `keys.txt`; read as its ServiceAccount whenever a commit is looked at.
    pub secret_ref: DecryptionSecret,
}

/// A Secret of the application's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecryptionSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// How a Helm chart is rendered. Of the same value the inline one counts, else
/// that of the last of `valuesFrom`, of the last of `valueFiles`, of the chart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HelmSpec {
    /// What templates have as `.Release.Name`; the application's name if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 53), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub release_name: Option<String>,
    /// Value files of the repository, relative to `source.path`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    pub value_files: Vec<String>,
    /// ConfigMaps and Secrets of the application's own namespace with values, read as its ServiceAccount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub values_from: Vec<ValuesReference>,
    /// Values.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_values")]
    pub values: Option<Map<String, Value>>,
    /// A chart of a chart repository or registry, rendered in place of one of the Git repository; value files are of the Git repository still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<ChartSpec>,
    /// Chart repositories and registries that dependencies may be fetched from, and how they and that of `chart` are spoken to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub repositories: Vec<RepositorySpec>,
    /// How often what is not in Git is looked at: `valuesFrom`, and charts whose version is a range. 10m if it is not given; 1s is the least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Leaves out what the chart has in `crds/`.
    #[serde(rename = "skipCRDs")]
    pub skip_crds: bool,
}

/// How a kustomization is rendered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KustomizeSpec {
    /// How often bases of other repositories are looked at that are named by a branch, a tag or a range of versions. 10m if it is not given; 1s is the least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

/// A chart of a chart repository or registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChartSpec {
    /// URL of the repository (`https`, `http`), or of what is above the chart in a registry (`oci`).
    #[x_kube(
        validation = Rule::new("self.matches('^(https?|oci)://[^ @]+$')").message("must be an https, http or oci URL without credentials")
    )]
    #[schemars(length(min = 1, max = 2048))]
    pub repository: String,
    /// Name of the chart.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub name: String,
    /// Version, or a range of versions, the newest of which is looked for each `interval`.
    #[schemars(length(min = 1, max = 253))]
    pub version: String,
}

/// How a chart repository or registry is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositorySpec {
    /// URL; it is for those below it too, and the longest that fits counts.
    #[x_kube(
        validation = Rule::new("self.matches('^(https?|oci)://[^ @]+$')").message("must be an https, http or oci URL without credentials")
    )]
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Secret of the same namespace with `username` and `password`, `ca.crt`, or all of them; read as the application's ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<RepositorySecret>,
    /// Speaks to a registry by HTTP without TLS.
    #[serde(default, rename = "plainHTTP")]
    pub plain_http: bool,
}

/// A Secret of the application's own namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepositorySecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A ConfigMap or Secret with values of a chart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValuesReference {
    /// What it is.
    pub kind: ValuesKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key of its data that holds YAML.
    #[serde(default = "values_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
}

/// Values are what a chart makes of them.
fn any_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true})
}

fn values_key() -> String {
    "values.yaml".into()
}
