//! Builds: how they begin, and how they are found.

use model::{BuildId, BuildResult, Cause, Fence, Millis, QueueId};

use super::support::*;
use crate::{Answer, Build, Effect, Left, Running, Store, Taken, Which, Write, first_id};

pub async fn a_build_is_taken_from_the_queue<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let id = enqueue(store, want("app")).await;
    let write = Write::TakeBuild {
        id,
        owner: me.clone(),
        exclusive: true,
        behaviour: 4,
        at: Millis(3_000),
        executor: None,
    };
    let Answer::Taken(Taken { build, number: 1, fence, .. }) = ok(store, write).await else { panic!() };
    assert_eq!(fence, Fence::first(1));
    let expected = Build {
        id: build,
        job: name("app"),
        number: 1,
        queue_id: id,
        causes: vec![Cause::User { id: "ann".into(), name: "ANN".into() }],
        params: Default::default(),
        queued_at: Millis(2_000),
        started_at: Millis(3_000),
        ended_at: None,
        result: None,
        display_name: None,
        description: None,
        keep: false,
        log_end: 0,
        behaviour: 4,
        built_on: None,
    };
    assert_eq!(store.build_by_id(build).await.unwrap(), Some(expected.clone()));
    assert_eq!(store.build(&name("app"), Which::Number(1)).await.unwrap(), Some(expected));
    let row = Running {
        build,
        job: name("app"),
        number: 1,
        owner: me.incarnation,
        fence,
        seq: 0,
        log_end: 0,
        epoch: 1,
        behaviour: 4,
    };
    assert_eq!(store.running(None).await.unwrap(), [row]);
    assert_eq!(store.queue_item(id).await.unwrap().unwrap().left, Some(Left::Built { number: 1 }));
    assert!(store.queue().await.unwrap().is_empty());
    let item = store.item(&name("app")).await.unwrap().unwrap().summary;
    assert_eq!((item.next_build, item.running, item.last_result), (2, 1, None));
    let slice = store.log(build, 0, 10).await.unwrap().unwrap();
    assert_eq!((slice.bytes.len(), slice.end, slice.building), (0, 0, true));
}

pub async fn a_build_taken_again_is_the_same<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let id = enqueue(store, want("app")).await;
    for exclusive in [false, true] {
        let write = Write::TakeBuild {
            id,
            owner: me.clone(),
            exclusive,
            behaviour: 1,
            at: Millis(3_000),
            executor: None,
        };
        let first = ok(store, write.clone()).await;
        let before = picture(store).await;
        assert_eq!(ok(store, write).await, first);
        assert_eq!(picture(store).await, before);
    }
    assert_eq!(store.running(None).await.unwrap().len(), 1);
}

pub async fn a_build_is_taken_once<S: Store>(store: &S) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    pipeline(store, "app").await;
    refused(store, take(QueueId(1), &a), "NotFound").await;
    let id = enqueue(store, want("app")).await;
    stop(store, &b).await;
    refused(store, take(id, &b), "Fenced").await;
    let b = join(store, "r-1").await;
    let Answer::Taken(taken) = ok(store, take(id, &a)).await else { panic!() };
    refused(store, take(id, &b), "NotFound").await;
    ok(store, Write::Adopt { build: taken.build, seen: taken.fence, owner: b }).await;
    refused(store, take(id, &a), "NotFound").await;
    let cancelled = enqueue(store, want("app")).await;
    ok(store, Write::CancelQueued { id: cancelled, at: Millis(1) }).await;
    refused(store, take(cancelled, &a), "NotFound").await;
}

pub async fn an_exclusive_build_waits_for_the_running_one<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    pipeline(store, "other").await;
    let mut first = start(store, "app", &me).await;
    start(store, "other", &me).await;
    let id = enqueue(store, want("app")).await;
    let exclusive = Write::TakeBuild {
        id,
        owner: me.clone(),
        exclusive: true,
        behaviour: 1,
        at: Millis(3_000),
        executor: None,
    };
    refused(store, exclusive.clone(), "Conflict").await;
    first.finish(store, BuildResult::Success).await;
    assert!(matches!(ok(store, exclusive).await, Answer::Taken(Taken { number: 2, .. })));
    start(store, "app", &me).await;
    assert_eq!(store.item(&name("app")).await.unwrap().unwrap().summary.running, 2);
}

pub async fn builds_get_the_next_number<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    pipeline(store, "lib").await;
    let mut ids = Vec::new();
    for (job, number) in [("app", 1), ("lib", 1), ("app", 2), ("app", 3), ("lib", 2)] {
        let build = start(store, job, &me).await;
        assert_eq!(build.number, number);
        ids.push(build.build);
    }
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    ok(store, Write::RaiseEpoch { above: 8 }).await;
    let taken = start(store, "app", &me).await;
    assert_eq!(taken.fence, Fence::first(9));
    assert!(taken.build.0 >= first_id(9), "agents may hold lower ones of a lost future: {}", taken.build);
}

pub async fn running_builds_come_by_owner<S: Store>(store: &S) {
    let (a, b) = (join(store, "r-0").await, join(store, "r-1").await);
    pipeline(store, "app").await;
    let mut builds = Vec::new();
    for owner in [&a, &b, &a] {
        builds.push(start(store, "app", owner).await);
    }
    let of = async |owner: Option<i64>| -> Vec<BuildId> {
        store.running(owner).await.unwrap().into_iter().map(|r| r.build).collect()
    };
    assert_eq!(of(None).await, [builds[0].build, builds[1].build, builds[2].build]);
    assert_eq!(of(Some(a.incarnation)).await, [builds[0].build, builds[2].build]);
    assert_eq!(of(Some(b.incarnation)).await, [builds[1].build]);
    builds[0].finish(store, BuildResult::Success).await;
    assert_eq!(of(Some(a.incarnation)).await, [builds[2].build]);
    assert!(of(Some(99)).await.is_empty());
}

pub async fn a_build_is_over_when_it_has_ended_or_was_deleted<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    assert!(store.over(&[]).await.unwrap().is_empty());
    assert!(store.over(&[BuildId(1)]).await.unwrap().is_empty(), "a store without builds knows of none");
    let running = start(store, "app", &me).await.build;
    let ended = built(store, "app", &me, BuildResult::Success).await.build;
    let deleted = built(store, "app", &me, BuildResult::Failure).await;
    let last = start(store, "app", &me).await.build;
    ok(store, Write::DeleteBuild { job: name("app"), number: deleted.number, build: None }).await;
    let deleted = deleted.build;
    let unknown = [BuildId(last.0 + 1), BuildId(last.0 + 1_000)];
    let all = [last, deleted, unknown[0], running, ended, unknown[1]];
    assert_eq!(store.over(&all).await.unwrap(), [deleted, ended]);
    let many: Vec<BuildId> = (0..100).flat_map(|_| all).collect();
    assert_eq!(store.over(&many).await.unwrap(), [deleted, ended].repeat(100));
}

pub async fn permalinks_find_their_builds<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    pipeline(store, "other").await;
    let find = async |which: Which| -> Option<u64> {
        store.build(&name("app"), which).await.unwrap().map(|b| b.number)
    };
    assert_eq!(find(Which::Last).await, None);
    use BuildResult::{Aborted, Failure, NotBuilt, Success, Unstable};
    for result in [Failure, Success, Unstable, Failure, NotBuilt, Aborted] {
        built(store, "app", &me, result).await;
    }
    for result in [Success; 9] {
        built(store, "other", &me, result).await;
    }
    let mut running = start(store, "app", &me).await;
    running.effects(store, [Effect::Result { result: Success }]).await;
    for (which, number) in [
        (Which::Number(2), Some(2)),
        (Which::Number(9), None),
        (Which::First, Some(1)),
        (Which::Last, Some(7)),
        (Which::LastCompleted, Some(6)),
        (Which::LastStable, Some(2)),
        (Which::LastSuccessful, Some(3)),
        (Which::LastUnstable, Some(3)),
        (Which::LastFailed, Some(4)),
        (Which::LastUnsuccessful, Some(6)),
        (Which::Before(7), Some(6)),
        (Which::Before(1), None),
        (Which::Before(100), Some(7)),
        (Which::After(0), Some(1)),
        (Which::After(6), Some(7)),
        (Which::After(7), None),
    ] {
        assert_eq!(find(which).await, number, "{which:?}");
    }
    ok(store, Write::DeleteBuild { job: name("app"), number: 3, build: None }).await;
    assert_eq!(find(Which::LastSuccessful).await, Some(2));
    assert_eq!(find(Which::LastUnstable).await, None);
    assert_eq!(find(Which::Before(4)).await, Some(2));
    assert_eq!(find(Which::After(2)).await, Some(4));
}

pub async fn builds_come_newest_first_in_pages<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    pipeline(store, "other").await;
    for _ in 0..5 {
        built(store, "app", &me, BuildResult::Success).await;
        start(store, "other", &me).await;
    }
    let page = async |below: Option<u64>, limit: u32| -> Vec<u64> {
        let builds = store.builds(&name("app"), below, limit).await.unwrap();
        builds.into_iter().map(|b| b.number).collect()
    };
    assert_eq!(page(None, 100).await, [5, 4, 3, 2, 1]);
    assert_eq!(page(None, 2).await, [5, 4]);
    assert_eq!(page(Some(4), 2).await, [3, 2]);
    assert!(page(Some(1), 2).await.is_empty());
    assert!(page(None, 0).await.is_empty());
}

pub async fn what_is_not_there_is_none<S: Store>(store: &S) {
    let none = BuildId(77);
    assert_eq!(store.build(&name("none"), Which::Last).await.unwrap(), None);
    assert_eq!(store.build_by_id(none).await.unwrap(), None);
    assert!(store.builds(&name("none"), None, 10).await.unwrap().is_empty());
    assert!(store.journal(none, 0).await.unwrap().is_empty());
    assert_eq!(store.source("none").await.unwrap(), None);
    assert!(store.inbox(none).await.unwrap().is_empty());
    assert!(store.with_inbox(1).await.unwrap().is_empty());
    assert!(store.raw_offsets(none).await.unwrap().is_empty());
    assert_eq!(store.log(none, 0, 10).await.unwrap(), None);
    assert!(store.artifacts(none, None, 10).await.unwrap().is_empty());
    assert_eq!(store.artifact(none, "x").await.unwrap(), None);
    assert_eq!(store.stash(none, "x").await.unwrap(), None);
    assert_eq!(store.queue_item(QueueId(77)).await.unwrap(), None);
    assert_eq!(store.node(&node_name("none")).await.unwrap(), None);
}
