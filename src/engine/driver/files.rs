//! Acts on files: each is an op of the agent, done again under the same step when a link or an owner is lost.
//!
//! Content streams through: from the agent into an object, or from an object to the agent, a credit at a time.

use std::collections::{BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use model::{BuildResult, NodeName};
use pipeline::act::{ActKind, Data, FailureKind, Language, Outcome, Place, Record, StepId};
use remoting::ops::{CREDIT, Command, FileSet, MAX_PIECE, OpRequest, OpResult, Report};
use sha2::{Digest, Sha256};
use store::Effect;

use super::settle::too_large;
use super::{Do, Driver, Now};
use crate::texts;

/// Largest file that `readFile` gives to a script.
const MAX_READ: u64 = 8 * 1024 * 1024;
/// Most files of one `archiveArtifacts`.
const MAX_FILES: usize = 100_000;
/// Most index rows of artifacts in one write: others share its transaction.
const ROWS: usize = 128;
/// Longest list of file names, in bytes.
const MAX_LIST: usize = 32 * 1024 * 1024;

/// What the shell is to do with the object store. `op` names the transfer in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectDo {
    /// Begins an object; pieces follow. No answer.
    Begin { op: u64, key: String },
    /// Answer: `Written`.
    Write { op: u64, bytes: Bytes },
    /// Answer: `Finished` when the object is durable.
    Finish { op: u64 },
    /// Nothing of the object stays. No answer.
    Abort { op: u64 },
    /// A whole small object. Answer: `Finished`.
    Put { op: u64, key: String, bytes: Bytes },
    /// Answer: `Stash`.
    FindStash { op: u64, name: String },
    /// Answer: `Piece`; an empty one is the end.
    Read { op: u64, key: String, from: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectEvent {
    /// So many bytes of the object are taken.
    Written {
        op: u64,
        upto: u64,
    },
    Finished {
        op: u64,
    },
    Stash {
        op: u64,
        object: Option<String>,
    },
    Piece {
        op: u64,
        from: u64,
        bytes: Bytes,
    },
    Failed {
        op: u64,
        why: String,
    },
    /// The store was away while content was on its way: the act is to begin anew.
    Interrupted {
        op: u64,
    },
}

/// An act on files that is going on.
pub(super) struct Transfer {
    step: StepId,
    node: NodeName,
    /// Content received so far.
    received: u64,
    /// The agent may send content up to here.
    room: u64,
    kind: Kind,
}

enum Kind {
    /// `readFile`
    Text { base64: bool, data: BytesMut },
    /// Being put into the object store: the outcome waits.
    Storing { outcome: Box<Outcome>, effects: Vec<Effect> },
    /// An answer without content.
    Plain,
    /// `writeFile`: what is not sent yet, from `sent` on.
    Send { data: Bytes, sent: u64 },
    /// `stash`
    Stash { name: String, object: String, allow_empty: bool, count: Option<(u64, u64)> },
    /// `unstash`: pieces of the object go to the agent.
    Unstash { name: String, object: Option<String>, room: u64, sent: u64, reading: bool },
    /// `archiveArtifacts`: the list of files.
    List { data: BytesMut },
    /// `archiveArtifacts`: one file after the other.
    Archive { current: (String, u64), object: String, left: VecDeque<(String, u64)>, done: Vec<Effect> },
}

fn set(includes: &str, excludes: &str, default_excludes: bool, case_sensitive: bool) -> Box<FileSet> {
    let (includes, excludes) = (includes.to_owned(), excludes.to_owned());
    Box::new(FileSet { includes, excludes, default_excludes, case_sensitive })
}

impl Driver {
    pub(super) fn begin_files(&mut self, node: &NodeName, step: &StepId) {
        let Some(open) = self.steps.get(step) else { return };
        if self.transfers.values().any(|t| t.step == *step && matches!(t.kind, Kind::Storing { .. })) {
            // Its result is here and on the way to the object store.
            return;
        }
        let op = self.next_op;
        self.next_op += 1;
        let dir = |place: &Place| place.dir.clone();
        let (request, kind) = match &open.act.kind {
            ActKind::ReadFile { place, path, encoding } => {
                let base64 = encoding.as_deref() == Some("Base64");
                let read = OpRequest::Read { dir: dir(place), path: path.clone(), max: MAX_READ };
                (read, Kind::Text { base64, data: BytesMut::new() })
            }
            ActKind::WriteFile { place, path, text, encoding } => {
                let data = match encoding.as_deref() {
                    Some("Base64") => crate::base64_decode(text).unwrap_or_default(),
                    _ => text.clone().into_bytes(),
                };
                let write = OpRequest::Write { dir: dir(place), path: path.clone() };
                (write, Kind::Send { data: Bytes::from(data), sent: 0 })
            }
            ActKind::FileExists { place, path } => {
                (OpRequest::Exists { dir: dir(place), path: path.clone() }, Kind::Plain)
            }
            ActKind::DeleteDir { place } => (OpRequest::DeleteDir { dir: dir(place) }, Kind::Plain),
            ActKind::Stash { place, name, includes, excludes, use_default_excludes, allow_empty } => {
                let object = self.object_key(step, op);
                self.out.push(Do::Object(ObjectDo::Begin { op, key: object.clone() }));
                let files = *set(includes, excludes, *use_default_excludes, true);
                let kind = Kind::Stash { name: name.clone(), object, allow_empty: *allow_empty, count: None };
                (OpRequest::Pack { dir: dir(place), files }, kind)
            }
            ActKind::Unstash { place, name } => {
                self.out.push(Do::Object(ObjectDo::FindStash { op, name: name.clone() }));
                let kind =
                    Kind::Unstash { name: name.clone(), object: None, room: 0, sent: 0, reading: false };
                (OpRequest::Unpack { dir: dir(place) }, kind)
            }
            ActKind::ArchiveArtifacts {
                place, includes, excludes, default_excludes, case_sensitive, ..
            } => {
                let files = *set(includes, excludes, *default_excludes, *case_sensitive);
                (OpRequest::Glob { dir: dir(place), files }, Kind::List { data: BytesMut::new() })
            }
            _ => return,
        };
        let unstash = matches!(kind, Kind::Unstash { .. });
        self.transfers
            .insert(op, Transfer { step: step.clone(), node: node.clone(), received: 0, room: CREDIT, kind });
        if !unstash {
            self.start_op(node, op, request);
        }
        // Both sides begin with some room: the agent says nothing before it has more.
        self.op_room(op, CREDIT);
    }

    fn start_op(&mut self, node: &NodeName, op: u64, request: OpRequest) {
        self.send(node, Command::Op { op, request: Box::new(request) });
        self.send(node, Command::OpCredit { op, upto: CREDIT });
    }

    /// Objects are written under build and fence, so two owners never write the same one.
    fn object_key(&self, step: &StepId, op: u64) -> String {
        let step = step.0.replace('/', "_");
        format!("{}/{}/{step}-{op}", texts::prefix(self.facts.build), self.facts.fence.to_i64())
    }

    pub(super) fn cancel_files(&mut self, step: &StepId, now: Now) {
        let ops: Vec<u64> =
            self.transfers.iter().filter(|(_, t)| t.step == *step).map(|(op, _)| *op).collect();
        for op in ops {
            self.drop_transfer(op);
        }
        self.settle(step, Outcome::Cancelled, Vec::new(), now);
    }

    fn begin_anew(&mut self, op: u64) {
        let Some((step, node)) = self.transfers.get(&op).map(|t| (t.step.clone(), t.node.clone())) else {
            return;
        };
        self.drop_transfer(op);
        if let Some(session) = self.sessions.get_mut(&node) {
            session.asked.remove(&step);
        }
    }

    fn drop_transfer(&mut self, op: u64) {
        let Some(transfer) = self.transfers.remove(&op) else { return };
        self.send(&transfer.node, Command::OpCancel { op });
        match transfer.kind {
            Kind::Stash { .. } | Kind::Archive { .. } => self.out.push(Do::Object(ObjectDo::Abort { op })),
            Kind::Text { .. }
            | Kind::Storing { .. }
            | Kind::Plain
            | Kind::Send { .. }
            | Kind::Unstash { .. }
            | Kind::List { .. } => {}
        }
    }

    /// The link is gone: what went over it begins anew on the next one.
    pub(super) fn forget_transfers(&mut self, node: &NodeName) {
        let stored = |t: &Transfer| matches!(t.kind, Kind::Storing { .. });
        let ops: Vec<u64> =
            self.transfers.iter().filter(|(_, t)| t.node == *node && !stored(t)).map(|(op, _)| *op).collect();
        for op in ops {
            self.drop_transfer(op);
        }
    }

    pub(super) fn op_report(&mut self, node: &NodeName, report: Report, now: Now) {
        match report {
            Report::OpData { op, offset, bytes } => self.op_data(node, op, offset, bytes, now),
            Report::OpCredit { op, upto } if self.its(op, node) => self.op_room(op, upto),
            Report::OpDone { op, result } if self.its(op, node) => self.op_done(op, result, now),
            Report::OpCredit { .. } | Report::OpDone { .. } => {}
            Report::Claimed { .. } | Report::Refused { .. } | Report::Step(_) | Report::Output { .. } => {}
        }
    }

    fn its(&self, op: u64, node: &NodeName) -> bool {
        self.transfers.get(&op).is_some_and(|t| t.node == *node)
    }

    fn op_data(&mut self, node: &NodeName, op: u64, offset: u64, bytes: Bytes, now: Now) {
        if !self.its(op, node) {
            return;
        }
        let Some(transfer) = self.transfers.get_mut(&op) else { return };
        if offset.saturating_add(bytes.len() as u64) <= transfer.received {
            // Said twice.
            return;
        }
        if offset != transfer.received {
            let why = format!(
                "agent {node} sent content from offset {offset} where {} was expected",
                transfer.received
            );
            return self.op_failed(op, why, now);
        }
        transfer.received += bytes.len() as u64;
        let received = transfer.received;
        if received > transfer.room {
            return self.op_failed(
                op,
                format!("agent {node} sent more content than there was room for"),
                now,
            );
        }
        let over = match &mut transfer.kind {
            Kind::Text { data, .. } => {
                data.extend_from_slice(&bytes);
                data.len() as u64 > MAX_READ
            }
            Kind::List { data } => {
                data.extend_from_slice(&bytes);
                data.len() > MAX_LIST
            }
            Kind::Stash { .. } | Kind::Archive { .. } => {
                self.out.push(Do::Object(ObjectDo::Write { op, bytes }));
                return;
            }
            Kind::Storing { .. } | Kind::Plain | Kind::Send { .. } | Kind::Unstash { .. } => true,
        };
        if over {
            return self.op_failed(op, format!("agent {node} sent more content than was asked for"), now);
        }
        self.give_room(op, received);
    }

    /// So much content is taken: the agent may send more.
    fn give_room(&mut self, op: u64, taken: u64) {
        let Some(transfer) = self.transfers.get_mut(&op) else { return };
        transfer.room = transfer.room.max(taken + CREDIT);
        let (node, upto) = (transfer.node.clone(), transfer.room);
        self.send(&node, Command::OpCredit { op, upto });
    }

    /// The agent has room for content that we send.
    fn op_room(&mut self, op: u64, upto: u64) {
        let Some(transfer) = self.transfers.get_mut(&op) else { return };
        match &mut transfer.kind {
            Kind::Send { data, sent } => {
                let node = transfer.node.clone();
                let mut pieces = Vec::new();
                loop {
                    let from = usize::try_from(*sent).unwrap_or(usize::MAX);
                    let size = data.len().saturating_sub(from).min(MAX_PIECE);
                    let last = from + size == data.len();
                    if *sent + size as u64 > upto || from > data.len() {
                        break;
                    }
                    let bytes = data.slice(from..from + size);
                    pieces.push(Command::OpData { op, offset: *sent, last, bytes });
                    *sent += size as u64;
                    if last {
                        // One past the end: the last piece is sent once.
                        *sent += 1;
                        break;
                    }
                }
                for piece in pieces {
                    self.send(&node, piece);
                }
            }
            Kind::Unstash { room, .. } => {
                *room = upto.max(*room);
                self.read_more(op);
            }
            Kind::Text { .. }
            | Kind::Storing { .. }
            | Kind::Plain
            | Kind::Stash { .. }
            | Kind::List { .. }
            | Kind::Archive { .. } => {}
        }
    }

    fn read_more(&mut self, op: u64) {
        let Some(transfer) = self.transfers.get_mut(&op) else { return };
        if let Kind::Unstash { object: Some(key), room, sent, reading, .. } = &mut transfer.kind
            && !*reading
            && *sent + MAX_PIECE as u64 <= *room
        {
            *reading = true;
            self.out.push(Do::Object(ObjectDo::Read { op, key: key.clone(), from: *sent }));
        }
    }

    fn op_failed(&mut self, op: u64, why: String, now: Now) {
        let Some(step) = self.transfers.get(&op).map(|t| t.step.clone()) else { return };
        self.drop_transfer(op);
        self.fail(&step, FailureKind::Io, why, now);
    }

    fn op_done(&mut self, op: u64, result: OpResult, now: Now) {
        let Some(transfer) = self.transfers.remove(&op) else { return };
        let step = transfer.step.clone();
        let result = match result {
            OpResult::NoSuchFile(path) => {
                self.abort_upload(op, &transfer);
                return self.fail(&step, FailureKind::NoSuchFile, path, now);
            }
            OpResult::Failed(why) => {
                self.abort_upload(op, &transfer);
                return self.fail(&step, FailureKind::Io, why, now);
            }
            done @ (OpResult::Done | OpResult::Flag(_) | OpResult::Count { .. }) => done,
        };
        let Transfer { node, received, room, kind, .. } = transfer;
        let kind = match kind {
            Kind::Text { base64, data } => return self.text_done(&step, base64, &data, now),
            Kind::Plain => {
                let data = if let OpResult::Flag(flag) = result { Data::Flag(flag) } else { Data::None };
                return self.settle(&step, Outcome::Done(data), Vec::new(), now);
            }
            Kind::Send { .. } => return self.settle(&step, Outcome::Done(Data::None), Vec::new(), now),
            Kind::Unstash { .. } => return self.settle(&step, Outcome::Done(Data::None), Vec::new(), now),
            Kind::List { data } => return self.listed(&node, &step, &data, now),
            Kind::Stash { name, object, allow_empty, .. } => {
                let count = if let OpResult::Count { files, .. } = result { files } else { 0 };
                if count == 0 && !allow_empty {
                    self.out.push(Do::Object(ObjectDo::Abort { op }));
                    let why = format!("No files included in stash ‘{name}’");
                    return self.fail(&step, FailureKind::Abort, why, now);
                }
                self.say(format!("Stashed {count} file(s)\n").as_bytes(), now);
                self.out.push(Do::Object(ObjectDo::Finish { op }));
                Kind::Stash { name, object, allow_empty, count: Some((count, received)) }
            }
            archive @ Kind::Archive { .. } => {
                self.out.push(Do::Object(ObjectDo::Finish { op }));
                archive
            }
            storing @ Kind::Storing { .. } => storing,
        };
        self.transfers.insert(op, Transfer { step, node, received, room, kind });
    }

    fn abort_upload(&mut self, op: u64, transfer: &Transfer) {
        if matches!(transfer.kind, Kind::Stash { .. } | Kind::Archive { .. }) {
            self.out.push(Do::Object(ObjectDo::Abort { op }));
        }
    }

    fn text_done(&mut self, step: &StepId, base64: bool, data: &[u8], now: Now) {
        let text =
            if base64 { crate::base64_encode(data) } else { String::from_utf8_lossy(data).into_owned() };
        if too_large(&text) {
            return self.store_text(step, text, |hash, size| Data::Object { hash, size });
        }
        self.settle(step, Outcome::Done(Data::Text(text)), Vec::new(), now);
    }

    /// Puts a text that is too large for a record into an object; `data` is what the record has in its place.
    pub(super) fn store_text(&mut self, step: &StepId, text: String, data: impl FnOnce(String, u64) -> Data) {
        let Some(node) = self.node_of(step) else { return };
        let op = self.next_op;
        self.next_op += 1;
        let hash = hex(&Sha256::digest(text.as_bytes()));
        let (key, size) = (texts::text_key(self.facts.build, &hash), text.len() as u64);
        let bytes = Bytes::from(text.clone().into_bytes());
        self.out.push(Do::Object(ObjectDo::Put { op, key: key.clone(), bytes }));
        // Needed as long as the build may be replayed, as stashes are: it goes with them. No script can name it.
        let effects = vec![Effect::Stash { name: format!("\u{1}{hash}"), size, object: key }];
        let outcome = Box::new(Outcome::Done(data(hash.clone(), size)));
        self.facts.journal += size;
        self.texts.insert((step.clone(), hash), text);
        let kind = Kind::Storing { outcome, effects };
        self.transfers.insert(op, Transfer { step: step.clone(), node, received: 0, room: 0, kind });
    }

    fn listed(&mut self, node: &NodeName, step: &StepId, list: &[u8], now: Now) {
        let files: Result<VecDeque<(String, u64)>, _> =
            list.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(serde_json::from_slice).collect();
        let Ok(files) = files else {
            let why = format!("the list of files that agent {node} sent can't be read");
            return self.fail(step, FailureKind::Io, why, now);
        };
        let Some(open) = self.steps.get(step) else { return };
        let ActKind::ArchiveArtifacts { includes, allow_empty, .. } = &open.act.kind else { return };
        let (includes, allow_empty) = (includes.clone(), *allow_empty);
        if files.len() > MAX_FILES {
            let why =
                format!("{} files are over the limit of {MAX_FILES} artifacts of one step", files.len());
            return self.fail(step, FailureKind::Abort, why, now);
        }
        if files.iter().any(|(path, _)| !safe(path)) {
            let why = format!("agent {node} listed a file outside the folder");
            return self.fail(step, FailureKind::Io, why, now);
        }
        let mut seen = BTreeSet::new();
        if let Some((path, _)) = files.iter().find(|(path, _)| !seen.insert(path)) {
            let why = format!("agent {node} listed the file {path} twice");
            return self.fail(step, FailureKind::Io, why, now);
        }
        if files.is_empty() {
            let text = format!(
                "No artifacts found that match the file pattern \"{includes}\". Configuration error?"
            );
            self.say(b"Archiving artifacts\n", now);
            if self.complains(allow_empty) {
                self.say(format!("{text}\n").as_bytes(), now);
            }
            return match allow_empty {
                true => self.settle(step, Outcome::Done(Data::None), Vec::new(), now),
                false => self.fail(step, FailureKind::Abort, text, now),
            };
        }
        self.say(b"Archiving artifacts\n", now);
        self.archive_next(node, step, files, Vec::new(), now);
    }

    /// Whether the log says that there is nothing to archive. A Freestyle job that may not be without says it by its error, and of
    /// one that failed nobody expects files.
    fn complains(&self, allow_empty: bool) -> bool {
        let good = self.machine.result_so_far().is_none_or(|result| result <= BuildResult::Unstable);
        self.language == Language::Pipeline || (allow_empty && good)
    }

    fn archive_next(
        &mut self,
        node: &NodeName,
        step: &StepId,
        mut left: VecDeque<(String, u64)>,
        mut done: Vec<Effect>,
        now: Now,
    ) {
        if done.len() >= ROWS {
            // Done again by another owner, the same rows are written anew: they need not wait for the outcome.
            self.next.effects.append(&mut done);
        }
        let Some(current) = left.pop_front() else {
            return self.settle(step, Outcome::Done(Data::None), done, now);
        };
        let Some(open) = self.steps.get(step) else { return };
        let ActKind::ArchiveArtifacts { place, .. } = &open.act.kind else { return };
        let dir = place.dir.clone();
        let op = self.next_op;
        self.next_op += 1;
        let object = self.object_key(step, op);
        self.out.push(Do::Object(ObjectDo::Begin { op, key: object.clone() }));
        let request = OpRequest::Read { dir, path: current.0.clone(), max: u64::MAX };
        let kind = Kind::Archive { current, object, left, done };
        self.transfers
            .insert(op, Transfer { step: step.clone(), node: node.clone(), received: 0, room: CREDIT, kind });
        self.start_op(node, op, request);
    }

    pub(super) fn object(&mut self, event: ObjectEvent, now: Now) {
        match event {
            ObjectEvent::Written { op, upto } => self.give_room(op, upto),
            ObjectEvent::Finished { op } => self.object_finished(op, now),
            ObjectEvent::Stash { op, object } => self.stash_found(op, object, now),
            ObjectEvent::Piece { op, from, bytes } => self.object_piece(op, from, bytes),
            ObjectEvent::Failed { op, why } => self.op_failed(op, why, now),
            ObjectEvent::Interrupted { op } => self.begin_anew(op),
        }
    }

    fn object_finished(&mut self, op: u64, now: Now) {
        let Some(Transfer { step, node, received, kind, .. }) = self.transfers.remove(&op) else { return };
        match kind {
            Kind::Storing { outcome, effects } => self.settle(&step, *outcome, effects, now),
            Kind::Stash { name, object, count, .. } => {
                let size = count.map_or(received, |(_, bytes)| bytes);
                let effects = vec![Effect::Stash { name, size, object }];
                self.settle(&step, Outcome::Done(Data::None), effects, now);
            }
            Kind::Archive { current, object, left, mut done } => {
                done.push(Effect::Artifact { path: current.0, size: received, object });
                self.archive_next(&node, &step, left, done, now);
            }
            Kind::Text { .. }
            | Kind::Plain
            | Kind::Send { .. }
            | Kind::Unstash { .. }
            | Kind::List { .. } => {}
        }
    }

    fn stash_found(&mut self, op: u64, found: Option<String>, now: Now) {
        let Some(transfer) = self.transfers.get_mut(&op) else { return };
        let (step, node) = (transfer.step.clone(), transfer.node.clone());
        let Kind::Unstash { name, object, .. } = &mut transfer.kind else { return };
        if found.is_none() {
            let why = format!("No such saved stash ‘{name}’");
            self.transfers.remove(&op);
            return self.fail(&step, FailureKind::Abort, why, now);
        }
        *object = found;
        let Some(open) = self.steps.get(&step) else { return };
        if let ActKind::Unstash { place, .. } = &open.act.kind {
            let request = OpRequest::Unpack { dir: place.dir.clone() };
            self.start_op(&node, op, request);
            self.read_more(op);
        }
    }

    fn object_piece(&mut self, op: u64, from: u64, bytes: Bytes) {
        let Some(transfer) = self.transfers.get_mut(&op) else { return };
        let node = transfer.node.clone();
        let Kind::Unstash { sent, reading, .. } = &mut transfer.kind else { return };
        if from != *sent || !*reading {
            return;
        }
        let last = bytes.is_empty();
        *sent += bytes.len() as u64;
        // After the end nothing is read any more.
        *reading = last;
        self.send(&node, Command::OpData { op, offset: from, last, bytes });
        self.read_more(op);
    }

    /// The record as the machine is to see it: texts in place of the objects that hold them.
    pub(super) fn resolved(&mut self, record: &Record) -> Record {
        let Record::Outcome { step, outcome: Outcome::Done(data), at, raw } = record else {
            return record.clone();
        };
        let Some((hash, _)) = texts::object_of(data) else { return record.clone() };
        let text = self.texts.remove(&(step.clone(), hash.to_owned()));
        let text = text.expect("kept since it was given to the object store");
        let outcome = texts::with_text(data, text);
        Record::Outcome { step: step.clone(), outcome, at: *at, raw: *raw }
    }
}

fn safe(path: &str) -> bool {
    let plain =
        !path.is_empty() && path.len() <= 4096 && !path.starts_with('/') && !path.contains(['\\', '\0']);
    plain && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write;
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
