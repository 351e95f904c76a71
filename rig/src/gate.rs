//! A gate before a server of metrics, as clusters have one: it speaks TLS, asks
//! for a token, and passes on what shows it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use hyper::header::AUTHORIZATION;

use crate::{
    error::Result,
    http::{Handler, Request, Response, Server, plain, respond, server_tls},
    pki::Authority,
};

/// How long the server behind it may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A gate on a port of 127.0.0.1; it goes with the value.
#[derive(Debug)]
pub struct Gate(Server);

impl Gate {
    /// Starts one before the server on a port of 127.0.0.1, with a certificate of
    /// this authority; who shows the token is passed on.
    pub fn start(authority: &Authority, token: &str, port: u16) -> Result<Self> {
        let tls = server_tls(&authority.server(&["127.0.0.1"])?, None)?;
        let expected = format!("Bearer {token}");
        let handler: Handler = Arc::new(move |request| {
            let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            match shown {
                Some(shown) if shown == expected => {
                    pass_on(&request, port).unwrap_or_else(|error| plain(502, &format!("{error}\n")))
                }
                _ => plain(401, "a token is needed\n"),
            }
        });
        Server::start(0, Some(tls), handler).map(Self)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.0.port())
    }
}

/// Asks the server behind. With HTTP/1.0 it sends no pieces, and ends with the
/// connection.
fn pass_on(request: &Request, port: u16) -> std::io::Result<Response> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "{} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", request.method())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let unreadable = || std::io::Error::other("the server behind gave no HTTP");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(unreadable)?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| unreadable())?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(unreadable)?;
    Ok(respond(status, "application/json", answer.split_off(end + 4).into()))
}
