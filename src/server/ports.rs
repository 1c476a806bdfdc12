//! What the server needs from others, as small traits. `src/cmd` wires the real ones, tests their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::overview::Durability;
use model::{NodeName, ReplicaId, ReplicaName, ReplicaState};
use remoting::spools::{SpoolsOf, SpoolsTold};
use security::{Accounts, Keys};
use tokio_util::task::TaskTracker;

use crate::caller::Proxies;
use crate::metrics::{Access, Metrics, Scrapes};
use crate::setup::Wizard;
use crate::verify::LogChecks;

/// A connection after its `101`: bytes that came early are read first.
pub type Upgraded = hyper_util::rt::TokioIo<hyper::upgrade::Upgraded>;

/// Everything that a request can need; one for each replica.
#[derive(Clone)]
pub struct App {
    pub commands: engine::Commands,
    pub accounts: Accounts,
    pub secrets: Arc<dyn Secrets>,
    pub agents: Arc<dyn AgentSockets>,
    pub peers: Arc<dyn PeerSockets>,
    pub spools: Arc<dyn Spools>,
    pub replica: Arc<dyn Replica>,
    pub metrics: Arc<dyn MetricsSource>,
    /// What the server itself counts.
    pub counted: Arc<Metrics>,
    pub scrapes: Scrapes,
    pub settings: Settings,
    pub log_checks: LogChecks,
    /// Shown while the replica is in the state `setup`.
    pub wizard: Wizard,
    /// Holds the tasks of upgraded connections. Whoever stops the replica closes and waits for it.
    pub tasks: TaskTracker,
}

/// What an administrator configures about HTTP.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where users reach the controller; without it, each request says so itself (`Host`, `X-Forwarded-*`).
    pub root_url: Option<String>,
    /// Whose word on the addresses of clients is believed.
    pub proxies: Proxies,
    /// How long a request waits for a store that is away.
    pub patience: Duration,
    /// Most time for one request, its streamed answer not counted.
    pub request_timeout: Duration,
    /// A client that sends nothing of its body for so long is answered 408.
    pub body_pause: Duration,
    /// Most time for a whole body.
    pub body_timeout: Duration,
    /// Who may see metrics.
    pub metrics: Access,
    /// Whether other replicas, and those who look after them, are served. Where they have to show a certificate, only the
    /// listener that asks for one does it.
    pub peers: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            root_url: None,
            proxies: Proxies::default(),
            patience: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            body_pause: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            metrics: Access::default(),
            peers: true,
        }
    }
}

/// What is derived from the controller's keys; equal on every replica. Checks take constant time.
pub trait Secrets: Send + Sync + 'static {
    /// What the agent of this node shows: 64 hex digits.
    fn agent_secret(&self, node: &str) -> String;
    fn verify_agent_secret(&self, node: &str, given: &str) -> bool;
    /// The text as only who has that agent's secret can read it. `iv` is random.
    fn seal_for_agent(&self, node: &str, iv: [u8; 16], text: &str) -> Vec<u8>;
    /// At least 16 hex digits that only this controller can derive from (user, session).
    fn crumb(&self, user: &str, session: &str) -> String;
    fn verify_crumb(&self, user: &str, session: &str, given: &str) -> bool;
    /// Whether a bearer token is that of the replicas and of whoever looks after them.
    fn verify_peer_token(&self, given: &str) -> bool;
}

impl Secrets for Keys {
    fn agent_secret(&self, node: &str) -> String {
        Keys::agent_secret(self, node)
    }

    fn verify_agent_secret(&self, node: &str, given: &str) -> bool {
        Keys::verify_agent_secret(self, node, given)
    }

    fn seal_for_agent(&self, node: &str, iv: [u8; 16], text: &str) -> Vec<u8> {
        Keys::seal_for_agent(self, node, iv, text)
    }

    fn crumb(&self, user: &str, session: &str) -> String {
        Keys::crumb(self, user, session)
    }

    fn verify_crumb(&self, user: &str, session: &str, given: &str) -> bool {
        Keys::verify_crumb(self, user, session, given)
    }

    fn verify_peer_token(&self, given: &str) -> bool {
        Keys::verify_peer_token(self, given)
    }
}

/// The agent of a node, on a fresh WebSocket.
pub struct Arrival {
    pub node: NodeName,
    /// Id of the agent's work folder; empty when it names none.
    pub instance: String,
    /// `None` where the listener does not know.
    pub remote: Option<SocketAddr>,
    pub stream: Upgraded,
}

/// Takes agents. The future may last as long as the link does.
#[async_trait]
pub trait AgentSockets: Send + Sync + 'static {
    async fn accept(&self, arrival: Arrival);
}

/// Takes connections of other replicas (`GET /peer/ws`). The future may last as long as the connection does.
#[async_trait]
pub trait PeerSockets: Send + Sync + 'static {
    async fn accept(&self, remote: Option<SocketAddr>, stream: Upgraded);
}

/// Asks agents about the spools that they still have. Nothing is changed by it. `Err` is a sentence that goes on after the
/// agent's name.
#[async_trait]
pub trait Spools: Send + Sync + 'static {
    /// Wherever the agent's socket is.
    async fn ask(&self, of: &SpoolsOf) -> Result<SpoolsTold, String>;
    /// For another replica: only if its socket is here.
    async fn ask_here(&self, of: &SpoolsOf) -> Result<SpoolsTold, String>;
}

/// The replica that serves: what it is doing, and what those who look after it may ask of it.
#[async_trait]
pub trait Replica: Send + Sync + 'static {
    fn name(&self) -> ReplicaName;
    fn me(&self) -> ReplicaId;
    /// From memory: health checks never touch the store.
    fn state(&self) -> ReplicaState;
    /// `Err` is a sentence that says what is missing.
    fn ready(&self) -> Result<(), String>;
    /// Whether all was handed over.
    fn drained(&self) -> bool;
    /// Whether it is to end.
    fn ends(&self) -> bool;
    /// The controller as it was seen last. From memory.
    fn view(&self) -> Arc<cluster::View>;
    /// How safe a commit is, by what the database says.
    async fn durability(&self) -> Durability;
    /// Begins to hand over builds and links; answers when that is done, again and again. `within`: longest time for it, if
    /// somebody says one.
    async fn drain(&self, within: Option<Duration>);
    /// Begins it, and answers at once.
    async fn begin_drain(&self, within: Option<Duration>);
    /// Asks the replica at this address to begin it. `Err` is a sentence.
    async fn drain_other(&self, who: &ReplicaId, address: &str) -> Result<(), String>;
    /// Begins to stop; answers at once.
    async fn stop(&self);
    /// The word of the parent process that this replica is gone. Answers whether it was live.
    async fn lapsed(&self, who: ReplicaId) -> Result<bool, store::Error>;
}

/// Metrics of processes, in the text format of OpenMetrics; each sample names its replica.
#[async_trait]
pub trait MetricsSource: Send + Sync + 'static {
    /// Those of this process. From memory.
    fn own(&self) -> String;
    /// Those of each other live replica; `None`: it did not answer in time.
    async fn others(&self) -> Vec<(ReplicaName, Option<String>)>;
}
