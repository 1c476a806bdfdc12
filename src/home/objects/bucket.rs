//! Objects in a bucket: S3 and what speaks like it, Google Cloud Storage, Azure. What was answered is kept there. Nothing waits
//! without a limit: a bucket that does not answer is away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use store::{Error, Objects, Result, Upload, check_key};
use tokio::time::timeout;

use super::fault::Fault;

/// What an upload collects before it sends a part; all parts but the last are of this size, as some servers want it. A smaller
/// object goes in one request.
const PIECE: usize = 8 * 1024 * 1024;
/// Most parts of an upload.
const PARTS: u32 = 10_000;
/// No object ends there.
const FAR: u64 = 1 << 50;
/// How many objects are deleted at once.
const DELETES: usize = 8;

/// All tries of a request together, with its body.
const READ: Duration = Duration::from_secs(15);
const WRITE: Duration = Duration::from_secs(60);
/// For what begins below a key.
const CLEAR: Duration = Duration::from_secs(60);

/// A bucket, and where in it. Clones are the same one.
#[derive(Clone)]
pub(super) struct Bucket(Arc<Inner>);

struct Inner {
    bucket: Box<dyn ObjectStore>,
    prefix: String,
    /// For people.
    address: String,
    /// It has not answered the last time, which was said.
    away: AtomicBool,
}

type Done<T> = std::result::Result<T, Fault>;

impl Bucket {
    pub(super) fn new(bucket: Box<dyn ObjectStore>, prefix: &str, address: String) -> Bucket {
        let prefix = prefix.to_owned();
        Bucket(Arc::new(Inner { bucket, prefix, address, away: AtomicBool::new(false) }))
    }

    /// Where the object is.
    pub(super) fn path(&self, key: &str) -> Result<Path> {
        check_key(key)?;
        let at = if self.0.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.0.prefix) };
        Path::parse(at).map_err(|e| Error::Conflict(e.to_string()))
    }

    /// As callers see it. That it does not answer, and that it does again, is said once: those who wait are silent.
    fn told<T>(&self, done: Done<T>) -> Result<T> {
        let address = &self.0.address;
        let fault = match done {
            Ok(done) => {
                if self.0.away.swap(false, Ordering::Relaxed) {
                    tracing::info!("the object store {address} answers again");
                }
                return Ok(done);
            }
            Err(fault) => fault,
        };
        let why = fault.why().to_owned();
        if let Fault::Full(_) = fault {
            return Err(Error::Limit(format!("the object store {address} does not take this object: {why}")));
        }
        // Credentials are changed, and rights given, while builds wait: it fails none of them.
        if !self.0.away.swap(true, Ordering::Relaxed) {
            tracing::warn!("the object store {address} is away ({why}); what needs it waits");
        }
        Err(Error::Unavailable(format!("the object store {address}: {why}")))
    }

    pub(super) async fn write(&self, path: &Path, bytes: Bytes) -> Done<()> {
        let put = self.0.bucket.put(path, PutPayload::from_bytes(bytes));
        within(WRITE, put).await.map(drop)
    }

    /// Unless it is there already, as far as the server can tell.
    pub(super) async fn create(&self, path: &Path, bytes: Bytes) -> Done<()> {
        let how = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.0.bucket.put_opts(path, PutPayload::from_bytes(bytes), how);
        within(WRITE, put).await.map(drop)
    }

    pub(super) async fn read(&self, path: &Path, from: u64, max: usize) -> Done<Option<Bytes>> {
        let to = from.saturating_add(max as u64);
        if to > from {
            // Servers that count in signed numbers refuse a larger end.
            let range = Some(match to > FAR {
                true => GetRange::Offset(from),
                false => GetRange::Bounded(from..to),
            });
            let read = async {
                let how = GetOptions { range, ..GetOptions::default() };
                self.0.bucket.get_opts(path, how).await?.bytes().await
            };
            match within(READ, read).await {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(Fault::Missing) => return Ok(None),
                // It ends before, or is empty; nothing else may be taken for an end.
                Err(Fault::Range) => {}
                Err(fault) => return Err(fault),
            }
        }
        match within(READ, self.0.bucket.head(path)).await {
            Ok(meta) if to > from && meta.size > from => {
                Err(Fault::Away(format!("it does not give what is at {from} of {}", meta.size)))
            }
            Ok(_) => Ok(Some(Bytes::new())),
            Err(Fault::Missing) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    pub(super) async fn remove(&self, path: &Path) -> Done<()> {
        match within(WRITE, self.0.bucket.delete(path)).await {
            Err(Fault::Missing) => Ok(()),
            done => done,
        }
    }

    /// Whether it may be listed what is there.
    pub(super) async fn list_some(&self, below: &Path) -> Done<()> {
        let mut there = self.0.bucket.list(Some(below));
        let first = async { there.next().await.transpose() };
        within(READ, first).await.map(drop)
    }

    async fn clear(&self, below: &Path, keep: &BTreeSet<Path>) -> Done<()> {
        let there = self.0.bucket.list(Some(below));
        let gone = there
            .map_err(|e| Fault::of(&e))
            .try_filter(|meta| std::future::ready(!keep.contains(&meta.location)))
            .map(|meta| async move { self.remove(&meta?.location).await });
        let gone = gone.buffer_unordered(DELETES).try_collect::<()>();
        timeout(CLEAR, gone).await.unwrap_or_else(|_| Err(silent()))
    }
}

/// A request and what it is answered, but no longer than that.
async fn within<T>(limit: Duration, asked: impl Future<Output = object_store::Result<T>>) -> Done<T> {
    match timeout(limit, asked).await {
        Ok(done) => done.map_err(|e| Fault::of(&e)),
        Err(_) => Err(silent()),
    }
}

fn silent() -> Fault {
    Fault::Away("it does not answer in time".to_owned())
}

#[async_trait::async_trait]
impl Objects for Bucket {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        let path = self.path(key)?;
        if bytes.len() <= PIECE {
            return self.told(self.write(&path, bytes).await);
        }
        let mut upload = self.upload(key).await?;
        upload.write(bytes).await?;
        upload.finish().await
    }

    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>> {
        let path = self.path(key)?;
        let (piece, parts) = (BytesMut::new(), None);
        Ok(Box::new(BucketUpload { bucket: self.clone(), path, piece, parts, sent: 0 }))
    }

    async fn get(&self, key: &str, from: u64, max: usize) -> Result<Option<Bytes>> {
        let path = self.path(key)?;
        self.told(self.read(&path, from, max).await)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let Ok(path) = self.path(key) else { return Ok(()) };
        self.told(self.remove(&path).await)
    }

    async fn keep_only(&self, prefix: &str, keep: &BTreeSet<String>) -> Result<()> {
        let below = self.path(prefix)?;
        let keep = keep.iter().filter_map(|key| self.path(key).ok()).collect();
        self.told(self.clear(&below, &keep).await)
    }
}

/// What is sent so far is no object yet. Parts that a killed process has sent are seen by nobody; the bucket's own rule for
/// uploads that are not completed deletes them.
struct BucketUpload {
    bucket: Bucket,
    path: Path,
    piece: BytesMut,
    /// From the second piece on.
    parts: Option<Box<dyn MultipartUpload>>,
    sent: u32,
}

impl BucketUpload {
    async fn send(&mut self) -> Result<()> {
        if self.sent == PARTS {
            let most = PARTS as usize * PIECE;
            return Err(Error::Limit(format!("an object may have {most} bytes in a bucket")));
        }
        let mut parts = match self.parts.take() {
            Some(parts) => parts,
            None => {
                let begun = within(WRITE, self.bucket.0.bucket.put_multipart(&self.path)).await;
                self.bucket.told(begun)?
            }
        };
        let part = parts.put_part(PutPayload::from_bytes(self.piece.split().freeze()));
        let sent = within(WRITE, part).await;
        // Whatever came of it, it is aborted when this is dropped.
        self.parts = Some(parts);
        self.sent += 1;
        self.bucket.told(sent)
    }
}

#[async_trait::async_trait]
impl Upload for BucketUpload {
    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            if self.piece.len() == PIECE {
                self.send().await?;
            }
            let room = PIECE - self.piece.len();
            self.piece.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        if self.parts.is_none() {
            let bytes = self.piece.split().freeze();
            return self.bucket.told(self.bucket.write(&self.path, bytes).await);
        }
        self.send().await?;
        if let Some(parts) = &mut self.parts {
            let complete = within(WRITE, parts.complete()).await;
            self.bucket.told(complete)?;
        }
        self.parts = None;
        Ok(())
    }
}

impl Drop for BucketUpload {
    fn drop(&mut self) {
        // Nobody waits for it.
        if let Some(mut parts) = self.parts.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            drop(runtime.spawn(async move {
                if let Err(fault) = within(WRITE, parts.abort()).await {
                    tracing::debug!("abort an upload: {}", fault.why());
                }
            }));
        }
    }
}
