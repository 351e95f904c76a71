//! A build with the feature `otel`: what exports, by the environment.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::spawn_blocking};
use traces::About;
pub(super) use traces::Exporter;
use tracing::warn;

use crate::{
    notify::{Access, Collector, Target},
    telemetry::{EARLIER, SPANS, SpanLayer, TOOK},
};

/// How long the end of the process waits for the collector.
const FLUSH: Duration = Duration::from_secs(3);

pub(super) fn exporter(identity: &str, pod: Option<(String, String)>) -> Result<Option<Exporter>, String> {
    let environment = |name: &str| std::env::var(name).ok();
    let endpoint = traces::endpoint(&environment).map_err(|error| error.to_string())?;
    let Some(endpoint) = endpoint else { return Ok(None) };
    let target: Target = endpoint.parse().map_err(|error| format!("the endpoint cannot be used: {error}"))?;
    let collector = Arc::new(Collector::new(target, access(&environment)?));
    let post = move |request| {
        let collector = collector.clone();
        async move { collector.post(request).await.map_err(Into::into) }
    };
    let (namespace, pod) = pod.unzip();
    let about = About {
        service: "bowline",
        version: env!("CARGO_PKG_VERSION"),
        instance: identity.to_owned(),
        namespace,
        pod,
        target: SPANS,
        earlier: EARLIER,
        took: TOOK,
    };
    let started = Exporter::start(&about, &environment, &endpoint, Handle::current(), post);
    started.map(Some).map_err(|error| error.to_string())
}

/// The authorities that the collector is trusted by, where the environment
/// names a file of them.
fn access(environment: &dyn Fn(&str) -> Option<String>) -> Result<Access, String> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
    let Some(path) = names.into_iter().find_map(environment).filter(|path| !path.is_empty()) else {
        return Ok(Access::default());
    };
    let pem = std::fs::read(&path).map_err(|error| format!("{path} cannot be read: {error}"))?;
    Access::default().with_authorities(&pem).map_err(|error| format!("{path} cannot be used: {error}"))
}

pub(super) fn layer(exporter: &Exporter) -> SpanLayer {
    exporter.layer()
}

pub(super) async fn end(exporter: Exporter) {
    // It blocks, and what it waits for runs on this runtime.
    let ended = spawn_blocking(move || exporter.end(FLUSH)).await;
    if !ended.unwrap_or(false) {
        warn!("the last spans were not handed over within {FLUSH:?}");
    }
}
