//! Spans that are made when their work is over. A span of `tracing` begins when
//! it is made, and of some work it is only known afterwards that it is worth one.

use std::time::Duration;

use opentelemetry::Value;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};

/// Puts such spans where they were, by what their attributes say, on the way to
/// an exporter.
#[derive(Debug)]
pub(crate) struct BackDated<E> {
    pub(crate) exporter: E,
    /// The attribute with how long before it was made a span began.
    pub(crate) earlier: &'static str,
    /// The attribute with how long it took, if not until it was made.
    pub(crate) took: &'static str,
}

impl<E: SpanExporter> SpanExporter for BackDated<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        for span in &mut batch {
            put_back(span, self.earlier, self.took);
        }
        self.exporter.export(batch).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

fn put_back(span: &mut SpanData, earlier: &str, took: &str) {
    let (earlier, took) = (taken(span, earlier), taken(span, took));
    if let Some(began) = earlier.and_then(|earlier| span.start_time.checked_sub(earlier)) {
        span.start_time = began;
    }
    if let Some(ended) = took.and_then(|took| span.start_time.checked_add(took)) {
        span.end_time = ended;
    }
}

/// Takes an attribute out, in microseconds.
fn taken(span: &mut SpanData, name: &str) -> Option<Duration> {
    let found = span.attributes.iter().position(|known| known.key.as_str() == name)?;
    match span.attributes.remove(found).value {
        Value::I64(microseconds) => Some(Duration::from_micros(u64::try_from(microseconds).ok()?)),
        _ => None,
    }
}
