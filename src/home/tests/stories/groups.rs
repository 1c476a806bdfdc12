//! Groups: what becomes of the others when one of them cannot be applied.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use home::Home;
use model::{BuildId, JobName};
use sqlx::Connection;
use store::{
    Answer, ArchivedLog, Builds, Effect, Error, ItemKind, Items, Queue, Store, Taken, Write, Writer,
};
use tempfile::TempDir;

use crate::support::{build, create, database, enqueue, job, join, open, server_said, sqlite_url, step};

/// The engine itself refuses to keep an item of the name `poison`.
fn poison_sqlite(path: &std::path::Path) {
    let conn = rusqlite::Connection::open(path.join("home.db")).unwrap();
    let trigger = "CREATE TRIGGER poison BEFORE INSERT ON item WHEN NEW.name = 'poison' \
                   BEGIN SELECT RAISE(ABORT, 'poisoned'); END";
    conn.execute_batch(trigger).unwrap();
}

async fn poison_postgres(url: &str) {
    let mut conn = sqlx::PgConnection::connect(url).await.unwrap();
    let check = "ALTER TABLE item ADD CONSTRAINT poison CHECK (name <> 'poison')";
    sqlx::query(check).execute(&mut conn).await.unwrap();
}

async fn companions_of_a_poisoned_write_are_kept(home: Home) {
    let mut names: Vec<String> = (0..40).map(|n| format!("job-{n:02}")).collect();
    names.insert(20, "poison".to_owned());
    let answers = join_all(names.iter().map(|name| home.write(create(name)))).await;
    for (name, answer) in names.iter().zip(answers) {
        match answer {
            Ok(_) => assert_ne!(name, "poison"),
            Err(error) => assert_eq!((name.as_str(), error.reason()), ("poison", "Unavailable")),
        }
    }
    assert_eq!(home.children(None, None, 100).await.unwrap().len(), 40);
}

#[tokio::test]
async fn companions_of_a_poisoned_write_are_kept_by_sqlite() {
    let dir = TempDir::new().unwrap();
    let home = open(&sqlite_url(dir.path())).await;
    poison_sqlite(dir.path());
    companions_of_a_poisoned_write_are_kept(home).await;
}

#[tokio::test]
async fn companions_of_a_poisoned_write_are_kept_by_postgres() {
    let Some(url) = database().await else { return };
    let home = open(&url).await;
    poison_postgres(&url).await;
    companions_of_a_poisoned_write_are_kept(home).await;
}

async fn a_fenced_write_is_skipped_and_its_companions_commit(home: Home) {
    let me = join(&home, "a").await;
    let mut writes = Vec::new();
    for n in 0..20 {
        let mut taken = build(&home, &me, &format!("job-{n}")).await;
        if n % 3 == 0 {
            taken.fence = taken.fence.next(9);
        }
        writes.push((n % 3 == 0, step(&taken, 0, vec![])));
    }
    let before = home.stats();
    let answers = join_all(writes.iter().map(|(_, write)| home.write(write.clone()))).await;
    for ((fenced, _), answer) in writes.iter().zip(answers) {
        assert_eq!(answer.is_err(), *fenced, "{answer:?}");
    }
    let after = home.stats();
    assert!(after.commits - before.commits < 20, "they were committed in groups");
    assert_eq!(after.retries, before.retries);
}

#[tokio::test]
async fn a_fenced_write_is_skipped_and_its_companions_commit_on_both() {
    let dir = TempDir::new().unwrap();
    a_fenced_write_is_skipped_and_its_companions_commit(open(&sqlite_url(dir.path())).await).await;
    if let Some(url) = database().await {
        a_fenced_write_is_skipped_and_its_companions_commit(open(&url).await).await;
    }
}

async fn writes_of_one_build_keep_their_order(home: Home) {
    let me = join(&home, "a").await;
    let taken = build(&home, &me, "job").await;
    // Queued at once, so they meet in groups; any other order would be fenced.
    let answers = join_all((0..200).map(|n| home.write(step(&taken, n, vec![])))).await;
    assert!(answers.iter().all(|a| *a == Ok(Answer::Unit)), "{answers:?}");
    assert_eq!(home.journal(taken.build, 0).await.unwrap().len(), 200);
}

#[tokio::test]
async fn writes_of_one_build_keep_their_order_on_both() {
    let dir = TempDir::new().unwrap();
    writes_of_one_build_keep_their_order(open(&sqlite_url(dir.path())).await).await;
    if let Some(url) = database().await {
        writes_of_one_build_keep_their_order(open(&url).await).await;
    }
}

/// Three processes' writers on the same few rows: who gets in whose way is retried, and each row is decided once.
async fn several_writers_decide_each_row_once(homes: Vec<Home>) {
    let mut members = Vec::new();
    for (n, home) in homes.iter().enumerate() {
        members.push(join(home, &format!("r-{n}")).await);
    }
    for n in 0..5 {
        homes[0].write(create(&format!("job-{n}"))).await.unwrap();
    }
    for _ in 0..20 {
        // Each enqueues the same five, which fold; then each tries to take each.
        let queued = join_all(homes.iter().flat_map(|home| {
            (0..5).map(move |n| async move { home.write(enqueue(&format!("job-{n}"))).await.unwrap() })
        }))
        .await;
        let ids: BTreeSet<_> = queued
            .into_iter()
            .map(|answer| if let Answer::Queued { id, .. } = answer { id.0 } else { panic!("{answer:?}") })
            .collect();
        assert_eq!(ids.len(), 5, "equal items fold");
        let taken = join_all(homes.iter().zip(&members).flat_map(|(home, me)| {
            ids.iter().map(move |id| {
                let id = model::QueueId(*id);
                let take = Write::TakeBuild {
                    id,
                    owner: me.clone(),
                    exclusive: false,
                    behaviour: 1,
                    at: model::Millis(3),
                    executor: None,
                };
                async move { home.write(take).await }
            })
        }))
        .await;
        let won = taken.iter().filter(|a| a.is_ok()).count();
        assert_eq!(won, 5, "{taken:?}");
        assert!(taken.iter().all(|a| matches!(a, Ok(_) | Err(Error::NotFound(_)))), "{taken:?}");
    }
    let summary = homes[0].item(&job("job-0")).await.unwrap().unwrap().summary;
    assert_eq!((summary.next_build, summary.running), (21, 20));
    assert!(homes[0].queue().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_writers_decide_each_row_once_on_both() {
    let dir = TempDir::new().unwrap();
    let url = sqlite_url(dir.path());
    several_writers_decide_each_row_once(join_all((0..3).map(|_| open(&url))).await).await;
    if let Some(url) = database().await {
        several_writers_decide_each_row_once(join_all((0..3).map(|_| open(&url))).await).await;
    }
}

/// Three processes want the same name for different items, and one puts an item into a folder that another renames.
async fn several_writers_give_a_name_once(homes: Vec<Home>) {
    let rename = |from: &str, to: &str| Write::RenameItem { name: job(from), to: job(to) };
    for n in 0..20 {
        let (a, b, wanted) = (format!("a-{n}"), format!("b-{n}"), format!("wanted-{n}"));
        for name in [&a, &b] {
            homes[0].write(create(name)).await.unwrap();
        }
        let writes = [rename(&a, &wanted), rename(&b, &wanted.to_uppercase()), create(&wanted)];
        let answers = join_all(homes.iter().zip(writes).map(|(home, write)| home.write(write))).await;
        assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 1, "{answers:?}");
        assert!(answers.iter().all(|a| matches!(a, Ok(_) | Err(Error::Exists(_)))), "{answers:?}");

        let (old, new) = (format!("old-{n}"), format!("new-{n}"));
        let folder = Write::CreateItem {
            name: job(&old),
            kind: ItemKind::Folder,
            config: String::new(),
            disabled: false,
            at: model::Millis(1),
        };
        homes[0].write(folder).await.unwrap();
        let writes = [create(&format!("{old}/x")), rename(&old, &new), create(&format!("{old}/y"))];
        let answers = join_all(homes.iter().zip(writes).map(|(home, write)| home.write(write))).await;
        assert!(answers[1].is_ok(), "{answers:?}");
        for (inside, answer) in [("x", &answers[0]), ("y", &answers[2])] {
            assert!(matches!(answer, Ok(_) | Err(Error::NotFound(_))), "{answers:?}");
            let there = homes[0].item(&job(&format!("{new}/{inside}"))).await.unwrap();
            assert_eq!(there.is_some(), answer.is_ok(), "{answers:?}");
            assert_eq!(homes[0].item(&job(&format!("{old}/{inside}"))).await.unwrap(), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_writers_give_a_name_once_on_both() {
    let dir = TempDir::new().unwrap();
    let url = sqlite_url(dir.path());
    several_writers_give_a_name_once(join_all((0..3).map(|_| open(&url))).await).await;
    if let Some(url) = database().await {
        several_writers_give_a_name_once(join_all((0..3).map(|_| open(&url))).await).await;
    }
}

/// All that replicas do to the rows of the same few jobs, at once: builds end, are deleted and are taken, equal items fold,
/// names change. Nobody waits for somebody who waits for him.
async fn nobody_waits_in_a_circle(homes: &[Home]) {
    let mut names: Vec<String> = (0..4).map(|n| format!("job-{n}")).collect();
    let mut members = Vec::new();
    for (n, home) in homes.iter().enumerate() {
        members.push(join(home, &format!("r-{n}")).await);
    }
    for name in &names {
        homes[0].write(create(name)).await.unwrap();
    }
    let (home_of, mut running) = (|n: usize| &homes[n % homes.len()], Vec::<Taken>::new());
    let mut ended = Vec::new();
    for round in 0..40 {
        let queued = join_all(names.iter().map(|name| homes[0].write(enqueue(name)))).await;
        let ids = queued
            .into_iter()
            .map(|a| if let Ok(Answer::Queued { id, .. }) = a { id } else { panic!("{a:?}") });
        let take = |id| Write::TakeBuild {
            id,
            owner: members[round % members.len()].clone(),
            exclusive: false,
            behaviour: 1,
            at: model::Millis(3),
            executor: None,
        };
        let takes = ids.map(|id| (round, take(id)));
        let folds = names.iter().enumerate().map(|(n, name)| (round + 1 + n, enqueue(name)));
        let result = model::BuildResult::Success;
        let finish = |taken: &Taken| {
            step(taken, 0, vec![Effect::Finish { result, at: model::Millis(9), archive: true }])
        };
        let ends = running.iter().enumerate().map(|(n, taken)| (n, finish(taken)));
        let old: Vec<(JobName, u64, BuildId)> = std::mem::take(&mut ended);
        let archive = |build: BuildId| {
            let object = format!("{}/1.gz", store::archive::prefix(build));
            Write::LogArchived { build, log: ArchivedLog { object, directory: 0, size: 1 } }
        };
        for (_, _, build) in &old {
            let key = format!("{}/1.gz", store::archive::prefix(*build));
            homes[0].objects().put(&key, bytes::Bytes::from_static(b"x")).await.unwrap();
        }
        let archives: Vec<_> = old.iter().enumerate().map(|(n, old)| (n + 2, archive(old.2))).collect();
        let delete = |(job, number, _)| Write::DeleteBuild { job, number, build: None };
        let deletes = old.into_iter().enumerate().map(|(n, old)| (n + 1, delete(old)));
        let erases = (0..homes.len()).map(|n| (n, Write::Erase));
        let name = job(&names[round % names.len()]);
        let swapped = if round % 8 < 4 { name.as_str().to_uppercase() } else { name.as_str().to_lowercase() };
        let rename = [(round, Write::RenameItem { to: job(&swapped), name })];
        // One that is deleted while it is being taken.
        let gone = format!("gone-{round}");
        homes[0].write(create(&gone)).await.unwrap();
        let Ok(Answer::Queued { id, .. }) = homes[0].write(enqueue(&gone)).await else { panic!() };
        let going = [(round, take(id)), (round + 1, Write::DeleteItem { name: job(&gone) })];
        let all = takes.chain(ends).chain(folds).chain(archives).chain(deletes).chain(erases);
        let all: Vec<_> = all.chain(rename).chain(going).collect();
        let answers =
            join_all(all.into_iter().map(|(n, write)| async move { home_of(n).write(write).await })).await;
        for answer in &answers {
            assert!(
                !matches!(answer, Err(Error::Unavailable(_) | Error::Unknown(_) | Error::Corrupt(_))),
                "{answer:?}"
            );
        }
        let taken = answers
            .into_iter()
            .filter_map(|a| if let Ok(Answer::Taken(taken)) = a { Some(taken) } else { None });
        running = taken.collect();
        names[round % 4] = swapped;
        for name in &names {
            let builds = homes[0].builds(&job(name), None, 100).await.unwrap();
            ended.extend(builds.iter().filter(|b| !b.building()).map(|b| (b.job.clone(), b.number, b.id)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_in_a_circle_on_postgres() {
    let Some(url) = database().await else { return };
    let homes: Vec<Home> = join_all((0..3).map(|_| open(&url))).await;
    nobody_waits_in_a_circle(&homes).await;
    join_all(homes.iter().map(Home::close)).await;
    let mut conn = sqlx::PgConnection::connect(&url).await.unwrap();
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let circles: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
    assert_eq!(circles, 0, "{}", server_said());
}
