//! Sessions with agents, wherever their link is.
//!
//! One replica holds an agent's socket; any replica may own a build that runs there. [`Links`] is what the engine sees: it
//! attaches a build to an agent, sends commands and receives reports, over the local link or through a peer. It knows
//! of a build no more than its id and fence. Nothing here survives a restart, and nothing needs to.

mod agent;
mod call;
mod mail;
mod metrics;
mod peers;
mod routes;
mod scrape;
mod socket;
mod spools;
mod weight;

use std::sync::Arc;
use std::time::Duration;

use model::{BuildId, Clock, Fence, NodeName};
use mutual::Peering;
use remoting::native::Frame;
use remoting::ops::{FromAgent, ToAgent};
use remoting::peer::{Peer, PeerHint};
use remoting::spools::{SpoolsOf, SpoolsTold};
use store::Store;
use tokio::sync::{broadcast, mpsc};

pub use metrics::{End, Metrics, PeerEnd, Refusal};
pub use mutual::Stream;
use routes::Routes;
pub use weight::Weight;

/// What an attached build is told.
#[derive(Debug)]
pub enum AgentEvent {
    /// The agent can be reached, over a link that is new to this build.
    Up {
        node: NodeName,
        instance: String,
    },
    Down {
        node: NodeName,
    },
    Report {
        node: NodeName,
        report: FromAgent,
        /// Dropped when the report is taken.
        weight: Weight,
    },
}

/// All links of this replica, and the way to those of its peers; cheap to clone.
#[derive(Clone)]
pub struct Links {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    cluster: cluster::Handle,
    /// How peers are reached.
    peering: Peering,
    routes: Routes,
    asks: spools::Asks,
    hints: broadcast::Sender<PeerHint>,
    metrics: Metrics,
}

impl Links {
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        cluster: cluster::Handle,
        peering: Peering,
    ) -> Links {
        let shared = Shared {
            store,
            clock,
            cluster,
            peering,
            routes: Routes::default(),
            asks: spools::Asks::default(),
            hints: broadcast::Sender::new(1024),
            metrics: Metrics::default(),
        };
        Links { shared: Arc::new(shared) }
    }

    /// Dials the peers and keeps the local links true to the store until the process ends.
    pub async fn run(&self) {
        tokio::join!(
            peers::dial_all(Arc::clone(&self.shared)),
            agent::watch_store(Arc::clone(&self.shared)),
            self.balance()
        );
    }

    /// Sends agents elsewhere when others have far fewer: after a replica was restarted it has none.
    async fn balance(&self) {
        let (mut pause, mut before) = (cluster::LOOK, usize::MAX);
        loop {
            tokio::time::sleep(pause).await;
            let (held, away) = self.send_elsewhere();
            // Those that were sent away came back: they can't reach others, and are to be left in peace.
            let in_vain = away > 0 && held >= before;
            pause = if in_vain { (pause * 2).min(LONGEST_PAUSE) } else { cluster::LOOK };
            before = if away > 0 { held } else { usize::MAX };
        }
    }

    /// Closes the links that are too many here, as many as may move at once. How many there were, and how many go.
    fn send_elsewhere(&self) -> (usize, usize) {
        let view = self.shared.cluster.view().borrow().clone();
        let held = self.shared.routes.held().len();
        let away = cluster::assign::too_many(&view.members, self.shared.cluster.me(), held);
        if away > 0 {
            tracing::info!(held, away, "other replicas have fewer agents: some go there");
            self.shared.routes.shed(away, End::Balanced, "other replicas have fewer agents");
        }
        (held, away)
    }

    /// Serves a native agent that has shown its secret, until its link ends. Says why it ended.
    pub async fn serve_agent(&self, node: NodeName, instance: String, stream: Stream) -> String {
        agent::serve(&self.shared, node, instance, stream).await
    }

    /// Serves a peer that has shown the peer token, until its link ends.
    pub async fn serve_peer(&self, stream: Stream) {
        peers::serve(&self.shared, stream).await;
    }

    /// Hints that peers give.
    pub fn hints(&self) -> broadcast::Receiver<PeerHint> {
        self.shared.hints.subscribe()
    }

    /// Passes a hint to one peer (by incarnation) or to all.
    pub fn hint(&self, to: Option<i64>, hint: &PeerHint) {
        self.shared.routes.to_peers(to, &Peer::Hint(hint.clone()));
    }

    /// A build of ours has ended without its driver: what its agents still run of it ends.
    pub fn over(&self, build: BuildId, fence: Fence) {
        self.shared.routes.over(build, fence);
        self.hint(None, &PeerHint::Over { build, fence });
    }

    /// Wants to reach an agent for a build: `to` gets `Up` whenever that is so.
    pub fn attach(
        &self,
        build: BuildId,
        fence: Fence,
        node: &NodeName,
        to: &mpsc::UnboundedSender<AgentEvent>,
    ) {
        self.shared.routes.attach(build, fence, node, to);
    }

    pub fn detach(&self, build: BuildId, fence: Fence) {
        self.shared.routes.detach(build, fence);
    }

    /// Sends if the agent is reached now; else the command is dropped, and the next `Up` makes the build say it again.
    pub fn send(&self, node: &NodeName, command: ToAgent) {
        self.shared.routes.send(node, command);
    }

    /// Agents whose sockets are here, with the number of their link.
    pub fn held(&self) -> Vec<(NodeName, i64)> {
        self.shared.routes.held()
    }

    /// Closes links, the oldest first, so that their agents connect elsewhere; at most so many a call. Gives how many are
    /// left.
    pub fn shed(&self, most: usize, reason: &str) -> usize {
        self.shared.routes.shed(most, End::Drained, reason)
    }

    /// Closes the link of one agent.
    pub fn close(&self, node: &NodeName, reason: &str) {
        self.shared.routes.close(node, None, End::Ordered, reason);
    }

    /// Asks an agent, wherever its socket is, about its spools. `Err` is a sentence that goes on after the agent's name.
    pub async fn spools(&self, of: &SpoolsOf) -> Result<SpoolsTold, String> {
        spools::anywhere(&self.shared, of).await
    }

    /// The same for another replica: only if its socket is here.
    pub async fn spools_for_peer(&self, of: &SpoolsOf) -> Result<SpoolsTold, String> {
        spools::for_peer(&self.shared, of).await
    }

    /// What each other live replica has counted, in the text format of OpenMetrics; `None`: it did not answer in time.
    pub async fn metrics_of_others(&self) -> Vec<(model::ReplicaName, Option<String>)> {
        scrape::others(&self.shared).await
    }

    /// What was counted so far, and what is so now.
    pub fn metrics(&self) -> &Metrics {
        let (links, peers) = self.shared.routes.counts();
        let metrics = &self.shared.metrics;
        metrics.links.set(i64::try_from(links).unwrap_or(i64::MAX));
        metrics.peers.set(i64::try_from(peers).unwrap_or(i64::MAX));
        metrics
    }
}

/// Between two attempts to send agents elsewhere that do not go.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// What is queued for an agent's socket.
#[derive(Debug)]
pub(crate) enum ToSocket {
    Frame(Box<Frame>),
    Close(End, String),
}

#[cfg(test)]
mod tests {
    use cluster::Membership;
    use cluster::assign::MOVES;
    use model::{Millis, ReplicaName, ReplicaState, SystemClock};
    use store::{Join, Load, Memory};

    use super::*;
    use crate::routes::{Local, Outgoing};

    const DEADLINE: Duration = Duration::from_secs(20);

    fn clock() -> Arc<dyn Clock> {
        Arc::new(SystemClock::new())
    }

    async fn ready(store: &Arc<dyn Store>, name: &str) -> cluster::Handle {
        let join = Join {
            name: ReplicaName::parse(name).unwrap(),
            ordinal: 0,
            pid: 1,
            address: String::new(),
            revision: "r".into(),
            version: "0".into(),
            level: 1,
            behaviour: 1,
            at: Millis(1),
        };
        let (membership, handle) = Membership::join(Arc::clone(store), clock(), join).await.unwrap();
        tokio::spawn(membership.run());
        handle.set_state(ReplicaState::Ready).await.unwrap();
        handle
    }

    /// Waits until `here` sees how many agents the ready ones have by their own word.
    async fn sees(here: &cluster::Handle, agents: [u32; 2]) {
        let mut views = here.view();
        let seen = views.wait_for(|view| {
            let ready = view.members.iter().filter(|member| member.state == ReplicaState::Ready);
            ready.map(|member| member.load.agents).eq(agents)
        });
        tokio::time::timeout(DEADLINE, seen).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn so_many_links_go_at_once_while_the_others_have_far_fewer_and_none_otherwise() {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let (here, there) = (ready(&store, "r-0").await, ready(&store, "r-1").await);
        let links = Links::new(store, clock(), here.clone(), Peering::plain("token".into()));
        let connect = |link: i64| {
            let node = NodeName::parse(&format!("a-{link}")).unwrap();
            let (to, queue) = Outgoing::new(4);
            let (instance, pulse) = (String::new(), Arc::default());
            links.shared.routes.link_up(&node, Local { link, instance, spools: false, to, pulse });
            (link, node, queue)
        };
        let mut agents: Vec<_> = (0..200).map(connect).collect();
        // those whose link is closed now
        let mut closed = || -> Vec<i64> {
            let goes = agents.extract_if(.., |(.., queue)| match queue.try_recv() {
                Ok(ToSocket::Close(End::Balanced, _)) => true,
                Ok(other) => panic!("{other:?}"),
                Err(_) => false,
            });
            goes.map(|(link, node, _)| {
                links.shared.routes.link_down(&node, link);
                link
            })
            .collect()
        };
        sees(&here, [0, 0]).await;
        assert_eq!(links.send_elsewhere(), (200, MOVES));
        assert_eq!(closed(), Vec::from_iter(0..64), "the oldest");
        assert_eq!(links.send_elsewhere(), (136, MOVES));
        assert_eq!(closed(), Vec::from_iter(64..128));
        let there_has = async |agents| {
            there.set_load(Load { agents, ..Load::default() });
            sees(&here, [0, agents]).await;
        };
        there_has(24).await;
        assert_eq!(links.send_elsewhere(), (72, 0), "it has half more than the mean, and no more than that");
        assert_eq!(closed(), [0; 0]);
        there_has(20).await;
        assert_eq!(links.send_elsewhere(), (72, 26));
        assert_eq!(closed(), Vec::from_iter(128..154), "down to the mean");
    }
}
