//! Closures.

use super::{Parsed, Parser, expr};
use crate::ast::{Expr, ExprKind, Parameter};

impl Parser<'_> {
    /// `{ a, b -> … }`, `{ -> … }`, `{ … }`
    pub(super) fn closure(&mut self) -> Parsed<Expr> {
        let pos = self.pos();
        let has_parameters = self.closure_has_parameters();
        self.expect("{")?;
        let outer = self.enter()?;
        self.blocks += 1;
        let parameters = if has_parameters { Some(self.closure_parameters()?) } else { None };
        let body = self.statements(|p| p.at("}") || p.at_end())?;
        self.blocks -= 1;
        self.expect("}")?;
        self.leave(outer);
        Ok(expr(pos, ExprKind::Closure { parameters, body }))
    }

    /// What stands before `->`, and that.
    pub(super) fn closure_parameters(&mut self) -> Parsed<Vec<Parameter>> {
        self.skip_newlines();
        let parameters = if self.at("->") { Vec::new() } else { self.parameters()? };
        self.skip_newlines();
        self.expect("->")?;
        Ok(parameters)
    }
}
