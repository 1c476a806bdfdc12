//! The words of the domain: names, ids, fences, results. Values only: no I/O, no clock, no SQL, no HTTP.
//!
//! Names are checked where they enter (`JobName::parse`), so inside the product an invalid name does not exist.

mod cause;
mod freestyle;
mod job;
pub mod level;
mod names;
pub mod overview;
mod text;
mod time;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use cause::{Cause, join_causes};
pub use freestyle::{BuildTimeout, Builder, Freestyle, Publisher};
pub use job::{BuildDiscarder, ParameterDefinition, ParameterKind};
pub use names::{JobName, MAX_NAME, NameError, NodeName, ReplicaName};
pub use text::short;
pub use time::{Clock, Millis, SystemClock, length};

/// Names a build for ever, across jobs and renames. Allotted by the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildId(pub i64);

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Names a queue item, also after it has left the queue. Allotted by the store, as Jenkins counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueId(pub i64);

/// What a holder shows at every write and command: (epoch, number), ordered. Never repeats for one build or lease,
/// not even when the store was set back in time, because the epoch is raised then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(i64);

const EPOCH_SHIFT: u32 = 40;

impl Fence {
    /// The first fence of an epoch.
    pub fn first(epoch: u32) -> Fence {
        Fence((i64::from(epoch) << EPOCH_SHIFT) | 1)
    }

    /// The next fence, in `epoch` when that is newer than the fence's own.
    pub fn next(self, epoch: u32) -> Fence {
        Fence::first(epoch).max(Fence(self.0 + 1))
    }

    pub fn epoch(self) -> u32 {
        u32::try_from(self.0 >> EPOCH_SHIFT).unwrap_or(0)
    }

    /// As the store and the wire write it.
    pub fn to_i64(self) -> i64 {
        self.0
    }

    pub fn from_i64(value: i64) -> Fence {
        Fence(value)
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch(), self.0 & ((1 << EPOCH_SHIFT) - 1))
    }
}

/// One life of one replica process. The incarnation is allotted by the store when it joins.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReplicaId {
    pub name: ReplicaName,
    pub incarnation: i64,
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.name, self.incarnation)
    }
}

/// What a replica is doing. `waiting` and `starting` are alive but not ready; `setup` is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplicaState {
    Waiting,
    Starting,
    Setup,
    Ready,
    Draining,
    Stopped,
}

impl ReplicaState {
    pub const ALL: [ReplicaState; 6] = [
        ReplicaState::Waiting,
        ReplicaState::Starting,
        ReplicaState::Setup,
        ReplicaState::Ready,
        ReplicaState::Draining,
        ReplicaState::Stopped,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ReplicaState::Waiting => "waiting",
            ReplicaState::Starting => "starting",
            ReplicaState::Setup => "setup",
            ReplicaState::Ready => "ready",
            ReplicaState::Draining => "draining",
            ReplicaState::Stopped => "stopped",
        }
    }

    pub fn parse(text: &str) -> Option<ReplicaState> {
        ReplicaState::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// When replicas are restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RestartWhen {
    #[default]
    Immediately,
    /// Once no act of a build is in flight that a new owner would have to follow on or do again.
    Idle,
}

impl RestartWhen {
    pub fn as_str(self) -> &'static str {
        match self {
            RestartWhen::Immediately => "immediately",
            RestartWhen::Idle => "idle",
        }
    }

    pub fn parse(text: &str) -> Option<RestartWhen> {
        [RestartWhen::Immediately, RestartWhen::Idle].into_iter().find(|when| when.as_str() == text)
    }
}

/// How far a rollout is: replicas are being replaced by others of a new revision, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RolloutPhase {
    /// All run what is wanted.
    Settled,
    /// It waits until no act of a build is in flight.
    Waiting,
    Rolling,
    /// The new revision does not become ready; the one before comes back.
    GoingBack,
    /// It has gone back; a new revision must be asked for.
    Halted,
}

impl RolloutPhase {
    pub const ALL: [RolloutPhase; 5] = [
        RolloutPhase::Settled,
        RolloutPhase::Waiting,
        RolloutPhase::Rolling,
        RolloutPhase::GoingBack,
        RolloutPhase::Halted,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            RolloutPhase::Settled => "settled",
            RolloutPhase::Waiting => "waiting",
            RolloutPhase::Rolling => "rolling",
            RolloutPhase::GoingBack => "goingBack",
            RolloutPhase::Halted => "halted",
        }
    }
}

/// What whoever starts the replicas says of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutReport {
    pub phase: RolloutPhase,
    /// The one that is wanted.
    pub revision: String,
    /// Why it is wanted.
    pub reason: String,
    /// The last restart that a user has asked for and that is part of this revision.
    pub restart: i64,
    /// Why the revision was given up.
    pub failed: Option<String>,
    /// What happens now, for a person.
    pub message: String,
    /// How long all replicas must have been ready with a new level before the home is raised to it; `None`: as long as is
    /// usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake: Option<Duration>,
}

/// What users ask of the replicas as a whole, for whoever starts them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutAsked {
    /// How many restarts were asked for so far.
    pub restart: i64,
    pub when: RestartWhen,
    /// Id of the user who asked last.
    pub by: String,
    /// They are to run then what is installed as their program.
    #[serde(default)]
    pub reload: bool,
    /// It is not to be carried out any more, if nothing of it was done yet.
    #[serde(default)]
    pub withdrawn: bool,
    /// Builds with an act in flight that another owner would have to follow on or do again.
    pub busy: u64,
    /// The newest level that all live replicas know; 0: an older version has answered.
    #[serde(default)]
    pub known: i64,
}

/// How a build ended, as in Jenkins; ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BuildResult {
    Success,
    Unstable,
    Failure,
    NotBuilt,
    Aborted,
}

impl BuildResult {
    pub const ALL: [BuildResult; 5] = [
        BuildResult::Success,
        BuildResult::Unstable,
        BuildResult::Failure,
        BuildResult::NotBuilt,
        BuildResult::Aborted,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            BuildResult::Success => "SUCCESS",
            BuildResult::Unstable => "UNSTABLE",
            BuildResult::Failure => "FAILURE",
            BuildResult::NotBuilt => "NOT_BUILT",
            BuildResult::Aborted => "ABORTED",
        }
    }

    pub fn parse(text: &str) -> Option<BuildResult> {
        BuildResult::ALL.into_iter().find(|r| r.as_str() == text)
    }
}

impl fmt::Display for BuildResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Value of a build parameter.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParamValue {
    Flag(bool),
    Text(String),
    /// Of a password parameter. It stays one, whatever becomes of the definition, and is shown to nobody.
    Secret {
        secret: String,
    },
}

impl fmt::Debug for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParamValue::Flag(flag) => write!(f, "{flag}"),
            ParamValue::Text(text) => write!(f, "{text:?}"),
            ParamValue::Secret { .. } => f.write_str("***"),
        }
    }
}

/// As a build sees it.
impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParamValue::Flag(flag) => write!(f, "{flag}"),
            ParamValue::Text(text) | ParamValue::Secret { secret: text } => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_of_a_newer_epoch_is_higher_than_any_of_an_older_one() {
        let old = Fence::from_i64(Fence::first(1).to_i64() + 1_000_000);
        assert!(Fence::first(2) > old);
        assert_eq!(old.next(2), Fence::first(2));
        assert_eq!(old.next(1).to_i64(), old.to_i64() + 1);
        assert_eq!(Fence::first(7).epoch(), 7);
    }
}
