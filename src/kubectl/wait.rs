//! Waiting for what the cluster becomes, and telling of it when it differs.

use std::time::{Duration, Instant};

use crate::Say;
use crate::cluster::Cluster;
use crate::error::Error;

/// How long is waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub timeout: Duration,
}

/// What one look has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next<T> {
    /// It goes on; said when it differs from what was said last.
    Wait(String),
    End(T),
}

/// Looks until it ends; `None`: it did not in time. An API server that is away for a while is told, and waited for.
pub(crate) async fn until<T>(
    cluster: &Cluster,
    waiting: Waiting,
    say: Say<'_>,
    mut look: impl AsyncFnMut() -> Result<Next<T>, Error>,
) -> Result<Option<T>, Error> {
    let begin = Instant::now();
    let mut said = String::new();
    loop {
        let line = match look().await {
            Ok(Next::End(end)) => return Ok(Some(end)),
            Ok(Next::Wait(line)) => line,
            Err(error) if error.passing() => format!("{error}; trying again"),
            Err(error) => return Err(error),
        };
        if line != said {
            say(&line);
            said = line;
        }
        if begin.elapsed() >= waiting.timeout {
            return Ok(None);
        }
        tokio::time::sleep(cluster.every.min(waiting.timeout.saturating_sub(begin.elapsed()))).await;
    }
}
