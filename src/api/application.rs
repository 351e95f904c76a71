//! Application: a path in a Git repository at a revision, and the place it is
//! deployed to.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Analysis, ConflictPolicy, DeletionPolicy, DriftPolicy, Duration, Notify, Preflight, RenderSpec, SyncMode,
    SyncStatus, VerifyMode,
};
use crate::health::checks::Check;
use crate::manifest::{BundleDigest, InputDigest, ReleaseDigest};

/// What to deploy, from where, to where, and how.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "bowline.dev",
    version = "v1alpha1",
    kind = "Application",
    namespaced,
    shortname = "bapp",
    category = "bowline",
    status = "ApplicationStatus",
    derive = "PartialEq",
    doc = "A path in a Git repository at a revision, and the place it is deployed to.",
    validation = Rule::new("self.metadata.name.size() <= 52").message("the name of an Application has at most 52 characters, so that the names of its releases fit"),
    validation = Rule::new("!has(self.spec.dependsOn) || !(self.metadata.name in self.spec.dependsOn)").message("an Application does not depend on itself"),
    validation = Rule::new("!self.metadata.name.contains('.')").message("the name of an Application has no dots"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.head.short"),
    printcolumn(name = "Release", type_ = "integer", json_path = ".status.release.number"),
    printcolumn(name = "Sync", type_ = "string", json_path = ".status.sync"),
    printcolumn(name = "Health", type_ = "string", json_path = ".status.health"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Note", type_ = "string", json_path = ".status.note", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationSpec {
    /// Where the configuration comes from.
    pub source: Source,
    /// How files become manifests.
    #[serde(default)]
    pub render: RenderSpec,
    /// Where it is deployed to, and as whom.
    #[serde(default)]
    pub destination: Destination,
    /// How changes are applied.
    #[serde(default)]
    pub sync: Sync,
    /// What is remembered and when it is taken back.
    #[serde(default)]
    pub rollback: Rollback,
    /// Who is told of what needs a person; the operator's default if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// Applications of the same namespace that new content waits for: it is applied by itself only while each is Synced and Healthy at its own head. Repairs, rollbacks and requests do not wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 52), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub depends_on: Vec<String>,
    /// How the health of its objects is judged beside the built-in rules.
    #[serde(default, skip_serializing_if = "HealthSpec::is_empty")]
    pub health: HealthSpec,
    /// Stops new releases and repairs while true; meant for Git. People use a Suspension.
    #[serde(default)]
    pub suspend: bool,
    /// What happens to the objects when the Application is deleted.
    #[serde(default = "orphan")]
    pub deletion_policy: DeletionPolicy,
}

/// Where the configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// URL of the Git repository: `https`, `http`, `ssh` (`ssh://git@host/path`, or `git@host:path`), or `file` where the operator allows it. Never with credentials in it.
    #[serde(rename = "repoURL")]
    #[x_kube(
        validation = Rule::new("self.matches('^(https?|ssh|file)://[^ ]+$') || self.matches('^[A-Za-z0-9._-]+@[A-Za-z0-9._-]+:[^ :][^ ]*$')").message("must be an https, http, ssh or file URL, or user@host:path"),
        validation = Rule::new("!self.matches('^(https?|file)://[^/]*@') && !self.matches('^ssh://[^/@]*:[^/]*@')").message("must not hold credentials: put them into a Secret and name it in source.secretRef")
    )]
    #[schemars(length(min = 1, max = 2048))]
    pub repo_url: String,
    /// Branch, tag or commit; the repository's default branch if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub revision: Option<String>,
    /// Directory within the repository.
    #[serde(default = "dot")]
    #[x_kube(
        validation = Rule::new("!self.startsWith('/') && !self.split('/').exists(part, part == '..')").message("must be relative to the root of the repository and stay within it")
    )]
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// Secret of the same namespace with `username` and `password`, or `bearerToken`, and optionally `ca.crt`; for SSH with `identity` (or `ssh-privatekey`), optionally its `passphrase`, and `known_hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SourceSecret>,
    /// Whose signatures the commit or the tag must have; none if it is not given. What is not signed so is not deployed, and what runs is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<SourceVerify>,
    /// Reads submodules in their place; not given, they are not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submodules: Option<SourceSubmodules>,
    /// How often the repository is asked for changes; some jitter is added.
    #[serde(default = "one_minute")]
    pub interval: Duration,
}

/// A Secret of the application's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// Whose signatures a commit or a tag must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceVerify {
    /// Which object must be signed.
    #[serde(default = "commit")]
    pub mode: VerifyMode,
    /// Secret of the same namespace whose values hold the keys that are trusted: armored OpenPGP public keys, or lines of SSH's allowed signers.
    pub secret_ref: SourceSecret,
}

/// Which submodules are read: those at, below or above `source.path`, and theirs. They come from the host of the repository itself, or from those that the operator allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceSubmodules {
    /// Further directories whose submodules are read, such as that of a base that `source.path` refers to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 1024)))]
    pub paths: Vec<String>,
}

/// Where an application is deployed to, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// Namespace for objects that name none; the application's own if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// Creates the namespace if it does not exist.
    pub create_namespace: bool,
    /// ServiceAccount of the application's own namespace that objects are applied as.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub service_account_name: String,
}

impl Default for Destination {
    fn default() -> Self {
        Self { namespace: None, create_namespace: false, service_account_name: "bowline-deployer".into() }
    }
}

/// How changes are applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sync {
    /// Whether new content is applied by itself, or waits for a SyncRequest.
    pub mode: SyncMode,
    /// Whether the server tries all changes before the first is written.
    pub preflight: Preflight,
    /// Whether objects that Git no longer has are deleted.
    pub prune: bool,
    /// What happens when a live object drifts.
    pub drift: DriftPolicy,
    /// What happens to fields that other programs have set otherwise. What people change by hand is drift and no conflict.
    pub conflicts: ConflictPolicy,
    /// Field managers that people act under: what they add to an object by updates is drift too, and goes. kubectl's own if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)))]
    pub hand_managers: Option<Vec<String>>,
    /// How long a release may take until it is healthy.
    pub timeout: Duration,
    /// Fields that are left alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub ignore: Vec<IgnoreRule>,
    /// Limits that protect against deletion by accident.
    pub guards: Guards,
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            mode: SyncMode::Automatic,
            preflight: Preflight::Always,
            prune: true,
            drift: DriftPolicy::Repair,
            conflicts: ConflictPolicy::Take,
            hand_managers: None,
            timeout: Duration::from_secs(300),
            ignore: Vec::new(),
            guards: Guards::default(),
        }
    }
}

/// Fields that Bowline neither sets after the first apply nor repairs. Empty
/// selectors match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("size(self.pointers) > 0 || size(self.managers) > 0").message("name at least one pointer or manager"))]
pub struct IgnoreRule {
    /// API group of the objects; the core group is the empty text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
    /// Kind of the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub kind: Option<String>,
    /// Namespace of the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// Name of the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// JSON pointers (RFC 6901) of the fields, for example `/spec/replicas`.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512), regex(pattern = r"^(/([^~/]|~0|~1)*)+$")))]
    pub pointers: Vec<String>,
    /// Field managers whose changes are left alone.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    pub managers: Vec<String>,
}

/// How the health of objects is judged beside the built-in rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthSpec {
    /// Checks in CEL, for kinds that the built-in rules judge wrongly or not at all. One that cannot be used is told in the condition ChecksAccepted, and the built-in rules judge instead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub checks: Vec<Check>,
}

impl HealthSpec {
    fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }
}

/// Limits that protect against deletion by accident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Guards {
    /// A plan that would delete more than this share of more than 10 objects is refused.
    #[schemars(range(min = 0, max = 100))]
    pub max_prune_percent: u32,
}

impl Default for Guards {
    fn default() -> Self {
        Self { max_prune_percent: 50 }
    }
}

/// What is remembered, and when it is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollback {
    /// Whether a release that breaks goes back to the last healthy one by itself.
    pub automatic: bool,
    /// How long a release is watched after it became healthy: one that degrades within that time, and stays so for `sync.timeout`, goes back like one that never became healthy. `0s` watches none.
    pub watch: Duration,
    /// A query that a release is judged by as well while it is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// How many releases are kept.
    #[schemars(range(min = 2, max = 100))]
    pub history_limit: u32,
    /// How old releases may become: older ones are deleted though there are no
    /// more than `historyLimit`. What a rollback or a hold needs stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_age: Option<Duration>,
}

impl Default for Rollback {
    fn default() -> Self {
        Self { automatic: true, watch: Duration::from_secs(600), analysis: None, history_limit: 10, history_age: None }
    }
}

/// How an application stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationStatus {
    /// The generation that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How the application stands to what Git says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<SyncStatus>,
    /// The worst health of its objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<crate::health::HealthStatus>,
    /// One line for a person: what is out of the ordinary.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What happens next and when, or what a person can do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next: String,
    /// What the revision resolves to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// The newest release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<CurrentRelease>,
    /// The newest release that ended Healthy and did not degrade later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_healthy_release: Option<u64>,
    /// Why rejected content stays out, while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldStatus>,
    /// A revision that a person asked for, until the head changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Counts of objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<ObjectCounts>,
    /// The first few objects that are not as they should be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub problems: Vec<ObjectProblem>,
    /// The digest of the newest release that ended: the end of the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<ReleaseDigest>,
    /// Standard conditions: Ready, Rendered, Held, DependenciesReady, ChecksAccepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The commit that what is rendered comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The revision that was asked for and the short commit, for people: `main 4f1c2d9`.
    pub short: String,
    /// The commit.
    pub commit: String,
    /// First line of the commit's message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The commit's author.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// When it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub committed_at: Option<Timestamp>,
    /// What it renders, if it could be rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleDigest>,
    /// What the render read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<InputDigest>,
}

/// The newest release, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentRelease {
    /// Its number.
    pub number: u64,
    /// Where it is.
    pub phase: super::Phase,
    /// The commit whose content it carries.
    pub commit: String,
    /// Its content.
    pub bundle: BundleDigest,
    /// How many objects of the plan have been written so far, while it is Applying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<u32>,
    /// How many objects the plan writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_apply: Option<u32>,
}

/// Why rejected content stays out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HoldStatus {
    /// The content that stays out.
    pub bundle: BundleDigest,
    /// Number of the release that carried it.
    pub rejected_release: u64,
    /// Number of the release that rejected it.
    pub rejected_by: u64,
    /// Who asked for that.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Why, in that person's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A revision that a person asked for by a SyncRequest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// The revision asked for.
    pub revision: String,
    /// The commit that it resolved to.
    pub commit: String,
    /// The head of that time: when the head differs, the pin ends.
    pub head_then: String,
    /// Who asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// Counts of objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectCounts {
    /// All objects of the current release.
    pub total: u32,
    /// Objects that are as they were applied.
    pub in_sync: u32,
    /// Objects that differ.
    pub drifted: u32,
    /// Objects whose health lets a release be Healthy.
    pub healthy: u32,
}

/// An object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectProblem {
    /// Kind, namespace and name, for people: `Deployment team-a/web`.
    pub object: String,
    /// Its health, if that is the problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<crate::health::HealthStatus>,
    /// What is wrong.
    pub message: String,
}

fn dot() -> String {
    ".".into()
}

fn commit() -> VerifyMode {
    VerifyMode::Commit
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

fn orphan() -> DeletionPolicy {
    DeletionPolicy::Orphan
}
