//! Spans of the program, exported to a collector by OpenTelemetry's protocol,
//! OTLP over HTTP.
//!
//! ```text
//! span ──layer──> bounded queue ──a thread, every few seconds──> post ──> collector
//! ```
//!
//! It is a package of its own, so that the program depends on OpenTelemetry
//! only where its feature `otel` is on, and the tests of the exporter need no
//! second build of the program. It opens no connection: whoever starts an
//! [`Exporter`] hands over what posts a request. The spans of a program never
//! wait for the collector: what does not fit into the queue is dropped.

mod back_dated;
mod environment;
mod exporter;
mod resource;

pub use environment::{Environment, NotExported, endpoint};
pub use exporter::{BoxError, Exporter};
pub use opentelemetry_http::{Bytes, Request};
pub use resource::About;
