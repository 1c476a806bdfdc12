//! What the writer did, counted. Read by the metrics page.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::metrics::Metrics;

/// Upper ends of the group sizes that are counted; the last counts all above.
pub const GROUP_BOUNDS: [u64; 5] = [1, 4, 16, 64, 256];

/// Counters of one process's writer.
#[derive(Debug, Default)]
pub struct Stats {
    commits: AtomicU64,
    writes: AtomicU64,
    refused: AtomicU64,
    retries: AtomicU64,
    lost: AtomicU64,
    commit_micros: AtomicU64,
    round_micros: AtomicU64,
    groups: [AtomicU64; GROUP_BOUNDS.len()],
    pub(crate) metrics: Metrics,
}

/// The counters at one moment; all of them only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Snapshot {
    pub commits: u64,
    /// Writes that were answered after a commit, refused ones too.
    pub writes: u64,
    /// Of them, refused ones.
    pub refused: u64,
    /// Groups that were applied once more because another transaction was in the way.
    pub retries: u64,
    /// Connections that ended.
    pub lost: u64,
    /// Spent in the commits alone.
    pub commit_micros: u64,
    /// Spent from the begin of a transaction to the end of its commit.
    pub round_micros: u64,
    /// Groups by size: up to each of [`GROUP_BOUNDS`], and above the one before.
    pub groups: [u64; GROUP_BOUNDS.len()],
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Stats {
    pub(crate) fn committed(&self, writes: u64, refused: u64, commit: Duration, round: Duration) {
        self.metrics.committed(writes, commit, round);
        self.metrics.available.set(1);
        self.commits.fetch_add(1, Relaxed);
        self.writes.fetch_add(writes, Relaxed);
        self.refused.fetch_add(refused, Relaxed);
        self.commit_micros.fetch_add(micros(commit), Relaxed);
        self.round_micros.fetch_add(micros(round), Relaxed);
        let bucket = GROUP_BOUNDS.iter().position(|bound| writes <= *bound).unwrap_or(GROUP_BOUNDS.len() - 1);
        self.groups[bucket].fetch_add(1, Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.metrics.retries.inc();
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_lost(&self) {
        self.metrics.lost.inc();
        self.metrics.available.set(0);
        self.lost.fetch_add(1, Relaxed);
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            commits: self.commits.load(Relaxed),
            writes: self.writes.load(Relaxed),
            refused: self.refused.load(Relaxed),
            retries: self.retries.load(Relaxed),
            lost: self.lost.load(Relaxed),
            commit_micros: self.commit_micros.load(Relaxed),
            round_micros: self.round_micros.load(Relaxed),
            groups: std::array::from_fn(|at| self.groups[at].load(Relaxed)),
        }
    }
}
