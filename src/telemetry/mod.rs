//! Logs and metrics: what is written about the program while it runs.
//!
//! It knows nothing of applications or clusters: whoever uses it hands over
//! words and numbers. Labels are of closed lists, so that their number is
//! bounded. It never prints by itself: logs go to the writer it was given.

mod logs;
mod metrics;
mod requests;

pub use logs::{LogFormat, LogOptions, TelemetryError, init, subscriber};
pub use metrics::{CONTENT_TYPE, DeepCheck, Metrics, Step};
pub use requests::{CountRequests, CountedRequests};
