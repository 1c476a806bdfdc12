//! One process for as long as `up` runs: started, probed, killed when it hangs, started again, and stopped at the end.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, SystemClock};
use rollout::Revision;
use rustix::process::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::Error;
use crate::listener::LISTEN_FD;
use crate::peer::{Peers, Standing, probe, standing};
use crate::process::{Exit, Process, command, last_words, length};
use crate::store_url::{STORE_ENV, StoreUrl};
use crate::watch::{Act, Phase, Seen, TICK, step};

/// How long a replica may hand over what it has when it is stopped.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a process may take to end after SIGTERM. A replica that was at a longer drain has [`DRAIN`] from then on, tells the others
/// and leaves.
const END: Duration = Duration::from_secs(45);
/// Between two attempts to kill.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// Begins the names of all environment variables that are meant for our programs.
const OURS: &str = "MAJORDOMO_";
/// What an agent logs.
const LOG_ENVS: [&str; 2] = ["MAJORDOMO_LOG", "MAJORDOMO_LOG_FORMAT"];
/// Read by replicas: what shows a collector of traces who they are. A secret, as a rule.
const COLLECTOR_ENVS: [&str; 2] = ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"];
/// Read by replicas: everybody may see metrics.
const METRICS_OPEN_ENV: &str = "MAJORDOMO_METRICS_OPEN";

/// Read by replicas: a new controller shows the setup wizard.
const SETUP_WIZARD_ENV: &str = "MAJORDOMO_SETUP_WIZARD";

/// Whether this variable of `up` is not for agents.
fn replicas_only(name: &str) -> bool {
    name.starts_with(OURS) && !LOG_ENVS.contains(&name) || COLLECTOR_ENVS.contains(&name)
}

/// What is kept running.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) log: PathBuf,
}

/// What a member runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Another one of what is the same otherwise is another process.
    pub(crate) start: u64,
    /// Of a replica.
    pub(crate) revision: Option<Revision>,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
}

#[derive(Clone)]
pub(crate) enum Role {
    Replica {
        listener: Arc<TcpListener>,
        store: StoreUrl,
        /// Everybody may see metrics.
        metrics_open: bool,
        /// A person makes the first user.
        setup_wizard: bool,
    },
    Agent,
}

/// What happened, for whoever shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    /// Of the replica that it happened to.
    pub(crate) revision: Option<Revision>,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Started {
        pid: u32,
        found: bool,
    },
    Ready,
    /// It serves, and waits for a person to end the setup wizard.
    Setup,
    /// It was ready, and is not any more: somebody drains it. Or it was found, and is not ready yet.
    Unready,
    /// It has handed over all that it had.
    Drained,
    /// It has ended, for another revision to be started in its place.
    Replaced,
    /// It hangs and is killed.
    Hangs,
    Ended {
        exit: Exit,
        /// Last line of its log.
        said: Option<String>,
        /// Until it is started again.
        pause: Duration,
    },
    CannotStart {
        why: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    No,
    Gracefully,
    AtOnce,
}

/// State of the task of one member.
pub(crate) struct Supervisor {
    pub(crate) member: Member,
    /// What runs, or is to be started next.
    pub(crate) spec: Spec,
    /// What is to run; `None`: nothing any more.
    pub(crate) wanted: watch::Receiver<Option<Spec>>,
    pub(crate) peers: Peers,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) stop: watch::Receiver<Stop>,
    /// Where in the log the process began.
    pub(crate) begins: u64,
}

impl Supervisor {
    /// Runs until it is told to stop and the process has ended.
    pub(crate) async fn run(mut self, found: Option<Process>) {
        let clock = SystemClock::new();
        let mut phase = Phase::new(clock.elapsed());
        // of one that was found nothing is known
        let mut known = if found.is_some() { None } else { Some(Standing::Starting) };
        let mut process = found;
        let mut until = None;
        if let Some(found) = &process {
            phase = phase.started(clock.elapsed(), true);
            self.say(What::Started { pid: found.pid, found: true }).await;
        }
        loop {
            let pid = process.as_ref().map(|p| p.pid);
            let wait = until.map(|until: Duration| until.saturating_sub(clock.elapsed()));
            let seen = tokio::select! {
                biased;
                () = asked_to_stop(&mut self.stop) => break,
                spec = another(&mut self.wanted, &self.spec) => {
                    if let Some(process) = process.take() {
                        self.finish(process).await;
                    }
                    known = Some(Standing::Starting);
                    let Some(spec) = spec else { break };
                    if *self.stop.borrow() != Stop::No {
                        break;
                    }
                    self.spec = spec;
                    phase = Phase::new(clock.elapsed());
                    self.say(What::Replaced).await;
                    Seen::Gone
                }
                exit = ended(&mut process) => {
                    let (next, _) = step(phase, Seen::Gone, clock.elapsed());
                    self.ended(&exit, pid, next, clock.elapsed()).await;
                    (process, known) = (None, Some(Standing::Starting));
                    Seen::Gone
                }
                seen = look(&self.member, &self.peers, pid, wait.unwrap_or(TICK)) => seen,
            };
            if seen == Seen::Answered {
                let standing = self.standing(pid).await;
                // one that drains is not ready: more is to be known only of one that was found so
                let now = if standing == Standing::Draining { Standing::Starting } else { standing };
                if known != Some(now) {
                    let drained = known.is_none() && standing == Standing::Draining;
                    known = Some(now);
                    self.say(match standing {
                        Standing::Ready => What::Ready,
                        Standing::Setup => What::Setup,
                        Standing::Draining if drained => What::Drained,
                        Standing::Draining | Standing::Starting => What::Unready,
                    })
                    .await;
                }
            }
            let (next, act) = step(phase, seen, clock.elapsed());
            let hangs = act == Act::Kill && matches!(phase, Phase::Up { .. });
            (phase, until) = (next, None);
            match act {
                Act::Start => {
                    process = self.start().await;
                    phase = phase.started(clock.elapsed(), false);
                    if process.is_none() {
                        phase = step(phase, Seen::Gone, clock.elapsed()).0;
                    }
                }
                Act::Kill => {
                    if hangs {
                        self.say(What::Hangs).await;
                    }
                    process.iter().for_each(|p| p.signal(Signal::KILL));
                }
                Act::Wait(at) => until = at,
            }
        }
        if let Some(process) = process {
            self.finish(process).await;
        }
    }

    async fn say(&self, what: What) {
        // nobody listens any more: `up` is about to end
        let (name, revision) = (self.member.name.clone(), self.spec.revision.clone());
        let _ = self.events.send(Event { name, revision, what }).await;
    }

    async fn start(&mut self) -> Option<Process> {
        self.begins = length(&self.member.log);
        match self.spawn() {
            Ok(process) => {
                self.say(What::Started { pid: process.pid, found: false }).await;
                Some(process)
            }
            Err(error) => {
                self.say(What::CannotStart { why: error.to_string() }).await;
                None
            }
        }
    }

    fn spawn(&self) -> Result<Process, Error> {
        let member = &self.member;
        let Spec { program, arguments, .. } = &self.spec;
        let failed = || Error::io("start", program);
        let mut command = command(program, &member.log)?;
        command.args(arguments);
        match &member.role {
            Role::Replica { listener, store, metrics_open, setup_wizard } => {
                let socket = listener.try_clone().map_err(failed())?;
                command.stdin(Stdio::from(OwnedFd::from(socket)));
                command.env(LISTEN_FD, "0").env(STORE_ENV, store.expose());
                if *metrics_open {
                    command.env(METRICS_OPEN_ENV, "true");
                }
                if *setup_wizard {
                    command.env(SETUP_WIZARD_ENV, "true");
                }
            }
            Role::Agent => {
                // What is meant for `up` and its replicas is not the agent's, nor that of those whose steps it runs: among
                // it is where the database is.
                let own = std::env::vars_os().map(|(name, _)| name);
                for name in own.filter(|name| replicas_only(&name.to_string_lossy())) {
                    command.env_remove(name);
                }
            }
        }
        Process::spawn(&mut command).map_err(failed())
    }

    /// The others are told before anything else: they adopt its builds.
    async fn ended(&self, exit: &Exit, pid: Option<u32>, next: Phase, now: Duration) {
        if let Role::Replica { .. } = self.member.role
            && let Some(record) = pid.and_then(|pid| self.peers.record(&self.member.name, pid))
        {
            self.peers.lapsed(&self.member.name, record.incarnation).await;
        }
        let pause = match next {
            Phase::Down { at, .. } => at.saturating_sub(now),
            Phase::Up { .. } | Phase::Killed { .. } => Duration::ZERO,
        };
        self.say(What::Ended { exit: exit.clone(), said: last_words(&self.member.log, self.begins), pause })
            .await;
    }

    async fn standing(&self, pid: Option<u32>) -> Standing {
        match (&self.member.role, pid) {
            (Role::Agent, _) => Standing::Ready,
            (Role::Replica { .. }, None) => Standing::Starting,
            (Role::Replica { .. }, Some(pid)) => match self.peers.record(&self.member.name, pid) {
                Some(record) => standing(&record).await,
                None => Standing::Starting,
            },
        }
    }

    /// Drain, then SIGTERM, then SIGKILL; the latter at once when that is asked for.
    async fn finish(&mut self, mut process: Process) {
        let record = self.peers.record(&self.member.name, process.pid);
        let gracefully = async {
            if let (Role::Replica { .. }, Some(record)) = (&self.member.role, record) {
                tokio::select! {
                    _ = self.peers.drain(record, DRAIN) => {}
                    _ = process.wait() => {}
                }
            }
            process.signal(Signal::TERM);
            timeout(END, process.wait()).await.is_ok()
        };
        let ended = tokio::select! {
            ended = gracefully => ended,
            () = asked_to_stop_at_once(&mut self.stop) => false,
        };
        if !ended {
            loop {
                process.signal(Signal::KILL);
                if timeout(KILL_AGAIN, process.wait()).await.is_ok() {
                    break;
                }
            }
        }
    }
}

/// Ends a process that nobody wants any more.
pub(crate) async fn retire(name: &str, mut process: Process, peers: &Peers) {
    if let Some(record) = peers.record(name, process.pid) {
        peers.drain(record, DRAIN).await;
    }
    process.signal(Signal::TERM);
    if timeout(END, process.wait()).await.is_err() {
        process.signal(Signal::KILL);
        process.wait().await;
    }
}

async fn asked_to_stop(stop: &mut watch::Receiver<Stop>) {
    // a sender that is gone asks, too
    let _ = stop.wait_for(|stop| *stop != Stop::No).await;
}

async fn asked_to_stop_at_once(stop: &mut watch::Receiver<Stop>) {
    let _ = stop.wait_for(|stop| *stop == Stop::AtOnce).await;
}

/// What is wanted, once that is not what runs.
async fn another(wanted: &mut watch::Receiver<Option<Spec>>, runs: &Spec) -> Option<Spec> {
    let differs = |wanted: &Option<Spec>| wanted.as_ref() != Some(runs);
    if let Ok(wanted) = wanted.wait_for(differs).await.map(|wanted| wanted.clone()) {
        return wanted;
    }
    // nobody can want anything else any more
    std::future::pending().await
}

async fn ended(process: &mut Option<Process>) -> Exit {
    match process {
        Some(process) => process.wait().await,
        None => std::future::pending().await,
    }
}

/// Waits, then looks whether it answers: a replica at its own address, an agent by not being stopped.
async fn look(member: &Member, peers: &Peers, pid: Option<u32>, wait: Duration) -> Seen {
    sleep(wait).await;
    let Some(pid) = pid else { return Seen::Gone };
    let answers = match member.role {
        Role::Agent => !crate::process::is_frozen(pid),
        Role::Replica { .. } => match peers.record(&member.name, pid) {
            Some(record) => probe(&record, "/healthz").await,
            None => false,
        },
    };
    if answers { Seen::Answered } else { Seen::Silent }
}
