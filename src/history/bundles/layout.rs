//! Which manifests share a chunk.
//!
//! A trie over a hash of the identities: a node with few enough manifests is a
//! chunk, a fuller one is split by the next bit of the hash. The result depends
//! on the set of manifests alone, and adding, changing or removing one touches
//! only the chunk that it is in.

use sha2::{Digest as _, Sha256};

use super::{BundleError, content};
use crate::manifest::Manifest;

/// A chunk has at most this many manifests.
pub(super) const MOST_MANIFESTS: usize = 24;
/// A chunk of more than one manifest is at most this large, in bytes of JSON.
const MOST_BYTES: usize = 256 * 1024;
/// The number of bits that split: beyond these, manifests stay together.
const BITS: usize = 256;

/// A manifest with its place in the trie and the size of its JSON.
pub(super) struct Leaf<'a> {
    hash: &'a [u8; 32],
    bytes: usize,
    pub(super) manifest: &'a Manifest,
}

/// The manifests of one chunk.
pub(super) type Group<'a> = Vec<Leaf<'a>>;

/// Which of the manifests, which are sorted by identity, share a chunk.
pub(super) fn groups<'a>(sorted: &[&'a Manifest]) -> Result<Vec<Group<'a>>, BundleError> {
    let leaves = sorted.iter().map(|manifest| {
        let bytes = content::bytes(manifest).ok_or_else(|| BundleError::Identity(manifest.id.clone()))?;
        Ok(Leaf { hash: manifest.id.sha256(), bytes, manifest })
    });
    let leaves: Vec<Leaf<'_>> = leaves.collect::<Result<_, BundleError>>()?;
    let mut found = Vec::new();
    // A large manifest is a chunk by itself, and its neighbours stay together.
    let (large, small): (Vec<Leaf<'_>>, Vec<Leaf<'_>>) =
        leaves.into_iter().partition(|leaf| leaf.bytes > MOST_BYTES / 2);
    found.extend(large.into_iter().map(|leaf| vec![leaf]));
    split(small, 0, &mut found);
    Ok(found)
}

fn split<'a>(leaves: Group<'a>, bit: usize, found: &mut Vec<Group<'a>>) {
    if leaves.is_empty() {
        return;
    }
    let bytes: usize = leaves.iter().map(|leaf| leaf.bytes).sum();
    let fits = leaves.len() == 1 || (leaves.len() <= MOST_MANIFESTS && bytes <= MOST_BYTES);
    if fits || bit >= BITS {
        found.push(leaves);
        return;
    }
    let (ones, zeros): (Group<'a>, Group<'a>) =
        leaves.into_iter().partition(|leaf| leaf.hash[bit / 8] >> (7 - bit % 8) & 1 == 1);
    split(zeros, bit + 1, found);
    split(ones, bit + 1, found);
}

/// How many bytes of JSON the manifests of a chunk are.
pub(super) fn bytes(group: &Group<'_>) -> usize {
    group.iter().map(|leaf| leaf.bytes + 1).sum::<usize>() + 1
}

/// The name of what is in a chunk: which manifests, and their content.
pub(super) fn members(group: &Group<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for leaf in group {
        for part in [leaf.manifest.id.key(), leaf.manifest.digest.to_string()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}

/// The JSON of a chunk.
pub(super) fn json(group: &Group<'_>) -> Result<Vec<u8>, BundleError> {
    let mut text = Vec::with_capacity(bytes(group));
    text.push(b'[');
    for (index, leaf) in group.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        let json = content::write(leaf.manifest).ok_or_else(|| BundleError::Identity(leaf.manifest.id.clone()))?;
        text.extend_from_slice(&json);
    }
    text.push(b']');
    Ok(text)
}
