//! What the operator counts and times.

use std::collections::BTreeMap;
use std::time::Duration;

use meter::{Counters, Gauges, Histograms, Name, Registry, Seconds, add, labels, long};
use parking_lot::Mutex;
use resource::{Phase, Status};

use crate::error::{Class, Error};
use crate::names::{Key, Owner};

const RECONCILES: Name = Name::new(
    "majordomo_operator_reconciles_total",
    "Reconciles by how they ended; a failed one is tried again",
);
const TIME: Name = Name::new("majordomo_operator_reconcile_seconds", "How long reconciles took");
const WRITES: Name =
    Name::new("majordomo_operator_writes_total", "What was written to the API server, by what it was");
const LEADER: Name = Name::new(
    "majordomo_operator_leader",
    "1: this process looks after the controllers; 0: another one does, or none",
);
const OBJECTS: Name = Name::new(
    "majordomo_operator_objects",
    "Objects that the watches have brought, by which nothing is asked twice",
);
const CONTROLLERS: Name = Name::new("majordomo_operator_controllers", "Controllers by how they are");

labels! {
    /// How a reconcile ended.
    pub(crate) enum End("result") {
        Done => "done",
        /// Somebody else wrote meanwhile.
        Conflict => "conflict",
        /// The API server refuses something.
        Refused => "refused",
        /// It does not answer.
        Away => "away",
    }
}

labels! {
    /// What was written.
    pub(crate) enum Wrote("kind") {
        Object => "object",
        Status => "status",
        Removal => "removal",
    }
}

labels! {
    /// As in `status.phase`.
    pub(crate) enum How("phase") {
        Pending => "pending",
        Starting => "starting",
        Setup => "setup",
        Ready => "ready",
        Degraded => "degraded",
        Unavailable => "unavailable",
        Rolling => "rolling",
        Stopped => "stopped",
        Deleting => "deleting",
    }
}

/// Of this process.
#[derive(Debug)]
pub struct Metrics {
    reconciles: Counters<End>,
    time: Histograms<End>,
    pub(crate) writes: Counters<Wrote>,
    leader: Seconds,
    objects: Seconds,
    controllers: Gauges<How>,
    phases: Mutex<BTreeMap<Key, Phase>>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            reconciles: Counters::default(),
            time: Histograms::new(long),
            writes: Counters::default(),
            leader: Seconds::default(),
            objects: Seconds::default(),
            controllers: Gauges::default(),
            phases: Mutex::default(),
        }
    }
}

impl Metrics {
    pub fn register(&self, to: &mut Registry) {
        self.reconciles.add_to(to, RECONCILES);
        self.time.add_to(to, TIME);
        self.writes.add_to(to, WRITES);
        add(to, LEADER, self.leader.clone());
        add(to, OBJECTS, self.objects.clone());
        self.controllers.add_to(to, CONTROLLERS);
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(f64::from(u8::from(leads)));
    }

    pub(crate) fn knows(&self, objects: usize) {
        self.objects.set(f64::from(u32::try_from(objects).unwrap_or(u32::MAX)));
    }

    pub(crate) fn reconciled(&self, took: Duration, failed: Option<&Error>) {
        let end = match failed.map(Error::class) {
            None => End::Done,
            Some(Class::Conflict) => End::Conflict,
            Some(Class::Refused) => End::Refused,
            Some(Class::Away) => End::Away,
        };
        self.reconciles.inc(end);
        self.time.observe(end, took);
    }

    pub(crate) fn told(&self, owner: &Owner, status: &Status) {
        let Some(phase) = status.phase else { return };
        self.phases.lock().insert(owner.key(), phase);
        self.count();
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.phases.lock().remove(key);
        self.count();
    }

    fn count(&self) {
        let phases = self.phases.lock();
        for (phase, how) in [
            (Phase::Pending, How::Pending),
            (Phase::Starting, How::Starting),
            (Phase::Setup, How::Setup),
            (Phase::Ready, How::Ready),
            (Phase::Degraded, How::Degraded),
            (Phase::Unavailable, How::Unavailable),
            (Phase::Rolling, How::Rolling),
            (Phase::Stopped, How::Stopped),
            (Phase::Deleting, How::Deleting),
        ] {
            let count = phases.values().filter(|known| **known == phase).count();
            self.controllers.set(how, f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_documented_with_its_meaning() {
        let documented = include_str!("../../docs/metrics.md");
        for Name { name, help, .. } in [RECONCILES, TIME, WRITES, LEADER, OBJECTS, CONTROLLERS] {
            let row = documented.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            let first = help.split([',', ';']).next().unwrap();
            assert!(row.is_some_and(|row| row.contains(first)), "{name}: {row:?}");
        }
    }
}
