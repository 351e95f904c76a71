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
mod backward;
mod body;
mod claim;
mod conclude;
mod conflict;
mod diff;
mod digest;
mod hooks;
mod observation;
mod order;
pub mod ownership;
mod policy;
mod propagation;
mod proposal;
mod propose;
mod prune;
mod refusal;
mod roles;
mod safety;
pub mod schedule;
mod settle;
#[cfg(test)]
pub(crate) mod testing;

pub use action::{Action, ActiveHook, FieldChange, Gate, Plan, Precondition, Refusal, RefusalReason, Verb};
pub use body::{Body, body};
pub use conclude::conclude;
pub use diff::compared;
pub use observation::{DryRun, KIND_UNKNOWN, Observation, Observations, ServerError};
pub use order::sort_as_written;
pub use policy::{
    APPLICATION_ANNOTATION, ConflictPolicy, HookRuns, IgnoreRule, Membership, Policy, RollbackPolicy, SET_LABEL,
};
pub use propagation::Propagation;
pub use proposal::{Candidate, HookCandidate, Owned, OwnedObjects, Proposal, Why};
pub use propose::{propose, unobeyable};
pub use safety::irreversible;
pub use settle::may_be_replaced;
