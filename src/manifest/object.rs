//! A desired object in canonical form.

use serde::{Deserialize, Serialize};

use super::{FieldLines, GroupVersionKind, ManifestDigest, ObjectId, Packed, Position};

/// Where a manifest was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// Path of the file, relative to the root of the repository.
    pub file: String,
    /// Where the document begins, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// On which line each field is, if it is known.
    #[serde(default, skip_serializing_if = "FieldLines::is_empty")]
    pub lines: FieldLines,
}

impl Origin {
    /// A place in a file, without the lines of the fields.
    pub fn new(file: impl Into<String>, position: Option<Position>) -> Self {
        Self { file: file.into(), position, lines: FieldLines::default() }
    }
}

/// One desired object: its identity, the version it is applied by, its
/// canonical form and the digest of that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Identity.
    pub id: ObjectId,
    /// Type with the version by which it is applied.
    pub gvk: GroupVersionKind,
    /// The object in canonical form, always a JSON object.
    pub value: Packed,
    /// Digest of the canonical form.
    pub digest: ManifestDigest,
    /// Where it was read; no part of the digest.
    pub origin: Option<Origin>,
}

impl Manifest {
    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.value.annotation(name)
    }

    /// The line of the field at a JSON pointer into the canonical form, in the
    /// file of the origin, if it is known.
    pub fn line_of(&self, pointer: &str) -> Option<u32> {
        let origin = self.origin.as_ref()?;
        origin.lines.of(&self.value.read(), pointer, origin.position?.line)
    }

    /// Whether the object is a Secret of the core group, whose content is
    /// stored and shown with care.
    pub fn is_secret(&self) -> bool {
        self.id.group.is_empty() && self.id.kind == "Secret"
    }
}
