//! Hints: *look at X* after a write. A lost hint costs a second, never correctness.

use std::sync::Arc;

use model::BuildId;
use tokio::sync::broadcast;

/// What to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hint {
    /// The queue, waits, executors: whoever schedules.
    Queue,
    /// The same, and this replica is asked to do it.
    Schedule,
    /// Which builds this replica owns.
    Running,
    /// The inbox of a build.
    Inbox(BuildId),
    /// Which agents are linked.
    Links,
}

/// Where hints are given; cheap to clone. Those who listen decide whether to pass one on to other replicas.
#[derive(Debug, Clone)]
pub struct Hints {
    sender: Arc<broadcast::Sender<Hint>>,
}

impl Hints {
    pub fn new() -> Hints {
        Hints { sender: Arc::new(broadcast::Sender::new(1024)) }
    }

    pub fn listen(&self) -> broadcast::Receiver<Hint> {
        self.sender.subscribe()
    }

    pub fn give(&self, hint: Hint) {
        let _nobody_listens = self.sender.send(hint);
    }

    pub fn queue(&self) {
        self.give(Hint::Queue);
    }

    pub fn running(&self) {
        self.give(Hint::Running);
    }

    pub fn inbox(&self, build: BuildId) {
        self.give(Hint::Inbox(build));
    }

    pub fn links(&self) {
        self.give(Hint::Links);
    }
}

impl Default for Hints {
    fn default() -> Hints {
        Hints::new()
    }
}
