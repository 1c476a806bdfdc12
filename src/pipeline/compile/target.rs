//! Assignments: what may stand on the left side.

use super::Compiler;
use super::code::Op;
use crate::ast::{BinaryOp, Expr, ExprKind};

impl Compiler {
    /// `target = value`, `target += value`; the value stays on the stack.
    pub(super) fn assign(&mut self, target: &Expr, op: Option<BinaryOp>, value: &Expr) {
        match &target.kind {
            ExprKind::Name(name) => {
                match op {
                    None => self.expr(value),
                    Some(op) => {
                        self.load(name);
                        self.combine(op, value);
                    }
                }
                self.coerce_for(name);
                self.op(Op::Dup);
                self.store(name);
            }
            ExprKind::List(targets) if op.is_none() => {
                self.expr(value);
                for (at, target) in targets.iter().enumerate() {
                    self.op(Op::Dup);
                    self.push_int(i64::try_from(at).unwrap_or(0));
                    self.op(Op::Index);
                    self.store_kept(target);
                }
            }
            _ => {
                if !self.open(target) {
                    return;
                }
                match op {
                    None => self.expr(value),
                    Some(op) => {
                        self.read_open(target);
                        self.combine(op, value);
                    }
                }
                self.close(target);
            }
        }
    }

    /// Stores the value on the stack and drops it.
    fn store_kept(&mut self, target: &Expr) {
        if let ExprKind::Name(name) = &target.kind {
            self.coerce_for(name);
            return self.store(name);
        }
        let slot = self.hidden();
        self.op(Op::SetLocal(slot));
        if self.open(target) {
            self.op(Op::Local(slot));
            self.close(target);
            self.op(Op::Pop);
        }
    }

    /// With the old value on the stack: works out the new one.
    fn combine(&mut self, op: BinaryOp, value: &Expr) {
        if op == BinaryOp::Elvis {
            let keep = self.op(Op::JumpIfKeep(0));
            self.expr(value);
            return self.patch(keep);
        }
        self.expr(value);
        self.op(Op::Binary(op));
    }

    /// Pushes the object and what is looked up in it.
    fn open(&mut self, target: &Expr) -> bool {
        match &target.kind {
            ExprKind::Property { object, name, .. } => {
                self.expr(object);
                if !matches!(name.kind, ExprKind::Str(_)) {
                    self.expr(name);
                    self.op(Op::ToText);
                }
            }
            ExprKind::Index { object, index, .. } => {
                self.expr(object);
                self.expr(index);
            }
            _ => {
                self.pos = target.pos;
                self.error("The left side of an assignment must be a variable, a property or an element");
                return false;
            }
        }
        true
    }

    /// With what `open` pushed on the stack: pushes the present value too.
    fn read_open(&mut self, target: &Expr) {
        match &target.kind {
            ExprKind::Property { name, .. } => match &name.kind {
                ExprKind::Str(name) => {
                    self.op(Op::Dup);
                    let name = self.string(name);
                    self.op(Op::Property(name));
                }
                _ => {
                    self.op(Op::Dup2);
                    self.op(Op::DynProperty);
                }
            },
            _ => {
                self.op(Op::Dup2);
                self.op(Op::Index);
            }
        }
    }

    /// Stores the value above what `open` pushed; only the value stays.
    fn close(&mut self, target: &Expr) {
        match &target.kind {
            ExprKind::Property { name, .. } => match &name.kind {
                ExprKind::Str(name) => {
                    let name = self.string(name);
                    self.op(Op::SetProperty(name));
                }
                _ => {
                    self.op(Op::SetDynProperty);
                }
            },
            _ => {
                self.op(Op::SetIndex);
            }
        }
    }

    /// `x++` and its kin. Without `wanted` nothing stays on the stack.
    pub(super) fn step(&mut self, target: &Expr, increment: bool, prefix: bool, wanted: bool) {
        let op = Op::Binary(if increment { BinaryOp::Add } else { BinaryOp::Sub });
        if let ExprKind::Name(name) = &target.kind {
            self.load(name);
            if wanted && !prefix {
                self.op(Op::Dup);
            }
            self.push_int(1);
            self.op(op);
            if wanted && prefix {
                self.op(Op::Dup);
            }
            return self.store(name);
        }
        if !self.open(target) {
            return;
        }
        self.read_open(target);
        let old = self.hidden();
        if wanted && !prefix {
            self.op(Op::Dup);
            self.op(Op::SetLocal(old));
        }
        self.push_int(1);
        self.op(op);
        self.close(target);
        if !wanted || !prefix {
            self.op(Op::Pop);
        }
        if wanted && !prefix {
            self.op(Op::Local(old));
        }
    }
}
