//! What the engine of one replica counts and times.

use std::time::Duration;

use meter::{Counter, Counters, Gauge, Histogram, Histograms, Name, Registry, add, labels, long, quick};
use model::BuildResult;
use pipeline::act::{ActKind, BlockKind};

const DRIVING: Name = Name::new("majordomo_builds_driving", "Builds that this replica drives now");
const STARTED: Name = Name::new("majordomo_builds_started_total", "Builds that began at this replica");
const ENDED: Name = Name::new("majordomo_builds_ended_total", "Builds that ended at this replica, by result");
const ADOPTED: Name = Name::new(
    "majordomo_builds_adopted_total",
    "Builds that this replica took over, from one that was lost or handed them over",
);
const HANDED_OVER: Name = Name::new(
    "majordomo_builds_handed_over_total",
    "Builds that this replica gave to others because it was drained",
);
const FENCED: Name = Name::new(
    "majordomo_builds_fenced_total",
    "Builds that this replica stopped driving because another one drives them",
);
const LASTED: Name = Name::new(
    "majordomo_build_seconds",
    "How long builds took that ended at this replica, from leaving the queue to the end, by result",
);
const ADOPTION: Name = Name::new(
    "majordomo_build_adoption_seconds",
    "From the decision to adopt a build until its journal is replayed and all its agents are claimed",
);
const RESUMPTION: Name = Name::new(
    "majordomo_build_resumption_seconds",
    "From the decision to adopt a build until it has committed something new",
);
const WRITES: Name =
    Name::new("majordomo_build_writes_total", "Writes of builds that were committed under their fence");
const QUEUE_WAIT: Name = Name::new(
    "majordomo_queue_wait_seconds",
    "How long items waited in the queue after their quiet period, of those that this replica took out",
);
const EXECUTOR_WAIT: Name = Name::new(
    "majordomo_executor_wait_seconds",
    "How long node steps waited for an executor, of those that this replica gave one",
);
const STEPS: Name =
    Name::new("majordomo_steps_total", "Steps that builds of this replica have begun, by kind");
const LOG_RECEIVED: Name = Name::new(
    "majordomo_log_received_bytes_total",
    "Output of steps that came from agents, what was sent again after a loss included",
);
const LOG_STORED: Name = Name::new("majordomo_log_stored_bytes_total", "Bytes of logs that were committed");
const ARCHIVED: Name =
    Name::new("majordomo_logs_archived_total", "Logs of ended builds that this replica has made objects of");
const ARCHIVED_BYTES: Name = Name::new(
    "majordomo_logs_archived_bytes_total",
    "Bytes of the logs that this replica has made objects of, before they were packed",
);
const ARCHIVE_FAILURES: Name = Name::new(
    "majordomo_logs_archive_failures_total",
    "Times that this replica could not make an object of a log; the log stays in the database, and it is tried again",
);

labels! {
    /// Result of a build.
    pub enum Ended("result") {
        Success => "success",
        Unstable => "unstable",
        Failure => "failure",
        NotBuilt => "not_built",
        Aborted => "aborted",
    }
}

impl From<BuildResult> for Ended {
    fn from(result: BuildResult) -> Ended {
        match result {
            BuildResult::Success => Ended::Success,
            BuildResult::Unstable => Ended::Unstable,
            BuildResult::Failure => Ended::Failure,
            BuildResult::NotBuilt => Ended::NotBuilt,
            BuildResult::Aborted => Ended::Aborted,
        }
    }
}

labels! {
    /// What a step does.
    pub enum StepKind("kind") {
        Echo => "echo",
        Stage => "stage",
        Branch => "branch",
        Node => "node",
        Sleep => "sleep",
        Timeout => "timeout",
        Process => "process",
        Checkout => "checkout",
        Files => "files",
        Stash => "stash",
        Unstash => "unstash",
        Archive => "archive",
        Trigger => "trigger",
    }
}

impl StepKind {
    /// `None`: bookkeeping of another step.
    pub(crate) fn of(act: &ActKind) -> Option<StepKind> {
        Some(match act {
            ActKind::Echo { .. } => StepKind::Echo,
            ActKind::BlockStart { block: BlockKind::Stage, .. } => StepKind::Stage,
            ActKind::BlockStart { block: BlockKind::Branch, .. } => StepKind::Branch,
            ActKind::Node { .. } => StepKind::Node,
            ActKind::Sleep { .. } => StepKind::Sleep,
            ActKind::Timer { .. } => StepKind::Timeout,
            ActKind::Process(_) => StepKind::Process,
            ActKind::Checkout { .. } => StepKind::Checkout,
            ActKind::ReadFile { .. }
            | ActKind::WriteFile { .. }
            | ActKind::FileExists { .. }
            | ActKind::DeleteDir { .. } => StepKind::Files,
            ActKind::Stash { .. } => StepKind::Stash,
            ActKind::Unstash { .. } => StepKind::Unstash,
            ActKind::ArchiveArtifacts { .. } => StepKind::Archive,
            ActKind::Trigger { .. } => StepKind::Trigger,
            ActKind::BlockEnd { .. }
            | ActKind::SetResult { .. }
            | ActKind::SetDisplayName { .. }
            | ActKind::SetDescription { .. }
            | ActKind::ReleaseNode { .. }
            | ActKind::CancelTimer { .. } => return None,
        })
    }
}

/// Filled by the engine; read when somebody asks.
#[derive(Debug)]
pub struct Metrics {
    pub(crate) driving: Gauge,
    pub(crate) started: Counter,
    pub(crate) ended: Counters<Ended>,
    pub(crate) adopted: Counter,
    pub(crate) handed_over: Counter,
    pub(crate) fenced: Counter,
    pub(crate) lasted: Histograms<Ended>,
    pub(crate) adoption: Histogram,
    pub(crate) resumption: Histogram,
    pub(crate) writes: Counter,
    pub(crate) queue_wait: Histogram,
    pub(crate) executor_wait: Histogram,
    pub(crate) steps: Counters<StepKind>,
    pub(crate) log_received: Counter,
    pub(crate) log_stored: Counter,
    pub(crate) archived: Counter,
    pub(crate) archived_bytes: Counter,
    pub(crate) archive_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            driving: Gauge::default(),
            started: Counter::default(),
            ended: Counters::default(),
            adopted: Counter::default(),
            handed_over: Counter::default(),
            fenced: Counter::default(),
            lasted: Histograms::new(long),
            adoption: quick(),
            resumption: quick(),
            writes: Counter::default(),
            queue_wait: long(),
            executor_wait: long(),
            steps: Counters::default(),
            log_received: Counter::default(),
            log_stored: Counter::default(),
            archived: Counter::default(),
            archived_bytes: Counter::default(),
            archive_failures: Counter::default(),
        }
    }
}

impl Metrics {
    pub fn register(&self, to: &mut Registry) {
        add(to, DRIVING, self.driving.clone());
        add(to, STARTED, self.started.clone());
        self.ended.add_to(to, ENDED);
        add(to, ADOPTED, self.adopted.clone());
        add(to, HANDED_OVER, self.handed_over.clone());
        add(to, FENCED, self.fenced.clone());
        self.lasted.add_to(to, LASTED);
        add(to, ADOPTION, self.adoption.clone());
        add(to, RESUMPTION, self.resumption.clone());
        add(to, WRITES, self.writes.clone());
        add(to, QUEUE_WAIT, self.queue_wait.clone());
        add(to, EXECUTOR_WAIT, self.executor_wait.clone());
        self.steps.add_to(to, STEPS);
        add(to, LOG_RECEIVED, self.log_received.clone());
        add(to, LOG_STORED, self.log_stored.clone());
        add(to, ARCHIVED, self.archived.clone());
        add(to, ARCHIVED_BYTES, self.archived_bytes.clone());
        add(to, ARCHIVE_FAILURES, self.archive_failures.clone());
    }

    pub(crate) fn build_ended(&self, result: BuildResult, lasted: Duration) {
        self.ended.inc(result.into());
        self.lasted.observe(result.into(), lasted);
    }
}
