//! Who is reached where: local links, peers, and the builds that want them. A table behind one lock, no I/O.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{BuildId, Fence, NodeName};
use parking_lot::Mutex;
use remoting::native::Frame;
use remoting::ops::{Command, FromAgent, ToAgent};
use remoting::peer::Peer;
use tokio::sync::{Notify, mpsc};

use crate::metrics::End;
use crate::weight::{Scales, Weight};
use crate::{AgentEvent, ToSocket};

/// Why the link of an agent is closed whose reports nobody can take.
pub(crate) const TOO_MUCH: &str = "it reports more than its builds can take";
/// Why the link of an agent ends that has connected anew.
pub(crate) const REPLACED: &str = "replaced by a newer connection of the same agent";
/// How much later than the interval says the answer to a ping may come.
const LATE: Duration = Duration::from_secs(2);

/// A build as links know it.
type Owner = (BuildId, Fence);

#[derive(Default)]
pub(crate) struct Routes {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    local: BTreeMap<NodeName, Local>,
    /// What our own builds want.
    ours: HashMap<Owner, Interest>,
    /// What builds of peers want of our links, by the connection they came over.
    theirs: HashMap<(Owner, NodeName), Remote>,
    /// How many builds want each agent, ours and theirs.
    wanted: HashMap<NodeName, usize>,
    /// What waits for our builds, of each agent that reported to one.
    waiting: HashMap<NodeName, Waiting>,
    /// Connections that we have dialled, by incarnation.
    peers: BTreeMap<i64, Outgoing<Peer>>,
}

/// The link of an agent whose socket is here.
#[derive(Clone)]
pub(crate) struct Local {
    pub(crate) link: i64,
    pub(crate) instance: String,
    /// The agent can be asked about its spools.
    pub(crate) spools: bool,
    pub(crate) to: Outgoing<ToSocket>,
    pub(crate) pulse: Arc<Pulse>,
}

/// Until when an agent that was heard counts as there: a little longer than to the answer of the next ping.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// A build has begun to want an agent that none wanted.
    pub(crate) wanted: Notify,
    /// Milliseconds of the process's clock.
    until: AtomicU64,
}

impl Pulse {
    pub(crate) fn heard(&self, now: Duration, interval: Duration) {
        let until = now + interval + LATE;
        self.until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn beats(&self, now: Duration) -> bool {
        now < Duration::from_millis(self.until.load(Ordering::Relaxed))
    }
}

#[derive(Default)]
struct Waiting {
    scales: Scales,
    /// The last link over which too much came; its holder was asked to close it.
    shut: i64,
}

struct Interest {
    to: mpsc::UnboundedSender<AgentEvent>,
    /// How each wanted agent is reached now.
    nodes: HashMap<NodeName, Option<Path>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Path {
    link: i64,
    /// `None`: our own socket.
    peer: Option<i64>,
}

#[derive(Clone)]
struct Remote {
    connection: u64,
    to: Outgoing<Peer>,
}

/// A queue towards a socket. One that is full belongs to a socket that does not drain: its connection is ended, and all
/// is said again over the next one. Messages to our own builds are not limited here: the credit of each step does that.
pub(crate) struct Outgoing<T> {
    pub(crate) queue: mpsc::Sender<T>,
    pub(crate) overflow: Arc<Notify>,
}

impl<T> Clone for Outgoing<T> {
    fn clone(&self) -> Outgoing<T> {
        Outgoing { queue: self.queue.clone(), overflow: Arc::clone(&self.overflow) }
    }
}

impl<T> Outgoing<T> {
    pub(crate) fn new(size: usize) -> (Outgoing<T>, mpsc::Receiver<T>) {
        let (queue, receiver) = mpsc::channel(size);
        (Outgoing { queue, overflow: Arc::new(Notify::new()) }, receiver)
    }

    pub(crate) fn tell(&self, message: T) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(message) {
            self.overflow.notify_one();
        }
    }
}

/// The build may have ended meanwhile.
fn tell(to: &mpsc::UnboundedSender<AgentEvent>, event: AgentEvent) {
    let _ended = to.send(event);
}

impl Routes {
    pub(crate) fn attach(
        &self,
        build: BuildId,
        fence: Fence,
        node: &NodeName,
        to: &mpsc::UnboundedSender<AgentEvent>,
    ) {
        let mut table = self.table.lock();
        let owner = (build, fence);
        table.ours.entry(owner).or_insert_with(|| Interest { to: to.clone(), nodes: HashMap::new() });
        table.seek(owner, node);
    }

    pub(crate) fn detach(&self, build: BuildId, fence: Fence) {
        let mut table = self.table.lock();
        if let Some(interest) = table.ours.remove(&(build, fence)) {
            for node in interest.nodes.keys() {
                table.unwant(node);
                if table.waiting.get(node).is_some_and(|w| w.scales.empty()) {
                    table.waiting.remove(node);
                }
            }
            for peer in table.peers.values() {
                peer.tell(Peer::Detach { build, fence });
            }
        }
    }

    pub(crate) fn send(&self, node: &NodeName, command: ToAgent) {
        let table = self.table.lock();
        let owner = (command.build, command.fence);
        let Some(path) = table.ours.get(&owner).and_then(|i| i.nodes.get(node)).copied().flatten() else {
            return;
        };
        match path.peer {
            None => {
                if let Some(local) = table.local.get(node).filter(|l| l.link == path.link) {
                    to_agent(local, Frame::Command(command));
                }
            }
            Some(peer) => {
                if let Some(peer) = table.peers.get(&peer) {
                    peer.tell(Peer::Relay { node: node.clone(), frame: Frame::Command(command) });
                }
            }
        }
    }

    // -- our sockets -------------------------------------------------------------------------

    /// A new local link; an older one of the same node is closed.
    pub(crate) fn link_up(&self, node: &NodeName, new: Local) {
        let mut table = self.table.lock();
        let (link, instance) = (new.link, new.instance.clone());
        if let Some(old) = table.local.insert(node.clone(), new) {
            old.to.tell(ToSocket::Close(End::Replaced, REPLACED.to_owned()));
        }
        let path = Path { link, peer: None };
        table.reached(node, path, &instance, |_| true);
        for ((owner, wanted), remote) in &table.theirs {
            if wanted == node {
                let (build, fence) = *owner;
                let (node, instance) = (node.clone(), instance.clone());
                remote.to.tell(Peer::Up { build, fence, node, instance, link });
            }
        }
    }

    pub(crate) fn link_down(&self, node: &NodeName, link: i64) {
        let mut table = self.table.lock();
        if table.local.get(node).is_some_and(|l| l.link == link) {
            table.local.remove(node);
        }
        table.unreached(node, |path| path.peer.is_none() && path.link == link);
        for ((owner, wanted), remote) in &table.theirs {
            if wanted == node {
                let (build, fence) = *owner;
                remote.to.tell(Peer::Down { build, fence, node: node.clone(), link });
            }
        }
    }

    /// Something that an agent reported over our socket, in a message of so many bytes. Waits while a peer is busy. A build
    /// hears only the agents that it wants: another one could guess its id and fence. → whether there was room
    pub(crate) async fn report(&self, node: &NodeName, report: FromAgent, bytes: usize) -> bool {
        let owner = (report.build, report.fence);
        let (ours, theirs) = {
            let mut table = self.table.lock();
            let ours = table.ours.get(&owner).filter(|i| i.nodes.contains_key(node)).map(|i| i.to.clone());
            let ours = ours.map(|to| (to, table.weigh(node, bytes)));
            (ours, table.theirs.get(&(owner, node.clone())).map(|r| r.to.clone()))
        };
        if let Some((to, weight)) = ours {
            let Some(weight) = weight else { return false };
            tell(&to, AgentEvent::Report { node: node.clone(), report, weight });
        } else if let Some(to) = theirs {
            let _gone = to.queue.send(Peer::Relay { node: node.clone(), frame: Frame::Report(report) }).await;
        }
        true
    }

    /// Whether a build wants the agent: then it is pinged more often.
    pub(crate) fn busy(&self, node: &NodeName) -> bool {
        self.table.lock().wanted.contains_key(node)
    }

    /// Whether the agent of another machine that is connected here under the name was heard of lately; nothing when none is.
    pub(crate) fn rival(&self, node: &NodeName, instance: &str, now: Duration) -> Option<bool> {
        let table = self.table.lock();
        table.local.get(node).filter(|l| l.instance != instance).map(|l| l.pulse.beats(now))
    }

    pub(crate) fn local(&self, node: &NodeName) -> Option<Local> {
        self.table.lock().local.get(node).cloned()
    }

    pub(crate) fn held(&self) -> Vec<(NodeName, i64)> {
        self.table.lock().local.iter().map(|(node, l)| (node.clone(), l.link)).collect()
    }

    /// How many agents are here, and how many peers are connected.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let table = self.table.lock();
        (table.local.len(), table.peers.len())
    }

    /// Closes the link of a node; only one older than `below` when given.
    pub(crate) fn close(&self, node: &NodeName, below: Option<i64>, end: End, reason: &str) {
        let table = self.table.lock();
        if let Some(local) = table.local.get(node).filter(|l| below.is_none_or(|b| l.link < b)) {
            local.to.tell(ToSocket::Close(end, reason.to_owned()));
        }
    }

    /// Lets all agents here forget a build. Those that never heard of it have nothing to do.
    pub(crate) fn over(&self, build: BuildId, fence: Fence) {
        let table = self.table.lock();
        for local in table.local.values() {
            to_agent(local, Frame::Command(ToAgent { build, fence, command: Command::Forget }));
        }
    }

    pub(crate) fn shed(&self, most: usize, end: End, reason: &str) -> usize {
        let table = self.table.lock();
        let mut oldest: Vec<&Local> = table.local.values().collect();
        oldest.sort_unstable_by_key(|local| local.link);
        for local in oldest.into_iter().take(most) {
            local.to.tell(ToSocket::Close(end, reason.to_owned()));
        }
        table.local.len().saturating_sub(most)
    }

    // -- connections that we have dialled ----------------------------------------------------

    /// A peer answers. Gives what to ask it for before anything that is queued: all that our builds want. That may be more
    /// than the queue has room for, and nobody reads the queue yet.
    #[must_use]
    pub(crate) fn peer_up(&self, incarnation: i64, to: Outgoing<Peer>) -> Vec<Peer> {
        let mut table = self.table.lock();
        let wanted = table.ours.iter().flat_map(|((build, fence), interest)| {
            let attach = |node: &NodeName| Peer::Attach { build: *build, fence: *fence, node: node.clone() };
            interest.nodes.keys().map(attach)
        });
        let wanted = wanted.collect();
        table.peers.insert(incarnation, to);
        wanted
    }

    pub(crate) fn peer_down(&self, incarnation: i64) {
        let mut table = self.table.lock();
        table.peers.remove(&incarnation);
        let nodes: Vec<NodeName> = table.ours.values().flat_map(|i| i.nodes.keys().cloned()).collect();
        for node in nodes {
            table.unreached(&node, |path| path.peer == Some(incarnation));
        }
    }

    pub(crate) fn to_peers(&self, to: Option<i64>, message: &Peer) {
        let table = self.table.lock();
        for (_, peer) in table.peers.iter().filter(|(id, _)| to.is_none_or(|to| to == **id)) {
            peer.tell(message.clone());
        }
    }

    pub(crate) fn peer_reaches(
        &self,
        incarnation: i64,
        owner: Owner,
        node: &NodeName,
        instance: &str,
        link: i64,
    ) {
        let path = Path { link, peer: Some(incarnation) };
        self.table.lock().reached(node, path, instance, |o| *o == owner);
    }

    pub(crate) fn peer_lost(&self, incarnation: i64, owner: Owner, node: &NodeName, link: i64) {
        let mut table = self.table.lock();
        let path = table.ours.get(&owner).and_then(|interest| interest.nodes.get(node)).copied().flatten();
        if path == Some(Path { link, peer: Some(incarnation) }) {
            table.seek(owner, node);
        }
    }

    /// Something that an agent reported over a peer's socket. When too much waits, it is dropped, and that peer is asked to
    /// close the link: the builds follow again over the next one.
    pub(crate) fn relayed(&self, incarnation: i64, node: NodeName, report: FromAgent, bytes: usize) {
        let mut table = self.table.lock();
        let interest = table.ours.get(&(report.build, report.fence));
        let Some((to, path)) = interest.and_then(|i| Some((i.to.clone(), *i.nodes.get(&node)?))) else {
            return;
        };
        if let Some(weight) = table.weigh(&node, bytes) {
            return tell(&to, AgentEvent::Report { node, report, weight });
        }
        let link = path.filter(|path| path.peer == Some(incarnation)).map_or(0, |path| path.link);
        let shut = table.waiting.get_mut(&node).map(|waiting| &mut waiting.shut);
        if shut.is_some_and(|shut| std::mem::replace(shut, link.max(*shut)) < link)
            && let Some(peer) = table.peers.get(&incarnation)
        {
            peer.tell(Peer::Relay { node, frame: Frame::Bye { reason: TOO_MUCH.to_owned() } });
        }
    }

    // -- connections that peers have dialled -------------------------------------------------

    /// `room` is for the answer: a peer may want more agents at once than its queue has room for.
    pub(crate) fn attach_remote(
        &self,
        owner: Owner,
        node: &NodeName,
        connection: u64,
        to: &Outgoing<Peer>,
        room: mpsc::Permit<'_, Peer>,
    ) {
        let mut table = self.table.lock();
        if table.theirs.insert((owner, node.clone()), Remote { connection, to: to.clone() }).is_none() {
            table.want(node);
        }
        if let Some(local) = table.local.get(node) {
            let (build, fence) = owner;
            let (instance, link) = (local.instance.clone(), local.link);
            room.send(Peer::Up { build, fence, node: node.clone(), instance, link });
        }
    }

    pub(crate) fn detach_remote(&self, owner: Owner, connection: u64) {
        self.table.lock().unwanted(|o, remote| *o == owner && remote.connection == connection);
    }

    pub(crate) fn connection_gone(&self, connection: u64) {
        self.table.lock().unwanted(|_, remote| remote.connection == connection);
    }

    /// A command of a peer's build for an agent of ours.
    pub(crate) fn relay(&self, node: &NodeName, command: ToAgent) {
        let table = self.table.lock();
        if let Some(local) = table.local.get(node) {
            to_agent(local, Frame::Command(command));
        }
    }
}

fn to_agent(local: &Local, frame: Frame) {
    local.to.tell(ToSocket::Frame(Box::new(frame)));
}

impl Table {
    fn want(&mut self, node: &NodeName) {
        if let Some(builds) = self.wanted.get_mut(node) {
            *builds += 1;
            return;
        }
        self.wanted.insert(node.clone(), 1);
        if let Some(local) = self.local.get(node) {
            local.pulse.wanted.notify_one();
        }
    }

    fn unwant(&mut self, node: &NodeName) {
        if let Some(builds) = self.wanted.get_mut(node) {
            *builds -= 1;
            if *builds == 0 {
                self.wanted.remove(node);
            }
        }
    }

    /// Forgets what builds of peers wanted.
    fn unwanted(&mut self, gone: impl Fn(&Owner, &Remote) -> bool) {
        let gone = self.theirs.extract_if(|(owner, _), remote| gone(owner, remote));
        let nodes: Vec<NodeName> = gone.map(|((_, node), _)| node).collect();
        nodes.iter().for_each(|node| self.unwant(node));
    }

    fn weigh(&mut self, node: &NodeName, bytes: usize) -> Option<Weight> {
        if !self.waiting.contains_key(node) {
            self.waiting.insert(node.clone(), Waiting::default());
        }
        self.waiting.get(node)?.scales.put(bytes)
    }

    /// An agent is reached over a new path; a path with a lower link number is an old one.
    fn reached(&mut self, node: &NodeName, path: Path, instance: &str, who: impl Fn(&Owner) -> bool) {
        for (_, interest) in self.ours.iter_mut().filter(|(owner, _)| who(owner)) {
            let Some(now) = interest.nodes.get_mut(node) else { continue };
            if now.is_none_or(|old| old.link < path.link || old == path) && *now != Some(path) {
                *now = Some(path);
                tell(&interest.to, AgentEvent::Up { node: node.clone(), instance: instance.to_owned() });
            }
        }
    }

    /// A path is gone.
    fn unreached(&mut self, node: &NodeName, over: impl Fn(&Path) -> bool) {
        let used =
            |interest: &Interest| interest.nodes.get(node).is_some_and(|now| now.as_ref().is_some_and(&over));
        let gone: Vec<Owner> = self.ours.iter().filter(|(_, i)| used(i)).map(|(owner, _)| *owner).collect();
        for owner in gone {
            self.seek(owner, node);
        }
    }

    /// Finds an agent here, or asks all peers for it. Not all have been asked before: none was by a build that found it
    /// here. And what is here may have been passed over: link numbers repeat when the store was set back in time.
    fn seek(&mut self, owner: Owner, node: &NodeName) {
        let Some(interest) = self.ours.get_mut(&owner) else { return };
        let local = self.local.get(node);
        let path = local.map(|l| Path { link: l.link, peer: None });
        if interest.nodes.insert(node.clone(), path).is_none() {
            self.want(node);
        }
        let Some(interest) = self.ours.get(&owner) else { return };
        let local = self.local.get(node);
        let node = node.clone();
        match local {
            Some(local) => tell(&interest.to, AgentEvent::Up { node, instance: local.instance.clone() }),
            None => {
                tell(&interest.to, AgentEvent::Down { node: node.clone() });
                let (build, fence) = owner;
                for peer in self.peers.values() {
                    peer.tell(Peer::Attach { build, fence, node: node.clone() });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use remoting::ops::Report;

    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).unwrap()
    }

    fn local(link: i64, to: Outgoing<ToSocket>, pulse: Arc<Pulse>) -> Local {
        Local { link, instance: "i".to_owned(), spools: true, to, pulse }
    }

    fn refused(build: BuildId, fence: Fence) -> FromAgent {
        FromAgent { build, fence, report: Report::Refused { held: fence } }
    }

    #[tokio::test]
    async fn a_build_hears_only_the_agents_that_it_wants() {
        let (routes, build, fence) = (Routes::default(), BuildId(1), Fence::first(1));
        let (to, mut heard) = mpsc::unbounded_channel();
        routes.attach(build, fence, &node("mac"), &to);
        assert!(matches!(heard.try_recv(), Ok(AgentEvent::Down { .. })));
        for name in ["linux", "mac"] {
            assert!(routes.report(&node(name), refused(build, fence), 1).await);
            routes.relayed(1, node(name), refused(build, fence), 1);
        }
        for _ in 0..2 {
            let AgentEvent::Report { node: from, .. } = heard.try_recv().unwrap() else { panic!() };
            assert_eq!(from, node("mac"));
        }
        assert!(heard.try_recv().is_err());
    }

    #[tokio::test]
    async fn an_agent_is_busy_while_a_build_wants_it_here_or_at_a_peer() {
        let (routes, mac, fence) = (Routes::default(), node("mac"), Fence::first(1));
        let (to, _heard) = mpsc::unbounded_channel();
        let (peer, queue) = Outgoing::new(4);
        let room = || peer.queue.try_reserve().unwrap();
        routes.attach(BuildId(1), fence, &mac, &to);
        routes.attach(BuildId(1), fence, &mac, &to);
        for (build, connection) in [(2, 1), (2, 1), (3, 2)] {
            routes.attach_remote((BuildId(build), fence), &mac, connection, &peer, room());
        }
        assert!(routes.busy(&mac) && !routes.busy(&node("linux")));
        routes.detach(BuildId(1), fence);
        routes.detach_remote((BuildId(2), fence), 1);
        assert!(routes.busy(&mac));
        routes.connection_gone(2);
        assert!(!routes.busy(&mac));
        routes.detach(BuildId(1), fence);
        assert!(routes.table.lock().wanted.is_empty());
        drop(queue);
    }

    #[tokio::test]
    async fn the_link_of_an_agent_is_woken_when_a_first_build_wants_it() {
        let (routes, mac, pulse) = (Routes::default(), node("mac"), Arc::new(Pulse::default()));
        let (socket, _frames) = Outgoing::new(4);
        routes.link_up(&mac, local(3, socket, Arc::clone(&pulse)));
        let (to, _heard) = mpsc::unbounded_channel();
        routes.attach(BuildId(1), Fence::first(1), &mac, &to);
        pulse.wanted.notified().await;
    }

    #[tokio::test]
    async fn a_build_whose_own_link_ends_is_told_of_the_agent_at_a_peer() {
        let (routes, build, fence) = (Routes::default(), BuildId(1), Fence::first(1));
        let (peer, mut asked) = Outgoing::new(4);
        assert!(routes.peer_up(7, peer).is_empty());
        let (socket, _frames) = Outgoing::new(4);
        routes.link_up(&node("mac"), local(3, socket, Arc::default()));
        let (to, mut heard) = mpsc::unbounded_channel();
        routes.attach(build, fence, &node("mac"), &to);
        assert!(matches!(heard.try_recv(), Ok(AgentEvent::Up { .. })));
        assert!(asked.try_recv().is_err(), "nobody is asked for what is here");
        routes.link_down(&node("mac"), 3);
        assert!(matches!(heard.try_recv(), Ok(AgentEvent::Down { .. })));
        assert_eq!(asked.try_recv(), Ok(Peer::Attach { build, fence, node: node("mac") }));
        routes.peer_reaches(7, (build, fence), &node("mac"), "i", 4);
        assert!(matches!(heard.try_recv(), Ok(AgentEvent::Up { .. })));
    }

    #[tokio::test]
    async fn a_build_that_found_its_agent_here_asks_all_peers_when_it_leaves_the_one_it_went_to() {
        let (routes, build, fence) = (Routes::default(), BuildId(1), Fence::first(1));
        let (first, mut asked) = Outgoing::new(4);
        assert!(routes.peer_up(7, first).is_empty());
        let (socket, _frames) = Outgoing::new(4);
        routes.link_up(&node("mac"), local(3, socket, Arc::default()));
        let (to, _heard) = mpsc::unbounded_channel();
        routes.attach(build, fence, &node("mac"), &to);
        let (second, _queue) = Outgoing::new(4);
        assert_eq!(routes.peer_up(8, second).len(), 1);
        routes.peer_reaches(8, (build, fence), &node("mac"), "i", 4);
        routes.link_down(&node("mac"), 3);
        assert!(asked.try_recv().is_err());
        routes.peer_lost(8, (build, fence), &node("mac"), 4);
        assert_eq!(asked.try_recv(), Ok(Peer::Attach { build, fence, node: node("mac") }));
    }

    #[tokio::test]
    async fn an_agent_that_is_here_under_a_number_given_twice_is_found_when_its_old_link_ends() {
        let (routes, build, fence) = (Routes::default(), BuildId(1), Fence::first(1));
        let (to, mut heard) = mpsc::unbounded_channel();
        routes.attach(build, fence, &node("mac"), &to);
        routes.peer_reaches(7, (build, fence), &node("mac"), "i", 3);
        let (socket, _frames) = Outgoing::new(4);
        routes.link_up(&node("mac"), local(2, socket, Arc::default()));
        assert!(matches!(heard.try_recv(), Ok(AgentEvent::Down { .. })));
        assert!(matches!(heard.try_recv(), Ok(AgentEvent::Up { .. })));
        assert!(heard.try_recv().is_err(), "the link with the lower number is the old one");
        routes.peer_down(7);
        assert!(matches!(heard.try_recv(), Ok(AgentEvent::Up { .. })));
    }

    #[tokio::test]
    async fn a_peer_is_asked_for_more_agents_than_its_queue_has_room_for() {
        let routes = Routes::default();
        let (to, _heard) = mpsc::unbounded_channel();
        for n in 0..20 {
            routes.attach(BuildId(n), Fence::first(1), &node("mac"), &to);
        }
        let (peer, mut queue) = Outgoing::new(4);
        assert_eq!(routes.peer_up(1, peer).len(), 20);
        assert!(queue.try_recv().is_err());
        routes.detach(BuildId(3), Fence::first(1));
        assert_eq!(queue.try_recv(), Ok(Peer::Detach { build: BuildId(3), fence: Fence::first(1) }));
    }

    #[tokio::test]
    async fn an_agent_whose_reports_nobody_takes_loses_its_link() {
        let (routes, build, fence) = (Routes::default(), BuildId(1), Fence::first(1));
        let (to, mut heard) = mpsc::unbounded_channel();
        routes.attach(build, fence, &node("mac"), &to);
        let (peer, mut asked) = Outgoing::new(4);
        assert_eq!(routes.peer_up(7, peer).len(), 1);
        routes.peer_reaches(7, (build, fence), &node("mac"), "i", 3);
        let half = crate::weight::MAX_WAITING / 2;
        assert!(routes.report(&node("mac"), refused(build, fence), half).await);
        assert!(!routes.report(&node("mac"), refused(build, fence), half).await);
        for _ in 0..3 {
            routes.relayed(7, node("mac"), refused(build, fence), half);
        }
        let bye = Frame::Bye { reason: TOO_MUCH.to_owned() };
        assert_eq!(asked.try_recv(), Ok(Peer::Relay { node: node("mac"), frame: bye }));
        assert!(asked.try_recv().is_err(), "it is asked once for each link");
        let mut reports = 0;
        while let Ok(event) = heard.try_recv() {
            reports += usize::from(matches!(event, AgentEvent::Report { .. }));
        }
        assert_eq!(reports, 1);
        assert!(routes.report(&node("mac"), refused(build, fence), half).await, "what is taken makes room");
    }
}
