//! What was worked out last. Who asks while somebody works it out gets the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

pub(super) struct Kept<T>(Arc<Mutex<Option<Last<T>>>>);

struct Last<T> {
    at: Instant,
    value: Arc<T>,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Kept<T> {
        Kept(Arc::clone(&self.0))
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept(Arc::default())
    }
}

impl<T> Kept<T> {
    /// The last one, if it is younger than `fresh`, else a new one. What fails is not kept.
    pub(super) async fn get<E>(
        &self,
        fresh: Duration,
        make: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let mut last = self.0.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.at.elapsed() < fresh) {
            return Ok(Arc::clone(&last.value));
        }
        let value = Arc::new(make.await?);
        *last = Some(Last { at: Instant::now(), value: Arc::clone(&value) });
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_fresh_is_given_again_and_what_failed_is_not() {
        let kept = Kept::default();
        let long = Duration::from_secs(60);
        assert_eq!(kept.get(long, async { Err("away") }).await, Err("away"));
        assert_eq!(*kept.get(long, async { Ok::<_, ()>(1) }).await.unwrap(), 1);
        assert_eq!(*kept.clone().get(long, async { Ok::<_, ()>(2) }).await.unwrap(), 1);
        assert_eq!(*kept.get(Duration::ZERO, async { Ok::<_, ()>(3) }).await.unwrap(), 3);
    }
}
