//! Logs: put together from chunks, or read from the object that has replaced them.

use bytes::Bytes;
use model::{BuildId, Millis};
use store::{ArchivedLog, CHUNKS, Chunk, LogSlice, Logs, Result, archive};

use super::{Pool, unreadable};
use crate::Home;
use crate::db::{Row, args};

/// Chunks of one look. Many are small, some are large: a page of 1 MiB needs one or two looks.
const STEP: i64 = 256;

#[async_trait::async_trait]
impl Logs for Home {
    async fn log(&self, build: BuildId, from: u64, max: usize) -> Result<Option<LogSlice>> {
        let Some(Known { end, building, archived }) = known(&self.pool, build).await? else {
            return Ok(None);
        };
        // What is committed after this look waits for the next call, so `end` and `building` belong to the bytes.
        let stop = end.min(from.saturating_add(max as u64));
        let mut slice = LogSlice { bytes: Vec::new(), end, building };
        if archived.is_none() {
            from_rows(&self.pool, build, (from, stop), &mut slice.bytes).await?;
        }
        let next = from + slice.bytes.len() as u64;
        if next < stop {
            // It is an object, or has become one meanwhile; or the build was deleted.
            let log = if archived.is_some() { archived } else { self::archived(&self.pool, build).await? };
            if let Some(log) = log {
                let rest = usize::try_from(stop - next).unwrap_or(usize::MAX);
                let bytes = archive::bytes(&*self.objects, &log, next, rest).await?;
                slice.bytes.extend(bytes.unwrap_or_default());
            }
        }
        Ok(Some(slice))
    }

    async fn chunks(&self, build: BuildId, from: u64) -> Result<Vec<Chunk>> {
        // The rows first: once the object is there, they go from the first one on.
        let rows = chunks(&self.pool, build, from).await?;
        match archived(&self.pool, build).await? {
            Some(log) => Ok(archive::chunks(&*self.objects, &log, from).await?.unwrap_or_default()),
            None => Ok(rows),
        }
    }
}

/// What is to be known of a log before it is read.
struct Known {
    end: u64,
    building: bool,
    archived: Option<ArchivedLog>,
}

async fn known(pool: &Pool, build: BuildId) -> Result<Option<Known>> {
    pool.first(
        "SELECT COALESCE(running.log_end, build.log_end), build.ended_at, archive.object, archive.directory, \
         archive.size FROM build LEFT JOIN running ON running.build = build.id \
         LEFT JOIN archive ON archive.build = build.id WHERE build.id = $1",
        args![build],
        |row| {
            let building = row.int_or_null(1)?.is_none();
            Ok(Known { end: row.size(0)?, building, archived: object(row, 2)? })
        },
    )
    .await
}

/// Where a log is, if it is an object.
pub(super) async fn archived(pool: &Pool, build: BuildId) -> Result<Option<ArchivedLog>> {
    let sql = "SELECT object, directory, size FROM archive WHERE build = $1";
    Ok(pool.first(sql, args![build], |row| object(row, 0)).await?.flatten())
}

fn object(row: &Row, at: usize) -> sqlx::Result<Option<ArchivedLog>> {
    match row.text_or_null(at)? {
        Some(object) => {
            Ok(Some(ArchivedLog { object, directory: row.size(at + 1)?, size: row.size(at + 2)? }))
        }
        None => Ok(None),
    }
}

/// Bytes from one offset to another, fewer when there are no rows any more.
async fn from_rows(pool: &Pool, build: BuildId, (from, stop): (u64, u64), bytes: &mut Vec<u8>) -> Result<()> {
    let mut next = from;
    while next < stop {
        let (at, until) = (i64::try_from(next).unwrap_or(i64::MAX), i64::try_from(stop).unwrap_or(i64::MAX));
        let rows = pool
            .rows(
                "SELECT start, body FROM log WHERE build = $1 AND start >= \
                 (SELECT MAX(start) FROM log WHERE build = $1 AND start <= $2) AND start < $3 ORDER BY start LIMIT $4",
                args![build, at, until, STEP],
            )
            .await?;
        let before = next;
        for row in rows {
            let start = row.size(0).map_err(unreadable)?;
            let body = row.bytes(1).map_err(unreadable)?;
            let skip = usize::try_from(next.saturating_sub(start)).unwrap_or(usize::MAX).min(body.len());
            let wanted = usize::try_from(stop - next).unwrap_or(usize::MAX);
            let piece = &body[skip..][..wanted.min(body.len() - skip)];
            bytes.extend_from_slice(piece);
            next += piece.len() as u64;
        }
        if next == before {
            break;
        }
    }
    Ok(())
}

/// Chunks that are rows.
async fn chunks(pool: &Pool, build: BuildId, from: u64) -> Result<Vec<Chunk>> {
    let (from, most) = (i64::try_from(from).unwrap_or(i64::MAX), i64::try_from(CHUNKS).unwrap_or(i64::MAX));
    pool.list(
        "SELECT start, step, raw_from, raw_to, written_at, body, sum FROM log WHERE build = $1 AND start >= $2 \
         ORDER BY start LIMIT $3",
        args![build, from, most],
        chunk,
    )
    .await
}

fn chunk(row: &Row) -> sqlx::Result<Chunk> {
    Ok(Chunk {
        offset: row.size(0)?,
        step: row.text(1)?,
        raw_from: row.size(2)?,
        raw_to: row.size(3)?,
        at: Millis(row.int(4)?),
        bytes: Bytes::from(row.bytes(5)?),
        // a number that is no sum is not the right one
        sum: u32::try_from(row.int(6)?).unwrap_or_default(),
    })
}
