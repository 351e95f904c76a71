//! Release: one attempt to bring a bundle to the cluster, with its outcome.

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cause, Duration, Phase, RollbackVerdict};
use crate::{
    health::HealthStatus,
    manifest::{BundleDigest, InputDigest, ObjectId, PlanDigest, ReleaseDigest},
};

/// The intent of a release; it never changes.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "bowline.dev",
    version = "v1alpha1",
    kind = "Release",
    namespaced,
    selectable = ".spec.application",
    shortname = "brel",
    category = "bowline",
    status = "ReleaseStatus",
    derive = "PartialEq",
    doc = "One attempt to bring a bundle to the cluster, numbered, with its outcome.",
    validation = Rule::new("self.metadata.name == '%s-%d'.format([self.spec.application, self.spec.number])").message("the name of a Release is its application and number"),
    validation = Rule::new("!(has(oldSelf.status) && has(oldSelf.status.outcome)) || (has(self.status) && has(self.status.outcome) && self.status.outcome == oldSelf.status.outcome)").message("the outcome of a Release is written once"),
    printcolumn(name = "Commit", type_ = "string", json_path = ".spec.commit.short"),
    printcolumn(name = "Subject", type_ = "string", json_path = ".spec.commit.subject"),
    printcolumn(name = "Cause", type_ = "string", json_path = ".spec.cause"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Age", type_ = "date", json_path = ".spec.createdAt")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("the spec of a Release never changes"))]
pub struct ReleaseSpec {
    /// Name of the Application.
    #[schemars(length(min = 1, max = 52))]
    pub application: String,
    /// Number, from 1, without gaps.
    #[schemars(range(min = 1, max = 999_999_999))]
    pub number: u64,
    /// Why it was made.
    pub cause: Cause,
    /// The commit whose content it carries.
    pub commit: CommitRecord,
    /// The content.
    pub bundle: BundleDigest,
    /// Everything that the render read.
    pub inputs: InputDigest,
    /// The program that rendered it, with its version: `Helm v4.3.1`; none where none was needed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub renderer: String,
    /// How many objects it has and changes.
    pub counts: ReleaseCounts,
    /// The plan that it carries out, as it was when the release was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanDigest>,
    /// For a rollback, the release whose content it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_to: Option<u64>,
    /// The releases whose content it rejects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub rejects: Vec<Rejection>,
    /// Whether a person accepted content that had been rejected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepts: bool,
    /// What a rollback was told to include.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub include: Vec<super::Include>,
    /// For a rollback, whether objects that its target does not have are
    /// deleted, if the person said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// uid of the Application that it was made for: another one of the same
    /// name does not go on with it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub application_uid: String,
    /// Who asked for it, if a person did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub requested_by: String,
    /// Whether the name of who asked was checked by the API server.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verified: bool,
    /// Why, in that person's words, or what went wrong before an automatic rollback.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub reason: String,
    /// uid of the request, so that it is carried out at most once.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub request: String,
    /// Digest of the release before with its outcome; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ReleaseDigest>,
    /// Generation of the Application that it was made for.
    #[serde(default)]
    pub generation: i64,
    /// When it was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: Timestamp,
}

/// Content that a release rejects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// The release that carried the content.
    pub release: u64,
    /// Its bundle.
    pub bundle: BundleDigest,
    /// What it was rendered from.
    pub inputs: InputDigest,
}

/// A commit as it is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommitRecord {
    /// The whole id.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// The first digits, for people.
    #[schemars(length(max = 12))]
    pub short: String,
    /// First line of the message, at most 200 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 200))]
    pub subject: String,
    /// Author's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 200))]
    pub author: String,
    /// Author's address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 320))]
    pub email: String,
    /// When it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub committed_at: Option<Timestamp>,
    /// Who signed it, where `source.verify` asks for that: `SSH SHA256:… (ann@example.com)`, after the tag's name if the tag was signed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub signer: String,
}

/// How many objects a release has and changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleaseCounts {
    /// Objects of the bundle.
    pub objects: u32,
    /// Objects that differ from the release before, by digest.
    pub changed: u32,
    /// Objects that it no longer has.
    pub removed: u32,
}

/// How a release went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleaseStatus {
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// When all of its objects had been written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub applied_at: Option<Timestamp>,
    /// The hooks that were run and ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub hooks: Vec<HookResult>,
    /// How it ended; written once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ReleaseOutcome>,
    /// What happened to it after its end; no part of the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<ReleaseAfter>,
}

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookResult {
    /// When it was run: PreSync, PostSync, Test or SyncFailed.
    #[schemars(length(max = 16))]
    pub phase: String,
    /// Its object.
    #[schemars(with = "super::inventory::InventoryId")]
    pub object: ObjectId,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// Why it failed, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When it was seen to have ended.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub ended_at: Timestamp,
}

/// How a release ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseOutcome {
    /// Healthy, Failed or Superseded.
    pub phase: Phase,
    /// Why, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub message: String,
    /// The objects that failed, the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub failures: Vec<ObjectFailure>,
    /// How many objects were created, updated or deleted.
    #[serde(default)]
    pub written: u32,
    /// Whether anything was written to the cluster.
    #[serde(default)]
    pub touched_cluster: bool,
    /// Whether a failed release is taken back.
    #[serde(default = "no_rollback")]
    pub rollback: RollbackVerdict,
    /// How long its parts took.
    #[serde(default, skip_serializing_if = "ReleaseDurations::is_empty")]
    pub durations: ReleaseDurations,
    /// When it ended.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub ended_at: Timestamp,
}

/// How long the parts of a release took. What did not happen is left out, as is
/// what happened before the controller was started anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleaseDurations {
    /// Fetching the commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch: Option<Duration>,
    /// Rendering it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub render: Option<Duration>,
    /// Planning, with the dry-runs, all tries together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Duration>,
    /// Writing, all stages and tries together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apply: Option<Duration>,
    /// From when all was written until it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Duration>,
}

impl ReleaseDurations {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An object that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectFailure {
    /// Kind, namespace and name, for people.
    pub object: String,
    /// Its health, if that is what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
    /// Why.
    pub message: String,
}

/// What happened to a release after its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleaseAfter {
    /// When it degraded after having been healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub degraded_at: Option<Timestamp>,
    /// What degraded, and why it is taken back or not, for a person.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub degraded: String,
    /// Whether that is what the analysis said, and not the health of objects.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_analysis: bool,
    /// Whether the release is taken back because it degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackVerdict>,
    /// How many objects were repaired.
    #[serde(skip_serializing_if = "is_zero")]
    pub repairs: u32,
    /// The last repair, for a person.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_repair: String,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_repair_at: Option<Timestamp>,
    /// The release that took it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back_by: Option<u64>,
    /// The notifications about it that were delivered, by their ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 64)))]
    pub told: Vec<String>,
}

fn no_rollback() -> RollbackVerdict {
    RollbackVerdict::None
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
