//! Where an expression begins: literals, names, parentheses, lists, maps, `new`, strings with holes.

use super::call::Entry;
use super::postfix::call_value;
use super::{Parsed, Parser, expr, scan};
use crate::ast::{Arguments, Expr, ExprKind, Part, Pos, Stmt, StmtKind};
use crate::lexer::Tok;

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> Parsed<Expr> {
        let pos = self.pos();
        match self.peek() {
            Tok::Punct("(") => self.parenthesized(),
            Tok::Punct("[") => self.list_or_map(),
            Tok::Punct("{") => self.closure(),
            Tok::GStart => self.gstring(),
            Tok::Int(_) | Tok::Long(_) | Tok::Double(_) | Tok::Decimal(_) | Tok::Str(_) => {
                let kind = match self.next() {
                    Tok::Int(value) => ExprKind::Int(value),
                    Tok::Long(value) => ExprKind::Long(value),
                    Tok::Double(value) => ExprKind::Double(value),
                    Tok::Decimal(text) => ExprKind::Decimal(text),
                    Tok::Str(text) => ExprKind::Str(text),
                    _ => ExprKind::Null,
                };
                Ok(expr(pos, kind))
            }
            Tok::Name(_) => self.named(pos),
            _ => Err(self.unexpected()),
        }
    }

    fn named(&mut self, pos: Pos) -> Parsed<Expr> {
        let kind = match self.word().unwrap_or_default() {
            "null" => ExprKind::Null,
            "true" => ExprKind::Bool(true),
            "false" => ExprKind::Bool(false),
            "this" => ExprKind::This,
            "super" => ExprKind::Super,
            "new" => return self.new_object(),
            word if scan::reserved(word) && !scan::primitive(word) => return Err(self.unexpected()),
            _ => ExprKind::Name(self.take_name()),
        };
        if !matches!(kind, ExprKind::Name(_)) {
            self.next();
        } else if let ExprKind::Name(name) = &kind
            && scan::primitive(name)
        {
            // `int[]` and `int` as values: classes.
            while self.at("[") && self.token(1).tok == Tok::Punct("]") {
                self.at += 2;
            }
        }
        Ok(expr(pos, kind))
    }

    fn parenthesized(&mut self) -> Parsed<Expr> {
        self.expect("(")?;
        self.skip_newlines();
        let value = self.expression()?;
        self.skip_newlines();
        self.expect(")")?;
        Ok(value)
    }

    /// `[1, 2]`, `[a: 1]`, `[]`, `[:]`
    pub(super) fn list_or_map(&mut self) -> Parsed<Expr> {
        let pos = self.pos();
        self.expect("[")?;
        let outer = self.enter()?;
        if self.at(":") && self.token(1).tok == Tok::Punct("]") {
            self.at += 2;
            self.leave(outer);
            return Ok(expr(pos, ExprKind::Map(Vec::new())));
        }
        let (mut items, mut pairs) = (Vec::new(), Vec::new());
        while !self.at("]") {
            let at = self.pos();
            match self.entry()? {
                Entry::Item(item) => items.push(item),
                Entry::Pair(key, value) => pairs.push((key, value)),
            }
            if !items.is_empty() && !pairs.is_empty() {
                return Err(self.refuse(at, "a list has no keys and every entry of a map has one"));
            }
            if !self.eat(",") {
                break;
            }
        }
        self.expect("]")?;
        self.leave(outer);
        let kind = if pairs.is_empty() { ExprKind::List(items) } else { ExprKind::Map(pairs) };
        Ok(expr(pos, kind))
    }

    /// `new a.B(1, k: 2)`; `new int[3]` is a `New` of `int[]` with the sizes as arguments.
    fn new_object(&mut self) -> Parsed<Expr> {
        let pos = self.pos();
        self.next();
        self.skip_newlines();
        let class = self.created_type()?;
        let mut arguments = Arguments::default();
        if self.at("[") {
            let mut name = class;
            while self.eat("[") {
                arguments.positional.push(self.expression()?);
                self.expect("]")?;
                name.push_str("[]");
            }
            return Ok(expr(pos, ExprKind::New { class: name, arguments }));
        }
        if !self.at("(") {
            return Err(self.expecting("'(' or '['"));
        }
        self.expect("(")?;
        let outer = self.enter()?;
        while !self.at(")") {
            self.argument(&mut arguments)?;
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        self.leave(outer);
        if self.at("{") {
            return Err(self.error("a class without a name does not run here"));
        }
        Ok(expr(pos, ExprKind::New { class, arguments }))
    }

    /// The type behind `new`; `<>` is dropped too.
    fn created_type(&mut self) -> Parsed<String> {
        let class = self.type_name()?;
        if self.at("<") && self.token(1).tok == Tok::Punct(">") {
            self.at += 2;
        }
        Ok(class)
    }

    fn gstring(&mut self) -> Parsed<Expr> {
        let pos = self.pos();
        let outer = self.enter()?;
        self.next();
        let mut parts = Vec::new();
        loop {
            match self.peek() {
                Tok::GEnd => break,
                Tok::Text(_) => {
                    if let Tok::Text(text) = self.next()
                        && !text.is_empty()
                    {
                        parts.push(Part::Text(text));
                    }
                }
                Tok::Hole => parts.push(Part::Expr(self.hole()?)),
                _ => return Err(self.unexpected()),
            }
        }
        self.next();
        self.leave(outer);
        Ok(expr(pos, ExprKind::GString(parts)))
    }

    /// `${value}`, `${-> value}`, `${}`; several statements are a closure that is called at once.
    fn hole(&mut self) -> Parsed<Expr> {
        let pos = self.pos();
        self.next();
        self.skip_separators();
        let lazy = self.eat("->");
        self.blocks += 1;
        let mut body = self.statements(|p| *p.peek() == Tok::HoleEnd || p.at_end())?;
        self.blocks -= 1;
        if *self.peek() != Tok::HoleEnd {
            return Err(self.expecting("'}'"));
        }
        self.next();
        if let ([Stmt { kind: StmtKind::Expr(_), .. }], false) = (body.as_slice(), lazy)
            && let Some(Stmt { kind: StmtKind::Expr(value), .. }) = body.pop()
        {
            return Ok(value);
        }
        if body.is_empty() && !lazy {
            return Ok(expr(pos, ExprKind::Null));
        }
        let closure = expr(pos, ExprKind::Closure { parameters: Some(Vec::new()), body });
        Ok(if lazy { closure } else { call_value(closure, Arguments::default()) })
    }
}
