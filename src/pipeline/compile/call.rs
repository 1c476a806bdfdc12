//! Calls and their arguments.

use super::code::{Call, Op};
use super::{Compiler, Place};
use crate::ast::{Arguments, Expr, ExprKind, Pos};

impl Compiler {
    pub(super) fn call(
        &mut self,
        pos: Pos,
        object: Option<&Expr>,
        name: &Expr,
        arguments: &Arguments,
        safe: bool,
        spread: bool,
    ) {
        match object {
            None => self.call_name(pos, name, arguments),
            Some(Expr { kind: ExprKind::Super, .. }) => {
                let ExprKind::Str(name) = &name.kind else {
                    return self.error("A method of super is called by its plain name");
                };
                self.op(Op::This);
                let call = self.arguments(arguments);
                let name = self.string(name);
                self.pos = pos;
                self.op(Op::CallSuper(name, call));
            }
            Some(object) if spread => {
                let (name, arguments) = (Box::new(name.clone()), arguments.clone());
                self.spread_over(object, |element| ExprKind::Call {
                    object: Some(element),
                    name,
                    arguments,
                    safe: true,
                    spread: false,
                });
            }
            Some(object) => {
                self.expr(object);
                let skip = safe.then(|| self.op(Op::JumpNull(0)));
                self.call_method(pos, name, arguments);
                skip.into_iter().for_each(|at| self.patch(at));
            }
        }
    }

    /// `super(…)`, `object.name { … }`, `closures[0](…)`
    pub(super) fn call_value(&mut self, pos: Pos, callee: &Expr, arguments: &Arguments) {
        match &callee.kind {
            ExprKind::This | ExprKind::Super => {
                self.op(Op::This);
                let call = self.arguments(arguments);
                let name = if callee.kind == ExprKind::This { "this" } else { "super" };
                let name = self.string(name);
                self.op(Op::CallSuper(name, call));
            }
            ExprKind::Property { object, name, safe, spread } => {
                self.call(pos, Some(object), name, arguments, *safe, *spread);
            }
            _ => {
                self.expr(callee);
                let call = self.arguments(arguments);
                self.pos = pos;
                self.op(Op::CallValue(call));
            }
        }
    }

    fn call_method(&mut self, pos: Pos, name: &Expr, arguments: &Arguments) {
        match &name.kind {
            ExprKind::Str(text) => {
                let call = self.arguments(arguments);
                let text = self.string(text);
                // Of a chain over several lines, the link that is called.
                self.pos = name.pos;
                self.op(Op::CallMethod(text, call));
            }
            _ => {
                self.expr(name);
                self.op(Op::ToText);
                let call = self.arguments(arguments);
                self.pos = pos;
                self.op(Op::CallDynMethod(call));
            }
        }
    }

    fn call_name(&mut self, pos: Pos, name: &Expr, arguments: &Arguments) {
        let ExprKind::Str(text) = &name.kind else {
            self.expr(name);
            self.op(Op::ToText);
            let call = self.arguments(arguments);
            self.pos = pos;
            self.op(Op::CallDynName(call));
            return;
        };
        let walks = match text.as_str() {
            super::declarative::RUN => self.image.library("$pipeline"),
            super::freestyle::RUN => self.image.library("$freestyle"),
            _ => None,
        };
        if let Some(code) = walks {
            let call = self.arguments(arguments);
            self.pos = pos;
            self.op(Op::CallCode(code, call.count));
            return;
        }
        if !matches!(self.resolve(text), Place::Global) {
            self.load(text);
            let call = self.arguments(arguments);
            self.pos = pos;
            self.op(Op::CallValue(call));
            return;
        }
        let call = self.arguments(arguments);
        self.pos = pos;
        let name = self.string(text);
        self.op(Op::CallName(name, call));
    }

    /// Named arguments come first, as one map.
    pub(super) fn arguments(&mut self, arguments: &Arguments) -> Call {
        let named = !arguments.named.is_empty();
        if named {
            self.map(&arguments.named);
        }
        let spread = arguments.positional.iter().any(|e| matches!(e.kind, ExprKind::Spread(_)));
        if !spread {
            arguments.positional.iter().for_each(|e| self.expr(e));
            let count = super::slot(arguments.positional.len() + usize::from(named));
            return Call { count, named, spread };
        }
        self.op(Op::List(u32::from(named)));
        for argument in &arguments.positional {
            match &argument.kind {
                ExprKind::Spread(inner) => {
                    self.expr(inner);
                    self.op(Op::AppendAll);
                }
                _ => {
                    self.expr(argument);
                    self.op(Op::Append);
                }
            }
        }
        Call { count: 1, named, spread }
    }
}
