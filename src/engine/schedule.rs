//! The scheduler of one replica: queue items get an owner, waiting `node` steps get executors.
//!
//! Every replica runs it; rows with unique keys decide who did it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cluster::assign::Loads;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::level::behaviour;
use model::{BuildId, JobName, NodeName, QueueId, ReplicaId};
use pipeline::act::Granted;
use remoting::peer::PeerHint;
use store::{Answer, Executor, ItemKind, QueueItem, Running, Taken, Write};
use tokio::sync::broadcast::error::RecvError;

use crate::allocate::{Allocation, Free, Seen, allocate};
use crate::definition::{self, effective};
use crate::hints::Hint;
use crate::inbox::{self, Delivery};
use crate::seats::{FreeSeats, Place, Seats, executors, first_waits, granted, live_links, place};
use crate::service::Shared;

/// Builds that begin in one pass; more wait for the next, so that other writes are not behind all of them.
const MOST_TAKEN: usize = 256;
/// Jobs whose configuration is remembered.
const MAX_JOBS: usize = 10_000;

/// Why a pass is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// Something has changed.
    Hinted,
    /// A peer takes us for the scheduler.
    Asked,
    /// A second is over.
    Due,
}

/// Runs a pass after each hint, and each second. While all is well only one replica does (`cluster::assign::scheduler`);
/// the others tell it, and do each second what has been left for one.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut hints = shared.hints.listen();
    let mut scheduler = Scheduler::default();
    let mut due = tokio::time::Instant::now();
    loop {
        let wake = match tokio::time::timeout_at(due, hinted(&mut hints)).await {
            Ok(wake) => wake,
            Err(_) => {
                due = tokio::time::Instant::now() + cluster::LOOK;
                Wake::Due
            }
        };
        if !shared.ready() {
            continue;
        }
        let view = shared.cluster.view().borrow().clone();
        let chosen = cluster::assign::scheduler(&view.members);
        let ours = chosen == Some(shared.cluster.me()) || wake == Wake::Asked;
        if !ours && wake == Wake::Hinted {
            shared.links.hint(chosen.map(|id| id.incarnation), &PeerHint::Queue);
        } else if let Err(error) = scheduler.pass(&shared, ours).await {
            tracing::debug!(%error, "schedule");
        }
    }
}

/// The next hint that is the scheduler's, and with it all that were given meanwhile.
async fn hinted(hints: &mut tokio::sync::broadcast::Receiver<Hint>) -> Wake {
    let wake = |hint| match hint {
        Ok(Hint::Schedule) => Some(Wake::Asked),
        Ok(Hint::Queue | Hint::Links) | Err(RecvError::Lagged(_)) => Some(Wake::Hinted),
        Ok(Hint::Running | Hint::Inbox(_)) | Err(RecvError::Closed) => None,
    };
    let mut woken = loop {
        if let Some(woken) = wake(hints.recv().await) {
            break woken;
        }
        if hints.is_closed() {
            return std::future::pending().await;
        }
    };
    while let Ok(hint) = hints.try_recv() {
        if wake(Ok(hint)) == Some(Wake::Asked) {
            woken = Wake::Asked;
        }
    }
    woken
}

/// What one replica remembers between its passes. All of it may vanish.
#[derive(Default)]
struct Scheduler {
    jobs: Jobs,
    /// Queue items and waits that were there at the last pass.
    items: BTreeSet<QueueId>,
    waits: BTreeSet<i64>,
    given: Given,
}

/// Builds that were given to each member and that its own word does not count yet.
#[derive(Default)]
struct Given {
    since: Option<Arc<cluster::View>>,
    builds: BTreeMap<i64, u64>,
}

impl Given {
    /// What each member drives.
    fn counts(&mut self, view: &Arc<cluster::View>) -> BTreeMap<i64, u64> {
        if !self.since.as_ref().is_some_and(|since| Arc::ptr_eq(since, view)) {
            self.builds.clear();
            self.since = Some(Arc::clone(view));
        }
        let given = |m: &store::Member| self.builds.get(&m.id.incarnation).copied().unwrap_or(0);
        view.members.iter().map(|m| (m.id.incarnation, u64::from(m.load.builds) + given(m))).collect()
    }
}

impl Scheduler {
    /// `ours`: everything is to be given out, not only what others have left.
    async fn pass(&mut self, shared: &Arc<Shared>, ours: bool) -> Result<(), store::Error> {
        if shared.cluster.set_back().await? {
            return Ok(());
        }
        self.take_builds(shared, ours).await?;
        self.grant(shared, ours).await
    }

    /// Gives an owner to every item whose quiet period is over.
    async fn take_builds(&mut self, shared: &Arc<Shared>, ours: bool) -> Result<(), store::Error> {
        let mut queue = shared.store.queue().await?;
        let before = std::mem::replace(&mut self.items, queue.iter().map(|i| i.id).collect());
        let now = shared.clock.now();
        queue.retain(|item| item.buildable_at <= now && (ours || before.contains(&item.id)));
        if queue.is_empty() || shared.store.meta().await?.quiet.is_some() {
            return Ok(());
        }
        let view = shared.cluster.view().borrow().clone();
        // A level is never lowered, so that of the last look is known to all.
        let behaviour = behaviour(view.meta.level);
        let able: Vec<_> = view.members.iter().filter(|m| m.behaviour >= behaviour).cloned().collect();
        let mut loads = Loads::of(&able, &self.given.counts(&view));
        let mut taking = FuturesUnordered::new();
        let mut seen: HashMap<JobName, Job> = HashMap::new();
        let seats = tokio::sync::OnceCell::new();
        let mut free: Option<FreeSeats<'_>> = None;
        for item in queue {
            if item.kind == ItemKind::Freestyle {
                let free = match &mut free {
                    Some(free) => free,
                    none => none.insert(seats.get_or_try_init(|| Seats::look(shared)).await?.free()),
                };
                // Thousands may wait: their jobs need not be looked at before there is something to give.
                if free.none_for(&item) {
                    continue;
                }
            }
            let job = match seen.get(&item.job) {
                Some(job) => job.clone(),
                None => self.jobs.look(shared, &item.job).await?,
            };
            seen.insert(item.job.clone(), Job { free: false, ..job.clone() });
            if job.exclusive && !job.free {
                continue;
            }
            let executor = match (&job.place, &mut free) {
                (Some(place), Some(free)) => match free.take(&item, place) {
                    Some(executor) => Some(executor),
                    // It goes on waiting.
                    None => continue,
                },
                (Some(_), None) | (None, _) => None,
            };
            if taking.len() == MOST_TAKEN {
                shared.hints.give(Hint::Schedule);
                break;
            }
            let Some(owner) = loads.choose(Some(shared.cluster.me())) else { break };
            *self.given.builds.entry(owner.incarnation).or_default() += 1;
            let begin = Begin { owner, behaviour, exclusive: job.exclusive, executor };
            taking.push(take(shared, item, begin));
        }
        while taking.next().await.is_some() {}
        Ok(())
    }

    async fn grant(&mut self, shared: &Arc<Shared>, ours: bool) -> Result<(), store::Error> {
        let labels = shared.store.wait_labels().await?;
        if labels.is_empty() {
            self.waits.clear();
            return Ok(());
        }
        let (nodes, links, slots) = executors(shared).await?;
        let mut free = Free::of(&nodes, &links, &slots);
        let mut waits = first_waits(shared, labels, &mut free).await?;
        let before = std::mem::replace(&mut self.waits, waits.iter().map(|wait| wait.id).collect());
        waits.retain(|wait| ours || before.contains(&wait.id));
        let mut granting = FuturesUnordered::new();
        let allocations = allocate(waits, free);
        let wanted: HashSet<&NodeName> = allocations.iter().map(|allocation| &allocation.node).collect();
        let of = |node: &NodeName| wanted.contains(node);
        let nodes: HashMap<_, _> =
            nodes.iter().filter(|n| of(&n.name)).map(|n| (n.name.clone(), n)).collect();
        let links: HashMap<_, _> =
            links.iter().filter(|l| of(&l.node)).map(|l| (l.node.clone(), l)).collect();
        for allocation in allocations.iter().cloned() {
            let (Some(node), Some(link)) = (nodes.get(&allocation.node), links.get(&allocation.node)) else {
                continue;
            };
            let granted = granted(&allocation.wait.job, allocation.slot, node, link, None);
            granting.push(grant_one(shared, allocation, granted));
        }
        while granting.next().await.is_some() {}
        Ok(())
    }
}

/// What the scheduler must know of jobs, by id and version of their configuration: another job may get the name.
#[derive(Default)]
struct Jobs {
    known: HashMap<i64, (i64, Known)>,
}

/// What a configuration says.
#[derive(Clone, Default)]
struct Known {
    /// One build at a time.
    exclusive: bool,
    place: Option<Place>,
}

/// What one pass has seen of a job.
#[derive(Clone)]
struct Job {
    exclusive: bool,
    /// None of its builds runs.
    free: bool,
    place: Option<Place>,
}

impl Jobs {
    /// Whether a build of the job can begin now, and whether it must be the only one.
    async fn look(&mut self, shared: &Shared, job: &JobName) -> Result<Job, store::Error> {
        let Some(item) = shared.store.item(job).await? else {
            // Renamed since the queue was read, or deleted: the next pass knows.
            return Ok(Job { exclusive: true, free: false, place: None });
        };
        let (id, version, running) = (item.summary.id, item.summary.version, item.summary.running);
        if let Some((at, known)) = self.known.get(&id)
            && *at == version
        {
            let Known { exclusive, place } = known.clone();
            return Ok(Job { exclusive, free: running == 0, place });
        }
        let known = match definition::job_config(&item.config) {
            Ok(config) => {
                let exclusive = effective(&config, &shared.programs).await.exclusive;
                Known { exclusive, place: place(&config.definition) }
            }
            Err(_) => Known::default(),
        };
        if self.known.len() >= MAX_JOBS {
            self.known.clear();
        }
        self.known.insert(id, (version, known.clone()));
        Ok(Job { exclusive: known.exclusive, free: running == 0, place: known.place })
    }
}

/// How a build begins.
struct Begin {
    owner: ReplicaId,
    behaviour: u32,
    exclusive: bool,
    executor: Option<Executor>,
}

async fn take(shared: &Arc<Shared>, item: QueueItem, begin: Begin) {
    let (id, at, due) = (item.id, shared.clock.now(), item.buildable_at);
    let Begin { owner, behaviour, exclusive, executor } = begin;
    let write = Write::TakeBuild { id, owner, exclusive, behaviour, at, executor };
    match shared.store.write(write).await {
        Ok(Answer::Taken(taken)) => {
            shared.metrics.queue_wait.observe(shared.clock.now().since(due).as_secs_f64());
            if taken.owner == shared.cluster.me().incarnation {
                shared.drive(Running::begun(taken, item.job, behaviour), None);
            } else {
                let Taken { build, number, owner, fence } = taken;
                let begun = PeerHint::Begun { build, job: item.job, number, fence, behaviour };
                shared.links.hint(Some(owner), &begun);
            }
        }
        Ok(_) | Err(store::Error::NotFound(_) | store::Error::Conflict(_) | store::Error::Fenced { .. }) => {}
        Err(error) => tracing::debug!(%error, job = %item.job, "take a build"),
    }
}

/// What tells why the `node` steps of a build wait.
pub(crate) async fn seen(shared: &Shared, build: BuildId) -> Result<Seen, store::Error> {
    let waits = shared.store.waits_of(build).await?;
    if waits.is_empty() {
        return Ok(Seen::default());
    }
    Ok(Seen { waits, nodes: shared.store.nodes().await?, links: live_links(shared).await? })
}

async fn grant_one(shared: &Arc<Shared>, allocation: Allocation, granted: Granted) {
    let Allocation { wait, node, slot } = allocation;
    let body = inbox::text(&Delivery::Granted { step: wait.step, granted });
    match shared.store.write(Write::Grant { wait: wait.id, node, slot, body }).await {
        Ok(Answer::Bool(true)) => {
            let waited = shared.clock.now().since(wait.since);
            shared.metrics.executor_wait.observe(waited.as_secs_f64());
            shared.look_at_inbox(wait.build);
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, build = %wait.build, "grant an executor"),
    }
}
