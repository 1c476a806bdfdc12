//! The one listening socket of a controller on one machine.
//!
//! `up` binds it and every replica gets it as its standard input, so all of them accept on the same socket. A replica also
//! hands it out over a Unix socket: an `up` that takes over gets it there, and nobody ever waits at a second socket that no
//! process accepts on.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

use crate::Error;

/// Environment variable that says at which descriptor a replica finds the listening socket: always 0.
pub const LISTEN_FD: &str = "MAJORDOMO_LISTEN_FD";
const BACKLOG: i32 = 1024;

/// A process that was killed has its sockets until the last of its threads is gone.
const LETS_GO: Duration = Duration::from_secs(1);

/// Binds the address, which nobody else may have.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let deadline = Instant::now() + LETS_GO;
    loop {
        let bound = TcpListener::bind(address).and_then(|listener| {
            // more than what the standard library asks for
            rustix::net::listen(&listener, BACKLOG)?;
            Ok(listener)
        });
        match bound {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(refused(address, &error)),
        }
    }
}

fn refused(address: SocketAddr, error: &io::Error) -> Error {
    Error::Refused(match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use by another program; stop that or choose another --listen")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{address} is no address of this machine; choose another --listen")
        }
        io::ErrorKind::PermissionDenied => {
            format!("this user may not listen on {address}; choose a port above 1023 with --listen")
        }
        _ => format!("listen on {address}: {error}"),
    })
}

/// For a replica: the socket that its parent gave it, if it did. Call it once, at the start.
pub fn inherited() -> io::Result<Option<TcpListener>> {
    match std::env::var(LISTEN_FD) {
        Ok(number) if number == "0" => {}
        Ok(_) => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{LISTEN_FD} can only be 0")));
        }
        Err(_) => return Ok(None),
    }
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.local_addr()?;
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}

/// For a replica: hands the socket to whoever connects at `path`, until it is dropped. Only the owner of the folder
/// can connect.
pub async fn share(listener: &TcpListener, path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let (_folder, short) = short(path)?;
    let door = tokio::net::UnixListener::bind(&short)?;
    loop {
        let (stream, _) = match door.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                // out of descriptors: others will have closed some
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = send(&stream, listener);
    }
}

fn send(stream: &tokio::net::UnixStream, listener: &TcpListener) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [listener.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(stream, &[IoSlice::new(b"L")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// For `up`: the socket that the replica at `path` accepts on.
pub(crate) fn receive(path: &Path) -> io::Result<TcpListener> {
    let (_folder, short) = short(path)?;
    let mut stream = UnixStream::connect(short)?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(&stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut found: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            found.extend(descriptors);
        }
    }
    let _ = stream.read(&mut byte);
    let descriptor = found.pop().ok_or_else(|| io::Error::other("the replica handed out no socket"))?;
    let listener = TcpListener::from(descriptor);
    listener.local_addr()?;
    Ok(listener)
}

/// A name for a Unix socket that fits its 107 bytes however deep the folder is; good while the folder is held.
fn short(path: &Path) -> io::Result<(std::fs::File, PathBuf)> {
    use std::os::fd::AsRawFd;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = std::fs::File::open(folder)?;
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((folder, short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_socket_is_handed_over_and_accepts_at_both_ends() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("majordomo-0.sock");
        let ours = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = ours.local_addr().unwrap();
        let (door, shared) = (path.clone(), ours.try_clone().unwrap());
        let task = tokio::spawn(async move { share(&shared, &door).await });
        let theirs = tokio::task::spawn_blocking(move || {
            let deadline = std::time::Instant::now() + Duration::from_secs(5);
            loop {
                match receive(&path) {
                    Ok(listener) => return listener,
                    Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
                }
            }
        });
        let theirs = theirs.await.unwrap();
        assert_eq!(theirs.local_addr().unwrap(), address);
        task.abort();
        drop(ours);
        // still bound, because the other end has it
        assert!(bind(address).await.unwrap_err().to_string().contains("in use"));
        let _client = std::net::TcpStream::connect(address).unwrap();
        theirs.accept().unwrap();
    }

    #[tokio::test]
    async fn who_lets_go_of_an_address_soon_is_waited_for() {
        let held = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = held.local_addr().unwrap();
        let (bound, ()) = tokio::join!(bind(address), async {
            tokio::task::yield_now().await;
            drop(held);
        });
        assert_eq!(bound.unwrap().local_addr().unwrap(), address);
    }

    #[tokio::test]
    async fn an_address_that_can_not_be_had_is_refused_with_a_sentence() {
        let held = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let said = bind(held.local_addr().unwrap()).await.unwrap_err().to_string();
        assert!(said.contains("is in use by another program"), "{said}");
        let said = bind("192.0.2.1:8080".parse().unwrap()).await.unwrap_err().to_string();
        assert!(said.contains("is no address of this machine"), "{said}");
    }
}
