//! The exporter: a bounded queue, the thread that empties it, and the layer
//! that fills it.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::StatusCode;
use opentelemetry::{InstrumentationScope, trace::TracerProvider as _};
use opentelemetry_http::{Bytes, HttpClient, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use crate::{About, Environment, NotExported, back_dated::BackDated, resource::resource};

/// Why a request was not answered.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What exports spans, until it is ended.
#[derive(Debug)]
pub struct Exporter {
    provider: SdkTracerProvider,
    scope: InstrumentationScope,
    target: &'static str,
}

impl Exporter {
    /// Starts the thread that exports. Requests are posted by `post`, on a
    /// runtime; it answers with the status, whatever that is, and should give
    /// up after some seconds.
    ///
    /// # Errors
    /// The environment asks for what cannot be done, such as a compression
    /// that is not known.
    pub fn start<P, F>(
        about: &About,
        environment: Environment<'_>,
        endpoint: &str,
        runtime: Handle,
        post: P,
    ) -> Result<Self, NotExported>
    where
        P: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<StatusCode, BoxError>> + Send + 'static,
    {
        // The clients that the library offers bring TLS of their own, or have none.
        let post = move |request: Request<Bytes>| -> Posting { Box::pin(post(request)) };
        let client = Client { post: Arc::new(post), runtime };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(client)
            .build()
            .map_err(|error| NotExported::SetUp(error.to_string()))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(BackDated { exporter, earlier: about.earlier, took: about.took })
            .with_resource(resource(about, environment))
            .build();
        let scope = InstrumentationScope::builder(about.service).with_version(about.version).build();
        Ok(Self { provider, scope, target: about.target })
    }

    /// The layer that takes up the spans of its target, up to the level INFO,
    /// and nothing else.
    pub fn layer<S>(&self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let target = self.target;
        let ours = filter_fn(move |metadata| metadata.is_span() && metadata.target() == target);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer_with_scope(self.scope.clone()))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(ours.with_max_level_hint(LevelFilter::INFO))
            .boxed()
    }

    /// Exports what is left in the queue, and ends; it blocks for as long as
    /// that takes, within a limit. Whether it came to its end in time.
    pub fn end(&self, within: Duration) -> bool {
        self.provider.shutdown_with_timeout(within).is_ok()
    }
}

type Posting = std::pin::Pin<Box<dyn Future<Output = Result<StatusCode, BoxError>> + Send>>;

/// Posts on a runtime what the exporter hands over on its own thread.
struct Client {
    post: Arc<dyn Fn(Request<Bytes>) -> Posting + Send + Sync>,
    runtime: Handle,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
        // On the thread of the exporter nothing would drive a connection.
        let status = self.runtime.spawn((self.post)(request)).await??;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        Ok(response)
    }
}
