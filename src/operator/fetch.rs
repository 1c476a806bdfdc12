//! Reads all that a reconcile looks at: from the watches what is ours, from the API server what the spec names, from the replicas
//! what they say.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::api::networking::v1::IngressClass;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, ResourceExt};
use resource::{HAController, KeyRef, Spec};
use sha2::{Digest, Sha256};

use crate::cache::Caches;
use crate::check::smaller;
use crate::context::Context;
use crate::error::Error;
use crate::kinds::Kind;
use crate::names::{AGENT_KEY, Component, ENCRYPTION_KEYS, Owner, PEER_KEYS, URL};
use crate::others::held;
use crate::plan::{self, Apis};
use crate::pods;
use crate::record::Record;
use crate::seen::{SecretSeen, Seen, StorageClassSeen};

/// Of [`StorageClass`]: it is the one for those who name none.
const USUAL: &str = "storageclass.kubernetes.io/is-default-class";

/// Everything, read once.
pub(crate) async fn fetch(
    context: &Context,
    caches: &Caches,
    controller: &HAController,
) -> Result<Seen, Error> {
    let mut seen = watched(context.apis, caches, controller)?;
    let spec = &controller.spec;
    (seen.secrets, seen.databases) = secrets(context, caches, &seen.owner, spec).await?;
    seen.config_maps = config_maps(context, &seen.owner, spec).await?;
    seen.claims = claims(context, caches, &seen.owner, spec).await?;
    seen.class_known = class_known(context, spec).await;
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
    Ok(Seen {
        // Kubernetes writes times in whole seconds: with more, what was written would never be what is wanted
        now: Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default(),
        controller: controller.clone(),
        apis,
        records: records.iter().filter_map(|object| Record::read(&object.open()?)).collect(),
        set: get(Kind::StatefulSet, &owner.name).and_then(|set| set.open()),
        pods: pods(Component::Replica),
        postgres: get(Kind::StatefulSet, &owner.postgres_set()).and_then(|set| set.open()),
        postgres_pods: pods(Component::Postgres),
        secrets: BTreeMap::new(),
        config_maps: BTreeMap::new(),
        claims: BTreeMap::new(),
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

/// Those that are ours, and those that the spec names; and which database it is.
async fn secrets(
    context: &Context,
    caches: &Caches,
    owner: &Owner,
    spec: &Spec,
) -> Result<(BTreeMap<String, SecretSeen>, Vec<String>), Error> {
    let mut found = BTreeMap::new();
    let api = Api::<Secret>::namespaced(context.client.clone(), &owner.namespace);
    for name in own_secrets(owner, spec) {
        let known = caches.get(Kind::Secret, owner, &name).and_then(|secret| secret.open());
        // one that somebody has put back may lack the labels by which it would be watched
        let secret = match known {
            Some(secret) => Some(secret),
            None => api.get_opt(&name).await.map_err(Error::api(format!("read the Secret {name}")))?,
        };
        if let Some(secret) = secret {
            if spec.security.as_ref().is_none_or(|given| given.keys_secret_ref.is_none())
                && name == owner.keys()
            {
                peer_keys(context, owner, &secret);
            }
            found.insert(name, seen(&secret));
        }
    }
    let keys = spec.security.as_ref().and_then(|security| security.keys_secret_ref.as_ref());
    let store = spec.store.clone().unwrap_or_default();
    let mut databases = Vec::new();
    // objects on one volume tell by themselves whose they are
    let claims = plan::volumes(spec, owner).into_iter().filter(|volume| !volume.shared);
    let claims = claims.filter_map(|volume| volume.storage.claim_name);
    databases.extend(claims.map(|claim| format!("claim {}/{claim}", owner.namespace)));
    let cluster = store.cloud_native_pg.map(|given| given.cluster.unwrap_or_else(|| owner.cluster()));
    databases.extend(cluster.map(|cluster| format!("cluster {}/{cluster}", owner.namespace)));
    let postgres = store.postgres.unwrap_or_default();
    for name in named_secrets(spec) {
        let got = api.get_opt(&name).await.map_err(Error::api(format!("read the Secret {name}")))?;
        let Some(secret) = got else { continue };
        if let Some(KeyRef { name: of, key }) = postgres.secret_ref.as_ref().filter(|of| of.name == name) {
            let key = key.as_deref().unwrap_or(URL);
            databases.push(format!("secret {}/{of}/{key}", owner.namespace));
            let url = secret.data.as_ref().and_then(|data| data.get(key));
            databases.extend(url.and_then(|url| database(std::str::from_utf8(&url.0).ok()?)));
        }
        if keys.is_some_and(|keys| keys.name == name) {
            peer_keys(context, owner, &secret);
        }
        found.insert(name, seen(&secret));
    }
    databases.extend(postgres.url.as_deref().and_then(database));
    Ok((found, databases))
}

/// The names of those that are made, unless the spec names others in their place.
fn own_secrets(owner: &Owner, spec: &Spec) -> Vec<String> {
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

/// The names of all Secrets that the spec names.
fn named_secrets(spec: &Spec) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let store = spec.store.clone().unwrap_or_default();
    names.extend(store.postgres.and_then(|postgres| postgres.secret_ref).map(|of| of.name));
    let security = spec.security.clone().unwrap_or_default();
    names.extend(security.admin_secret_ref.map(|of| of.name));
    names.extend(security.keys_secret_ref.map(|of| of.name));
    names.extend(spec.image_pull_secrets.iter().flatten().map(|of| of.name.clone()));
    let objects = spec.objects.clone().unwrap_or_default();
    names.extend(objects.s3.and_then(|of| of.secret_ref).map(|of| of.name));
    names.extend(objects.gcs.and_then(|of| of.secret_ref).map(|of| of.name));
    names.extend(objects.azure.and_then(|of| of.secret_ref).map(|of| of.name));
    let configuration = spec.configuration_as_code.clone().unwrap_or_default();
    names.extend(configuration.secrets.into_iter().flatten().map(|of| of.name));
    let tls = spec.ingress.as_ref().and_then(|ingress| ingress.tls.as_ref()?.secret_name.clone());
    names.extend(tls);
    names
}

/// With them replicas are asked.
fn peer_keys(context: &Context, owner: &Owner, secret: &Secret) {
    let keys = secret.data.as_ref().and_then(|data| data.get(PEER_KEYS));
    if let Some(text) = keys.and_then(|keys| std::str::from_utf8(&keys.0).ok()) {
        context.replicas.keys(owner, &seen(secret).digest, text);
    }
}

fn seen(secret: &Secret) -> SecretSeen {
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

/// Host and name of a database: what two URLs for the same one have in common.
fn database(url: &str) -> Option<String> {
    let (_, rest) = url.trim().split_once("://")?;
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let place = place.split(['?', '#']).next()?;
    let (host, name) = place.split_once('/').unwrap_or((place, ""));
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:5432") };
    Some(format!("postgres {}/{name}", host.to_ascii_lowercase()))
}

async fn config_maps(
    context: &Context,
    owner: &Owner,
    spec: &Spec,
) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let configuration = spec.configuration_as_code.clone().unwrap_or_default();
    let api = Api::<ConfigMap>::namespaced(context.client.clone(), &owner.namespace);
    let mut found = BTreeMap::new();
    for KeyRef { name, .. } in configuration.config_maps.into_iter().flatten() {
        let got = api.get_opt(&name).await.map_err(Error::api(format!("read the ConfigMap {name}")))?;
        if let Some(map) = got {
            let keys = map.data.unwrap_or_default().into_keys();
            let keys = keys.chain(map.binary_data.unwrap_or_default().into_keys());
            found.insert(name, keys.collect());
        }
    }
    Ok(found)
}

async fn claims(
    context: &Context,
    caches: &Caches,
    owner: &Owner,
    spec: &Spec,
) -> Result<BTreeMap<String, PersistentVolumeClaim>, Error> {
    let mut found = BTreeMap::new();
    for object in caches.of(Kind::PersistentVolumeClaim, owner) {
        if let Some(claim) = object.open() {
            found.insert(object.name().to_owned(), claim);
        }
    }
    let api = Api::<PersistentVolumeClaim>::namespaced(context.client.clone(), &owner.namespace);
    for volume in plan::volumes(spec, owner) {
        let name = volume.claim().to_owned();
        if found.contains_key(&name) {
            continue;
        }
        let got = api.get_opt(&name).await;
        let got = got.map_err(Error::api(format!("read the PersistentVolumeClaim {name}")))?;
        found.extend(got.map(|claim| (name, claim)));
    }
    Ok(found)
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

/// `None` where nobody may say: an operator of a few namespaces has no rights on what belongs to the cluster.
async fn class_known(context: &Context, spec: &Spec) -> Option<bool> {
    let name = spec.ingress.as_ref()?.class_name.as_ref()?;
    let api = Api::<IngressClass>::all(context.client.clone());
    api.get_opt(name).await.ok().map(|found| found.is_some())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_database_is_known_by_all_its_addresses() {
        let of = |url| database(url).unwrap();
        assert_eq!(of("postgres://ci:p@DB.example.com/ci"), "postgres db.example.com:5432/ci");
        assert_eq!(
            of("postgresql://other:x@db.example.com:5432/ci?sslmode=require\n"),
            of("postgres://db.example.com/ci")
        );
        assert_ne!(of("postgres://db/one"), of("postgres://db/two"));
        assert_eq!(database("rubbish"), None);
    }
}
