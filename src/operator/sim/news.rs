//! Which Events a story gives.

use resource::{Rollout, Spec};

use super::cluster::Cluster;
use super::{controller, image};
use crate::perform::Applied;
use crate::status::news::{Look, News, news};

/// All that is told until nothing happens any more: whether it warns, the reason, and what it is about.
async fn story(cluster: &Cluster) -> Vec<(bool, String, String)> {
    let (applied, mut told, mut last, mut quiet) = (Applied::default(), Vec::new(), None, 0);
    while quiet < 5 {
        let (seen, before, writes) = (cluster.seen(), cluster.told(), cluster.writes());
        cluster.reconcile(&applied).await.unwrap();
        let new = news(&before, &cluster.told(), &Look::new(&seen, last));
        last = Some(seen.now);
        let pods = cluster.pods();
        cluster.tick();
        quiet = if new.is_empty() && cluster.writes() == writes && cluster.pods() == pods {
            quiet + 1
        } else {
            0
        };
        told.extend(new);
        assert!(told.len() < 50, "{told:#?}");
    }
    let name = |one: &News| one.about.as_ref().map(|(_, name)| name.clone()).unwrap_or_default();
    told.iter().map(|one| (one.warns, one.reason.clone(), name(one))).collect()
}

fn reasons(told: &[(bool, String, String)]) -> Vec<&str> {
    told.iter().map(|(_, reason, _)| reason.as_str()).collect()
}

#[tokio::test]
async fn a_first_start_is_told_by_one_event_and_rest_by_none() {
    let cluster = Cluster::new(controller(image("a:1")));
    assert_eq!(story(&cluster).await, [(false, "AllReady".to_owned(), String::new())]);
    assert_eq!(story(&cluster).await, []);
}

#[tokio::test]
async fn a_rollout_is_told_from_its_begin_to_its_end() {
    let mut cluster = Cluster::new(controller(image("a:1")));
    story(&cluster).await;
    cluster.controller.spec.image = Some("a:2".to_owned());
    let told = story(&cluster).await;
    let all = ["RolloutBegun", "ImageChanged", "ImageChanged", "ImageChanged", "RolloutFinished"];
    assert_eq!(reasons(&told), all);
    assert_eq!([1, 2, 3].map(|at| told[at].2.as_str()), ["acme-2", "acme-1", "acme-0"]);
    assert!(told.iter().all(|(warns, ..)| !warns), "{told:?}");
}

#[tokio::test]
async fn a_revision_that_does_not_start_is_told_once() {
    let mut cluster = Cluster::new(controller(image("a:1")));
    story(&cluster).await;
    cluster.broken.insert("a:2".to_owned());
    cluster.controller.spec.image = Some("a:2".to_owned());
    let told = story(&cluster).await;
    let warnings: Vec<_> = told.iter().filter(|(warns, ..)| *warns).map(|(_, reason, _)| reason).collect();
    assert_eq!(warnings, ["RolloutGivenUp"], "{told:?}");
    let of = |reason: &str| told.iter().filter(|(_, one, _)| one == reason).count();
    assert_eq!((of("ImageChanged"), of("GoneBack"), of("RolloutGoneBack")), (1, 1, 1), "{told:?}");
}

#[tokio::test]
async fn who_pauses_is_told_and_so_is_who_goes_on() {
    let mut cluster = Cluster::new(controller(image("a:1")));
    story(&cluster).await;
    cluster.controller.spec.rollout = Some(Rollout { paused: Some(true), ..Rollout::default() });
    cluster.controller.spec.image = Some("a:2".to_owned());
    assert_eq!(reasons(&story(&cluster).await), ["RolloutPaused"]);
    cluster.controller.spec.rollout = None;
    let told = story(&cluster).await;
    assert_eq!(told.first().map(|(_, reason, _)| reason.as_str()), Some("RolloutResumed"));
    assert_eq!(told.last().map(|(_, reason, _)| reason.as_str()), Some("RolloutFinished"));
}

#[tokio::test]
async fn a_first_start_that_never_becomes_ready_warns_once() {
    let mut cluster = Cluster::new(controller(Spec { replicas: 1, ..image("a:1") }));
    cluster.broken.insert("a:1".to_owned());
    let (applied, mut told, mut last) = (Applied::default(), Vec::new(), None);
    for _ in 0..60 {
        let (seen, before) = (cluster.seen(), cluster.told());
        cluster.reconcile(&applied).await.unwrap();
        told.extend(news(&before, &cluster.told(), &Look::new(&seen, last)));
        last = Some(seen.now);
        cluster.tick();
    }
    let told: Vec<_> = told.iter().map(|one| (one.warns, one.reason.as_str(), one.action)).collect();
    assert_eq!(told, [(true, "ReplicaEnds", "Progressing")]);
}
