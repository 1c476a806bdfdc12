//! Static methods and constructors of the few classes of Java that a script may use.

use std::sync::Arc;

use super::classes::refused;
use super::{json, regex};
use crate::ast::BinaryOp;
use crate::vm::decimal::Decimal;
use crate::vm::ordered::OrderedMap;
use crate::vm::value::{Object, Value};
use crate::vm::{Fault, Vm, coerce, compare};

pub(super) fn construct(vm: &mut Vm, name: &str, args: Vec<Value>) -> Result<Value, Fault> {
    let first = args.first().cloned().unwrap_or(Value::Null);
    let number = compare::is_number(&first);
    Ok(match name {
        "ArrayList" | "LinkedList" | "List" => {
            let items = if number { Vec::new() } else { vm.items(&first)? };
            vm.heap.list(items)
        }
        "HashSet" | "LinkedHashSet" | "TreeSet" | "Set" => {
            let mut items = if number { Vec::new() } else { vm.items(&first)? };
            if name == "TreeSet" {
                items = vm.sorted(items)?;
            }
            vm.set_of(items)
        }
        "HashMap" | "LinkedHashMap" | "TreeMap" | "Map" | "ConcurrentHashMap" => {
            let map = vm.heap.add(Object::Map(OrderedMap::default()));
            for (key, value) in vm.pairs(&first) {
                vm.map_put(&map, key, value);
            }
            map
        }
        "StringBuilder" | "StringBuffer" => {
            let text = if number || first.is_null() { String::new() } else { vm.text(&first) };
            vm.heap.add(Object::Builder(text))
        }
        "String" => Value::from(if first.is_null() { String::new() } else { vm.text(&first) }),
        "BigDecimal" => return vm.cast(first, "BigDecimal"),
        "BigInteger" | "Integer" | "Long" => return vm.cast(first, name),
        "Date" => {
            let at = compare::whole(&first).unwrap_or_else(|| i64::try_from(vm.now).unwrap_or(0));
            super::date::new(vm, at)
        }
        "Object" => vm.map_from([]),
        "JsonSlurper" | "JsonSlurperClassic" => Value::str_class(name),
        _ => return Err(refused(&format!("new {name}"))),
    })
}

pub(super) fn call(vm: &mut Vm, class: &str, name: &str, args: &[Value]) -> Result<Option<Value>, Fault> {
    let first = args.first().cloned().unwrap_or(Value::Null);
    Ok(Some(match (class, name) {
        ("Math", _) => match math(vm, name, args)? {
            Some(value) => value,
            None => return Ok(None),
        },
        (
            "Integer" | "Long" | "Short" | "Byte" | "BigInteger",
            "parseInt" | "parseLong" | "valueOf" | "decode",
        ) => {
            let ty = match name {
                "parseInt" => "int",
                "parseLong" => "long",
                _ => class,
            };
            return whole(vm, &first, args.get(1), ty).map(Some);
        }
        ("Integer" | "Long" | "Double" | "Boolean" | "String" | "Objects", "toString") => {
            Value::from(vm.text(&first))
        }
        ("String", "valueOf") => Value::from(vm.text_of_java(&first)),
        ("Integer" | "Long", "toHexString") => {
            Value::from(format!("{:x}", compare::whole(&first).unwrap_or(0)))
        }
        ("Integer" | "Long", "toBinaryString") => {
            Value::from(format!("{:b}", compare::whole(&first).unwrap_or(0)))
        }
        ("Integer" | "Long" | "Double", "max" | "min" | "compare") => {
            return extreme(vm, name, args).map(Some);
        }
        ("Double" | "Float", "parseDouble" | "parseFloat" | "valueOf") => {
            return vm.cast(first, "double").map(Some);
        }
        ("BigDecimal", "valueOf") => return vm.cast(first, "BigDecimal").map(Some),
        ("Boolean", "parseBoolean" | "valueOf") => Value::Bool(vm.text(&first).eq_ignore_ascii_case("true")),
        ("Character", "isDigit") => Value::Bool(vm.text(&first).chars().all(|c| c.is_ascii_digit())),
        ("Character", "isLetter") => Value::Bool(vm.text(&first).chars().all(char::is_alphabetic)),
        ("Character", "isUpperCase") => Value::Bool(vm.text(&first).chars().all(char::is_uppercase)),
        ("Character", "toString" | "valueOf") => Value::from(vm.text(&first)),
        ("String", "join") => {
            let items =
                if args.len() == 2 { vm.items(&args[1])? } else { args.iter().skip(1).cloned().collect() };
            let texts: Vec<String> = items.iter().map(|i| vm.text(i)).collect();
            Value::from(texts.join(&vm.text(&first)))
        }
        ("String", "format") => return super::methods::format(vm, args).map(Some),
        ("System", "currentTimeMillis") => Value::Long(i64::try_from(vm.now).unwrap_or(0)),
        ("TimeZone", "getTimeZone") => match vm.text(&first).as_str() {
            zone @ ("UTC" | "GMT" | "Etc/UTC" | "Z") => Value::str(zone),
            zone => return Err(refused(&format!("the time zone {zone}, only UTC"))),
        },
        ("System", "lineSeparator") => Value::str("\n"),
        ("UUID", "randomUUID") => Value::from(unique(vm)),
        ("Objects", "equals") => Value::Bool(vm.equal(&first, args.get(1).unwrap_or(&Value::Null))),
        ("Objects", "isNull") => Value::Bool(first.is_null()),
        ("Objects", "nonNull") => Value::Bool(!first.is_null()),
        ("Arrays", "asList") | ("List", "of") | ("Collections", "unmodifiableList") if args.len() != 1 => {
            vm.heap.list(args.to_vec())
        }
        ("Arrays", "asList") | ("List", "of") | ("Collections", "unmodifiableList" | "unmodifiableMap") => {
            first
        }
        ("Collections", "emptyList") => vm.heap.list(Vec::new()),
        ("Collections", "emptyMap") => vm.map_from([]),
        ("Pattern", "compile") => pattern(vm, args)?,
        ("Pattern", "quote") => Value::from(format!("\\Q{}\\E", vm.text(&first))),
        ("Pattern", "matches") => {
            let regex = regex::Regex::new(&vm.text(&first))?;
            let text = vm.text(args.get(1).unwrap_or(&Value::Null));
            Value::Bool(regex.whole(&text, &mut vm.heap.work)?.is_some())
        }
        ("Matcher", "quoteReplacement") => {
            Value::from(vm.text(&first).replace('\\', "\\\\").replace('$', "\\$"))
        }
        ("JsonOutput", "toJson") => Value::from(json::write(vm, &first)?),
        ("JsonSlurper" | "JsonSlurperClassic", "parseText") => json::read(vm, &vm.text(&first))?,
        ("JsonOutput", "prettyPrint") => Value::from(json::pretty(&vm.text(&first))),
        _ => return Ok(None),
    }))
}

fn pattern(vm: &mut Vm, args: &[Value]) -> Result<Value, Fault> {
    let source = vm.text(args.first().unwrap_or(&Value::Null));
    let flags = args.get(1).and_then(compare::whole).unwrap_or(0);
    let letters: String =
        [(2, 'i'), (8, 'm'), (32, 's')].iter().filter(|f| flags & f.0 != 0).map(|f| f.1).collect();
    let source = if letters.is_empty() { source } else { format!("(?{letters}){source}") };
    Ok(Value::Pattern(Arc::new(regex::Regex::new(&source)?)))
}

fn whole(vm: &Vm, value: &Value, radix: Option<&Value>, ty: &str) -> Result<Value, Fault> {
    if let Some(number) = coerce::narrowed(value, ty) {
        return Ok(number);
    }
    let text = vm.text(value);
    let radix =
        radix.and_then(compare::whole).and_then(|r| u32::try_from(r).ok()).filter(|r| (2..=36).contains(r));
    coerce::parsed(&text, radix.unwrap_or(10), ty)
}

/// To the nearest `long`, halves upwards.
pub(super) fn rounded(number: f64) -> Value {
    Value::Long(compare::whole(&Value::Double((number + 0.5).floor())).unwrap_or(0))
}

fn extreme(vm: &Vm, name: &str, args: &[Value]) -> Result<Value, Fault> {
    let [left, right] = args else { return Err(Fault::argument(format!("{name} takes two numbers"))) };
    let order = vm.compare(left, right)?;
    Ok(match name {
        "compare" => Value::Int(order as i32),
        "max" => {
            if order.is_ge() {
                left.clone()
            } else {
                right.clone()
            }
        }
        _ => {
            if order.is_le() {
                left.clone()
            } else {
                right.clone()
            }
        }
    })
}

fn math(vm: &Vm, name: &str, args: &[Value]) -> Result<Option<Value>, Fault> {
    let first = args.first().cloned().unwrap_or(Value::Null);
    if !args.iter().all(compare::is_number) {
        return Err(Fault::argument(format!("Math.{name} takes numbers")));
    }
    let number = compare::double(&first);
    Ok(Some(match name {
        "max" | "min" => return extreme(vm, name, args).map(Some),
        "abs" => match &first {
            Value::Int(n) => Value::Int(n.wrapping_abs()),
            Value::Long(n) => Value::Long(n.wrapping_abs()),
            Value::Decimal(n) if **n < Decimal::from_int(0) => Vm::decimal_value(n.neg()),
            Value::Double(n) => Value::Double(n.abs()),
            other => other.clone(),
        },
        "round" => rounded(number),
        "floor" => Value::Double(number.floor()),
        "ceil" => Value::Double(number.ceil()),
        "sqrt" => Value::Double(number.sqrt()),
        "log" => Value::Double(number.ln()),
        "log10" => Value::Double(number.log10()),
        "signum" => Value::Double(number.signum()),
        "pow" => Value::Double(number.powf(args.get(1).map_or(1.0, compare::double))),
        "floorMod" => match (&first, args.get(1)) {
            (l, Some(r)) => {
                let rest = vm.number_op(BinaryOp::Rem, l, r)?;
                let sum = vm.number_op(BinaryOp::Add, &rest, r)?;
                return vm.number_op(BinaryOp::Rem, &sum, r).map(Some);
            }
            _ => return Ok(None),
        },
        "random" => return Err(refused("Math.random()")),
        _ => return Ok(None),
    }))
}

/// Looks like a random UUID and is one of a kind, but is the same in every replay.
fn unique(vm: &mut Vm) -> String {
    use sha2::Digest;
    vm.globals.drawn += 1;
    let mut hash = sha2::Sha256::new();
    let began = &vm.began;
    hash.update(format!("{}\n{}\n{}\n{}", began.job, began.number, began.at, vm.globals.drawn));
    let hash = hash.finalize();
    let hex: String = hash.iter().take(16).map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
