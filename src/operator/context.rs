//! What all reconciles share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use kube::Client;
use kube::runtime::events::Reporter;
use parking_lot::Mutex;
use resource::Status;

use crate::ask::Replicas;
use crate::cache::Caches;
use crate::metrics::Metrics;
use crate::named::Read;
use crate::names::{Key, Owner};
use crate::others::{others, unheard};
use crate::perform::Applied;
use crate::plan::{Apis, Images};
use crate::seen::{Other, Seen};

pub(crate) struct Context {
    pub client: Client,
    pub apis: Apis,
    pub images: Images,
    pub reporter: Reporter,
    pub replicas: Replicas,
    pub applied: Applied,
    pub metrics: Arc<Metrics>,
    /// Of each namespace that is watched, or of all.
    pub caches: Vec<Caches>,
    pub memory: Mutex<BTreeMap<Key, Memory>>,
}

/// What is known of a controller besides what is read; it may vanish at any time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    /// How its database can be told from those of others; `None`: its Secrets were not read yet.
    pub databases: Option<Vec<String>>,
    /// The status that was written last, of which object, and when: a watch may bring it later.
    pub told: Option<(String, Status, Instant)>,
    /// Reconciles that have failed in a row.
    pub failed: u32,
    /// When it was looked at last.
    pub looked: Option<Timestamp>,
    /// What was told last of why it is not got so far that its status says anything.
    pub warned: Option<String>,
    /// Nothing was wrong and nothing moved when it was looked at last; not while it is looked at.
    pub rests: bool,
    /// What its spec names, as it was read last.
    pub read: Option<Read>,
    /// What its replicas were told of the rollout last.
    pub reported: Option<String>,
}

impl Context {
    pub(crate) fn with<T>(&self, owner: &Owner, change: impl FnOnce(&mut Memory) -> T) -> T {
        change(self.memory.lock().entry(owner.key()).or_default())
    }

    /// Of one that was forgotten, nothing is kept.
    pub(crate) fn succeeded(&self, owner: &Owner) {
        if let Some(memory) = self.memory.lock().get_mut(&owner.key()) {
            memory.failed = 0;
        }
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.memory.lock().remove(key);
        self.applied.forget(key);
        self.replicas.forget(key);
        self.metrics.forget(key);
    }

    /// Other controllers that have something that this one has or wants, or names like its own. They hear of its database.
    pub(crate) fn others(&self, seen: &Seen) -> Vec<Other> {
        self.with(&seen.owner, |memory| memory.databases = Some(seen.databases.clone()));
        others(&self.caches, &self.memory.lock(), seen)
    }

    /// Whether it must be waited for what others say of their databases.
    pub(crate) fn unheard(&self, seen: &Seen) -> bool {
        unheard(&self.caches, &self.memory.lock(), seen)
    }
}
