//! What a guarded write changes once its guard held: nothing of it is refused any more.

use std::collections::BTreeMap;

use model::BuildId;
use store::{Effect, Progress};

use super::late::Late;
use crate::db::{Arg, Conn, Many, args, int};

/// What guarded writes change in tables that have rows of single builds. Builds share the statements.
#[derive(Default)]
pub(super) struct Rows<'a> {
    journal: Vec<Arg<'a>>,
    log: Vec<Arg<'a>>,
    /// How far each step's raw output got.
    raw: BTreeMap<(i64, &'a str), i64>,
    waits: Vec<Arg<'a>>,
    cancelled: Vec<Arg<'a>>,
    released: Vec<Arg<'a>>,
    consumed: Vec<Arg<'a>>,
}

/// Applies the effects of writes of different builds, those of one build in their order, with the other rows of the writes.
pub(super) async fn apply<'a>(
    conn: &mut Conn,
    mut rows: Rows<'a>,
    effects: &[(BuildId, &'a Effect)],
    late: &mut Late<'a>,
) -> sqlx::Result<()> {
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

impl<'a> Rows<'a> {
    /// Journal records and chunks of a write.
    pub(super) fn append(&mut self, write: &'a Progress) -> sqlx::Result<()> {
        for (number, record) in (write.first_record..).zip(&write.records) {
            self.journal.extend([Arg::from(write.build), Arg::from(number), Arg::from(record)]);
        }
        for chunk in &write.chunks {
            self.log.extend([
                Arg::from(write.build),
                Arg::from(stored(chunk.offset)?),
                Arg::from(&chunk.step),
                Arg::from(stored(chunk.raw_from)?),
                Arg::from(stored(chunk.raw_to)?),
                Arg::from(chunk.at),
                Arg::from(&chunk.bytes),
                Arg::from(i64::from(chunk.sum)),
            ]);
            if !chunk.step.is_empty() {
                let to = self.raw.entry((write.build.0, chunk.step.as_str())).or_default();
                *to = (*to).max(stored(chunk.raw_to)?);
            }
        }
        Ok(())
    }

    async fn write(&self, conn: &mut Conn) -> sqlx::Result<()> {
        let raw: Vec<Arg<'_>> = self
            .raw
            .iter()
            .flat_map(|((build, step), to)| [Arg::from(*build), Arg::from(*step), Arg::from(*to)])
            .collect();
        let waiting = "ON CONFLICT (build, step) DO NOTHING";
        let further = "ON CONFLICT (build, step) DO UPDATE SET raw_to = \
                       CASE WHEN excluded.raw_to > raw.raw_to THEN excluded.raw_to ELSE raw.raw_to END";
        // The rows stay until the build ends: their keys are taken.
        let consume = ") UPDATE inbox SET consumed = 1, body = '' FROM v \
                       WHERE inbox.build = v.build AND inbox.row_key = v.row_key";
        let log = "INSERT INTO log (build, start, step, raw_from, raw_to, written_at, body, sum) VALUES";
        conn.together(&[
            Many::new("INSERT INTO journal (build, number, body) VALUES", 3, &self.journal, ""),
            Many::new(log, 8, &self.log, ""),
            Many::new("INSERT INTO raw (build, step, raw_to) VALUES", 3, &raw, further),
            Many::new("INSERT INTO wait (build, step, label, since) VALUES", 4, &self.waits, waiting),
            Many::new("WITH v (build, row_key) AS (VALUES", 2, &self.consumed, consume),
        ])
        .await?;
        // Waits before executors, as at the end of a build.
        let head = "WITH v (build, step) AS (VALUES";
        let tail = ") DELETE FROM wait WHERE (build, step) IN (SELECT build, step FROM v)";
        conn.run_many(head, 2, &self.cancelled, tail).await?;
        let tail = ") DELETE FROM busy WHERE (build, step) IN (SELECT build, step FROM v)";
        conn.run_many(head, 2, &self.released, tail).await
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

/// A size or an offset that nothing can have is an argument that cannot be stored.
fn stored(size: u64) -> sqlx::Result<i64> {
    int(size).map_err(|e| sqlx::Error::Encode(e.into()))
}
