//! Simulated native agents: thousands of links in this process, in place of as many processes.
//!
//! Each speaks the native protocol through the product's own codec: it shows its secret, greets, answers pings, claims builds
//! under fences, and sends what its steps print within their credit. What it cannot show: that a real process is started once
//! and survives, that a spool is read from a disk, and what a network does. `trivial`, `failover` and the stories of
//! `tests/cluster` run real agents.

mod agent;
mod dial;
pub(crate) mod text;
mod work;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};

/// Agents that connect at the same time.
const DIALLING: usize = 256;
/// Reasons that are kept, to say why when something went wrong.
const REASONS: usize = 20;

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) secret: String,
}

/// Counts over all agents.
#[derive(Default)]
pub(crate) struct Seen {
    /// Linked now, greeted.
    pub(crate) linked: AtomicUsize,
    /// Got a ping of the controller, ever.
    pub(crate) pinged: AtomicUsize,
    /// Ran a step to its end, ever.
    pub(crate) worked: AtomicUsize,
    /// Links that ended.
    pub(crate) lost: AtomicUsize,
    /// Attempts that led to no link.
    pub(crate) refused: AtomicUsize,
}

struct Fleet {
    to: SocketAddr,
    began: Instant,
    dialling: Semaphore,
    seen: Seen,
    /// How often each agent pings the controller; not at all at first.
    asks: watch::Sender<Option<Duration>>,
    /// Milliseconds that it took to be answered.
    answers: Mutex<Vec<f64>>,
    reasons: Mutex<Vec<String>>,
}

impl Fleet {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn answered(&self, after: Duration) {
        self.answers.lock().push(after.as_secs_f64() * 1000.0);
    }

    fn note(&self, node: &str, why: Result<String>) {
        let why = why.unwrap_or_else(|error| format!("{error:#}"));
        let mut reasons = self.reasons.lock();
        if reasons.len() < REASONS {
            reasons.push(format!("{node}: {why}"));
        }
    }
}

/// The agents that run. Dropped, all their sockets close.
pub(crate) struct Agents {
    fleet: Arc<Fleet>,
    runtime: Option<Runtime>,
    next: usize,
}

impl Agents {
    pub(crate) fn new(to: SocketAddr) -> Result<Agents> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let fleet = Fleet {
            to,
            began: Instant::now(),
            dialling: Semaphore::new(DIALLING),
            seen: Seen::default(),
            asks: watch::Sender::new(None),
            answers: Mutex::default(),
            reasons: Mutex::default(),
        };
        Ok(Agents { fleet: Arc::new(fleet), runtime: Some(runtime), next: 0 })
    }

    /// Lets more agents connect.
    pub(crate) fn add(&mut self, nodes: Vec<Node>) {
        for node in nodes {
            self.spawn(|fleet, index| agent::run(fleet, index, node));
        }
    }

    /// Opens WebSockets that only answer pings.
    pub(crate) fn add_bare(&mut self, count: usize) {
        for _ in 0..count {
            self.spawn(agent::bare);
        }
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(&mut self, run: impl FnOnce(Arc<Fleet>, usize) -> F) {
        let future = run(Arc::clone(&self.fleet), self.next);
        self.next += 1;
        if let Some(runtime) = &self.runtime {
            runtime.spawn(future);
        }
    }

    pub(crate) fn seen(&self) -> &Seen {
        &self.fleet.seen
    }

    /// Waits until a count is reached; when it is not, says what went wrong with the agents.
    pub(crate) fn wait(
        &self,
        what: &str,
        most: Duration,
        count: impl Fn(&Seen) -> &AtomicUsize,
    ) -> Result<()> {
        let deadline = Instant::now() + most;
        loop {
            let now = count(&self.fleet.seen).load(Ordering::Relaxed);
            if now >= self.next {
                return Ok(());
            }
            if Instant::now() > deadline {
                let reasons = self.fleet.reasons.lock().join("; ");
                bail!("{now} of {} agents are {what} after {} s: {reasons}", self.next, most.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// From now on each agent pings the controller so often, or not at all; when it does, the answers are timed anew.
    pub(crate) fn ask(&self, every: Option<Duration>) {
        if every.is_some() {
            self.fleet.answers.lock().clear();
        }
        self.fleet.asks.send_replace(every);
    }

    /// Sorted milliseconds of all answers since [`Agents::ask`].
    pub(crate) fn answers(&self) -> Vec<f64> {
        let mut answers = self.fleet.answers.lock().clone();
        answers.sort_by(f64::total_cmp);
        answers
    }

    /// Why links ended or did not begin, the first few.
    pub(crate) fn reasons(&self) -> Vec<String> {
        self.fleet.reasons.lock().clone()
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
