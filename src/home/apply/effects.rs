//! What a guarded write changes besides journal and log. None of it can be refused.

use model::BuildId;
use store::Effect;

use super::late::Late;
use crate::db::{Arg, Conn, args, int};

/// Changes that builds share statements for: each kind touches a table of its own, so kinds may go one after the other.
#[derive(Default)]
struct Rows<'a> {
    waits: Vec<Arg<'a>>,
    cancelled: Vec<Arg<'a>>,
    released: Vec<Arg<'a>>,
    consumed: Vec<Arg<'a>>,
}

/// Applies the effects of writes of different builds, those of one build in their order.
pub(super) async fn apply<'a>(
    conn: &mut Conn,
    effects: &[(BuildId, &'a Effect)],
    late: &mut Late<'a>,
) -> sqlx::Result<()> {
    let mut rows = Rows::default();
    for (build, effect) in effects {
        let build = *build;
        match effect {
            Effect::Source { hash, text } => late.source(build, hash, text),
            Effect::WaitNode { step, label, since } => {
                let label = Arg::from(label.as_deref());
                rows.waits.extend([Arg::from(build), Arg::from(step), label, Arg::from(*since)]);
            }
            Effect::CancelWait { step } => rows.cancelled.extend([Arg::from(build), Arg::from(step)]),
            Effect::ReleaseExecutor { step } => rows.released.extend([Arg::from(build), Arg::from(step)]),
            Effect::Consume { key } => rows.consumed.extend([Arg::from(build), Arg::from(key)]),
            Effect::DisplayName { name } => {
                conn.run("UPDATE build SET display_name = $2 WHERE id = $1", args![build, name]).await?;
            }
            Effect::Description { text } => {
                conn.run("UPDATE build SET description = $2 WHERE id = $1", args![build, text]).await?;
            }
            Effect::Result { result } => {
                conn.run("UPDATE build SET result = $2 WHERE id = $1", args![build, result.as_str()]).await?;
            }
            Effect::Artifact { path, size, object } => artifact(conn, build, path, *size, object).await?,
            Effect::Stash { name, size, object } => stash(conn, build, name, *size, object).await?,
            // Done for all builds of the batch at once, by `queue` and, last, by `finish`.
            Effect::Enqueue(_) | Effect::Finish { .. } => {}
        }
    }
    rows.write(conn).await
}

impl Rows<'_> {
    async fn write(&self, conn: &mut Conn) -> sqlx::Result<()> {
        let head = "INSERT INTO wait (build, step, label, since) VALUES";
        conn.run_many(head, 4, &self.waits, "ON CONFLICT (build, step) DO NOTHING").await?;
        let head = "WITH v (build, step) AS (VALUES";
        let tail = ") DELETE FROM wait WHERE (build, step) IN (SELECT build, step FROM v)";
        conn.run_many(head, 2, &self.cancelled, tail).await?;
        let tail = ") DELETE FROM busy WHERE (build, step) IN (SELECT build, step FROM v)";
        conn.run_many(head, 2, &self.released, tail).await?;
        // The rows stay until the build ends: their keys are taken.
        let head = "WITH v (build, row_key) AS (VALUES";
        let tail = ") UPDATE inbox SET consumed = 1, body = '' FROM v \
                    WHERE inbox.build = v.build AND inbox.row_key = v.row_key";
        conn.run_many(head, 2, &self.consumed, tail).await
    }
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
    conn.run("DELETE FROM garbage WHERE object = $1", args![object]).await.map(drop)
}

fn stored(size: u64) -> sqlx::Result<i64> {
    int(size).map_err(|e| sqlx::Error::Encode(e.into()))
}
