//! What happens to a running build from outside: executors, adoption, deliveries.

use std::collections::{BTreeMap, BTreeSet};

use model::{BuildId, Fence, NodeName, ReplicaId};

use super::{Archive, History, Live, State};
use crate::{Adopted, Answer, Build, Busy, Error, InboxRow, Result, Running};

impl History {
    pub(super) fn of(build: Build, item: i64) -> History {
        History {
            build,
            item,
            journal: Vec::new(),
            chunks: BTreeMap::new(),
            raw: BTreeMap::new(),
            sources: BTreeSet::new(),
            artifacts: BTreeMap::new(),
            archive: Archive::Stays,
        }
    }
}

impl Live {
    pub(super) fn of(row: Running) -> Live {
        Live { row, inbox: Vec::new(), keys: BTreeSet::new(), stashes: BTreeMap::new() }
    }

    /// Whether it was new.
    fn deliver(&mut self, key: &str, body: &str) -> bool {
        let new = self.keys.insert(key.to_owned());
        if new {
            self.inbox.push(InboxRow { key: key.to_owned(), body: body.to_owned() });
        }
        new
    }
}

impl State {
    pub(super) fn grant(&mut self, wait: i64, node: &NodeName, slot: u32, body: &str) -> Answer {
        if !self.free(node, slot) {
            return Answer::Bool(false);
        }
        let Some(row) = self.waits.get(&wait).cloned() else { return Answer::Bool(false) };
        let granted = self.occupy(row.build, &row.step, (node, slot), body);
        if granted {
            self.waits.remove(&wait);
        }
        Answer::Bool(granted)
    }

    /// Gives a free executor to a step of a build, if that runs.
    pub(super) fn occupy(&mut self, build: BuildId, step: &str, at: (&NodeName, u32), body: &str) -> bool {
        let Some(live) = self.running.get_mut(&build) else { return false };
        live.deliver(&format!("granted:{step}"), body);
        let (node, slot) = at;
        let (job, number) = (live.row.job.clone(), live.row.number);
        let busy = Busy { node: node.clone(), slot, build, job, number, step: step.to_owned() };
        self.busy.insert((node.key(), slot), busy);
        true
    }

    /// Whether the executor may be given away.
    pub(super) fn free(&self, node: &NodeName, slot: u32) -> bool {
        let usable = self.find_node(node).is_some_and(|n| n.offline.is_none() && slot < n.executors);
        let holder = self.links.get(&node.key()).and_then(|link| link.holder.as_ref());
        usable
            && holder.is_some_and(|holder| self.live(holder))
            && !self.busy.contains_key(&(node.key(), slot))
    }

    pub(super) fn adopt(&mut self, build: BuildId, seen: Fence, owner: &ReplicaId) -> Result<Answer> {
        self.must_live(owner)?;
        let fence = seen.next(self.meta.epoch);
        let row = match self.running.get_mut(&build) {
            Some(live) => &mut live.row,
            None => return Err(Error::Fenced { current: None }),
        };
        let again = row.owner == owner.incarnation && row.fence == fence;
        if row.fence != seen && !again {
            return Err(Error::Fenced { current: Some(row.fence) });
        }
        row.owner = owner.incarnation;
        row.fence = fence;
        Ok(Answer::Adopted(Adopted { fence, seq: row.seq, log_end: row.log_end }))
    }

    pub(super) fn deliver(&mut self, build: BuildId, key: &str, body: &str) -> Result<Answer> {
        let live = self.running.get_mut(&build);
        let live = live.ok_or_else(|| Error::NotFound(format!("running build {build}")))?;
        Ok(Answer::Bool(live.deliver(key, body)))
    }
}
