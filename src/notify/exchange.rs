//! One request over HTTP and its answer, with a limit on everything: names,
//! addresses, time, and the size of the answer. Redirects are not followed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, crypto::ring, pki_types::ServerName};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::TlsConnector;
use url::Position;

use super::{Access, NotReachable, Reach, Target};

/// How long an exchange may take, from the name to the last byte.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// How many addresses of a name are tried.
const MOST_ADDRESSES: usize = 4;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// It may not be spoken to.
    #[error(transparent)]
    NotReachable(#[from] NotReachable),
    /// It took too long.
    #[error("{0} did not answer within {TIMEOUT:?}")]
    TooSlow(Target),
    /// Credentials would be read by anybody on the way.
    #[error("{0} is not shown credentials, since they would travel in the clear: an https URL is needed")]
    InTheClear(Target),
    /// Its name has no address.
    #[error("the name of {0} cannot be resolved: {1}")]
    Name(Target, String),
    /// No connection came about.
    #[error("{0} cannot be connected to: {1}")]
    Connect(Target, String),
    /// The connection broke, or what came was no HTTP.
    #[error("{0} gave no whole answer: {1}")]
    Broken(Target, String),
    /// It answered, and not that all is well.
    #[error("{0} answered {1}")]
    Status(Target, StatusCode),
}

/// A client without memory: each exchange has a connection of its own, since
/// there are few.
#[derive(Clone)]
pub(super) struct Client {
    tls: Result<TlsConnector, String>,
}

impl Client {
    /// Takes the machine's trust store.
    pub(super) fn new() -> Self {
        Self { tls: connector() }
    }

    /// Sends a request and takes the body of a good answer up to a limit, or
    /// without one nothing of it.
    pub(super) async fn send(
        &self,
        target: &Target,
        reach: &Reach,
        access: &Access,
        request: Request<Full<Bytes>>,
        limit: Option<usize>,
    ) -> Result<Bytes, ExchangeError> {
        let exchange = self.exchange(target, reach, access, request, limit);
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| ExchangeError::TooSlow(target.clone()))?
    }

    async fn exchange(
        &self,
        target: &Target,
        reach: &Reach,
        access: &Access,
        mut request: Request<Full<Bytes>>,
        limit: Option<usize>,
    ) -> Result<Bytes, ExchangeError> {
        reach.check_host(target)?;
        let failed = |why: String| ExchangeError::Connect(target.clone(), why);
        if target.url().scheme() == "http" {
            if access.authorization().is_some() {
                return Err(ExchangeError::InTheClear(target.clone()));
            }
            return answer(target, connect(target, reach).await?, request, limit).await;
        }
        if let Some(authorization) = access.authorization() {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        let stream = connect(target, reach).await?;
        let connector = match access.trust() {
            Some(trust) => TlsConnector::from(trust.clone()),
            None => self.tls.clone().map_err(failed)?,
        };
        let name = match target.address() {
            Some(address) => ServerName::IpAddress(address.into()),
            None => ServerName::try_from(target.host()).map_err(|error| failed(error.to_string()))?,
        };
        let stream = connector.connect(name, stream).await.map_err(|error| failed(error.to_string()))?;
        answer(target, stream, request, limit).await
    }
}

/// A request to a target, with the headers that all have.
pub(super) fn request(target: &Target, method: http::Method) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(&target.url()[Position::BeforePath..])
        .header(header::HOST, target.authority())
        .header(header::USER_AGENT, concat!("bowline/", env!("CARGO_PKG_VERSION")))
}

fn connector() -> Result<TlsConnector, String> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_platform_verifier())
        .map_err(|error| error.to_string())?
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Connects to the first address of a name that may be reached and answers.
async fn connect(target: &Target, reach: &Reach) -> Result<TcpStream, ExchangeError> {
    let addresses: Vec<IpAddr> = match target.address() {
        Some(address) => vec![address],
        None => {
            let found = lookup_host((target.host(), target.port())).await;
            let found = found.map_err(|error| ExchangeError::Name(target.clone(), error.to_string()))?;
            found.map(|address| address.ip()).take(MOST_ADDRESSES).collect()
        }
    };
    let failed = |why: String| ExchangeError::Connect(target.clone(), why);
    let mut last = failed("it has no address".to_owned());
    for address in addresses {
        if let Err(refused) = reach.check_address(address) {
            last = refused.into();
            continue;
        }
        match TcpStream::connect(SocketAddr::new(address, target.port())).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = failed(error.to_string()),
        }
    }
    Err(last)
}

async fn answer<S>(
    target: &Target,
    stream: S,
    request: Request<Full<Bytes>>,
    limit: Option<usize>,
) -> Result<Bytes, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |why: &dyn std::fmt::Display| ExchangeError::Broken(target.clone(), why.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(ExchangeError::Status(target.clone(), status));
        }
        let Some(limit) = limit else { return Ok(Bytes::new()) };
        let body = Limited::new(response.into_body(), limit).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| broken(&error))
    };
    // The connection moves only while somebody drives it; it ends with this.
    tokio::pin!(exchange);
    tokio::select! {
        answered = &mut exchange => answered,
        driven = connection => match exchange.await {
            Err(error) => Err(driven.err().map_or(error, |error| broken(&error))),
            answered => answered,
        },
    }
}
