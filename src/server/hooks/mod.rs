//! Webhooks: a Git server says that something was pushed, and the repository
//! is looked at now instead of at its interval.
//!
//! ```text
//! POST /hooks/PROVIDER ──body, bounded──> signature ──> event ──> repositories ──> look now
//! ```
//!
//! Nothing of a request is believed, and nothing is done, before its signature
//! was verified over the bytes as they came. What is believed then is only
//! that it is time to look: what is deployed comes from the repository, as
//! ever.

mod leader;
mod provider;
mod secrets;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::provider::{Event, Provider};
use super::probes::{ServerError, listen};
use crate::{controller::Announced, telemetry::Metrics};

/// The largest body, in bytes. A push of thousands of commits is smaller.
const BODY: usize = 4 << 20;
/// How many bodies are read at once, so that what is not verified yet takes
/// little memory.
const READERS: usize = 4;
/// How long a body may take to come.
const READ_TIME: Duration = Duration::from_secs(10);

/// Looks at the repositories that were announced: how many of those that
/// Applications read they are, or nothing where another replica leads.
pub type LookNow = Arc<dyn Fn(&[Announced]) -> Option<usize> + Send + Sync>;

/// Where the replica that leads takes webhooks, if that is another one and is
/// known.
pub type Leader = Arc<dyn Fn() -> Option<SocketAddr> + Send + Sync>;

/// What receives webhooks.
#[derive(Clone)]
pub struct Hooks {
    /// The directory with a file of secrets for each provider whose webhooks
    /// are taken.
    pub secrets: PathBuf,
    /// What is done with what they announce.
    pub look_now: LookNow,
    /// Who gets those that came here though another replica leads.
    pub leader: Leader,
    /// Where they are counted.
    pub metrics: Metrics,
}

#[derive(Clone)]
struct Receiver {
    hooks: Hooks,
    readers: Arc<Semaphore>,
}

/// What came of a webhook.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// So many repositories are looked at now.
    Looked(usize),
    /// It was a test of the way here.
    Pong,
    /// It tells of something else than a push.
    Ignored,
    /// It does not say who sent it.
    Unverified,
    /// It is verified, and cannot be read.
    Unreadable(String),
    /// It has too large a body.
    TooLarge,
    /// Its body did not come in time, or broke off.
    Cut,
    /// The secrets cannot be used.
    NoSecret(String),
    /// Another replica leads, and this is what it answered.
    HandedOver(StatusCode, String),
    /// Another replica leads, and cannot be asked.
    Elsewhere,
    /// No such webhooks are taken.
    NotTaken,
}

/// Listens for webhooks until the token is cancelled. The address that is
/// really listened on is handed over before: a port of 0 asks for a free one.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve_hooks(
    address: SocketAddr,
    hooks: Hooks,
    ending: CancellationToken,
    listening: impl FnOnce(SocketAddr),
) -> Result<(), ServerError> {
    listen(address, router(hooks), ending, listening).await
}

fn router(hooks: Hooks) -> Router {
    let receiver = Receiver { hooks, readers: Arc::new(Semaphore::new(READERS)) };
    Router::new().route("/hooks/{provider}", post(receive)).with_state(receiver)
}

async fn receive(
    State(receiver): State<Receiver>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(provider) = Provider::named(&provider) else { return Outcome::NotTaken.into_response() };
    let outcome = take(&receiver, provider, &headers, body).await;
    if outcome != Outcome::NotTaken {
        receiver.hooks.metrics.webhook(provider.as_str(), outcome.word());
    }
    match &outcome {
        Outcome::NoSecret(why) => warn!(provider = provider.as_str(), "webhooks cannot be verified: {why}"),
        Outcome::Looked(repositories) => info!(provider = provider.as_str(), repositories, "a webhook says to look"),
        _ => {}
    }
    outcome.into_response()
}

async fn take(receiver: &Receiver, provider: Provider, headers: &HeaderMap, body: Body) -> Outcome {
    let secrets = match secrets::of(&receiver.hooks.secrets, provider).await {
        Ok(Some(secrets)) => secrets,
        Ok(None) => return Outcome::NotTaken,
        Err(why) => return Outcome::NoSecret(why),
    };
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY) {
        return Outcome::TooLarge;
    }
    let read = async {
        let Ok(_place) = receiver.readers.acquire().await else { return Err(Outcome::Cut) };
        to_bytes(body, BODY).await.map_err(|error| {
            let limit = std::error::Error::source(&error).is_some_and(|source| source.to_string().contains("limit"));
            if limit { Outcome::TooLarge } else { Outcome::Cut }
        })
    };
    let bytes = match tokio::time::timeout(READ_TIME, read).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(outcome)) => return outcome,
        Err(_) => return Outcome::Cut,
    };
    if !provider.verifies(headers, &bytes, &secrets) {
        return Outcome::Unverified;
    }
    match provider.event(headers, &bytes) {
        Ok(Event::Ping) => Outcome::Pong,
        Ok(Event::Other) => Outcome::Ignored,
        Ok(Event::Push(announced)) => match (receiver.hooks.look_now)(&announced) {
            Some(count) => Outcome::Looked(count),
            None => hand_over(receiver, provider, headers, bytes).await,
        },
        Err(why) => Outcome::Unreadable(why),
    }
}

/// Asks the replica that leads in the sender's place, once: what was handed
/// over already goes no further.
async fn hand_over(receiver: &Receiver, provider: Provider, headers: &HeaderMap, body: Bytes) -> Outcome {
    let leader = (receiver.hooks.leader)().filter(|_| !leader::was_handed_over(headers));
    let Some(leader) = leader else { return Outcome::Elsewhere };
    match leader::ask(leader, provider, headers, body).await {
        Ok((status, text)) => Outcome::HandedOver(status, text),
        Err(why) => {
            warn!(provider = provider.as_str(), %leader, "a webhook could not be handed to the replica that leads: {why}");
            Outcome::Elsewhere
        }
    }
}

impl Outcome {
    /// The word of the metric.
    fn word(&self) -> &'static str {
        match self {
            Self::Looked(0) => "unknown_repository",
            Self::Looked(_) => "looked",
            Self::Pong => "ping",
            Self::Ignored => "ignored",
            Self::Unverified => "unverified",
            Self::Unreadable(_) => "unreadable",
            Self::TooLarge => "too_large",
            Self::Cut => "cut",
            Self::NoSecret(_) => "no_secret",
            Self::HandedOver(..) => "handed_over",
            Self::Elsewhere => "not_leading",
            Self::NotTaken => "not_taken",
        }
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Looked(0) => {
                (StatusCode::OK, "no Application reads this repository by a URL of this host and path".to_owned())
            }
            Self::Looked(1) => (StatusCode::ACCEPTED, "looks at the repository now".to_owned()),
            Self::Looked(count) => {
                (StatusCode::ACCEPTED, format!("looks at the repository now, by {count} URLs or credentials"))
            }
            Self::Pong => (StatusCode::OK, "pong".to_owned()),
            Self::Ignored => (StatusCode::OK, "nothing to do: this is no push".to_owned()),
            Self::Unverified => {
                (StatusCode::UNAUTHORIZED, "the signature is missing or is not of the secret".to_owned())
            }
            Self::Unreadable(why) => (StatusCode::BAD_REQUEST, why),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {BODY} bytes")),
            Self::Cut => (StatusCode::REQUEST_TIMEOUT, "the body did not come whole in time".to_owned()),
            Self::NoSecret(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "the secret cannot be read; see the controller's log".to_owned())
            }
            Self::HandedOver(status, text) => (status, text),
            Self::Elsewhere => (StatusCode::SERVICE_UNAVAILABLE, "another replica leads; try again".to_owned()),
            Self::NotTaken => (StatusCode::NOT_FOUND, "no such webhooks are taken".to_owned()),
        };
        let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
        (status, headers, text + "\n").into_response()
    }
}

#[cfg(test)]
mod tests;
