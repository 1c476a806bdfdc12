//! Connections between replicas: each dials each. Whoever dialled asks for agents, whoever answered holds them.

use model::{BuildId, Fence};

use crate::links::{Connection, PeerMessage, PeerPath};
use crate::replica::ReplicaDo;
use crate::world::{Event, MS, SEC, World};

impl World {
    // -- connections between replicas ----------------------------------------------------------

    pub(crate) fn dial_peer(&mut self, at: usize, to: usize) {
        let there = &self.replicas[to];
        let life = there.life;
        if self.replicas[at].peers.contains_key(&to) {
            return;
        }
        if there.paused || there.me.is_none() {
            return self.soon(at, 500 * MS, ReplicaDo::DialPeer { to });
        }
        let connection = Connection { id: self.count(), there: life, to_last: self.now, back_last: self.now };
        self.replicas[at].peers.insert(to, connection);
        let mut wants = Vec::new();
        for (build, actor) in &self.replicas[at].actors {
            wants.extend(actor.nodes.keys().map(|node| (*build, actor.fence(), *node)));
        }
        for (build, fence, node) in wants {
            self.say(at, to, PeerMessage::Attach { build, fence, node });
        }
    }

    pub(crate) fn say(&mut self, at: usize, to: usize, message: PeerMessage) {
        let delay = self.delay(200, 3 * MS);
        let now = self.now;
        let Some(connection) = self.replicas[at].peers.get_mut(&to) else { return };
        connection.to_last = (now + delay).max(connection.to_last + 1);
        let (due, life, id) = (connection.to_last, connection.there, connection.id);
        let what = ReplicaDo::Peer { from: at, connection: id, message };
        self.at(due, Event::Replica { at: to, life, what });
    }

    /// To whoever has dialled us.
    pub(crate) fn back(&mut self, at: usize, to: usize, connection: u64, message: PeerMessage) {
        let delay = self.delay(200, 3 * MS);
        let (now, life) = (self.now, self.replicas[to].life);
        let Some(link) = self.replicas[to].peers.get_mut(&at).filter(|c| c.id == connection) else { return };
        link.back_last = (now + delay).max(link.back_last + 1);
        let due = link.back_last;
        let what = ReplicaDo::Peer { from: at, connection, message };
        self.at(due, Event::Replica { at: to, life, what });
    }

    /// Passes a hint to one peer (by incarnation) or to all; it may be lost when it is only a hint.
    pub(crate) fn hint(&mut self, at: usize, to: Option<i64>, message: &PeerMessage) {
        let hint =
            matches!(message, PeerMessage::Inbox(_) | PeerMessage::Running | PeerMessage::Linked { .. });
        let peers: Vec<usize> = self.replicas[at].peers.keys().copied().collect();
        for peer in peers {
            let meant = to.is_none_or(|to| to == self.replicas[peer].incarnation());
            if meant && !(hint && self.random.chance(100)) {
                self.say(at, peer, message.clone());
            }
        }
    }

    pub(crate) fn peer_says(&mut self, at: usize, from: usize, connection: u64, message: PeerMessage) {
        // Answers of a connection that we have left are not read any more; commands may still come.
        let ours = self.replicas[at].peers.get(&from).is_some_and(|c| c.id == connection);
        match message {
            PeerMessage::Attach { build, fence, node } => {
                self.replicas[at].theirs.insert((build, fence, node), (from, connection));
                if let Some(link) = self.replicas[at].local.get(&node).copied() {
                    self.back(at, from, connection, PeerMessage::Up { build, fence, node, link });
                }
            }
            PeerMessage::Detach { build, fence } => {
                let of = |(b, f, _): &(BuildId, Fence, usize), c: &(usize, u64)| {
                    *b == build && *f == fence && c.1 == connection
                };
                self.replicas[at].theirs.retain(|key, c| !of(key, c));
            }
            PeerMessage::Up { build, fence, node, link } if ours => {
                let path = PeerPath { link, number: self.links[link].number, peer: Some(from) };
                if self.replicas[at].actors.get(&build).is_some_and(|a| a.fence() == fence) {
                    self.reached(at, build, node, path);
                }
            }
            PeerMessage::Down { node, link } if ours => {
                self.unreached(at, |n, path| n == node && path.link == link && path.peer == Some(from));
            }
            PeerMessage::Report { node, report } if ours => {
                let (build, fence) = (report.build, report.fence);
                if self.replicas[at].actors.get(&build).is_some_and(|a| a.fence() == fence) {
                    self.hears(at, build, node, *report);
                }
            }
            PeerMessage::Command { node, message } => {
                if let Some(link) = self.replicas[at].local.get(&node).copied() {
                    self.command_to(link, *message);
                }
            }
            PeerMessage::Inbox(build) => self.look_inbox(at, build),
            PeerMessage::Running => self.hinted(at),
            PeerMessage::Linked { node, number } => self.close_below(at, node, number),
            PeerMessage::Up { .. } | PeerMessage::Down { .. } | PeerMessage::Report { .. } => {}
        }
    }

    pub(crate) fn peer_gone(&mut self, at: usize, peer: usize, connection: u64) {
        if self.replicas[at].peers.get(&peer).is_none_or(|c| c.id != connection) {
            return;
        }
        self.replicas[at].peers.remove(&peer);
        self.unreached(at, |_, path| path.peer == Some(peer));
        let delay = self.random.between(200 * MS, SEC);
        self.soon(at, delay, ReplicaDo::DialPeer { to: peer });
    }

    /// Everybody who has a connection with a process that ends, or is cut off, notices.
    pub(crate) fn sockets_end(&mut self, at: usize) {
        let links: Vec<usize> = self.replicas[at].local.values().copied().collect();
        links.into_iter().for_each(|link| self.cut(link));
        for other in 0..self.replicas.len() {
            if let Some(connection) = self.replicas[other].peers.get(&at).copied() {
                let delay = self.notice().min(5 * SEC);
                self.soon(other, delay, ReplicaDo::PeerGone { peer: at, connection: connection.id });
            }
            self.replicas[other].theirs.retain(|_, (from, _)| *from != at);
        }
    }
}
