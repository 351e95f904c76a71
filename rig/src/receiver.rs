//! A server that takes what is posted to it, or refuses it: the other side of
//! a webhook.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    error::Result,
    http::{Handler, Request, Server, plain, server_tls},
    pki::Authority,
};

/// What was posted.
#[derive(Debug, Clone)]
pub struct Posted {
    /// The path with its query.
    pub path: String,
    /// The headers, in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Posted {
    /// The value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// A receiver on a port of 127.0.0.1; it stops with the value.
#[derive(Debug)]
pub struct Receiver {
    server: Server,
    scheme: &'static str,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    posted: Vec<Posted>,
    status: Option<u16>,
    delay: Duration,
    location: Option<&'static str>,
    body: String,
}

impl Receiver {
    /// Starts a receiver that takes everything.
    pub fn start() -> Result<Self> {
        Self::start_with("http", None)
    }

    /// Starts one that speaks TLS, with a certificate of this authority.
    pub fn start_tls(authority: &Authority) -> Result<Self> {
        let tls = server_tls(&authority.server(&["127.0.0.1", "localhost"])?, None)?;
        Self::start_with("https", Some(tls))
    }

    fn start_with(scheme: &'static str, tls: Option<Arc<rustls::ServerConfig>>) -> Result<Self> {
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        let handler: Handler = Arc::new(move |request| answer(&shared, request));
        Ok(Self { server: Server::start(0, tls, handler)?, scheme, state })
    }

    /// Its URL.
    pub fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.server.port())
    }

    /// From now on it answers with this status.
    pub fn answer_with(&self, status: u16) {
        lock(&self.state).status = Some(status);
    }

    /// From now on it answers with a redirect.
    pub fn redirect_to(&self, location: &'static str) {
        lock(&self.state).location = Some(location);
        self.answer_with(307);
    }

    /// From now on its answers have this body.
    pub fn answer_with_body(&self, body: String) {
        lock(&self.state).body = body;
    }

    /// From now on it thinks for so long before it answers.
    pub fn answer_after(&self, delay: Duration) {
        lock(&self.state).delay = delay;
    }

    /// All that was posted so far, refused or not.
    pub fn posted(&self) -> Vec<Posted> {
        lock(&self.state).posted.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(state: &Mutex<State>, request: Request) -> crate::http::Response {
    let (head, body) = request.into_parts();
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let (status, delay, location, text) = {
        let mut state = lock(state);
        state.posted.push(Posted { path, headers, body: body.to_vec() });
        (state.status.unwrap_or(200), state.delay, state.location, state.body.clone())
    };
    std::thread::sleep(delay);
    let mut response = plain(status, &text);
    if let Some(location) = location {
        response.headers_mut().insert(hyper::header::LOCATION, hyper::header::HeaderValue::from_static(location));
    }
    response
}
