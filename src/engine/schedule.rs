//! The scheduler of one replica: queue items get an owner, waiting `node` steps get executors.
//!
//! Every replica runs it; rows with unique keys decide who did it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cluster::assign::Loads;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::{BuildId, JobName, QueueId, ReplicaId};
use pipeline::act::Granted;
use remoting::native::AgentInfo;
use remoting::peer::PeerHint;
use store::{Answer, Link, Node, QueueItem, Running, Taken, Write};
use tokio::sync::broadcast::error::RecvError;

use crate::allocate::{Allocation, Free, Seen, allocate};
use crate::definition::{self, effective};
use crate::hints::Hint;
use crate::inbox::{self, Delivery};
use crate::service::Shared;
use crate::start::BEHAVIOUR;

/// Bytes of an agent's environment that a build sees.
const MAX_ENV: usize = 24 * 1024;
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
        let able: Vec<_> = view.members.iter().filter(|m| m.behaviour >= BEHAVIOUR).cloned().collect();
        let mut loads = Loads::of(&able, &self.given.counts(&view));
        let mut taking = FuturesUnordered::new();
        let mut seen: HashMap<JobName, Job> = HashMap::new();
        for item in queue {
            let job = match seen.get(&item.job) {
                Some(job) => *job,
                None => self.jobs.look(shared, &item.job).await?,
            };
            seen.insert(item.job.clone(), Job { free: false, ..job });
            if job.exclusive && !job.free {
                continue;
            }
            if taking.len() == MOST_TAKEN {
                shared.hints.give(Hint::Schedule);
                break;
            }
            let Some(owner) = loads.choose(Some(shared.cluster.me())) else { break };
            *self.given.builds.entry(owner.incarnation).or_default() += 1;
            taking.push(take(shared, item, owner, job.exclusive));
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
        let (nodes, links) = (shared.store.nodes().await?, live_links(shared).await?);
        let mut free = Free::of(&nodes, &links, &shared.store.slots().await?);
        let mut waits = Vec::new();
        for label in labels {
            // Thousands may wait; no more of them than there are executors can get one.
            let most = free.count(&label);
            if most > 0 {
                waits.append(&mut shared.store.first_waits(&label, most).await?);
            }
        }
        waits.sort_by_key(|wait| wait.id);
        let before = std::mem::replace(&mut self.waits, waits.iter().map(|wait| wait.id).collect());
        waits.retain(|wait| ours || before.contains(&wait.id));
        let mut granting = FuturesUnordered::new();
        for allocation in allocate(waits, free) {
            let node = nodes.iter().find(|n| n.name == allocation.node);
            let link = links.iter().find(|l| l.node == allocation.node);
            let (Some(node), Some(link)) = (node, link) else { continue };
            let granted = granted(&allocation, node, link);
            granting.push(grant_one(shared, allocation, granted));
        }
        while granting.next().await.is_some() {}
        Ok(())
    }
}

/// Whether jobs run one build at a time, by id and version of their configuration: another job may get the name.
#[derive(Default)]
struct Jobs {
    exclusive: HashMap<i64, (i64, bool)>,
}

/// What one pass has seen of a job.
#[derive(Clone, Copy)]
struct Job {
    exclusive: bool,
    /// None of its builds runs.
    free: bool,
}

impl Jobs {
    /// Whether a build of the job can begin now, and whether it must be the only one.
    async fn look(&mut self, shared: &Shared, job: &JobName) -> Result<Job, store::Error> {
        let Some(item) = shared.store.item(job).await? else {
            // Renamed since the queue was read, or deleted: the next pass knows.
            return Ok(Job { exclusive: true, free: false });
        };
        let (id, version, running) = (item.summary.id, item.summary.version, item.summary.running);
        if let Some((known, exclusive)) = self.exclusive.get(&id)
            && *known == version
        {
            return Ok(Job { exclusive: *exclusive, free: running == 0 });
        }
        let exclusive = match definition::job_config(&item.config) {
            Ok(config) => effective(&config, &shared.programs).await.exclusive,
            Err(_) => false,
        };
        if self.exclusive.len() >= MAX_JOBS {
            self.exclusive.clear();
        }
        self.exclusive.insert(id, (version, exclusive));
        Ok(Job { exclusive, free: running == 0 })
    }
}

async fn take(shared: &Arc<Shared>, item: QueueItem, owner: ReplicaId, exclusive: bool) {
    let at = shared.clock.now();
    let write = Write::TakeBuild { id: item.id, owner: owner.clone(), exclusive, behaviour: BEHAVIOUR, at };
    match shared.store.write(write).await {
        Ok(Answer::Taken(taken)) => {
            if taken.owner == shared.cluster.me().incarnation {
                shared.drive(Running::begun(taken, item.job, BEHAVIOUR), None);
            } else {
                let Taken { build, number, owner, fence } = taken;
                let begun = PeerHint::Begun { build, job: item.job, number, fence, behaviour: BEHAVIOUR };
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

/// The links whose holder is live.
async fn live_links(shared: &Shared) -> Result<Vec<Link>, store::Error> {
    let mut links = shared.store.links().await?;
    let view = shared.cluster.view().borrow().clone();
    links.retain(|link| link.holder.as_ref().is_some_and(|holder| view.live(holder.incarnation)));
    Ok(links)
}

async fn grant_one(shared: &Arc<Shared>, allocation: Allocation, granted: Granted) {
    let Allocation { wait, node, slot } = allocation;
    let body = inbox::text(&Delivery::Granted { step: wait.step, granted });
    match shared.store.write(Write::Grant { wait: wait.id, node, slot, body }).await {
        Ok(Answer::Bool(true)) => shared.look_at_inbox(wait.build),
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, build = %wait.build, "grant an executor"),
    }
}

fn granted(allocation: &Allocation, node: &Node, link: &Link) -> Granted {
    let info: AgentInfo = serde_json::from_str(&link.info).unwrap_or_default();
    let root = if node.remote_fs.is_empty() { &info.work_dir } else { &node.remote_fs };
    let separator = if info.unix { '/' } else { '\\' };
    let mut folder = allocation.wait.job.as_str().replace('/', &separator.to_string());
    if allocation.slot > 0 {
        // Each executor has a workspace of its own, so that builds at once do not meet.
        folder = format!("{folder}@{}", allocation.slot + 1);
    }
    let workspace = format!("{}{separator}workspace{separator}{folder}", root.trim_end_matches(['/', '\\']));
    let mut room = MAX_ENV;
    let mut env: BTreeMap<String, String> = info
        .env
        .into_iter()
        .take_while(|(name, value)| {
            room = room.saturating_sub(name.len() + value.len() + 8);
            room > 0
        })
        .collect();
    env.insert(crate::INSTANCE_ENV.to_owned(), link.instance.clone());
    let labels = node.labels.iter().cloned().chain([node.name.to_string()]).collect();
    Granted {
        node: node.name.to_string(),
        executor: allocation.slot,
        workspace,
        unix: info.unix,
        labels,
        env,
    }
}
