//! From the server to the links: upgraded connections, and questions to agents.

use std::net::SocketAddr;

use async_trait::async_trait;
use link::Links;
use remoting::spools::{SpoolsOf, SpoolsTold};
use server::{AgentSockets, Arrival, PeerSockets, Upgraded};

pub(super) struct Agents(pub(super) Links);

#[async_trait]
impl AgentSockets for Agents {
    async fn accept(&self, arrival: Arrival) {
        let Arrival { node, instance, remote: _, stream } = arrival;
        self.0.serve_agent(node, instance, Box::new(stream)).await;
    }
}

pub(super) struct Peers(pub(super) Links);

#[async_trait]
impl PeerSockets for Peers {
    async fn accept(&self, _remote: Option<SocketAddr>, stream: Upgraded) {
        self.0.serve_peer(Box::new(stream)).await;
    }
}

pub(super) struct Spools(pub(super) Links);

#[async_trait]
impl server::Spools for Spools {
    async fn ask(&self, of: &SpoolsOf) -> Result<SpoolsTold, String> {
        self.0.spools(of).await
    }

    async fn ask_here(&self, of: &SpoolsOf) -> Result<SpoolsTold, String> {
        self.0.spools_for_peer(of).await
    }
}
