//! How many requests are in flight at once: as many as the server takes.
//!
//! It begins with 16. While there is more to do and the answers are quick, the
//! number grows, up to 64. An answer 429, a `Retry-After` or no answer at all
//! halves it, and `Retry-After` makes everybody wait.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

const START: usize = 16;
const LEAST: usize = 2;
const MOST: usize = 64;
/// Answers slower than this do not let the number grow.
const SLOW: Duration = Duration::from_secs(1);
/// Refusals within this time are one event: they were in flight together.
const ONE_EVENT: Duration = Duration::from_millis(250);
/// The longest that everybody waits because one answer asked for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The number of requests in flight.
pub(super) struct Limit {
    permits: Semaphore,
    state: Mutex<State>,
}

struct State {
    limit: usize,
    /// Permits that leave with their holders, since the limit was lowered.
    owed: usize,
    /// Quick answers since the limit grew last.
    quick: usize,
    /// Whether it was lowered already: from then on it grows slowly.
    careful: bool,
    lowered: Option<Instant>,
    paused_until: Option<Instant>,
}

/// What an answer says about the server.
pub(super) enum Signal {
    /// It answered, in this time.
    Answered(Duration),
    /// It is too busy or out of reach, and perhaps said for how long.
    Overloaded(Option<Duration>),
}

/// The right to have one request in flight.
pub(super) struct Pass<'a> {
    limit: &'a Limit,
    permit: Option<SemaphorePermit<'a>>,
    waited: bool,
}

impl Limit {
    pub(super) fn new() -> Self {
        let state = State { limit: START, owed: 0, quick: 0, careful: false, lowered: None, paused_until: None };
        Self { permits: Semaphore::new(START), state: Mutex::new(state) }
    }

    pub(super) fn current(&self) -> usize {
        self.state().limit
    }

    /// Waits for one's turn, first come, first served.
    pub(super) async fn enter(&self) -> Pass<'_> {
        let waited = self.permits.available_permits() == 0;
        // The semaphore is never closed; without a permit the request goes out
        // all the same.
        let permit = self.permits.acquire().await.ok();
        let paused_until = self.state().paused_until;
        if let Some(until) = paused_until {
            tokio::time::sleep_until(until).await;
        }
        Pass { limit: self, permit, waited }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is a few numbers that are valid at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Gives the right back.
    pub(super) fn leave(self, signal: Signal) {
        self.leave_at(signal, Instant::now());
    }

    fn leave_at(mut self, signal: Signal, now: Instant) {
        let mut state = self.limit.state();
        match signal {
            Signal::Answered(latency) if latency < SLOW && self.waited => {
                state.quick += 1;
                // Doubling in a round at first, later one more in a round.
                let round = if state.careful { state.limit } else { 1 };
                if state.quick >= round && state.limit < MOST {
                    state.quick = 0;
                    state.limit += 1;
                    if state.owed > 0 { state.owed -= 1 } else { self.limit.permits.add_permits(1) }
                }
            }
            Signal::Answered(_) => {}
            Signal::Overloaded(retry_after) => {
                if state.lowered.is_none_or(|at| now.duration_since(at) > ONE_EVENT) {
                    let lower = (state.limit / 2).max(LEAST);
                    state.owed += state.limit - lower;
                    state.limit = lower;
                    state.lowered = Some(now);
                }
                state.careful = true;
                state.quick = 0;
                if let Some(pause) = retry_after {
                    let until = now + pause.min(LONGEST_PAUSE);
                    state.paused_until = state.paused_until.max(Some(until));
                }
            }
        }
        if state.owed > 0
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            state.owed -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn round(limit: &Limit, now: Instant, signal: impl Fn() -> Signal) {
        let mut passes = Vec::new();
        for _ in 0..limit.current() {
            passes.push(limit.enter().await);
        }
        for mut pass in passes {
            pass.waited = true;
            pass.leave_at(signal(), now);
        }
    }

    #[tokio::test]
    async fn quick_answers_raise_the_number_of_requests_in_flight_to_its_bound() {
        let limit = Limit::new();
        for _ in 0..8 {
            round(&limit, Instant::now(), || Signal::Answered(Duration::from_millis(5))).await;
        }
        assert_eq!(limit.current(), MOST);
        assert_eq!(limit.permits.available_permits(), MOST);
    }

    #[tokio::test]
    async fn slow_answers_do_not_raise_it() {
        let limit = Limit::new();
        round(&limit, Instant::now(), || Signal::Answered(Duration::from_secs(2))).await;
        assert_eq!(limit.current(), START);
    }

    #[tokio::test]
    async fn refusals_that_were_in_flight_together_halve_it_once() {
        let limit = Limit::new();
        let now = Instant::now();
        round(&limit, now, || Signal::Overloaded(None)).await;
        assert_eq!(limit.current(), START / 2);
        assert_eq!(limit.permits.available_permits(), START / 2);
        round(&limit, now + ONE_EVENT * 2, || Signal::Overloaded(None)).await;
        assert_eq!(limit.current(), START / 4);
    }

    #[tokio::test]
    async fn it_never_falls_below_its_least_and_grows_again() {
        let limit = Limit::new();
        let mut now = Instant::now();
        for _ in 0..20 {
            round(&limit, now, || Signal::Overloaded(None)).await;
            now += ONE_EVENT * 2;
        }
        assert_eq!(limit.current(), LEAST);
        assert_eq!(limit.permits.available_permits(), LEAST);
        round(&limit, now, || Signal::Answered(Duration::ZERO)).await;
        assert_eq!(limit.current(), LEAST + 1);
        assert_eq!(limit.permits.available_permits(), LEAST + 1);
    }

    #[tokio::test]
    async fn a_retry_after_makes_everybody_wait() {
        let limit = Limit::new();
        let before = Instant::now();
        limit.enter().await.leave_at(Signal::Overloaded(Some(Duration::from_millis(80))), before);
        limit.enter().await.leave(Signal::Answered(Duration::ZERO));
        assert!(before.elapsed() >= Duration::from_millis(80));
    }
}
