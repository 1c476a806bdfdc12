//! Carries out what was decided, in an order in which it may end at any place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::api::DynamicObject;
use kube::core::TypeMeta;
use parking_lot::Mutex;
use resource::{ConditionType, Reason};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::build::{Objects, Postgres};
use crate::check::Fault;
use crate::decide::Decision;
use crate::kept::Kept;
use crate::kinds::Kind;
use crate::lost::lost;
use crate::names::{Key, Owner};
use crate::refused::refused;
use crate::roll::Deed;
use crate::seen::Seen;
use crate::world::{Doomed, Removal, World};

/// What objects of a controller there are, as they were seen last.
pub(crate) trait Live {
    fn get(&self, kind: Kind, name: &str) -> Option<Arc<Kept>>;
    /// Those that could be pruned.
    fn all(&self) -> Vec<(Kind, Arc<Kept>)>;
}

/// What was applied last and what came of it, so that nothing is written that is already so. Only a shortcut: without it, more is
/// written.
#[derive(Default)]
pub(crate) struct Applied(Mutex<BTreeMap<(String, String, Kind, String), Sums>>);

/// On each object that is applied: the sum of what was wanted. Who has just begun to lead sees by it that somebody has wanted more
/// since: what we have said ourselves, and say no more, looks like something that another one has added.
const APPLIED_ANNOTATION: &str = "majordomo.dev/applied";

/// Of what was wanted, and of what the API server made of it: it fills in, drops and spells otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sums {
    wanted: u64,
    made: u64,
    /// The resource version that was summed up last: at rest nobody looks further.
    version: Option<String>,
}

impl Sums {
    fn new(wanted: u64, there: &Value) -> Sums {
        let version = there.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        Sums { wanted, made: sum(there), version: version.map(str::to_owned) }
    }

    /// Whether nothing was written since.
    fn at_rest(&self, wanted: u64, there: &Kept) -> bool {
        self.wanted == wanted && self.version.is_some() && self.version.as_deref() == there.version()
    }
}

impl Applied {
    pub(crate) fn forget(&self, (namespace, name): &Key) {
        self.0.lock().retain(|key, _| (&key.0, &key.1) != (namespace, name));
    }
}

/// Everything but the status. What Kubernetes refuses is told; the rest goes on.
pub(crate) async fn perform<W: World>(
    world: &W,
    seen: &Seen,
    decision: &Decision,
    live: &impl Live,
    applied: &Applied,
) -> Result<Vec<Fault>, W::Error> {
    let owner = &seen.owner;
    let mut faults = Vec::new();
    let mut kept = Vec::new();
    let mut pods_written = true;
    let Some(objects) = &decision.objects else { return Ok(faults) };
    for item in items(objects) {
        let (kind, name) = (item.kind, item.name.as_str());
        kept.push((kind, item.name.clone()));
        // the database has one, too, by which no replica is replaced
        let replicas = kind == Kind::StatefulSet && name == owner.name;
        let there = live.get(kind, name);
        if there.is_none() && world.foreign(owner, kind, name).await? {
            pods_written &= !replicas;
            let kind = kind.resource().kind;
            let sentence = format!(
                "there is a {kind} {name} that is not ours, and it is left alone; remove it, or choose another name for the \
                 controller"
            );
            let of: &[_] = &[ConditionType::ConfigurationValid];
            faults.push(Fault { of, reason: Reason::NameTaken, sentence, blocks: false });
            continue;
        }
        let done = match item.how {
            How::Create if there.is_some() => Ok(true),
            How::Create => world.create(owner, kind, &item.object()).await.map(|()| true),
            How::Apply => apply(world, owner, &item, there, applied).await,
        };
        let written = match done {
            Ok(written) => written,
            Err(error) => {
                let Some(said) = W::refusal(&error) else { return Err(error) };
                faults.push(refused(seen, kind, name, &said));
                false
            }
        };
        pods_written &= written || !replicas;
    }
    for (kind, object) in live.all() {
        let wanted = kept.iter().any(|(of, name)| *of == kind && *name == object.name());
        let ours = || {
            let object: Option<DynamicObject> = object.open();
            object.is_some_and(|object| object.owner_references().iter().any(|of| of.uid == owner.uid))
        };
        if kind.pruned() && !wanted && ours() {
            let uid = object.uid().map(str::to_owned);
            let doomed = Doomed { kind, name: object.name().to_owned(), uid, how: Removal::Plain };
            faults.extend(remove(world, seen, &doomed).await?);
        }
    }
    for name in &decision.forget {
        let doomed =
            Doomed { kind: Kind::ControllerRevision, name: name.clone(), uid: None, how: Removal::Plain };
        faults.extend(remove(world, seen, &doomed).await?);
    }
    // what the StatefulSet says must stand before a pod is removed: it decides what comes back
    if pods_written {
        faults.extend(deed(world, seen, &decision.deed).await?);
    }
    for doomed in lost(seen) {
        tracing::warn!(pod = doomed.name, "its node does not answer: it is removed by force");
        faults.extend(remove(world, seen, &doomed).await?);
    }
    Ok(faults)
}

/// Removes an object, unless somebody does not let us, of which the rest must not suffer.
async fn remove<W: World>(world: &W, seen: &Seen, doomed: &Doomed) -> Result<Option<Fault>, W::Error> {
    match world.remove(&seen.owner, doomed).await {
        Ok(()) => Ok(None),
        Err(error) => match W::refusal(&error) {
            Some(said) => Ok(Some(refused(seen, doomed.kind, &doomed.name, &said))),
            None => Err(error),
        },
    }
}

async fn deed<W: World>(world: &W, seen: &Seen, deed: &Deed) -> Result<Option<Fault>, W::Error> {
    match deed {
        Deed::Nothing => Ok(None),
        Deed::Drain(ordinal) => {
            if let Err(error) = world.drain(&seen.owner, &seen.owner.pod(*ordinal), limit(seen)).await {
                // it is said again, and has a limit; a replica that can't be asked drains when its pod is removed
                tracing::warn!(pod = seen.owner.pod(*ordinal), %error, "ask a replica to drain");
            }
            Ok(None)
        }
        Deed::Replace(ordinal) => {
            let pod = seen.pod(*ordinal).filter(|pod| pod.metadata.deletion_timestamp.is_none());
            let Some(pod) = pod else { return Ok(None) };
            let name = seen.owner.pod(*ordinal);
            let doomed = Doomed { kind: Kind::Pod, name, uid: pod.metadata.uid.clone(), how: Removal::Plain };
            remove(world, seen, &doomed).await
        }
    }
}

/// Longest time in which a replica hands over what it does.
fn limit(seen: &Seen) -> Duration {
    let given = seen.controller.spec.rollout.as_ref().and_then(|rollout| rollout.drain_timeout);
    given.map_or(rollout::Policy::default().drain, |span| span.0)
}

struct Item {
    kind: Kind,
    name: String,
    wanted: Value,
    /// Of what is wanted.
    sum: u64,
    how: How,
}

impl Item {
    /// As it is written.
    fn object(&self) -> DynamicObject {
        let resource = self.kind.resource();
        let (mut data, mut metadata) = (self.wanted.clone(), Value::Null);
        if let Some(fields) = data.as_object_mut() {
            metadata = fields.remove("metadata").unwrap_or_default();
            fields.retain(|field, _| !matches!(field.as_str(), "apiVersion" | "kind"));
        }
        let types = Some(TypeMeta { api_version: resource.api_version, kind: resource.kind });
        let metadata = serde_json::from_value(metadata).unwrap_or_default();
        let mut object = DynamicObject { types, metadata, data };
        if matches!(self.how, How::Apply) {
            object.annotations_mut().insert(APPLIED_ANNOTATION.to_owned(), written(self.sum));
        }
        object
    }
}

#[derive(Clone, Copy)]
enum How {
    Create,
    Apply,
}

/// In the order in which they are written: what pods need comes before them, and what a revision is made of before the
/// StatefulSet that names it; who leads users there comes last.
fn items(objects: &Objects) -> Vec<Item> {
    // no `..`: what is added must have its place
    let Objects {
        service_account,
        secrets,
        claims,
        postgres,
        cloud_native_pg,
        home,
        peers,
        public,
        ingress,
        http_route,
        route,
        budget,
        network_policies,
        monitor,
        record,
        set,
    } = objects;
    let mut items = Items(Vec::new());
    for secret in secrets {
        items.add(Kind::Secret, How::Create, secret);
    }
    items.add(Kind::ServiceAccount, How::Apply, service_account);
    for claim in claims {
        items.add(Kind::PersistentVolumeClaim, How::Apply, claim);
    }
    if let Some(Postgres { account, script, service, set }) = postgres {
        items.add(Kind::ServiceAccount, How::Apply, account);
        items.add(Kind::ConfigMap, How::Apply, script);
        items.add(Kind::Service, How::Apply, service);
        items.add(Kind::StatefulSet, How::Apply, set);
    }
    items.maybe(Kind::Cluster, cloud_native_pg.as_ref());
    items.maybe(Kind::ConfigMap, home.as_ref());
    items.add(Kind::Service, How::Apply, peers);
    items.add(Kind::Service, How::Apply, public);
    for policy in network_policies {
        items.add(Kind::NetworkPolicy, How::Apply, policy);
    }
    items.add(Kind::PodDisruptionBudget, How::Apply, budget);
    if let Some(record) = record {
        items.add(Kind::ControllerRevision, How::Create, record);
    }
    items.maybe(Kind::StatefulSet, set.as_ref());
    items.maybe(Kind::Ingress, ingress.as_ref());
    items.maybe(Kind::HttpRoute, http_route.as_ref());
    items.maybe(Kind::Route, route.as_ref());
    items.maybe(Kind::ServiceMonitor, monitor.as_ref());
    items.0
}

struct Items(Vec<Item>);

impl Items {
    fn add(&mut self, kind: Kind, how: How, object: &impl Serialize) {
        // objects are trees of texts and numbers, which are always written, and have names
        let wanted = serde_json::to_value(object).unwrap_or_default();
        let name = wanted.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
        let sum = sum(&wanted);
        self.0.extend(name.map(|name| Item { kind, name, wanted, sum, how }));
    }

    fn maybe(&mut self, kind: Kind, object: Option<&impl Serialize>) {
        if let Some(object) = object {
            self.add(kind, How::Apply, object);
        }
    }
}

/// Applies it, unless it was applied as it is and nobody has changed it. Whether it is now as it is wanted: what must go first is
/// not.
async fn apply<W: World>(
    world: &W,
    owner: &Owner,
    item: &Item,
    there: Option<Arc<Kept>>,
    applied: &Applied,
) -> Result<bool, W::Error> {
    let Item { kind, name, wanted, sum, .. } = item;
    let (kind, sum, key) = (*kind, *sum, (owner.namespace.clone(), owner.name.clone(), *kind, name.clone()));
    if there.as_ref().is_some_and(|there| there.ends()) {
        // it comes back once it is gone
        return Ok(false);
    }
    let last = applied.0.lock().get(&key).cloned();
    if let (Some(last), Some(there)) = (&last, &there)
        && last.at_rest(sum, there)
    {
        return Ok(true);
    }
    // what was applied for something else needs no look
    let may_be_so = last.as_ref().is_none_or(|last| last.wanted == sum);
    if let Some(there) = there.filter(|_| may_be_so).and_then(|there| there.open()) {
        let now = Sums::new(sum, &there);
        let as_it_was = match &last {
            Some(last) => last.made == now.made,
            // another process may have applied it
            None => applied_as(&there) == Some(written(sum).as_str()) && is_so(&there, wanted),
        };
        if as_it_was {
            applied.0.lock().insert(key, now);
            return Ok(true);
        }
    }
    match world.apply(owner, kind, &item.object()).await {
        Ok(made) => {
            let made = serde_json::to_value(made).unwrap_or_default();
            applied.0.lock().insert(key, Sums::new(sum, &made));
            Ok(true)
        }
        Err(error)
            if kind == Kind::StatefulSet && W::refusal(&error).as_deref().is_some_and(unchangeable) =>
        {
            // its pods stay: the next one, which is made once this one is gone, takes them over by their labels
            tracing::warn!(name, "a StatefulSet is made anew, because what can't be changed is other");
            let doomed = Doomed { kind, name: name.clone(), uid: None, how: Removal::Orphan };
            world.remove(owner, &doomed).await.map(|()| false)
        }
        Err(error) => Err(error),
    }
}

fn written(sum: u64) -> String {
    format!("{sum:016x}")
}

fn applied_as(there: &Value) -> Option<&str> {
    there.get("metadata")?.get("annotations")?.get(APPLIED_ANNOTATION)?.as_str()
}

fn fields(of: &Value) -> impl Iterator<Item = (&String, &Value)> {
    of.as_object().into_iter().flatten()
}

/// What of an object says what it is to be, each with whether it is of the metadata.
fn plain(object: &Value) -> BTreeMap<(bool, &str), &Value> {
    let metadata = object.get("metadata").into_iter().flat_map(fields);
    let metadata = metadata
        .filter(|(field, _)| matches!(field.as_str(), "labels" | "annotations" | "ownerReferences" | "name"));
    let others = fields(object)
        .filter(|(field, _)| !matches!(field.as_str(), "status" | "apiVersion" | "kind" | "metadata"));
    let metadata = metadata.map(|(field, value)| ((true, field.as_str()), value));
    metadata.chain(others.map(|(field, value)| ((false, field.as_str()), value))).collect()
}

/// Whether the API server refuses because fields of a StatefulSet can't be changed.
fn unchangeable(said: &str) -> bool {
    said.contains("updates to statefulset spec for fields other than") || said.contains("field is immutable")
}

/// The same in each process and in each version.
fn sum(object: &Value) -> u64 {
    let mut sum = Sha256::new();
    for ((of_metadata, field), value) in plain(object) {
        sum.update([u8::from(of_metadata)]);
        sum.update(field);
        // trees of texts and numbers are always written
        sum.update(serde_json::to_vec(value).unwrap_or_default());
    }
    sum.finalize().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Whether an object is what is wanted.
fn is_so(there: &Value, wanted: &Value) -> bool {
    let there = plain(there);
    plain(wanted).into_iter().all(|(place, wanted)| match there.get(&place) {
        Some(there) => covers(there, wanted),
        None => empty(wanted),
    })
}

/// Fields that are one's own as a whole: somebody who has added something there has changed what it means.
const WHOLE: [&str; 6] =
    ["selector", "podSelector", "namespaceSelector", "nodeSelector", "ingress", "egress"];

/// Whether all that is wanted is so. What others have added, and what Kubernetes has filled in, is no difference.
fn covers(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            wanted.iter().all(|(field, wanted)| match there.get(field) {
                Some(there) if WHOLE.contains(&field.as_str()) => {
                    covers(there, wanted) && covers(wanted, there)
                }
                Some(there) => covers(there, wanted),
                None => empty(wanted),
            })
        }
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len()
                && there.iter().zip(wanted).all(|(there, wanted)| covers(there, wanted))
        }
        (there, wanted) => there == wanted,
    }
}

/// What is dropped where it is written.
fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_wanted_is_compared() {
        let there = json!({
            "a": 1, "b": {"c": [1, {"d": 2, "filled": true}]}, "more": 3,
            "selector": {"app": "acme", "more": "x"}, "ingress": [{"ports": [{"port": 80}], "from": [{}]}],
        });
        for (wanted, same) in [
            (json!({"a": 1}), true),
            (json!({"b": {"c": [1, {"d": 2}]}}), true),
            (json!({"a": 2}), false),
            (json!({"b": {"c": [1]}}), false),
            (json!({"x": 1}), false),
            (json!({"x": {}, "y": null, "z": []}), true),
            (json!({"selector": {"app": "acme", "more": "x"}}), true),
            (json!({"selector": {"app": "acme"}}), false),
            (json!({"ingress": [{"ports": [{"port": 80}]}]}), false),
        ] {
            assert_eq!(covers(&there, &wanted), same, "{wanted}");
        }
    }
}
