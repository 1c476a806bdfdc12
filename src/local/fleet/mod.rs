//! All processes of the controller on this machine, from the first start to the last end.

mod members;
mod tell;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::controller::LocalPlan;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, interval};

use crate::Error;
use crate::found::{Found, replica_names};
use crate::home::Home;
use crate::peer::Peers;
use crate::supervise::{Event, Member, Role, Stop, Supervisor, What, retire};
use crate::up::{Options, Say, Signals, Urls};

/// Between two lines that say what is waited for.
const PROGRESS: Duration = Duration::from_secs(5);
/// A replica that ends with this status says in its last line why it can't start; trying again is no use.
const REFUSED: i32 = 2;

/// The tasks that keep the processes running.
pub(crate) struct Fleet {
    url: String,
    peers: Peers,
    names: Vec<String>,
    agents: Vec<Member>,
    /// Whether any replica was found running.
    took_over: bool,
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
    ) -> Fleet {
        let names = replica_names(&home.name, plan.replicas);
        let mut fleet = Fleet {
            peers: Peers::new(home.paths.clone(), names.clone(), home.keys.clone()),
            names,
            agents: (1..=options.agents)
                .map(|n| members::agent(&options.program, &home.paths, &urls.here, n))
                .collect(),
            url: urls.here,
            took_over: false,
            replica_tasks: JoinSet::new(),
            agent_tasks: JoinSet::new(),
            stop_replicas: watch::Sender::new(Stop::No),
            stop_agents: watch::Sender::new(Stop::No),
            events: mpsc::channel(64),
        };
        let role = Role::Replica { listener: Arc::new(listener), store: home.store.clone() };
        for (ordinal, name) in fleet.names.iter().enumerate() {
            let arguments = members::replica_arguments(&home.paths, name, ordinal, urls.public.as_deref());
            let log = home.paths.log(name);
            let program = options.program.clone();
            let member = Member { name: name.clone(), role: role.clone(), program, arguments, log };
            let process = found.adopt(name);
            fleet.took_over |= process.is_some();
            let supervisor = fleet.supervisor(member, fleet.stop_replicas.subscribe());
            fleet.replica_tasks.spawn(supervisor.run(process));
        }
        for (name, running) in found.unwanted {
            let peers = fleet.peers.clone();
            if let Some(process) = running.adopt() {
                fleet.replica_tasks.spawn(async move { retire(&name, process, &peers).await });
            }
        }
        fleet
    }

    fn supervisor(&self, member: Member, stop: watch::Receiver<Stop>) -> Supervisor {
        Supervisor { member, peers: self.peers.clone(), events: self.events.0.clone(), stop }
    }

    /// Agents connect at once when a replica answers, so they start after the first.
    fn start_agents(&mut self) {
        for member in std::mem::take(&mut self.agents) {
            let process = members::agent_running(&member);
            let supervisor = self.supervisor(member, self.stop_agents.subscribe());
            self.agent_tasks.spawn(supervisor.run(process));
        }
    }

    pub(crate) async fn run(mut self, home: &Home, say: &Say, signals: &mut Signals) -> Result<(), Error> {
        let began = Instant::now();
        let mut progress = slow_interval();
        let mut ready = BTreeSet::new();
        let mut announced = false;
        loop {
            let event = tokio::select! {
                () = signals.next() => break,
                _ = progress.tick(), if !announced => {
                    tell::progress(&self.names, &ready, began, say);
                    continue;
                }
                Some(event) = self.events.1.recv() => event,
            };
            let replica = self.names.contains(&event.name);
            match &event.what {
                What::Ready if replica => {
                    ready.insert(event.name.clone());
                    self.start_agents();
                }
                What::Ended { exit, said, .. } if replica => {
                    ready.remove(&event.name);
                    let hopeless = exit.code == Some(REFUSED) && !announced && ready.is_empty();
                    if hopeless && !self.took_over {
                        let log = home.paths.log(&event.name);
                        let said = said.clone().unwrap_or_else(|| format!("see {}", log.display()));
                        self.stop(Stop::AtOnce, say, signals).await;
                        return Err(Error::Replica(said));
                    }
                }
                What::Ready
                | What::Started { .. }
                | What::Hangs
                | What::Ended { .. }
                | What::CannotStart { .. } => {}
            }
            tell::show(&event, announced, say);
            if !announced && ready.len() == self.names.len() {
                announced = true;
                home.first_start_done()?;
                tell::ready(home, &self.url, self.names.len(), began, say);
            }
        }
        self.stop(Stop::Gracefully, say, signals).await;
        say("stopped; builds that were running go on at the next `majordomo up`");
        Ok(())
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
                () = signals.next() => {
                    say("stopping at once");
                    self.stop_replicas.send_replace(Stop::AtOnce);
                    self.stop_agents.send_replace(Stop::AtOnce);
                    agents_asked = true;
                }
            }
        }
    }
}

fn slow_interval() -> Interval {
    let mut progress = interval(PROGRESS);
    progress.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    progress.reset();
    progress
}
