//! One watch, kept alive: what exists, then every change, over all failures.
//!
//! It is written on the client's requests and not on kube's `watcher`, which
//! hides the versions of lists and bookmarks: the index needs them to place our
//! own writes exactly, and the age of the last bookmark is what tells that a
//! quiet watch lives. As it, it lists by the watch itself where the server can,
//! and goes on from the last version after an interruption.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream::BoxStream};
use kube::{
    Client,
    api::{ApiResource, DynamicObject, ListParams, Request, WatchEvent, WatchParams},
    core::{Resource as _, Status},
};
use rand::Rng as _;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

use super::dues::{self, Dues, Heard};

/// How long the server keeps a watch open. Load balancers drop connections
/// that are idle for 240 s; watches end at different times, so that their
/// renewals do not come all at once.
const SERVER_TIMEOUT: std::ops::RangeInclusive<u32> = 160..=200;
/// How much later than the server we give a silent watch up.
const IDLE_MARGIN: Duration = Duration::from_secs(10);
/// How long the first answer to a request may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A watch that ends sooner than this did not work.
const SHORTEST: Duration = Duration::from_secs(1);
/// How many objects a page of a list has.
const PAGE: u32 = 500;
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// The longest pause where no server is reached: trying costs it nothing.
const BACKOFF_UNREACHABLE: Duration = Duration::from_secs(5);
/// After so many failures what exists is listed again.
const RELIST_AFTER: u32 = 3;

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The kind, in the version that is read.
    pub resource: ApiResource,
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Label selector.
    pub labels: Option<String>,
}

/// What a feed tells, in order.
#[derive(Debug, Clone)]
pub enum FeedEvent {
    /// What exists is told from the start.
    ListStarted,
    /// An object that exists.
    Listed(Value),
    /// Everything that exists was told, as of this version.
    ListDone(Option<u64>),
    /// An object was made or changed.
    Changed(Value),
    /// An object is gone, or the selector does not match it any more.
    Deleted(Value),
    /// Everything up to this version was told.
    Alive(u64),
    /// After a failure the watch goes on from where it was.
    Resumed,
    /// It does not work at the moment.
    Failed(Failure),
}

/// Why a feed does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure.
    pub class: FailureClass,
    /// What was said.
    pub message: String,
    /// The how many-th in a row, from 1.
    pub attempt: u32,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// 401 or 403.
    Forbidden,
    /// 404.
    NotServed,
    /// 405: there is no list or no watch.
    NotWatchable,
    /// Any other answer, or none in time.
    ServerError,
    /// No connection.
    Unreachable,
}

/// When the last event, bookmark or answer came.
#[derive(Debug, Clone)]
pub struct Pulse {
    start: Instant,
    last: Arc<AtomicU64>,
}

impl Pulse {
    /// A pulse that beats now.
    pub fn new() -> Self {
        Self { start: Instant::now(), last: Arc::default() }
    }

    fn beat(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    /// How long ago the last one came.
    pub fn age(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

/// One watch.
pub struct Feed {
    client: Client,
    target: Target,
    pulse: Pulse,
    retry: Arc<Notify>,
    dues: Arc<Dues>,
    /// Whether the server lists by the watch itself.
    streaming: bool,
    failures: u32,
    /// How many watches in a row expired at once.
    expired: u32,
}

type Events = BoxStream<'static, kube::Result<WatchEvent<Value>>>;

/// Why a step ended without success.
enum Trouble {
    /// The version is too old: what exists has to be listed again.
    Expired,
    /// The server cannot list by a watch.
    NoStreaming,
    Failed(FailureClass, String, Option<Duration>),
}

impl Feed {
    /// A feed; [`Feed::run`] starts it.
    pub fn new(client: Client, target: Target) -> Self {
        let (pulse, retry, dues) = (Pulse::new(), Arc::default(), Arc::default());
        Self { client, target, pulse, retry, dues, streaming: true, failures: 0, expired: 0 }
    }

    /// When the last event, bookmark or answer came.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// What the watch owes, by which a dead one is told.
    pub fn dues(&self) -> Arc<Dues> {
        self.dues.clone()
    }

    /// Ends a wait after a failure at once.
    pub fn retry(&self) -> Arc<Notify> {
        self.retry.clone()
    }

    /// Watches until it is dropped.
    pub async fn run(mut self, mut tell: impl FnMut(FeedEvent)) {
        loop {
            let listed = if self.streaming { self.list_by_watch(&mut tell).await } else { self.list(&mut tell).await };
            let (version, events) = match listed {
                Ok(listed) => listed,
                Err(trouble) => {
                    self.trouble(trouble, &mut tell).await;
                    continue;
                }
            };
            self.failures = 0;
            let started = Instant::now();
            self.follow(version, events, &mut tell).await;
            if self.failures == 0 && started.elapsed() < SHORTEST {
                let message = "the watch expired at once".to_owned();
                // A list that works does not make up for that.
                self.failures = self.expired;
                self.expired = self.expired.saturating_add(1);
                self.trouble(Trouble::Failed(FailureClass::ServerError, message, None), &mut tell).await;
            } else {
                self.expired = 0;
            }
        }
    }

    /// Follows a watch until what exists has to be listed again.
    async fn follow(&mut self, mut version: String, mut events: Option<Events>, tell: &mut impl FnMut(FeedEvent)) {
        loop {
            let ended = match events.take() {
                Some(events) => self.consume(events, &mut version, tell).await,
                None => match self.open(&version, false).await {
                    Ok(events) => {
                        if self.failures > 0 {
                            tell(FeedEvent::Resumed);
                        }
                        self.consume(events, &mut version, tell).await
                    }
                    Err(trouble) => Err(trouble),
                },
            };
            match ended {
                Ok(()) => {}
                Err(Trouble::Expired | Trouble::NoStreaming) => return,
                Err(trouble) => {
                    // A kind that was removed and came back begins anew.
                    let removed = matches!(trouble, Trouble::Failed(FailureClass::NotServed, ..));
                    self.trouble(trouble, tell).await;
                    if removed || self.failures >= RELIST_AFTER {
                        return;
                    }
                }
            }
        }
    }

    /// Reads a watch to its end.
    async fn consume(
        &mut self,
        mut events: Events,
        version: &mut String,
        tell: &mut impl FnMut(FeedEvent),
    ) -> Result<(), Trouble> {
        let started = Instant::now();
        // A watch that says nothing for longer than the server keeps one is dead.
        let idle = Duration::from_secs(u64::from(*SERVER_TIMEOUT.end())) + IDLE_MARGIN;
        let mut heard = Heard::new(version, idle, started);
        let mut deaths = dues::deaths();
        loop {
            let event = tokio::select! {
                event = timeout_at(heard.patience(&self.dues, Instant::now()), events.next()) => event,
                () = self.dues.changed() => {
                    if self.dues.take_renewal() {
                        break;
                    }
                    heard.owed(&self.dues, Instant::now());
                    continue;
                }
                Ok(()) = deaths.changed() => {
                    if heard.is_quiet(Instant::now()) {
                        break;
                    }
                    continue;
                }
            };
            let Ok(event) = event else {
                tracing::warn!(kind = %self.target.resource.kind, "a watch has died without a word: it is begun anew");
                dues::tell_death();
                break;
            };
            let Some(event) = event else { break };
            self.pulse.beat();
            if let Ok(event) = &event {
                heard.event(event, started, Instant::now());
            }
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    self.failures = 0;
                    note_version(&object, version);
                    tell(FeedEvent::Changed(object));
                }
                Ok(WatchEvent::Deleted(object)) => {
                    self.failures = 0;
                    note_version(&object, version);
                    tell(FeedEvent::Deleted(object));
                }
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    self.failures = 0;
                    *version = bookmark.metadata.resource_version;
                    if let Ok(version) = version.parse() {
                        tell(FeedEvent::Alive(version));
                    }
                }
                Ok(WatchEvent::Error(status)) => return Err(trouble_of_status(&status)),
                Err(error) => return Err(trouble_of(&error)),
            }
        }
        if started.elapsed() < SHORTEST {
            let message = "the watch ended at once".to_owned();
            return Err(Trouble::Failed(FailureClass::Unreachable, message, None));
        }
        self.failures = 0;
        Ok(())
    }

    async fn list_by_watch(&mut self, tell: &mut impl FnMut(FeedEvent)) -> Result<(String, Option<Events>), Trouble> {
        // No version: what exists now, not what some cache holds.
        let mut events = self.open("", true).await?;
        tell(FeedEvent::ListStarted);
        loop {
            // A server that does not know of this way ignores it and never says that the list is whole.
            let event = timeout(ANSWER_TIMEOUT, events.next()).await.map_err(|_| Trouble::NoStreaming)?;
            self.pulse.beat();
            match event {
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => tell(FeedEvent::Listed(object)),
                Some(Ok(WatchEvent::Deleted(_))) => {}
                Some(Ok(WatchEvent::Bookmark(bookmark))) => {
                    let version = bookmark.metadata.resource_version;
                    if bookmark.metadata.annotations.contains_key("k8s.io/initial-events-end") {
                        tell(FeedEvent::ListDone(version.parse().ok()));
                        return Ok((version, Some(events)));
                    }
                }
                Some(Ok(WatchEvent::Error(status))) => return Err(trouble_of_status(&status)),
                Some(Err(error)) => return Err(trouble_of(&error)),
                None => {
                    let message = "the connection ended before the list was whole".to_owned();
                    return Err(Trouble::Failed(FailureClass::Unreachable, message, None));
                }
            }
        }
    }

    async fn list(&mut self, tell: &mut impl FnMut(FeedEvent)) -> Result<(String, Option<Events>), Trouble> {
        let mut started = false;
        let pulse = self.pulse.clone();
        let version = list_pages(&self.client, &self.target, |object| {
            if !std::mem::replace(&mut started, true) {
                tell(FeedEvent::ListStarted);
            }
            pulse.beat();
            tell(FeedEvent::Listed(object));
        })
        .await
        .map_err(|error| trouble_of_list(&error))?;
        if !started {
            tell(FeedEvent::ListStarted);
        }
        tell(FeedEvent::ListDone(version.parse().ok()));
        Ok((version, None))
    }

    async fn open(&self, version: &str, initial: bool) -> Result<Events, Trouble> {
        let params = WatchParams {
            label_selector: self.target.labels.clone(),
            timeout: Some(rand::rng().random_range(SERVER_TIMEOUT)),
            bookmarks: true,
            send_initial_events: initial,
            ..WatchParams::default()
        };
        let request = Request::new(url(&self.target))
            .watch(&params, version)
            .map_err(|error| Trouble::Failed(FailureClass::ServerError, error.to_string(), None))?;
        let answer = timeout(ANSWER_TIMEOUT, self.client.request_events::<Value>(request)).await;
        match answer {
            Ok(Ok(events)) => {
                self.pulse.beat();
                Ok(StreamExt::boxed(events))
            }
            Ok(Err(kube::Error::Api(status))) if initial && matches!(status.code, 400 | 422) => {
                Err(Trouble::NoStreaming)
            }
            Ok(Err(error)) => Err(trouble_of(&error)),
            Err(_) => Err(no_answer()),
        }
    }

    /// Tells a failure and waits, longer after each.
    async fn trouble(&mut self, trouble: Trouble, tell: &mut impl FnMut(FeedEvent)) {
        let (class, message, retry_after) = match trouble {
            Trouble::NoStreaming => {
                self.streaming = false;
                return;
            }
            Trouble::Expired => (FailureClass::ServerError, "the list expired while it was read".to_owned(), None),
            Trouble::Failed(class, message, retry_after) => (class, message, retry_after),
        };
        self.failures = self.failures.saturating_add(1);
        tracing::debug!(kind = %self.target.resource.kind, attempt = self.failures, %message, "watch failed");
        tell(FeedEvent::Failed(Failure { class, message, attempt: self.failures }));
        let longest = if class == FailureClass::Unreachable { BACKOFF_UNREACHABLE } else { BACKOFF_MAX };
        let wait = backoff(self.failures, rand::rng().random()).min(longest).max(retry_after.unwrap_or_default());
        let retried = self.retry.clone();
        let mut retried = pin!(retried.notified());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = &mut retried => {}
        }
    }
}

/// Doubles from half a second to a minute; the random part, between 0 and 1,
/// takes up to half of it away.
fn backoff(attempt: u32, random: f64) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(BACKOFF_MAX);
    doubled.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default)]
    items: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    continue_token: Option<String>,
}

/// Why a list could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The server refused or could not be reached.
    #[error("cannot list")]
    Client(#[from] kube::Error),
    /// The request could not be made.
    #[error("cannot make the request")]
    Request(#[from] kube::core::request::Error),
    /// No answer in time.
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
}

/// Lists page by page, as of now; the version of the list is returned.
pub async fn list_pages(client: &Client, target: &Target, mut tell: impl FnMut(Value)) -> Result<String, ListError> {
    let mut params = ListParams { label_selector: target.labels.clone(), limit: Some(PAGE), ..ListParams::default() };
    loop {
        let request = Request::new(url(target)).list(&params)?;
        let page: Page = timeout(ANSWER_TIMEOUT, client.request(request)).await.map_err(|_| ListError::Timeout)??;
        for mut item in page.items.unwrap_or_default() {
            // Items of a list do not say what they are.
            if let Some(object) = item.as_object_mut() {
                object.entry("apiVersion").or_insert_with(|| target.resource.api_version.clone().into());
                object.entry("kind").or_insert_with(|| target.resource.kind.clone().into());
            }
            tell(item);
        }
        match page.metadata.continue_token.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(page.metadata.resource_version),
        }
    }
}

fn url(target: &Target) -> String {
    DynamicObject::url_path(&target.resource, target.namespace.as_deref())
}

fn note_version(object: &Value, version: &mut String) {
    if let Some(told) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
        told.clone_into(version);
    }
}

fn no_answer() -> Trouble {
    let message = format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
    Trouble::Failed(FailureClass::ServerError, message, None)
}

fn trouble_of_status(status: &Status) -> Trouble {
    let class = match status.code {
        410 => return Trouble::Expired,
        401 | 403 => FailureClass::Forbidden,
        404 => FailureClass::NotServed,
        405 => FailureClass::NotWatchable,
        _ => FailureClass::ServerError,
    };
    let retry_after = status.details.as_ref().map(|details| u64::from(details.retry_after_seconds));
    let message = if status.message.is_empty() { format!("HTTP {}", status.code) } else { status.message.clone() };
    Trouble::Failed(class, message, retry_after.map(|seconds| Duration::from_secs(seconds).min(BACKOFF_MAX)))
}

fn trouble_of(error: &kube::Error) -> Trouble {
    let class = match error {
        kube::Error::Api(status) => return trouble_of_status(status),
        kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => FailureClass::Unreachable,
        _ => FailureClass::ServerError,
    };
    Trouble::Failed(class, chain(error), None)
}

fn trouble_of_list(error: &ListError) -> Trouble {
    match error {
        ListError::Client(error) => trouble_of(error),
        ListError::Request(error) => Trouble::Failed(FailureClass::ServerError, error.to_string(), None),
        ListError::Timeout => no_answer(),
    }
}

/// An error with its sources, without those that a message repeats.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(1, 0.0, 500)]
    #[case(1, 1.0, 250)]
    #[case(2, 0.0, 1_000)]
    #[case(7, 0.0, 32_000)]
    #[case(8, 0.0, 60_000)]
    #[case(u32::MAX, 0.5, 45_000)]
    fn waits_double_up_to_a_minute(#[case] attempt: u32, #[case] random: f64, #[case] milliseconds: u64) {
        assert_eq!(backoff(attempt, random), Duration::from_millis(milliseconds));
    }

    #[rstest]
    #[case(401, Some(FailureClass::Forbidden))]
    #[case(403, Some(FailureClass::Forbidden))]
    #[case(404, Some(FailureClass::NotServed))]
    #[case(405, Some(FailureClass::NotWatchable))]
    #[case(410, None)]
    #[case(429, Some(FailureClass::ServerError))]
    #[case(500, Some(FailureClass::ServerError))]
    fn answers_are_told_apart(#[case] code: u16, #[case] expected: Option<FailureClass>) {
        let status = Status { code, ..Status::default() };
        let class = match trouble_of_status(&status) {
            Trouble::Failed(class, message, _) => {
                assert_eq!(message, format!("HTTP {code}"));
                Some(class)
            }
            Trouble::Expired | Trouble::NoStreaming => None,
        };
        assert_eq!(class, expected);
    }
}
