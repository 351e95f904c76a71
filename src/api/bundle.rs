//! Bundle and BundleChunk: the content of releases, kept in the cluster.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::manifest::{BundleDigest, Digest};

/// The index of a bundle: which chunks hold its manifests.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "bowline.dev",
    version = "v1alpha1",
    kind = "Bundle",
    namespaced,
    selectable = ".spec.application",
    category = "bowline",
    derive = "PartialEq",
    doc = "All manifests of one render, as an index of content-addressed chunks that releases share.",
    printcolumn(name = "Objects", type_ = "integer", json_path = ".spec.objects"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a Bundle never changes"))]
pub struct BundleSpec {
    /// Name of the Application.
    #[schemars(length(min = 1, max = 52))]
    pub application: String,
    /// Digest of all manifests.
    pub digest: BundleDigest,
    /// How many manifests there are.
    pub objects: u32,
    /// The chunks in their order.
    #[schemars(length(max = 8192))]
    pub chunks: Vec<ChunkRef>,
    /// The chunk that says in which file each manifest was read, as it was when the bundle was first made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origins: Option<ChunkRef>,
}

/// A chunk of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChunkRef {
    /// Name of the object that holds it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// What kind of object holds it.
    pub store: ChunkStore,
    /// Digest of the uncompressed content.
    #[schemars(with = "String", length(max = 80))]
    pub digest: Digest,
    /// Whether its content goes on where that of the chunk before ends: a manifest that is too large for one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
}

/// What kind of object holds a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ChunkStore {
    /// A BundleChunk.
    BundleChunk,
    /// An immutable Secret of type `bowline.dev/bundle`: manifests of Secrets.
    Secret,
}

/// Some manifests of one or more bundles, compressed.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "bowline.dev",
    version = "v1alpha1",
    kind = "BundleChunk",
    namespaced,
    selectable = ".spec.application",
    category = "bowline",
    derive = "PartialEq",
    doc = "Some manifests of one or more bundles: JSON in canonical form, compressed with zstd, in base64."
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a BundleChunk never changes"))]
pub struct BundleChunkSpec {
    /// Name of the Application.
    #[schemars(length(min = 1, max = 52))]
    pub application: String,
    /// JSON in canonical form, compressed with zstd, in base64.
    #[schemars(length(max = 1_400_000))]
    pub content: String,
}
