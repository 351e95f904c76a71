//! Who is told of what happens to an Application, and who is asked about it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// Who is told when a release failed, was rolled back or degraded, when content is held, and when an object is contested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notify {
    /// URL that each event is posted to, signed; never with credentials in it. The operator may bound the hosts.
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[^ ]+$')").message("must be an http or https URL"),
        validation = Rule::new("!self.matches('^[a-z]+://[^/]*@')").message("must not hold credentials: the receiver knows the sender by the signature")
    )]
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Secret of the same namespace whose `key` signs what is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<NotifySecret>,
}

/// Asks a Prometheus-compatible server about a release while it is watched. A server that cannot be asked is told, and no reason to go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
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
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[^ ]+$')").message("must be an http or https URL"),
        validation = Rule::new("!self.matches('^[a-z]+://[^/]*@')").message("must not hold credentials")
    )]
    #[schemars(length(min = 1, max = 2048))]
    pub url: Option<String>,
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
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
