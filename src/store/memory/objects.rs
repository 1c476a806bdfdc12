//! Objects in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::{Objects, Result, Upload, check_key};

type Kept = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// An object store that lives as long as its last clone.
#[derive(Debug, Clone, Default)]
pub struct MemoryObjects {
    kept: Kept,
}

impl MemoryObjects {
    pub fn new() -> MemoryObjects {
        MemoryObjects::default()
    }

    /// All keys, in order: what a test asks after a crash.
    pub fn keys(&self) -> Vec<String> {
        self.kept.lock().keys().cloned().collect()
    }
}

#[async_trait]
impl Objects for MemoryObjects {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        check_key(key)?;
        self.kept.lock().insert(key.to_owned(), bytes);
        Ok(())
    }

    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>> {
        check_key(key)?;
        let (kept, key) = (Arc::clone(&self.kept), key.to_owned());
        Ok(Box::new(MemoryUpload { kept, key, bytes: BytesMut::new() }))
    }

    async fn get(&self, key: &str, from: u64, max: usize) -> Result<Option<Bytes>> {
        check_key(key)?;
        let kept = self.kept.lock();
        let Some(bytes) = kept.get(key) else { return Ok(None) };
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        Ok(Some(bytes.slice(from..from.saturating_add(max).min(bytes.len()))))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.kept.lock().remove(key);
        Ok(())
    }

    async fn keep_only(&self, prefix: &str, keep: &BTreeSet<String>) -> Result<()> {
        check_key(prefix)?;
        let below = format!("{prefix}/");
        self.kept.lock().retain(|key, _| !key.starts_with(&below) || keep.contains(key));
        Ok(())
    }
}

struct MemoryUpload {
    kept: Kept,
    key: String,
    bytes: BytesMut,
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.kept.lock().insert(self.key, self.bytes.freeze());
        Ok(())
    }
}
