//! Who is told of what happens to an Application.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// A Secret of the application's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotifySecret {
    /// Name of the Secret; its entry `key` holds at least 16 bytes, or `whsec_` and base64.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
