//! The artifacts of a build, or those in one of its folders, as one zip that is made while it is sent.
//!
//! Deflated, although much of what builds archive is compressed already: Java's streaming reader takes no stored entry
//! whose size comes after it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{TryFutureExt, stream};
use model::{JobName, Millis};
use parking_lot::Mutex;
use store::{Artifact, Build, Objects, Store, Which};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::act::builds::found;
use crate::error::Error;
use crate::look::Look;
use crate::patience::again;
use crate::reply::{self, Reply};

/// Bytes of a file that are read, and compressed at once.
const PIECE: u64 = 64 * 1024;
/// What is sent has this many bytes at least, but for the last.
const SENT: usize = 32 * 1024;
/// Rows of one read.
const PAGE: u32 = 500;
/// From this size on, an entry has the fields for large ones. Compressed, a file may be a little larger.
const LARGE: u64 = u32::MAX as u64 - (64 << 20);
/// The folder in the zip, as Jenkins has it.
const ROOT: &str = "archive";

/// `artifact/*zip*/archive.zip` and `artifact/DIR/*zip*/DIR.zip`.
pub(crate) async fn serve(look: &Look<'_>, name: &JobName, which: Which, folder: &str) -> Reply {
    let build = found(look, name, which).await?;
    let mut archive = Archive::new(look, &build, folder);
    // the first read tells whether there is anything, while a status can still be given
    archive.more().await?;
    if archive.page.is_empty() {
        let place = if folder.is_empty() { String::new() } else { format!(" in {folder}") };
        return Err(Error::missing(format!("{name} #{} has no artifacts{place}", build.number)));
    }
    let body = Body::from_stream(stream::try_unfold(archive, Archive::next));
    Ok(reply::typed(body, "application/zip"))
}

/// A zip in the making.
struct Archive {
    store: Arc<dyn Store>,
    objects: Arc<dyn Objects>,
    patience: std::time::Duration,
    build: model::BuildId,
    /// How the paths of what is in it begin in the index.
    prefix: String,
    /// What stands before the rest of the path in the zip.
    root: String,
    when: DateTime,
    page: VecDeque<Artifact>,
    /// The last path that was read from the index; `None` when all were.
    after: Option<String>,
    current: Option<(Artifact, u64)>,
    /// `None`: the zip is complete.
    zip: Option<ZipWriter<StreamWriter<Written>>>,
    written: Written,
}

impl Archive {
    fn new(look: &Look<'_>, build: &Build, folder: &str) -> Archive {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let own = folder.rsplit('/').next().filter(|name| !name.is_empty());
        let written = Written::default();
        Archive {
            store: Arc::clone(look.store()),
            objects: look.store().objects(),
            patience: look.app.settings.patience,
            build: build.id,
            root: format!("{}/", own.unwrap_or(ROOT)),
            when: date(build.ended_at.unwrap_or(build.started_at)),
            page: VecDeque::new(),
            after: Some(prefix.clone()),
            prefix,
            current: None,
            zip: Some(ZipWriter::new_stream(written.clone())),
            written,
        }
    }

    /// Reads the next rows of the index.
    async fn more(&mut self) -> Result<(), Error> {
        let Some(after) = self.after.take() else { return Ok(()) };
        let above = Some(after.as_str()).filter(|path| !path.is_empty());
        let read = || self.store.artifacts(self.build, above, PAGE).map_err(Error::from);
        let rows = again(self.patience, read).await?;
        let full = rows.len() == PAGE as usize;
        let last = rows.last().map(|row| row.path.clone());
        self.page.extend(rows.into_iter().take_while(|row| row.path.starts_with(&self.prefix)));
        // paths come in order, so those of a folder are together
        self.after = last.filter(|path| full && path.starts_with(&self.prefix));
        Ok(())
    }

    /// The next bytes to send, and what comes after them.
    async fn next(mut self) -> Result<Option<(Bytes, Archive)>, Error> {
        loop {
            if let Some(bytes) = self.written.take(if self.zip.is_some() { SENT } else { 1 }) {
                return Ok(Some((bytes, self)));
            }
            let Some(zip) = &mut self.zip else { return Ok(None) };
            if let Some((artifact, at)) = &mut self.current {
                if *at < artifact.size {
                    let max = usize::try_from((artifact.size - *at).min(PIECE)).unwrap_or_default();
                    let read = || self.objects.get(&artifact.object, *at, max).map_err(Error::from);
                    let bytes = again(self.patience, read).await?.filter(|bytes| !bytes.is_empty());
                    let bytes = bytes.ok_or_else(|| Error::missing("a file ends before its end"))?;
                    zip.write_all(&bytes).map_err(|e| broken(&e.into()))?;
                    *at += bytes.len() as u64;
                    continue;
                }
                self.current = None;
            }
            if self.page.is_empty() {
                self.more().await?;
            }
            match (self.page.pop_front(), self.zip.take()) {
                (Some(artifact), Some(mut zip)) => {
                    let options = SimpleFileOptions::default()
                        .compression_method(CompressionMethod::Deflated)
                        .compression_level(Some(1))
                        .last_modified_time(self.when)
                        .unix_permissions(0o644)
                        .large_file(artifact.size >= LARGE);
                    let path = artifact.path.strip_prefix(&self.prefix).unwrap_or(&artifact.path);
                    zip.start_file(format!("{}{path}", self.root), options).map_err(|e| broken(&e))?;
                    self.current = Some((artifact, 0));
                    self.zip = Some(zip);
                }
                (_, zip) => {
                    if let Some(zip) = zip {
                        zip.finish().map_err(|e| broken(&e))?;
                    }
                }
            }
        }
    }
}

fn broken(error: &zip::result::ZipError) -> Error {
    Error::Internal(format!("write a zip: {error}"))
}

/// Zips know years from 1980 to 2107; what is outside gets the first of them.
fn date(at: Millis) -> DateTime {
    let civil = jiff::Timestamp::from_millisecond(at.0).map(|at| at.to_zoned(jiff::tz::TimeZone::UTC));
    let date = civil.ok().and_then(|t| {
        let year = u16::try_from(t.year()).ok()?;
        let part = |number: i8| u8::try_from(number).unwrap_or_default();
        let (month, day) = (part(t.month()), part(t.day()));
        let (hour, minute, second) = (part(t.hour()), part(t.minute()), part(t.second()));
        DateTime::from_date_and_time(year, month, day, hour, minute, second).ok()
    });
    date.unwrap_or_default()
}

/// What was written and not sent yet.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self, least: usize) -> Option<Bytes> {
        let mut bytes = self.0.lock();
        (bytes.len() >= least).then(|| Bytes::from(std::mem::take(&mut *bytes)))
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
