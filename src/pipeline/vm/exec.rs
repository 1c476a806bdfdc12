//! One instruction.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Vm;
use super::branch::Ret;
use super::fault::{Fault, class};
use super::value::{Object, Value};
use crate::ast::BinaryOp;
use crate::compile::code::{Call, Op};

/// How many values a range may stand for where it has to become a list.
pub(crate) const RANGE_LIMIT: i64 = 1_000_000;

impl Vm {
    pub(crate) fn execute(&mut self) -> Result<(), Fault> {
        let Some(frame) = self.cur.frames.last_mut() else {
            self.branch_ends(Ok(Value::Null));
            return Ok(());
        };
        let op = self.program.image.codes[frame.code as usize].ops[frame.pc as usize];
        frame.pc += 1;
        match op {
            Op::Const(at) => {
                let value = self.program.image.constants[at as usize].clone();
                self.push(value);
            }
            Op::Null => self.push(Value::Null),
            Op::True => self.push(Value::Bool(true)),
            Op::False => self.push(Value::Bool(false)),
            Op::This => {
                let this = self.cur.frames.last().map_or(Value::Null, |f| f.this.clone());
                self.push(this);
            }
            Op::Pop => {
                self.pop();
            }
            Op::Dup => {
                let top = self.peek(0);
                self.push(top);
            }
            Op::Dup2 => {
                let (below, top) = (self.peek(1), self.peek(0));
                self.push(below);
                self.push(top);
            }
            Op::Local(_)
            | Op::SetLocal(_)
            | Op::InitLocal(_)
            | Op::Cell(_)
            | Op::SetCell(_)
            | Op::InitCell(_) => {
                self.variable(op);
            }
            Op::Captured(_) | Op::SetCaptured(_) => self.variable(op),
            Op::IfGiven(slot, to) => {
                if !self.is_absent(slot) {
                    self.jump(to);
                }
            }
            Op::Jump(_) | Op::JumpIf(_) | Op::JumpUnless(_) | Op::JumpNull(_) | Op::JumpIfKeep(_) => {
                self.jumps(op)?;
            }
            Op::Name(at) => {
                let name = self.name(at);
                self.get_name(&name)?;
            }
            Op::SetName(at) => {
                let (name, value) = (self.name(at), self.pop());
                self.set_name(name, value)?;
            }
            Op::Property(at) => {
                let (name, object) = (self.name(at), self.pop());
                self.get_property(&object, &name)?;
            }
            Op::DynProperty => {
                let (name, object) = (self.pop(), self.pop());
                let name = self.text(&name);
                self.get_property(&object, &name)?;
            }
            Op::SetProperty(at) => {
                let (name, value, object) = (self.name(at), self.pop(), self.pop());
                self.set_property(&object, &name, value)?;
            }
            Op::SetDynProperty => {
                let (value, name, object) = (self.pop(), self.pop(), self.pop());
                let name = self.text(&name);
                self.set_property(&object, &name, value)?;
            }
            Op::Index => {
                let (index, object) = (self.pop(), self.pop());
                if !self.reads_default(&object, &index)? {
                    let value = self.get_index(&object, &index)?;
                    self.push(value);
                }
            }
            Op::SetIndex => {
                let (value, index, object) = (self.pop(), self.pop(), self.pop());
                self.set_index(&object, &index, value.clone())?;
                self.push(value);
            }
            Op::List(_) | Op::Map(_) | Op::Append | Op::AppendAll | Op::Put | Op::PutAll | Op::Range(_) => {
                self.collections(op)?;
            }
            Op::Text(count) => self.join_text(count as usize)?,
            Op::ToText => self.show()?,
            Op::Closure(code) => self.make_closure(code),
            Op::Binary(op) => {
                let (right, left) = (self.pop(), self.pop());
                self.binary(op, left, right)?;
            }
            Op::Unary(op) => {
                let value = self.pop();
                let value = self.unary(op, &value)?;
                self.push(value);
            }
            Op::Not => {
                let value = self.pop();
                let truth = self.truth(&value);
                self.push(Value::Bool(!truth));
            }
            Op::Truth => {
                let value = self.pop();
                let truth = self.truth(&value);
                self.push(Value::Bool(truth));
            }
            Op::IsCase => {
                let (case, subject) = (self.pop(), self.pop());
                self.is_case(case, subject)?;
            }
            Op::Iterate(slot) => {
                let value = self.pop();
                let cursor = self.cursor(&value)?;
                let cursor = self.heap.add(Object::Iterator(cursor));
                self.set_local(slot, cursor);
            }
            Op::Next(slot, to) => match self.advance(slot) {
                Some(value) => self.push(value),
                None => self.jump(to),
            },
            Op::Return => {
                let value = self.pop();
                self.returns(value)?;
            }
            Op::Throw => {
                let value = self.pop();
                return Err(self.thrown_value(value));
            }
            Op::InstanceOf(at) => {
                let (ty, value) = (self.name(at), self.pop());
                let fits = self.instance_of(&value, &ty);
                self.push(Value::Bool(fits));
            }
            Op::Cast(at) => {
                let (ty, value) = (self.name(at), self.pop());
                let value = self.cast(value, &ty)?;
                self.push(value);
            }
            Op::Coerce(at) => {
                let (ty, value) = (self.name(at), self.pop());
                let value = self.coerce(value, &ty)?;
                self.push(value);
            }
            Op::Pointer(at) => {
                let (name, object) = (self.name(at), self.pop());
                let pointer = self.heap.add(Object::Pointer(object, name));
                self.push(pointer);
            }
            Op::AssertFailed => {
                let (source, message) = (self.pop(), self.pop());
                let source = self.text(&source);
                let message = match message {
                    Value::Null => format!("assert {source}"),
                    message => format!("{}. Expression: ({source})", self.text(&message)),
                };
                return Err(Fault::new(class::ASSERT, message));
            }
            Op::CallName(..)
            | Op::CallMethod(..)
            | Op::CallDynMethod(_)
            | Op::CallDynName(_)
            | Op::CallValue(_) => {
                return self.calls(op);
            }
            Op::CallCode(..) | Op::New(..) | Op::CallSuper(..) => return self.calls(op),
        }
        Ok(())
    }

    fn calls(&mut self, op: Op) -> Result<(), Fault> {
        match op {
            Op::CallName(at, call) => {
                let (name, args) = (self.name(at), self.args(call));
                self.call_name(&name, args, call.named)
            }
            Op::CallMethod(at, call) => {
                let (name, args) = (self.name(at), self.args(call));
                let object = self.pop();
                self.call_method(object, &name, args, call.named)
            }
            Op::CallDynMethod(call) => {
                let args = self.args(call);
                let (name, object) = (self.pop(), self.pop());
                let name = self.text(&name);
                self.call_method(object, &name, args, call.named)
            }
            Op::CallDynName(call) => {
                let args = self.args(call);
                let name = self.pop();
                let name = self.text(&name);
                self.call_name(&name, args, call.named)
            }
            Op::CallValue(call) => {
                let args = self.args(call);
                let callee = self.pop();
                self.call_value(callee, args, Ret::Push)
            }
            Op::CallCode(code, count) => {
                let args = self.args(Call { count, named: false, spread: false });
                self.call_code(code, args, Value::Global(super::value::Global::Script), Ret::Push)
            }
            Op::New(at, call) => {
                let (name, args) = (self.name(at), self.args(call));
                self.construct(&name, args, call.named)
            }
            Op::CallSuper(at, call) => {
                let (name, args) = (self.name(at), self.args(call));
                let this = self.pop();
                self.call_super(this, &name, args)
            }
            _ => Ok(()),
        }
    }

    fn jumps(&mut self, op: Op) -> Result<(), Fault> {
        match op {
            Op::Jump(to) => self.jump(to),
            Op::JumpIf(to) | Op::JumpUnless(to) => {
                let value = self.pop();
                if self.truth(&value) == matches!(op, Op::JumpIf(_)) {
                    self.jump(to);
                }
            }
            Op::JumpNull(to) if self.peek(0).is_null() => self.jump(to),
            Op::JumpIfKeep(to) => {
                let value = self.peek(0);
                if self.truth(&value) {
                    self.jump(to);
                } else {
                    self.pop();
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A class of the script may have a `toString` of its own.
    fn show(&mut self) -> Result<(), Fault> {
        let value = self.pop();
        if let Some(code) = self.own_method(&value, "toString", &[]) {
            return self.call_code(code, Vec::new(), value, Ret::Push);
        }
        let text = self.text(&value);
        self.limit_text(text.len())?;
        self.heap.charge(text.len());
        self.push(Value::from(text));
        Ok(())
    }

    fn is_case(&mut self, case: Value, subject: Value) -> Result<(), Fault> {
        let fits = match (&case, self.heap.object(&case)) {
            (_, Some(Object::Closure(_))) => return self.call_value(case, vec![subject], Ret::Truth),
            (_, Some(Object::List(_) | Object::Set(_))) | (Value::Range(..), _) => {
                self.contains(&case, &subject)?
            }
            (Value::Class(name), _) => self.instance_of(&subject, &name.clone()),
            (Value::Pattern(regex), _) => regex.whole(&self.text(&subject), &mut self.heap.work)?.is_some(),
            _ => self.equal(&case, &subject),
        };
        self.push(Value::Bool(fits));
        Ok(())
    }

    // -- the stack -------------------------------------------------------------------------------

    pub(crate) fn push(&mut self, value: Value) {
        self.cur.stack.push(value);
    }

    pub(crate) fn pop(&mut self) -> Value {
        self.cur.stack.pop().unwrap_or(Value::Null)
    }

    pub(super) fn peek(&self, below: usize) -> Value {
        self.cur.stack.iter().rev().nth(below).cloned().unwrap_or(Value::Null)
    }

    pub(super) fn jump(&mut self, to: u32) {
        if let Some(frame) = self.cur.frames.last_mut() {
            frame.pc = to;
        }
    }

    fn name(&self, at: u32) -> Arc<str> {
        match &self.program.image.constants[at as usize] {
            Value::Str(name) => name.clone(),
            _ => Arc::from(""),
        }
    }

    fn args(&mut self, call: Call) -> Vec<Value> {
        if call.spread {
            let list = self.pop();
            return match self.heap.object(&list) {
                Some(Object::List(items)) => items.clone(),
                _ => Vec::new(),
            };
        }
        let at = self.cur.stack.len() - call.count as usize;
        self.cur.stack.split_off(at)
    }

    /// What a comparison with an operator says of the result of `compareTo`.
    pub(crate) fn ordered(op: BinaryOp, ordering: Ordering) -> Value {
        Value::Bool(match op {
            BinaryOp::Less => ordering.is_lt(),
            BinaryOp::LessEqual => ordering.is_le(),
            BinaryOp::Greater => ordering.is_gt(),
            BinaryOp::GreaterEqual => ordering.is_ge(),
            _ => return Value::Int(ordering as i32),
        })
    }
}
