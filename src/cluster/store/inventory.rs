//! The inventory: buckets that are replaced only as they were read.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{PostParams, Preconditions};

use super::{ApplicationStore, FIELD_MANAGER, IN_FLIGHT, StoreError, delete, send};
use crate::{
    api::{Inventory, InventorySpec},
    history::inventory::{Changes, Joined, Layout, bucket_of, buckets, join},
    manifest::ObjectId,
    plan::OwnedObjects,
};

/// Generation and number of a bucket.
type BucketKey = (u32, u32);

/// The inventory of an application as it is in the cluster.
#[derive(Debug, Clone, Default)]
pub struct StoredInventory {
    /// What the application has.
    pub objects: OwnedObjects,
    /// Numbers of buckets that somebody deleted: what they named is no longer
    /// known, and nothing of the application may be taken for a leftover.
    pub missing: Vec<u32>,
    layout: Option<Layout>,
    /// The resourceVersion of each bucket.
    versions: BTreeMap<BucketKey, String>,
}

impl ApplicationStore {
    /// Reads the inventory.
    pub async fn load_inventory(&self) -> Result<StoredInventory, StoreError> {
        let what = || format!("list the inventory of {}/{}", self.namespace, self.application);
        let buckets = send(what, self.api::<Inventory>().list(&self.by_application())).await?.items;
        let Joined { objects, layout, missing } = join(buckets.iter().map(|bucket| &bucket.spec))?;
        let versions = buckets.into_iter().map(|bucket| {
            let key = (bucket.spec.generation, bucket.spec.bucket);
            (key, bucket.metadata.resource_version.unwrap_or_default())
        });
        Ok(StoredInventory { objects, missing, layout, versions: versions.collect() })
    }

    /// Writes what changes in the inventory: one request for a small change, none
    /// for no change. Where a bucket was changed by somebody else this is a
    /// conflict, and after any error the inventory must be loaded again.
    pub async fn write_inventory(&self, stored: &mut StoredInventory, mut changes: Changes) -> Result<(), StoreError> {
        changes.retain(|id, owned| stored.objects.get(id) != owned.as_ref());
        if changes.is_empty() {
            return Ok(());
        }
        let changed: Vec<ObjectId> = changes.keys().cloned().collect();
        for (id, owned) in changes {
            match owned {
                Some(owned) => stored.objects.insert(id, owned),
                None => stored.objects.remove(&id),
            };
        }
        let layout = Self::next_layout(stored, stored.objects.len());
        let changed: BTreeSet<u32> = match stored.layout == Some(layout) {
            true => changed.iter().map(|id| bucket_of(id, layout.buckets)).collect(),
            false => (0..layout.buckets.max(1)).collect(),
        };
        let changed = buckets(&self.application, &stored.objects, changed, layout);
        let mut versions = stored.versions.clone();
        let written: Vec<(BucketKey, String)> = stream::iter(changed)
            .map(|bucket| {
                let key = (bucket.generation, bucket.bucket);
                let version = stored.versions.get(&key).cloned();
                async move { Ok::<_, StoreError>((key, self.write_bucket(bucket, version).await?)) }
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await?;
        versions.extend(written);
        // Only when the new generation is complete the old ones may go.
        let left_over: Vec<BucketKey> =
            versions.keys().filter(|(generation, _)| *generation != layout.generation).copied().collect();
        stream::iter(left_over.clone())
            .map(|key| self.delete_bucket(key, versions.get(&key).cloned()))
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<Vec<()>>()
            .await?;
        versions.retain(|key, _| !left_over.contains(key));
        stored.versions = versions;
        stored.layout = Some(layout);
        stored.missing.clear();
        Ok(())
    }

    /// The layout to write: another one where the objects no longer fit, or
    /// where buckets are missing. It then has a generation that no bucket has,
    /// also none of those that were left by a writing that broke off.
    fn next_layout(stored: &StoredInventory, objects: usize) -> Layout {
        let Some(layout) = stored.layout else { return Layout::first(objects) };
        let next = layout.for_objects(objects);
        if next == layout && stored.missing.is_empty() {
            return layout;
        }
        let newest = stored.versions.keys().map(|(generation, _)| *generation).max().unwrap_or(0);
        Layout { generation: newest.saturating_add(1), ..next }
    }

    /// Deletes the inventory: the application is gone, and its objects with it
    /// or left to others.
    pub async fn delete_inventory(&self, stored: &StoredInventory) -> Result<(), StoreError> {
        stream::iter(stored.versions.clone())
            .map(|(key, version)| self.delete_bucket(key, Some(version)))
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    /// Deletes a bucket as it was read: of the same name and changed since, it
    /// is somebody else's by now.
    async fn delete_bucket(&self, key: BucketKey, version: Option<String>) -> Result<(), StoreError> {
        let which = Preconditions { uid: None, resource_version: version.filter(|version| !version.is_empty()) };
        delete(&self.api::<Inventory>(), &self.namespace, &self.bucket_name(key), which).await
    }

    /// Writes a bucket and gives back its resourceVersion.
    async fn write_bucket(&self, spec: InventorySpec, version: Option<String>) -> Result<String, StoreError> {
        let name = self.bucket_name((spec.generation, spec.bucket));
        let mut metadata = self.metadata(&name);
        metadata.resource_version = version;
        let api = self.api::<Inventory>();
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let what = || format!("write {}", self.named::<Inventory>(&name));
        let exists = metadata.resource_version.is_some();
        let bucket = Inventory { metadata, spec };
        let written = match exists {
            true => send(what, api.replace(&name, &parameters, &bucket)).await?,
            false => send(what, api.create(&parameters, &bucket)).await?,
        };
        Ok(written.metadata.resource_version.unwrap_or_default())
    }

    fn bucket_name(&self, (generation, bucket): BucketKey) -> String {
        format!("{}-{generation}-{bucket}", self.application)
    }
}
