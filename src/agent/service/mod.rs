//! The agent's one task: commands in, reports out, and what it knows of builds and steps in between.
//!
//! All state is here and changes here only. What takes time runs beside it (waiting for a process, ending a tree,
//! writing a fence, working on files) and comes back as a [`Done`]. It never waits for the link: frames are made one by
//! one when the link has room, reports before output, the output of steps in turn.

mod claim;
mod command;
mod files;
mod notice;
mod send;
mod spools;
mod steps;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use model::{BuildId, Fence};
use remoting::native::{AgentInfo, MAX_BUILDS};
use remoting::ops::{Fences, FromAgent, OpResult, Report};
use remoting::spools::SpoolsTold;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::error;

use crate::fences::{Entry, FenceFile};
use crate::home::Home;
use crate::link::{Dialer, Ends, Heard};
use crate::step::{Census, Step, StepKey, own_env};
use crate::{Config, Error};
use claim::Claiming;
use files::Op;
use notice::Notice;
use send::Line;
use spools::{Asking, Looks};

/// Reports that may wait before no more commands are taken.
const OUTBOX: usize = 256;
/// How often limits are looked at while a step runs.
const TICK: Duration = Duration::from_secs(1);
/// The same where the kernel does not say that files grow.
const BLIND_TICK: Duration = Duration::from_millis(100);

/// How often the controller hears which builds are kept here; also at the beginning of each link.
const TELL_BUILDS: Duration = Duration::from_secs(5 * 60);

/// Runs an agent until it is told to stop, or its link ended and it may not connect again. Steps go on without it.
pub async fn run(config: Config, stop: watch::Receiver<bool>) -> Result<(), Error> {
    let home = Home::open(&config.work_dir)?;
    let (info, told) = watch::channel(about(&home));
    let dialer = Dialer::new(config.clone(), told)?;
    let (to_service, links) = mpsc::channel(1);
    let mut service = Service::open(config, home, info)?;
    tokio::select! {
        () = dialer.run(to_service, stop) => {}
        () = service.run(links) => {}
    }
    Ok(())
}

fn about(home: &Home) -> AgentInfo {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    AgentInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: home.instance.clone(),
        pid: std::process::id(),
        hostname: hostname.trim().to_owned(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        unix: cfg!(unix),
        work_dir: home.work_dir().display().to_string(),
        env: own_env(),
        spools: true,
    }
}

/// The state of an agent.
pub(crate) struct Service {
    config: Config,
    home: Home,
    /// For the next link.
    info: watch::Sender<AgentInfo>,
    /// Another controller comes; what is kept of the former one goes.
    leaving: bool,
    /// Of the builds that are kept here, and of those that were forgotten lately.
    fences: Fences,
    /// Where they are kept; not here while it is being written.
    fence_file: Option<FenceFile>,
    /// For the next write.
    unwritten: Vec<Entry>,
    builds: HashMap<BuildId, Build>,
    /// What forgotten builds have left is being ended. Only then is it written down that they are forgotten: an agent that was
    /// killed meanwhile still has them, is told once more that they are over, and ends once more what is left.
    sweeps: HashMap<BuildId, AbortHandle>,
    link: Option<Ends>,
    /// Reports for the link.
    outbox: VecDeque<Out>,
    /// Who has, or may have, output or content for the link, in turn.
    ready: Line,
    notice: Notice,
    looks: Looks,
    tasks: JoinSet<Done>,
    /// While trees of steps are being ended.
    census: Weak<Census>,
    pipes: (mpsc::UnboundedSender<OpKey>, mpsc::UnboundedReceiver<OpKey>),
    /// Steps that run.
    running: usize,
    next_tick: Instant,
    /// Rounds of sweeps are counted from here.
    began: Instant,
    /// When the controller is told again what is kept.
    tell_builds: Instant,
}

/// Names an op of a build.
type OpKey = (BuildId, u64);

/// What is known of a build.
#[derive(Default)]
struct Build {
    steps: BTreeMap<Arc<str>, Step>,
    ops: BTreeMap<u64, Op>,
    claiming: Option<Claiming>,
    /// Somebody spoke of it on this link, so somebody there listens to what becomes of it.
    spoken_of: bool,
    /// The machine was restarted since the build was first claimed here.
    rebooted: bool,
    /// Its folder goes when nothing of it runs any more.
    forgotten: bool,
    /// Another life of this agent had it, and may have begun to forget it.
    loaded: bool,
}

/// A report on its way.
#[derive(Debug)]
enum Out {
    Report(FromAgent),
    /// The step's state when the link has room for it.
    Step(StepKey, Fence),
    /// What is kept here.
    Builds(Vec<(BuildId, Fence)>),
    Spools(u64, SpoolsTold),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Source {
    Step(StepKey),
    Op(OpKey),
}

/// What ran beside and has ended.
#[derive(Debug)]
enum Done {
    /// A step's wrapper ended, or may have; whether something of its group lives.
    Step(StepKey, bool),
    /// Nothing of a step's tree lives.
    Tree(StepKey),
    /// Fences were written, or not. → builds whose fence is not kept any more
    Fences(FenceFile, Vec<Entry>, io::Result<Vec<BuildId>>),
    /// Nothing that the build has left lives.
    Swept(BuildId),
    Op(OpKey, OpResult),
    /// Spools were looked at.
    Spools(Asking, SpoolsTold),
    Trash,
}

/// What there is to do next.
enum Turn {
    Link(Ends),
    Unlinked,
    Heard(Heard),
    Room(OwnedPermit<Bytes>),
    Done(Result<Done, JoinError>),
    Pipe(OpKey),
    Grown(Vec<StepKey>),
    Tick,
    TellBuilds,
}

impl Service {
    /// Takes up what is in the work folder.
    fn open(config: Config, home: Home, info: watch::Sender<AgentInfo>) -> Result<Service, Error> {
        let path = config.work_dir.clone();
        let failed = |source| Error::WorkDir { path: path.clone(), source };
        let file = home.fences().map_err(failed)?;
        let mut fences = Fences::default();
        file.forgotten().for_each(|(build, fence)| fences.hold(build, fence));
        file.held().for_each(|(build, fence, _)| fences.hold(build, fence));
        let held: Vec<(BuildId, bool)> = file.held().map(|(build, _, rebooted)| (build, rebooted)).collect();
        let mut service = Service {
            config,
            home,
            info,
            leaving: false,
            fences,
            fence_file: Some(file),
            unwritten: Vec::new(),
            builds: HashMap::new(),
            sweeps: HashMap::new(),
            link: None,
            outbox: VecDeque::new(),
            ready: Line::default(),
            notice: Notice::new(),
            looks: Looks::default(),
            tasks: JoinSet::new(),
            census: Weak::new(),
            pipes: mpsc::unbounded_channel(),
            running: 0,
            next_tick: Instant::now() + TICK,
            began: Instant::now(),
            tell_builds: Instant::now(),
        };
        for (build, rebooted) in held {
            service.builds.insert(build, Build { rebooted, loaded: true, ..Build::default() });
            service.load_steps(build);
        }
        // An agent that was killed had forgotten these.
        for build in service.home.builds().map_err(failed)? {
            if !service.builds.contains_key(&build) {
                service.home.discard(build).map_err(failed)?;
            }
        }
        for path in service.home.trash() {
            service.delete(path);
        }
        Ok(service)
    }

    async fn run(&mut self, mut links: mpsc::Receiver<Ends>) {
        loop {
            let turn = self.turn(&mut links).await;
            self.take(turn);
        }
    }

    /// Every branch is cancel-safe: channels, the end of a task, readiness of a descriptor, a timer.
    async fn turn(&mut self, links: &mut mpsc::Receiver<Ends>) -> Turn {
        let linked = self.link.is_some();
        let sending = !self.outbox.is_empty() || !self.ready.is_empty();
        let hearing = self.outbox.len() < OUTBOX;
        let frames = self.link.as_ref().filter(|_| sending).map(|link| link.frames.clone());
        let commands = self.link.as_mut().filter(|_| hearing).map(|link| &mut link.commands);
        tokio::select! {
            Some(ends) = links.recv() => Turn::Link(ends),
            command = hear(commands) => command.map_or(Turn::Unlinked, Turn::Heard),
            permit = room(frames) => permit.map_or(Turn::Unlinked, Turn::Room),
            Some(done) = self.tasks.join_next() => Turn::Done(done),
            Some(key) = self.pipes.1.recv() => Turn::Pipe(key),
            keys = self.notice.grown() => Turn::Grown(keys),
            () = sleep_until(self.next_tick), if self.running > 0 => Turn::Tick,
            () = sleep_until(self.tell_builds), if linked => Turn::TellBuilds,
        }
    }

    fn take(&mut self, turn: Turn) {
        match turn {
            Turn::Link(ends) => {
                self.unlink();
                if let Err(why) = self.enter(&ends.controller) {
                    error!("{why}");
                    return;
                }
                self.link = Some(ends);
                self.tell_builds();
            }
            Turn::Unlinked => self.unlink(),
            Turn::Heard(Heard::Command(command)) => self.command(command),
            Turn::Heard(Heard::Spools { ask, asked }) => self.spools_asked(ask, asked),
            Turn::Room(permit) => {
                if let Some(frame) = self.next_frame() {
                    permit.send(frame);
                }
            }
            Turn::Done(Ok(done)) => self.done(done),
            Turn::Done(Err(e)) if e.is_cancelled() => {}
            Turn::Done(Err(e)) => {
                error!("a task of the agent has failed: {e}");
                // It may have been a look.
                self.look_on();
            }
            Turn::Pipe(key) => self.pipe_moved(key),
            Turn::Grown(keys) => keys.into_iter().for_each(|key| self.make_ready(key)),
            Turn::Tick => self.tick(),
            Turn::TellBuilds => self.tell_builds(),
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Step(key, left) => self.step_ended(&key, left),
            Done::Tree(key) => self.tree_ended(&key),
            Done::Fences(file, lines, result) => self.fences_written(file, lines, result),
            Done::Swept(build) => self.swept(build),
            Done::Op(key, result) => self.op_ended(key, result),
            Done::Spools(asking, told) => self.spools_seen(&asking, told),
            Done::Trash => {}
        }
    }

    /// Takes the controller for the one whose builds are kept here. Another one has builds of the same numbers: what is kept
    /// of the former goes first, and while something of it runs, no other is served.
    fn enter(&mut self, controller: &str) -> Result<(), String> {
        let known = self.home.controller();
        if controller.is_empty() || known.as_deref() == Some(controller) {
            return Ok(());
        }
        let place = self.home.work_dir().display().to_string();
        let failed = |e| format!("write down whose builds are kept in {place}: {e}");
        if known.is_none() {
            // What is kept came over links whose replicas did not know it themselves yet.
            return self.home.set_controller(controller).map_err(failed);
        }
        // The former controller, if it comes back, must see that its steps are gone: before they go.
        let renewed = !self.leaving;
        if renewed {
            self.home.renew().map_err(failed)?;
            let instance = self.home.instance.clone();
            self.info.send_modify(|info| info.instance = instance);
            self.leaving = true;
        }
        let former: Vec<BuildId> = self.builds.keys().copied().collect();
        for build in former {
            self.forget(build, self.fences.held(build).unwrap_or_default());
        }
        let Some(file) =
            self.fence_file.as_mut().filter(|_| self.builds.is_empty() && self.sweeps.is_empty())
        else {
            return Err(format!(
                "steps of another controller are ending in {}: this one is served after that",
                self.home.work_dir().display()
            ));
        };
        file.clear().and_then(|()| self.home.set_controller(controller)).map_err(failed)?;
        self.fences = Fences::default();
        self.leaving = false;
        // This link was told what the folder was before.
        if renewed { Err(format!("{place} belongs to another controller from now on")) } else { Ok(()) }
    }

    /// Forgets all that belonged to the link. Whoever listens speaks up again on the next one.
    fn unlink(&mut self) {
        self.link = None;
        self.outbox.clear();
        self.looks.unlink();
        self.ready = Line::default();
        let builds: Vec<BuildId> = self.builds.keys().copied().collect();
        for id in builds {
            self.break_off(id, "the link is lost");
            let Some(build) = self.builds.get_mut(&id) else { continue };
            build.spoken_of = false;
            if let Some(claiming) = &mut build.claiming {
                claiming.answer = false;
            }
        }
    }

    fn report(&mut self, build: BuildId, fence: Fence, report: Report) {
        if self.link.is_some() {
            self.outbox.push_back(Out::Report(FromAgent { build, fence, report }));
        }
    }

    fn report_step(&mut self, key: StepKey, fence: Fence) {
        if self.link.is_some() {
            self.outbox.push_back(Out::Step(key, fence));
        }
    }

    /// A `Forget` is said once and may be lost with its link or its owner: whoever holds the link now looks which of these
    /// builds are over.
    fn tell_builds(&mut self) {
        self.tell_builds = Instant::now() + TELL_BUILDS;
        let kept = self.builds.iter().filter(|(_, build)| !build.forgotten);
        let kept: Vec<(BuildId, Fence)> =
            kept.filter_map(|(id, _)| Some((*id, self.fences.held(*id)?))).collect();
        self.outbox.extend(kept.chunks(MAX_BUILDS).map(|page| Out::Builds(page.to_vec())));
    }

    fn delete(&mut self, path: std::path::PathBuf) {
        self.tasks.spawn_blocking(move || {
            if let Err(e) = std::fs::remove_dir_all(&path) {
                error!("delete {}: {e}", path.display());
            }
            Done::Trash
        });
    }
}

impl Drop for Service {
    /// Threads that wait for content must not keep the process.
    fn drop(&mut self) {
        self.unlink();
    }
}

async fn hear(commands: Option<&mut mpsc::Receiver<Heard>>) -> Option<Heard> {
    match commands {
        Some(commands) => commands.recv().await,
        None => std::future::pending().await,
    }
}

async fn room(frames: Option<mpsc::Sender<Bytes>>) -> Option<OwnedPermit<Bytes>> {
    match frames {
        Some(frames) => frames.reserve_owned().await.ok(),
        None => std::future::pending().await,
    }
}
