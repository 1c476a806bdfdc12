//! A process that accepts WebSockets and does nothing but ping them: what any server of agents takes at least.

use std::io::Read;
use std::time::Duration;

use anyhow::Result;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, interval_at};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};

/// As a replica pings agents at rest.
pub(crate) const PING: Duration = Duration::from_secs(15);

/// Serves until standard input ends, which it does with the bench.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(1024)?;
        println!("{}", listener.local_addr()?);
        // a read of standard input can't be cancelled: its thread ends with the process
        let (ended, over) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let _read = std::io::stdin().read(&mut [0]);
            drop(ended);
        });
        tokio::pin!(over);
        for count in 0u64.. {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted?;
                    tokio::spawn(idle(stream, count));
                }
                _ = &mut over => break,
            }
        }
        Ok(())
    })
}

async fn idle(stream: TcpStream, count: u64) {
    let _slower = stream.set_nodelay(true);
    let config = WebSocketConfig::default().read_buffer_size(4 * 1024).write_buffer_size(0);
    let Ok(mut socket) = accept_async_with_config(stream, Some(config)).await else { return };
    // not all at the same moment
    let first = Instant::now() + Duration::from_millis(count * 7_919 % 15_000);
    let mut pings = interval_at(first, PING);
    loop {
        tokio::select! {
            next = socket.next() => if !matches!(next, Some(Ok(_))) { return },
            _ = pings.tick() => if socket.send(Message::Ping(Vec::new().into())).await.is_err() { return },
        }
    }
}
