//! Throwing and catching; how a branch ends, and what that means for the one that forked it.

use std::sync::Arc;

use super::Vm;
use super::branch::{Branch, Join, State};
use super::fault::{Fault, class};
use super::interrupt::{Interrupt, Why};
use super::ordered::OrderedMap;
use super::value::{Instance, Object, Thrown, Value};
use crate::act::{BuildResult, StepId};
use crate::ast::Pos;
use crate::library::classes;

impl Vm {
    /// Unwinds to the handler, or ends the branch.
    pub(crate) fn throw(&mut self, fault: Fault) {
        let value = self.throwable(fault);
        let fatal = self.is_fatal(&value);
        while let Some(frame) = self.cur.frames.last() {
            let program = self.program.clone();
            let code = &program.image.codes[frame.code as usize];
            let at = frame.pc.saturating_sub(1);
            let handler = code.handlers.iter().filter(|_| code.prelude || !fatal).find(|h| {
                let fits = h.types.is_empty() || h.types.iter().any(|t| self.catches(&value, t));
                h.start <= at && at < h.end && fits
            });
            if let Some(handler) = handler {
                let keep = frame.base + code.locals as usize;
                self.cur.stack.truncate(keep);
                self.cur.stack.push(value);
                if let Some(frame) = self.cur.frames.last_mut() {
                    frame.pc = handler.target;
                }
                return;
            }
            let base = frame.base;
            self.cur.stack.truncate(base);
            self.cur.frames.pop();
        }
        self.branch_ends(Err(value));
    }

    fn catches(&self, value: &Value, ty: &str) -> bool {
        self.instance_of(value, ty)
    }

    /// The exception as an object.
    pub(crate) fn throwable(&mut self, fault: Fault) -> Value {
        match fault {
            Fault::Thrown(value) => value,
            Fault::Raised(raise) => {
                let timer = match &raise.why {
                    Some(Why::Timeout(timer)) => Some(timer.clone()),
                    _ => None,
                };
                let thrown = Thrown {
                    message: Some(Arc::from(raise.message)),
                    cause: Value::Null,
                    pos: self.pos(),
                    fatal: raise.fatal,
                    result: raise.result,
                    timer,
                    expired: false,
                };
                let exception = self.exception(raise.class, thrown);
                if let Some(why) = &raise.why {
                    let causes = self.cause(why).into_iter().collect();
                    let causes = self.heap.list(causes);
                    self.put_field(&exception, "causes", causes);
                }
                exception
            }
        }
    }

    pub(crate) fn exception(&mut self, class: &str, thrown: Thrown) -> Value {
        let fields = OrderedMap::default();
        self.heap.add(Object::Instance(Instance {
            class: Arc::from(class),
            fields,
            thrown: Some(Box::new(thrown)),
        }))
    }

    /// `throw value`
    pub(crate) fn thrown_value(&mut self, value: Value) -> Fault {
        match self.thrown(&value) {
            Some(_) => Fault::Thrown(value),
            None if value.is_null() => Fault::new(class::NULL, "Cannot throw a null value"),
            None => {
                let what = self.type_name(&value);
                Fault::new(
                    class::CAST,
                    format!("Cannot cast object with class '{what}' to class 'java.lang.Throwable'"),
                )
            }
        }
    }

    pub(crate) fn thrown(&self, value: &Value) -> Option<&Thrown> {
        match self.heap.object(value)? {
            Object::Instance(instance) => instance.thrown.as_deref(),
            _ => None,
        }
    }

    pub(crate) fn empty_thrown(&self) -> Thrown {
        let pos = self.pos();
        Thrown {
            message: None,
            cause: Value::Null,
            pos,
            fatal: false,
            result: None,
            timer: None,
            expired: false,
        }
    }

    /// What a constructor of an exception is given: a message, a cause, or both.
    pub(crate) fn set_thrown(&mut self, object: &Value, args: &[Value]) {
        let mut message = None;
        let mut cause = Value::Null;
        for arg in args {
            if self.thrown(arg).is_some() {
                cause = arg.clone();
                if message.is_none() {
                    message = Some(Arc::from(self.text(arg)));
                }
            } else if !arg.is_null() && message.is_none() {
                message = Some(Arc::from(self.text(arg)));
            }
        }
        if let Some(Object::Instance(Instance { thrown: Some(thrown), .. })) = self.heap.object_mut(object) {
            thrown.message = message;
            thrown.cause = cause;
        }
    }

    /// The result that an exception gives the build.
    pub(crate) fn thrown_result(&self, value: &Value) -> BuildResult {
        self.thrown(value).and_then(|t| t.result).unwrap_or(BuildResult::Failure)
    }

    /// After the second abort, or when a limit was exceeded, no code of the script catches anything.
    pub(crate) fn is_fatal(&self, value: &Value) -> bool {
        self.globals.aborts > 1 || self.over.is_some() || self.thrown(value).is_some_and(|t| t.fatal)
    }

    pub(crate) fn is_interruption(&self, value: &Value) -> bool {
        self.instance_of(value, class::INTERRUPTED)
    }

    /// An interruption that is still one: not that of a `timeout` that it has left.
    pub(crate) fn is_actual_interruption(&self, value: &Value) -> bool {
        self.is_interruption(value) && self.thrown(value).is_some_and(|thrown| !thrown.expired)
    }

    /// What was thrown leaves the `timeout` with this timer.
    pub(crate) fn leaves_timeout(&mut self, value: &Value, timer: &StepId) {
        if let Some(Object::Instance(Instance { thrown: Some(thrown), .. })) = self.heap.object_mut(value)
            && thrown.timer.take_if(|own| own == timer).is_some()
        {
            thrown.expired = true;
        }
    }

    /// The text that the log shows for what ended the build.
    pub(crate) fn last_words(&self, value: &Value) -> String {
        let Some(thrown) = self.thrown(value) else { return self.text(value) };
        let message = thrown.message.as_deref();
        if self.is_interruption(value) {
            return message.unwrap_or("Interrupted").to_owned();
        }
        let class = match self.heap.object(value) {
            Some(Object::Instance(instance)) => &*instance.class,
            _ => "",
        };
        if class == class::ABORT {
            return format!("ERROR: {}", message.unwrap_or("null"));
        }
        let mut text = self.text(value);
        let Pos { line, column } = thrown.pos;
        if line > 0 {
            text.push_str(&format!(
                "\n\tat WorkflowScript.run(WorkflowScript:{line}) @ line {line}, column {column}."
            ));
        }
        text
    }

    // -- branches --------------------------------------------------------------------------------

    /// Starts one branch for each closure; the current one waits for them.
    pub(crate) fn fork(&mut self, bodies: Vec<(String, Value)>, fail_fast: bool) -> Result<(), Fault> {
        self.interruptible()?;
        let step = self.cur.take_step();
        let runner = self.program.image.library("$branch");
        let Some(runner) = runner else { return Ok(()) };
        if self.cur.prefix.len() > 120 {
            return Err(Fault::new(class::STATE, "parallel steps are nested too deeply"));
        }
        let mut join = Join {
            names: Vec::new(),
            children: Vec::new(),
            results: vec![None; bodies.len()],
            fail_fast,
            first: None,
            left: None,
        };
        let (parent, line_frames) = (self.cur.id, self.cur.context());
        for (at, (name, body)) in bodies.into_iter().enumerate() {
            let mut names = self.cur.names.to_vec();
            names.push(name.clone());
            let mut child = Branch {
                id: self.next_branch,
                prefix: format!("{step}.{at}/"),
                names: Arc::from(names),
                parent: Some((parent, at)),
                ..Branch::default()
            };
            self.next_branch += 1;
            let image = &self.program.image;
            child.enter_plain(
                image,
                runner,
                Value::Global(super::value::Global::Script),
                line_frames.clone(),
            );
            child.stack[0] = Value::str(&name);
            child.stack[1] = body;
            for slot in &image.codes[runner as usize].boxed {
                let slot = *slot as usize;
                child.stack[slot] = self.heap.add(Object::Cell(child.stack[slot].clone()));
            }
            join.names.push(name);
            join.children.push(child.id);
            self.queue.push_back(child.id);
            self.branches.insert(child.id, child);
        }
        self.cur.state = State::Joining(join);
        Ok(())
    }

    pub(crate) fn branch_ends(&mut self, result: Result<Value, Value>) {
        self.cur.state = State::Ended;
        let left = self.cur.interrupt.take();
        let Some((parent, at)) = self.cur.parent else {
            self.ended = Some(result);
            return;
        };
        let failed = result.is_err();
        let Some(Branch { state: State::Joining(join), .. }) = self.branches.get_mut(&parent) else { return };
        join.results[at] = Some(result);
        join.left = join.left.take().or(left);
        if failed && join.first.is_none() {
            join.first = Some(at);
            if join.fail_fast {
                let interrupt = Interrupt { why: Why::FailFast(join.names[at].clone()), fatal: false };
                let siblings = join.children.clone();
                let open = |results: &[Option<_>], at: usize| results.get(at).is_some_and(Option::is_none);
                let results = join.results.clone();
                for (at, sibling) in siblings.into_iter().enumerate() {
                    if open(&results, at) {
                        self.interrupt(sibling, &interrupt);
                    }
                }
            }
        }
        self.join(parent);
    }

    /// Lets the parent go on when its last child has ended.
    fn join(&mut self, parent: u32) {
        let Some(branch) = self.branches.get(&parent) else { return };
        let State::Joining(join) = branch.state.clone() else { return };
        if join.results.iter().any(Option::is_none) {
            return;
        }
        let result = self.joined(&join);
        let Some(branch) = self.branches.get_mut(&parent) else { return };
        match result {
            Ok(value) => {
                branch.stack.push(value);
                if let Some(left) = join.left.filter(|l| !matches!(l.why, Why::FailFast(_))) {
                    branch.interrupt.get_or_insert(left);
                }
            }
            Err(value) => branch.pending = Some(Fault::Thrown(value)),
        }
        self.make_ready(parent);
    }

    fn joined(&mut self, join: &Join) -> Result<Value, Value> {
        let failure = |at: usize| join.results[at].as_ref().and_then(|r| r.as_ref().err());
        if let Some(value) = join.first.filter(|_| join.fail_fast).and_then(failure) {
            return Err(value.clone());
        }
        let failures: Vec<&Value> = (0..join.results.len()).filter_map(failure).collect();
        let own = failures.iter().find(|v| !self.is_interruption(v));
        let worst = failures.iter().max_by_key(|v| (self.thrown_result(v), std::cmp::Reverse(0)));
        if let Some(value) = own.or(worst) {
            return Err((*value).clone());
        }
        let mut map = OrderedMap::default();
        for (name, result) in join.names.iter().zip(&join.results) {
            if let Some(Ok(value)) = result {
                map.put_str(name, value.clone());
            }
        }
        Ok(self.heap.add(Object::Map(map)))
    }

    pub(crate) fn instance_of(&self, value: &Value, ty: &str) -> bool {
        classes::is_instance(self, value, ty)
    }
}
