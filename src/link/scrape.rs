//! Metrics of the other replicas, asked for at the address where peers reach them.

use std::time::Duration;

use futures_util::future::join_all;
use hyper::body::Bytes;
use hyper::header::ACCEPT;
use hyper::{Request, StatusCode};
use model::ReplicaName;

use crate::Shared;
use crate::call::{At, call};

/// Time for one replica; all are asked at once.
const MOST: Duration = Duration::from_secs(2);

/// What each other live replica says of itself, in the text format of OpenMetrics; `None`: it did not answer in time.
pub(crate) async fn others(shared: &Shared) -> Vec<(ReplicaName, Option<String>)> {
    let view = shared.cluster.view().borrow().clone();
    let others = view.members.iter().filter(|m| m.live() && m.id != *shared.cluster.me());
    join_all(others.map(async |member| {
        let at = At { address: &member.address, peering: &shared.peering };
        let answer = match tokio::time::timeout(MOST, ask(at)).await {
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

async fn ask(at: At<'_>) -> Result<String, String> {
    let accept = "application/openmetrics-text; version=1.0.0";
    let (status, body) = call(at, Request::get("/metrics").header(ACCEPT, accept), Bytes::new()).await?;
    match status {
        StatusCode::OK => String::from_utf8(body.to_vec()).map_err(|e| e.to_string()),
        status => Err(format!("it answered {status}")),
    }
}
