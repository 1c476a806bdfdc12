//! The Services of the replicas.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use resource::{ServiceType, Spec};

use super::pod::{HEALTH, HTTP, PEERS};
use crate::names::{Component, HEALTH_PORT, Owner, PEER_PORT, SERVICE_PORT};

pub(super) fn port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}

/// By which each replica has a name, also one that is not ready: peers and the operator speak to it before.
pub(super) fn peers(owner: &Owner) -> Service {
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        selector: Some(owner.selector(Component::Replica)),
        publish_not_ready_addresses: Some(true),
        ports: Some(vec![port(PEERS, PEER_PORT), port(HEALTH, HEALTH_PORT)]),
        ..ServiceSpec::default()
    };
    Service {
        metadata: owner.meta(owner.peers(), Component::Replica),
        spec: Some(spec),
        ..Service::default()
    }
}

/// What users and agents reach: any replica that is ready.
pub(super) fn public(owner: &Owner, spec: &Spec) -> Service {
    let resource::Service { kind, annotations } = spec.service.clone().unwrap_or_default();
    let mut metadata = owner.meta(owner.name.clone(), Component::Replica);
    metadata.annotations = annotations;
    let spec = ServiceSpec {
        type_: Some(kind.unwrap_or(ServiceType::ClusterIP).as_str().to_owned()),
        selector: Some(owner.selector(Component::Replica)),
        ports: Some(vec![port(HTTP, SERVICE_PORT)]),
        ..ServiceSpec::default()
    };
    Service { metadata, spec: Some(spec), ..Service::default() }
}
