//! The machine as the engine sees it: records in, acts out.
//!
//! Live and replay are the same code. Nothing but the order of the records decides what happens.

use std::sync::Arc;

use crate::act::{Act, ActKind, Began, BuildResult, Class, Data, Event, Outcome, Record, StepId};
pub use crate::journal::Divergence;
use crate::library::steps;
use crate::program::Program;
use crate::vm::{Fault, Open, State, Vm};

/// One build of a program. A clone goes its own way from here.
#[derive(Debug, Clone)]
pub struct Machine {
    vm: Vm,
}

/// Where a run has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The fuel is used up: call `run` again.
    More,
    /// Every branch waits for a record.
    Waiting,
    /// The program has ended and no act is open or wanted.
    Done(Ended),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub result: BuildResult,
    /// What killed it, as the log shows it; nothing for an abort, of which the log knows already.
    pub error: Option<String>,
}

/// Instructions that are run at once when a record comes before the machine rests.
const SLICE: u64 = 1_000_000;

impl Machine {
    pub fn new(program: Arc<Program>, began: &Began) -> Machine {
        Machine { vm: Vm::new(program, began) }
    }

    /// Runs so many instructions at most.
    pub fn run(&mut self, fuel: u64) -> Status {
        if !self.vm.run(fuel) {
            return Status::More;
        }
        match &self.vm.ended {
            Some(ended) if self.vm.wanted.is_empty() && self.vm.open.is_empty() => {
                Status::Done(self.ended(ended))
            }
            _ => Status::Waiting,
        }
    }

    /// Acts wanted that have no `Intent` or `Did` yet, in the order of the wish.
    pub fn wanted(&self) -> &[Act] {
        &self.vm.wanted
    }

    /// Acts with an `Intent` and no `Outcome`, in the order of their intents.
    pub fn open(&self) -> impl Iterator<Item = &Act> {
        self.vm.open.iter().map(|open| &open.act)
    }

    /// Open steps whose end the machine wants, with the reason for the log.
    pub fn cancelled(&self) -> Vec<(StepId, String)> {
        let open = self.vm.open.iter();
        open.filter_map(|open| Some((open.act.step.clone(), open.cancel.clone()?))).collect()
    }

    /// Aborted a second time: nobody waits for what was cancelled.
    pub fn given_up(&self) -> bool {
        self.vm.globals.aborts > 1
    }

    /// The result that the build would have if it ended now without an error; `None` as long as nothing set it.
    pub fn result_so_far(&self) -> Option<BuildResult> {
        self.vm.globals.result
    }

    /// Takes a committed record. A text that was too large for its record is put back before: `Data::Text` for
    /// `Data::Object`, `Data::Exit` for `Data::ExitObject`.
    pub fn feed(&mut self, record: &Record) -> Result<(), Divergence> {
        while !self.vm.run(SLICE) {}
        self.vm.refresh();
        match record {
            Record::Began(began) => self.begin(began),
            Record::Did { step, digest, at } => {
                self.vm.now = *at;
                let (act, branch) = self.take(step, digest, true)?;
                self.did(&act, branch);
                Ok(())
            }
            Record::Intent { step, digest, at, .. } => {
                self.vm.now = *at;
                let (act, branch) = self.take(step, digest, false)?;
                let timer = matches!(act.kind, ActKind::Timer { .. });
                self.vm.open.push(Open { act, branch, cancel: None });
                if timer {
                    self.resume(branch, Ok(crate::vm::value::Value::str(&step.0)));
                }
                Ok(())
            }
            Record::Outcome { step, outcome, at, .. } => {
                self.vm.now = *at;
                self.outcome(step, outcome)
            }
            Record::Event { event: Event::Abort { by }, at, .. } => {
                self.vm.now = *at;
                self.vm.abort(by);
                Ok(())
            }
        }
    }

    /// The first record only confirms what the machine was made with.
    fn begin(&self, began: &Began) -> Result<(), Divergence> {
        if *began == *self.vm.began {
            return Ok(());
        }
        Err(Divergence::new(&StepId("0".into()), "the build began with something else"))
    }

    /// Takes an act from the wishes.
    fn take(&mut self, step: &StepId, digest: &str, instant: bool) -> Result<(Act, u32), Divergence> {
        let Some(at) = self.vm.wanted.iter().position(|act| act.step == *step) else {
            return Err(Divergence::new(step, "the journal knows an act that the machine does not want"));
        };
        let act = &self.vm.wanted[at];
        if act.digest() != digest {
            let message =
                format!("the machine wants another act there, {} with digest {}", kind(act), act.digest());
            return Err(Divergence::new(step, message));
        }
        if (act.class() == Class::Instant) != instant {
            return Err(Divergence::new(step, format!("{} has a record of the wrong kind", kind(act))));
        }
        let branch = self.vm.wanted_by.remove(at);
        Ok((self.vm.wanted.remove(at), branch))
    }

    fn did(&mut self, act: &Act, branch: u32) {
        let value = match &act.kind {
            ActKind::BlockStart { .. } => crate::vm::value::Value::str(&act.step.0),
            ActKind::CancelTimer { timer } => {
                self.vm.open.retain(|open| open.act.step != *timer);
                self.vm.closed.insert(timer.clone());
                crate::vm::value::Value::Null
            }
            _ => crate::vm::value::Value::Null,
        };
        self.resume(branch, Ok(value));
    }

    fn outcome(&mut self, step: &StepId, outcome: &Outcome) -> Result<(), Divergence> {
        let Some(at) = self.vm.open.iter().position(|open| open.act.step == *step) else {
            if self.vm.closed.contains(step) {
                return Ok(());
            }
            return Err(Divergence::new(step, "there is an outcome of a step that is not open"));
        };
        if let Outcome::Done(Data::Object { .. } | Data::ExitObject { .. }) = outcome {
            return Err(Divergence::new(
                step,
                "its text is kept outside of the journal and was not put back",
            ));
        }
        let open = self.vm.open.remove(at);
        self.vm.closed.insert(step.clone());
        if let ActKind::Timer { .. } = open.act.kind {
            if *outcome != Outcome::Cancelled {
                self.vm.fire(step);
            }
            return Ok(());
        }
        let value = steps::finish(&mut self.vm, &open.act, outcome);
        let granted = matches!((&open.act.kind, &value), (ActKind::Node { .. }, Ok(_)));
        let interrupt =
            self.vm.branches.get_mut(&open.branch).and_then(|b| b.interrupt.take_if(|_| !granted));
        match interrupt {
            Some(interrupt) => {
                let fault = self.vm.interruption(&interrupt);
                self.resume(open.branch, Err(fault));
            }
            None => self.resume(open.branch, value),
        }
        Ok(())
    }

    fn resume(&mut self, branch: u32, value: Result<crate::vm::value::Value, Fault>) {
        let Some(waiting) = self.vm.branches.get_mut(&branch).filter(|b| matches!(b.state, State::Acting(_)))
        else {
            return;
        };
        match value {
            Ok(value) => waiting.stack.push(value),
            Err(fault) => waiting.pending = Some(fault),
        }
        self.vm.make_ready(branch);
    }

    fn ended(&self, ended: &Result<crate::vm::value::Value, crate::vm::value::Value>) -> Ended {
        let aborted = (self.vm.globals.aborts > 0).then_some(BuildResult::Aborted);
        let failed = self.vm.over.as_ref().or(ended.as_ref().err());
        let results = self.vm.globals.result.into_iter().chain(aborted);
        let result = results.chain(failed.map(|value| self.vm.thrown_result(value))).max();
        // Who aborted the build stands in the log where it happened.
        let shown = failed.filter(|value| !self.vm.is_abort(value));
        Ended {
            result: result.unwrap_or(BuildResult::Success),
            error: shown.map(|value| self.vm.last_words(value)),
        }
    }
}

fn kind(act: &Act) -> &'static str {
    match act.name() {
        "" => "an act of the machine itself",
        name => name,
    }
}
