//! A state that many share, behind the traits.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use model::{BuildId, JobName, NodeName, QueueId, ReplicaId};
use parking_lot::Mutex;

use super::{MemoryObjects, State};
use crate::*;

/// A store that lives as long as its last clone.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    objects: MemoryObjects,
}

impl Memory {
    pub fn new() -> Memory {
        Memory::default()
    }

    /// Its objects, of which a test may ask more than others.
    pub fn kept(&self) -> &MemoryObjects {
        &self.objects
    }

    async fn archive(&self, log: ArchivedLog) -> Result<archive::Reader> {
        let gone = archive::gone(&log.object);
        archive::Reader::open(self.objects(), log).await?.ok_or(gone)
    }

    /// Looks at the state, or changes it, while nobody else does.
    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock())
    }
}

#[async_trait]
impl Writer for Memory {
    async fn write(&self, write: Write) -> Result<Answer> {
        self.state.lock().apply(&write)
    }
}

macro_rules! read_state {
    ($port:ident { $($read:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)* }) => {
        #[async_trait]
        impl $port for Memory {
            $(async fn $read(&self, $($arg: $kind),*) -> Result<$answer> {
                Ok(self.state.lock().$read($($arg),*))
            })*
        }
    };
}
for_all_reads!(read_state);

#[async_trait]
impl Logs for Memory {
    async fn log(&self, build: BuildId, from: u64, max: usize) -> Result<Option<LogSlice>> {
        let (slice, archived) = self.with(|state| (state.log(build, from, max), state.archived(build)));
        let (Some(slice), Some(archived)) = (&slice, archived) else { return Ok(slice) };
        let bytes = self.archive(archived).await?.bytes(from, max).await?.unwrap_or_default();
        Ok(Some(LogSlice { bytes, ..*slice }))
    }

    async fn chunks(&self, build: BuildId, from: u64) -> Result<Vec<Chunk>> {
        let (chunks, archived) = self.with(|state| (state.chunks(build, from), state.archived(build)));
        let Some(archived) = archived else { return Ok(chunks) };
        Ok(self.archive(archived).await?.chunks(from).await?.unwrap_or_default())
    }
}

impl Store for Memory {
    fn objects(&self) -> Arc<dyn Objects> {
        Arc::new(self.objects.clone())
    }
}
