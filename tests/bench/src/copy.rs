//! The limit of log throughput: bytes over a bare WebSocket into SQLite, under the credit and with the commits that logs have.
//!
//! One side sends frames of 32 KiB and never more than 1 MiB ahead of what is committed, as an agent does when nothing else runs; the other
//! commits what has come as one row, synced to the disk, and tells how far it is. No journal, no guard, no reader.

use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use remoting::ops::MAX_PIECE;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{accept_async_with_config, client_async_with_config};

/// How far ahead of what is committed.
const AHEAD: u64 = 1024 * 1024;

/// Copies so many bytes. → bytes a second
pub(crate) fn measure(size: u64) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("copy.db");
    let began = Instant::now();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let sending = tokio::spawn(async move { send(TcpStream::connect(address).await?, size).await });
        let (stream, _) = listener.accept().await?;
        store(stream, size, &database).await?;
        sending.await?
    })?;
    #[expect(clippy::cast_precision_loss, reason = "a figure to be shown")]
    let size = size as f64;
    Ok(size / began.elapsed().as_secs_f64())
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4 * 1024).write_buffer_size(0)
}

async fn send(stream: TcpStream, size: u64) -> Result<()> {
    stream.set_nodelay(true)?;
    let (socket, _) = client_async_with_config("ws://localhost/", stream, Some(config())).await?;
    let (mut sink, mut source) = socket.split();
    let piece = Bytes::from(vec![b'.'; MAX_PIECE]);
    let (mut sent, mut committed) = (0, 0);
    while committed < size {
        while sent < size && sent + MAX_PIECE as u64 <= committed + AHEAD {
            sink.send(Message::Binary(piece.clone())).await?;
            sent += MAX_PIECE as u64;
        }
        let next = source.next().await.context("the other side left")??;
        committed = next.into_text()?.parse()?;
    }
    Ok(())
}

async fn store(stream: TcpStream, size: u64, database: &std::path::Path) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut sink, mut source) = accept_async_with_config(stream, Some(config())).await?.split();
    let (to_writer, mut pieces) = mpsc::channel::<Bytes>(64);
    let (to_socket, mut committed) = mpsc::channel::<u64>(64);
    let connection = rusqlite::Connection::open(database)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("CREATE TABLE log (start INTEGER PRIMARY KEY, body BLOB)")?;
    let writing = std::thread::spawn(move || -> Result<()> {
        let mut insert = connection.prepare("INSERT INTO log (start, body) VALUES (?1, ?2)")?;
        let mut end = 0u64;
        while let Some(first) = pieces.blocking_recv() {
            let mut body = first.to_vec();
            while let Ok(more) = pieces.try_recv() {
                body.extend_from_slice(&more);
            }
            insert.execute(rusqlite::params![i64::try_from(end)?, body])?;
            end += body.len() as u64;
            to_socket.blocking_send(end)?;
        }
        Ok(())
    });
    let mut done = 0;
    while done < size {
        tokio::select! {
            next = source.next() => match next.context("the other side left")?? {
                Message::Binary(bytes) => to_writer.send(bytes).await?,
                other => bail!("it sent {other:?}"),
            },
            Some(end) = committed.recv() => {
                done = end;
                sink.send(Message::text(end.to_string())).await?;
            }
        }
    }
    drop(to_writer);
    writing.join().map_err(|_| anyhow!("the writer stopped"))?
}
