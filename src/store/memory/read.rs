//! What can be read of a state. The names, orders and limits are those of the traits in `lib.rs`.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;
use model::{BuildId, JobName, NodeName, QueueId, ReplicaId};

use super::{Archive, History, State};
use crate::{
    ArchivedLog, Artifact, Build, Busy, CHUNKS, Chunk, Failover, InboxRow, Item, ItemSummary, JOURNAL_BYTES,
    JOURNAL_NUMBERS, JOURNAL_RECORDS, JobCounts, Lease, Link, LogSlice, Member, Meta, NEWEST, Node,
    QueueItem, Recent, Running, Stash, Tally, Wait, Which,
};

fn at_most(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// The home and its members.
impl State {
    pub fn meta(&self) -> Meta {
        Meta { joined: self.last.incarnation, ..self.meta.clone() }
    }

    pub fn members(&self) -> Vec<Member> {
        let mut members: Vec<Member> = self.members.values().cloned().collect();
        members.sort_by_key(|member| member.ordinal);
        members
    }

    pub fn leases(&self) -> Vec<Lease> {
        self.leases.values().cloned().collect()
    }

    pub fn failovers(&self, limit: u32) -> Vec<Failover> {
        let mut rows: Vec<Failover> = self.failovers.values().cloned().collect();
        rows.sort_by_key(|row| Reverse((row.at, row.replica.incarnation)));
        rows.truncate(at_most(limit));
        rows
    }
}

/// Jobs and their builds.
impl State {
    pub fn item(&self, name: &JobName) -> Option<Item> {
        self.find(name).cloned()
    }

    pub fn children(
        &self,
        parent: Option<&JobName>,
        after: Option<&JobName>,
        limit: u32,
    ) -> Vec<ItemSummary> {
        if parent.is_some_and(|parent| self.find(parent).is_none()) {
            return Vec::new();
        }
        let inside = parent.map_or(String::new(), |parent| format!("{}/", parent.key()));
        let from = after.map_or(Bound::Included(inside.clone()), |after| Bound::Excluded(after.key()));
        let below = self.items.range((from, Bound::Unbounded));
        let below =
            below.skip_while(|(key, _)| **key < inside).take_while(|(key, _)| key.starts_with(&inside));
        let direct = below.filter(|(key, _)| !key[inside.len()..].contains('/'));
        direct.take(at_most(limit)).map(|(_, item)| item.summary.clone()).collect()
    }

    pub fn job_counts(&self) -> JobCounts {
        let jobs = self.items.values().map(|item| &item.summary).filter(|item| item.kind.is_job());
        let (disabled, enabled): (Vec<_>, Vec<_>) = jobs.partition(|job| job.disabled);
        JobCounts { enabled: enabled.len() as u64, disabled: disabled.len() as u64 }
    }

    pub fn build(&self, job: &JobName, which: Which) -> Option<Build> {
        let item = self.find(job)?.summary.id;
        let mut builds = self.of_item(item).map(|history| &history.build);
        match which {
            Which::Number(number) => self.of_number(item, number).map(|history| &history.build),
            Which::First => builds.next(),
            Which::Last => builds.next_back(),
            Which::Before(number) => self.before(item, number).next_back().map(|history| &history.build),
            Which::After(number) => builds.find(|b| b.number > number),
            Which::LastCompleted
            | Which::LastStable
            | Which::LastSuccessful
            | Which::LastUnstable
            | Which::LastFailed
            | Which::LastUnsuccessful => {
                builds.rfind(|b| !b.building() && b.result.is_some_and(|result| which.wants(result)))
            }
        }
        .cloned()
    }

    pub fn build_by_id(&self, id: BuildId) -> Option<Build> {
        self.builds.get(&id).map(|history| history.build.clone())
    }

    pub fn builds(&self, job: &JobName, below: Option<u64>, limit: u32) -> Vec<Build> {
        let Some(item) = self.find(job) else { return Vec::new() };
        let wanted = self.before(item.summary.id, below.unwrap_or(u64::MAX)).rev();
        wanted.take(at_most(limit)).map(|history| history.build.clone()).collect()
    }

    pub fn tallies(&self, after: i64, limit: u32) -> Vec<Tally> {
        let mut items: Vec<&ItemSummary> = self.items.values().map(|item| &item.summary).collect();
        items.retain(|item| item.id > after && item.kind.is_job());
        items.sort_by_key(|item| item.id);
        items.truncate(at_most(limit));
        items.into_iter().map(|item| self.tally(item)).collect()
    }

    fn tally(&self, item: &ItemSummary) -> Tally {
        let (ended, took) = self.counted.get(&item.id).copied().unwrap_or_default();
        let recent = |history: &History| {
            let build = &history.build;
            Recent {
                number: build.number,
                queued_at: build.queued_at,
                started_at: build.started_at,
                ended_at: build.ended_at,
                result: build.result,
                log_end: if build.building() { 0 } else { build.log_end },
            }
        };
        let top = self.of_item(item.id).next_back().map_or(0, |history| history.build.number);
        let near = |history: &&History| history.build.number + NEWEST as u64 > top;
        Tally {
            ended,
            took,
            builds: self.of_item(item.id).count() as u64,
            newest: self.of_item(item.id).rev().take_while(near).map(recent).collect(),
            item: item.clone(),
        }
    }

    pub fn running(&self, owner: Option<i64>) -> Vec<Running> {
        let rows = self.running.values().map(|live| &live.row);
        rows.filter(|row| owner.is_none_or(|owner| row.owner == owner)).cloned().collect()
    }

    pub fn over(&self, builds: &[BuildId]) -> Vec<BuildId> {
        let highest = self.builds.keys().next_back().copied();
        let over = |id: &&BuildId| Some(**id) <= highest && !self.running.contains_key(id);
        builds.iter().filter(over).copied().collect()
    }

    pub fn journal(&self, build: BuildId, from: i64) -> Vec<Bytes> {
        let from = usize::try_from(from).unwrap_or(0);
        let records =
            self.builds.get(&build).and_then(|history| history.journal.get(from..)).unwrap_or_default();
        let mut room = JOURNAL_BYTES;
        let fits = |record: &&Bytes| {
            let left = room.checked_sub(record.len());
            room = left.unwrap_or(0);
            left.is_some()
        };
        records.iter().take(JOURNAL_RECORDS).take_while(fits).cloned().collect()
    }

    pub fn journal_numbers(&self, build: BuildId, from: i64) -> Vec<i64> {
        let length = self.builds.get(&build).map_or(0, |history| history.journal.len());
        (from.max(0)..i64::try_from(length).unwrap_or(i64::MAX)).take(JOURNAL_NUMBERS).collect()
    }

    pub fn recorded(&self, build: BuildId) -> Option<i64> {
        let history = self.running.get(&build).and_then(|_| self.builds.get(&build))?;
        i64::try_from(history.journal.len()).ok()
    }

    pub fn source(&self, hash: &str) -> Option<String> {
        self.sources.get(hash).map(|source| source.text.clone())
    }

    pub fn inbox(&self, build: BuildId) -> Vec<InboxRow> {
        self.running.get(&build).map(|live| live.inbox.clone()).unwrap_or_default()
    }

    pub fn with_inbox(&self, owner: i64) -> Vec<BuildId> {
        let own = self.running.values().filter(|live| live.row.owner == owner && !live.inbox.is_empty());
        own.map(|live| live.row.build).collect()
    }

    pub fn raw_offsets(&self, build: BuildId) -> Vec<(String, u64)> {
        let raw = self.builds.get(&build).map(|history| &history.raw);
        raw.into_iter().flatten().map(|(step, raw)| (step.clone(), *raw)).collect()
    }

    pub fn to_archive(&self, after: Option<BuildId>, limit: u32) -> Vec<BuildId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let due = self.builds.range((from, Bound::Unbounded)).filter(|(_, h)| h.archive == Archive::Due);
        due.take(at_most(limit)).map(|(id, _)| *id).collect()
    }

    pub fn archived(&self, build: BuildId) -> Option<ArchivedLog> {
        match &self.builds.get(&build)?.archive {
            Archive::Done(log) => Some(log.clone()),
            Archive::Stays | Archive::Due => None,
        }
    }

    /// Of a log that is no object.
    pub fn log(&self, build: BuildId, from: u64, max: usize) -> Option<LogSlice> {
        let history = self.builds.get(&build)?;
        let end = history.build.log_end;
        Some(LogSlice { bytes: bytes_of(history, from, max), end, building: history.build.building() })
    }

    /// Of a log that is no object.
    pub fn chunks(&self, build: BuildId, from: u64) -> Vec<Chunk> {
        let Some(history) = self.builds.get(&build) else { return Vec::new() };
        history.chunks.range(from..).take(CHUNKS).map(|(_, chunk)| chunk.clone()).collect()
    }

    pub fn artifacts(&self, build: BuildId, after: Option<&str>, limit: u32) -> Vec<Artifact> {
        let Some(history) = self.builds.get(&build) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = history.artifacts.range::<str, _>((from, Bound::Unbounded));
        rows.take(at_most(limit)).map(|(_, row)| row.clone()).collect()
    }

    pub fn with_artifacts(&self, builds: &[BuildId]) -> Vec<BuildId> {
        let some = |id: &&BuildId| self.builds.get(id).is_some_and(|history| !history.artifacts.is_empty());
        builds.iter().filter(some).copied().collect()
    }

    pub fn artifact(&self, build: BuildId, path: &str) -> Option<Artifact> {
        self.builds.get(&build)?.artifacts.get(path).cloned()
    }

    pub fn stash(&self, build: BuildId, name: &str) -> Option<Stash> {
        self.running.get(&build)?.stashes.get(name).cloned()
    }

    pub fn garbage(&self, limit: u32) -> Vec<String> {
        self.garbage.iter().take(at_most(limit)).cloned().collect()
    }
}

/// `max` bytes of the log from `from` on.
fn bytes_of(history: &History, from: u64, max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let first = history.chunks.range(..=from).next_back().map_or(0, |(offset, _)| *offset);
    for (offset, chunk) in history.chunks.range(first..) {
        let skip = usize::try_from(from.saturating_sub(*offset)).unwrap_or(usize::MAX);
        let rest = chunk.bytes.get(skip..).unwrap_or_default();
        bytes.extend_from_slice(&rest[..rest.len().min(max - bytes.len())]);
        if bytes.len() == max {
            break;
        }
    }
    bytes
}

/// Queue, executors, nodes.
impl State {
    pub fn queue(&self) -> Vec<QueueItem> {
        self.queue.values().map(|queued| &queued.item).filter(|item| item.waiting()).cloned().collect()
    }

    pub fn queue_item(&self, id: QueueId) -> Option<QueueItem> {
        self.queue.get(&id).map(|queued| queued.item.clone())
    }

    pub fn waits(&self) -> Vec<Wait> {
        self.waits.values().cloned().collect()
    }

    pub fn waits_of(&self, build: BuildId) -> Vec<Wait> {
        self.waits.values().filter(|wait| wait.build == build).cloned().collect()
    }

    pub fn wait_labels(&self) -> Vec<String> {
        let labels: BTreeSet<&str> = self.waits.values().map(waited_for).collect();
        labels.into_iter().map(str::to_owned).collect()
    }

    pub fn first_waits(&self, label: &str, most: u32) -> Vec<Wait> {
        let waits = self.waits.values().filter(|wait| waited_for(wait) == label);
        waits.take(at_most(most)).cloned().collect()
    }

    pub fn slots(&self) -> Vec<(NodeName, u32)> {
        self.busy.values().map(|busy| (busy.node.clone(), busy.slot)).collect()
    }

    pub fn busy(&self) -> Vec<Busy> {
        self.busy.values().cloned().collect()
    }

    pub fn nodes(&self) -> Vec<Node> {
        self.nodes.values().cloned().collect()
    }

    pub fn node(&self, name: &NodeName) -> Option<Node> {
        self.find_node(name).cloned()
    }

    pub fn links(&self) -> Vec<Link> {
        self.links.values().cloned().collect()
    }

    pub fn link_numbers(&self) -> Vec<(NodeName, i64, Option<ReplicaId>)> {
        self.links.values().map(|link| (link.node.clone(), link.number, link.holder.clone())).collect()
    }

    pub fn link(&self, node: &NodeName) -> Option<Link> {
        self.links.get(&node.key()).filter(|link| link.node == *node).cloned()
    }
}

fn waited_for(wait: &Wait) -> &str {
    wait.label.as_deref().unwrap_or_default()
}
