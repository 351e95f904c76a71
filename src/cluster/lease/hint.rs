//! The watch of a follower on the Lease. It only makes a follower quick: what
//! it tells is never taken for what is in the cluster.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
};
use tokio::time::{Instant, timeout};

/// How long the server keeps the watch open, in seconds.
const SERVER_TIMEOUT: u32 = 240;
/// How long it may take to open it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a watch that could not be opened, or broke.
const PAUSE: Duration = Duration::from_secs(15);

type Events = BoxStream<'static, kube::Result<WatchEvent<Lease>>>;

/// What a watch of the Lease tells.
pub(super) struct Hints {
    api: Api<Lease>,
    name: String,
    /// In a mutex only because a stream cannot be shared; nobody else has it.
    events: Option<Mutex<Events>>,
    not_before: Option<Instant>,
    /// A watch that ends sooner than this did not work.
    shortest: Duration,
    opened: Instant,
}

impl Hints {
    /// Nothing is watched yet.
    pub(super) fn new(api: Api<Lease>, name: &str, shortest: Duration) -> Self {
        Self { api, name: name.to_owned(), events: None, not_before: None, shortest, opened: Instant::now() }
    }

    /// Whether a watch is open.
    pub(super) fn are_open(&self) -> bool {
        self.events.is_some()
    }

    /// Ends the watch.
    pub(super) fn close(&mut self) {
        self.events = None;
    }

    /// Opens the watch from a version on, unless one is open or failed a moment
    /// ago. A controller without the right to watch does without.
    pub(super) async fn open(&mut self, version: &str) {
        if self.are_open() || self.not_before.is_some_and(|time| Instant::now() < time) {
            return;
        }
        let parameters = WatchParams::default().fields(&format!("metadata.name={}", self.name)).timeout(SERVER_TIMEOUT);
        self.opened = Instant::now();
        match timeout(OPEN_TIMEOUT, self.api.watch(&parameters, version)).await {
            Ok(Ok(events)) => self.events = Some(Mutex::new(events.boxed())),
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(_) => self.failed("no answer in time"),
        }
    }

    /// The next thing that the watch tells: the Lease as it is now, or `None`
    /// within where it was deleted. `None` where the watch ended. Without a
    /// watch it waits for ever.
    pub(super) async fn next(&mut self) -> Option<Option<Lease>> {
        let Some(events) = &mut self.events else { return std::future::pending().await };
        let events = events.get_mut().unwrap_or_else(PoisonError::into_inner);
        match events.next().await {
            Some(Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease))) => return Some(Some(lease)),
            Some(Ok(WatchEvent::Deleted(_))) => return Some(None),
            Some(Ok(WatchEvent::Bookmark(_))) => return None,
            Some(Ok(WatchEvent::Error(status))) => self.failed(&status.message),
            Some(Err(error)) => self.failed(&error.to_string()),
            None if self.opened.elapsed() < self.shortest => self.failed("it ended at once"),
            None => self.close(),
        }
        None
    }

    fn failed(&mut self, message: &str) {
        tracing::debug!(message, "the lease cannot be watched: it is looked at now and then");
        self.close();
        self.not_before = Some(Instant::now() + PAUSE);
    }
}
