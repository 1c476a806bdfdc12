//! The kinds of objects that belong to controllers.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{ApiResource, GroupVersionKind};

use crate::plan::Apis;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    ServiceAccount,
    Secret,
    PersistentVolumeClaim,
    ConfigMap,
    Service,
    PodDisruptionBudget,
    NetworkPolicy,
    ControllerRevision,
    StatefulSet,
    Pod,
    Ingress,
    HttpRoute,
    Route,
    ServiceMonitor,
    Cluster,
}

impl Kind {
    pub(crate) const ALL: [Kind; 15] = [
        Kind::ServiceAccount,
        Kind::Secret,
        Kind::PersistentVolumeClaim,
        Kind::ConfigMap,
        Kind::Service,
        Kind::PodDisruptionBudget,
        Kind::NetworkPolicy,
        Kind::ControllerRevision,
        Kind::StatefulSet,
        Kind::Pod,
        Kind::Ingress,
        Kind::HttpRoute,
        Kind::Route,
        Kind::ServiceMonitor,
        Kind::Cluster,
    ];

    pub(crate) fn resource(self) -> ApiResource {
        let of = |group: &str, version: &str, kind: &str, plural: &str| {
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
        };
        match self {
            Kind::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Kind::Secret => ApiResource::erase::<Secret>(&()),
            Kind::PersistentVolumeClaim => ApiResource::erase::<PersistentVolumeClaim>(&()),
            Kind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Kind::Service => ApiResource::erase::<Service>(&()),
            Kind::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Kind::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Kind::ControllerRevision => ApiResource::erase::<ControllerRevision>(&()),
            Kind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            Kind::Pod => ApiResource::erase::<Pod>(&()),
            Kind::Ingress => ApiResource::erase::<Ingress>(&()),
            Kind::HttpRoute => of("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
            Kind::Route => of("route.openshift.io", "v1", "Route", "routes"),
            Kind::ServiceMonitor => of("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
            Kind::Cluster => of("postgresql.cnpg.io", "v1", "Cluster", "clusters"),
        }
    }

    /// Whether each cluster has such objects; of the others, [`Apis`] says so.
    pub(crate) fn known(self, apis: Apis) -> bool {
        match self {
            Kind::HttpRoute => apis.http_route,
            Kind::Route => apis.route,
            Kind::ServiceMonitor => apis.service_monitor,
            Kind::Cluster => apis.cloud_native_pg,
            _ => true,
        }
    }

    /// Whether one that is not wanted any more is removed. Data, secrets and what was rolled out are not thrown away because
    /// a field is gone; pods are the StatefulSet's.
    pub(crate) fn pruned(self) -> bool {
        match self {
            Kind::Service
            | Kind::ConfigMap
            | Kind::NetworkPolicy
            | Kind::Ingress
            | Kind::HttpRoute
            | Kind::Route
            | Kind::ServiceMonitor => true,
            Kind::ServiceAccount
            | Kind::Secret
            | Kind::PersistentVolumeClaim
            | Kind::PodDisruptionBudget
            | Kind::ControllerRevision
            | Kind::StatefulSet
            | Kind::Pod
            | Kind::Cluster => false,
        }
    }
}
