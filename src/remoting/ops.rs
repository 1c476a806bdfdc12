//! What a build asks of an agent and what the agent reports, whatever carries it.
//!
//! Every command names its build and shows a fence. The agent keeps the highest fence it has seen for each build, on
//! disk, and refuses lower ones; an owner first claims the build and sends nothing else before the answer.
//! Offsets are bytes from 0. Everything may be said twice: commands and reports are idempotent.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::{BuildId, Fence};
use serde::{Deserialize, Serialize};

/// Bytes in one frame of output or file content.
pub const MAX_PIECE: usize = 32 * 1024;
/// Bytes of an op's content that may be sent ahead of what was taken. Output of a step may be sent at least so far ahead of
/// what is committed; an owner of few builds allows more.
pub const CREDIT: u64 = 256 * 1024;
/// Largest spool of a step.
pub const MAX_SPOOL: u64 = 10 * 1024 * 1024 * 1024;

/// From the owner of a build to an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct ToAgent {
    pub build: BuildId,
    pub fence: Fence,
    pub command: Command,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Takes the build at this agent. Ends the ops and follows of any earlier claim, also under the same fence.
    /// → `Report::Claimed` or `Report::Refused`
    Claim,
    /// Starts a process once. A step that was started before is not started again. → `Report::Step`
    Start { step: String, spec: Box<StartSpec> },
    /// Send the output from `from` on, up to `upto`, and then the end of the step. `from` is what is committed.
    /// The first one after a claim sets where to begin; further ones only raise `upto`. To begin anew (a relay lost
    /// frames), claim again.
    Follow { step: String, from: u64, upto: u64 },
    /// Ends the step's whole tree of processes: TERM, and KILL after `grace_millis`. → `Report::Step` when it has ended
    Kill { step: String, grace_millis: u64 },
    /// Something with files. → `Report::OpData`…, `Report::OpDone`
    Op { op: u64, request: Box<OpRequest> },
    /// Content for an op that takes some, in order, without gaps.
    OpData { op: u64, offset: u64, last: bool, bytes: Bytes },
    /// The receiver of an op's content has room up to `upto`; both sides begin with [`CREDIT`].
    OpCredit { op: u64, upto: u64 },
    /// The op is not wanted any more.
    OpCancel { op: u64 },
    /// The build has ended: what still runs of it is ended at once, then its spools and statuses go. Also said by the
    /// holder of the link, for a build that the agent still keeps and that is over.
    Forget,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartSpec {
    /// `sh`, `bat`, `powershell` or `pwsh`.
    pub shell: String,
    pub script: String,
    /// Absolute; made when it is missing.
    pub dir: String,
    /// Added to the agent's own environment.
    pub env: BTreeMap<String, String>,
    /// Standard output is the result (≤ 1 MiB) and not part of the output.
    pub capture: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "op")]
pub enum OpRequest {
    /// Content of a file of at most `max` bytes. → `OpData`…, `OpResult::Done`
    Read { dir: String, path: String, max: u64 },
    /// Replaces a file by the content that follows; folders are made. → `OpResult::Done`
    Write { dir: String, path: String },
    /// → `OpResult::Flag`
    Exists { dir: String, path: String },
    /// Deletes `dir` with all in it, not following links. → `OpResult::Done`
    DeleteDir { dir: String },
    /// Lists files by Ant patterns, relative, sorted. Content: one JSON `[path, size]` a line. → `OpResult::Count`
    Glob { dir: String, files: FileSet },
    /// Content: a gzipped tar of the files. → `OpResult::Count`
    Pack { dir: String, files: FileSet },
    /// Unpacks the gzipped tar that follows into `dir`; names outside, links outside and devices are refused. → `OpResult::Count`
    Unpack { dir: String },
}

/// Files below a folder, by Ant patterns (comma-separated; `**`, `*`, `?`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileSet {
    /// Empty: `**`.
    pub includes: String,
    pub excludes: String,
    /// Ant's default excludes (`**/.git/**`, `**/*~`, …).
    pub default_excludes: bool,
    pub case_sensitive: bool,
}

/// From an agent to the owner of a build.
#[derive(Debug, Clone, PartialEq)]
pub struct FromAgent {
    pub build: BuildId,
    /// The fence of the command that this answers, or of the newest claim.
    pub fence: Fence,
    pub report: Report,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The build is claimed under the fence; these steps have a folder here.
    Claimed {
        steps: Vec<StepReport>,
        /// The machine was restarted since the build was first claimed here. Folders are not synced to disk at each
        /// start, so a step that was asked for before and is not listed may have run: it is lost, never started.
        rebooted: bool,
    },
    /// The fence is lower than `held`. Whoever had the build is told, too, when it is claimed under a higher one: it may wait
    /// for reports that are made under that one now, and have nothing to say itself.
    Refused {
        held: Fence,
    },
    /// A step's state has changed, or was asked for.
    Step(StepReport),
    /// A piece of output, at most [`MAX_PIECE`].
    Output {
        step: String,
        offset: u64,
        bytes: Bytes,
    },
    OpData {
        op: u64,
        offset: u64,
        bytes: Bytes,
    },
    /// The receiver of content at the agent has room up to `upto`.
    OpCredit {
        op: u64,
        upto: u64,
    },
    OpDone {
        op: u64,
        result: OpResult,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    pub step: String,
    pub state: StepState,
    /// Bytes of output in the spool; final when the step has ended.
    pub end: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepState {
    /// Asked to start, and nothing has run yet.
    Accepted,
    Running,
    Exited {
        /// Exit status; 128 + signal when one ended it.
        status: i32,
        /// What `capture` asked for.
        stdout: Option<String>,
    },
    /// It was started, and nobody knows how it ended. It never runs again.
    Lost {
        why: String,
    },
    /// It was not started, and never will be.
    Failed {
        why: String,
    },
}

impl StepState {
    pub fn ended(&self) -> bool {
        match self {
            StepState::Accepted | StepState::Running => false,
            StepState::Exited { .. } | StepState::Lost { .. } | StepState::Failed { .. } => true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OpResult {
    Done,
    Flag(bool),
    Count {
        files: u64,
        bytes: u64,
    },
    /// The file or folder is not there.
    NoSuchFile(String),
    Failed(String),
}

/// What an agent keeps of a build: the highest fence it was shown. Pure; the agent writes it to disk before it answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fences {
    held: BTreeMap<BuildId, Fence>,
}

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Carry it out.
    Current,
    /// A claim with a newer fence: write it down, then answer.
    Newer,
    /// A command under a fence that was never claimed here: the owner must claim first.
    Unclaimed,
    /// Refuse it.
    Stale { held: Fence },
}

impl Fences {
    /// Judges a command. A `Newer` claim counts only after [`Fences::hold`].
    pub fn judge(&self, build: BuildId, fence: Fence, claim: bool) -> Verdict {
        match self.held.get(&build) {
            Some(&held) if held > fence => Verdict::Stale { held },
            Some(&held) if held == fence => Verdict::Current,
            Some(_) | None if claim => Verdict::Newer,
            Some(_) | None => Verdict::Unclaimed,
        }
    }

    pub fn hold(&mut self, build: BuildId, fence: Fence) {
        let held = self.held.entry(build).or_insert(fence);
        *held = fence.max(*held);
    }

    pub fn held(&self, build: BuildId) -> Option<Fence> {
        self.held.get(&build).copied()
    }

    pub fn forget(&mut self, build: BuildId) {
        self.held.remove(&build);
    }
}

/// What a step's folder says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The file `started` is there: the program ran, or was about to.
    pub started: bool,
    /// The exit status was written.
    pub exit: Option<i32>,
    /// The process that `started` names lives (same pid, start time and boot).
    pub alive: bool,
}

/// Start once: what a step's folder means. `Accepted` is the only state in which it may be started.
pub fn step_state(folder: &Folder) -> StepState {
    match folder {
        Folder { exit: Some(status), .. } => StepState::Exited { status: *status, stdout: None },
        Folder { started: false, .. } => StepState::Accepted,
        Folder { alive: true, .. } => StepState::Running,
        Folder { alive: false, .. } => StepState::Lost {
            why: "the process ended without leaving its exit status (was the machine restarted, or the process killed?)"
                .to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_fence_is_refused_and_a_higher_one_must_be_claimed_first() {
        let (build, one, two) = (BuildId(7), Fence::from_i64(1), Fence::from_i64(2));
        let mut fences = Fences::default();
        assert_eq!(fences.judge(build, one, false), Verdict::Unclaimed);
        assert_eq!(fences.judge(build, two, true), Verdict::Newer);
        fences.hold(build, two);
        assert_eq!(fences.judge(build, two, false), Verdict::Current);
        assert_eq!(fences.judge(build, one, true), Verdict::Stale { held: two });
        fences.hold(build, one);
        assert_eq!(fences.held(build), Some(two));
    }

    #[test]
    fn a_started_step_without_status_and_process_is_lost_and_may_not_start_again() {
        let folder = |started, exit, alive| step_state(&Folder { started, exit, alive });
        assert_eq!(folder(false, None, false), StepState::Accepted);
        assert_eq!(folder(true, None, true), StepState::Running);
        assert!(matches!(folder(true, None, false), StepState::Lost { .. }));
        assert_eq!(folder(true, Some(3), false), StepState::Exited { status: 3, stdout: None });
        assert_eq!(folder(true, Some(0), true), StepState::Exited { status: 0, stdout: None });
    }
}
