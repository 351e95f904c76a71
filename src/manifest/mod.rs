//! Kubernetes objects as Bowline sees them: identity, YAML reading, canonical
//! form and digests, masking.
//!
//! Everything above is built on this module and it uses nothing of the rest.
//! It never does I/O, reads no clock and never panics on input.
//!
//! ```text
//! bytes ──yaml──> documents ──canonical──> Manifest { id, value, digest, origin }
//! ```

#[cfg(test)]
pub(crate) mod arbitrary;
mod canonical;
mod construct;
mod digest;
mod identity;
mod lines;
mod mask;
mod object;
mod packed;
mod pairs;
mod problem;
pub mod writer;
pub mod yaml;

pub use canonical::{CanonicalError, bundle_digest, canonical, canonical_json, is_built_in, manifest_digest};
pub(crate) use construct::is_dns_label;
pub use construct::{Scope, gvk_of};
pub use digest::{
    BundleDigest, Digest, DigestOfParts, Fingerprint, InputDigest, ManifestDigest, NotADigest, PlanDigest,
    ReleaseDigest,
};
pub use identity::{GroupKind, GroupVersionKind, ObjectId, ObjectKey};
pub use lines::FieldLines;
pub use mask::{Masker, escape_control, redact_url_credentials};
pub use object::{Manifest, Origin};
pub use packed::Packed;
pub use pairs::{Pair, pairs};
pub use problem::{Position, Problem};
