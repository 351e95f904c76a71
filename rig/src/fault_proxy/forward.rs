//! One connection: each request goes on to the API server, unless a fault strikes it.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::body::{Passing, Struck};
use super::faults::{Fault, Faults, Seen};
use crate::http::Client;

pub(super) type Failure = std::io::Error;
type Body = UnsyncBoxBody<Bytes, Failure>;

/// Serves a connection until either end has enough.
pub(super) async fn connection(stream: TcpStream, client: Client, faults: Arc<Faults>) {
    let onward = Arc::new(Onward { client, sender: Mutex::new(None) });
    let service = service_fn(move |request: Request<Incoming>| {
        let (onward, faults) = (onward.clone(), faults.clone());
        async move { answer(request, &onward, faults).await }
    });
    // A connection that breaks is the client's to report.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The connection to the API server that belongs to one of a client.
struct Onward {
    client: Client,
    sender: Mutex<Option<SendRequest<Incoming>>>,
}

impl Onward {
    async fn send(&self, request: Request<Incoming>) -> Result<Response<Incoming>, Failure> {
        let mut sender = self.sender.lock().await;
        if let Some(open) = sender.as_mut()
            && open.ready().await.is_err()
        {
            *sender = None;
        }
        let open = match sender.as_mut() {
            Some(open) => open,
            None => sender.insert(self.client.open().await?),
        };
        open.send_request(request).await.map_err(Failure::other)
    }
}

/// The answer to a request. An error cuts the connection.
async fn answer(request: Request<Incoming>, onward: &Onward, faults: Arc<Faults>) -> Result<Response<Body>, Failure> {
    let uri = request.uri();
    let (seen, fault) = faults.meet(request.method().as_str(), uri.path(), uri.query().unwrap_or_default());
    let struck = match fault {
        Some(Fault::Answer { code, retry_after }) => return Ok(refusal(code, retry_after)),
        Some(Fault::Expired) => return Ok(expired()),
        Some(Fault::Silence) => {
            faults.until_heard(&seen).await;
            Struck::Nothing
        }
        Some(Fault::Slow { latency, trickle }) => {
            tokio::time::sleep(latency).await;
            if seen.is_watch() { Struck::Nothing } else { Struck::Trickle(trickle) }
        }
        Some(Fault::Cut) => Struck::Cut,
        None => Struck::Nothing,
    };
    let response = match onward.send(request).await {
        Ok(response) => response,
        Err(error) => return Ok(unreachable(&error.to_string())),
    };
    let (head, body) = response.into_parts();
    let body = match struck {
        // All of it is known first, so that half of it can be told.
        Struck::Cut => Passing::halved(body.collect().await.map_err(Failure::other)?.to_bytes()),
        struck => Passing::of(body, struck, watched(&seen, &faults), seen, faults),
    };
    Ok(Response::from_parts(head, body.boxed_unsync()))
}

fn watched(seen: &Seen, faults: &Arc<Faults>) -> Option<Arc<super::faults::OpenWatch>> {
    seen.is_watch().then(|| faults.open(seen.clone()))
}

fn refusal(code: u16, retry_after: Option<u64>) -> Response<Body> {
    let mut response = whole(code, &status(code));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The server's own form of an error.
fn status(code: u16) -> Value {
    let (reason, message) = match code {
        409 => ("Conflict", "the object has been modified; please apply your changes to the latest version"),
        410 => ("Expired", "too old resource version"),
        429 => ("TooManyRequests", "too many requests, please try again later"),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        _ => ("InternalError", "an error on the server has prevented the request from succeeding"),
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

fn expired() -> Response<Body> {
    whole(200, &json!({ "type": "ERROR", "object": status(410) }))
}

fn unreachable(message: &str) -> Response<Body> {
    whole(502, &json!({ "message": format!("the API server cannot be reached: {message}") }))
}

fn whole(code: u16, body: &Value) -> Response<Body> {
    let text = Bytes::from(format!("{body}\n"));
    let mut response = Response::new(Full::new(text).map_err(|never: Infallible| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
