//! What Kubernetes refuses, told with the field of the spec that has led to it, where that can be known. Pure.

use resource::{ConditionType, Reason, Spec};

use crate::check::Fault;
use crate::kinds::Kind;
use crate::seen::Seen;

/// Where the pods stand in a StatefulSet.
const TEMPLATE: &str = "spec.template.";

/// An object that was refused, and what was said of it.
pub(crate) fn refused(seen: &Seen, kind: Kind, name: &str, said: &str) -> Fault {
    let what = format!("Kubernetes refuses the {} {name}: {said}", kind.resource().kind);
    let sentence = match path(seen, kind, name, said) {
        Some(path) => format!("{path}: {what}"),
        None => what,
    };
    let of: &[_] = &[ConditionType::ConfigurationValid];
    Fault { of, reason: Reason::ObjectRefused, sentence, blocks: false }
}

fn path(seen: &Seen, kind: Kind, name: &str, said: &str) -> Option<String> {
    let (owner, spec) = (&seen.owner, &seen.controller.spec);
    let of_postgres = name == owner.postgres() || name == owner.postgres_set();
    match kind {
        Kind::PersistentVolumeClaim => {
            let storage = match name {
                _ if of_postgres => "spec.store.builtin.storage",
                _ if name == owner.home() => "spec.store.sqlite.storage",
                _ if name == owner.objects() => "spec.objects.volume",
                _ => return None,
            };
            Some(if about_size(said) { format!("{storage}.size") } else { storage.to_owned() })
        }
        Kind::StatefulSet if of_postgres => of_database(said),
        Kind::StatefulSet => of_pods(spec, said),
        Kind::Service if name == owner.name => spec.service.as_ref().map(|_| "spec.service".to_owned()),
        Kind::NetworkPolicy => spec.network_policy.as_ref().map(|_| "spec.networkPolicy".to_owned()),
        Kind::Ingress => Some("spec.ingress".to_owned()),
        Kind::HttpRoute => Some("spec.gateway".to_owned()),
        Kind::Route => Some("spec.route".to_owned()),
        Kind::ServiceMonitor => Some("spec.monitoring".to_owned()),
        Kind::Cluster => Some("spec.store.cloudNativePG".to_owned()),
        // of these, users say nothing
        Kind::Service
        | Kind::ServiceAccount
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::PodDisruptionBudget
        | Kind::ControllerRevision
        | Kind::Pod => None,
    }
}

/// A volume can't become smaller, not every class can make one larger, and a quota may not have the room.
fn about_size(said: &str) -> bool {
    ["resources.requests", "less than", "resize", "exceeded quota"].iter().any(|words| said.contains(words))
}

/// The first field of the pods that is named: `spec.containers[0].resources.requests`.
fn field(said: &str) -> Option<&str> {
    let begin = said.find(TEMPLATE)? + TEMPLATE.len();
    let rest = said.get(begin..)?;
    let end = rest.find([':', ' ', ',', '"', '\n']).unwrap_or(rest.len());
    rest.get(..end)
}

fn of_database(said: &str) -> Option<String> {
    let field = field(said)?;
    resources(field, "spec.store.builtin.resources")
        .or_else(|| field.ends_with(".image").then(|| "spec.store.builtin.image".to_owned()))
}

fn of_pods(spec: &Spec, said: &str) -> Option<String> {
    let field = field(said)?;
    let over = spec.pod_template.as_ref();
    let containers =
        over.and_then(|over| over.spec.as_ref()).is_some_and(|pod| pod.contains_key("containers"));
    // what is laid over the containers may say anything of them
    if !containers {
        if let Some(path) = spec.resources.as_ref().and_then(|_| resources(field, "spec.resources")) {
            return Some(path);
        }
        if field.ends_with(".image") {
            return Some("spec.image".to_owned());
        }
    }
    over.map(|_| format!("spec.podTemplate.{field}"))
}

fn resources(field: &str, path: &str) -> Option<String> {
    let (_, below) = field.split_once(".resources")?;
    Some(format!("{path}{below}"))
}

#[cfg(test)]
mod tests {
    use resource::PodTemplate;

    use super::*;

    /// `(resources, podTemplate, containers in it)` of the spec.
    fn spec(given: (bool, bool, bool)) -> Spec {
        let (resources, over, containers) = given;
        let list = || ("containers".to_owned(), serde_json::json!([{ "name": "majordomo" }]));
        let free = containers.then(|| [list()].into());
        Spec {
            resources: resources.then(Default::default),
            pod_template: over.then_some(PodTemplate { metadata: None, spec: free }),
            ..Spec::default()
        }
    }

    #[test]
    fn what_is_refused_of_pods_is_told_by_the_field_that_says_it() {
        let limits = "StatefulSet.apps \"acme\" is invalid: spec.template.spec.containers[0].resources.requests: \
                      Invalid value: \"2\": must be less than or equal to cpu limit of 1";
        let label = "spec.template.metadata.labels: Invalid value: \"a b\": a valid label must be…";
        let typed =
            "failed to create typed patch object: .spec.template.spec.foo: field not declared in schema";
        let image = "spec.template.spec.containers[0].image: Required value";
        for (given, said, path) in [
            ((true, false, false), limits, Some("spec.resources.requests")),
            ((true, true, false), limits, Some("spec.resources.requests")),
            ((true, true, true), limits, Some("spec.podTemplate.spec.containers[0].resources.requests")),
            ((false, false, false), limits, None),
            ((false, true, false), label, Some("spec.podTemplate.metadata.labels")),
            ((false, true, false), typed, Some("spec.podTemplate.spec.foo")),
            ((false, false, false), image, Some("spec.image")),
            ((true, true, true), "admission webhook denied the request", None),
        ] {
            assert_eq!(of_pods(&spec(given), said).as_deref(), path, "{given:?}: {said}");
        }
        assert_eq!(of_database(limits).as_deref(), Some("spec.store.builtin.resources.requests"));
        assert_eq!(of_database("denied"), None);
    }

    #[test]
    fn a_volume_that_is_to_shrink_is_told_by_its_size() {
        let bound = "spec: Forbidden: spec is immutable after creation except volumeAttributesClassName";
        let less = "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity";
        let class = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc \
                     must support resize";
        for (said, size) in [(bound, false), (less, true), (class, true), ("exceeded quota: few", true)] {
            assert_eq!(about_size(said), size, "{said}");
        }
    }
}
