//! Lists, maps, ranges and texts that are put together from what lies on the stack.

use std::cmp::Ordering;

use super::fault::Fault;
use super::ordered::OrderedMap;
use super::value::{Object, Value};
use super::{Vm, compare};
use crate::compile::code::Op;

impl Vm {
    pub(super) fn collections(&mut self, op: Op) -> Result<(), Fault> {
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

    pub(super) fn join_text(&mut self, count: usize) -> Result<(), Fault> {
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
}
