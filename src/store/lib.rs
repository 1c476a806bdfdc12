//! What can be read and written, whatever engine keeps it.
//!
//! A change is a [`Write`], a value; a store applies it whole or not at all and answers after the commit. Reads come in
//! small traits by subject. [`memory`] is the store of unit tests and of the simulation; `contract` is the suite that
//! every store must pass. No SQL here, no decision.

#[macro_use]
mod reads;

pub mod archive;
#[cfg(feature = "contract")]
pub mod contract;
mod entity;
mod failing;
pub mod memory;
mod write;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use model::{BuildId, BuildResult, Fence, JobName, NodeName, QueueId, ReplicaId};

pub use entity::*;
pub use failing::{Failing, Fault};
pub use memory::{Memory, MemoryObjects};
pub use write::*;

/// Why a write or read gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The writer has lost what it wrote for: the build, the membership. `current` is the fence of a build that runs,
    /// `None` for a build that does not and for a membership.
    #[error("fence is stale{}", .current.map(|f| format!(", the current one is {f}")).unwrap_or_default())]
    Fenced { current: Option<Fence> },
    #[error("{0} does not exist")]
    NotFound(String),
    #[error("{0} exists already")]
    Exists(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Limit(String),
    /// Nothing was changed; the same may work later.
    #[error("the store is away: {0}")]
    Unavailable(String),
    /// The connection ended during the commit: it happened or not.
    #[error("the store did not say whether it committed: {0}")]
    Unknown(String),
    /// What is stored can't be read: a bug or a damaged home.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
}

impl Error {
    /// Stable label for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Fenced { .. } => "Fenced",
            Error::NotFound(_) => "NotFound",
            Error::Exists(_) => "Exists",
            Error::Conflict(_) => "Conflict",
            Error::Limit(_) => "Limit",
            Error::Unavailable(_) => "Unavailable",
            Error::Unknown(_) => "Unknown",
            Error::Corrupt(_) => "Corrupt",
        }
    }

    /// Whether the same call may succeed later without anybody's doing.
    pub fn passing(&self) -> bool {
        matches!(self, Error::Unavailable(_) | Error::Unknown(_))
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Applies writes.
#[async_trait]
pub trait Writer: Send + Sync + 'static {
    /// Answers after the commit. Writes of one caller that are awaited in turn keep their order.
    async fn write(&self, write: Write) -> Result<Answer>;
}

#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// A new home has no controller (empty), level 1, epoch 1, tick 0.
    async fn meta(&self) -> Result<Meta>;
    /// By ordinal and name, stopped ones too; one row per name.
    async fn members(&self) -> Result<Vec<Member>>;
    /// By name, released ones too.
    async fn leases(&self) -> Result<Vec<Lease>>;
    /// Newest first: by `at`, then by incarnation.
    async fn failovers(&self, limit: u32) -> Result<Vec<Failover>>;
}

/// Ids of users are equal in lower case.
#[async_trait]
pub trait Users: Send + Sync + 'static {
    async fn user(&self, id: &str) -> Result<Option<User>>;
    /// By the bytes of [`user_key`]; those above `after` when given (which need not exist).
    async fn users(&self, after: Option<&str>, limit: u32) -> Result<Vec<User>>;
    /// Also one that is over, until it is forgotten.
    async fn session(&self, hash: &Hidden) -> Result<Option<Session>>;
    /// Those of one user, used last first, then by hash.
    async fn sessions(&self, user: &str) -> Result<Vec<Session>>;
    async fn token(&self, hash: &Hidden) -> Result<Option<ApiToken>>;
    /// Those of one user, by creation, then by id.
    async fn tokens(&self, user: &str) -> Result<Vec<ApiToken>>;
    /// Whether who has not signed in may look. Not in a new home.
    async fn anonymous_read(&self) -> Result<bool>;
}

#[async_trait]
pub trait Items: Send + Sync + 'static {
    async fn item(&self, name: &JobName) -> Result<Option<Item>>;
    /// Direct children of a folder (or the top level), by the bytes of `JobName::key`. `limit` at most, those above `after`
    /// when given (which need not exist). Nothing for a folder that does not exist.
    async fn children(
        &self,
        parent: Option<&JobName>,
        after: Option<&JobName>,
        limit: u32,
    ) -> Result<Vec<ItemSummary>>;
    /// All jobs, in folders too, in numbers.
    async fn job_counts(&self) -> Result<JobCounts>;
}

/// Which build of a job: a number or a permalink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Number(u64),
    First,
    Last,
    LastCompleted,
    /// `SUCCESS` only.
    LastStable,
    /// `SUCCESS` or `UNSTABLE`.
    LastSuccessful,
    LastUnstable,
    LastFailed,
    /// Completed and not `SUCCESS`.
    LastUnsuccessful,
    /// The newest below this number.
    Before(u64),
    /// The oldest above this number.
    After(u64),
}

impl Which {
    /// Whether a completed build with this result is meant; for the four that look at results.
    pub fn wants(self, result: BuildResult) -> bool {
        match self {
            Which::LastStable => result == BuildResult::Success,
            Which::LastSuccessful => result <= BuildResult::Unstable,
            Which::LastUnstable => result == BuildResult::Unstable,
            Which::LastFailed => result == BuildResult::Failure,
            Which::LastUnsuccessful => result != BuildResult::Success,
            Which::Number(_)
            | Which::First
            | Which::Last
            | Which::LastCompleted
            | Which::Before(_)
            | Which::After(_) => true,
        }
    }
}

/// Numbers of builds that one [`Tally`] looks at.
pub const NEWEST: usize = 6;
/// Most records of one answer of [`Builds::journal`].
pub const JOURNAL_RECORDS: usize = 1_000;
/// Most bytes of one answer of [`Builds::journal`].
pub const JOURNAL_BYTES: usize = 4 * 1024 * 1024;
/// Most numbers of one answer of [`Builds::journal_numbers`].
pub const JOURNAL_NUMBERS: usize = 10_000;
/// Most chunks of one answer of [`Logs::chunks`] from the store itself: some MB, as large as chunks become.
pub const CHUNKS: usize = 32;

#[async_trait]
pub trait Builds: Send + Sync + 'static {
    /// Running builds count for `Number`, `First`, `Last`, `Before` and `After`. `None` also when there is no such job.
    async fn build(&self, job: &JobName, which: Which) -> Result<Option<Build>>;
    async fn build_by_id(&self, id: BuildId) -> Result<Option<Build>>;
    /// Newest first, with numbers below `below` when given.
    async fn builds(&self, job: &JobName, below: Option<u64>, limit: u32) -> Result<Vec<Build>>;
    /// Jobs with ids above `after`, by id, with their builds in numbers.
    async fn tallies(&self, after: i64, limit: u32) -> Result<Vec<Tally>>;
    /// All running builds, or those of one owner, by build.
    async fn running(&self, owner: Option<i64>) -> Result<Vec<Running>>;
    /// Of these builds, in their order, those that are over: they have ended, or they are not there although a build of a
    /// higher id is (deleted). One above all that are there may be from a time after the one to which this store was set
    /// back; nothing is known of it, and it is not listed.
    async fn over(&self, builds: &[BuildId]) -> Result<Vec<BuildId>>;
    /// In order, from index `from` on; at most [`JOURNAL_RECORDS`] records or [`JOURNAL_BYTES`] bytes a call, but at least one
    /// if there is one. Stays when the build has ended. Nothing for an unknown build.
    async fn journal(&self, build: BuildId, from: i64) -> Result<Vec<bytes::Bytes>>;
    /// The numbers of its records from `from` on, in order; at most [`JOURNAL_NUMBERS`] a call. For those who look for damage:
    /// `journal` does not show a hole.
    async fn journal_numbers(&self, build: BuildId, from: i64) -> Result<Vec<i64>>;
    /// How many records it has by its running row. `None`: it does not run.
    async fn recorded(&self, build: BuildId) -> Result<Option<i64>>;
    async fn source(&self, hash: &str) -> Result<Option<String>>;
    /// In the order of their delivery, without what was consumed.
    async fn inbox(&self, build: BuildId) -> Result<Vec<InboxRow>>;
    /// Builds that have inbox rows, of those that `owner` drives; each once, by build.
    async fn with_inbox(&self, owner: i64) -> Result<Vec<BuildId>>;
    /// Committed raw offset (the highest `raw_to`) of each step that has written output, by step (bytes). The controller's
    /// own output (empty step) is not listed. Asked while the build runs.
    async fn raw_offsets(&self, build: BuildId) -> Result<Vec<(String, u64)>>;
    /// Builds with ids above `after`, by id, that have ended and whose logs are to become objects and are none yet.
    async fn to_archive(&self, after: Option<BuildId>, limit: u32) -> Result<Vec<BuildId>>;
    /// Where the log of a build is, if it is an object.
    async fn archived(&self, build: BuildId) -> Result<Option<ArchivedLog>>;
    /// By path (bytes); those above `after` when given.
    async fn artifacts(&self, build: BuildId, after: Option<&str>, limit: u32) -> Result<Vec<Artifact>>;
    /// Those of the builds that have artifacts, in their order.
    async fn with_artifacts(&self, builds: &[BuildId]) -> Result<Vec<BuildId>>;
    async fn artifact(&self, build: BuildId, path: &str) -> Result<Option<Artifact>>;
    async fn stash(&self, build: BuildId, name: &str) -> Result<Option<Stash>>;
    /// Keys of objects that no index row names any more, in order (bytes): to be deleted, then `Write::ForgetObjects`. One that
    /// ends with `/` means all keys that begin so.
    async fn garbage(&self, limit: u32) -> Result<Vec<String>>;
}

/// Logs of builds, from the store itself or from the objects that they have become: what was read once is read again.
/// `Error::Corrupt`: the object is damaged, or gone though its build is not.
#[async_trait]
pub trait Logs: Send + Sync + 'static {
    /// `max` bytes from `from` on, fewer only at the committed end. `None`: no such build.
    async fn log(&self, build: BuildId, from: u64, max: usize) -> Result<Option<LogSlice>>;
    /// Chunks of its log as they are stored, those that begin at `from` or later, by offset; some MB of them a call, at
    /// least one if there is one. Stay when the build has ended. Nothing for an unknown build.
    async fn chunks(&self, build: BuildId, from: u64) -> Result<Vec<Chunk>>;
}

#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Items that wait, by id, so oldest first.
    async fn queue(&self) -> Result<Vec<QueueItem>>;
    /// Also one that left, until it is forgotten.
    async fn queue_item(&self, id: QueueId) -> Result<Option<QueueItem>>;
    /// By id, so oldest first.
    async fn waits(&self) -> Result<Vec<Wait>>;
    /// Those of one build, by id.
    async fn waits_of(&self, build: BuildId) -> Result<Vec<Wait>>;
    /// The labels that are waited for, each once, in no order; empty for steps that name none.
    async fn wait_labels(&self) -> Result<Vec<String>>;
    /// The first `most` that wait for this label (empty: for none), by id.
    async fn first_waits(&self, label: &str, most: u32) -> Result<Vec<Wait>>;
    /// The executors in use alone, in no order: they are read whenever some are to be given.
    async fn slots(&self) -> Result<Vec<(NodeName, u32)>>;
    /// By node (bytes of `NodeName::key`) and slot.
    async fn busy(&self) -> Result<Vec<Busy>>;
}

#[async_trait]
pub trait Nodes: Send + Sync + 'static {
    /// By the bytes of `NodeName::key`.
    async fn nodes(&self) -> Result<Vec<Node>>;
    async fn node(&self, name: &NodeName) -> Result<Option<Node>>;
    /// By node, as `nodes`; ended ones too.
    async fn links(&self) -> Result<Vec<Link>>;
    /// Number and holder of each of `links`, in their order, without what the agents said about themselves: it is read
    /// every other second.
    async fn link_numbers(&self) -> Result<Vec<(NodeName, i64, Option<ReplicaId>)>>;
    /// The newest link of one node, also when it has ended.
    async fn link(&self, node: &NodeName) -> Result<Option<Link>>;
}

/// All of it.
pub trait Store: Writer + Cluster + Users + Items + Builds + Logs + Queue + Nodes {
    /// Where its objects are.
    fn objects(&self) -> Arc<dyn Objects>;
}

/// Large things by key: artifacts, stashes, results too large for a record, logs of builds that have ended.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// Whole or not at all; a key that exists is replaced. Keys are segments of `[A-Za-z0-9._-]` with `/` between them; no
    /// segment is empty, `.` or `..`. Any other key is refused with `Error::Conflict`, by every call but `delete`.
    async fn put(&self, key: &str, bytes: bytes::Bytes) -> Result<()>;
    /// Begins an object that is written in pieces.
    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>>;
    /// `None`: no such object. `max` bytes from `from` on, fewer at the end.
    async fn get(&self, key: &str, from: u64, max: usize) -> Result<Option<bytes::Bytes>>;
    /// Nothing happens when there is none.
    async fn delete(&self, key: &str) -> Result<()>;
    /// Deletes all objects whose keys begin with `prefix` and `/`, but for those of `keep`, and what uploads that were killed
    /// have left there. Nobody may be writing below the prefix.
    async fn keep_only(&self, prefix: &str, keep: &BTreeSet<String>) -> Result<()>;
}

/// Whether `key` may name an object; every object store asks this first.
pub fn check_key(key: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let segment = |s: &str| !s.is_empty() && s != "." && s != ".." && s.chars().all(good);
    if key.split('/').all(segment) {
        Ok(())
    } else {
        Err(Error::Conflict(format!("{key:?} is no object key")))
    }
}

/// An object being written; it exists once `finish` has answered. Dropped before, nothing stays.
#[async_trait]
pub trait Upload: Send {
    async fn write(&mut self, bytes: bytes::Bytes) -> Result<()>;
    async fn finish(self: Box<Self>) -> Result<()>;
}
