//! All processes of the controller on this machine, from the first start to the last end.

mod members;
mod roll;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use resource::{LocalPlan, MAX_REPLICAS};
use rollout::Revision;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, interval};

use crate::Error;
use crate::found::{Found, replica_names};
use crate::home::{Home, Revisions};
use crate::peer::Peers;
use crate::process::Process;
use crate::record::{ReloadRecord, ReplicaWait, UpRecord};
use crate::supervise::{Event, Member, Role, Spec, Stop, Supervisor, What, retire};
use crate::up::{Asked, Options, Say, Signals, Urls, plan};
use roll::Roller;

/// How long `up` waits before it says or does something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Between two lines that say what is waited for.
    pub(crate) progress: Duration,
    /// How long the store of a controller that never ran may be silent: later ones wait for it.
    pub(crate) first_answer: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { progress: Duration::from_secs(5), first_answer: Duration::from_secs(10) }
    }
}

/// A replica that ends with this status says in its last line why it can't start; trying again is no use.
const REFUSED: i32 = 2;

/// How often the rollout takes a step.
const ROLL: Duration = Duration::from_millis(250);

/// The tasks that keep the processes running.
pub(crate) struct Fleet {
    url: String,
    peers: Peers,
    role: Role,
    roller: Roller,
    agents: Vec<(Member, Spec)>,
    /// Agents run what they run for as long as `up` does.
    kept: Vec<watch::Sender<Option<Spec>>>,
    /// Whether any replica was found running.
    took_over: bool,
    /// Replicas that are ready now.
    ready: BTreeSet<String>,
    /// The one that shows the setup wizard now.
    in_setup: Option<String>,
    /// Whether any was ready or in setup, at any time.
    ever_ready: bool,
    /// All were at one time, and the user was told so.
    announced: bool,
    /// Of the replicas that were started last.
    pids: BTreeMap<String, u32>,
    replica_tasks: JoinSet<()>,
    agent_tasks: JoinSet<()>,
    stop_replicas: watch::Sender<Stop>,
    stop_agents: watch::Sender<Stop>,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
}

impl Fleet {
    pub(crate) fn start(
        options: &Options,
        plan: &LocalPlan,
        home: &Home,
        listener: TcpListener,
        urls: Urls,
        found: Found,
    ) -> Result<Fleet, Error> {
        let peers =
            Peers::new(home.paths.clone(), replica_names(&home.name, MAX_REPLICAS), home.keys.clone());
        let events = mpsc::channel(64);
        let revisions = Revisions::open(&home.paths, &options.program)?;
        let (paths, program) = (home.paths.clone(), options.program.clone());
        let roller = Roller::new(paths, peers.clone(), program, urls.public, revisions, events.0.clone());
        let mut fleet = Fleet {
            peers,
            role: Role::Replica {
                listener: Arc::new(listener),
                store: home.store.clone(),
                metrics_open: options.metrics_open,
                setup_wizard: plan.setup_wizard,
            },
            roller,
            agents: (1..=options.agents)
                .map(|n| members::agent(&options.program, &home.paths, &urls.here, n))
                .collect(),
            kept: Vec::new(),
            url: urls.here,
            took_over: false,
            ready: BTreeSet::new(),
            in_setup: None,
            ever_ready: false,
            announced: false,
            pids: BTreeMap::new(),
            replica_tasks: JoinSet::new(),
            agent_tasks: JoinSet::new(),
            stop_replicas: watch::Sender::new(Stop::No),
            stop_agents: watch::Sender::new(Stop::No),
            events,
        };
        fleet.roller.set(plan.rollout);
        for name in replica_names(&home.name, plan.replicas) {
            let process = found.adopt(&name);
            fleet.took_over |= process.is_some();
            let revision = process.as_ref().map(|_| found.revision(&name).unwrap_or_else(roll::unknown));
            fleet.add(home, &name, process, revision);
        }
        for (name, running) in found.unwanted {
            let peers = fleet.peers.clone();
            if let Some(process) = running.adopt() {
                fleet.replica_tasks.spawn(async move { retire(&name, process, &peers).await });
            }
        }
        Ok(fleet)
    }

    /// A further replica, which may run already.
    fn add(&mut self, home: &Home, name: &str, process: Option<Process>, revision: Option<Revision>) {
        let member = Member { name: name.to_owned(), role: self.role.clone(), log: home.paths.log(name) };
        let (spec, wanted) = self.roller.add(name, revision);
        let supervisor = self.supervisor(member, spec, wanted, self.stop_replicas.subscribe());
        self.replica_tasks.spawn(supervisor.run(process));
    }

    fn supervisor(
        &self,
        member: Member,
        spec: Spec,
        wanted: watch::Receiver<Option<Spec>>,
        stop: watch::Receiver<Stop>,
    ) -> Supervisor {
        let (peers, events) = (self.peers.clone(), self.events.0.clone());
        Supervisor { member, spec, wanted, peers, events, stop, begins: 0 }
    }

    fn names(&self) -> Vec<String> {
        self.roller.slots.iter().map(|slot| slot.name.clone()).collect()
    }

    /// Agents connect at once when a replica answers, so they start after the first.
    fn start_agents(&mut self) {
        for (member, spec) in std::mem::take(&mut self.agents) {
            let process = members::agent_running(&spec);
            let wanted = watch::Sender::new(Some(spec.clone()));
            let supervisor = self.supervisor(member, spec, wanted.subscribe(), self.stop_agents.subscribe());
            self.kept.push(wanted);
            self.agent_tasks.spawn(supervisor.run(process));
        }
    }

    /// Keeps all running until the user stops it, or until it turns out that they can't run.
    pub(crate) async fn run(
        mut self,
        home: Home,
        options: &Options,
        patience: Patience,
        say: &Say,
        signals: &mut Signals,
    ) -> Result<(), Error> {
        let kept = self.keep(&home, options, patience, say, signals).await;
        let how = if kept.is_ok() { Stop::Gracefully } else { Stop::AtOnce };
        self.stop(how, say, signals).await;
        let nothing_came = !self.ever_ready && (kept.is_err() || home.is_all(&self.names()));
        match (&kept, home.new && nothing_came) {
            (Ok(()), true) => say("stopped before any replica was ready: the new home is removed"),
            (Ok(()), false) => say("stopped; builds that were running go on at the next `majordomo up`"),
            (Err(_), _) => {}
        }
        if nothing_came {
            home.undo_first_start();
        }
        kept
    }

    async fn keep(
        &mut self,
        home: &Home,
        options: &Options,
        patience: Patience,
        say: &Say,
        signals: &mut Signals,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let mut progress = slow_interval(patience.progress);
        let mut roll = slow_interval(ROLL);
        loop {
            let event = tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Stop => return Ok(()),
                    Asked::Reload => {
                        self.reload(home, options, say);
                        continue;
                    }
                },
                _ = roll.tick() => {
                    self.roller.roll(say);
                    continue;
                }
                // a person takes the time that he takes
                _ = progress.tick(), if !self.announced && self.in_setup.is_none() => {
                    let why = self.waits_for(home);
                    let first = home.new && !self.ever_ready;
                    match why {
                        Some(why) if first && began.elapsed() >= patience.first_answer => return Err(Error::Replica(why)),
                        why => say(&tell::progress(&self.names(), &self.ready, began.elapsed(), why.as_deref())),
                    }
                    continue;
                }
                Some(event) = self.events.1.recv() => event,
            };
            self.note(&event, home)?;
            tell::show(&event, self.announced, say);
            if event.what == What::Setup {
                say(&tell::setup(home, &self.url, &event.name));
            }
            let count = self.roller.slots.len();
            if !self.announced && self.ready.len() == count {
                self.announced = true;
                let terminal = std::io::stdout().is_terminal();
                say(&tell::ready(home, &self.url, count, began.elapsed(), terminal));
                if let Err(error) = home.first_start_done() {
                    say(&format!("{error}; the next start is told as the first one"));
                }
            }
        }
    }

    /// Who is ready, and whether it makes sense to go on.
    fn note(&mut self, event: &Event, home: &Home) -> Result<(), Error> {
        if !self.roller.slots.iter().any(|slot| slot.name == event.name) {
            return Ok(());
        }
        self.roller.note(event);
        if event.what == What::Setup {
            self.in_setup = Some(event.name.clone());
        } else if self.in_setup.as_ref() == Some(&event.name) {
            self.in_setup = None;
        }
        match &event.what {
            What::Setup => self.ever_ready = true,
            What::Ready => {
                self.ready.insert(event.name.clone());
                self.ever_ready = true;
                self.start_agents();
            }
            What::Started { pid, .. } => {
                self.pids.insert(event.name.clone(), *pid);
            }
            What::Ended { exit, said, .. } => {
                self.ready.remove(&event.name);
                let hopeless = exit.code == Some(REFUSED) && !self.announced && self.ready.is_empty();
                if hopeless && !self.took_over && self.roller.last_resort(event.revision.as_ref()) {
                    let log = home.paths.log(&event.name);
                    let said = said.clone().unwrap_or_else(|| format!("see {}", log.display()));
                    return Err(Error::Replica(said));
                }
            }
            What::Unready | What::Replaced => {
                self.ready.remove(&event.name);
            }
            What::Drained | What::Hangs | What::CannotStart { .. } => {}
        }
        Ok(())
    }

    /// Takes over a changed file and a changed program, or goes back to the program before, and says what came of it.
    fn reload(&mut self, home: &Home, options: &Options, say: &Say) {
        let asks = home.paths.reload_back();
        let done = match std::fs::read_to_string(&asks) {
            Ok(level) => self.roller.back(level.parse().ok()),
            Err(_none) => self.reloaded(home, options, say),
        };
        let _none = std::fs::remove_file(asks);
        let (outcome, revision) = match &done {
            Ok(revision) => (format!("revision {revision} is wanted"), Some(revision.to_string())),
            Err(error) => (format!("nothing is changed: {error}"), None),
        };
        say(&format!("reload: {outcome}"));
        let record = ReloadRecord { outcome, revision };
        if let Err(error) = record.write(&home.paths.reload_record()) {
            say(&error.to_string());
        }
    }

    fn reloaded(&mut self, home: &Home, options: &Options, say: &Say) -> Result<Revision, Error> {
        let (plan, wanted) = plan(options, say)?;
        home.agrees(&wanted)?;
        let names = replica_names(&home.name, plan.replicas);
        if let Some(name) = names.iter().find(|name| self.roller.leaves(name)) {
            return Err(Error::Refused(format!(
                "{name} hands over what it does, as it was to go; reload again when it has ended"
            )));
        }
        let revision = self.roller.reload(&options.program)?;
        self.roller.set(plan.rollout);
        self.roller.cut(names.len());
        self.ready.retain(|name| names.contains(name));
        for name in names.iter().skip(self.roller.slots.len()) {
            self.add(home, name, None, None);
        }
        UpRecord { pid: std::process::id(), url: self.url.clone(), replicas: names }
            .write(&home.paths.up_record())?;
        Ok(revision)
    }

    /// What a replica that is not ready waits for, if it says so.
    fn waits_for(&self, home: &Home) -> Option<String> {
        let waiting = self.pids.iter().filter(|(name, _)| !self.ready.contains(*name));
        let mut said =
            waiting.filter_map(|(name, pid)| ReplicaWait::read(&home.paths.replica_wait(name), *pid));
        said.next().map(|wait| wait.why)
    }

    /// Replicas first, so that agents can tell them what they know to the last; a further signal ends it at once.
    async fn stop(&mut self, how: Stop, say: &Say, signals: &mut Signals) {
        if how == Stop::Gracefully {
            say("stopping: replicas hand over what they do (Ctrl-C again stops at once)");
        }
        self.stop_replicas.send_replace(how);
        let mut agents_asked = false;
        loop {
            if self.replica_tasks.is_empty() && !agents_asked {
                self.stop_agents.send_replace(how);
                agents_asked = true;
            }
            if self.replica_tasks.is_empty() && self.agent_tasks.is_empty() {
                return;
            }
            tokio::select! {
                Some(_) = self.replica_tasks.join_next() => {}
                Some(_) = self.agent_tasks.join_next(), if agents_asked => {}
                Some(_) = self.events.1.recv() => {}
                Asked::Stop = signals.next() => {
                    say("stopping at once");
                    self.stop_replicas.send_replace(Stop::AtOnce);
                    self.stop_agents.send_replace(Stop::AtOnce);
                    agents_asked = true;
                }
            }
        }
    }
}

fn slow_interval(between: Duration) -> Interval {
    let mut progress = interval(between);
    progress.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    progress.reset();
    progress
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{Taken, Wanted};

    #[test]
    fn whoever_waits_reads_for_whom_and_why() {
        let names = ["ci-0".to_owned(), "ci-1".to_owned()];
        let waited = Duration::from_secs(5);
        let nobody = BTreeSet::new();
        let plain = tell::progress(&names, &nobody, waited, None);
        assert_eq!(plain, "waiting for ci-0, ci-1 since 5 s; they start one after the other");
        let first = BTreeSet::from(["ci-0".to_owned()]);
        let why = tell::progress(&names, &first, waited, Some("no database server answers"));
        assert_eq!(why, "waiting for ci-1 since 5 s: no database server answers");
    }

    #[test]
    fn until_somebody_was_told_each_start_tells_as_the_first_one() {
        let folder = tempfile::tempdir().unwrap();
        let started = |example| {
            let wanted = Wanted { name: None, store: None, agents: 0, example };
            Taken::take(folder.path(), &wanted).unwrap().complete(&wanted).unwrap()
        };
        let told = |home: &Home| tell::ready(home, "http://h/", 1, Duration::from_secs(1), true);
        let home = started(true);
        if home.no_example.is_some() {
            return; // no git on this machine
        }
        let password = home.password().unwrap().expose().to_owned();
        let first = told(&home);
        assert!(first.contains(&password) && first.contains("http://h/job/example/build"), "{first}");
        let kept = tell::ready(&home, "http://h/", 1, Duration::from_secs(1), false);
        assert!(!kept.contains(&password) && kept.contains("admin-password"), "{kept}");
        drop(home); // killed before anybody was told
        let home = started(true);
        assert!(!home.new);
        assert_eq!(told(&home), first);
        home.first_start_done().unwrap();
        drop(home);
        let later = told(&started(true));
        assert!(!later.contains(&password) && !later.contains("job/example"), "{later}");
    }

    #[test]
    fn nothing_is_said_of_an_example_that_nobody_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = Wanted { name: None, store: None, agents: 0, example: false };
        let home = Taken::take(folder.path(), &wanted).unwrap().complete(&wanted).unwrap();
        let said = tell::ready(&home, "http://h/", 3, Duration::from_secs(1), true);
        assert!(said.contains("3 replicas ready") && !said.contains("job/example"), "{said}");
    }

    #[test]
    fn what_another_process_waited_for_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ci-0.wait.json");
        let wait = ReplicaWait { pid: 7, why: "no database server answers".to_owned() };
        assert_eq!(ReplicaWait::read(&path, 7), None);
        wait.write(&path).unwrap();
        assert_eq!(ReplicaWait::read(&path, 8), None);
        assert_eq!(ReplicaWait::read(&path, 7), Some(wait));
    }
}
