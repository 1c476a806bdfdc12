//! What the spec names and no watch brings: Secrets, ConfigMaps and volumes of somebody else, a class of the cluster. Of a
//! controller at rest it is read once a minute: hundreds of them would otherwise ask the API server hundreds of times a second.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};
use k8s_openapi::api::networking::v1::IngressClass;
use kube::Api;
use resource::{HAController, KeyRef, Spec};

use crate::cache::Caches;
use crate::context::Context;
use crate::error::Error;
use crate::fetch::{keys, own_names, peer_keys, seen};
use crate::kinds::Kind;
use crate::names::{Owner, URL};
use crate::plan;
use crate::seen::SecretSeen;

/// So long it may be known of a controller at rest. A kubelet takes as long until a pod sees what a Secret says now.
const FRESH: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    /// Also those of ours that no watch brings: somebody has put them back without their labels, or taken them away.
    pub secrets: BTreeMap<String, SecretSeen>,
    /// How its database, and whatever else only one controller may have, can be told from those of others.
    pub databases: Vec<String>,
    /// The keys of each.
    pub config_maps: BTreeMap<String, BTreeSet<String>>,
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
    /// Whether there is the class of its ingress; `None` where nobody may say.
    pub class_known: Option<bool>,
}

/// What was read of a controller last.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    named: Named,
    of: Version,
    at: Instant,
}

/// Which resource named it: its uid and generation.
type Version = (String, Option<i64>);

impl Read {
    /// Unless another one may be named by now, or it may have changed.
    fn recent(&self, of: &Version, now: Instant) -> Option<Named> {
        let same = self.of == *of && now.saturating_duration_since(self.at) < FRESH;
        same.then(|| self.named.clone())
    }
}

/// What was read lately, of a controller that rests, or is read now.
pub(crate) async fn named(
    context: &Context,
    caches: &Caches,
    owner: &Owner,
    controller: &HAController,
    rests: bool,
) -> Result<Named, Error> {
    let of = (owner.uid.clone(), controller.metadata.generation);
    let recent = |read: &Read| read.recent(&of, Instant::now());
    let known = context.with(owner, |memory| memory.read.as_ref().filter(|_| rests).and_then(recent));
    if let Some(known) = known {
        return Ok(known);
    }
    let spec = &controller.spec;
    let (secrets, databases) = secrets(context, caches, owner, spec).await?;
    let named = Named {
        secrets,
        databases,
        config_maps: config_maps(context, owner, spec).await?,
        claims: claims(context, caches, owner, spec).await?,
        class_known: class_known(context, spec).await?,
    };
    context.with(owner, |memory| {
        memory.read = Some(Read { named: named.clone(), of, at: Instant::now() });
    });
    Ok(named)
}

/// Those that the spec names, and those of ours that no watch brings; and which database it is.
async fn secrets(
    context: &Context,
    caches: &Caches,
    owner: &Owner,
    spec: &Spec,
) -> Result<(BTreeMap<String, SecretSeen>, Vec<String>), Error> {
    let mut found = BTreeMap::new();
    let api = Api::<Secret>::namespaced(context.client.clone(), &owner.namespace);
    let store = spec.store.clone().unwrap_or_default();
    let mut databases = Vec::new();
    // objects on one volume tell by themselves whose they are
    let claims = plan::volumes(spec, owner).into_iter().filter(|volume| !volume.shared);
    databases.extend(claims.map(|volume| of_claim(owner, volume.claim())));
    let cluster = store.cloud_native_pg.map(|given| given.cluster.unwrap_or_else(|| owner.cluster()));
    databases.extend(cluster.map(|cluster| format!("cluster {}/{cluster}", owner.namespace)));
    let postgres = store.postgres.unwrap_or_default();
    let unknown = own_names(owner, spec).into_iter();
    let unknown = unknown.filter(|name| caches.get(Kind::Secret, owner, name).is_none());
    for name in unknown.chain(named_secrets(spec)).collect::<BTreeSet<_>>() {
        let got = api.get_opt(&name).await.map_err(Error::api(format!("read the Secret {name}")))?;
        let Some(secret) = got else { continue };
        if let Some(KeyRef { name: of, key }) = postgres.secret_ref.as_ref().filter(|of| of.name == name) {
            let key = key.as_deref().unwrap_or(URL);
            databases.push(format!("secret {}/{of}/{key}", owner.namespace));
            let url = secret.data.as_ref().and_then(|data| data.get(key));
            databases.extend(url.and_then(|url| database(std::str::from_utf8(&url.0).ok()?, owner)));
        }
        if name == keys(owner, spec) {
            peer_keys(context, owner, &secret);
        }
        found.insert(name, seen(&secret));
    }
    databases.extend(postgres.url.as_deref().and_then(|url| database(url, owner)));
    Ok((found, databases))
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

/// A volume that only one database may be on.
pub(crate) fn of_claim(owner: &Owner, claim: &str) -> String {
    format!("claim {}/{claim}", owner.namespace)
}

/// Host and name of a database: what two URLs for the same one have in common. A host without a dot is a Service of the namespace.
/// `None`: it may be another one in each pod.
fn database(url: &str, owner: &Owner) -> Option<String> {
    let (_, rest) = url.trim().split_once("://")?;
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let place = place.split(['?', '#']).next()?;
    let (host, name) = place.split_once('/').unwrap_or((place, ""));
    let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()));
    let (host, port) = port.unwrap_or((host, "5432"));
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    let loops = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if host.is_empty() || host == "localhost" || loops {
        return None;
    }
    let host = match host.matches('.').count() {
        _ if host.contains(':') => host,
        0 => format!("{host}.{}.svc", owner.namespace),
        // a name of somebody else's is the same for all, too
        1 => format!("{host}.svc"),
        _ => host.trim_end_matches(".cluster.local").to_owned(),
    };
    Some(format!("postgres {host}:{port}/{name}"))
}

/// Those that no watch brings.
async fn claims(
    context: &Context,
    caches: &Caches,
    owner: &Owner,
    spec: &Spec,
) -> Result<BTreeMap<String, PersistentVolumeClaim>, Error> {
    let mut found = BTreeMap::new();
    let api = Api::<PersistentVolumeClaim>::namespaced(context.client.clone(), &owner.namespace);
    for volume in plan::volumes(spec, owner) {
        let name = volume.claim().to_owned();
        if caches.get(Kind::PersistentVolumeClaim, owner, &name).is_some() {
            continue;
        }
        let got = api.get_opt(&name).await;
        let got = got.map_err(Error::api(format!("read the PersistentVolumeClaim {name}")))?;
        found.extend(got.map(|mut claim| {
            claim.metadata.managed_fields = None;
            (name, claim)
        }));
    }
    Ok(found)
}

/// `None` where nobody may say: an operator of a few namespaces has no rights on what belongs to the cluster.
async fn class_known(context: &Context, spec: &Spec) -> Result<Option<bool>, Error> {
    let Some(name) = spec.ingress.as_ref().and_then(|ingress| ingress.class_name.as_ref()) else {
        return Ok(None);
    };
    let api = Api::<IngressClass>::all(context.client.clone());
    match api.get_opt(name).await {
        Ok(found) => Ok(Some(found.is_some())),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        Err(error) => Err(Error::api(format!("read the IngressClass {name}"))(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_database_is_known_by_all_its_addresses() {
        let owner = |namespace: &str| Owner {
            namespace: namespace.to_owned(),
            name: "acme".to_owned(),
            uid: "uid-1".to_owned(),
        };
        let of = |url| database(url, &owner("ci")).unwrap();
        assert_eq!(of("postgres://ci:p@DB.example.com/ci"), "postgres db.example.com:5432/ci");
        assert_eq!(
            of("postgresql://other:x@db.example.com:5432/ci?sslmode=require\n"),
            of("postgres://db.example.com/ci")
        );
        assert_ne!(of("postgres://db/one"), of("postgres://db/two"));
        // a Service of the namespace, under all its names
        assert_eq!(of("postgres://db/ci"), of("postgres://db.ci.svc:5432/ci"));
        assert_eq!(of("postgres://db/ci"), of("postgres://db.ci.svc.cluster.local/ci"));
        assert_eq!(of("postgres://db/ci"), of("postgres://db.ci/ci"));
        assert_ne!(Some(of("postgres://db/ci")), database("postgres://db/ci", &owner("team")));
        assert_eq!(of("postgres://[2001:db8::1]:5433/ci"), "postgres 2001:db8::1:5433/ci");
        for of_each_pod in
            ["rubbish", "postgres://localhost/ci", "postgres://127.0.0.1:5432/ci", "postgres:///ci?host=/run"]
        {
            assert_eq!(database(of_each_pod, &owner("ci")), None, "{of_each_pod}");
        }
    }

    #[test]
    fn what_was_read_counts_for_a_minute_and_for_one_spec() {
        let of = |uid: &str, generation| (uid.to_owned(), generation);
        let read = Read { named: Named::default(), of: of("1", Some(3)), at: Instant::now() };
        let after = |of: Version, seconds| read.recent(&of, read.at + Duration::from_secs(seconds)).is_some();
        assert_eq!([0, 59, 60].map(|seconds| after(of("1", Some(3)), seconds)), [true, true, false]);
        for other in [of("1", Some(4)), of("1", None), of("2", Some(3))] {
            assert!(!after(other.clone(), 0), "{other:?}");
        }
    }
}
