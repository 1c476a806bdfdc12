//! What the store holds, as values. Filled by the stores, read by everybody above.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use model::{
    BuildId, BuildResult, Cause, Fence, JobName, Millis, NodeName, ParamValue, QueueId, ReplicaId,
    ReplicaState, RestartWhen, RolloutReport,
};
use serde::{Deserialize, Serialize};

/// What a home says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Identity of the controller whose home this is; set by the first start, never changed. Empty before.
    pub controller: String,
    /// Newest formats that it may contain (`model::level`).
    pub level: i64,
    /// Raised when the store was set back in time.
    pub epoch: u32,
    /// Raised by every beat of any member: a store whose tick went down was set back in time.
    pub tick: i64,
    /// Why no build leaves the queue; `None`: builds do.
    pub quiet: Option<String>,
    pub restart: Restart,
    pub rollout: Option<RolloutReport>,
    /// Where objects are; `None`: with the store, in its database or in the folder beside it.
    pub objects: Option<ObjectPlace>,
    /// The newest incarnation: another number when anybody has joined meanwhile.
    pub joined: i64,
}

/// A place of objects that is not the store's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPlace {
    /// Given once; the place itself has it, too, so that it is known under another address and no other is taken for it.
    pub id: String,
    /// How it was named when it became the place of this home. No secret is in it.
    pub address: String,
}

/// The last restart of all replicas that a user has asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restart {
    /// How many were asked for so far.
    pub number: i64,
    pub when: RestartWhen,
    /// Id of the user.
    pub by: String,
    /// Replicas are to run then what is installed as their program.
    pub reload: bool,
    /// It is not to be carried out any more, if nothing of it was done yet.
    pub withdrawn: bool,
}

/// One replica as the membership table has it. The row stays when the replica has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: ReplicaId,
    pub ordinal: u32,
    pub pid: u32,
    /// `host:port` where peers reach it.
    pub address: String,
    pub state: ReplicaState,
    /// When `state` began, by the wall clock of the replica itself.
    pub since: Millis,
    pub revision: String,
    pub version: String,
    /// Newest home level that it knows.
    pub level: i64,
    /// Newest behaviour number of the machine that it knows.
    pub behaviour: u32,
    /// Raised every second while it lives.
    pub beat: i64,
    /// What it drives and holds, by its own word at the last beat.
    pub load: Load,
}

impl Member {
    /// Not `stopped`; a lapsed member is set to `stopped` by whoever noticed.
    pub fn live(&self) -> bool {
        self.state != ReplicaState::Stopped
    }
}

/// What the choice of an owner looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Load {
    pub builds: u32,
    pub agents: u32,
    /// Builds with an act in flight that another owner would have to follow on or do again.
    pub busy: u32,
}

/// A lease that only one live member holds: `startup`, `rollout`, later `cron`, `maintenance`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    /// Counts only while that member is live.
    pub holder: Option<ReplicaId>,
    pub fence: Fence,
    /// When the last holder took it.
    pub since: Millis,
    /// What the last holder has left for the next; empty when none has.
    pub note: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    Folder,
    Pipeline,
    Freestyle,
}

impl ItemKind {
    pub const ALL: [ItemKind; 3] = [ItemKind::Folder, ItemKind::Pipeline, ItemKind::Freestyle];

    pub fn as_str(self) -> &'static str {
        match self {
            ItemKind::Folder => "folder",
            ItemKind::Pipeline => "pipeline",
            ItemKind::Freestyle => "freestyle",
        }
    }

    pub fn parse(text: &str) -> Option<ItemKind> {
        ItemKind::ALL.into_iter().find(|k| k.as_str() == text)
    }

    /// Whether there are builds of it.
    pub fn is_job(self) -> bool {
        match self {
            ItemKind::Folder => false,
            ItemKind::Pipeline | ItemKind::Freestyle => true,
        }
    }
}

/// A job or folder without its configuration: what lists show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemSummary {
    pub id: i64,
    pub name: JobName,
    pub kind: ItemKind,
    pub disabled: bool,
    pub next_build: u64,
    /// Builds that run now.
    pub running: u32,
    /// Result of the newest completed build.
    pub last_result: Option<BuildResult>,
    /// Raised by each change of the configuration.
    pub version: i64,
}

/// How many jobs there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
    pub enabled: u64,
    pub disabled: u64,
}

/// A job with its builds in numbers: what dashboards show of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    pub item: ItemSummary,
    /// Builds that have ended since the job was made, by result in the order of [`BuildResult::ALL`]. Deleted ones too:
    /// these only grow.
    pub ended: [u64; 5],
    /// Milliseconds that those took, together.
    pub took: u64,
    /// Builds that are there, running ones too.
    pub builds: u64,
    /// Those of the last [`crate::NEWEST`] numbers up to the newest that is there, newest first.
    pub newest: Vec<Recent>,
}

/// A build without what only itself is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    pub number: u64,
    pub queued_at: Millis,
    pub started_at: Millis,
    /// `None` while it runs.
    pub ended_at: Option<Millis>,
    /// While it runs: what it has been set to so far.
    pub result: Option<BuildResult>,
    /// Bytes of its log when it ended; 0 before.
    pub log_end: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub summary: ItemSummary,
    /// `config.xml` as it was posted.
    pub config: String,
}

/// A build as its row has it, running or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    pub id: BuildId,
    pub job: JobName,
    pub number: u64,
    pub queue_id: QueueId,
    pub causes: Vec<Cause>,
    pub params: BTreeMap<String, ParamValue>,
    pub queued_at: Millis,
    pub started_at: Millis,
    /// `None` while it runs.
    pub ended_at: Option<Millis>,
    /// While it runs: what it has been set to so far.
    pub result: Option<BuildResult>,
    pub display_name: Option<String>,
    pub description: Option<String>,
    pub keep: bool,
    /// Bytes of log that are committed.
    pub log_end: u64,
    /// Behaviour number of the machine that it keeps for life.
    pub behaviour: u32,
    /// The node whose executor it began with; `None` when it asked for executors as it ran.
    pub built_on: Option<NodeName>,
}

impl Build {
    pub fn building(&self) -> bool {
        self.ended_at.is_none()
    }
}

/// One row of `running`: who drives a build, and how far it is. Adoption and every write of the build update it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub build: BuildId,
    pub job: JobName,
    pub number: u64,
    /// Incarnation of the owner.
    pub owner: i64,
    pub fence: Fence,
    /// Number of guarded writes so far.
    pub seq: i64,
    pub log_end: u64,
    /// Epoch in which it left the queue. One below that of its fence: the store was set back in time since.
    pub epoch: u32,
    pub behaviour: u32,
}

impl Running {
    /// The row of a build that has just left the queue: nothing of it is written yet.
    pub fn begun(taken: crate::Taken, job: JobName, behaviour: u32) -> Running {
        let crate::Taken { build, number, owner, fence } = taken;
        let epoch = fence.epoch();
        Running { build, job, number, owner, fence, seq: 0, log_end: 0, epoch, behaviour }
    }
}

/// What reached a build from outside and is not journaled yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxRow {
    /// Unique in the build; the same key delivered twice is one row.
    pub key: String,
    /// JSON, for the engine.
    pub body: String,
}

/// A piece of a build's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it stands in the log of the build.
    pub offset: u64,
    /// Empty for what the controller itself writes.
    pub step: String,
    /// Range of the step's raw output that it was made of; empty for the controller's.
    pub raw_from: u64,
    pub raw_to: u64,
    pub at: Millis,
    pub bytes: bytes::Bytes,
    /// Of all of that, from when it was made: whether it is still what it was.
    pub sum: u32,
}

impl Chunk {
    /// With its sum.
    pub fn new(offset: u64, step: String, raw: (u64, u64), at: Millis, bytes: bytes::Bytes) -> Chunk {
        let chunk = Chunk { offset, step, raw_from: raw.0, raw_to: raw.1, at, bytes, sum: 0 };
        Chunk { sum: chunk.checksum(), ..chunk }
    }

    /// The CRC-32 of what it holds and of where that belongs.
    pub fn checksum(&self) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        for number in [self.offset, self.raw_from, self.raw_to, self.step.len() as u64] {
            crc.update(&number.to_le_bytes());
        }
        crc.update(&self.at.0.to_le_bytes());
        crc.update(self.step.as_bytes());
        crc.update(&self.bytes);
        crc.finalize()
    }
}

/// The log of a build that has ended, as an object. What is in that is told at [`crate::archive`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedLog {
    /// Its key.
    pub object: String,
    /// Where in it the directory begins.
    pub directory: u64,
    /// Its bytes.
    pub size: u64,
}

/// Log bytes from one offset on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSlice {
    pub bytes: Vec<u8>,
    /// Committed end of the whole log.
    pub end: u64,
    /// Whether the build may still write.
    pub building: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueItem {
    pub id: QueueId,
    pub job: JobName,
    /// What the job is.
    pub kind: ItemKind,
    pub params: BTreeMap<String, ParamValue>,
    pub causes: Vec<Cause>,
    pub since: Millis,
    /// The quiet period ends then.
    pub buildable_at: Millis,
    pub left: Option<Left>,
}

/// How an item left the queue. Kept for five minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    Built { number: u64 },
    Cancelled,
}

/// A `node` step that waits for an executor. The oldest that a free executor suits is served first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    pub id: i64,
    pub build: BuildId,
    pub job: JobName,
    pub number: u64,
    pub step: String,
    /// Label expression; `None` is any node.
    pub label: Option<String>,
    pub since: Millis,
}

/// An executor in use. (node, slot) is unique: the store decides who gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    pub node: NodeName,
    pub slot: u32,
    pub build: BuildId,
    pub job: JobName,
    pub number: u64,
    pub step: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: NodeName,
    pub description: String,
    pub executors: u32,
    pub labels: Vec<String>,
    /// `EXCLUSIVE`: only builds whose label expression names it.
    pub exclusive: bool,
    /// Work folder on the agent.
    pub remote_fs: String,
    /// Set by a user; `None` when it may work.
    pub offline: Option<Offline>,
    /// `config.xml` as it was posted or made.
    pub config: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offline {
    pub reason: String,
    pub by: String,
    pub at: Millis,
}

/// The newest connection of a node's agent. The row stays when the link has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub node: NodeName,
    /// Raised by each connect; the highest committed one wins.
    pub number: i64,
    /// Who has the socket; `None` when the link has ended. Counts only while that member is live.
    pub holder: Option<ReplicaId>,
    /// Instance id of the agent: kept in its work folder, so two machines under one name are noticed.
    pub instance: String,
    /// When it began; once it has ended, when that was.
    pub since: Millis,
    /// What the agent said about itself (JSON, for `link`).
    pub info: String,
    /// Why it ended; `None` before.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Relative, `/` between folders.
    pub path: String,
    pub size: u64,
    /// Key in the object store.
    pub object: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stash {
    pub name: String,
    pub size: u64,
    pub object: String,
}

/// A replica that was lost while it drove builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    pub replica: ReplicaId,
    pub at: Millis,
    pub builds: u32,
    /// Milliseconds until the last of them was adopted.
    pub adopted: Option<u64>,
    /// Milliseconds until the last of them had committed something new.
    pub resumed: Option<u64>,
}

/// The hash of a secret. Prints `***`, so that it comes into no log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: String,
    pub full_name: String,
    /// Empty when none was given.
    pub email: String,
    /// PHC string (argon2) of the password, or `#jbcrypt:` and a bcrypt hash, as Jenkins has them.
    pub password: Hidden,
    pub admin: bool,
}

/// What tells users apart: ids that differ by case only are one.
pub fn user_key(id: &str) -> String {
    id.to_lowercase()
}

/// What is changed of a user; `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserEdit {
    pub full_name: Option<String>,
    pub email: Option<String>,
    pub password: Option<Hidden>,
    pub admin: Option<bool>,
}

/// A user is signed in at a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Of its secret name, which only the browser has.
    pub hash: Hidden,
    /// Id of the user.
    pub user: String,
    pub created_at: Millis,
    /// Last use that was written down.
    pub seen_at: Millis,
    /// It ends so long after its last use.
    pub idle: Duration,
    /// It ends then, used or not.
    pub expires_at: Millis,
}

impl Session {
    pub fn over(&self, now: Millis) -> bool {
        self.expires_at <= now || self.seen_at.plus(self.idle) <= now
    }
}

/// What a program signs in with instead of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// A UUID.
    pub id: String,
    /// Id of the user.
    pub user: String,
    /// For people; need not be unique.
    pub name: String,
    /// Of the token itself, which is shown once.
    pub hash: Hidden,
    pub created_at: Millis,
    /// Last use that was written down.
    pub used_at: Option<Millis>,
    pub uses: u64,
}
