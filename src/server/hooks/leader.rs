//! A webhook that came to a replica that does not lead is handed to the one
//! that does, as it came: its signature is verified there once more.

use std::{net::SocketAddr, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::provider::Provider;

/// How long the leader may take; those who send webhooks wait for about 10 s.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer, in bytes.
const ANSWER: usize = 16 << 10;
/// What a webhook has that was handed over.
static HANDED_OVER: HeaderName = HeaderName::from_static("bowline-handed-over");
/// Headers of one connection, and those that the new one has itself.
const OWN: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Whether a replica handed this over already.
pub(super) fn was_handed_over(headers: &HeaderMap) -> bool {
    headers.contains_key(&HANDED_OVER)
}

/// Sends a webhook to the replica that leads; the status and the text of its
/// answer, or in words why there is none.
pub(super) async fn ask(
    leader: SocketAddr,
    provider: Provider,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, String), String> {
    let mut request = Request::post(format!("/hooks/{}", provider.as_str()))
        .header(header::HOST, leader.to_string())
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    for (name, value) in headers.iter().filter(|(name, _)| !OWN.contains(name)) {
        request.headers_mut().append(name, value.clone());
    }
    request.headers_mut().insert(&HANDED_OVER, HeaderValue::from_static("true"));
    let exchange = exchange(leader, request);
    tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| format!("no answer within {TIMEOUT:?}"))?
}

async fn exchange(leader: SocketAddr, request: Request<Full<Bytes>>) -> Result<(StatusCode, String), String> {
    let stream = TcpStream::connect(leader).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // It ends with the sender.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER).collect().await.map_err(|error| error.to_string())?;
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).trim_end().to_owned()))
}
