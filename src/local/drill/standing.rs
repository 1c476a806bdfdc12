//! Who is to be killed, and how far the controller has come since. Pure: answers of the controller go in.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;

use crate::Error;

/// So long nothing new was seen: what the controller has measured is what it will.
const QUIET: Duration = Duration::from_secs(3);
/// After that time a loss that nobody has noted was none: its builds had ended just before.
const NOTICED: Duration = Duration::from_secs(15);
/// After that time, what has not resumed only waits, or hangs.
const RESUME: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Seen {
    pub(super) replicas: Vec<Replica>,
    #[serde(default)]
    pub(super) failovers: Vec<Failover>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Replica {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) incarnation: i64,
    /// Shown to administrators only.
    #[serde(default)]
    pub(super) pid: Option<u32>,
    pub(super) builds: Vec<Build>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct Build {
    pub(super) job: String,
    pub(super) number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failover {
    pub(super) incarnation: i64,
    pub(super) adopted_millis: Option<u64>,
    pub(super) resumed_millis: Option<u64>,
}

/// The replica of that name, or the one with most builds. Refused unless another one is ready as well.
pub(super) fn pick<'a>(replicas: &'a [Replica], name: Option<&str>) -> Result<&'a Replica, Error> {
    let ready: Vec<&Replica> = replicas.iter().filter(|r| r.state == "ready").collect();
    let names = || ready.iter().map(|r| r.name.as_str()).collect::<Vec<_>>().join(", ");
    if ready.len() < 2 {
        let many = ready.len();
        return Err(Error::Refused(format!(
            "{many} replicas are ready; two must be, so that one can take over what the other loses"
        )));
    }
    let picked = match name {
        Some(name) => ready.iter().find(|r| r.name == name),
        // of several, the one of the lowest ordinal
        None => ready.iter().rev().max_by_key(|r| r.builds.len()),
    };
    let missing =
        || Error::Refused(format!("no replica {} is ready; there are {}", name.unwrap_or("?"), names()));
    picked.copied().ok_or_else(missing)
}

/// At most `most` of them, spread over all.
pub(super) fn sample(builds: &[Build], most: usize) -> Vec<Build> {
    if builds.len() <= most {
        return builds.to_vec();
    }
    (0..most).filter_map(|n| builds.get(n * builds.len() / most)).cloned().collect()
}

fn of_others<'a>(lost: &Replica, seen: &'a Seen) -> HashSet<&'a Build> {
    let others = seen.replicas.iter().filter(|r| r.incarnation != lost.incarnation);
    others.flat_map(|r| &r.builds).collect()
}

/// Builds that nobody drives by that answer: they have ended, or wait to be adopted.
pub(super) fn nobodys<'a>(lost: &'a Replica, seen: &Seen) -> Vec<&'a Build> {
    let theirs = of_others(lost, seen);
    let still: HashSet<&Build> =
        seen.replicas.iter().filter(|r| r.incarnation == lost.incarnation).flat_map(|r| &r.builds).collect();
    lost.builds.iter().filter(|b| !theirs.contains(b) && !still.contains(b)).collect()
}

/// What a log was before the kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// What is said of a build at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Glance {
    Runs {
        /// Of its log.
        length: u64,
    },
    Ended,
    Gone,
}

/// A build that is watched one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) build: Build,
    /// Its log before the kill; `None` when it could not be read then.
    pub(super) before: Option<Noted>,
    /// How long its log was when it was first seen after the kill.
    since: Option<u64>,
    pub(super) fate: Fate,
}

/// What has become of a build since the kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It has committed nothing that shows in its log.
    Waits,
    Resumed,
    Ended,
    Gone,
}

impl Watched {
    pub(super) fn new(build: Build, before: Option<Noted>) -> Watched {
        Watched { build, before, since: None, fate: Fate::Waits }
    }

    /// Whether it runs no more.
    pub(super) fn over(&self) -> bool {
        matches!(self.fate, Fate::Ended | Fate::Gone)
    }

    /// A look after the kill. Only what is longer than at the first one was written since for sure.
    pub(super) fn glance(&mut self, glance: Glance) {
        self.fate = match glance {
            Glance::Ended => Fate::Ended,
            Glance::Gone => Fate::Gone,
            Glance::Runs { length } => match self.since {
                Some(since) if length > since => Fate::Resumed,
                _ => self.fate,
            },
        };
        if let Glance::Runs { length } = glance {
            self.since.get_or_insert(length);
        }
    }
}

/// What is known since the kill.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// The builds that the lost one still has.
    pub(super) left: usize,
    /// Watched builds that have not gone on.
    pub(super) waiting: usize,
    /// Until a new one of its name was ready.
    pub(super) ready: Option<Duration>,
    pub(super) adopted_millis: Option<u64>,
    pub(super) resumed_millis: Option<u64>,
    /// When any of that was another one, last.
    pub(super) changed: Duration,
}

impl Standing {
    /// After a look, that long after the kill. `over` are those that have ended or were deleted meanwhile.
    pub(super) fn next(
        &self,
        lost: &Replica,
        seen: &Seen,
        over: &HashSet<Build>,
        watched: &[Watched],
        now: Duration,
    ) -> Standing {
        let theirs = of_others(lost, seen);
        let back =
            |r: &&Replica| r.name == lost.name && r.incarnation != lost.incarnation && r.state == "ready";
        let row = seen.failovers.iter().find(|f| f.incarnation == lost.incarnation);
        let next = Standing {
            left: lost.builds.iter().filter(|b| !theirs.contains(b) && !over.contains(b)).count(),
            waiting: watched.iter().filter(|w| w.fate == Fate::Waits).count(),
            ready: self.ready.or_else(|| seen.replicas.iter().find(back).map(|_| now)),
            adopted_millis: row.map_or(self.adopted_millis, |row| row.adopted_millis),
            resumed_millis: row.map_or(self.resumed_millis, |row| row.resumed_millis),
            changed: self.changed,
        };
        if next == *self { next } else { Standing { changed: now, ..next } }
    }

    /// Whether there is nothing more to wait for.
    pub(super) fn over(&self, lost: &Replica, now: Duration) -> bool {
        if self.ready.is_none() || self.left > 0 {
            return false;
        }
        let patience = match (self.adopted_millis, self.waiting) {
            _ if lost.builds.is_empty() => Duration::ZERO,
            (None, _) => NOTICED,
            (Some(_), 0) => QUIET,
            (Some(_), _) => RESUME,
        };
        now.saturating_sub(self.changed) >= patience
    }
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
