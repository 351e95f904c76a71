//! Servers that say nothing, or too little. A binary of its own: the time-outs
//! of the Git library hold for the whole process.

#![allow(clippy::unwrap_used)]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use bowline::source::{
    Credentials, Limits, Mirror, ProcessLimits, Repositories, RepositoryUrl, Revision, SourceError, UrlPolicy,
    init_process,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

struct Slow {
    _cache: TempDir,
    mirror: Mirror,
}

impl Slow {
    fn new(answer: fn(TcpStream)) -> Self {
        init_process(&ProcessLimits { silence_timeout: Duration::from_secs(2), ..ProcessLimits::default() }).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                thread::spawn(move || answer(stream));
            }
        });
        let cache = tempfile::tempdir().unwrap();
        let url = RepositoryUrl::parse(&format!("http://{address}/shop"), &UrlPolicy::default()).unwrap();
        let mirror = Repositories::open(cache.path()).unwrap().mirror(&url, &Credentials::none()).unwrap();
        Self { _cache: cache, mirror }
    }

    fn fetch(&self, deadline: Duration, cancel: &CancellationToken) -> (SourceError, Duration) {
        let start = Instant::now();
        let limits = Limits { deadline, ..Limits::default() };
        let error = self.mirror.fetch(&Revision::Default, &limits, cancel).unwrap_err();
        (error, start.elapsed())
    }
}

/// Reads the request, and keeps the connection open without an answer.
fn silent(mut stream: TcpStream) {
    let mut request = [0; 4096];
    while stream.read(&mut request).is_ok_and(|read| read > 0) {}
}

/// Answers a byte now and then, often enough for the time-out of silence.
fn trickling(mut stream: TcpStream) {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n001e# service=git-u";
    for byte in head.bytes() {
        if stream.write_all(&[byte]).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_silent_server_is_given_up_by_its_silence() {
    let slow = Slow::new(silent);
    let (error, took) = slow.fetch(Duration::from_secs(30), &CancellationToken::new());
    assert_eq!((error.reason(), error.is_transient()), ("Timeout", true), "{error}");
    assert!((1..10).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_silent_server_holds_nobody_beyond_the_deadline() {
    let slow = Slow::new(silent);
    let (error, took) = slow.fetch(Duration::from_millis(300), &CancellationToken::new());
    assert_eq!(error.reason(), "Timeout", "{error}");
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

#[test]
fn a_trickling_server_holds_nobody_beyond_the_deadline_and_takes_one_thread() {
    let slow = Slow::new(trickling);
    let (error, took) = slow.fetch(Duration::from_millis(1000), &CancellationToken::new());
    assert_eq!(error.reason(), "Timeout", "{error}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let (error, _) = slow.fetch(Duration::from_millis(200), &CancellationToken::new());
    assert!(error.to_string().starts_with("another fetch of"), "the first still waits: {error}");
}

#[test]
fn a_cancelled_fetch_ends_while_the_server_is_silent() {
    let slow = Slow::new(silent);
    let cancel = CancellationToken::new();
    let canceller = cancel.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        canceller.cancel();
    });
    let (error, took) = slow.fetch(Duration::from_secs(30), &cancel);
    assert_eq!(error.reason(), "Cancelled", "{error}");
    assert!(took < Duration::from_millis(1500), "{took:?}");
}
