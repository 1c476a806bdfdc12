//! The queue, up to the build that begins.

use model::{BuildId, JobName, Millis, QueueId, ReplicaId, join_causes};

use super::{History, Live, Queued, Same, State, next};
use crate::{Answer, Build, Enqueue, Error, Executor, Left, MAX_QUEUE, QueueItem, Result, Running, Taken};

impl State {
    pub(super) fn enqueue(&mut self, wanted: &Enqueue) -> Result<Answer> {
        let summary = &self.must_find(&wanted.job)?.summary;
        let kind = summary.kind;
        if !kind.is_job() {
            return Err(Error::Conflict(format!("{} is not buildable", wanted.job)));
        }
        if summary.disabled {
            return Err(Error::Conflict(format!("{} is disabled", wanted.job)));
        }
        let params = serde_json::to_string(&wanted.params).map_err(|e| Error::Corrupt(e.to_string()))?;
        let same: Same = (wanted.job.clone(), params);
        if let Some(id) = self.waiting.get(&same).copied() {
            self.fold(id, wanted);
            return Ok(Answer::Queued { id, existing: true });
        }
        if self.waiting.len() as u64 >= MAX_QUEUE {
            return Err(Error::Limit(format!("{MAX_QUEUE} items wait in the queue already")));
        }
        let id = QueueId(next(&mut self.last.queue));
        let item = QueueItem {
            id,
            job: wanted.job.clone(),
            kind,
            params: wanted.params.clone(),
            causes: wanted.causes.clone(),
            since: wanted.at,
            buildable_at: wanted.buildable_at,
            left: None,
        };
        self.queue.insert(id, Queued { item, same: same.clone(), left_at: None });
        self.waiting.insert(same, id);
        Ok(Answer::Queued { id, existing: false })
    }

    /// One more reason for an item that waits already.
    fn fold(&mut self, id: QueueId, wanted: &Enqueue) {
        let Some(Queued { item, .. }) = self.queue.get_mut(&id) else { return };
        join_causes(&mut item.causes, &wanted.causes);
        item.buildable_at = item.buildable_at.min(wanted.buildable_at);
    }

    /// Takes a waiting item out of the queue.
    fn leave(&mut self, id: QueueId, left: Left, at: Millis) -> Option<QueueItem> {
        let queued = self.queue.get_mut(&id).filter(|queued| queued.item.waiting())?;
        queued.item.left = Some(left);
        queued.left_at = Some(at);
        self.waiting.remove(&queued.same);
        Some(queued.item.clone())
    }

    pub(super) fn cancel(&mut self, id: QueueId, at: Millis) -> Answer {
        Answer::Bool(self.leave(id, Left::Cancelled, at).is_some())
    }

    pub(super) fn forget_left(&mut self, before: Millis) -> Answer {
        self.queue.retain(|_, queued| queued.left_at.is_none_or(|at| at >= before));
        Answer::Unit
    }

    pub(super) fn take(
        &mut self,
        id: QueueId,
        owner: &ReplicaId,
        exclusive: bool,
        behaviour: u32,
        at: Millis,
        executor: Option<&Executor>,
    ) -> Result<Taken> {
        self.must_live(owner)?;
        if let Some(taken) = self.taken_before(id, owner) {
            return Ok(taken);
        }
        let waiting = self.queue.get(&id).filter(|queued| queued.item.waiting());
        let job = waiting.map(|queued| queued.item.job.clone());
        let job = job.ok_or_else(|| Error::NotFound(format!("queue item {}", id.0)))?;
        let summary = &self.must_find(&job)?.summary;
        if exclusive && summary.running > 0 {
            return Err(Error::Conflict(format!("a build of {job} runs")));
        }
        if executor.is_some_and(|executor| !self.free(&executor.node, executor.slot)) {
            return Err(Error::Conflict("its executor is not free".to_owned()));
        }
        let (item, number) = (summary.id, summary.next_build);
        let build = BuildId(next(&mut self.last.build));
        let fence = self.first_fence();
        let row = Running {
            build,
            job: job.clone(),
            number,
            owner: owner.incarnation,
            fence,
            seq: 0,
            log_end: 0,
            epoch: fence.epoch(),
            behaviour,
        };
        if let Some(queued) = self.leave(id, Left::Built { number }, at) {
            self.begin(item, row, queued, at);
        }
        if let Some(Executor { node, slot, body }) = executor {
            self.occupy(build, Executor::STEP, (node, *slot), body);
            self.on(build, |history| history.build.built_on = Some(node.clone()));
        }
        Ok(Taken { build, number, owner: owner.incarnation, fence })
    }

    /// What the same owner was answered before, if it still drives that build.
    fn taken_before(&self, id: QueueId, owner: &ReplicaId) -> Option<Taken> {
        let Some(Left::Built { number }) = self.queue.get(&id)?.item.left else { return None };
        let item = self.find(&self.queue.get(&id)?.item.job)?.summary.id;
        let row = &self.running.get(self.numbers.get(&(item, number))?)?.row;
        (row.owner == owner.incarnation).then_some(Taken {
            build: row.build,
            number,
            owner: row.owner,
            fence: row.fence,
        })
    }

    fn begin(&mut self, item: i64, row: Running, queued: QueueItem, at: Millis) {
        let build = Build {
            id: row.build,
            job: queued.job,
            number: row.number,
            queue_id: queued.id,
            causes: queued.causes,
            params: queued.params,
            queued_at: queued.since,
            started_at: at,
            ended_at: None,
            result: None,
            display_name: None,
            description: None,
            keep: false,
            log_end: 0,
            behaviour: row.behaviour,
            built_on: None,
        };
        self.count_running(&build.job, row.number);
        self.numbers.insert((item, row.number), row.build);
        self.builds.insert(row.build, History::of(build, item));
        self.running.insert(row.build, Live::of(row));
    }

    fn count_running(&mut self, job: &JobName, number: u64) {
        if let Some(summary) = self.summary(job) {
            summary.next_build = number + 1;
            summary.running += 1;
        }
    }
}
