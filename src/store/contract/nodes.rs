//! Nodes and the links of their agents.

use model::{Millis, ReplicaId};

use super::support::*;
use crate::{Answer, Effect, Link, Node, Offline, Store, Write};

fn offline() -> Option<Offline> {
    Some(Offline { reason: "new disk".into(), by: "ann".into(), at: Millis(77) })
}

fn link_down(node: &str, number: i64) -> Write {
    Write::LinkDown { node: node_name(node), number, reason: "end of file".into(), at: Millis(6_000) }
}

async fn read<S: Store>(store: &S, node: &str) -> Option<Node> {
    store.node(&node_name(node)).await.unwrap()
}

pub async fn a_node_is_created_and_read<S: Store>(store: &S) {
    let node = Node { offline: offline(), exclusive: true, ..a_node("linux-1", 3) };
    assert_eq!(ok(store, Write::CreateNode(node.clone())).await, Answer::Unit);
    assert_eq!(read(store, "linux-1").await, Some(node.clone()));
    assert_eq!(store.nodes().await.unwrap(), [node]);
    assert_eq!(read(store, "Linux-1").await, None, "names are looked up as they were given");
}

pub async fn a_node_is_unique_whatever_its_case<S: Store>(store: &S) {
    ok(store, Write::CreateNode(a_node("mac", 1))).await;
    refused(store, Write::CreateNode(a_node("mac", 2)), "Exists").await;
    refused(store, Write::CreateNode(a_node("MAC", 2)), "Exists").await;
}

pub async fn configuring_a_node_keeps_it_offline<S: Store>(store: &S) {
    ok(store, Write::CreateNode(a_node("mac", 1))).await;
    let set = |offline| Write::SetNodeOffline { name: node_name("mac"), offline };
    assert_eq!(ok(store, set(offline())).await, Answer::Unit);
    let changed =
        Node { labels: vec![], description: "new".into(), config: "<new/>".into(), ..a_node("mac", 5) };
    assert_eq!(ok(store, Write::ConfigureNode(changed.clone())).await, Answer::Unit);
    assert_eq!(read(store, "mac").await, Some(Node { offline: offline(), ..changed.clone() }));
    ok(store, set(None)).await;
    ok(store, Write::ConfigureNode(Node { offline: offline(), ..changed.clone() })).await;
    assert_eq!(read(store, "mac").await, Some(changed));
}

pub async fn what_is_no_node_is_refused<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    ok(store, Write::CreateNode(a_node("mac", 1))).await;
    for none in ["none", "MAC"] {
        refused(store, Write::ConfigureNode(a_node(none, 1)), "NotFound").await;
        refused(store, Write::DeleteNode { name: node_name(none) }, "NotFound").await;
        refused(store, Write::SetNodeOffline { name: node_name(none), offline: None }, "NotFound").await;
        refused(store, link_up(none, &me), "NotFound").await;
        declined(store, link_down(none, 1)).await;
    }
}

pub async fn a_node_is_not_deleted_while_an_executor_is_used<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    linked_node(store, "mac", 1, &me).await;
    pipeline(store, "app").await;
    let mut build = start(store, "app", &me).await;
    build.effects(store, [Effect::WaitNode { step: "1".into(), label: None, since: Millis(1) }]).await;
    let wait = store.waits().await.unwrap()[0].id;
    assert!(claim(store, Write::Grant { wait, node: node_name("mac"), slot: 0, body: "{}".into() }).await);
    refused(store, Write::DeleteNode { name: node_name("mac") }, "Conflict").await;
    build.effects(store, [Effect::ReleaseExecutor { step: "1".into() }]).await;
    assert_eq!(ok(store, Write::DeleteNode { name: node_name("mac") }).await, Answer::Unit);
}

pub async fn a_node_goes_with_its_link<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    linked_node(store, "mac", 1, &me).await;
    linked_node(store, "linux", 1, &me).await;
    ok(store, Write::DeleteNode { name: node_name("mac") }).await;
    assert_eq!(read(store, "mac").await, None);
    let links = store.links().await.unwrap();
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].node, node_name("linux"));
    ok(store, Write::CreateNode(a_node("Mac", 1))).await;
    assert_eq!(store.links().await.unwrap().len(), 1);
}

pub async fn each_link_has_the_next_number<S: Store>(store: &S) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    ok(store, Write::CreateNode(a_node("mac", 1))).await;
    assert_eq!(ok(store, link_up("mac", &a)).await, Answer::Linked { number: 1 });
    assert_eq!(ok(store, link_up("mac", &b)).await, Answer::Linked { number: 2 });
    assert!(claim(store, link_down("mac", 2)).await);
    let up = Write::LinkUp {
        node: node_name("mac"),
        holder: a.clone(),
        instance: "i-2".into(),
        info: "{\"os\":\"mac\"}".into(),
        at: Millis(4_444),
    };
    assert_eq!(ok(store, up).await, Answer::Linked { number: 3 });
    let expected = Link {
        node: node_name("mac"),
        number: 3,
        holder: Some(a),
        instance: "i-2".into(),
        since: Millis(4_444),
        info: "{\"os\":\"mac\"}".into(),
        reason: None,
    };
    assert_eq!(store.links().await.unwrap(), [expected]);
}

pub async fn a_link_needs_a_live_holder<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    ok(store, Write::CreateNode(a_node("mac", 1))).await;
    let nobody = ReplicaId { incarnation: 99, ..me.clone() };
    refused(store, link_up("mac", &nobody), "Fenced").await;
    stop(store, &me).await;
    refused(store, link_up("mac", &me), "Fenced").await;
}

pub async fn only_the_newest_link_goes_down_once<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    linked_node(store, "mac", 1, &me).await;
    ok(store, link_up("mac", &me)).await;
    declined(store, link_down("mac", 1)).await;
    declined(store, link_down("mac", 3)).await;
    assert!(claim(store, link_down("mac", 2)).await);
    let link = store.links().await.unwrap().remove(0);
    assert_eq!((link.number, link.holder, link.since), (2, None, Millis(6_000)));
    assert_eq!((link.reason.as_deref(), link.instance.as_str()), (Some("end of file"), "i-1"));
    declined(store, link_down("mac", 2)).await;
}

pub async fn nodes_and_links_come_by_name<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    for node in ["b", "Z", "a-b", "A", "ä"] {
        linked_node(store, node, 1, &me).await;
    }
    let nodes: Vec<_> = store.nodes().await.unwrap().into_iter().map(|n| n.name.to_string()).collect();
    let links: Vec<_> = store.links().await.unwrap().into_iter().map(|l| l.node.to_string()).collect();
    assert_eq!(nodes, ["A", "a-b", "b", "Z", "ä"]);
    assert_eq!(links, nodes);
}

pub async fn a_link_is_read_alone_and_by_number<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    ok(store, Write::CreateNode(a_node("never", 1))).await;
    linked_node(store, "mac", 1, &me).await;
    linked_node(store, "linux", 1, &me).await;
    ok(store, link_up("linux", &me)).await;
    assert!(claim(store, link_down("mac", 1)).await);
    let links = store.links().await.unwrap();
    let numbers = links.iter().map(|l| (l.node.clone(), l.number, l.holder.clone())).collect::<Vec<_>>();
    assert_eq!(numbers, [(node_name("linux"), 2, Some(me)), (node_name("mac"), 1, None)]);
    assert_eq!(store.link_numbers().await.unwrap(), numbers);
    for link in links {
        assert_eq!(store.link(&link.node).await.unwrap(), Some(link));
    }
    for none in ["never", "none", "Mac"] {
        assert_eq!(store.link(&node_name(none)).await.unwrap(), None);
    }
}
