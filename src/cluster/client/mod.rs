//! The connection to one API server: how it is made, how a request is sent.
//!
//! Every request has a time-out of its own, an identity, and a place in the
//! shared limit of requests in flight. The library's own retries are off:
//! what is worth a retry is decided here.

mod limit;
pub mod path;
mod retry;

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Limited};
use kube::{
    Config,
    client::{Body, ClientBuilder},
    config::{KubeConfigOptions, Kubeconfig},
};
use limit::{Limit, Pass, Signal};
pub use retry::Patience;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    ClusterError, Identity, RequestError,
    discovery::Discovery,
    error::{chain, from_answer},
};
use crate::telemetry::{CountRequests, Metrics};

/// How long a read may take.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a write or a dry-run may take: admission webhooks have up to 30 s.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read. An object has at most 1.5 MiB; the largest
/// answers are discovery documents and lists of pods.
const LARGEST_ANSWER: usize = 32 << 20;

/// How to reach a cluster, and as what program.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// The kubeconfig file; without one `KUBECONFIG`, `~/.kube/config` or the
    /// pod's own ServiceAccount.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; without one its current context.
    pub context: Option<String>,
    /// `bowline-controller/<version>` or `bowline-cli/<version>`: the audit
    /// log tells the two apart by it.
    pub user_agent: String,
}

/// Makes `ring` the process's provider of cryptography. The first thing that
/// `main` does; doing it again is harmless.
pub fn install_crypto_provider() {
    // The error only says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Makes a client. Nothing is sent yet.
pub async fn connect(options: &ConnectOptions) -> Result<kube::Client, ClusterError> {
    Ok(ClientBuilder::try_from(config(options).await?)
        .map_err(|source| ClusterError::Client(Box::new(source)))?
        .build())
}

/// The same; every request is counted.
pub async fn connect_counted(options: &ConnectOptions, metrics: Metrics) -> Result<kube::Client, ClusterError> {
    let builder =
        ClientBuilder::try_from(config(options).await?).map_err(|source| ClusterError::Client(Box::new(source)))?;
    Ok(builder.with_layer(&CountRequests::new(metrics)).build())
}

async fn config(options: &ConnectOptions) -> Result<Config, ClusterError> {
    let mut config = read_config(options).await?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let user_agent =
        HeaderValue::from_str(&options.user_agent).map_err(|_| ClusterError::UserAgent(options.user_agent.clone()))?;
    config.headers.push((header::USER_AGENT, user_agent));
    Ok(config)
}

async fn read_config(options: &ConnectOptions) -> Result<Config, ClusterError> {
    let selection = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    if let Some(path) = &options.kubeconfig {
        let failed = |source| ClusterError::Kubeconfig { path: path.clone(), source: Box::new(source) };
        let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
        return Config::from_custom_kubeconfig(kubeconfig, &selection).await.map_err(failed);
    }
    if let Some(context) = &options.context {
        return Config::from_kubeconfig(&selection)
            .await
            .map_err(|source| ClusterError::Context { context: context.clone(), source: Box::new(source) });
    }
    Config::infer().await.map_err(|source| ClusterError::NotConfigured(Box::new(source)))
}

/// One cluster: its client, what it serves, and how many requests it takes at
/// once. Cheap to clone; all clones share all three.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    discovery: Arc<Discovery>,
    limit: Arc<Limit>,
}

impl Cluster {
    /// A cluster behind a client. Nothing is sent yet.
    pub fn new(client: kube::Client) -> Self {
        let discovery = Arc::new(Discovery::new(client.clone()));
        Self { client, discovery, limit: Arc::new(Limit::new()) }
    }

    /// Connects and wraps the client.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ClusterError> {
        Ok(Self::new(connect(options).await?))
    }

    /// The same; every request is counted.
    pub async fn connect_counted(options: &ConnectOptions, metrics: Metrics) -> Result<Self, ClusterError> {
        Ok(Self::new(connect_counted(options, metrics).await?))
    }

    /// The client, for watches and for Bowline's own resources.
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// What the cluster serves.
    pub fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// How many requests may be in flight at present.
    pub fn requests_in_flight_limit(&self) -> usize {
        self.limit.current()
    }

    /// Sends one request once, in its turn.
    pub async fn request(&self, call: &Call<'_>) -> Result<Answer, RequestError> {
        self.send_in_turn(call, self.limit.enter().await).await
    }

    /// The same, if it may still be sent when its turn has come.
    pub async fn request_while(&self, call: &Call<'_>, may: impl Fn() -> bool) -> Option<Result<Answer, RequestError>> {
        let pass = self.limit.enter().await;
        if may() { Some(self.send_in_turn(call, pass).await) } else { None }
    }

    async fn send_in_turn(&self, call: &Call<'_>, pass: Pass<'_>) -> Result<Answer, RequestError> {
        let started = Instant::now();
        let result = send(&self.client, call).await;
        pass.leave(match &result {
            Ok(_) => Signal::Answered(started.elapsed()),
            Err(error) if matches!(error.error.code, 0 | 429) => Signal::Overloaded(error.retry_after),
            Err(error) if error.retry_after.is_some() => Signal::Overloaded(error.retry_after),
            Err(_) => Signal::Answered(started.elapsed()),
        });
        result
    }

    /// Sends a request that changes nothing, again and again within a deadline
    /// while the server is too busy or out of reach.
    pub async fn read(&self, call: Call<'_>) -> Result<Answer, RequestError> {
        self.patiently(&call, &mut Patience::new()).await
    }

    /// The same with the patience of a larger undertaking.
    pub async fn patiently(&self, call: &Call<'_>, patience: &mut Patience) -> Result<Answer, RequestError> {
        loop {
            match self.request(call).await {
                Err(error) if error.is_worth_a_retry() && patience.pause(&error).await => {}
                result => return result,
            }
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// `GET`, `PATCH`, `DELETE`, `POST`.
    pub method: Method,
    /// Path and query, made by [`path`].
    pub path: String,
    /// On whose behalf.
    pub identity: &'a Identity,
    /// The body and its content type.
    pub body: Option<(&'static str, Vec<u8>)>,
    /// What is accepted as an answer; JSON without it.
    pub accept: Option<&'static str>,
    /// How long the whole call may take.
    pub timeout: Duration,
    /// Whether it is about a Secret, so that errors may hold its values.
    pub secret: bool,
}

impl<'a> Call<'a> {
    /// A read.
    pub fn get(path: String, identity: &'a Identity) -> Self {
        Self { method: Method::GET, path, identity, body: None, accept: None, timeout: READ_TIMEOUT, secret: false }
    }

    /// A write, or the dry-run of one.
    pub fn write(
        method: Method,
        path: String,
        identity: &'a Identity,
        content_type: &'static str,
        body: &Value,
    ) -> Self {
        // Writing a `Value` to memory cannot fail: its keys are strings.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self {
            method,
            path,
            identity,
            body: Some((content_type, body)),
            accept: None,
            timeout: WRITE_TIMEOUT,
            secret: false,
        }
    }

    /// The same about a Secret, if it is one.
    #[must_use]
    pub fn secret(mut self, secret: bool) -> Self {
        self.secret = secret;
        self
    }
}

/// A successful answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status code: 200, 201, 202.
    pub code: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, RequestError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| RequestError::no_answer("Unreadable", format!("the answer is not as expected: {error}")))
    }
}

/// Sends one request once, outside of the limit.
pub(super) async fn send(client: &kube::Client, call: &Call<'_>) -> Result<Answer, RequestError> {
    match tokio::time::timeout(call.timeout, exchange(client, call)).await {
        Ok(result) => result,
        Err(_) => {
            let seconds = call.timeout.as_secs();
            Err(RequestError::no_answer("Timeout", format!("the API server did not answer within {seconds} s")))
        }
    }
}

async fn exchange(client: &kube::Client, call: &Call<'_>) -> Result<Answer, RequestError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static(call.accept.unwrap_or("application/json")));
    call.identity.add_headers(&mut headers)?;
    let mut request = Request::builder().method(&call.method).uri(&call.path);
    let mut body = Body::empty();
    if let Some((content_type, bytes)) = &call.body {
        request = request.header(header::CONTENT_TYPE, *content_type);
        body = Body::from(bytes.clone());
    }
    let mut request =
        request.body(body).map_err(|error| RequestError::unsendable(format!("no request can be made: {error}")))?;
    request.headers_mut().extend(headers);

    let response = client.send(request).await.map_err(|error| {
        RequestError::no_answer("Unreachable", format!("no answer of the API server: {}", chain(&error)))
    })?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, LARGEST_ANSWER)
        .collect()
        .await
        .map_err(|error| RequestError::no_answer("Unreadable", format!("the answer could not be read: {error}")))?
        .to_bytes();
    let code = parts.status.as_u16();
    if parts.status.is_success() {
        Ok(Answer { code, body: body.to_vec() })
    } else {
        Err(from_answer(code, &parts.headers, &body, call.secret))
    }
}
