//! What an operator must find again, whoever has written it and whatever was lost.

use super::cluster::Cluster;
use super::status::{images, seen};
use super::{controller, image};
use crate::decide::decide;
use crate::kinds::Kind;
use crate::record::Record;
use crate::secrets::fresh;
use crate::seen::Seen;
use ::rollout::Revision;

fn given_up(cluster: &Cluster) -> (String, String, Option<String>) {
    let status = cluster.told();
    let found = status.conditions.into_iter().find(|condition| condition.type_ == "RolledBack").unwrap();
    (found.status, found.reason, found.message.split_once(": ").map(|(_, why)| why.to_owned()))
}

#[tokio::test]
async fn a_revision_that_was_given_up_is_not_tried_again_when_the_stateful_set_is_lost() {
    let mut cluster = Cluster::new(controller(image("a:1")));
    cluster.settle(|_| {}).await;
    cluster.broken.insert("a:2".to_owned());
    cluster.controller.spec.image = Some("a:2".to_owned());
    cluster.settle(|_| {}).await;
    let (before, history) = (given_up(&cluster), cluster.told().rollout.unwrap().history);
    assert_eq!((before.0.as_str(), before.1.as_str()), ("True", "ReplicaEnds"));
    cluster.remove_object(Kind::StatefulSet, "acme");
    cluster
        .settle(|cluster| {
            let images: Vec<_> = (0..3).map(|ordinal| cluster.image(ordinal)).collect();
            assert_eq!(images, ["a:1", "a:1", "a:1"]);
        })
        .await;
    assert!(cluster.object(Kind::StatefulSet, "acme").is_some());
    assert_eq!(given_up(&cluster), before);
    assert_eq!(cluster.told().rollout.unwrap().history, history);
    // another one is tried as ever
    cluster.controller.spec.image = Some("a:3".to_owned());
    cluster.settle(|_| {}).await;
    assert_eq!(cluster.serving(), [0, 1, 2].map(|ordinal| (ordinal, "a:3".to_owned())));
    assert_eq!(given_up(&cluster).0, "False");
}

/// As an older operator sees what a newer one has told apart by a field that the older one does not know.
#[tokio::test]
async fn of_records_that_look_the_same_the_one_that_was_wanted_last_is_taken_or_the_newest() {
    let seen = seen(image("a:1")).await;
    let first = seen.records[0].clone();
    let twin = |of: &Record, name: &str, number| Record {
        revision: Revision(name.to_owned()),
        number,
        ..of.clone()
    };
    let wanted = |seen: &Seen| decide(seen, &images(), &fresh().unwrap()).outcome.wanted.unwrap().revision;
    let mut records = vec![twin(&first, "newer", 7), first.clone(), twin(&first, "older", 0)];
    for _ in 0..3 {
        records.rotate_left(1);
        assert_eq!(wanted(&Seen { records: records.clone(), ..seen.clone() }), first.revision);
    }
    let mut other = seen.clone();
    other.controller.spec.image = Some("a:2".to_owned());
    let mut second = first.clone();
    second.inputs.image = Some("a:2".to_owned());
    second.template.spec.as_mut().unwrap().containers[0].image = Some("a:2".to_owned());
    let mut records =
        vec![twin(&second, "two", 2), twin(&second, "four", 4), twin(&second, "three", 3), first];
    for _ in 0..4 {
        records.rotate_left(1);
        assert_eq!(wanted(&Seen { records: records.clone(), ..other.clone() }).0, "four");
    }
}
