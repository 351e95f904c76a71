//! Bringing a letter to its receiver, again and again until it is taken.

use std::{sync::Arc, time::Duration};

use http::{Method, header};
use http_body_util::Full;
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

use super::{
    Access, ExchangeError, Letter, Reach, Target,
    exchange::{self, Client},
};

/// How many letters are on their way at most, over all applications. What
/// comes beyond that waits where it came from.
const MOST_LETTERS: usize = 1_024;
/// How many are being sent at one moment.
const AT_A_TIME: usize = 16;
/// The pause after the first try.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver took it.
    Delivered,
    /// It was tried for as long as it is of use.
    GivenUp(String),
}

/// Where the keys are: what signs, and what the receiver is shown.
pub trait KeyRing: Sync {
    /// What there is; asked for before each try, so that a new one is used at
    /// once.
    fn access(&self) -> impl Future<Output = Result<Access, String>> + Send;
}

/// Brings letters. Cheap to clone.
#[derive(Clone)]
pub struct Courier {
    client: Client,
    bag: Arc<Semaphore>,
    hands: Arc<Semaphore>,
}

/// A place in the bag.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Default for Courier {
    fn default() -> Self {
        Self {
            client: Client::new(),
            bag: Arc::new(Semaphore::new(MOST_LETTERS)),
            hands: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }
}

impl Courier {
    /// A place for one more letter, unless the bag is full.
    pub fn place(&self) -> Option<Place> {
        self.bag.clone().try_acquire_owned().ok().map(|permit| Place { _permit: permit })
    }

    /// Brings a letter, with back-off, until it is taken or no longer of use.
    /// `failed` is told why a try failed.
    pub async fn deliver(
        &self,
        letter: &Letter,
        target: &Target,
        reach: &Reach,
        keys: &impl KeyRing,
        until: Timestamp,
        failed: impl Fn(&str) + Send,
    ) -> Delivery {
        let mut pause = FIRST_PAUSE;
        loop {
            let tried = match keys.access().await {
                Ok(access) => self.try_once(letter, target, reach, &access).await.map_err(|error| error.to_string()),
                Err(why) => Err(why),
            };
            let Err(why) = tried else { return Delivery::Delivered };
            debug!(why, id = letter.id, "a notification was not taken");
            failed(&why);
            let wait = pause.mul_f64(rand::random_range(0.8..1.2));
            if Timestamp::now() + SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX) > until {
                return Delivery::GivenUp(why);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_once(
        &self,
        letter: &Letter,
        target: &Target,
        reach: &Reach,
        access: &Access,
    ) -> Result<(), ExchangeError> {
        let _hand = self.hands.acquire().await;
        let body = letter.body();
        let seconds = Timestamp::now().as_second();
        let mut request = exchange::request(target, Method::POST)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, body.len())
            .header("webhook-id", &letter.id)
            .header("webhook-timestamp", seconds);
        if let Some(key) = access.key() {
            request = request.header("webhook-signature", key.sign(&letter.id, seconds, &body));
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ExchangeError::Broken(target.clone(), error.to_string()))?;
        self.client.send(target, reach, access, request, None).await.map(|_| ())
    }
}
