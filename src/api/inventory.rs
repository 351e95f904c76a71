//! Inventory: what an application has in the cluster, by identity and uid, in
//! hash buckets so that a small change rewrites one of them.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::manifest::{Fingerprint, GroupVersionKind, ManifestDigest, ObjectId};

/// One bucket of the inventory of an application.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "bowline.dev",
    version = "v1alpha1",
    kind = "Inventory",
    plural = "inventories",
    namespaced,
    selectable = ".spec.application",
    category = "bowline",
    derive = "PartialEq",
    doc = "One bucket of what an application has in the cluster, with the digests by which drift is found."
)]
#[serde(rename_all = "camelCase")]
pub struct InventorySpec {
    /// Name of the Application.
    #[schemars(length(min = 1, max = 52))]
    pub application: String,
    /// Grows whenever the number of buckets changes; the newest complete generation counts.
    #[serde(default)]
    pub generation: u32,
    /// Number of the bucket.
    pub bucket: u32,
    /// How many buckets there are.
    pub buckets: u32,
    /// The objects, sorted by identity.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub entries: Vec<InventoryEntry>,
}

/// One object that an application has in the cluster, or is about to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryEntry {
    /// Identity.
    #[schemars(with = "InventoryId")]
    pub id: ObjectId,
    /// API version by which it was applied last.
    pub api_version: String,
    /// uid of the live object; none while it is only intended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Digest of the manifest that was applied last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<ManifestDigest>,
    /// Hash of the owned fields after that apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// Whether it was seen complete: a Job that is done is not run again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
    /// Whether it is the object of a hook.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hook: bool,
}

impl InventoryEntry {
    /// The type by which it was applied last.
    pub fn gvk(&self) -> Option<GroupVersionKind> {
        GroupVersionKind::from_api_version(&self.api_version, &self.id.kind)
    }
}

/// The schema of an identity.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct InventoryId {
    #[serde(default)]
    group: String,
    kind: String,
    #[serde(default)]
    namespace: Option<String>,
    name: String,
}
