//! Content of an op on its way between the service and the thread that works on it. The thread waits, the service
//! never does.

use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use remoting::ops::CREDIT;

/// How far a thread may be ahead of the link.
const AHEAD: usize = 64 * 1024;

/// One direction of content. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pipe {
    shared: Arc<Shared>,
    /// Tells the service that there is more content, or more room.
    notify: Arc<dyn Fn() + Send + Sync>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    buffer: BytesMut,
    /// Nothing comes after what is in the buffer.
    complete: bool,
    /// Why nobody wants it any more.
    broken: Option<String>,
    /// Bytes that were read in all.
    taken: u64,
}

impl Pipe {
    pub(crate) fn new(notify: impl Fn() + Send + Sync + 'static) -> Pipe {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        Pipe { shared, notify: Arc::new(notify) }
    }

    /// Content from the link. It may not be more than was allowed.
    pub(crate) fn push(&self, bytes: &[u8], last: bool) {
        let mut state = self.lock();
        if state.buffer.len() as u64 + bytes.len() as u64 > CREDIT {
            state.broken.get_or_insert_with(|| format!("more than {CREDIT} bytes were sent ahead"));
        } else {
            state.buffer.extend_from_slice(bytes);
        }
        state.complete |= last;
        self.shared.changed.notify_all();
    }

    /// At most `most` bytes for the link; empty when there are none now.
    pub(crate) fn pull(&self, most: usize) -> Bytes {
        let mut state = self.lock();
        let length = state.buffer.len().min(most);
        let piece = state.buffer.split_to(length).freeze();
        state.taken += piece.len() as u64;
        self.shared.changed.notify_all();
        piece
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().buffer.is_empty()
    }

    /// Bytes that the thread has read in all.
    pub(crate) fn taken(&self) -> u64 {
        self.lock().taken
    }

    /// Lets the thread fail at its next read or write.
    pub(crate) fn break_off(&self, why: &str) {
        self.lock().broken.get_or_insert_with(|| why.to_owned());
        self.shared.changed.notify_all();
    }

    /// For work between reads and writes: is it still wanted?
    pub(crate) fn check(&self) -> io::Result<()> {
        match &self.lock().broken {
            Some(why) => Err(io::Error::other(why.clone())),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready`, or fails when it is broken off.
    fn wait(&self, ready: impl Fn(&State) -> bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        loop {
            if let Some(why) = &state.broken {
                return Err(io::Error::other(why.clone()));
            }
            if ready(&state) {
                return Ok(state);
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.wait(|state| state.complete || !state.buffer.is_empty())?;
        let length = state.buffer.len().min(into.len());
        into[..length].copy_from_slice(&state.buffer.split_to(length));
        state.taken += length as u64;
        drop(state);
        (self.notify)();
        Ok(length)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.wait(|state| state.buffer.len() < AHEAD)?;
        let length = bytes.len().min(AHEAD - state.buffer.len());
        let was_empty = state.buffer.is_empty();
        state.buffer.extend_from_slice(&bytes[..length]);
        drop(state);
        if was_empty {
            (self.notify)();
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
