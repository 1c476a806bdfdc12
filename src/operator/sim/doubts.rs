//! Stories in which something can't be known, or may not be done: nobody is worse off for it.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use model::RestartWhen;
use resource::{PodTemplate, RestartReason, RolloutEnd, Spec};
use serde_json::json;

use super::cluster::Cluster;
use super::status::is;
use super::{image, settled, steps};
use crate::kinds::Kind;
use crate::perform::Applied;
use crate::pods::overdue;
use crate::seen::Seen;

fn uids(cluster: &Cluster) -> [String; 3] {
    [0, 1, 2].map(|ordinal| cluster.uid(ordinal))
}

fn all(image: &str) -> [(usize, String); 3] {
    [0, 1, 2].map(|ordinal| (ordinal, image.to_owned()))
}

#[tokio::test]
async fn a_new_replica_that_never_answers_the_operator_is_waited_for_and_given_up() {
    let mut cluster = settled(image("a:1")).await;
    cluster.silent.insert("a:2".to_owned());
    cluster.controller.spec.image = Some("a:2".to_owned());
    steps(&cluster, 20).await;
    assert_eq!(cluster.serving()[2], (2, "a:2".to_owned()));
    let uid = cluster.uid(2);
    let told = cluster.told().rollout.unwrap().message.unwrap();
    assert!(told.contains("acme-2 is ready, and gives the operator no answer"), "{told}");
    steps(&cluster, 20).await;
    assert_eq!(cluster.uid(2), uid, "it is not replaced again and again");
    cluster.later(SignedDuration::from_secs(300));
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), all("a:1"));
    let history = cluster.told().rollout.unwrap().history;
    let said = history[0].message.as_deref().unwrap();
    assert_eq!(history[0].end, Some(RolloutEnd::GoneBack));
    assert!(said.contains("acme-2 gave the operator no answer at port 8081 for 300 s"), "{said}");
}

#[tokio::test]
async fn a_replica_whose_probe_fails_for_a_moment_is_drained_as_any_other() {
    for (seconds, torn) in [(29, false), (30, true)] {
        let mut cluster = settled(image("a:1")).await;
        cluster.blinking.insert(2);
        cluster.blinks = seconds;
        cluster.controller.spec.image = Some("a:2".to_owned());
        let applied = Applied::default();
        for _ in 0..3 {
            cluster.reconcile(&applied).await.unwrap();
        }
        assert_eq!(cluster.drains().is_empty(), torn, "{seconds}");
        cluster.blinking.clear();
        cluster.settle(|_| {}).await;
        assert_eq!((cluster.serving(), cluster.torn().is_empty()), (all("a:2").to_vec(), !torn));
    }
}

#[tokio::test]
async fn a_pod_that_may_not_be_removed_is_told_and_the_rollout_goes_on_when_it_is_gone() {
    let mut cluster = settled(image("a:1")).await;
    cluster.locked.insert(Kind::Pod);
    cluster.controller.spec.image = Some("a:2".to_owned());
    let mut faults = Vec::new();
    // the StatefulSet's own controller removes it, too
    cluster
        .settle(|cluster| {
            let told = cluster.told();
            let fault = told.conditions.iter().find(|one| one.type_ == "ConfigurationValid").unwrap();
            faults.extend(Some(fault.message.clone()).filter(|_| fault.reason == "ObjectRefused"));
        })
        .await;
    assert!(faults.iter().any(|fault| fault.contains("Kubernetes refuses the Pod acme-2")), "{faults:?}");
    assert_eq!(cluster.serving(), all("a:2"));
    is(&cluster.seen(), "ConfigurationValid", "True", "Valid");
}

#[tokio::test]
async fn a_pod_that_does_not_end_is_told() {
    let cluster = settled(image("a:1")).await;
    let mut seen = cluster.seen();
    assert_eq!(overdue(&seen), None);
    let ends = |seen: &mut Seen, ago| {
        let end = seen.now.checked_sub(SignedDuration::from_secs(ago)).unwrap();
        seen.pods[1].metadata.deletion_timestamp = Some(Time(end));
    };
    ends(&mut seen, 60);
    assert_eq!(overdue(&seen), None);
    ends(&mut seen, 61);
    assert!(overdue(&seen).unwrap().starts_with("acme-1 on no node should have ended"));
}

#[tokio::test]
async fn what_may_not_be_removed_is_told_and_keeps_nothing_else() {
    let ingress = serde_json::from_value(json!({ "host": "acme.example.com" })).unwrap();
    let mut cluster = settled(Spec { ingress: Some(ingress), ..image("a:1") }).await;
    cluster.locked.insert(Kind::Ingress);
    cluster.controller.spec = image("a:2");
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), all("a:2"));
    assert_eq!(cluster.names(Kind::Ingress), ["acme"]);
    let told = cluster.told();
    let fault = told.conditions.iter().find(|condition| condition.type_ == "ConfigurationValid").unwrap();
    assert_eq!((&*fault.status, &*fault.reason), ("False", "ObjectRefused"));
    assert!(fault.message.contains("nobody may remove it"), "{fault:?}");
    cluster.locked.clear();
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.names(Kind::Ingress), Vec::<String>::new());
    is(&cluster.seen(), "ConfigurationValid", "True", "Valid");
}

#[tokio::test]
async fn a_restart_that_is_asked_for_while_something_is_wrong_comes_when_it_is_mended() {
    let mut cluster = settled(image("a:1")).await;
    cluster.ask(1, RestartWhen::Immediately, false);
    cluster.settle(|_| {}).await;
    let before = uids(&cluster);
    cluster.controller.spec.trusted_proxies = Some(vec!["rubbish".to_owned()]);
    cluster.ask(2, RestartWhen::Immediately, false);
    cluster.settle(|_| {}).await;
    assert_eq!(uids(&cluster), before);
    cluster.controller.spec.trusted_proxies = None;
    cluster.settle(|_| {}).await;
    assert!(uids(&cluster).iter().zip(&before).all(|(now, before)| now != before));
    assert_eq!(cluster.told().rollout.unwrap().history[0].reason, RestartReason::Asked);
}

#[tokio::test]
async fn what_runs_is_gone_back_to_as_it_is_whatever_the_operator_is() {
    let mut cluster = settled(Spec::default()).await;
    cluster.images.replica = "ours:2".to_owned();
    cluster.broken.insert("ours:2".to_owned());
    let template = json!({ "metadata": { "annotations": { "example.com/team": "red" } } });
    cluster.controller.spec.pod_template = Some(serde_json::from_value::<PodTemplate>(template).unwrap());
    cluster.settle(|_| {}).await;
    let before = uids(&cluster);
    assert_eq!(cluster.serving(), all("ours:1"), "it was gone back from");
    cluster.controller.spec.pod_template = None;
    cluster.settle(|_| {}).await;
    assert_eq!((cluster.serving(), uids(&cluster)), (all("ours:1").to_vec(), before));
    is(&cluster.seen(), "Progressing", "False", "Settled");
}

#[tokio::test]
async fn whoever_takes_an_edit_back_does_not_get_the_image_of_an_older_operator() {
    let mut cluster = settled(Spec::default()).await;
    assert_eq!(cluster.serving(), all("ours:1"));
    cluster.images.replica = "ours:2".to_owned();
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), all("ours:1"), "an upgrade of the operator restarts nobody");
    let template = json!({ "metadata": { "annotations": { "example.com/team": "red" } } });
    cluster.controller.spec.pod_template = Some(serde_json::from_value::<PodTemplate>(template).unwrap());
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), all("ours:2"));
    cluster.controller.spec.pod_template = None;
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), all("ours:2"));
    let before = uids(&cluster);
    cluster.images.replica = "ours:3".to_owned();
    cluster.settle(|_| {}).await;
    assert_eq!(uids(&cluster), before);
}

#[tokio::test]
async fn an_image_that_comes_later_is_tried_again_and_told_as_rolled_out() {
    let mut cluster = settled(image("a:1")).await;
    cluster.absent.insert("a:2".to_owned());
    cluster.controller.spec.image = Some("a:2".to_owned());
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), all("a:1"));
    is(&cluster.seen(), "RolledBack", "True", "ImageRefused");
    let history = |cluster: &Cluster| cluster.told().rollout.unwrap().history;
    assert_eq!(history(&cluster)[0].end, Some(RolloutEnd::GoneBack));
    let told = cluster.told();
    let halted = told.conditions.iter().find(|condition| condition.type_ == "Progressing").unwrap();
    assert!(halted.message.contains("it is tried again by itself"), "{halted:?}");
    cluster.absent.clear();
    cluster.later(SignedDuration::from_mins(5));
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), all("a:2"));
    let history = history(&cluster);
    assert_eq!((history.len(), history[0].end), (1, Some(RolloutEnd::Finished)), "{history:?}");
    assert_eq!(history[0].message.as_deref(), Some("from a:1 to a:2"));
}
