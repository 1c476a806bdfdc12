//! Metrics of the other replicas, asked for at the address where peers reach them.

use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use model::ReplicaName;
use tokio::net::TcpStream;

use crate::Shared;

/// Time for one replica; all are asked at once.
const MOST: Duration = Duration::from_secs(2);
/// Bytes of one answer: some 100 KiB are usual.
const SIZE: usize = 4 * 1024 * 1024;

/// What each other live replica says of itself, in the text format of OpenMetrics; `None`: it did not answer in time.
pub(crate) async fn others(shared: &Shared) -> Vec<(ReplicaName, Option<String>)> {
    let view = shared.cluster.view().borrow().clone();
    let others = view.members.iter().filter(|m| m.live() && m.id != *shared.cluster.me());
    join_all(others.map(async |member| {
        let answer = match tokio::time::timeout(MOST, ask(&member.address, &shared.token)).await {
            Ok(Ok(text)) => Some(text),
            Ok(Err(why)) => {
                tracing::debug!(peer = %member.id, why, "ask a peer for its metrics");
                None
            }
            Err(_) => None,
        };
        (member.id.name.clone(), answer)
    }))
    .await
}

async fn ask(address: &str, token: &str) -> Result<String, String> {
    let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let request = Request::get("/metrics")
        .header(HOST, address)
        .header(ACCEPT, "application/openmetrics-text; version=1.0.0")
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let work = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("it answered {}", response.status()));
        }
        let body = Limited::new(response.into_body(), SIZE).collect().await.map_err(|e| e.to_string())?;
        String::from_utf8(body.to_bytes().to_vec()).map_err(|e| e.to_string())
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
