//! Everything that speaks to an API server: client and identities, discovery,
//! the live index, observe, apply, evidence, and the store of what `history`
//! made.
//!
//! It owns connections, time-outs, retries and the number of requests in
//! flight. It makes no choices: what is written stands in a
//! [`Plan`](crate::plan::Plan), and what the server answered is handed on as it
//! was, with the values of Secrets masked.
//!
//! ```text
//!            Cluster { client, discovery, limit }
//! Proposal ──observe──> Observations ──(plan::conclude)──> Plan ──apply_stage──> ActionResults
//! ```
//!
//! It never renders, never reads Git, and never decides what happens next.

pub mod apply;
pub mod capabilities;
pub mod client;
pub mod data;
pub mod discovery;
pub mod error;
pub mod evidence;
mod explain;
pub mod identity;
pub mod index;
pub mod lease;
pub mod observe;
mod owner;
pub mod store;
pub mod watch;

pub use client::{Cluster, ConnectOptions};
pub use error::{ClusterError, RequestError};
pub use explain::explain;
pub use identity::Identity;
pub use owner::OwnerKey;
