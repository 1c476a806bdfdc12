//! Deleting jobs and builds, and what becomes garbage by it.

use model::JobName;
use store::{Answer, Error};

use super::{Applied, jobs};
use crate::db::{Conn, Lock, args, int};

/// What goes with a build, besides its objects and sources.
const OF_BUILD: [&str; 5] = [
    "DELETE FROM journal WHERE build IN",
    "DELETE FROM log WHERE build IN",
    "DELETE FROM artifact WHERE build IN",
    "DELETE FROM source_use WHERE build IN",
    "DELETE FROM build WHERE id IN",
];

/// What goes with an item.
const OF_ITEM: [&str; 3] = [
    "DELETE FROM queue WHERE item IN",
    "DELETE FROM item_config WHERE item IN",
    "DELETE FROM item WHERE id IN",
];

pub(super) async fn delete_item(conn: &mut Conn, name: &JobName) -> Applied {
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

/// The item and all in it, locked; how many builds of them run.
async fn subtree(conn: &mut Conn, name: &JobName) -> Applied<(Vec<i64>, i64)> {
    let key = name.key();
    // Everything below begins with the key and a slash; `0` is the character after the slash.
    let (from, to) = (format!("{key}/"), format!("{key}0"));
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

/// Deletes ended builds; answers the keys that nothing names any more, which are garbage then.
async fn forget_builds(conn: &mut Conn, builds: &[i64]) -> Applied<Vec<String>> {
    let (mut objects, mut sources) = (Vec::new(), Vec::new());
    for row in conn.rows_in("SELECT object FROM artifact WHERE build IN", builds, "").await? {
        objects.push(row.text(0)?);
    }
    for row in conn.rows_in("SELECT DISTINCT hash FROM source_use WHERE build IN", builds, "").await? {
        sources.push(row.text(0)?);
    }
    conn.run_in(
        "INSERT INTO garbage (object) SELECT DISTINCT object FROM artifact WHERE build IN",
        builds,
        "ON CONFLICT (object) DO NOTHING",
    )
    .await?;
    for head in OF_BUILD {
        conn.run_in(head, builds, "").await?;
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

/// Each once, in order.
fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn no_build(job: &JobName, number: u64) -> Error {
    Error::NotFound(format!("the build {number} of “{job}”"))
}

pub(super) async fn delete_build(conn: &mut Conn, job: &JobName, number: u64) -> Applied {
    let item = conn
        .locked(
            Lock::Change,
            "SELECT id FROM item WHERE name_key = $1 AND name = $2",
            args![&job.key(), job.as_str()],
        )
        .await?;
    let item = item.first().ok_or_else(|| no_build(job, number))?.int(0)?;
    let stored = int(number).map_err(|_| no_build(job, number))?;
    let row = conn
        .row("SELECT id, ended_at, keep FROM build WHERE item = $1 AND number = $2", args![item, stored])
        .await?
        .ok_or_else(|| no_build(job, number))?;
    if row.int_or_null(1)?.is_none() {
        return Err(Error::Conflict(format!("the build {number} of “{job}” runs")).into());
    }
    if row.yes(2)? {
        return Err(Error::Conflict(format!("the build {number} of “{job}” is to be kept")).into());
    }
    let objects = forget_builds(conn, &[row.int(0)?]).await?;
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
