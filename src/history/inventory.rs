//! The inventory of an application as it is laid out in the cluster: hash
//! buckets, so that a small change rewrites one of them.
//!
//! The number of buckets follows the number of objects. When it changes, all
//! buckets are written anew under the next *generation*, and only then is the
//! old generation deleted: whatever is left after a crash has one generation
//! that is complete, and the newest complete one is the inventory.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::{
    api::{InventoryEntry, InventorySpec},
    manifest::ObjectId,
    plan::{Owned, OwnedObjects},
};

/// How many entries a bucket has on average at most, before there are more buckets.
const FULL: usize = 96;
/// How many a bucket has when their number is chosen.
const TARGET: usize = 64;
/// Below this average there are fewer buckets.
const SPARSE: usize = 12;
/// The number of buckets never passes this; a bucket then has more entries.
const MOST_BUCKETS: u32 = 1024;

/// How many buckets there are, and which writing of all of them it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Grows by one whenever the number of buckets changes.
    pub generation: u32,
    /// The number of buckets, a power of two.
    pub buckets: u32,
}

impl Layout {
    /// The layout of an application that has none yet.
    pub fn first(objects: usize) -> Self {
        Self { generation: 0, buckets: buckets_for(objects) }
    }

    /// The layout for a number of objects: this one while it fits, so that the
    /// buckets are not written anew at every change around a threshold.
    #[must_use]
    pub fn for_objects(self, objects: usize) -> Self {
        let average = objects / self.buckets.max(1) as usize;
        let too_few = average > FULL && self.buckets < MOST_BUCKETS;
        let too_many = self.buckets > 1 && average < SPARSE;
        if too_few || too_many {
            return Self { generation: self.generation.saturating_add(1), buckets: buckets_for(objects) };
        }
        self
    }

    /// The layout of one bucket as it was read.
    pub fn of(bucket: &InventorySpec) -> Self {
        Self { generation: bucket.generation, buckets: bucket.buckets }
    }
}

/// The number of buckets for a number of objects: a power of two with 64
/// entries a bucket or less.
pub fn buckets_for(objects: usize) -> u32 {
    let wanted = objects.div_ceil(TARGET).max(1).next_power_of_two();
    u32::try_from(wanted).unwrap_or(MOST_BUCKETS).min(MOST_BUCKETS)
}

/// The bucket of an object: the same for all of its API versions.
pub fn bucket_of(id: &ObjectId, buckets: u32) -> u32 {
    let hash = Sha256::digest(id.key());
    let first: [u8; 4] = [hash[0], hash[1], hash[2], hash[3]];
    u32::from_be_bytes(first) % buckets.max(1)
}

/// All buckets of a layout, also the empty ones.
pub fn split(application: &str, objects: &OwnedObjects, layout: Layout) -> Vec<InventorySpec> {
    let mut buckets: Vec<InventorySpec> = (0..layout.buckets.max(1))
        .map(|bucket| InventorySpec {
            application: application.to_owned(),
            generation: layout.generation,
            bucket,
            buckets: layout.buckets.max(1),
            entries: Vec::new(),
        })
        .collect();
    for (id, owned) in objects {
        if let Some(bucket) = buckets.get_mut(bucket_of(id, layout.buckets) as usize) {
            bucket.entries.push(entry(id, owned));
        }
    }
    buckets
}

/// The buckets of a layout whose content differs between two inventories.
pub fn changed_buckets(
    application: &str,
    before: &OwnedObjects,
    after: &OwnedObjects,
    layout: Layout,
) -> Vec<InventorySpec> {
    let gone = before.keys().filter(|id| !after.contains_key(*id));
    let other = after.iter().filter(|(id, owned)| before.get(*id) != Some(*owned)).map(|(id, _)| id);
    let changed: BTreeSet<u32> = gone.chain(other).map(|id| bucket_of(id, layout.buckets)).collect();
    if changed.is_empty() {
        return Vec::new();
    }
    let of_changed: OwnedObjects = after
        .iter()
        .filter(|(id, _)| changed.contains(&bucket_of(id, layout.buckets)))
        .map(|(id, owned)| (id.clone(), owned.clone()))
        .collect();
    let buckets = split(application, &of_changed, layout);
    buckets.into_iter().filter(|bucket| changed.contains(&bucket.bucket)).collect()
}

/// An inventory as it was put together from what is in the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Joined {
    /// The objects.
    pub objects: OwnedObjects,
    /// How they are laid out; none if there is nothing yet.
    pub layout: Option<Layout>,
    /// Numbers of buckets that ought to be there and are not: somebody deleted
    /// them, and what they named is no longer known.
    pub missing: Vec<u32>,
}

/// Why an inventory cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InventoryError {
    /// An entry has no usable API version.
    #[error("the inventory names {id} with the API version `{api_version}`, which is none")]
    ApiVersion {
        /// The object.
        id: ObjectId,
        /// What its entry says.
        api_version: String,
    },
    /// A bucket says something impossible of itself.
    #[error("bucket {bucket} of {buckets} of generation {generation} of the inventory cannot be")]
    Bucket {
        /// Its generation.
        generation: u32,
        /// Its number.
        bucket: u32,
        /// How many there are.
        buckets: u32,
    },
}

/// Puts an inventory together. The newest complete generation counts. If none
/// is complete, somebody deleted buckets: then all of them count, a newer
/// generation outranks an older one entry by entry, and what is missing is said.
pub fn join<'a>(buckets: impl IntoIterator<Item = &'a InventorySpec>) -> Result<Joined, InventoryError> {
    let mut generations: BTreeMap<u32, BTreeMap<u32, &InventorySpec>> = BTreeMap::new();
    for bucket in buckets {
        if bucket.bucket >= bucket.buckets {
            let InventorySpec { generation, bucket, buckets, .. } = *bucket;
            return Err(InventoryError::Bucket { generation, bucket, buckets });
        }
        generations.entry(bucket.generation).or_default().insert(bucket.bucket, bucket);
    }
    let complete = generations.values().rev().find(|buckets| missing(buckets).is_empty());
    let counted: Vec<_> = match complete {
        Some(complete) => vec![complete],
        None => generations.values().collect(),
    };
    let mut joined = Joined::default();
    for buckets in counted {
        joined.layout = buckets.values().next().map(|bucket| Layout::of(bucket));
        joined.missing = missing(buckets);
        for entry in buckets.values().flat_map(|bucket| &bucket.entries) {
            joined.objects.insert(entry.id.clone(), owned(entry)?);
        }
    }
    Ok(joined)
}

fn missing(buckets: &BTreeMap<u32, &InventorySpec>) -> Vec<u32> {
    let expected = buckets.values().map(|bucket| bucket.buckets).max().unwrap_or(0).min(MOST_BUCKETS);
    (0..expected).filter(|bucket| !buckets.contains_key(bucket)).collect()
}

fn entry(id: &ObjectId, owned: &Owned) -> InventoryEntry {
    InventoryEntry {
        id: id.clone(),
        api_version: owned.gvk.api_version(),
        uid: owned.uid.clone(),
        manifest: owned.manifest.clone(),
        fingerprint: owned.fingerprint.clone(),
        done: owned.done,
    }
}

fn owned(entry: &InventoryEntry) -> Result<Owned, InventoryError> {
    let unusable = || InventoryError::ApiVersion { id: entry.id.clone(), api_version: entry.api_version.clone() };
    Ok(Owned {
        gvk: entry.gvk().ok_or_else(unusable)?,
        uid: entry.uid.clone(),
        manifest: entry.manifest.clone(),
        fingerprint: entry.fingerprint.clone(),
        done: entry.done,
    })
}
