//! Executors: rows whose unique keys decide who gets them.

use model::{BuildId, BuildResult, Millis, ReplicaId};

use super::support::*;
use crate::{Answer, Busy, Effect, Enqueue, InboxRow, ItemKind, Node, Offline, Store, Write};

/// A build with `steps` that wait, and the ids of their waits.
async fn waiting<S: Store>(store: &S, owner: &ReplicaId, steps: &[&str]) -> (Driver, Vec<i64>) {
    let mut build = start(store, "app", owner).await;
    let wait = |step: &&str| Effect::WaitNode { step: (*step).into(), label: None, since: Millis(1) };
    build.effects(store, steps.iter().map(wait)).await;
    let waits = store.waits().await.unwrap().into_iter();
    let ids = waits.filter(|w| w.build == build.build).map(|w| w.id).collect();
    (build, ids)
}

fn grant(wait: i64, node: &str, slot: u32) -> Write {
    Write::Grant { wait, node: node_name(node), slot, body: format!("{{\"slot\":{slot}}}") }
}

pub async fn an_executor_is_granted_and_released<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    linked_node(store, "mac", 2, &me).await;
    pipeline(store, "app").await;
    let (mut build, waits) = waiting(store, &me, &["7"]).await;
    assert!(claim(store, grant(waits[0], "mac", 1)).await);
    let busy = Busy {
        node: node_name("mac"),
        slot: 1,
        build: build.build,
        job: name("app"),
        number: 1,
        step: "7".into(),
    };
    assert_eq!(store.busy().await.unwrap(), [busy]);
    assert!(store.waits().await.unwrap().is_empty());
    let row = InboxRow { key: "granted:7".into(), body: "{\"slot\":1}".into() };
    assert_eq!(store.inbox(build.build).await.unwrap(), [row]);
    let release = |step: &str| Effect::ReleaseExecutor { step: step.into() };
    build.effects(store, [release("none")]).await;
    assert_eq!(store.busy().await.unwrap().len(), 1);
    build.effects(store, [Effect::Consume { key: "granted:7".into() }, release("7")]).await;
    assert!(store.busy().await.unwrap().is_empty());
}

pub async fn a_slot_is_granted_once<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    linked_node(store, "mac", 1, &me).await;
    pipeline(store, "app").await;
    let (mut first, won) = waiting(store, &me, &["1"]).await;
    let (_, lost) = waiting(store, &me, &["1"]).await;
    assert!(claim(store, grant(won[0], "mac", 0)).await);
    declined(store, grant(lost[0], "mac", 0)).await;
    first.finish(store, BuildResult::Success).await;
    assert!(claim(store, grant(lost[0], "mac", 0)).await, "the build that had it has ended");
}

pub async fn a_slot_beyond_the_executors_is_not_granted<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    linked_node(store, "mac", 2, &me).await;
    pipeline(store, "app").await;
    let (_, waits) = waiting(store, &me, &["1", "2"]).await;
    declined(store, grant(waits[0], "mac", 2)).await;
    assert!(claim(store, grant(waits[0], "mac", 1)).await);
    ok(store, Write::ConfigureNode(a_node("mac", 0))).await;
    assert_eq!(store.busy().await.unwrap().len(), 1, "what is in use stays so");
    declined(store, grant(waits[1], "mac", 0)).await;
}

pub async fn an_offline_node_gets_nothing<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    linked_node(store, "mac", 1, &me).await;
    pipeline(store, "app").await;
    let (_, waits) = waiting(store, &me, &["1"]).await;
    declined(store, grant(waits[0], "none", 0)).await;
    let offline = Some(Offline { reason: String::new(), by: "ann".into(), at: Millis(1) });
    ok(store, Write::SetNodeOffline { name: node_name("mac"), offline }).await;
    declined(store, grant(waits[0], "mac", 0)).await;
    ok(store, Write::SetNodeOffline { name: node_name("mac"), offline: None }).await;
    assert!(claim(store, grant(waits[0], "mac", 0)).await);
}

pub async fn a_node_without_a_live_link_gets_nothing<S: Store>(store: &S) {
    let (me, holder) = (join(store, "r-0").await, join(store, "r-1").await);
    ok(store, Write::CreateNode(Node { labels: vec![], ..a_node("mac", 1) })).await;
    pipeline(store, "app").await;
    let (_, waits) = waiting(store, &me, &["1"]).await;
    declined(store, grant(waits[0], "mac", 0)).await;
    ok(store, link_up("mac", &holder)).await;
    ok(store, Write::LinkDown { node: node_name("mac"), number: 1, reason: "gone".into(), at: Millis(1) })
        .await;
    declined(store, grant(waits[0], "mac", 0)).await;
    ok(store, link_up("mac", &holder)).await;
    stop(store, &holder).await;
    declined(store, grant(waits[0], "mac", 0)).await;
    let holder = join(store, "r-1").await;
    declined(store, grant(waits[0], "mac", 0)).await;
    ok(store, link_up("mac", &holder)).await;
    assert!(claim(store, grant(waits[0], "mac", 0)).await);
}

pub async fn a_wait_that_is_gone_gets_nothing<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    linked_node(store, "mac", 4, &me).await;
    pipeline(store, "app").await;
    let (mut build, waits) = waiting(store, &me, &["1", "2", "3"]).await;
    declined(store, grant(waits[2] + 1, "mac", 0)).await;
    assert!(claim(store, grant(waits[0], "mac", 0)).await);
    declined(store, grant(waits[0], "mac", 1)).await;
    build.effects(store, [Effect::CancelWait { step: "2".into() }]).await;
    declined(store, grant(waits[1], "mac", 1)).await;
    build.finish(store, BuildResult::Aborted).await;
    declined(store, grant(waits[2], "mac", 1)).await;
}

pub async fn executors_in_use_come_by_node_and_slot<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    for node in ["b", "A"] {
        linked_node(store, node, 11, &me).await;
    }
    let (_, waits) = waiting(store, &me, &["1", "2", "3", "4"]).await;
    for (wait, (node, slot)) in waits.into_iter().zip([("b", 2), ("b", 10), ("A", 1), ("b", 0)]) {
        assert!(claim(store, grant(wait, node, slot)).await);
    }
    let busy: Vec<_> =
        store.busy().await.unwrap().into_iter().map(|b| (b.node.to_string(), b.slot)).collect();
    let expected = [("A", 1), ("b", 0), ("b", 2), ("b", 10)].map(|(node, slot)| (node.to_owned(), slot));
    assert_eq!(busy, expected);
}

pub async fn the_first_that_wait_come_by_label<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    linked_node(store, "mac", 2, &me).await;
    pipeline(store, "app").await;
    assert!(store.wait_labels().await.unwrap().is_empty() && store.slots().await.unwrap().is_empty());
    let (build, ids) = waiting(store, &me, &["1", "2", "3"]).await;
    let mut other = start(store, "app", &me).await;
    let wait = |step: &str, label: &str| Effect::WaitNode {
        step: step.into(),
        label: Some(label.into()),
        since: Millis(1),
    };
    other.effects(store, [wait("1", "gpu"), wait("2", "gpu && big"), wait("3", "gpu")]).await;
    let mut labels = store.wait_labels().await.unwrap();
    labels.sort();
    assert_eq!(labels, ["", "gpu", "gpu && big"]);
    let steps = async |label: &str, most| -> Vec<(BuildId, String)> {
        let waits = store.first_waits(label, most).await.unwrap();
        waits.into_iter().map(|wait| (wait.build, wait.step)).collect()
    };
    assert_eq!(steps("", 2).await, [(build.build, "1".into()), (build.build, "2".into())]);
    assert_eq!(steps("gpu", 9).await, [(other.build, "1".into()), (other.build, "3".into())]);
    assert_eq!(steps("gpu", 0).await, []);
    assert_eq!(steps("mac", 9).await, []);
    assert_eq!(store.waits_of(other.build).await.unwrap().len(), 3);
    assert_eq!(store.waits_of(build.build).await.unwrap()[..], store.waits().await.unwrap()[..3]);
    assert!(claim(store, grant(ids[1], "mac", 1)).await);
    assert_eq!(store.slots().await.unwrap(), [(node_name("mac"), 1)]);
    assert_eq!(steps("", 9).await, [(build.build, "1".into()), (build.build, "3".into())]);
}

pub async fn a_build_begins_with_its_executor<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    linked_node(store, "mac", 2, &me).await;
    ok(store, create("free", ItemKind::Freestyle)).await;
    let id = enqueue(store, want("free")).await;
    let Answer::Taken(taken) = ok(store, take_on(id, &me, "mac", 1)).await else { panic!() };
    let busy = Busy {
        node: node_name("mac"),
        slot: 1,
        build: taken.build,
        job: name("free"),
        number: 1,
        step: "0".into(),
    };
    assert_eq!(store.busy().await.unwrap(), std::slice::from_ref(&busy));
    let built_on = store.build_by_id(taken.build).await.unwrap().unwrap().built_on;
    assert_eq!(built_on, Some(node_name("mac")));
    let row = InboxRow { key: "granted:0".into(), body: "{\"slot\":1}".into() };
    assert_eq!(store.inbox(taken.build).await.unwrap(), [row]);
    let again = ok(store, take_on(id, &me, "mac", 1)).await;
    assert_eq!(again, Answer::Taken(taken), "said again, it answers the same");
    assert_eq!(store.busy().await.unwrap(), [busy]);
}

pub async fn a_build_does_not_begin_on_an_executor_that_is_not_free<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    linked_node(store, "mac", 1, &me).await;
    for job in ["a", "b", "c"] {
        ok(store, create(job, ItemKind::Freestyle)).await;
    }
    let (a, b) = (enqueue(store, want("a")).await, enqueue(store, want("b")).await);
    refused(store, take_on(a, &me, "mac", 1), "Conflict").await;
    refused(store, take_on(a, &me, "none", 0), "Conflict").await;
    let Answer::Taken(first) = ok(store, take_on(a, &me, "mac", 0)).await else { panic!() };
    refused(store, take_on(b, &me, "mac", 0), "Conflict").await;
    let mut first = Driver {
        build: first.build,
        number: 1,
        owner: first.owner,
        fence: first.fence,
        seq: 0,
        records: 0,
        log_end: 0,
    };
    let c = enqueue(store, Enqueue { causes: vec![user("bob")], ..want("a") }).await;
    refused(store, take_on(c, &me, "mac", 0), "Conflict").await;
    first.finish(store, BuildResult::Success).await;
    ok(store, take_on(b, &me, "mac", 0)).await;
    ok(store, Write::CreateNode(a_node("unlinked", 1))).await;
    refused(store, take_on(c, &me, "unlinked", 0), "Conflict").await;
    let offline = Some(Offline { reason: String::new(), by: "ann".into(), at: Millis(1) });
    ok(store, link_up("unlinked", &me)).await;
    ok(store, Write::SetNodeOffline { name: node_name("unlinked"), offline }).await;
    refused(store, take_on(c, &me, "unlinked", 0), "Conflict").await;
    assert_eq!(store.busy().await.unwrap().len(), 1);
}
