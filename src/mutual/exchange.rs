//! One request on a connection of its own.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;

use crate::Stream;

/// What came back; `None` stands for every way in which no whole answer of at most `most` bytes came. Whoever waits limits the
/// time; dropped, nothing is left behind.
pub async fn exchange(stream: Stream, request: Request<Full<Bytes>>, most: usize) -> Option<Response<Bytes>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = Limited::new(body, most).collect().await.ok()?.to_bytes();
        Some(Response::from_parts(head, body))
    };
    // the connection is driven here, so nothing is left behind when the caller goes
    tokio::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        answer = &mut exchange => answer,
        _ = &mut connection => exchange.await,
    }
}
