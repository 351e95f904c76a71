//! What is kept of the content of releases: how much, whether something of it
//! is missing, and the sweep of what nobody needs. Only names are read: whether
//! a content is what it should be shows when it is needed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Resource,
    api::{ListParams, ObjectList, PartialObjectMeta},
    core::Request,
};
use serde::de::DeserializeOwned;

use super::{ApplicationStore, IN_FLIGHT, Store, StoreError, delete, described, of_uid, send};
use crate::{
    api::{
        APPLICATION_LABEL, BUNDLE_SECRET_TYPE, Bundle, BundleChunk, BundleSpec, CHUNK_BYTES_ANNOTATION, ChunkRef,
        ChunkStore,
    },
    history::bundles::{self, BundleError, StoredChunk, UNUSED_FOR, bundle_name},
    manifest::BundleDigest,
};

/// How many objects a page of a list over all applications has.
const PAGE: u32 = 500;

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many bundles were deleted.
    pub bundles: usize,
    /// How many chunks were deleted.
    pub chunks: usize,
    /// When something will be old enough that nobody needs: the time of the
    /// next sweep, if there is no reason before.
    pub due: Option<Timestamp>,
    /// What is kept after it.
    pub kept: KeptContent,
}

/// What is kept of an application's content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptContent {
    /// How many bytes all chunks have, by what they say of themselves.
    pub bytes: u64,
    /// Its bundles, each with the first chunk that is missing.
    pub(crate) bundles: BTreeMap<BundleDigest, Option<String>>,
}

impl KeptContent {
    /// What of a bundle is missing, in words; none if it is whole.
    pub fn missing(&self, namespace: &str, application: &str, wanted: &BundleDigest) -> Option<String> {
        match self.bundles.get(wanted) {
            None => {
                let name = bundle_name(application, wanted);
                Some(format!("{} does not exist", described::<Bundle>(namespace, &name)))
            }
            Some(chunk) => chunk.clone().map(|chunk| BundleError::Missing(chunk).to_string()),
        }
    }

    fn add(&mut self, bundle: &BundleSpec, there: &BTreeSet<(ChunkStore, &str)>) {
        let absent = |chunk: &&ChunkRef| !there.contains(&chunk.cmp_key());
        let missing = bundle.chunks.iter().find(absent).map(|chunk| chunk.name.clone());
        self.bundles.insert(bundle.digest.clone(), missing);
    }
}

impl Store {
    /// What is kept of all applications of the namespaces given, or of all where
    /// none is, by namespace and name: one look where each would have its own.
    /// Chunks count for the application that their label names.
    pub async fn kept_content(
        &self,
        namespaces: &BTreeSet<String>,
    ) -> Result<HashMap<(String, String), KeptContent>, StoreError> {
        let all = ListParams::default();
        let bundles: Vec<Bundle> = self.pages::<Bundle, _>(namespaces, all.clone(), Request::list).await?;
        let others = self.pages::<BundleChunk, PartialObjectMeta>(namespaces, all, Request::list_metadata);
        let secrets = self.pages::<Secret, PartialObjectMeta>(namespaces, of_bundles(), Request::list_metadata);
        let (others, secrets) = futures::try_join!(others, secrets)?;
        let mut there: HashMap<&str, BTreeSet<(ChunkStore, &str)>> = HashMap::new();
        let mut kept: HashMap<(String, String), KeptContent> = HashMap::new();
        let others = others.iter().map(|chunk| (ChunkStore::BundleChunk, &chunk.metadata));
        let secrets = secrets.iter().map(|chunk| (ChunkStore::Secret, &chunk.metadata));
        for (store, metadata) in others.chain(secrets).filter(|(_, metadata)| metadata.deletion_timestamp.is_none()) {
            let namespace = metadata.namespace.as_deref().unwrap_or_default();
            let name = metadata.name.as_deref().unwrap_or_default();
            there.entry(namespace).or_default().insert((store, name));
            let labels = metadata.labels.as_ref();
            if let Some(application) = labels.and_then(|labels| labels.get(APPLICATION_LABEL)) {
                kept.entry((namespace.to_owned(), application.clone())).or_default().bytes += bytes(metadata);
            }
        }
        let none = BTreeSet::new();
        for bundle in &bundles {
            let namespace = bundle.metadata.namespace.clone().unwrap_or_default();
            let there = there.get(namespace.as_str()).unwrap_or(&none);
            kept.entry((namespace, bundle.spec.application.clone())).or_default().add(&bundle.spec, there);
        }
        Ok(kept)
    }

    /// The lists of the namespaces, or one over all, page by page.
    async fn pages<K, T>(
        &self,
        namespaces: &BTreeSet<String>,
        mut parameters: ListParams,
        list: MakeList,
    ) -> Result<Vec<T>, StoreError>
    where
        K: Resource<DynamicType = ()>,
        T: Clone + DeserializeOwned,
    {
        let scopes = if namespaces.is_empty() { vec![None] } else { namespaces.iter().map(Some).collect() };
        parameters.limit = Some(PAGE);
        let mut items = Vec::new();
        for namespace in scopes {
            let namespace = namespace.map(String::as_str);
            let request = Request::new(K::url_path(&(), namespace));
            let what = || format!("list the {} of {}", K::plural(&()), namespace.unwrap_or("all namespaces"));
            loop {
                let page = list(&request, &parameters)
                    .map_err(|error| StoreError::of(what(), kube::Error::BuildRequest(error)))?;
                let page: ObjectList<T> = send(what, self.client.request(page)).await?;
                items.extend(page.items);
                parameters.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
                if parameters.continue_token.is_none() {
                    break;
                }
            }
        }
        Ok(items)
    }
}

/// Makes the request of a list.
type MakeList = fn(&Request, &ListParams) -> Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// Selects the Secrets that hold chunks. They cannot be selected by content:
/// without its label one is not found, is created again, and is there already.
fn of_bundles() -> ListParams {
    ListParams::default().fields(&format!("type={BUNDLE_SECRET_TYPE}"))
}

impl ApplicationStore {
    /// What is kept of the application.
    pub async fn kept_content(&self) -> Result<KeptContent, StoreError> {
        let (bundles, chunks) = (self.bundles().await?, self.chunks().await?);
        Ok(kept(bundles.iter().map(|bundle| &bundle.spec), &chunks))
    }

    /// Deletes the bundles that are not kept, and the chunks that no kept
    /// bundle names, where they are older than an hour. Must not run beside
    /// [`ApplicationStore::store_bundle`] of the same application.
    pub async fn sweep_bundles(&self, wanted: &BTreeSet<BundleDigest>, now: Timestamp) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        let mut still_named: Vec<BundleSpec> = Vec::new();
        for bundle in self.bundles().await? {
            let created_at = created_at(&bundle.metadata, now);
            if wanted.contains(&bundle.spec.digest) {
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
        let mut there = self.chunks().await?;
        let old: BTreeSet<StoredChunk> = bundles::sweep(&still_named, there.clone(), now).into_iter().collect();
        there.retain(|chunk| !old.contains(chunk));
        for unused in bundles::sweep(&still_named, there.clone(), Timestamp::MAX) {
            swept.due = earliest(swept.due, unused.created_at + UNUSED_FOR);
        }
        swept.chunks = old.len();
        swept.kept = kept(&still_named, &there);
        stream::iter(old)
            .map(|chunk| self.delete_chunk(chunk))
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(swept)
    }

    async fn bundles(&self) -> Result<Vec<Bundle>, StoreError> {
        let what = || format!("list the bundles of {}/{}", self.namespace, self.application);
        Ok(send(what, self.api::<Bundle>().list(&self.by_application())).await?.items)
    }

    /// The chunks of the application that are there to stay, by name and age.
    pub(super) async fn chunks(&self) -> Result<Vec<StoredChunk>, StoreError> {
        let what = || format!("list the chunks of {}/{}", self.namespace, self.application);
        let chunks = self.api::<BundleChunk>();
        let others = async { send(what, chunks.list_metadata(&self.by_application())).await };
        let of_application = of_bundles().labels(&format!("{APPLICATION_LABEL}={}", self.application));
        let secrets = self.api::<Secret>();
        let secrets = async { send(what, secrets.list_metadata(&of_application)).await };
        let (others, secrets) = futures::try_join!(others, secrets)?;
        let others = others.items.into_iter().map(|chunk| (ChunkStore::BundleChunk, chunk.metadata));
        let secrets = secrets.items.into_iter().map(|chunk| (ChunkStore::Secret, chunk.metadata));
        let there = others.chain(secrets).filter(|(_, metadata)| metadata.deletion_timestamp.is_none());
        let chunk = |(store, metadata): (ChunkStore, ObjectMeta)| StoredChunk {
            store,
            created_at: created_at(&metadata, Timestamp::MAX),
            bytes: bytes(&metadata),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
        };
        Ok(there.map(chunk).collect())
    }

    async fn delete_chunk(&self, chunk: StoredChunk) -> Result<(), StoreError> {
        let (name, uid) = (&chunk.name, of_uid(Some(chunk.uid.clone())));
        match chunk.store {
            ChunkStore::BundleChunk => delete(&self.api::<BundleChunk>(), &self.namespace, name, uid).await,
            ChunkStore::Secret => delete(&self.api::<Secret>(), &self.namespace, name, uid).await,
        }
    }
}

fn kept<'a>(bundles: impl IntoIterator<Item = &'a BundleSpec>, chunks: &[StoredChunk]) -> KeptContent {
    let there = chunks.iter().map(|chunk| (chunk.store, chunk.name.as_str())).collect();
    let mut kept = KeptContent { bytes: chunks.iter().map(|chunk| chunk.bytes).sum(), ..KeptContent::default() };
    bundles.into_iter().for_each(|bundle| kept.add(bundle, &there));
    kept
}

/// How many bytes of content a chunk says that it has.
fn bytes(metadata: &ObjectMeta) -> u64 {
    let annotations = metadata.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(CHUNK_BYTES_ANNOTATION)?.parse().ok()).unwrap_or_default()
}

/// When an object was made; one that does not say is as young as can be.
fn created_at(metadata: &ObjectMeta, otherwise: Timestamp) -> Timestamp {
    metadata.creation_timestamp.as_ref().map_or(otherwise, |time| time.0)
}

fn earliest(known: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(known.map_or(other, |known| known.min(other)))
}
