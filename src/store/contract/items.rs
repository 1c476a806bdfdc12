//! Jobs and folders.

use model::{BuildResult, Millis};

use super::support::*;
use crate::{Answer, Busy, Effect, Item, ItemKind, ItemSummary, JobCounts, Left, Store, Which, Write};

async fn summary<S: Store>(store: &S, item: &str) -> ItemSummary {
    store.item(&name(item)).await.unwrap().unwrap().summary
}

async fn short_names<S: Store>(
    store: &S,
    parent: Option<&str>,
    after: Option<&str>,
    limit: u32,
) -> Vec<String> {
    let (parent, after) = (parent.map(name), after.map(name));
    let found = store.children(parent.as_ref(), after.as_ref(), limit).await.unwrap();
    found.into_iter().map(|i| i.name.short().to_owned()).collect()
}

pub async fn an_item_is_created_and_read<S: Store>(store: &S) {
    let Answer::Id(id) = ok(store, create("Team", ItemKind::Folder)).await else { panic!() };
    let Answer::Id(inner) = ok(store, create("Team/App", ItemKind::Pipeline)).await else { panic!() };
    assert_ne!(id, inner);
    let expected = ItemSummary {
        id: inner,
        name: name("Team/App"),
        kind: ItemKind::Pipeline,
        disabled: false,
        next_build: 1,
        running: 0,
        last_result: None,
        version: 1,
    };
    let item = store.item(&name("Team/App")).await.unwrap();
    assert_eq!(item, Some(Item { summary: expected.clone(), config: "<Team/App/>".into() }));
    assert_eq!(store.children(Some(&name("Team")), None, 10).await.unwrap(), [expected]);
    assert_eq!(summary(store, "Team").await.kind, ItemKind::Folder);
    assert_eq!(store.item(&name("team/app")).await.unwrap(), None, "names are looked up as they were given");
}

pub async fn a_name_is_unique_whatever_its_case<S: Store>(store: &S) {
    pipeline(store, "Größe").await;
    refused(store, create("Größe", ItemKind::Pipeline), "Exists").await;
    refused(store, create("GRÖßE", ItemKind::Folder), "Exists").await;
    folder(store, "f").await;
    pipeline(store, "f/größe").await;
    refused(store, create("f/Größe", ItemKind::Pipeline), "Exists").await;
    pipeline(store, "größe2").await;
}

pub async fn an_item_needs_its_folder<S: Store>(store: &S) {
    refused(store, create("none/app", ItemKind::Pipeline), "NotFound").await;
    pipeline(store, "app").await;
    refused(store, create("app/inner", ItemKind::Pipeline), "NotFound").await;
    folder(store, "f").await;
    refused(store, create("F/app", ItemKind::Pipeline), "NotFound").await;
    refused(store, create("f/none/app", ItemKind::Pipeline), "NotFound").await;
    folder(store, "f/g").await;
    pipeline(store, "f/g/app").await;
}

pub async fn configuring_raises_the_version<S: Store>(store: &S) {
    pipeline(store, "app").await;
    let queued = enqueue(store, want("app")).await;
    for (version, disabled) in [(2, true), (3, false)] {
        let config = format!("<v{version}/>");
        let write = Write::ConfigureItem { name: name("app"), config: config.clone(), disabled };
        assert_eq!(ok(store, write).await, Answer::Unit);
        let item = store.item(&name("app")).await.unwrap().unwrap();
        assert_eq!((item.summary.version, item.summary.disabled, item.config), (version, disabled, config));
    }
    assert!(store.queue_item(queued).await.unwrap().unwrap().waiting());
}

pub async fn what_does_not_exist_is_not_configured<S: Store>(store: &S) {
    pipeline(store, "app").await;
    for none in ["none", "APP", "app/x"] {
        let write = Write::ConfigureItem { name: name(none), config: "<x/>".into(), disabled: false };
        refused(store, write, "NotFound").await;
    }
}

pub async fn children_are_direct_and_in_order<S: Store>(store: &S) {
    for item in ["b", "B2", "a", "Z", "a-b", "ä"] {
        folder(store, item).await;
    }
    for item in ["a/two", "a/One", "a-b/x", "b/a"] {
        pipeline(store, item).await;
    }
    assert_eq!(short_names(store, None, None, 100).await, ["a", "a-b", "b", "B2", "Z", "ä"]);
    assert_eq!(short_names(store, Some("a"), None, 100).await, ["One", "two"]);
    assert!(short_names(store, Some("a/two"), None, 100).await.is_empty());
    assert!(short_names(store, Some("none"), None, 100).await.is_empty());
}

pub async fn children_come_in_pages<S: Store>(store: &S) {
    folder(store, "f").await;
    for item in ["f/e", "f/A", "f/c", "f/B", "f/d", "g"] {
        pipeline(store, item).await;
    }
    assert_eq!(short_names(store, Some("f"), None, 2).await, ["A", "B"]);
    assert_eq!(short_names(store, Some("f"), Some("f/B"), 2).await, ["c", "d"]);
    assert_eq!(short_names(store, Some("f"), Some("f/b-none"), 2).await, ["c", "d"]);
    assert_eq!(short_names(store, Some("f"), Some("f/d"), 2).await, ["e"]);
    assert!(short_names(store, Some("f"), Some("f/e"), 2).await.is_empty());
    assert!(short_names(store, Some("f"), None, 0).await.is_empty());
    assert_eq!(short_names(store, None, Some("f"), 2).await, ["g"]);
}

pub async fn jobs_are_counted_in_all_folders<S: Store>(store: &S) {
    assert_eq!(store.job_counts().await.unwrap(), JobCounts::default());
    folder(store, "f").await;
    for item in ["a", "f/a", "f/b"] {
        pipeline(store, item).await;
    }
    assert_eq!(store.job_counts().await.unwrap(), JobCounts { enabled: 3, disabled: 0 });
    ok(store, Write::ConfigureItem { name: name("f/a"), config: "<x/>".into(), disabled: true }).await;
    assert_eq!(store.job_counts().await.unwrap(), JobCounts { enabled: 2, disabled: 1 });
}

pub async fn a_folder_is_deleted_with_all_in_it<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    for item in ["f", "f/g", "f2", "F-x"] {
        folder(store, item).await;
    }
    for item in ["f/app", "f/g/app", "f2/app", "fa"] {
        pipeline(store, item).await;
    }
    let gone = built(store, "f/g/app", &me, BuildResult::Success).await;
    let stays = built(store, "f2/app", &me, BuildResult::Success).await;
    assert_eq!(ok(store, Write::DeleteItem { name: name("f") }).await, Answer::Objects(vec![]));
    assert_eq!(short_names(store, None, None, 10).await, ["F-x", "f2", "fa"]);
    for none in ["f", "f/g", "f/app", "f/g/app"] {
        assert_eq!(store.item(&name(none)).await.unwrap(), None);
    }
    assert_eq!(store.build_by_id(gone.build).await.unwrap(), None);
    assert_eq!(store.log(gone.build, 0, 10).await.unwrap(), None);
    assert!(store.build_by_id(stays.build).await.unwrap().is_some());
}

pub async fn an_item_is_not_deleted_while_a_build_runs<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    folder(store, "f").await;
    folder(store, "f/g").await;
    pipeline(store, "f/g/app").await;
    pipeline(store, "f/idle").await;
    let mut build = start(store, "f/g/app", &me).await;
    for busy in ["f", "f/g", "f/g/app"] {
        refused(store, Write::DeleteItem { name: name(busy) }, "Conflict").await;
    }
    ok(store, Write::DeleteItem { name: name("f/idle") }).await;
    build.finish(store, BuildResult::Success).await;
    ok(store, Write::DeleteItem { name: name("f") }).await;
}

pub async fn what_does_not_exist_is_not_deleted<S: Store>(store: &S) {
    pipeline(store, "app").await;
    refused(store, Write::DeleteItem { name: name("App") }, "NotFound").await;
    refused(store, Write::DeleteItem { name: name("none") }, "NotFound").await;
}

pub async fn deleting_an_item_gives_its_objects<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    folder(store, "f").await;
    for (item, key) in [("f/b", "o/2"), ("f/a", "o/1"), ("other", "o/3")] {
        pipeline(store, item).await;
        let mut build = start(store, item, &me).await;
        build.effects(store, [Effect::Artifact { path: "x".into(), size: 1, object: key.into() }]).await;
        build.finish(store, BuildResult::Success).await;
        ok(store, Write::KeepBuild { job: name(item), number: 1, keep: true }).await;
    }
    let answer = ok(store, Write::DeleteItem { name: name("f") }).await;
    assert_eq!(answer, Answer::Objects(vec!["o/1".into(), "o/2".into()]));
    assert_eq!(store.garbage(10).await.unwrap(), ["o/1", "o/2"]);
}

pub async fn deleting_an_item_empties_its_queue<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    pipeline(store, "other").await;
    built(store, "app", &me, BuildResult::Success).await;
    let left = store.build(&name("app"), Which::Last).await.unwrap().unwrap().queue_id;
    let gone = enqueue(store, want("app")).await;
    let stays = enqueue(store, want("other")).await;
    ok(store, Write::DeleteItem { name: name("app") }).await;
    assert_eq!(store.queue_item(gone).await.unwrap(), None);
    assert_eq!(store.queue_item(left).await.unwrap(), None);
    let waiting: Vec<_> = store.queue().await.unwrap().into_iter().map(|q| q.id).collect();
    assert_eq!(waiting, [stays]);
    refused(store, take(gone, &me), "NotFound").await;
}

pub async fn an_item_made_again_begins_anew<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let old = summary(store, "app").await;
    let first = built(store, "app", &me, BuildResult::Failure).await;
    ok(store, Write::DeleteItem { name: name("app") }).await;
    pipeline(store, "APP").await;
    let new = summary(store, "APP").await;
    assert!(new.id > old.id);
    assert_eq!((new.next_build, new.last_result, new.version), (1, None, 1));
    let second = built(store, "APP", &me, BuildResult::Success).await;
    assert!(second.build > first.build);
    assert_eq!(second.number, 1);
    let build = store.build_by_id(second.build).await.unwrap().unwrap();
    assert_eq!(build.ended_at, Some(Millis(8_000)));
}

fn rename(item: &str, to: &str) -> Write {
    Write::RenameItem { name: name(item), to: name(to) }
}

pub async fn a_renamed_job_keeps_all_that_it_has<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let ended = built(store, "app", &me, BuildResult::Unstable).await;
    let left = store.build_by_id(ended.build).await.unwrap().unwrap().queue_id;
    let waits = enqueue(store, want("app")).await;
    let before = store.item(&name("app")).await.unwrap().unwrap();
    assert_eq!(ok(store, rename("app", "web")).await, Answer::Unit);
    assert_eq!(store.item(&name("app")).await.unwrap(), None);
    let after = store.item(&name("web")).await.unwrap().unwrap();
    assert_eq!(after, Item { summary: ItemSummary { name: name("web"), ..before.summary }, ..before });
    let builds = store.builds(&name("web"), None, 10).await.unwrap();
    assert_eq!(builds.iter().map(|b| (b.id, b.job.as_str())).collect::<Vec<_>>(), [(ended.build, "web")]);
    for (id, went) in [(left, Some(Left::Built { number: 1 })), (waits, None)] {
        let queued = store.queue_item(id).await.unwrap().unwrap();
        assert_eq!((queued.job.as_str(), queued.left), ("web", went));
    }
    // what waits is folded into under the new name only, and the old one is free
    let again = ok(store, Write::Enqueue(want("web"))).await;
    assert_eq!(again, Answer::Queued { id: waits, existing: true });
    refused(store, Write::Enqueue(want("app")), "NotFound").await;
    pipeline(store, "app").await;
    assert_ne!(enqueue(store, want("app")).await, waits);
    assert_eq!(start(store, "web", &me).await.number, 2);
    assert_eq!(start(store, "app", &me).await.number, 1);
}

pub async fn a_build_that_runs_goes_on_under_the_new_name<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    linked_node(store, "mac", 1, &me).await;
    pipeline(store, "app").await;
    let mut build = start(store, "app", &me).await;
    let wait = |step: &str| Effect::WaitNode { step: step.into(), label: None, since: Millis(1) };
    build.effects(store, [wait("1"), wait("2")]).await;
    let granted = store.waits().await.unwrap().remove(0);
    ok(store, Write::Grant { wait: granted.id, node: node_name("mac"), slot: 0, body: "{}".into() }).await;
    ok(store, rename("app", "web")).await;
    let running = store.running(None).await.unwrap().remove(0);
    assert_eq!((running.job.as_str(), running.fence, running.seq), ("web", build.fence, build.seq));
    assert_eq!(store.waits().await.unwrap().remove(0).job, name("web"));
    let busy: Vec<Busy> = store.busy().await.unwrap();
    assert_eq!((busy[0].job.as_str(), busy[0].build), ("web", build.build));
    refused(store, Write::DeleteItem { name: name("web") }, "Conflict").await;
    build.say(store, "still here\n").await;
    build.finish(store, BuildResult::Failure).await;
    let after = summary(store, "web").await;
    assert_eq!((after.running, after.last_result), (0, Some(BuildResult::Failure)));
    assert!(!store.build(&name("web"), Which::Last).await.unwrap().unwrap().building());
}

pub async fn a_renamed_folder_keeps_all_that_is_in_it<S: Store>(store: &S) {
    let me = join(store, "r-0").await;
    for item in ["team", "team/f", "team/f/g", "team/f2", "team/F-x"] {
        folder(store, item).await;
    }
    for item in ["team/f/Größe", "team/f/g/app", "team/f2/app", "team/fa"] {
        pipeline(store, item).await;
    }
    let inside = start(store, "team/f/g/app", &me).await;
    let beside = start(store, "team/f2/app", &me).await;
    ok(store, rename("team/f", "team/Übung")).await;
    assert_eq!(short_names(store, Some("team"), None, 10).await, ["F-x", "f2", "fa", "Übung"]);
    assert_eq!(short_names(store, Some("team/Übung"), None, 10).await, ["g", "Größe"]);
    for none in ["team/f", "team/f/g", "team/f/g/app", "team/übung"] {
        assert_eq!(store.item(&name(none)).await.unwrap(), None, "{none}");
    }
    for (build, job) in [(inside.build, "team/Übung/g/app"), (beside.build, "team/f2/app")] {
        assert_eq!(store.build_by_id(build).await.unwrap().unwrap().job, name(job));
        assert_eq!(store.build(&name(job), Which::Last).await.unwrap().unwrap().id, build);
    }
    refused(store, create("team/ÜBUNG/G", ItemKind::Folder), "NotFound").await;
    refused(store, create("team/Übung/größe", ItemKind::Pipeline), "Exists").await;
    pipeline(store, "team/Übung/g/new").await;
}

pub async fn a_name_that_is_taken_is_not_given<S: Store>(store: &S) {
    pipeline(store, "app").await;
    folder(store, "Taken").await;
    for taken in ["Taken", "TAKEN", "app"] {
        refused(store, rename("app", taken), "Exists").await;
    }
    // its own name in another case is free
    ok(store, rename("app", "App")).await;
    assert_eq!(short_names(store, None, None, 10).await, ["App", "Taken"]);
    refused(store, rename("app", "new"), "NotFound").await;
    refused(store, rename("none", "new"), "NotFound").await;
}

pub async fn an_item_is_renamed_in_its_folder_only<S: Store>(store: &S) {
    folder(store, "f").await;
    pipeline(store, "f/app").await;
    pipeline(store, "app").await;
    for (item, to) in [("app", "f/new"), ("f/app", "new"), ("f", "f/f")] {
        refused(store, rename(item, to), "Conflict").await;
    }
    // so long a name is one, but not with what is in the folder
    let long = "x".repeat(200);
    let mut deep = String::from("g");
    for _ in 0..9 {
        folder(store, &deep).await;
        deep = format!("{deep}/{long}");
    }
    folder(store, &deep).await;
    refused(store, rename("g", &long), "Conflict").await;
    ok(store, rename("g", &"x".repeat(190))).await;
}
