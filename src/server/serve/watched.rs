//! When something last moved on a connection, and since when a request's head is under way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::{Limits, Moment};

/// What the connection's task looks at.
pub(super) struct Activity {
    began: Instant,
    /// Last time that bytes came or went.
    moved: Moment,
    /// First bytes since the last request; 0 when none came.
    head: Moment,
    /// Handlers at work.
    working: AtomicUsize,
}

/// A handler at work; ends also when its request is dropped.
pub(super) struct Working(Arc<Activity>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::Relaxed);
        self.0.moved.store(self.0.now(), Ordering::Relaxed);
    }
}

impl Activity {
    pub(super) fn new() -> Activity {
        Activity {
            began: Instant::now(),
            moved: Moment::new(1),
            head: Moment::new(1),
            working: AtomicUsize::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// A request's head is there and its handler begins.
    pub(super) fn begin(self: &Arc<Activity>) -> Working {
        self.working.fetch_add(1, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
        Working(Arc::clone(self))
    }

    fn note(&self, read: bool) {
        let now = self.now();
        self.moved.store(now, Ordering::Relaxed);
        if read && self.working.load(Ordering::Relaxed) == 0 {
            let _begun = self.head.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether the client is too slow.
    pub(super) fn stuck(&self, limits: &Limits) -> bool {
        if self.working.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let since = |moment: &Moment| self.now().saturating_sub(moment.load(Ordering::Relaxed));
        let head = self.head.load(Ordering::Relaxed) != 0 && since(&self.head) > millis(limits.head_timeout);
        head || since(&self.moved) > millis(limits.idle_timeout)
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A stream that notes what moves on it.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Watched<S> {
        Watched { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.activity.note(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        this.activity.note(false);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, bufs))?;
        this.activity.note(false);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
