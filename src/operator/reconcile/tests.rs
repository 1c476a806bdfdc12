//! With an API server that only notes what it is asked.

use http_body_util::BodyExt;
use hyper::{Request, Response};
use kube::Client;
use kube::api::DynamicObject;
use kube::client::Body;
use kube::runtime::events::Reporter;
use serde_json::{Value, json};

use super::*;
use crate::ask::Replicas;
use crate::perform::Applied;
use crate::plan::{Apis, Images};

type Asked = Arc<Mutex<Vec<String>>>;

/// Of which whatever is asked for is this controller.
fn context(controller: &Value, caches: &Caches) -> (Arc<Context>, Asked) {
    let asked = Asked::default();
    let (noted, answer) = (Arc::clone(&asked), controller.to_string());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (noted, answer) = (Arc::clone(&noted), answer.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let what = format!("{} {} {}", head.method, head.uri.path(), String::from_utf8_lossy(&body));
            noted.lock().push(what.trim().to_owned());
            // a Status says that nothing is there
            let status = if answer.contains("\"Status\"") { 404 } else { 200 };
            Response::builder()
                .status(status)
                .body(Body::from(answer.into_bytes()))
                .map_err(kube::Error::HttpError)
        }
    });
    let context = Context {
        client: Client::new(service, "ci"),
        apis: Apis::default(),
        images: Images { replica: "ours:1".to_owned(), postgres: "postgres:1".to_owned() },
        reporter: Reporter { controller: "majordomo-operator".to_owned(), instance: None },
        replicas: Replicas::default(),
        applied: Applied::default(),
        metrics: Arc::default(),
        caches: vec![caches.clone()],
        memory: Mutex::default(),
    };
    (Arc::new(context), asked)
}

fn object(kind: Kind, metadata: Value) -> (Kind, DynamicObject) {
    let resource = kind.resource();
    let mut value =
        json!({ "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata });
    if kind == Kind::Pod {
        value["spec"] = json!({ "containers": [] });
    }
    (kind, serde_json::from_value(value).unwrap())
}

#[tokio::test]
async fn a_controller_that_can_not_be_read_is_removed_all_the_same() {
    let value = json!({
        "apiVersion": "majordomo.dev/v1alpha1",
        "kind": "HAController",
        "metadata": {
            "name": "acme", "namespace": "ci", "uid": "1", "resourceVersion": "7",
            "finalizers": ["majordomo.dev/replicas", "somebody/else"],
            "deletionTimestamp": "2026-11-26T20:00:00Z",
        },
        "spec": { "later": true },
    });
    let guarded: Arc<Guarded> = Arc::new(serde_json::from_value(value.clone()).unwrap());
    assert!(guarded.0.is_err());
    let labels = json!({ "majordomo.dev/controller": "acme", "app.kubernetes.io/component": "replica" });
    let meta = |name: &str| json!({ "name": name, "namespace": "ci", "uid": "2", "labels": labels });
    let pod = object(Kind::Pod, meta("acme-0"));
    let there = Caches::known(Vec::new(), vec![object(Kind::StatefulSet, meta("acme")), pod]);
    let (context, asked) = context(&value, &there);
    let next = reconcile(Arc::clone(&guarded), Arc::clone(&context), there).await.unwrap();
    assert_eq!(next, Pace::Busy.action());
    let paths: Vec<_> =
        asked.lock().drain(..).map(|what| what.split(" {").next().unwrap().to_owned()).collect();
    let ends =
        ["DELETE /apis/apps/v1/namespaces/ci/statefulsets/acme", "DELETE /api/v1/namespaces/ci/pods/acme-0"];
    assert_eq!(paths, ends);
    let gone = Caches::known(Vec::new(), Vec::new());
    let next = reconcile(guarded, context, gone).await.unwrap();
    assert_eq!(next, Pace::Wrong.action());
    let of = "/apis/majordomo.dev/v1alpha1/namespaces/ci/hacontrollers/acme";
    let patch = r#"{"metadata":{"finalizers":["somebody/else"],"resourceVersion":"7"}}"#;
    assert_eq!(*asked.lock(), [format!("GET {of}"), format!("PATCH {of} {patch}")]);
}

#[tokio::test]
async fn what_the_operator_may_not_read_is_told_once() {
    let value = json!({
        "apiVersion": "majordomo.dev/v1alpha1",
        "kind": "HAController",
        "metadata": { "name": "acme", "namespace": "ci", "uid": "1", "resourceVersion": "7" },
        "spec": { "store": { "postgres": { "secretRef": { "name": "db" } } } },
    });
    let guarded: Arc<Guarded> = Arc::new(serde_json::from_value(value).unwrap());
    let why = "secrets is forbidden: majordomo-operator can not get resource secrets";
    let answer =
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "message": why });
    let caches = Caches::known(Vec::new(), Vec::new());
    let (context, asked) = context(&answer, &caches);
    let mut told = Vec::new();
    for _ in 0..3 {
        let again = reconcile(Arc::clone(&guarded), Arc::clone(&context), caches.clone()).await;
        assert_eq!(again.unwrap_err().class(), Class::Refused);
        let asked: Vec<_> = asked.lock().drain(..).collect();
        told.extend(asked.into_iter().filter(|what| what.starts_with("POST /apis/events.k8s.io/")));
    }
    assert!(told.len() == 1 && told[0].contains("OperatorRefused") && told[0].contains(why), "{told:?}");
}

#[test]
fn counters_are_written_now_and_then_and_all_else_at_once() {
    let status = |builds: i32, phase| {
        let member =
            json!({ "ordinal": 0, "pod": "acme-0", "state": "Ready", "revision": "r", "builds": builds });
        Status {
            members: vec![serde_json::from_value(member).unwrap()],
            phase: Some(phase),
            ..Status::default()
        }
    };
    let before = status(1, resource::Phase::Ready);
    for (after, lately, written) in [
        (before.clone(), false, false),
        (status(2, resource::Phase::Ready), true, false),
        (status(2, resource::Phase::Ready), false, true),
        (status(1, resource::Phase::Degraded), true, true),
    ] {
        assert_eq!(worth_a_write(&before, &after, lately), written, "{after:?}");
    }
}

#[test]
fn how_soon_it_is_looked_at_again_follows_from_what_is_going_on() {
    let rest = Unrest { at_work: false, moves: false, heard: true, faults: false };
    for (unrest, pace) in [
        (rest, Pace::Rest),
        (Unrest { heard: false, ..rest }, Pace::Rest),
        (Unrest { faults: true, ..rest }, Pace::Wrong),
        (Unrest { moves: true, ..rest }, Pace::Soon),
        (Unrest { moves: true, faults: true, ..rest }, Pace::Soon),
        (Unrest { moves: true, heard: false, ..rest }, Pace::Wrong),
        (Unrest { at_work: true, heard: false, ..rest }, Pace::Busy),
        (Unrest { at_work: true, moves: true, faults: true, ..rest }, Pace::Busy),
    ] {
        assert_eq!(unrest.pace(), pace, "{unrest:?}");
    }
    // the keys that were made just now are there at the next look
    assert_eq!(
        [unfit(false, false), unfit(false, true), unfit(true, false)],
        [Pace::Busy, Pace::Wrong, Pace::Wrong]
    );
}

#[tokio::test]
async fn nothing_is_kept_of_a_controller_that_went_without_us() {
    let (context, _) = context(&json!({}), &Caches::known(Vec::new(), Vec::new()));
    let owner = Owner { namespace: "ci".to_owned(), name: "acme".to_owned(), uid: "1".to_owned() };
    context.with(&owner, |memory| memory.failed = 3);
    let of = kube::runtime::reflector::ObjectRef::<HAController>::new("acme").within("ci").erase();
    let gone = kube::runtime::controller::Error::ObjectNotFound(Box::new(of));
    crate::run::no_reconcile::<kube::runtime::watcher::Error>(&context, gone);
    assert!(context.memory.lock().is_empty());
}

#[tokio::test]
async fn what_the_spec_names_is_read_when_nothing_rests() {
    let value = json!({
        "apiVersion": "majordomo.dev/v1alpha1",
        "kind": "HAController",
        "metadata": { "name": "acme", "namespace": "ci", "uid": "1", "generation": 3 },
        "spec": { "ingress": { "host": "acme.example.com", "className": "nginx" } },
    });
    let mut controller: HAController = serde_json::from_value(value).unwrap();
    let caches = Caches::known(Vec::new(), Vec::new());
    let none = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404 });
    let (context, asked) = context(&none, &caches);
    let owner = owner(&controller).unwrap();
    for (rests, generation, reads) in [(true, 3, true), (true, 3, false), (false, 3, true), (true, 4, true)] {
        controller.metadata.generation = Some(generation);
        let named = crate::named::named(&context, &caches, &owner, &controller, rests).await.unwrap();
        assert_eq!(named.class_known, Some(false));
        let class = "GET /apis/networking.k8s.io/v1/ingressclasses/nginx".to_owned();
        assert_eq!(asked.lock().drain(..).any(|what| what == class), reads, "{rests} {generation}");
    }
}
