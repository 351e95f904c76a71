//! Leadership: which replica may write, by one Lease.
//!
//! It is read and replaced with its resourceVersion as precondition, so that
//! the server lets one candidate win. When a holder is dead is judged by the
//! candidate's own monotonic clock, from when it saw the last change: the times
//! in the Lease are for people. A leader stops writing at its renew deadline,
//! well before anybody else may take over. It decides nothing but that.
//!
//! A follower watches the Lease, so that it learns at once that it was released
//! and counts from the last renewal. The watch is a hint: nothing is claimed
//! that was not read, and without it the Lease is looked at now and then.
//!
//! ```text
//! Lease ──read──> Election (pure) ──Step──> create, replace ──answer──> Election ──> Leadership
//! ```

mod decide;
mod hint;
mod run;

pub use decide::{Claim, Election, LeaseView, Step, Timing};
pub use run::{Leadership, LeaseOptions, campaign};
