//! How much of what an agent reported waits in the mailboxes of builds. Those have no limit of their own: a build never
//! makes a socket wait that others use. An agent that keeps to its credit stays below the limit with up to a hundred steps that print.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of one agent's reports that may wait.
pub(crate) const MAX_WAITING: usize = 32 * 1024 * 1024;
/// What a report takes besides its message.
const OVERHEAD: usize = 256;

/// All that waits of one agent's reports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scales(Arc<AtomicUsize>);

impl Scales {
    /// The weight of a message; nothing when that is too much.
    pub(crate) fn put(&self, message: usize) -> Option<Weight> {
        let bytes = message.saturating_add(OVERHEAD);
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        // Taken off again when it is dropped.
        let weight = Weight { bytes, on: self.clone() };
        (before.saturating_add(bytes) <= MAX_WAITING).then_some(weight)
    }

    pub(crate) fn empty(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// Counts a report as waiting until it is dropped.
#[derive(Debug)]
pub struct Weight {
    bytes: usize,
    on: Scales,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.on.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
