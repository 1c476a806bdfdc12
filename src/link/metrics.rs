//! What the links of one replica count and time, and why a connection is no more.

use meter::{Counter, Counters, Gauge, Histogram, Name, Registry, add, labels, quick};

const LINKS: Name = Name::new("majordomo_agent_links", "Agents whose socket is at this replica");
const ACCEPTED: Name =
    Name::new("majordomo_agent_links_accepted_total", "Links of agents that were committed at this replica");
const REFUSED: Name = Name::new(
    "majordomo_agent_links_refused_total",
    "Agents with the right secret that got no link at this replica, by reason",
);
const ENDED: Name =
    Name::new("majordomo_agent_links_ended_total", "Links of agents that ended at this replica, by reason");
const PING: Name = Name::new(
    "majordomo_agent_ping_seconds",
    "From a ping to the answer of the agent; the agent's own answer, not that of a proxy",
);
const PEERS: Name =
    Name::new("majordomo_peer_connections", "Connections to other replicas that this replica has dialled");
const PEERS_ENDED: Name = Name::new(
    "majordomo_peer_connections_ended_total",
    "Connections to other replicas that this replica had dialled, by reason of their end",
);

labels! {
    /// Why the link of an agent has ended.
    pub enum End("reason") {
        /// Three pings in turn were not answered.
        Silent => "silent",
        /// The agent, or what is between, takes nothing.
        WriteBlocked => "write_blocked",
        /// The connection broke.
        Broken => "broken",
        /// The other side closed it, without a word of the agent.
        Closed => "closed",
        /// The agent said goodbye.
        Left => "left",
        /// It sent what no agent may.
        Protocol => "protocol_error",
        /// By a newer connection of the same agent at this replica.
        Replaced => "replaced",
        /// The agent has connected to another replica.
        Moved => "moved",
        NodeDeleted => "node_deleted",
        /// The store was set back to before the link began.
        StoreForgot => "store_forgot",
        /// It reports more than its builds can take.
        TooMuch => "too_much_output",
        /// This replica is drained.
        Drained => "drained",
        /// Others have far fewer agents.
        Balanced => "balanced",
        /// Somebody here closed it.
        Ordered => "ordered",
        ReplicaEnds => "replica_ends",
    }
}

labels! {
    /// Why an agent got no link.
    pub enum Refusal("reason") {
        /// It did not greet as it must, or went.
        Greeting => "greeting",
        /// What it says about itself is too large.
        TooLarge => "too_large",
        /// Another machine has its name.
        OtherMachine => "other_machine",
        Store => "store",
    }
}

labels! {
    /// Why a connection to a peer has ended.
    pub enum PeerEnd("reason") {
        Handshake => "handshake",
        Silent => "silent",
        WriteBlocked => "write_blocked",
        Broken => "broken",
        Protocol => "protocol_error",
    }
}

/// Why there is no connection any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) end: End,
    /// For people.
    pub(crate) why: String,
}

impl Gone {
    pub(crate) fn new(end: End, why: impl Into<String>) -> Gone {
        Gone { end, why: why.into() }
    }
}

/// Filled by the links; read when somebody asks.
#[derive(Debug)]
pub struct Metrics {
    pub(crate) links: Gauge,
    pub(crate) accepted: Counter,
    pub(crate) refused: Counters<Refusal>,
    pub(crate) ended: Counters<End>,
    pub(crate) ping: Histogram,
    pub(crate) peers: Gauge,
    pub(crate) peers_ended: Counters<PeerEnd>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            links: Gauge::default(),
            accepted: Counter::default(),
            refused: Counters::default(),
            ended: Counters::default(),
            ping: quick(),
            peers: Gauge::default(),
            peers_ended: Counters::default(),
        }
    }
}

impl Metrics {
    pub fn register(&self, to: &mut Registry) {
        add(to, LINKS, self.links.clone());
        add(to, ACCEPTED, self.accepted.clone());
        self.refused.add_to(to, REFUSED);
        self.ended.add_to(to, ENDED);
        add(to, PING, self.ping.clone());
        add(to, PEERS, self.peers.clone());
        self.peers_ended.add_to(to, PEERS_ENDED);
    }
}
