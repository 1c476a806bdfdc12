//! Functions, closures and their parameters.

use std::sync::Arc;

use super::code::{Op, Param};
use super::{Compiler, FnState};
use crate::ast::{Function, Parameter, Stmt};

impl Compiler {
    pub(super) fn function(&mut self, function: &Function, class: Option<u32>) -> u32 {
        self.pos = function.pos;
        let state = FnState {
            name: function.name.clone(),
            class,
            returns: function.returns.clone(),
            ..FnState::default()
        };
        self.body(state, Some(&function.parameters), &function.body)
    }

    pub(super) fn closure(&mut self, parameters: Option<&[Parameter]>, body: &[Stmt]) {
        let class = self.f().class;
        let state = FnState { name: "call".into(), class, is_closure: true, ..FnState::default() };
        let code = self.body(state, parameters, body);
        self.op(Op::Closure(code));
    }

    fn body(&mut self, state: FnState, parameters: Option<&[Parameter]>, body: &[Stmt]) -> u32 {
        let start = self.pos;
        self.begin(state);
        match parameters {
            None => {
                self.f().implicit_it = true;
                self.declare("it");
            }
            Some(parameters) => self.parameters(parameters),
        }
        self.tail(body);
        self.pos = start;
        self.end()
    }

    fn parameters(&mut self, parameters: &[Parameter]) {
        for parameter in parameters {
            self.f().params.push(Param {
                name: Arc::from(parameter.name.as_str()),
                ty: parameter.ty.as_deref().map(Arc::from),
                optional: parameter.default.is_some(),
                varargs: parameter.varargs,
            });
            let ty = parameter.ty.as_deref().filter(|_| !parameter.varargs);
            self.declare_typed(&parameter.name, ty);
        }
        for (at, parameter) in parameters.iter().enumerate() {
            if let Some(default) = &parameter.default {
                let slot = super::slot(at);
                let given = self.op(Op::IfGiven(slot, 0));
                self.expr(default);
                parameter.ty.iter().for_each(|ty| self.coerce(ty));
                self.op(Op::SetLocal(slot));
                self.patch(given);
            }
        }
    }

    /// A body whose last expression is its value.
    pub(super) fn tail(&mut self, body: &[Stmt]) {
        self.tail_inner(body);
        self.op(Op::Null);
        self.leave_as_is();
    }
}
