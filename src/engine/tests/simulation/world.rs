//! The world of one seed: virtual time, a queue of events, and everything that lives in it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use engine::driver::Now;
use model::{BuildId, BuildResult, Millis};

use crate::agent::{Agent, AgentDo, HostDo};
use crate::faults::{Chaos, Fault};
use crate::home::{Ask, Caller, Home};
use crate::links::Link;
use crate::mutation::Mutation;
use crate::oracle::Oracle;
use crate::random::Random;
use crate::replica::{Replica, ReplicaDo};
use crate::workload::Programs;

/// Microseconds of virtual time.
pub(crate) type Time = u64;
pub(crate) const MS: Time = 1_000;
pub(crate) const SEC: Time = 1_000_000;
/// The wall clock when the virtual time begins.
const WALL: i64 = 1_700_000_000_000;
/// More events than any healthy seed has.
const MOST_EVENTS: u64 = 2_000_000;

/// What happens at some moment.
#[derive(Debug)]
pub(crate) enum Event {
    /// At a replica: nothing of it happens while it is paused, never when that life has ended.
    Replica {
        at: usize,
        life: u64,
        what: ReplicaDo,
    },
    /// In the agent's process.
    Agent {
        at: usize,
        life: u64,
        what: AgentDo,
    },
    /// On the agent's machine, whether its agent runs or not.
    Host {
        at: usize,
        boot: u64,
        what: HostDo,
    },
    /// A request reaches the store.
    Ask {
        from: Caller,
        ask: Ask,
    },
    /// The store commits what has come.
    Commit,
    /// A commit whose answer was lost happens after all.
    Late {
        write: Box<store::Write>,
        restores: u32,
    },
    Fault(Fault),
    /// A user starts a build of that pipeline.
    Enqueue {
        pipeline: usize,
        tries: u32,
    },
    /// A user ends some build; `again`: the same wish, because no answer came.
    Abort {
        again: Option<(BuildId, String)>,
    },
    /// A reader looks at a log.
    Read,
}

struct Entry {
    at: Time,
    tie: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        (other.at, other.tie).cmp(&(self.at, self.tie))
    }
}

pub(crate) struct World {
    pub(crate) now: Time,
    queue: BinaryHeap<Entry>,
    pub(crate) random: Random,
    pub(crate) chaos: Chaos,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) programs: Rc<Programs>,
    pub(crate) home: Home,
    pub(crate) objects: BTreeMap<String, Bytes>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) links: Vec<Link>,
    pub(crate) oracle: Oracle,
    /// Counter for lives, connections, actors.
    counter: u64,
    events: u64,
    /// What has gone wrong.
    pub(crate) broken: Option<String>,
    /// Tells what happens, for a person.
    pub(crate) loud: bool,
}

/// How a seed ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) broken: Option<String>,
    pub(crate) builds: usize,
    pub(crate) seconds: u64,
    pub(crate) events: u64,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// How the builds ended.
    pub(crate) results: Vec<Option<BuildResult>>,
    /// Guarded writes that reached the store.
    pub(crate) writes: u64,
}

impl World {
    pub(crate) fn with(
        seed: u64,
        chaos: Chaos,
        mutation: Option<Mutation>,
        programs: &Rc<Programs>,
    ) -> World {
        let random = Random::new(seed ^ 0x5eed);
        let mut world = World {
            now: 0,
            queue: BinaryHeap::new(),
            random,
            chaos,
            mutation,
            programs: Rc::clone(programs),
            home: Home::default(),
            objects: BTreeMap::new(),
            replicas: Vec::new(),
            agents: Vec::new(),
            links: Vec::new(),
            oracle: Oracle::default(),
            counter: 0,
            events: 0,
            broken: None,
            loud: std::env::var_os("MAJORDOMO_TRACE").is_some(),
        };
        world.furnish();
        world.plan_faults();
        world
    }

    pub(crate) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(crate) fn at(&mut self, at: Time, event: Event) {
        let tie = self.random.next();
        self.queue.push(Entry { at: at.max(self.now), tie, event });
    }

    pub(crate) fn after(&mut self, delay: Time, event: Event) {
        self.at(self.now + delay, event);
    }

    /// A delay between two bounds; sometimes, when the seed is slow, ten times that.
    pub(crate) fn delay(&mut self, low: Time, high: Time) -> Time {
        let delay = self.random.between(low, high);
        if self.random.chance(self.chaos.slow) { delay * 10 } else { delay }
    }

    pub(crate) fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// An invariant does not hold.
    pub(crate) fn fail(&mut self, why: impl Into<String>) {
        let why = why.into();
        self.tell(|| format!("BROKEN: {why}"));
        self.broken.get_or_insert(why);
    }

    pub(crate) fn tell(&self, text: impl FnOnce() -> String) {
        if self.loud {
            eprintln!("{:>12.6} {}", self.now as f64 / SEC as f64, text());
        }
    }

    /// The clocks of a replica.
    pub(crate) fn clocks(&self, replica: usize) -> Now {
        let millis = i64::try_from(self.now / MS).unwrap_or(i64::MAX);
        Now {
            wall: Millis(WALL + millis + self.replicas[replica].wall),
            elapsed: Duration::from_micros(self.now),
        }
    }

    /// Runs until all builds have ended and rest has come, or something is broken.
    pub(crate) fn run(mut self) -> Outcome {
        while self.broken.is_none() && !self.over() {
            let Some(Entry { at, event, .. }) = self.queue.pop() else {
                self.fail("nothing will ever happen again");
                break;
            };
            self.now = at;
            self.events += 1;
            self.take(event);
            if self.events > MOST_EVENTS {
                self.fail("it never comes to rest");
            }
        }
        if self.broken.is_none() {
            self.check_end();
        }
        let ids = self.oracle.builds.keys();
        let results = ids.map(|id| self.home.state.build_by_id(*id).and_then(|b| b.result)).collect();
        Outcome {
            results,
            writes: self.home.writes,
            broken: self.broken.take(),
            builds: self.oracle.builds.len(),
            seconds: self.now / SEC,
            events: self.events,
            counts: std::mem::take(&mut self.oracle.counts),
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Replica { at, life, what } => self.at_replica(at, life, what),
            Event::Agent { at, life, what } => {
                if self.agents[at].life == life && self.agents[at].up {
                    self.at_agent(at, what);
                }
            }
            Event::Host { at, boot, what } => {
                if self.agents[at].boot == boot {
                    self.on_host(at, what);
                }
            }
            Event::Ask { from, ask } => self.asked(from, ask),
            Event::Commit => self.commit(),
            Event::Late { write, restores } => self.late(write, restores),
            Event::Fault(fault) => self.fault(fault),
            Event::Enqueue { pipeline, tries } => self.enqueue(pipeline, tries),
            Event::Abort { again } => self.abort(again),
            Event::Read => self.read_log(),
        }
    }

    /// Whether nothing is left to do, or the time for it is over.
    fn over(&mut self) -> bool {
        if self.now < self.chaos.calm {
            return false;
        }
        let waiting = !self.home.state.queue().is_empty() || !self.home.state.running(None).is_empty();
        let starting = self.replicas.iter().any(|r| !r.ready);
        if !waiting && !starting {
            let rest = *self.oracle.rested.get_or_insert(self.now);
            return self.now >= rest + 3 * SEC;
        }
        self.oracle.rested = None;
        if self.now > self.chaos.calm + self.chaos.patience {
            let left: Vec<String> = self
                .home
                .state
                .running(None)
                .iter()
                .map(|r| format!("{} of {} under {}", r.build, r.owner, r.fence))
                .collect();
            let down: Vec<&str> =
                self.replicas.iter().filter(|r| !r.ready).map(|r| r.name.as_str()).collect();
            let queued = self.home.state.queue().len();
            let state = &self.home.state;
            self.tell(|| {
                format!("links {:?}\nwaits {:?}\nbusy {:?}", state.links(), state.waits(), state.busy())
            });
            for replica in &self.replicas {
                for (build, actor) in &replica.actors {
                    self.tell(|| format!("{} drives {build}: {}", replica.name, actor.story()));
                }
            }
            self.fail(format!(
                "builds are forgotten: {left:?}; {queued} in the queue; replicas not ready: {down:?}"
            ));
        }
        false
    }
}
