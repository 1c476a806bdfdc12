//! Which other controllers have or want what this one has or wants. Hosts and names are read off the watches, so that a process
//! that has just begun to lead knows them all; of databases only those who have read the Secrets know which it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};

use crate::cache::{Caches, Guarded};
use crate::context::Memory;
use crate::kept::Kept;
use crate::kinds::Kind;
use crate::named::of_claim;
use crate::names::{Key, Owner};
use crate::plan::{self, Place};
use crate::seen::{Other, Seen};

/// For so long it is waited until an older controller has said which database it has: one that can't say it keeps nobody waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kinds that lead users to a host.
const FRONTS: [Kind; 3] = [Kind::Ingress, Kind::HttpRoute, Kind::Route];

type Memories = BTreeMap<Key, Memory>;

/// Other controllers that have something that this one has or wants, or names like its own.
pub(crate) fn others(caches: &[Caches], memories: &Memories, seen: &Seen) -> Vec<Other> {
    let ours: Vec<Place<'_>> = plan::places(&seen.controller.spec).collect();
    let near = near(caches, memories, seen, &ours);
    let like = |other: &Guarded| {
        let (Some(namespace), Some(name)) = key(other) else { return false };
        let named = *namespace == seen.owner.namespace
            && (name.starts_with(&seen.owner.name) || seen.owner.name.starts_with(name));
        let wants = || {
            let spec = other.0.as_ref().ok().map(|other| &other.spec);
            spec.into_iter().flat_map(plan::places).any(|theirs| ours.contains(&theirs))
        };
        !itself(seen, other)
            && (named || near.iter().any(|(of, one)| of == namespace && one == name) || wants())
    };
    let found = caches.iter().flat_map(|caches| {
        let found = caches.controllers.state_filter(like);
        found.into_iter().map(|found| other(caches, memories, &found))
    });
    found.collect()
}

/// Those that are before a host that this one wants, whatever they want by now, and those that have its database.
fn near(caches: &[Caches], memories: &Memories, seen: &Seen, ours: &[Place<'_>]) -> BTreeSet<Key> {
    let mut near = BTreeSet::new();
    let ours: Vec<String> = ours.iter().map(Place::key).collect();
    let leads = |object: &Kept| object.place().is_some_and(|place| ours.iter().any(|ours| ours == place));
    let fronts = || caches.iter().flat_map(|caches| FRONTS.map(|kind| (caches, kind)));
    for (caches, kind) in fronts().filter(|_| !ours.is_empty()) {
        let found = caches.filtered(kind, leads);
        let of = found.iter().filter_map(|object| object.controller());
        near.extend(of.map(|(namespace, name)| (namespace.to_owned(), name.to_owned())));
    }
    let same =
        |memory: &Memory| memory.databases.iter().flatten().any(|theirs| seen.databases.contains(theirs));
    near.extend(memories.iter().filter(|(_, memory)| same(memory)).map(|(key, _)| key.clone()));
    near
}

fn key(of: &Guarded) -> (Option<&String>, Option<&String>) {
    let metadata = of.meta();
    (metadata.namespace.as_ref(), metadata.name.as_ref())
}

fn itself(seen: &Seen, other: &Guarded) -> bool {
    key(other) == (Some(&seen.owner.namespace), Some(&seen.owner.name))
}

fn other(caches: &Caches, memories: &Memories, of: &Guarded) -> Other {
    let (namespace, name) = (of.namespace().unwrap_or_default(), of.name_any());
    let owner = Owner { namespace, name, uid: of.uid().unwrap_or_default() };
    let spec = of.0.as_ref().ok().map(|of| &of.spec);
    let held = held(caches, &owner);
    let Owner { namespace, name, uid: _ } = owner;
    let key = (namespace, name);
    let databases = memories.get(&key).and_then(|memory| memory.databases.clone()).unwrap_or_default();
    let (namespace, name) = key;
    Other {
        namespace,
        name,
        created: of.creation_timestamp().map(|Time(at)| at),
        hosts: spec.into_iter().flat_map(plan::places).map(|place| place.key()).collect(),
        held: held.unwrap_or_default(),
        databases,
    }
}

/// Hosts and paths of what is in front already; `None`: nothing is.
pub(crate) fn held(caches: &Caches, owner: &Owner) -> Option<Vec<String>> {
    let there: Vec<_> = FRONTS.iter().filter_map(|kind| caches.get(*kind, owner, &owner.name)).collect();
    let places = there.iter().filter_map(|object| object.place());
    (!there.is_empty()).then(|| places.map(str::to_owned).collect())
}

/// Whether an older controller that may have the database of this one has not said yet which it has. Who has just begun to lead
/// would take this one for the only one that has it.
pub(crate) fn unheard(caches: &[Caches], memories: &Memories, seen: &Seen) -> bool {
    // its own volumes are somebody else's only if he names them
    let own = [seen.owner.postgres(), seen.owner.home()];
    let named = |other: &Guarded| {
        let Ok(spec) = other.0.as_ref().map(|other| &other.spec) else { return false };
        let mut volumes = plan::volumes(spec, &seen.owner).into_iter();
        let names = volumes.any(|volume| volume.storage.claim_name.is_some_and(|name| own.contains(&name)));
        other.namespace().as_ref() == Some(&seen.owner.namespace) && !itself(seen, other) && names
    };
    let alone = || !caches.iter().any(|caches| caches.controllers.find(named).is_some());
    let ours = |one: &String| own.iter().any(|claim| of_claim(&seen.owner, claim) == *one);
    if seen.databases.iter().all(ours) && alone() {
        return false;
    }
    let created = seen.controller.metadata.creation_timestamp.as_ref().map(|Time(at)| *at);
    let age = created.and_then(|created| Duration::try_from(seen.now.duration_since(created)).ok());
    let young = age.is_none_or(|age| age < PATIENCE) || caches.iter().any(|one| one.age() < PATIENCE);
    let silent = |other: &Guarded| {
        let Ok(spec) = other.0.as_ref().map(|other| &other.spec) else { return false };
        let (namespace, name) = (other.namespace().unwrap_or_default(), other.name_any());
        let first = (other.creation_timestamp().map(|Time(at)| at), &namespace, &name)
            < (created, &seen.owner.namespace, &seen.owner.name);
        let silent = || memories.get(&(namespace, name)).is_none_or(|memory| memory.databases.is_none());
        spec.store.is_some() && !itself(seen, other) && first && silent()
    };
    young && caches.iter().any(|caches| caches.controllers.find(silent).is_some())
}

#[cfg(test)]
mod tests;
