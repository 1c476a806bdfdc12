//! Steps: started once, noticed when they end, ended with all they started, held to their limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{BuildId, Fence};
use remoting::ops::{Report, StartSpec, StepReport, StepState};
use tokio::process::Child;
use tokio::sync::watch;
use tracing::{error, info};

use super::{BLIND_TICK, Done, Service, TICK};
use crate::home::make_private_dir;
use crate::step::{
    Census, Launch, Look, MAX_STDOUT, Phase, Process, Step, StepFolder, StepKey, Tree, end_tree, ended, left,
    mark_term, program, spawn,
};

/// When to look again at a step whose wrapper is just starting.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Longest time that a step gets to end.
const MAX_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

impl Service {
    /// Takes up the steps that a build's folder knows. Read-only.
    pub(super) fn load_steps(&mut self, build: BuildId) {
        for (name, folder) in StepFolder::all(&self.home.build(build)) {
            let Look { state, process } = folder.look(&self.home.boot);
            let phase = match state {
                StepState::Accepted => Phase::Accepted,
                StepState::Running => Phase::Running,
                StepState::Exited { .. } | StepState::Lost { .. } | StepState::Failed { .. } => {
                    Phase::Ended { end: folder.spooled() }
                }
            };
            let name: Arc<str> = name.into();
            if phase == Phase::Running {
                self.running += 1;
                self.watch_other((build, name.clone()), process);
            }
            if let Some(build) = self.builds.get_mut(&build) {
                build.steps.insert(name, Step::new(folder, phase));
            }
        }
    }

    pub(super) fn step(&mut self, build: BuildId, name: &str) -> Option<(Arc<str>, &mut Step)> {
        let steps = &mut self.builds.get_mut(&build)?.steps;
        let (name, _) = steps.get_key_value(name)?;
        let name = name.clone();
        steps.get_mut(&name).map(|step| (name, step))
    }

    /// The step, with a folder. `Err` is a sentence.
    fn make_step(&mut self, build: BuildId, name: &str) -> Result<(StepKey, bool), String> {
        if let Some((name, _)) = self.step(build, name) {
            return Ok(((build, name), false));
        }
        let of_build = self.home.build(build);
        let folder = StepFolder::new(&of_build, name);
        let folder = folder.ok_or_else(|| format!("no folder can be named after the step “{name}”"))?;
        let made = make_private_dir(&of_build).and_then(|()| folder.make());
        let fresh = made.map_err(|e| format!("make {}: {e}", folder.path().display()))?;
        let name: Arc<str> = name.into();
        if let Some(build) = self.builds.get_mut(&build) {
            build.steps.insert(name.clone(), Step::new(folder, Phase::Accepted));
        }
        Ok(((build, name), fresh))
    }

    /// Starts a step, unless it was started before.
    pub(super) fn start(&mut self, build: BuildId, fence: Fence, name: &str, spec: &StartSpec) {
        let (key, fresh) = match self.make_step(build, name) {
            Ok(made) => made,
            Err(why) => return self.report_failed(build, fence, name, why),
        };
        let folder = match self.step(build, name) {
            Some((_, step)) if step.phase == Phase::Accepted => step.folder.clone(),
            Some(_) | None => return self.report_step(key, fence),
        };
        match self.launch(&key, &folder, spec, fresh) {
            Ok(child) => {
                self.set_phase(&key, Phase::Running);
                self.watch_own(key.clone(), child);
            }
            Err(why) => self.never_start(&key, &folder, &why),
        }
        self.report_step(key, fence);
    }

    fn launch(
        &self,
        key: &StepKey,
        folder: &StepFolder,
        spec: &StartSpec,
        fresh: bool,
    ) -> Result<Child, String> {
        let program = program(spec, &folder.script(), std::env::var("PATH").ok().as_deref())?;
        if !spec.dir.starts_with('/') {
            return Err(format!("the folder “{}” is not an absolute path", spec.dir));
        }
        folder.write_script(&spec.script, fresh).map_err(|e| format!("write the script of the step: {e}"))?;
        let cookie = self.cookie(key);
        let launch = Launch { folder, spec, program, boot: &self.home.boot, cookie: &cookie };
        spawn(&launch).map_err(|e| format!("start the step in {}: {e}", spec.dir))
    }

    /// With the work folder: other agents on this machine have builds of the same number.
    pub(super) fn cookie(&self, (build, name): &StepKey) -> String {
        format!("{}/{build}/{name}", self.home.place)
    }

    fn report_failed(&mut self, build: BuildId, fence: Fence, name: &str, why: String) {
        let report = StepReport { step: name.to_owned(), state: StepState::Failed { why }, end: 0 };
        self.report(build, fence, Report::Step(report));
    }

    /// Takes the right to start away. If a wrapper was faster, the step runs, and that is that.
    fn never_start(&mut self, key: &StepKey, folder: &StepFolder, why: &str) {
        match folder.take_start() {
            Ok(true) => {
                self.fail(key, why);
                self.conclude(key);
            }
            Ok(false) => self.conclude(key),
            Err(e) => {
                error!("mark step {} of build {} as failed: {e}", key.1, key.0);
                self.fail(key, why);
                self.set_phase(key, Phase::Ended { end: 0 });
            }
        }
    }

    /// Remembers why a step has no exit status; on disk if there is room.
    fn fail(&mut self, key: &StepKey, why: &str) {
        let Some((_, step)) = self.step(key.0, &key.1) else { return };
        let why = step.failed.get_or_insert_with(|| why.to_owned()).clone();
        if let Err(e) = step.folder.mark_failed(&why) {
            error!("write down why step {} of build {} failed: {e}", key.1, key.0);
        }
    }

    fn set_phase(&mut self, key: &StepKey, phase: Phase) {
        let Some((_, step)) = self.step(key.0, &key.1) else { return };
        let before = std::mem::replace(&mut step.phase, phase);
        self.running += usize::from(phase == Phase::Running);
        self.running -= usize::from(before == Phase::Running);
    }

    fn watch_own(&mut self, key: StepKey, mut child: Child) {
        self.tasks.spawn(async move {
            // How it ended is in its folder; the wrapper's own status says nothing.
            let wrapper = child.id();
            let _status = child.wait().await;
            Done::Step(key, left(wrapper))
        });
    }

    /// Watches a wrapper that another life of this agent started.
    fn watch_other(&mut self, key: StepKey, process: Option<Process>) {
        self.tasks.spawn(async move {
            match process {
                Some(process) => ended(process).await,
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
            Done::Step(key, left(process.and_then(|process| u32::try_from(process.pid).ok())))
        });
    }

    pub(super) fn step_ended(&mut self, key: &StepKey, left: bool) {
        reap_orphans();
        if let Some((_, step)) = self.step(key.0, &key.1) {
            step.left |= left;
        }
        // While it is being ended, what it started may live on: `tree_ended` concludes. And an end is found out once.
        if self.step(key.0, &key.1).is_some_and(|(_, step)| step.killing.is_none() && step.running()) {
            self.conclude(key);
        }
    }

    pub(super) fn tree_ended(&mut self, key: &StepKey) {
        reap_orphans();
        let Some((_, step)) = self.step(key.0, &key.1) else { return };
        step.killing = None;
        if step.running() {
            self.conclude(key);
        }
    }

    /// Finds out what became of a step whose wrapper is gone, and tells.
    fn conclude(&mut self, key: &StepKey) {
        let boot = self.home.boot.clone();
        let Some((_, step)) = self.step(key.0, &key.1) else { return };
        let folder = step.folder.clone();
        let mut look = folder.look(&boot);
        if look.state == StepState::Accepted {
            // The wrapper ended before it had the right to start; now nobody gets it.
            match folder.take_start() {
                Ok(true) if step.killed => {}
                Ok(true) => self.fail(key, "the wrapper of the step ended before it started anything"),
                Ok(false) => {}
                Err(e) => self.fail(key, &format!("mark the step as started: {e}")),
            }
            look = folder.look(&boot);
        }
        let failed = self.step(key.0, &key.1).is_some_and(|(_, step)| step.failed.is_some());
        match look.state {
            StepState::Running if !failed || look.process.is_some() => {
                self.set_phase(key, Phase::Running);
                return self.watch_other(key.clone(), look.process);
            }
            StepState::Lost { .. } if self.disk_full().is_some() => {
                let why = self.disk_full().unwrap_or_default();
                self.fail(key, &why);
            }
            StepState::Exited { stdout: Some(_), .. } => {
                if folder.captured().is_some_and(|size| size > MAX_STDOUT) {
                    self.fail(key, &too_much_captured());
                }
            }
            StepState::Exited { stdout: None, .. } | StepState::Lost { .. } | StepState::Failed { .. } => {
                if let Some((_, step)) = self.step(key.0, &key.1) {
                    step.known = Some(look.state);
                }
            }
            // Only after a full disk, and then `failed` says why.
            StepState::Accepted | StepState::Running => {}
        }
        self.close(key, &folder);
    }

    fn close(&mut self, key: &StepKey, folder: &StepFolder) {
        self.set_phase(key, Phase::Ended { end: folder.spooled() });
        let Some((_, step)) = self.step(key.0, &key.1) else { return };
        if let Some(notice) = step.notice.take() {
            self.notice.forget(notice);
        }
        if self.builds.get(&key.0).is_some_and(|build| build.spoken_of) {
            let fence = self.fences.held(key.0).unwrap_or_default();
            self.report_step(key.clone(), fence);
            self.make_ready(key.clone());
        }
        self.discard_forgotten(key.0);
    }

    /// Ends a step; one that has not begun never will.
    pub(super) fn kill(&mut self, build: BuildId, fence: Fence, name: &str, grace_millis: u64) {
        let key = match self.make_step(build, name) {
            Ok((key, _)) => key,
            Err(why) => return self.report_failed(build, fence, name, why),
        };
        let Some((_, step)) = self.step(build, name) else { return };
        let (phase, folder) = (step.phase, step.folder.clone());
        if phase == Phase::Accepted {
            self.never_start(&key, &folder, "it was ended before it started");
        }
        match self.step(build, name).map(|(_, step)| step.phase) {
            Some(Phase::Running) => self.end(&key, Duration::from_millis(grace_millis).min(MAX_GRACE)),
            // Told by `conclude` when that was just found out.
            Some(Phase::Ended { .. }) if phase == Phase::Accepted => {}
            Some(Phase::Accepted | Phase::Ended { .. }) | None => self.report_step(key, fence),
        }
    }

    /// Ends the tree of a running step within `grace`.
    fn end(&mut self, key: &StepKey, grace: Duration) {
        let (boot, cookie) = (self.home.boot.clone(), self.cookie(key));
        let Some((_, step)) = self.step(key.0, &key.1) else { return };
        let deadline = Instant::now() + grace;
        if let Some(killing) = &step.killing {
            killing.send_modify(|at| *at = deadline.min(*at));
            return;
        }
        info!(build = key.0.0, step = %key.1, "end the step");
        step.killed = true;
        mark_term(&step.folder);
        let (killing, at) = watch::channel(deadline);
        step.killing = Some(killing);
        let tree = Tree { folder: step.folder.clone(), cookie, wrapper: step.folder.look(&boot).process };
        let key = key.clone();
        let census = self.census();
        self.tasks.spawn(async move {
            end_tree(tree, census, at).await;
            Done::Tree(key)
        });
    }

    pub(super) fn census(&mut self) -> Arc<Census> {
        let census = self.census.upgrade().unwrap_or_default();
        self.census = Arc::downgrade(&census);
        census
    }

    /// The sentence for a full disk, when it is.
    fn disk_full(&self) -> Option<String> {
        let full = self.home.free().is_some_and(|free| free < self.config.min_free);
        full.then(|| format!("no space is left on the device of {}", self.home.work_dir().display()))
    }

    /// Looks at the limits of all that runs, and at spools that nobody tells us about.
    pub(super) fn tick(&mut self) {
        let blind = self.notice.blind;
        self.next_tick = tokio::time::Instant::now() + if blind { BLIND_TICK } else { TICK };
        reap_orphans();
        let full = self.disk_full();
        let mut over = Vec::new();
        let mut followed = Vec::new();
        for (build, name, step) in
            self.builds.iter().flat_map(|(id, b)| b.steps.iter().map(|(n, s)| (*id, n, s)))
        {
            if !step.running() {
                continue;
            }
            let key = || (build, name.clone());
            if step.follow.is_some() {
                followed.push(key());
            }
            if step.failed.is_some() {
                continue;
            }
            if let Some(full) = &full {
                over.push((key(), full.clone()));
            } else if step.folder.spooled() > self.config.max_spool {
                let why =
                    format!("the output of the step is over the limit of {} bytes", self.config.max_spool);
                over.push((key(), why));
            } else if step.folder.captured().is_some_and(|size| size > MAX_STDOUT) {
                over.push((key(), too_much_captured()));
            }
        }
        for (key, why) in over {
            info!(build = key.0.0, step = %key.1, "{why}");
            self.fail(&key, &why);
            self.end(&key, Duration::ZERO);
        }
        followed.into_iter().for_each(|key| self.make_ready(key));
    }
}

fn too_much_captured() -> String {
    format!("the standard output of the step is its result and over the limit of {MAX_STDOUT} bytes")
}

/// As the first process of a container, the agent inherits what steps leave behind.
fn reap_orphans() {
    if std::process::id() == 1 {
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
    }
}
