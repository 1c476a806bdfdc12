//! What this replica is doing, for the server, and the orders that it gets.

use async_trait::async_trait;
use model::{ReplicaId, ReplicaName, ReplicaState};
use security::Keys;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub(super) struct This {
    cluster: cluster::Handle,
    keys: Keys,
    state: watch::Sender<ReplicaState>,
    order: watch::Sender<Order>,
    drained: watch::Sender<bool>,
}

/// Each includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Serve,
    Drain,
    Stop,
}

impl This {
    pub(super) fn new(cluster: cluster::Handle, keys: Keys) -> This {
        let state = watch::Sender::new(ReplicaState::Waiting);
        let (order, drained) = (watch::Sender::new(Order::Serve), watch::Sender::new(false));
        This { cluster, keys, state, order, drained }
    }

    /// What it does, now and whenever that changes.
    pub(super) fn states(&self) -> watch::Receiver<ReplicaState> {
        self.state.subscribe()
    }

    /// Whether this process is to end.
    pub(super) fn ends(&self) -> bool {
        *self.order.borrow() == Order::Stop
    }

    /// Until it is.
    pub(super) async fn ending(&self) {
        let mut orders = self.order.subscribe();
        let _ended = orders.wait_for(|order| *order == Order::Stop).await;
    }

    /// This process is to end.
    pub(super) fn end(&self) {
        self.order.send_replace(Order::Stop);
    }

    pub(super) fn set(&self, state: ReplicaState) {
        self.state.send_replace(state);
    }

    pub(super) async fn until(&self, wanted: ReplicaState) {
        let mut states = self.state.subscribe();
        let _ended = states.wait_for(|state| *state == wanted).await;
    }

    /// Takes signals for orders to stop; never ends. Whoever listens only now and then misses those between.
    pub(super) async fn hear_signals(&self) {
        let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return std::future::pending().await;
        };
        loop {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            self.end();
        }
    }

    /// Until a drain or a stop is ordered.
    pub(super) async fn ordered(&self) {
        let mut orders = self.order.subscribe();
        let _ordered = orders.wait_for(|order| *order >= Order::Drain).await;
    }

    pub(super) fn drained(&self) {
        self.drained.send_replace(true);
    }

    /// Until the process is to end; a drain alone leaves it alive.
    pub(super) async fn stopping(&self) {
        self.ending().await;
    }
}

#[async_trait]
impl server::Replica for This {
    fn name(&self) -> ReplicaName {
        self.cluster.me().name.clone()
    }

    fn state(&self) -> ReplicaState {
        *self.state.borrow()
    }

    fn ready(&self) -> Result<(), String> {
        match self.state() {
            ReplicaState::Ready => Ok(()),
            state => Err(format!("this replica is {}", state.as_str())),
        }
    }

    async fn drain(&self) {
        self.begin_drain().await;
        let mut drained = self.drained.subscribe();
        let _ended = drained.wait_for(|done| *done).await;
    }

    async fn begin_drain(&self) {
        self.order
            .send_if_modified(|order| std::mem::replace(order, (*order).max(Order::Drain)) < Order::Drain);
    }

    async fn drain_other(&self, who: &ReplicaId, address: &str) -> Result<(), String> {
        if who == self.cluster.me() {
            self.begin_drain().await;
            return Ok(());
        }
        local::begin_drain(address, &self.keys).await
    }

    async fn stop(&self) {
        self.end();
    }

    async fn lapsed(&self, who: ReplicaId) -> Result<bool, store::Error> {
        let known = self.cluster.view().borrow().member(&who).is_none_or(store::Member::live);
        self.cluster.ended(who, "its parent says that it has ended").await;
        Ok(known)
    }
}
