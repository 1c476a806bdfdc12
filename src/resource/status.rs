//! How a controller is, as the operator writes it. What a newer operator has written besides is passed over.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::conditions;
use crate::words::words;

/// How the controller is, as the operator has seen it last.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The generation of the resource that all of this was said of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Replicas that are there, ready or not.
    pub replicas: i32,
    /// Replicas that serve.
    pub ready_replicas: i32,
    /// Which pods are replicas, for whoever scales by what they use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,
    /// Where users and agents reach the controller: as the spec says it, else as whoever is in front says it, else within the
    /// cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,
    /// What replicas are to run. Another image, template or list of plugins is another revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub revision: Option<String>,
    /// Who has the startup lock; empty while nobody starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<Startup>,
    /// The replicas one by one.
    #[schemars(
        length(max = 20),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["ordinal"])
    )]
    pub members: Vec<Member>,
    /// Where the rollout stands; empty until all replicas were ready once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Replicas that were lost, the last one first; at most 10.
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub failovers: Vec<Failover>,
    /// Empty until a replica could be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counters: Option<Counters>,
}

words! {
    /// How the controller is, in one word.
    pub enum Phase {
        /// nothing was done yet.
        Pending,
        /// no replica has been ready yet.
        Starting,
        /// one replica serves, and waits for a user to end the setup wizard.
        Setup,
        /// all replicas that are wanted serve.
        Ready,
        /// some serve, others are to come back.
        Degraded,
        /// none serves, though some did before.
        Unavailable,
        /// replicas are being replaced.
        Rolling,
        /// none is wanted.
        Stopped,
        /// it is being removed.
        Deleting,
    }
}

/// Who has the startup lock: replicas start one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Startup {
    /// Pod of the replica that starts.
    #[schemars(length(max = 253))]
    pub holder: String,
    /// Since when it has the lock.
    pub since: MicroTime,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its place, from 0.
    pub ordinal: i32,
    /// Its pod.
    #[schemars(length(max = 253))]
    pub pod: String,
    pub state: MemberState,
    /// What it runs.
    #[schemars(length(max = 63))]
    pub revision: String,
    /// Builds that it drives.
    #[serde(default)]
    pub builds: i32,
    /// Agents that are connected to it.
    #[serde(default)]
    pub agents: i32,
    /// Since when it is in this state. Fine enough to tell who started first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<MicroTime>,
    /// Why it is not ready, for people; empty when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

words! {
    /// What a replica does.
    pub enum MemberState {
        /// its pod is not running yet.
        Pending,
        /// it waits for the startup lock, or for the store.
        Waiting,
        /// it has the startup lock and starts, or has started and its kubelet has not found that out yet.
        Starting,
        /// it serves, and waits for a user to end the setup wizard.
        Setup,
        /// it serves.
        Ready,
        /// it hands over what it does.
        Draining,
        /// it has nothing any more, and ends.
        Stopped,
        /// its node or its process does not answer; others do what it did.
        Lost,
    }
}

/// Where the rollout stands, and what was rolled out before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    pub phase: RolloutPhase,
    /// The revision that all replicas were ready with last; it is gone back to when the new one fails.
    #[schemars(length(max = 63))]
    pub good: String,
    /// The revision that is wanted.
    #[schemars(length(max = 63))]
    pub wanted: String,
    /// The replica at work; empty when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<RolloutTurn>,
    /// What happens now, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// The rollouts, the last one first; at most 10.
    #[serde(default)]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub history: Vec<RolloutRecord>,
}

words! {
    /// How far the rollout is.
    pub enum RolloutPhase {
        /// all replicas run what is wanted.
        Settled,
        /// it waits until nothing runs, or for its window.
        Waiting,
        /// replicas are being replaced.
        Rolling,
        /// somebody has said `paused: true`.
        Paused,
        /// the new revision does not become ready; the one before comes back.
        GoingBack,
        /// it has gone back; another revision must be asked for, unless only its image could not be had.
        Halted,
    }
}

/// The replica at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutTurn {
    /// Its place.
    pub ordinal: i32,
    pub stage: RolloutStage,
    /// When this stage began.
    pub since: Time,
}

words! {
    /// What is done to the replica at work.
    pub enum RolloutStage {
        /// it hands over what it does.
        Drain,
        /// its pod was replaced and becomes ready.
        Start,
    }
}

/// One rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRecord {
    /// What was to be run.
    #[schemars(length(max = 63))]
    pub revision: String,
    pub reason: RestartReason,
    /// The same for people: from what to what, who has asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// When it was asked for.
    pub asked_at: Time,
    /// When it ended; empty while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<RolloutEnd>,
}

words! {
    /// Why replicas are replaced.
    pub enum RestartReason {
        /// the image is another one.
        ImageChanged,
        /// the list of plugins is another one.
        PluginsChanged,
        /// podTemplate, resources or something else of the pods is another one.
        TemplateChanged,
        /// a field of the configuration changed that needs a restart.
        ConfigurationChanged,
        /// keys or certificates were exchanged.
        KeysChanged,
        /// the annotation majordomo.dev/restartedAt is another one.
        Annotation,
        /// an administrator has asked the controller for it.
        Asked,
        /// an earlier revision is wanted again, as `kubectl majordomo rollout undo` asks for it.
        Undone,
    }
}

words! {
    /// How a rollout ended; empty while it goes on.
    pub enum RolloutEnd {
        /// all replicas run it.
        Finished,
        /// it did not become ready, and the one before came back.
        GoneBack,
        /// another one was asked for meanwhile.
        Superseded,
    }
}

/// A replica that was lost, and what became of its builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// Pod of the replica that was lost.
    #[schemars(length(max = 253))]
    pub replica: String,
    /// When others noticed.
    pub at: Time,
    /// Builds that went on at other replicas.
    #[serde(default)]
    pub builds: i32,
}

/// What the controller has to do. Written every 10 seconds at most, and only when it differs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Counters {
    /// Builds that run.
    pub builds: i32,
    /// Items in the queue.
    pub queue: i32,
    /// Agents that are connected.
    pub agents: i32,
}
