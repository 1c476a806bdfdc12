//! A controller is installed, and its replicas start one after the other.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::support::controller::{Controller, NAME};
use crate::support::kubectl::{Kubectl, condition};
use crate::support::operator::story;
use crate::support::watch::Watch;

const MINIMAL: &str = include_str!("../../examples/acme.yaml");

/// When each member was first told to be ready, by its own account: pods in that order.
fn ready(status: &Value) -> Vec<(Timestamp, String)> {
    let members = status["members"].as_array().unwrap();
    let mut ready: Vec<_> = members
        .iter()
        .map(|member| {
            assert_eq!(member["state"], "Ready", "{member}");
            (time(member["since"].as_str().unwrap()), member["pod"].as_str().unwrap().to_owned())
        })
        .collect();
    ready.sort();
    ready
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// From when to when a replica had the startup lock, as its log says.
fn start(kubectl: &Kubectl, pod: &str) -> (Timestamp, Timestamp) {
    let log = kubectl.run(&["logs", pod]);
    let when = |what: &str| {
        let line = log.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {log}"));
        time(line.split_whitespace().next().unwrap())
    };
    (when("it has the startup lock"), when(": ready"))
}

#[test]
fn the_minimal_example_starts_its_replicas_one_after_the_other() {
    story(|cluster, _| {
        let controller = Controller::prepare(cluster, "start");
        let kubectl = controller.kubectl();
        let watch = Watch::start(kubectl);
        kubectl.apply(MINIMAL);
        let resource = controller.wait_ready();
        let status = &resource["status"];

        // the times in the status are those of the starts, none of which began before the one before had ended
        let order = ready(status);
        let mut before: Option<Timestamp> = None;
        for (since, pod) in &order {
            let (began, ended) = start(kubectl, pod);
            assert!(before.is_none_or(|before| before < began), "{pod} began too early: {order:?}");
            assert!(began < *since && began < ended, "{pod}: {began} {since} {ended}");
            before = Some(*since);
        }
        // and whoever looked on saw them in no other order, and nobody ready who then was not
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (count, look) in watch.resource().iter().enumerate() {
            for member in look.object["status"]["members"].as_array().into_iter().flatten() {
                let pod = member["pod"].as_str().unwrap().to_owned();
                if member["state"] == "Ready" {
                    seen.entry(pod).or_insert(count);
                } else {
                    assert!(!seen.contains_key(&pod), "{pod} was ready before: {:#}", look.object["status"]);
                }
            }
        }
        assert_eq!(seen.len(), 3, "{seen:?}");
        assert!(status["startup"].is_null(), "nobody starts any more: {status:#}");
        looks(&controller, status);
        reports(&controller);
        scales(&controller, &order);
    });
}

/// What users see of it.
fn looks(controller: &Controller, status: &Value) {
    let kubectl = controller.kubectl();
    for (kind, is, reason) in [
        ("Ready", "True", "AllReady"),
        ("StoreReady", "True", "StoreAnswers"),
        ("StoreDurable", "False", "SingleCopy"),
        ("Exposed", "Unknown", "NotAsked"),
        ("Progressing", "False", "Settled"),
        ("RolledBack", "False", "NothingFailed"),
        ("ConfigurationValid", "True", "Valid"),
        ("PluginsLoaded", "True", "NoPlugins"),
    ] {
        let found = condition(&serde_json::json!({ "status": status }), kind).cloned().unwrap_or_default();
        assert_eq!((&found["status"], &found["reason"]), (&is.into(), &reason.into()), "{kind}: {found}");
    }
    assert_eq!(status["rollout"]["history"], serde_json::json!([]), "the first start is no rollout");

    let explained = kubectl.run(&["explain", "hac.spec.rollout"]);
    for part in ["How replicas are replaced", "drainTimeout\t<string>", "enum: Immediately, Idle, Window"] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    let table = kubectl.run(&["get", "hac"]);
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(
        lines.next().unwrap(),
        ["NAME", "READY", "REPLICAS", "PHASE", "REVISION", "AGE", "URL"],
        "{table}"
    );
    let row = lines.next().unwrap();
    let revision = status["revision"].as_str().unwrap();
    let url = format!("http://{NAME}.{}.svc/", controller.namespace.name);
    assert_eq!(row[..5], [NAME, "3", "3", "Ready", revision], "{table}");
    assert_eq!(row[6..], [url.as_str()], "{table}");

    let told = controller.plugin(&["status", NAME]);
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{text}{}", String::from_utf8_lossy(&told.stderr));
    let line = |words: &[&str]| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
    for words in [
        vec!["Controller", &controller.namespace.name],
        vec!["Replicas", "3 of 3 ready"],
        vec!["URL", &url],
        vec!["acme-2", "Ready", revision],
        vec!["Settled", revision],
    ] {
        assert!(line(&words), "{words:?}: {text}");
    }
}

/// Everything that support needs, and no secret.
fn reports(controller: &Controller) {
    let file = controller.root.join("report.tar.gz");
    let made = controller.plugin(&["report", NAME, "--file", file.to_str().unwrap()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let unpacked = std::process::Command::new("tar").args(["-xzOf"]).arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&unpacked.stdout);
    for part in ["kind: HAController", "it has the startup lock", "acme-2"] {
        assert!(text.contains(part), "{part} is not in the report");
    }
    for (name, key) in [("acme-admin", "password"), ("acme-postgres", "password"), ("acme-keys", "peer.keys")]
    {
        let secret = controller.secret(name, key);
        assert!(!text.contains(secret.trim()), "{name} is in the report");
    }
    let versions = controller.plugin(&["version", NAME]);
    let text = String::from_utf8_lossy(&versions.stdout);
    assert!(versions.status.success() && text.contains(env!("CARGO_PKG_VERSION")), "{text}");
}

/// By the scale subresource: whoever is added starts after all others, and nobody else is touched.
fn scales(controller: &Controller, before: &[(Timestamp, String)]) {
    let kubectl = controller.kubectl();
    kubectl.run(&["scale", "hac", NAME, "--replicas=4"]);
    let resource = controller.wait_ready();
    let after = ready(&resource["status"]);
    assert_eq!(after[..3], *before);
    assert_eq!(after[3].1, "acme-3");
    let scale = ["get", "hac", NAME, "--subresource=scale", "-o", "jsonpath={.status.replicas}"];
    assert_eq!(kubectl.run(&scale), "4");
    kubectl.run(&["scale", "hac", NAME, "--replicas=3"]);
    // it is no replica any more as soon as it goes, and a member until it has gone
    let status = controller.until("the fourth has gone", |resource| {
        (resource["status"]["members"].as_array()?.len() == before.len()).then(|| resource["status"].clone())
    });
    assert_eq!(ready(&status), before, "{status:#}");
    assert_eq!(controller.pods().len(), before.len());
    let refused = kubectl.attempt(&["scale", "hac", NAME, "--replicas=10"]).unwrap_err();
    assert!(refused.contains("replicas"), "{refused}");
}
