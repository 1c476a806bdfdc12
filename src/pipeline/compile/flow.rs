//! Ways out of a block: `break`, `continue`, `return`, and `finally`, which all of them pass.
//!
//! The code of a `finally` exists once. Whoever goes through it first notes a number, and after the block a chain
//! of comparisons sends each where it wanted to go.

use super::Compiler;
use super::code::{Handler, Op};
use crate::ast::{BinaryOp, Catch, Stmt};

pub(super) enum Control {
    Loop { label: Option<String>, breaks: Vec<usize>, continues: Vec<usize> },
    Switch { breaks: Vec<usize> },
    Finally { kind: u16, entries: Vec<usize>, exits: Vec<Exit> },
}

#[derive(Clone, PartialEq)]
pub(super) enum Exit {
    Return,
    Break(Option<String>),
    Continue(Option<String>),
}

/// The body ended.
const NORMAL: i64 = 0;
/// The body threw what is in the value slot.
const THROWN: i64 = 1;

impl Compiler {
    /// Leaves the function with the value on the stack, as the declared type of the function wants it.
    pub(super) fn leave_function(&mut self) {
        if let Some(ty) = self.f().returns.clone() {
            self.coerce(&ty);
        }
        self.leave_as_is();
    }

    pub(super) fn leave_as_is(&mut self) {
        if self.f().control.iter().any(|c| matches!(c, Control::Finally { .. })) {
            let slot = self.returned();
            self.op(Op::SetLocal(slot));
        }
        let level = self.f().control.len();
        self.exit(Exit::Return, level);
    }

    fn returned(&mut self) -> u16 {
        if let Some(slot) = self.f().returned {
            return slot;
        }
        let slot = self.hidden();
        self.f().returned = Some(slot);
        slot
    }

    /// Goes out, through every `finally` below `level` on the way.
    pub(super) fn exit(&mut self, exit: Exit, level: usize) {
        for at in (0..level).rev() {
            let here = self.f().ops.len();
            let number = match &mut self.f().control[at] {
                Control::Finally { exits, .. } => {
                    let known = exits.iter().position(|e| *e == exit);
                    let at = known.unwrap_or_else(|| {
                        exits.push(exit.clone());
                        exits.len() - 1
                    });
                    i64::try_from(at).unwrap_or(0) + THROWN + 1
                }
                Control::Loop { label, breaks, continues } => {
                    let mine = |wanted: &Option<String>| wanted.is_none() || wanted == label;
                    match &exit {
                        Exit::Break(wanted) if mine(wanted) => breaks.push(here),
                        Exit::Continue(wanted) if mine(wanted) => continues.push(here),
                        _ => continue,
                    }
                    self.op(Op::Jump(0));
                    return;
                }
                Control::Switch { breaks } => {
                    if exit != Exit::Break(None) {
                        continue;
                    }
                    breaks.push(here);
                    self.op(Op::Jump(0));
                    return;
                }
            };
            return self.through_finally(at, number);
        }
        match exit {
            Exit::Return => {
                self.op(Op::Return);
            }
            Exit::Break(_) => self.error("the break statement is only allowed inside loops or switches"),
            Exit::Continue(_) => self.error("the continue statement is only allowed inside loops"),
        }
    }

    fn through_finally(&mut self, at: usize, number: i64) {
        let Control::Finally { kind, .. } = self.f().control[at] else { return };
        self.push_int(number);
        self.op(Op::SetLocal(kind));
        let jump = self.op(Op::Jump(0));
        if let Control::Finally { entries, .. } = &mut self.f().control[at] {
            entries.push(jump);
        }
    }

    pub(super) fn try_statement(&mut self, body: &[Stmt], catches: &[Catch], finally: &[Stmt], tail: bool) {
        if finally.is_empty() {
            return self.try_catch(body, catches, tail);
        }
        let (kind, value) = (self.hidden(), self.hidden());
        self.f().control.push(Control::Finally { kind, entries: Vec::new(), exits: Vec::new() });
        let start = self.here();
        self.try_catch(body, catches, tail);
        self.push_int(NORMAL);
        self.op(Op::SetLocal(kind));
        let end = self.here();
        let over = self.op(Op::Jump(0));
        let target = self.here();
        self.f().handlers.push(Handler { start, end, target, types: Vec::new() });
        self.op(Op::SetLocal(value));
        self.push_int(THROWN);
        self.op(Op::SetLocal(kind));
        self.patch(over);
        let Some(Control::Finally { entries, exits, .. }) = self.f().control.pop() else { return };
        entries.into_iter().for_each(|at| self.patch(at));
        self.scoped(|c| c.statements(finally));
        self.on_kind(kind, THROWN, |c| {
            c.op(Op::Local(value));
            c.op(Op::Throw);
        });
        for (number, exit) in exits.into_iter().enumerate() {
            self.on_kind(kind, i64::try_from(number).unwrap_or(0) + THROWN + 1, |c| {
                let level = c.f().control.len();
                let outer = c.f().control.iter().any(|c| matches!(c, Control::Finally { .. }));
                if let (Exit::Return, Some(slot), false) = (&exit, c.f().returned, outer) {
                    c.op(Op::Local(slot));
                    c.op(Op::Return);
                } else {
                    c.exit(exit, level);
                }
            });
        }
    }

    fn on_kind(&mut self, kind: u16, number: i64, write: impl FnOnce(&mut Self)) {
        self.op(Op::Local(kind));
        self.push_int(number);
        self.op(Op::Binary(BinaryOp::Identical));
        let skip = self.op(Op::JumpUnless(0));
        write(self);
        self.patch(skip);
    }

    fn try_catch(&mut self, body: &[Stmt], catches: &[Catch], tail: bool) {
        let block = |c: &mut Self, body: &[Stmt]| {
            c.scoped(|c| if tail { c.tail_inner(body) } else { c.statements(body) });
        };
        let start = self.here();
        block(self, body);
        let end = self.here();
        let mut overs = vec![self.op(Op::Jump(0))];
        for catch in catches {
            self.pos = catch.pos;
            let target = self.here();
            let mut types: Vec<_> = catch.types.iter().map(|t| t.as_str().into()).collect();
            if types.is_empty() {
                types.push("java.lang.Exception".into());
            }
            self.f().handlers.push(Handler { start, end, target, types });
            self.scoped(|c| {
                let slot = c.declare(&catch.name);
                c.op(Op::InitLocal(slot));
                block(c, &catch.body);
            });
            overs.push(self.op(Op::Jump(0)));
        }
        overs.into_iter().for_each(|at| self.patch(at));
    }
}
