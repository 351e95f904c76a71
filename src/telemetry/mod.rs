//! Logs, metrics and spans: what is told about the program while it runs.
//!
//! It knows nothing of applications or clusters: whoever uses it hands over
//! words and numbers. Labels are of closed lists, so that their number is
//! bounded. It never prints by itself: logs go to the writer it was given, and
//! spans to whoever exports them, if anybody does.

mod logs;
mod metrics;
mod requests;
mod spans;

pub use logs::{LogFormat, LogOptions, TelemetryError, init, subscriber, subscriber_with_spans};
pub use metrics::{CONTENT_TYPE, DeepCheck, Metrics, Step};
pub use requests::{CountRequests, CountedRequests};
pub use spans::{EARLIER, SPANS, SpanLayer, TOOK};
