//! Logs: put together from chunks, or read from the object that has replaced them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use model::{BuildId, Millis};
use parking_lot::Mutex;
use store::archive::{self, Reader};
use store::{ArchivedLog, CHUNKS, Chunk, LogSlice, Logs, Objects, Result};

use super::{Pool, unreadable};
use crate::Home;
use crate::db::{Row, args};

/// Chunks of one look. Many are small, some are large: a page of 1 MiB needs one or two looks.
const STEP: i64 = 256;
/// Archived logs whose directories are kept in memory: some KB each, half a MB of the longest ones.
const READERS: usize = 16;

#[async_trait::async_trait]
impl Logs for Home {
    async fn log(&self, build: BuildId, from: u64, max: usize) -> Result<Option<LogSlice>> {
        let Some(Known { end, building, mut object }) = known(&self.pool, build).await? else {
            return Ok(None);
        };
        // What is committed after this look waits for the next call, so `end` and `building` belong to the bytes.
        let stop = end.min(from.saturating_add(max as u64));
        let mut slice = LogSlice { bytes: Vec::new(), end, building };
        let mut next = from;
        if object.is_none() {
            from_rows(&self.pool, build, (from, stop), &mut slice.bytes).await?;
            next += slice.bytes.len() as u64;
            if next < stop {
                // It has become one meanwhile; or the build was deleted.
                object = archived(&self.pool, build).await?;
            }
        }
        if next < stop
            && let Some(log) = object
            && let Some(reader) = self.reader(build, log).await?
        {
            match reader.bytes(next, usize::try_from(stop - next).unwrap_or(usize::MAX)).await? {
                Some(bytes) => slice.bytes.extend(bytes),
                None => self.gone(build, &reader.log().object).await?,
            }
        }
        Ok(Some(slice))
    }

    async fn chunks(&self, build: BuildId, from: u64) -> Result<Vec<Chunk>> {
        if let Some(chunks) = self.archived_chunks(build, from).await? {
            return Ok(chunks);
        }
        let rows = chunks(&self.pool, build, from).await?;
        // If it has become an object meanwhile, the first rows may be gone.
        Ok(self.archived_chunks(build, from).await?.unwrap_or(rows))
    }
}

impl Home {
    /// `None`: the log is no object.
    async fn archived_chunks(&self, build: BuildId, from: u64) -> Result<Option<Vec<Chunk>>> {
        let Some(log) = archived(&self.pool, build).await? else { return Ok(None) };
        let Some(reader) = self.reader(build, log).await? else { return Ok(None) };
        let chunks = reader.chunks(from).await?;
        if chunks.is_none() {
            self.gone(build, &reader.log().object).await?;
        }
        Ok(Some(chunks.unwrap_or_default()))
    }

    /// `None`: the build was deleted, and the object with it.
    async fn reader(&self, build: BuildId, log: ArchivedLog) -> Result<Option<Reader>> {
        let key = log.object.clone();
        let reader = self.archives.reader(&self.objects, log).await?;
        if reader.is_none() {
            self.gone(build, &key).await?;
        }
        Ok(reader)
    }

    /// An object was not there: nothing is wrong with that when the build was deleted meanwhile.
    async fn gone(&self, build: BuildId, key: &str) -> Result<()> {
        self.archives.forget(key);
        match archived(&self.pool, build).await? {
            Some(log) if log.object == key => Err(archive::gone(key)),
            Some(_) | None => Ok(()),
        }
    }
}

/// Readers that were used last: who reads on need not read the directory again.
#[derive(Default)]
pub(crate) struct Archives(Mutex<VecDeque<Reader>>);

impl Archives {
    /// `None`: the object is gone.
    async fn reader(&self, objects: &Arc<dyn Objects>, log: ArchivedLog) -> Result<Option<Reader>> {
        let known = self.0.lock().iter().find(|reader| *reader.log() == log).cloned();
        let reader = match known {
            Some(reader) => Some(reader),
            None => Reader::open(Arc::clone(objects), log).await?,
        };
        if let Some(reader) = &reader {
            let mut recent = self.0.lock();
            recent.retain(|other| other.log().object != reader.log().object);
            recent.push_front(reader.clone());
            recent.truncate(READERS);
        }
        Ok(reader)
    }

    fn forget(&self, object: &str) {
        self.0.lock().retain(|reader| reader.log().object != object);
    }
}

/// What is to be known of a log before it is read.
struct Known {
    end: u64,
    building: bool,
    /// Where it is, if it is an object.
    object: Option<ArchivedLog>,
}

async fn known(pool: &Pool, build: BuildId) -> Result<Option<Known>> {
    pool.first(
        "SELECT COALESCE(running.log_end, build.log_end), build.ended_at, archive.object, archive.directory, archive.size \
         FROM build LEFT JOIN running ON running.build = build.id \
         LEFT JOIN archive ON archive.build = build.id WHERE build.id = $1",
        args![build],
        |row| {
            let building = row.int_or_null(1)?.is_none();
            let object = row.text_or_null(2)?.map(|object| archived_log(row, object, 3)).transpose()?;
            Ok(Known { end: row.size(0)?, building, object })
        },
    )
    .await
}

/// Where a log is, if it is an object.
pub(super) async fn archived(pool: &Pool, build: BuildId) -> Result<Option<ArchivedLog>> {
    let sql = "SELECT object, directory, size FROM archive WHERE build = $1 AND object IS NOT NULL";
    pool.first(sql, args![build], |row| archived_log(row, row.text(0)?, 1)).await
}

/// The key of the object, and two columns.
fn archived_log(row: &Row, object: String, at: usize) -> sqlx::Result<ArchivedLog> {
    Ok(ArchivedLog { object, directory: row.size(at)?, size: row.size(at + 1)? })
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
