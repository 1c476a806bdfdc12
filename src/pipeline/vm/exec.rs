//! One instruction.

use std::cmp::Ordering;
use std::sync::Arc;

use super::branch::Ret;
use super::fault::{Fault, class};
use super::ordered::OrderedMap;
use super::value::{Cursor, Object, Value};
use super::{Vm, compare};
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
                let value = self.get_index(&object, &index)?;
                self.push(value);
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

    fn variable(&mut self, op: Op) {
        let Some(frame) = self.cur.frames.last() else { return };
        let base = frame.base;
        match op {
            Op::Local(slot) => {
                let value = self.cur.stack[base + slot as usize].clone();
                self.push(value);
            }
            Op::SetLocal(slot) | Op::InitLocal(slot) => {
                let value = self.pop();
                self.cur.stack[base + slot as usize] = value;
            }
            Op::Cell(slot) => {
                let value = match self.cur.stack[base + slot as usize] {
                    Value::Ref(at) => self.heap.cell(at),
                    _ => Value::Null,
                };
                self.push(value);
            }
            Op::SetCell(slot) => {
                let value = self.pop();
                match self.cur.stack[base + slot as usize] {
                    Value::Ref(at) => self.heap.set_cell(at, value),
                    _ => self.cur.stack[base + slot as usize] = self.heap.add(Object::Cell(value)),
                }
            }
            Op::InitCell(slot) => {
                let value = self.pop();
                self.cur.stack[base + slot as usize] = self.heap.add(Object::Cell(value));
            }
            Op::Captured(slot) => {
                let value = self.heap.cell(frame.captures[slot as usize]);
                self.push(value);
            }
            Op::SetCaptured(slot) => {
                let at = frame.captures[slot as usize];
                let value = self.pop();
                self.heap.set_cell(at, value);
            }
            _ => {}
        }
    }

    fn set_local(&mut self, slot: u16, value: Value) {
        if let Some(base) = self.cur.frames.last().map(|f| f.base) {
            self.cur.stack[base + slot as usize] = value;
        }
    }

    fn is_absent(&self, slot: u16) -> bool {
        let Some(frame) = self.cur.frames.last() else { return false };
        match &self.cur.stack[frame.base + slot as usize] {
            Value::Absent => true,
            value => matches!(self.heap.object(value), Some(Object::Cell(Value::Absent))),
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

    fn collections(&mut self, op: Op) -> Result<(), Fault> {
        match op {
            Op::List(count) => {
                let at = self.cur.stack.len() - count as usize;
                let items = self.cur.stack.split_off(at);
                let list = self.heap.list(items);
                self.push(list);
            }
            Op::Map(_) => {
                let map = self.heap.add(Object::Map(OrderedMap::default()));
                self.push(map);
            }
            Op::Append => {
                let value = self.pop();
                let list = self.peek(0);
                self.heap.charge(24);
                if let Some(Object::List(items)) = self.heap.object_mut(&list) {
                    items.push(value);
                }
            }
            Op::AppendAll => {
                let value = self.pop();
                let more = if value.is_null() { vec![Value::Null] } else { self.items(&value)? };
                let list = self.peek(0);
                self.heap.charge(24 * more.len());
                if let Some(Object::List(items)) = self.heap.object_mut(&list) {
                    items.extend(more);
                }
            }
            Op::Put => {
                let (value, key) = (self.pop(), self.pop());
                let map = self.peek(0);
                self.map_put(&map, key, value);
            }
            Op::PutAll => {
                let (value, map) = (self.pop(), self.peek(0));
                for (key, value) in self.pairs(&value) {
                    self.map_put(&map, key, value);
                }
            }
            Op::Range(inclusive) => {
                let (to, from) = (self.pop(), self.pop());
                let range = self.range(&from, &to, inclusive)?;
                self.push(range);
            }
            _ => {}
        }
        Ok(())
    }

    fn range(&mut self, from: &Value, to: &Value, inclusive: bool) -> Result<Value, Fault> {
        if let (Value::Str(a), Value::Str(b)) = (from, to)
            && let (Some(a), Some(b)) = (a.chars().next(), b.chars().next())
        {
            let (low, high) = (a.min(b), a.max(b));
            let mut items: Vec<Value> = (low..=high).map(|c| Value::from(c.to_string())).collect();
            if a > b {
                items.reverse();
            }
            if !inclusive {
                items.pop();
            }
            return Ok(self.heap.list(items));
        }
        let (Some(from), Some(mut to)) = (compare::whole(from), compare::whole(to)) else {
            return Err(Fault::argument(
                "a range goes from a number to a number or from a letter to a letter",
            ));
        };
        if !inclusive {
            match from.cmp(&to) {
                Ordering::Equal => return Ok(self.heap.list(Vec::new())),
                Ordering::Less => to -= 1,
                Ordering::Greater => to += 1,
            }
        }
        Ok(Value::Range(from, to))
    }

    fn join_text(&mut self, count: usize) -> Result<(), Fault> {
        let at = self.cur.stack.len() - count;
        let parts = self.cur.stack.split_off(at);
        let mut text = String::new();
        for part in &parts {
            match part {
                Value::Str(part) => text.push_str(part),
                other => text.push_str(&self.text(other)),
            }
            self.limit_text(text.len())?;
        }
        self.heap.charge(text.len());
        self.push(Value::from(text));
        Ok(())
    }

    /// A class of the script may have a `toString` of its own.
    fn show(&mut self) -> Result<(), Fault> {
        let value = self.pop();
        if let Some(code) = self.own_method(&value, "toString", 0) {
            return self.call_code(code, Vec::new(), value, Ret::Push);
        }
        let text = self.text(&value);
        self.limit_text(text.len())?;
        self.heap.charge(text.len());
        self.push(Value::from(text));
        Ok(())
    }

    fn make_closure(&mut self, code: u32) {
        let Some(frame) = self.cur.frames.last() else { return };
        let (base, this, outer) = (frame.base, frame.this.clone(), frame.closure.clone());
        let captures = frame.captures.clone();
        let program = self.program.clone();
        let wanted = &program.image.codes[code as usize].captures;
        let mut cells = Vec::with_capacity(wanted.len());
        for capture in wanted {
            use crate::compile::code::Capture;
            cells.push(match capture {
                Capture::Captured(at) => captures[*at as usize],
                Capture::Local(slot) => match self.cur.stack[base + *slot as usize].clone() {
                    Value::Ref(at) if matches!(self.heap.get(at), Object::Cell(_)) => at,
                    plain => {
                        let at = self.heap.add_ref(Object::Cell(plain));
                        self.cur.stack[base + *slot as usize] = Value::Ref(at);
                        at
                    }
                },
            });
        }
        let (delegate, delegate_first) = match self.heap.object(&outer) {
            Some(Object::Closure(outer)) => (outer.delegate.clone(), outer.delegate_first),
            _ => (Value::Null, false),
        };
        let closure = super::value::Closure {
            code,
            captures: Arc::from(cells),
            this,
            delegate,
            delegate_first,
            bound: Vec::new(),
            then: Vec::new(),
        };
        let closure = self.heap.add(Object::Closure(closure));
        self.push(closure);
    }

    fn is_case(&mut self, case: Value, subject: Value) -> Result<(), Fault> {
        let fits = match (&case, self.heap.object(&case)) {
            (_, Some(Object::Closure(_))) => return self.call_value(case, vec![subject], Ret::Truth),
            (_, Some(Object::List(_) | Object::Set(_))) | (Value::Range(..), _) => {
                self.contains(&case, &subject)?
            }
            (Value::Class(name), _) => self.instance_of(&subject, &name.clone()),
            (Value::Pattern(regex), _) => regex.whole(&self.text(&subject))?.is_some(),
            _ => self.equal(&case, &subject),
        };
        self.push(Value::Bool(fits));
        Ok(())
    }

    fn advance(&mut self, slot: u16) -> Option<Value> {
        let base = self.cur.frames.last()?.base;
        let cursor = self.cur.stack[base + slot as usize].clone();
        match self.heap.object_mut(&cursor)? {
            Object::Iterator(Cursor::Items(items, at)) => {
                let value = items.get(*at).cloned();
                *at += 1;
                value
            }
            Object::Iterator(Cursor::Range { next, last, done }) => {
                if *done {
                    return None;
                }
                let value = *next;
                *done = value == *last;
                *next = if *last > value { value + 1 } else { value.wrapping_sub(1) };
                Some(Value::Int(value))
            }
            _ => None,
        }
    }

    // -- the stack -------------------------------------------------------------------------------

    pub(crate) fn push(&mut self, value: Value) {
        self.cur.stack.push(value);
    }

    pub(crate) fn pop(&mut self) -> Value {
        self.cur.stack.pop().unwrap_or(Value::Null)
    }

    fn peek(&self, below: usize) -> Value {
        self.cur.stack.iter().rev().nth(below).cloned().unwrap_or(Value::Null)
    }

    fn jump(&mut self, to: u32) {
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
            _ => return Value::Int(ordering as i64),
        })
    }
}
