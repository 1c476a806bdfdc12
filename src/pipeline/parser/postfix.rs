//! What follows a value without an operator: members, calls, closures, elements, `++`.

use super::{Parsed, Parser, expr};
use crate::ast::{Arguments, Expr, ExprKind, Pos};
use crate::lexer::Tok;

impl Parser<'_> {
    /// A value with all that hangs on it.
    pub(super) fn postfix(&mut self) -> Parsed<Expr> {
        let parenthesized = self.at("(");
        let value = self.primary()?;
        match self.after_newlines() {
            Tok::Punct("(" | "{" | "[" | "++" | "--" | "." | "?." | "*." | ".&" | ".@") => {
                self.attached(value, parenthesized)
            }
            _ => Ok(value),
        }
    }

    /// Whether the `{` of a block stands here or on a later line and belongs to `value`.
    fn at_block(&self, value: &Expr) -> bool {
        let callable = matches!(
            value.kind,
            ExprKind::Name(_)
                | ExprKind::Property { .. }
                | ExprKind::Call { .. }
                | ExprKind::CallValue { .. }
        );
        callable && *self.after_newlines() == Tok::Punct("{")
    }

    /// All that hangs on a value.
    fn attached(&mut self, mut value: Expr, parenthesized: bool) -> Parsed<Expr> {
        loop {
            let block = self.at_block(&value);
            if block || self.at("(") || self.at("{") {
                if is_literal(&value) {
                    break;
                }
                let named = matches!(value.kind, ExprKind::Name(_) | ExprKind::Property { .. });
                let arguments = self.call_arguments()?;
                if !named {
                    self.grow()?;
                }
                value = if named && parenthesized {
                    call_value(value, arguments)
                } else {
                    call(value, arguments)
                };
            } else if self.at("[") {
                value = self.index(value)?;
                self.grow()?;
            } else if matches!(self.after_newlines(), Tok::Punct("." | "?." | "*." | ".&" | ".@")) {
                self.skip_newlines();
                value = self.member(value)?;
                self.grow()?;
            } else {
                break;
            }
        }
        self.postfix_step(value)
    }

    fn postfix_step(&mut self, value: Expr) -> Parsed<Expr> {
        if !self.at("++") && !self.at("--") {
            return Ok(value);
        }
        if !super::expression::assignable(&value) {
            return Err(self.unexpected());
        }
        let increment = self.at("++");
        self.next();
        let pos = value.pos;
        Ok(expr(pos, ExprKind::Step { target: Box::new(value), increment, prefix: false }))
    }

    /// `.name`, `?.name`, `*.name`, `.&name`, `.@name`, `."$name"`, `.(expr)`
    fn member(&mut self, object: Expr) -> Parsed<Expr> {
        let pos = object.pos;
        let object = Box::new(object);
        let dot = self.next();
        self.skip_newlines();
        if dot == Tok::Punct(".&") {
            let name = match self.next() {
                Tok::Name(name) | Tok::Str(name) => name,
                _ => return Err(self.expecting("the name of a method")),
            };
            return Ok(expr(pos, ExprKind::MethodPointer { object, name }));
        }
        self.eat("@");
        let name = Box::new(self.member_name()?);
        let (safe, spread) = (dot == Tok::Punct("?."), dot == Tok::Punct("*."));
        Ok(expr(pos, ExprKind::Property { object, name, safe, spread }))
    }

    fn member_name(&mut self) -> Parsed<Expr> {
        let pos = self.pos();
        match self.peek() {
            Tok::Name(_) => Ok(expr(pos, ExprKind::Str(self.take_name()))),
            Tok::Str(_) | Tok::GStart | Tok::Punct("(") => self.primary(),
            _ => Err(self.expecting("the name of a property or method")),
        }
    }

    /// `[1]`, `[1, 2]`, `[key: value]`
    fn index(&mut self, object: Expr) -> Parsed<Expr> {
        let pos = object.pos;
        let index = self.list_or_map()?;
        let index = match index.kind {
            ExprKind::List(mut items)
                if items.len() == 1 && !matches!(items[0].kind, ExprKind::Spread(_)) =>
            {
                items.pop().unwrap_or_else(|| expr(pos, ExprKind::Null))
            }
            kind => expr(index.pos, kind),
        };
        Ok(expr(pos, ExprKind::Index { object: Box::new(object), index: Box::new(index), safe: false }))
    }

    /// `(a, k: v) { … } { … }`: arguments in parentheses, closures behind them, or only the latter.
    pub(super) fn call_arguments(&mut self) -> Parsed<Arguments> {
        let mut arguments = Arguments::default();
        if self.eat("(") {
            let outer = self.enter()?;
            while !self.at(")") {
                self.argument(&mut arguments)?;
                if !self.eat(",") {
                    break;
                }
            }
            self.expect(")")?;
            self.leave(outer);
        }
        while *self.after_newlines() == Tok::Punct("{") {
            self.skip_newlines();
            let closure = self.closure()?;
            arguments.positional.push(closure);
        }
        Ok(arguments)
    }
}

/// Whether what was read is a value that cannot be called. A string can: `"$name"()`.
fn is_literal(value: &Expr) -> bool {
    matches!(
        value.kind,
        ExprKind::Null
            | ExprKind::Bool(_)
            | ExprKind::Int(_)
            | ExprKind::Long(_)
            | ExprKind::Double(_)
            | ExprKind::Decimal(_)
    )
}

/// A call of what `callee` names.
pub(super) fn call(callee: Expr, arguments: Arguments) -> Expr {
    let Expr { pos, kind } = callee;
    let kind = match kind {
        ExprKind::Name(name) => {
            let name = Box::new(expr(pos, ExprKind::Str(name)));
            ExprKind::Call { object: None, name, arguments, safe: false, spread: false }
        }
        ExprKind::Str(_) | ExprKind::GString(_) => {
            let name = Box::new(expr(pos, kind));
            ExprKind::Call { object: None, name, arguments, safe: false, spread: false }
        }
        ExprKind::Property { object, name, safe, spread } => {
            ExprKind::Call { object: Some(object), name, arguments, safe, spread }
        }
        kind => return call_value(expr(pos, kind), arguments),
    };
    expr(pos, kind)
}

pub(super) fn call_value(callee: Expr, arguments: Arguments) -> Expr {
    let pos: Pos = callee.pos;
    expr(pos, ExprKind::CallValue { callee: Box::new(callee), arguments })
}
