//! Stories of rollouts.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use model::RestartWhen;
use resource::{Plugin, RestartReason, Rollout, RolloutEnd, RolloutPhase, Spec, When};

use super::cluster::Cluster;
use super::{controller, image, settled, steps};
use crate::kinds::Kind;
use crate::names::RESTARTED_AT;
use crate::perform::Applied;
use crate::roll::{Note, NotedTurn};
use crate::told::Told;
use crate::world::World;
use ::rollout::{Revision, Stage};

fn serves(image: &str, count: usize) -> Vec<(usize, String)> {
    (0..count).map(|ordinal| (ordinal, image.to_owned())).collect()
}

/// At most one is away at any time.
fn one_at_a_time(cluster: &Cluster) {
    assert!(cluster.serving().len() >= 2, "{:?}", cluster.serving());
}

#[tokio::test]
async fn what_is_asked_for_is_made_and_then_nothing_is_written() {
    let cluster = settled(image("a:1")).await;
    assert_eq!(cluster.serving(), serves("a:1", 3));
    let status = cluster.told();
    assert_eq!(status.phase, Some(resource::Phase::Ready));
    assert_eq!(cluster.names(Kind::Service), ["acme", "acme-peers", "acme-postgres"]);
    let writes = cluster.writes();
    // nor by another process, which does not know what was applied
    let applied = Applied::default();
    for _ in 0..5 {
        cluster.reconcile(&applied).await.unwrap();
    }
    assert_eq!(cluster.writes(), writes);
}

#[tokio::test]
async fn another_image_replaces_one_pod_after_the_other_from_the_highest_down() {
    let mut cluster = settled(image("a:1")).await;
    cluster.controller.spec.image = Some("a:2".to_owned());
    let mut order = Vec::new();
    cluster
        .settle(|cluster| {
            one_at_a_time(cluster);
            let new: Vec<_> = cluster.serving().into_iter().filter(|(_, image)| image == "a:2").collect();
            for (ordinal, _) in new {
                if !order.contains(&ordinal) {
                    order.push(ordinal);
                }
            }
        })
        .await;
    assert_eq!(order, [2, 1, 0]);
    assert_eq!(cluster.torn(), Vec::<String>::new());
    assert_eq!(cluster.serving(), serves("a:2", 3));
    let rollout = cluster.told().rollout.unwrap();
    assert_eq!((rollout.phase, &rollout.good), (RolloutPhase::Settled, &rollout.wanted));
    assert_eq!(rollout.history.len(), 1);
    assert_eq!(rollout.history[0].reason, RestartReason::ImageChanged);
    assert_eq!(rollout.history[0].end, Some(RolloutEnd::Finished));
}

#[tokio::test]
async fn each_change_has_its_reason_and_what_needs_no_restart_does_not_restart() {
    let mut cluster = settled(image("a:1")).await;
    let plugin = Plugin { name: "git".to_owned(), version: None, source: None, digest: None };
    cluster.controller.spec.plugins = Some(vec![plugin]);
    cluster.settle(one_at_a_time).await;
    let annotations = cluster.controller.metadata.annotations.get_or_insert_default();
    annotations.insert(RESTARTED_AT.to_owned(), "2026-11-26T20:00:00Z".to_owned());
    cluster.settle(one_at_a_time).await;
    cluster.ask(1, RestartWhen::Immediately, false);
    cluster.settle(one_at_a_time).await;
    let reasons = |cluster: &Cluster| -> Vec<_> {
        cluster.told().rollout.unwrap().history.iter().map(|record| record.reason).collect()
    };
    let all = [RestartReason::Asked, RestartReason::Annotation, RestartReason::PluginsChanged];
    assert_eq!(reasons(&cluster), all);
    cluster.controller.spec.rollout =
        Some(Rollout { drain_timeout: resource::Span::parse("1m"), ..Rollout::default() });
    cluster.controller.spec.network_policy = Some(resource::NetworkPolicy { enabled: false, from: None });
    cluster.settle(|cluster| assert_eq!(cluster.serving().len(), 3)).await;
    assert_eq!(reasons(&cluster), all);
    assert_eq!(cluster.names(Kind::NetworkPolicy), Vec::<String>::new(), "what is not wanted any more goes");
    assert_eq!(cluster.torn(), Vec::<String>::new());
}

#[tokio::test]
async fn a_revision_that_does_not_start_is_given_up_and_a_lost_pod_comes_back_as_it_was() {
    let mut cluster = settled(image("a:1")).await;
    cluster.broken.insert("a:2".to_owned());
    cluster.controller.spec.image = Some("a:2".to_owned());
    let mut lost = false;
    cluster
        .settle(|cluster| {
            let going = cluster.told().rollout.is_some_and(|rollout| rollout.turn.is_some());
            if going && !lost {
                lost = true;
                cluster.lose(0);
            }
        })
        .await;
    assert!(lost);
    assert_eq!(cluster.serving(), serves("a:1", 3));
    let status = cluster.told();
    let rollout = status.rollout.unwrap();
    assert_eq!((rollout.phase, rollout.history[0].end), (RolloutPhase::Halted, Some(RolloutEnd::GoneBack)));
    let condition = status.conditions.iter().find(|c| c.type_ == "RolledBack").unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "ReplicaEnds"));
    assert!(condition.message.contains("it is broken"), "{}", condition.message);
    let halted = status.conditions.iter().find(|c| c.type_ == "Progressing").unwrap();
    assert_eq!((halted.status.as_str(), halted.reason.as_str()), ("False", "Halted"));
    assert!(halted.message.contains("kubectl majordomo restart acme -n ci"), "{}", halted.message);
    // pods that are added meanwhile are of what was proven
    cluster.controller.spec.replicas = 5;
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), serves("a:1", 5));
    cluster.controller.spec.image = Some("a:3".to_owned());
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), serves("a:3", 5));
    assert_eq!(cluster.torn(), Vec::<String>::new());
}

#[tokio::test]
async fn a_first_image_that_does_not_start_is_mended_by_another_one() {
    let mut cluster = Cluster::new(controller(image("a:1")));
    cluster.broken.insert("a:1".to_owned());
    steps(&cluster, 10).await;
    assert_eq!(cluster.told().phase, Some(resource::Phase::Starting));
    cluster.controller.spec.image = Some("a:2".to_owned());
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), serves("a:2", 3));
}

#[tokio::test]
async fn a_single_replica_is_never_missed() {
    let mut cluster = settled(Spec { replicas: 1, ..image("a:1") }).await;
    cluster.controller.spec.image = Some("a:2".to_owned());
    cluster.settle(|cluster| assert!(!cluster.serving().is_empty())).await;
    assert_eq!(cluster.serving(), serves("a:2", 1));
    assert_eq!((cluster.pods(), cluster.torn()), (1, Vec::new()));
    // nor when the next one does not start
    cluster.broken.insert("a:3".to_owned());
    cluster.controller.spec.image = Some("a:3".to_owned());
    cluster.settle(|cluster| assert!(!cluster.serving().is_empty())).await;
    assert_eq!((cluster.serving(), cluster.pods()), (serves("a:2", 1), 1));
}

#[tokio::test]
async fn a_single_replica_on_one_volume_goes_and_comes_back() {
    let store = resource::Store { sqlite: Some(resource::Sqlite::default()), ..resource::Store::default() };
    let mut cluster = settled(Spec { replicas: 1, store: Some(store), ..image("a:1") }).await;
    cluster.controller.spec.image = Some("a:2".to_owned());
    cluster.settle(|cluster| assert!(cluster.pods() <= 1)).await;
    assert_eq!((cluster.serving(), cluster.torn()), (serves("a:2", 1), Vec::new()));
}

#[tokio::test]
async fn who_waits_for_idle_waits_and_may_be_told_not_to() {
    let mut cluster = settled(image("a:1")).await;
    cluster.busy(1);
    cluster.controller.spec.rollout = Some(Rollout { when: Some(When::Idle), ..Rollout::default() });
    cluster.controller.spec.image = Some("a:2".to_owned());
    cluster.settle(|cluster| assert_eq!(cluster.serving(), serves("a:1", 3))).await;
    assert_eq!(cluster.told().rollout.unwrap().phase, RolloutPhase::Waiting);
    cluster.busy(0);
    cluster.settle(one_at_a_time).await;
    assert_eq!(cluster.serving(), serves("a:2", 3));
    // what a user has asked for and taken back
    cluster.busy(1);
    cluster.controller.spec.rollout = None;
    cluster.ask(1, RestartWhen::Idle, false);
    cluster.settle(|cluster| assert_eq!(cluster.serving().len(), 3)).await;
    assert_eq!(cluster.told().rollout.unwrap().phase, RolloutPhase::Waiting);
    cluster.ask(1, RestartWhen::Idle, true);
    cluster.settle(|cluster| assert_eq!(cluster.serving().len(), 3)).await;
    assert_eq!(cluster.told().rollout.unwrap().phase, RolloutPhase::Settled);
    // a day later it goes on all the same
    cluster.ask(2, RestartWhen::Idle, false);
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.told().rollout.unwrap().phase, RolloutPhase::Waiting);
    cluster.later(SignedDuration::from_hours(24));
    let before = cluster.told().revision;
    cluster.settle(one_at_a_time).await;
    let rollout = cluster.told().rollout.unwrap();
    assert_eq!((rollout.phase, Some(rollout.good)), (RolloutPhase::Settled, before));
}

#[tokio::test]
async fn who_pauses_has_the_one_at_work_finished_and_no_more() {
    let mut cluster = settled(image("a:1")).await;
    cluster.controller.spec.image = Some("a:2".to_owned());
    let applied = Applied::default();
    while cluster.told().rollout.is_none_or(|rollout| rollout.turn.is_none()) {
        cluster.reconcile(&applied).await.unwrap();
        cluster.tick();
    }
    cluster.controller.spec.rollout = Some(Rollout { paused: Some(true), ..Rollout::default() });
    cluster.settle(one_at_a_time).await;
    let images: Vec<_> = cluster.serving().into_iter().map(|(_, image)| image).collect();
    assert_eq!(images, ["a:1", "a:1", "a:2"]);
    assert_eq!(cluster.told().rollout.unwrap().phase, RolloutPhase::Paused);
    // pods that are lost come back as they were
    cluster.lose(0);
    cluster.lose(2);
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving().into_iter().map(|(_, image)| image).collect::<Vec<_>>(), images);
    cluster.controller.spec.rollout = None;
    cluster.settle(one_at_a_time).await;
    assert_eq!(cluster.serving(), serves("a:2", 3));
}

#[tokio::test]
async fn what_is_changed_twice_ends_with_the_last() {
    let mut cluster = settled(image("a:1")).await;
    cluster.controller.spec.image = Some("a:2".to_owned());
    let applied = Applied::default();
    while !cluster.serving().contains(&(2, "a:2".to_owned())) {
        cluster.reconcile(&applied).await.unwrap();
        cluster.tick();
    }
    cluster.controller.spec.image = Some("a:3".to_owned());
    cluster.settle(one_at_a_time).await;
    assert_eq!((cluster.serving(), cluster.torn()), (serves("a:3", 3), Vec::new()));
    let history = cluster.told().rollout.unwrap().history;
    let ends: Vec<_> = history.iter().map(|record| record.end.unwrap()).collect();
    assert_eq!(ends, [RolloutEnd::Finished, RolloutEnd::Superseded]);
    // back to where it began is no new revision
    let first = history.len();
    cluster.controller.spec.image = Some("a:1".to_owned());
    cluster.settle(one_at_a_time).await;
    assert_eq!(cluster.serving(), serves("a:1", 3));
    let history = cluster.told().rollout.unwrap().history;
    assert_eq!((history.len(), history[0].reason), (first + 1, RestartReason::Undone));
    assert_eq!(cluster.names(Kind::ControllerRevision).len(), 3);
}

#[tokio::test]
async fn pods_are_scaled_without_a_rollout() {
    let mut cluster = settled(image("a:1")).await;
    for count in [5, 2, 0, 3] {
        cluster.controller.spec.replicas = count;
        let most = if count == 0 { 3 } else { 1 };
        cluster.settle(|cluster| assert!(cluster.ending() <= most, "one after the other")).await;
        assert_eq!(cluster.serving(), serves("a:1", count as usize));
    }
    assert_eq!(cluster.torn(), Vec::<String>::new());
    assert_eq!(cluster.told().rollout.map(|rollout| rollout.history.len()), Some(0));
}

#[tokio::test]
async fn a_database_that_is_away_for_long_is_no_fault_of_what_is_rolled_out() {
    for (stage, ticks) in [("drains", 1), ("starts", 6)] {
        let mut cluster = settled(image("a:1")).await;
        cluster.controller.spec.image = Some("a:2".to_owned());
        steps(&cluster, ticks).await;
        assert_eq!(cluster.serving().len(), 2, "the first one {stage}");
        cluster.store_away(true);
        steps(&cluster, 3).await;
        cluster.later(SignedDuration::from_mins(10));
        steps(&cluster, 3).await;
        cluster.store_away(false);
        cluster.settle(one_at_a_time).await;
        assert_eq!(
            (cluster.serving(), cluster.torn()),
            (serves("a:2", 3), Vec::new()),
            "the first one {stage}"
        );
    }
}

#[tokio::test]
async fn what_is_changed_while_nobody_runs_is_what_all_start_with() {
    let mut cluster = settled(image("a:1")).await;
    cluster.controller.spec.replicas = 0;
    cluster.settle(|_| {}).await;
    cluster.controller.spec.image = Some("a:2".to_owned());
    cluster.settle(|_| {}).await;
    cluster.controller.spec.replicas = 3;
    let starts = |cluster: &Cluster| {
        let images: Vec<_> = (0..cluster.pods()).map(|ordinal| cluster.image(ordinal)).collect();
        assert!(images.iter().all(|image| image == "a:2"), "{images:?}");
    };
    cluster.settle(starts).await;
    assert_eq!(cluster.serving(), serves("a:2", 3));
    // what never was ready is gone back from
    cluster.controller.spec.replicas = 0;
    cluster.settle(|_| {}).await;
    cluster.broken.insert("a:3".to_owned());
    cluster.controller.spec = Spec { replicas: 3, ..image("a:3") };
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), serves("a:2", 3));
    assert_eq!(cluster.told().rollout.unwrap().phase, RolloutPhase::Halted);
}

#[tokio::test]
async fn pods_that_go_in_the_middle_of_a_rollout_are_not_replaced_first() {
    for ticks in 1..12 {
        let mut cluster = settled(Spec { replicas: 5, ..image("a:1") }).await;
        cluster.controller.spec.image = Some("a:2".to_owned());
        steps(&cluster, ticks).await;
        cluster.controller.spec.replicas = 3;
        cluster.settle(|cluster| assert!(cluster.serving().len() >= 2, "{:?}", cluster.serving())).await;
        assert_eq!((cluster.serving(), cluster.torn()), (serves("a:2", 3), Vec::new()), "after {ticks}");
    }
}

#[tokio::test]
async fn what_is_changed_at_any_time_of_a_rollout_ends_with_the_last() {
    for replicas in 1..=3 {
        for ticks in 1..24 {
            let mut cluster = settled(Spec { replicas, ..image("a:1") }).await;
            cluster.controller.spec.image = Some("a:2".to_owned());
            steps(&cluster, ticks).await;
            cluster.controller.spec.image = Some("a:3".to_owned());
            let fewest = (replicas as usize).saturating_sub(1).max(1);
            cluster
                .settle(|cluster| assert!(cluster.serving().len() >= fewest, "{:?}", cluster.serving()))
                .await;
            let is = (cluster.serving(), cluster.torn());
            assert_eq!(is, (serves("a:3", replicas as usize), Vec::new()), "after {ticks}");
        }
    }
}

#[tokio::test]
async fn who_has_handed_over_all_that_it_had_without_a_rollout_is_replaced() {
    let cluster = settled(image("a:1")).await;
    let before = cluster.uid(1);
    cluster.drain(&cluster.seen().owner, "acme-1", Duration::from_secs(5)).await.unwrap();
    cluster.settle(one_at_a_time).await;
    assert_eq!((cluster.serving(), cluster.torn()), (serves("a:1", 3), Vec::new()));
    assert_ne!(cluster.uid(1), before);
}

#[tokio::test]
async fn pods_that_go_while_a_rollout_is_held_are_not_replaced_first() {
    let mut cluster = settled(Spec { replicas: 5, ..image("a:1") }).await;
    cluster.controller.spec.image = Some("a:2".to_owned());
    while cluster.serving().iter().filter(|(_, image)| image == "a:2").count() < 2 {
        steps(&cluster, 1).await;
    }
    let paused = Rollout { paused: Some(true), ..Rollout::default() };
    cluster.controller.spec.rollout = Some(paused);
    cluster.settle(|_| {}).await;
    cluster.controller.spec.replicas = 2;
    cluster
        .settle(|cluster| {
            let surplus = cluster.serving().into_iter().filter(|(ordinal, _)| *ordinal > 2);
            assert!(surplus.into_iter().all(|(_, image)| image == "a:2"));
            assert!(cluster.ending() <= 1, "one after the other");
        })
        .await;
    assert_eq!((cluster.serving(), cluster.torn()), (serves("a:1", 2), Vec::new()));
}

#[tokio::test]
async fn pods_go_one_after_the_other_although_one_is_missing_or_the_stateful_set_is_made_anew() {
    for anew in [false, true] {
        for lag in [0, 2] {
            let mut cluster = settled(Spec { replicas: 5, ..image("a:1") }).await;
            cluster.lag = lag;
            cluster.controller.spec.replicas = 2;
            if anew {
                steps(&cluster, 1).await;
                cluster.remove_object(Kind::StatefulSet, "acme");
            } else {
                cluster.lose(0);
            }
            cluster.settle(|cluster| assert!(cluster.ending() <= 1, "{anew} {lag}")).await;
            assert_eq!((cluster.serving(), cluster.torn()), (serves("a:1", 2), Vec::new()));
        }
    }
}

#[tokio::test]
async fn nobody_is_replaced_before_the_last_surplus_pod_has_gone() {
    let mut cluster = settled(Spec { replicas: 4, ..image("a:1") }).await;
    cluster.controller.spec = Spec { replicas: 3, ..image("a:2") };
    cluster.settle(|cluster| assert!(cluster.pods() < 4 || cluster.serving().len() >= 3)).await;
    assert_eq!((cluster.serving(), cluster.torn()), (serves("a:2", 3), Vec::new()));
}

#[tokio::test]
async fn pods_that_go_are_not_replaced_first() {
    let mut cluster = settled(Spec { replicas: 5, ..image("a:1") }).await;
    cluster.controller.spec = Spec { replicas: 3, ..image("a:2") };
    cluster
        .settle(|cluster| {
            let surplus = cluster.serving().into_iter().filter(|(ordinal, _)| *ordinal > 2);
            assert!(surplus.into_iter().all(|(_, image)| image == "a:1"));
            one_at_a_time(cluster);
        })
        .await;
    assert_eq!((cluster.serving(), cluster.torn()), (serves("a:2", 3), Vec::new()));
}

#[tokio::test]
async fn what_others_have_changed_or_removed_is_put_right() {
    let cluster = settled(image("a:1")).await;
    cluster.change(Kind::Service, "acme", |data| data["spec"]["ports"][0]["port"] = 81.into());
    cluster.change(Kind::StatefulSet, "acme", |data| data["spec"]["replicas"] = 7.into());
    cluster.remove_object(Kind::PodDisruptionBudget, "acme");
    cluster.settle(|_| {}).await;
    let service = cluster.object(Kind::Service, "acme").unwrap();
    assert_eq!(service.data["spec"]["ports"][0]["port"], 80);
    assert!(cluster.object(Kind::PodDisruptionBudget, "acme").is_some());
    assert_eq!(cluster.serving(), serves("a:1", 3));
}

#[tokio::test]
async fn the_image_of_a_newer_operator_is_named_when_it_is_rolled_out() {
    let mut cluster = settled(Spec::default()).await;
    assert_eq!(cluster.serving(), serves("ours:1", 3));
    cluster.images.replica = "ours:2".to_owned();
    cluster.settle(|cluster| assert_eq!(cluster.serving(), serves("ours:1", 3))).await;
    let annotations = cluster.controller.metadata.annotations.get_or_insert_default();
    annotations.insert(RESTARTED_AT.to_owned(), "2026-11-26T20:00:00Z".to_owned());
    cluster.settle(one_at_a_time).await;
    assert_eq!(cluster.serving(), serves("ours:2", 3));
    let record = cluster.told().rollout.unwrap().history.remove(0);
    assert_eq!(record.reason, RestartReason::Annotation);
    assert_eq!(record.message.as_deref(), Some("2026-11-26T20:00:00Z; from ours:1 to ours:2"));
}

#[tokio::test]
async fn a_database_that_somebody_has_changed_is_put_right_and_stays_under_a_newer_operator() {
    let mut cluster = settled(image("a:1")).await;
    let made = |cluster: &Cluster| {
        let set = cluster.object(Kind::StatefulSet, "acme-postgres").unwrap();
        set.data["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    };
    assert_eq!(made(&cluster), "postgres:1");
    cluster.change(Kind::StatefulSet, "acme-postgres", |data| {
        data["spec"]["template"]["spec"]["containers"][0]["image"] = "other:9".into();
    });
    cluster.settle(|_| {}).await;
    assert_eq!(made(&cluster), "postgres:1");
    cluster.images.postgres = "postgres:2".to_owned();
    cluster.settle(|_| {}).await;
    assert_eq!(made(&cluster), "postgres:1");
    let resources = serde_json::from_str(r#"{"limits":{"memory":"1Gi"}}"#).unwrap();
    let builtin = resource::Builtin { resources: Some(resources), ..resource::Builtin::default() };
    let store = resource::Store { builtin: Some(builtin), ..resource::Store::default() };
    cluster.controller.spec.store = Some(store);
    cluster.settle(|_| {}).await;
    assert_eq!(made(&cluster), "postgres:2");
}

#[tokio::test]
async fn keys_that_are_lost_are_told_and_not_made_anew() {
    let cluster = settled(image("a:1")).await;
    cluster.remove_object(Kind::Secret, "acme-keys");
    cluster.settle(|cluster| assert_eq!(cluster.serving().len(), 3)).await;
    assert!(cluster.object(Kind::Secret, "acme-keys").is_none());
    let status = cluster.told();
    let condition = status.conditions.iter().find(|c| c.type_ == "ConfigurationValid").unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "SecretMissing"));
}

#[tokio::test]
async fn a_stateful_set_that_somebody_has_removed_comes_back_where_it_was() {
    let mut cluster = settled(image("a:1")).await;
    cluster.broken.insert("a:2".to_owned());
    cluster.controller.spec.image = Some("a:2".to_owned());
    cluster.settle(|_| {}).await;
    // its pods stay: they are taken over
    cluster.remove_object(Kind::StatefulSet, "acme");
    let applied = Applied::default();
    cluster.reconcile(&applied).await.unwrap();
    assert!(cluster.object(Kind::StatefulSet, "acme").is_some());
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), serves("a:1", 3));
}

#[tokio::test]
async fn pods_that_are_added_while_a_rollout_waits_are_as_the_others() {
    for rollout in [
        Rollout { when: Some(When::Idle), ..Rollout::default() },
        Rollout { paused: Some(true), ..Rollout::default() },
    ] {
        let mut cluster = settled(image("a:1")).await;
        cluster.busy(1);
        cluster.controller.spec.rollout = Some(rollout);
        cluster.controller.spec.image = Some("a:2".to_owned());
        cluster.settle(|_| {}).await;
        cluster.controller.spec.replicas = 5;
        cluster.lose(1);
        cluster.settle(|_| {}).await;
        assert_eq!(cluster.serving(), serves("a:1", 5));
        assert!(cluster.told().rollout.is_some_and(|told| told.phase != RolloutPhase::Settled));
        cluster.controller.spec.rollout = None;
        cluster.settle(|cluster| assert!(cluster.serving().len() >= 4)).await;
        assert_eq!((cluster.serving(), cluster.torn()), (serves("a:2", 5), Vec::new()));
    }
}

#[tokio::test]
async fn a_stateful_set_that_is_lost_in_the_middle_of_a_rollout_begins_with_what_was_proven() {
    let mut cluster = settled(image("a:1")).await;
    cluster.controller.spec.image = Some("a:2".to_owned());
    let applied = Applied::default();
    while !cluster.serving().contains(&(2, "a:2".to_owned())) {
        cluster.reconcile(&applied).await.unwrap();
        cluster.tick();
    }
    cluster.remove_object(Kind::StatefulSet, "acme");
    cluster.tick();
    cluster.reconcile(&applied).await.unwrap();
    // one that is lost now comes back as it was
    cluster.lose(0);
    cluster.tick();
    assert_eq!(cluster.image(0), "a:1");
    cluster.settle(|_| {}).await;
    assert_eq!((cluster.serving(), cluster.torn()), (serves("a:2", 3), Vec::new()));
}

#[tokio::test]
async fn who_is_scaled_to_nothing_in_the_middle_of_a_rollout_keeps_the_way_back() {
    let mut cluster = settled(image("a:1")).await;
    cluster.broken.insert("a:2".to_owned());
    cluster.controller.spec.image = Some("a:2".to_owned());
    steps(&cluster, 8).await;
    cluster.controller.spec.replicas = 0;
    cluster.settle(|_| {}).await;
    cluster.controller.spec.replicas = 3;
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), serves("a:1", 3));
    assert_eq!(cluster.told().rollout.unwrap().phase, RolloutPhase::Halted);
}

#[tokio::test]
async fn who_was_replaced_is_waited_for_until_it_has_its_share_of_the_agents() {
    let cluster = settled(image("a:1")).await;
    let now = cluster.seen().now;
    let waits = |all: u64, own: u32, ready_for: i64| {
        let mut seen = cluster.seen();
        let conditions = seen.pods[2].status.as_mut().unwrap().conditions.as_mut().unwrap();
        conditions[0].last_transition_time = Some(Time(now - SignedDuration::from_secs(ready_for)));
        for told in seen.told.values_mut() {
            let Told::Overview(told) = told else { continue };
            told.agents = all;
            told.members[2].agents = own;
        }
        let turn = Some(NotedTurn { ordinal: 2, stage: Stage::Start, since: now });
        let note = Note { turn, ..Note::first(Revision("a".to_owned()), now) };
        crate::pods::lacks_its_share(&seen, &note)
    };
    assert!(waits(300, 0, 5) && waits(300, 49, 5), "half of what is its share");
    assert!(!waits(300, 50, 5));
    assert!(!waits(300, 0, 30), "not for ever");
    assert!(waits(3, 0, 5) && !waits(3, 1, 5));
    assert!(!waits(2, 0, 5) && !waits(0, 0, 5), "somebody is always without");
}

#[tokio::test]
async fn what_the_set_makes_below_is_known_and_no_pod_is_replaced_for_ever() {
    // nothing was ever proven, and another image is wanted twice
    for ticks in 3..40 {
        let mut cluster = Cluster::new(controller(image("a:1")));
        cluster.broken.insert("a:1".to_owned());
        steps(&cluster, 10).await;
        cluster.controller.spec.image = Some("a:2".to_owned());
        steps(&cluster, ticks).await;
        cluster.controller.spec.image = Some("a:3".to_owned());
        cluster.settle(|_| {}).await;
        assert_eq!(cluster.serving(), serves("a:3", 3), "{ticks}");
    }
    // while there were no pods, what the set makes became what is wanted; then it is taken back
    for ticks in 0..40 {
        let mut cluster = settled(Spec { replicas: 0, ..image("a:1") }).await;
        cluster.controller.spec.replicas = 3;
        cluster.settle(|_| {}).await;
        cluster.controller.spec.replicas = 0;
        cluster.settle(|_| {}).await;
        cluster.controller.spec.image = Some("a:2".to_owned());
        cluster.settle(|_| {}).await;
        cluster.controller.spec.replicas = 3;
        steps(&cluster, ticks).await;
        cluster.controller.spec.image = Some("a:1".to_owned());
        cluster.settle(|_| {}).await;
        assert_eq!(cluster.serving(), serves("a:1", 3), "{ticks}");
    }
}

#[tokio::test]
async fn who_changes_the_template_by_hand_replaces_nobody() {
    let mut cluster = settled(image("a:1")).await;
    let uids = |cluster: &Cluster| [0, 1, 2].map(|ordinal| cluster.uid(ordinal));
    let before = uids(&cluster);
    cluster.change(Kind::StatefulSet, "acme", |set| {
        set["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] =
            "now".into();
    });
    cluster.settle(|cluster| assert_eq!(cluster.serving().len(), 3)).await;
    assert_eq!((uids(&cluster), cluster.torn()), (before, Vec::new()));
    // a lost one comes back as all are, and a rollout goes on as ever
    cluster.lose(1);
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), serves("a:1", 3));
    cluster.controller.spec.image = Some("a:2".to_owned());
    cluster.settle(one_at_a_time).await;
    assert_eq!((cluster.serving(), cluster.torn()), (serves("a:2", 3), Vec::new()));
}

#[tokio::test]
async fn a_single_replica_for_whose_help_there_is_no_room_is_as_it_was() {
    let mut cluster = settled(Spec { replicas: 1, ..image("a:1") }).await;
    let uid = cluster.uid(0);
    cluster.nowhere.insert(1);
    cluster.controller.spec.image = Some("a:2".to_owned());
    steps(&cluster, 10).await;
    assert_eq!(cluster.pods(), 2);
    cluster.later(SignedDuration::from_mins(6));
    cluster.settle(|cluster| assert_eq!(cluster.serving(), serves("a:1", 1))).await;
    assert_eq!((cluster.uid(0), cluster.pods()), (uid, 1));
    assert_eq!(cluster.told().rollout.unwrap().phase, RolloutPhase::Halted);
    // and what is asked for next is done
    cluster.nowhere.clear();
    cluster.controller.spec.image = Some("a:3".to_owned());
    cluster.settle(|cluster| assert!(!cluster.serving().is_empty())).await;
    assert_eq!((cluster.serving(), cluster.pods()), (serves("a:3", 1), 1));
}

#[tokio::test]
async fn the_last_one_that_hangs_is_replaced_when_another_image_is_wanted() {
    for replicas in [1, 2, 3] {
        for (next, good) in [("a:1", true), ("a:3", false)] {
            let mut cluster = settled(Spec { replicas, ..image("a:1") }).await;
            cluster.nowhere.insert(0);
            cluster.controller.spec.image = Some("a:2".to_owned());
            for _ in 0..60 {
                steps(&cluster, 1).await;
                if cluster.image(0) == "a:2" {
                    break;
                }
            }
            assert_eq!(cluster.image(0), "a:2", "{replicas}");
            cluster.controller.spec.image = Some(next.to_owned());
            steps(&cluster, 20).await;
            assert!(!good || cluster.image(0) == next, "what was proven comes back at once: {replicas}");
            // nobody else may go before it serves: when it has had its time, it does so as what was proven
            cluster.blinks = 400;
            steps(&cluster, 60).await;
            assert_ne!(cluster.image(0), "a:2", "{replicas} {next}: {:?}", cluster.told().rollout);
            cluster.nowhere.clear();
            cluster.settle(|_| {}).await;
            assert_eq!(cluster.serving(), serves(next, replicas as usize), "{replicas}");
        }
    }
}
