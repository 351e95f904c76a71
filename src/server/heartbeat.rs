//! Signs of life of the loops that must move whatever happens.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// The loops of a process. Clones are the same.
#[derive(Debug, Clone)]
pub struct Heartbeats {
    start: Instant,
    loops: Arc<Mutex<Vec<Watched>>>,
}

#[derive(Debug)]
struct Watched {
    name: String,
    limit: Duration,
    last: Arc<AtomicU64>,
}

/// The sign of life of one loop.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    start: Instant,
    last: Arc<AtomicU64>,
}

impl Heartbeats {
    /// No loop yet.
    pub fn new() -> Self {
        Self { start: Instant::now(), loops: Arc::default() }
    }

    /// A loop that has to give a sign of life at least so often. Loops that
    /// rest until an event have no place here.
    pub fn expect(&self, name: impl Into<String>, limit: Duration) -> Heartbeat {
        let heartbeat = Heartbeat { start: self.start, last: Arc::default() };
        heartbeat.beat();
        let watched = Watched { name: name.into(), limit, last: heartbeat.last.clone() };
        self.loops.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
        heartbeat
    }

    /// Which loops stand still, and for how long.
    pub fn standing(&self) -> Vec<(String, Duration)> {
        let now = self.start.elapsed();
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops
            .iter()
            .filter_map(|watched| {
                let age = now.saturating_sub(Duration::from_millis(watched.last.load(Ordering::Relaxed)));
                (age > watched.limit).then(|| (watched.name.clone(), age))
            })
            .collect()
    }
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self::new()
    }
}

impl Heartbeat {
    /// A sign of life.
    pub fn beat(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(heartbeats: &Heartbeats) -> Vec<String> {
        heartbeats.standing().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_loop_that_stands_still_is_named() {
        let heartbeats = Heartbeats::new();
        let poller = heartbeats.expect("poller", Duration::from_millis(40));
        let _patient = heartbeats.expect("patient", Duration::from_secs(600));
        assert_eq!(names(&heartbeats), Vec::<String>::new());
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(names(&heartbeats), vec!["poller"]);
        assert!(heartbeats.standing()[0].1 >= Duration::from_millis(40));
        poller.beat();
        assert_eq!(names(&heartbeats), Vec::<String>::new());
    }
}
