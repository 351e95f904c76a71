//! A small HTTP server for blocking handlers, and one request as a client.
//!
//! Both run on a thread with a runtime of its own, so that callers need none
//! and may have one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::error::{Error, Result};
use crate::pki::{Authority, Identity};

pub(crate) type Request = hyper::Request<Bytes>;
pub(crate) type Response = hyper::Response<Bytes>;
pub(crate) type Handler = Arc<dyn Fn(Request) -> Response + Send + Sync>;

/// More than any push of a test; beyond it a request is refused with 413.
const MAX_BODY: usize = 512 << 20;

/// A server on a port of 127.0.0.1; it stops with the value.
pub(crate) struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on the port and answers each request on a thread of its own.
    pub(crate) fn start(port: u16, tls: Option<Arc<rustls::ServerConfig>>, handler: Handler) -> Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, port).into(), tls, handler)
    }

    /// The same at an address of choice.
    pub(crate) fn start_at(at: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>, handler: Handler) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (report, started) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(source) => return drop(report.send(Err(source))),
            };
            runtime.block_on(async move {
                match TcpListener::bind(at).await {
                    Ok(listener) => {
                        let _ = report.send(listener.local_addr());
                        accept(listener, tls.map(TlsAcceptor::from), handler, stopped).await;
                    }
                    Err(source) => drop(report.send(Err(source))),
                }
            });
            // Handlers that still run are not waited for: a stopped server
            // is to look like one that was killed.
            runtime.shutdown_background();
        });
        let address = started
            .recv()
            .unwrap_or_else(|_| Err(std::io::Error::other("the server's thread ended")))
            .map_err(|source| Error::Listen { at, source })?;
        Ok(Server { address, stop, thread: Some(thread) })
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Server({})", self.address)
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, handler: Handler, mut stopped: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let Ok((stream, _)) = accepted else {
            // Too many open files, for example: the next connection may do better.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let handler = handler.clone();
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None => serve(stream, handler).await,
                Some(acceptor) => {
                    // A client that does not trust us shows up here; it has its own error.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, handler).await;
                    }
                }
            }
        });
    }
}

async fn serve<S>(stream: S, handler: Handler)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let handler = handler.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(request, handler).await) }
    });
    // A connection that breaks is the client's to report.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: hyper::Request<Incoming>, handler: Handler) -> hyper::Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            return plain(413, &format!("cannot read the body: {error}\n")).map(Full::new);
        }
    };
    let request = Request::from_parts(head, body);
    tokio::task::spawn_blocking(move || handler(request))
        .await
        .unwrap_or_else(|error| plain(500, &format!("the handler failed: {error}\n")))
        .map(Full::new)
}

/// A response of plain text.
pub(crate) fn plain(status: u16, text: &str) -> Response {
    respond(status, "text/plain; charset=utf-8", text.to_owned().into())
}

pub(crate) fn respond(status: u16, kind: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

/// TLS for a server; with `clients`, only who shows a certificate of theirs gets in.
pub(crate) fn server_tls(identity: &Identity, clients: Option<&Authority>) -> Result<Arc<rustls::ServerConfig>> {
    let builder = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls_error)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => builder.with_client_cert_verifier(
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority)?), provider())
                .build()
                .map_err(tls_error)?,
        ),
    };
    let (certificates, key) = parse(identity)?;
    Ok(Arc::new(builder.with_single_cert(certificates, key).map_err(tls_error)?))
}

/// A client of one HTTPS server, with a certificate of its own.
#[derive(Clone)]
pub(crate) struct Client {
    server: SocketAddr,
    tls: TlsConnector,
}

impl Client {
    pub(crate) fn new(server: SocketAddr, authority: &Authority, identity: &Identity) -> Result<Self> {
        let (certificates, key) = parse(identity)?;
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(tls_error)?
            .with_root_certificates(roots(authority)?)
            .with_client_auth_cert(certificates, key)
            .map_err(tls_error)?;
        Ok(Client { server, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Sends a request without a body, and returns the status and the body of the answer.
    pub(crate) fn get(&self, path: &str, limit: Duration) -> Result<(u16, Bytes)> {
        let client = self.clone();
        let url = format!("https://{}{path}", self.server);
        let path = path.to_owned();
        let asked = std::thread::spawn(move || -> Result<(u16, Bytes), String> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            runtime.block_on(async {
                tokio::time::timeout(limit, client.exchange(&path))
                    .await
                    .map_err(|_| format!("no answer within {limit:?}"))?
                    .map_err(|error| error.to_string())
            })
        });
        asked
            .join()
            .unwrap_or_else(|_| Err("the request's thread ended".into()))
            .map_err(|reason| Error::Request { url, reason })
    }

    /// A connection of its own, which ends when what is returned is dropped.
    pub(crate) async fn open<B>(&self) -> std::io::Result<hyper::client::conn::http1::SendRequest<B>>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stream = TcpStream::connect(self.server).await?;
        let name = ServerName::IpAddress(self.server.ip().into());
        let stream = self.tls.connect(name, stream).await?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn exchange(&self, path: &str) -> Result<(u16, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let mut sender = self.open().await?;
        let request = hyper::Request::get(path)
            .header(hyper::header::HOST, self.server.ip().to_string())
            .header(hyper::header::USER_AGENT, "bowline-rig")
            .header(hyper::header::ACCEPT, "application/json")
            .body(Full::new(Bytes::new()))?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await?;
        Ok((status, body.to_bytes()))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(authority: &Authority) -> Result<rustls::RootCertStore> {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).map_err(tls_error)?;
    roots.add(certificate).map_err(tls_error)?;
    Ok(roots)
}

fn parse(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).map_err(tls_error)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(tls_error)?;
    Ok((vec![certificate], key))
}

fn tls_error(error: impl std::fmt::Display) -> Error {
    Error::Tls(error.to_string())
}
