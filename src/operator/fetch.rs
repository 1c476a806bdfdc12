//! Reads all that a reconcile looks at: from the watches what is ours, from the API server what the spec names (`named.rs`), from
//! the replicas what they say.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt};
use resource::{HAController, Spec};
use rollout::Revision;
use sha2::{Digest, Sha256};

use crate::cache::Caches;
use crate::check::smaller;
use crate::context::Context;
use crate::error::Error;
use crate::kinds::Kind;
use crate::named::{Named, named};
use crate::names::{AGENT_KEY, Component, ENCRYPTION_KEYS, Owner, PEER_KEYS, REVISION_LABEL};
use crate::others::held;
use crate::plan::{self, Apis};
use crate::pods;
use crate::record::Record;
use crate::seen::{SecretSeen, Seen, StorageClassSeen};

/// Of [`StorageClass`]: it is the one for those who name none.
const USUAL: &str = "storageclass.kubernetes.io/is-default-class";

/// Everything, read once. `rests`: what the spec names may be as it was read lately.
pub(crate) async fn fetch(
    context: &Context,
    caches: &Caches,
    controller: &HAController,
    rests: bool,
) -> Result<Seen, Error> {
    let mut seen = watched(context.apis, caches, controller)?;
    let named = named(context, caches, &seen.owner, controller, rests).await;
    // who is removed needs nothing that it names
    let removed = controller.metadata.deletion_timestamp.is_some();
    let named = named.or_else(|error| if removed { Ok(Named::default()) } else { Err(error) })?;
    let Named { secrets, databases, config_maps, claims, class_known } = named;
    (seen.databases, seen.config_maps, seen.class_known) = (databases, config_maps, class_known);
    seen.secrets = secrets;
    seen.secrets.extend(own_secrets(context, caches, &seen.owner, &controller.spec));
    for (name, claim) in claims {
        seen.claims.entry(name).or_insert(claim);
    }
    if wants_volume(&seen) {
        seen.storage_classes = storage_classes(context).await;
    }
    seen.others = context.others(&seen);
    seen.lost_nodes = lost_nodes(context, &seen).await;
    seen.told = context.ask(&seen).await;
    Ok(seen)
}

/// What the watches know; all else is empty.
pub(crate) fn watched(apis: Apis, caches: &Caches, controller: &HAController) -> Result<Seen, Error> {
    let owner = owner(controller)?;
    let mut all: Vec<Pod> = caches.of(Kind::Pod, &owner).iter().filter_map(|pod| pod.open()).collect();
    let mut pods =
        |component: Component| -> Vec<Pod> { all.extract_if(.., |pod| component.has(pod)).collect() };
    let records = caches.of(Kind::ControllerRevision, &owner);
    let get = |kind, name: &str| caches.get(kind, &owner, name);
    let set: Option<StatefulSet> = get(Kind::StatefulSet, &owner.name).and_then(|set| set.open());
    let below = set.as_ref().and_then(|set| {
        // revisions of a StatefulSet carry the labels of its pods
        let current = set.status.as_ref()?.current_revision.as_ref()?;
        let current: ControllerRevision = get(Kind::ControllerRevision, current)?.open()?;
        current.metadata.labels?.remove(REVISION_LABEL).map(Revision)
    });
    Ok(Seen {
        // Kubernetes writes times in whole seconds: with more, what was written would never be what is wanted
        now: Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default(),
        controller: controller.clone(),
        apis,
        records: records.iter().filter_map(|object| Record::read(&object.open()?)).collect(),
        set,
        below,
        pods: pods(Component::Replica),
        postgres: get(Kind::StatefulSet, &owner.postgres_set()).and_then(|set| set.open()),
        postgres_pods: pods(Component::Postgres),
        secrets: BTreeMap::new(),
        config_maps: BTreeMap::new(),
        claims: claims(caches, &owner),
        storage_classes: None,
        address: address(caches, &owner),
        class_known: None,
        told: BTreeMap::new(),
        lost_nodes: BTreeMap::new(),
        disruptions_allowed: get(Kind::PodDisruptionBudget, &owner.name)
            .and_then(|budget| budget.open::<PodDisruptionBudget>()?.status)
            .map(|status| status.disruptions_allowed.into()),
        held: held(caches, &owner),
        others: Vec::new(),
        databases: Vec::new(),
        owner,
    })
}

/// Who it is; objects that come from the API server have all of it.
pub(crate) fn owner(controller: &impl ResourceExt) -> Result<Owner, Error> {
    Ok(Owner {
        namespace: controller.namespace().ok_or(Error::Incomplete("namespace"))?,
        name: controller.meta().name.clone().ok_or(Error::Incomplete("name"))?,
        uid: controller.uid().ok_or(Error::Incomplete("uid"))?,
    })
}

/// Those that are ours.
fn own_secrets(
    context: &Context,
    caches: &Caches,
    owner: &Owner,
    spec: &Spec,
) -> BTreeMap<String, SecretSeen> {
    let mut found = BTreeMap::new();
    for name in own_names(owner, spec) {
        if let Some(secret) = caches.get(Kind::Secret, owner, &name).and_then(|secret| secret.open()) {
            if name == keys(owner, spec) {
                peer_keys(context, owner, &secret);
            }
            found.insert(name, seen(&secret));
        }
    }
    found
}

/// The name of the Secret with the keys.
pub(crate) fn keys(owner: &Owner, spec: &Spec) -> String {
    let given = spec.security.as_ref().and_then(|security| security.keys_secret_ref.as_ref());
    given.map_or_else(|| owner.keys(), |given| given.name.clone())
}

/// The names of those that are made, unless the spec names others in their place.
pub(crate) fn own_names(owner: &Owner, spec: &Spec) -> Vec<String> {
    let security = spec.security.as_ref();
    let (admin, keys) = (
        security.is_none_or(|given| given.admin_secret_ref.is_none()),
        security.is_none_or(|given| given.keys_secret_ref.is_none()),
    );
    let postgres = plan::builtin(spec).is_some();
    let all =
        [(admin, owner.admin()), (keys, owner.keys()), (true, owner.metrics()), (postgres, owner.postgres())];
    all.into_iter().filter_map(|(wanted, name)| wanted.then_some(name)).collect()
}

/// With them replicas are asked.
pub(crate) fn peer_keys(context: &Context, owner: &Owner, secret: &Secret) {
    let keys = secret.data.as_ref().and_then(|data| data.get(PEER_KEYS));
    if let Some(text) = keys.and_then(|keys| std::str::from_utf8(&keys.0).ok()) {
        context.replicas.keys(owner, &seen(secret).digest, text);
    }
}

pub(crate) fn seen(secret: &Secret) -> SecretSeen {
    let data = secret.data.clone().unwrap_or_default();
    let mut digest = Sha256::new();
    // other keys that somebody keeps there mean nothing to replicas
    let known = [AGENT_KEY, ENCRYPTION_KEYS, PEER_KEYS];
    for (key, value) in data.iter().filter(|(key, _)| known.contains(&key.as_str())) {
        for part in [key.as_bytes(), &value.0] {
            digest.update(u64::try_from(part.len()).unwrap_or_default().to_be_bytes());
            digest.update(part);
        }
    }
    SecretSeen { keys: data.into_keys().collect(), digest: hex::encode(digest.finalize()) }
}

/// Those that are ours.
fn claims(caches: &Caches, owner: &Owner) -> BTreeMap<String, PersistentVolumeClaim> {
    let all = caches.of(Kind::PersistentVolumeClaim, owner);
    all.iter().filter_map(|object| Some((object.name().to_owned(), object.open()?))).collect()
}

/// Addresses of whatever is in front; an HTTPRoute has none of its own, its Gateway's hosts are meant.
fn address(caches: &Caches, owner: &Owner) -> Option<Vec<String>> {
    let get = |kind| caches.get(kind, owner, &owner.name)?.open::<DynamicObject>();
    let text = |value: &serde_json::Value, path: &str| value.pointer(path)?.as_str().map(str::to_owned);
    if let Some(ingress) = get(Kind::Ingress) {
        let points = ingress.data.pointer("/status/loadBalancer/ingress").and_then(|all| all.as_array());
        let of = |point| text(point, "/hostname").or_else(|| text(point, "/ip"));
        return Some(points.into_iter().flatten().filter_map(of).collect());
    }
    if let Some(route) = get(Kind::HttpRoute) {
        let parents = route.data.pointer("/status/parents").and_then(|all| all.as_array());
        let accepted = |parent: &&serde_json::Value| {
            let conditions = parent.pointer("/conditions").and_then(|all| all.as_array());
            conditions.into_iter().flatten().any(|condition| {
                text(condition, "/type").as_deref() == Some("Accepted")
                    && text(condition, "/status").as_deref() == Some("True")
            })
        };
        let names = parents.into_iter().flatten().filter(accepted);
        return Some(names.filter_map(|parent| text(parent, "/parentRef/name")).collect());
    }
    let route = get(Kind::Route)?;
    let points = route.data.pointer("/status/ingress").and_then(|all| all.as_array());
    Some(points.into_iter().flatten().filter_map(|point| text(point, "/host")).collect())
}

/// Whether a volume is still to be made, or made larger: only then its class matters.
fn wants_volume(seen: &Seen) -> bool {
    let made = plan::volumes(&seen.controller.spec, &seen.owner);
    made.into_iter().filter(|volume| volume.storage.claim_name.is_none()).any(|volume| {
        let size = volume.storage.size.unwrap_or_default().to_string();
        let status = seen.claims.get(&volume.ours).and_then(|claim| claim.status.as_ref());
        let capacity = status.and_then(|status| status.capacity.as_ref()?.get("storage"));
        capacity.is_none_or(|capacity| smaller(&capacity.0, &size))
    })
}

async fn storage_classes(context: &Context) -> Option<Vec<StorageClassSeen>> {
    let api = Api::<StorageClass>::all(context.client.clone());
    let all = api.list(&ListParams::default()).await.ok()?;
    let seen = |class: StorageClass| StorageClassSeen {
        usual: class.annotations().get(USUAL).is_some_and(|word| word == "true"),
        grows: class.allow_volume_expansion == Some(true),
        name: class.name_any(),
    };
    Some(all.into_iter().map(seen).collect())
}

/// Nodes of pods that are not ready, if they do not answer.
async fn lost_nodes(context: &Context, seen: &Seen) -> BTreeMap<String, Timestamp> {
    let node = |pod: &Pod| pod.spec.as_ref()?.node_name.clone();
    let all = seen.pods.iter().chain(&seen.postgres_pods);
    let names: BTreeSet<String> = all.filter(|pod| !pods::ready(pod)).filter_map(node).collect();
    let api = Api::<Node>::all(context.client.clone());
    let mut lost = BTreeMap::new();
    for name in names {
        let since = match api.get_opt(&name).await {
            Ok(Some(node)) => unready_since(&node),
            // it was removed from the cluster, and Kubernetes removes its pods; or nobody may say
            Ok(None) | Err(_) => None,
        };
        lost.extend(since.map(|since| (name, since)));
    }
    lost
}

fn unready_since(node: &Node) -> Option<Timestamp> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    let Time(since) = ready.last_transition_time.as_ref()?;
    // it says nothing any more; one that says that it is not ready is alive, and its kubelet looks after its pods
    (ready.status == "Unknown").then_some(*since)
}
