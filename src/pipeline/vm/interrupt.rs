//! How a branch is stopped from outside: abort, time-out, a sibling that failed.

use std::sync::Arc;

use super::branch::State;
use super::fault::{Fault, Raise, class};
use super::ordered::OrderedMap;
use super::value::{Instance, Object, Value};
use super::{Branch, CLOSING, Vm};
use crate::act::{BuildResult, Class, StepId};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Interrupt {
    pub(crate) why: Why,
    /// The second abort: only our own clean-up runs.
    pub(crate) fatal: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Why {
    Abort(String),
    Timeout(StepId),
    FailFast(String),
    /// A limit was exceeded, in whichever branch: what it has thrown, and in words.
    Limit(Value, String),
}

impl Interrupt {
    pub(crate) fn reason(&self) -> String {
        match &self.why {
            Why::Abort(by) => format!("Aborted by {by}"),
            Why::Timeout(_) => "Cancelling nested steps due to timeout".into(),
            Why::FailFast(name) => format!("Failed in branch {name}"),
            Why::Limit(_, message) => message.clone(),
        }
    }

    fn message(&self) -> String {
        match &self.why {
            Why::Timeout(_) => "Timeout has been exceeded".into(),
            _ => self.reason(),
        }
    }
}

impl Vm {
    pub(crate) fn interruption(&self, interrupt: &Interrupt) -> Fault {
        if let Why::Limit(thrown, _) = &interrupt.why {
            return Fault::Thrown(thrown.clone());
        }
        Fault::Raised(Box::new(Raise {
            class: class::INTERRUPTED,
            message: interrupt.message(),
            result: Some(BuildResult::Aborted),
            fatal: interrupt.fatal,
            why: Some(interrupt.why.clone()),
        }))
    }

    /// The cause of an interruption, as `e.causes` lists it.
    pub(super) fn cause(&mut self, why: &Why) -> Option<Value> {
        let (class, shown, more) = match why {
            Why::Abort(by) => (class::USER, format!("Aborted by {by}"), Some(("user", by))),
            Why::Timeout(_) => (class::TIMEOUT, "Timeout has been exceeded".to_owned(), None),
            Why::FailFast(name) => {
                (class::FAIL_FAST, format!("Failed in branch {name}"), Some(("branch", name)))
            }
            Why::Limit(..) => return None,
        };
        let mut fields = OrderedMap::default();
        fields.put_str("shortDescription", Value::from(shown));
        more.into_iter().for_each(|(name, value)| fields.put_str(name, Value::str(value)));
        Some(self.heap.add(Object::Instance(Instance { class: Arc::from(class), fields, thrown: None })))
    }

    /// Whether somebody's abort is what was thrown. The log has said so when it came.
    pub(crate) fn is_abort(&self, value: &Value) -> bool {
        let Some(Object::Instance(instance)) = self.heap.object(value) else { return false };
        let causes = instance.fields.get_str("causes").and_then(|causes| self.list_items(causes));
        instance.thrown.is_some()
            && causes.unwrap_or_default().iter().any(|cause| self.type_name(cause) == class::USER)
    }

    /// Abort: all branches.
    pub(crate) fn abort(&mut self, by: &str) {
        self.globals.aborts += 1;
        self.globals.aborted_by.get_or_insert_with(|| by.to_owned());
        let interrupt = Interrupt { why: Why::Abort(by.to_owned()), fatal: self.globals.aborts > 1 };
        for id in self.branches.keys().copied().collect::<Vec<_>>() {
            self.interrupt(id, &interrupt);
        }
    }

    /// A limit was exceeded: whatever runs or waits throws, and no code of the script catches it.
    pub(super) fn exceed(&mut self, class: &'static str, message: String) {
        self.limit = self.spent + CLOSING;
        let fault = Fault::new(class, message.clone());
        let thrown = self.throwable(fault);
        self.over = Some(thrown.clone());
        let interrupt = Interrupt { why: Why::Limit(thrown.clone(), message), fatal: true };
        for id in self.branches.keys().copied().collect::<Vec<_>>() {
            let Some(branch) = self.branches.get_mut(&id) else { continue };
            match &branch.state {
                State::Ready => branch.pending = Some(Fault::Thrown(thrown.clone())),
                State::Acting(step) => {
                    let step = step.clone();
                    branch.interrupt = Some(interrupt.clone());
                    self.interrupt_step(id, &step, &interrupt);
                }
                State::Joining(_) | State::Ended => {}
            }
        }
    }

    /// A timer fired: all branches inside its block.
    pub(crate) fn fire(&mut self, timer: &StepId) {
        self.globals.fired.insert(timer.clone());
        let inside = |b: &Branch| b.frames.last().is_some_and(|f| f.context.timers.contains(timer));
        let ids: Vec<u32> = self.branches.iter().filter(|(_, b)| inside(b)).map(|(id, _)| *id).collect();
        for id in ids {
            self.interrupt(id, &Interrupt { why: Why::Timeout(timer.clone()), fatal: false });
        }
    }

    /// A branch that waits for others is left alone; they are interrupted themselves.
    pub(crate) fn interrupt(&mut self, id: u32, interrupt: &Interrupt) {
        let Some(branch) = self.branch_mut(id) else { return };
        if branch.interrupt.is_some() && !interrupt.fatal {
            return;
        }
        match branch.state.clone() {
            State::Ended => {}
            State::Ready => branch.interrupt = Some(interrupt.clone()),
            State::Joining(join) => {
                for child in join.children {
                    self.interrupt(child, interrupt);
                }
            }
            State::Acting(step) => {
                branch.interrupt = Some(interrupt.clone());
                self.interrupt_step(id, &step, interrupt);
            }
        }
    }

    /// A wish that nobody knows of yet is dropped, unless it is as good as done; an open step is cancelled.
    fn interrupt_step(&mut self, id: u32, step: &StepId, interrupt: &Interrupt) {
        if let Some(at) = self.wanted.iter().position(|a| a.step == *step) {
            if self.wanted[at].class() == Class::Instant {
                return;
            }
            self.wanted.remove(at);
            self.wanted_by.remove(at);
            let fault = self.interruption(interrupt);
            if let Some(branch) = self.branches.get_mut(&id) {
                branch.interrupt = None;
                branch.pending = Some(fault);
            }
            self.make_ready(id);
        } else if let Some(open) = self.open.iter_mut().find(|o| o.act.step == *step) {
            open.cancel = Some(interrupt.reason());
        }
    }

    pub(crate) fn make_ready(&mut self, id: u32) {
        if let Some(branch) = self.branches.get_mut(&id) {
            branch.state = State::Ready;
            self.queue.push_back(id);
        }
    }
}
