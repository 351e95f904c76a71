//! One request to `git http-backend`, by the Common Gateway Interface (RFC 3875).

use std::path::Path;

use hyper::body::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};

use super::repo::git;
use crate::error::{Error, Result};
use crate::http::{Request, Response};
use crate::process;

pub(super) fn run(root: &Path, request: &Request, user: &str) -> Result<Response> {
    let header =
        |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut command = git(root);
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", request.method().as_str())
        .env("PATH_INFO", request.uri().path())
        .env("QUERY_STRING", request.uri().query().unwrap_or_default())
        .env("CONTENT_TYPE", header(&CONTENT_TYPE))
        .env("CONTENT_LENGTH", request.body().len().to_string())
        // Large requests come compressed; http-backend unpacks them itself.
        .env("HTTP_CONTENT_ENCODING", header(&CONTENT_ENCODING))
        .env("GIT_PROTOCOL", header(&HeaderName::from_static("git-protocol")))
        .env("REMOTE_ADDR", "127.0.0.1")
        // Only a named user may push.
        .env("REMOTE_USER", user)
        .env("SERVER_PROTOCOL", "HTTP/1.1");
    let output = process::output(&mut command, Some(request.body()))?;
    parse(output).ok_or_else(|| Error::Request {
        url: request.uri().to_string(),
        reason: "git http-backend gave no valid answer".into(),
    })
}

/// Header lines, an empty line, and the body.
fn parse(output: Vec<u8>) -> Option<Response> {
    let (end, skip) = match output.windows(4).position(|part| part == b"\r\n\r\n") {
        Some(end) => (end, 4),
        None => (output.windows(2).position(|part| part == b"\n\n")?, 2),
    };
    let output = Bytes::from(output);
    let mut response = Response::new(output.slice(end + skip..));
    let head = output.slice(..end);
    for line in std::str::from_utf8(&head).ok()?.lines() {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split_whitespace().next()?.parse::<u16>().ok()?;
            *response.status_mut() = hyper::StatusCode::from_u16(code).ok()?;
        } else {
            response
                .headers_mut()
                .insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
        }
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_status_line_and_the_headers_are_read() {
        let response =
            parse(b"Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nno\r\n\r\nbody".to_vec()).unwrap();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()["content-type"], "text/plain");
        assert_eq!(response.body().as_ref(), b"no\r\n\r\nbody");
    }

    #[test]
    fn without_a_status_it_is_200() {
        assert_eq!(parse(b"Content-Type: a/b\n\nx".to_vec()).unwrap().status(), 200);
    }

    #[test]
    fn an_answer_without_an_end_of_its_headers_is_refused() {
        assert!(parse(b"Content-Type: a/b".to_vec()).is_none());
    }
}
