//! Links of agents to their holders, connections between replicas, and who is reached where. As `link::routes` does it.
//!
//! Order holds within one link, and within one connection. A link that is cut loses some of what is on its way, and
//! delivers the rest late.

use model::{BuildId, Fence};
use remoting::ops::{FromAgent, ToAgent};
use store::{Answer, Error, Write};

use crate::agent::AgentDo;
use crate::home::Reply;
use crate::mutation::Mutation;
use crate::replica::{ReplicaDo, Token};
use crate::world::{Event, MS, SEC, Time, World};

/// A socket between an agent and its holder.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) agent: usize,
    pub(crate) agent_life: u64,
    pub(crate) number: i64,
    pub(crate) holder: usize,
    pub(crate) holder_life: u64,
    pub(crate) instance: String,
    pub(crate) down_last: Time,
    pub(crate) up_last: Time,
    pub(crate) cut: bool,
    pub(crate) since: Time,
    /// What is still delivered after the cut comes so much later.
    pub(crate) late: Time,
}

/// How an owner reaches an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerPath {
    pub(crate) link: usize,
    pub(crate) number: i64,
    /// `None`: our own socket.
    pub(crate) peer: Option<usize>,
}

impl PeerPath {
    pub(crate) fn instance(self, world: &World) -> String {
        world.links[self.link].instance.clone()
    }
}

/// A connection that we have dialled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) there: u64,
    pub(crate) to_last: Time,
    pub(crate) back_last: Time,
}

#[derive(Debug, Clone)]
pub(crate) enum PeerMessage {
    Attach {
        build: BuildId,
        fence: Fence,
        node: usize,
    },
    Detach {
        build: BuildId,
        fence: Fence,
    },
    Up {
        build: BuildId,
        fence: Fence,
        node: usize,
        link: usize,
    },
    Down {
        node: usize,
        link: usize,
    },
    Command {
        node: usize,
        message: Box<ToAgent>,
    },
    Report {
        node: usize,
        report: Box<FromAgent>,
    },
    Inbox(BuildId),
    Running,
    /// An agent has a newer link.
    Linked {
        node: usize,
        number: i64,
    },
}

impl World {
    // -- sockets of agents -------------------------------------------------------------------

    pub(crate) fn hello(&mut self, at: usize, agent: usize, life: u64, dial: u64, instance: String) {
        let Some(holder) = self.replicas[at].me.clone().filter(|_| !self.replicas[at].draining) else {
            return;
        };
        let node = self.agents[agent].name.clone();
        let wall = self.clocks(at).wall;
        let up = Write::LinkUp { node, holder, instance: instance.clone(), info: String::new(), at: wall };
        self.write(at, Token::Linked { agent, life, dial, instance }, up);
    }

    pub(crate) fn linked(
        &mut self,
        at: usize,
        agent: usize,
        agent_life: u64,
        dial: u64,
        instance: String,
        reply: Result<Box<Reply>, Error>,
    ) {
        let Ok(Reply::Written(Answer::Linked { number })) = reply.map(|r| *r) else { return };
        let link = self.links.len();
        let holder_life = self.replicas[at].life;
        let (down_last, up_last) = (self.now, self.now);
        let holder = at;
        self.links.push(Link {
            agent,
            agent_life,
            number,
            holder,
            holder_life,
            instance,
            down_last,
            up_last,
            cut: false,
            since: self.now,
            late: 0,
        });
        let due = self.down_due(link);
        self.at(due, Event::Agent { at: agent, life: agent_life, what: AgentDo::Welcome { link, dial } });
        if let Some(old) = self.replicas[at].local.insert(agent, link) {
            self.cut(old);
        }
        self.oracle.note("links");
        let path = PeerPath { link, number, peer: None };
        let builds: Vec<BuildId> = self.replicas[at].actors.keys().copied().collect();
        for build in builds {
            self.reached(at, build, agent, path);
        }
        let theirs = self.wanted(at, agent);
        for ((build, fence), to, connection) in theirs {
            self.back(at, to, connection, PeerMessage::Up { build, fence, node: agent, link });
        }
        self.hint(at, None, &PeerMessage::Linked { node: agent, number });
    }

    /// Builds of peers that want an agent, with their connections.
    pub(crate) fn wanted(&self, at: usize, agent: usize) -> Vec<((BuildId, Fence), usize, u64)> {
        let theirs = self.replicas[at].theirs.iter().filter(|((_, _, node), _)| *node == agent);
        theirs.map(|((build, fence, _), (to, connection))| ((*build, *fence), *to, *connection)).collect()
    }

    pub(crate) fn reached(&mut self, at: usize, build: BuildId, node: usize, path: PeerPath) {
        let Some(actor) = self.replicas[at].actors.get(&build) else { return };
        let Some(now) = actor.nodes.get(&node).copied() else { return };
        if now.is_none_or(|old| old.number < path.number) {
            self.path_changed(at, build, node, Some(path));
            self.read_mail(at, build);
        }
    }

    pub(crate) fn unreached(&mut self, at: usize, over: impl Fn(usize, &PeerPath) -> bool) {
        let mut gone = Vec::new();
        for (build, actor) in &self.replicas[at].actors {
            gone.extend(
                actor
                    .nodes
                    .iter()
                    .filter(|(n, p)| p.is_some_and(|p| over(**n, &p)))
                    .map(|(n, _)| (*build, *n)),
            );
        }
        for (build, node) in gone {
            match self.is(Mutation::PeersNotAsked) {
                true => self.path_changed(at, build, node, None),
                false => self.attach(at, build, node),
            }
            self.read_mail(at, build);
        }
    }

    /// A step counts as lost because its agent has no connection.
    pub(crate) fn lost_while_linked(&mut self, why: &str) {
        let Some(agent) = self.agents.iter().position(|a| why.contains(&format!("Agent {} ", a.name))) else {
            return;
        };
        let Some(link) = self.agents[agent].link.map(|link| &self.links[link]) else { return };
        let holder = &self.replicas[link.holder];
        if !link.cut && holder.ready && self.now > link.since + 60 * SEC {
            let stood = (self.now - link.since) / SEC;
            self.fail(format!("a step is lost, and its agent has been linked for {stood} s: {why}"));
        }
    }

    /// Wants to reach an agent for a build, for the first time or because the way to it has ended.
    pub(crate) fn attach(&mut self, at: usize, build: BuildId, node: usize) {
        let local = self.replicas[at].local.get(&node).copied();
        let path = local.map(|link| PeerPath { link, number: self.links[link].number, peer: None });
        self.path_changed(at, build, node, path);
        if path.is_none() {
            let fence = self.replicas[at].actors[&build].fence();
            self.hint(at, None, &PeerMessage::Attach { build, fence, node });
        }
    }

    /// A command leaves the process of its owner.
    pub(crate) fn leaves(&mut self, at: usize, node: usize, path: PeerPath, message: ToAgent) {
        match path.peer {
            None if self.replicas[at].local.get(&node) == Some(&path.link) => {
                self.command_to(path.link, message)
            }
            None => {}
            Some(peer) => self.say(at, peer, PeerMessage::Command { node, message: Box::new(message) }),
        }
    }

    pub(crate) fn down_due(&mut self, link: usize) -> Time {
        let delay = self.delay(300, 8 * MS);
        let link = &mut self.links[link];
        link.down_last = (self.now + delay + link.late).max(link.down_last + 1);
        link.down_last
    }

    pub(crate) fn command_to(&mut self, link: usize, message: ToAgent) {
        let Link { agent, agent_life: life, cut, .. } = self.links[link];
        if cut {
            return;
        }
        let copies = if self.random.chance(self.chaos.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let due = self.down_due(link);
            let what = AgentDo::Command { link, message: message.clone(), late: false };
            self.at(due, Event::Agent { at: agent, life, what });
        }
    }

    /// Whether something that comes over a link is lost with it, or later; `None`: neither.
    pub(crate) fn late_or_lost(&mut self, link: usize, late: bool) -> Option<Option<Time>> {
        if !self.links[link].cut || late {
            return None;
        }
        Some(if self.links[link].late == 0 { None } else { Some(self.links[link].late) })
    }

    pub(crate) fn report_over(&mut self, link: usize, report: FromAgent) {
        let Link { holder, holder_life: life, cut, .. } = self.links[link];
        if cut {
            return;
        }
        let copies = if self.random.chance(self.chaos.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.delay(300, 8 * MS);
            let up = &mut self.links[link].up_last;
            *up = (self.now + delay).max(*up + 1);
            let due = *up;
            let what = ReplicaDo::Report { link, report: report.clone(), late: false };
            self.at(due, Event::Replica { at: holder, life, what });
        }
    }

    pub(crate) fn reported(&mut self, at: usize, link: usize, report: FromAgent, late: bool) {
        match self.late_or_lost(link, late) {
            None => {}
            Some(None) => return,
            Some(Some(delay)) => return self.soon(at, delay, ReplicaDo::Report { link, report, late: true }),
        }
        let node = self.links[link].agent;
        let (build, fence) = (report.build, report.fence);
        let ours = self.replicas[at]
            .actors
            .get(&build)
            .is_some_and(|a| a.fence() == fence && a.nodes.contains_key(&node));
        if ours {
            self.hears(at, build, node, report);
        } else if let Some((to, connection)) = self.replicas[at].theirs.get(&(build, fence, node)).copied() {
            self.back(at, to, connection, PeerMessage::Report { node, report: Box::new(report) });
        }
    }

    pub(crate) fn hears(&mut self, at: usize, build: BuildId, node: usize, report: FromAgent) {
        self.tell(|| format!("{} hears {report:?}", self.replicas[at].name));
        let node = self.agents[node].name.clone();
        if let Some(actor) = self.replicas[at].actors.get_mut(&build) {
            actor.mail(engine::driver::Event::Report { node, report });
            self.read_mail(at, build);
        }
    }

    pub(crate) fn is_cut(&self, link: usize) -> bool {
        self.links[link].cut
    }

    /// Breaks a link; each side notices in its own time.
    pub(crate) fn cut(&mut self, link: usize) {
        if std::mem::replace(&mut self.links[link].cut, true) {
            return;
        }
        self.links[link].late =
            if self.random.chance(500) { self.random.between(10 * MS, 8 * SEC) } else { 0 };
        let Link { agent, agent_life, holder, holder_life, .. } = self.links[link];
        let (here, there) = (self.notice(), self.notice());
        self.after(
            here,
            Event::Replica { at: holder, life: holder_life, what: ReplicaDo::LinkGone { link } },
        );
        self.after(there, Event::Agent { at: agent, life: agent_life, what: AgentDo::LinkGone { link } });
    }

    /// A connection that ends is noticed at once, or by its silence.
    pub(crate) fn notice(&mut self) -> Time {
        if self.random.chance(700) {
            self.random.between(MS, 300 * MS)
        } else {
            self.random.between(4 * SEC, 7 * SEC)
        }
    }

    pub(crate) fn link_gone(&mut self, at: usize, link: usize) {
        let Link { agent, number, .. } = self.links[link];
        if self.replicas[at].local.get(&agent) == Some(&link) {
            self.replicas[at].local.remove(&agent);
        }
        self.unreached(at, |_, path| path.peer.is_none() && path.link == link);
        for (_, to, connection) in self.wanted(at, agent) {
            self.back(at, to, connection, PeerMessage::Down { node: agent, link });
        }
        let node = self.agents[agent].name.clone();
        let down = Write::LinkDown { node, number, reason: "gone".into(), at: self.clocks(at).wall };
        self.write(at, Token::Forgotten, down);
    }

    /// Links that are not the newest any more are closed, and those that the store has forgotten.
    pub(crate) fn close_old_links(&mut self, at: usize, known: &[usize], links: &[store::Link]) {
        for link in known.iter().copied() {
            let node = self.links[link].agent;
            let row = links.iter().find(|l| crate::replica::agent_of(&l.node) == node);
            let me = self.replicas[at].me.as_ref();
            let ours = row.is_some_and(|r| r.number == self.links[link].number && r.holder.as_ref() == me);
            if self.replicas[at].local.get(&node) == Some(&link) && !ours {
                self.cut(link);
            }
        }
    }

    pub(crate) fn close_below(&mut self, at: usize, node: usize, number: i64) {
        if let Some(link) = self.replicas[at].local.get(&node).copied()
            && self.links[link].number < number
        {
            self.cut(link);
        }
    }
}
