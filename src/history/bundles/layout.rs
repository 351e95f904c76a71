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

/// A manifest with its place in the trie and its JSON.
struct Leaf {
    hash: [u8; 32],
    json: Vec<u8>,
}

/// The JSON of the chunks of manifests, which are sorted by identity.
pub(super) fn chunks(sorted: &[&Manifest]) -> Result<Vec<Vec<u8>>, BundleError> {
    let leaves = sorted.iter().map(|manifest| {
        let json = content::write(manifest).ok_or_else(|| BundleError::Identity(manifest.id.clone()))?;
        Ok(Leaf { hash: Sha256::digest(manifest.id.key()).into(), json })
    });
    let leaves: Vec<Leaf> = leaves.collect::<Result<_, BundleError>>()?;
    let mut found = Vec::new();
    // A large manifest is a chunk by itself, and its neighbours stay together.
    let (large, small): (Vec<Leaf>, Vec<Leaf>) = leaves.into_iter().partition(|leaf| leaf.json.len() > MOST_BYTES / 2);
    found.extend(large.iter().map(|leaf| json_array(std::slice::from_ref(leaf))));
    split(small, 0, &mut found);
    Ok(found)
}

fn split(leaves: Vec<Leaf>, bit: usize, found: &mut Vec<Vec<u8>>) {
    if leaves.is_empty() {
        return;
    }
    let bytes: usize = leaves.iter().map(|leaf| leaf.json.len()).sum();
    let fits = leaves.len() == 1 || (leaves.len() <= MOST_MANIFESTS && bytes <= MOST_BYTES);
    if fits || bit >= BITS {
        found.push(json_array(&leaves));
        return;
    }
    let (ones, zeros): (Vec<Leaf>, Vec<Leaf>) =
        leaves.into_iter().partition(|leaf| leaf.hash[bit / 8] >> (7 - bit % 8) & 1 == 1);
    split(zeros, bit + 1, found);
    split(ones, bit + 1, found);
}

fn json_array(leaves: &[Leaf]) -> Vec<u8> {
    let mut text = vec![b'['];
    for (index, leaf) in leaves.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(&leaf.json);
    }
    text.push(b']');
    text
}
