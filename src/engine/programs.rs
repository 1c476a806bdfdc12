//! Compiled programs, by the hash of their source. A cache: it may vanish at any moment.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pipeline::act::Language;
use pipeline::diagnostic::Diagnostic;
use pipeline::program::Program;

/// Most programs kept.
const MAX: usize = 512;

type Key = (Language, [u8; 32]);

#[derive(Default)]
pub(crate) struct Programs {
    by_source: Mutex<HashMap<Key, Arc<Program>>>,
}

impl Programs {
    /// Compiles a source, or finds it compiled.
    pub(crate) async fn compile(
        &self,
        language: Language,
        source: &str,
    ) -> Result<Arc<Program>, Vec<Diagnostic>> {
        use sha2::{Digest, Sha256};
        let key: Key = (language, Sha256::digest(source.as_bytes()).into());
        if let Some(program) = self.by_source.lock().get(&key) {
            return Ok(Arc::clone(program));
        }
        let text = source.to_owned();
        let compiled = tokio::task::spawn_blocking(move || Program::compile_in(language, &text)).await;
        let program = match compiled {
            Ok(program) => Arc::new(program?),
            Err(_) => {
                let message = "the compiler stopped; this is a bug of Majordomo".to_owned();
                return Err(vec![Diagnostic { line: 1, column: 1, message }]);
            }
        };
        let mut all = self.by_source.lock();
        if all.len() >= MAX {
            all.clear();
        }
        all.insert(key, Arc::clone(&program));
        Ok(program)
    }
}
