//! Statements that begin with a keyword: branches, loops, `try`, `assert`.

use super::{Parsed, Parser};
use crate::ast::{Case, Catch, Expr, Stmt, StmtKind};
use crate::lexer::Tok;

impl Parser<'_> {
    /// `(condition)`
    fn condition(&mut self) -> Parsed<Expr> {
        self.expect("(")?;
        let condition = self.expression()?;
        self.expect(")")?;
        Ok(condition)
    }

    pub(super) fn if_statement(&mut self) -> Parsed<StmtKind> {
        self.next();
        let condition = self.condition()?;
        let then = self.body()?;
        let otherwise = if self.reach_word("else") { self.body()? } else { Vec::new() };
        Ok(StmtKind::If { condition, then, otherwise })
    }

    /// Takes `word`, also on a later line, if it is what follows.
    fn reach_word(&mut self, word: &str) -> bool {
        let mut ahead = 0;
        while matches!(self.token(ahead).tok, Tok::Newline) || (ahead == 0 && self.at(";")) {
            ahead += 1;
        }
        let found = matches!(&self.token(ahead).tok, Tok::Name(name) if name == word);
        if found {
            self.at += ahead + 1;
        }
        found
    }

    pub(super) fn while_loop(&mut self, label: Option<String>) -> Parsed<StmtKind> {
        self.next();
        let condition = self.condition()?;
        let body = self.body()?;
        Ok(StmtKind::While { label, condition, body, body_first: false })
    }

    pub(super) fn do_loop(&mut self, label: Option<String>) -> Parsed<StmtKind> {
        self.next();
        let body = self.body()?;
        if !self.reach_word("while") {
            return Err(self.expecting("'while'"));
        }
        let condition = self.condition()?;
        Ok(StmtKind::While { label, condition, body, body_first: true })
    }

    pub(super) fn for_loop(&mut self, label: Option<String>) -> Parsed<StmtKind> {
        self.next();
        if !self.at("(") {
            return Err(self.expecting("'('"));
        }
        if self.at_counting_loop() {
            return self.counting_loop(label);
        }
        self.expect("(")?;
        self.skip_modifiers();
        self.eat_word("def");
        if let Some(ty) = self.scan_type(0)
            && matches!(self.token(ty.end).tok, Tok::Name(ref name) if name != "in")
        {
            self.at += ty.end;
        }
        let variable = self.name("the variable of the loop")?;
        if !self.eat_word("in") && !self.eat(":") {
            return Err(self.expecting("'in'"));
        }
        let iterable = self.expression()?;
        self.expect(")")?;
        let body = self.body()?;
        Ok(StmtKind::ForIn { label, variable, iterable, body })
    }

    fn counting_loop(&mut self, label: Option<String>) -> Parsed<StmtKind> {
        self.expect("(")?;
        let mut init = Vec::new();
        while !self.eat(";") {
            self.statement(&mut init)?;
            if !self.eat(",") && !self.at(";") {
                return Err(self.expecting("';'"));
            }
        }
        let condition = if self.at(";") { None } else { Some(self.expression()?) };
        self.expect(";")?;
        let mut update = Vec::new();
        while !self.at(")") {
            update.push(self.expression()?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        let body = self.body()?;
        Ok(StmtKind::For { label, init, condition, update, body })
    }

    pub(super) fn switch(&mut self) -> Parsed<StmtKind> {
        self.next();
        let subject = self.condition()?;
        self.skip_newlines();
        self.expect("{")?;
        let outer = self.enter()?;
        self.blocks += 1;
        let mut cases = Vec::new();
        loop {
            self.skip_separators();
            let pos = self.pos();
            let value = if self.eat_word("case") {
                Some(self.expression()?)
            } else if self.eat_word("default") {
                None
            } else {
                break;
            };
            self.expect(":")?;
            let body =
                self.statements(|p| p.at("}") || p.at_end() || p.at_word("case") || p.at_word("default"))?;
            cases.push(Case { pos, value, body });
        }
        self.expect("}")?;
        self.blocks -= 1;
        self.leave(outer);
        Ok(StmtKind::Switch { subject, cases })
    }

    pub(super) fn try_statement(&mut self) -> Parsed<StmtKind> {
        self.next();
        self.skip_newlines();
        let body = self.block()?;
        let mut catches = Vec::new();
        loop {
            if !self.reach_word("catch") {
                break;
            }
            catches.push(self.catch()?);
        }
        let has_finally = self.reach_word("finally");
        if catches.is_empty() && !has_finally {
            return Err(self.expecting("'catch' or 'finally'"));
        }
        let finally = if has_finally { self.finally()? } else { Vec::new() };
        Ok(StmtKind::Try { body, catches, finally })
    }

    fn finally(&mut self) -> Parsed<Vec<Stmt>> {
        self.skip_newlines();
        self.block()
    }

    /// `(A | B e) { … }` behind `catch`
    fn catch(&mut self) -> Parsed<Catch> {
        let pos = self.pos();
        self.expect("(")?;
        self.skip_modifiers();
        let mut types = Vec::new();
        if !self.eat_word("def") {
            while !matches!(self.token(1).tok, Tok::Punct(")")) {
                types.push(self.type_name()?);
                if !self.eat("|") {
                    break;
                }
            }
        }
        let name = self.name("the name of the exception")?;
        self.expect(")")?;
        self.skip_newlines();
        let body = self.block()?;
        Ok(Catch { pos, types, name, body })
    }

    /// One thread of a build runs at a time: the block needs no lock.
    pub(super) fn synchronized(&mut self) -> Parsed<StmtKind> {
        self.next();
        let _lock = self.condition()?;
        self.skip_newlines();
        Ok(StmtKind::Block(self.block()?))
    }

    pub(super) fn assert(&mut self) -> Parsed<StmtKind> {
        self.next();
        let from = self.token(0).from as usize;
        let condition = self.expression()?;
        let to = self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(from, |t| t.to as usize);
        let source = self.source.get(from..to).unwrap_or_default().to_owned();
        let message = if self.eat(":") || self.eat(",") {
            self.skip_newlines();
            Some(self.expression()?)
        } else {
            None
        };
        Ok(StmtKind::Assert { condition, message, source })
    }
}
