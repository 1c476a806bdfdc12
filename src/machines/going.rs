//! Whether this replica goes now, and what it says of a revision that it could not start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cluster::View;
use model::{Clock, ReplicaName};
use rollout::Revision;
use serde::{Deserialize, Serialize};
use store::{Answer, Store, Write};

use crate::programs::Programs;
use crate::{Plan, ROLLOUT};

/// Begins the names of the leases in which replicas say what they could not start; their own name follows.
const GAVE_UP: &str = "gave-up:";
/// Between two attempts to write that down.
const AGAIN: Duration = Duration::from_secs(1);

/// A revision that a replica could not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GaveUp {
    pub revision: Revision,
    /// For people.
    pub why: String,
}

/// What all replicas have said.
pub(crate) fn said(view: &View) -> BTreeMap<ReplicaName, GaveUp> {
    let said = view.leases.iter().filter_map(|lease| {
        let name = ReplicaName::parse(lease.name.strip_prefix(GAVE_UP)?).ok()?;
        Some((name, serde_json::from_str(&lease.note).ok()?))
    });
    said.collect()
}

/// Tells whoever replaces replicas that this one could not start a revision. Waits for the store.
pub async fn announce(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    cluster: &cluster::Handle,
    gave_up: &GaveUp,
) {
    let lease = format!("{GAVE_UP}{}", cluster.me().name);
    loop {
        match leave(store, clock, cluster, &lease, gave_up).await {
            Ok(true) => return cluster.look(),
            Ok(false) => {}
            Err(error) if error.passing() => tracing::debug!(%error, "say what could not be started"),
            // The membership is over: the next one says it.
            Err(error) => return tracing::warn!(%error, "say what could not be started"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Whether it is written down.
async fn leave(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    cluster: &cluster::Handle,
    lease: &str,
    gave_up: &GaveUp,
) -> Result<bool, store::Error> {
    let me = cluster.me().clone();
    let seen = store.leases().await?.into_iter().find(|l| l.name == *lease).map(|l| l.fence);
    let acquire = Write::AcquireLease { lease: lease.to_owned(), me: me.clone(), seen, at: clock.now() };
    let Answer::Acquired(Some(fence)) = store.write(acquire).await? else { return Ok(false) };
    let note = serde_json::to_string(gave_up).map_err(|e| store::Error::Limit(e.to_string()))?;
    store.write(Write::NoteLease { lease: lease.to_owned(), me, fence, note }).await?;
    Ok(true)
}

/// Waits until this replica is told to go and its next program is ready to be started: then it is to end.
pub async fn gone(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    cluster: &cluster::Handle,
    programs: &Arc<Programs>,
) {
    let mut views = cluster.view();
    let mut gave_up = programs.gave_up();
    if let Some(gave_up) = &gave_up {
        announce(store, clock, cluster, gave_up).await;
    }
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        let lease = view.leases.iter().find(|lease| lease.name == ROLLOUT);
        let plan = lease.and_then(|lease| Plan::read(&lease.note));
        let could_not = gave_up.as_ref().map(|gave_up| &gave_up.revision);
        let order = plan.and_then(|plan| plan.order(&cluster.me().name, programs.runs(), could_not));
        if let Some(order) = order {
            let revision = order.revision.clone();
            tracing::info!(%revision, "this replica is replaced");
            let why = match Arc::clone(programs).take(order).await {
                Ok(()) => return,
                Err(why) => why.to_string(),
            };
            tracing::error!(%revision, why, "the next program can't be started");
            let said = gave_up.insert(GaveUp { revision, why });
            announce(store, clock, cluster, said).await;
        }
        if views.changed().await.is_err() {
            // the process is about to end anyway
            return std::future::pending().await;
        }
    }
}
