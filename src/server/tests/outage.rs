//! D17: when the store is away, requests wait, then say so.

use store::{Failing, Fault};

use super::*;

#[tokio::test]
async fn a_write_that_finds_the_store_away_for_a_moment_is_done_all_the_same() {
    let store = Failing::new(Memory::new());
    let site = Site::on(Arc::new(store.clone())).await;
    store.fail(store.writes() + 1, Fault::Before);
    site.create("", "hello", PIPELINE).await;
    store.fail(store.writes() + 1, Fault::Before);
    assert_eq!(site.admin().post("/job/hello/build").await.status, 201);
}

#[tokio::test]
async fn a_store_that_stays_away_is_said_and_health_does_not_ask_it() {
    let store = Failing::new(Memory::new());
    let site = Site::on(Arc::new(store.clone())).await;
    site.create("", "hello", PIPELINE).await;
    store.fail(store.writes() + 1, Fault::Away);
    let began = std::time::Instant::now();
    let answer = site.admin().post("/job/hello/build").await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!(site.anon().get("/healthz").await.text(), "ok\n");
    assert_eq!(site.anon().get("/readyz").await.text(), "ready\n");
    store.heal();
    assert_eq!(site.admin().post("/job/hello/build").await.status, 201);
}

#[tokio::test]
async fn an_unknown_outcome_is_not_tried_again() {
    let store = Failing::new(Memory::new());
    let site = Site::on(Arc::new(store.clone())).await;
    site.create("", "hello", PIPELINE).await;
    let before = store.writes();
    store.fail(before + 1, Fault::After);
    assert_eq!(site.admin().post("/job/hello/build").await.status, 503);
    assert_eq!(store.writes(), before + 1);
}
