//! The content of several bundles of an application, read by somebody with
//! rights of their own: what bundles share is read once, and where Secrets may
//! not be read their manifests are left out, and that is said.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    ApplicationStore, StoreError,
    bundles::{Contents, key},
};
use crate::{
    api::{BundleSpec, ChunkRef, ChunkStore},
    history::bundles,
    manifest::{BundleDigest, Manifest},
};

/// Reads bundles of one application.
pub struct BundleReader {
    store: ApplicationStore,
    chunks: Contents,
    read: BTreeMap<BundleDigest, Arc<[Arc<Manifest>]>>,
    /// Whether manifests of Secrets were left out, since they may not be read.
    without_secrets: bool,
}

impl ApplicationStore {
    /// A reader of the application's bundles.
    pub fn reader(&self) -> BundleReader {
        BundleReader { store: self.clone(), chunks: Contents::new(), read: BTreeMap::new(), without_secrets: false }
    }
}

impl BundleReader {
    /// Whether manifests of Secrets were left out of what was read.
    pub fn is_without_secrets(&self) -> bool {
        self.without_secrets
    }

    /// The manifests of a bundle, sorted by identity, each proved by the digest
    /// of its chunk, and together by that of the bundle where all may be read.
    pub async fn read(&mut self, digest: &BundleDigest) -> Result<Arc<[Arc<Manifest>]>, StoreError> {
        if let Some(read) = self.read.get(digest) {
            return Ok(read.clone());
        }
        let spec = self.store.load_index(digest).await?;
        self.fetch(&spec, ChunkStore::BundleChunk).await?;
        if !self.without_secrets {
            match self.fetch(&spec, ChunkStore::Secret).await {
                Err(error) if error.is_forbidden() => self.without_secrets = true,
                other => other?,
            }
        }
        // A bundle that has no Secrets is whole for everybody.
        let partly = self.without_secrets && spec.chunks.iter().any(|chunk| chunk.store == ChunkStore::Secret);
        let lookup =
            |reference: &ChunkRef| self.chunks.get(&key(reference)).map(|chunk| Cow::Borrowed(chunk.as_slice()));
        // Thousands of manifests are hashed, and a command has nothing else to do meanwhile.
        let manifests =
            if partly { bundles::unpack_without_secrets(&spec, lookup) } else { bundles::unpack(&spec, lookup) };
        let manifests: Arc<[Arc<Manifest>]> = manifests?.into();
        self.read.insert(digest.clone(), manifests.clone());
        Ok(manifests)
    }

    /// Fetches the chunks of a store that are not here yet.
    async fn fetch(&mut self, spec: &BundleSpec, store: ChunkStore) -> Result<(), StoreError> {
        let references = spec.chunks.iter().chain(&spec.origins).filter(|chunk| chunk.store == store);
        let missing: BTreeSet<(ChunkStore, String)> =
            references.map(key).filter(|key| !self.chunks.contains_key(key)).collect();
        self.chunks.append(&mut self.store.read_chunks(missing).await?);
        Ok(())
    }
}
