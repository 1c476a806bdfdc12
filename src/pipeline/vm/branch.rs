//! A branch: its stack, its frames, and what it waits for.

use std::sync::Arc;

use super::context::Context;
use super::fault::Fault;
use super::interrupt::Interrupt;
use super::value::{Ref, Value};
use crate::act::StepId;
use crate::ast::BinaryOp;
use crate::compile::code::Image;

/// One line of execution: the main one, or one of a `parallel`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Branch {
    pub(crate) id: u32,
    /// What its step ids begin with.
    pub(crate) prefix: String,
    pub(crate) next_step: u64,
    /// Names of the parallel branches around, this one last.
    pub(crate) names: Arc<[String]>,
    /// The branch that forked this one, and which of its children this is.
    pub(crate) parent: Option<(u32, usize)>,
    pub(crate) stack: Vec<Value>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) state: State,
    /// What is thrown when the branch runs next.
    pub(crate) pending: Option<Fault>,
    /// Thrown when the step that the branch waits for has ended, or when it wants the next one.
    pub(crate) interrupt: Option<Interrupt>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum State {
    #[default]
    Ready,
    /// Waits for the record of its act.
    Acting(StepId),
    /// Waits for the branches of a `parallel`.
    Joining(Join),
    Ended,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Join {
    pub(crate) names: Vec<String>,
    pub(crate) children: Vec<u32>,
    pub(crate) results: Vec<Option<Result<Value, Value>>>,
    pub(crate) fail_fast: bool,
    /// The child that failed first.
    pub(crate) first: Option<usize>,
    /// An interruption that a child did not live to see.
    pub(crate) left: Option<Interrupt>,
}

#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) code: u32,
    pub(crate) pc: u32,
    /// Where its locals begin on the stack.
    pub(crate) base: usize,
    pub(crate) this: Value,
    pub(crate) captures: Arc<[Ref]>,
    /// The closure that runs, for its delegate; else null.
    pub(crate) closure: Value,
    pub(crate) context: Arc<Context>,
    pub(crate) ret: Ret,
}

/// What becomes of the value that a frame returns.
#[derive(Debug, Clone, Default)]
pub(crate) enum Ret {
    #[default]
    Push,
    Discard,
    Truth,
    Not,
    /// The result of `compareTo`, for this operator.
    Compare(BinaryOp),
    /// Handed on to these closures.
    Then(Vec<Value>),
}

impl Branch {
    pub(crate) fn take_step(&mut self) -> StepId {
        let step = StepId(format!("{}{}", self.prefix, self.next_step));
        self.next_step += 1;
        step
    }

    /// A frame without arguments.
    pub(crate) fn enter_plain(&mut self, image: &Image, code: u32, this: Value, context: Arc<Context>) {
        let base = self.stack.len();
        let locals = image.codes[code as usize].locals as usize;
        self.stack.resize(base + locals, Value::Null);
        self.frames.push(Frame {
            code,
            pc: 0,
            base,
            this,
            captures: Arc::from([]),
            closure: Value::Null,
            context,
            ret: Ret::Push,
        });
    }

    pub(crate) fn context(&self) -> Arc<Context> {
        self.frames.last().map_or_else(Arc::default, |f| f.context.clone())
    }

    pub(crate) fn roots(&self, roots: &mut Vec<Value>) {
        roots.extend(self.stack.iter().cloned());
        for frame in &self.frames {
            roots.extend([frame.this.clone(), frame.closure.clone()]);
            roots.extend(frame.captures.iter().map(|at| Value::Ref(*at)));
            if let Ret::Then(closures) = &frame.ret {
                roots.extend(closures.iter().cloned());
            }
        }
        if let State::Joining(join) = &self.state {
            roots.extend(join.results.iter().flatten().map(|r| match r {
                Ok(value) | Err(value) => value.clone(),
            }));
        }
        if let Some(Fault::Thrown(value)) = &self.pending {
            roots.push(value.clone());
        }
    }
}
