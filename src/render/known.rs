//! What a render keeps of each file, so that the next one reads only files that
//! changed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::Touches;
use crate::manifest::{Digest, Manifest, Scope};

/// What became of the files of a render. Empty where nothing is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KnownFiles {
    /// The namespace of objects that name none: another one makes other manifests.
    pub(super) default_namespace: Option<String>,
    /// What was changed of each object, likewise.
    pub(super) touches: Touches,
    /// The keys that files were decrypted by: without them there would be none.
    pub(super) decryption: Option<Digest>,
    pub(super) files: HashMap<String, Arc<KnownFile>>,
}

/// A file all of whose manifests depend on nothing but its content, the scopes
/// of their kinds, the default namespace and what is changed of each object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KnownFile {
    /// Name of its content, as the tree gives it.
    pub(super) content: Vec<u8>,
    /// How many bytes it has.
    pub(super) bytes: u64,
    /// Digest of its content.
    pub(super) digest: Digest,
    /// Its manifests, with the scopes that they were read by.
    pub(super) manifests: Vec<(Scope, Arc<Manifest>)>,
    /// Which of the images that are replaced it has.
    pub(super) images_met: BTreeSet<usize>,
}

impl KnownFiles {
    /// How many files are known.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether no file is known.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}
