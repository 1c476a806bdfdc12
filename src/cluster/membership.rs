//! The shell around membership: joins, beats, looks, starts in turn, leaves.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Fence, ReplicaId, ReplicaState};
use parking_lot::Mutex;
use store::{Answer, Error, Join, Lease, Load, Member, Meta, Store, Write};
use tokio::sync::{Notify, watch};

use crate::metrics::{Metrics, Stage};
use crate::watch::{OwnLease, Watch};
use crate::{BEAT, LOOK, START_DEADLINE, STARTUP, startup};

/// How often a replica looks that waits for the startup lock: the others are waiting behind it.
const WAITING_LOOK: Duration = Duration::from_millis(100);

/// How long the store counts as one that was not set back.
const COMPARED: Duration = Duration::from_millis(200);

/// What a look saw.
#[derive(Debug, Clone)]
pub struct View {
    pub meta: Meta,
    pub members: Vec<Member>,
    pub leases: Vec<Lease>,
}

impl View {
    pub fn member(&self, id: &ReplicaId) -> Option<&Member> {
        self.members.iter().find(|m| m.id == *id)
    }

    /// Whether the incarnation belongs to a live member.
    pub fn live(&self, incarnation: i64) -> bool {
        self.members.iter().any(|m| m.id.incarnation == incarnation && m.live())
    }
}

/// Why a replica is no member any more. It stops all owned work; whoever started it starts it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Others have counted it as lapsed, or another process joined under its name.
    Fenced,
    /// The store was set back in time; the epoch is raised.
    StoreBack,
}

/// One membership; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    me: ReplicaId,
    lease: Mutex<OwnLease>,
    load: Mutex<Load>,
    /// The state that our row must have; `None` before the first is set.
    wanted: Mutex<Option<ReplicaState>>,
    view: watch::Sender<Arc<View>>,
    lost: watch::Sender<Option<Lost>>,
    /// Look now: something has changed.
    look: Notify,
    /// When the store was last seen to be no older than we know.
    compared: Mutex<Option<Duration>>,
    metrics: Metrics,
}

/// The running part; [`Membership::run`] must be polled until the process ends.
pub struct Membership {
    handle: Handle,
}

impl Membership {
    /// Joins; waits for the store as long as it takes.
    pub async fn join(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        join: Join,
    ) -> Result<(Membership, Handle), Error> {
        let asked = clock.elapsed();
        let me = match store.write(Write::Join(join.clone())).await? {
            Answer::Joined { incarnation, .. } => ReplicaId { name: join.name, incarnation },
            other => return Err(Error::Corrupt(format!("joining was answered with {other:?}"))),
        };
        let view = View {
            meta: store.meta().await?,
            members: store.members().await?,
            leases: store.leases().await?,
        };
        let mut lease = OwnLease::default();
        lease.confirm(asked);
        let shared = Shared {
            store,
            clock,
            me,
            lease: Mutex::new(lease),
            load: Mutex::new(Load::default()),
            wanted: Mutex::new(None),
            view: watch::Sender::new(Arc::new(view)),
            lost: watch::Sender::new(None),
            look: Notify::new(),
            compared: Mutex::new(None),
            metrics: Metrics::default(),
        };
        let handle = Handle { shared: Arc::new(shared) };
        Ok((Membership { handle: handle.clone() }, handle))
    }

    /// Beats and looks until the membership is lost.
    pub async fn run(self) -> Lost {
        let shared = &self.handle.shared;
        let mut lost = shared.lost.subscribe();
        let ended = async move {
            loop {
                if let Some(why) = *lost.borrow_and_update() {
                    return why;
                }
                if lost.changed().await.is_err() {
                    return Lost::Fenced;
                }
            }
        };
        tokio::select! {
            why = ended => why,
            never = beat(shared) => never,
            never = look(shared) => never,
        }
    }
}

async fn beat(shared: &Shared) -> Lost {
    loop {
        let asked = shared.clock.elapsed();
        let load = *shared.load.lock();
        match shared.store.write(Write::Beat { me: shared.me.clone(), load }).await {
            Ok(_) => shared.lease.lock().confirm(asked),
            Err(Error::Fenced { .. }) => return fenced(shared).await,
            Err(error) => tracing::debug!(%error, "beat"),
        }
        let spent = shared.clock.elapsed().saturating_sub(asked);
        tokio::time::sleep(BEAT.saturating_sub(spent).max(Duration::from_millis(50))).await;
    }
}

/// Nobody knows us any more: because we were lost, or because the store was set back to before we joined.
async fn fenced(shared: &Shared) -> Lost {
    let newest = shared.view.borrow().meta.clone();
    match shared.store.meta().await {
        Ok(meta) if meta.tick < newest.tick || still_there(shared).await => {
            tracing::warn!(from = newest.tick, to = meta.tick, "the store was set back in time");
            raise(shared, newest.epoch).await;
            Lost::StoreBack
        }
        Ok(_) | Err(_) => Lost::Fenced,
    }
}

/// Whether the store still has us as live: then it fenced us because it is older than our last beat, by less than we look.
async fn still_there(shared: &Shared) -> bool {
    let members = shared.store.members().await.unwrap_or_default();
    members.iter().any(|member| member.id == shared.me && member.live())
}

async fn look(shared: &Shared) -> Lost {
    let mut watch = Watch::default();
    let mut newest = shared.view.borrow().meta.clone();
    loop {
        match read(shared).await {
            Ok(view) => {
                if view.meta.tick < newest.tick {
                    tracing::warn!(from = newest.tick, to = view.meta.tick, "the store was set back in time");
                    raise(shared, newest.epoch).await;
                    return Lost::StoreBack;
                }
                newest = view.meta.clone();
                for lapsed in watch.read(shared.clock.elapsed(), &shared.me, &view.members) {
                    declare(shared, lapsed.who, Some(lapsed.beat), "its beat stood still for a lease").await;
                }
                correct(shared, &view).await;
                shared.view.send_replace(Arc::new(view));
            }
            Err(error) => {
                watch.interrupted();
                tracing::debug!(%error, "look");
            }
        }
        let _woken_or_due = tokio::time::timeout(LOOK, shared.look.notified()).await;
    }
}

/// Makes our rows true again: a commit whose answer was lost may come late, and a store may lose the last it was told.
async fn correct(shared: &Shared, view: &View) {
    let Some(state) = *shared.wanted.lock() else { return };
    let me = &shared.me;
    if view.member(me).is_some_and(|m| m.live() && m.state != state) {
        let write = Write::SetState { me: me.clone(), state, at: shared.clock.now() };
        if let Err(error) = shared.store.write(write).await {
            tracing::debug!(%error, "correct the state");
        }
    }
    let lock = view.leases.iter().find(|l| l.name == STARTUP && l.holder.as_ref() == Some(me));
    if let (Some(lock), ReplicaState::Ready | ReplicaState::Draining) = (lock, state) {
        let release = Write::ReleaseLease { lease: STARTUP.to_owned(), me: me.clone(), fence: lock.fence };
        if let Err(error) = shared.store.write(release).await {
            tracing::debug!(%error, "release the startup lock");
        }
    }
}

async fn read(shared: &Shared) -> Result<View, Error> {
    let store = &shared.store;
    Ok(View { meta: store.meta().await?, members: store.members().await?, leases: store.leases().await? })
}

async fn raise(shared: &Shared, above: u32) {
    while let Err(error) = shared.store.write(Write::RaiseEpoch { above }).await {
        tracing::warn!(%error, "raise the epoch");
        if !error.passing() {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn declare(shared: &Shared, who: ReplicaId, beat: Option<i64>, why: &str) {
    let lapse = Write::Lapse { who: who.clone(), beat, at: shared.clock.now() };
    match shared.store.write(lapse).await {
        Ok(Answer::Bool(true)) => {
            shared.metrics.lapses.inc();
            tracing::info!(lost = %who, why, "a replica is lost");
            shared.look.notify_one();
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, lost = %who, "declare a lapse"),
    }
}

impl Handle {
    pub fn me(&self) -> &ReplicaId {
        &self.shared.me
    }

    /// What was counted so far, and what is so now.
    pub fn metrics(&self) -> &Metrics {
        let shared = &self.shared;
        let age = shared.lease.lock().age(shared.clock.elapsed());
        shared.metrics.see(&shared.view.borrow(), age);
        &shared.metrics
    }

    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.shared.view.subscribe()
    }

    /// Whether commands may be sent to agents: nobody can count us as lapsed yet.
    pub fn may_send(&self) -> bool {
        self.shared.lease.lock().may_send(self.shared.clock.elapsed())
    }

    pub fn set_load(&self, load: Load) {
        *self.shared.load.lock() = load;
    }

    /// Look at the store now.
    pub fn look(&self) {
        self.shared.look.notify_one();
    }

    /// Somebody who knows says that a replica has ended: its parent, or its own address that refuses connections.
    pub async fn ended(&self, who: ReplicaId, why: &str) {
        if who != self.shared.me {
            declare(&self.shared, who, None, why).await;
        }
    }

    /// An agent holds a fence of a newer epoch: the store was set back in time.
    pub async fn raise_epoch(&self, above: u32) {
        raise(&self.shared, above).await;
    }

    /// Whether the store is an older one than we know: it was set back in time, and our membership ends as soon as that
    /// is looked into. Until then nothing may be begun: it would be begun in the old epoch. Asks at most every 200 ms:
    /// nobody puts another database in place faster.
    pub async fn set_back(&self) -> Result<bool, Error> {
        let now = self.shared.clock.elapsed();
        if self.shared.compared.lock().is_some_and(|at| now < at + COMPARED) {
            return Ok(false);
        }
        let known = self.shared.view.borrow().meta.tick;
        let back = self.shared.store.meta().await?.tick < known;
        *self.shared.compared.lock() = (!back).then_some(now);
        if back {
            self.look();
        }
        Ok(back)
    }

    pub async fn set_state(&self, state: ReplicaState) -> Result<(), Error> {
        let at = self.shared.clock.now();
        *self.shared.wanted.lock() = Some(state);
        loop {
            let write = Write::SetState { me: self.shared.me.clone(), state, at };
            match self.shared.store.write(write).await {
                Ok(_) => {
                    self.shared.look.notify_one();
                    return Ok(());
                }
                Err(error) if error.passing() => tokio::time::sleep(LOOK).await,
                Err(error) => {
                    self.shared.lost.send_replace(Some(fenced(&self.shared).await));
                    return Err(error);
                }
            }
        }
    }

    /// Waits for the startup lock, starts, and lets the next one go on. A start that fails or takes too long lets go
    /// of the lock, says why, and is tried again later. One that gives a setup is followed by that, in a state of its own,
    /// under the lock and without a deadline: it waits for a person.
    pub async fn start<F, S, E>(&self, mut start: impl FnMut() -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<Option<S>, E>>,
        S: Future<Output = ()>,
        E: std::fmt::Display,
    {
        let (mut pause, metrics) = (LOOK, &self.shared.metrics);
        loop {
            let asked = self.shared.clock.elapsed();
            let fence = self.acquire().await?;
            let held = self.shared.clock.elapsed();
            metrics.stage(Stage::Lock, held.saturating_sub(asked));
            self.set_state(ReplicaState::Starting).await?;
            let started = tokio::time::timeout(START_DEADLINE, start()).await;
            metrics.stage(Stage::Start, self.shared.clock.elapsed().saturating_sub(held));
            let why = match started {
                Ok(Ok(setup)) => {
                    if let Some(setup) = setup {
                        self.set_up(setup).await?;
                    }
                    None
                }
                Ok(Err(error)) => Some(format!("{error:#}")),
                Err(_) => Some(format!("it took longer than {} s", START_DEADLINE.as_secs())),
            };
            let state = if why.is_none() { ReplicaState::Ready } else { ReplicaState::Waiting };
            self.set_state(state).await?;
            self.release(fence).await;
            let Some(why) = why else { return Ok(()) };
            metrics.given_up.inc();
            tracing::error!(why, retry_seconds = pause.as_secs(), "the start was given up for now");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(60));
        }
    }

    async fn set_up(&self, setup: impl Future<Output = ()>) -> Result<(), Error> {
        let began = self.shared.clock.elapsed();
        self.set_state(ReplicaState::Setup).await?;
        setup.await;
        self.shared.metrics.stage(Stage::Setup, self.shared.clock.elapsed().saturating_sub(began));
        Ok(())
    }

    async fn acquire(&self) -> Result<Fence, Error> {
        let mut views = self.view();
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            let lease = view.leases.iter().find(|l| l.name == STARTUP);
            if let startup::Step::Acquire { seen } = startup::step(lease, &view.members, self.me()) {
                let (me, at) = (self.me().clone(), self.shared.clock.now());
                match self
                    .shared
                    .store
                    .write(Write::AcquireLease { lease: STARTUP.to_owned(), me, seen, at })
                    .await
                {
                    Ok(Answer::Acquired(Some(fence))) => return Ok(fence),
                    Ok(_) => self.look(),
                    Err(error) if error.passing() => tracing::debug!(%error, "acquire the startup lock"),
                    Err(error) => {
                        self.shared.lost.send_replace(Some(fenced(&self.shared).await));
                        return Err(error);
                    }
                }
            }
            let changed = tokio::time::timeout(WAITING_LOOK, views.changed()).await;
            if changed.is_err() {
                self.look();
            }
        }
    }

    async fn release(&self, fence: Fence) {
        let release = Write::ReleaseLease { lease: STARTUP.to_owned(), me: self.me().clone(), fence };
        while let Err(error) = self.shared.store.write(release.clone()).await {
            if !error.passing() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The clean end of a membership.
    pub async fn leave(&self) {
        let (me, at) = (self.me().clone(), self.shared.clock.now());
        *self.shared.wanted.lock() = None;
        let write = Write::SetState { me, state: ReplicaState::Stopped, at };
        if let Err(error) = self.shared.store.write(write).await {
            tracing::debug!(%error, "leave");
        }
    }
}
