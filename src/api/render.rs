//! How files become manifests.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{RenderKind, ValuesKind};

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
    /// How files that SOPS encrypted are decrypted; without it they are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decryption: Option<DecryptionSpec>,
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
    #[schemars(length(min = 1, max = 253))]
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
    /// ConfigMaps and Secrets of the application's own namespace with values, read as its ServiceAccount whenever a commit is looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub values_from: Vec<ValuesReference>,
    /// Values.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_values")]
    pub values: Option<Map<String, Value>>,
    /// Leaves out what the chart has in `crds/`.
    #[serde(rename = "skipCRDs")]
    pub skip_crds: bool,
}

/// A ConfigMap or Secret with values of a chart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValuesReference {
    /// What it is.
    pub kind: ValuesKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
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
