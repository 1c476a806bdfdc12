//! Methods of numbers.

use super::super::statics::rounded;
use super::{Native, int};
use crate::ast::BinaryOp;
use crate::vm::value::Value;
use crate::vm::{Vm, arithmetic, coerce, compare};

pub(super) const NAMES: &[&str] =
    &["abs", "intValue", "longValue", "doubleValue", "plus", "minus", "multiply", "div"];

pub(super) fn call(vm: &mut Vm, me: &Value, name: &str, args: &[Value]) -> Native {
    let other = args.first().cloned().unwrap_or(Value::Null);
    let op = match name {
        "plus" => Some(BinaryOp::Add),
        "minus" => Some(BinaryOp::Sub),
        "multiply" => Some(BinaryOp::Mul),
        "div" | "divide" => Some(BinaryOp::Div),
        "mod" | "remainder" | "rem" => Some(BinaryOp::Rem),
        "power" | "pow" => Some(BinaryOp::Pow),
        _ => None,
    };
    if let Some(op) = op {
        return vm.number_op(op, me, &other).map(Some);
    }
    let number = compare::double(me);
    Ok(Some(match name {
        "intdiv" => return arithmetic::int_div(me, &other),
        "abs" => match me {
            Value::Int(n) => Value::Int(n.wrapping_abs()),
            Value::Long(n) => Value::Long(n.wrapping_abs()),
            Value::Double(n) => Value::Double(n.abs()),
            me if number < 0.0 => return vm.unary(crate::ast::UnaryOp::Minus, me).map(Some),
            me => me.clone(),
        },
        "toInteger" | "intValue" | "hashCode" => return Ok(coerce::narrowed(me, "int")),
        "toLong" | "longValue" => return Ok(coerce::narrowed(me, "long")),
        "toBigInteger" => return Ok(coerce::narrowed(me, "BigInteger")),
        "toShort" | "shortValue" => return Ok(coerce::narrowed(me, "short")),
        "toDouble" | "doubleValue" | "toFloat" | "floatValue" => Value::Double(number),
        "toBigDecimal" => Vm::decimal_value(compare::decimal(me)),
        "round" | "setScale" => match me {
            Value::Int(_) | Value::Long(_) => me.clone(),
            Value::Double(n) if args.is_empty() => rounded(*n),
            me => {
                let places = u32::try_from(int(args, 0, 0)).unwrap_or(0).min(20);
                let mode = args.get(1).map_or_else(|| "HALF_UP".to_owned(), |mode| vm.text(mode));
                let rounded = compare::decimal(me).scaled(places, &mode);
                rounded.map_or(Value::Null, |d| match me {
                    Value::Double(_) => Value::Double(d.to_f64()),
                    _ => Vm::decimal_value(d),
                })
            }
        },
        "trunc" | "truncate" => Value::from(compare::whole(me).unwrap_or(0)),
        "compareTo" => Value::Int(vm.compare(me, &other)? as i32),
        "next" => return vm.number_op(BinaryOp::Add, me, &Value::Int(1)).map(Some),
        "previous" => return vm.number_op(BinaryOp::Sub, me, &Value::Int(1)).map(Some),
        "isNaN" => Value::Bool(number.is_nan()),
        "signum" => Value::Int(if number > 0.0 {
            1
        } else if number < 0.0 {
            -1
        } else {
            0
        }),
        "toHexString" => Value::from(format!("{:x}", compare::whole(me).unwrap_or(0))),
        "max" | "min" => {
            let first = vm.compare(me, &other)?.is_ge() == (name == "max");
            if first { me.clone() } else { other }
        }
        _ => return Ok(None),
    }))
}
