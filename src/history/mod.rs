//! What an application remembers: releases, their chain, what was rejected,
//! what may be forgotten, and how manifests and inventory are laid out in the
//! cluster.
//!
//! Pure: everything is computed from values that come in. Reading and writing
//! the cluster is `cluster::store`'s; deciding what to do is `controller`'s.
//!
//! ```text
//! Vec<Release> ──History──> current, last healthy, rollback target
//!                  ├─ hold       what was rejected, by whom, until an accept
//!                  ├─ chain      each release carries the digest of the one before
//!                  ├─ retention  what may be forgotten
//!                  └─ as_of      what was known at an earlier time
//! two bundles   ──compare──> what differs, object by object
//! live object, releases ──blame──> who set each field, and where
//! manifests ──bundles::pack──> chunks (content-addressed, shared) ──unpack──> manifests
//! OwnedObjects ──inventory::split──> buckets ──join──> OwnedObjects
//! ```

mod as_of;
mod blame;
pub mod bundles;
mod chain;
mod compare;
mod hold;
pub mod inventory;
mod releases;
mod retention;
#[cfg(test)]
mod story;

pub use blame::{Blamed, Layer, Source, blame};
pub use chain::{ChainProblem, ChainReport, release_digest, verify};
pub use compare::{Comparison, ObjectDifference, Side, compare};
pub use hold::{Decision, Rejected, same_content};
pub use releases::{History, ReleaseNumber};
pub use retention::{Keep, WHOLE_WINDOW, next_too_old, trim};
