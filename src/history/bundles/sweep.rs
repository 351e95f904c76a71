//! Which chunks nobody needs any more.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::api::{BundleSpec, ChunkRef, ChunkStore};

/// How old an unused chunk must be before it is swept: a bundle that is being
/// stored has written its chunks and not yet its index.
pub const UNUSED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// A chunk as it is in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredChunk {
    /// What kind of object holds it.
    pub store: ChunkStore,
    /// The name of that object.
    pub name: String,
    /// Its uid, so that only this one is deleted.
    pub uid: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// How many bytes of content it says that it has; zero where it does not say.
    pub bytes: u64,
}

/// The chunks to delete: those that no kept bundle names and that are older
/// than an hour. Nothing may store a bundle of the same application meanwhile,
/// since that would count on chunks that it finds there.
pub fn sweep(kept: &[BundleSpec], existing: Vec<StoredChunk>, now: Timestamp) -> Vec<StoredChunk> {
    let named: BTreeSet<(ChunkStore, &str)> =
        kept.iter().flat_map(|bundle| bundle.chunks.iter().chain(&bundle.origins)).map(ChunkRef::cmp_key).collect();
    existing
        .into_iter()
        .filter(|chunk| !named.contains(&(chunk.store, chunk.name.as_str())))
        .filter(|chunk| now.duration_since(chunk.created_at) > UNUSED_FOR)
        .collect()
}
