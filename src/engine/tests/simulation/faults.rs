//! What goes wrong in a seed, drawn before it begins, and how it is done.

use model::NodeName;

use crate::agent::Agent;
use crate::replica::{Replica, ReplicaDo};
use crate::world::{Event, MS, SEC, Time, World};

/// How rough a seed is.
#[derive(Debug, Clone)]
pub(crate) struct Chaos {
    pub(crate) replicas: usize,
    pub(crate) agents: usize,
    /// The only pipeline; `None`: any.
    pub(crate) pipeline: Option<usize>,
    pub(crate) aborts: u64,
    pub(crate) builds: u64,
    pub(crate) faults: u64,
    /// Nothing goes wrong from then on.
    pub(crate) calm: Time,
    /// Everything must have come to its end that long after.
    pub(crate) patience: Time,
    /// Chances in a thousand.
    pub(crate) slow: u64,
    pub(crate) unknown: u64,
    pub(crate) doubled: u64,
    /// Replicas differ in the newest behaviour that they know.
    pub(crate) mixed: bool,
    /// Chance that a command waits in the queue of its process for a while.
    pub(crate) queued: u64,
    /// Owners are stopped with commands in their queues, and agents restart before they go on.
    pub(crate) zombies: bool,
    /// Longest time of a commit.
    pub(crate) commit: Time,
    /// The store may be set back in time.
    pub(crate) set_back: bool,
    /// It may be set back while nobody is there to notice. What nobody can know then is left out: there is one agent, and
    /// its disk is safe.
    pub(crate) unseen: bool,
}

impl Chaos {
    pub(crate) fn draw(random: &mut crate::random::Random) -> Chaos {
        let rough = random.below(4);
        let set_back = random.chance(250);
        let unseen = set_back && random.chance(500);
        let zombies = !set_back && random.chance(150);
        Chaos {
            queued: if zombies { 500 } else { 50 },
            zombies,
            commit: if random.chance(250) { 40 * MS } else { 3 * MS },
            set_back,
            unseen,
            replicas: if random.chance(700) { 2 } else { 3 },
            agents: if unseen || random.chance(500) { 1 } else { 2 },
            pipeline: None,
            aborts: random.below(2),
            builds: random.between(1, 3),
            faults: random.between(rough, 2 + 3 * rough),
            calm: if zombies { 45 } else { random.between(20, 45) } * SEC,
            patience: 700 * SEC,
            slow: if random.chance(300) { 30 } else { 0 },
            unknown: if random.chance(400) { random.between(5, 60) } else { 0 },
            doubled: if random.chance(300) { random.between(5, 50) } else { 0 },
            mixed: random.chance(200),
        }
    }
}

impl Chaos {
    /// Two replicas, one agent, one build, and nothing goes wrong.
    pub(crate) fn quiet(pipeline: usize) -> Chaos {
        Chaos {
            replicas: 2,
            agents: 1,
            pipeline: Some(pipeline),
            aborts: 0,
            builds: 1,
            faults: 0,
            calm: 13 * SEC,
            patience: 400 * SEC,
            slow: 0,
            unknown: 0,
            doubled: 0,
            mixed: false,
            queued: 0,
            zombies: false,
            commit: 3 * MS,
            set_back: false,
            unseen: false,
        }
    }
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process is stopped, and goes on later.
    Pause {
        at: usize,
        time: Time,
    },
    Wake {
        at: usize,
        life: u64,
    },
    /// Others notice that a stopped process is silent.
    Silent {
        at: usize,
        life: u64,
    },
    Kill {
        at: usize,
    },
    /// The process dies as soon as it has read something of an inbox.
    Doom {
        at: usize,
    },
    Drain {
        at: usize,
    },
    AgentKill {
        at: usize,
    },
    Reboot {
        at: usize,
    },
    Replace {
        at: usize,
    },
    CutLinks,
    CutPeers,
    Outage {
        time: Time,
    },
    Clock {
        at: usize,
        millis: i64,
    },
    Snapshot,
    Restore,
    /// All replicas are down while the store is set back.
    RestoreAllDown,
}

impl World {
    pub(crate) fn furnish(&mut self) {
        let chaos = self.chaos.clone();
        for n in 0..chaos.replicas {
            let behaviour = if chaos.mixed && n > 0 { 2 } else { 1 };
            self.replicas.push(Replica::new(&format!("r-{n}"), behaviour));
            let life = self.count();
            self.replicas[n].life = life;
            self.replicas[n].up = true;
            self.replicas[n].wall = i64::try_from(self.random.below(4_000)).unwrap_or(0) - 2_000;
            let delay = self.random.below(SEC);
            self.soon(n, delay, ReplicaDo::Boot);
        }
        let mut nodes = Vec::new();
        for n in 0..chaos.agents {
            let name = format!("agent-{n}");
            self.agents.push(Agent::new(&name, format!("instance-{n}")));
            let executors = if self.random.chance(500) { 2 } else { 1 };
            nodes.push((NodeName::parse(&name).expect("a good name"), executors, n == 0));
            let delay = self.random.below(2 * SEC);
            self.after(delay, Event::Host { at: n, boot: 1, what: crate::agent::HostDo::Agent });
        }
        self.furnish_home(&nodes);
        for _ in 0..chaos.builds {
            let any = self.random.index(crate::workload::SOURCES.len());
            let pipeline = chaos.pipeline.unwrap_or(any);
            let delay = self.random.between(SEC, if chaos.set_back { 5 } else { 12 } * SEC);
            self.after(delay, Event::Enqueue { pipeline, tries: 0 });
        }
        for _ in 0..chaos.aborts {
            let delay = self.random.between(3 * SEC, chaos.calm);
            self.after(delay, Event::Abort { again: None });
        }
        for _ in 0..6 {
            let delay = self.random.below(chaos.calm + 20 * SEC);
            self.after(delay, Event::Read);
        }
    }

    pub(crate) fn plan_faults(&mut self) {
        if self.chaos.zombies {
            self.plan_zombies();
        }
        if self.chaos.unseen && self.random.chance(600) {
            self.plan_lost_history();
        }
        let (calm, replicas, agents) = (self.chaos.calm, self.replicas.len(), self.agents.len());
        for _ in 0..self.chaos.faults {
            let at = self.random.between(3 * SEC, calm - 2 * SEC);
            let left = calm - at;
            let replica = self.random.index(replicas);
            let agent = self.random.index(agents);
            let fault = match self.random.below(100) {
                0..20 => {
                    Fault::Pause { at: replica, time: self.random.between(500 * MS, 50 * SEC).min(left) }
                }
                20..32 => Fault::Kill { at: replica },
                32..38 => Fault::Doom { at: replica },
                38..46 => Fault::Drain { at: replica },
                46..56 => Fault::AgentKill { at: agent },
                56..65 if self.chaos.unseen => self.back_in_time(at),
                56..61 => Fault::Reboot { at: agent },
                61..65 => Fault::Replace { at: agent },
                65..77 => Fault::CutLinks,
                77..83 => Fault::CutPeers,
                83..88 => Fault::Outage { time: self.random.between(100 * MS, 60 * SEC).min(left) },
                88..93 => Fault::Clock {
                    at: replica,
                    millis: i64::try_from(self.random.below(60_000)).unwrap_or(0) - 30_000,
                },
                _ if self.chaos.set_back => self.back_in_time(at),
                _ => Fault::CutLinks,
            };
            self.at(at, Event::Fault(fault));
        }
    }

    pub(crate) fn plan_zombies(&mut self) {
        for _ in 0..2 {
            let at = self.random.index(self.replicas.len());
            let agent = self.random.index(self.agents.len());
            let cut = self.random.between(4 * SEC, 15 * SEC);
            let pause = cut + self.random.between(100 * MS, 1500 * MS);
            let time = self.random.between(12 * SEC, 25 * SEC);
            let restart = pause + time - self.random.between(2 * SEC, 5 * SEC);
            self.at(cut, Event::Fault(Fault::CutLinks));
            self.at(pause, Event::Fault(Fault::Pause { at, time }));
            self.at(restart, Event::Fault(Fault::AgentKill { at: agent }));
        }
    }

    /// A build changes hands twice, and then the store forgets it.
    pub(crate) fn plan_lost_history(&mut self) {
        let first = self.random.index(self.replicas.len());
        let second = (first + 1) % self.replicas.len();
        let copy = self.random.between(5 * SEC, 9 * SEC);
        let story = [
            (0, Fault::Snapshot),
            (self.random.between(200 * MS, SEC), Fault::Kill { at: first }),
            (self.random.between(4 * SEC, 5 * SEC), Fault::Kill { at: second }),
            (self.random.between(8 * SEC, 9 * SEC), Fault::AgentKill { at: 0 }),
            (self.random.between(9 * SEC, 10 * SEC), Fault::RestoreAllDown),
        ];
        for (after, fault) in story {
            self.at(copy + after, Event::Fault(fault));
        }
    }

    /// The store is set back, to a copy made shortly before.
    pub(crate) fn back_in_time(&mut self, at: Time) -> Fault {
        for _ in 0..6 {
            let before = at.saturating_sub(self.random.below(15 * SEC));
            self.at(before, Event::Fault(Fault::Snapshot));
        }
        if self.chaos.unseen && self.random.chance(500) { Fault::RestoreAllDown } else { Fault::Restore }
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        if fault != Fault::Snapshot {
            self.tell(|| format!("{fault:?}"));
        }
        // Whoever can notice that the store was set back comes to do so.
        let noticing = !self.chaos.unseen && !self.home.calm_for(self.now);
        match fault {
            Fault::Pause { .. } | Fault::Kill { .. } | Fault::Drain { .. } if noticing => {}
            Fault::Pause { at, time } => self.pause(at, time),
            Fault::Wake { at, life } => {
                if self.replicas[at].life == life && self.replicas[at].paused {
                    self.wake(at);
                }
            }
            Fault::Silent { at, life } => {
                if self.replicas[at].life == life && self.replicas[at].paused {
                    self.silence(at);
                }
            }
            Fault::Kill { at } => self.kill(at),
            Fault::Doom { at } => self.replicas[at].doomed = true,
            Fault::Drain { at } => self.soon(at, 0, ReplicaDo::Drain),
            Fault::AgentKill { at } if self.agents[at].up => self.kill_agent(at),
            Fault::Reboot { at } if self.agents[at].up => self.reboot(at),
            Fault::Replace { at } if self.agents[at].up => self.replace(at),
            Fault::AgentKill { .. } | Fault::Reboot { .. } | Fault::Replace { .. } => {}
            Fault::CutLinks => {
                self.oracle.note("cuts");
                let links: Vec<usize> =
                    self.replicas.iter().flat_map(|r| r.local.values().copied()).collect();
                links.into_iter().for_each(|link| self.cut(link));
            }
            Fault::CutPeers => self.cut_peers(),
            Fault::Outage { time } => {
                self.oracle.note("outages");
                self.oracle.witnesses.clear();
                self.home.away_until = self.now + time;
            }
            Fault::Clock { at, millis } => self.replicas[at].wall += millis,
            Fault::Snapshot => self.snapshot(),
            Fault::Restore => self.restore(),
            Fault::RestoreAllDown => self.restore_all_down(),
        }
    }

    pub(crate) fn pause(&mut self, at: usize, time: Time) {
        if self.replicas[at].paused {
            return;
        }
        self.oracle.note("pauses");
        self.no_witness(at);
        self.replicas[at].paused = true;
        let life = self.replicas[at].life;
        self.after(time, Event::Fault(Fault::Wake { at, life }));
        let silent = self.random.between(4 * SEC, 7 * SEC);
        self.after(silent, Event::Fault(Fault::Silent { at, life }));
    }

    /// It may not come to notice that the store was set back.
    pub(crate) fn no_witness(&mut self, at: usize) {
        if !self.home.calm_for(self.now) {
            let life = self.replicas[at].life;
            self.oracle.witnesses.remove(&(at, life));
        }
    }

    /// Agents and peers leave a process that does not answer their pings.
    pub(crate) fn silence(&mut self, at: usize) {
        let links: Vec<usize> = self.replicas[at].local.values().copied().collect();
        links.into_iter().for_each(|link| self.cut(link));
        for other in 0..self.replicas.len() {
            if let Some(connection) = self.replicas[other].peers.get(&at).copied() {
                self.soon(other, 0, ReplicaDo::PeerGone { peer: at, connection: connection.id });
            }
        }
    }

    pub(crate) fn kill(&mut self, at: usize) {
        self.oracle.note("kills");
        self.no_witness(at);
        if let Some(who) = self.replicas[at].me.clone() {
            for other in 0..self.replicas.len() {
                if other != at && self.replicas[other].me.is_some() && self.random.chance(500) {
                    let delay = self.random.between(20 * MS, 400 * MS);
                    self.soon(other, delay, ReplicaDo::Refuses { who: who.clone() });
                }
            }
        }
        let pause = self.random.between(100 * MS, 15 * SEC);
        self.exit(at, pause);
    }

    pub(crate) fn cut_peers(&mut self) {
        for at in 0..self.replicas.len() {
            let peers: Vec<(usize, u64)> =
                self.replicas[at].peers.iter().map(|(peer, c)| (*peer, c.id)).collect();
            for (peer, connection) in peers {
                let delay = self.random.below(SEC);
                self.soon(at, delay, ReplicaDo::PeerGone { peer, connection });
            }
        }
    }

    pub(crate) fn restore_all_down(&mut self) {
        for at in 0..self.replicas.len() {
            let pause = self.random.between(SEC, 5 * SEC);
            self.exit(at, pause);
        }
        self.restore();
        self.oracle.witnesses.clear();
        self.oracle.given.clear();
    }
}
