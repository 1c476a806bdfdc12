//! The store is set back in time.

use store::Error;

use crate::home::Snapshot;
use crate::world::World;

impl World {
    // -- back in time ------------------------------------------------------------------------

    pub(crate) fn snapshot(&mut self) {
        let told = self.oracle.builds.clone();
        self.home.snapshots.push(Snapshot { state: self.home.state.clone(), told });
    }

    /// Sets the store back to a copy that has the same builds, if there is one. Ids of builds that began after
    /// the copy would be given a second time.
    pub(crate) fn restore(&mut self) {
        let now = self.oracle.builds.len();
        let Some(at) = self.home.snapshots.iter().position(|s| s.told.len() == now && now > 0) else {
            return;
        };
        let Snapshot { state, told } = self.home.snapshots.remove(at);
        self.tell(|| "the store is set back in time".to_owned());
        self.name_witnesses(state.meta().tick);
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
    pub(crate) fn name_witnesses(&mut self, tick: i64) {
        let lost = self.home.state.meta().tick - tick;
        let seen = |r: &crate::replica::Replica| {
            r.ready && !r.paused && r.view.as_ref().is_some_and(|v| v.meta.tick > tick + 8)
        };
        let witnesses = self.replicas.iter().enumerate().filter(|(_, r)| lost > 8 && seen(r));
        self.oracle.witnesses = witnesses.map(|(at, r)| (at, r.life)).collect();
    }
}
