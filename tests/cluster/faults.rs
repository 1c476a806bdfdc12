//! What is done to a controller, each in a thread of its own, and how often it was done.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::controller::{Controller, FarAgent, Replica};
use crate::support::postgres::Server;
use crate::support::random::Random;

/// A lease, and a bit: whoever was stopped for so long has lost it.
const LEASE: Duration = Duration::from_secs(5);

pub(crate) const OWNER_KILLS: &str = "owner kills";
pub(crate) const LONG_STOPS: &str = "owner stops longer than the lease";
pub(crate) const SHORT_STOPS: &str = "owner stops shorter than the lease";
pub(crate) const AGENT_KILLS: &str = "agent kills";
pub(crate) const AGENT_STOPS: &str = "agent stops";
pub(crate) const LINK_CUTS: &str = "link cuts";
pub(crate) const DATABASE_KILLS: &str = "database kills";
pub(crate) const OUTAGES: &str = "database outages of 30 s";

/// Counted things.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    pub(crate) fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&self, what: &'static str, many: u64) {
        *self.0.lock().unwrap().entry(what).or_default() += many;
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    pub(crate) fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap().clone()
    }
}

/// How often each is done, at least.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    pub(crate) owner_kills: u64,
    pub(crate) long_stops: u64,
    pub(crate) short_stops: u64,
    pub(crate) agent_kills: u64,
    pub(crate) link_cuts: u64,
    pub(crate) database_kills: u64,
    pub(crate) outages: u64,
}

/// What all that ill-treat one controller share.
pub(crate) struct Scene<'a> {
    pub(crate) controller: &'a Controller,
    pub(crate) tally: &'a Tally,
    pub(crate) quota: Quota,
    /// Not before then, even if all quotas are met.
    pub(crate) until: Instant,
    pub(crate) deadline: Instant,
    /// Somebody has failed: all stop.
    pub(crate) failed: &'a AtomicBool,
}

impl Scene<'_> {
    fn more(&self, what: &[(&'static str, u64)]) -> bool {
        let left = || what.iter().any(|(name, quota)| self.tally.of(name) < *quota);
        let now = Instant::now();
        !self.failed.load(Ordering::Relaxed) && now < self.deadline && (now < self.until || left())
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// A replica that drives builds now. Nothing while the store is away.
    fn owner(&self, random: &mut Random) -> Option<Replica> {
        let reply =
            self.controller.client().try_get("/replicas/api/json").ok().filter(|r| r.status == 200)?;
        let replicas = Controller::replicas_of(&reply);
        let owners: Vec<_> =
            replicas.into_iter().filter(|r| !r.builds.is_empty() && r.state == "ready").collect();
        random.pick(&owners).cloned()
    }

    /// Kills owners, and stops them for a moment.
    pub(crate) fn owners(&self, mut random: Random) {
        let quota = [(OWNER_KILLS, self.quota.owner_kills), (SHORT_STOPS, self.quota.short_stops)];
        while self.more(&quota) {
            self.sleep(random.millis(1_000, 4_000));
            let kill = random.below(4) > 0 || self.tally.of(SHORT_STOPS) >= self.quota.short_stops;
            let Some(process) = self.owner(&mut random).and_then(|r| self.controller.process(r.pid)) else {
                continue;
            };
            if kill && self.tally.of(OWNER_KILLS) < self.quota.owner_kills {
                if process.signal(Signal::KILL) {
                    self.tally.count(OWNER_KILLS);
                }
            } else if process.signal(Signal::STOP) {
                self.sleep(random.millis(300, 3_500));
                if process.signal(Signal::CONT) {
                    self.tally.count(SHORT_STOPS);
                }
            }
        }
    }

    /// Stops owners until `up` has killed them, or for longer than a lease.
    pub(crate) fn hangs(&self, mut random: Random) {
        while self.more(&[(LONG_STOPS, self.quota.long_stops)]) {
            self.sleep(random.millis(1_000, 6_000));
            let Some(process) = self.owner(&mut random).and_then(|r| self.controller.process(r.pid)) else {
                continue;
            };
            let stopped = Instant::now();
            if !process.signal(Signal::STOP) {
                continue;
            }
            let most = LEASE + random.millis(1_000, 4_000);
            while process.lives() && stopped.elapsed() < most {
                self.sleep(Duration::from_millis(50));
            }
            process.signal(Signal::CONT);
            // one that another thread has killed meanwhile does not count
            if stopped.elapsed() >= LEASE {
                self.tally.count(LONG_STOPS);
            }
        }
    }

    /// Kills and stops agents, and cuts their links.
    pub(crate) fn agents(&self, mut random: Random, far: &mut [FarAgent]) {
        let quota = [(AGENT_KILLS, self.quota.agent_kills), (LINK_CUTS, self.quota.link_cuts)];
        while self.more(&quota) {
            self.sleep(random.millis(500, 3_000));
            match random.below(6) {
                0 | 1 => {
                    let agent = random.below(far.len());
                    far[agent].begin();
                    self.tally.count(AGENT_KILLS);
                }
                2 => {
                    // one that `up` looks after
                    let agents = self.controller.processes();
                    let near: Vec<_> = agents
                        .iter()
                        .filter(|p| {
                            p.is("agent") && p.value("-name").is_some_and(|n| n.starts_with("agent-"))
                        })
                        .collect();
                    if random.pick(&near).is_some_and(|p| p.signal(Signal::KILL)) {
                        self.tally.count(AGENT_KILLS);
                    }
                }
                3 | 4 => {
                    let proxy = &far[random.below(far.len())].proxy;
                    let links = if random.below(3) > 0 { proxy.cut() } else { proxy.stall() };
                    self.tally.add(LINK_CUTS, links as u64);
                }
                _ => {
                    let pid = far[random.below(far.len())].pid();
                    if let Some(process) = self.controller.process(pid)
                        && process.signal(Signal::STOP)
                    {
                        self.sleep(random.millis(200, 4_000));
                        process.signal(Signal::CONT);
                        self.tally.count(AGENT_STOPS);
                    }
                }
            }
        }
    }

    /// Kills the database, and takes it away for 30 s once.
    pub(crate) fn database(&self, mut random: Random, server: &mut Server) {
        while self.more(&[(DATABASE_KILLS, self.quota.database_kills), (OUTAGES, self.quota.outages)]) {
            self.sleep(random.millis(3_000, 8_000));
            if self.tally.of(DATABASE_KILLS) > 0 && self.tally.of(OUTAGES) < self.quota.outages {
                server.stop();
                self.sleep(Duration::from_secs(30));
                server.begin();
                self.tally.count(OUTAGES);
            } else if self.tally.of(DATABASE_KILLS) < self.quota.database_kills || random.below(3) == 0 {
                server.kill_9();
                self.sleep(random.millis(0, 1_500));
                server.begin();
                self.tally.count(DATABASE_KILLS);
            }
        }
    }
}
