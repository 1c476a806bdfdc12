//! A TCP proxy that loses connections at a commit: before the server has seen it, or before the client has its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Next {
    Passes = 0,
    /// The server never sees it.
    Lost = 1,
    /// The server commits; its answer is lost.
    Unanswered = 2,
}

/// A commit as the simple protocol has it.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

pub(crate) struct Proxy {
    port: u16,
    next: Arc<AtomicU8>,
}

/// A connection ends whenever these bytes are sent: as a write does that the server cannot survive.
pub(crate) const DEADLY: &[u8] = b"deadly";

impl Proxy {
    pub(crate) async fn start(server: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let next = Arc::new(AtomicU8::new(Next::Passes as u8));
        let plan = Arc::clone(&next);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                tokio::spawn(carry(client, server, Arc::clone(&plan)));
            }
        });
        Proxy { port, next }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn next_commit(&self, next: Next) {
        self.next.store(next as u8, Ordering::SeqCst);
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, plan: Arc<AtomicU8>) {
    let (mut from_client, mut from_server) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(1..) = read else { return };
                let bytes = &from_client[..read.unwrap()];
                let planned = if bytes.ends_with(COMMIT) { plan.swap(0, Ordering::SeqCst) } else { 0 };
                let deadly = bytes.windows(DEADLY.len()).any(|window| window == DEADLY);
                if planned == Next::Lost as u8 || deadly {
                    return;
                }
                server.write_all(bytes).await.unwrap();
                if planned == Next::Unanswered as u8 {
                    // It has committed once it says so.
                    let _ = server.read(&mut from_server).await;
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(1..) = read else { return };
                client.write_all(&from_server[..read.unwrap()]).await.unwrap();
            }
        }
    }
}
