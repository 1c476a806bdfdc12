//! `JsonOutput`, `readJSON` and `JsonSlurper`: values to JSON and back.

use crate::vm::value::{Object, Value};
use crate::vm::{Fault, Vm};

const DEPTH: u32 = 64;

pub(super) fn write(vm: &Vm, value: &Value) -> Result<String, Fault> {
    let json = tree(vm, value, 0)?;
    serde_json::to_string(&json).map_err(|e| Fault::argument(e.to_string()))
}

/// Four blanks a level, as Groovy does.
pub(super) fn pretty(text: &str) -> String {
    let Ok(json) = serde_json::from_str::<Json>(text) else { return text.to_owned() };
    let mut out = String::new();
    json.pretty(0, &mut out);
    out
}

pub(super) fn read(vm: &mut Vm, text: &str) -> Result<Value, Fault> {
    let json: Json =
        serde_json::from_str(text).map_err(|e| Fault::argument(format!("the text is no JSON: {e}")))?;
    Ok(value(vm, json))
}

/// Keeps the order of keys, which `serde_json::Value` does not.
enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

fn tree(vm: &Vm, value: &Value, depth: u32) -> Result<Json, Fault> {
    if depth > DEPTH {
        return Err(Fault::argument(format!(
            "a value that is nested more than {DEPTH} deep cannot become JSON"
        )));
    }
    let list = |items: &[Value]| {
        items.iter().map(|i| tree(vm, i, depth + 1)).collect::<Result<_, _>>().map(Json::List)
    };
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => Json::Int(i64::from(*number)),
        Value::Long(number) => Json::Int(*number),
        Value::Double(number) => Json::Float(*number),
        Value::Decimal(number) => Json::Float(number.to_f64()),
        value => match (vm.list_items(value), vm.heap.object(value)) {
            (Some(items), _) => list(&items)?,
            (None, Some(Object::Set(set))) => list(&set.iter().map(|p| p.0.clone()).collect::<Vec<_>>())?,
            (None, Some(Object::Map(map))) => {
                let pairs = map.iter().map(|(key, value)| Ok((vm.text(key), tree(vm, value, depth + 1)?)));
                Json::Map(pairs.collect::<Result<_, Fault>>()?)
            }
            (None, Some(Object::Instance(instance))) if instance.thrown.is_none() => {
                let pairs = instance
                    .fields
                    .iter()
                    .map(|(key, value)| Ok((vm.text(key), tree(vm, value, depth + 1)?)));
                Json::Map(pairs.collect::<Result<_, Fault>>()?)
            }
            _ => Json::Str(vm.text(value)),
        },
    })
}

fn value(vm: &mut Vm, json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Int(number) => Value::from(number),
        Json::Float(number) => match crate::vm::decimal::Decimal::parse(&number.to_string()) {
            Some(decimal) => Vm::decimal_value(decimal),
            None => Value::Double(number),
        },
        Json::Str(text) => {
            vm.heap.charge(text.len());
            Value::from(text)
        }
        Json::List(items) => {
            let items = items.into_iter().map(|i| value(vm, i)).collect();
            vm.heap.list(items)
        }
        Json::Map(pairs) => {
            let pairs: Vec<_> = pairs.into_iter().map(|(key, json)| (key, value(vm, json))).collect();
            vm.map_from(pairs)
        }
    }
}

impl Json {
    fn pretty(&self, depth: usize, out: &mut String) {
        let line = |depth: usize, out: &mut String| {
            out.push('\n');
            out.push_str(&"    ".repeat(depth));
        };
        match self {
            Json::List(items) if !items.is_empty() => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    line(depth + 1, out);
                    item.pretty(depth + 1, out);
                }
                line(depth, out);
                out.push(']');
            }
            Json::Map(pairs) if !pairs.is_empty() => {
                out.push('{');
                for (at, (key, value)) in pairs.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    line(depth + 1, out);
                    out.push_str(&serde_json::to_string(key).unwrap_or_default());
                    out.push_str(": ");
                    value.pretty(depth + 1, out);
                }
                line(depth, out);
                out.push('}');
            }
            other => out.push_str(&serde_json::to_string(other).unwrap_or_default()),
        }
    }
}

impl serde::Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => to.serialize_none(),
            Json::Bool(flag) => to.serialize_bool(*flag),
            Json::Int(number) => to.serialize_i64(*number),
            Json::Float(number) => to.serialize_f64(*number),
            Json::Str(text) => to.serialize_str(text),
            Json::List(items) => to.collect_seq(items),
            Json::Map(pairs) => to.collect_map(pairs.iter().map(|(key, value)| (key, value))),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Json, D::Error> {
        from.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> serde::de::Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        #[allow(
            clippy::cast_precision_loss,
            reason = "JSON numbers beyond 64 bits are rare and inexact anyway"
        )]
        Ok(i64::try_from(number).map_or(Json::Float(number as f64), Json::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Str(text.to_owned()))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Json::List(all))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut pairs: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            all.push(pair);
        }
        Ok(Json::Map(all))
    }
}
