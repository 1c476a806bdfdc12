//! Commands against an API server.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fake::{Answer, Asked, cluster, found, list, refused};
use crate::paint::Paint;
use crate::{Drain, Error, FailoverTest, Say, Undo, Verdict, Waiting};

pub(crate) const CONTROLLER: &str = "/apis/majordomo.dev/v1alpha1/namespaces/ci/hacontrollers/acme";
const CONTROLLERS: &str = "/apis/majordomo.dev/v1alpha1/namespaces/ci/hacontrollers";
pub(crate) const PODS: &str = "/api/v1/namespaces/ci/pods";
const BUDGET: &str = "/apis/policy/v1/namespaces/ci/poddisruptionbudgets/acme";
const WAITING: Waiting = Waiting { timeout: Duration::from_secs(20) };

/// Runs it, with what it has said.
pub(crate) async fn said<T>(call: impl AsyncFnOnce(Say<'_>) -> T) -> (T, String) {
    let lines = Mutex::new(Vec::new());
    let done = call(&|line: &str| lines.lock().unwrap().push(line.to_owned())).await;
    (done, lines.into_inner().unwrap().join("\n"))
}

pub(crate) fn pod(ordinal: u32, uid: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": format!("acme-{ordinal}"), "namespace": "ci", "uid": uid },
        "spec": { "nodeName": "n1", "containers": [{ "name": "majordomo", "image": "ci:1", "env": [
            { "name": "STORE", "value": "postgres://u:PLANTED@db/ci" },
        ] }] },
        "status": {
            "conditions": [{ "type": "Ready", "status": ready }],
            "containerStatuses": [{
                "name": "majordomo", "ready": true, "restartCount": 1, "image": "", "imageID": "", "state": { "running": {} },
            }],
        },
    })
}

pub(crate) fn controller(rollout: Value, failovers: Value) -> Value {
    let member = |ordinal: u32| json!({ "ordinal": ordinal, "pod": format!("acme-{ordinal}"), "state": "Ready", "revision": "r", "builds": 2 });
    json!({
        "apiVersion": "majordomo.dev/v1alpha1", "kind": "HAController",
        "metadata": { "name": "acme", "namespace": "ci", "generation": 1, "resourceVersion": "5" },
        "spec": { "replicas": 2, "image": "ci:2" },
        "status": {
            "observedGeneration": 1, "readyReplicas": 2, "members": [member(0), member(1)],
            "rollout": rollout, "failovers": failovers,
        },
    })
}

pub(crate) fn settled(wanted: &str) -> Value {
    json!({ "phase": "Settled", "good": wanted, "wanted": wanted })
}

pub(crate) fn nothing(asked: &Asked) -> Answer {
    refused(404, &format!("{} {} is not there", asked.method, asked.path))
}

#[tokio::test]
async fn a_name_that_nobody_has_is_answered_with_those_that_are_there() {
    let (there, _) = cluster(|asked| match asked.path.split('?').next() {
        Some(CONTROLLERS) => list(json!([{ "metadata": { "name": "other", "namespace": "ci" } }])),
        _ => nothing(asked),
    });
    let error = crate::overview(&there, "acme").await.unwrap_err().to_string();
    assert_eq!(error, "there is no controller acme in namespace ci; there are: other");
    let (unknown, _) = cluster(|_| (404, "404 page not found\n".to_owned()));
    assert!(matches!(crate::overview(&unknown, "acme").await.unwrap_err(), Error::NotInstalled));
}

#[tokio::test]
async fn what_one_may_not_read_is_named_and_the_rest_is_shown() {
    let (cluster, log) = cluster(|asked| match asked.path.split('?').next() {
        Some(CONTROLLER) => found(controller(settled("r"), json!([]))),
        Some(PODS) => list(json!([pod(0, "a", "True")])),
        Some(path) if path.contains("/secrets/") => refused(403, "alice may not"),
        Some("/api/v1/namespaces/ci/events") => list(json!([])),
        _ => nothing(asked),
    });
    let seen = crate::overview(&cluster, "acme").await.unwrap();
    assert_eq!((seen.members.len(), seen.members[0].node.as_deref()), (2, Some("n1")));
    assert_eq!(seen.unseen, ["you have no right to get secrets in namespace ci: alice may not"]);
    let asked = log.lock().unwrap().iter().map(|asked| asked.path.clone()).collect::<Vec<_>>().join("\n");
    assert!(
        asked.contains("involvedObject.name%3Dacme-0") && asked.contains("component%3Dreplica"),
        "{asked}"
    );
}

#[tokio::test]
async fn no_right_to_the_resource_says_which_right() {
    let (cluster, _) = cluster(|_| refused(403, "alice may not"));
    let error = crate::overview(&cluster, "acme").await.unwrap_err().to_string();
    assert_eq!(error, "you have no right to get hacontrollers.majordomo.dev in namespace ci: alice may not");
}

fn draining(eviction: u16) -> impl FnMut(&Asked) -> Answer + Send {
    let mut looks = 0;
    move |asked| match asked.path.split('?').next() {
        Some(CONTROLLER) => found(controller(settled("r"), json!([]))),
        Some(PODS) => list(json!([pod(0, "a", "True"), pod(1, "b", "True")])),
        Some("/api/v1/namespaces/ci/pods/acme-1/eviction") if eviction < 400 => {
            found(json!({ "kind": "Status", "status": "Success" }))
        }
        Some("/api/v1/namespaces/ci/pods/acme-1/eviction") => {
            refused(eviction, "it would violate the budget")
        }
        Some("/api/v1/namespaces/ci/pods/acme-1") => {
            looks += 1;
            match looks {
                1 => found(pod(1, "b", "True")),
                2 => nothing(asked),
                3 => refused(503, "the API server starts"),
                4 => found(pod(1, "c", "False")),
                _ => found(pod(1, "c", "True")),
            }
        }
        Some(BUDGET) => found(json!({
            "metadata": { "name": "acme" },
            "status": { "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 2 },
        })),
        _ => nothing(asked),
    }
}

#[tokio::test]
async fn a_replica_is_evicted_and_waited_for() {
    let (cluster, log) = cluster(draining(201));
    let asked = Drain { pod: "acme-1", force: false, waiting: Some(WAITING) };
    let (done, text) = said(async |say| crate::drain(&cluster, "acme", asked, say).await).await;
    assert_eq!(done.unwrap(), Verdict::Good);
    for line in [
        "acme-1: evicted; it hands over 2 builds and 0 agents, then ends",
        "acme-1: gone; its next pod is to come",
        "the API server starts; trying again",
        "acme-1: its next pod is Pending",
        "acme-1: back and ready on n1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let log = log.lock().unwrap();
    let eviction = log.iter().find(|asked| asked.path.contains("/eviction")).unwrap();
    // another pod of that name is left alone
    assert_eq!(eviction.body["deleteOptions"]["preconditions"]["uid"], "b", "{}", eviction.body);
}

#[tokio::test]
async fn a_budget_without_room_refuses_the_drain() {
    let (full, _) = cluster(draining(429));
    let asked = Drain { pod: "acme-1", force: false, waiting: None };
    let (done, _) = said(async |say| crate::drain(&full, "acme", asked, say).await).await;
    let error = done.unwrap_err().to_string();
    assert!(
        error.contains("the disruption budget acme has no room (1 of 2 replicas are healthy)"),
        "{error}"
    );
    let (away, _) = cluster(|asked| match asked.path.split('?').next() {
        Some(CONTROLLER) => found(controller(settled("r"), json!([]))),
        Some(PODS) => list(json!([pod(0, "a", "False"), pod(1, "b", "True")])),
        _ => nothing(asked),
    });
    let (done, _) = said(async |say| crate::drain(&away, "acme", asked, say).await).await;
    assert!(done.unwrap_err().to_string().contains("nobody would serve; say --force"));
}

#[tokio::test]
async fn a_restart_is_followed_to_its_end() {
    for (phase, end, verdict, line) in [
        ("Settled", "Finished", Verdict::Good, "acme: all replicas run revision s"),
        ("Halted", "GoneBack", Verdict::Bad, "acme: revision s was given up, the replicas run r again"),
    ] {
        let mut looks = 0;
        let (cluster, log) = cluster(move |asked| {
            if asked.is("PATCH", CONTROLLER) {
                return found(json!({ "metadata": { "name": "acme" } }));
            }
            looks += 1;
            let past = json!([{ "revision": "s", "reason": "Annotation", "askedAt": "2026-11-26T20:00:00Z", "end": end }]);
            let good = if end == "Finished" { "s" } else { "r" };
            found(match looks {
                1 | 2 => controller(settled("r"), json!([])),
                3 => controller(json!({ "phase": "Rolling", "good": "r", "wanted": "s" }), json!([])),
                _ => controller(
                    json!({ "phase": phase, "good": good, "wanted": "s", "history": past }),
                    json!([]),
                ),
            })
        });
        let (done, text) = said(async |say| crate::restart(&cluster, "acme", Some(WAITING), say).await).await;
        assert_eq!(done.unwrap(), verdict, "{text}");
        assert!(
            text.contains("waiting for the operator")
                && text.contains("Rolling: 0 of 2")
                && text.contains(line),
            "{text}"
        );
        let log = log.lock().unwrap();
        let patch = log.iter().find(|asked| asked.method == "PATCH").unwrap();
        let time = patch.body["metadata"]["annotations"]["majordomo.dev/restartedAt"].as_str().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        assert_eq!(patch.body.as_object().unwrap().len(), 1, "{}", patch.body);
    }
}

#[tokio::test]
async fn an_operator_that_does_nothing_is_not_waited_for_for_ever() {
    let (cluster, _) = cluster(|_| found(controller(settled("r"), json!([]))));
    let short = Waiting { timeout: Duration::from_millis(5) };
    let (done, text) = said(async |say| crate::restart(&cluster, "acme", Some(short), say).await).await;
    assert_eq!(done.unwrap(), Verdict::Bad);
    assert!(text.contains("it did not end in 0 s"), "{text}");
}

fn record(number: i64, image: &str) -> Value {
    json!({
        "metadata": { "name": format!("acme-revision-{number}"), "labels": { "majordomo.dev/revision": format!("r{number}") } },
        "revision": number, "data": { "inputs": { "image": image, "objects": { "store": {} }, "store": { "builtin": {} } }, "template": {} },
    })
}

/// Of the writes, so many lose against others.
fn undoing(mut conflicts: usize) -> impl FnMut(&Asked) -> Answer + Send {
    move |asked| match asked.path.split('?').next() {
        Some(CONTROLLER) if asked.method == "PATCH" && conflicts > 0 => {
            conflicts -= 1;
            refused(409, "it was changed")
        }
        Some(CONTROLLER) => found(controller(settled("r2"), json!([]))),
        Some("/apis/apps/v1/namespaces/ci/controllerrevisions") => {
            list(json!([record(2, "ci:2"), record(1, "ci:1")]))
        }
        _ => nothing(asked),
    }
}

#[tokio::test]
async fn an_undo_shows_what_it_does_and_does_it_when_told_to() {
    let patches = |log: &crate::fake::Log| {
        log.lock()
            .unwrap()
            .iter()
            .filter(|asked| asked.method == "PATCH")
            .map(|asked| asked.body.clone())
            .collect::<Vec<_>>()
    };
    for (conflicts, yes, written) in [(0, true, 1), (2, true, 3), (0, false, 0)] {
        let (cluster, log) = cluster(undoing(conflicts));
        let shown = Mutex::new(String::new());
        let sure = |plan: &str| {
            plan.clone_into(&mut shown.lock().unwrap());
            Ok(yes)
        };
        let asked = Undo { to: None, sure: &sure, waiting: None };
        let (done, text) = said(async |say| crate::undo(&cluster, "acme", asked, say).await).await;
        assert_eq!(done.unwrap(), if yes { Verdict::Good } else { Verdict::Unknown }, "{text}");
        let plan = shown.lock().unwrap().clone();
        assert_eq!(plan, "acme: back to revision 1 (r1):\n  - spec.image: ci:2\n  + spec.image: ci:1");
        let patches = patches(&log);
        assert_eq!(patches.len(), written);
        let patch = json!({ "metadata": { "resourceVersion": "5" }, "spec": { "image": "ci:1" } });
        assert!(patches.iter().all(|body| *body == patch), "{patches:?}");
    }
}

#[tokio::test]
async fn a_pause_is_written_once() {
    let (cluster, log) = cluster(|_| found(controller(settled("r"), json!([]))));
    let (done, text) = said(async |say| crate::pause(&cluster, "acme", say).await).await;
    assert_eq!(
        (done.unwrap(), text.as_str()),
        (Verdict::Good, "acme: paused; nothing is replaced until it is resumed")
    );
    let (_, text) = said(async |say| crate::resume(&cluster, "acme", say).await).await;
    assert_eq!(text, "acme: it is not paused already");
    let log = log.lock().unwrap();
    let patches: Vec<_> = log.iter().filter(|asked| asked.method == "PATCH").collect();
    assert_eq!(patches.len(), 1);
    assert_eq!(patches[0].body, json!({ "spec": { "rollout": { "paused": true } } }));
}

#[tokio::test]
async fn a_failover_is_tested_without_a_chance_to_hand_over() {
    let mut looks = 0;
    let (cluster, log) = cluster(move |asked| match asked.path.split('?').next() {
        Some(CONTROLLER) => {
            let lost = json!([{ "replica": "acme-0", "at": "2026-11-26T20:00:00Z", "builds": 2 }]);
            found(controller(settled("r"), if looks > 2 { lost } else { json!([]) }))
        }
        Some(PODS) => {
            looks += 1;
            match looks {
                1 => list(json!([pod(0, "a", "True"), pod(1, "b", "True")])),
                2 => list(json!([pod(1, "b", "True")])),
                _ => list(json!([pod(0, "c", "True"), pod(1, "b", "True")])),
            }
        }
        Some("/api/v1/namespaces/ci/pods/acme-0") => found(pod(0, "a", "True")),
        _ => nothing(asked),
    });
    let sure = |_: &str| Ok(true);
    let asked = FailoverTest { replica: None, sure: &sure, waiting: WAITING };
    let (done, text) = said(async |say| crate::failover_test(&cluster, "acme", asked, say).await).await;
    assert_eq!(done.unwrap(), Verdict::Good, "{text}");
    assert!(text.contains("Builds       2 before, 2 went on at others"), "{text}");
    let log = log.lock().unwrap();
    let delete = log.iter().find(|asked| asked.method == "DELETE").unwrap();
    assert_eq!(delete.body["gracePeriodSeconds"], 0);
    assert_eq!(delete.body["preconditions"]["uid"], "a");
}

#[tokio::test]
async fn versions_are_told_as_far_as_they_can_be_seen() {
    let (cluster, _) = cluster(|asked| match asked.path.split('?').next() {
        Some("/version") => found(json!({
            "major": "1", "minor": "34", "gitVersion": "v1.34.4", "gitCommit": "", "gitTreeState": "", "buildDate": "",
            "goVersion": "", "compiler": "", "platform": "",
        })),
        Some(CONTROLLER) => found(controller(settled("r"), json!([]))),
        Some(PODS) => list(json!([pod(0, "a", "True")])),
        Some("/apis/apps/v1/deployments") => refused(403, "alice may not"),
        _ => nothing(asked),
    });
    let text = crate::version(&cluster, Some("acme")).await.unwrap();
    assert!(text.contains("v1.34.4 at https://k") && text.contains("acme-0              ci:1"), "{text}");
    assert!(text.contains("operator            you have no right to list deployments.apps"), "{text}");
}

#[tokio::test]
async fn the_history_of_revisions_is_listed() {
    let (cluster, _) = cluster(undoing(0));
    let text = crate::history(&cluster, "acme", Paint(false)).await.unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["1", "r1", "–", "ci:1"]);
    assert_eq!(lines[2], ["2", "r2", "ImageChanged", "ci:2", "runs"]);
}

#[tokio::test]
async fn where_a_rollout_stands_is_told_without_waiting() {
    let past = json!([{ "revision": "s", "reason": "Annotation", "askedAt": "2026-11-26T20:00:00Z" }]);
    for (rollout, verdict, text) in [
        (settled("r"), Verdict::Good, "acme: Settled: r is wanted and good"),
        (
            json!({ "phase": "Halted", "good": "r", "wanted": "s", "message": "no image" }),
            Verdict::Bad,
            "acme: Halted: s is wanted, r was good; no image",
        ),
        (
            json!({ "phase": "Rolling", "good": "r", "wanted": "s", "history": past }),
            Verdict::Good,
            "acme: Rolling: s is wanted, r was good\nREVISION",
        ),
    ] {
        let (cluster, _) = cluster(move |_| found(controller(rollout.clone(), json!([]))));
        let (done, said) =
            said(async |say| crate::rollout_status(&cluster, "acme", None, Paint(false), say).await).await;
        assert_eq!(done.unwrap(), verdict);
        assert!(said.starts_with(text), "{said}");
    }
}
