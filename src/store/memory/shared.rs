//! A state that many share, behind the traits.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use model::{BuildId, JobName, NodeName, QueueId, ReplicaId};
use parking_lot::Mutex;

use super::State;
use crate::*;

/// A store that lives as long as its last clone.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

impl Memory {
    pub fn new() -> Memory {
        Memory::default()
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
