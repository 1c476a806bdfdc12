//! Upgraded connections, from the server to the links.

use std::net::SocketAddr;

use async_trait::async_trait;
use link::Links;
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
