//! Everything that can change in a home: one variant per business event. A write is applied whole or not at all.
//!
//! What holds for all of them:
//! - A refused write changes nothing. Where several refusals apply, any of them may be given.
//! - A replica is *live* while the membership has this very incarnation and not as `stopped`. There is one membership
//!   row per name: its newest incarnation. Refusals for the membership are `Fenced { current: None }`.
//! - Names are looked up exactly as they were given; only uniqueness ignores case (`JobName::key`, `NodeName::key`).
//! - Ids and incarnations come from counters that begin with 1 and never give a number twice.
//! - Whoever got [`crate::Error::Unknown`] may do the same write again. All but `Join`, `Beat`, `LinkUp` (one more of
//!   each) and `ConfigureItem` (one more version) change nothing the second time. `TakeBuild`, `Adopt` and `Progress`
//!   answer the same again; others say that it is done already: `Bool(false)`, `Exists`, `NotFound`.
//! - What is below [`crate::archive::prefix`] of a build is garbage, as that prefix and `/`, when the build goes whose log was to
//!   become an object or was one.
//! - Any other object key is named by one index row. When that row goes or names another key, the key is *garbage*
//!   ([`crate::Builds::garbage`]) until `ForgetObjects`, or until a row names it again.

use std::collections::BTreeMap;

use model::level::LevelTooHigh;
use model::{
    BuildId, BuildResult, Cause, Fence, JobName, Millis, NodeName, ParamValue, QueueId, ReplicaId,
    ReplicaName, ReplicaState, RestartWhen, RolloutReport,
};

use crate::entity::{
    ApiToken, ArchivedLog, Chunk, Hidden, ItemKind, Left, Load, Node, ObjectPlace, Offline, QueueItem,
    Session, User, UserEdit,
};
use crate::{Error, Result};

/// Most queue items that wait at once.
pub const MAX_QUEUE: u64 = 100_000;
/// Largest journal record.
pub const MAX_RECORD: usize = 64 * 1024;
/// Most records of one journal.
pub const MAX_RECORDS: i64 = 1_000_000;
/// Most users of a controller.
pub const MAX_USERS: u64 = 10_000;
/// Most sessions of one user.
pub const MAX_SESSIONS: usize = 100;
/// Most API tokens of one user.
pub const MAX_TOKENS: usize = 100;
/// The lowest number that a build or a membership of an epoch gets: agents may still hold builds, and replicas memberships,
/// under the numbers that a store which was set back in time would give once more.
pub fn first_id(epoch: u32) -> i64 {
    (i64::from(epoch.saturating_sub(1)) << 32) + 1
}

/// Bytes of the reason of a quiet period.
pub const MAX_REASON: usize = 1_000;
/// Bytes that the holder of a lease can leave.
pub const MAX_NOTE: usize = 16 * 1024;
/// Bytes of the address of a place of objects.
pub const MAX_PLACE: usize = 4_000;
/// Bytes of a report on a rollout, as JSON.
pub const MAX_REPORT: usize = 16 * 1024;
/// Highest epoch that a [`Fence`] can show.
pub const MAX_EPOCH: u32 = 0x007f_ffff;

#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    // -- home --------------------------------------------------------------------------------
    /// First start: gives the home its identity; a later one only reads it, whatever it brings.
    /// → `Answer::Controller` (the identity that is stored)
    Identify { controller: String },
    /// The store was set back in time: new fences must be above `above`. The epoch becomes `above + 1` unless it is
    /// that high already. → `Answer::Epoch` (the epoch now); `Error::Limit` (above [`MAX_EPOCH`])
    RaiseEpoch { above: u32 },
    /// The home may contain what `level` brings, if each live member knows it. → `Answer::Level` (the home's now, which
    /// is never lowered)
    RaiseLevel { level: i64 },
    /// With a reason no build leaves the queue; those that run go on. → `Answer::Unit`;
    /// `Error::Limit` (the reason is longer than [`MAX_REASON`])
    SetQuiet { reason: Option<String> },
    /// Replicas are to be restarted, one after the other, if no more restarts than `seen` were asked for so far: who asks
    /// meanwhile is served by the same one. With `reload` they run then what is installed as their program: a restart
    /// without serves nobody who asks for that, and one that was withdrawn nobody. → `Answer::Id` (number of the last restart)
    AskRestart { seen: i64, when: RestartWhen, by: String, reload: bool },
    /// The restart of that number is not to be carried out any more, if it is the last one. → `Answer::Bool` (false: a later
    /// one was asked for)
    WithdrawRestart { number: i64 },
    /// How the rollout stands, for whoever asks. → `Answer::Unit`; `Error::Limit` (longer than [`MAX_REPORT`])
    ReportRollout { report: RolloutReport },
    /// Objects are in `place` from now on (`None`: with the store). With the same place twice it only asks whether that may be
    /// begun with. Those who have joined so far must have ended, unless the place stays: they would go on where objects were.
    /// → `Answer::Bool` (false: objects are not where they `was`, or somebody has joined since [`crate::Meta::joined`] was
    /// `joined`; nothing was changed); `Error::Conflict` (a build runs, or something names an object); `Error::Limit`
    /// ([`MAX_PLACE`])
    PlaceObjects { was: Option<ObjectPlace>, place: Option<ObjectPlace>, joined: i64 },

    // -- users -------------------------------------------------------------------------------
    // Ids of users are equal in lower case, as in Jenkins, wherever they are given.
    /// Creates the user, with an API token, if there is no user at all. → `Answer::Bool` (created; false: nothing was changed)
    CreateFirstUser { user: User, token: Option<ApiToken> },
    /// Creates the user if there is none of that id. → `Answer::Bool` (created; false: nothing was changed);
    /// `Error::Limit` ([`MAX_USERS`])
    CreateUser(User),
    /// With a new password all sessions of the user end. → `Answer::Unit`; `Error::NotFound`; `Error::Conflict` (no
    /// administrator would be left)
    EditUser { id: String, edit: UserEdit },
    /// The same password under another hash; sessions stay. → `Answer::Bool` (false: there is no such user, or its hash is
    /// not `was` any more)
    RehashPassword { id: String, was: Hidden, password: Hidden },
    /// With sessions and tokens. → `Answer::Unit`; `Error::NotFound`; `Error::Conflict` (the last administrator)
    DeleteUser { id: String },
    /// The user has signed in with the password of which `password` is the hash. Of more than [`MAX_SESSIONS`] those that
    /// were not used longest end. → `Answer::Unit`; `Error::NotFound`; `Error::Conflict` (the password is another one now)
    CreateSession { session: Session, password: Hidden },
    /// It was used. → `Answer::Bool` (false: there is none, or it was used later)
    TouchSession { hash: Hidden, at: Millis },
    /// → `Answer::Bool` (false: there is none)
    EndSession { hash: Hidden },
    /// Those that are over at that time go. → `Answer::Unit`
    ForgetSessions { now: Millis },
    /// → `Answer::Unit`; `Error::NotFound` (no such user); `Error::Exists` (id or hash); `Error::Limit` ([`MAX_TOKENS`])
    CreateToken(ApiToken),
    /// → `Answer::Unit`; `Error::NotFound`
    RenameToken { user: String, id: String, name: String },
    /// → `Answer::Bool` (false: the user has none of that id)
    RevokeToken { user: String, id: String },
    /// All but one, if `except` names one. → `Answer::Unit`
    RevokeTokens { user: String, except: Option<String> },
    /// It was used so many times more, the last time then. → `Answer::Bool` (false: there is none, or it was used then or
    /// later already, and nothing was counted)
    UseToken { id: String, at: Millis, uses: u64 },
    /// Whether who has not signed in may look. → `Answer::Unit`
    AllowAnonymousRead { allowed: bool },

    // -- membership and leases ---------------------------------------------------------------
    /// A new incarnation in state `waiting` with beat 0 and no load. → `Answer::Joined`. Takes the row of an older
    /// incarnation of the name; what that owned is adoptable at once. If that was live and owned builds, a failover
    /// is noted. Done again it is one more incarnation. `Error::Conflict` (the home is at a level that it does not know)
    Join(Join),
    /// Raises the member's beat and the home's tick by one. → `Answer::Unit`; `Error::Fenced` when the incarnation is
    /// stopped or replaced.
    Beat { me: ReplicaId, load: Load },
    /// → `Answer::Unit`; `Error::Fenced` as `Beat`. The state it has already leaves `since` alone. `Stopped` is the
    /// clean end of a membership: no failover is noted, not even when it still owns builds.
    SetState { me: ReplicaId, state: ReplicaState, at: Millis },
    /// Sets a silent member to `stopped`, if its beat still is `beat` (`None`: whatever its beat, by the word of
    /// its parent or a refused connection). Notes a failover when it owned builds: one row per incarnation, with their
    /// count. → `Answer::Bool` (it was live; false: stopped, replaced, unknown, or its beat went on)
    Lapse { who: ReplicaId, beat: Option<i64>, at: Millis },
    /// Takes the lease if its fence still is `seen` (`None`: never held) and nobody live holds it; the new fence is
    /// `seen.next(epoch)`, the first of the epoch when it was never held. → `Answer::Acquired` (`None`: not taken).
    /// For its live holder with `seen` its own fence nothing changes and the answer is that fence: whoever does not know
    /// the outcome reads the lease and asks again. `Error::Fenced` (`me` not live)
    AcquireLease { lease: String, me: ReplicaId, seen: Option<Fence>, at: Millis },
    /// The lease has no holder then; its fence and `since` stay. `me` need not be live.
    /// → `Answer::Bool` (it was held by `me` under `fence`)
    ReleaseLease { lease: String, me: ReplicaId, fence: Fence },
    /// What the holder of a lease leaves for whoever holds it next; it stays when the lease is released or passes on.
    /// → `Answer::Unit`; `Error::Fenced` with the fence of the lease (not held by `me` under `fence`, or `me` not live);
    /// `Error::Limit` (longer than [`MAX_NOTE`])
    NoteLease { lease: String, me: ReplicaId, fence: Fence, note: String },
    /// A build of the lost incarnation was adopted or has gone on; keeps the latest, as milliseconds after the loss (0
    /// when the clock says it was before). → `Answer::Unit`, also when no failover of it was noted
    NoteFailover { lost: i64, adopted_at: Option<Millis>, resumed_at: Option<Millis> },

    // -- jobs --------------------------------------------------------------------------------
    /// Version 1, next build 1. → `Answer::Id`; `Error::Exists` also for a name that differs by case only;
    /// `Error::NotFound` (what it is to be in does not exist or is no folder)
    CreateItem { name: JobName, kind: ItemKind, config: String, disabled: bool, at: Millis },
    /// Raises the version by one. What waits in the queue stays there. → `Answer::Unit`; `Error::NotFound`
    ConfigureItem { name: JobName, config: String, disabled: bool },
    /// Everything of it stays, whatever runs or waits, and what is in a folder stays in it; `to` is in the folder of `name`.
    /// → `Answer::Unit`; `Error::NotFound`; `Error::Exists` (an item has that name, were it this one; one that differs
    /// from its own by case only may be given); `Error::Conflict` (`to` is in another folder, or too long for what is
    /// in this one)
    RenameItem { name: JobName, to: JobName },
    /// With all builds, all queue items (those that left too), and all items of a folder.
    /// → `Answer::Objects` (keys that nothing names any more, each once, in order; they are garbage now);
    /// `Error::NotFound`; `Error::Conflict` while a build of it, or of anything in it, runs
    DeleteItem { name: JobName },

    // -- nodes -------------------------------------------------------------------------------
    /// With `offline` as given. → `Answer::Unit`; `Error::Exists` also for a name that differs by case only
    CreateNode(Node),
    /// → `Answer::Unit`; `Error::NotFound`. Keeps `offline`. Executors in use above the new number stay until released.
    ConfigureNode(Node),
    /// With its link. → `Answer::Unit`; `Error::NotFound`; `Error::Conflict` while one of its executors is in use
    DeleteNode { name: NodeName },
    /// → `Answer::Unit`; `Error::NotFound`
    SetNodeOffline { name: NodeName, offline: Option<Offline> },
    /// The newest link of the node, whether or not the one before has ended. → `Answer::Linked` (its number: one more
    /// than the one before, 1 for the first); `Error::NotFound` (no such node); `Error::Fenced` (not a live member)
    LinkUp { node: NodeName, holder: ReplicaId, instance: String, info: String, at: Millis },
    /// Only if `number` is still the newest and has a holder: then it has none, and the reason.
    /// → `Answer::Bool` (false: nothing was changed)
    LinkDown { node: NodeName, number: i64, reason: String, at: Millis },

    // -- queue -------------------------------------------------------------------------------
    /// → `Answer::Queued`; `Error::NotFound`, `Error::Conflict` (“… is disabled”, or a folder), `Error::Limit`
    /// ([`MAX_QUEUE`] wait). An equal item (job, params) that still waits is given back instead: causes it has not
    /// are joined (`model::join_causes`), the earlier `buildable_at` counts, `since` stays.
    Enqueue(Enqueue),
    /// → `Answer::Bool` (it was there; false: unknown or left already)
    CancelQueued { id: QueueId, at: Millis },
    /// The item leaves the queue and its build begins, owned by `owner`: it gets the job's next number, the fence
    /// `Fence::first(epoch)`, `seq` 0 and an empty log. Done again by the same owner, while that still drives the build, it
    /// answers the same and changes nothing. Whether `buildable_at` has come is the scheduler's business.
    /// With an `executor` it has that from its begin on, as by `Grant` for its step `0`.
    /// → `Answer::Taken`; `Error::NotFound` (unknown, or left already); `Error::Conflict` (`exclusive`, and a build of
    /// the job runs; or the executor is none that `Grant` would give); `Error::Fenced` (owner not live)
    TakeBuild {
        id: QueueId,
        owner: ReplicaId,
        exclusive: bool,
        behaviour: u32,
        at: Millis,
        executor: Option<Executor>,
    },
    /// Gives a waiting `node` step an executor: executor row, inbox row `granted:STEP` with `body`, wait row gone.
    /// → `Answer::Bool` (false, and nothing changed: no such wait; no such node, or it is offline, or its newest link has
    /// no live holder; no such slot, or it is taken). Whether the label suits is the scheduler's business.
    Grant { wait: i64, node: NodeName, slot: u32, body: String },
    /// Forgets queue items that left before `before`. → `Answer::Unit`
    ForgetLeft { before: Millis },

    // -- running builds ----------------------------------------------------------------------
    /// The guarded write of a build: it happens if the `running` row has (build, fence, seq).
    /// → `Answer::Unit`, also when the row has this fence and `seq + 1`: then this very write was committed before and
    /// nothing changes. `Error::Fenced` otherwise, with the row's fence, `None` when the build does not run (after an
    /// unknown `Finish`, read the build). `Error::Limit`: a record above [`MAX_RECORD`], or more than [`MAX_RECORDS`].
    /// `Error::Corrupt`: `first_record` is not the journal's length (looked at when there are records); the chunks do
    /// not lead without gap or overlap from the committed log end to `log_end`; a chunk without bytes; an effect after
    /// `Finish`.
    Progress(Box<Progress>),
    /// Takes over a build whose fence still is `seen`; the new one is `seen.next(epoch)`, `seq` and log stay. Whether the
    /// former owner is gone is the caller's business. When `owner` drives it under `seen.next(epoch)` already, it
    /// answers the same and changes nothing.
    /// → `Answer::Adopted`; `Error::Fenced` (somebody else did, or it has ended, or owner not live)
    Adopt { build: BuildId, seen: Fence, owner: ReplicaId },
    /// → `Answer::Bool` (false: this key was delivered before, consumed or not); `Error::NotFound` when the build does
    /// not run
    Deliver { build: BuildId, key: String, body: String },

    // -- history -----------------------------------------------------------------------------
    /// Its row, journal, log and artifacts go; the job's next number stays, its last result is that of the newest
    /// completed build left. → `Answer::Objects` as `DeleteItem`; `Error::NotFound`; `Error::Conflict` while it runs or
    /// is kept (as Jenkins has it; `DeleteItem` deletes kept ones too). With `build`, only if it is that one: the job may
    /// have been renamed, and another one have its name.
    DeleteBuild { job: JobName, number: u64, build: Option<BuildId> },
    /// Its artifacts go, the build stays. → `Answer::Objects` as `DeleteItem`; `Error::NotFound` (no such build of the job,
    /// which may have been renamed); `Error::Conflict` while it runs or is kept
    DeleteArtifacts { job: JobName, number: u64, build: BuildId },
    /// → `Answer::Unit`; `Error::NotFound`
    KeepBuild { job: JobName, number: u64, keep: bool },
    /// The log of a build that has ended is this object from now on, and what the store itself has of it is left to `Erase`.
    /// The first one counts. → `Answer::Bool` (the log is this object; false: it is another one, it was not to become one, the
    /// build is gone, or so is the object, where the store keeps objects itself); `Error::Conflict` (its key is not below
    /// [`crate::archive::prefix`])
    LogArchived { build: BuildId, log: ArchivedLog },
    /// Deletes a piece of the journals and logs that deleted builds and archived logs have left: they may be too much for one
    /// transaction, which all other writes would wait for. Nobody reads them any more. → `Answer::Bool` (false: nothing was
    /// left)
    Erase,
    /// Objects were deleted: their keys need not be kept as garbage. → `Answer::Unit`, also for unknown keys
    ForgetObjects { keys: Vec<String> },
}

/// What a build begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executor {
    pub node: NodeName,
    pub slot: u32,
    /// For the inbox.
    pub body: String,
}

impl Executor {
    /// The step that has it.
    pub const STEP: &str = "0";
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
    /// The incarnation that writes. A store that was set back may have given the same fence to two.
    pub owner: i64,
    pub fence: Fence,
    /// As the owner last wrote it; becomes `seq + 1`.
    pub seq: i64,
    /// Index in the journal of the first of `records`, so the journal's length before them.
    pub first_record: i64,
    pub records: Vec<bytes::Bytes>,
    pub chunks: Vec<Chunk>,
    /// The log's end after `chunks`.
    pub log_end: u64,
    pub effects: Vec<Effect>,
}

/// What a guarded write changes besides journal and log; in order. None of them can be refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// The source of the program, by its hash; kept while a build names it. A build may name several.
    Source { hash: String, text: String },
    /// A `node` step waits for an executor. Nothing when it waits already.
    WaitNode { step: String, label: Option<String>, since: Millis },
    /// It does not wait any more (cancelled). Nothing when it does not wait.
    CancelWait { step: String },
    /// The executor granted to the `node` step is free. Nothing when it has none.
    ReleaseExecutor { step: String },
    /// The inbox row is journaled by this write: it is read no more, and its key stays taken until the build ends.
    /// Nothing when there is no such row.
    Consume { key: String },
    /// Replaces the one before.
    DisplayName { name: String },
    /// Replaces the one before.
    Description { text: String },
    /// The result so far, as given: whether it may get better is the engine's business.
    Result { result: BuildResult },
    /// The committed index row decides which object is the artifact. The object it named before is garbage.
    Artifact { path: String, size: u64, object: String },
    /// As `Artifact`, until the build ends.
    Stash { name: String, size: u64, object: String },
    /// As [`Write::Enqueue`], but nothing when that would be refused: what it is to tell was told before.
    Enqueue(Enqueue),
    /// The build has ended: the `running` row, waits, executors, inbox and stashes go (their objects are garbage). The
    /// job's last result is this one unless a newer build has completed. Journal, log and artifacts stay. Comes last.
    /// With `archive` the log is to become an object ([`crate::Builds::to_archive`]).
    Finish { result: BuildResult, at: Millis, archive: bool },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Unit,
    Bool(bool),
    Id(i64),
    Controller(String),
    Epoch(u32),
    Level(i64),
    Joined {
        incarnation: i64,
        epoch: u32,
    },
    Acquired(Option<Fence>),
    Linked {
        number: i64,
    },
    /// `existing`: an equal item waited already.
    Queued {
        id: QueueId,
        existing: bool,
    },
    Taken(Taken),
    Adopted(Adopted),
    Objects(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub build: BuildId,
    pub number: u64,
    /// The incarnation that it was given to.
    pub owner: i64,
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

/// Of a replica that wants to join a home at a higher level than it knows.
pub fn too_high(home: i64, known: i64) -> Error {
    Error::Conflict(LevelTooHigh { home, known }.to_string())
}

/// Refuses the reason of a quiet period that is too long.
pub fn check_reason(reason: Option<&str>) -> Result<()> {
    match reason {
        Some(reason) if reason.len() > MAX_REASON => {
            Err(Error::Limit(format!("the reason has {} bytes, {MAX_REASON} are possible", reason.len())))
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses a place of objects whose address is too long.
pub fn check_place(place: Option<&ObjectPlace>) -> Result<()> {
    match place.map_or(0, |place| place.id.len().saturating_add(place.address.len())) {
        size if size > MAX_PLACE => {
            Err(Error::Limit(format!("the place of objects has {size} bytes, {MAX_PLACE} are possible")))
        }
        _ => Ok(()),
    }
}

/// Why a home does not take another place for its objects.
pub fn place_stays() -> Error {
    Error::Conflict("a build runs, or objects are kept".to_owned())
}

/// Refuses a note of a lease that is too long.
pub fn check_note(note: &str) -> Result<()> {
    match note.len() {
        size if size > MAX_NOTE => {
            Err(Error::Limit(format!("the note has {size} bytes, {MAX_NOTE} are possible")))
        }
        _ => Ok(()),
    }
}

/// A report as it is stored; refuses one that is too long.
pub fn report_json(report: &RolloutReport) -> Result<String> {
    let json =
        serde_json::to_string(report).map_err(|e| Error::Limit(format!("the report has no JSON: {e}")))?;
    match json.len() {
        size if size > MAX_REPORT => {
            Err(Error::Limit(format!("the report has {size} bytes, {MAX_REPORT} are possible")))
        }
        _ => Ok(json),
    }
}
