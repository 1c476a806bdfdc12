//! Notices that spools grow: the kernel says so where it can.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::descriptor::readable;
use crate::step::StepKey;

/// A program that writes byte by byte wakes us no more often than this.
const PAUSE: Duration = Duration::from_millis(2);

/// Watches files of steps.
#[derive(Debug)]
pub(super) struct Notice {
    kernel: Option<AsyncFd<OwnedFd>>,
    watched: HashMap<i32, StepKey>,
    not_before: Instant,
    /// A file could not be watched: somebody has to look.
    pub(super) blind: bool,
}

impl Notice {
    pub(super) fn new() -> Notice {
        let kernel = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(std::io::Error::from)
            .and_then(readable);
        let kernel = kernel.inspect_err(|e| warn!("watch files: {e}; their output comes more slowly")).ok();
        Notice { blind: kernel.is_none(), kernel, watched: HashMap::new(), not_before: Instant::now() }
    }

    pub(super) fn watch(&mut self, path: &Path, key: StepKey) -> Option<i32> {
        let kernel = self.kernel.as_ref()?;
        match inotify::add_watch(kernel.get_ref(), path, WatchFlags::MODIFY) {
            Ok(id) => {
                self.watched.insert(id, key);
                Some(id)
            }
            Err(e) => {
                if !std::mem::replace(&mut self.blind, true) {
                    warn!("watch {}: {e}; its output comes more slowly", path.display());
                }
                None
            }
        }
    }

    pub(super) fn forget(&mut self, id: i32) {
        self.watched.remove(&id);
        if let Some(kernel) = &self.kernel {
            // It fails when the file is gone, and with it the watch.
            let _gone = inotify::remove_watch(kernel.get_ref(), id);
        }
    }

    /// Waits until some have grown. Cancel-safe: nothing is awaited once something was read.
    pub(super) async fn grown(&mut self) -> Vec<StepKey> {
        let Some(kernel) = &self.kernel else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = kernel.readable().await else { return std::future::pending().await };
            sleep_until(self.not_before).await;
            let mut keys = Vec::new();
            let mut buffer = [MaybeUninit::uninit(); 2048];
            let mut events = inotify::Reader::new(kernel.get_ref(), &mut buffer);
            // `next` reads again when the buffer is used up, so this ends with an error: nothing more is there.
            while let Ok(event) = events.next() {
                if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                    keys = self.watched.values().cloned().collect();
                } else if let Some(key) = self.watched.get(&event.wd()) {
                    keys.push(key.clone());
                }
            }
            ready.clear_ready();
            if !keys.is_empty() {
                self.not_before = Instant::now() + PAUSE;
                return keys;
            }
        }
    }
}
