//! Locals, cells, captured variables and the cursors of loops.

use std::sync::Arc;

use super::Vm;
use super::value::{Closure, Cursor, Object, Value};
use crate::compile::code::{Capture, Op};

impl Vm {
    pub(super) fn variable(&mut self, op: Op) {
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

    pub(super) fn set_local(&mut self, slot: u16, value: Value) {
        if let Some(base) = self.cur.frames.last().map(|f| f.base) {
            self.cur.stack[base + slot as usize] = value;
        }
    }

    pub(super) fn is_absent(&self, slot: u16) -> bool {
        let Some(frame) = self.cur.frames.last() else { return false };
        match &self.cur.stack[frame.base + slot as usize] {
            Value::Absent => true,
            value => matches!(self.heap.object(value), Some(Object::Cell(Value::Absent))),
        }
    }

    pub(super) fn make_closure(&mut self, code: u32) {
        let Some(frame) = self.cur.frames.last() else { return };
        let (base, this, outer) = (frame.base, frame.this.clone(), frame.closure.clone());
        let captures = frame.captures.clone();
        let program = self.program.clone();
        let wanted = &program.image.codes[code as usize].captures;
        let mut cells = Vec::with_capacity(wanted.len());
        for capture in wanted {
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
        let closure = Closure {
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

    pub(super) fn advance(&mut self, slot: u16) -> Option<Value> {
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
                Some(Value::from(value))
            }
            _ => None,
        }
    }
}
