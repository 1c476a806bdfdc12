//! Log bytes from one offset on, put together from chunks.

use bytes::Bytes;
use model::{BuildId, Millis};
use store::{CHUNKS, Chunk, LogSlice, Result};

use super::{Pool, unreadable};
use crate::db::{Row, args};

/// Chunks of one look. Many are small, some are large: a page of 1 MiB needs one or two looks.
const STEP: i64 = 256;

pub(super) async fn slice(pool: &Pool, build: BuildId, from: u64, max: usize) -> Result<Option<LogSlice>> {
    let known = pool
        .first(
            "SELECT COALESCE(running.log_end, build.log_end), build.ended_at FROM build \
             LEFT JOIN running ON running.build = build.id WHERE build.id = $1",
            args![build],
            |row| Ok((row.size(0)?, row.int_or_null(1)?.is_none())),
        )
        .await?;
    let Some((end, building)) = known else {
        return Ok(None);
    };
    // What is committed after this look waits for the next call, so `end` and `building` belong to the bytes.
    let stop = end.min(from.saturating_add(max as u64));
    let mut slice = LogSlice { bytes: Vec::new(), end, building };
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
            slice.bytes.extend_from_slice(piece);
            next += piece.len() as u64;
        }
        if next == before {
            // Deleted meanwhile.
            break;
        }
    }
    Ok(Some(slice))
}

/// Chunks as they are stored.
pub(super) async fn chunks(pool: &Pool, build: BuildId, from: u64) -> Result<Vec<Chunk>> {
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
