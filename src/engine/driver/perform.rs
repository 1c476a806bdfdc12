//! Acts: what is journaled when the machine wants one, and what is done about those in flight.

use std::time::Duration;

use pipeline::act::{
    Act, ActKind, Class, Data, Failure, FailureKind, Granted, Language, Outcome, Record, Returns, StepId,
};
use remoting::ops::{CREDIT, Command, MAX_SPOOL, StepReport, StepState};
use store::{Effect, Executor};

use super::log::{Output, announce};
use super::settle::too_large;
use crate::metrics::StepKind;

use super::{AGENT_LOST, Driver, MAX_LOG, Now, Opening, ROOM, at, wall};

/// Between TERM and KILL when a step is ended.
const GRACE_MILLIS: u64 = 5_000;

impl Driver {
    /// Turns a wish of the machine into the record that joins the next write.
    pub(super) fn take(&mut self, act: Act, now: Now) -> Record {
        let announced = announce(self.language, &act);
        if !announced.is_empty() {
            self.say(announced.as_bytes(), now);
            self.heard(&act.timers, now);
        }
        self.next.begun.extend(StepKind::of(&act.kind));
        let (step, digest, at) = (act.step.clone(), act.digest(), at(now));
        if act.class() == Class::Instant {
            self.instant(&act);
            return Record::Did { step, digest, at };
        }
        let deadline = match act.kind {
            ActKind::Sleep { millis } | ActKind::Timer { millis, .. } => Some(at.saturating_add(millis)),
            _ => None,
        };
        let given = self.facts.executor && step.0 == Executor::STEP;
        if let ActKind::Node { label, .. } = &act.kind
            && !given
        {
            let wait = Effect::WaitNode { step: step.to_string(), label: label.clone(), since: now.wall };
            self.next.effects.push(wait);
        }
        let agent = act
            .kind
            .place()
            .and_then(|place| self.instances.get(&place.node))
            .map(|(_, instance)| instance.clone());
        let committed = !self.facts.rules.intent_first;
        let opening = Opening {
            replayed: false,
            committed,
            since: now.wall,
            deadline: deadline.and_then(wall),
            instance: agent.clone(),
        };
        self.open(act, opening);
        Record::Intent { step, digest, at, deadline, agent }
    }

    /// What an act that is done by its commit changes in the store.
    fn instant(&mut self, act: &Act) {
        let effect = match &act.kind {
            ActKind::SetResult { result } => Effect::Result { result: *result },
            ActKind::SetDisplayName { name } => Effect::DisplayName { name: name.clone() },
            ActKind::SetDescription { text } => Effect::Description { text: text.clone() },
            ActKind::ReleaseNode { node } => Effect::ReleaseExecutor { step: node.to_string() },
            ActKind::CancelTimer { timer } => return self.cancel_timer(timer),
            _ => return,
        };
        self.next.effects.push(effect);
    }

    /// A timer that has fired meanwhile, and is not journaled yet, has not fired.
    pub(super) fn cancel_timer(&mut self, timer: &StepId) {
        self.steps.remove(timer);
        self.arrived.retain(|a| !matches!(&a.record, Record::Outcome { step, .. } if step == timer));
    }

    /// Does what can be done for every act in flight. Doing it twice is harmless.
    pub(super) fn perform(&mut self, now: Now) {
        for (step, reason) in self.machine.cancelled() {
            self.cancel(&step, &reason, now);
            if self.machine.given_up() {
                self.leave(&step, now);
            }
        }
        let steps: Vec<StepId> =
            self.steps.iter().filter(|(_, o)| o.committed && !o.settled).map(|(s, _)| s.clone()).collect();
        for step in steps {
            self.perform_one(&step, now);
        }
    }

    fn perform_one(&mut self, step: &StepId, now: Now) {
        let Some(open) = self.steps.get(step) else { return };
        match &open.act.kind {
            // Nobody knows when an owner before us heard something last.
            ActKind::Timer { activity: true, .. } if open.deadline.is_none() => {
                self.heard(std::slice::from_ref(step), now);
            }
            ActKind::Sleep { .. } | ActKind::Timer { .. } => {
                if open.deadline.is_none_or(|due| due <= now.wall) {
                    self.settle(step, Outcome::Done(Data::None), Vec::new(), now);
                }
            }
            ActKind::Node { .. } => {}
            ActKind::Trigger { jobs } => {
                let jobs = jobs.clone();
                self.find_jobs(step, jobs);
            }
            _ => self.on_agent(step, now),
        }
    }

    /// Something was said inside of these timers: those that wait for silence begin anew.
    pub(super) fn heard(&mut self, timers: &[StepId], now: Now) {
        for timer in timers {
            if let Some(open) = self.steps.get_mut(timer)
                && let ActKind::Timer { millis, activity: true } = open.act.kind
            {
                open.deadline = Some(now.wall.plus(Duration::from_millis(millis)));
            }
        }
    }

    /// A step has printed something, or what it has printed is stored now: an agent waits for that with the rest.
    pub(super) fn heard_step(&mut self, step: &StepId, now: Now) {
        let timers = self.steps.get(step).map(|open| open.act.timers.clone()).unwrap_or_default();
        self.heard(&timers, now);
    }

    fn on_agent(&mut self, step: &StepId, now: Now) {
        let Some(node) = self.node_of(step) else {
            let why = "the executor of this step is not known any more".to_owned();
            return self.fail(step, FailureKind::Lost, why, now);
        };
        self.attach(&node);
        let Some(session) = self.sessions.get(&node) else { return };
        if !self.unsure && session.down_for(now).is_some_and(|down| down >= AGENT_LOST) {
            let why = format!("Agent {node} was lost: no connection for {} s", AGENT_LOST.as_secs());
            return self.fail(step, FailureKind::Lost, why, now);
        }
        if !session.ready {
            if !self.unsure && self.claim_pending(&node, now) {
                let why = format!("Agent {node} was lost: it did not answer for {} s", AGENT_LOST.as_secs());
                self.fail(step, FailureKind::Lost, why, now);
            }
            return;
        }
        let Some(open) = self.steps.get(step) else { return };
        let elsewhere = open.instance.as_ref().is_some_and(|i| !i.is_empty() && *i != session.instance);
        if elsewhere && self.facts.rules.same_instance {
            let why = format!(
                "Agent {node} is another one now (its work folder is new), so how this step ended is not known"
            );
            return self.fail(step, FailureKind::Lost, why, now);
        }
        if session.asked.contains(step) {
            return;
        }
        self.ask(&node, step, now);
    }

    /// Tells the agent about an act, once for each link.
    fn ask(&mut self, node: &model::NodeName, step: &StepId, now: Now) {
        let Some(open) = self.steps.get(step) else { return };
        let cancelled = open.cancelled;
        match crate::checkout::process(&open.act, self.facts.scm.as_ref()) {
            Some(spec) => {
                let known = self.sessions.get(node).and_then(|s| s.known.get(step)).map(|r| r.state.clone());
                if cancelled && known.is_none() {
                    // The agent was claimed and has no folder of it: it never ran, and never will.
                    return self.settle(step, Outcome::Cancelled, Vec::new(), now);
                }
                // A folder alone says that it was asked for: the agent may have ended before it started anything.
                let begun = known.is_some_and(|state| state != StepState::Accepted);
                let rebooted = self.sessions.get(node).is_some_and(|s| s.rebooted);
                if !begun && rebooted && self.steps.get(step).is_some_and(|o| o.asked) {
                    let why = format!(
                        "the machine of agent {node} was restarted, and nothing is left of this step"
                    );
                    return self.fail(step, FailureKind::Lost, why, now);
                }
                if !begun && self.set_back {
                    let why = format!(
                        "the store was set back in time while this build ran, and agent {node} has not begun this \
                         step: whether it has run already can't be known, so it is lost"
                    );
                    return self.fail(step, FailureKind::Lost, why, now);
                }
                if let Some(open) = self.steps.get_mut(step) {
                    open.asked = true;
                }
                if !begun && !cancelled {
                    self.send(node, Command::Start { step: step.to_string(), spec: Box::new(spec) });
                }
                self.follow(node, step);
                if cancelled {
                    self.send(node, Command::Kill { step: step.to_string(), grace_millis: GRACE_MILLIS });
                }
            }
            None if !self.facts.rules.repeated && self.steps.get(step).is_some_and(|o| o.asked) => {}
            None if self.set_back => {
                let why = format!(
                    "the store was set back in time while this build ran: what its files on agent {node} hold now \
                     can't be known, so this step is lost"
                );
                return self.fail(step, FailureKind::Lost, why, now);
            }
            None => {
                if let Some(open) = self.steps.get_mut(step) {
                    open.asked = true;
                }
                self.begin_files(node, step);
            }
        }
        if let Some(session) = self.sessions.get_mut(node) {
            session.asked.insert(step.clone());
        }
    }

    /// Asks for the output from where it is committed. When that is said again on a link, the agent may be following
    /// already and send nothing twice: then what is here stays.
    pub(super) fn follow(&mut self, node: &model::NodeName, step: &StepId) {
        let first = self.sessions.get_mut(node).is_none_or(|s| s.followed.insert(step.clone()));
        let committed = self.facts.raw.get(&step.0).copied().unwrap_or(0);
        let output = self.outputs.entry(step.clone()).or_insert_with(|| Output::from(committed));
        match self.facts.rules.follow_committed {
            true if first => output.rewind(),
            true => {}
            false => output.skip(),
        }
        let credit = credit(self.builds, self.outputs.len());
        let Some(output) = self.outputs.get_mut(step) else { return };
        // The agent may have been given more, when fewer builds were driven here.
        output.upto = output.upto.max(output.committed + credit);
        let (from, upto) = (output.expected(), output.upto);
        self.send(node, Command::Follow { step: step.to_string(), from, upto });
    }

    /// Room for more output, as soon as a quarter of the credit is free.
    pub(super) fn raw_committed(&mut self, step: &StepId, raw: u64, now: Now) {
        let credit = credit(self.builds, self.outputs.len());
        // Over a new link the agent begins where `follow` says, which tells the room, too.
        let follows =
            |node: &model::NodeName| self.sessions.get(node).is_some_and(|s| s.followed.contains(step));
        let node = self.node_of(step).filter(follows);
        let Some(output) = self.outputs.get_mut(step) else { return };
        output.committed = output.committed.max(raw);
        self.facts.raw.insert(step.0.clone(), output.committed);
        let (upto, from) = (output.committed + credit, output.expected());
        if let Some(node) = node
            && upto >= output.upto + credit / 4
            && output.end.is_none_or(|end| from < end)
        {
            output.room(upto, now);
            self.send(&node, Command::Follow { step: step.to_string(), from, upto });
        }
    }

    fn cancel(&mut self, step: &StepId, reason: &str, now: Now) {
        let Some(open) = self.steps.get_mut(step) else { return };
        if open.settled || open.cancelled || !open.committed {
            return;
        }
        open.cancelled = true;
        let kind = open.act.kind.clone();
        match kind {
            ActKind::Sleep { .. } | ActKind::Timer { .. } => {
                self.settle(step, Outcome::Cancelled, Vec::new(), now)
            }
            ActKind::Node { .. } => {
                let step_text = step.to_string();
                let effects = vec![
                    Effect::CancelWait { step: step_text.clone() },
                    Effect::ReleaseExecutor { step: step_text },
                ];
                self.say_pipeline("// node", now);
                self.settle(step, Outcome::Cancelled, effects, now);
            }
            ActKind::Process(_) | ActKind::Checkout { .. } => {
                if !reason.is_empty() && self.language == Language::Pipeline {
                    self.say(format!("Sending interrupt signal to process: {reason}\n").as_bytes(), now);
                }
                if let Some(node) = self.node_of(step) {
                    self.send(&node, Command::Kill { step: step.to_string(), grace_millis: GRACE_MILLIS });
                }
            }
            _ => self.cancel_files(step, now),
        }
    }

    /// Aborted twice, a build waits for no agent any more: what still runs there is killed as soon as that can be told.
    fn leave(&mut self, step: &StepId, now: Now) {
        if !self.steps.get(step).is_some_and(|o| o.cancelled && !o.settled) {
            return;
        }
        if let Some(node) = self.node_of(step) {
            self.send(&node, Command::Kill { step: step.to_string(), grace_millis: 0 });
        }
        self.fail(step, FailureKind::Lost, String::new(), now);
    }

    /// An executor was granted; the row of the inbox goes with the record.
    pub(super) fn granted(&mut self, step: &str, granted: Granted, consume: Vec<Effect>, now: Now) {
        let step = StepId(step.to_owned());
        let wanted = self.steps.get(&step).is_some_and(|o| !o.settled && !o.cancelled);
        if !wanted {
            // Cancelled meanwhile: the executor is given back with the row.
            self.next.effects.extend(consume);
            self.next.effects.push(Effect::ReleaseExecutor { step: step.to_string() });
            return;
        }
        // A Freestyle job says itself where it runs.
        if self.language == Language::Pipeline {
            let text = format!("Running on {} in {}\n[Pipeline] {{\n", granted.node, granted.workspace);
            self.say(text.as_bytes(), now);
        }
        self.settle(&step, Outcome::Done(Data::Granted(granted)), consume, now);
    }

    /// What an agent says of a step.
    pub(super) fn step_report(&mut self, report: StepReport, now: Now) {
        let step = StepId(report.step);
        let Some(open) = self.steps.get(&step) else { return };
        if open.settled || crate::checkout::process(&open.act, self.facts.scm.as_ref()).is_none() {
            return;
        }
        match report.state {
            StepState::Accepted | StepState::Running => {}
            // An agent ends a step whose spool is over the limit, so a little more may be there.
            _ if report.end > 2 * MAX_SPOOL => {
                let why = format!("its agent says that it printed {} bytes, which can't be", report.end);
                return self.fail(&step, FailureKind::Lost, why, now);
            }
            StepState::Exited { status, stdout } => self.ended(&step, report.end, Ok((status, stdout))),
            StepState::Lost { why } | StepState::Failed { why } => self.ended(&step, report.end, Err(why)),
        }
        self.settle_complete(now);
    }

    fn ended(&mut self, step: &StepId, end: u64, how: Result<(i32, Option<String>), String>) {
        let committed = self.facts.raw.get(&step.0).copied().unwrap_or(0);
        let output = self.outputs.entry(step.clone()).or_insert_with(|| Output::from(committed));
        // The newest word counts: a machine that was restarted may have less than it had. An end before what is committed
        // is a lost disk, and what we have is what there was.
        output.end = Some(end);
        self.ends.insert(step.clone(), how);
    }

    /// Steps that have ended and whose output is all in the draft get their outcome.
    pub(super) fn settle_complete(&mut self, now: Now) {
        let complete: Vec<StepId> = self
            .ends
            .keys()
            .filter(|step| self.outputs.get(step).is_none_or(Output::complete))
            .cloned()
            .collect();
        for step in complete {
            let Some(how) = self.ends.remove(&step) else { continue };
            let cancelled = self.steps.get(&step).is_some_and(|o| o.cancelled);
            let outcome = match how {
                _ if cancelled => Outcome::Cancelled,
                Ok((status, stdout)) => match self.exited(&step, status, stdout) {
                    Outcome::Done(Data::Exit { status, stdout: Some(text) }) if too_large(&text) => {
                        self.store_text(&step, text, |hash, size| Data::ExitObject { status, hash, size });
                        continue;
                    }
                    outcome => outcome,
                },
                Err(message) => Outcome::Failed(Failure { kind: FailureKind::Lost, message }),
            };
            self.settle(&step, outcome, Vec::new(), now);
        }
    }

    fn exited(&mut self, step: &StepId, status: i32, stdout: Option<String>) -> Outcome {
        let Some(open) = self.steps.get(step) else { return Outcome::Cancelled };
        match &open.act.kind {
            ActKind::Checkout { .. } => {
                crate::checkout::outcome(status, stdout.as_deref().unwrap_or_default())
            }
            ActKind::Process(process) => {
                let stdout = stdout.filter(|_| process.returns == Returns::Stdout);
                Outcome::Done(Data::Exit { status, stdout })
            }
            _ => Outcome::Cancelled,
        }
    }

    pub(super) fn fail(&mut self, step: &StepId, kind: FailureKind, message: String, now: Now) {
        self.ends.remove(step);
        if let Some(output) = self.outputs.get_mut(step) {
            output.close();
        }
        let cancelled = self.steps.get(step).is_some_and(|o| o.cancelled);
        let outcome = if cancelled { Outcome::Cancelled } else { Outcome::Failed(Failure { kind, message }) };
        self.settle(step, outcome, Vec::new(), now);
    }

    /// The agent that an act in flight belongs to.
    pub(super) fn node_of(&self, step: &StepId) -> Option<model::NodeName> {
        let open = self.steps.get(step)?;
        let place = open.act.kind.place()?;
        self.instances.get(&place.node).map(|(name, _)| name.clone())
    }
}

/// How far each of so many steps of a build, of so many builds, may print ahead of what is committed. It is 1 MiB, as much as
/// one write takes, while a replica has little to do: half of it may be on the way to the disk, however slow that is, and the
/// other half come meanwhile.
fn credit(builds: usize, steps: usize) -> u64 {
    (ROOM / (builds * steps).max(1) as u64).clamp(CREDIT, MAX_LOG as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_steps_the_less_each_may_print_ahead_of_what_is_committed() {
        let kib = |builds, steps| credit(builds, steps) / 1024;
        assert_eq!([kib(1, 0), kib(1, 1), kib(2, 1), kib(1, 2)], [1024; 4]);
        assert_eq!([kib(4, 1), kib(1, 4), kib(2, 2)], [512; 3]);
        assert_eq!([kib(8, 1), kib(1, 9), kib(1000, 100)], [256; 3]);
    }
}
