//! Ops between the link and the threads that work on them.

use model::Fence;
use remoting::ops::{CREDIT, FromAgent, MAX_PIECE, OpRequest, OpResult, Report};

use super::{Done, OpKey, Service, Source};
use crate::ops::{Pipe, perform, takes_content};

/// Ops at once of one build; each may keep a thread.
const MAX_OPS: usize = 64;

/// An op at work.
pub(super) struct Op {
    fence: Fence,
    pipe: Pipe,
    /// Content comes from the owner; otherwise it goes there.
    takes: bool,
    /// Content that went over the link.
    moved: u64,
    /// Content that may go.
    upto: u64,
    cancelled: bool,
    /// There when the thread has ended and only content is left to send.
    result: Option<OpResult>,
}

impl Op {
    /// Nobody wants it any more. It is gone when its thread has noticed.
    pub(super) fn cancel(&mut self, why: &str) {
        self.cancelled = true;
        self.pipe.break_off(why);
    }

    /// As `cancel`. → whether its thread has ended already
    pub(super) fn end(&mut self, why: &str) -> bool {
        self.cancel(why);
        self.result.is_some()
    }
}

impl Service {
    pub(super) fn begin_op(&mut self, key: OpKey, fence: Fence, request: OpRequest) {
        let (id, op) = key;
        let Some(build) = self.builds.get_mut(&id) else { return };
        if build.ops.contains_key(&op) {
            return;
        }
        if build.ops.len() >= MAX_OPS {
            let result = OpResult::Failed(format!("more than {MAX_OPS} operations at once"));
            return self.report(id, fence, Report::OpDone { op, result });
        }
        let takes = takes_content(&request);
        let moves = self.pipes.0.clone();
        let pipe = Pipe::new(move || {
            // Fails only when the agent ends.
            let _ended = moves.send(key);
        });
        let begun =
            Op { fence, pipe: pipe.clone(), takes, moved: 0, upto: CREDIT, cancelled: false, result: None };
        build.ops.insert(op, begun);
        self.tasks.spawn_blocking(move || Done::Op(key, perform(request, &pipe)));
    }

    fn op(&mut self, (build, op): OpKey) -> Option<&mut Op> {
        self.builds.get_mut(&build)?.ops.get_mut(&op)
    }

    pub(super) fn op_data(&mut self, key: OpKey, offset: u64, last: bool, bytes: &[u8]) {
        // One that failed early is not there any more; its owner has been told.
        let Some(op) = self.op(key).filter(|op| op.takes) else { return };
        if offset != op.moved {
            op.pipe.break_off(&format!("the content goes on at {offset} after {}", op.moved));
            return;
        }
        op.moved += bytes.len() as u64;
        op.pipe.push(bytes, last);
    }

    pub(super) fn op_credit(&mut self, key: OpKey, upto: u64) {
        if let Some(op) = self.op(key).filter(|op| !op.takes) {
            op.upto = op.upto.max(upto);
            self.op_ready(key);
        }
    }

    pub(super) fn op_cancel(&mut self, key: OpKey) {
        if let Some(op) = self.op(key) {
            // Only its content was left.
            if op.end("it was cancelled") {
                self.remove_op(key);
            }
        }
    }

    /// A thread has read, or written.
    pub(super) fn pipe_moved(&mut self, key: OpKey) {
        let Some(op) = self.op(key) else { return };
        if !op.takes {
            return self.op_ready(key);
        }
        let room = op.pipe.taken() + CREDIT;
        if room >= op.upto + CREDIT / 2 && !op.cancelled {
            op.upto = room;
            let fence = op.fence;
            self.report(key.0, fence, Report::OpCredit { op: key.1, upto: room });
        }
    }

    fn op_ready(&mut self, key: OpKey) {
        if self.link.is_some() {
            self.ready.push(Source::Op(key));
        }
    }

    /// The next piece of an op's content; its result when there is no more.
    pub(super) fn op_content(&mut self, key: OpKey) -> Option<FromAgent> {
        let op = self.op(key).filter(|op| !op.cancelled)?;
        let (build, fence) = (key.0, op.fence);
        let most = usize::try_from(op.upto.saturating_sub(op.moved)).unwrap_or(MAX_PIECE).min(MAX_PIECE);
        let bytes = op.pipe.pull(most);
        let report = if bytes.is_empty() {
            let result = op.result.take_if(|_| op.pipe.is_empty())?;
            self.remove_op(key);
            Report::OpDone { op: key.1, result }
        } else {
            let offset = op.moved;
            op.moved += bytes.len() as u64;
            Report::OpData { op: key.1, offset, bytes }
        };
        Some(FromAgent { build, fence, report })
    }

    pub(super) fn op_ended(&mut self, key: OpKey, result: OpResult) {
        let Some(op) = self.op(key) else { return };
        if op.cancelled {
            return self.remove_op(key);
        }
        op.result = Some(result);
        // Also one that takes content: it has none to send, so its result is next.
        self.op_ready(key);
    }

    fn remove_op(&mut self, (id, op): OpKey) {
        if let Some(build) = self.builds.get_mut(&id) {
            build.ops.remove(&op);
        }
        self.settle(id);
    }
}
