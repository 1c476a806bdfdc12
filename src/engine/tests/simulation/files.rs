//! Work on files at a model agent, answered simply: contents are small and fit into the first credit.

use bytes::{Bytes, BytesMut};
use model::{BuildId, Fence};
use remoting::ops::{CREDIT, MAX_PIECE, OpRequest, OpResult, Report};

use crate::world::World;

/// An op that waits for content.
pub(crate) enum Op {
    Write { dir: String, path: String, content: BytesMut },
    Unpack { content: BytesMut },
}

type OpKey = (BuildId, u64);

impl World {
    pub(crate) fn op(&mut self, at: usize, key: OpKey, fence: Fence, request: OpRequest) {
        let disk = &mut self.agents[at].disk;
        match request {
            OpRequest::Read { dir, path, .. } => match disk.files.get(&(dir, path.clone())).cloned() {
                Some(bytes) => self.content(at, key, fence, &bytes, OpResult::Done),
                None => self.op_ends(at, key, fence, OpResult::NoSuchFile(path)),
            },
            OpRequest::Exists { dir, path } => {
                let there = disk.files.contains_key(&(dir, path));
                self.op_ends(at, key, fence, OpResult::Flag(there));
            }
            OpRequest::DeleteDir { dir } => {
                disk.files.retain(|(d, _), _| *d != dir);
                self.op_ends(at, key, fence, OpResult::Done);
            }
            OpRequest::Glob { dir, .. } => {
                let files = disk.files.iter().filter(|((d, _), _)| *d == dir);
                let lines: String =
                    files.map(|((_, path), bytes)| format!("[{path:?},{}]\n", bytes.len())).collect();
                self.content(at, key, fence, &Bytes::from(lines), OpResult::Count { files: 1, bytes: 0 });
            }
            OpRequest::Pack { .. } => {
                let packed = Bytes::from_static(b"packed");
                self.content(at, key, fence, &packed, OpResult::Count { files: 1, bytes: 6 });
            }
            OpRequest::Write { dir, path } => {
                self.takes(at, key, fence, Op::Write { dir, path, content: BytesMut::new() });
            }
            OpRequest::Unpack { .. } => self.takes(at, key, fence, Op::Unpack { content: BytesMut::new() }),
        }
    }

    pub(crate) fn takes(&mut self, at: usize, key: OpKey, fence: Fence, op: Op) {
        // Asked twice, it goes on with what it has.
        self.agents[at].ops.entry(key).or_insert(op);
        self.report(at, key.0, fence, Report::OpCredit { op: key.1, upto: CREDIT });
    }

    pub(crate) fn content(&mut self, at: usize, key: OpKey, fence: Fence, bytes: &Bytes, result: OpResult) {
        let mut offset = 0;
        for piece in bytes.chunks(MAX_PIECE) {
            let bytes = bytes.slice_ref(piece);
            self.report(at, key.0, fence, Report::OpData { op: key.1, offset, bytes });
            offset += piece.len() as u64;
        }
        self.op_ends(at, key, fence, result);
    }

    pub(crate) fn op_ends(&mut self, at: usize, key: OpKey, fence: Fence, result: OpResult) {
        self.report(at, key.0, fence, Report::OpDone { op: key.1, result });
    }

    pub(crate) fn op_data(
        &mut self,
        at: usize,
        key: OpKey,
        fence: Fence,
        offset: u64,
        last: bool,
        bytes: &Bytes,
    ) {
        let Some(op) = self.agents[at].ops.get_mut(&key) else { return };
        let (Op::Write { content, .. } | Op::Unpack { content }) = op;
        if offset == content.len() as u64 {
            content.extend_from_slice(bytes);
        }
        if !last {
            return;
        }
        let result = match self.agents[at].ops.remove(&key) {
            Some(Op::Write { dir, path, content }) => {
                self.agents[at].disk.files.insert((dir, path), content.freeze());
                OpResult::Done
            }
            Some(Op::Unpack { content }) if content[..] == b"packed"[..] => {
                OpResult::Count { files: 1, bytes: 6 }
            }
            Some(Op::Unpack { .. }) => OpResult::Failed("it is no archive".to_owned()),
            None => return,
        };
        self.op_ends(at, key, fence, result);
    }
}
