//! What the service manager is told (`sd_notify`). Where nobody listens, nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::{Instant, interval};

/// How often a start that goes on is said to.
const EXTEND: Duration = Duration::from_secs(10);
/// How much longer the start may take then.
const LONGER: Duration = Duration::from_secs(30);
/// A program on trial that is not ready after this is not waited for: it is stopped, and the one before comes back.
const TRIAL: Duration = Duration::from_secs(10 * 60);

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tell {
    /// Not ready yet: what it waits for or does.
    Starting(String),
    Ready(String),
    /// It hands over what it does, and stays.
    Draining,
    /// It is about to end.
    Stopping,
}

/// Tells it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Notifier {
    tell: watch::Sender<Tell>,
}

impl Notifier {
    pub fn new(what: &str) -> Notifier {
        Notifier { tell: watch::Sender::new(Tell::Starting(what.to_owned())) }
    }

    pub fn tell(&self, what: Tell) {
        self.tell.send_replace(what);
    }

    /// Runs until the process ends. `on_trial`: a start that does not come to its end is ended by the service manager, and
    /// the program before comes back. It runs where all the rest runs: a process that hangs does not say that it lives.
    pub async fn run(&self, on_trial: bool) {
        let mut told = self.tell.subscribe();
        let began = Instant::now();
        let mut extend = interval(EXTEND);
        let mut alive = watchdog().map(|most| interval(most / 3));
        loop {
            tokio::select! {
                _ = extend.tick() => {
                    let starts = matches!(*told.borrow(), Tell::Starting(_));
                    if starts && !(on_trial && began.elapsed() > TRIAL) {
                        let micros = u32::try_from(LONGER.as_micros()).unwrap_or(u32::MAX);
                        say(&[NotifyState::ExtendTimeoutUsec(micros)]);
                    }
                }
                () = tick(&mut alive) => say(&[NotifyState::Watchdog]),
                changed = told.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let what = told.borrow_and_update().clone();
                    match what {
                        Tell::Starting(what) => say(&[NotifyState::Status(&what)]),
                        Tell::Ready(what) => say(&[NotifyState::Ready, NotifyState::Status(&what)]),
                        Tell::Draining => say(&[NotifyState::Status("drained: it takes no work until it is restarted")]),
                        Tell::Stopping => say(&[NotifyState::Stopping, NotifyState::Status("hands over what it does")]),
                    }
                }
            }
        }
    }
}

fn say(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::debug!(%error, "tell the service manager");
    }
}

/// After how long without a word the service manager ends this process.
fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|most| !most.is_zero())
}

async fn tick(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}
