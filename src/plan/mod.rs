//! Propose, conclude: what an apply will do, as data.
//!
//! Planning has three steps. [`propose`] names candidates from digests,
//! fingerprints and policy. `cluster::observe` fetches the live objects of
//! those candidates, and the server's dry-run of what would be written.
//! [`conclude`] makes the [`Plan`]: actions with reason, field changes and
//! precondition. Both ends are pure: no I/O, no clock.
//!
//! ```text
//! bundle + inventory + drift ──propose──> Proposal ──(observe)──> Observations ──conclude──> Plan
//! ```

mod action;
mod adopt;
mod body;
mod claim;
mod conclude;
mod conflict;
mod diff;
mod digest;
mod observation;
mod order;
pub mod ownership;
mod policy;
mod propagation;
mod proposal;
mod propose;
mod prune;
mod refusal;
mod safety;
mod settle;
#[cfg(test)]
mod testing;

pub use action::{Action, FieldChange, Plan, Precondition, Refusal, RefusalReason, Verb};
pub use body::body;
pub use conclude::conclude;
pub use observation::{DryRun, KIND_UNKNOWN, Observation, Observations, ServerError};
pub use policy::{APPLICATION_ANNOTATION, ConflictPolicy, IgnoreRule, Membership, Policy, RollbackPolicy, SET_LABEL};
pub use propagation::Propagation;
pub use proposal::{Candidate, Owned, OwnedObjects, Proposal, Why};
pub use propose::propose;
pub use safety::irreversible;
