//! Expressions. Each leaves one value on the stack.

use std::sync::Arc;

use super::code::{Call, Op};
use super::{Compiler, Place};
use crate::ast::{BinaryOp, Expr, ExprKind, Part, UnaryOp};
use crate::library::classes;
use crate::library::regex::Regex;
use crate::vm::decimal::Decimal;
use crate::vm::value::Value;

impl Compiler {
    pub(super) fn expr(&mut self, expr: &Expr) {
        if self.enter() {
            self.pos = expr.pos;
            self.expr_kind(expr);
        }
        self.leave();
    }

    fn expr_kind(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Null => self.plain(Op::Null),
            ExprKind::Bool(true) => self.plain(Op::True),
            ExprKind::Bool(false) => self.plain(Op::False),
            ExprKind::Int(value) => self.push_int(*value),
            ExprKind::Long(value) => self.push_long(*value),
            ExprKind::Double(value) => {
                let at = self.constant(Value::Double(*value));
                self.op(Op::Const(at));
            }
            ExprKind::Decimal(text) => self.decimal(text),
            ExprKind::Str(text) => self.push_string(text),
            ExprKind::GString(parts) => self.text(parts),
            ExprKind::List(items) => self.list(items),
            ExprKind::Map(pairs) => self.map(pairs),
            ExprKind::Range { from, to, inclusive } => {
                self.expr(from);
                self.expr(to);
                self.plain(Op::Range(*inclusive));
            }
            ExprKind::Name(name) => self.load(name),
            ExprKind::This | ExprKind::Super => self.plain(Op::This),
            ExprKind::Property { object, name, safe, spread } => {
                self.property(expr, object, name, *safe, *spread)
            }
            ExprKind::Index { object, index, safe } => {
                self.expr(object);
                let skip = safe.then(|| self.op(Op::JumpNull(0)));
                self.expr(index);
                self.op(Op::Index);
                skip.into_iter().for_each(|at| self.patch(at));
            }
            ExprKind::Call { object, name, arguments, safe, spread } => {
                self.call(expr.pos, object.as_deref(), name, arguments, *safe, *spread);
            }
            ExprKind::CallValue { callee, arguments } => self.call_value(expr.pos, callee, arguments),
            ExprKind::New { class, arguments } => {
                let call = self.arguments(arguments);
                self.pos = expr.pos;
                let class = self.string(class);
                self.plain(Op::New(class, call));
            }
            ExprKind::Closure { parameters, body } => self.closure(parameters.as_deref(), body),
            ExprKind::Unary { op, operand } => self.unary(*op, operand),
            ExprKind::Step { target, increment, prefix } => self.step(target, *increment, *prefix, true),
            ExprKind::Binary { .. } => self.binary(expr),
            ExprKind::Assign { target, op, value } => self.assign(target, *op, value),
            ExprKind::Ternary { condition, then, otherwise } => {
                self.ternary(condition, then.as_deref(), otherwise)
            }
            ExprKind::InstanceOf { value, ty, negated } => {
                self.expr(value);
                let ty = self.string(ty);
                self.op(Op::InstanceOf(ty));
                if *negated {
                    self.op(Op::Not);
                }
            }
            ExprKind::Cast { value, ty } => {
                self.expr(value);
                let ty = self.string(ty);
                self.plain(Op::Cast(ty));
            }
            ExprKind::MethodPointer { object, name } => {
                self.expr(object);
                let name = self.string(name);
                self.plain(Op::Pointer(name));
            }
            ExprKind::Spread(value) => {
                self.error("A spread is only allowed in a list, a map or the arguments of a call");
                self.expr(value);
            }
        }
    }

    fn plain(&mut self, op: Op) {
        self.op(op);
    }

    fn decimal(&mut self, text: &str) {
        let value = match Decimal::parse(text) {
            Some(decimal) => Value::Decimal(Arc::new(decimal)),
            None => match text.trim_end_matches(['d', 'D', 'f', 'F']).parse::<f64>() {
                Ok(double) if text.ends_with(['d', 'D', 'f', 'F']) => Value::Double(double),
                _ => {
                    self.error(format!("The number {text} has more digits than Majordomo keeps (38)"));
                    return;
                }
            },
        };
        let at = self.constant(value);
        self.op(Op::Const(at));
    }

    fn text(&mut self, parts: &[Part]) {
        for part in parts {
            match part {
                Part::Text(text) => self.push_string(text),
                Part::Expr(Expr { kind: ExprKind::Closure { .. }, pos }) => {
                    self.pos = *pos;
                    self.error("A closure in a text is worked out when the text is used, which Majordomo cannot: write ${value} instead of ${-> value}");
                }
                Part::Expr(expr) => {
                    self.expr(expr);
                    self.op(Op::ToText);
                }
            }
        }
        self.op(Op::Text(super::number(parts.len())));
    }

    fn list(&mut self, items: &[Expr]) {
        if items.len() < 64 && !items.iter().any(|e| matches!(e.kind, ExprKind::Spread(_))) {
            items.iter().for_each(|e| self.expr(e));
            self.op(Op::List(super::number(items.len())));
            return;
        }
        self.op(Op::List(0));
        for item in items {
            match &item.kind {
                ExprKind::Spread(inner) => {
                    self.expr(inner);
                    self.op(Op::AppendAll);
                }
                _ => {
                    self.expr(item);
                    self.op(Op::Append);
                }
            }
        }
    }

    pub(super) fn map(&mut self, pairs: &[(Expr, Expr)]) {
        self.op(Op::Map(0));
        for (key, value) in pairs {
            if matches!(key.kind, ExprKind::Spread(_)) {
                self.expr(value);
                self.op(Op::PutAll);
                continue;
            }
            self.expr(key);
            self.expr(value);
            self.op(Op::Put);
        }
    }

    fn property(&mut self, whole: &Expr, object: &Expr, name: &Expr, safe: bool, spread: bool) {
        if let Some(class) = self.qualified(whole) {
            let at = self.constant(Value::Class(class));
            self.op(Op::Const(at));
            return;
        }
        if spread {
            let inner = |object| ExprKind::Property {
                object,
                name: Box::new(name.clone()),
                safe: true,
                spread: false,
            };
            return self.spread_over(object, inner);
        }
        self.expr(object);
        let skip = safe.then(|| self.op(Op::JumpNull(0)));
        match &name.kind {
            ExprKind::Str(text) => {
                let text = self.string(text);
                self.pos = name.pos;
                self.op(Op::Property(text));
            }
            _ => {
                self.expr(name);
                self.op(Op::ToText);
                self.pos = whole.pos;
                self.op(Op::DynProperty);
            }
        }
        skip.into_iter().for_each(|at| self.patch(at));
    }

    /// `java.util.UUID`, `hudson.AbortException`: a class by its full name.
    fn qualified(&mut self, expr: &Expr) -> Option<Arc<str>> {
        let mut names = Vec::new();
        let mut at = expr;
        loop {
            match &at.kind {
                ExprKind::Property { object, name, safe: false, spread: false } => {
                    let ExprKind::Str(name) = &name.kind else { return None };
                    names.push(name.as_str());
                    at = object;
                }
                ExprKind::Name(name) => {
                    names.push(name);
                    break;
                }
                _ => return None,
            }
        }
        names.reverse();
        if names.len() < 2 || !matches!(self.resolve(names[0]), Place::Global) {
            return None;
        }
        classes::qualified(&names.join(".")).map(Arc::from)
    }

    /// `object*.…`: the inner expression for each element.
    pub(super) fn spread_over(&mut self, object: &Expr, inner: impl FnOnce(Box<Expr>) -> ExprKind) {
        let name = "$element";
        let element = Box::new(Expr { pos: object.pos, kind: ExprKind::Name(name.into()) });
        let body = Expr { pos: object.pos, kind: inner(element) };
        let statement = crate::ast::Stmt { pos: object.pos, kind: crate::ast::StmtKind::Expr(body) };
        let parameter = crate::ast::Parameter {
            pos: object.pos,
            name: name.into(),
            ty: None,
            default: None,
            varargs: false,
        };
        self.expr(object);
        self.closure(Some(&[parameter]), &[statement]);
        match self.image.library("$spread") {
            Some(code) => self.op(Op::CallCode(code, 2)),
            None => self.op(Op::CallMethod(0, Call { count: 1, named: false, spread: false })),
        };
    }

    fn unary(&mut self, op: UnaryOp, operand: &Expr) {
        match (op, &operand.kind) {
            (UnaryOp::BitNot, ExprKind::Str(pattern)) => match Regex::new(pattern) {
                Ok(regex) => {
                    let at = self.constant(Value::Pattern(Arc::new(regex)));
                    self.op(Op::Const(at));
                }
                Err(error) => self.error(error.to_string()),
            },
            (UnaryOp::Not, _) => {
                self.expr(operand);
                self.op(Op::Not);
            }
            _ => {
                self.expr(operand);
                self.op(Op::Unary(op));
            }
        }
    }

    /// A chain of operators to the left is walked in a loop: a thousand `+` are no nesting.
    fn binary(&mut self, expr: &Expr) {
        let mut spine = Vec::new();
        let mut at = expr;
        while let ExprKind::Binary { op, left, right } = &at.kind {
            spine.push((*op, right, at.pos));
            at = left;
        }
        self.expr(at);
        while let Some((op, right, pos)) = spine.pop() {
            match op {
                BinaryOp::And | BinaryOp::Or => self.logical(op, right),
                BinaryOp::Elvis => {
                    let keep = self.op(Op::JumpIfKeep(0));
                    self.expr(right);
                    self.patch(keep);
                }
                op => {
                    self.expr(right);
                    self.pos = pos;
                    self.op(Op::Binary(op));
                }
            }
        }
    }

    /// The left side is on the stack.
    fn logical(&mut self, op: BinaryOp, right: &Expr) {
        let short = match op {
            BinaryOp::And => self.op(Op::JumpUnless(0)),
            _ => self.op(Op::JumpIf(0)),
        };
        self.expr(right);
        self.op(Op::Truth);
        let over = self.op(Op::Jump(0));
        self.patch(short);
        self.op(if op == BinaryOp::And { Op::False } else { Op::True });
        self.patch(over);
    }

    fn ternary(&mut self, condition: &Expr, then: Option<&Expr>, otherwise: &Expr) {
        self.expr(condition);
        let Some(then) = then else {
            let keep = self.op(Op::JumpIfKeep(0));
            self.expr(otherwise);
            return self.patch(keep);
        };
        let skip = self.op(Op::JumpUnless(0));
        self.expr(then);
        let over = self.op(Op::Jump(0));
        self.patch(skip);
        self.expr(otherwise);
        self.patch(over);
    }
}
