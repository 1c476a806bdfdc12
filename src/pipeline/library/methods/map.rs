//! Methods of maps.

use super::{Native, int};
use crate::vm::Vm;
use crate::vm::value::{Cursor, Object, Value};

pub(super) const NAMES: &[&str] = &[
    "clear",
    "containsKey",
    "containsValue",
    "get",
    "isEmpty",
    "keySet",
    "put",
    "putAll",
    "remove",
    "size",
    "values",
];

pub(super) fn call(vm: &mut Vm, me: &Value, name: &str, args: &[Value]) -> Native {
    let first = args.first().cloned().unwrap_or(Value::Null);
    let second = args.get(1).cloned();
    let key = vm.key(&first);
    if !matches!(
        name,
        "get" | "put" | "containsKey" | "size" | "isEmpty" | "remove" | "getOrDefault" | "putAll"
    ) {
        vm.heap.work += vm.weight(me);
    }
    if matches!(name, "put" | "putAt" | "putAll" | "putIfAbsent" | "leftShift" | "remove" | "clear") {
        vm.writable(me)?;
    }
    let read_only = vm.writable(me).is_err();
    let Some(Object::Map(map)) = vm.heap.object(me) else { return Ok(None) };
    Ok(Some(match name {
        "size" => Value::from(map.len()),
        "isEmpty" => Value::Bool(map.is_empty()),
        "get" => match (map.get(&key).cloned(), second) {
            (Some(value), _) => value,
            (None, Some(default)) if read_only => default,
            (None, Some(default)) => {
                vm.map_put(me, first, default.clone());
                default
            }
            (None, None) => Value::Null,
        },
        "getAt" => map.get(&key).cloned().unwrap_or(Value::Null),
        "getOrDefault" => map.get(&key).cloned().or(second).unwrap_or(Value::Null),
        "containsKey" => Value::Bool(map.has(&key)),
        "containsValue" => {
            let values: Vec<Value> = map.iter().map(|p| p.1.clone()).collect();
            Value::Bool(values.iter().any(|v| vm.equal(v, &first)))
        }
        "keySet" | "keys" => {
            let keys = map.iter().map(|p| p.0.clone()).collect();
            vm.set_of(keys)
        }
        "values" => {
            let values = map.iter().map(|p| p.1.clone()).collect();
            vm.heap.list(values)
        }
        "iterator" => {
            let entries = vm.items(me)?;
            vm.heap.add(Object::Iterator(Cursor::Items(entries, 0)))
        }
        "entrySet" | "toList" => {
            let entries = vm.items(me)?;
            vm.heap.list(entries)
        }
        "put" | "putAt" => {
            let old = map.get(&key).cloned().unwrap_or(Value::Null);
            vm.map_put(me, first, second.unwrap_or(Value::Null));
            old
        }
        "putIfAbsent" => match map.get(&key).cloned() {
            Some(old) => old,
            None => {
                vm.map_put(me, first, second.unwrap_or(Value::Null));
                Value::Null
            }
        },
        "putAll" | "leftShift" => {
            for (key, value) in vm.pairs(&first) {
                vm.map_put(me, key, value);
            }
            if name == "putAll" { Value::Null } else { me.clone() }
        }
        "plus" => return vm.add(me, &first).map(Some),
        "remove" => match vm.heap.object_mut(me) {
            Some(Object::Map(map)) => map.remove(&key).unwrap_or(Value::Null),
            _ => Value::Null,
        },
        "clear" => {
            if let Some(Object::Map(map)) = vm.heap.object_mut(me) {
                map.clear();
            }
            Value::Null
        }
        "clone" | "asImmutable" | "asUnmodifiable" => {
            let copy = Object::Map(map.clone());
            vm.heap.add(copy)
        }
        "subMap" => {
            let wanted = vm.items(&first)?;
            let picked = picked(vm, me, &wanted, true);
            map_of(vm, picked)
        }
        "take" | "drop" => {
            let n = usize::try_from(int(args, 0, 0)).unwrap_or(0);
            let pairs = vm.pairs(me);
            let at = n.min(pairs.len());
            let part = if name == "take" { pairs[..at].to_vec() } else { pairs[at..].to_vec() };
            map_of(vm, part)
        }
        "minus" => {
            let pairs = vm.pairs(&first).into_iter().map(|p| p.0).collect::<Vec<_>>();
            let kept = picked(vm, me, &pairs, false);
            map_of(vm, kept)
        }
        "sort" | "toSorted" if args.is_empty() => {
            let pairs = vm.pairs(me);
            let keys = vm.sorted(pairs.into_iter().map(|p| p.0).collect())?;
            let sorted = picked(vm, me, &keys, true);
            map_of(vm, sorted)
        }
        "equals" => Value::Bool(vm.equal(me, &first)),
        _ => return Ok(None),
    }))
}

/// The pairs with these keys in their order, or all the others.
fn picked(vm: &Vm, me: &Value, keys: &[Value], with: bool) -> Vec<(Value, Value)> {
    let Some(Object::Map(map)) = vm.heap.object(me) else { return Vec::new() };
    if with {
        return keys.iter().filter_map(|k| Some((k.clone(), map.get(&vm.key(k))?.clone()))).collect();
    }
    let gone: Vec<_> = keys.iter().map(|k| vm.key(k)).collect();
    map.entries().filter(|(key, ..)| !gone.contains(key)).map(|(_, k, v)| (k.clone(), v.clone())).collect()
}

fn map_of(vm: &mut Vm, pairs: Vec<(Value, Value)>) -> Value {
    let map = vm.map_from([]);
    for (key, value) in pairs {
        vm.map_put(&map, key, value);
    }
    map
}
