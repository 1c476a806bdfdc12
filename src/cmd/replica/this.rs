//! What this replica is doing, for the server, and the orders that it gets.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use model::overview::Durability;
use model::{ReplicaId, ReplicaName, ReplicaState};
use mutual::Peering;
use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::order::Order;

pub(super) struct This {
    cluster: cluster::Handle,
    home: home::Home,
    peering: Peering,
    state: watch::Sender<ReplicaState>,
    order: watch::Sender<Order>,
    drained: watch::Sender<bool>,
    /// Since when no other replica is ready.
    alone: Mutex<Option<Instant>>,
}

impl This {
    pub(super) fn new(cluster: cluster::Handle, home: home::Home, peering: Peering) -> This {
        let state = watch::Sender::new(ReplicaState::Waiting);
        let (order, drained) = (watch::Sender::new(Order::Serve), watch::Sender::new(false));
        This { cluster, home, peering, state, order, drained, alone: Mutex::new(None) }
    }

    /// What it does, now and whenever that changes.
    pub(super) fn states(&self) -> watch::Receiver<ReplicaState> {
        self.state.subscribe()
    }

    /// Whether this process is to end.
    pub(super) fn ends(&self) -> bool {
        self.order.borrow().stops()
    }

    /// Until it is.
    pub(super) async fn ending(&self) {
        let mut orders = self.order.subscribe();
        let _ended = orders.wait_for(|order| order.stops()).await;
    }

    /// This process is to end.
    pub(super) fn end(&self) {
        self.give(|order| order.stop(Instant::now()));
    }

    pub(super) fn set(&self, state: ReplicaState) {
        self.state.send_replace(state);
    }

    /// Whether users are let in.
    pub(super) fn serves(&self) -> bool {
        serves(*self.state.borrow())
    }

    /// Until they are.
    pub(super) async fn serving(&self) {
        let mut states = self.state.subscribe();
        let _ended = states.wait_for(|state| serves(*state)).await;
    }

    /// Takes signals for orders to stop; never ends.
    pub(super) async fn hear(&self, signals: &mut Signals) {
        loop {
            signals.next().await;
            self.end();
        }
    }

    /// Until a drain or a stop is ordered.
    pub(super) async fn ordered(&self) {
        let mut orders = self.order.subscribe();
        let _ordered = orders.wait_for(|order| order.drains()).await;
    }

    /// How much time builds and links still have to move, if that began then.
    pub(super) fn left(&self, began: Instant) -> Duration {
        let me = self.cluster.me();
        let takes = |member: &store::Member| member.id != *me && member.state == ReplicaState::Ready;
        let others = self.cluster.view().borrow().members.iter().any(takes);
        let now = Instant::now();
        let alone = {
            let mut alone = self.alone.lock();
            *alone = if others { None } else { Some(alone.unwrap_or(now)) };
            *alone
        };
        self.order.borrow().until(began, alone).saturating_duration_since(now)
    }

    pub(super) fn drained(&self) {
        self.drained.send_replace(true);
    }

    fn give(&self, order: impl Fn(Order) -> Order) {
        self.order.send_if_modified(|given| {
            let before = std::mem::replace(given, order(*given));
            *given != before
        });
    }

    /// Until the process is to end; a drain alone leaves it alive.
    pub(super) async fn stopping(&self) {
        self.ending().await;
    }
}

/// In the setup, to the wizard.
fn serves(state: ReplicaState) -> bool {
    matches!(state, ReplicaState::Ready | ReplicaState::Setup)
}

/// Signals that order this process to end. One that came while nobody waited is not missed.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    pub(super) fn hear() -> io::Result<Signals> {
        Ok(Signals { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Until the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! { _ = self.term.recv() => {}, _ = self.int.recv() => {} }
    }
}

#[async_trait]
impl server::Replica for This {
    fn name(&self) -> ReplicaName {
        self.cluster.me().name.clone()
    }

    fn me(&self) -> ReplicaId {
        self.cluster.me().clone()
    }

    fn state(&self) -> ReplicaState {
        *self.state.borrow()
    }

    fn ready(&self) -> Result<(), String> {
        match self.state() {
            // of the wizard
            ReplicaState::Ready | ReplicaState::Setup => Ok(()),
            state => Err(format!("this replica is {}", state.as_str())),
        }
    }

    fn drained(&self) -> bool {
        *self.drained.borrow()
    }

    fn ends(&self) -> bool {
        This::ends(self)
    }

    fn view(&self) -> Arc<cluster::View> {
        Arc::clone(&self.cluster.view().borrow())
    }

    async fn durability(&self) -> Durability {
        self.home.durability().await
    }

    async fn drain(&self, within: Option<Duration>) {
        self.begin_drain(within).await;
        let mut drained = self.drained.subscribe();
        let _ended = drained.wait_for(|done| *done).await;
    }

    async fn begin_drain(&self, within: Option<Duration>) {
        self.give(|order| order.drain(within));
    }

    async fn drain_other(&self, who: &ReplicaId, address: &str) -> Result<(), String> {
        if who == self.cluster.me() {
            self.begin_drain(Some(local::drain_limit())).await;
            return Ok(());
        }
        local::begin_drain(address, &self.peering).await
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
