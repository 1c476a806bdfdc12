//! All that is looked at in one reconcile, read once. What is not there is empty: nothing here says that something failed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use resource::HAController;
use rollout::Revision;

use crate::names::{Owner, ordinal};
use crate::plan::Apis;
use crate::record::Record;
use crate::told::Told;

/// What is seen of a controller and of what belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub now: Timestamp,
    pub owner: Owner,
    pub controller: HAController,
    pub apis: Apis,
    pub records: Vec<Record>,
    pub set: Option<StatefulSet>,
    /// What it makes below its partition: what its pods all ran last, which is not always what was proven. `None`: nobody can say.
    pub below: Option<Revision>,
    /// Pods of replicas.
    pub pods: Vec<Pod>,
    pub postgres: Option<StatefulSet>,
    /// Pods of the PostgreSQL that was made.
    pub postgres_pods: Vec<Pod>,
    /// Secrets that are ours or that the spec names, by their names.
    pub secrets: BTreeMap<String, SecretSeen>,
    /// ConfigMaps that the spec names, with their keys.
    pub config_maps: BTreeMap<String, BTreeSet<String>>,
    /// Claims that are ours or that the spec names.
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
    /// `None`: nobody could say which there are.
    pub storage_classes: Option<Vec<StorageClassSeen>>,
    /// Addresses that were given to what is in front of the controller; `None`: there is no such object yet.
    pub address: Option<Vec<String>>,
    /// Whether the class of the ingress is there; `None`: none is named, or nobody could say.
    pub class_known: Option<bool>,
    /// What replicas say, by ordinal.
    pub told: BTreeMap<usize, Told>,
    /// Nodes that are not ready, with since when.
    pub lost_nodes: BTreeMap<String, Timestamp>,
    /// How many pods may be missed now, as Kubernetes counts it; `None`: it has not counted yet.
    pub disruptions_allowed: Option<i64>,
    /// Hosts and paths of what is in front of this one already; `None`: nothing is.
    pub held: Option<Vec<String>>,
    /// Other controllers of the cluster that have something that this one has or wants.
    pub others: Vec<Other>,
    /// How the database that it was given can be told from others: two controllers can't share one.
    pub databases: Vec<String>,
}

/// What is in a Secret, without its values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SecretSeen {
    pub keys: BTreeSet<String>,
    /// SHA-256 over keys and values, in hexadecimal digits.
    pub digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StorageClassSeen {
    pub name: String,
    pub usual: bool,
    pub grows: bool,
}

/// Another controller, and what it has that can be had once only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    pub namespace: String,
    pub name: String,
    pub created: Option<Timestamp>,
    /// Hosts and paths that it asks for, and that lead to it already.
    pub hosts: Vec<String>,
    pub held: Vec<String>,
    pub databases: Vec<String>,
}

impl Seen {
    /// Whether the PostgreSQL that was made for it serves.
    pub(crate) fn postgres_ready(&self) -> bool {
        let status = self.postgres.as_ref().and_then(|set| set.status.as_ref());
        status.and_then(|status| status.ready_replicas).is_some_and(|ready| ready > 0)
    }

    /// The pod of a place.
    pub(crate) fn pod(&self, place: usize) -> Option<&Pod> {
        self.pods.iter().find(|pod| {
            pod.metadata.name.as_deref().and_then(|pod| ordinal(&self.owner.name, pod)) == Some(place)
        })
    }

    /// Whether another one was there first.
    pub(crate) fn younger_than(&self, other: &Other) -> bool {
        let created = self.controller.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let ours = (created, &self.owner.namespace, &self.owner.name);
        (other.created, &other.namespace, &other.name) < ours
    }
}
