//! When a failed request is sent again: with growing, jittered pauses, a few
//! times, and never beyond a deadline.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use crate::cluster::RequestError;

/// How long one undertaking keeps trying.
const DEADLINE: Duration = Duration::from_secs(20);
/// How often it tries again.
const TRIES: usize = 5;

/// What is left of the patience of one undertaking.
#[derive(Debug)]
pub struct Patience {
    pauses: ExponentialBackoff,
    deadline: Instant,
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

impl Patience {
    /// Fresh patience, which begins to run out now.
    pub fn new() -> Self {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(3))
            .with_max_times(TRIES)
            .with_jitter()
            .build();
        Self { pauses, deadline: Instant::now() + DEADLINE }
    }

    /// Pauses before the next try, at least as long as the server asked for.
    /// `false` if there is no next try.
    pub async fn pause(&mut self, error: &RequestError) -> bool {
        let Some(pause) = self.pauses.next() else { return false };
        let pause = pause.max(error.retry_after.unwrap_or_default());
        if Instant::now() + pause >= self.deadline {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }
}
