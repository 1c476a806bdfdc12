//! What is made anew, and what goes for good.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use resource::{Rollout, Span, Spec};
use serde_json::json;

use super::cluster::Cluster;
use super::crashes::unchangeable;
use super::{controller, image, settled};
use crate::kinds::Kind;
use crate::remove::remove;
use crate::seen::Seen;

/// While there is no StatefulSet, or one that goes, nobody would bring back a pod.
#[tokio::test]
async fn nobody_is_away_while_the_statefulset_is_made_anew() {
    let mut cluster = settled(image("a:1")).await;
    unchangeable(&mut cluster);
    // and there is something to be done to pods
    cluster.controller.spec.image = Some("a:2".to_owned());
    let mut without = 0;
    cluster
        .settle(|cluster| {
            let set = cluster.object(Kind::StatefulSet, "acme");
            if set.is_none_or(|set| set.metadata.deletion_timestamp.is_some()) {
                without += 1;
                assert_eq!(cluster.serving(), [0, 1, 2].map(|n| (n, "a:1".to_owned())));
            }
        })
        .await;
    assert!(without > 0, "the StatefulSet was not made anew");
    assert_eq!(cluster.serving(), [0, 1, 2].map(|n| (n, "a:2".to_owned())));
    assert_eq!(cluster.torn(), Vec::<String>::new());
    let set = cluster.object(Kind::StatefulSet, "acme").unwrap();
    assert_eq!(set.data["spec"]["serviceName"], "acme-peers");
}

#[tokio::test]
async fn a_replica_is_told_how_long_its_drain_may_take() {
    let mut cluster = settled(image("a:1")).await;
    cluster.controller.spec.image = Some("a:2".to_owned());
    cluster.settle(|_| {}).await;
    let all = |within: Duration| ["acme-2", "acme-1", "acme-0"].map(|name| (name.to_owned(), within));
    let distinct = |cluster: &Cluster| {
        let mut drains = cluster.drains();
        drains.dedup();
        drains
    };
    assert_eq!(distinct(&cluster), all(Duration::from_secs(300)));
    cluster.controller.spec.rollout =
        Some(Rollout { drain_timeout: Span::parse("15m"), ..Rollout::default() });
    cluster.controller.spec.image = Some("a:3".to_owned());
    cluster.settle(|_| {}).await;
    assert_eq!(distinct(&cluster)[3..], all(Duration::from_secs(900)));
}

#[tokio::test]
async fn a_controller_that_is_removed_is_held_until_its_replicas_have_gone() {
    let mut cluster = settled(image("a:1")).await;
    let secrets = cluster.names(Kind::Secret);
    cluster.delete();
    let mut phases = Vec::new();
    cluster
        .settle(|cluster| {
            assert!(cluster.held() || cluster.pods() == 0, "{} pods", cluster.pods());
            let database = cluster.object(Kind::StatefulSet, "acme-postgres").is_some();
            assert!(database, "replicas could not hand over");
            phases.extend(cluster.told().phase);
        })
        .await;
    assert!(phases.contains(&resource::Phase::Deleting), "{phases:?}");
    assert_eq!((cluster.pods(), cluster.held()), (0, false));
    assert_eq!(cluster.object(Kind::StatefulSet, "acme"), None);
    assert_eq!(cluster.names(Kind::Secret), secrets, "keys and passwords stay");
}

#[tokio::test]
async fn pods_that_no_statefulset_has_are_ended_too() {
    let mut cluster = settled(image("a:1")).await;
    unchangeable(&mut cluster);
    let applied = crate::perform::Applied::default();
    cluster.reconcile(&applied).await.unwrap();
    cluster.tick();
    assert_eq!(cluster.object(Kind::StatefulSet, "acme"), None, "it was let go of, and is not made anew yet");
    assert_eq!(cluster.serving().len(), 3);
    cluster.delete();
    cluster.settle(|_| {}).await;
    assert_eq!((cluster.pods(), cluster.held()), (0, false));
}

/// A pod of a controller that is removed.
fn pod(owned: bool, ends: bool, node: &str) -> Pod {
    let owners = if owned {
        json!([{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "acme", "uid": "set" }])
    } else {
        json!([])
    };
    let mut pod = json!({
        "metadata": { "name": "acme-0", "uid": "pod-1", "ownerReferences": owners },
        "spec": { "nodeName": node, "containers": [] },
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "False" }] },
    });
    if ends {
        pod["metadata"]["deletionTimestamp"] = json!("2027-01-15T08:00:00Z");
    }
    serde_json::from_value(pod).unwrap()
}

#[tokio::test]
async fn each_step_of_a_removal() {
    let with = |pod: Option<Pod>, lost: i64| {
        let mut seen: Seen = super::nothing_yet(Spec::default());
        seen.pods = pod.into_iter().collect();
        let since = seen.now - SignedDuration::from_secs(lost);
        seen.lost_nodes.insert("lost".to_owned(), since);
        seen
    };
    for (what, seen, writes, done) in [
        ("nothing is left", with(None, 0), 0, true),
        ("its StatefulSet ends it", with(Some(pod(true, false, "one")), 0), 0, false),
        ("it ends", with(Some(pod(false, true, "one")), 0), 0, false),
        ("nobody else ends it", with(Some(pod(false, false, "one")), 0), 1, false),
        ("its node may come back", with(Some(pod(true, true, "lost")), 299), 0, false),
        // nobody is left to say whether its lease lives, and nobody wants it any more
        ("its node does not answer", with(Some(pod(true, true, "lost")), 300), 1, false),
    ] {
        let cluster = Cluster::new(controller(Spec::default()));
        let before = cluster.writes();
        assert_eq!(remove(&cluster, &seen).await.unwrap(), done, "{what}");
        assert_eq!(cluster.writes() - before, writes, "{what}");
    }
}
