use std::sync::Arc;

use bytes::Bytes;
use hyper::{Request, Response};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::client::Body;
use parking_lot::Mutex;
use resource::{
    ConditionType, Member, MemberState, RestartReason, RolloutPhase, RolloutRecord, RolloutStage,
    RolloutStatus, RolloutTurn,
};
use serde_json::Value;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn owner() -> Owner {
    Owner { namespace: "ci".to_owned(), name: "acme".to_owned(), uid: "1".to_owned() }
}

fn look(now: i64, last: Option<i64>) -> Look {
    Look { owner: owner(), now: at(now), last: last.map(at), drain: Duration::from_secs(60) }
}

/// `Ready=False/SomeReady`, as of the second 0.
fn condition(text: &str) -> Condition {
    let (type_, rest) = text.split_once('=').unwrap();
    let (status, reason) = rest.split_once('/').unwrap();
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: format!("{type_} is {reason}"),
        observed_generation: None,
        last_transition_time: Time(at(0)),
    }
}

fn rollout() -> RolloutStatus {
    RolloutStatus {
        phase: RolloutPhase::Settled,
        good: "one".to_owned(),
        wanted: "one".to_owned(),
        turn: None,
        message: None,
        history: Vec::new(),
    }
}

fn status(conditions: &[&str], rollout: Option<RolloutStatus>, ready: i32) -> Status {
    Status {
        phase: Some(Phase::Ready),
        conditions: conditions.iter().map(|text| condition(text)).collect(),
        rollout,
        ready_replicas: ready,
        ..Status::default()
    }
}

/// Of one condition, in one line: `+` is normal, `!` a warning.
fn change(before: &str, after: &str, first: bool, ready: (i32, i32), look: &Look) -> String {
    let rollout = || (!first).then(rollout);
    let before = status(&[before], rollout(), ready.0);
    let told = news(&before, &status(&[after], rollout(), ready.1), look);
    let told = told.iter().map(|one| format!("{}{}", if one.warns { "!" } else { "+" }, one.reason));
    told.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_condition_that_was_good_and_is_bad_warns_and_one_on_its_way_does_not() {
    let look = look(5, Some(4));
    for (before, after, ready, told) in [
        ("Ready=True/AllReady", "Ready=False/SomeReady", (3, 2), "!SomeReady"),
        ("Ready=False/SomeReady", "Ready=False/NoneReady", (1, 0), "!NoneReady"),
        ("Ready=False/NoneReady", "Ready=False/SomeReady", (0, 1), ""),
        ("Ready=False/SomeReady", "Ready=True/AllReady", (2, 3), "+AllReady"),
        // more are wanted than before
        ("Ready=True/AllReady", "Ready=False/SomeReady", (3, 3), ""),
        ("Ready=True/AllReady", "Ready=False/Stopped", (3, 0), "+Stopped"),
        ("Ready=False/Stopped", "Ready=False/NoneReady", (0, 0), ""),
        ("Ready=True/AllReady", "Ready=True/AllReady", (3, 3), ""),
        ("StoreReady=True/StoreAnswers", "StoreReady=False/StoreUnreachable", (3, 3), "!StoreUnreachable"),
        ("StoreReady=True/StoreAnswers", "StoreReady=False/StoreStarting", (3, 3), "!StoreStarting"),
        ("StoreReady=True/StoreAnswers", "StoreReady=Unknown/StoreUnreachable", (3, 3), ""),
        ("StoreReady=False/StoreStarting", "StoreReady=False/NodeLost", (3, 3), "!NodeLost"),
        ("StoreReady=False/NodeLost", "StoreReady=False/StoreStarting", (3, 3), ""),
        ("StoreReady=False/StoreUnreachable", "StoreReady=True/StoreAnswers", (3, 3), "+StoreAnswers"),
        ("StoreReady=True/StoreAnswers", "StoreReady=True/StorageGrowing", (3, 3), ""),
        ("StoreDurable=True/Replicated", "StoreDurable=False/SingleCopy", (3, 3), "!SingleCopy"),
        ("Exposed=Unknown/NotAsked", "Exposed=False/AddressPending", (3, 3), ""),
        ("Exposed=Unknown/NotAsked", "Exposed=False/HostTaken", (3, 3), "!HostTaken"),
        ("Exposed=True/AddressAssigned", "Exposed=False/AddressPending", (3, 3), "!AddressPending"),
        ("ConfigurationValid=True/Valid", "ConfigurationValid=False/SecretMissing", (3, 3), "!SecretMissing"),
        ("ConfigurationValid=False/SecretMissing", "ConfigurationValid=True/Valid", (3, 3), "+Valid"),
        ("Progressing=False/Settled", "Progressing=True/Rolling", (3, 3), ""),
        ("Progressing=False/Settled", "Progressing=True/ReplicaEnds", (3, 3), "!ReplicaEnds"),
        ("Progressing=True/ReplicaEnds", "Progressing=False/Settled", (3, 3), ""),
        ("PluginsLoaded=True/NoPlugins", "PluginsLoaded=False/NoRuntime", (3, 3), "!NoRuntime"),
    ] {
        assert_eq!(change(before, after, false, ready, &look), told, "{before} → {after}");
    }
}

#[test]
fn a_first_start_is_told_when_it_does_not_get_on_and_then_once() {
    let missing = "ConfigurationValid=False/SecretMissing";
    let starting = "StoreReady=False/StoreStarting";
    for (before, after, now, last, told) in [
        (missing, missing, 29, Some(28), ""),
        (missing, missing, 30, Some(29), "!SecretMissing"),
        (missing, missing, 40, Some(30), ""),
        // another operator leads
        (missing, missing, 40, None, "!SecretMissing"),
        (missing, "ConfigurationValid=True/Valid", 20, Some(19), ""),
        (missing, "ConfigurationValid=True/Valid", 50, Some(49), "+Valid"),
        ("ConfigurationValid=True/Valid", missing, 5, Some(4), "!SecretMissing"),
        (starting, starting, 30, Some(29), ""),
        (starting, "StoreReady=True/StoreAnswers", 50, Some(49), ""),
        (starting, "StoreReady=False/CredentialsRefused", 20, Some(19), "!CredentialsRefused"),
        ("Progressing=True/FirstStart", "Progressing=True/ImageUnfit", 20, Some(19), ""),
        ("Progressing=True/ImageUnfit", "Progressing=True/ImageUnfit", 30, Some(29), "!ImageUnfit"),
        ("Progressing=True/FirstStart", "Progressing=True/ImageUnfit", 50, Some(49), "!ImageUnfit"),
        ("StoreDurable=False/SingleCopy", "StoreDurable=False/SingleCopy", 30, Some(29), ""),
        ("Ready=False/NoneReady", "Ready=False/NoneReady", 30, Some(29), ""),
    ] {
        let look = look(now, last);
        assert_eq!(change(before, after, true, (0, 0), &look), told, "{before} → {after}, {now} s");
    }
}

#[test]
fn what_is_so_at_first_is_no_news() {
    let all: Vec<_> = ConditionType::ALL
        .iter()
        .flat_map(|of| of.reasons().iter().map(move |reason| format!("{of}=False/{reason}")))
        .collect();
    for one in all {
        assert_eq!(news(&Status::default(), &status(&[&one], None, 0), &look(1, None)), [], "{one}");
    }
}

#[test]
fn one_mistake_is_told_once_whatever_it_makes_false() {
    let before =
        status(&["ConfigurationValid=True/Valid", "StoreReady=True/StoreAnswers"], Some(rollout()), 3);
    let mut after = status(
        &["ConfigurationValid=False/SecretMissing", "StoreReady=False/SecretMissing"],
        Some(rollout()),
        3,
    );
    for condition in &mut after.conditions {
        condition.message = "spec.store.postgres.secretRef: there is no Secret db".to_owned();
    }
    let told = news(&before, &after, &look(5, Some(4)));
    assert_eq!(told.len(), 1, "{told:?}");
}

fn rolling(turn: Option<(i32, RolloutStage, i64)>) -> RolloutStatus {
    let record = RolloutRecord {
        revision: "two".to_owned(),
        reason: RestartReason::ImageChanged,
        message: Some("from a:1 to a:2".to_owned()),
        asked_at: Time(at(0)),
        ended_at: None,
        end: None,
    };
    let turn = turn.map(|(ordinal, stage, since)| RolloutTurn { ordinal, stage, since: Time(at(since)) });
    RolloutStatus {
        phase: RolloutPhase::Rolling,
        wanted: "two".to_owned(),
        turn,
        history: vec![record],
        ..rollout()
    }
}

#[test]
fn each_replica_is_told_once_with_its_reason_and_a_drain_that_took_too_long() {
    use RolloutStage::{Drain, Start};
    let told = |before, after, state| {
        let member = Member {
            ordinal: 2,
            pod: "acme-2".to_owned(),
            state,
            revision: "one".to_owned(),
            builds: 0,
            agents: 0,
            since: None,
            message: None,
        };
        let before = Status { members: vec![member], ..status(&[], Some(rolling(before)), 3) };
        let told = news(&before, &status(&[], Some(rolling(after)), 3), &look(200, Some(199)));
        told.into_iter().map(|one| one.note).collect::<Vec<_>>()
    };
    let replaced = ["acme-2 is replaced: ImageChanged, from a:1 to a:2"];
    let state = MemberState::Draining;
    assert_eq!(told(None, Some((2, Drain, 5)), state), replaced);
    assert_eq!(told(Some((1, Start, 5)), Some((2, Drain, 9)), state), replaced);
    // it did not serve, so there was nothing to hand over
    assert_eq!(told(None, Some((2, Start, 5)), state), replaced);
    assert_eq!(told(Some((2, Drain, 5)), Some((2, Drain, 5)), state), [""; 0]);
    assert_eq!(told(Some((2, Drain, 5)), Some((2, Start, 64)), state), [""; 0]);
    assert_eq!(told(Some((2, Start, 5)), Some((2, Start, 5)), state), [""; 0]);
    assert_eq!(told(Some((2, Start, 5)), Some((2, Drain, 9)), state), replaced);
    assert_eq!(told(Some((2, Drain, 5)), Some((2, Start, 65)), MemberState::Stopped), [""; 0]);
    let late = told(Some((2, Drain, 5)), Some((2, Start, 65)), state);
    assert!(late.len() == 1 && late[0].starts_with("acme-2 had not handed over all"), "{late:?}");
}

#[test]
fn a_failover_is_told_when_it_is_new() {
    let with = |seconds: &[i64]| Status {
        failovers: seconds
            .iter()
            .map(|second| Failover { replica: "acme-1".to_owned(), at: Time(at(*second)), builds: 3 })
            .collect(),
        ..status(&[], Some(rollout()), 3)
    };
    let count = |before: &Status, after: &Status| news(before, after, &look(1000, Some(999))).len();
    assert_eq!(count(&with(&[]), &with(&[990])), 1);
    assert_eq!(count(&with(&[990]), &with(&[990])), 0);
    assert_eq!(count(&with(&[990]), &with(&[995, 990])), 1);
    // of long ago, or of before the first look
    assert_eq!(count(&with(&[]), &with(&[100])), 0);
    assert_eq!(count(&Status::default(), &with(&[990])), 0);
}

#[test]
fn what_is_removed_by_force_or_made_anew_is_told() {
    let doomed = |kind, how| Doomed { kind, name: "acme-2".to_owned(), uid: None, how };
    let reason = |kind, how| removed(&doomed(kind, how)).map(|one| one.reason);
    assert_eq!(reason(Kind::Pod, Removal::Force).as_deref(), Some("PodForceDeleted"));
    assert_eq!(reason(Kind::StatefulSet, Removal::Orphan).as_deref(), Some("StatefulSetRecreated"));
    assert_eq!(reason(Kind::Pod, Removal::Plain), None);
    assert!(unreadable("spec.replicas: nine").note.ends_with("spec.replicas: nine"));
}

#[test]
fn an_event_is_one_that_kubernetes_takes() {
    let of = ObjectReference { namespace: Some("ci".to_owned()), ..ObjectReference::default() };
    let news = News::warning("Unreadable", "Read", "ü".repeat(1000)).about(Kind::Pod, "acme-2");
    let event = event(&news, &of);
    assert_eq!(event.note.map(|note| note.len()), Some(MAX_NOTE));
    let about = event.secondary.unwrap();
    assert_eq!((about.kind.as_deref(), about.namespace.as_deref()), (Some("Pod"), Some("ci")));
}

/// Notes of the Events that an API server was asked to keep; it refuses the first one.
async fn kept(news: &[News]) -> Vec<(String, String)> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let noted = Arc::clone(&noted);
        async move {
            let what = format!("{} {}", request.method(), request.uri().path());
            let body = request.into_body().collect_bytes().await?;
            let event: Value = serde_json::from_slice(&body).unwrap();
            let mut noted = noted.lock();
            noted.push((what, event["note"].as_str().unwrap_or_default().to_owned()));
            let code = if noted.len() == 1 { 500 } else { 201 };
            let answer = if code == 201 { body } else { Bytes::from_static(b"{}") };
            Response::builder().status(code).body(Body::from(answer.to_vec())).map_err(kube::Error::HttpError)
        }
    });
    let of = ObjectReference {
        namespace: Some("ci".to_owned()),
        name: Some("acme".to_owned()),
        ..ObjectReference::default()
    };
    let reporter = Reporter { controller: "majordomo-operator".to_owned(), instance: Some("one".to_owned()) };
    publish(&Client::new(service, "ci"), &reporter, &of, news).await;
    asked.lock().clone()
}

#[tokio::test]
async fn events_of_one_reason_are_written_one_by_one_and_a_refused_one_keeps_no_other_back() {
    let news: Vec<_> =
        ["first", "second", "third"].map(|note| News::normal("Asked", "Replace", note.to_owned())).into();
    let all: Vec<_> = ["first", "second", "third"]
        .map(|note| ("POST /apis/events.k8s.io/v1/namespaces/ci/events".to_owned(), note.to_owned()))
        .into();
    assert_eq!(kept(&news).await, all);
}
