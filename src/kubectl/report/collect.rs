//! What is read for a report: which kinds, and how each is found.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::Api;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use crate::cluster::{Cluster, pages};
use crate::error::{Call, Error};
use crate::overview::selector;
use crate::version::OPERATOR;

/// Most Events that are kept: the newest.
const EVENTS: usize = 2_000;
/// By which the operators of one namespace agree who leads.
const LEASE: &str = "majordomo-operator";

/// Group, version, kind, plural of what may have the controller's label. The last four need not be known to the cluster.
const KINDS: [(&str, &str, &str, &str); 15] = [
    ("apps", "v1", "StatefulSet", "statefulsets"),
    ("apps", "v1", "ControllerRevision", "controllerrevisions"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "Service", "services"),
    ("", "v1", "ConfigMap", "configmaps"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    ("networking.k8s.io", "v1", "Ingress", "ingresses"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
    ("route.openshift.io", "v1", "Route", "routes"),
    ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
    ("postgresql.cnpg.io", "v1", "Cluster", "clusters"),
];

/// Everything but logs and Secrets.
pub(super) struct Collected {
    /// Of the controller.
    pub(super) name: String,
    /// Path in the report, and the object; not scrubbed yet.
    pub(super) objects: Vec<(String, Value)>,
    /// Pods whose logs are wanted, with the folder they go to.
    pub(super) pods: Vec<(&'static str, Pod)>,
    pub(super) missing: Vec<String>,
}

pub(super) async fn collect(cluster: &Cluster, name: &str) -> Result<Collected, Error> {
    let mut all =
        Collected { name: name.to_owned(), objects: Vec::new(), pods: Vec::new(), missing: Vec::new() };
    if let Some(object) = cluster.raw_controller(name).await? {
        all.put(format!("objects/hacontroller-{name}.yaml"), serde_json::to_value(object));
    }
    // without a right to it, what a cluster does not know can't be told from what is hidden
    let groups = cluster.client.list_api_groups().await.map(|all| all.groups).ok();
    let unknown = |name: &str| groups.as_ref().is_some_and(|all| !all.iter().any(|group| group.name == name));
    for (group, version, kind, plural) in KINDS {
        if !group.is_empty() && unknown(group) {
            continue;
        }
        let resource = known(group, version, kind, plural);
        let api = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
        let found = all.list(cluster, api, &resource, &selector(name, None)).await;
        all.take("objects", "logs", &resource, found);
    }
    events(cluster, &mut all).await;
    operator(cluster, &mut all).await;
    nodes(cluster, &mut all).await;
    Ok(all)
}

fn known(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

impl Collected {
    fn put(&mut self, path: String, object: Result<Value, serde_json::Error>) {
        match object {
            Ok(object) => self.objects.push((path, object)),
            Err(error) => self.missing.push(format!("{path}: {error}")),
        }
    }

    /// What a cluster does not know is not missing.
    async fn list(
        &mut self,
        cluster: &Cluster,
        api: Api<DynamicObject>,
        resource: &ApiResource,
        labels: &str,
    ) -> Vec<DynamicObject> {
        let found = pages(&api, ListParams::default().labels(labels)).await;
        let namespace = api.namespace().unwrap_or_default().to_owned();
        let error = |error| Error::of(error, call("list", resource, namespace), &cluster.server);
        found.map_err(error).unwrap_or_else(|error| {
            self.missing.extend((!error.absent()).then(|| error.to_string()));
            Vec::new()
        })
    }

    fn take(&mut self, folder: &str, logs: &'static str, resource: &ApiResource, found: Vec<DynamicObject>) {
        for mut object in found {
            // lists leave out what all in them are
            object.types = Some(kube::core::TypeMeta {
                api_version: resource.api_version.clone(),
                kind: resource.kind.clone(),
            });
            without_bytes(&mut object.data);
            if resource.kind == "Pod"
                && let Ok(pod) = object.clone().try_parse()
            {
                self.pods.push((logs, pod));
            }
            let name = object.metadata.name.clone().unwrap_or_default();
            let kind = resource.kind.to_lowercase();
            self.put(format!("{folder}/{kind}-{name}.yaml"), serde_json::to_value(object));
        }
    }
}

fn call(verb: &'static str, resource: &ApiResource, namespace: String) -> Call {
    let ApiResource { group, plural, .. } = resource;
    let what = if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") };
    Call { verb, what, namespace }
}

/// Bytes in a ConfigMap can't be scrubbed: their size is told.
fn without_bytes(object: &mut Value) {
    if let Some(Value::Object(keys)) = object.get_mut("binaryData") {
        for value in keys.values_mut() {
            let size = value.as_str().map_or(0, str::len);
            *value = Value::from(format!("{size} characters of base64"));
        }
    }
}

async fn events(cluster: &Cluster, all: &mut Collected) {
    match cluster.list::<Event>(ListParams::default()).await {
        Ok(found) => {
            let ours = found.into_iter().filter(|event| about(&all.name, event)).collect();
            let kept = newest(ours);
            all.put("objects/events.yaml".to_owned(), serde_json::to_value(kept));
        }
        Err(error) => all.missing.push(error.to_string()),
    }
}

/// Of the resource, or of what is named after it.
fn about(name: &str, event: &Event) -> bool {
    let of = event.involved_object.name.as_deref().unwrap_or_default();
    of == name || of.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
}

fn newest(mut events: Vec<Event>) -> Vec<Event> {
    let at = |event: &Event| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        last.or(event.event_time.as_ref().map(|time| time.0)).or(event
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0))
    };
    events.sort_by_key(at);
    events.split_off(events.len().saturating_sub(EVENTS))
}

/// The operator's objects, in whichever namespace it is.
async fn operator(cluster: &Cluster, all: &mut Collected) {
    let deployments = known("apps", "v1", "Deployment", "deployments");
    let found =
        all.list(cluster, Api::all_with(cluster.client.clone(), &deployments), &deployments, OPERATOR).await;
    let namespaces: BTreeSet<String> =
        found.iter().filter_map(|one| one.metadata.namespace.clone()).collect();
    let names: BTreeSet<String> = found.iter().map(lease).collect();
    all.take("operator", "operator", &deployments, found);
    for namespace in namespaces {
        let pods = known("", "v1", "Pod", "pods");
        let api = Api::namespaced_with(cluster.client.clone(), &namespace, &pods);
        let found = all.list(cluster, api, &pods, OPERATOR).await;
        all.take("operator", "operator", &pods, found);
        let leases = known("coordination.k8s.io", "v1", "Lease", "leases");
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &namespace, &leases);
        let found = all.list(cluster, api, &leases, "").await;
        let ours = found
            .into_iter()
            .filter(|lease| lease.metadata.name.as_ref().is_some_and(|name| names.contains(name)));
        all.take("operator", "operator", &leases, ours.collect());
    }
}

/// The name of the Lease that an operator is told.
fn lease(deployment: &DynamicObject) -> String {
    let containers = deployment.data["spec"]["template"]["spec"]["containers"].as_array();
    let containers = containers.into_iter().flatten();
    let mut arguments = containers.flat_map(|one| one["args"].as_array().into_iter().flatten());
    let named = arguments.find_map(|argument| argument.as_str()?.strip_prefix("--lease-name="));
    named.unwrap_or(LEASE).to_owned()
}

/// What the nodes of the pods say of themselves.
async fn nodes(cluster: &Cluster, all: &mut Collected) {
    let names: BTreeSet<String> =
        all.pods.iter().filter_map(|(_, pod)| pod.spec.as_ref()?.node_name.clone()).collect();
    let api: Api<Node> = Api::all(cluster.client.clone());
    let mut told = Vec::new();
    for name in names {
        match api.get_opt(&name).await {
            Ok(node) => told.extend(node.map(|node| of_node(&node))),
            Err(error) => {
                let call = Call { verb: "get", what: "nodes".to_owned(), namespace: String::new() };
                all.missing.push(Error::of(error, call, &cluster.server).to_string());
                break;
            }
        }
    }
    if !told.is_empty() {
        all.put("objects/nodes.yaml".to_owned(), Ok(Value::from(told)));
    }
}

fn of_node(node: &Node) -> Value {
    let status = node.status.clone().unwrap_or_default();
    let spec = node.spec.clone().unwrap_or_default();
    json!({
        "name": node.metadata.name,
        "conditions": status.conditions,
        "allocatable": status.allocatable,
        "nodeInfo": status.node_info,
        "taints": spec.taints,
        "unschedulable": spec.unschedulable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(of: &str, at: &str) -> Event {
        let value = json!({ "involvedObject": { "name": of }, "metadata": {}, "lastTimestamp": at });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn events_of_other_controllers_stay_out() {
        for (of, ours) in
            [("acme", true), ("acme-0", true), ("acme-postgres-0", true), ("acmes", false), ("other", false)]
        {
            assert_eq!(about("acme", &event(of, "2026-11-26T20:00:00Z")), ours, "{of}");
        }
    }

    #[test]
    fn the_newest_events_are_kept() {
        let at = |n: usize| format!("2026-11-26T20:{:02}:{:02}Z", n / 60 % 60, n % 60);
        let many: Vec<Event> = (0..EVENTS + 5).rev().map(|n| event("acme", &at(n))).collect();
        let kept = newest(many);
        assert_eq!(kept.len(), EVENTS);
        assert_eq!(kept[0].last_timestamp.as_ref().map(|time| time.0.to_string()), Some(at(5)));
    }

    #[test]
    fn bytes_of_a_config_map_are_counted_only() {
        let mut map = json!({ "data": { "a": "b" }, "binaryData": { "key": "aGVsbG8=" } });
        without_bytes(&mut map);
        assert_eq!(map, json!({ "data": { "a": "b" }, "binaryData": { "key": "8 characters of base64" } }));
    }
}
