//! How an attempt to show who one is takes its way: it may have to wait, may be refused, and when it was wrong that is told
//! late.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::{Denied, Inner};
use crate::attempts::{Begun, Source};

/// A wrong answer is not given sooner: a hash of another kind takes another time, which would tell whose it is.
pub(super) const WRONG_AFTER: Duration = Duration::from_millis(300);

/// One attempt under way; it ends also when its caller goes.
struct Attempt<'a> {
    inner: &'a Inner,
    source: Source<'a>,
    begun: Begun,
    failed: Option<bool>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.inner.attempts.lock().end(self.source, self.begun, self.failed, self.inner.clock.elapsed());
    }
}

impl Inner {
    /// What `work` finds out, slowed as what has failed before from there asks for.
    pub(super) async fn slowed<T>(
        &self,
        source: Source<'_>,
        work: impl Future<Output = Result<T, Denied>>,
    ) -> Result<T, Denied> {
        let began = Instant::now();
        let begun = self.attempts.lock().begin(source, self.clock.elapsed());
        let begun = begun.map_err(|wait| self.busy(source.from, wait))?;
        let mut attempt = Attempt { inner: self, source, begun, failed: None };
        if begun.wait > Duration::ZERO {
            sleep(begun.wait).await;
        }
        let result = work.await;
        attempt.failed = match &result {
            Ok(_) => Some(false),
            Err(Denied::Wrong) => Some(true),
            Err(Denied::Busy(_) | Denied::Store(_)) => None,
        };
        drop(attempt);
        if matches!(result, Err(Denied::Wrong)) {
            sleep_until(began + begun.wait + WRONG_AFTER).await;
        }
        result
    }

    /// The log names the address only, and not each time: a password may have been typed where the name belongs, and whoever
    /// tries may try often.
    pub(super) fn busy(&self, from: Option<IpAddr>, wait: Duration) -> Denied {
        if let Some(refused) = self.attempts.lock().refused(self.clock.elapsed()) {
            let from = from.map(|from| from.to_string()).unwrap_or_default();
            tracing::info!(
                from,
                refused,
                "attempts to sign in are refused: too many have failed, or are under way"
            );
        }
        Denied::Busy(wait)
    }
}
