//! What a guarded write changes besides journal and log.

use model::{BuildResult, Cause, Millis, ReplicaId};

use super::support::*;
use crate::{Answer, Artifact, Effect, Enqueue, ItemKind, Progress, Stash, Store, Wait, Write};

async fn a_build<S: Store>(store: &S) -> (Driver, ReplicaId) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    (start(store, "app", &me).await, me)
}

fn wait_node(step: &str) -> Effect {
    Effect::WaitNode { step: step.into(), label: Some("linux && x64".into()), since: Millis(70) }
}

fn artifact(path: &str, object: &str) -> Effect {
    Effect::Artifact { path: path.into(), size: 3, object: object.into() }
}

fn stash(object: &str) -> Effect {
    Effect::Stash { name: "s".into(), size: 9, object: object.into() }
}

pub async fn a_source_stays_while_a_build_names_it<S: Store>(store: &S) {
    let (mut first, me) = a_build(store).await;
    let mut second = start(store, "app", &me).await;
    let source = |hash: &str| Effect::Source { hash: hash.into(), text: format!("pipeline {hash}") };
    first.effects(store, [source("h1"), source("h2")]).await;
    first.effects(store, [source("h1")]).await;
    second.effects(store, [source("h1")]).await;
    assert_eq!(store.source("h1").await.unwrap().as_deref(), Some("pipeline h1"));
    for build in [&mut first, &mut second] {
        build.finish(store, BuildResult::Success).await;
    }
    ok(store, Write::DeleteBuild { job: name("app"), number: 1, build: None }).await;
    assert_eq!(store.source("h1").await.unwrap().as_deref(), Some("pipeline h1"));
    assert_eq!(store.source("h2").await.unwrap(), None);
    ok(store, Write::DeleteItem { name: name("app") }).await;
    assert_eq!(store.source("h1").await.unwrap(), None);
}

pub async fn a_waiting_step_is_listed_until_cancelled<S: Store>(store: &S) {
    let (mut build, me) = a_build(store).await;
    build.effects(store, [wait_node("3"), wait_node("1")]).await;
    let mut other = start(store, "app", &me).await;
    let any = Effect::WaitNode { step: "1".into(), label: None, since: Millis(1) };
    other.effects(store, [any.clone()]).await;
    let waits = store.waits().await.unwrap();
    let shown: Vec<_> = waits.iter().map(|w| (w.number, w.step.as_str())).collect();
    assert_eq!(shown, [(1, "3"), (1, "1"), (2, "1")], "in the order in which they began to wait");
    let expected = Wait {
        id: waits[0].id,
        build: build.build,
        job: name("app"),
        number: 1,
        step: "3".into(),
        label: Some("linux && x64".into()),
        since: Millis(70),
    };
    assert_eq!(waits[0], expected);
    assert_eq!(waits[2].label, None);
    build.effects(store, [any]).await;
    assert_eq!(store.waits().await.unwrap(), waits, "it waited already");
    let cancel = |step: &str| Effect::CancelWait { step: step.into() };
    build.effects(store, [cancel("1"), cancel("none")]).await;
    assert_eq!(store.waits().await.unwrap(), [waits[0].clone(), waits[2].clone()]);
}

pub async fn name_description_and_result_are_set<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    let named = |name: &str| Effect::DisplayName { name: name.into() };
    let text = Effect::Description { text: "<b>text</b>".into() };
    build.effects(store, [named("first"), text, Effect::Result { result: BuildResult::Failure }]).await;
    build.effects(store, [named("v1.2"), Effect::Result { result: BuildResult::Unstable }]).await;
    let row = store.build_by_id(build.build).await.unwrap().unwrap();
    assert_eq!(
        (row.display_name.as_deref(), row.description.as_deref()),
        (Some("v1.2"), Some("<b>text</b>"))
    );
    assert_eq!((row.result, row.building()), (Some(BuildResult::Unstable), true));
    let item = store.item(&name("app")).await.unwrap().unwrap().summary;
    assert_eq!(item.last_result, None, "it has not completed");
}

pub async fn an_artifact_is_replaced<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    build.effects(store, [artifact("out/a.jar", "o/1"), artifact("b", "o/2")]).await;
    build.effects(store, [artifact("b", "o/2")]).await;
    assert!(store.garbage(10).await.unwrap().is_empty());
    let newer = Effect::Artifact { path: "out/a.jar".into(), size: 5, object: "o/3".into() };
    build.effects(store, [newer]).await;
    let read = store.artifact(build.build, "out/a.jar").await.unwrap();
    assert_eq!(read, Some(Artifact { path: "out/a.jar".into(), size: 5, object: "o/3".into() }));
    assert_eq!(store.artifact(build.build, "OUT/a.jar").await.unwrap(), None);
    assert_eq!(store.garbage(10).await.unwrap(), ["o/1"]);
    build.finish(store, BuildResult::Success).await;
    assert_eq!(store.artifacts(build.build, None, 10).await.unwrap().len(), 2, "they stay");
}

pub async fn artifacts_come_by_path_in_pages<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    let paths = ["z", "a/b", "A", "a.b", "ä", "a/B"];
    build.effects(store, paths.iter().enumerate().map(|(i, path)| artifact(path, &format!("o/{i}")))).await;
    let page = async |after: Option<&str>, limit: u32| -> Vec<String> {
        let found = store.artifacts(build.build, after, limit).await.unwrap();
        found.into_iter().map(|a| a.path).collect()
    };
    assert_eq!(page(None, 100).await, ["A", "a.b", "a/B", "a/b", "z", "ä"]);
    assert_eq!(page(None, 2).await, ["A", "a.b"]);
    assert_eq!(page(Some("a.b"), 2).await, ["a/B", "a/b"]);
    assert_eq!(page(Some("a/c"), 9).await, ["z", "ä"]);
    assert!(page(None, 0).await.is_empty());
}

pub async fn a_stash_goes_with_its_build<S: Store>(store: &S) {
    let (mut build, me) = a_build(store).await;
    let other = start(store, "app", &me).await;
    build.effects(store, [stash("o/1")]).await;
    build.effects(store, [stash("o/2")]).await;
    let expected = Stash { name: "s".into(), size: 9, object: "o/2".into() };
    assert_eq!(store.stash(build.build, "s").await.unwrap(), Some(expected));
    assert_eq!(store.stash(build.build, "S").await.unwrap(), None);
    assert_eq!(store.stash(other.build, "s").await.unwrap(), None);
    assert_eq!(store.garbage(10).await.unwrap(), ["o/1"]);
    build.finish(store, BuildResult::Success).await;
    assert_eq!(store.stash(build.build, "s").await.unwrap(), None);
    assert_eq!(store.garbage(10).await.unwrap(), ["o/1", "o/2"]);
}

pub async fn an_object_named_again_is_no_garbage<S: Store>(store: &S) {
    let (mut build, _) = a_build(store).await;
    for (object, garbage) in [("o/1", vec![]), ("o/2", vec!["o/1"]), ("o/1", vec!["o/2"])] {
        build.effects(store, [artifact("a", object)]).await;
        assert_eq!(store.garbage(10).await.unwrap(), garbage);
    }
}

pub async fn a_finished_build_leaves_nothing_running<S: Store>(store: &S) {
    let (mut build, me) = a_build(store).await;
    linked_node(store, "mac", 2, &me).await;
    build.effects(store, [wait_node("1"), wait_node("2")]).await;
    let wait = store.waits().await.unwrap()[0].id;
    assert!(claim(store, Write::Grant { wait, node: node_name("mac"), slot: 0, body: "{}".into() }).await);
    ok(store, Write::Deliver { build: build.build, key: "abort".into(), body: "{}".into() }).await;
    build.effects(store, [Effect::Result { result: BuildResult::Unstable }]).await;
    build.finish(store, BuildResult::Aborted).await;
    assert!(store.running(None).await.unwrap().is_empty());
    assert!(store.waits().await.unwrap().is_empty());
    assert!(store.busy().await.unwrap().is_empty());
    assert!(store.inbox(build.build).await.unwrap().is_empty());
    assert!(store.with_inbox(me.incarnation).await.unwrap().is_empty());
    let row = store.build_by_id(build.build).await.unwrap().unwrap();
    assert_eq!((row.ended_at, row.result), (Some(Millis(8_000)), Some(BuildResult::Aborted)));
    let item = store.item(&name("app")).await.unwrap().unwrap().summary;
    assert_eq!((item.running, item.last_result, item.next_build), (0, Some(BuildResult::Aborted), 2));
    assert_eq!(ok(store, Write::DeleteNode { name: node_name("mac") }).await, Answer::Unit);
}

pub async fn the_last_result_is_of_the_newest_completed_build<S: Store>(store: &S) {
    let (mut first, me) = a_build(store).await;
    let mut second = start(store, "app", &me).await;
    let mut third = start(store, "app", &me).await;
    let last = async || store.item(&name("app")).await.unwrap().unwrap().summary.last_result;
    second.finish(store, BuildResult::Failure).await;
    assert_eq!(last().await, Some(BuildResult::Failure));
    first.finish(store, BuildResult::Success).await;
    assert_eq!(last().await, Some(BuildResult::Failure), "a newer one has completed");
    third.finish(store, BuildResult::Unstable).await;
    assert_eq!(last().await, Some(BuildResult::Unstable));
}

pub async fn a_build_enqueues_others_in_its_own_write<S: Store>(store: &S) {
    let (mut build, me) = a_build(store).await;
    for job in ["down", "off"] {
        ok(store, create(job, ItemKind::Freestyle)).await;
    }
    ok(store, Write::ConfigureItem { name: name("off"), config: "<off/>".into(), disabled: true }).await;
    let by = Cause::Upstream { job: "app".into(), number: 1 };
    let wanted = |job: &str| Effect::Enqueue(Enqueue { causes: vec![by.clone()], ..want(job) });
    let before = build.progress();
    build.effects(store, [wanted("down"), wanted("off"), wanted("none"), wanted("down")]).await;
    let queue = store.queue().await.unwrap();
    assert_eq!(queue.iter().map(|item| item.job.as_str()).collect::<Vec<_>>(), ["down"]);
    assert_eq!(queue[0].causes, std::slice::from_ref(&by));
    // its answer was lost: said again, nothing happens
    ok(store, take(queue[0].id, &me)).await;
    let again = Progress { effects: vec![wanted("down")], ..before };
    ok(store, Write::Progress(Box::new(again))).await;
    assert_eq!(store.queue().await.unwrap(), []);
    // an equal item waits: one more reason for it
    let waiting = enqueue(store, want("down")).await;
    build.effects(store, [wanted("down")]).await;
    let queue = store.queue().await.unwrap();
    assert_eq!(queue.iter().map(|item| (item.id, item.causes.len())).collect::<Vec<_>>(), [(waiting, 2)]);
    build
        .effects(
            store,
            [
                wanted("down"),
                Effect::Finish { result: BuildResult::Success, at: Millis(8_000), archive: false },
            ],
        )
        .await;
    build.refused(store, Progress { effects: vec![wanted("app")], ..build.progress() }, "Fenced").await;
    assert_eq!(store.queue().await.unwrap().len(), 1, "of a refused write nothing is enqueued");
}
