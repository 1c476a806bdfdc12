//! Claiming and forgetting builds. A claim is answered when its fence is on disk and nothing of an older claim is still
//! at work on files.

use std::io;

use model::{BuildId, Fence};
use remoting::ops::{Report, StepReport, StepState};
use tracing::{error, info};

use super::{Build, Done, Service};
use crate::fences::{Entry, FenceFile};
use crate::step::{Phase, ROUND, end_left};

/// What the answer to a claim may take on the wire: well below the largest header.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// A report without its texts.
const BARE: usize = 100;

/// A claim that is not answered yet.
#[derive(Debug)]
pub(super) struct Claiming {
    fence: Fence,
    /// The fence is on disk.
    written: bool,
    /// A newer claim that came meanwhile.
    next: Option<Fence>,
    /// Whoever asked is still there.
    pub(super) answer: bool,
}

impl Build {
    /// The fence of a claim that is not answered yet.
    pub(super) fn claiming(&self) -> Option<Fence> {
        self.claiming.as_ref().map(|claiming| claiming.fence)
    }
}

impl Service {
    pub(super) fn claim(&mut self, id: BuildId, fence: Fence, newer: bool) {
        // It runs after all; what its steps have started is theirs.
        if let Some(sweep) = self.sweeps.remove(&id) {
            sweep.abort();
        }
        let build = self.builds.entry(id).or_default();
        build.spoken_of = true;
        if let Some(claiming) = &mut build.claiming {
            let held = claiming.fence;
            if fence == held {
                claiming.answer = true;
            } else if fence > held {
                claiming.next = claiming.next.max(Some(fence));
            } else {
                self.report(id, fence, Report::Refused { held });
            }
            return;
        }
        build.claiming = Some(Claiming { fence, written: !newer, next: None, answer: true });
        self.break_off(id, "the build was claimed anew");
        if newer {
            self.write_down(Entry::Claim(id, fence));
        }
        self.settle(id);
    }

    /// Goes to disk with what else waits for that.
    fn write_down(&mut self, line: Entry) {
        self.unwritten.push(line);
        self.write_fences();
    }

    fn write_fences(&mut self) {
        // While lines are being written, more may gather.
        let Some(mut file) = self.fence_file.take_if(|_| !self.unwritten.is_empty()) else { return };
        let lines = std::mem::take(&mut self.unwritten);
        self.tasks.spawn_blocking(move || {
            let result = file.write(&lines);
            Done::Fences(file, lines, result)
        });
    }

    pub(super) fn fences_written(
        &mut self,
        file: FenceFile,
        lines: Vec<Entry>,
        result: io::Result<Vec<BuildId>>,
    ) {
        match &result {
            // One that was claimed meanwhile waits for that to be written.
            Ok(dropped) => {
                let gone = dropped.iter().filter(|build| !self.builds.contains_key(*build));
                gone.for_each(|build| self.fences.forget(*build));
            }
            Err(e) => error!("write down the fences of {} builds: {e}", lines.len()),
        }
        for line in lines {
            if let Entry::Claim(build, _) = line {
                self.fence_written(build, result.is_ok(), file.rebooted(build));
            }
        }
        self.fence_file = Some(file);
        self.write_fences();
    }

    fn fence_written(&mut self, id: BuildId, written: bool, rebooted: bool) {
        let Some(build) = self.builds.get_mut(&id) else { return };
        let Some(claiming) = &mut build.claiming else { return };
        match written {
            true => {
                let held = claiming.fence;
                claiming.written = true;
                build.rebooted = rebooted;
                // It runs after all: a store that was set back in time had it ended.
                build.forgotten = false;
                if let Some(former) = self.fences.held(id).filter(|former| *former < held) {
                    self.report(id, former, Report::Refused { held });
                }
                self.fences.hold(id, held);
                // The former owner may have spoken while the fence was written.
                self.break_off(id, "the build was claimed by another owner");
                self.settle(id);
            }
            false => {
                let (fence, next) = (claiming.fence, claiming.next);
                build.claiming = None;
                let held = self.fences.held(id).unwrap_or_default();
                self.report(id, fence, Report::Refused { held });
                if let Some(next) = next {
                    self.claim(id, next, true);
                }
            }
        }
    }

    /// Goes on with what waits for a build's ops to end.
    pub(super) fn settle(&mut self, id: BuildId) {
        let Some(build) = self.builds.get_mut(&id) else { return };
        if !build.ops.is_empty() {
            return;
        }
        if let Some(claiming) = build.claiming.take_if(|claiming| claiming.written) {
            if claiming.answer {
                let rebooted = build.rebooted;
                let steps = self.step_reports(id);
                info!(build = id.0, fence = %claiming.fence, steps = steps.len(), "the build is claimed");
                self.report(id, claiming.fence, Report::Claimed { steps, rebooted });
            }
            if let Some(next) = claiming.next {
                self.claim(id, next, true);
            }
        }
        self.discard_forgotten(id);
    }

    /// All steps, as far as one frame holds them, running ones first. One that is left out is told when it is asked for.
    fn step_reports(&self, id: BuildId) -> Vec<StepReport> {
        let Some(build) = self.builds.get(&id) else { return Vec::new() };
        let (running, others): (Vec<_>, Vec<_>) = build.steps.iter().partition(|(_, step)| step.running());
        let mut left = MAX_ANSWER;
        let mut reports = Vec::with_capacity(build.steps.len());
        for (name, step) in running.into_iter().chain(others.into_iter().rev()) {
            let mut report = self.step_report(name, step);
            let text = match &mut report.state {
                StepState::Exited { stdout: Some(text), .. } | StepState::Lost { why: text } => Some(text),
                StepState::Failed { why } => Some(why),
                StepState::Accepted | StepState::Running | StepState::Exited { stdout: None, .. } => None,
            };
            // Escaped in JSON, a byte may take six.
            let mut cost = BARE + name.len() * 2 + text.map_or(0, |text| text.len() * 6);
            if cost > left / 4 {
                // Its end is told when it is followed.
                report.state = StepState::Running;
                cost = BARE + name.len() * 2;
            }
            let Some(rest) = left.checked_sub(cost) else { break };
            left = rest;
            reports.push(report);
        }
        reports.sort_by(|a, b| a.step.cmp(&b.step));
        reports
    }

    /// Ends follows and ops of a build.
    pub(super) fn break_off(&mut self, id: BuildId, why: &str) {
        let Some(build) = self.builds.get_mut(&id) else { return };
        for step in build.steps.values_mut() {
            step.follow = None;
            step.out = None;
            if let Some(notice) = step.notice.take() {
                self.notice.forget(notice);
            }
        }
        // One whose thread has ended only had content left to send: nothing more comes of it.
        build.ops.retain(|_, op| !op.end(why));
    }

    /// Ends what still runs of a build, and lets nothing start any more; its folder goes after that.
    pub(super) fn forget(&mut self, id: BuildId, fence: Fence) {
        self.break_off(id, "the build is forgotten");
        let steps = self.builds.get(&id).into_iter().flat_map(|build| &build.steps);
        let open = steps.filter(|(_, step)| !matches!(step.phase, Phase::Ended { .. }));
        for name in open.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.kill(id, fence, &name, 0);
        }
        if let Some(build) = self.builds.get_mut(&id) {
            build.forgotten = true;
        }
        self.discard_forgotten(id);
    }

    /// Ends what the steps of a forgotten build have left behind: at once if there seems to be something, else in the next
    /// round.
    fn sweep(&mut self, id: BuildId, left: bool) {
        let rounds = u32::try_from(self.began.elapsed().as_millis() / ROUND.as_millis()).unwrap_or(u32::MAX);
        let round = self.began + ROUND * rounds.saturating_add(1);
        let wait = !left && !self.leaving;
        let (cookies, census) = (self.cookie(&(id, "".into())), self.census());
        let sweep = self.tasks.spawn(async move {
            if wait {
                tokio::time::sleep_until(round).await;
            }
            end_left(cookies, census).await;
            Done::Swept(id)
        });
        self.sweeps.insert(id, sweep);
    }

    pub(super) fn swept(&mut self, id: BuildId) {
        if self.sweeps.remove(&id).is_some() {
            self.write_forgotten(id);
        }
    }

    fn write_forgotten(&mut self, id: BuildId) {
        self.write_down(Entry::Forget(id, self.fences.held(id).unwrap_or_default()));
    }

    /// Takes a forgotten build away, as soon as nothing of it is at work.
    pub(super) fn discard_forgotten(&mut self, id: BuildId) {
        let Some(build) = self.builds.get(&id) else { return };
        let busy =
            !build.ops.is_empty() || build.claiming.is_some() || build.steps.values().any(|s| s.running());
        if !build.forgotten || busy {
            return;
        }
        let ran = build.loaded || !build.steps.is_empty();
        let left = build.steps.values().any(|step| step.left);
        match self.home.discard(id) {
            Ok(trash) => {
                self.builds.remove(&id);
                match ran {
                    true => self.sweep(id, left),
                    false => self.write_forgotten(id),
                }
                if let Some(path) = trash {
                    self.delete(path);
                }
            }
            Err(e) => error!("take the folder of build {id} away: {e}"),
        }
    }
}
