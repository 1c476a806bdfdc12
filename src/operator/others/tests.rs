use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::check;
use crate::fetch::watched;
use crate::plan::{Apis, Front};

fn controller(name: &str, day: u8, spec: Value) -> Guarded {
    let value = json!({
        "apiVersion": "majordomo.dev/v1alpha1",
        "kind": "HAController",
        "metadata": {
            "name": name, "namespace": "ci", "uid": name, "creationTimestamp": format!("2026-11-0{day}T00:00:00Z"),
        },
        "spec": spec,
    });
    serde_json::from_value(value).unwrap()
}

fn front(kind: Kind, of: &str, spec: Value) -> (Kind, DynamicObject) {
    let resource = kind.resource();
    let value = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": { "name": of, "namespace": "ci", "labels": { "majordomo.dev/controller": of } },
        "spec": spec,
    });
    (kind, serde_json::from_value(value).unwrap())
}

/// As a process sees it that knows nothing but what the watches have brought.
fn seen(caches: &Caches, of: &Guarded) -> Seen {
    let mut seen = watched(Apis::default(), caches, of.0.as_ref().unwrap()).unwrap();
    seen.others = others(std::slice::from_ref(caches), &Memories::new(), &seen);
    seen
}

fn taken(caches: &Caches, of: &Guarded) -> Vec<(Front, String)> {
    let seen = seen(caches, of);
    check::taken(&seen).map(|(front, _, Other { name, .. })| (front, name.clone())).collect()
}

#[test]
fn who_has_just_begun_to_lead_knows_the_hosts_of_all() {
    let host = || json!({ "ingress": { "host": "ci.example.com", "path": "/a" } });
    let old = controller("old", 1, host());
    let young = controller("young", 2, json!({ "ingress": { "host": "CI.example.com", "path": "a/" } }));
    let else_where = controller("third", 1, json!({ "ingress": { "host": "ci.example.com", "path": "/b" } }));
    let all = vec![old.clone(), young.clone(), else_where.clone()];
    let caches = Caches::known(all.clone(), Vec::new());
    assert_eq!(taken(&caches, &young), [(Front::Ingress, "old".to_owned())]);
    assert_eq!(taken(&caches, &old), []);
    assert_eq!(taken(&caches, &else_where), []);
    assert_eq!(seen(&caches, &else_where).others, [], "only those that want the same");
    // who has it keeps it, whoever is older
    let rules = json!({ "rules": [{ "host": "ci.example.com", "http": { "paths": [{ "path": "/a" }] } }] });
    let caches = Caches::known(all, vec![front(Kind::Ingress, "young", rules)]);
    assert_eq!(taken(&caches, &young), []);
    assert_eq!(taken(&caches, &old), [(Front::Ingress, "young".to_owned())]);
}

#[test]
fn hosts_of_different_kinds_are_the_same_hosts() {
    let both = json!({
        "ingress": { "host": "one.example.com" },
        "gateway": { "parentRefs": [{ "name": "edge" }], "host": "two.example.com" },
    });
    let old = controller("old", 1, both);
    let young = controller("young", 2, json!({ "route": { "host": "two.example.com" } }));
    let caches = Caches::known(vec![old.clone(), young.clone()], Vec::new());
    assert_eq!(taken(&caches, &young), [(Front::Route, "old".to_owned())]);
    let of_young = vec![
        front(Kind::Route, "young", json!({ "host": "two.example.com" })),
        front(Kind::Ingress, "young", json!({ "rules": [{}] })),
    ];
    let caches = Caches::known(vec![old.clone(), young], of_young);
    assert_eq!(taken(&caches, &old), [(Front::Gateway, "young".to_owned())]);
}

#[test]
fn who_wants_another_host_now_or_can_not_be_read_keeps_what_it_has_until_it_is_gone() {
    let old = controller("old", 1, json!({ "ingress": { "host": "ci.example.com" } }));
    let unreadable = controller("unreadable", 2, json!({ "later": true }));
    assert!(unreadable.0.is_err());
    let moved = controller("moved", 2, json!({ "ingress": { "host": "new.example.com" } }));
    for holder in [unreadable, moved] {
        let of = holder.name_any();
        let route = front(Kind::HttpRoute, &of, json!({ "hostnames": ["ci.example.com"] }));
        let caches = Caches::known(vec![old.clone(), holder], vec![route.clone()]);
        assert_eq!(taken(&caches, &old), [(Front::Ingress, of)]);
        let caches = Caches::known(vec![old.clone()], vec![route]);
        assert_eq!(taken(&caches, &old), [], "an object that nobody has");
    }
}

#[test]
fn an_older_controller_is_waited_for_until_it_has_said_which_database_it_has() {
    let postgres = || json!({ "store": { "postgres": { "secretRef": { "name": "db" } } } });
    let (old, young) = (controller("old", 1, postgres()), controller("young", 2, postgres()));
    let plain = controller("plain", 1, json!({}));
    let caches = Caches::known(vec![old.clone(), young.clone(), plain], Vec::new());
    let all = std::slice::from_ref(&caches);
    let of = |of: &Guarded| Seen { databases: vec!["postgres db:5432/ci".to_owned()], ..seen(&caches, of) };
    let mut memories = Memories::new();
    assert!(unheard(all, &memories, &of(&young)));
    assert!(!unheard(all, &memories, &of(&old)), "nobody is older");
    assert!(!unheard(all, &memories, &Seen { databases: Vec::new(), ..of(&young) }), "it shares none");
    let databases = Some(of(&old).databases);
    memories.insert(("ci".to_owned(), "old".to_owned()), Memory { databases, ..Memory::default() });
    assert!(!unheard(all, &memories, &of(&young)));
    let seen = of(&young);
    let names: Vec<_> = others(all, &memories, &seen).into_iter().map(|other| other.name).collect();
    assert_eq!(names, ["old"]);
}
