//! The content of releases as it is laid out in the cluster: content-addressed
//! chunks that the releases of an application share.
//!
//! Manifests of Secrets go to chunks of their own, which are kept in Secrets,
//! so that each manifest has the protection that its object has. A chunk is
//! named by its content; a bundle is the list of its chunks. The split follows
//! a hash of the identities, so that a small change makes one or two new chunks
//! and all others are shared with the release before.

mod content;
mod layout;
mod sweep;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::HashMap, sync::Arc};

pub use sweep::{StoredChunk, UNUSED_FOR, sweep};

use crate::{
    api::{BundleSpec, ChunkRef, ChunkStore},
    manifest::{BundleDigest, Digest, Manifest, ObjectId, bundle_digest},
};

/// A bundle as it is to be stored: write the chunks first, then the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The index.
    pub spec: BundleSpec,
    /// The chunks that it names, each once, but those that were known.
    pub chunks: Vec<PackedChunk>,
    /// All chunks that it names, to be known once they are stored.
    pub known: KnownChunks,
}

/// Chunks that are stored already, by what is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownChunks {
    /// By the name of what is in them; the parts of one that was too large.
    chunks: HashMap<(ChunkStore, [u8; 32]), Vec<ChunkRef>>,
    origins: Option<ChunkRef>,
}

/// A chunk as it is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedChunk {
    /// What the index says of it.
    pub reference: ChunkRef,
    /// Its content, compressed.
    pub content: Vec<u8>,
}

/// Why a bundle cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Two manifests are of one object.
    #[error("{0} is in the bundle twice")]
    Doubled(ObjectId),
    /// What a manifest says of itself is not what it is listed as.
    #[error("the manifest of {0} names another object")]
    Identity(ObjectId),
    /// A content of the bundle cannot be compressed.
    #[error("the manifests cannot be compressed")]
    Compress(#[source] std::io::Error),
    /// More chunks than a bundle can name.
    #[error("the bundle has {0} chunks, more than the 8192 that an index holds")]
    TooLarge(usize),
    /// More content than a bundle may have.
    #[error("the manifests of the bundle have more than {} MiB of JSON", MOST_BYTES >> 20)]
    TooManyBytes,
    /// A chunk is not in the cluster.
    #[error("chunk {0} of the bundle is missing")]
    Missing(String),
    /// A chunk cannot be decompressed within its limit.
    #[error("chunk {name} of the bundle cannot be decompressed")]
    Decompress {
        /// The chunk.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The content of a chunk is not what its digest says.
    #[error("chunk {0} of the bundle is corrupt: its content does not have the digest that the bundle names")]
    Corrupt(String),
    /// A chunk has content that no manifest is made of.
    #[error("chunk {name} of the bundle holds no manifests: {problem}")]
    Unreadable {
        /// The chunk.
        name: String,
        /// What is wrong with it; never a value of it.
        problem: &'static str,
    },
    /// The manifests are not those of the bundle's digest.
    #[error("the manifests of the bundle have the digest {found}, and {expected} was stored")]
    Digest {
        /// What the bundle's name says.
        expected: BundleDigest,
        /// What its content has.
        found: BundleDigest,
    },
    /// The program is ending.
    #[error("reading the bundle was interrupted")]
    Interrupted,
    /// The bundle holds another number of manifests than it says.
    #[error("the bundle says that it has {expected} manifests, and has {found}")]
    Count {
        /// What it says.
        expected: u32,
        /// What it has.
        found: usize,
    },
}

/// Lays out the manifests of a bundle in chunks. The same manifests give the
/// same chunks, whatever their order.
pub fn pack(application: &str, manifests: &[Arc<Manifest>], digest: &BundleDigest) -> Result<Packed, BundleError> {
    pack_beside(application, manifests, digest, &KnownChunks::default())
}

/// As [`pack`], beside chunks that are stored already: they are named and not
/// made again, so that a small change of a large bundle costs little.
pub fn pack_beside(
    application: &str,
    manifests: &[Arc<Manifest>],
    digest: &BundleDigest,
    known: &KnownChunks,
) -> Result<Packed, BundleError> {
    let mut sorted: Vec<&Manifest> = manifests.iter().map(AsRef::as_ref).collect();
    // What was rendered is sorted, and has each object once.
    if !sorted.is_sorted_by(|one, other| one.id < other.id) {
        sorted.sort_by(|one, other| one.id.cmp(&other.id));
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(BundleError::Doubled(pair[0].id.clone()));
        }
    }
    let (secrets, others): (Vec<&Manifest>, Vec<&Manifest>) = sorted.iter().partition(|manifest| manifest.is_secret());

    let mut chunks = Vec::new();
    let mut references: Vec<ChunkRef> = Vec::new();
    let mut all = KnownChunks::default();
    let mut bytes = 0;
    for (store, manifests) in [(ChunkStore::BundleChunk, others), (ChunkStore::Secret, secrets)] {
        for group in layout::groups(&manifests)? {
            bytes += layout::bytes(&group);
            let key = (store, layout::members(&group));
            let parts = match known.chunks.get(&key) {
                Some(parts) => parts.clone(),
                None => push_fragments(&mut chunks, application, store, &layout::json(&group)?)?,
            };
            references.extend(parts.iter().cloned());
            all.chunks.insert(key, parts);
        }
    }
    if references.len() > MOST_CHUNKS {
        return Err(BundleError::TooLarge(references.len()));
    }
    if bytes > MOST_BYTES {
        return Err(BundleError::TooManyBytes);
    }
    let origins = origins_chunk(application, &sorted, known.origins.as_ref())?;
    all.origins = origins.as_ref().map(|origins| origins.reference().clone());
    let spec = BundleSpec {
        application: application.to_owned(),
        digest: digest.clone(),
        objects: u32::try_from(sorted.len()).unwrap_or(u32::MAX),
        chunks: references,
        origins: all.origins.clone(),
    };
    if let Some(Origins::New(chunk)) = origins {
        chunks.push(chunk);
    }
    chunks.sort_by(|one, other| one.reference.cmp_key().cmp(&other.reference.cmp_key()));
    chunks.dedup_by(|one, other| one.reference.cmp_key() == other.reference.cmp_key());
    Ok(Packed { spec, chunks, known: all })
}

/// Puts the manifests of a bundle together again, sorted by identity. `lookup`
/// gives the compressed content of a chunk. Nothing is given back unless every
/// chunk and the whole have the digests that they were stored under.
pub fn unpack<'a, F>(spec: &BundleSpec, mut lookup: F) -> Result<Vec<Arc<Manifest>>, BundleError>
where
    F: FnMut(&ChunkRef) -> Option<Cow<'a, [u8]>>,
{
    let manifests = read_chunks(spec.chunks.iter(), &mut lookup)?;
    if manifests.len() != spec.objects as usize {
        return Err(BundleError::Count { expected: spec.objects, found: manifests.len() });
    }
    let found = bundle_digest(&manifests);
    // Chunks vouch for the content by themselves; a bundle's digest of another
    // scheme is of another canonical form and says nothing.
    if spec.digest.is_current_scheme() && found != spec.digest {
        return Err(BundleError::Digest { expected: spec.digest.clone(), found });
    }
    Ok(with_origins(spec, manifests, &mut lookup))
}

/// As [`unpack`], without the manifests of Secrets: for somebody who may not
/// read those. Each chunk is proved by its digest; the whole cannot be.
pub fn unpack_without_secrets<'a, F>(spec: &BundleSpec, mut lookup: F) -> Result<Vec<Arc<Manifest>>, BundleError>
where
    F: FnMut(&ChunkRef) -> Option<Cow<'a, [u8]>>,
{
    let others = spec.chunks.iter().filter(|chunk| chunk.store == ChunkStore::BundleChunk);
    let manifests = read_chunks(others, &mut lookup)?;
    Ok(with_origins(spec, manifests, &mut lookup))
}

/// The manifests of chunks, sorted by identity.
fn read_chunks<'a, 's, F>(
    chunks: impl Iterator<Item = &'s ChunkRef>,
    lookup: &mut F,
) -> Result<Vec<Manifest>, BundleError>
where
    F: FnMut(&ChunkRef) -> Option<Cow<'a, [u8]>>,
{
    let mut texts: Vec<(String, Vec<u8>)> = Vec::new();
    let mut bytes = 0;
    for reference in chunks {
        let fragment = read_chunk(reference, lookup)?;
        bytes += fragment.len();
        if bytes > MOST_BYTES {
            return Err(BundleError::TooManyBytes);
        }
        match texts.last_mut() {
            Some((_, text)) if reference.continues => text.extend_from_slice(&fragment),
            _ => texts.push((reference.name.clone(), fragment)),
        }
    }
    let mut manifests = Vec::new();
    for (name, text) in &texts {
        let read = content::read(text).map_err(|problem| BundleError::Unreadable { name: name.clone(), problem })?;
        manifests.extend(read);
    }
    manifests.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(manifests)
}

/// Where something was read is worth knowing and not worth failing for.
fn with_origins<'a, F>(spec: &BundleSpec, mut manifests: Vec<Manifest>, lookup: &mut F) -> Vec<Arc<Manifest>>
where
    F: FnMut(&ChunkRef) -> Option<Cow<'a, [u8]>>,
{
    if let Some(reference) = &spec.origins
        && let Ok(text) = read_chunk(reference, lookup)
    {
        content::add_origins(&mut manifests, &text);
    }
    manifests.into_iter().map(Arc::new).collect()
}

/// The name of the object that holds a bundle's index: unique for application
/// and content.
pub fn bundle_name(application: &str, digest: &BundleDigest) -> String {
    format!("{application}-{}", digest.short(NAME_DIGITS))
}

/// How many hex digits of a digest names have: 160 bits.
const NAME_DIGITS: usize = 40;
/// How much JSON a bundle may have: far more than 10,000 ordinary objects
/// need, and little enough to be held in memory.
const MOST_BYTES: usize = 256 << 20;
/// How many chunks an index may name.
const MOST_CHUNKS: usize = 8192;

fn read_chunk<'a, F>(reference: &ChunkRef, lookup: &mut F) -> Result<Vec<u8>, BundleError>
where
    F: FnMut(&ChunkRef) -> Option<Cow<'a, [u8]>>,
{
    let name = || reference.name.clone();
    let compressed = lookup(reference).ok_or_else(|| BundleError::Missing(name()))?;
    let text = content::decompress(&compressed).map_err(|source| BundleError::Decompress { name: name(), source })?;
    // A chunk's digest is of its bytes: the scheme of the canonical form is nothing to it.
    if Digest::of(&text).hex() != reference.digest.hex() {
        return Err(BundleError::Corrupt(name()));
    }
    Ok(text)
}

fn push_fragments(
    chunks: &mut Vec<PackedChunk>,
    application: &str,
    store: ChunkStore,
    text: &[u8],
) -> Result<Vec<ChunkRef>, BundleError> {
    let mut references = Vec::new();
    for (index, fragment) in text.chunks(content::FRAGMENT_BYTES).enumerate() {
        let chunk = chunk(application, store, fragment, index > 0)?;
        references.push(chunk.reference.clone());
        chunks.push(chunk);
    }
    Ok(references)
}

fn chunk(application: &str, store: ChunkStore, text: &[u8], continues: bool) -> Result<PackedChunk, BundleError> {
    let digest = Digest::of(text);
    let name = format!("{application}-{}", digest.short(NAME_DIGITS));
    let content = content::compress(text).map_err(BundleError::Compress)?;
    Ok(PackedChunk { reference: ChunkRef { name, store, digest, continues }, content })
}

/// The chunk that says where manifests were read.
enum Origins {
    /// It is stored already.
    Known(ChunkRef),
    New(PackedChunk),
}

impl Origins {
    fn reference(&self) -> &ChunkRef {
        match self {
            Self::Known(reference) => reference,
            Self::New(chunk) => &chunk.reference,
        }
    }
}

fn origins_chunk(
    application: &str,
    sorted: &[&Manifest],
    known: Option<&ChunkRef>,
) -> Result<Option<Origins>, BundleError> {
    let text = content::origins(sorted);
    if let (Some(text), Some(known)) = (&text, known)
        && Digest::of(text) == known.digest
    {
        return Ok(Some(Origins::Known(known.clone())));
    }
    let Some(text) = text else { return Ok(None) };
    chunk(application, ChunkStore::BundleChunk, &text, false).map(|chunk| Some(Origins::New(chunk)))
}

impl ChunkRef {
    /// What makes it the same stored object.
    pub(crate) fn cmp_key(&self) -> (ChunkStore, &str) {
        (self.store, &self.name)
    }
}
