//! One build at its owner: the real driver in a shell like `engine::actor` and `engine::start`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use engine::driver::{Do, Driver, Event as DriverEvent, Stop};
use model::{BuildId, Fence, NodeName};
use remoting::ops::ToAgent;
use store::{Error, Running, Write};

use crate::faults::Fault;
use crate::home::{Ask, Reply};
use crate::links::{PeerMessage, PeerPath};
use crate::replica::{ReplicaDo, Token, agent_of, micros};
use crate::world::{Event, MS, Time, World};

/// How often a build is looked after without any event.
const IDLE: Duration = Duration::from_secs(1);

pub(crate) struct Actor {
    pub(crate) id: u64,
    pub(crate) row: Running,
    pub(crate) driver: Option<Driver>,
    /// What was read for the driver so far.
    pub(crate) read: Option<(store::Build, Vec<Bytes>)>,
    pub(crate) mail: VecDeque<DriverEvent>,
    pub(crate) writing: bool,
    pub(crate) inbox_pending: bool,
    pub(crate) look_again: bool,
    pub(crate) wake: Option<Duration>,
    pub(crate) again: bool,
    /// When the next tick comes.
    pub(crate) next_tick: Option<Time>,
    pub(crate) muted: bool,
    pub(crate) handing_over: bool,
    /// How each wanted agent is reached now.
    pub(crate) nodes: BTreeMap<usize, Option<PeerPath>>,
    pub(crate) uploads: BTreeMap<u64, Vec<u8>>,
    pub(crate) keys: BTreeMap<u64, String>,
    pub(crate) stop: Option<Stop>,
}

impl Actor {
    pub(crate) fn fence(&self) -> Fence {
        self.row.fence
    }

    /// What it waits for, for a person.
    pub(crate) fn story(&self) -> String {
        let open: Vec<String> = self
            .driver
            .iter()
            .flat_map(Driver::open_steps)
            .map(|(step, name)| format!("{step} {name}"))
            .collect();
        format!("{open:?}, agents {:?}, writing {}, looking {}", self.nodes, self.writing, self.inbox_pending)
    }

    /// Its fence, and how many writes are committed for sure.
    pub(crate) fn committed(&self) -> (Fence, i64) {
        (self.row.fence, self.driver.as_ref().map_or(0, Driver::committed_writes))
    }

    pub(crate) fn mail(&mut self, event: DriverEvent) {
        self.mail.push_back(event);
    }
}

impl World {
    /// Drives a build from now on, unless we do already, or did under this fence.
    pub(crate) fn drive(&mut self, at: usize, row: Running) {
        let build = row.build;
        let ended = self.replicas[at].ended.get(&build);
        let spent = ended.is_some_and(|ended| *ended >= row.fence);
        if spent || self.replicas[at].actors.contains_key(&build) {
            return;
        }
        self.begins(self.replicas[at].life, build, row.fence);
        let id = self.count();
        let actor = Actor {
            id,
            row,
            driver: None,
            read: None,
            mail: VecDeque::new(),
            writing: false,
            inbox_pending: false,
            look_again: false,
            wake: None,
            again: false,
            next_tick: None,
            muted: false,
            handing_over: false,
            nodes: BTreeMap::new(),
            uploads: BTreeMap::new(),
            keys: BTreeMap::new(),
            stop: None,
        };
        self.replicas[at].actors.insert(build, actor);
        self.ask(at, Token::Start { build, actor: id }, Ask::Start(build));
    }

    pub(crate) fn actor(&mut self, at: usize, build: BuildId, id: u64) -> Option<&mut Actor> {
        self.replicas[at].actors.get_mut(&build).filter(|a| a.id == id)
    }

    /// The store has less of a build than it has acknowledged to us: it was set back, if only by a moment.
    pub(crate) fn set_back(&mut self, at: usize, build: BuildId) {
        if let Some(actor) = self.replicas[at].actors.get_mut(&build) {
            actor.stop = Some(Stop::Outranked(actor.row.fence));
            self.read_mail(at, build);
        }
    }

    // -- events ------------------------------------------------------------------------------

    pub(crate) fn tell_actor(&mut self, at: usize, build: BuildId, id: u64, event: DriverEvent) {
        let Some(actor) = self.actor(at, build, id) else { return };
        actor.mail.push_back(event);
        self.read_mail(at, build);
    }

    /// Gives the driver what has come, and does what it says.
    pub(crate) fn read_mail(&mut self, at: usize, build: BuildId) {
        let now = self.clocks(at);
        let builds = self.replicas[at].actors.len();
        loop {
            let Some(actor) = self.replicas[at].actors.get_mut(&build) else { return };
            let Some(driver) = actor.driver.as_mut() else { return };
            if let Some(stop) = actor.stop.take() {
                return self.stopped(at, build, stop);
            }
            if actor.handing_over && !actor.writing && driver.quiet() {
                let fence = actor.row.fence;
                self.detach(at, build);
                self.actor_ends(at, build);
                return self.give_away(at, build, fence);
            }
            let Some(event) = actor.mail.pop_front() else { break };
            driver.among(builds);
            for act in driver.handle(event, now) {
                self.perform(at, build, act);
            }
        }
        self.plan_tick(at, build);
    }

    pub(crate) fn perform(&mut self, at: usize, build: BuildId, act: Do) {
        let may_send = self.may_send(at);
        let Some(actor) = self.replicas[at].actors.get_mut(&build) else { return };
        let id = actor.id;
        match act {
            Do::Write(progress) => {
                actor.writing = true;
                self.write(at, Token::Write { build, actor: id }, Write::Progress(Box::new(progress)));
            }
            Do::Attach(node) => self.attach(at, build, agent_of(&node)),
            Do::Send(node, message) if may_send => self.send(at, build, agent_of(&node), message),
            Do::Send(..) => {
                if !std::mem::replace(&mut actor.muted, true) {
                    actor.mail.push_back(DriverEvent::Unsure);
                }
            }
            Do::Object(object) => self.object(at, build, id, object),
            // There are none to be found.
            Do::FindJobs { step, jobs: _ } => {
                actor.mail.push_back(DriverEvent::Jobs { step, found: Vec::new() });
            }
            Do::Again => actor.again = true,
            Do::WakeAt(due) => actor.wake = Some(actor.wake.map_or(due, |wake| wake.min(due))),
            Do::Stop(stop) => actor.stop = Some(stop),
        }
    }

    pub(crate) fn send(&mut self, at: usize, build: BuildId, node: usize, message: ToAgent) {
        let actor = &self.replicas[at].actors[&build];
        let fence = actor.row.fence;
        let Some(path) = actor.nodes.get(&node).copied().flatten() else { return };
        if let Some(me) = self.replicas[at].me.clone() {
            self.sends(build, fence, &me, actor.id);
        }
        // Now and then the socket is full: then a process that is stopped has commands in its queue.
        let most = if self.random.chance(self.chaos.queued) { 700 * MS } else { MS };
        let delay = self.random.below(most);
        let due = (self.now + delay).max(self.replicas[at].out_last + 1);
        self.replicas[at].out_last = due;
        let life = self.replicas[at].life;
        self.at(due, Event::Replica { at, life, what: ReplicaDo::Out { node, path, message } });
    }

    pub(crate) fn plan_tick(&mut self, at: usize, build: BuildId) {
        let now = self.now;
        let Some(actor) = self.replicas[at].actors.get_mut(&build) else { return };
        let idle = now + micros(IDLE);
        let due = if actor.again { now } else { actor.wake.map_or(idle, |w| micros(w).max(now)).min(idle) };
        if actor.next_tick.is_some_and(|next| next <= due) {
            return;
        }
        actor.next_tick = Some(due);
        let id = actor.id;
        let life = self.replicas[at].life;
        self.at(due, Event::Replica { at, life, what: ReplicaDo::Tick { build, actor: id, due } });
    }

    pub(crate) fn tick(&mut self, at: usize, build: BuildId, id: u64, due: Time) {
        let may_send = self.may_send(at);
        let Some(actor) = self.actor(at, build, id).filter(|a| a.next_tick == Some(due)) else { return };
        actor.next_tick = None;
        actor.again = false;
        actor.wake = None;
        if actor.muted && may_send {
            actor.muted = false;
            actor.mail.push_back(DriverEvent::Regained);
        }
        actor.mail.push_back(DriverEvent::Tick);
        self.read_mail(at, build);
    }

    pub(crate) fn written(&mut self, at: usize, build: BuildId, id: u64, reply: Result<Box<Reply>, Error>) {
        let Some(actor) = self.actor(at, build, id) else { return };
        actor.writing = false;
        let event = reply.map_or_else(DriverEvent::Refused, |_| DriverEvent::Committed);
        self.tell_actor(at, build, id, event);
    }

    pub(crate) fn look_inbox(&mut self, at: usize, build: BuildId) {
        let Some(actor) = self.replicas[at].actors.get_mut(&build) else { return };
        if actor.inbox_pending || actor.driver.is_none() {
            actor.look_again = true;
            return;
        }
        actor.inbox_pending = true;
        let id = actor.id;
        self.ask(at, Token::Inbox { build, actor: id }, Ask::Inbox(build));
    }

    pub(crate) fn inbox_read(
        &mut self,
        at: usize,
        build: BuildId,
        id: u64,
        reply: Result<Box<Reply>, Error>,
    ) {
        let Some(actor) = self.actor(at, build, id) else { return };
        actor.inbox_pending = false;
        let again = std::mem::take(&mut actor.look_again);
        if let Ok(Reply::Inbox(rows)) = reply.map(|r| *r)
            && !rows.is_empty()
        {
            if self.replicas[at].doomed && self.now < self.chaos.calm {
                self.replicas[at].doomed = false;
                let delay = self.random.below(3 * MS);
                self.after(delay, Event::Fault(Fault::Kill { at }));
            }
            self.tell_actor(at, build, id, DriverEvent::Inbox(rows));
        }
        if again {
            self.look_inbox(at, build);
        }
    }

    pub(crate) fn hand_over(&mut self, at: usize, build: BuildId) {
        if let Some(actor) = self.replicas[at].actors.get_mut(&build) {
            actor.handing_over = true;
            if let Some(driver) = &mut actor.driver {
                driver.rest();
            }
            self.read_mail(at, build);
        }
    }

    pub(crate) fn stopped(&mut self, at: usize, build: BuildId, stop: Stop) {
        let fence = self.replicas[at].actors[&build].row.fence;
        self.tell(|| format!("{} stops {build} under {fence}: {stop:?}", self.replicas[at].name));
        self.detach(at, build);
        match stop {
            Stop::Finished(_) => self.oracle.note("finished"),
            Stop::Fenced => self.oracle.note("fenced"),
            // The build is nobody else's to drive before that is looked into, as `engine::service` has it.
            Stop::Outranked(held) => return self.outranked(at, build, fence, held),
            Stop::Broken(why) => self.fail(format!("build {build} is broken: {why}")),
        }
        self.actor_ends(at, build);
        self.hinted(at);
    }

    /// The driver is gone, and hears of no agent any more.
    pub(crate) fn detach(&mut self, at: usize, build: BuildId) {
        let Some(actor) = self.replicas[at].actors.get_mut(&build) else { return };
        actor.driver = None;
        let message = PeerMessage::Detach { build, fence: actor.row.fence };
        self.hint(at, None, &message);
    }

    /// Another driver may begin, under another fence.
    pub(crate) fn actor_ends(&mut self, at: usize, build: BuildId) {
        let Some(actor) = self.replicas[at].actors.remove(&build) else { return };
        let last = self.replicas[at].ended.entry(build).or_default();
        *last = actor.row.fence.max(*last);
    }

    // -- agents ------------------------------------------------------------------------------

    /// How an agent is reached has changed.
    pub(crate) fn path_changed(&mut self, at: usize, build: BuildId, node: usize, path: Option<PeerPath>) {
        let name: NodeName = self.agents[node].name.clone();
        let instance = path.map(|p| p.instance(self));
        let Some(actor) = self.replicas[at].actors.get_mut(&build) else { return };
        actor.nodes.insert(node, path);
        actor.mail.push_back(match instance {
            Some(instance) => DriverEvent::LinkUp { node: name, instance },
            None => DriverEvent::LinkDown { node: name },
        });
    }
}
