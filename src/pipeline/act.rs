//! What the machine asks for (acts) and what comes back (outcomes).
//!
//! The engine performs acts; the machine only ever sees their outcomes through committed journal records.

use std::collections::BTreeMap;

pub use model::{BuildResult, Cause, ParamValue};
use serde::{Deserialize, Serialize};

/// Names one step of one build for ever: branch path and ordinal. `7` is the eighth act of the main branch,
/// `7.1/0` the first act of the second branch of the `parallel` at step 7. At most 200 bytes, `[0-9./]` only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub String);

impl std::fmt::Display for StepId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing that a build wants done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    pub step: StepId,
    /// Names of the parallel branches around it, outermost first; shown before log lines.
    pub branch: Vec<String>,
    /// Line of the Jenkinsfile that asked; 0 where no line did.
    pub line: u32,
    /// The `Timer` acts of the `timeout` blocks around it, outermost first.
    pub timers: Vec<StepId>,
    pub kind: ActKind,
}

/// How an act is treated when nobody knows whether it was done (DESIGN: acts).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Done by the commit of its record; needs no performer.
    Instant,
    /// Followed on after a loss: processes.
    Durable,
    /// Done again under the same step id: files, archives, stashes.
    Repeatable,
    /// No performer: waits for an inbox row.
    Waiting,
    /// Looked up as often as need be, done by the commit of its outcome.
    Once,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum ActKind {
    // -- instant -----------------------------------------------------------------------------
    /// Text for the log; a line end is added.
    Echo {
        text: String,
    },
    /// A stage or parallel branch begins. Its id is the step id.
    BlockStart {
        block: BlockKind,
        name: String,
    },
    /// The end of the block that began at `start`.
    BlockEnd {
        block: BlockKind,
        start: StepId,
        result: BuildResult,
        /// What it threw; nothing for an abort, of which the log knows already.
        error: Option<String>,
        skipped: bool,
    },
    /// `currentBuild.result = …`, `unstable(…)`, `catchError`: the worst of all is kept.
    SetResult {
        result: BuildResult,
    },
    SetDisplayName {
        name: String,
    },
    SetDescription {
        text: String,
    },
    /// Gives the executor back that the `Node` act `node` was granted.
    ReleaseNode {
        node: StepId,
    },
    /// The `Timer` act `timer` need not fire any more.
    CancelTimer {
        timer: StepId,
    },
    // -- waiting -----------------------------------------------------------------------------
    /// An executor on a node that matches the label expression; `None` is any node.
    /// Outcome: `Data::Granted`.
    Node {
        label: Option<String>,
        /// Nothing asks for one yet.
        custom_workspace: Option<String>,
    },
    Sleep {
        millis: u64,
    },
    /// The clock of a `timeout` block. The branch goes on when the intent is fed; the outcome
    /// (fed when it fires, `Data::None`) interrupts the body.
    Timer {
        millis: u64,
        /// It begins anew whenever the body says something in the log.
        activity: bool,
    },
    // -- durable -----------------------------------------------------------------------------
    /// `sh`, `bat`, `powershell`, `pwsh`. Outcome: `Data::Exit`.
    Process(Process),
    /// `git`, `checkout`. Outcome: `Data::Map` (`GIT_COMMIT`, `GIT_URL`, `GIT_BRANCH`, …).
    Checkout {
        place: Place,
        scm: Scm,
    },
    // -- repeatable --------------------------------------------------------------------------
    /// Outcome: `Data::Text`. `base64` when `encoding` is `Base64`.
    ReadFile {
        place: Place,
        path: String,
        encoding: Option<String>,
    },
    WriteFile {
        place: Place,
        path: String,
        text: String,
        encoding: Option<String>,
    },
    /// Outcome: `Data::Flag`.
    FileExists {
        place: Place,
        path: String,
    },
    /// Deletes `place.dir` with all that is in it.
    DeleteDir {
        place: Place,
    },
    Stash {
        place: Place,
        name: String,
        includes: String,
        excludes: String,
        use_default_excludes: bool,
        allow_empty: bool,
    },
    Unstash {
        place: Place,
        name: String,
    },
    ArchiveArtifacts {
        place: Place,
        includes: String,
        excludes: String,
        allow_empty: bool,
        default_excludes: bool,
        case_sensitive: bool,
        fingerprint: bool,
    },
    // -- once --------------------------------------------------------------------------------
    /// Builds of other jobs, each by its name as it was written, go into the queue. Outcome: `Data::None`, in the write
    /// that enqueues them.
    Trigger {
        jobs: Vec<String>,
    },
}

impl ActKind {
    /// Where on the agents it happens; `None` for what needs no agent.
    pub fn place(&self) -> Option<&Place> {
        match self {
            ActKind::Process(process) => Some(&process.place),
            ActKind::Checkout { place, .. }
            | ActKind::ReadFile { place, .. }
            | ActKind::WriteFile { place, .. }
            | ActKind::FileExists { place, .. }
            | ActKind::DeleteDir { place }
            | ActKind::Stash { place, .. }
            | ActKind::Unstash { place, .. }
            | ActKind::ArchiveArtifacts { place, .. } => Some(place),
            ActKind::Echo { .. }
            | ActKind::BlockStart { .. }
            | ActKind::BlockEnd { .. }
            | ActKind::SetResult { .. }
            | ActKind::SetDisplayName { .. }
            | ActKind::SetDescription { .. }
            | ActKind::ReleaseNode { .. }
            | ActKind::CancelTimer { .. }
            | ActKind::Node { .. }
            | ActKind::Sleep { .. }
            | ActKind::Timer { .. }
            | ActKind::Trigger { .. } => None,
        }
    }
}

/// Longest label expression, in bytes. Stores keep an index of those that are waited for, and label trees are walked
/// without a limit of their own.
pub const MAX_LABEL: usize = 2000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BlockKind {
    Stage,
    Branch,
}

/// Where on the agents something happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The `Node` act whose executor is used.
    pub node: StepId,
    /// The name of the granted node.
    pub name: String,
    /// Absolute path on the agent: workspace, plus the `dir` blocks around.
    pub dir: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub place: Place,
    pub shell: Shell,
    pub script: String,
    /// What is added to the agent's own environment. Values are final: no `${…}` is left in them.
    pub env: BTreeMap<String, String>,
    pub returns: Returns,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Shell {
    Sh,
    Bat,
    Powershell,
    Pwsh,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Returns {
    /// A status other than 0 fails the step.
    Nothing,
    /// Standard output is the value and not logged; a status other than 0 fails the step.
    Stdout,
    /// The status is the value.
    Status,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "scm")]
pub enum Scm {
    /// `checkout scm`: what the job is configured with; the engine knows it.
    Job,
    Git {
        url: String,
        branch: String,
        credentials_id: Option<String>,
        changelog: bool,
        poll: bool,
        shallow: bool,
        /// The step `git`: a local branch of that name is checked out. `checkout` leaves the head detached.
        local_branch: bool,
    },
}

/// How an act ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Done(Data),
    /// Becomes an exception at the step, which `try`, `catchError` and `retry` can catch.
    Failed(Failure),
    /// The machine asked for its end (`Machine::cancelled`) and it has ended.
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureKind {
    /// `hudson.AbortException`: what a step reports as its failure.
    Abort,
    /// The agent was lost for longer than its time-out, or the process was (it never runs twice).
    Lost,
    /// `java.io.FileNotFoundException`, `java.nio.file.NoSuchFileException`.
    NoSuchFile,
    /// Whatever is our fault or the machine's: full disk, limits.
    Io,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Data {
    None,
    Text(String),
    Number(i64),
    Flag(bool),
    Map(BTreeMap<String, String>),
    Granted(Granted),
    Exit {
        status: i32,
        stdout: Option<String>,
    },
    /// A text too large for a record; the engine replaces it by `Text` before it feeds the machine.
    Object {
        hash: String,
        size: u64,
    },
    /// An `Exit` with a `stdout` too large for a record; the engine replaces it by `Exit` before it feeds the machine.
    ExitObject {
        status: i32,
        hash: String,
        size: u64,
    },
}

/// What a `Node` act got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    pub node: String,
    /// From 0.
    pub executor: u32,
    /// Absolute path.
    pub workspace: String,
    pub unix: bool,
    /// The labels of the node, for `NODE_LABELS`.
    pub labels: Vec<String>,
    /// The agent's own environment, for `env.X` and `PATH+X`. Names of secrets are never in it.
    pub env: BTreeMap<String, String>,
}

/// What the source of a build's program is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Language {
    /// A Jenkinsfile.
    #[default]
    Pipeline,
    /// [`model::Freestyle`] as JSON.
    Freestyle,
}

/// What a build begins with; the first record of every journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Began {
    /// Format of the records that follow; 1 is the only one so far.
    pub format: u32,
    /// Behaviour of the machine that this build keeps for life; 1 is the only one so far.
    pub behaviour: u32,
    /// What the source is written in.
    #[serde(default)]
    pub language: Language,
    /// SHA-256 of the source, hexadecimal; the source itself is an object of the build.
    pub program: String,
    /// Full name, `/` between folders.
    pub job: String,
    pub number: u64,
    /// Name to value, as given or by default. Variables of the environment too, before those in `env`.
    pub params: BTreeMap<String, ParamValue>,
    /// `BUILD_NUMBER`, `JOB_NAME`, `BUILD_URL`, … : what `env` holds before anything else. Parameters need not be in it.
    pub env: BTreeMap<String, String>,
    /// Why it was started.
    pub causes: Vec<Cause>,
    /// Result of the build before, for `post { changed … fixed … regression … }`.
    pub previous: Option<BuildResult>,
    /// Builds of the job before it as they were then, newest first. Empty when the source never speaks of one.
    pub earlier: Vec<Earlier>,
    /// Whether there are builds before those.
    pub older: bool,
    /// Whether the job has a source that `checkout scm` could fetch.
    pub has_scm: bool,
    /// Milliseconds since the epoch by the store's clock; `currentBuild.startTimeInMillis`, `new Date()`.
    pub at: u64,
}

/// A build before this one, for `currentBuild.previousBuild` and its kin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Earlier {
    pub number: u64,
    /// Of a running one what it has been set to so far.
    pub result: Option<BuildResult>,
    pub running: bool,
    /// `None` is `#number`.
    pub display_name: Option<String>,
    /// When it began, milliseconds since the epoch by the store's clock.
    pub at: u64,
    /// Milliseconds; 0 while it runs.
    pub duration: u64,
}

/// One committed entry of a journal. Format 1: JSON, at most 64 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record {
    Began(Began),
    /// An instant act, done by this record's commit.
    Did {
        step: StepId,
        digest: String,
        at: u64,
    },
    /// An act that is about to be performed.
    Intent {
        step: StepId,
        /// `Act::digest`, compared in replay.
        digest: String,
        /// Milliseconds since the epoch by the store's clock.
        at: u64,
        /// When a `Sleep` or `Timer` is due, by the same clock.
        deadline: Option<u64>,
        /// The instance id of the agent that is asked; empty for acts without one.
        agent: Option<String>,
    },
    Outcome {
        step: StepId,
        outcome: Outcome,
        at: u64,
        /// How many raw bytes of the step's output are in the log; the machine does not look at it. None of a step
        /// that has printed nothing, and in journals that are older than the field.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        raw: Option<u64>,
    },
    Event {
        key: String,
        event: Event,
        at: u64,
    },
}

/// What reaches a build from outside, through the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// A user or the controller ends the build. The second time, `post` and `finally` are not waited for.
    Abort { by: String },
}
