//! Which fault strikes which request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The server is said to answer with this status, and is not asked.
    Answer {
        /// 409, 410, 429, 500, 503 and so on.
        code: u16,
        /// Seconds of `Retry-After`, if it is sent.
        retry_after: Option<u64>,
    },
    /// A watch is told by an event of it that its version is too old.
    Expired,
    /// The server carries the request out; half of its answer comes back, and
    /// the connection is cut.
    Cut,
    /// Nothing comes back until the faults end, and watches that are open tell
    /// nothing: then everything goes on as if it had only been late.
    Silence,
    /// The request is late by the first time, and each piece of 1 KiB of the
    /// answer by the second. Not for watches.
    Slow {
        /// Until the request is passed on.
        latency: Duration,
        /// Before each piece.
        trickle: Duration,
    },
}

/// What the proxy sees of a request.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET`, `PATCH` and so on.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query, or nothing.
    pub query: String,
    /// How many requests came before, so that a share of them can be chosen.
    pub number: u64,
}

impl Seen {
    /// Whether it is a watch.
    pub fn is_watch(&self) -> bool {
        self.query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1")
    }

    /// Whether it changes something, or asks what a change would do.
    pub fn is_write(&self) -> bool {
        self.method != "GET"
    }

    /// Whether it is about a lease.
    pub fn is_lease(&self) -> bool {
        self.path.contains("/leases")
    }

    /// Whether it is one of this share in percent, taken evenly.
    pub fn is_of_share(&self, percent: u64) -> bool {
        (self.number * percent) / 100 != ((self.number + 1) * percent) / 100
    }
}

type Which = Box<dyn Fn(&Seen) -> bool + Send + Sync>;

struct Rule {
    which: Which,
    fault: Fault,
    struck: usize,
}

/// A watch that is open.
pub(super) struct OpenWatch {
    seen: Seen,
    forgotten: AtomicBool,
    cut: Notify,
}

impl OpenWatch {
    pub(super) fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Acquire)
    }

    /// Waits until it is cut.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }
}

/// The faults that are on.
#[derive(Default)]
pub(super) struct Faults {
    state: Mutex<State>,
    /// Counts the changes, so that who waits looks again.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    requests: u64,
    watches: Vec<Weak<OpenWatch>>,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        formatter.debug_list().entries(state.rules.iter().map(|rule| (&rule.fault, rule.struck))).finish()
    }
}

impl Faults {
    pub(super) fn add(&self, which: Which, fault: Fault) {
        self.state().rules.push(Rule { which, fault, struck: 0 });
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) fn struck(&self) -> usize {
        self.state().rules.iter().map(|rule| rule.struck).sum()
    }

    pub(super) fn end(&self) -> usize {
        let struck = self.state().rules.drain(..).map(|rule| rule.struck).sum();
        self.changed.send_modify(|count| *count += 1);
        struck
    }

    /// Numbers a request, and finds the fault that strikes it.
    pub(super) fn meet(&self, method: &str, path: &str, query: &str) -> (Seen, Option<Fault>) {
        let mut state = self.state();
        let number = state.requests;
        state.requests += 1;
        let seen = Seen { method: method.to_owned(), path: path.to_owned(), query: query.to_owned(), number };
        let rule = state.rules.iter_mut().find(|rule| (rule.which)(&seen));
        let fault = rule.map(|rule| {
            rule.struck += 1;
            rule.fault.clone()
        });
        (seen, fault)
    }

    /// Remembers a watch that is opened.
    pub(super) fn open(&self, seen: Seen) -> Arc<OpenWatch> {
        let open = Arc::new(OpenWatch { seen, forgotten: AtomicBool::new(false), cut: Notify::new() });
        let mut state = self.state();
        state.watches.retain(|watch| watch.strong_count() > 0);
        state.watches.push(Arc::downgrade(&open));
        open
    }

    pub(super) fn forget_watches(&self, which: impl Fn(&Seen) -> bool) -> usize {
        let open: Vec<_> = self.state().watches.iter().filter_map(Weak::upgrade).collect();
        let forgotten = open.iter().filter(|watch| which(&watch.seen));
        let count = forgotten.map(|watch| watch.forgotten.store(true, Ordering::Release)).count();
        self.changed.send_modify(|count| *count += 1);
        count
    }

    pub(super) fn cut_watches(&self, which: impl Fn(&Seen) -> bool) -> usize {
        let open: Vec<_> = self.state().watches.iter().filter_map(Weak::upgrade).collect();
        open.iter().filter(|watch| which(&watch.seen)).map(|watch| watch.cut.notify_one()).count()
    }

    /// Whether nothing is to be heard of a request now.
    pub(super) fn is_silent(&self, seen: &Seen) -> bool {
        self.state().rules.iter().any(|rule| matches!(rule.fault, Fault::Silence) && (rule.which)(seen))
    }

    /// Tells of each change of the faults.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until something is to be heard of a request.
    pub(super) async fn until_heard(&self, seen: &Seen) {
        let mut changes = self.changes();
        while self.is_silent(seen) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(number: u64) -> Seen {
        Seen { method: "GET".into(), path: "/api".into(), query: String::new(), number }
    }

    #[test]
    fn a_share_is_taken_evenly() {
        let struck: Vec<u64> = (0..10).filter(|number| numbered(*number).is_of_share(30)).collect();
        assert_eq!(struck.len(), 3, "{struck:?}");
        assert_eq!((0..1000).filter(|number| numbered(*number).is_of_share(50)).count(), 500);
        assert_eq!((0..1000).filter(|number| numbered(*number).is_of_share(100)).count(), 1000);
    }

    #[test]
    fn the_first_fault_that_fits_strikes_and_is_counted() {
        let faults = Faults::default();
        faults.add(Box::new(|seen| seen.path == "/a"), Fault::Cut);
        faults.add(Box::new(|_| true), Fault::Silence);
        let struck = |path| faults.meet("GET", path, "").1;
        assert!(matches!(struck("/a"), Some(Fault::Cut)));
        assert!(matches!(struck("/b"), Some(Fault::Silence)));
        assert_eq!(faults.end(), 2);
        assert!(struck("/a").is_none());
    }

    #[test]
    fn a_watch_is_forgotten_once_and_new_ones_are_not() {
        let faults = Faults::default();
        let old = faults.open(numbered(0));
        assert_eq!(faults.forget_watches(|_| true), 1);
        assert!(old.is_forgotten() && !faults.open(numbered(1)).is_forgotten());
    }
}
