//! The end of builds: all that end in one batch share their statements.

use std::collections::BTreeMap;

use model::{BuildId, BuildResult, Millis};

use crate::db::{Arg, Conn, args};

/// A build that has ended.
pub(super) struct Ended {
    pub(super) build: BuildId,
    pub(super) result: BuildResult,
    pub(super) at: Millis,
    pub(super) log_end: i64,
}

/// What a job has to be told: how many of its builds ended, and the newest of them.
struct Newest {
    ended: i64,
    number: i64,
    result: BuildResult,
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

pub(super) async fn batch(conn: &mut Conn, ended: &[Ended]) -> sqlx::Result<()> {
    if ended.is_empty() {
        return Ok(());
    }
    let mut items: BTreeMap<i64, Newest> = BTreeMap::new();
    let mut rows = Vec::with_capacity(ended.len() * 4);
    for end in ended {
        rows.extend([Arg::from(end.build), Arg::from(end.at), Arg::from(end.result.as_str())]);
        rows.push(Arg::from(end.log_end));
    }
    let head = "WITH v (id, at, result, log_end) AS (VALUES";
    let tail = ") UPDATE build SET ended_at = v.at, result = v.result, log_end = v.log_end FROM v \
                WHERE build.id = v.id RETURNING build.id, build.item, build.number";
    let rows = conn.rows_many(head, 4, &rows, tail).await?;
    if rows.len() != ended.len() {
        return Err(sqlx::Error::Decode("a build runs and has no row".into()));
    }
    for row in rows {
        let (build, item, number) = (row.int(0)?, row.int(1)?, row.int(2)?);
        let Some(end) = ended.iter().find(|e| e.build.0 == build) else { continue };
        let newest = items.entry(item).or_insert(Newest { ended: 0, number, result: end.result });
        newest.ended += 1;
        if newest.number < number {
            (newest.number, newest.result) = (number, end.result);
        }
    }
    for (item, newest) in items {
        conn.run(
            "UPDATE item SET running = running - $2, \
             last_result = CASE WHEN last_completed < $3 THEN $4 ELSE last_result END, \
             last_completed = CASE WHEN last_completed < $3 THEN $3 ELSE last_completed END WHERE id = $1",
            args![item, newest.ended, newest.number, newest.result.as_str()],
        )
        .await?;
    }
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
