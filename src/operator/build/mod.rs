//! The objects of a controller, as they are to be. Pure: plans in, objects out.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{
    ConfigMap, LocalObjectReference, PersistentVolumeClaim, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, TypeMeta};
use resource::Named;
use serde_json::{Value, json};

use crate::names::{Component, EXPECTED, Owner};
use crate::plan::{self, Front, Plan};

mod cluster;
mod expose;
mod guard;
mod label;
mod monitor;
mod overlay;
mod pod;
mod postgres;
mod secret;
mod security;
mod service;
mod set;
mod share;
mod state;
mod volume;

pub(crate) use overlay::TemplateError;
pub(crate) use pod::template;

/// Everything that is applied. What is `None` is not wanted: it is removed if it is there and ours.
#[derive(Clone, PartialEq)]
pub(crate) struct Objects {
    pub service_account: ServiceAccount,
    /// Made if they are missing, and never written again.
    pub secrets: Vec<Secret>,
    /// Volumes that stay when the resource is removed.
    pub claims: Vec<PersistentVolumeClaim>,
    pub postgres: Option<Postgres>,
    /// It stays, too.
    pub cloud_native_pg: Option<DynamicObject>,
    /// What replicas may count on when they start.
    pub home: Option<ConfigMap>,
    pub peers: Service,
    pub public: Service,
    pub ingress: Option<Ingress>,
    pub http_route: Option<DynamicObject>,
    pub route: Option<DynamicObject>,
    pub budget: PodDisruptionBudget,
    pub network_policies: Vec<NetworkPolicy>,
    pub monitor: Option<DynamicObject>,
    pub record: Option<ControllerRevision>,
    pub set: Option<StatefulSet>,
}

/// The single PostgreSQL for a first try.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Postgres {
    /// Its own: what a cloud lets replicas do is nothing to a database.
    pub account: ServiceAccount,
    /// The script that it starts with.
    pub script: ConfigMap,
    pub service: Service,
    pub set: StatefulSet,
}

/// Only whose objects they are and which Secrets are among them: what is in those is shown to nobody.
impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            self.secrets.iter().filter_map(|secret| secret.metadata.name.as_deref()).collect();
        f.debug_struct("Objects")
            .field("of", &self.service_account.metadata.name)
            .field("secrets", &names)
            .finish_non_exhaustive()
    }
}

/// All objects. Those that the cluster has no definition of are left out.
pub(crate) fn objects(plan: &Plan) -> Objects {
    let Plan { owner, spec, apis, images, secrets, record, set, taken, proven } = plan;
    let free = |front| !taken.contains(&front);
    Objects {
        service_account: account(owner, owner.name.clone(), Component::Replica),
        secrets: secret::secrets(secrets, owner),
        claims: plan::volumes(spec, owner).iter().filter_map(|of| volume::claim(owner, of)).collect(),
        postgres: postgres::postgres(owner, spec, images),
        cloud_native_pg: apis.cloud_native_pg.then(|| cluster::cluster(owner, spec)).flatten(),
        home: proven.then(|| home(owner)),
        peers: service::peers(owner),
        public: service::public(owner, spec),
        ingress: free(Front::Ingress).then(|| expose::ingress(owner, spec)).flatten(),
        http_route: (free(Front::Gateway) && apis.http_route)
            .then(|| expose::http_route(owner, spec))
            .flatten(),
        route: (free(Front::Route) && apis.route).then(|| expose::route(owner, spec)).flatten(),
        budget: guard::budget(owner),
        network_policies: guard::policies(owner, spec),
        monitor: apis.service_monitor.then(|| monitor::monitor(owner, spec)).flatten(),
        record: record.as_ref().map(|record| record.object(owner)),
        set: set.as_ref().map(|set| set::set(set, owner)),
    }
}

/// Says that the controller has run before, so that no replica begins anew in a database that is empty: one that was lost, or another
/// one under an address that was changed. It goes with the controller.
fn home(owner: &Owner) -> ConfigMap {
    ConfigMap {
        metadata: owner.meta(owner.home(), Component::Replica),
        data: Some(BTreeMap::from([(EXPECTED.to_owned(), "true".to_owned())])),
        ..ConfigMap::default()
    }
}

/// With what images are fetched; none where nothing is said, so that those of the ServiceAccount count.
fn pull_secrets(named: &[Named]) -> Option<Vec<LocalObjectReference>> {
    let pull = |Named { name }: &Named| LocalObjectReference { name: name.clone() };
    (!named.is_empty()).then(|| named.iter().map(pull).collect())
}

/// Pods may do nothing in the cluster. It is there so that a cloud can give it rights of its own, to a bucket or a key.
fn account(owner: &Owner, name: String, component: Component) -> ServiceAccount {
    ServiceAccount {
        metadata: owner.meta(name, component),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// An object of somebody else's definition.
fn foreign(api_version: &str, kind: &str, metadata: ObjectMeta, spec: Value) -> DynamicObject {
    let types = TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() };
    DynamicObject { types: Some(types), metadata, data: json!({ "spec": spec }) }
}

#[cfg(test)]
mod tests;
