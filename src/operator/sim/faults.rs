//! What of a spec can't be honoured, and what goes on all the same.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::status::{condition, images, is, seen};
use super::{controller, image};
use crate::decide::decide;
use crate::kinds::Kind;
use crate::names::Owner;
use crate::plan::Apis;
use crate::secrets::fresh;
use crate::seen::{Other, Seen, StorageClassSeen};
use crate::told::Told;
use crate::world::World;
use model::ReplicaState;
use model::overview::Overview;

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn a_volume_that_can_not_grow_does_not_hide_that_the_store_is_away() {
    let mut seen = seen(image("a:1")).await;
    seen.controller.spec.store = from(json!({ "builtin": { "storage": { "size": "20Gi" } } }));
    let claim = json!({
        "metadata": { "name": "acme-postgres" },
        "spec": { "storageClassName": "slow" },
        "status": { "phase": "Bound", "capacity": { "storage": "10Gi" } },
    });
    seen.claims.insert("acme-postgres".to_owned(), from(claim));
    for (grows, reason) in [(false, "StorageFixed"), (true, "StorageGrowing")] {
        seen.storage_classes = Some(vec![StorageClassSeen { name: "slow".to_owned(), usual: true, grows }]);
        let told = |store_error: Option<&str>| {
            let overview = Overview {
                state: Some(ReplicaState::Ready),
                store_answers: store_error.is_none(),
                store_error: store_error.map(str::to_owned),
                ..Overview::default()
            };
            let told = BTreeMap::from([(0, Told::Overview(Box::new(overview)))]);
            Seen { told, ..seen.clone() }
        };
        is(&told(None), "StoreReady", "True", reason);
        is(&told(Some("nobody listens")), "StoreReady", "False", "StoreUnreachable");
        let silent = Seen { told: BTreeMap::new(), ..seen.clone() };
        is(&silent, "StoreReady", "False", "StoreStarting");
    }
}

#[tokio::test]
async fn who_removes_the_first_administrators_secret_after_the_first_start_keeps_rollouts() {
    let mut cluster = Cluster::new(controller(image("a:1")));
    cluster.controller.spec.security = from(json!({ "adminSecretRef": { "name": "first" } }));
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.pods(), 0, "without it nobody could sign in");
    is(&cluster.seen(), "ConfigurationValid", "False", "SecretMissing");
    let owner = Owner { namespace: "ci".to_owned(), name: "acme".to_owned(), uid: "uid-1".to_owned() };
    let secret: DynamicObject = from(json!({
        "metadata": { "name": "first" },
        "data": { "username": "YQ==", "password": "Yg==" },
    }));
    cluster.create(&owner, Kind::Secret, &secret).await.unwrap();
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving().len(), 3);
    cluster.remove_object(Kind::Secret, "first");
    cluster.controller.spec.image = Some("a:2".to_owned());
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), [0, 1, 2].map(|ordinal| (ordinal, "a:2".to_owned())));
    is(&cluster.seen(), "ConfigurationValid", "True", "Valid");
}

#[tokio::test]
async fn what_is_wanted_no_more_is_gone_though_who_leads_has_not_applied_it_itself() {
    let mut cluster = Cluster::new(controller(image("a:1")));
    let of = |cluster: &Cluster| {
        let ingress = cluster.object(Kind::Ingress, "acme").unwrap();
        let said = ingress.annotations().contains_key("a");
        (ingress.data.pointer("/spec/tls").is_some_and(|tls| !tls.is_null()), said)
    };
    for (ingress, there) in [
        (json!({ "host": "ci.example.com", "tls": {}, "annotations": { "a": "b" } }), (true, true)),
        (json!({ "host": "ci.example.com" }), (false, false)),
    ] {
        cluster.controller.spec.ingress = from(ingress);
        // each time by a process that knows nothing
        cluster.settle(|_| {}).await;
        assert_eq!(of(&cluster), there);
    }
}

#[tokio::test]
async fn each_of_several_hosts_is_compared_and_only_what_leads_from_a_taken_one_is_withheld() {
    let mut seen = seen(image("a:1")).await;
    seen.apis = Apis { http_route: true, route: true, ..Apis::default() };
    seen.controller.metadata.creation_timestamp = Some(Time(seen.now));
    let spec = &mut seen.controller.spec;
    spec.ingress = from(json!({ "host": "ci.example.com" }));
    spec.gateway = from(json!({ "parentRefs": [{ "name": "edge" }], "host": "CI.example.org" }));
    spec.route = from(json!({ "host": "ci.example.net" }));
    let other = |hosts: &[&str], held: &[&str]| Other {
        namespace: "other".to_owned(),
        name: "first".to_owned(),
        created: Some(Timestamp::UNIX_EPOCH),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        held: held.iter().map(|host| (*host).to_owned()).collect(),
        databases: Vec::new(),
    };
    let (one, two, three) = ("ci.example.com/", "ci.example.org/", "ci.example.net/");
    // (what the other one wants and holds, what this one holds) → whether Ingress, HTTPRoute and Route are made
    let table = [
        (other(&[], &[]), &[][..], [true, true, true]),
        (other(&["else.example.com/", two], &[]), &[], [true, false, true]),
        (other(&[one, three], &[]), &[], [false, true, false]),
        (other(&[], &["else.example.com/", three]), &[], [true, true, false]),
        (other(&[one, two], &[one]), &[two], [false, true, true]),
    ];
    for (other, held, made) in table {
        let held = held.iter().map(|host| (*host).to_owned()).collect();
        let seen = Seen { others: vec![other.clone()], held: Some(held), ..seen.clone() };
        let objects = decide(&seen, &images(), &fresh().unwrap()).objects.unwrap();
        let found = [objects.ingress.is_some(), objects.http_route.is_some(), objects.route.is_some()];
        assert_eq!(found, made, "{other:?}");
        let (_, reason, why) = condition(&seen, "Exposed");
        assert_eq!(reason == "HostTaken", made != [true; 3], "{why}");
    }
}

#[tokio::test]
async fn no_pods_are_added_that_could_not_mount_a_volume() {
    let one = seen(resource::Spec { replicas: 1, ..image("a:1") }).await;
    let none = seen(resource::Spec { replicas: 0, ..image("a:1") }).await;
    let three = seen(image("a:1")).await;
    let pods = |of: &Seen, replicas: u32, mode: &str| {
        let mut seen = of.clone();
        seen.controller.spec.replicas = replicas;
        seen.controller.spec.objects = from(json!({ "volume": { "claimName": "mine" } }));
        let claim = json!({ "metadata": { "name": "mine" }, "spec": { "accessModes": [mode] } });
        seen.claims.insert("mine".to_owned(), from(claim));
        let told = (replicas > 1 && mode == "ReadWriteOnce").then_some("VolumeNotShared");
        assert_eq!(condition(&seen, "ConfigurationValid").1, told.unwrap_or("Valid"));
        let set = decide(&seen, &images(), &fresh().unwrap()).objects.unwrap().set;
        set.map(|set| set.spec.unwrap().replicas.unwrap())
    };
    assert_eq!(pods(&one, 3, "ReadWriteOnce"), Some(1));
    assert_eq!(pods(&one, 3, "ReadWriteMany"), Some(3));
    assert_eq!(pods(&none, 3, "ReadWriteOnce"), Some(1), "one can mount it");
    assert_eq!(pods(&three, 5, "ReadWriteOnce"), Some(3));
    assert_eq!(pods(&three, 2, "ReadWriteOnce"), Some(2), "fewer are nearer to what is right");
    // a further one that serves while a single one is replaced is one more to mount it
    assert_eq!(pods(&one, 1, "ReadWriteMany"), Some(2));
    assert_eq!(pods(&one, 1, "ReadWriteOnce"), Some(1));
    let lost = Seen { set: None, pods: Vec::new(), ..one.clone() };
    assert_eq!(pods(&lost, 3, "ReadWriteOnce"), Some(1), "one can mount it");
    // another one serves while the single one is replaced: it goes again
    let mut two = one.clone();
    let set = two.set.as_mut().unwrap();
    set.spec.as_mut().unwrap().replicas = Some(2);
    let note = set.metadata.annotations.as_mut().unwrap().get_mut("majordomo.dev/rollout").unwrap();
    *note = note.replace("\"surge\":false", "\"surge\":true");
    assert!(note.contains("\"surge\":true"), "{note}");
    assert_eq!(pods(&two, 3, "ReadWriteOnce"), Some(1));
}
