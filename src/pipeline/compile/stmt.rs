//! Statements.

use super::code::Op;
use super::flow::{Control, Exit};
use super::{Compiler, Place};
use crate::ast::{Case, Expr, ExprKind, Local, Stmt, StmtKind};

impl Compiler {
    pub(super) fn statements(&mut self, statements: &[Stmt]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    /// Statements of which the last one gives the value of the function.
    pub(super) fn tail_inner(&mut self, statements: &[Stmt]) {
        let Some((last, before)) = statements.split_last() else { return };
        self.statements(before);
        self.pos = last.pos;
        if !self.enter() {
            return self.leave();
        }
        match &last.kind {
            StmtKind::Expr(expr) => {
                self.expr(expr);
                self.leave_function();
            }
            StmtKind::If { condition, then, otherwise } => self.branch(condition, then, otherwise, true),
            StmtKind::Try { body, catches, finally } => self.try_statement(body, catches, finally, true),
            StmtKind::Switch { subject, cases } => self.switch(subject, cases, true),
            StmtKind::Block(body) => self.scoped(|c| c.tail_inner(body)),
            _ => self.statement(last),
        }
        self.leave();
    }

    pub(super) fn statement(&mut self, statement: &Stmt) {
        self.pos = statement.pos;
        if self.enter() {
            self.statement_kind(&statement.kind);
        }
        self.leave();
    }

    fn statement_kind(&mut self, kind: &StmtKind) {
        match kind {
            StmtKind::Expr(expr) => self.effect(expr),
            StmtKind::Define { names, tuple, value } => self.define(names, *tuple, value.as_ref()),
            StmtKind::Field { name, value } => self.field(name, value.as_ref()),
            StmtKind::If { condition, then, otherwise } => self.branch(condition, then, otherwise, false),
            StmtKind::While { label, condition, body, body_first } => {
                self.while_loop(label.as_deref(), condition, body, *body_first);
            }
            StmtKind::ForIn { label, variable, iterable, body } => {
                self.for_in(label.as_deref(), variable, iterable, body);
            }
            StmtKind::For { label, init, condition, update, body } => self.scoped(|c| {
                c.statements(init);
                c.for_loop(label.as_deref(), condition.as_ref(), update, body);
            }),
            StmtKind::Switch { subject, cases } => self.switch(subject, cases, false),
            StmtKind::Try { body, catches, finally } => self.try_statement(body, catches, finally, false),
            StmtKind::Throw(value) => {
                self.expr(value);
                self.op(Op::Throw);
            }
            StmtKind::Return(value) => {
                match value {
                    Some(value) => self.expr(value),
                    None => {
                        self.op(Op::Null);
                    }
                }
                self.leave_function();
            }
            StmtKind::Break(label) => {
                let level = self.f().control.len();
                self.exit(Exit::Break(label.clone()), level);
            }
            StmtKind::Continue(label) => {
                let level = self.f().control.len();
                self.exit(Exit::Continue(label.clone()), level);
            }
            StmtKind::Block(body) => self.scoped(|c| c.statements(body)),
            StmtKind::Assert { condition, message, source } => {
                self.assert(condition, message.as_ref(), source)
            }
        }
    }

    fn define(&mut self, names: &[Local], tuple: bool, value: Option<&Expr>) {
        if !tuple {
            let Some(local) = names.first() else { return };
            match value {
                Some(value) => self.expr(value),
                None => self.initial(local.ty.as_deref()),
            }
            self.redeclared(local);
            if let Some(ty) = local.ty.as_deref().filter(|_| value.is_some()) {
                self.pos = local.pos;
                self.coerce(ty);
            }
            let slot = self.declare_typed(&local.name, local.ty.as_deref());
            self.op(Op::InitLocal(slot));
            return;
        }
        match value {
            Some(value) => self.expr(value),
            None => {
                self.op(Op::Null);
            }
        }
        for (at, local) in names.iter().enumerate() {
            self.redeclared(local);
            self.op(Op::Dup);
            self.push_int(i64::try_from(at).unwrap_or(0));
            self.op(Op::Index);
            local.ty.iter().for_each(|ty| self.coerce(ty));
            let slot = self.declare_typed(&local.name, local.ty.as_deref());
            self.op(Op::InitLocal(slot));
        }
        self.op(Op::Pop);
    }

    fn field(&mut self, name: &Local, value: Option<&Expr>) {
        match value {
            Some(value) => {
                self.expr(value);
                name.ty.iter().for_each(|ty| self.coerce(ty));
            }
            None => self.initial(name.ty.as_deref()),
        }
        let name = self.string(&name.name);
        self.op(Op::SetName(name));
    }

    fn redeclared(&mut self, local: &Local) {
        let scopes = self.f().scopes.iter();
        if scopes.flatten().any(|v| v.0 == local.name) {
            self.pos = local.pos;
            self.error(format!("The current scope already contains a variable of the name {}", local.name));
        }
    }

    fn branch(&mut self, condition: &Expr, then: &[Stmt], otherwise: &[Stmt], tail: bool) {
        let block = |c: &mut Self, body: &[Stmt]| {
            c.scoped(|c| if tail { c.tail_inner(body) } else { c.statements(body) });
        };
        self.expr(condition);
        let skip = self.op(Op::JumpUnless(0));
        block(self, then);
        if otherwise.is_empty() {
            return self.patch(skip);
        }
        let over = self.op(Op::Jump(0));
        self.patch(skip);
        block(self, otherwise);
        self.patch(over);
    }

    /// Writes the body with its `break`s and `continue`s noted.
    fn loop_body(&mut self, label: Option<&str>, body: &[Stmt]) -> (Vec<usize>, Vec<usize>) {
        let label = label.map(str::to_owned);
        self.f().control.push(Control::Loop { label, breaks: Vec::new(), continues: Vec::new() });
        self.scoped(|c| c.statements(body));
        match self.f().control.pop() {
            Some(Control::Loop { breaks, continues, .. }) => (breaks, continues),
            _ => (Vec::new(), Vec::new()),
        }
    }

    fn while_loop(&mut self, label: Option<&str>, condition: &Expr, body: &[Stmt], body_first: bool) {
        let first = (!body_first).then(|| self.op(Op::Jump(0)));
        let top = self.here();
        let (breaks, continues) = self.loop_body(label, body);
        continues.into_iter().chain(first).for_each(|at| self.patch(at));
        self.expr(condition);
        self.op(Op::JumpIf(top));
        breaks.into_iter().for_each(|at| self.patch(at));
    }

    fn for_loop(&mut self, label: Option<&str>, condition: Option<&Expr>, update: &[Expr], body: &[Stmt]) {
        let top = self.here();
        let out = condition.map(|condition| {
            self.expr(condition);
            self.op(Op::JumpUnless(0))
        });
        let (breaks, continues) = self.loop_body(label, body);
        continues.into_iter().for_each(|at| self.patch(at));
        update.iter().for_each(|e| self.effect(e));
        self.op(Op::Jump(top));
        breaks.into_iter().chain(out).for_each(|at| self.patch(at));
    }

    fn for_in(&mut self, label: Option<&str>, variable: &str, iterable: &Expr, body: &[Stmt]) {
        self.scoped(|c| {
            c.expr(iterable);
            let cursor = c.hidden();
            c.op(Op::Iterate(cursor));
            let slot = c.declare(variable);
            c.op(Op::Null);
            c.op(Op::InitLocal(slot));
            let top = c.here();
            let next = c.op(Op::Next(cursor, 0));
            c.op(Op::SetLocal(slot));
            let (breaks, continues) = c.loop_body(label, body);
            continues.into_iter().for_each(|at| c.patch_to(at, top));
            c.op(Op::Jump(top));
            breaks.into_iter().chain([next]).for_each(|at| c.patch(at));
        });
    }

    fn switch(&mut self, subject: &Expr, cases: &[Case], tail: bool) {
        self.expr(subject);
        let slot = self.hidden();
        self.op(Op::SetLocal(slot));
        self.f().control.push(Control::Switch { breaks: Vec::new() });
        let mut entries = Vec::new();
        for case in cases {
            self.pos = case.pos;
            entries.push(case.value.as_ref().map(|value| {
                self.op(Op::Local(slot));
                self.expr(value);
                self.op(Op::IsCase);
                self.op(Op::JumpIf(0))
            }));
        }
        let otherwise = self.op(Op::Jump(0));
        let mut default = None;
        self.scoped(|c| {
            for (n, (case, entry)) in cases.iter().zip(&entries).enumerate() {
                match entry {
                    Some(at) => c.patch(*at),
                    None => default = Some(c.here()),
                }
                let falls = n + 1 < cases.len()
                    && !matches!(case.body.last().map(|s| &s.kind), Some(StmtKind::Break(None)));
                match case.body.split_last() {
                    Some((Stmt { kind: StmtKind::Break(None), .. }, before)) if tail => c.tail_inner(before),
                    _ if tail && !falls => c.tail_inner(&case.body),
                    _ => c.statements(&case.body),
                }
                if tail && !falls {
                    let level = c.f().control.len();
                    c.exit(Exit::Break(None), level);
                }
            }
        });
        match default {
            Some(to) => self.patch_to(otherwise, to),
            None => self.patch(otherwise),
        }
        if let Some(Control::Switch { breaks }) = self.f().control.pop() {
            breaks.into_iter().for_each(|at| self.patch(at));
        }
    }

    fn assert(&mut self, condition: &Expr, message: Option<&Expr>, source: &str) {
        self.expr(condition);
        let fine = self.op(Op::JumpIf(0));
        match message {
            Some(message) => self.expr(message),
            None => {
                self.op(Op::Null);
            }
        }
        self.push_string(source);
        self.op(Op::AssertFailed);
        self.patch(fine);
    }

    /// An expression whose value nobody wants.
    pub(super) fn effect(&mut self, expr: &Expr) {
        if let ExprKind::Step { target, increment, .. } = &expr.kind {
            self.pos = expr.pos;
            return self.step(target, *increment, true, false);
        }
        self.expr(expr);
        self.op(Op::Pop);
    }

    pub(super) fn load(&mut self, name: &str) {
        match self.resolve(name) {
            Place::Local(slot) => self.op(Op::Local(slot)),
            Place::Captured(at) => self.op(Op::Captured(at)),
            Place::Global => {
                let name = self.string(name);
                self.op(Op::Name(name))
            }
        };
    }

    /// Pops the value.
    pub(super) fn store(&mut self, name: &str) {
        match self.resolve(name) {
            Place::Local(slot) => self.op(Op::SetLocal(slot)),
            Place::Captured(at) => self.op(Op::SetCaptured(at)),
            Place::Global => {
                let name = self.string(name);
                self.op(Op::SetName(name))
            }
        };
    }
}
