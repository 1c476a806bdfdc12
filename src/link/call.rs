//! A request to another replica at the address where peers reach it, in HTTP: for what is asked now and then, and of a
//! version that may not know it: it takes our token for a user's and answers 401, and no connection breaks.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST};
use hyper::http::request::Builder;
use hyper::{StatusCode, header::HeaderValue};
use hyper_util::rt::TokioIo;
use mutual::Peering;

/// Bytes of one answer.
const SIZE: usize = 4 * 1024 * 1024;

/// Where a peer is, how it is reached, and what it is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) address: &'a str,
    pub(crate) peering: &'a Peering,
}

/// Sends one request on a connection of its own. `Err` is a sentence. Whoever waits limits the time.
pub(crate) async fn call(at: At<'_>, request: Builder, body: Bytes) -> Result<(StatusCode, Bytes), String> {
    let At { address, peering } = at;
    let stream = peering.dial.connect(address).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let request = request
        .header(HOST, address)
        .header(AUTHORIZATION, format!("Bearer {}", peering.token))
        .header(CONNECTION, HeaderValue::from_static("close"))
        .body(Full::new(body))
        .map_err(|e| e.to_string())?;
    let work = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), SIZE).collect().await.map_err(|e| e.to_string())?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(work, connection);
    let mut ended = false;
    loop {
        tokio::select! {
            biased;
            answer = &mut work => return answer,
            // what has arrived is still to be read
            _ = &mut connection, if !ended => ended = true,
        }
    }
}
