//! SyncRequest and RollbackRequest: what a person asks for is an object.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Include, PlanView, RequestPhase};
use crate::manifest::{BundleDigest, PlanDigest};

/// An Application of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApplicationRef {
    /// Its name.
    #[schemars(length(min = 1, max = 52))]
    pub name: String,
}

/// Asks for a sync.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "bowline.dev",
    version = "v1alpha1",
    kind = "SyncRequest",
    namespaced,
    shortname = "bsync",
    category = "bowline",
    status = "RequestStatus",
    derive = "PartialEq",
    doc = "A person asks for a sync. It expires, and is carried out at most once.",
    printcolumn(name = "Application", type_ = "string", json_path = ".spec.applicationRef.name"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.requestedBy"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a request never changes: make a new one"))]
pub struct SyncRequestSpec {
    /// The Application.
    pub application_ref: ApplicationRef,
    /// A branch, tag or commit to sync to, until the head changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub revision: Option<String>,
    /// Lets this rejected content in again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<BundleDigest>,
    /// Lets the guards pass for exactly this plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_prune: Option<PlanDigest>,
    /// Only makes the plan and leaves it, masked, in the status.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// For a dry run: plans the content of this release instead of the head's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_release: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Who asks; stamped or checked by the API server's admission policies.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub requested_by: String,
}

/// Asks for a rollback.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "bowline.dev",
    version = "v1alpha1",
    kind = "RollbackRequest",
    namespaced,
    shortname = "brb",
    category = "bowline",
    status = "RequestStatus",
    derive = "PartialEq",
    doc = "A person asks for a rollback. It expires, and is carried out at most once.",
    printcolumn(name = "Application", type_ = "string", json_path = ".spec.applicationRef.name"),
    printcolumn(name = "To", type_ = "integer", json_path = ".spec.toRelease"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.requestedBy"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a request never changes: make a new one"))]
pub struct RollbackRequestSpec {
    /// The Application.
    pub application_ref: ApplicationRef,
    /// The release that is current for the person who asks; the request is refused when it no longer is.
    pub from_release: u64,
    /// The release whose content is wanted; the last healthy one if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_release: Option<u64>,
    /// The plan that the person saw; the request is refused when the plan has become another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_digest: Option<PlanDigest>,
    /// Only makes the plan and leaves it, masked, in the status.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What else to take back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub include: Vec<Include>,
    /// Whether objects that the target does not have are deleted; the application's setting if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Who asks; stamped or checked by the API server's admission policies.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub requested_by: String,
}

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestStatus {
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<RequestPhase>,
    /// Why, for a person.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The release that it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// The plan of a dry run, masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanView>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ended_at: Option<Timestamp>,
}
