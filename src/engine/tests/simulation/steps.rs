//! Steps at a model agent: started once, followed with credit, ended, forgotten.

use bytes::Bytes;
use model::{BuildId, Fence};
use remoting::ops::{MAX_PIECE, Report, StartSpec, StepReport, StepState};

use crate::agent::{Follow, HostDo, Step, StepKey};
use crate::mutation::Mutation;
use crate::workload::Plan;
use crate::world::{Event, MS, World};

impl World {
    // -- steps -------------------------------------------------------------------------------

    pub(crate) fn start(&mut self, at: usize, key: StepKey, fence: Fence, spec: &StartSpec) {
        let twice = self.is(Mutation::StartedTwice);
        let plan = Plan::parse(&spec.script);
        let now = self.now;
        let agent = &mut self.agents[at];
        if agent.disk.forgotten.contains(&key.0) {
            let why =
                "the build had ended here before, and what its steps did is not known any more".to_owned();
            let report = StepReport { step: key.1, state: StepState::Lost { why }, end: 0 };
            return self.report(at, key.0, fence, Report::Step(report));
        }
        let fresh = Step { touched: now, capture: plan.capture, ..Step::default() };
        let step = agent.disk.steps.entry(key.clone()).or_insert(fresh);
        if (step.started.is_none() && !agent.launched.contains(&key)) || twice {
            agent.launched.insert(key.clone());
            let boot = agent.boot;
            let delay = self.delay(200, 20 * MS);
            self.after(delay, Event::Host { at, boot, what: HostDo::Wrapper { key: key.clone(), plan } });
        }
        self.report_step(at, &key, fence);
    }

    pub(crate) fn follow(&mut self, at: usize, key: StepKey, fence: Fence, from: u64, upto: u64) {
        let agent = &mut self.agents[at];
        if !agent.disk.steps.contains_key(&key) {
            let report = StepReport { step: key.1, state: StepState::Accepted, end: 0 };
            return self.report(at, key.0, fence, Report::Step(report));
        }
        let first = !agent.follows.contains_key(&key);
        let follow = agent.follows.entry(key.clone()).or_insert(Follow { fence, sent: from, upto });
        follow.upto = follow.upto.max(upto);
        if first {
            self.report_step(at, &key, fence);
        }
        self.pump(at, &key);
    }

    /// Sends what there is and may be sent.
    pub(crate) fn pump(&mut self, at: usize, key: &StepKey) {
        loop {
            let agent = &mut self.agents[at];
            let (Some(follow), Some(step)) = (agent.follows.get_mut(key), agent.disk.steps.get(key)) else {
                return;
            };
            let end = if step.capture { 0 } else { step.out.len() as u64 };
            let most = follow.upto.min(end).saturating_sub(follow.sent).min(MAX_PIECE as u64);
            if most == 0 {
                return;
            }
            let from = usize::try_from(follow.sent).unwrap_or(usize::MAX);
            let upto = usize::try_from(follow.sent + most).unwrap_or(usize::MAX);
            let bytes = Bytes::copy_from_slice(&step.out[from..upto]);
            let (offset, fence) = (follow.sent, follow.fence);
            follow.sent += most;
            self.report(at, key.0, fence, Report::Output { step: key.1.clone(), offset, bytes });
        }
    }

    pub(crate) fn kill_step(&mut self, at: usize, key: &StepKey, fence: Fence, grace_millis: u64) {
        let (boot, now) = (self.agents[at].boot, self.now);
        let agent = &mut self.agents[at];
        let step = agent.disk.steps.entry(key.clone()).or_insert(Step { touched: now, ..Step::default() });
        if step.started.is_none() {
            // Takes the right to start away.
            step.started = Some(boot);
            step.failed = Some("it was ended before it started".to_owned());
        }
        match agent.processes.get_mut(key) {
            Some(process) if process.ending => {}
            Some(process) => {
                process.ending = true;
                let delay = self.random.between(MS, (grace_millis * MS).max(2 * MS));
                self.after(
                    delay,
                    Event::Host { at, boot, what: HostDo::Exit { key: key.clone(), status: 143 } },
                );
            }
            None => self.report_step(at, key, fence),
        }
    }

    /// A step has ended; whoever holds the claim is told.
    pub(crate) fn step_ended(&mut self, at: usize, key: &StepKey) {
        if !self.agents[at].up {
            return;
        }
        if let Some(fence) = self.agents[at].fences.held(key.0) {
            self.report_step(at, key, fence);
            self.pump(at, key);
        }
        self.discard(at, key.0);
    }

    /// Takes a forgotten build away when nothing of it runs any more.
    pub(crate) fn discard(&mut self, at: usize, build: BuildId) {
        let tombstones = !self.is(Mutation::NoTombstones);
        let agent = &mut self.agents[at];
        let runs = |key: &StepKey, step: &Step| {
            agent.processes.contains_key(key) || (step.started.is_none() && agent.launched.contains(key))
        };
        let busy = agent.disk.steps.iter().any(|(key, step)| key.0 == build && runs(key, step));
        if !agent.ending.contains(&build) || busy || agent.claiming.contains_key(&build) {
            return;
        }
        agent.ending.remove(&build);
        agent.disk.steps.retain(|key, _| key.0 != build);
        agent.launched.retain(|key| key.0 != build);
        if tombstones {
            agent.disk.forgotten.insert(build);
        } else {
            agent.disk.fences.remove(&build);
            agent.fences.forget(build);
            self.forgotten(at, build);
        }
    }
}
