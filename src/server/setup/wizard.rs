//! What the setup wizard of a replica remembers: how it is unlocked, who has unlocked it, and whom each of them wants as the
//! first user. All of it is in memory: what is written is one user, at the end, and whoever comes to another replica after
//! this one was lost begins anew.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use security::{FirstToken, FirstUser, UnlockKey};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::Error;
use crate::session;

/// Browsers that may be in the wizard at once; the one that was longest idle goes.
const VISITS: usize = 32;
/// So long a browser may be idle in it.
const IDLE: Duration = Duration::from_secs(60 * 60);

/// How the wizard is unlocked, and what its user gets.
#[derive(Debug, Clone)]
pub struct Unlock {
    pub key: UnlockKey,
    /// Where the password is, for whoever reads the page.
    pub place: String,
    /// An API token of the first user.
    pub token: Option<FirstToken>,
}

/// The setup wizard of a replica; cheap to clone. Nobody passes it before it is shown.
#[derive(Clone, Default)]
pub struct Wizard {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    ended: watch::Sender<bool>,
    closed: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    unlock: Option<Unlock>,
    visits: Vec<Visit>,
    /// The visit that has made the first user.
    made: Option<String>,
}

/// A browser that has shown the password.
struct Visit {
    name: String,
    used: Instant,
    first: Option<FirstUser>,
}

impl Wizard {
    /// From now on it can be unlocked.
    pub fn show(&self, unlock: Unlock) {
        self.inner.state.lock().unlock = Some(unlock);
    }

    /// Until somebody has ended it here.
    pub async fn ended(&self) {
        let mut ended = self.inner.ended.subscribe();
        let _ended = ended.wait_for(|ended| *ended).await;
    }

    /// There are users, and the replica does what it does with them.
    pub fn close(&self) {
        self.inner.closed.send_replace(true);
    }

    /// Whether it is shown, and is all that users are served: to the end of a replica that is told to go meanwhile.
    pub(crate) fn waits(&self) -> bool {
        !*self.inner.closed.borrow() && self.inner.state.lock().unlock.is_some()
    }

    pub(super) async fn closed(&self) {
        let mut closed = self.inner.closed.subscribe();
        let _closed = closed.wait_for(|closed| *closed).await;
    }

    pub(super) fn unlock(&self) -> Result<Unlock, Error> {
        let unlock = self.inner.state.lock().unlock.clone();
        unlock.ok_or_else(|| Error::Later("the setup wizard is not ready yet".to_owned()))
    }

    /// Begins a visit; its secret name.
    pub(super) fn enter(&self) -> Result<String, Error> {
        let name = session::fresh()?;
        let (state, now) = (&mut *self.inner.state.lock(), Instant::now());
        state.leave_idle(now);
        if state.visits.len() >= VISITS
            && let Some((at, _)) = state.visits.iter().enumerate().min_by_key(|(_, visit)| visit.used)
        {
            state.visits.remove(at);
        }
        state.visits.push(Visit { name: name.clone(), used: now, first: None });
        Ok(name)
    }

    /// Whom this visit wants as the first user, if it is one and has said so.
    pub(super) fn visit(&self, name: &str) -> Option<Option<FirstUser>> {
        let (state, now) = (&mut *self.inner.state.lock(), Instant::now());
        state.leave_idle(now);
        let visit = state.visits.iter_mut().find(|visit| visit.name == name)?;
        visit.used = now;
        Some(visit.first.clone())
    }

    pub(super) fn want(&self, name: &str, first: FirstUser) {
        let mut state = self.inner.state.lock();
        if let Some(visit) = state.visits.iter_mut().find(|visit| visit.name == name) {
            visit.first = Some(first);
        }
    }

    /// There is a first user now, whom this visit has made.
    pub(super) fn end(&self, name: &str) {
        self.inner.state.lock().made = Some(name.to_owned());
        self.inner.ended.send_replace(true);
    }

    /// Whether this visit has made the first user.
    pub(super) fn made_by(&self, name: &str) -> bool {
        self.inner.state.lock().made.as_deref() == Some(name)
    }

    /// Whether somebody has.
    pub(super) fn made(&self) -> bool {
        self.inner.state.lock().made.is_some()
    }
}

impl State {
    fn leave_idle(&mut self, now: Instant) {
        self.visits.retain(|visit| now.saturating_duration_since(visit.used) < IDLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_browsers_are_in_it_at_once_and_idle_ones_leave() {
        let wizard = Wizard::default();
        let names: Vec<String> = (0..VISITS).map(|_| wizard.enter().unwrap()).collect();
        assert!(wizard.visit(&names[0]).is_some(), "it is used, so another one goes");
        let last = wizard.enter().unwrap();
        assert!(wizard.visit(&names[1]).is_none() && wizard.visit(&names[0]).is_some());
        assert!(wizard.visit(&last).is_some() && wizard.visit("").is_none());
        let state = &mut *wizard.inner.state.lock();
        assert_eq!(state.visits.len(), VISITS);
        state.leave_idle(Instant::now() + IDLE);
        assert!(state.visits.is_empty());
    }
}
