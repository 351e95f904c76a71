//! Bundles: chunks first, then the index, so that an index never names what
//! was not written.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::PostParams;

use super::{ApplicationStore, FIELD_MANAGER, IN_FLIGHT, StoreError, send};
use crate::{
    api::{
        BUNDLE_SECRET_TYPE, Bundle, BundleChunk, BundleChunkSpec, BundleSpec, CHUNK_BYTES_ANNOTATION, ChunkRef,
        ChunkStore,
    },
    history::bundles::{self, BundleError, Packed, PackedChunk, bundle_name},
    manifest::{BundleDigest, Manifest},
};

/// So many chunks are written without asking which are there.
const FEW: usize = 4;
/// The key of a bundle Secret that has the content.
const CONTENT: &str = "content";

/// Content of chunks, by where they are kept and their name.
pub(super) type Contents = BTreeMap<(ChunkStore, String), Vec<u8>>;

impl ApplicationStore {
    /// Stores a bundle: the chunks that are missing, and then the index. Which
    /// are missing is asked for by two lists, or found out by writing where
    /// there are no more than a few. Gives how many bytes of content were added.
    pub async fn store_bundle(&self, packed: &Packed) -> Result<u64, StoreError> {
        let existing = if packed.chunks.len() > FEW { self.chunks().await? } else { Vec::new() };
        let existing: BTreeSet<(ChunkStore, &str)> =
            existing.iter().map(|chunk| (chunk.store, chunk.name.as_str())).collect();
        // Boxed and collected first, so that the whole can be sent between
        // threads: a closure over references within the stream could not.
        let missing: Vec<BoxFuture<'_, Result<u64, StoreError>>> = packed
            .chunks
            .iter()
            .filter(|chunk| !existing.contains(&(chunk.reference.store, chunk.reference.name.as_str())))
            .map(|chunk| self.create_chunk(chunk).boxed())
            .collect();
        let added: Vec<u64> = stream::iter(missing).buffer_unordered(IN_FLIGHT).try_collect().await?;
        let added = added.into_iter().sum();

        let name = bundle_name(&self.application, &packed.spec.digest);
        let bundle = Bundle { metadata: self.metadata(&name), spec: packed.spec.clone() };
        let what = || format!("create {}", self.named::<Bundle>(&name));
        match send(what, self.api::<Bundle>().create(&written(), &bundle)).await {
            // The content of a digest is always the same.
            Err(error) if error.is_already_exists() => Ok(added),
            other => other.map(|_| added),
        }
    }

    /// Reads the manifests of a bundle, sorted by identity, and proves them by
    /// their digests.
    pub async fn load_bundle(&self, digest: &BundleDigest) -> Result<Vec<Arc<Manifest>>, StoreError> {
        let spec = self.load_index(digest).await?;
        let contents = self.read_chunks(spec.chunks.iter().chain(&spec.origins).map(key).collect()).await?;
        // Decompressing and hashing thousands of manifests would hold up the runtime's thread.
        let unpacked = tokio::task::spawn_blocking(move || {
            bundles::unpack(&spec, |reference| {
                contents.get(&key(reference)).map(|content| Cow::Borrowed(content.as_slice()))
            })
        });
        match unpacked.await {
            Ok(manifests) => Ok(manifests?),
            Err(_) => Err(StoreError::Bundle(BundleError::Interrupted)),
        }
    }

    /// The index of a bundle.
    pub(super) async fn load_index(&self, digest: &BundleDigest) -> Result<BundleSpec, StoreError> {
        let name = bundle_name(&self.application, digest);
        let what = || format!("read {}", self.named::<Bundle>(&name));
        let bundle = send(what, self.api::<Bundle>().get_opt(&name)).await?;
        let spec = bundle.ok_or_else(|| StoreError::Absent(self.named::<Bundle>(&name)))?.spec;
        if spec.digest != *digest {
            return Err(BundleError::Digest { expected: digest.clone(), found: spec.digest }.into());
        }
        Ok(spec)
    }

    /// Whether a bundle is stored.
    pub async fn has_bundle(&self, digest: &BundleDigest) -> Result<bool, StoreError> {
        let name = bundle_name(&self.application, digest);
        let what = || format!("read {}", self.named::<Bundle>(&name));
        Ok(send(what, self.api::<Bundle>().get_metadata_opt(&name)).await?.is_some())
    }

    /// Creates a chunk; the bytes of content that were added.
    async fn create_chunk(&self, chunk: &PackedChunk) -> Result<u64, StoreError> {
        let name = &chunk.reference.name;
        let mut metadata = self.metadata(name);
        let bytes = match chunk.reference.store {
            ChunkStore::BundleChunk => chunk.content.len().div_ceil(3) * 4,
            ChunkStore::Secret => chunk.content.len(),
        };
        metadata.annotations = Some(BTreeMap::from([(CHUNK_BYTES_ANNOTATION.to_owned(), bytes.to_string())]));
        let created = match chunk.reference.store {
            ChunkStore::BundleChunk => {
                let content = STANDARD.encode(&chunk.content);
                let spec = BundleChunkSpec { application: self.application.clone(), content };
                let what = || format!("create {}", self.named::<BundleChunk>(name));
                send(what, self.api().create(&written(), &BundleChunk { metadata, spec })).await.map(|_| ())
            }
            ChunkStore::Secret => {
                let secret = Secret {
                    metadata,
                    immutable: Some(true),
                    type_: Some(BUNDLE_SECRET_TYPE.into()),
                    data: Some(BTreeMap::from([(CONTENT.to_owned(), ByteString(chunk.content.clone()))])),
                    ..Secret::default()
                };
                let what = || format!("create {}", self.named::<Secret>(name));
                send(what, self.api().create(&written(), &secret)).await.map(|_| ())
            }
        };
        match created {
            // Named by its content: the one that is there is the same.
            Err(error) if error.is_already_exists() => Ok(0),
            other => other.map(|()| bytes as u64),
        }
    }

    /// The contents of those chunks that are there.
    pub(super) async fn read_chunks(&self, wanted: BTreeSet<(ChunkStore, String)>) -> Result<Contents, StoreError> {
        stream::iter(wanted)
            .map(|(store, name)| async move {
                let content = self.read_chunk(store, &name).await?;
                Ok::<_, StoreError>(content.map(|content| ((store, name), content)))
            })
            .buffer_unordered(IN_FLIGHT)
            .try_filter_map(|found| async { Ok(found) })
            .try_collect()
            .await
    }

    /// The content of a chunk; none if there is no such chunk.
    async fn read_chunk(&self, store: ChunkStore, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match store {
            ChunkStore::BundleChunk => {
                let what = || format!("read {}", self.named::<BundleChunk>(name));
                let chunk = send(what, self.api::<BundleChunk>().get_opt(name)).await?;
                let content = chunk.map(|chunk| STANDARD.decode(chunk.spec.content)).transpose();
                content.map_err(|_| BundleError::Corrupt(name.to_owned()).into())
            }
            ChunkStore::Secret => {
                let what = || format!("read {}", self.named::<Secret>(name));
                let secret = send(what, self.api::<Secret>().get_opt(name)).await?;
                Ok(secret.and_then(|secret| secret.data?.remove(CONTENT)).map(|content| content.0))
            }
        }
    }
}

fn written() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}

/// By what a chunk is found.
pub(super) fn key(reference: &ChunkRef) -> (ChunkStore, String) {
    (reference.store, reference.name.clone())
}
