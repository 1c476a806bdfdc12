//! Controllers that tests look at.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::{Value, json};

use crate::controller::Controller;
use crate::overview::{Overview, Seen, keys, put_together};

pub(crate) fn now() -> Timestamp {
    "2026-11-26T20:10:00Z".parse().unwrap()
}

/// So many minutes and seconds after eight.
fn at(time: &str) -> String {
    format!("2026-11-26T20:{time}Z")
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at("05:00"),
    })
}

fn member(ordinal: u32, state: &str, revision: &str, message: Value) -> Value {
    json!({
        "ordinal": ordinal, "pod": format!("acme-{ordinal}"), "state": state, "revision": revision,
        "builds": 4 - ordinal, "agents": 10 * ordinal, "since": at("06:30"), "message": message,
    })
}

fn pod(ordinal: u32, more: Value) -> Pod {
    let mut pod = json!({
        "metadata": { "name": format!("acme-{ordinal}"), "labels": { "majordomo.dev/revision": "5f6c0ffee0" } },
        "spec": { "containers": [], "nodeName": format!("node-{ordinal}") },
        "status": { "containerStatuses": [
            { "name": "majordomo", "ready": true, "restartCount": ordinal, "image": "", "imageID": "" },
        ] },
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        pod["metadata"][name] = value.clone();
    }
    serde_json::from_value(pod).unwrap()
}

fn controller(spec: Value, status: Value) -> Controller {
    let metadata = json!({ "name": "acme", "generation": 7, "creationTimestamp": "2026-11-20T20:00:00Z" });
    let object = json!({ "metadata": metadata, "spec": spec, "status": status });
    Controller::read(serde_json::from_value(object).unwrap()).unwrap()
}

fn overview(controller: Controller, pods: Vec<Pod>, events: Vec<Event>, unseen: Vec<String>) -> Overview {
    let mut secrets = keys("acme", controller.spec.as_ref().ok());
    for (place, key) in secrets.iter_mut().enumerate() {
        key.there = (place < 3).then_some(place != 1);
    }
    let budget = serde_json::from_value(json!({
        "metadata": { "name": "acme" },
        "status": { "disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3 },
    }));
    let seen = Seen { controller, pods, budget: Some(budget.unwrap()), secrets, events, unseen };
    put_together(seen, "ci", now())
}

/// All is well.
pub(crate) fn healthy() -> Overview {
    let status = json!({
        "observedGeneration": 7, "phase": "Ready", "replicas": 3, "readyReplicas": 3, "url": "https://ci.example.com/",
        "revision": "5f6c0ffee0", "counters": { "builds": 9, "queue": 2, "agents": 30 },
        "members": [
            member(0, "Ready", "5f6c0ffee0", Value::Null), member(1, "Ready", "5f6c0ffee0", Value::Null),
            member(2, "Ready", "5f6c0ffee0", Value::Null),
        ],
        "conditions": [
            condition("Ready", "True", "AllReady", ""), condition("StoreReady", "True", "StoreAnswers", ""),
            condition("StoreDurable", "True", "Replicated", ""), condition("Progressing", "False", "Settled", ""),
            condition("Exposed", "False", "NotAsked", "neither ingress nor gateway nor route is asked for"),
        ],
        "rollout": {
            "phase": "Settled", "good": "5f6c0ffee0", "wanted": "5f6c0ffee0",
            "history": [{
                "revision": "5f6c0ffee0", "reason": "ImageChanged", "message": "from ci:1 to ci:2", "end": "Finished",
                "askedAt": at("00:00"), "endedAt": at("03:00"),
            }],
        },
    });
    let spec = json!({ "store": { "postgres": { "secretRef": { "name": "database" } } } });
    let pods = (0..3).map(|ordinal| pod(ordinal, json!({}))).collect();
    let mut seen = overview(controller(spec, status), pods, Vec::new(), Vec::new());
    seen.secrets.iter_mut().for_each(|key| key.there = Some(true));
    seen
}

/// A rollout that goes wrong, with a replica that is lost and one that the operator does not know of yet.
pub(crate) fn troubled() -> Overview {
    let why = "it waits for the database, which refuses the user; look at the Secret, and at what the database itself has to \
               say about it, since both are needed";
    let status = json!({
        "observedGeneration": 6, "phase": "Degraded", "replicas": 3, "readyReplicas": 1, "revision": "ab12cd34ef",
        "startup": { "holder": "acme-1", "since": at("09:20") },
        "members": [
            member(0, "Lost", "5f6c0ffee0", json!("its node does not answer")),
            member(1, "Starting", "ab12cd34ef", json!(why)), member(2, "Ready", "5f6c0ffee0", Value::Null),
        ],
        "conditions": [
            condition("Ready", "False", "SomeReady", "1 of 3 replicas serve"),
            condition("StoreReady", "Unknown", "CredentialsRefused", "the database refuses the user ci"),
            condition("Progressing", "True", "GoingBack", ""),
            condition("Later", "True", "Whatever", "of a newer\noperator \u{1b}[2J"),
        ],
        "rollout": {
            "phase": "GoingBack", "good": "5f6c0ffee0", "wanted": "ab12cd34ef", "message": "acme-1 is not ready in time",
            "turn": { "ordinal": 1, "stage": "Start", "since": at("08:00") },
            "history": [{ "revision": "ab12cd34ef", "reason": "Annotation", "askedAt": at("07:00") }],
        },
        "failovers": [{ "replica": "acme-0", "at": at("06:31"), "builds": 4 }],
    });
    let events = [
        json!({
            "involvedObject": { "kind": "Pod", "name": "acme-0" }, "metadata": {}, "type": "Warning", "count": 7,
            "reason": "NodeNotReady", "message": "Node is not ready", "lastTimestamp": at("06:40"),
        }),
        json!({
            "involvedObject": { "kind": "HAController", "name": "acme" }, "metadata": {}, "type": "Normal",
            "reason": "GoingBack", "message": "revision ab12cd34ef does not become ready", "eventTime": "2026-11-26T20:09:00.000000Z",
        }),
    ];
    let events = events.map(|event| serde_json::from_value(event).unwrap()).into();
    let pods = vec![
        pod(1, json!({ "deletionTimestamp": at("09:59") })),
        pod(2, json!({})),
        pod(3, json!({ "creationTimestamp": at("09:58") })),
    ];
    let unseen = vec!["you have no right to list events in namespace ci: alice may not".to_owned()];
    let spec = json!({ "rollout": { "paused": true }, "security": { "adminSecretRef": { "name": "boss" } } });
    overview(controller(spec, status), pods, events, unseen)
}

/// The operator has never seen it.
pub(crate) fn fresh() -> Overview {
    let seen = overview(
        controller(json!({ "store": { "sqlite": {} }, "replicas": 1 }), json!({})),
        Vec::new(),
        Vec::new(),
        Vec::new(),
    );
    Overview { budget: None, secrets: Vec::new(), ..seen }
}
