//! Equality, order, truth and numbers.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Vm;
use super::decimal::Decimal;
use super::fault::{Fault, class};
use super::ordered::Key;
use super::value::{Object, Value};

/// How deep two collections are compared, or shown as text.
pub(crate) const DEPTH: u32 = 64;

pub(crate) fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Long(_) | Value::Double(_) | Value::Decimal(_))
}

/// A number as a whole one, cut towards zero.
pub(crate) fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(i64::from(*number)),
        Value::Long(number) => Some(*number),
        #[allow(clippy::cast_possible_truncation, reason = "Java cuts it off in the same way")]
        Value::Double(number) => Some(*number as i64),
        Value::Decimal(number) => i64::try_from(number.whole()).ok(),
        _ => None,
    }
}

pub(crate) fn double(value: &Value) -> f64 {
    match value {
        Value::Int(number) => f64::from(*number),
        #[allow(clippy::cast_precision_loss, reason = "as Java does")]
        Value::Long(number) => *number as f64,
        Value::Double(number) => *number,
        Value::Decimal(number) => number.to_f64(),
        _ => f64::NAN,
    }
}

pub(crate) fn decimal(value: &Value) -> Decimal {
    match value {
        Value::Int(number) => Decimal::from_int(i64::from(*number)),
        Value::Long(number) => Decimal::from_int(*number),
        Value::Decimal(number) => **number,
        Value::Double(number) => Decimal::parse(&number.to_string()).unwrap_or(Decimal::new(0, 0)),
        _ => Decimal::new(0, 0),
    }
}

fn numbers(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Double(_), _) | (_, Value::Double(_)) => double(left).partial_cmp(&double(right)),
        (Value::Int(_) | Value::Long(_), Value::Int(_) | Value::Long(_)) => {
            whole(left).partial_cmp(&whole(right))
        }
        _ => decimal(left).partial_cmp(&decimal(right)),
    }
}

impl Vm {
    pub(crate) fn truth(&self, value: &Value) -> bool {
        match value {
            Value::Null | Value::Absent => false,
            Value::Bool(flag) => *flag,
            Value::Int(number) => *number != 0,
            Value::Long(number) => *number != 0,
            Value::Double(number) => *number != 0.0,
            Value::Decimal(number) => !number.is_zero(),
            Value::Str(text) => !text.is_empty(),
            Value::Range(..) | Value::Class(_) | Value::Pattern(_) | Value::Global(_) => true,
            Value::Ref(at) => match self.heap.get(*at) {
                Object::List(items) => !items.is_empty(),
                Object::Map(map) | Object::Set(map) => !map.is_empty(),
                Object::Matcher(matcher) => matcher.found,
                Object::Builder(text) => !text.is_empty(),
                _ => true,
            },
        }
    }

    pub(crate) fn equal(&self, left: &Value, right: &Value) -> bool {
        self.equal_at(left, right, 0)
    }

    fn equal_at(&self, left: &Value, right: &Value, depth: u32) -> bool {
        if is_number(left) && is_number(right) {
            return numbers(left, right) == Some(Ordering::Equal);
        }
        if left == right {
            return true;
        }
        if depth > DEPTH {
            return false;
        }
        if let (Some(l), Some(r)) = (self.list_items(left), self.list_items(right)) {
            return l.len() == r.len() && l.iter().zip(&r).all(|(l, r)| self.equal_at(l, r, depth + 1));
        }
        match (self.heap.object(left), self.heap.object(right)) {
            (Some(Object::Map(l)), Some(Object::Map(r))) => {
                l.len() == r.len()
                    && l.entries()
                        .all(|(key, _, value)| r.get(key).is_some_and(|o| self.equal_at(value, o, depth + 1)))
            }
            (Some(Object::Set(l)), Some(Object::Set(r))) => {
                l.len() == r.len() && l.entries().all(|(key, ..)| r.has(key))
            }
            (Some(Object::Entry(lk, lv)), Some(Object::Entry(rk, rv))) => {
                self.equal_at(lk, rk, depth + 1) && self.equal_at(lv, rv, depth + 1)
            }
            _ => false,
        }
    }

    pub(crate) fn compare(&self, left: &Value, right: &Value) -> Result<Ordering, Fault> {
        if is_number(left) && is_number(right) {
            return Ok(numbers(left, right).unwrap_or(Ordering::Greater));
        }
        match (left, right) {
            (Value::Null, Value::Null) => Ok(Ordering::Equal),
            (Value::Null, _) => Ok(Ordering::Less),
            (_, Value::Null) => Ok(Ordering::Greater),
            (Value::Str(l), Value::Str(r)) => Ok(l.encode_utf16().cmp(r.encode_utf16())),
            (Value::Bool(l), Value::Bool(r)) => Ok(l.cmp(r)),
            _ if self.equal(left, right) => Ok(Ordering::Equal),
            _ => {
                let enums = (self.enum_ordinal(left), self.enum_ordinal(right));
                if let (Some(l), Some(r)) = enums {
                    return Ok(l.cmp(&r));
                }
                let (l, r) = (self.type_name(left), self.type_name(right));
                Err(Fault::new(class::ARGUMENT, format!("Cannot compare {l} with {r}")))
            }
        }
    }

    pub(super) fn enum_ordinal(&self, value: &Value) -> Option<i64> {
        match self.heap.object(value)? {
            Object::Instance(instance) => whole(instance.fields.get_str("$ordinal")?),
            _ => None,
        }
    }

    /// What makes a value the same key of a map.
    pub(crate) fn key(&self, value: &Value) -> Key {
        match value {
            Value::Null | Value::Absent => Key::Null,
            Value::Bool(flag) => Key::Bool(*flag),
            Value::Int(number) => Key::Int(i64::from(*number)),
            Value::Long(number) => Key::Int(*number),
            Value::Str(text) => Key::Str(text.clone()),
            Value::Decimal(number) => {
                let number = number.stripped(0);
                let text = number.to_string();
                text.parse().map_or(Key::Text(1, text), Key::Int)
            }
            Value::Double(number) => Key::Text(1, number.to_string()),
            Value::Class(name) => Key::Text(2, name.to_string()),
            Value::Ref(at) => match self.heap.get(*at) {
                Object::List(_) => Key::Text(3, self.text(value)),
                Object::Map(_) | Object::Set(_) => Key::Text(4, self.text(value)),
                Object::Entry(..) => Key::Text(5, self.text(value)),
                _ => Key::Ref(*at),
            },
            Value::Range(..) => Key::Text(3, self.text(value)),
            Value::Pattern(regex) => Key::Text(6, regex.source.clone()),
            Value::Global(global) => Key::Text(7, format!("{global:?}")),
        }
    }

    pub(crate) fn map_put(&mut self, map: &Value, key: Value, value: Value) {
        let at = self.key(&key);
        self.heap.charge(120);
        if let Some(Object::Map(map)) = self.heap.object_mut(map) {
            map.put(at, key, value);
        }
    }

    pub(crate) fn set_of(&mut self, items: Vec<Value>) -> Value {
        let mut set = super::ordered::OrderedMap::default();
        for item in items {
            let key = self.key(&item);
            if !set.has(&key) {
                set.put(key, item, Value::Null);
            }
        }
        self.heap.add(Object::Set(set))
    }

    pub(crate) fn decimal_value(number: Decimal) -> Value {
        Value::Decimal(Arc::new(number))
    }
}
