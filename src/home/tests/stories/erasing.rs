//! What deleted builds and archived logs have left goes, whoever else is at it.

use bytes::Bytes;
use futures_util::future::join_all;
use home::Home;
use model::{BuildResult, Millis};
use sqlx::Connection;
use store::{Answer, ArchivedLog, Builds, Chunk, Effect, Progress, Store, Taken, Write, Writer};
use tempfile::TempDir;

use crate::support::{build, database, job, join, open, sqlite_url};

/// Writes of a build.
const WRITES: i64 = 24;

/// Some MB, which are erased in several pieces, and so many chunks that they are as well.
async fn print_much(home: &Home, taken: &Taken) {
    let empty = |seq, log_end| Progress {
        build: taken.build,
        owner: taken.owner,
        fence: taken.fence,
        seq,
        first_record: seq,
        records: Vec::new(),
        chunks: Vec::new(),
        log_end,
        effects: Vec::new(),
    };
    let mut end = 0;
    for seq in 0..WRITES {
        let mut progress = empty(seq, end);
        progress.records = vec![Bytes::from_static(b"r")];
        let (size, count) = if seq % 2 == 0 { (900_000, 1) } else { (10, 1_000) };
        for _ in 0..count {
            let bytes = Bytes::from(vec![b'x'; size]);
            let raw = (end, end + size as u64);
            progress.chunks.push(Chunk::new(end, "1".to_owned(), raw, Millis(1), bytes));
            end = raw.1;
        }
        progress.log_end = end;
        home.write(Write::Progress(Box::new(progress))).await.unwrap();
    }
    let (result, at) = (BuildResult::Success, Millis(9));
    let effects = vec![Effect::Finish { result, at, archive: true }];
    home.write(Write::Progress(Box::new(Progress { effects, ..empty(WRITES, end) }))).await.unwrap();
}

/// An object that may stand for the log of a build.
async fn object(home: &Home, taken: &Taken) -> ArchivedLog {
    let object = format!("{}/1.gz", store::archive::prefix(taken.build));
    home.objects().put(&object, Bytes::from_static(b"0123456789")).await.unwrap();
    ArchivedLog { object, directory: 0, size: 10 }
}

/// One build is deleted, another one's log is archived, and all erase at once. → the two
async fn erase_at_once(homes: &[Home]) -> (Taken, Taken) {
    let me = join(&homes[0], "r-0").await;
    let (deleted, archived) = (build(&homes[0], &me, "a").await, build(&homes[0], &me, "b").await);
    for taken in [&deleted, &archived] {
        print_much(&homes[0], taken).await;
    }
    let log = object(&homes[0], &archived).await;
    let named = homes[0].write(Write::LogArchived { build: archived.build, log }).await;
    assert_eq!(named, Ok(Answer::Bool(true)));
    homes[0].write(Write::DeleteBuild { job: job("a"), number: 1, build: None }).await.unwrap();
    let pieces = join_all(homes.iter().map(|home| async {
        let mut pieces = 0;
        while home.write(Write::Erase).await.unwrap() == Answer::Bool(true) {
            pieces += 1;
            assert!(pieces < 1_000, "it comes to an end");
        }
        pieces
    }))
    .await;
    // one that finds nothing free may have ended before the other
    assert!(pieces.iter().sum::<u32>() >= 5, "{pieces:?}");
    assert!(homes[0].build_by_id(archived.build).await.unwrap().is_some());
    (deleted, archived)
}

#[tokio::test(flavor = "multi_thread")]
async fn erased_by_two_at_once_nothing_is_left_on_postgres() {
    let Some(url) = database().await else { return };
    let homes: Vec<Home> = join_all((0..2).map(|_| open(&url))).await;
    let (deleted, archived) = erase_at_once(&homes).await;
    join_all(homes.iter().map(Home::close)).await;
    let mut conn = sqlx::PgConnection::connect(&url).await.unwrap();
    for (sql, wanted) in [
        ("SELECT COUNT(*) FROM log", 0),
        ("SELECT COUNT(*) FROM erased", 0),
        ("SELECT COUNT(*) FROM archive WHERE has_rows = 1", 0),
        ("SELECT COUNT(*) FROM archive WHERE has_rows = 0", 1),
    ] {
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
        assert_eq!(count, wanted, "{sql}");
    }
    for (build, wanted) in [(deleted.build, 0), (archived.build, WRITES)] {
        let sql = "SELECT COUNT(*) FROM journal WHERE build = $1";
        let count: i64 = sqlx::query_scalar(sql).bind(build.0).fetch_one(&mut conn).await.unwrap();
        assert_eq!(count, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn erased_by_two_at_once_nothing_is_left_on_sqlite() {
    let dir = TempDir::new().unwrap();
    let url = sqlite_url(dir.path());
    let homes = [open(&url).await, open(&url).await];
    erase_at_once(&homes).await;
    join_all(homes.iter().map(Home::close)).await;
    let conn = rusqlite::Connection::open(dir.path().join("home.db")).unwrap();
    for (table, wanted) in [("log", 0), ("erased", 0), ("archive WHERE has_rows = 1", 0), ("journal", WRITES)]
    {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        let count: i64 = conn.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(count, wanted, "{table}");
    }
}

#[tokio::test]
async fn an_object_that_the_database_does_not_have_is_not_named() {
    let Some(url) = database().await else { return };
    let home = open(&url).await;
    let me = join(&home, "r-0").await;
    let taken = build(&home, &me, "a").await;
    print_much(&home, &taken).await;
    let log = object(&home, &taken).await;
    // as after a fail-over that has lost it
    home.objects().delete(&log.object).await.unwrap();
    let write = Write::LogArchived { build: taken.build, log: log.clone() };
    assert_eq!(home.write(write.clone()).await, Ok(Answer::Bool(false)));
    assert_eq!(home.to_archive(None, 10).await.unwrap(), [taken.build]);
    object(&home, &taken).await;
    assert_eq!(home.write(write).await, Ok(Answer::Bool(true)));
}
