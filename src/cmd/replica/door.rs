//! Where users and agents come in, from when this replica is ready, or shows the setup wizard, until all who were in have gone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cluster::assign::MOVES;
use engine::Engine;
use link::Links;
use local::Paths;
use model::{ReplicaName, ReplicaState};
use parking_lot::Mutex;
use server::Limits;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use super::listen::BACKLOG;
use super::order::{DRAIN, hand_over};
use super::this::This;

/// A replica with a listener of its own goes on accepting for so long after it has said that it is not ready: whoever
/// balances connections before it looks only now and then. A shared socket needs no such time.
pub(super) const SERVE_ON: Duration = Duration::from_secs(5);

/// Serves users and agents, from when this replica is ready on. On a shared socket an earlier accept would take a
/// connection away from those who are.
pub(super) async fn public(
    door: &Door,
    paths: &Paths,
    name: &ReplicaName,
    router: axum::Router,
    this: &This,
) -> Result<()> {
    this.serving().await;
    let (stop, reserved) = (door.stop.clone(), door.reserved.lock().take());
    if let Some(listener) = &door.inherited {
        let socket = paths.replica_socket(name.as_str());
        let shared = listener.try_clone().context("share the inherited socket")?;
        let listener = TcpListener::from_std(listener.try_clone().context("share the inherited socket")?)
            .context("use the inherited socket")?;
        tokio::select! {
            () = server::serve(listener, router, stop.clone(), Limits::default()) => {}
            failed = local::share(&shared, &socket) => failed.context("hand out the socket")?,
        }
    } else if let Some(reserved) = reserved {
        let listener = reserved.listen(BACKLOG).context("listen for users and agents")?;
        server::serve(listener, router, stop, Limits { own: true, ..Limits::default() }).await;
    }
    door.closed.cancel();
    std::future::pending().await
}

/// Where users and agents come in.
pub(super) struct Door {
    /// The socket of `up`, which all its replicas accept on.
    pub(super) inherited: Option<std::net::TcpListener>,
    /// An address of our own. Nobody is accepted there before this replica is ready.
    pub(super) reserved: Mutex<Option<TcpSocket>>,
    /// Nobody is let in any more.
    pub(super) stop: CancellationToken,
    /// All who were in have gone.
    pub(super) closed: CancellationToken,
}

/// Waits for the order to stop (a signal, `/admin/stop`, `/admin/drain`), and moves everything elsewhere first.
pub(super) async fn stop(
    this: &This,
    cluster: &cluster::Handle,
    engine: &Engine,
    links: &Links,
    (door, serve_on): (&Door, Duration),
) {
    this.ordered().await;
    let served = this.serves();
    this.set(ReplicaState::Draining);
    // The store may be away: then there is nothing to hand over to, and others notice by our silence.
    let _told = tokio::time::timeout(Duration::from_secs(5), cluster.set_state(ReplicaState::Draining)).await;
    if served {
        tokio::time::sleep(serve_on).await;
    }
    door.stop.cancel();
    let started = Instant::now();
    let left = || this.left(started);
    let builds = hand_over(left, async |most| engine.hand_over(most).await).await;
    // The others take them one by one: all at once would make each wait for the last.
    while links.shed(MOVES, "this replica stops") > 0 && !left().is_zero() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    if served {
        // Answers that are on their way. They have been since nobody is let in any more.
        let left = DRAIN.saturating_sub(started.elapsed());
        let _ended = tokio::time::timeout(left, door.closed.cancelled()).await;
    }
    tracing::info!(builds_left = builds, millis = started.elapsed().as_millis(), "drained");
    this.drained();
    this.stopping().await;
    let _left = tokio::time::timeout(Duration::from_secs(5), cluster.leave()).await;
}
