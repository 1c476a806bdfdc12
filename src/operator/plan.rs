//! What is to be, with everything resolved that the spec refers to. Pure.

use std::fmt;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use resource::{Builtin, CloudNativePg, Objects, Spec, Sqlite, Storage, Store};
use rollout::Revision;

use crate::names::{Component, Owner};
use crate::record::{Inputs, Record};

/// Which objects the cluster knows besides its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Apis {
    /// `gateway.networking.k8s.io/v1` HTTPRoute
    pub http_route: bool,
    /// `route.openshift.io/v1` Route
    pub route: bool,
    /// `monitoring.coreos.com/v1` ServiceMonitor
    pub service_monitor: bool,
    /// `postgresql.cnpg.io/v1` Cluster
    pub cloud_native_pg: bool,
}

/// Images for those who name none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    pub replica: String,
    pub postgres: String,
}

/// Secrets that are to be made, because they are not there and never were. What is in them is by chance.
#[derive(Clone, Default)]
pub(crate) struct NewSecrets {
    /// The first administrator's password.
    pub admin: Option<String>,
    pub keys: Option<NewKeys>,
    /// What those show who scrape metrics.
    pub metrics: Option<String>,
    /// The password of the PostgreSQL that is made.
    pub postgres: Option<String>,
}

/// 64 hexadecimal digits each.
#[derive(Clone)]
pub(crate) struct NewKeys {
    pub agent: String,
    pub encryption: String,
    pub peer: String,
}

/// What the StatefulSet of the replicas is to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Set {
    /// Pods: those of the spec, and one more while a single one is replaced.
    pub replicas: usize,
    /// Pods from this ordinal on get the template; those below come back as what they were.
    pub partition: usize,
    pub revision: Revision,
    pub template: PodTemplateSpec,
    /// [`crate::names::ROLLOUT_ANNOTATION`]
    pub rollout: String,
}

/// Everything that objects are made of.
#[derive(Clone)]
pub(crate) struct Plan {
    pub owner: Owner,
    pub spec: Spec,
    pub apis: Apis,
    pub images: Images,
    pub secrets: NewSecrets,
    /// To be written, if it is not there yet.
    pub record: Option<Record>,
    /// `None`: it is left as it is, because what it would be can't be honoured.
    pub set: Option<Set>,
    /// What would lead from a host that another controller has: it is not made.
    pub taken: Vec<Front>,
    /// The controller has run before: its store is not empty.
    pub proven: bool,
}

/// What leads users to the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    Ingress,
    Gateway,
    Route,
}

/// Host and path that users say: what two controllers can't share. It is the same one in capital letters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    host: &'a str,
    path: &'a str,
}

impl<'a> Place<'a> {
    pub(crate) fn new(host: &'a str, path: &'a str) -> Place<'a> {
        Place { host, path: path.trim_matches('/') }
    }

    /// For those who keep it.
    pub(crate) fn key(&self) -> String {
        self.to_string().to_ascii_lowercase()
    }
}

impl PartialEq for Place<'_> {
    fn eq(&self, other: &Place<'_>) -> bool {
        self.host.eq_ignore_ascii_case(other.host) && self.path.eq_ignore_ascii_case(other.path)
    }
}

/// Always with a slash at its end.
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place { host, path: "" } => write!(f, "{host}/"),
            Place { host, path } => write!(f, "{host}/{path}/"),
        }
    }
}

/// What replicas must be replaced for, as the spec says it.
pub fn inputs(spec: &Spec, keys: &str, restarted_at: Option<&str>, asked: i64) -> Inputs {
    Inputs {
        image: spec.image.clone(),
        image_pull_policy: spec.image_pull_policy,
        image_pull_secrets: spec.image_pull_secrets.clone().unwrap_or_default(),
        plugins: spec.plugins.clone().unwrap_or_default(),
        store: store(spec),
        objects: objects(spec),
        resources: spec.resources.clone(),
        pod_template: spec.pod_template.clone(),
        security: spec.security.clone(),
        url: url(spec),
        trusted_proxies: spec.trusted_proxies.clone().unwrap_or_default(),
        keys: keys.to_owned(),
        restarted_at: restarted_at.map(str::to_owned),
        asked,
        of_operator: None,
    }
}

/// Where pods find the store; how large it is means nothing to them.
fn store(spec: &Spec) -> Store {
    let Store { postgres, builtin: _, sqlite, cloud_native_pg } = spec.store.clone().unwrap_or_default();
    Store {
        postgres,
        builtin: builtin(spec).map(|_| Builtin::default()),
        sqlite: sqlite.map(|Sqlite { storage }| Sqlite { storage: storage.and_then(claimed) }),
        cloud_native_pg: cloud_native_pg
            .map(|CloudNativePg { cluster, .. }| CloudNativePg { cluster, ..CloudNativePg::default() }),
    }
}

fn objects(spec: &Spec) -> Objects {
    let objects = spec.objects.clone().unwrap_or_default();
    let volume = objects.volume.map(|storage| claimed(storage).unwrap_or_default());
    Objects { volume, ..objects }
}

/// Only which claim it is, when it is not one of ours.
fn claimed(Storage { claim_name, .. }: Storage) -> Option<Storage> {
    claim_name.map(|name| Storage { claim_name: Some(name), ..Storage::default() })
}

/// Where users reach the controller, as far as the spec says it; always with a slash at its end.
pub(crate) fn url(spec: &Spec) -> Option<String> {
    let (front, place) = fronts(spec).next()?;
    let tls = match front {
        Front::Ingress => spec.ingress.as_ref().is_some_and(|ingress| ingress.tls.is_some()),
        // a Gateway of which only the name is known may or may not end TLS: agents and users are told what is safe
        Front::Gateway | Front::Route => true,
    };
    Some(format!("{}://{place}", if tls { "https" } else { "http" }))
}

/// Whatever leads to the controller from a host that the spec says, and from where.
pub(crate) fn fronts(spec: &Spec) -> impl Iterator<Item = (Front, Place<'_>)> {
    let ingress = spec.ingress.as_ref().and_then(|ingress| {
        let place = Place::new(ingress.host.as_deref()?, ingress.path.as_deref().unwrap_or_default());
        Some((Front::Ingress, place))
    });
    let gateway = spec.gateway.as_ref().and_then(|gateway| gateway.host.as_deref());
    let gateway = gateway.map(|host| (Front::Gateway, Place::new(host, "")));
    let route = spec.route.as_ref().and_then(|route| route.host.as_deref());
    let route = route.map(|host| (Front::Route, Place::new(host, "")));
    [ingress, gateway, route].into_iter().flatten()
}

/// From where users come, by all that leads to the controller.
pub(crate) fn places(spec: &Spec) -> impl Iterator<Item = Place<'_>> {
    fronts(spec).map(|(_, place)| place)
}

/// The PostgreSQL that the operator starts, also when no store is named.
pub(crate) fn builtin(spec: &Spec) -> Option<Builtin> {
    let Store { postgres, builtin, sqlite, cloud_native_pg } = spec.store.clone().unwrap_or_default();
    let other = postgres.is_some() || sqlite.is_some() || cloud_native_pg.is_some();
    builtin.or_else(|| (!other).then(Builtin::default))
}

/// A volume that the spec asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Volume {
    /// Where the spec says it.
    pub(crate) path: &'static str,
    pub(crate) component: Component,
    /// All replicas mount it at once.
    pub(crate) shared: bool,
    /// The claim that is made, unless `storage` names one that is there already.
    pub(crate) ours: String,
    pub(crate) storage: Storage,
}

impl Volume {
    /// The claim that pods mount.
    pub(crate) fn claim(&self) -> &str {
        self.storage.claim_name.as_deref().unwrap_or(&self.ours)
    }
}

/// All of them.
pub(crate) fn volumes(spec: &Spec, owner: &Owner) -> Vec<Volume> {
    let home = spec.store.as_ref().and_then(|store| store.sqlite.clone()).map(|sqlite| Volume {
        path: "spec.store.sqlite.storage",
        component: Component::Replica,
        shared: false,
        ours: owner.home(),
        storage: sqlite.storage.unwrap_or_default(),
    });
    let postgres = builtin(spec).map(|builtin| Volume {
        path: "spec.store.builtin.storage",
        component: Component::Postgres,
        shared: false,
        ours: owner.postgres(),
        storage: builtin.storage.unwrap_or_default(),
    });
    let objects = spec.objects.as_ref().and_then(|objects| objects.volume.clone()).map(|storage| Volume {
        path: "spec.objects.volume",
        component: Component::Replica,
        shared: true,
        ours: owner.objects(),
        storage,
    });
    [home, postgres, objects].into_iter().flatten().collect()
}
