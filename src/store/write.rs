//! Everything that can change in a home: one variant per business event. A write is applied whole or not at all.

use std::collections::BTreeMap;

use model::{BuildId, BuildResult, Cause, Fence, JobName, Millis, NodeName, ParamValue, QueueId, ReplicaId, ReplicaName, ReplicaState};

use crate::entity::{Chunk, ItemKind, Left, Load, Node, Offline, QueueItem, User};

/// Most queue items at once.
pub const MAX_QUEUE: u64 = 100_000;
/// Largest journal record.
pub const MAX_RECORD: usize = 64 * 1024;
/// Most records of one journal.
pub const MAX_RECORDS: i64 = 1_000_000;

#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    // -- home --------------------------------------------------------------------------------
    /// First start: gives the home its identity; a later one only reads it. → `Answer::Controller`
    Identify { controller: String },
    /// The store was set back in time: new fences must be above `above`. → `Answer::Epoch`
    RaiseEpoch { above: u32 },
    /// Creates the user if there is none of that id. → `Answer::Bool` (created)
    CreateUser(User),

    // -- membership and leases ---------------------------------------------------------------
    /// → `Answer::Joined`. Replaces an older incarnation of the name; what that owned is adoptable at once.
    Join(Join),
    /// → `Answer::Unit`; `Error::Fenced` when the incarnation is stopped or replaced.
    Beat { me: ReplicaId, load: Load },
    /// → `Answer::Unit`; `Error::Fenced` as `Beat`. `Stopped` is the clean end of a membership.
    SetState { me: ReplicaId, state: ReplicaState, at: Millis },
    /// Sets a silent member to `stopped`, if its beat still is `beat` (`None`: whatever its beat, by the word of
    /// its parent or a refused connection). Notes a failover when it owned builds. → `Answer::Bool` (it was live)
    Lapse { who: ReplicaId, beat: Option<i64>, at: Millis },
    /// Takes the lease if its fence still is `seen` (`None`: never held) and nobody live holds it.
    /// → `Answer::Acquired`
    AcquireLease { lease: String, me: ReplicaId, seen: Option<Fence>, at: Millis },
    /// → `Answer::Bool` (it was held under `fence`)
    ReleaseLease { lease: String, me: ReplicaId, fence: Fence },
    /// A build of the lost incarnation was adopted or has gone on; keeps the latest. → `Answer::Unit`
    NoteFailover { lost: i64, adopted_at: Option<Millis>, resumed_at: Option<Millis> },

    // -- jobs --------------------------------------------------------------------------------
    /// → `Answer::Id`; `Error::Exists` also for a name that differs by case only; `Error::NotFound` (no such folder)
    CreateItem { name: JobName, kind: ItemKind, config: String, disabled: bool, at: Millis },
    /// → `Answer::Unit`; `Error::NotFound`
    ConfigureItem { name: JobName, config: String, disabled: bool },
    /// With all builds, and all items of a folder. → `Answer::Objects` (keys that nothing names any more);
    /// `Error::Conflict` while a build runs
    DeleteItem { name: JobName },

    // -- nodes -------------------------------------------------------------------------------
    /// → `Answer::Unit`; `Error::Exists`
    CreateNode(Node),
    /// → `Answer::Unit`; `Error::NotFound`. Keeps `offline`.
    ConfigureNode(Node),
    /// → `Answer::Unit`; `Error::NotFound`; `Error::Conflict` while one of its executors is in use
    DeleteNode { name: NodeName },
    /// → `Answer::Unit`; `Error::NotFound`
    SetNodeOffline { name: NodeName, offline: Option<Offline> },
    /// → `Answer::Linked` (the new link number); `Error::NotFound` (no such node); `Error::Fenced` (not a live member)
    LinkUp { node: NodeName, holder: ReplicaId, instance: String, info: String, at: Millis },
    /// Only if `number` is still the newest. → `Answer::Bool`
    LinkDown { node: NodeName, number: i64, reason: String, at: Millis },

    // -- queue -------------------------------------------------------------------------------
    /// → `Answer::Queued`; `Error::NotFound`, `Error::Conflict` (disabled, not buildable), `Error::Limit`.
    /// An equal item (job, params) that still waits is given back instead, its causes joined.
    Enqueue(Enqueue),
    /// → `Answer::Bool` (it was there)
    CancelQueued { id: QueueId, at: Millis },
    /// The item leaves the queue and its build begins, owned by `owner`. Done again by the same owner it answers the same.
    /// → `Answer::Taken`; `Error::NotFound` (left already); `Error::Conflict` (`exclusive`, and one runs);
    /// `Error::Fenced` (owner not live)
    TakeBuild { id: QueueId, owner: ReplicaId, exclusive: bool, behaviour: u32, at: Millis },
    /// Gives a waiting `node` step an executor: executor row, inbox row `granted:STEP` with `body`, wait row gone.
    /// → `Answer::Bool` (false: taken by another, or no longer wanted)
    Grant { wait: i64, node: NodeName, slot: u32, body: String },
    /// Forgets queue items that left before `before`. → `Answer::Unit`
    ForgetLeft { before: Millis },

    // -- running builds ----------------------------------------------------------------------
    /// The guarded write of a build. → `Answer::Unit` (also when this very write was committed before);
    /// `Error::Fenced`
    Progress(Box<Progress>),
    /// Takes over a build whose fence still is `seen`. → `Answer::Adopted`; `Error::Fenced` (somebody else did, or it has ended, or owner not live)
    Adopt { build: BuildId, seen: Fence, owner: ReplicaId },
    /// → `Answer::Bool` (false: there already); `Error::NotFound` when the build does not run
    Deliver { build: BuildId, key: String, body: String },

    // -- history -----------------------------------------------------------------------------
    /// → `Answer::Objects`; `Error::NotFound`; `Error::Conflict` while it runs
    DeleteBuild { job: JobName, number: u64 },
    /// → `Answer::Unit`; `Error::NotFound`
    KeepBuild { job: JobName, number: u64, keep: bool },
    /// Objects were deleted: their keys need not be kept. → `Answer::Unit`
    ForgetObjects { keys: Vec<String> },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    pub name: ReplicaName,
    pub ordinal: u32,
    pub pid: u32,
    pub address: String,
    pub revision: String,
    pub version: String,
    pub level: i64,
    pub behaviour: u32,
    pub at: Millis,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Enqueue {
    pub job: JobName,
    pub params: BTreeMap<String, ParamValue>,
    pub causes: Vec<Cause>,
    pub at: Millis,
    pub buildable_at: Millis,
}

/// One guarded write: nothing of it happens unless `running` still has this fence and `seq`.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub build: BuildId,
    pub fence: Fence,
    /// As the owner last wrote it; becomes `seq + 1`.
    pub seq: i64,
    /// Index in the journal of the first of `records`.
    pub first_record: i64,
    pub records: Vec<bytes::Bytes>,
    pub chunks: Vec<Chunk>,
    /// The log's end after `chunks`.
    pub log_end: u64,
    pub effects: Vec<Effect>,
}

/// What a guarded write changes besides journal and log.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// The source of the program, by its hash; kept while a build names it.
    Source { hash: String, text: String },
    /// A `node` step waits for an executor.
    WaitNode { step: String, label: Option<String>, since: Millis },
    /// It does not wait any more (cancelled).
    CancelWait { step: String },
    /// The executor granted to the `node` step is free.
    ReleaseExecutor { step: String },
    /// The inbox row is journaled by this write.
    Consume { key: String },
    DisplayName { name: String },
    Description { text: String },
    /// The result so far.
    Result { result: BuildResult },
    /// The committed index row decides which object is the artifact.
    Artifact { path: String, size: u64, object: String },
    Stash { name: String, size: u64, object: String },
    /// The build has ended: the `running` row, waits, executors, inbox and stashes go.
    Finish { result: BuildResult, at: Millis },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Unit,
    Bool(bool),
    Id(i64),
    Controller(String),
    Epoch(u32),
    Joined { incarnation: i64, epoch: u32 },
    Acquired(Option<Fence>),
    Linked { number: i64 },
    /// `existing`: an equal item waited already.
    Queued { id: QueueId, existing: bool },
    Taken(Taken),
    Adopted(Adopted),
    Objects(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub build: BuildId,
    pub number: u64,
    pub fence: Fence,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    pub fence: Fence,
    pub seq: i64,
    pub log_end: u64,
}

impl QueueItem {
    /// Waits still.
    pub fn waiting(&self) -> bool {
        match self.left {
            None => true,
            Some(Left::Built { .. } | Left::Cancelled) => false,
        }
    }
}
