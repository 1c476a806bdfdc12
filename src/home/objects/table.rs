//! Objects as rows of the PostgreSQL database, for a home without a folder that all replicas see. Parts are written one
//! by one under an upload's number, so that no transaction waits for whoever sends them; the last, short transaction
//! makes the object name that upload.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use sqlx::{PgPool, Row};
use store::{Error, Objects, Result, Upload, check_key};

use crate::trouble::Trouble;

/// Bytes of one row.
const PART: usize = 256 * 1024;
/// An upload that is not finished after a day has lost its process.
const LOST_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// The tables `object`, `object_part` and `object_upload`.
pub(crate) struct Table {
    pool: PgPool,
}

impl Table {
    pub(crate) fn new(pool: PgPool) -> Table {
        Table { pool }
    }

    async fn begin(&self, key: &str) -> Result<TableUpload> {
        check_key(key)?;
        self.sweep().await.map_err(away)?;
        let id = sqlx::query_scalar("INSERT INTO object_upload (began_at) VALUES ($1) RETURNING id")
            .bind(now())
            .fetch_one(&self.pool)
            .await
            .map_err(away)?;
        Ok(TableUpload {
            pool: self.pool.clone(),
            key: key.to_owned(),
            id,
            parts: 0,
            size: 0,
            piece: BytesMut::new(),
            finished: false,
        })
    }

    /// Forgets what processes that were killed have left.
    async fn sweep(&self) -> sqlx::Result<()> {
        let lost: Vec<i64> = sqlx::query_scalar("DELETE FROM object_upload WHERE began_at < $1 RETURNING id")
            .bind(now() - LOST_MILLIS)
            .fetch_all(&self.pool)
            .await?;
        for id in lost {
            sqlx::query("DELETE FROM object_part WHERE upload = $1").bind(id).execute(&self.pool).await?;
        }
        Ok(())
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn away(error: sqlx::Error) -> Error {
    Trouble::of(&error).into_error()
}

/// What was written of an upload that has failed. Its row says that no object names it: whoever does not know whether the last
/// commit happened finds it gone if it did.
async fn forget(pool: &PgPool, upload: i64) -> sqlx::Result<()> {
    sqlx::query(
        "WITH mine AS (DELETE FROM object_upload WHERE id = $1 RETURNING id) \
         DELETE FROM object_part WHERE upload IN (SELECT id FROM mine)",
    )
    .bind(upload)
    .execute(pool)
    .await
    .map(drop)
}

#[async_trait::async_trait]
impl Objects for Table {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        let mut upload = Box::new(self.begin(key).await?);
        upload.write(bytes).await?;
        upload.finish().await
    }

    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>> {
        Ok(Box::new(self.begin(key).await?))
    }

    async fn get(&self, key: &str, from: u64, max: usize) -> Result<Option<Bytes>> {
        check_key(key)?;
        let part = PART as u64;
        let stop = from.saturating_add(max as u64);
        let bound = |at: u64| i64::try_from(at / part).unwrap_or(i64::MAX);
        // One statement, so one moment: an object that is replaced meanwhile is read as it was.
        let rows = sqlx::query(
            "SELECT object_part.part, object_part.body FROM object LEFT JOIN object_part \
             ON object_part.upload = object.upload AND object_part.part >= $2 AND object_part.part <= $3 \
             WHERE object.object_key = $1 ORDER BY object_part.part",
        )
        .bind(key)
        .bind(bound(from))
        .bind(bound(stop))
        .fetch_all(&self.pool)
        .await
        .map_err(away)?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut out = BytesMut::new();
        for row in rows {
            let (Some(number), Some(body)) = (
                row.try_get::<Option<i64>, _>(0).map_err(away)?,
                row.try_get::<Option<Vec<u8>>, _>(1).map_err(away)?,
            ) else {
                continue;
            };
            let begin = u64::try_from(number).unwrap_or(0) * part;
            let within = |at: u64| usize::try_from(at.saturating_sub(begin)).unwrap_or(PART).min(body.len());
            out.extend_from_slice(&body[within(from)..within(stop).max(within(from))]);
        }
        Ok(Some(out.freeze()))
    }

    async fn keep_only(&self, prefix: &str, keep: &BTreeSet<String>) -> Result<()> {
        check_key(prefix)?;
        // `0` is the character after the slash.
        let keys: Vec<String> =
            sqlx::query_scalar("SELECT object_key FROM object WHERE object_key > $1 AND object_key < $2")
                .bind(format!("{prefix}/"))
                .bind(format!("{prefix}0"))
                .fetch_all(&self.pool)
                .await
                .map_err(away)?;
        for key in keys.iter().filter(|key| !keep.contains(*key)) {
            self.delete(key).await?;
        }
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        // Both tables in one statement: whole or not at all.
        sqlx::query(
            "WITH gone AS (DELETE FROM object WHERE object_key = $1 RETURNING upload) \
             DELETE FROM object_part WHERE upload IN (SELECT upload FROM gone)",
        )
        .bind(key)
        .execute(&self.pool)
        .await
        .map_err(away)?;
        Ok(())
    }
}

/// Parts that no object names yet.
struct TableUpload {
    pool: PgPool,
    key: String,
    id: i64,
    parts: i64,
    size: i64,
    piece: BytesMut,
    finished: bool,
}

impl TableUpload {
    async fn write_out(&mut self) -> Result<()> {
        let piece = self.piece.split();
        self.size += i64::try_from(piece.len()).unwrap_or(i64::MAX);
        sqlx::query("INSERT INTO object_part (upload, part, body) VALUES ($1, $2, $3)")
            .bind(self.id)
            .bind(self.parts)
            .bind(&piece[..])
            .execute(&self.pool)
            .await
            .map_err(away)?;
        self.parts += 1;
        Ok(())
    }

    async fn publish(&self) -> sqlx::Result<()> {
        let mut tx = self.pool.begin().await?;
        // Locks the row, so that of two uploads of one key the later one forgets the parts of the earlier.
        let old: Option<i64> =
            sqlx::query_scalar("SELECT upload FROM object WHERE object_key = $1 FOR UPDATE")
                .bind(&self.key)
                .fetch_optional(&mut *tx)
                .await?;
        sqlx::query(
            "INSERT INTO object (object_key, upload, size) VALUES ($1, $2, $3) \
             ON CONFLICT (object_key) DO UPDATE SET upload = excluded.upload, size = excluded.size",
        )
        .bind(&self.key)
        .bind(self.id)
        .bind(self.size)
        .execute(&mut *tx)
        .await?;
        if let Some(old) = old {
            sqlx::query("DELETE FROM object_part WHERE upload = $1").bind(old).execute(&mut *tx).await?;
        }
        sqlx::query("DELETE FROM object_upload WHERE id = $1").bind(self.id).execute(&mut *tx).await?;
        tx.commit().await
    }
}

#[async_trait::async_trait]
impl Upload for TableUpload {
    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let room = PART - self.piece.len();
            self.piece.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
            if self.piece.len() == PART {
                self.write_out().await?;
            }
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        if !self.piece.is_empty() {
            self.write_out().await?;
        }
        self.publish().await.map_err(away)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for TableUpload {
    fn drop(&mut self) {
        // Nobody waits for it; what is left when this does not work is swept after a day.
        if !self.finished
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (pool, id) = (self.pool.clone(), self.id);
            runtime.spawn(async move {
                if let Err(error) = forget(&pool, id).await {
                    tracing::debug!(%error, "an unfinished upload stays for a day");
                }
            });
        }
    }
}
