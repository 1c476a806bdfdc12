//! What the writer of one process counts and times.

use std::time::Duration;

use meter::{Counter, Counters, Gauge, Histogram, Name, Registry, SIZES, add, labels, quick};
use store::{Answer, Error};

const COMMITS: Name =
    Name::new("majordomo_store_commits_total", "Transactions that this replica has committed");
const COMMIT: Name = Name::new("majordomo_store_commit_seconds", "How long the commit of a group took alone");
const GROUP: Name = Name::new(
    "majordomo_store_group_seconds",
    "From the begin of a group's transaction to the end of its commit",
);
const GROUP_WRITES: Name = Name::new("majordomo_store_group_writes", "Writes that were committed together");
const WRITES: Name = Name::new(
    "majordomo_store_writes_total",
    "Writes that were answered, by outcome; fenced: somebody else is the owner now",
);
const WRITE: Name = Name::new(
    "majordomo_store_write_seconds",
    "From when a write was handed over until it was answered, the wait for others included",
);
const RETRIES: Name = Name::new(
    "majordomo_store_retries_total",
    "Groups and writes that were applied once more because another transaction was in the way",
);
const LOST: Name = Name::new(
    "majordomo_store_connections_lost_total",
    "Times that the writer found the store away or its connection broken",
);
const AVAILABLE: Name =
    Name::new("majordomo_store_available", "1 while the writer reaches the store, 0 while the store is away");

labels! {
    /// What became of a write.
    pub(crate) enum Outcome("outcome") {
        Ok => "ok",
        Fenced => "fenced",
        /// It may not be done as things are.
        Refused => "refused",
        /// The store was away for too long.
        Unavailable => "unavailable",
        Error => "error",
    }
}

impl Outcome {
    fn of(answer: &store::Result<Answer>) -> Outcome {
        match answer {
            Ok(_) => Outcome::Ok,
            Err(Error::Fenced { .. }) => Outcome::Fenced,
            Err(Error::NotFound(_) | Error::Exists(_) | Error::Conflict(_) | Error::Limit(_)) => {
                Outcome::Refused
            }
            Err(Error::Unavailable(_)) => Outcome::Unavailable,
            Err(Error::Unknown(_) | Error::Corrupt(_)) => Outcome::Error,
        }
    }
}

/// Filled by the writer and its callers; read when somebody asks.
#[derive(Debug)]
pub struct Metrics {
    commits: Counter,
    commit: Histogram,
    group: Histogram,
    group_writes: Histogram,
    writes: Counters<Outcome>,
    write: Histogram,
    pub(crate) retries: Counter,
    pub(crate) lost: Counter,
    pub(crate) available: Gauge,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let available = Gauge::default();
        // a home is opened only when the store answers
        available.set(1);
        Metrics {
            commits: Counter::default(),
            commit: quick(),
            group: quick(),
            group_writes: Histogram::new(SIZES),
            writes: Counters::default(),
            write: quick(),
            retries: Counter::default(),
            lost: Counter::default(),
            available,
        }
    }
}

impl Metrics {
    pub fn register(&self, to: &mut Registry) {
        add(to, COMMITS, self.commits.clone());
        add(to, COMMIT, self.commit.clone());
        add(to, GROUP, self.group.clone());
        add(to, GROUP_WRITES, self.group_writes.clone());
        self.writes.add_to(to, WRITES);
        add(to, WRITE, self.write.clone());
        add(to, RETRIES, self.retries.clone());
        add(to, LOST, self.lost.clone());
        add(to, AVAILABLE, self.available.clone());
    }

    pub(crate) fn committed(&self, writes: u64, commit: Duration, round: Duration) {
        self.commits.inc();
        self.commit.observe(commit.as_secs_f64());
        self.group.observe(round.as_secs_f64());
        self.group_writes.observe(writes as f64);
    }

    pub(crate) fn answered(&self, answer: &store::Result<Answer>, after: Duration) {
        self.writes.inc(Outcome::of(answer));
        self.write.observe(after.as_secs_f64());
    }
}
