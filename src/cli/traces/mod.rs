//! Traces of the controller: exported where OpenTelemetry's environment
//! variables name a collector, by a build with the feature `otel`.

#[cfg(not(feature = "otel"))]
mod absent;
#[cfg(feature = "otel")]
mod exported;

use tracing::warn;

#[cfg(not(feature = "otel"))]
use self::absent::{Exporter, end, exporter, layer};
#[cfg(feature = "otel")]
use self::exported::{Exporter, end, exporter, layer};
use crate::telemetry::SpanLayer;

/// What exports traces, if anything does.
pub(super) struct Traces {
    exporter: Option<Exporter>,
    /// Why nothing does, although the environment asks for it.
    trouble: Option<String>,
}

impl Traces {
    /// What the environment asks for, for a process of this identity, in a pod
    /// of this namespace and name, if it is in one.
    pub(super) fn of_environment(identity: &str, pod: Option<(String, String)>) -> Self {
        match exporter(identity, pod) {
            Ok(exporter) => Self { exporter, trouble: None },
            Err(trouble) => Self { exporter: None, trouble: Some(trouble) },
        }
    }

    /// What takes up the spans.
    pub(super) fn layer(&self) -> Option<SpanLayer> {
        self.exporter.as_ref().map(layer)
    }

    /// Logs why there are none although there should be: they are no reason not
    /// to run.
    pub(super) fn tell(&self) {
        if let Some(trouble) = &self.trouble {
            warn!("no traces are exported: {trouble}");
        }
    }

    /// Exports what is left, for a few seconds at most.
    pub(super) async fn end(self) {
        if let Some(exporter) = self.exporter {
            end(exporter).await;
        }
    }
}
