//! The engine of one replica: which builds it drives, and its share of the scheduling.
//!
//! Everything here can be done by any replica; the store decides who did it. Hints make it fast, a look each second
//! makes it sure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use cluster::assign::Loads;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use link::Links;
use model::{BuildId, BuildResult, Clock, Fence, Millis, ReplicaState};
use parking_lot::Mutex;
use remoting::peer::PeerHint;
use store::{Adopted, Answer, Load, Objects, Running, Store, Taken, Write};
use tokio::sync::{Notify, Semaphore, broadcast, mpsc};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::actor::{Actor, Ended, Loss, Mail};
use crate::driver::Stop;
use crate::hints::{Hint, Hints};
use crate::history::Discards;
use crate::metrics::Metrics;
use crate::programs::Programs;
use crate::start::{self, NoDriver, Started};
use crate::trace::BuildTrace;

/// Adoptions and starts at once.
const STARTS: usize = 64;
/// Builds that have ended and wait for who wants their traces.
const OVER: usize = 1024;
/// Epochs that a store may have been set back by; an agent that claims more is lying.
const EPOCH_JUMP: u32 = 64;

/// What the engine works with.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub cluster: cluster::Handle,
    pub links: Links,
    pub hints: Hints,
    /// Where users find the controller, with a `/` at the end; for `BUILD_URL`.
    pub url: Option<String>,
}

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cluster: cluster::Handle,
    pub(crate) links: Links,
    pub(crate) hints: Hints,
    pub(crate) url: Option<String>,
    pub(crate) programs: Arc<Programs>,
    actors: Mutex<HashMap<BuildId, Driving>>,
    /// The last fence under which we drove a build, of those that may still run. See [`Shared::drive`].
    ended: Mutex<BTreeMap<BuildId, Fence>>,
    /// Builds that were handed to each member while we drain; nobody's load shows them yet.
    handed: Mutex<BTreeMap<i64, u64>>,
    /// Builds that read their journals at once.
    starts: Semaphore,
    /// Look at what we own.
    own: Notify,
    /// How often agents have held a higher fence than ours, by build.
    outranked: Mutex<HashMap<BuildId, u32>>,
    pub(crate) discards: Discards,
    pub(crate) metrics: Metrics,
    /// Builds that have ended here, for who wants their traces.
    over: broadcast::Sender<BuildId>,
}

/// What the others have of an actor.
struct Driving {
    mail: mpsc::UnboundedSender<Mail>,
    fence: Fence,
    visible: Arc<Visible>,
}

/// What others see of an actor without asking it.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    /// Guarded writes of the build that are committed for sure.
    pub(crate) committed: AtomicI64,
    /// An act is in flight that another owner would have to follow on or do again.
    pub(crate) busy: AtomicBool,
}

/// The engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    pub fn new(parts: Parts) -> Engine {
        let Parts { store, clock, cluster, links, hints, url } = parts;
        let programs = Arc::new(Programs::default());
        let shared = Shared {
            objects: store.objects(),
            store,
            clock,
            cluster,
            links,
            hints,
            url,
            programs,
            actors: Mutex::default(),
            ended: Mutex::default(),
            handed: Mutex::default(),
            starts: Semaphore::new(STARTS),
            own: Notify::new(),
            outranked: Mutex::default(),
            discards: Discards::default(),
            metrics: Metrics::default(),
            over: broadcast::Sender::new(OVER),
        };
        Engine { shared: Arc::new(shared) }
    }

    pub fn commands(&self) -> crate::Commands {
        let shared = &self.shared;
        let (store, clock) = (Arc::clone(&shared.store), Arc::clone(&shared.clock));
        crate::Commands::new(store, clock, shared.hints.clone(), Arc::clone(&shared.programs))
    }

    /// What was counted so far, and what is so now.
    pub fn metrics(&self) -> &Metrics {
        let metrics = &self.shared.metrics;
        metrics.driving.set(i64::try_from(self.driving()).unwrap_or(i64::MAX));
        metrics
    }

    /// Builds that this replica drives now.
    pub fn driving(&self) -> usize {
        self.shared.driving()
    }

    /// Builds as they end here. Who is slow misses the oldest.
    pub fn ended(&self) -> broadcast::Receiver<BuildId> {
        self.shared.over.subscribe()
    }

    /// What a build that has ended did, and when. `None`: it is gone, or can't be read.
    pub async fn trace(&self, build: BuildId) -> Option<BuildTrace> {
        match crate::trace::of(&self.shared, build).await {
            Ok(trace) => trace,
            Err(error) => {
                tracing::debug!(?error, %build, "read what a build did");
                None
            }
        }
    }

    /// Runs until the process ends.
    pub async fn run(&self) {
        let shared = &self.shared;
        let mut own = JoinSet::new();
        // By itself: what it reads and adds up would keep the others from their work.
        own.spawn(crate::archive::run(Arc::clone(shared)));
        tokio::join!(
            own_builds(Arc::clone(shared)),
            crate::schedule::run(Arc::clone(shared)),
            hear(Arc::clone(shared)),
            hear_peers(Arc::clone(shared)),
            crate::history::discard(Arc::clone(shared)),
            crate::history::sweep(Arc::clone(shared)),
        );
    }

    /// Hands all builds to others that are ready; gives how many are left when nobody takes them or time is up.
    pub async fn hand_over(&self, most: Duration) -> usize {
        let deadline = self.shared.clock.elapsed() + most;
        loop {
            for actor in self.shared.actors.lock().values() {
                let _ended = actor.mail.send(Mail::HandOver);
            }
            let left = self.driving();
            if left == 0 || self.shared.clock.elapsed() >= deadline {
                return left;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Shared {
    pub(crate) fn ready(&self) -> bool {
        let view = self.cluster.view().borrow().clone();
        view.member(self.cluster.me()).is_some_and(|m| m.state == ReplicaState::Ready)
    }

    pub(crate) fn note_failover(
        self: &Arc<Self>,
        lost: i64,
        adopted_at: Option<Millis>,
        resumed_at: Option<Millis>,
    ) {
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let note = Write::NoteFailover { lost, adopted_at, resumed_at };
            if let Err(error) = shared.store.write(note).await {
                tracing::debug!(%error, "note a failover");
            }
        });
    }

    /// A build's inbox has something: tells our actor, or everybody else.
    pub(crate) fn look_at_inbox(&self, build: BuildId) {
        let ours = self.actors.lock().get(&build).map(|actor| actor.mail.send(Mail::Inbox).is_ok());
        if ours.is_none() {
            self.links.hint(None, &PeerHint::Inbox(build));
        }
    }

    /// Builds that are driven here now.
    pub(crate) fn driving(&self) -> usize {
        self.actors.lock().len()
    }

    /// Under which fence we drive each build, and how many of its writes are committed for sure.
    fn committed(&self) -> BTreeMap<BuildId, (Fence, i64)> {
        let actors = self.actors.lock();
        let known = |actor: &Driving| (actor.fence, actor.visible.committed.load(Ordering::Relaxed));
        actors.iter().map(|(build, actor)| (*build, known(actor))).collect()
    }

    /// The store has less of a build than it has acknowledged to us: it was set back, if only by a moment.
    fn set_back(&self, build: BuildId) {
        if let Some(actor) = self.actors.lock().get(&build) {
            let _ended = actor.mail.send(Mail::SetBack);
        }
    }

    /// Drives a build from now on, unless we do already, or did under this fence. A fence has one driver: what that had in
    /// flight when it ended may be committed later, and by the rule of the lost answer another one under the same
    /// fence would take it for its own. What is still ours then is claimed anew (`look`).
    pub(crate) fn drive(self: &Arc<Self>, running: Running, lost: Option<Loss>) {
        let (mail, inbox) = mpsc::unbounded_channel();
        let visible = Arc::new(Visible { committed: AtomicI64::new(running.seq), ..Visible::default() });
        {
            let mut actors = self.actors.lock();
            let spent = self.ended.lock().get(&running.build).is_some_and(|ended| *ended >= running.fence);
            if spent || actors.contains_key(&running.build) {
                return;
            }
            let (fence, visible) = (running.fence, Arc::clone(&visible));
            actors.insert(running.build, Driving { mail, fence, visible });
        }
        let shared = Arc::clone(self);
        // all that is said of the build names it, whatever has made it begin
        let (build, number) = (running.build, running.number);
        let span = tracing::info_span!(
            parent: None, "build", build = %build, job = %running.job, number, replica = %self.cluster.me().name
        );
        let driving = async move {
            let living =
                AssertUnwindSafe(life(&shared, running.clone(), inbox, visible, lost)).catch_unwind();
            let ended = living.await;
            if ended.is_err() {
                // A bug of ours; driven again, the build would only meet it again.
                crashed(&shared, &running).await;
            }
            {
                let mut actors = shared.actors.lock();
                shared.spend(build, running.fence);
                actors.remove(&build);
            }
            shared.hints.queue();
            match ended {
                Ok(Ended::HandedOver) => shared.hand_over(build).await,
                Ok(Ended::Stopped(Stop::Outranked(_))) => shared.own.notify_one(),
                Ok(Ended::Stopped(Stop::Finished(_) | Stop::Fenced | Stop::Broken(_))) | Err(_) => {}
            }
        };
        tokio::spawn(driving.instrument(span));
    }

    /// Nobody drives the build under this fence any more.
    fn spend(&self, build: BuildId, fence: Fence) {
        let mut ended = self.ended.lock();
        let last = ended.entry(build).or_insert(fence);
        *last = fence.max(*last);
    }

    /// Gives a build that we do not drive any more to the least loaded of the others.
    async fn hand_over(self: &Arc<Self>, build: BuildId) {
        let Ok(rows) = self.store.running(Some(self.cluster.me().incarnation)).await else { return };
        let Some(row) = rows.iter().find(|r| r.build == build) else { return };
        let view = self.cluster.view().borrow().clone();
        let able = |m: &&store::Member| m.id != *self.cluster.me() && m.behaviour >= row.behaviour;
        let others: Vec<_> = view.members.iter().filter(able).cloned().collect();
        let owner = {
            let mut handed = self.handed.lock();
            let driven =
                |m: &store::Member| u64::from(m.load.builds) + handed.get(&m.id.incarnation).unwrap_or(&0);
            let counts = others.iter().map(|m| (m.id.incarnation, driven(m))).collect();
            let Some(owner) = Loads::of(&others, &counts).choose(None) else { return };
            *handed.entry(owner.incarnation).or_default() += 1;
            owner
        };
        let to = owner.incarnation;
        if self.store.write(Write::Adopt { build, seen: row.fence, owner }).await.is_ok() {
            self.links.hint(Some(to), &PeerHint::Running);
        }
    }
}

/// One build while we own it.
async fn life(
    shared: &Arc<Shared>,
    running: Running,
    inbox: mpsc::UnboundedReceiver<Mail>,
    visible: Arc<Visible>,
    lost: Option<Loss>,
) -> Ended {
    let metrics = &shared.metrics;
    let Started { driver, since } = loop {
        let slot = shared.starts.acquire().await;
        let started = start::driver(shared, &running).await;
        drop(slot);
        match started {
            Ok(started) => break started,
            Err(NoDriver::Store(error)) => {
                tracing::debug!(%error, "start driving");
                tokio::time::sleep(cluster::LOOK).await;
            }
            Err(NoDriver::Failed(why)) => {
                tracing::info!(why, "a build can't run");
                match fail(shared, &running, &why).await {
                    Ok(()) => count(metrics, &running),
                    Err(error) => {
                        tracing::debug!(%error, "end a build that can't run");
                        tokio::time::sleep(cluster::LOOK).await;
                    }
                }
                return Ended::Stopped(Stop::Finished(BuildResult::Failure));
            }
        }
    };
    count(metrics, &running);
    let ended = Actor::run(Arc::clone(shared), driver, inbox, visible, lost).await;
    match &ended {
        Ended::Stopped(Stop::Finished(result)) => {
            over(shared, &running, *result, shared.clock.now().since(since));
        }
        Ended::Stopped(Stop::Fenced) => {
            metrics.fenced.inc();
            driven_elsewhere();
        }
        Ended::Stopped(Stop::Outranked(held)) => outranked(shared, &running, *held).await,
        Ended::Stopped(Stop::Broken(why)) => {
            tracing::error!(why, "a build can't go on");
            if let Err(error) = give_up(shared, &running, why).await {
                tracing::error!(%error, "end a build that can't go on");
            }
        }
        Ended::HandedOver => {
            metrics.handed_over.inc();
            tracing::info!("a build is handed over");
        }
    }
    ended
}

/// A build begins here when its first record is ours. One that was lost, was handed over or is claimed anew is adopted.
fn count(metrics: &Metrics, running: &Running) {
    let count = if running.seq == 0 { &metrics.started } else { &metrics.adopted };
    count.inc();
}

/// A build has ended here, in whatever way: its end is committed.
fn over(shared: &Shared, running: &Running, result: BuildResult, lasted: Duration) {
    shared.metrics.build_ended(result, lasted);
    let _nobody_wants_it = shared.over.send(running.build);
    shared.outranked.lock().remove(&running.build);
    tracing::debug!(%result, "a build has ended");
    shared.discards.ask(&running.job);
}

/// Ends a build that can't go on, with the reason in its log.
async fn fail(shared: &Arc<Shared>, running: &Running, why: &str) -> Result<(), store::Error> {
    let lasted = start::fail(shared, running, why).await?;
    over(shared, running, BuildResult::Failure, lasted);
    Ok(())
}

fn driven_elsewhere() {
    tracing::info!("a build is driven by another replica now");
}

async fn crashed(shared: &Arc<Shared>, running: &Running) {
    let why = "Majordomo stopped driving this build because of a bug of its own; its log says more";
    tracing::error!("the driver of a build crashed");
    if let Err(error) = give_up(shared, running, why).await {
        tracing::error!(%error, "end a build whose driver crashed");
    }
}

async fn give_up(shared: &Arc<Shared>, running: &Running, why: &str) -> Result<(), store::Error> {
    let rows = shared.store.running(Some(shared.cluster.me().incarnation)).await?;
    let Some(row) = rows.into_iter().find(|r| r.build == running.build && r.fence == running.fence) else {
        return Ok(());
    };
    end(shared, row, why).await
}

/// Ends a build whose driver has ended without: under a fence of its own, as each driver has.
async fn end(shared: &Arc<Shared>, row: Running, why: &str) -> Result<(), store::Error> {
    let Some(row) = claim(shared, row).await? else { return Ok(()) };
    shared.spend(row.build, row.fence);
    fail(shared, &row, why).await
}

/// Most epochs that a store is believed to have gone back: each is one restore. Epochs are few, and an agent that lies
/// must not use them up.
const MAX_EPOCHS: u32 = 16;
/// How often that is believed for one build.
const MAX_OUTRANKED: u32 = 3;

/// An agent has seen a higher fence than ours, or the store has less of the build than it acknowledged under ours. If it has
/// given the build to nobody after us all the same, it was set back in time: the epoch is raised and the build adopted anew,
/// by ourselves.
async fn outranked(shared: &Arc<Shared>, running: &Running, held: model::Fence) {
    // What we know is known to nobody else: the store may be away, and be asked again.
    let rows = loop {
        match shared.store.running(None).await {
            Ok(rows) => break rows,
            Err(error) if error.passing() => tokio::time::sleep(cluster::LOOK).await,
            Err(error) => return tracing::warn!(%error, build = %running.build, "look who drives a build"),
        }
    };
    let Some(row) = rows.into_iter().find(|r| r.build == running.build) else { return };
    if row.fence > running.fence {
        return driven_elsewhere();
    }
    let said = held != running.fence;
    if said && held.epoch() > row.fence.epoch() + EPOCH_JUMP {
        let why =
            format!("an agent holds the fence {held}, which no store of this controller has ever given");
        tracing::error!(build = %running.build, why, "an agent can't be believed");
        if let Err(error) = give_up(shared, running, &why).await {
            tracing::debug!(%error, "end a build whose agent can't be believed");
        }
        return;
    }
    let times = if said {
        let mut all = shared.outranked.lock();
        let times = all.entry(running.build).or_default();
        *times += 1;
        *times
    } else {
        0
    };
    let above = held.epoch().saturating_sub(row.fence.epoch());
    if said && (above > MAX_EPOCHS || times > MAX_OUTRANKED) {
        shared.outranked.lock().remove(&running.build);
        let why = format!(
            "ERROR: an agent of this build says that it was claimed under fence {held}, which can't be"
        );
        tracing::info!(build = %running.build, %held, ours = %row.fence, "an agent holds a fence that can't be");
        if let Err(error) = end(shared, row, &why).await {
            tracing::debug!(%error, build = %running.build, "end a build whose agent lies");
        }
        return;
    }
    let (build, stored, ours) = (running.build, row.fence, running.fence);
    if said {
        tracing::warn!(%build, %held, %stored, %ours, "an agent holds a higher fence: the store went back");
    } else {
        tracing::warn!(%build, %stored, %ours, "the store has forgotten what it has of a build: it went back");
    }
    shared.cluster.raise_epoch(held.epoch()).await;
    if let Err(error) = claim(shared, row).await {
        tracing::debug!(%error, "adopt a build anew");
    }
}

/// Drives what is ours, and adopts what is nobody's.
async fn own_builds(shared: Arc<Shared>) {
    let mut views = shared.cluster.view();
    loop {
        if let Err(error) = look(&shared).await {
            tracing::debug!(%error, "look at running builds");
        }
        tokio::select! {
            () = shared.own.notified() => {}
            _ = tokio::time::timeout(cluster::LOOK, views.changed()) => {}
        }
    }
}

async fn look(shared: &Arc<Shared>) -> Result<(), store::Error> {
    let me = shared.cluster.me().clone();
    set_load(shared);
    let committed = shared.committed();
    let ended = shared.ended.lock().clone();
    let rows = shared.store.running(None).await?;
    // Whoever may count as lost begins nothing: if the store was set back meanwhile, another may have our incarnation.
    if shared.cluster.set_back().await? || !shared.cluster.may_send() {
        return Ok(());
    }
    let view = shared.cluster.view().borrow().clone();
    #[cfg(feature = "next")]
    if view.meta.level >= 2 {
        shared.links.hint(None, &PeerHint::Next);
    }
    let draining = view.member(&me).is_some_and(|m| m.state == ReplicaState::Draining);
    let running: BTreeSet<BuildId> = rows.iter().map(|row| row.build).collect();
    shared.ended.lock().retain(|build, _| !ended.contains_key(build) || running.contains(build));
    let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
    let mut orphans = Vec::new();
    for row in rows {
        if committed.get(&row.build).is_some_and(|known| forgotten(&row, me.incarnation, *known)) {
            shared.set_back(row.build);
        }
        let other = row.owner != me.incarnation;
        if let Some(last) = ended.get(&row.build)
            && other
            && *last >= row.fence
        {
            // Given to somebody else under a fence that we had.
            shared.cluster.raise_epoch(last.epoch()).await;
        }
        if row.owner == me.incarnation {
            let driven = committed.contains_key(&row.build);
            match ended.get(&row.build) {
                _ if draining => {}
                // Its driver ended, and nobody else has it: the store was away, or has forgotten who.
                Some(last) if *last >= row.fence => {
                    if *last > row.fence {
                        shared.cluster.raise_epoch(last.epoch()).await;
                    }
                    adopt(shared, row).await;
                }
                // Of the time before the store was set back: its driver must know that.
                Some(_) | None if row.fence.epoch() < view.meta.epoch && !driven => adopt(shared, row).await,
                Some(_) | None => shared.drive(row, None),
            }
        } else if view.live(row.owner) {
            *counts.entry(row.owner).or_default() += 1;
        } else {
            orphans.push(row);
        }
    }
    for build in shared.store.with_inbox(me.incarnation).await? {
        shared.look_at_inbox(build);
    }
    if orphans.is_empty() || !shared.ready() {
        return Ok(());
    }
    // Replicas join between our read of the members and that of the builds: an owner we do not know is not lost yet.
    let known: BTreeSet<i64> = view.members.iter().map(|m| m.id.incarnation).collect();
    let newest = known.iter().max().copied().unwrap_or(0);
    orphans.retain(|row| known.contains(&row.owner) || row.owner < newest);
    counts.insert(me.incarnation, shared.actors.lock().len() as u64);
    // One share of the work for each behaviour: only members that know it can adopt a build.
    let mut loads: BTreeMap<u32, Loads> = BTreeMap::new();
    let mut adoptions = FuturesUnordered::new();
    for row in orphans {
        let able = loads.entry(row.behaviour).or_insert_with(|| {
            let able: Vec<_> =
                view.members.iter().filter(|m| m.behaviour >= row.behaviour).cloned().collect();
            Loads::of(&able, &counts)
        });
        if able.choose(None).as_ref() == Some(&me) {
            adoptions.push(adopt(shared, row));
            if adoptions.len() >= STARTS {
                adoptions.next().await;
            }
        }
    }
    while adoptions.next().await.is_some() {}
    Ok(())
}

/// Whether the store has less of a build than it acknowledged to us under that fence. Another owner under the same fence:
/// it has forgotten ours, and gave it once more.
pub fn forgotten(row: &Running, me: i64, (fence, committed): (Fence, i64)) -> bool {
    row.fence < fence || row.fence == fence && (row.owner != me || row.seq < committed)
}

async fn adopt(shared: &Arc<Shared>, row: Running) {
    let (build, from, since) = (row.build, row.owner, shared.clock.elapsed());
    match claim(shared, row).await {
        Ok(Some(row)) => {
            tracing::debug!(%build, from, "adopt a build");
            let lost = (from != row.owner).then_some(Loss { from, since });
            shared.drive(row, lost);
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, %build, "adopt a build"),
    }
}

/// Makes a build ours under a new fence; `None`: it has ended, or is somebody else's.
async fn claim(shared: &Arc<Shared>, row: Running) -> Result<Option<Running>, store::Error> {
    let owner = shared.cluster.me().clone();
    let me = owner.incarnation;
    match shared.store.write(Write::Adopt { build: row.build, seen: row.fence, owner }).await {
        Ok(Answer::Adopted(Adopted { fence, seq, log_end })) => {
            Ok(Some(Running { owner: me, fence, seq, log_end, ..row }))
        }
        Ok(_) | Err(store::Error::Fenced { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn set_load(shared: &Shared) {
    let (builds, busy) = {
        let actors = shared.actors.lock();
        let busy = actors.values().filter(|actor| actor.visible.busy.load(Ordering::Relaxed)).count();
        (u32::try_from(actors.len()).unwrap_or(u32::MAX), u32::try_from(busy).unwrap_or(u32::MAX))
    };
    let agents = u32::try_from(shared.links.held().len()).unwrap_or(u32::MAX);
    shared.cluster.set_load(Load { builds, agents, busy });
}

/// Hints of our own commands.
async fn hear(shared: Arc<Shared>) {
    let mut hints = shared.hints.listen();
    loop {
        match hints.recv().await {
            Ok(Hint::Inbox(build)) => shared.look_at_inbox(build),
            Ok(Hint::Running) => shared.own.notify_one(),
            Ok(Hint::Queue | Hint::Schedule | Hint::Links)
            | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Hints that other replicas give.
async fn hear_peers(shared: Arc<Shared>) {
    let mut hints = shared.links.hints();
    loop {
        match hints.recv().await {
            Ok(PeerHint::Inbox(build)) => {
                if let Some(actor) = shared.actors.lock().get(&build) {
                    let _ended = actor.mail.send(Mail::Inbox);
                }
            }
            Ok(PeerHint::Running) => shared.own.notify_one(),
            Ok(PeerHint::Begun { build, job, number, fence, behaviour }) => {
                let owner = shared.cluster.me().incarnation;
                let taken = Taken { build, number, owner, fence };
                shared.drive(Running::begun(taken, job, behaviour), None);
            }
            Ok(PeerHint::Queue) => shared.hints.give(Hint::Schedule),
            Ok(PeerHint::Linked { .. }) => shared.hints.links(),
            Ok(PeerHint::Over { .. }) => {}
            #[cfg(feature = "next")]
            Ok(PeerHint::Next) => tracing::info!("a peer speaks as the next version does"),
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => shared.own.notify_one(),
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}
