//! What goes out next when the link has room: reports first, then one piece of each step and op in turn.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;

use bytes::{Bytes, BytesMut};
use model::{BuildId, Fence};
use remoting::native::Frame;
use remoting::ops::{FromAgent, MAX_PIECE, Report, StepReport, StepState};
use tracing::{error, warn};

use super::{Out, Service, Source};
use crate::step::{Follow, Phase, Step, StepKey};

/// Who waits in line, each once.
#[derive(Debug, Default)]
pub(super) struct Line {
    queue: VecDeque<Source>,
    waiting: HashSet<Source>,
}

impl Line {
    pub(super) fn push(&mut self, source: Source) {
        if self.waiting.insert(source.clone()) {
            self.queue.push_back(source);
        }
    }

    fn pop(&mut self) -> Option<Source> {
        let source = self.queue.pop_front()?;
        self.waiting.remove(&source);
        Some(source)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Service {
    pub(super) fn next_frame(&mut self) -> Option<Bytes> {
        while let Some(out) = self.outbox.pop_front() {
            if let Some(frame) = self.resolve(out) {
                return Some(frame.encode());
            }
        }
        while let Some(source) = self.ready.pop() {
            let report = match &source {
                Source::Step(key) => self.output(key),
                Source::Op(key) => self.op_content(*key),
            };
            if let Some(report) = report {
                self.ready.push(source);
                return Some(Frame::Report(report).encode());
            }
        }
        None
    }

    fn resolve(&self, out: Out) -> Option<Frame> {
        match out {
            Out::Report(report) => Some(Frame::Report(report)),
            Out::Builds(builds) => Some(Frame::Builds { builds }),
            Out::Spools(ask, told) => Some(Frame::Spooled { ask, told }),
            Out::Step((build, name), fence) => {
                let step = self.builds.get(&build)?.steps.get(&name)?;
                let report = Report::Step(self.step_report(&name, step));
                Some(Frame::Report(FromAgent { build, fence, report }))
            }
        }
    }

    /// What may be said of a step now.
    pub(super) fn step_report(&self, name: &str, step: &Step) -> StepReport {
        let state = match (step.phase, &step.failed) {
            (Phase::Accepted, _) => StepState::Accepted,
            (Phase::Running, _) => StepState::Running,
            (Phase::Ended { .. }, Some(why)) => StepState::Failed { why: why.clone() },
            (Phase::Ended { .. }, None) => match &step.known {
                Some(state) => state.clone(),
                None => step.folder.look(&self.home.boot).state,
            },
        };
        StepReport { step: name.to_owned(), state, end: step.end() }
    }

    /// Somebody reads the output of a step.
    pub(super) fn follow(&mut self, build: BuildId, fence: Fence, name: &str, from: u64, upto: u64) {
        let Some((name, step)) = self.step(build, name) else {
            let report = StepReport { step: name.to_owned(), state: StepState::Accepted, end: 0 };
            return self.report(build, fence, Report::Step(report));
        };
        let key = (build, name);
        let first = step.follow.is_none();
        let follow = step.follow.get_or_insert(Follow { fence, sent: from, upto });
        follow.upto = follow.upto.max(upto);
        if first {
            let grows = step.running().then(|| step.folder.out());
            let notice = grows.and_then(|path| self.notice.watch(&path, key.clone()));
            if let Some((_, step)) = self.step(key.0, &key.1) {
                step.notice = notice;
            }
            self.report_step(key.clone(), fence);
        }
        self.make_ready(key);
    }

    /// Puts a step in line, when somebody follows it.
    pub(super) fn make_ready(&mut self, key: StepKey) {
        let step = self.builds.get(&key.0).and_then(|build| build.steps.get(&key.1));
        if step.is_some_and(|step| step.follow.is_some()) {
            self.ready.push(Source::Step(key));
        }
    }

    /// The next piece of a step's output; nothing when there is none, or no credit.
    fn output(&mut self, (build, name): &StepKey) -> Option<FromAgent> {
        let step = self.builds.get_mut(build)?.steps.get_mut(name)?;
        let end = match step.phase {
            Phase::Ended { end } => end,
            Phase::Accepted | Phase::Running => u64::MAX,
        };
        let follow = step.follow.as_mut()?;
        let most = follow.upto.min(end).saturating_sub(follow.sent);
        if most == 0 {
            if follow.sent >= end {
                step.out = None;
            }
            return None;
        }
        if step.out.is_none() {
            let opened = File::open(step.folder.out());
            step.out =
                opened.inspect_err(|e| warn!("open the output of step {name} of build {build}: {e}")).ok();
        }
        let bytes = read_piece(step.out.as_ref()?, follow.sent, most)
            .inspect_err(|e| error!("read the output of step {name} of build {build}: {e}"))
            .ok()
            .filter(|bytes| !bytes.is_empty());
        let Some(bytes) = bytes else {
            if step.phase != Phase::Running {
                step.out = None;
            }
            return None;
        };
        let offset = follow.sent;
        follow.sent += bytes.len() as u64;
        let report = Report::Output { step: name.as_ref().to_owned(), offset, bytes };
        Some(FromAgent { build: *build, fence: follow.fence, report })
    }
}

fn read_piece(file: &File, from: u64, most: u64) -> std::io::Result<Bytes> {
    let most = usize::try_from(most).unwrap_or(MAX_PIECE).min(MAX_PIECE);
    let mut piece = BytesMut::zeroed(most);
    let length = file.read_at(&mut piece, from)?;
    piece.truncate(length);
    Ok(piece.freeze())
}
