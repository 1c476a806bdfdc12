//! What was read from the store a moment ago: so many requests a second cost two reads, and a store that is away for a
//! short time signs nobody out.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::timeout;

/// So long what was read is taken as it was: a revoked token and an ended session are refused everywhere after it.
pub(crate) const FRESH: Duration = Duration::from_millis(500);
/// So long it counts while the store is away.
const STALE: Duration = Duration::from_secs(60);
/// So long who has such a value waits for a newer one. A store that is away answers nothing for as long as a whole request has
/// patience, and a request asks for several.
const SOON: Duration = Duration::from_secs(2);
/// Most that is kept.
const ENTRIES: usize = 10_000;

/// Values by key, with the moment at which they were read.
pub(crate) struct Known<V> {
    entries: Mutex<HashMap<String, (V, Duration)>>,
}

impl<V> Default for Known<V> {
    fn default() -> Known<V> {
        Known { entries: Mutex::default() }
    }
}

impl<V: Clone> Known<V> {
    /// The value of `key`, which `read` reads. What is not there is not remembered.
    pub(crate) async fn get(
        &self,
        key: &str,
        now: Duration,
        read: impl Future<Output = store::Result<Option<V>>>,
    ) -> store::Result<Option<V>> {
        let before = self.entries.lock().get(key).cloned();
        if let Some((value, at)) = &before
            && now.saturating_sub(*at) < FRESH
        {
            return Ok(Some(value.clone()));
        }
        let counts = |at: Duration| now.saturating_sub(at) < STALE;
        let read = match &before {
            Some((_, at)) if counts(*at) => timeout(SOON, read).await.unwrap_or_else(|_| Err(silent())),
            Some(_) | None => read.await,
        };
        match (read, before) {
            (Ok(Some(value)), _) => {
                self.put(key, value.clone(), now);
                Ok(Some(value))
            }
            (Ok(None), _) => {
                self.forget(key);
                Ok(None)
            }
            (Err(error), Some((value, at))) if error.passing() && counts(at) => Ok(Some(value)),
            (Err(error), _) => Err(error),
        }
    }

    fn put(&self, key: &str, value: V, now: Duration) {
        let mut entries = self.entries.lock();
        if entries.len() >= ENTRIES && !entries.contains_key(key) {
            entries.retain(|_, (_, at)| now.saturating_sub(*at) < FRESH);
            if entries.len() >= ENTRIES {
                entries.clear();
            }
        }
        entries.insert(key.to_owned(), (value, now));
    }

    pub(crate) fn forget(&self, key: &str) {
        self.entries.lock().remove(key);
    }

    pub(crate) fn forget_all(&self) {
        self.entries.lock().clear();
    }
}

fn silent() -> store::Error {
    store::Error::Unavailable("it does not answer".to_owned())
}

#[cfg(test)]
mod tests {
    use store::Error;

    use super::*;

    fn away() -> store::Result<Option<u8>> {
        Err(Error::Unavailable("gone".to_owned()))
    }

    #[tokio::test]
    async fn a_value_is_read_again_and_is_kept_while_the_store_is_away() {
        let known = Known::default();
        let second = Duration::from_secs(1);
        let get =
            async |at: Duration, read: store::Result<Option<u8>>| known.get("k", at, async { read }).await;
        assert_eq!(get(second, Ok(Some(1))).await, Ok(Some(1)));
        assert_eq!(get(second + FRESH / 2, Ok(Some(2))).await, Ok(Some(1)));
        assert_eq!(get(second + FRESH, Ok(Some(2))).await, Ok(Some(2)));
        assert_eq!(get(STALE, away()).await, Ok(Some(2)));
        assert_eq!(get(STALE + 2 * second, away()).await, away());
        assert_eq!(get(STALE, Ok(None)).await, Ok(None));
        assert_eq!(get(STALE, away()).await, away());
    }

    #[tokio::test]
    async fn a_silent_store_is_waited_for_no_longer_than_there_is_patience_for_several_values() {
        let (known, began) = (Known::default(), std::time::Instant::now());
        assert_eq!(known.get("k", Duration::ZERO, async { Ok(Some(1)) }).await, Ok(Some(1)));
        let silence = std::future::pending::<store::Result<Option<u8>>>;
        assert_eq!(known.get("k", FRESH, silence()).await, Ok(Some(1)));
        assert!(began.elapsed() >= SOON, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn few_are_kept() {
        let known = Known::default();
        for n in 0..ENTRIES + 10 {
            let _value = known.get(&n.to_string(), Duration::ZERO, async { Ok(Some(n)) }).await;
        }
        assert!(known.entries.lock().len() <= ENTRIES);
    }
}
