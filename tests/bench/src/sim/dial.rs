//! How a simulated agent connects: as a real one does, the sign-in page first, then the upgrade with its secret.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, bail};
use remoting::native::{INSTANCE_HEADER, MAX_MESSAGE, VERSION, VERSION_HEADER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

pub(super) type Socket = WebSocketStream<TcpStream>;

/// Connections from one loopback address: far fewer than there are ports.
const OF_ADDRESS: usize = 2_000;

/// Connects from an address that `index` chooses: one alone has ports for 28,000 connections, those just closed among them.
pub(crate) async fn connect(to: SocketAddr, index: usize) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let host = u8::try_from(index / OF_ADDRESS % 250).unwrap_or(0);
    socket.bind((Ipv4Addr::new(127, 1, 1, host + 1), 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

/// What one agent shows.
pub(super) struct Shown<'a> {
    pub(super) node: &'a str,
    pub(super) secret: &'a str,
    pub(super) instance: &'a str,
}

pub(super) async fn dial(to: SocketAddr, index: usize, shown: &Shown<'_>) -> Result<Socket> {
    login(connect(to, index).await?, to).await?;
    let mut request = format!("ws://{to}/wsagents/").into_client_request()?;
    let headers = request.headers_mut();
    headers.insert("Node-Name", HeaderValue::from_str(shown.node)?);
    headers.insert("Secret-Key", HeaderValue::from_str(shown.secret)?);
    headers.insert(VERSION_HEADER, HeaderValue::from_static(VERSION));
    headers.insert(INSTANCE_HEADER, HeaderValue::from_str(shown.instance)?);
    let stream = connect(to, index).await?;
    Ok(client_async_with_config(request, stream, Some(config())).await?.0)
}

/// A WebSocket that says nothing of our protocol: the limit.
pub(super) async fn bare(to: SocketAddr, index: usize) -> Result<Socket> {
    let request = format!("ws://{to}/").into_client_request()?;
    Ok(client_async_with_config(request, connect(to, index).await?, Some(config())).await?.0)
}

async fn login(mut stream: TcpStream, to: SocketAddr) -> Result<()> {
    let request = format!("GET /login HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        bail!(
            "the sign-in page is answered {:?}",
            String::from_utf8_lossy(answer.get(..40).unwrap_or(&answer))
        );
    }
    Ok(())
}
