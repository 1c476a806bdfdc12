//! `kubectl majordomo`: shows a controller on Kubernetes, drains and restarts its replicas, tests that it survives the loss of one,
//! and gathers what support needs. It talks to the API server only, with the rights of whoever calls it: never to a replica.
//!
//! What is shown, judged, patched and hidden is decided in pure functions; the rest reads and writes objects. It must never
//! write what the operator writes, and nothing but the resource and pods at all.

mod cluster;
mod controller;
mod drain;
mod error;
mod failover;
mod follow;
mod mend;
mod overview;
mod paint;
mod report;
mod restart;
mod rollout;
mod scrub;
mod status;
mod times;
mod undo;
mod version;
mod wait;

pub use cluster::{Cluster, Place};
pub use drain::{Drain, drain};
pub use error::Error;
pub use failover::{FailoverTest, failover_test};
pub use overview::{Overview, overview};
pub use paint::Paint;
pub use report::{Report, report};
pub use restart::restart;
pub use rollout::{Undo, history, pause, resume, rollout_status, undo};
pub use status::status_text;
pub use version::version;
pub use wait::Waiting;

/// How a command ended that could be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    Good,
    /// It did not come to what was asked for.
    Bad,
    /// Not all of it could be seen.
    Unknown,
}

impl Verdict {
    /// Exit status.
    pub fn status(self) -> u8 {
        match self {
            Verdict::Good => 0,
            Verdict::Bad => 1,
            Verdict::Unknown => 2,
        }
    }
}

/// Takes lines for the user, as they come.
pub type Say<'a> = &'a (dyn Fn(&str) + Sync);

#[cfg(test)]
mod fake;
#[cfg(test)]
mod report_stories;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod scrub_tests;
#[cfg(test)]
mod status_tests;
#[cfg(test)]
mod stories;
