//! What becomes of builds that have ended.

use model::BuildResult;

use super::support::*;
use crate::{Answer, Effect, Store, Which, Write};

fn delete(number: u64) -> Write {
    Write::DeleteBuild { job: name("app"), number, build: None }
}

fn keep(number: u64, keep: bool) -> Write {
    Write::KeepBuild { job: name("app"), number, keep }
}

fn artifact(path: &str, object: &str) -> Effect {
    Effect::Artifact { path: path.into(), size: 3, object: object.into() }
}

pub async fn a_deleted_build_is_gone<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let mut first = start(store, "app", &me).await;
    first.journal(store, &["r"]).await;
    first.say(store, "hello\n").await;
    first.effects(store, [artifact("a", "o/1")]).await;
    first.finish(store, BuildResult::Success).await;
    let second = built(store, "app", &me, BuildResult::Success).await;
    let other = Write::DeleteBuild { job: name("app"), number: 1, build: Some(second.build) };
    refused(store, other, "NotFound").await;
    ok(store, Write::DeleteBuild { job: name("app"), number: 1, build: Some(first.build) }).await;
    assert_eq!(store.build_by_id(first.build).await.unwrap(), None);
    assert_eq!(store.build(&name("app"), Which::First).await.unwrap().unwrap().id, second.build);
    assert!(store.journal(first.build, 0).await.unwrap().is_empty());
    assert_eq!(store.log(first.build, 0, 10).await.unwrap(), None);
    assert!(store.artifacts(first.build, None, 10).await.unwrap().is_empty());
    assert!(store.raw_offsets(first.build).await.unwrap().is_empty());
    refused(store, delete(1), "NotFound").await;
    refused(store, Write::DeleteBuild { job: name("none"), number: 2, build: None }, "NotFound").await;
}

pub async fn a_deleted_build_gives_its_objects<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let mut build = start(store, "app", &me).await;
    let stash = Effect::Stash { name: "s".into(), size: 1, object: "o/9".into() };
    build.effects(store, [artifact("z", "o/1"), artifact("a", "o/3"), artifact("m", "o/2"), stash]).await;
    build.effects(store, [artifact("m", "o/4")]).await;
    build.finish(store, BuildResult::Success).await;
    assert_eq!(store.garbage(10).await.unwrap(), ["o/2", "o/9"]);
    let keys = ["o/1", "o/3", "o/4"].map(str::to_owned);
    assert_eq!(ok(store, delete(1)).await, Answer::Objects(keys.to_vec()));
    assert_eq!(store.garbage(10).await.unwrap(), ["o/1", "o/2", "o/3", "o/4", "o/9"]);
}

pub async fn artifacts_go_and_their_build_stays<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let mut build = start(store, "app", &me).await;
    let bare = Write::DeleteArtifacts { job: name("app"), number: 1, build: build.build };
    build.effects(store, [artifact("z", "o/1"), artifact("a", "o/2")]).await;
    refused(store, bare.clone(), "Conflict").await;
    build.finish(store, BuildResult::Success).await;
    let other = built(store, "app", &me, BuildResult::Success).await;
    let both = [other.build, build.build];
    assert_eq!(store.with_artifacts(&both).await.unwrap(), [build.build]);
    assert!(store.with_artifacts(&[]).await.unwrap().is_empty());
    ok(store, keep(1, true)).await;
    refused(store, bare.clone(), "Conflict").await;
    ok(store, keep(1, false)).await;
    let wrong = Write::DeleteArtifacts { job: name("app"), number: 1, build: other.build };
    refused(store, wrong, "NotFound").await;
    let keys = ["o/1", "o/2"].map(str::to_owned).to_vec();
    assert_eq!(ok(store, bare.clone()).await, Answer::Objects(keys.clone()));
    assert!(store.artifacts(build.build, None, 10).await.unwrap().is_empty());
    assert_eq!(store.garbage(10).await.unwrap(), keys);
    assert!(store.build_by_id(build.build).await.unwrap().is_some());
    assert_eq!(ok(store, bare).await, Answer::Objects(vec![]));
    assert!(store.with_artifacts(&both).await.unwrap().is_empty());
}

pub async fn deleting_keeps_the_next_number<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    for number in 1..=2 {
        built(store, "app", &me, BuildResult::Success).await;
        assert_eq!(ok(store, delete(number)).await, Answer::Objects(vec![]));
    }
    let item = store.item(&name("app")).await.unwrap().unwrap().summary;
    assert_eq!((item.next_build, item.last_result, item.running), (3, None, 0));
    assert_eq!(start(store, "app", &me).await.number, 3);
}

pub async fn deleting_the_newest_build_shows_the_one_before<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    for result in [BuildResult::Unstable, BuildResult::Success, BuildResult::Failure, BuildResult::Aborted] {
        built(store, "app", &me, result).await;
    }
    start(store, "app", &me).await;
    for (number, last) in [
        (4, Some(BuildResult::Failure)),
        (2, Some(BuildResult::Failure)),
        (3, Some(BuildResult::Unstable)),
        (1, None),
    ] {
        ok(store, delete(number)).await;
        let item = store.item(&name("app")).await.unwrap().unwrap().summary;
        assert_eq!((item.last_result, item.running), (last, 1), "without {number}");
    }
}

pub async fn a_running_or_kept_build_is_not_deleted<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    refused(store, keep(1, true), "NotFound").await;
    let mut build = start(store, "app", &me).await;
    refused(store, delete(1), "Conflict").await;
    assert_eq!(ok(store, keep(1, true)).await, Answer::Unit);
    build.finish(store, BuildResult::Success).await;
    assert!(store.build_by_id(build.build).await.unwrap().unwrap().keep);
    refused(store, delete(1), "Conflict").await;
    assert_eq!(ok(store, keep(1, false)).await, Answer::Unit);
    assert!(!store.build_by_id(build.build).await.unwrap().unwrap().keep);
    ok(store, delete(1)).await;
}

pub async fn garbage_is_listed_until_forgotten<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let mut build = start(store, "app", &me).await;
    build.effects(store, ["o/b", "o/a", "o/B", "o/c"].map(|key| artifact(key, key))).await;
    build.finish(store, BuildResult::Success).await;
    ok(store, delete(1)).await;
    assert_eq!(store.garbage(10).await.unwrap(), ["o/B", "o/a", "o/b", "o/c"]);
    assert_eq!(store.garbage(2).await.unwrap(), ["o/B", "o/a"]);
    let keys = vec!["o/a".into(), "none".into(), "o/B".into()];
    assert_eq!(ok(store, Write::ForgetObjects { keys }).await, Answer::Unit);
    assert_eq!(store.garbage(10).await.unwrap(), ["o/b", "o/c"]);
    assert_eq!(ok(store, Write::ForgetObjects { keys: vec![] }).await, Answer::Unit);
}

/// More than one transaction should delete.
pub async fn a_large_build_is_erased_piece_by_piece<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let mut build = start(store, "app", &me).await;
    for _ in 0..10 {
        build.journal(store, &["{}"; 500]).await;
        build.say(store, &"x".repeat(900_000)).await;
    }
    build.finish(store, BuildResult::Success).await;
    let small = built(store, "app", &me, BuildResult::Success).await;
    ok(store, delete(1)).await;
    assert_eq!(store.build_by_id(build.build).await.unwrap(), None);
    assert_eq!(store.log(build.build, 0, 10).await.unwrap(), None);
    let mut pieces = 0;
    while claim(store, Write::Erase).await {
        pieces += 1;
        assert!(pieces < 100, "it comes to an end");
    }
    assert_eq!(store.journal(build.build, 0).await.unwrap(), Vec::<bytes::Bytes>::new());
    assert!(store.build_by_id(small.build).await.unwrap().is_some());
    declined(store, Write::Erase).await;
}

pub async fn a_tally_counts_what_has_ended_also_when_it_is_gone<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    ok(
        store,
        Write::CreateItem {
            name: name("team"),
            kind: crate::ItemKind::Folder,
            disabled: false,
            config: "<x/>".into(),
            at: model::Millis(1),
        },
    )
    .await;
    for job in ["team/other", "app"] {
        pipeline(store, job).await;
    }
    for result in [BuildResult::Success, BuildResult::Success, BuildResult::Aborted, BuildResult::Failure] {
        built(store, "app", &me, result).await;
    }
    ok(store, delete(3)).await;
    let running = start(store, "app", &me).await;
    let all = store.tallies(0, 10).await.unwrap();
    assert_eq!(all.iter().map(|t| t.item.name.as_str()).collect::<Vec<_>>(), ["team/other", "app"]);
    assert_eq!((all[0].ended, all[0].took, all[0].builds, all[0].newest.len()), ([0; 5], 0, 0, 0));
    let app = &all[1];
    assert_eq!((app.ended, app.builds, app.item.running), ([2, 0, 1, 0, 1], 4, 1));
    assert_eq!(app.newest.iter().map(|b| b.number).collect::<Vec<_>>(), [5, 4, 2, 1]);
    assert_eq!((running.number, app.newest[0].ended_at, app.newest[0].log_end), (5, None, 0));
    assert_eq!(app.newest[1].result, Some(BuildResult::Failure));
    let last = store.build(&name("app"), Which::Number(4)).await.unwrap().unwrap();
    let took = |b: &crate::Recent| b.ended_at.unwrap().since(b.started_at).as_millis() as u64;
    assert_eq!(app.newest[1].ended_at, last.ended_at);
    // each takes as long as the next
    assert_eq!(app.took, took(&app.newest[1]) * 4);
    let page = store.tallies(all[0].item.id, 10).await.unwrap();
    assert_eq!(page, all[1..]);
    assert_eq!(store.tallies(0, 1).await.unwrap(), all[..1]);
}
