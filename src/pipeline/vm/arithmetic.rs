//! Operators.

use std::sync::Arc;

use super::Vm;
use super::branch::Ret;
use super::compare;
use super::decimal::Decimal;
use super::fault::{Fault, class};
use super::value::{HEAP_LIMIT, Matcher, Object, Value};
use crate::ast::{BinaryOp, UnaryOp};
use crate::library::regex::Regex;

impl Vm {
    pub(crate) fn binary(&mut self, op: BinaryOp, left: Value, right: Value) -> Result<(), Fault> {
        if !matches!(op, BinaryOp::ShiftLeft | BinaryOp::Identical | BinaryOp::NotIdentical) {
            self.heap.work += self.weight(&left) + self.weight(&right);
        }
        if let Some(done) = self.own_operator(op, &left, &right) {
            return done;
        }
        let value = match op {
            BinaryOp::Add => self.add(&left, &right)?,
            BinaryOp::Sub => self.sub(&left, &right)?,
            BinaryOp::Mul => self.mul(&left, &right)?,
            BinaryOp::Div | BinaryOp::Rem | BinaryOp::Pow => self.number_op(op, &left, &right)?,
            BinaryOp::Equal => Value::Bool(self.equal(&left, &right)),
            BinaryOp::NotEqual => Value::Bool(!self.equal(&left, &right)),
            BinaryOp::Identical => Value::Bool(left == right),
            BinaryOp::NotIdentical => Value::Bool(left != right),
            BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual
            | BinaryOp::Compare => Vm::ordered(op, self.compare(&left, &right)?),
            BinaryOp::And => Value::Bool(self.truth(&left) && self.truth(&right)),
            BinaryOp::Or => Value::Bool(self.truth(&left) || self.truth(&right)),
            BinaryOp::Elvis => {
                if self.truth(&left) {
                    left
                } else {
                    right
                }
            }
            BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor => self.bits(op, &left, &right)?,
            BinaryOp::ShiftLeft | BinaryOp::ShiftRight | BinaryOp::ShiftRightUnsigned => {
                self.shift(op, left, right)?
            }
            BinaryOp::In => Value::Bool(self.is_in(&left, &right)?),
            BinaryOp::NotIn => Value::Bool(!self.is_in(&left, &right)?),
            BinaryOp::Find => {
                let regex = self.regex(&right)?;
                let text = Arc::from(self.text(&left));
                self.matcher(regex, text)?
            }
            BinaryOp::Match => {
                let regex = self.regex(&right)?;
                Value::Bool(regex.whole(&self.text(&left), &mut self.heap.work)?.is_some())
            }
        };
        self.push(value);
        Ok(())
    }

    /// Operators that a class of the script defines.
    fn own_operator(&mut self, op: BinaryOp, left: &Value, right: &Value) -> Option<Result<(), Fault>> {
        let (name, ret) = match op {
            BinaryOp::Equal => ("equals", Ret::Truth),
            BinaryOp::NotEqual => ("equals", Ret::Not),
            BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual
            | BinaryOp::Compare => ("compareTo", Ret::Compare(op)),
            BinaryOp::Add => ("plus", Ret::Push),
            BinaryOp::Sub => ("minus", Ret::Push),
            BinaryOp::Mul => ("multiply", Ret::Push),
            BinaryOp::Div => ("div", Ret::Push),
            BinaryOp::ShiftLeft => ("leftShift", Ret::Push),
            _ => return None,
        };
        let code = self.own_method(left, name, std::slice::from_ref(right))?;
        Some(self.call_code(code, vec![right.clone()], left.clone(), ret))
    }

    pub(crate) fn regex(&mut self, value: &Value) -> Result<Arc<Regex>, Fault> {
        if let Value::Pattern(regex) = value {
            return Ok(regex.clone());
        }
        let source = self.text(value);
        self.heap.work += source.len() as u64;
        Ok(Arc::new(Regex::new(&source)?))
    }

    pub(crate) fn matcher(&mut self, regex: Arc<Regex>, text: Arc<str>) -> Result<Value, Fault> {
        let found = regex.find(&text, 0, &mut self.heap.work)?.is_some();
        Ok(self.heap.add(Object::Matcher(Matcher { regex, text, found, current: None, from: 0 })))
    }

    fn is_in(&mut self, value: &Value, all: &Value) -> Result<bool, Fault> {
        match all {
            Value::Class(class) => Ok(self.instance_of(value, &class.clone())),
            all => self.contains(all, value),
        }
    }

    pub(crate) fn add(&mut self, left: &Value, right: &Value) -> Result<Value, Fault> {
        if compare::is_number(left) && compare::is_number(right) {
            return self.number_op(BinaryOp::Add, left, right);
        }
        if matches!(left, Value::Str(_)) || matches!(right, Value::Str(_)) && !self.is_collection(left) {
            let text = self.text(left) + &self.text(right);
            self.limit_text(text.len())?;
            self.heap.charge(text.len());
            return Ok(Value::from(text));
        }
        if let Some(Object::Map(map)) = self.heap.object(left) {
            let sum = Object::Map(map.clone());
            let sum = self.heap.add(sum);
            for (key, value) in self.pairs(right) {
                self.map_put(&sum, key, value);
            }
            return Ok(sum);
        }
        if self.is_collection(left) {
            let mut items = self.items(left)?;
            if self.is_collection(right) && !matches!(self.heap.object(right), Some(Object::Map(_))) {
                items.extend(self.items(right)?);
            } else {
                items.push(right.clone());
            }
            let set = matches!(self.heap.object(left), Some(Object::Set(_)));
            return Ok(if set { self.set_of(items) } else { self.heap.list(items) });
        }
        Err(self.no_operator("plus", left, right))
    }

    fn sub(&mut self, left: &Value, right: &Value) -> Result<Value, Fault> {
        if let Value::Str(text) = left {
            let gone = self.text(right);
            return Ok(Value::from(text.replacen(&gone, "", 1)));
        }
        if let Some(Object::Map(map)) = self.heap.object(left) {
            let mut map = map.clone();
            for (key, _) in self.pairs(right) {
                map.remove(&self.key(&key));
            }
            return Ok(self.heap.add(Object::Map(map)));
        }
        if self.is_collection(left) {
            let gone = if self.is_collection(right) { self.items(right)? } else { vec![right.clone()] };
            let gone: std::collections::HashSet<_> = gone.iter().map(|v| self.key(v)).collect();
            let mut items = self.items(left)?;
            items.retain(|v| !gone.contains(&self.key(v)));
            let set = matches!(self.heap.object(left), Some(Object::Set(_)));
            return Ok(if set { self.set_of(items) } else { self.heap.list(items) });
        }
        self.number_op(BinaryOp::Sub, left, right)
    }

    fn mul(&mut self, left: &Value, right: &Value) -> Result<Value, Fault> {
        if let (Value::Str(text), Some(times)) = (left, compare::whole(right)) {
            let times = usize::try_from(times)
                .map_err(|_| Fault::argument("a text cannot be repeated less than 0 times"))?;
            self.limit_text(text.len().saturating_mul(times))?;
            self.heap.charge(text.len() * times);
            return Ok(Value::from(text.repeat(times)));
        }
        if self.is_collection(left) && compare::is_number(right) {
            let items = self.items(left)?;
            let times = usize::try_from(compare::whole(right).unwrap_or(0)).unwrap_or(0);
            self.limit_text(items.len().saturating_mul(times).saturating_mul(24))?;
            let items = items.iter().cloned().cycle().take(items.len() * times).collect();
            return Ok(self.heap.list(items));
        }
        self.number_op(BinaryOp::Mul, left, right)
    }

    /// Refuses what could never fit.
    pub(crate) fn limit_text(&self, bytes: usize) -> Result<(), Fault> {
        if bytes > HEAP_LIMIT {
            let message =
                format!("a value of {bytes} bytes is larger than the {} MiB of a build", HEAP_LIMIT >> 20);
            return Err(Fault::new(class::MEMORY, message));
        }
        Ok(())
    }

    fn no_operator(&self, name: &str, left: &Value, right: &Value) -> Fault {
        let message = format!(
            "No signature of method: {}.{name}() is applicable for argument types: ({}) values: [{}]",
            self.type_name(left),
            self.type_name(right),
            self.text(right)
        );
        if left.is_null() {
            return Fault::new(class::NULL, format!("Cannot invoke method {name}() on null object"));
        }
        Fault::new(class::METHOD, message)
    }

    pub(crate) fn number_op(&self, op: BinaryOp, left: &Value, right: &Value) -> Result<Value, Fault> {
        let name = match op {
            BinaryOp::Add => "plus",
            BinaryOp::Sub => "minus",
            BinaryOp::Mul => "multiply",
            BinaryOp::Div => "div",
            BinaryOp::Rem => "mod",
            _ => "power",
        };
        if !compare::is_number(left) || !compare::is_number(right) {
            return Err(self.no_operator(name, left, right));
        }
        if let (Value::Double(_), _) | (_, Value::Double(_)) = (left, right) {
            let (l, r) = (compare::double(left), compare::double(right));
            return Ok(Value::Double(match op {
                BinaryOp::Add => l + r,
                BinaryOp::Sub => l - r,
                BinaryOp::Mul => l * r,
                BinaryOp::Div => l / r,
                BinaryOp::Rem => l % r,
                _ => l.powf(r),
            }));
        }
        if let Some(value) = whole_op(op, left, right)? {
            return Ok(value);
        }
        let (l, r) = (compare::decimal(left), compare::decimal(right));
        let zero = r.is_zero() && matches!(op, BinaryOp::Div | BinaryOp::Rem);
        if zero {
            return Err(Fault::new(class::ARITHMETIC, "Division by zero"));
        }
        let value = match op {
            BinaryOp::Add => l.add(r),
            BinaryOp::Sub => l.sub(r),
            BinaryOp::Mul => l.mul(r),
            BinaryOp::Div => l.div(r),
            BinaryOp::Rem => l.rem(r),
            _ if r < Decimal::from_int(0) || r.stripped(0) != Decimal::new(r.whole(), 0) => {
                return Ok(Value::Double(l.to_f64().powf(r.to_f64())));
            }
            _ => power(l, r.whole()),
        };
        value.map(|v| Value::Decimal(Arc::new(v))).ok_or_else(|| {
            Fault::new(class::ARITHMETIC, "the number has more digits than Majordomo keeps (38)")
        })
    }

    fn bits(&mut self, op: BinaryOp, left: &Value, right: &Value) -> Result<Value, Fault> {
        if let (Value::Bool(l), Value::Bool(r)) = (left, right) {
            return Ok(Value::Bool(match op {
                BinaryOp::BitAnd => l & r,
                BinaryOp::BitOr => l | r,
                _ => l ^ r,
            }));
        }
        let Some((l, r)) = integer(left).zip(integer(right)) else {
            return Err(self.no_operator(if op == BinaryOp::BitAnd { "and" } else { "or" }, left, right));
        };
        let bits = match op {
            BinaryOp::BitAnd => l & r,
            BinaryOp::BitOr => l | r,
            _ => l ^ r,
        };
        Ok(match (ints(left, right), longs(left, right), i64::try_from(bits)) {
            (Some(_), _, Ok(bits)) => Value::from(bits),
            (None, Some(_), Ok(bits)) => Value::Long(bits),
            _ => Vm::decimal_value(Decimal::new(bits, 0)),
        })
    }

    fn shift(&mut self, op: BinaryOp, left: Value, right: Value) -> Result<Value, Fault> {
        if let Some((long, by)) = longs(&left, &right) {
            // The size of the left side counts, and as many bits of the right one as it needs.
            let by = u32::try_from(by & 63).unwrap_or(0);
            return Ok(match (&left, op) {
                (Value::Int(l), BinaryOp::ShiftLeft) => Value::Int(l.wrapping_shl(by)),
                (Value::Int(l), BinaryOp::ShiftRight) => Value::Int(l.wrapping_shr(by)),
                (Value::Int(l), _) => Value::Int(l.cast_unsigned().wrapping_shr(by).cast_signed()),
                (_, BinaryOp::ShiftLeft) => Value::Long(long.wrapping_shl(by)),
                (_, BinaryOp::ShiftRight) => Value::Long(long.wrapping_shr(by)),
                _ => Value::Long(long.cast_unsigned().wrapping_shr(by).cast_signed()),
            });
        }
        let key = self.key(&right);
        let closure = matches!(self.heap.object(&right), Some(Object::Closure(_)));
        self.heap.charge(120);
        let piece = if matches!(self.heap.object(&left), Some(Object::Builder(_))) {
            self.text(&right)
        } else {
            String::new()
        };
        match (self.heap.object_mut(&left), op) {
            (Some(Object::List(items)), BinaryOp::ShiftLeft) => items.push(right),
            (Some(Object::Set(set)), BinaryOp::ShiftLeft) => {
                set.put(key, right, Value::Null);
            }
            (Some(Object::Builder(text)), BinaryOp::ShiftLeft) => text.push_str(&piece),
            (Some(Object::Map(_)), BinaryOp::ShiftLeft) => {
                for (key, value) in self.pairs(&right) {
                    self.map_put(&left, key, value);
                }
            }
            (Some(Object::Closure(_)), BinaryOp::ShiftLeft) if closure => {
                return self.shift(BinaryOp::ShiftRight, right, left);
            }
            (Some(Object::Closure(first)), BinaryOp::ShiftRight) if closure => {
                let mut first = first.clone();
                first.then.push(right);
                return Ok(self.heap.add(Object::Closure(first)));
            }
            _ if matches!(left, Value::Str(_)) => return self.add(&left, &right),
            _ => return Err(self.no_operator("leftShift", &left, &right)),
        }
        Ok(left)
    }

    pub(crate) fn unary(&mut self, op: UnaryOp, value: &Value) -> Result<Value, Fault> {
        Ok(match (op, value) {
            (UnaryOp::Not, value) => Value::Bool(!self.truth(value)),
            (UnaryOp::Minus, Value::Int(n)) => Value::Int(n.wrapping_neg()),
            (UnaryOp::Minus, Value::Long(n)) => Value::Long(n.wrapping_neg()),
            (UnaryOp::Minus, Value::Double(n)) => Value::Double(-n),
            (UnaryOp::Minus, Value::Decimal(n)) => Value::Decimal(Arc::new(n.neg())),
            (UnaryOp::Plus, value) if compare::is_number(value) => value.clone(),
            (UnaryOp::BitNot, Value::Int(n)) => Value::Int(!n),
            (UnaryOp::BitNot, Value::Long(n)) => Value::Long(!n),
            (UnaryOp::BitNot, Value::Str(pattern)) => Value::Pattern(Arc::new(Regex::new(pattern)?)),
            (_, value) => return Err(self.no_operator("negative", value, &Value::Null)),
        })
    }
}

/// Two `Integer`s.
fn ints(left: &Value, right: &Value) -> Option<(i32, i32)> {
    match (left, right) {
        (Value::Int(l), Value::Int(r)) => Some((*l, *r)),
        _ => None,
    }
}

/// An `Integer`, a `Long` or a `BigInteger`.
fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Int(_) | Value::Long(_) => compare::whole(value).map(i128::from),
        Value::Decimal(number) => number.integer(),
        _ => None,
    }
}

/// An `Integer` or `Long` each.
fn longs(left: &Value, right: &Value) -> Option<(i64, i64)> {
    let long = |value: &Value| match value {
        Value::Int(_) | Value::Long(_) => compare::whole(value),
        _ => None,
    };
    Some((long(left)?, long(right)?))
}

/// What stays an `Integer` or `Long`, and wraps as in Java. `None` for a division, a power that does not fit, and other numbers.
fn whole_op(op: BinaryOp, left: &Value, right: &Value) -> Result<Option<Value>, Fault> {
    let Some((l, r)) = longs(left, right) else { return Ok(None) };
    if op == BinaryOp::Rem && r == 0 {
        return Err(by_zero());
    }
    if op == BinaryOp::Pow {
        let power = u32::try_from(r).ok().and_then(|r| l.checked_pow(r));
        return Ok(power.map(|n| match left {
            Value::Int(_) if i32::try_from(n).is_err() => Vm::decimal_value(Decimal::from_int(n)),
            Value::Int(_) => Value::from(n),
            _ => Value::Long(n),
        }));
    }
    Ok(match (ints(left, right), op) {
        (Some((l, r)), BinaryOp::Add) => Some(Value::Int(l.wrapping_add(r))),
        (Some((l, r)), BinaryOp::Sub) => Some(Value::Int(l.wrapping_sub(r))),
        (Some((l, r)), BinaryOp::Mul) => Some(Value::Int(l.wrapping_mul(r))),
        (Some((l, r)), BinaryOp::Rem) => Some(Value::Int(l.wrapping_rem(r))),
        (None, BinaryOp::Add) => Some(Value::Long(l.wrapping_add(r))),
        (None, BinaryOp::Sub) => Some(Value::Long(l.wrapping_sub(r))),
        (None, BinaryOp::Mul) => Some(Value::Long(l.wrapping_mul(r))),
        (None, BinaryOp::Rem) => Some(Value::Long(l.wrapping_rem(r))),
        _ => None,
    })
}

/// `intdiv`; `None` for numbers that are not whole.
pub(crate) fn int_div(left: &Value, right: &Value) -> Result<Option<Value>, Fault> {
    let Some((l, r)) = compare::whole(left).zip(compare::whole(right)) else { return Ok(None) };
    if r == 0 {
        return Err(by_zero());
    }
    Ok(Some(match ints(left, right) {
        Some((l, r)) => Value::Int(l.wrapping_div(r)),
        None => Value::Long(l.wrapping_div(r)),
    }))
}

/// As Java says it of whole numbers.
fn by_zero() -> Fault {
    Fault::new(class::ARITHMETIC, "/ by zero")
}

/// `None` where the result has too many digits.
fn power(base: Decimal, exponent: i128) -> Option<Decimal> {
    let times = u32::try_from(exponent).ok().filter(|times| *times <= 200)?;
    (0..times).try_fold(Decimal::from_int(1), |value, _| value.mul(base))
}
