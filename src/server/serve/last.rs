//! The end of a listener that nobody shares. The kernel makes connections whether or not anybody accepts them, and resets
//! those that are left when the listener is closed: a client that has sent a request by then does not know whether it was
//! carried out. So the kernel is told to make no more; those that are made are taken, and then there is nothing to reset.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// A connection that was being made is made by then.
const MADE: Duration = Duration::from_millis(250);

/// A program for the kernel: first packets of connections (those with SYN set in byte 13 of the TCP header) are dropped, all
/// others pass. A client sends its first packet again after a second, and is refused, or connects to the next one.
const NO_MORE: [SockFilter; 4] = [
    SockFilter::new(LOAD_BYTE, 0, 0, 13),
    SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
    SockFilter::new(RETURN, 0, 0, 0),
    SockFilter::new(RETURN, 0, 0, u32::MAX),
];
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
const SYN: u32 = 0x02;

/// From now on no connection is made. Where the kernel does not know that, a few may be reset.
pub(super) fn refuse_more(listener: &TcpListener) {
    if let Err(error) = SockRef::from(listener).attach_filter(&NO_MORE) {
        tracing::debug!(%error, "refuse further connections");
    }
}

/// One of those that are made already; `None`: there is none any more.
pub(super) async fn made(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    loop {
        match timeout(MADE, listener.accept()).await {
            Ok(Ok(accepted)) => return Some(accepted),
            // that one has gone
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Ok(Err(_)) | Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::serve::{Limits, serve};

    /// One request on a connection of its own. `Ok(false)`: nobody was there, and nothing was sent.
    async fn request(address: SocketAddr) -> Result<bool, String> {
        let mut stream = match TcpStream::connect(address).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(false),
            Err(error) => return Err(format!("connect: {error}")),
        };
        let head = "POST /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(head.as_bytes()).await.map_err(|error| format!("send: {error}"))?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map_err(|error| format!("read: {error}"))?;
        if answer.starts_with(b"HTTP/1.1 200") { Ok(true) } else { Err("no answer".to_owned()) }
    }

    /// Clients that connect all the time while the server stops.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_request_is_sent_in_vain_when_a_listener_of_its_own_is_closed() {
        let answered = Arc::new(AtomicUsize::new(0));
        for _round in 0..10 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let router = axum::Router::new().fallback(async || "ok");
            let (stop, limits) = (CancellationToken::new(), Limits { own: true, ..Limits::default() });
            let server = tokio::spawn(serve(listener, router, stop.clone(), limits));
            let mut clients = tokio::task::JoinSet::new();
            for _ in 0..32 {
                let answered = Arc::clone(&answered);
                clients.spawn(async move {
                    while request(address).await? {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok::<(), String>(())
                });
            }
            let before = answered.load(Ordering::Relaxed);
            while answered.load(Ordering::Relaxed) < before + 200 {
                tokio::task::yield_now().await;
            }
            stop.cancel();
            let ended = clients.join_all().await;
            assert_eq!(
                ended.iter().filter_map(|e| e.as_ref().err()).collect::<Vec<_>>(),
                Vec::<&String>::new()
            );
            server.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_made_is_taken_and_no_more_is_made() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _before = TcpStream::connect(address).await.unwrap();
        refuse_more(&listener);
        let mut late = Box::pin(TcpStream::connect(address));
        tokio::select! {
            made = &mut late => panic!("{made:?}"),
            first = made(&listener) => assert!(first.is_some()),
        }
        tokio::select! {
            made = &mut late => panic!("{made:?}"),
            none = made(&listener) => assert!(none.is_none()),
        }
        drop(listener);
        let refused = late.await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
