//! The end of builds: all that end in one batch share their statements.

use model::{BuildId, BuildResult, Millis};

use super::late::Late;
use crate::db::{Arg, Conn};

/// A build that has ended.
pub(super) struct Ended {
    pub(super) build: BuildId,
    pub(super) result: BuildResult,
    pub(super) at: Millis,
    pub(super) log_end: i64,
    pub(super) archive: bool,
}

/// Waits go before executors: a `Grant` of another process that is not committed yet then finds no wait (it undoes
/// itself), or its executor is seen by the statement after.
const FORGET: [&str; 6] = [
    "DELETE FROM wait WHERE build IN",
    "DELETE FROM busy WHERE build IN",
    "DELETE FROM inbox WHERE build IN",
    "DELETE FROM raw WHERE build IN",
    "DELETE FROM stash WHERE build IN",
    "DELETE FROM running WHERE build IN",
];

pub(super) async fn batch(conn: &mut Conn, ended: &[Ended], late: &mut Late<'_>) -> sqlx::Result<()> {
    if ended.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::with_capacity(ended.len() * 4);
    for end in ended {
        rows.extend([Arg::from(end.build), Arg::from(end.at), Arg::from(end.result.as_str())]);
        rows.push(Arg::from(end.log_end));
    }
    let head = "WITH v (id, at, result, log_end) AS (VALUES";
    let tail = ") UPDATE build SET ended_at = v.at, result = v.result, log_end = v.log_end FROM v \
                WHERE build.id = v.id RETURNING build.id, build.item, build.number, \
                build.ended_at - build.started_at";
    let rows = conn.rows_many(head, 4, &rows, tail).await?;
    if rows.len() != ended.len() {
        return Err(sqlx::Error::Decode("a build runs and has no row".into()));
    }
    for row in rows {
        let (build, item, number) = (row.int(0)?, row.int(1)?, row.int(2)?);
        let Some(end) = ended.iter().find(|e| e.build.0 == build) else { continue };
        late.ended(item, number, end.result, row.int(3)?.max(0));
    }
    let archives: Vec<Arg<'_>> = ended.iter().filter(|e| e.archive).map(|e| Arg::from(e.build)).collect();
    let tail = ") INSERT INTO archive (build, directory, size, has_rows) SELECT build, 0, 0, 1 FROM v";
    conn.run_many("WITH v (build) AS (VALUES", 1, &archives, tail).await?;
    forget(conn, &ended.iter().map(|e| e.build.0).collect::<Vec<_>>()).await
}

/// What only running builds have.
async fn forget(conn: &mut Conn, builds: &[i64]) -> sqlx::Result<()> {
    conn.run_in(
        "INSERT INTO garbage (object) SELECT DISTINCT object FROM stash WHERE build IN",
        builds,
        "ON CONFLICT (object) DO NOTHING",
    )
    .await?;
    for head in FORGET {
        conn.run_in(head, builds, "").await?;
    }
    Ok(())
}
