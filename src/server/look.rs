//! What one request reads from the store. Each table is read at most once, and only when something asks for it.

use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use config::{Definition, FreestyleJob, ItemConfig};
use engine::Effective;
use engine::allocate::{self, Seen};
use futures_util::TryFutureExt;
use model::{JobName, NodeName, ParameterKind, ReplicaId};
use parking_lot::Mutex;
use store::{Build, Busy, Item, ItemKind, Link, Member, Meta, Node, QueueItem, Running, Store, Wait};
use tokio::sync::OnceCell;

use crate::error::Error;
use crate::export::{Shape, Value};
use crate::pages::html::Frame;
use crate::ports::App;
use crate::request::{Asked, Base};

/// Most values in one export: some 50 MB of memory.
const MAX_VALUES: usize = if cfg!(test) { 5_000 } else { 500_000 };
/// Most configurations that are remembered for one request.
const MAX_CONFIGS: usize = 1_000;
/// How many builds tell how long the next one will take.
const ESTIMATE_FROM: u32 = 3;

/// The eyes of one request.
pub(crate) struct Look<'a> {
    pub(crate) app: &'a App,
    pub(crate) base: &'a Base,
    /// What the pages around have in common.
    pub(crate) frame: Frame,
    values: AtomicUsize,
    queue: OnceCell<Queue>,
    seen: OnceCell<Seen>,
    reasons: Mutex<HashMap<Option<String>, Reason>>,
    busy: OnceCell<Vec<Busy>>,
    running: OnceCell<Vec<Running>>,
    building: OnceCell<HashSet<JobName>>,
    nodes: OnceCell<Vec<Node>>,
    links: OnceCell<Links>,
    members: OnceCell<Vec<Member>>,
    meta: OnceCell<Meta>,
    configs: Mutex<HashMap<JobName, Arc<Configured>>>,
    effective: Mutex<HashMap<JobName, Arc<Effective>>>,
    estimates: Mutex<HashMap<JobName, i64>>,
    kinds: Mutex<HashMap<JobName, ItemKind>>,
}

/// What waits, and which item is a job's newest.
pub(crate) struct Queue {
    pub(crate) items: Vec<QueueItem>,
    by_job: HashMap<JobName, usize>,
}

/// Why a `node` step waits.
#[derive(Debug, Clone)]
pub(crate) struct Reason {
    pub(crate) why: String,
    /// Waiting alone helps nothing.
    pub(crate) stuck: bool,
}

/// The connections of agents, and which is a node's.
struct Links {
    all: Vec<Link>,
    by_node: HashMap<NodeName, usize>,
}

/// A job or folder with what its `config.xml` says.
pub(crate) struct Configured {
    pub(crate) item: Item,
    /// `None`: it can't be read (any more).
    pub(crate) config: Option<ItemConfig>,
}

impl Configured {
    pub(crate) fn description(&self) -> Option<&str> {
        match self.config.as_ref()? {
            ItemConfig::Job(job) => job.description.as_deref(),
            ItemConfig::Folder { description, .. } => description.as_deref(),
        }
    }

    /// What builds of a Freestyle job do.
    pub(crate) fn freestyle(&self) -> Option<&FreestyleJob> {
        match self.config.as_ref()? {
            ItemConfig::Job(job) => match &job.definition {
                Definition::Freestyle(job) => Some(job),
                Definition::None | Definition::Script { .. } | Definition::Scm { .. } => None,
            },
            ItemConfig::Folder { .. } => None,
        }
    }

    pub(crate) fn display_name(&self) -> Option<&str> {
        match self.config.as_ref()? {
            ItemConfig::Job(job) => job.display_name.as_deref(),
            ItemConfig::Folder { display_name, .. } => display_name.as_deref(),
        }
    }
}

/// Parameters whose values are shown to nobody.
pub(crate) fn passwords(effective: &Effective) -> HashSet<&str> {
    let secret = |p: &&model::ParameterDefinition| matches!(p.kind, ParameterKind::Password { .. });
    effective.parameters.iter().filter(secret).map(|p| p.name.as_str()).collect()
}

impl<'a> Look<'a> {
    /// For the one who asks.
    pub(crate) fn of(app: &'a App, asked: &'a Asked) -> Look<'a> {
        let session = asked.session.as_deref();
        let crumb = session.map(|session| app.secrets.crumb(asked.by(), session));
        let frame = Frame::new(asked.base.path(), asked.user.as_ref(), crumb);
        Look { frame, ..Look::new(app, &asked.base) }
    }

    pub(crate) fn new(app: &'a App, base: &'a Base) -> Look<'a> {
        Look {
            app,
            base,
            frame: Frame::new(base.path(), None, None),
            values: AtomicUsize::new(0),
            queue: OnceCell::new(),
            seen: OnceCell::new(),
            reasons: Mutex::default(),
            busy: OnceCell::new(),
            running: OnceCell::new(),
            building: OnceCell::new(),
            nodes: OnceCell::new(),
            links: OnceCell::new(),
            members: OnceCell::new(),
            meta: OnceCell::new(),
            configs: Mutex::default(),
            effective: Mutex::default(),
            estimates: Mutex::default(),
            kinds: Mutex::default(),
        }
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        self.app.commands.store()
    }

    /// The object, if the answer has room for it.
    pub(crate) fn done(&self, shape: Shape<'_>) -> Result<Value, Error> {
        let value = shape.done();
        let more = match &value {
            Value::Object(object) => object.properties.len() + 1,
            _ => 1,
        };
        if self.values.fetch_add(more, Ordering::Relaxed) + more > MAX_VALUES {
            return Err(Error::bad(format!(
                "the answer has more than {MAX_VALUES} values; select less with tree"
            )));
        }
        Ok(value)
    }

    pub(crate) async fn queue(&self) -> Result<&Queue, Error> {
        self.queue.get_or_try_init(|| self.load_queue()).await
    }

    async fn load_queue(&self) -> Result<Queue, Error> {
        let items = self.store().queue().await?;
        let by_job = items.iter().enumerate().map(|(i, item)| (item.job.clone(), i)).collect();
        Ok(Queue { items, by_job })
    }

    /// The newest item of a job that waits.
    pub(crate) async fn queued(&self, job: &JobName) -> Result<Option<&QueueItem>, Error> {
        let queue = self.queue().await?;
        Ok(queue.by_job.get(job).and_then(|at| queue.items.get(*at)))
    }

    /// Which `node` steps wait, and what tells why.
    pub(crate) async fn seen(&self) -> Result<&Seen, Error> {
        self.seen.get_or_try_init(|| self.load_seen()).await
    }

    /// Why a step waits. Looked for once for each label: the queue may hold thousands of steps, and there may be
    /// thousands of nodes.
    pub(crate) async fn reason(&self, wait: &Wait) -> Result<Reason, Error> {
        self.reason_of(wait.label.as_deref()).await
    }

    /// Why something waits for an executor with this label.
    pub(crate) async fn reason_of(&self, label: Option<&str>) -> Result<Reason, Error> {
        let label = label.map(str::to_owned);
        if let Some(known) = self.reasons.lock().get(&label) {
            return Ok(known.clone());
        }
        let (nodes, links) = (self.nodes().await?.to_vec(), self.live_links().await?);
        let seen = Seen { waits: Vec::new(), nodes, links };
        let why = allocate::why(label.as_deref(), &seen);
        let reason = Reason { why, stuck: allocate::stuck(label.as_deref(), &seen) };
        self.reasons.lock().insert(label, reason.clone());
        Ok(reason)
    }

    /// What a job is. Of one that is gone meanwhile, what most are.
    pub(crate) async fn kind(&self, job: &JobName) -> Result<ItemKind, Error> {
        if let Some(kind) = self.kinds.lock().get(job) {
            return Ok(*kind);
        }
        let known = self.configs.lock().get(job).map(|configured| configured.item.summary.kind);
        let kind = match known {
            Some(kind) => kind,
            None => self.store().item(job).await?.map_or(ItemKind::Pipeline, |item| item.summary.kind),
        };
        self.kinds.lock().insert(job.clone(), kind);
        Ok(kind)
    }

    /// So that nobody asks for it.
    pub(crate) fn is_of_kind(&self, job: &JobName, kind: ItemKind) {
        self.kinds.lock().insert(job.clone(), kind);
    }

    /// Running builds that ask for executors as they run.
    pub(crate) async fn pipelines(&self) -> Result<Vec<&Running>, Error> {
        let mut pipelines = Vec::new();
        for running in self.running().await? {
            if self.kind(&running.job).await? != ItemKind::Freestyle {
                pipelines.push(running);
            }
        }
        Ok(pipelines)
    }

    async fn load_seen(&self) -> Result<Seen, Error> {
        let waits = self.store().waits().await?;
        if waits.is_empty() {
            return Ok(Seen::default());
        }
        Ok(Seen { waits, nodes: self.nodes().await?.to_vec(), links: self.live_links().await? })
    }

    pub(crate) async fn busy(&self) -> Result<&[Busy], Error> {
        Ok(self.busy.get_or_try_init(|| self.store().busy()).await?)
    }

    pub(crate) async fn running(&self) -> Result<&[Running], Error> {
        Ok(self.running.get_or_try_init(|| self.store().running(None)).await?)
    }

    /// Whether a build of the job runs.
    pub(crate) async fn builds_now(&self, job: &JobName) -> Result<bool, Error> {
        let running = self.running().await?;
        let load = || ready(running.iter().map(|r| r.job.clone()).collect());
        Ok(self.building.get_or_init(load).await.contains(job))
    }

    pub(crate) async fn nodes(&self) -> Result<&[Node], Error> {
        Ok(self.nodes.get_or_try_init(|| self.store().nodes()).await?)
    }

    pub(crate) async fn links(&self) -> Result<&[Link], Error> {
        Ok(&self.load_links().await?.all)
    }

    /// The connections whose holder is live.
    pub(crate) async fn live_links(&self) -> Result<Vec<Link>, Error> {
        let live: HashSet<&ReplicaId> =
            self.members().await?.iter().filter(|m| m.live()).map(|m| &m.id).collect();
        let up = |link: &&Link| link.holder.as_ref().is_some_and(|h| live.contains(h));
        Ok(self.links().await?.iter().filter(up).cloned().collect())
    }

    async fn load_links(&self) -> Result<&Links, Error> {
        let load = || self.store().links().map_err(Error::from).map_ok(Links::new);
        self.links.get_or_try_init(load).await
    }

    pub(crate) async fn meta(&self) -> Result<&Meta, Error> {
        Ok(self.meta.get_or_try_init(|| self.store().meta()).await?)
    }

    pub(crate) async fn members(&self) -> Result<&[Member], Error> {
        Ok(self.members.get_or_try_init(|| self.store().members()).await?)
    }

    /// Whether this incarnation is live.
    pub(crate) async fn live(&self, who: &ReplicaId) -> Result<bool, Error> {
        Ok(self.members().await?.iter().any(|m| m.id == *who && m.live()))
    }

    /// Who holds the node's agent now.
    pub(crate) async fn holder(&self, node: &Node) -> Result<Option<&ReplicaId>, Error> {
        let link = self.link(node).await?;
        match link.and_then(|l| l.holder.as_ref()) {
            Some(holder) if self.live(holder).await? => Ok(Some(holder)),
            _ => Ok(None),
        }
    }

    /// The node's newest connection, ended or not.
    pub(crate) async fn link(&self, node: &Node) -> Result<Option<&Link>, Error> {
        let links = self.load_links().await?;
        Ok(links.by_node.get(&node.name).and_then(|at| links.all.get(*at)))
    }

    /// An item with its configuration; 404 when there is none.
    pub(crate) async fn configured(&self, name: &JobName) -> Result<Arc<Configured>, Error> {
        if let Some(known) = self.configs.lock().get(name) {
            return Ok(Arc::clone(known));
        }
        let item = self.store().item(name).await?;
        let item = item.ok_or_else(|| Error::missing(format!("there is no job {name}")))?;
        let config = ItemConfig::parse(&item.config).ok();
        let known = Arc::new(Configured { item, config });
        let mut configs = self.configs.lock();
        if configs.len() >= MAX_CONFIGS {
            configs.clear();
        }
        configs.insert(name.clone(), Arc::clone(&known));
        Ok(known)
    }

    /// What holds for a job by its configuration and its Jenkinsfile; nothing for a folder.
    pub(crate) async fn effective(&self, name: &JobName) -> Result<Arc<Effective>, Error> {
        if let Some(known) = self.effective.lock().get(name) {
            return Ok(Arc::clone(known));
        }
        let effective = match &self.configured(name).await?.config {
            Some(ItemConfig::Job(job)) => self.app.commands.effective(job).await,
            Some(ItemConfig::Folder { .. }) | None => Effective::default(),
        };
        let effective = Arc::new(effective);
        let mut all = self.effective.lock();
        if all.len() >= MAX_CONFIGS {
            all.clear();
        }
        all.insert(name.clone(), Arc::clone(&effective));
        Ok(effective)
    }

    /// Milliseconds that a build of the job takes, from its newest completed ones; -1 when it has none.
    pub(crate) async fn estimate(&self, job: &JobName) -> Result<i64, Error> {
        if let Some(known) = self.estimates.lock().get(job) {
            return Ok(*known);
        }
        let newest = self.store().builds(job, None, ESTIMATE_FROM * 2).await?;
        let estimate = estimate(&newest);
        self.estimates.lock().insert(job.clone(), estimate);
        Ok(estimate)
    }
}

impl Links {
    fn new(all: Vec<Link>) -> Links {
        let by_node = all.iter().enumerate().map(|(at, link)| (link.node.clone(), at)).collect();
        Links { all, by_node }
    }
}

fn estimate(newest: &[Build]) -> i64 {
    let took = |b: &Build| Some(b.ended_at?.since(b.started_at).as_millis() as i64);
    let took: Vec<i64> = newest.iter().filter_map(took).take(ESTIMATE_FROM as usize).collect();
    let many = i64::try_from(took.len()).unwrap_or(1).max(1);
    if took.is_empty() { -1 } else { took.iter().sum::<i64>() / many }
}
