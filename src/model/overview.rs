//! How one replica sees its controller: for whoever looks after the replicas from outside, who has no store.

use serde::{Deserialize, Deserializer, Serialize};

use crate::{ReplicaState, RestartWhen};

/// What a replica says of its controller. All but `store_answers`, `store_error`, `queue` and `failovers` it also knows while
/// the store is away: as it was seen last. Fields that a version does not know are passed over, those that it misses are
/// empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Overview {
    /// Identity of the controller; empty before its first start.
    pub controller: String,
    /// Who answers.
    pub replica: String,
    pub incarnation: i64,
    #[serde(deserialize_with = "known")]
    pub state: Option<ReplicaState>,
    /// It has handed over all it had.
    pub drained: bool,
    /// It is to end.
    pub ends: bool,
    /// Newest formats that the home may contain.
    pub level: i64,
    /// Newest that all live replicas know; 0 while there is none.
    pub known_level: i64,
    /// Who has the startup lock; `None`: nobody.
    pub startup: Option<StartupLock>,
    /// By ordinal and name, stopped ones too.
    pub members: Vec<Seen>,
    /// Items that wait; `None`: the store does not say.
    pub queue: Option<u64>,
    /// Builds that live replicas drive, and agents that are connected to them.
    pub builds: u64,
    pub agents: u64,
    /// The last restart of all replicas that a user has asked for.
    pub restart: AskedRestart,
    /// Builds with an act in flight that another owner would have to follow on or do again.
    pub busy: u64,
    /// The newest losses first, ten at most.
    pub failovers: Vec<Loss>,
    pub store_answers: bool,
    /// Why it does not, for a person.
    pub store_error: Option<String>,
    pub durability: Durability,
}

/// A start that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StartupLock {
    pub holder: String,
    /// RFC 3339.
    pub since: String,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Seen {
    pub name: String,
    pub ordinal: u32,
    pub incarnation: i64,
    /// `None`: one that this version does not know.
    #[serde(deserialize_with = "known")]
    pub state: Option<ReplicaState>,
    pub revision: String,
    pub version: String,
    /// When its state began; RFC 3339.
    pub since: String,
    pub builds: u32,
    pub agents: u32,
    /// Where peers reach it.
    pub address: String,
}

/// See [`crate::RolloutAsked`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AskedRestart {
    /// How many were asked for so far.
    pub number: i64,
    pub when: RestartWhen,
    pub by: String,
    pub withdrawn: bool,
    pub reload: bool,
}

/// A replica that was lost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Loss {
    pub replica: String,
    /// RFC 3339.
    pub at: String,
    /// Builds that it drove.
    pub builds: u32,
}

/// What a database says of how safe a commit is. `None`: it does not say, or not to us.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Durability {
    /// `sqlite`, `postgres`; empty: unknown.
    pub engine: String,
    /// Standbys that stream, and those of them for which a commit waits.
    pub standbys: Option<u32>,
    pub synchronous_replicas: Option<u32>,
    /// The setting `synchronous_commit`.
    pub synchronous_commit: Option<String>,
    /// Whether some standby is named for which commits wait.
    pub synchronous_standby_names: Option<bool>,
    /// Whether what is committed is on the disk.
    pub fsync: Option<bool>,
}

/// A state; one of a newer version is none.
fn known<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ReplicaState>, D::Error> {
    let word = Option::<String>::deserialize(from)?;
    Ok(word.and_then(|word| ReplicaState::parse(&word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_version_says_is_read_and_what_an_older_one_leaves_out_is_empty() {
        let text = r#"{"controller":"ci/acme","state":"ready","new":[1],"startup":null,"knownLevel":2,
            "members":[{"name":"acme-0","state":"hibernating","builds":3},{"state":"draining"}],
            "durability":{"engine":"postgres","synchronousReplicas":1}}"#;
        let read: Overview = serde_json::from_str(text).unwrap();
        assert_eq!((read.controller.as_str(), read.known_level), ("ci/acme", 2));
        assert_eq!(read.state, Some(ReplicaState::Ready));
        let states: Vec<_> = read.members.iter().map(|member| member.state).collect();
        assert_eq!(states, [None, Some(ReplicaState::Draining)]);
        assert_eq!((read.members[0].builds, read.queue, read.store_answers), (3, None, false));
        assert_eq!(read.durability.synchronous_replicas, Some(1));
        let again: Overview = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
    }
}
