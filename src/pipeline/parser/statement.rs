//! Statements and blocks; what each keyword begins is in `control` and `declare`.

use super::{Parsed, Parser, scan};
use crate::ast::{Expr, ExprKind, Pos, Stmt, StmtKind};
use crate::diagnostic::Diagnostic;
use crate::lexer::Tok;

const AMBIGUOUS: &str = "ambiguous: a '{' at the begin of a statement is neither a block nor a closure; \
    put it on the line of what it belongs to, give it parameters ('{ -> …'), or a label";

impl Parser<'_> {
    /// Statements up to where `done` holds; what stands there is not taken.
    pub(super) fn statements(&mut self, done: fn(&Self) -> bool) -> Parsed<Vec<Stmt>> {
        let mut statements = Vec::new();
        loop {
            self.skip_separators();
            if done(self) {
                return Ok(statements);
            }
            self.statement(&mut statements)?;
            if !done(self) && !matches!(self.peek(), Tok::Newline | Tok::Punct(";")) {
                return Err(self.unexpected());
            }
        }
    }

    /// `{ … }`
    pub(super) fn block(&mut self) -> Parsed<Vec<Stmt>> {
        self.expect("{")?;
        let outer = self.enter()?;
        self.blocks += 1;
        let statements = self.statements(|p| p.at("}") || p.at_end())?;
        self.blocks -= 1;
        self.expect("}")?;
        self.leave(outer);
        Ok(statements)
    }

    /// A block, or the one statement that stands for it.
    pub(super) fn body(&mut self) -> Parsed<Vec<Stmt>> {
        self.skip_newlines();
        if self.at("{") {
            return self.block();
        }
        let mut statements = Vec::new();
        if self.eat(";") {
            return Ok(statements);
        }
        let outer = self.enter()?;
        self.blocks += 1;
        self.statement(&mut statements)?;
        self.blocks -= 1;
        self.leave(outer);
        Ok(statements)
    }

    /// One statement without its end. Most push one, some none (`import`), `int a, b` two.
    pub(super) fn statement(&mut self, out: &mut Vec<Stmt>) -> Parsed<()> {
        match self.peek() {
            Tok::Punct("@") => return self.annotated(out),
            Tok::Punct("{") if !self.closure_has_parameters() => return Err(self.error(AMBIGUOUS)),
            Tok::Name(_) => {}
            _ => return self.plain(Parser::value_statement, out),
        }
        if self.at_label() {
            self.labelled(out)
        } else if self.at_declaration() {
            self.declaration(out)
        } else if self.class_ahead() {
            self.class()
        } else if self.at_word("import") || self.at_word("package") {
            self.import()
        } else {
            self.plain(self.keyword(), out)
        }
    }

    /// A statement that is one node.
    fn plain(&mut self, read: fn(&mut Self) -> Parsed<StmtKind>, out: &mut Vec<Stmt>) -> Parsed<()> {
        let pos = self.pos();
        let kind = read(self)?;
        out.push(Stmt { pos, kind });
        Ok(())
    }

    /// What reads the statement that begins with the word here.
    fn keyword(&self) -> fn(&mut Self) -> Parsed<StmtKind> {
        match self.word().unwrap_or_default() {
            "if" => Parser::if_statement,
            "while" => |p| p.while_loop(None),
            "do" => |p| p.do_loop(None),
            "for" => |p| p.for_loop(None),
            "switch" => Parser::switch,
            "try" => Parser::try_statement,
            "synchronized" => Parser::synchronized,
            "assert" => Parser::assert,
            "return" => Parser::return_statement,
            "throw" => Parser::throw,
            "break" => |p| p.jump(StmtKind::Break),
            "continue" => |p| p.jump(StmtKind::Continue),
            _ => Parser::value_statement,
        }
    }

    fn value_statement(&mut self) -> Parsed<StmtKind> {
        Ok(StmtKind::Expr(self.expression_statement()?))
    }

    fn return_statement(&mut self) -> Parsed<StmtKind> {
        self.next();
        let value = if self.at_statement_end() { None } else { Some(self.expression_statement()?) };
        Ok(StmtKind::Return(value))
    }

    fn throw(&mut self) -> Parsed<StmtKind> {
        self.next();
        Ok(StmtKind::Throw(self.expression()?))
    }

    fn jump(&mut self, kind: fn(Option<String>) -> StmtKind) -> Parsed<StmtKind> {
        self.next();
        Ok(kind(self.jump_label()))
    }

    fn jump_label(&mut self) -> Option<String> {
        self.word().is_some_and(|word| !scan::reserved(word)).then(|| self.take_name())
    }

    pub(super) fn at_statement_end(&self) -> bool {
        matches!(self.peek(), Tok::Newline | Tok::End | Tok::HoleEnd | Tok::Punct(";" | "}"))
    }

    /// `name: statement`
    fn at_label(&self) -> bool {
        self.at_key() && self.word().is_some_and(|word| !scan::reserved(word))
    }

    /// A label means something to loops only. It makes a block of what would be a closure.
    fn labelled(&mut self, out: &mut Vec<Stmt>) -> Parsed<()> {
        let pos = self.pos();
        let label = self.take_name();
        self.expect(":")?;
        self.skip_newlines();
        let read: fn(&mut Self, Option<String>) -> Parsed<StmtKind> = match self.word() {
            Some("while") => Parser::while_loop,
            Some("do") => Parser::do_loop,
            Some("for") => Parser::for_loop,
            _ if self.at("{") => |p, _| Ok(StmtKind::Block(p.block()?)),
            _ => {
                let outer = self.enter()?;
                self.statement(out)?;
                self.leave(outer);
                return Ok(());
            }
        };
        let kind = read(self, Some(label))?;
        out.push(Stmt { pos, kind });
        Ok(())
    }

    /// `import a.b.C as D`: there is nothing to import from, the names are known or not.
    fn import(&mut self) -> Parsed<()> {
        self.next();
        self.eat_word("static");
        loop {
            match self.peek() {
                Tok::Name(_) | Tok::Punct("." | "*") => {
                    self.next();
                }
                _ if self.at_statement_end() => return Ok(()),
                _ => return Err(self.unexpected()),
            }
        }
    }

    /// An expression that stands alone, after `=`, or after `return`: calls need no parentheses here.
    pub(super) fn expression_statement(&mut self) -> Parsed<Expr> {
        let outer = self.enter()?;
        let value = if self.at("(") && self.at_tuple_assignment() {
            self.tuple_assignment()?
        } else {
            self.assignment(true)?
        };
        self.leave(outer);
        Ok(value)
    }

    /// `(a, b) = [b, a]`
    fn tuple_assignment(&mut self) -> Parsed<Expr> {
        let pos = self.pos();
        self.expect("(")?;
        let mut names = Vec::new();
        loop {
            let pos = self.pos();
            names.push(Expr { pos, kind: ExprKind::Name(self.name("a name")?) });
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        self.expect("=")?;
        self.skip_newlines();
        let value = Box::new(self.expression_statement()?);
        let target = Box::new(Expr { pos, kind: ExprKind::List(names) });
        Ok(Expr { pos, kind: ExprKind::Assign { target, op: None, value } })
    }

    pub(super) fn refuse(&self, pos: Pos, message: &str) -> Diagnostic {
        Diagnostic::new(pos, message)
    }
}
