//! The live index: what the cluster has of every application, known by watch.
//!
//! One watch for each scope and kind in use, selected by our label and shared
//! by all applications, each with its own back-off. Of an object it keeps
//! identity, uid, resourceVersion, fingerprint and health, never the object.
//! It decides nothing: drift, absence and health are facts that `controller`
//! acts upon.
//!
//! ```text
//! feed (one a kind) ──event──> Sighting ──assess──> Reading ──> State ──> owners that changed
//!                     own write's answer ──record──────────────^     └──> summary(owner, expected)
//! ```
//!
//! A kind is Syncing, InSync or Broken. Absence is judged only while it is
//! InSync; a broken kind makes its own objects Unknown and no others.

mod live;
mod sighting;
mod state;
mod summary;
#[cfg(test)]
mod tests;

pub use live::{LiveIndex, Wanted, WatchReport};
pub use sighting::{Assess, Assessed, FingerprintPolicy, Sighting, Subject, assess};
pub use state::{BrokenReason, Changed, KindKey, KindStatus, Outdated, Reading, Scope, State, Unread};
pub use summary::{BrokenKind, LiveObject, LiveSummary};
