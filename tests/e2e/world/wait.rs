//! Waiting for what is to be seen, up to a limit.

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before the test fails.
pub const LIMIT: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(40);

/// Looks again and again until there is something to see. The look gives what
/// is wanted, or what it saw instead, for the message of a failure.
pub async fn eventually<T, S: std::fmt::Display>(what: &str, mut look: impl AsyncFnMut() -> Result<T, S>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(saw) if Instant::now() > until => panic!("waited {LIMIT:?} for: {what}\nlast seen: {saw}"),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}
