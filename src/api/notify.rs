//! Who is told of what happens to an Application, and who is asked about it.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Duration;

/// Who is told when a release failed, was rolled back or degraded, when content is held, and when an object is contested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notify {
    /// URL that each event is posted to, signed; never with credentials in it. The operator may bound the hosts.
    #[schemars(schema_with = "server_url")]
    pub url: String,
    /// Secret of the same namespace whose `key` signs what is sent. It may hold as well what the receiver is shown, `bearerToken` or `username` and `password`, and the authorities that are trusted, `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<NotifySecret>,
}

/// Asks a Prometheus-compatible server about a release while it is watched. A server that cannot be asked is told, and no reason to go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.secretRef) || has(self.url)").message("secretRef is for the server of url: the operator's server is shown what the operator has for it"))]
pub struct Analysis {
    /// The query, in PromQL: an instant vector or a scalar.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// What holds while all is well, in CEL. `result` is the list of what the query gives, each with `labels` and `value`: `result.all(series, series.value < 0.05)`.
    #[schemars(length(min = 1, max = 4096))]
    pub condition: String,
    /// How often it is asked.
    #[serde(default = "half_a_minute")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("must be 1s or more"))]
    pub interval: Duration,
    /// How often in a row the condition may fail before the release goes back.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_limit: u32,
    /// URL of the server; the operator's if it is not given. The operator may bound the hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "server_url")]
    pub url: Option<String>,
    /// Secret of the same namespace with what that server is shown, `bearerToken` or `username` and `password`, and the authorities that are trusted, `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<AnalysisSecret>,
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

fn three() -> u32 {
    3
}

/// A Secret of the application's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotifySecret {
    /// Name of the Secret; its entry `key` holds at least 16 bytes, or `whsec_` and base64.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A Secret of the application's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnalysisSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A URL of a server outside, as the CustomResourceDefinition checks it.
fn server_url(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 2048,
        "x-kubernetes-validations": [
            { "rule": "self.matches('^https?://[^ ]+$')", "message": "must be an http or https URL" },
            {
                "rule": "!self.matches('^[a-z]+://[^/]*@')",
                "message": "must not hold credentials: put them into a Secret and name it in secretRef",
            },
        ],
    })
}
