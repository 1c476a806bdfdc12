//! The end of builds: all that end in one batch share their statements.

use model::{BuildId, BuildResult, Millis};

use super::late::Late;
use crate::db::{Arg, Conn, Many};

/// A build that has ended.
pub(super) struct Ended {
    pub(super) build: BuildId,
    pub(super) result: BuildResult,
    pub(super) at: Millis,
    pub(super) log_end: i64,
    pub(super) archive: bool,
}

/// What only running builds have, but for waits.
const FORGET: [&str; 5] = [
    "DELETE FROM busy WHERE build IN (VALUES",
    "DELETE FROM inbox WHERE build IN (VALUES",
    "DELETE FROM raw WHERE build IN (VALUES",
    "DELETE FROM stash WHERE build IN (VALUES",
    "DELETE FROM running WHERE build IN (VALUES",
];

/// Waits go a statement before executors: a `Grant` of another process that is not committed yet then finds no wait (it
/// undoes itself), or its executor is seen by the statement after.
pub(super) async fn batch(conn: &mut Conn, ended: &[Ended], late: &mut Late<'_>) -> sqlx::Result<()> {
    if ended.is_empty() {
        return Ok(());
    }
    let mut ends = Vec::with_capacity(ended.len() * 4);
    for end in ended {
        ends.extend([Arg::from(end.build), Arg::from(end.at), Arg::from(end.result.as_str())]);
        ends.push(Arg::from(end.log_end));
    }
    let builds: Vec<Arg<'_>> = ended.iter().map(|e| Arg::from(e.build)).collect();
    let archives: Vec<Arg<'_>> = ended.iter().filter(|e| e.archive).map(|e| Arg::from(e.build)).collect();
    let archive = ") INSERT INTO archive (build, directory, size, has_rows) SELECT build, 0, 0, 1 FROM v";
    let stashes = "INSERT INTO garbage (object) SELECT DISTINCT object FROM stash WHERE build IN (VALUES";
    let end = ") UPDATE build SET ended_at = v.at, result = v.result, log_end = v.log_end FROM v \
               WHERE build.id = v.id RETURNING build.id, build.item, build.number, \
               build.ended_at - build.started_at";
    let rows = conn
        .together(&[
            Many::new("WITH v (build) AS (VALUES", 1, &archives, archive),
            Many::new(stashes, 1, &builds, ") ON CONFLICT (object) DO NOTHING"),
            Many::new("DELETE FROM wait WHERE build IN (VALUES", 1, &builds, ")"),
            Many::new("WITH v (id, at, result, log_end) AS (VALUES", 4, &ends, end),
        ])
        .await?;
    if rows.len() != ended.len() {
        return Err(sqlx::Error::Decode("a build runs and has no row".into()));
    }
    for row in rows {
        let (build, item, number) = (row.int(0)?, row.int(1)?, row.int(2)?);
        let Some(end) = ended.iter().find(|e| e.build.0 == build) else { continue };
        late.ended(item, number, end.result, row.int(3)?.max(0));
    }
    conn.together(&FORGET.map(|head| Many::new(head, 1, &builds, ")"))).await.map(drop)
}
