//! The guard of a build's writes (DESIGN §4.1), held open in one connection while another one acts.

use std::time::Duration;

use home::Home;
use model::{BuildResult, Millis};
use sqlx::Connection;
use store::{Answer, Builds, Effect, Error, Queue, Taken, Write, Writer};
use tempfile::TempDir;

use crate::support::{build, database, job, join, open, sqlite_url, step};

/// Long enough for a write that does not wait to be answered.
const HELD: Duration = Duration::from_millis(300);

/// Some other connection, inside a transaction.
enum Other {
    Sqlite(rusqlite::Connection),
    Postgres(sqlx::PgConnection),
}

impl Other {
    async fn begin(url: &str) -> Other {
        let mut other = match url.strip_prefix("sqlite:") {
            Some(path) => Other::Sqlite(rusqlite::Connection::open(path).unwrap()),
            None => Other::Postgres(sqlx::PgConnection::connect(url).await.unwrap()),
        };
        let begin = if matches!(other, Other::Sqlite(_)) { "BEGIN IMMEDIATE" } else { "BEGIN" };
        other.run(begin).await;
        other
    }

    async fn run(&mut self, sql: &'static str) {
        match self {
            Other::Sqlite(c) => c.execute_batch(sql).unwrap(),
            Other::Postgres(c) => sqlx::query(sql).execute(c).await.map(drop).unwrap(),
        }
    }
}

async fn both(story: impl AsyncFn(Home, &str)) {
    let dir = TempDir::new().unwrap();
    let url = sqlite_url(dir.path());
    story(open(&url).await, &url).await;
    if let Some(url) = database().await {
        story(open(&url).await, &url).await;
    }
}

/// Starts `write`, sees that it waits for `other`, commits that, and gives the answer.
async fn waits(home: &Home, mut other: Other, write: Write) -> store::Result<Answer> {
    let writer = home.clone();
    let mut answer = tokio::spawn(async move { writer.write(write).await });
    tokio::time::timeout(HELD, &mut answer).await.unwrap_err();
    other.run("COMMIT").await;
    answer.await.unwrap()
}

#[tokio::test]
async fn an_adoption_waits_for_an_open_guard_and_sees_its_write() {
    both(async |home, url| {
        let (a, b) = (join(&home, "a").await, join(&home, "b").await);
        let taken = build(&home, &a, "job").await;
        let mut guard = Other::begin(url).await;
        guard.run("UPDATE running SET seq = seq + 1").await;
        let adopt = Write::Adopt { build: taken.build, seen: taken.fence, owner: b };
        let Answer::Adopted(adopted) = waits(&home, guard, adopt).await.unwrap() else { panic!() };
        assert_eq!(adopted.seq, 1);
    })
    .await;
}

#[tokio::test]
async fn a_guard_waits_for_an_open_adoption_and_is_fenced() {
    both(async |home, url| {
        let a = join(&home, "a").await;
        let taken = build(&home, &a, "job").await;
        let mut adoption = Other::begin(url).await;
        adoption.run("UPDATE running SET fence = fence + 1").await;
        let error = waits(&home, adoption, step(&taken, 0, vec![])).await.unwrap_err();
        assert!(matches!(error, Error::Fenced { current: Some(fence) } if fence > taken.fence), "{error}");
        assert!(home.journal(taken.build, 0).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_build_that_is_being_kept_is_not_deleted() {
    both(async |home, url| {
        let a = join(&home, "a").await;
        let taken = build(&home, &a, "job").await;
        let finish = Effect::Finish { result: BuildResult::Success, at: Millis(9), archive: false };
        home.write(step(&taken, 0, vec![finish])).await.unwrap();
        let mut keep = Other::begin(url).await;
        keep.run("UPDATE build SET keep = 1").await;
        let delete = Write::DeleteBuild { job: job("job"), number: 1, build: None };
        let error = waits(&home, keep, delete).await.unwrap_err();
        assert!(matches!(&error, Error::Conflict(why) if why.ends_with("is to be kept")), "{error}");
        assert!(home.build_by_id(taken.build).await.unwrap().is_some());
    })
    .await;
}

/// A build that waits for an executor, and another process that is giving it one.
async fn granting(home: &Home, url: &str) -> (Taken, Other) {
    let a = join(home, "a").await;
    let taken = build(home, &a, "job").await;
    let wait = Effect::WaitNode { step: "1".to_owned(), label: None, since: Millis(4) };
    home.write(step(&taken, 0, vec![wait])).await.unwrap();
    let mut grant = Other::begin(url).await;
    grant.run("INSERT INTO busy (node, slot, build, step) SELECT 'linux', 0, build, step FROM wait").await;
    grant
        .run(
            "INSERT INTO inbox (build, row_key, body, consumed) SELECT build, 'granted:1', '{}', 0 FROM wait",
        )
        .await;
    grant.run("DELETE FROM wait").await;
    (taken, grant)
}

#[tokio::test]
async fn an_executor_that_is_being_given_to_a_build_is_free_when_the_build_has_ended() {
    both(async |home, url| {
        let (taken, grant) = granting(&home, url).await;
        let finish = Effect::Finish { result: BuildResult::Aborted, at: Millis(9), archive: false };
        waits(&home, grant, step(&taken, 1, vec![finish])).await.unwrap();
        assert!(home.slots().await.unwrap().is_empty());
        assert!(home.inbox(taken.build).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_executor_that_is_being_given_to_a_step_is_free_when_the_step_waits_no_more() {
    both(async |home, url| {
        let (taken, grant) = granting(&home, url).await;
        let step_text = || "1".to_owned();
        let effects =
            vec![Effect::CancelWait { step: step_text() }, Effect::ReleaseExecutor { step: step_text() }];
        waits(&home, grant, step(&taken, 1, effects)).await.unwrap();
        assert!(home.slots().await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_build_that_is_being_kept_ends_and_is_kept() {
    both(async |home, url| {
        let a = join(&home, "a").await;
        let taken = build(&home, &a, "job").await;
        let mut keep = Other::begin(url).await;
        keep.run("UPDATE build SET keep = 1").await;
        let finish = Effect::Finish { result: BuildResult::Success, at: Millis(9), archive: true };
        waits(&home, keep, step(&taken, 0, vec![finish])).await.unwrap();
        let build = home.build_by_id(taken.build).await.unwrap().unwrap();
        assert_eq!((build.keep, build.result, build.log_end), (true, Some(BuildResult::Success), 10));
        assert_eq!(home.to_archive(None, 9).await.unwrap(), [taken.build]);
        assert!(home.running(None).await.unwrap().is_empty());
    })
    .await;
}
