//! Deleting jobs and builds, and what becomes garbage by it.

use model::{BuildId, JobName};
use store::{Answer, ArchivedLog, Error, archive};

use super::{Applied, jobs};
use crate::db::{Arg, Conn, Lock, args, int};

/// Builds whose journals and logs go with them at once; those of more are left to `erase`.
const AT_ONCE: usize = 16;
/// Records of a build's journal that are deleted in one transaction.
const RECORDS: i64 = 2_000;
/// Bytes of a build's log that are.
const LOG: i64 = 4 * 1024 * 1024;
/// Chunks of it that are.
const CHUNKS: i64 = 5_000;

/// What goes with a build, besides its objects and sources, its journal and its log.
const OF_BUILD: [&str; 2] = ["DELETE FROM source_use WHERE build IN", "DELETE FROM build WHERE id IN"];

/// The first chunks of a build, few by their bytes and by their number.
const FIRST_CHUNKS: &str = "DELETE FROM log WHERE build = $1 \
     AND start < (SELECT MIN(start) FROM log WHERE build = $1) + $2 \
     AND start < COALESCE((SELECT start FROM log WHERE build = $1 ORDER BY start LIMIT 1 OFFSET $3), 9223372036854775807)";

/// What goes with an item.
const OF_ITEM: [&str; 3] = [
    "DELETE FROM queue WHERE item IN",
    "DELETE FROM item_config WHERE item IN",
    "DELETE FROM item WHERE id IN",
];

pub(super) async fn delete_item(conn: &mut Conn, name: &JobName) -> Applied {
    // Before the items, as whoever takes it does.
    let (key, from, to) = keys(name);
    conn.locked(
        Lock::Delete,
        "SELECT id FROM queue WHERE left_at IS NULL AND item IN (SELECT id FROM item \
         WHERE (name_key = $1 AND name = $2) OR (name_key > $3 AND name_key < $4)) ORDER BY id",
        args![&key, name.as_str(), &from, &to],
    )
    .await?;
    let (items, running) = subtree(conn, name).await?;
    if running > 0 {
        return Err(Error::Conflict(format!("{running} builds of “{name}” run")).into());
    }
    let rows = conn.rows_in("SELECT id FROM build WHERE item IN", &items, "").await?;
    let builds = rows.iter().map(|r| r.int(0)).collect::<sqlx::Result<Vec<_>>>()?;
    let objects = forget_builds(conn, &builds).await?;
    for head in OF_ITEM {
        conn.run_in(head, &items, "").await?;
    }
    Ok(Answer::Objects(sorted(objects)))
}

/// The key of an item, and between which keys all in it is.
fn keys(name: &JobName) -> (String, String, String) {
    let key = name.key();
    // Everything below begins with the key and a slash; `0` is the character after the slash.
    let (from, to) = (format!("{key}/"), format!("{key}0"));
    (key, from, to)
}

/// The item and all in it, locked; how many builds of them run.
pub(super) async fn subtree(conn: &mut Conn, name: &JobName) -> Applied<(Vec<i64>, i64)> {
    let (key, from, to) = keys(name);
    let mut known = 0;
    loop {
        let rows = conn
            .locked(
                Lock::Delete,
                "SELECT id, running FROM item WHERE (name_key = $1 AND name = $2) \
                 OR (name_key > $3 AND name_key < $4) ORDER BY id",
                args![&key, name.as_str(), &from, &to],
            )
            .await?;
        let exact = conn
            .row("SELECT id FROM item WHERE name_key = $1 AND name = $2", args![&key, name.as_str()])
            .await?;
        if exact.is_none() {
            return Err(jobs::no_item(name).into());
        }
        // What was created in a folder before its lock was ours is seen by a second look.
        if rows.len() == known || matches!(conn, Conn::Sqlite(_)) {
            let ids = rows.iter().map(|r| r.int(0)).collect::<sqlx::Result<Vec<_>>>()?;
            let running = rows.iter().map(|r| r.int(1)).sum::<sqlx::Result<i64>>()?;
            return Ok((ids, running));
        }
        known = rows.len();
    }
}

/// Deletes the rows of artifacts; answers the keys that they named, which are garbage then.
async fn forget_artifacts(conn: &mut Conn, builds: &[i64]) -> Applied<Vec<String>> {
    let mut objects = Vec::new();
    for row in conn.rows_in("SELECT object FROM artifact WHERE build IN", builds, "").await? {
        objects.push(row.text(0)?);
    }
    conn.run_in(
        "INSERT INTO garbage (object) SELECT DISTINCT object FROM artifact WHERE build IN",
        builds,
        "ON CONFLICT (object) DO NOTHING",
    )
    .await?;
    conn.run_in("DELETE FROM artifact WHERE build IN", builds, "").await?;
    Ok(objects)
}

/// Deletes ended builds; answers the keys that nothing names any more, which are garbage then.
async fn forget_builds(conn: &mut Conn, builds: &[i64]) -> Applied<Vec<String>> {
    let (mut objects, mut sources) = (forget_artifacts(conn, builds).await?, Vec::new());
    for row in conn.rows_in("SELECT DISTINCT hash FROM source_use WHERE build IN", builds, "").await? {
        sources.push(row.text(0)?);
    }
    for head in OF_BUILD {
        conn.run_in(head, builds, "").await?;
    }
    // Before the rows of the log, as `erase` has it. Whether there is an object, an attempt may have left some.
    let archives = conn.rows_in("DELETE FROM archive WHERE build IN", builds, "RETURNING build").await?;
    let logs = archives.iter().map(|row| Ok(format!("{}/", archive::prefix(BuildId(row.int(0)?)))));
    let logs = logs.collect::<sqlx::Result<Vec<String>>>()?;
    let garbage: Vec<Arg<'_>> = logs.iter().map(Arg::from).collect();
    conn.run_many("INSERT INTO garbage (object) VALUES", 1, &garbage, "ON CONFLICT (object) DO NOTHING")
        .await?;
    objects.extend(logs);
    if builds.len() <= AT_ONCE {
        for build in builds {
            slice(conn, *build).await?;
        }
    }
    for left in [
        "INSERT INTO erased (build) SELECT DISTINCT build FROM journal WHERE build IN",
        "INSERT INTO erased (build) SELECT DISTINCT build FROM log WHERE build IN",
    ] {
        conn.run_in(left, builds, "ON CONFLICT (build) DO NOTHING").await?;
    }
    for hash in sorted(sources) {
        // Locked by one statement, looked at by the next: on PostgreSQL only that sees a use committed meanwhile.
        conn.locked(Lock::Delete, "SELECT hash FROM source WHERE hash = $1", args![&hash]).await?;
        conn.run(
            "DELETE FROM source WHERE hash = $1 AND NOT EXISTS (SELECT 1 FROM source_use WHERE source_use.hash = $1)",
            args![&hash],
        )
        .await?;
    }
    Ok(objects)
}

/// Deletes a piece of what deleted builds and archived logs have left. What another process works at is passed over. → whether
/// more may be left
pub(super) async fn erase(conn: &mut Conn) -> Applied {
    let deleted = "SELECT build FROM erased ORDER BY build LIMIT 1";
    if let Some(row) = conn.locked(Lock::DeleteFree, deleted, args![]).await?.first() {
        let build = row.int(0)?;
        slice(conn, build).await?;
        conn.run(
            "DELETE FROM erased WHERE build = $1 AND NOT EXISTS (SELECT 1 FROM journal WHERE journal.build = $1) \
             AND NOT EXISTS (SELECT 1 FROM log WHERE log.build = $1)",
            args![build],
        )
        .await?;
        return Ok(Answer::Bool(true));
    }
    let archived =
        "SELECT build FROM archive WHERE has_rows = 1 AND object IS NOT NULL ORDER BY build LIMIT 1";
    let rows = conn.locked(Lock::DeleteFree, archived, args![]).await?;
    let Some(row) = rows.first() else { return Ok(Answer::Bool(false)) };
    let build = row.int(0)?;
    conn.run(FIRST_CHUNKS, args![build, LOG, CHUNKS]).await?;
    conn.run(
        "UPDATE archive SET has_rows = 0 WHERE build = $1 AND NOT EXISTS (SELECT 1 FROM log WHERE log.build = $1)",
        args![build],
    )
    .await?;
    Ok(Answer::Bool(true))
}

/// The log of a build is this object, if it was to become one and is none yet. Where the database keeps objects, it must have
/// this one: what was read back before a lossy fail-over may be gone.
pub(super) async fn log_archived(conn: &mut Conn, build: BuildId, log: &ArchivedLog) -> Applied {
    archive::check_key_of(build, &log.object)?;
    let name = match conn {
        Conn::Sqlite(_) => {
            "UPDATE archive SET object = $2, directory = $3, size = $4 WHERE build = $1 AND object IS NULL"
        }
        Conn::Postgres(_) => {
            "UPDATE archive SET object = $2, directory = $3, size = $4 WHERE build = $1 AND object IS NULL \
             AND (EXISTS (SELECT 1 FROM object WHERE object_key = $2 AND size = $4) \
                  OR EXISTS (SELECT 1 FROM meta WHERE objects_id <> ''))"
        }
    };
    let named = conn.run(name, args![build, &log.object, int(log.directory)?, int(log.size)?]).await?;
    if named == 0 {
        let ours = "SELECT build FROM archive WHERE build = $1 AND object = $2";
        return Ok(Answer::Bool(conn.row(ours, args![build, &log.object]).await?.is_some()));
    }
    Ok(Answer::Bool(true))
}

/// Deletes the first records and the first chunks of a build.
async fn slice(conn: &mut Conn, build: i64) -> sqlx::Result<()> {
    let journal = "DELETE FROM journal WHERE build = $1 AND number < \
                   (SELECT MIN(number) FROM journal WHERE build = $1) + $2";
    conn.run(journal, args![build, RECORDS]).await?;
    conn.run(FIRST_CHUNKS, args![build, LOG, CHUNKS]).await.map(drop)
}

/// Each once, in order.
fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn no_build(job: &JobName, number: u64) -> Error {
    Error::NotFound(format!("the build {number} of “{job}”"))
}

/// An ended build that need not be kept, and its item. Both are locked: who keeps the build locks its row alone, and one that
/// commits that before us must be seen here.
async fn deletable(
    conn: &mut Conn,
    job: &JobName,
    number: u64,
    build: Option<BuildId>,
) -> Applied<(i64, i64)> {
    let item = conn
        .locked(
            Lock::Change,
            "SELECT id FROM item WHERE name_key = $1 AND name = $2",
            args![&job.key(), job.as_str()],
        )
        .await?;
    let item = item.first().ok_or_else(|| no_build(job, number))?.int(0)?;
    let stored = int(number).map_err(|_| no_build(job, number))?;
    let rows = conn
        .locked(
            Lock::Delete,
            "SELECT id, ended_at, keep FROM build WHERE item = $1 AND number = $2",
            args![item, stored],
        )
        .await?;
    let row = rows.first().ok_or_else(|| no_build(job, number))?;
    if build.is_some_and(|build| row.int(0).is_ok_and(|id| id != build.0)) {
        return Err(no_build(job, number).into());
    }
    if row.int_or_null(1)?.is_none() {
        return Err(Error::Conflict(format!("the build {number} of “{job}” runs")).into());
    }
    if row.yes(2)? {
        return Err(Error::Conflict(format!("the build {number} of “{job}” is to be kept")).into());
    }
    Ok((row.int(0)?, item))
}

pub(super) async fn delete_artifacts(conn: &mut Conn, job: &JobName, number: u64, build: BuildId) -> Applied {
    let (id, _) = deletable(conn, job, number, Some(build)).await?;
    let objects = forget_artifacts(conn, &[id]).await?;
    Ok(Answer::Objects(sorted(objects)))
}

pub(super) async fn delete_build(
    conn: &mut Conn,
    job: &JobName,
    number: u64,
    build: Option<BuildId>,
) -> Applied {
    let (id, item) = deletable(conn, job, number, build).await?;
    let objects = forget_builds(conn, &[id]).await?;
    let newest = conn
        .row(
            "SELECT number, result FROM build WHERE item = $1 AND ended_at IS NOT NULL ORDER BY number DESC LIMIT 1",
            args![item],
        )
        .await?;
    let (completed, result) = match &newest {
        Some(row) => (row.int(0)?, row.text_or_null(1)?),
        None => (0, None),
    };
    conn.run(
        "UPDATE item SET last_completed = $2, last_result = $3 WHERE id = $1",
        args![item, completed, result.as_deref()],
    )
    .await?;
    Ok(Answer::Objects(sorted(objects)))
}

pub(super) async fn keep(conn: &mut Conn, job: &JobName, number: u64, keep: bool) -> Applied {
    let stored = int(number).map_err(|_| no_build(job, number))?;
    let kept = conn
        .run(
            "UPDATE build SET keep = $4 WHERE number = $3 \
             AND item = (SELECT id FROM item WHERE name_key = $1 AND name = $2)",
            args![&job.key(), job.as_str(), stored, keep],
        )
        .await?;
    if kept == 0 { Err(no_build(job, number).into()) } else { Ok(Answer::Unit) }
}

pub(super) async fn forget_objects(conn: &mut Conn, keys: &[String]) -> Applied {
    for key in keys {
        conn.run("DELETE FROM garbage WHERE object = $1", args![key]).await?;
    }
    Ok(Answer::Unit)
}
