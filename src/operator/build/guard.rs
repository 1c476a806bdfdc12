//! What guards the pods: how many may be taken away at once, and who may connect to them.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use resource::Spec;

use crate::names::{Component, FIELD_MANAGER, HEALTH_PORT, HTTP_PORT, Owner, PEER_PORT, POSTGRES_PORT};
use crate::plan;

pub(super) fn budget(owner: &Owner) -> PodDisruptionBudget {
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(selector(owner, Component::Replica)),
        // a pod that serves nobody must not keep its node from being drained
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        ..PodDisruptionBudgetSpec::default()
    };
    PodDisruptionBudget {
        metadata: owner.meta(owner.name.clone(), Component::Replica),
        spec: Some(spec),
        ..PodDisruptionBudget::default()
    }
}

pub(super) fn policies(owner: &Owner, spec: &Spec) -> Vec<NetworkPolicy> {
    let resource::NetworkPolicy { enabled, from } = spec.network_policy.clone().unwrap_or_default();
    if !enabled {
        return Vec::new();
    }
    let mut rules = vec![
        rule(PEER_PORT, Some(vec![pods(owner), operator()])),
        // kubelets and whoever scrapes: a kubelet has no labels. It shows no more than whether all is well, and metrics to
        // who has the token.
        rule(HEALTH_PORT, None),
    ];
    // To Kubernetes an empty list means everybody, to who writes it nobody.
    if from.as_ref().is_none_or(|from| !from.is_empty()) {
        rules.insert(0, rule(HTTP_PORT, from));
    }
    let replicas = policy(owner, owner.name.clone(), Component::Replica, rules);
    let postgres = plan::builtin(spec).map(|_| {
        let rules = vec![rule(POSTGRES_PORT, Some(vec![pods(owner)]))];
        policy(owner, owner.postgres(), Component::Postgres, rules)
    });
    [Some(replicas), postgres].into_iter().flatten().collect()
}

fn policy(
    owner: &Owner,
    name: String,
    component: Component,
    rules: Vec<NetworkPolicyIngressRule>,
) -> NetworkPolicy {
    let spec = NetworkPolicySpec {
        pod_selector: Some(selector(owner, component)),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(rules),
        egress: None,
    };
    NetworkPolicy { metadata: owner.meta(name, component), spec: Some(spec) }
}

/// `None`: from everybody.
fn rule(port: i32, from: Option<Vec<NetworkPolicyPeer>>) -> NetworkPolicyIngressRule {
    let port = NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    NetworkPolicyIngressRule { ports: Some(vec![port]), from }
}

/// The replicas of this controller.
fn pods(owner: &Owner) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(selector(owner, Component::Replica)),
        ..NetworkPolicyPeer::default()
    }
}

/// The operator, in whatever namespace it is.
fn operator() -> NetworkPolicyPeer {
    let name = ("app.kubernetes.io/name".to_owned(), FIELD_MANAGER.to_owned());
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([name])),
            ..LabelSelector::default()
        }),
        ip_block: None,
    }
}

fn selector(owner: &Owner, component: Component) -> LabelSelector {
    LabelSelector { match_labels: Some(owner.selector(component)), ..LabelSelector::default() }
}
