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
mod observation;
mod policy;
mod proposal;

pub use action::{Action, FieldChange, Plan, Precondition, Refusal, RefusalReason, Verb};
pub use observation::{DryRun, Observation, Observations, ServerError};
pub use policy::{IgnoreRule, Membership, Policy, RollbackPolicy};
pub use proposal::{Candidate, Owned, OwnedObjects, Proposal, Why};
