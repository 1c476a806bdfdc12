//! Basic authentication: who a name and a password are.
//!
//! A password costs memory and time to check, so at most two are checked at once, and a pair that was right is remembered
//! for a minute, as a keyed hash. A name that does not exist costs what one that does costs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, SystemClock};
use parking_lot::Mutex;
use store::{Store, User};
use tokio::sync::Semaphore;

use crate::attempts::Attempts;
use crate::keys::mac;
use crate::password::{self, MAX_PASSWORD};

/// How long a pair that was right is remembered; so long a changed password stays good at a replica.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Pairs that are remembered.
const PAIRS: usize = 10_000;
/// Verifications at once: each takes 19 MiB and a processor.
const AT_ONCE: usize = 2;
/// Longest user id that is looked at, in bytes.
const MAX_ID: usize = 200;

/// A user who has shown who he is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub id: String,
    pub full_name: String,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No such user, or another password: it is not said which.
    #[error("the user name or password is wrong")]
    Wrong,
    #[error("too many attempts for this user at once")]
    Busy,
    /// It can't be known now.
    #[error("look up the user: {0}")]
    Store(#[from] store::Error),
}

/// The accounts of a controller; cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Of this process; what is remembered says nothing to anybody else.
    key: [u8; 32],
    slots: Arc<Semaphore>,
    remembered: Mutex<HashMap<[u8; 32], Remembered>>,
    attempts: Mutex<Attempts>,
}

struct Remembered {
    who: Identity,
    until: Duration,
}

impl Accounts {
    pub fn new(store: Arc<dyn Store>) -> Accounts {
        Accounts::with_clock(store, Arc::new(SystemClock::new()))
    }

    pub fn with_clock(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Accounts {
        let mut key = [0; 32];
        // without random bytes nothing is remembered: see `pair`
        let _ = getrandom::fill(&mut key);
        let inner = Inner {
            store,
            clock,
            key,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            remembered: Mutex::default(),
            attempts: Mutex::default(),
        };
        Accounts { inner: Arc::new(inner) }
    }

    /// Who this is.
    pub async fn authenticate(&self, user: &str, password: &str) -> Result<Identity, Denied> {
        let inner = &self.inner;
        let fits = !user.is_empty() && user.len() <= MAX_ID && password.len() <= MAX_PASSWORD;
        if !fits || user.chars().any(char::is_control) {
            return Err(Denied::Wrong);
        }
        let id = user.to_lowercase();
        let pair = mac(&inner.key, &[&id, password]);
        if let Some(who) = inner.recall(&pair) {
            return Ok(who);
        }
        let delay = inner.attempts.lock().begin(&id, inner.clock.elapsed()).ok_or(Denied::Busy)?;
        let mut attempt = Attempt { inner, id: &id, failed: None };
        if delay > Duration::ZERO {
            tokio::time::sleep(delay).await;
        }
        let result = inner.verify(user, password).await;
        attempt.failed = match &result {
            Ok(_) => Some(false),
            Err(Denied::Wrong) => Some(true),
            Err(Denied::Busy | Denied::Store(_)) => None,
        };
        drop(attempt);
        let who = result?;
        inner.remember(pair, who.clone());
        Ok(who)
    }
}

/// One attempt under way; it ends also when its caller goes.
struct Attempt<'a> {
    inner: &'a Inner,
    id: &'a str,
    failed: Option<bool>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.inner.attempts.lock().end(self.id, self.failed, self.inner.clock.elapsed());
    }
}

impl Inner {
    async fn verify(&self, user: &str, password: &str) -> Result<Identity, Denied> {
        let found = self.store.user(user).await?;
        let phc = found.as_ref().map_or(password::NOBODY, |user| &user.password).to_owned();
        let secret = password.to_owned();
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| Denied::Busy)?;
        // the slot goes with the work, which ends even when its caller has gone
        let checked = tokio::task::spawn_blocking(move || {
            let right = password::matches(&secret, &phc);
            drop(slot);
            right
        });
        let right = checked.await.map_err(|_| Denied::Busy)?;
        match found {
            Some(User { id, full_name, password: _ }) if right => Ok(Identity { id, full_name }),
            _ => Err(Denied::Wrong),
        }
    }

    fn recall(&self, pair: &[u8; 32]) -> Option<Identity> {
        let now = self.clock.elapsed();
        self.remembered.lock().get(pair).filter(|r| now < r.until).map(|r| r.who.clone())
    }

    fn remember(&self, pair: [u8; 32], who: Identity) {
        if self.key == [0; 32] {
            return;
        }
        let now = self.clock.elapsed();
        let mut remembered = self.remembered.lock();
        if remembered.len() >= PAIRS {
            remembered.retain(|_, r| now < r.until);
        }
        if remembered.len() < PAIRS {
            remembered.insert(pair, Remembered { who, until: now + REMEMBERED });
        }
    }
}

#[cfg(test)]
mod tests;
