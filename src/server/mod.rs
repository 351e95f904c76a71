//! What the program answers by HTTP: probes and metrics.
//!
//! It reads what others made ready and changes nothing; it asks no API server.
//! Connections, their number and their life are bounded, and a shutdown waits
//! for none of them for long. Webhooks come to an address of their own, so that
//! who sends them cannot keep the probes from being answered.
//!
//! ```text
//! GET /healthz   the loops of the process move
//! GET /readyz    the watches are in sync, and it is known who leads
//! GET /metrics   OpenMetrics
//!
//! POST /hooks/…  a Git server says that something was pushed: look now
//! ```

mod bounded;
mod heartbeat;
mod hooks;
mod probes;

pub use heartbeat::{Heartbeat, Heartbeats};
pub use hooks::{Hooks, Leader, LookNow, serve_hooks};
pub use probes::{Check, Probes, ServerError, serve};
