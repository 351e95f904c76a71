//! Handing spans to a collector of OpenTelemetry, which the operator named.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use tracing::{info, warn};

use super::{
    Access, ExchangeError, Reach, Target,
    exchange::{self, Client},
};

/// How often at most it is said that the collector cannot be reached.
const SAID_EVERY: Duration = Duration::from_secs(600);

/// A collector. What it is handed is made by whoever exports.
pub struct Collector {
    target: Target,
    access: Access,
    client: Client,
    /// When its trouble was said last, while it lasts.
    said: Mutex<Option<Instant>>,
}

impl Collector {
    /// The collector that takes what is posted to this URL.
    pub fn new(target: Target, access: Access) -> Self {
        Self { target, access, client: Client::new(), said: Mutex::default() }
    }

    /// Posts the body of a request with its headers, and gives the status of
    /// the answer, also of a refusal. Trouble is logged, now and then.
    ///
    /// # Errors
    /// There was no answer within ten seconds.
    pub async fn post(&self, request: Request<Bytes>) -> Result<StatusCode, ExchangeError> {
        let sent = self.send(request).await;
        self.say(&sent);
        match sent {
            Ok(()) => Ok(StatusCode::OK),
            Err(ExchangeError::Status(_, status)) => Ok(status),
            Err(error) => Err(error),
        }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<(), ExchangeError> {
        let (head, body) = request.into_parts();
        let length = body.len();
        let mut posted = exchange::request(&self.target, head.method)
            .body(Full::new(body))
            .map_err(|error| ExchangeError::Broken(self.target.clone(), error.to_string()))?;
        posted.headers_mut().extend(head.headers);
        posted.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        self.client.send(&self.target, &Reach::Anywhere, &self.access, posted, None).await.map(|_| ())
    }

    fn say(&self, sent: &Result<(), ExchangeError>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match sent {
            Ok(()) if said.take().is_some() => info!(collector = %self.target, "spans are handed over again"),
            Err(error) if said.is_none_or(|said| said.elapsed() >= SAID_EVERY) => {
                *said = Some(Instant::now());
                warn!(%error, "spans cannot be handed over, and are lost until they can");
            }
            Ok(()) | Err(_) => {}
        }
    }
}
