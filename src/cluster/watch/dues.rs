//! What a watch owes: the sign of life by which a dead one is told from a quiet
//! one. A connection may die without a word, on a load balancer or a firewall
//! that has forgotten it.
//!
//! What killed one connection may have killed others, so a death makes all
//! watches that were quiet begin anew; for those that live it is one request.
//!
//! Three things are owed. The event of each write of our own, a few seconds
//! after its answer. A bookmark about once a minute, where the server has shown
//! that it sends them. And the end, when the server's time-out has come.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use kube::api::WatchEvent;
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// How long after the answer to a write its event may come.
const EVENT_WITHIN: Duration = Duration::from_secs(10);
/// The server sends a bookmark a minute.
const BOOKMARK_WITHIN: Duration = Duration::from_secs(90);
/// A bookmark that comes sooner is none of those that announce the end.
const BOOKMARKED_BY: Duration = Duration::from_secs(120);

/// How many watches have died in this process. A hint: the connections of all
/// clusters share the host's ways out.
static DEATHS: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));

/// Tells the other watches that one has died without a word.
pub(super) fn tell_death() {
    DEATHS.send_modify(|count| *count += 1);
}

/// Deaths from now on.
pub(super) fn deaths() -> watch::Receiver<u64> {
    DEATHS.subscribe()
}

/// What is asked of a watch from outside.
#[derive(Debug, Default)]
pub struct Dues {
    /// The newest version that was written.
    written: AtomicU64,
    renew: AtomicBool,
    changed: Notify,
}

impl Dues {
    /// A write of our own was answered with this version of an object that is
    /// watched.
    pub fn owe(&self, version: u64) {
        if self.written.fetch_max(version, Ordering::AcqRel) < version {
            self.changed.notify_one();
        }
    }

    /// Asks for a new connection.
    pub fn renew(&self) {
        self.renew.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    pub(super) fn take_renewal(&self) -> bool {
        self.renew.swap(false, Ordering::AcqRel)
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// What one connection has told.
#[derive(Debug)]
pub(super) struct Heard {
    version: u64,
    last: Instant,
    /// Since when an event is owed.
    owed: Option<Instant>,
    idle: Duration,
}

impl Heard {
    /// A connection from a version on; without a bookmark it may be silent for `idle`.
    pub(super) fn new(version: &str, idle: Duration, now: Instant) -> Self {
        Self { version: version.parse().unwrap_or(u64::MAX), last: now, owed: None, idle }
    }

    /// Something is owed, or not.
    pub(super) fn owed(&mut self, dues: &Dues, now: Instant) {
        let owes = dues.written.load(Ordering::Acquire) > self.version;
        self.owed = if owes { self.owed.or(Some(now)) } else { None };
    }

    /// Something was told.
    pub(super) fn event(&mut self, event: &WatchEvent<Value>, started: Instant, now: Instant) {
        self.last = now;
        // Whatever is still owed has its time from here on.
        self.owed = self.owed.map(|_| now);
        let version = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                object.pointer("/metadata/resourceVersion").and_then(Value::as_str)
            }
            WatchEvent::Bookmark(bookmark) => {
                if now.duration_since(started) < BOOKMARKED_BY {
                    self.idle = self.idle.min(BOOKMARK_WITHIN);
                }
                Some(bookmark.metadata.resource_version.as_str())
            }
            WatchEvent::Error(_) => None,
        };
        if let Some(version) = version.and_then(|version| version.parse::<u64>().ok()) {
            self.version = self.version.max(version);
        }
    }

    /// Whether nothing was told for so long that it may be dead.
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        now.duration_since(self.last) >= EVENT_WITHIN / 2
    }

    /// Until when it may be silent.
    pub(super) fn patience(&mut self, dues: &Dues, now: Instant) -> Instant {
        self.owed(dues, now);
        let idle = self.last + self.idle;
        self.owed.map_or(idle, |since| idle.min(since + EVENT_WITHIN))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    const IDLE: Duration = Duration::from_secs(210);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn changed(version: u64) -> WatchEvent<Value> {
        WatchEvent::Modified(json!({"metadata": {"resourceVersion": version.to_string()}}))
    }

    fn bookmark(version: u64) -> WatchEvent<Value> {
        serde_json::from_value(json!({
            "type": "BOOKMARK",
            "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"resourceVersion": version.to_string()}},
        }))
        .unwrap()
    }

    #[test]
    fn a_quiet_watch_owes_nothing_but_its_end() {
        let (dues, now) = (Dues::default(), Instant::now());
        let mut heard = Heard::new("10", IDLE, now);
        assert_eq!(heard.patience(&dues, now), now + IDLE);
        dues.owe(10);
        assert_eq!(heard.patience(&dues, now), now + IDLE, "it began with that version");
    }

    #[test]
    fn the_event_of_a_write_of_ours_is_owed() {
        let (dues, now) = (Dues::default(), Instant::now());
        let mut heard = Heard::new("10", IDLE, now);
        dues.owe(12);
        assert_eq!(heard.patience(&dues, now), now + EVENT_WITHIN);
        let later = now + seconds(4);
        heard.event(&changed(11), now, later);
        assert_eq!(heard.patience(&dues, later), later + EVENT_WITHIN, "it lives, and is late");
        heard.event(&changed(12), now, later);
        assert_eq!(heard.patience(&dues, later), later + IDLE);
    }

    #[test]
    fn a_stream_of_writes_does_not_excuse_a_dead_watch() {
        let (dues, now) = (Dues::default(), Instant::now());
        let mut heard = Heard::new("10", IDLE, now);
        for second in 0..9 {
            dues.owe(11 + second);
            assert_eq!(heard.patience(&dues, now + seconds(second)), now + EVENT_WITHIN);
        }
    }

    #[test]
    fn who_sent_a_bookmark_a_minute_owes_the_next() {
        let (dues, now) = (Dues::default(), Instant::now());
        let (minute, end) = (now + seconds(60), now + seconds(178));
        let mut heard = Heard::new("10", IDLE, now);
        heard.event(&bookmark(11), now, minute);
        assert_eq!(heard.patience(&dues, minute), minute + BOOKMARK_WITHIN);
        let mut late = Heard::new("10", IDLE, now);
        late.event(&bookmark(11), now, end);
        assert_eq!(late.patience(&dues, end), end + IDLE, "that one only announced the end");
    }
}
