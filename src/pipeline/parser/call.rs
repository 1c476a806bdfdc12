//! Arguments, and calls without parentheses.

use super::{Parsed, Parser, expr, postfix};
use crate::ast::{Arguments, Expr, ExprKind};
use crate::lexer::Tok;

/// One entry of a list, a map or of arguments.
pub(super) enum Entry {
    Item(Expr),
    /// `*: map` has the key `Spread(Null)` and the value `map`.
    Pair(Expr, Expr),
}

impl Parser<'_> {
    pub(super) fn argument(&mut self, arguments: &mut Arguments) -> Parsed<()> {
        match self.entry()? {
            Entry::Item(value) => arguments.positional.push(value),
            Entry::Pair(key, value) => arguments.named.push((key, value)),
        }
        Ok(())
    }

    /// `value`, `key: value`, `'key': value`, `(key): value`, `*list`, `*: map`
    pub(super) fn entry(&mut self) -> Parsed<Entry> {
        self.skip_newlines();
        if self.at("*") {
            return self.spread();
        }
        let key = if self.at_key() { self.key() } else { self.expression()? };
        if self.eat(":") { self.pair(key) } else { Ok(Entry::Item(key)) }
    }

    fn spread(&mut self) -> Parsed<Entry> {
        let pos = self.pos();
        self.expect("*")?;
        let mapped = self.eat(":");
        self.skip_newlines();
        let value = self.expression()?;
        let spread = |value| expr(pos, ExprKind::Spread(Box::new(value)));
        Ok(if mapped {
            Entry::Pair(spread(expr(pos, ExprKind::Null)), value)
        } else {
            Entry::Item(spread(value))
        })
    }

    fn key(&mut self) -> Expr {
        expr(self.pos(), ExprKind::Str(self.take_name()))
    }

    fn pair(&mut self, key: Expr) -> Parsed<Entry> {
        self.skip_newlines();
        Ok(Entry::Pair(key, self.expression()?))
    }

    /// `'key': value` as the first argument of a call without parentheses.
    pub(super) fn at_string_key(&self) -> bool {
        matches!(self.peek(), Tok::Str(_)) && self.token(1).tok == Tok::Punct(":")
    }

    /// `a b, k: c` is `a(b, k: c)`; `a b c d` is `a(b).c(d)`.
    pub(super) fn command(&mut self, head: Expr) -> Parsed<Expr> {
        let mut value = head;
        if !matches!(value.kind, ExprKind::Call { .. } | ExprKind::CallValue { .. }) {
            let arguments = self.command_arguments()?;
            value = postfix::call(value, arguments);
        }
        while let Some(word) = self.word()
            && !matches!(word, "in" | "instanceof" | "as" | "else")
        {
            self.grow()?;
            value = self.chained(value)?;
        }
        Ok(value)
    }

    /// `name arguments` behind a call without parentheses, or `name` alone.
    fn chained(&mut self, object: Expr) -> Parsed<Expr> {
        let pos = object.pos;
        let name_pos = self.pos();
        let name = Box::new(expr(name_pos, ExprKind::Str(self.take_name())));
        let property = ExprKind::Property { object: Box::new(object), name, safe: false, spread: false };
        let value = expr(pos, property);
        if self.at("(") || self.at("{") {
            let arguments = self.call_arguments()?;
            return Ok(postfix::call(value, arguments));
        }
        if self.at_argument() || self.at_key() {
            let arguments = self.command_arguments()?;
            return Ok(postfix::call(value, arguments));
        }
        Ok(value)
    }

    fn command_arguments(&mut self) -> Parsed<Arguments> {
        let mut arguments = Arguments::default();
        let outer = self.enter()?;
        loop {
            self.argument(&mut arguments)?;
            if !self.eat(",") {
                break;
            }
        }
        self.leave(outer);
        Ok(arguments)
    }
}
