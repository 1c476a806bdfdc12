//! Objects as files of a local folder. What was answered is on the disk: files and folders are synced.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path as FsPath, PathBuf};

use bytes::{Bytes, BytesMut};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use store::{Error, Objects, Result, Upload, check_key};

/// What an upload collects before it writes.
const PIECE: usize = 1024 * 1024;

/// A folder that is there.
pub(crate) struct Folder {
    files: LocalFileSystem,
    root: PathBuf,
}

impl Folder {
    /// Creates the folder if need be.
    pub(crate) fn open(path: &FsPath) -> io::Result<Folder> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let files = LocalFileSystem::new_with_prefix(path).map_err(io::Error::other)?;
        Ok(Folder { files: files.with_fsync(true).with_automatic_cleanup(true), root: path.to_owned() })
    }
}

impl Folder {
    /// Unless it is there already.
    pub(crate) async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        let how = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.files.put_opts(&path(key)?, PutPayload::from_bytes(bytes), how).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(away(error)),
        }
    }
}

fn path(key: &str) -> Result<Path> {
    check_key(key)?;
    Path::parse(key).map_err(|e| Error::Conflict(e.to_string()))
}

/// What waiting does not mend is a limit, and ends the step that meets it; the rest is asked again.
fn away(error: object_store::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(source) = cause {
        let kind = source.downcast_ref::<io::Error>().map(io::Error::kind);
        let why = match kind {
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => "no space is left for it",
            Some(io::ErrorKind::ReadOnlyFilesystem) => "its file system is read-only",
            Some(io::ErrorKind::PermissionDenied) => "this user may not write there",
            Some(_) | None => {
                cause = source.source();
                continue;
            }
        };
        return Error::Limit(format!("the controller can't keep objects: {why}"));
    }
    Error::Unavailable(error.to_string())
}

#[async_trait::async_trait]
impl Objects for Folder {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.files.put(&path(key)?, PutPayload::from_bytes(bytes)).await.map_err(away)?;
        Ok(())
    }

    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>> {
        let parts = self.files.put_multipart(&path(key)?).await.map_err(away)?;
        Ok(Box::new(FileUpload { parts, piece: BytesMut::new() }))
    }

    async fn get(&self, key: &str, from: u64, max: usize) -> Result<Option<Bytes>> {
        let path = path(key)?;
        let size = match self.files.head(&path).await {
            Ok(meta) => meta.size,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(away(error)),
        };
        let range: Range<u64> = from.min(size)..from.saturating_add(max as u64).min(size);
        if range.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        match self.files.get_range(&path, range).await {
            Ok(bytes) => Ok(Some(bytes)),
            // Deleted meanwhile.
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(away(error)),
        }
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let Ok(path) = path(key) else {
            return Ok(());
        };
        match self.files.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(away(error)),
        }
    }

    async fn keep_only(&self, prefix: &str, keep: &BTreeSet<String>) -> Result<()> {
        check_key(prefix)?;
        let (folder, keep) = (self.root.join(prefix), keep.iter().map(|key| self.root.join(key)).collect());
        let cleared = tokio::task::spawn_blocking(move || clear(&folder, &keep)).await;
        let ended = |e: tokio::task::JoinError| Error::Unavailable(e.to_string());
        cleared.map_err(ended)?.map_err(|e| Error::Unavailable(format!("clear the folder of objects: {e}")))
    }
}

/// Deletes the files below a folder, but for those of `keep`, and the folders that are empty then.
fn clear(folder: &FsPath, keep: &BTreeSet<PathBuf>) -> io::Result<()> {
    let gone = |done: io::Result<()>| match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            clear(&entry.path(), keep)?;
        } else if !keep.contains(&entry.path()) {
            gone(std::fs::remove_file(entry.path()))?;
        }
    }
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        done => gone(done),
    }
}

/// A file being written beside its place; object_store removes it when this is dropped.
struct FileUpload {
    parts: Box<dyn MultipartUpload>,
    piece: BytesMut,
}

impl FileUpload {
    async fn write_out(&mut self) -> Result<()> {
        let piece = self.piece.split().freeze();
        self.parts.put_part(PutPayload::from_bytes(piece)).await.map_err(away)
    }
}

#[async_trait::async_trait]
impl Upload for FileUpload {
    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let room = PIECE - self.piece.len();
            self.piece.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
            if self.piece.len() == PIECE {
                self.write_out().await?;
            }
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        if !self.piece.is_empty() {
            self.write_out().await?;
        }
        self.parts.complete().await.map_err(away)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_asked_again() {
        let error = |kind: io::ErrorKind| {
            away(object_store::Error::Generic {
                store: "LocalFileSystem",
                source: Box::new(io::Error::from(kind)),
            })
        };
        assert!(matches!(error(io::ErrorKind::StorageFull), Error::Limit(_)));
        assert!(matches!(error(io::ErrorKind::ReadOnlyFilesystem), Error::Limit(_)));
        assert!(matches!(error(io::ErrorKind::TimedOut), Error::Unavailable(_)));
    }
}
