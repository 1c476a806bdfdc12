//! One replica: its life, its membership, its start under the startup lock. What `cluster::membership` does with tokio is
//! done here with events; what is pure is the real code.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::watch::{OwnLease, Watch};
use cluster::{BEAT, View};
use engine::driver::{Event as DriverEvent, ObjectEvent};
use model::{BuildId, Fence, NodeName, ReplicaId, ReplicaName, ReplicaState};
use remoting::ops::{FromAgent, ToAgent};
use store::{Answer, Error, Running};

use crate::home::{Ask, Reply};
use crate::links::{Connection, PeerMessage, PeerPath};
use crate::owner::Actor;
use crate::world::{Event, MS, SEC, Time, World};

/// What happens at a replica.
#[derive(Debug)]
pub(crate) enum ReplicaDo {
    /// The process begins.
    Boot,
    Beat,
    Look,
    /// The engine's look and the scheduler's pass.
    Pass,
    /// Acquire or release the startup lock, or set a state: try again.
    StartOn,
    /// What a start does is done.
    Started,
    Answer {
        token: Token,
        reply: Result<Box<Reply>, Error>,
    },
    /// A build is looked after.
    Tick {
        build: BuildId,
        actor: u64,
        due: Time,
    },
    Object {
        build: BuildId,
        actor: u64,
        event: ObjectEvent,
    },
    /// A command leaves the process.
    Out {
        node: usize,
        path: PeerPath,
        message: ToAgent,
    },
    /// An agent dials.
    Hello {
        agent: usize,
        life: u64,
        dial: u64,
        instance: String,
    },
    Report {
        link: usize,
        report: FromAgent,
        late: bool,
    },
    /// The socket of a link has ended.
    LinkGone {
        link: usize,
    },
    Peer {
        from: usize,
        connection: u64,
        message: PeerMessage,
    },
    DialPeer {
        to: usize,
    },
    PeerGone {
        peer: usize,
        connection: u64,
    },
    /// A peer's address refuses connections.
    Refuses {
        who: ReplicaId,
    },
    /// The process is to leave cleanly.
    Drain,
    DrainOn {
        deadline: Time,
    },
}

/// What an answer of the store is for.
#[derive(Debug, Clone)]
pub(crate) enum Token {
    Join {
        asked: Duration,
    },
    Beat {
        asked: Duration,
    },
    Look,
    LastLook,
    RaiseEpoch {
        above: u32,
        leave: bool,
    },
    StartOn,
    Release {
        fence: Fence,
    },
    Draining,
    Leave,
    Pass {
        actors: BTreeMap<BuildId, (Fence, i64)>,
        ended: BTreeMap<BuildId, Fence>,
        links: Vec<usize>,
    },
    Take {
        row: Box<store::QueueItem>,
        owner: ReplicaId,
        behaviour: u32,
    },
    Grant {
        build: BuildId,
    },
    Adopt {
        row: Box<Running>,
    },
    AdoptEpoch {
        row: Box<Running>,
    },
    Write {
        build: BuildId,
        actor: u64,
    },
    Inbox {
        build: BuildId,
        actor: u64,
    },
    Start {
        build: BuildId,
        actor: u64,
    },
    Raw {
        build: BuildId,
        actor: u64,
    },
    Stash {
        build: BuildId,
        actor: u64,
        op: u64,
        name: String,
    },
    Outranked {
        build: BuildId,
        fence: Fence,
        held: Fence,
    },
    OutrankedEpoch {
        row: Box<Running>,
        above: u32,
    },
    OutrankedAdopt {
        build: BuildId,
    },
    HandOver {
        to: ReplicaId,
    },
    Linked {
        agent: usize,
        life: u64,
        dial: u64,
        instance: String,
    },
    /// A user asked through this replica.
    Abort {
        build: BuildId,
        key: String,
    },
    /// Nobody waits for it.
    Forgotten,
}

/// How far a start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Waiting,
    Acquiring,
    /// To be set to `starting`.
    Acquired(Fence),
    Running(Fence),
    /// To be set to `ready`.
    Done(Fence),
    Over,
}

pub(crate) struct Replica {
    pub(crate) name: ReplicaName,
    pub(crate) life: u64,
    pub(crate) up: bool,
    pub(crate) paused: bool,
    pub(crate) stalled: Vec<ReplicaDo>,
    /// How far its wall clock is off, in milliseconds.
    pub(crate) wall: i64,
    /// Newest behaviour that it knows.
    pub(crate) behaviour: u32,
    pub(crate) me: Option<ReplicaId>,
    pub(crate) lease: OwnLease,
    pub(crate) watch: Watch,
    pub(crate) view: Option<View>,
    pub(crate) start: Start,
    /// The state that its row must have.
    pub(crate) wanted: Option<ReplicaState>,
    pub(crate) ready: bool,
    pub(crate) draining: bool,
    pub(crate) doomed: bool,
    pub(crate) pass_pending: bool,
    pub(crate) actors: BTreeMap<BuildId, Actor>,
    /// The last fence under which it drove a build.
    pub(crate) ended: BTreeMap<BuildId, Fence>,
    /// Links whose sockets are here, by node.
    pub(crate) local: BTreeMap<usize, usize>,
    pub(crate) theirs: BTreeMap<(BuildId, Fence, usize), (usize, u64)>,
    pub(crate) peers: BTreeMap<usize, Connection>,
    pub(crate) out_last: Time,
}

impl Replica {
    pub(crate) fn new(name: &str, behaviour: u32) -> Replica {
        Replica {
            name: ReplicaName::parse(name).expect("a good name"),
            life: 0,
            up: false,
            paused: false,
            stalled: Vec::new(),
            wall: 0,
            behaviour,
            me: None,
            lease: OwnLease::default(),
            watch: Watch::default(),
            view: None,
            start: Start::Waiting,
            wanted: None,
            ready: false,
            draining: false,
            doomed: false,
            pass_pending: false,
            actors: BTreeMap::new(),
            ended: BTreeMap::new(),
            local: BTreeMap::new(),
            theirs: BTreeMap::new(),
            peers: BTreeMap::new(),
            out_last: 0,
        }
    }

    pub(crate) fn incarnation(&self) -> i64 {
        self.me.as_ref().map_or(0, |me| me.incarnation)
    }
}

impl World {
    /// Something for this life of a replica.
    pub(crate) fn soon(&mut self, at: usize, delay: Time, what: ReplicaDo) {
        let life = self.replicas[at].life;
        self.after(delay, Event::Replica { at, life, what });
    }

    pub(crate) fn at_replica(&mut self, at: usize, life: u64, what: ReplicaDo) {
        let replica = &mut self.replicas[at];
        if replica.life != life || !replica.up {
            return;
        }
        if replica.paused {
            replica.stalled.push(what);
            return;
        }
        match what {
            ReplicaDo::Boot => self.boot(at),
            ReplicaDo::Beat => self.beat(at),
            ReplicaDo::Look => self.ask(at, Token::Look, Ask::Look),
            ReplicaDo::Pass => self.pass(at),
            ReplicaDo::StartOn => self.start_on(at),
            ReplicaDo::Started => self.started(at),
            ReplicaDo::Answer { token, reply } => self.told(at, token, reply),
            ReplicaDo::Tick { build, actor, due } => self.tick(at, build, actor, due),
            ReplicaDo::Object { build, actor, event } => {
                self.tell_actor(at, build, actor, DriverEvent::Object(event))
            }
            ReplicaDo::Out { node, path, message } => self.leaves(at, node, path, message),
            ReplicaDo::Hello { agent, life, dial, instance } => self.hello(at, agent, life, dial, instance),
            ReplicaDo::Report { link, report, late } => self.reported(at, link, report, late),
            ReplicaDo::LinkGone { link } => self.link_gone(at, link),
            ReplicaDo::Peer { from, connection, message } => self.peer_says(at, from, connection, message),
            ReplicaDo::DialPeer { to } => self.dial_peer(at, to),
            ReplicaDo::PeerGone { peer, connection } => self.peer_gone(at, peer, connection),
            ReplicaDo::Refuses { who } => self.declare(at, who, None),
            ReplicaDo::Drain => self.drain(at),
            ReplicaDo::DrainOn { deadline } => self.drain_on(at, deadline),
        }
    }

    /// The process goes on; all that has waited for it happens now, in order.
    pub(crate) fn wake(&mut self, at: usize) {
        self.replicas[at].paused = false;
        let life = self.replicas[at].life;
        for what in std::mem::take(&mut self.replicas[at].stalled) {
            self.at_replica(at, life, what);
        }
    }

    /// The process ends: nothing in its memory is left. Another life begins after `pause`.
    pub(crate) fn exit(&mut self, at: usize, pause: Time) {
        self.sockets_end(at);
        let life = self.count();
        let old = &self.replicas[at];
        self.tell(|| format!("{} ends", old.name));
        let (name, wall, behaviour) = (old.name.to_string(), old.wall, old.behaviour);
        self.replicas[at] = Replica { life, wall, up: true, ..Replica::new(&name, behaviour) };
        self.soon(at, pause, ReplicaDo::Boot);
    }

    // -- answers -----------------------------------------------------------------------------

    pub(crate) fn told(&mut self, at: usize, token: Token, reply: Result<Box<Reply>, Error>) {
        match token {
            Token::Join { asked } => match reply.map(|r| *r) {
                Ok(Reply::Written(Answer::Joined { incarnation, .. })) => self.joined(at, incarnation, asked),
                _ => self.soon(at, SEC, ReplicaDo::Boot),
            },
            Token::Beat { asked } => match reply {
                // Nobody knows us any more: was the store set back to before we joined?
                Err(Error::Fenced { .. }) => self.ask(at, Token::LastLook, Ask::Look),
                reply => {
                    if reply.is_ok() {
                        self.replicas[at].lease.confirm(asked);
                    }
                    let spent = self.clocks(at).elapsed.saturating_sub(asked);
                    self.soon(at, micros(BEAT.saturating_sub(spent)).max(50 * MS), ReplicaDo::Beat);
                }
            },
            Token::Look => self.looked(at, reply),
            Token::LastLook => {
                match (reply.map(|r| *r), self.replicas[at].view.as_ref().map(|v| v.meta.clone())) {
                    (Ok(Reply::Look(view)), Some(newest)) if view.meta.tick < newest.tick => {
                        self.raise(at, newest.epoch, true)
                    }
                    _ => self.lost(at),
                }
            }
            Token::RaiseEpoch { above, leave } => match reply {
                Err(_) => self.raise(at, above, leave),
                Ok(_) if leave => self.lost(at),
                Ok(_) => {}
            },
            Token::StartOn => self.start_answered(at, reply),
            Token::Release { fence } => {
                if reply.is_err_and(|e| e.passing()) {
                    self.release(at, fence);
                }
            }
            Token::Draining | Token::Leave => self.drained(at, &token, reply.is_ok()),
            Token::Pass { actors, ended, links } => self.passed(at, &actors, &ended, &links, reply),
            Token::Take { row, owner, behaviour } => self.took(at, *row, owner, behaviour, reply),
            Token::Grant { build } => self.granted(at, build, reply),
            Token::Adopt { row } => self.adopted(at, *row, reply),
            Token::AdoptEpoch { row } => self.adopt_raised(at, &row, reply),
            Token::Write { build, actor } => self.written(at, build, actor, reply),
            Token::Inbox { build, actor } => self.inbox_read(at, build, actor, reply),
            Token::Start { build, actor } => self.start_read(at, build, actor, reply),
            Token::Raw { build, actor } => self.raw_read(at, build, actor, reply),
            Token::Stash { build, actor, op, name } => self.stash_read(at, (build, actor), (op, name), reply),
            Token::Outranked { build, fence, held } => self.outranked_read(at, build, fence, held, reply),
            Token::OutrankedEpoch { row, above } => self.outranked_raised(at, row, above, reply),
            Token::OutrankedAdopt { build } => self.outranked_ends(at, build),
            Token::HandOver { to } => self.handed_over(at, &to, reply),
            Token::Linked { agent, life, dial, instance } => {
                self.linked(at, agent, life, dial, instance, reply)
            }
            Token::Abort { build, key } => self.abort_answered(build, key, reply),
            Token::Forgotten => {}
        }
    }
}

pub(crate) fn micros(duration: Duration) -> Time {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The number of an agent by its name.
pub(crate) fn agent_of(node: &NodeName) -> usize {
    node.as_str().trim_start_matches("agent-").parse().unwrap_or(0)
}
