//! The probes' answers.

use std::{future::IntoFuture, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Heartbeats, bounded::Bounded};
use crate::telemetry::{CONTENT_TYPE, Metrics};

/// How long answers in progress may take once the server is to end.
const FAREWELL: Duration = Duration::from_secs(3);

/// Says what is not as it should be, a line each; nothing where all is well.
pub type Check = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What the probes tell of.
#[derive(Clone)]
pub struct Probes {
    /// The loops that must move.
    pub heartbeats: Heartbeats,
    /// What keeps the process from being ready.
    pub unready: Check,
    /// The metrics.
    pub metrics: Metrics,
}

/// Why the server could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Listens, and answers until the token is cancelled. The address that is
/// really listened on is handed over before: a port of 0 asks for a free one.
pub async fn serve(
    address: SocketAddr,
    probes: Probes,
    ending: CancellationToken,
    listening: impl FnOnce(SocketAddr),
) -> Result<(), ServerError> {
    listen(address, router(probes), ending, listening).await
}

/// Listens, and answers by a router until the token is cancelled.
pub(super) async fn listen(
    address: SocketAddr,
    router: Router,
    ending: CancellationToken,
    listening: impl FnOnce(SocketAddr),
) -> Result<(), ServerError> {
    let failed = |source| ServerError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    listening(listener.local_addr().map_err(failed)?);
    answer(Bounded::new(listener), router, ending).await;
    Ok(())
}

async fn answer(listener: Bounded, router: Router, ending: CancellationToken) {
    let served = axum::serve(listener, router).with_graceful_shutdown(ending.clone().cancelled_owned());
    let farewell = async {
        ending.cancelled().await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        _ = served.into_future() => {}
        () = farewell => tracing::debug!("connections were open at the end"),
    }
}

fn router(probes: Probes) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(probes)
}

async fn healthz(State(probes): State<Probes>) -> Response {
    let standing = probes.heartbeats.standing();
    let lines = standing.into_iter().map(|(name, age)| format!("{name} has not moved for {} s", age.as_secs()));
    verdict(lines.collect())
}

async fn readyz(State(probes): State<Probes>) -> Response {
    verdict((probes.unready)())
}

async fn metrics(State(probes): State<Probes>) -> Response {
    match probes.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot encode the metrics: {error}\n")).into_response()
        }
    }
}

fn verdict(problems: Vec<String>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    if problems.is_empty() {
        return (headers, "ok\n").into_response();
    }
    let mut text = problems.join("\n");
    text.push('\n');
    (StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        task::JoinHandle,
        time::Instant,
    };

    use super::*;

    struct Running {
        address: SocketAddr,
        ending: CancellationToken,
        task: JoinHandle<()>,
        unready: Arc<Mutex<Vec<String>>>,
        heartbeats: Heartbeats,
    }

    async fn start(connections: usize, life: Duration) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let unready: Arc<Mutex<Vec<String>>> = Arc::default();
        let heartbeats = Heartbeats::new();
        let probes = Probes {
            heartbeats: heartbeats.clone(),
            unready: Arc::new({
                let unready = unready.clone();
                move || unready.lock().unwrap().clone()
            }),
            metrics: Metrics::new("1.2.3"),
        };
        let ending = CancellationToken::new();
        let task = tokio::spawn(answer(Bounded::with(listener, connections, life), router(probes), ending.clone()));
        Running { address, ending, task, unready, heartbeats }
    }

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: bowline\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_process_is_ready_when_nothing_keeps_it() {
        let running = start(8, MINUTE).await;
        assert!(ask(running.address, "/readyz").await.starts_with("HTTP/1.1 200 OK"));
        *running.unready.lock().unwrap() = vec!["Deployment.apps is not in sync".into(), "nobody leads yet".into()];
        let answer = ask(running.address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("Deployment.apps is not in sync\nnobody leads yet\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_loop_that_stands_still_is_unhealthy() {
        let running = start(8, MINUTE).await;
        let heartbeat = running.heartbeats.expect("poller", Duration::from_millis(50));
        assert!(ask(running.address, "/healthz").await.starts_with("HTTP/1.1 200 OK"));
        tokio::time::sleep(Duration::from_millis(120)).await;
        let answer = ask(running.address, "/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("poller has not moved for"), "{answer}");
        heartbeat.beat();
        assert!(ask(running.address, "/healthz").await.starts_with("HTTP/1.1 200 OK"));
    }

    #[tokio::test]
    async fn metrics_are_openmetrics() {
        let running = start(8, MINUTE).await;
        let answer = ask(running.address, "/metrics").await;
        assert!(
            answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
            "{answer}"
        );
        assert!(answer.contains("bowline_build_info{version=\"1.2.3\"} 1") && answer.contains("# EOF"), "{answer}");
        assert!(ask(running.address, "/").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn a_silent_connection_keeps_nobody_out_for_ever() {
        let running = start(1, Duration::from_millis(300)).await;
        let mut silent = TcpStream::connect(running.address).await.unwrap();
        silent.write_all(b"GET /healthz HT").await.unwrap();
        let started = Instant::now();
        assert!(ask(running.address, "/healthz").await.starts_with("HTTP/1.1 200 OK"));
        assert!(started.elapsed() >= Duration::from_millis(200), "it had to wait for its place");
    }

    #[tokio::test]
    async fn a_shutdown_waits_for_no_silent_connection_for_long() {
        let running = start(8, MINUTE).await;
        let mut silent = TcpStream::connect(running.address).await.unwrap();
        silent.write_all(b"GET /healthz HT").await.unwrap();
        ask(running.address, "/healthz").await;
        running.ending.cancel();
        tokio::time::timeout(FAREWELL + Duration::from_secs(2), running.task).await.unwrap().unwrap();
        assert!(TcpStream::connect(running.address).await.is_err());
    }

    #[tokio::test]
    async fn an_address_in_use_is_an_error_that_names_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let probes = Probes { heartbeats: Heartbeats::new(), unready: Arc::new(Vec::new), metrics: Metrics::new("0") };
        let error = serve(address, probes, CancellationToken::new(), |_| {}).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    }
}
