//! WebSocket framing over any byte stream, with small buffers: an idle link must cost little.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use mutual::Stream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use crate::metrics::{End, Gone};

/// Boxed: the tasks that hand it on would each have room for it.
pub(crate) type Socket = Pin<Box<WebSocketStream<Stream>>>;

pub(crate) fn config(max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(max + 64 * 1024)
        .max_message_size(Some(max))
        .max_frame_size(Some(max))
}

/// The controller's side of an upgraded connection.
pub(crate) async fn upgraded(stream: Stream, max: usize) -> Socket {
    Box::pin(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config(max))).await)
}

/// The next binary message. `Err` says why there is none any more.
pub(crate) async fn next<S>(socket: &mut S) -> Result<Bytes, Gone>
where
    S: futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Text(_))) => return Err(Gone::new(End::Protocol, "it sent a text message")),
            Some(Ok(Message::Close(frame))) => {
                let said = frame.map(|f| f.reason.to_string()).filter(|r| !r.is_empty());
                let why = said.map_or("closed by the other side".to_owned(), |r| {
                    format!("closed by the other side: {r}")
                });
                return Err(Gone::new(End::Closed, why));
            }
            Some(Err(error)) => return Err(Gone::new(End::Broken, format!("the connection broke: {error}"))),
            None => return Err(Gone::new(End::Broken, "the connection ended")),
        }
    }
}

/// Closes with a reason; the other side's answer is not waited for.
pub(crate) async fn close<S>(socket: &mut S, reason: &str)
where
    S: futures_util::Sink<Message> + Unpin,
{
    let mut end = reason.len().min(120);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let frame = CloseFrame { code: CloseCode::Normal, reason: reason[..end].to_owned().into() };
    let closing = socket.send(Message::Close(Some(frame)));
    let _gone_or_slow = tokio::time::timeout(std::time::Duration::from_secs(1), closing).await;
}
