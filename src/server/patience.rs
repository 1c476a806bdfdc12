//! Waiting for a store that is away: nothing fails at once, and nothing waits for ever.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::Error;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// Tries again while the store is away, for at most `patience`.
pub(crate) async fn again<T, F>(patience: Duration, mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match attempt().await {
            Err(Error::Away(_)) if Instant::now() + PAUSE < deadline => sleep(PAUSE).await,
            other => return other,
        }
    }
}
