//! The log of a build: what the controller says, and the output of steps cut into chunks.
//!
//! What is stored is what was printed, decoded as UTF-8; bytes that are none become U+FFFD. A piece that may go on
//! (an unfinished character, a line without its end) is held back and not consumed, so offsets are the whole state.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pipeline::act::{Act, ActKind, BlockKind, Language, StepId};
use store::Chunk;

use super::{Driver, MAX_LOG, Now};

/// A line that is longer is cut.
const MAX_LINE: usize = 16 * 1024;
/// Output of one chunk: who reads a log holds some chunks at once.
const MAX_CHUNK: usize = 256 * 1024;
/// A line that does not end is shown after that time.
const PATIENCE: Duration = Duration::from_millis(300);

/// Output of one step that is not committed yet.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Raw offset that the store has.
    pub(super) committed: u64,
    /// Raw offset of the first byte of `pending`.
    taken: u64,
    pending: BytesMut,
    /// When the oldest pending byte came.
    since: Option<Duration>,
    /// The agent was told to send up to here.
    pub(super) upto: u64,
    /// The step has ended with that many bytes.
    pub(super) end: Option<u64>,
}

/// What becomes of a piece of output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Taken,
    /// Bytes are missing before it.
    Gap,
    /// More than the agent was allowed to send.
    Excess,
}

impl Output {
    pub(super) fn from(committed: u64) -> Output {
        Output { committed, taken: committed, ..Output::default() }
    }

    /// Where the next piece must begin.
    pub(super) fn expected(&self) -> u64 {
        self.taken + self.pending.len() as u64
    }

    pub(super) fn add(&mut self, offset: u64, bytes: &Bytes, now: Now) -> Piece {
        let expected = self.expected();
        if offset > expected {
            return Piece::Gap;
        }
        let known = usize::try_from(expected - offset).unwrap_or(usize::MAX).min(bytes.len());
        if offset.saturating_add(bytes.len() as u64) > self.upto {
            return Piece::Excess;
        }
        if known < bytes.len() {
            self.since.get_or_insert(now.elapsed);
            self.pending.extend_from_slice(&bytes[known..]);
        }
        Piece::Taken
    }

    /// The agent is told to send up to there. If it has sent all that it might, the end of the last line could not come yet.
    pub(super) fn room(&mut self, upto: u64, now: Now) {
        if self.since.is_some() && self.expected() >= self.upto {
            self.since = Some(now.elapsed);
        }
        self.upto = upto;
    }

    /// Up to here it is in the log, or in the write that is being made.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Everything was sent and stored or is about to be.
    pub(super) fn complete(&self) -> bool {
        self.end.is_some_and(|end| self.taken >= end)
    }

    /// No more is expected than is here.
    pub(super) fn close(&mut self) {
        self.end = Some(self.expected());
    }

    /// Forgets what is not committed: it comes again.
    pub(super) fn rewind(&mut self) {
        self.pending.clear();
        self.taken = self.committed;
        self.since = None;
    }

    /// With the rule switched off: forgets what is not committed, and believes that it was.
    pub(super) fn skip(&mut self) {
        self.taken = self.expected();
        self.pending.clear();
        self.since = None;
    }

    /// Takes what may be stored now, at most `max` bytes. Gives the raw range and the text.
    fn take(&mut self, max: usize, now: Now) -> Option<(u64, u64, Bytes)> {
        let last = self.end.is_some_and(|end| self.expected() >= end);
        let old = self.since.is_some_and(|since| now.elapsed >= since + PATIENCE);
        let limit = self.pending.len().min(max);
        let lines = self.pending[..limit].iter().rposition(|b| *b == b'\n').map(|at| at + 1);
        let all = last || old;
        let length = match lines {
            // The rest is of a line that goes on, which another step's output must not divide.
            Some(lines) if !all || limit < self.pending.len() => lines,
            Some(_) => limit,
            None if all || limit >= MAX_LINE => limit,
            None => return None,
        };
        let finished = last && length == self.pending.len();
        let (used, text) = decode(&self.pending[..length], finished);
        if used == 0 {
            // The begin of a character: nothing changes before more comes.
            self.since = Some(now.elapsed);
            return None;
        }
        let from = self.taken;
        let _consumed = self.pending.split_to(used);
        self.taken += used as u64;
        self.since = if self.pending.is_empty() { None } else { Some(now.elapsed) };
        Some((from, self.taken, text))
    }

    /// When a held-back piece is to be shown.
    fn due(&self) -> Option<Duration> {
        self.since.map(|since| since + PATIENCE)
    }
}

/// Decodes as UTF-8; gives how many bytes were used. An unfinished character at the end waits unless `finished`.
fn decode(raw: &[u8], finished: bool) -> (usize, Bytes) {
    match std::str::from_utf8(raw) {
        Ok(_) => (raw.len(), Bytes::copy_from_slice(raw)),
        Err(error) => {
            let unfinished = error.error_len().is_none() && !finished;
            let used = if unfinished { error.valid_up_to() } else { whole(raw, finished) };
            (used, Bytes::from(String::from_utf8_lossy(&raw[..used]).into_owned()))
        }
    }
}

/// The length without an unfinished character at the end.
fn whole(raw: &[u8], finished: bool) -> usize {
    if finished {
        return raw.len();
    }
    let tail = raw.len().saturating_sub(3);
    for at in tail..raw.len() {
        let unfinished = std::str::from_utf8(&raw[at..])
            .err()
            .is_some_and(|e| e.error_len().is_none() && e.valid_up_to() == 0);
        if unfinished {
            return at;
        }
    }
    raw.len()
}

impl Driver {
    /// Adds what the controller itself says to the log.
    pub(super) fn say(&mut self, text: &[u8], now: Now) {
        self.chunk(None, 0, 0, Bytes::copy_from_slice(text), now);
    }

    /// Adds what only the log of a Pipeline says.
    pub(super) fn say_pipeline(&mut self, text: &str, now: Now) {
        match self.language {
            Language::Pipeline => self.say(format!("[Pipeline] {text}\n").as_bytes(), now),
            Language::Freestyle => {}
        }
    }

    fn chunk(&mut self, step: Option<&StepId>, raw_from: u64, raw_to: u64, bytes: Bytes, now: Now) {
        if bytes.is_empty() {
            return;
        }
        self.next.log += bytes.len();
        let offset = self.log_end;
        self.log_end += bytes.len() as u64;
        let step = step.map(ToString::to_string).unwrap_or_default();
        self.next.chunks.push(Chunk::new(offset, step, (raw_from, raw_to), now.wall, bytes));
    }

    /// Moves output of steps into the draft, a fair share each. Gives the raw offsets that the draft covers.
    pub(super) fn drain_outputs(&mut self, now: Now) -> Vec<(StepId, u64)> {
        let mut taken = Vec::new();
        let steps: Vec<StepId> = self.outputs.keys().cloned().collect();
        let share = (MAX_LOG / steps.len().max(1)).clamp(2 * MAX_LINE, MAX_CHUNK);
        for step in steps {
            while self.next.log < MAX_LOG {
                let Some(output) = self.outputs.get_mut(&step) else { break };
                let Some((from, to, text)) = output.take(share, now) else { break };
                self.chunk(Some(&step), from, to, text, now);
                taken.push((step.clone(), to));
            }
        }
        taken
    }

    /// The next moment at which a held-back piece is due.
    pub(super) fn output_due(&self) -> Option<Duration> {
        self.outputs.values().filter_map(Output::due).min()
    }
}

/// The line by which Jenkins' log announces an act; empty when there is none.
pub(super) fn announce(language: Language, act: &Act) -> String {
    match (language, &act.kind) {
        (Language::Pipeline, _) => announce_step(act),
        (Language::Freestyle, ActKind::Echo { text }) => format!("{text}\n"),
        // All that is to be said of it is said by remarks.
        (Language::Freestyle, _) => String::new(),
    }
}

fn announce_step(act: &Act) -> String {
    match &act.kind {
        // A remark of the machine itself: no step of the Jenkinsfile says it.
        ActKind::Echo { text } if act.line == 0 => format!("{text}\n"),
        ActKind::Echo { text } => format!("[Pipeline] echo\n{text}\n"),
        ActKind::BlockStart { block: BlockKind::Stage, name } => {
            format!("[Pipeline] stage\n[Pipeline] {{ ({name})\n")
        }
        ActKind::BlockStart { block: BlockKind::Branch, name } => format!("[Pipeline] {{ (Branch: {name})\n"),
        // Its error is told once, at the end of the build, or by whoever catches it.
        ActKind::BlockEnd { block: BlockKind::Stage, .. } => "[Pipeline] }\n[Pipeline] // stage\n".to_owned(),
        ActKind::BlockEnd { block: BlockKind::Branch, .. } => "[Pipeline] }\n".to_owned(),
        ActKind::ReleaseNode { .. } => "[Pipeline] }\n[Pipeline] // node\n".to_owned(),
        ActKind::SetResult { .. }
        | ActKind::SetDisplayName { .. }
        | ActKind::SetDescription { .. }
        | ActKind::CancelTimer { .. }
        | ActKind::Trigger { .. } => String::new(),
        ActKind::Timer { millis, activity } => {
            let length = length(*millis);
            let when =
                if *activity { format!("after {length} without activity") } else { format!("in {length}") };
            format!("[Pipeline] timeout\nTimeout set to expire {when}\n[Pipeline] {{\n")
        }
        // Between two tries of `waitUntil`.
        ActKind::Sleep { millis } if act.line == 0 => format!("Will try again after {}\n", length(*millis)),
        ActKind::Sleep { millis } => format!("[Pipeline] sleep\nSleeping for {}\n", length(*millis)),
        ActKind::Node { .. }
        | ActKind::Process(_)
        | ActKind::Checkout { .. }
        | ActKind::ReadFile { .. }
        | ActKind::WriteFile { .. }
        | ActKind::FileExists { .. }
        | ActKind::DeleteDir { .. }
        | ActKind::Stash { .. }
        | ActKind::Unstash { .. }
        | ActKind::ArchiveArtifacts { .. } => format!("[Pipeline] {}\n", act.name()),
    }
}

fn length(millis: u64) -> String {
    model::length(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use model::Millis;

    use super::*;

    fn now(millis: u64) -> Now {
        Now { wall: Millis(0), elapsed: Duration::from_millis(millis) }
    }

    fn output() -> Output {
        Output { upto: 1 << 20, ..Output::default() }
    }

    #[test]
    fn what_begins_and_ends_is_shown_as_jenkins_does() {
        let step = StepId("1".to_owned());
        let act = |kind| Act { step: step.clone(), branch: Vec::new(), line: 1, timers: Vec::new(), kind };
        let shown = |kind| announce(Language::Pipeline, &act(kind));
        let name = || "a".to_owned();
        let end = |block| ActKind::BlockEnd {
            block,
            start: step.clone(),
            result: model::BuildResult::Success,
            error: None,
            skipped: false,
        };
        let lines = [
            shown(ActKind::BlockStart { block: BlockKind::Stage, name: name() }),
            shown(ActKind::Timer { millis: 60_000, activity: false }),
            shown(ActKind::CancelTimer { timer: step.clone() }),
            shown(ActKind::BlockStart { block: BlockKind::Branch, name: name() }),
            shown(ActKind::Sleep { millis: 1_000 }),
            shown(end(BlockKind::Branch)),
            shown(end(BlockKind::Stage)),
            shown(ActKind::ReleaseNode { node: step.clone() }),
        ];
        let wanted = "[Pipeline] stage\n[Pipeline] { (a)\n\
                      [Pipeline] timeout\nTimeout set to expire in 1 min 0 sec\n[Pipeline] {\n\
                      [Pipeline] { (Branch: a)\n[Pipeline] sleep\nSleeping for 1 sec\n[Pipeline] }\n\
                      [Pipeline] }\n[Pipeline] // stage\n[Pipeline] }\n[Pipeline] // node\n";
        assert_eq!(lines.concat(), wanted);
    }

    #[test]
    fn output_is_cut_at_line_ends_and_the_rest_waits_a_moment() {
        let mut output = output();
        assert_eq!(output.add(0, &Bytes::from_static(b"one\ntw"), now(0)), Piece::Taken);
        assert_eq!(output.take(100, now(1)), Some((0, 4, Bytes::from_static(b"one\n"))));
        assert_eq!(output.take(100, now(2)), None);
        assert_eq!(output.take(100, now(900)), Some((4, 6, Bytes::from_static(b"tw"))));
    }

    #[test]
    fn a_line_is_divided_only_when_it_is_too_long() {
        let mut output = output();
        let lines = "0123456789abcde\n".repeat(MAX_LINE / 16 + 1);
        output.add(0, &Bytes::from(format!("{lines}tw")), now(0));
        let length = lines.len() as u64;
        assert_eq!(output.take(1 << 20, now(1)), Some((0, length, Bytes::from(lines))));
        assert_eq!(output.take(1 << 20, now(1)), None);
        let long = "x".repeat(MAX_LINE);
        output.add(length + 2, &Bytes::from(long.clone()), now(2));
        let end = length + 2 + MAX_LINE as u64;
        assert_eq!(output.take(1 << 20, now(2)), Some((length, end, Bytes::from(format!("tw{long}")))));
    }

    #[test]
    fn a_line_whose_end_might_not_be_sent_yet_waits_from_when_it_may() {
        let mut output = output();
        output.upto = 6;
        output.add(0, &Bytes::from_static(b"one\ntw"), now(0));
        assert_eq!(output.take(100, now(1)), Some((0, 4, Bytes::from_static(b"one\n"))));
        output.room(10, now(900));
        assert_eq!(output.take(100, now(900)), None);
        // it has sent less than it might: what it has is all there is
        output.room(20, now(1_000));
        assert_eq!(output.take(100, now(1_200)), Some((4, 6, Bytes::from_static(b"tw"))));
    }

    #[test]
    fn a_piece_that_came_before_is_not_taken_twice_and_a_gap_is_noticed() {
        let mut output = output();
        output.add(0, &Bytes::from_static(b"abc\n"), now(0));
        assert_eq!(output.add(2, &Bytes::from_static(b"c\nd\n"), now(0)), Piece::Taken);
        assert_eq!(output.add(9, &Bytes::from_static(b"x"), now(0)), Piece::Gap);
        assert_eq!(output.take(100, now(0)), Some((0, 6, Bytes::from_static(b"abc\nd\n"))));
        output.upto = 7;
        assert_eq!(output.add(6, &Bytes::from_static(b"xy"), now(0)), Piece::Excess);
    }

    #[test]
    fn an_unfinished_character_waits_for_its_rest_and_rubbish_is_replaced() {
        assert_eq!(decode("aé".as_bytes(), false), (3, Bytes::from_static("aé".as_bytes())));
        assert_eq!(decode(b"a\xc3", false), (1, Bytes::from_static(b"a")));
        assert_eq!(decode(b"a\xc3", true).0, 2);
        assert_eq!(decode(b"\xff\xc3", false), (1, Bytes::from_static("\u{fffd}".as_bytes())));
        assert_eq!(decode(b"\xffab", false).0, 3);
    }

    #[test]
    fn a_step_that_has_ended_gives_all_of_its_output() {
        let mut output = output();
        output.add(0, &Bytes::from_static(b"no line end"), now(0));
        output.end = Some(11);
        assert_eq!(output.take(100, now(0)), Some((0, 11, Bytes::from_static(b"no line end"))));
        assert!(output.complete());
    }
}
