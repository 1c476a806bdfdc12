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

impl<T: Send + Sync + 'static> Kept<T> {
    /// The last one, if it is younger than `fresh`, else a new one. What fails is not kept. An asker who goes stops nothing:
    /// what he began is worked out and kept for the next one, so that it is there at last however long it takes.
    pub(super) async fn get<E: Send + 'static>(
        &self,
        fresh: Duration,
        make: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Arc<T>, E> {
        let mut last = Arc::clone(&self.0).lock_owned().await;
        if let Some(last) = last.as_ref().filter(|last| last.at.elapsed() < fresh) {
            return Ok(Arc::clone(&last.value));
        }
        // It ends by itself, and changes nothing but what is kept here.
        let made = tokio::spawn(async move {
            let value = Arc::new(make.await?);
            *last = Some(Last { at: Instant::now(), value: Arc::clone(&value) });
            Ok(value)
        });
        match made.await {
            Ok(made) => made,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and we with it.
                Err(_) => std::future::pending().await,
            },
        }
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

    #[tokio::test]
    async fn an_asker_who_goes_leaves_what_he_asked_for_to_the_next() {
        let kept = Kept::default();
        let long = Duration::from_secs(60);
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (go, gone) = tokio::sync::oneshot::channel();
        let slow = async move {
            begun.send(()).unwrap();
            gone.await.unwrap();
            Ok::<_, ()>(1)
        };
        tokio::select! {
            _ = kept.get(long, slow) => panic!("nothing lets it end"),
            begins = begins => begins.unwrap(),
        }
        go.send(()).unwrap();
        let other = async { panic!("it is there already") };
        assert_eq!(*kept.get::<()>(long, other).await.unwrap(), 1);
    }
}
