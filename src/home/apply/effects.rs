//! What a guarded write changes besides journal and log. None of it can be refused.

use model::BuildId;
use store::Effect;

use crate::db::{Conn, Lock, args, int};

pub(super) async fn apply(conn: &mut Conn, build: BuildId, effect: &Effect) -> sqlx::Result<()> {
    match effect {
        Effect::Source { hash, text } => source(conn, build, hash, text).await,
        Effect::WaitNode { step, label, since } => {
            let sql = "INSERT INTO wait (build, step, label, since) VALUES ($1, $2, $3, $4) \
                       ON CONFLICT (build, step) DO NOTHING";
            done(conn.run(sql, args![build, step, label.as_deref(), *since]).await)
        }
        Effect::CancelWait { step } => {
            done(conn.run("DELETE FROM wait WHERE build = $1 AND step = $2", args![build, step]).await)
        }
        Effect::ReleaseExecutor { step } => {
            done(conn.run("DELETE FROM busy WHERE build = $1 AND step = $2", args![build, step]).await)
        }
        Effect::Consume { key } => {
            // The row stays until the build ends: its key is taken.
            let sql = "UPDATE inbox SET consumed = 1, body = '' WHERE build = $1 AND row_key = $2";
            done(conn.run(sql, args![build, key]).await)
        }
        Effect::DisplayName { name } => {
            done(conn.run("UPDATE build SET display_name = $2 WHERE id = $1", args![build, name]).await)
        }
        Effect::Description { text } => {
            done(conn.run("UPDATE build SET description = $2 WHERE id = $1", args![build, text]).await)
        }
        Effect::Result { result } => {
            done(conn.run("UPDATE build SET result = $2 WHERE id = $1", args![build, result.as_str()]).await)
        }
        Effect::Artifact { path, size, object } => artifact(conn, build, path, *size, object).await,
        Effect::Stash { name, size, object } => stash(conn, build, name, *size, object).await,
        // Comes last and is done for all builds of the batch at once, by `finish`.
        Effect::Finish { .. } => Ok(()),
    }
}

fn done(changed: sqlx::Result<u64>) -> sqlx::Result<()> {
    changed.map(drop)
}

async fn source(conn: &mut Conn, build: BuildId, hash: &str, text: &str) -> sqlx::Result<()> {
    // Inserted, or there and kept from whoever deletes the last build that names it.
    loop {
        let insert = "INSERT INTO source (hash, body) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING";
        if conn.run(insert, args![hash, text]).await? > 0 {
            break;
        }
        let there = "SELECT hash FROM source WHERE hash = $1";
        if !conn.locked(Lock::Keep, there, args![hash]).await?.is_empty() {
            break;
        }
    }
    conn.run(
        "INSERT INTO source_use (build, hash) VALUES ($1, $2) ON CONFLICT (build, hash) DO NOTHING",
        args![build, hash],
    )
    .await?;
    Ok(())
}

async fn artifact(conn: &mut Conn, build: BuildId, path: &str, size: u64, object: &str) -> sqlx::Result<()> {
    conn.run(
        "INSERT INTO garbage (object) SELECT object FROM artifact WHERE build = $1 AND path = $2 AND object <> $3 \
         ON CONFLICT (object) DO NOTHING",
        args![build, path, object],
    )
    .await?;
    conn.run(
        "INSERT INTO artifact (build, path, size, object) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (build, path) DO UPDATE SET size = excluded.size, object = excluded.object",
        args![build, path, stored(size)?, object],
    )
    .await?;
    named(conn, object).await
}

async fn stash(conn: &mut Conn, build: BuildId, name: &str, size: u64, object: &str) -> sqlx::Result<()> {
    conn.run(
        "INSERT INTO garbage (object) SELECT object FROM stash WHERE build = $1 AND name = $2 AND object <> $3 \
         ON CONFLICT (object) DO NOTHING",
        args![build, name, object],
    )
    .await?;
    conn.run(
        "INSERT INTO stash (build, name, size, object) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (build, name) DO UPDATE SET size = excluded.size, object = excluded.object",
        args![build, name, stored(size)?, object],
    )
    .await?;
    named(conn, object).await
}

/// A key that a row names is no garbage.
async fn named(conn: &mut Conn, object: &str) -> sqlx::Result<()> {
    done(conn.run("DELETE FROM garbage WHERE object = $1", args![object]).await)
}

fn stored(size: u64) -> sqlx::Result<i64> {
    int(size).map_err(|e| sqlx::Error::Encode(e.into()))
}
