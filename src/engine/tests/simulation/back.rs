//! The store is set back in time.

use std::collections::BTreeSet;

use store::Error;

use crate::home::Snapshot;
use crate::replica::Replica;
use crate::world::World;

/// Most beats that a store gets between two looks.
const SLACK: i64 = 8;

impl World {
    // -- back in time ------------------------------------------------------------------------

    pub(crate) fn snapshot(&mut self) {
        let told = self.oracle.builds.clone();
        self.home.snapshots.push(Snapshot { state: self.home.state.clone(), told });
    }

    /// Sets the store back to a copy that has the same builds, if there is one. Ids of builds that began after
    /// the copy would be given a second time. Somebody must be there to notice, unless there is one agent whose disk is safe:
    /// a step may have run in the lost time on one, and be given to another then.
    pub(crate) fn restore(&mut self) {
        let now = self.oracle.builds.len();
        let Some(at) = self.home.snapshots.iter().position(|s| s.told.len() == now && now > 0) else {
            return;
        };
        let tick = self.home.snapshots[at].state.meta().tick;
        let lost = self.home.state.meta().tick - tick;
        let witnesses = self.who_must_notice(tick);
        let noticed = if lost > SLACK { !witnesses.is_empty() } else { self.owners_notice(at) };
        if !noticed && !self.chaos.unseen {
            return;
        }
        self.oracle.witnesses = witnesses;
        let Snapshot { state, told } = self.home.snapshots.remove(at);
        self.tell(|| "the store is set back in time".to_owned());
        self.home.state = state;
        for (from, _) in std::mem::take(&mut self.home.group) {
            if let Some(from) = from {
                self.answer(from, Err(Error::Unknown("the store was set back".into())));
            }
        }
        self.home.snapshots.clear();
        self.home.read_once.clear();
        self.home.restores += 1;
        self.home.restored_at = Some(self.now.max(self.home.away_until));
        self.oracle.set_back(told);
    }

    /// Replicas that must notice: they look on, and the store has lost more beats than it gets until they look again.
    fn who_must_notice(&self, tick: i64) -> BTreeSet<(usize, u64)> {
        let seen = |r: &Replica| looks_on(r) && r.view.as_ref().is_some_and(|v| v.meta.tick > tick + SLACK);
        let witnesses = self.replicas.iter().enumerate().filter(|(_, r)| seen(r));
        witnesses.map(|(at, r)| (at, r.life)).collect()
    }

    /// Whether all builds of which a copy has less are driven by replicas that look on, and the copy knows of former ones
    /// that were restored.
    fn owners_notice(&self, copy: usize) -> bool {
        let (state, copy) = (&self.home.state, &self.home.snapshots[copy].state);
        if state.meta().epoch != copy.meta().epoch {
            return false;
        }
        let now = state.running(None);
        copy.running(None).iter().all(|was| {
            let row = now.iter().find(|row| row.build == was.build);
            row.is_some_and(|row| {
                let drives = |r: &Replica| {
                    looks_on(r) && r.actors.get(&row.build).is_some_and(|a| a.fence() == row.fence)
                };
                (row.fence, row.seq) == (was.fence, was.seq) || self.replicas.iter().any(drives)
            })
        })
    }
}

fn looks_on(replica: &Replica) -> bool {
    replica.ready && !replica.paused && !replica.draining
}
