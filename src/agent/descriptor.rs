//! Waiting for a descriptor that tokio has no type for.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that says when it can be read.
#[expect(unsafe_code, reason = "tokio has no safe way to wait for an inotify or process descriptor")]
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` holds one open descriptor, keeps it until it is dropped, and is never replaced here.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    Ok(registered?)
}
