//! How a controller is reached and watched.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::{NAME, Span};
use crate::words::words;

/// An Ingress. The address of the controller is its host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ingress {
    /// Host that users and agents say. Without it: any. Of two controllers with one host, the younger gets none.
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
    /// Its IngressClass. Without it: the default one of the cluster.
    #[schemars(length(min = 1, max = 253), extend("pattern" = NAME))]
    pub class_name: Option<String>,
    /// What paths begin with.
    #[schemars(length(min = 1, max = 255), extend("default" = "/"))]
    pub path: Option<String>,
    /// Users and agents say https://. Without it: http://.
    pub tls: Option<Tls>,
    /// For whoever implements it; at most 64. What nginx needs for WebSockets, logs and uploads is there already; the same
    /// annotation given here counts instead.
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The certificate of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tls {
    /// A Secret with tls.crt and tls.key, which cert-manager may write. Without it: the certificate that the ingress
    /// controller has for all.
    #[schemars(length(min = 1, max = 253), extend("pattern" = NAME))]
    pub secret_name: Option<String>,
}

/// An HTTPRoute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    /// The Gateways that it belongs to, 1 to 16.
    #[schemars(length(min = 1, max = 16))]
    pub parent_refs: Vec<ParentRef>,
    /// Host that users and agents say, with https://: the Gateway ends TLS. Without it: those of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
    /// At most 64.
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// A Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), extend("pattern" = NAME))]
    pub name: String,
    /// Its namespace. Without it: that of the controller.
    #[schemars(length(min = 1, max = 63), extend("pattern" = NAME))]
    pub namespace: Option<String>,
    /// One of its listeners. Without it: all that take such a route.
    #[schemars(length(min = 1, max = 253), extend("pattern" = NAME))]
    pub section_name: Option<String>,
}

/// A Route of OpenShift. The router ends TLS with its own certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Route {
    /// Host that users and agents say. Without it: one that the router makes.
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
    /// At most 64. What the router needs for WebSockets and long requests is there already; the same annotation given here
    /// counts instead.
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The Service that users and agents reach.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Service {
    #[serde(rename = "type")]
    #[schemars(extend("default" = "ClusterIP"))]
    pub kind: Option<ServiceType>,
    /// For whoever implements it; at most 64.
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: Option<BTreeMap<String, String>>,
}

words! {
    /// From where it can be reached.
    pub enum ServiceType {
        /// within the cluster.
        ClusterIP,
        /// at a port of each node.
        NodePort,
        /// at an address of its own.
        LoadBalancer,
    }
}

/// How Prometheus finds the replicas. Every replica serves `/metrics` to who shows the token in the Secret NAME-metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Monitoring {
    /// A ServiceMonitor is made, if the cluster knows such objects.
    pub enabled: bool,
    /// How often each replica is asked, more than 0. Such as 15s, 1m.
    pub interval: Span,
    /// Labels of the ServiceMonitor, by which a Prometheus may choose it; at most 64.
    #[schemars(extend("maxProperties" = 64))]
    pub labels: Option<BTreeMap<String, String>>,
}

impl Default for Monitoring {
    fn default() -> Monitoring {
        Monitoring { enabled: true, interval: Span(Duration::from_secs(30)), labels: None }
    }
}

/// Who may connect to the replicas. What replicas say to each other only replicas and the operator may, in any case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkPolicy {
    /// A NetworkPolicy is made.
    pub enabled: bool,
    /// Who may reach the port of users and agents; at most 32. Without it: everybody.
    #[schemars(length(max = 32))]
    pub from: Option<Vec<NetworkPolicyPeer>>,
}

impl Default for NetworkPolicy {
    fn default() -> NetworkPolicy {
        NetworkPolicy { enabled: true, from: None }
    }
}
