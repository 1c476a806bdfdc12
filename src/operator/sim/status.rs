//! What is told.

use std::collections::BTreeMap;

use insta::assert_json_snapshot;
use jiff::Timestamp;
use resource::{MemberState, Spec};
use serde_json::json;

use super::cluster::Cluster;
use super::{controller, image};
use crate::decide::decide;
use crate::plan::Images;
use crate::secrets::fresh;
use crate::seen::{Other, SecretSeen, Seen};
use crate::told::Told;
use model::ReplicaState;
use model::overview::{Durability, Overview};

pub(super) fn images() -> Images {
    Images { replica: "ours:1".to_owned(), postgres: "postgres:1".to_owned() }
}

pub(super) async fn seen(spec: Spec) -> Seen {
    let cluster = Cluster::new(controller(spec));
    cluster.settle(|_| {}).await;
    cluster.seen()
}

/// `(status, reason)` of a condition.
pub(super) fn condition(seen: &Seen, of: &str) -> (String, String, String) {
    let decision = decide(seen, &images(), &fresh().unwrap());
    let status =
        crate::status::status(seen, &decision.outcome, &seen.controller.status.clone().unwrap_or_default());
    let found = status.conditions.into_iter().find(|condition| condition.type_ == of).unwrap();
    (found.status, found.reason, found.message)
}

pub(super) fn is(seen: &Seen, of: &str, status: &str, reason: &str) {
    let found = condition(seen, of);
    assert_eq!((found.0.as_str(), found.1.as_str()), (status, reason), "{of}: {}", found.2);
}

#[tokio::test]
async fn a_controller_at_rest_is_told_whole() {
    let seen = seen(image("a:1")).await;
    let decision = decide(&seen, &images(), &fresh().unwrap());
    let mut status =
        crate::status::status(&seen, &decision.outcome, &seen.controller.status.clone().unwrap_or_default());
    let revision = std::mem::take(&mut status.revision).unwrap();
    assert_eq!(revision.len(), 10);
    let text = serde_json::to_string(&status).unwrap().replace(&revision, "REVISION");
    assert_json_snapshot!(serde_json::from_str::<serde_json::Value>(&text).unwrap());
}

/// One line: what is wrong, and what it makes of which condition.
#[tokio::test]
async fn each_mistake_has_a_reason_of_its_own_and_pods_go_on() {
    let good = seen(image("a:1")).await;
    let postgres = |name: &str| resource::Store {
        postgres: Some(resource::Postgres {
            secret_ref: Some(resource::KeyRef { name: name.to_owned(), key: None }),
            url: None,
        }),
        ..resource::Store::default()
    };
    let with = |change: &dyn Fn(&mut Seen)| {
        let mut seen = good.clone();
        change(&mut seen);
        seen
    };
    let spec = |change: &dyn Fn(&mut Spec)| with(&|seen| change(&mut seen.controller.spec));
    let other = || Other {
        namespace: "other".to_owned(),
        name: "first".to_owned(),
        created: Some(Timestamp::UNIX_EPOCH),
        hosts: vec!["ci.example.com/".to_owned()],
        held: Vec::new(),
        databases: vec!["postgres db:5432/ci".to_owned()],
    };
    let ingress =
        || resource::Ingress { host: Some("ci.example.com".to_owned()), ..resource::Ingress::default() };
    let table = [
        (
            "a Secret is missing",
            spec(&|spec| spec.store = Some(postgres("db"))),
            "StoreReady",
            "SecretMissing",
        ),
        (
            "a key is missing",
            with(&|seen| {
                seen.controller.spec.store = Some(postgres("db"));
                seen.secrets.insert("db".to_owned(), SecretSeen::default());
            }),
            "ConfigurationValid",
            "SecretMissing",
        ),
        (
            "another one has the database",
            with(&|seen| {
                seen.databases = vec!["postgres db:5432/ci".to_owned()];
                seen.others = vec![other()];
                let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(seen.now);
                seen.controller.metadata.creation_timestamp = Some(now);
                seen.told.clear();
            }),
            "StoreReady",
            "DatabaseTaken",
        ),
        (
            "another one says that it has the database",
            with(&|seen| {
                seen.databases = vec!["postgres db:5432/ci".to_owned()];
                seen.others = vec![other()];
                let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(seen.now);
                seen.controller.metadata.creation_timestamp = Some(now);
            }),
            "ConfigurationValid",
            "DatabaseTaken",
        ),
        (
            "another one has the host",
            with(&|seen| {
                seen.controller.spec.ingress = Some(ingress());
                seen.others = vec![other()];
                let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(seen.now);
                seen.controller.metadata.creation_timestamp = Some(now);
            }),
            "Exposed",
            "HostTaken",
        ),
        (
            "rubbish in the annotation",
            with(&|seen| {
                let annotations = seen.controller.metadata.annotations.get_or_insert_default();
                annotations.insert(crate::names::RESTARTED_AT.to_owned(), "yesterday".to_owned());
            }),
            "ConfigurationValid",
            "RestartedAtInvalid",
        ),
        (
            "no such claim",
            with(&|seen| {
                let storage = resource::Storage { claim_name: Some("mine".to_owned()), ..Default::default() };
                let builtin = resource::Builtin { storage: Some(storage), ..Default::default() };
                seen.controller.spec.store =
                    Some(resource::Store { builtin: Some(builtin), ..Default::default() });
            }),
            "ConfigurationValid",
            "ClaimMissing",
        ),
        (
            "no network",
            spec(&|spec| {
                spec.trusted_proxies = Some(vec!["10.0.0.0/8".to_owned(), "10.0.0.0/33".to_owned()])
            }),
            "ConfigurationValid",
            "TrustedProxiesInvalid",
        ),
        (
            "no such storage class",
            with(&|seen| {
                let storage = resource::Storage { class_name: Some("fast".to_owned()), ..Default::default() };
                let builtin = resource::Builtin { storage: Some(storage), ..Default::default() };
                seen.controller.spec.store =
                    Some(resource::Store { builtin: Some(builtin), ..Default::default() });
                seen.storage_classes = Some(Vec::new());
            }),
            "ConfigurationValid",
            "StorageClassMissing",
        ),
        (
            "no Gateway API",
            spec(&|spec| {
                let parent =
                    resource::ParentRef { name: "g".to_owned(), namespace: None, section_name: None };
                spec.gateway =
                    Some(resource::Gateway { parent_refs: vec![parent], host: None, annotations: None });
            }),
            "Exposed",
            "ApiMissing",
        ),
        (
            "no such class",
            with(&|seen| {
                seen.controller.spec.ingress =
                    Some(resource::Ingress { class_name: Some("none".to_owned()), ..ingress() });
                seen.class_known = Some(false);
            }),
            "Exposed",
            "ClassMissing",
        ),
        (
            "plugins without a runtime",
            spec(&|spec| {
                let plugin =
                    resource::Plugin { name: "git".to_owned(), version: None, source: None, digest: None };
                spec.plugins = Some(vec![plugin]);
            }),
            "PluginsLoaded",
            "NoRuntime",
        ),
    ];
    for (name, seen, of, reason) in table {
        let (status, found, message) = condition(&seen, of);
        assert_eq!((status.as_str(), found.as_str()), ("False", reason), "{name}: {message}");
        let decision = decide(&seen, &images(), &fresh().unwrap());
        let set = decision.objects.unwrap().set.expect(name);
        assert_eq!(set.spec.unwrap().replicas, Some(3), "{name}: pods go on");
    }
}

#[tokio::test]
async fn the_store_is_told_as_replicas_say_it() {
    let good = seen(image("a:1")).await;
    let told = |overview: Overview| {
        let mut seen = good.clone();
        let overview = Overview { state: Some(ReplicaState::Ready), ..overview };
        seen.told = BTreeMap::from([(0, Told::Overview(Box::new(overview)))]);
        seen
    };
    let durability = |synchronous, asynchronous| Durability {
        engine: "postgres".to_owned(),
        synchronous_replicas: synchronous,
        standbys: asynchronous,
        ..Durability::default()
    };
    let answers = |durability| told(Overview { store_answers: true, durability, ..Overview::default() });
    is(&answers(durability(Some(1), Some(0))), "StoreReady", "True", "StoreAnswers");
    is(&answers(durability(Some(1), Some(0))), "StoreDurable", "True", "Replicated");
    is(&answers(durability(Some(0), Some(2))), "StoreDurable", "False", "AsynchronousReplicas");
    is(&answers(durability(Some(0), Some(0))), "StoreDurable", "False", "SingleCopy");
    is(&answers(durability(None, None)), "StoreDurable", "Unknown", "ReplicationUnknown");
    let away = |why: &str| told(Overview { store_error: Some(why.to_owned()), ..Overview::default() });
    is(&away("nobody listens"), "StoreReady", "False", "StoreUnreachable");
    is(&away("password authentication failed"), "StoreReady", "False", "CredentialsRefused");
}

#[tokio::test]
async fn a_replica_that_waits_says_why() {
    let mut seen = seen(image("a:1")).await;
    seen.told = BTreeMap::from([(1, Told::Waits("starting: waits for the database".to_owned()))]);
    seen.lost_nodes.insert("node-2".to_owned(), seen.now);
    let pod = seen.pods.iter_mut().find(|pod| pod.metadata.name.as_deref() == Some("acme-2")).unwrap();
    pod.spec.as_mut().unwrap().node_name = Some("node-2".to_owned());
    pod.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "False".to_owned();
    let decision = decide(&seen, &images(), &fresh().unwrap());
    let status =
        crate::status::status(&seen, &decision.outcome, &seen.controller.status.clone().unwrap_or_default());
    let of =
        |at: usize| (status.members[at].state, status.members[at].message.as_deref().unwrap_or_default());
    assert_eq!(of(0), (MemberState::Ready, ""));
    assert_eq!(of(1), (MemberState::Waiting, "starting: waits for the database"));
    assert_eq!(of(2), (MemberState::Lost, "its node node-2 does not answer"));
    assert_eq!((status.ready_replicas, status.phase), (1, Some(resource::Phase::Degraded)));
}

/// The pods of a first start, of which none has been ready.
async fn first_start(change: impl Fn(&mut serde_json::Value)) -> Seen {
    let mut cluster = Cluster::new(controller(image("a:1")));
    cluster.broken.insert("a:1".to_owned());
    let applied = crate::perform::Applied::default();
    for _ in 0..3 {
        cluster.reconcile(&applied).await.unwrap();
        cluster.tick();
    }
    let mut seen = cluster.seen();
    seen.told.clear();
    for pod in &mut seen.pods {
        let mut value = serde_json::to_value(&*pod).unwrap();
        change(&mut value);
        *pod = serde_json::from_value(value).unwrap();
    }
    seen
}

#[tokio::test]
async fn a_first_start_that_does_not_get_on_says_why() {
    let state = |restarts: i32, state: serde_json::Value, last: serde_json::Value| {
        move |pod: &mut serde_json::Value| {
            let container = &mut pod["status"]["containerStatuses"][0];
            container["restartCount"] = restarts.into();
            (container["state"], container["lastState"]) = (state.clone(), last.clone());
        }
    };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let none = || json("{}");
    let ended = json(r#"{"terminated":{"exitCode":1,"message":"first\nthe last words"}}"#);
    let missing =
        json(r#"{"waiting":{"reason":"RunContainerError","message":"exec: majordomo: not found"}}"#);
    let loops = json(r#"{"waiting":{"reason":"CrashLoopBackOff"}}"#);
    let seen = first_start(state(0, json(r#"{"running":{}}"#), none())).await;
    is(&seen, "Progressing", "True", "FirstStart");
    let unfit = first_start(state(0, missing, none())).await;
    is(&unfit, "Progressing", "True", "ImageUnfit");
    assert!(condition(&unfit, "Progressing").2.contains("exec: majordomo: not found"));
    let ends = first_start(state(4, loops, ended)).await;
    is(&ends, "Progressing", "True", "ReplicaEnds");
    assert!(condition(&ends, "Progressing").2.ends_with("the last words"));
    is(&ends, "RolledBack", "False", "NothingFailed");
    for seen in [&unfit, &ends] {
        let decision = decide(seen, &images(), &fresh().unwrap());
        let status = crate::status::status(
            seen,
            &decision.outcome,
            &seen.controller.status.clone().unwrap_or_default(),
        );
        assert_eq!(status.phase, Some(resource::Phase::Starting));
    }
}

#[tokio::test]
async fn what_a_replica_has_said_of_the_store_before_it_ended_is_told() {
    let said = |words: &'static str| {
        first_start(move |pod| {
            let container = &mut pod["status"]["containerStatuses"][0];
            container["lastState"] = serde_json::json!({ "terminated": { "exitCode": 1, "message": words } });
        })
    };
    let taken = "the database belongs to another controller, other/first; this home is of ci/acme\n";
    is(&said(taken).await, "StoreReady", "False", "DatabaseTaken");
    let empty = "Error: the database is empty, and ci/acme has run before: restore it\n";
    is(&said(empty).await, "StoreReady", "False", "DatabaseEmpty");
    let refused = "connect\nFATAL: password authentication failed for user \"ci\"\nends";
    is(&said(refused).await, "StoreReady", "False", "CredentialsRefused");
    is(&said("out of memory").await, "StoreReady", "False", "StoreStarting");
}

#[tokio::test]
async fn the_node_of_a_lost_postgres_is_named() {
    let mut seen = seen(image("a:1")).await;
    let pod = serde_json::json!({
        "metadata": { "name": "acme-postgres-0" },
        "spec": { "nodeName": "node-7", "containers": [] },
        "status": { "conditions": [{ "type": "Ready", "status": "False" }] },
    });
    seen.postgres_pods = vec![serde_json::from_value(pod).unwrap()];
    seen.lost_nodes.insert("node-7".to_owned(), seen.now);
    is(&seen, "StoreReady", "True", "StoreAnswers");
    seen.told.clear();
    is(&seen, "StoreReady", "False", "NodeLost");
    assert!(condition(&seen, "StoreReady").2.contains("node-7"));
}

#[tokio::test]
async fn what_keeps_the_postgres_from_its_start_is_told() {
    let status = |status| {
        let pod = serde_json::json!({
            "metadata": { "name": "acme-postgres-0" }, "spec": { "containers": [] }, "status": status,
        });
        serde_json::from_value(pod).unwrap()
    };
    let waiting = serde_json::json!({ "reason": "ErrImagePull", "message": "no such image: postgres:17" });
    let image = serde_json::json!({
        "containerStatuses": [
            { "name": "postgres", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": { "waiting": waiting } },
        ],
    });
    let volume = serde_json::json!({
        "conditions": [{ "type": "PodScheduled", "status": "False", "message": "unbound PersistentVolumeClaims" }],
    });
    for (state, told) in [(image, "no such image: postgres:17"), (volume, "unbound PersistentVolumeClaims")] {
        let mut seen = first_start(|_| {}).await;
        seen.postgres_pods = vec![status(state)];
        is(&seen, "StoreReady", "False", "StoreStarting");
        let message = condition(&seen, "StoreReady").2;
        assert!(message.contains("acme-postgres-0") && message.contains(told), "{message}");
    }
}

#[tokio::test]
async fn a_pod_that_no_node_takes_is_told_after_a_while() {
    let mut seen = first_start(|pod| {
        let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
        conditions.push(serde_json::json!({
            "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available",
            "lastTransitionTime": "2027-01-15T08:00:00Z",
        }));
    })
    .await;
    for pod in &mut seen.pods {
        pod.status.as_mut().unwrap().container_statuses = None;
    }
    let since: Timestamp = "2027-01-15T08:00:00Z".parse().unwrap();
    seen.now = since + jiff::SignedDuration::from_secs(29);
    is(&seen, "Progressing", "True", "FirstStart");
    seen.now = since + jiff::SignedDuration::from_secs(30);
    is(&seen, "Progressing", "True", "Unschedulable");
}

#[tokio::test]
async fn nothing_can_be_started_while_something_is_missing() {
    let mut cluster = Cluster::new(controller(image("a:1")));
    cluster.controller.spec.trusted_proxies = Some(vec!["everybody".to_owned()]);
    let seen = cluster.seen();
    is(&seen, "Progressing", "False", "Blocked");
    assert!(condition(&seen, "Progressing").2.contains("spec.trustedProxies[0]"));
    is(&seen, "Exposed", "Unknown", "NotAsked");
}

#[tokio::test]
async fn pods_that_go_are_no_replicas_any_more() {
    let mut seen = seen(image("a:1")).await;
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(seen.now);
    seen.pods[2].metadata.deletion_timestamp = Some(now);
    let decision = decide(&seen, &images(), &fresh().unwrap());
    let before = seen.controller.status.clone().unwrap_or_default();
    assert_eq!(crate::status::status(&seen, &decision.outcome, &before).replicas, 2);
}

#[tokio::test]
async fn the_setup_wizard_needs_a_password_and_no_name_of_a_user() {
    let good = seen(image("a:1")).await;
    let with = |setup_wizard, keys: &[&str]| {
        // none were made yet
        let mut seen = Seen { records: Vec::new(), ..good.clone() };
        let admin_secret_ref = Some(resource::Named { name: "first".to_owned() });
        seen.controller.spec.security =
            Some(resource::Security { admin_secret_ref, setup_wizard, ..resource::Security::default() });
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        seen.secrets.insert("first".to_owned(), SecretSeen { keys, digest: String::new() });
        seen
    };
    is(&with(None, &["password"]), "ConfigurationValid", "False", "SecretMissing");
    is(&with(Some(true), &["username"]), "ConfigurationValid", "False", "SecretMissing");
    let valid = condition(&with(Some(true), &["password"]), "ConfigurationValid");
    assert_eq!(valid.0, "True", "{valid:?}");
}

#[tokio::test]
async fn a_rollout_that_waits_for_a_replica_that_can_not_be_reached_says_so() {
    let mut seen = seen(image("a:1")).await;
    seen.controller.spec.image = Some("a:2".to_owned());
    let waits = |seen: &Seen| {
        let (.., message) = condition(seen, "Progressing");
        message.contains("gives the operator no answer at port 8081").then_some(message)
    };
    assert_eq!(waits(&seen), None);
    seen.told.clear();
    let message = waits(&seen).unwrap();
    assert!(message.contains("acme-0 is ready, and gives"), "{message}");
}

#[tokio::test]
async fn the_address_is_that_of_whoever_is_in_front_as_far_as_one_is_known() {
    let good = seen(image("a:1")).await;
    for (spec, address, url) in [
        (json!({ "ingress": {} }), "10.0.0.1", "http://10.0.0.1/"),
        (json!({ "ingress": { "tls": { "secretName": "tls" } } }), "fd00::1", "https://[fd00::1]/"),
        (json!({ "route": {} }), "acme.apps.example.com", "https://acme.apps.example.com/"),
        (json!({ "gateway": { "parentRefs": [{ "name": "public" }] } }), "public", "http://acme.ci.svc/"),
        (
            json!({ "gateway": { "parentRefs": [{ "name": "public" }], "host": "acme.example.com" } }),
            "public",
            "https://acme.example.com/",
        ),
    ] {
        let mut seen = Seen { address: Some(vec![address.to_owned()]), ..good.clone() };
        seen.controller.spec = serde_json::from_value(spec.clone()).unwrap();
        let decision = decide(&seen, &images(), &fresh().unwrap());
        let status = crate::status::status(&seen, &decision.outcome, &resource::Status::default());
        assert_eq!(status.url.as_deref(), Some(url), "{spec}");
    }
}
