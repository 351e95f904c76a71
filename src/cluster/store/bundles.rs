//! Bundles: chunks first, then the index, so that an index never names what
//! was not written.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::api::{ListParams, PostParams};

use super::{ApplicationStore, FIELD_MANAGER, IN_FLIGHT, StoreError, delete, of_uid, send};
use crate::{
    api::{
        APPLICATION_LABEL, BUNDLE_SECRET_TYPE, Bundle, BundleChunk, BundleChunkSpec, BundleSpec,
        CHUNK_BYTES_ANNOTATION, ChunkRef, ChunkStore,
    },
    history::bundles::{self, BundleError, Packed, PackedChunk, StoredChunk, UNUSED_FOR, bundle_name},
    manifest::{BundleDigest, Manifest},
};

/// So many chunks are written without asking which are there.
const FEW: usize = 4;
/// The key of a bundle Secret that has the content.
const CONTENT: &str = "content";

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many bundles were deleted.
    pub bundles: usize,
    /// How many chunks were deleted.
    pub chunks: usize,
    /// When something will be old enough that nobody needs: the time of the
    /// next sweep, if there is no reason before.
    pub due: Option<Timestamp>,
}

/// What is kept of an application's content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptContent {
    /// How many bytes all chunks have, as they are stored.
    pub bytes: u64,
    /// The bundles that are not whole, with what is missing.
    pub missing: BTreeMap<BundleDigest, String>,
}

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

    /// What is kept of some bundles: how many bytes all chunks have, by what
    /// they say of themselves, and what is missing. Only names are read: whether
    /// a content is what it should be shows when it is needed.
    pub async fn kept_content(&self, wanted: &BTreeSet<BundleDigest>) -> Result<KeptContent, StoreError> {
        let what = || format!("list the bundles of {}/{}", self.namespace, self.application);
        let bundles = send(what, self.api::<Bundle>().list(&self.by_application())).await?.items;
        let chunks = self.chunks().await?;
        let there: BTreeSet<(ChunkStore, &str)> =
            chunks.iter().map(|chunk| (chunk.store, chunk.name.as_str())).collect();
        let missing = |digest: &BundleDigest| -> Option<String> {
            let Some(bundle) = bundles.iter().find(|bundle| bundle.spec.digest == *digest) else {
                let name = bundle_name(&self.application, digest);
                return Some(format!("{} does not exist", self.named::<Bundle>(&name)));
            };
            let absent = |chunk: &&ChunkRef| !there.contains(&(chunk.store, chunk.name.as_str()));
            let chunk = bundle.spec.chunks.iter().find(absent)?;
            Some(BundleError::Missing(chunk.name.clone()).to_string())
        };
        let missing = wanted.iter().filter_map(|digest| Some((digest.clone(), missing(digest)?))).collect();
        Ok(KeptContent { bytes: chunks.iter().map(|chunk| chunk.bytes).sum(), missing })
    }

    /// Reads the manifests of a bundle, sorted by identity, and proves them by
    /// their digests.
    pub async fn load_bundle(&self, digest: &BundleDigest) -> Result<Vec<Arc<Manifest>>, StoreError> {
        let spec = self.load_index(digest).await?;
        let references: Vec<ChunkRef> = spec.chunks.iter().chain(&spec.origins).cloned().collect();
        let contents: BTreeMap<(ChunkStore, String), Vec<u8>> = stream::iter(references)
            .map(|reference| async move {
                let content = self.read_chunk(reference.store, &reference.name).await?;
                Ok::<_, StoreError>(content.map(|content| ((reference.store, reference.name), content)))
            })
            .buffer_unordered(IN_FLIGHT)
            .try_filter_map(|found| async { Ok(found) })
            .try_collect()
            .await?;
        // Decompressing and hashing thousands of manifests would hold up the runtime's thread.
        let unpacked = tokio::task::spawn_blocking(move || {
            bundles::unpack(&spec, |reference| {
                contents
                    .get(&(reference.store, reference.name.clone()))
                    .map(|content| Cow::Borrowed(content.as_slice()))
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

    /// Deletes the bundles that are not kept, and the chunks that no kept
    /// bundle names, where they are older than an hour. Must not run beside
    /// [`ApplicationStore::store_bundle`] of the same application.
    pub async fn sweep_bundles(&self, kept: &BTreeSet<BundleDigest>, now: Timestamp) -> Result<Swept, StoreError> {
        let what = || format!("list the bundles of {}/{}", self.namespace, self.application);
        let bundles = send(what, self.api::<Bundle>().list(&self.by_application())).await?.items;
        let mut swept = Swept::default();
        let mut still_named: Vec<BundleSpec> = Vec::new();
        for bundle in bundles {
            let created_at = created_at(&bundle.metadata, now);
            if kept.contains(&bundle.spec.digest) {
                still_named.push(bundle.spec);
            } else if now.duration_since(created_at) > UNUSED_FOR {
                let name = bundle_name(&self.application, &bundle.spec.digest);
                delete(&self.api::<Bundle>(), &self.namespace, &name, of_uid(bundle.metadata.uid)).await?;
                swept.bundles += 1;
            } else {
                swept.due = earliest(swept.due, created_at + UNUSED_FOR);
                still_named.push(bundle.spec);
            }
        }
        let existing = self.chunks().await?;
        let unused = bundles::sweep(&still_named, existing.clone(), Timestamp::MAX);
        let old = bundles::sweep(&still_named, existing, now);
        for young in unused.iter().filter(|chunk| !old.contains(chunk)) {
            swept.due = earliest(swept.due, young.created_at + UNUSED_FOR);
        }
        swept.chunks = old.len();
        stream::iter(old)
            .map(|chunk| self.delete_chunk(chunk))
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(swept)
    }

    /// The chunks of the application that are there to stay, by name and age.
    async fn chunks(&self) -> Result<Vec<StoredChunk>, StoreError> {
        let what = || format!("list the chunks of {}/{}", self.namespace, self.application);
        let chunks = self.api::<BundleChunk>();
        let others = async { send(what, chunks.list_metadata(&self.by_application())).await };
        // Secrets cannot be selected by content: without its label one is not
        // found, is created again, and is there already.
        let of_application = ListParams::default()
            .labels(&format!("{APPLICATION_LABEL}={}", self.application))
            .fields(&format!("type={BUNDLE_SECRET_TYPE}"));
        let secrets = self.api::<Secret>();
        let secrets = async { send(what, secrets.list_metadata(&of_application)).await };
        let (others, secrets) = futures::try_join!(others, secrets)?;
        let now = Timestamp::MAX;
        let of = |store: ChunkStore, metadata: ObjectMeta| {
            let created_at = created_at(&metadata, now);
            let annotations = metadata.annotations.as_ref();
            let bytes = annotations.and_then(|annotations| annotations.get(CHUNK_BYTES_ANNOTATION)?.parse().ok());
            let bytes = bytes.unwrap_or_default();
            let there = metadata.deletion_timestamp.is_none();
            there.then(|| StoredChunk {
                store,
                name: metadata.name.unwrap_or_default(),
                uid: metadata.uid.unwrap_or_default(),
                created_at,
                bytes,
            })
        };
        let others = others.items.into_iter().filter_map(|chunk| of(ChunkStore::BundleChunk, chunk.metadata));
        let secrets = secrets.items.into_iter().filter_map(|chunk| of(ChunkStore::Secret, chunk.metadata));
        Ok(others.chain(secrets).collect())
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

    /// The content of a chunk; none if there is no such chunk.
    pub(super) async fn read_chunk(&self, store: ChunkStore, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
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

    async fn delete_chunk(&self, chunk: StoredChunk) -> Result<(), StoreError> {
        let (name, uid) = (&chunk.name, of_uid(Some(chunk.uid.clone())));
        match chunk.store {
            ChunkStore::BundleChunk => delete(&self.api::<BundleChunk>(), &self.namespace, name, uid).await,
            ChunkStore::Secret => delete(&self.api::<Secret>(), &self.namespace, name, uid).await,
        }
    }
}

fn written() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}

/// When an object was made; one that does not say is as young as can be.
fn created_at(metadata: &ObjectMeta, otherwise: Timestamp) -> Timestamp {
    metadata.creation_timestamp.as_ref().map_or(otherwise, |time| time.0)
}

fn earliest(known: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(known.map_or(other, |known| known.min(other)))
}
