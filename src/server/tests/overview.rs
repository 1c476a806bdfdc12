//! What whoever looks after the replicas is told of them.

use model::RestartWhen;
use model::overview::Overview;
use store::{Failing, Fault};

use super::*;

async fn overview(site: &Site) -> Overview {
    let answer = site.peer().get("/admin/overview").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_replica_tells_how_it_sees_its_controller() {
    let site = Site::new().await;
    site.store.write(Write::Identify { controller: "ci/acme".into() }).await.unwrap();
    site.create("", "hello", PIPELINE).await;
    assert_eq!(site.admin().post("/job/hello/build?delay=600sec").await.status, 201);
    assert_eq!(site.admin().post("/safeRestart").await.status, 302);
    let take =
        Write::AcquireLease { lease: "startup".into(), me: site.me.clone(), seen: None, at: Millis(9_000) };
    site.store.write(take).await.unwrap();
    let seen = overview(&site).await;
    assert_eq!((seen.controller.as_str(), seen.replica.as_str()), ("ci/acme", "acme-0"));
    assert_eq!((seen.state, seen.drained, seen.ends), (Some(ReplicaState::Ready), false, false));
    assert_eq!((seen.level, seen.known_level, seen.queue, seen.busy), (1, 1, Some(1), 0));
    let startup = seen.startup.unwrap();
    assert_eq!((startup.holder.as_str(), startup.since.as_str()), ("acme-0", "1970-01-01T00:00:09Z"));
    let [member] = seen.members.as_slice() else { panic!("{:?}", seen.members) };
    assert_eq!((member.name.as_str(), member.state), ("acme-0", Some(ReplicaState::Ready)));
    assert_eq!((member.revision.as_str(), member.since.as_str()), ("r1", "1970-01-01T00:00:02Z"));
    assert_eq!(member.address, "10.0.0.1:1");
    assert_eq!((seen.restart.number, seen.restart.when), (1, RestartWhen::Idle));
    assert_eq!(seen.restart.by, "admin");
    assert!(seen.store_answers && seen.store_error.is_none() && seen.failovers.is_empty());
    assert_eq!(seen.durability.engine, "memory");

    assert_eq!(site.peer().post("/admin/drain").await.status, 200);
    assert!(overview(&site).await.drained);
    let lost = Write::Lapse { who: site.me.clone(), beat: None, at: Millis(10_000) };
    site.store.write(lost).await.unwrap();
    let seen = overview(&site).await;
    assert_eq!(seen.members[0].state, Some(ReplicaState::Stopped));
    assert_eq!((seen.startup, seen.known_level), (None, 0));
}

#[tokio::test]
async fn it_is_for_those_who_look_after_replicas() {
    let site = Site::new().await;
    assert_eq!(site.admin().get("/admin/overview").await.status, 401);
    assert_eq!(site.anon().get("/admin/overview").await.status, 401);
    assert_eq!(site.anon().with("authorization", "Bearer x").get("/admin/overview").await.status, 403);
    assert_eq!(site.peer().post("/admin/overview").await.status, 405);
}

#[tokio::test]
async fn while_the_store_is_away_it_tells_what_was_seen_last() {
    let store = Failing::new(Memory::new());
    let site = Site::on(Arc::new(store.clone())).await;
    store.fail(store.writes() + 1, Fault::Away);
    store.deafen();
    let seen = overview(&site).await;
    assert_eq!((seen.controller.as_str(), seen.store_answers, seen.queue), ("seen before", false, None));
    assert!(seen.store_error.unwrap().contains("the store is away"));
    assert_eq!(seen.state, Some(ReplicaState::Ready));
    store.heal();
    assert!(overview(&site).await.store_answers);
}
