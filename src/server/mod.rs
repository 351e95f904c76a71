//! What the program answers by HTTP: probes and metrics.
//!
//! It reads what others made ready and changes nothing; it asks no API server.
//! Connections, their number and their life are bounded, and a shutdown waits
//! for none of them for long.
//!
//! ```text
//! GET /healthz   the loops of the process move
//! GET /readyz    the watches are in sync, and it is known who leads
//! GET /metrics   OpenMetrics
//! ```

mod bounded;
mod heartbeat;
mod probes;

pub use heartbeat::{Heartbeat, Heartbeats};
pub use probes::{Check, Probes, ServerError, serve};
