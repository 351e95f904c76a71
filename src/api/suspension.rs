//! Suspension: stops applying while it exists.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::ApplicationRef;

/// Stops new releases and repairs of an application while it exists.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "bowline.dev",
    version = "v1alpha1",
    kind = "Suspension",
    namespaced,
    shortname = "bsusp",
    category = "bowline",
    derive = "PartialEq",
    doc = "Stops new releases and repairs of an application while it exists.",
    printcolumn(name = "Application", type_ = "string", json_path = ".spec.applicationRef.name"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.requestedBy"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.until"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a Suspension never changes: delete it and make a new one"))]
pub struct SuspensionSpec {
    /// The Application.
    pub application_ref: ApplicationRef,
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// When it ends by itself; until it is deleted if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub until: Option<Timestamp>,
    /// Who asks; stamped or checked by the API server's admission policies.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub requested_by: String,
}
