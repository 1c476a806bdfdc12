//! What is put in front of the controller.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use resource::{Gateway, ParentRef, Route, Spec, Tls};
use serde_json::{Map, Value, json};

use super::foreign;
use super::pod::HTTP;
use crate::names::{Component, Owner, SERVICE_PORT};

/// What replicas need of nginx; `deploy/nginx` says why. Request bodies are read before a replica is chosen, which is what nginx
/// does by itself, and what may have been carried out is not sent again. Traefik needs nothing.
const NGINX: [(&str, &str); 7] = [
    // a replica that is about to end does not answer who connects: the next one is asked
    ("proxy-connect-timeout", "1"),
    ("proxy-next-upstream", "error timeout"),
    ("proxy-next-upstream-tries", "3"),
    // links of agents, and logs that are read as they are written
    ("proxy-read-timeout", "3600"),
    ("proxy-send-timeout", "3600"),
    ("proxy-buffering", "off"),
    ("proxy-body-size", "64m"),
];

/// For OpenShift's router: the same, and that any replica serves any request.
const ROUTER: [(&str, &str); 4] =
    [("timeout", "1h"), ("timeout-tunnel", "1h"), ("balance", "leastconn"), ("disable_cookies", "true")];

/// Ours, and over them those of the user.
fn annotated(
    owner: &Owner,
    prefix: &str,
    ours: &[(&str, &str)],
    theirs: Option<&BTreeMap<String, String>>,
) -> ObjectMeta {
    let mut metadata = owner.meta(owner.name.clone(), Component::Replica);
    let mut annotations: BTreeMap<String, String> =
        ours.iter().map(|(name, value)| (format!("{prefix}/{name}"), (*value).to_owned())).collect();
    annotations.extend(theirs.cloned().unwrap_or_default());
    metadata.annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
    metadata
}

pub(super) fn ingress(owner: &Owner, spec: &Spec) -> Option<Ingress> {
    let resource::Ingress { host, class_name, path, tls, annotations } = spec.ingress.as_ref()?;
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: owner.name.clone(),
            port: Some(ServiceBackendPort { number: Some(SERVICE_PORT), name: None }),
        }),
        resource: None,
    };
    let path = HTTPIngressPath {
        path: Some(format!("/{}", path.as_deref().unwrap_or_default().trim_matches('/'))),
        path_type: "Prefix".to_owned(),
        backend,
    };
    let rule = IngressRule { host: host.clone(), http: Some(HTTPIngressRuleValue { paths: vec![path] }) };
    let tls = tls.as_ref().map(|Tls { secret_name }| IngressTLS {
        hosts: host.clone().map(|host| vec![host]),
        secret_name: secret_name.clone(),
    });
    let spec = IngressSpec {
        ingress_class_name: class_name.clone(),
        rules: Some(vec![rule]),
        tls: tls.map(|tls| vec![tls]),
        default_backend: None,
    };
    let metadata = annotated(owner, "nginx.ingress.kubernetes.io", &NGINX, annotations.as_ref());
    Some(Ingress { metadata, spec: Some(spec), ..Ingress::default() })
}

pub(super) fn http_route(owner: &Owner, spec: &Spec) -> Option<DynamicObject> {
    let Gateway { parent_refs, host, annotations } = spec.gateway.as_ref()?;
    let parents: Vec<_> = parent_refs.iter().map(parent).collect();
    let mut spec = json!({
        "parentRefs": parents,
        "rules": [{
            "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }],
            "backendRefs": [{ "kind": "Service", "name": owner.name, "port": SERVICE_PORT }],
        }],
    });
    if let (Some(host), Some(fields)) = (host, spec.as_object_mut()) {
        fields.insert("hostnames".to_owned(), json!([host]));
    }
    let metadata = annotated(owner, "", &[], annotations.as_ref());
    Some(foreign("gateway.networking.k8s.io/v1", "HTTPRoute", metadata, spec))
}

fn parent(parent: &ParentRef) -> Value {
    let ParentRef { name, namespace, section_name } = parent;
    let mut fields = Map::from_iter([("name".to_owned(), json!(name))]);
    fields.extend(namespace.iter().map(|namespace| ("namespace".to_owned(), json!(namespace))));
    fields.extend(section_name.iter().map(|section| ("sectionName".to_owned(), json!(section))));
    Value::Object(fields)
}

pub(super) fn route(owner: &Owner, spec: &Spec) -> Option<DynamicObject> {
    let Route { host, annotations } = spec.route.as_ref()?;
    let mut spec = json!({
        "to": { "kind": "Service", "name": owner.name, "weight": 100 },
        "port": { "targetPort": HTTP },
        "tls": { "termination": "edge", "insecureEdgeTerminationPolicy": "Redirect" },
        "wildcardPolicy": "None",
    });
    if let (Some(host), Some(fields)) = (host, spec.as_object_mut()) {
        fields.insert("host".to_owned(), json!(host));
    }
    let metadata = annotated(owner, "haproxy.router.openshift.io", &ROUTER, annotations.as_ref());
    Some(foreign("route.openshift.io/v1", "Route", metadata, spec))
}
