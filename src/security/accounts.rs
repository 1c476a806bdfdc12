//! Who a request comes from: passwords, API tokens, sessions.
//!
//! A password costs memory and time to check, so at most two are checked at once, and a pair that was right is remembered
//! for a minute, as a keyed hash, as long as the user has that password. A name that does not exist costs what one that
//! does costs. Requests read and never write: what was used is written down once a minute, by [`Accounts::run`].

mod first;
mod slowed;
mod users;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Millis, SystemClock};
use parking_lot::Mutex;
use store::{ApiToken, Hidden, Session, Store, User, Write, user_key};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::attempts::{Attempts, Source};
use crate::keys::mac;
use crate::known::Known;
use crate::metrics::{Metrics, Shown};
use crate::password::{self, MAX_PASSWORD, Password};
use crate::token::{Token, is_token, random_session, session_hash, token_hash};

pub use first::{FirstToken, FirstUser, UnlockKey};
pub use users::{NewPassword, NewUser, UserChange, UserError, check_user_name};

/// How long a pair that was right is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Pairs that are remembered.
const PAIRS: usize = 10_000;
/// Verifications at once: each takes 19 MiB and a processor.
const AT_ONCE: usize = 2;
/// Verifications that are under way or wait for that; when to come again if there are more.
const PLACES: usize = 128;
const FULL: Duration = Duration::from_secs(5);
/// Longest user id that is looked at, in bytes.
const MAX_ID: usize = 200;
/// A session ends so long after its last use.
const IDLE: Duration = Duration::from_secs(60 * 60);
/// A session ends so long after its begin.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// One that the browser is to keep ends then, whether it is used or not.
pub const REMEMBER_ME: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How often what was used is written down, and what is over is forgotten.
const SETTLE: Duration = Duration::from_secs(60);

/// A user who has shown who he is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub id: String,
    pub full_name: String,
    pub admin: bool,
}

impl From<User> for Identity {
    fn from(user: User) -> Identity {
        let User { id, full_name, email: _, password: _, admin } = user;
        Identity { id, full_name, admin }
    }
}

/// With what somebody has shown who he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    Password,
    Token,
    Session,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No such user, or another password: it is not said which.
    #[error("the user name or password is wrong")]
    Wrong,
    /// When to come again.
    #[error("too many failed attempts")]
    Busy(Duration),
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
    /// Of those who wait for a slot.
    places: Arc<Semaphore>,
    remembered: Mutex<HashMap<[u8; 32], Remembered>>,
    attempts: Mutex<Attempts>,
    users: Known<User>,
    sessions: Known<Session>,
    tokens: Known<ApiToken>,
    anonymous_read: Known<bool>,
    /// Uses of sessions that are not written down yet.
    seen: Mutex<HashMap<String, Millis>>,
    /// Uses of tokens that are not written down yet, by id.
    used: Mutex<HashMap<String, (Millis, u64)>>,
    metrics: Metrics,
}

struct Remembered {
    /// Of the password, as the store had it.
    hash: Hidden,
    until: Duration,
}

impl Accounts {
    pub fn new(store: Arc<dyn Store>) -> Accounts {
        Accounts::with_clock(store, Arc::new(SystemClock::new()))
    }

    pub fn with_clock(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Accounts {
        let mut key = [0; 32];
        // without random bytes nothing is remembered: see `remember`
        let _ = getrandom::fill(&mut key);
        let inner = Inner {
            store,
            clock,
            key,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            places: Arc::new(Semaphore::new(PLACES)),
            remembered: Mutex::default(),
            attempts: Mutex::default(),
            users: Known::default(),
            sessions: Known::default(),
            tokens: Known::default(),
            anonymous_read: Known::default(),
            seen: Mutex::default(),
            used: Mutex::default(),
            metrics: Metrics::default(),
        };
        Accounts { inner: Arc::new(inner) }
    }

    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Who this is, by a password or an API token. `from` is the client's address, as far as it is known.
    pub async fn authenticate(
        &self,
        user: &str,
        secret: &str,
        from: Option<IpAddr>,
    ) -> Result<(Identity, Proof), Denied> {
        let inner = &self.inner;
        let source = Source { user: &checked(user, secret)?, from };
        if is_token(secret) {
            let user = inner.by_token(source, secret).await;
            inner.metrics.shown(Proof::Token, &user);
            return Ok((user?.into(), Proof::Token));
        }
        let user = inner.by_password(source, secret).await;
        inner.metrics.shown(Proof::Password, &user);
        Ok((user?.into(), Proof::Password))
    }

    /// Judges the token of a job that somebody has shown, whom it does not name; `right`: it is the job's.
    pub fn job_token(&self, job: &str, right: bool, from: Option<IpAddr>) -> Result<(), Denied> {
        let inner = &self.inner;
        let looked_at = inner.attempts.lock().job_token(job, from, right, inner.clock.elapsed());
        let judged = match looked_at {
            Err(wait) => Err(inner.busy(from, wait)),
            Ok(()) if right => Ok(()),
            Ok(()) => Err(Denied::Wrong),
        };
        inner.metrics.shown(Shown::Job, &judged);
        judged
    }

    /// Begins a session; its secret name. A token is no password here.
    pub async fn sign_in(
        &self,
        user: &str,
        password: &Password,
        from: Option<IpAddr>,
        remember_me: bool,
    ) -> Result<Token, Denied> {
        let inner = &self.inner;
        let source = Source { user: &checked(user, password.expose())?, from };
        let user = inner.by_password(source, password.expose()).await;
        // what is shown is a password, what is wanted is a session
        inner.metrics.shown(Proof::Session, &user);
        inner.begin_session(user?, remember_me).await
    }

    /// Whose session that is; nobody's when it is over.
    pub async fn session(&self, name: &str) -> Result<Option<Identity>, store::Error> {
        let inner = &self.inner;
        let hash = session_hash(name);
        let read = inner.store.session(&hash);
        let Some(mut session) = inner.sessions.get(&hash.0, inner.clock.elapsed(), read).await? else {
            return Ok(None);
        };
        let now = inner.clock.now();
        if let Some(at) = inner.seen.lock().get(&hash.0) {
            session.seen_at = session.seen_at.max(*at);
        }
        if session.over(now) {
            return Ok(None);
        }
        let user = inner.user(&session.user).await?;
        if user.is_some() {
            inner.seen.lock().insert(hash.0, now);
        }
        Ok(user.map(Identity::from))
    }

    /// Ends the session, if it is one.
    pub async fn sign_out(&self, name: &str) -> Result<(), store::Error> {
        let hash = session_hash(name);
        self.inner.store.write(Write::EndSession { hash: hash.clone() }).await?;
        self.inner.sessions.forget(&hash.0);
        self.inner.seen.lock().remove(&hash.0);
        Ok(())
    }

    /// Whether who has not signed in may look.
    pub async fn anonymous_read(&self) -> Result<bool, store::Error> {
        let inner = &self.inner;
        let read = async { inner.store.anonymous_read().await.map(Some) };
        let allowed = inner.anonymous_read.get("", inner.clock.elapsed(), read).await?;
        Ok(allowed.unwrap_or(false))
    }

    /// Writes down what was used, and forgets what is over, once a minute. Any number of replicas may do so.
    pub async fn run(&self) {
        loop {
            sleep(SETTLE).await;
            self.settle().await;
            let now = self.inner.clock.now();
            if let Err(error) = self.inner.store.write(Write::ForgetSessions { now }).await {
                tracing::debug!(%error, "forget sessions that are over");
            }
        }
    }

    /// Writes down which sessions and tokens were used since the last time.
    pub async fn settle(&self) {
        let inner = &self.inner;
        let seen = std::mem::take(&mut *inner.seen.lock());
        for (hash, at) in seen {
            let write = Write::TouchSession { hash: Hidden(hash), at };
            if let Err(error) = inner.store.write(write).await {
                tracing::debug!(%error, "write down the use of a session");
            }
        }
        let used = std::mem::take(&mut *inner.used.lock());
        for (id, (at, uses)) in used {
            if let Err(error) = inner.write_use(&id, at, uses).await {
                tracing::debug!(%error, "write down the use of a token");
                let mut used = inner.used.lock();
                let more = used.entry(id).or_insert((at, 0));
                *more = (more.0.max(at), more.1 + uses);
            }
        }
    }
}

/// The id in lower case, when it and the secret may be somebody's at all.
fn checked(user: &str, secret: &str) -> Result<String, Denied> {
    let fits = !user.is_empty() && user.len() <= MAX_ID && secret.len() <= MAX_PASSWORD;
    if !fits || user.chars().any(char::is_control) {
        return Err(Denied::Wrong);
    }
    Ok(user_key(user))
}

impl Inner {
    /// Nothing is begun for a user whose password is another one by now.
    async fn begin_session(&self, user: User, remember_me: bool) -> Result<Token, Denied> {
        let name = random_session().map_err(|e| store::Error::Unavailable(e.to_string()))?;
        let now = self.clock.now();
        let (idle, longest) = if remember_me { (REMEMBER_ME, REMEMBER_ME) } else { (IDLE, LONGEST) };
        let session = Session {
            hash: session_hash(name.expose()),
            user: user.id,
            created_at: now,
            seen_at: now,
            idle,
            expires_at: now.plus(longest),
        };
        match self.store.write(Write::CreateSession { session, password: user.password }).await {
            Ok(_) => Ok(name),
            // changed or deleted meanwhile
            Err(store::Error::Conflict(_) | store::Error::NotFound(_)) => Err(Denied::Wrong),
            Err(error) => Err(error.into()),
        }
    }

    async fn user(&self, id: &str) -> store::Result<Option<User>> {
        self.users.get(&user_key(id), self.clock.elapsed(), self.store.user(id)).await
    }

    async fn by_token(&self, source: Source<'_>, secret: &str) -> Result<User, Denied> {
        let hash = token_hash(secret);
        let now = self.clock.elapsed();
        let token = self.tokens.get(&hash.0, now, self.store.token(&hash)).await?;
        let token = token.filter(|token| user_key(&token.user) == source.user);
        let user = match &token {
            Some(token) => self.user(&token.user).await?,
            None => None,
        };
        let (Some(token), Some(user)) = (token, user) else {
            let admitted = self.attempts.lock().admit_token(source, now);
            admitted.map_err(|wait| self.busy(source.from, wait))?;
            self.attempts.lock().bad_token(source, now);
            return Err(Denied::Wrong);
        };
        let at = self.clock.now();
        let mut used = self.used.lock();
        let uses = used.entry(token.id).or_insert((at, 0));
        *uses = (at, uses.1 + 1);
        drop(used);
        Ok(user)
    }

    async fn write_use(&self, id: &str, at: Millis, uses: u64) -> store::Result<()> {
        let use_token = |at| Write::UseToken { id: id.to_owned(), at, uses };
        if self.store.write(use_token(at)).await? == store::Answer::Bool(false) {
            // another replica has written a later use meanwhile, or the token is gone
            self.store.write(use_token(self.clock.now().max(Millis(at.0 + 1)))).await?;
        }
        Ok(())
    }

    async fn by_password(&self, source: Source<'_>, password: &str) -> Result<User, Denied> {
        let pair = mac(&self.key, &[source.user, password]);
        if let Some(hash) = self.recall(&pair) {
            match self.user(source.user).await? {
                Some(user) if user.password == hash => return Ok(user),
                Some(_) | None => {}
            }
        }
        let user = self.slowed(source, self.verify(source.user, password)).await?;
        self.remember(pair, user.password.clone());
        Ok(user)
    }

    async fn verify(&self, user: &str, password: &str) -> Result<User, Denied> {
        let found = self.store.user(user).await?;
        let hash = found.as_ref().map_or(password::NOBODY, |user| &user.password.0).to_owned();
        let secret = password.to_owned();
        let checked = self.hashing(move || password::matches(&secret, &hash)).await?;
        match found {
            Some(user) if checked => Ok(self.renewed(user, password).await),
            _ => Err(Denied::Wrong),
        }
    }

    /// Work that takes its time. The slot goes with the work, which ends even when its caller has gone.
    async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Denied> {
        let gone = |_| Denied::Store(store::Error::Unavailable("this replica stops".to_owned()));
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return Err(Denied::Busy(FULL)) };
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| gone(()))?;
        let work = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((slot, place));
            done
        });
        work.await.map_err(|_| gone(()))
    }

    /// Gives a password whose hash was imported one of ours. When that fails, the next time will do.
    async fn renewed(&self, user: User, password: &str) -> User {
        // Of a longer one bcrypt has looked at the beginning only: what follows may be wrong.
        if !password::outdated(&user.password.0) || password.len() > password::BCRYPT_LOOKS {
            return user;
        }
        let secret = Password::new(password);
        let Ok(Ok(hash)) = self.hashing(move || password::hash_password(&secret)).await else { return user };
        let renewed = Hidden(hash);
        let (id, was) = (user.id.clone(), user.password.clone());
        match self.store.write(Write::RehashPassword { id, was, password: renewed.clone() }).await {
            Ok(store::Answer::Bool(true)) => {
                self.users.forget(&user_key(&user.id));
                User { password: renewed, ..user }
            }
            Ok(_) => user,
            Err(error) => {
                tracing::debug!(%error, "replace an imported hash");
                user
            }
        }
    }

    fn recall(&self, pair: &[u8; 32]) -> Option<Hidden> {
        let now = self.clock.elapsed();
        self.remembered.lock().get(pair).filter(|r| now < r.until).map(|r| r.hash.clone())
    }

    fn remember(&self, pair: [u8; 32], hash: Hidden) {
        if self.key == [0; 32] {
            return;
        }
        let now = self.clock.elapsed();
        let mut remembered = self.remembered.lock();
        if remembered.len() >= PAIRS {
            remembered.retain(|_, r| now < r.until);
        }
        if remembered.len() < PAIRS {
            remembered.insert(pair, Remembered { hash, until: now + REMEMBERED });
        }
    }
}

#[cfg(test)]
mod tests;
