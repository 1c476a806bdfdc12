//! Methods of lists, ranges and sets.

use super::{Native, int, is_closure, text};
use crate::vm::ordered::OrderedMap;
use crate::vm::value::{Cursor, Object, Value};
use crate::vm::{Fault, Vm, class, compare};

pub(super) const NAMES: &[&str] = &[
    "add", "addAll", "clear", "contains", "first", "get", "indexOf", "isEmpty", "join", "last", "push",
    "remove", "reverse", "size", "sort", "sum", "unique",
];

/// How many `combinations()` makes at most.
const COMBINATIONS: usize = 10_000;

pub(super) fn call(vm: &mut Vm, me: &Value, name: &str, args: &[Value]) -> Native {
    if let Value::Range(from, to) = me {
        match name {
            "size" => {
                return Ok(Some(Value::from(i64::try_from(from.abs_diff(*to)).unwrap_or(i64::MAX - 1) + 1)));
            }
            "isEmpty" => return Ok(Some(Value::Bool(false))),
            "contains" => {
                return vm.contains(me, args.first().unwrap_or(&Value::Null)).map(|f| Some(Value::Bool(f)));
            }
            _ => {}
        }
    }
    if let Some(value) = quick(vm, me, name, args) {
        return Ok(Some(value));
    }
    if let Some(value) = change(vm, me, name, args)? {
        return Ok(Some(value));
    }
    let items = vm.items(me)?;
    if let Some(value) = look(vm, me, &items, name, args)? {
        return Ok(Some(value));
    }
    derive(vm, me, items, name, args)
}

/// What long loops do all the time, without a copy of the list.
fn quick(vm: &mut Vm, me: &Value, name: &str, args: &[Value]) -> Option<Value> {
    let (list, len) = match vm.heap.object(me)? {
        Object::List(items) => (Some(items), items.len()),
        Object::Set(set) => (None, set.len()),
        _ => return None,
    };
    match (name, args) {
        ("size", []) => Some(Value::from(len)),
        ("isEmpty", []) => Some(Value::Bool(len == 0)),
        ("get", [at]) => list?.get(usize::try_from(compare::whole(at)?).ok()?).cloned(),
        ("first" | "getFirst", []) => list?.first().cloned(),
        ("last" | "getLast", []) => list?.last().cloned(),
        _ => None,
    }
}

fn empty(name: &str) -> Fault {
    Fault::new(class::ELEMENT, format!("Cannot access {name}() element from an empty List"))
}

/// Methods that change the list or set itself.
fn change(vm: &mut Vm, me: &Value, name: &str, args: &[Value]) -> Native {
    let first = args.first().cloned().unwrap_or(Value::Null);
    let key = vm.key(&first);
    if matches!(name, "add" | "push" | "set" | "putAt" | "addFirst" | "addLast" | "leftShift") {
        vm.heap.charge(48);
    }
    match name {
        "addAll" => {
            let (at, more) = match args {
                [at, more] => (compare::whole(at), vm.items(more)?),
                _ => (None, vm.items(&first)?),
            };
            return add_all(vm, me, at, more);
        }
        "removeAll" | "retainAll" if !is_closure(vm, &first) => {
            let other = vm.items(&first)?;
            let keys: std::collections::HashSet<_> = other.iter().map(|v| vm.key(v)).collect();
            let before = vm.items(me)?;
            let keep = name == "retainAll";
            let kept: Vec<Value> =
                before.iter().filter(|v| keys.contains(&vm.key(v)) == keep).cloned().collect();
            let changed = kept.len() != before.len();
            store(vm, me, kept);
            return Ok(Some(Value::Bool(changed)));
        }
        "remove" | "removeElement" if !matches!(vm.heap.object(me), Some(Object::Set(_))) => {
            return remove(vm, me, name, &first);
        }
        _ => {}
    }
    let position = compare::whole(&first);
    match vm.heap.object_mut(me) {
        Some(Object::List(items)) => Ok(match (name, args.len()) {
            ("add", 1) | ("push" | "addLast" | "leftShift", _) => {
                items.push(first);
                Some(Value::Bool(true))
            }
            ("add", 2) => {
                let at = usize::try_from(position.unwrap_or(0)).ok().filter(|at| *at <= items.len());
                let Some(at) = at else {
                    return Err(Fault::new(
                        class::BOUNDS,
                        format!("Index: {}, Size: {}", position.unwrap_or(0), items.len()),
                    ));
                };
                items.insert(at, args[1].clone());
                Some(Value::Null)
            }
            ("addFirst", _) => {
                items.insert(0, first);
                Some(Value::Null)
            }
            ("pop" | "removeLast", 0) => Some(items.pop().ok_or_else(|| empty(name))?),
            ("removeFirst" | "poll", 0) => {
                if items.is_empty() {
                    return Err(empty(name));
                }
                Some(items.remove(0))
            }
            ("removeAt", 1) => {
                let at = position
                    .and_then(|at| crate::vm::position(at, items.len()))
                    .filter(|at| *at < items.len());
                let Some(at) = at else {
                    return Err(Fault::new(
                        class::BOUNDS,
                        format!("Index: {}, Size: {}", position.unwrap_or(0), items.len()),
                    ));
                };
                Some(items.remove(at))
            }
            ("clear", 0) => {
                items.clear();
                Some(Value::Null)
            }
            ("set" | "putAt", 2) => {
                let at = position.unwrap_or(0);
                let old =
                    usize::try_from(at).ok().and_then(|at| items.get(at)).cloned().unwrap_or(Value::Null);
                vm.set_index(me, &first, args[1].clone())?;
                Some(old)
            }
            _ => None,
        }),
        Some(Object::Set(set)) => Ok(match (name, args.len()) {
            ("add" | "leftShift", 1) => {
                let new = !set.has(&key);
                if new {
                    set.put(key, first, Value::Null);
                }
                Some(Value::Bool(new))
            }
            ("remove", 1) => Some(Value::Bool(set.remove(&key).is_some())),
            ("clear", 0) => {
                set.clear();
                Some(Value::Null)
            }
            ("contains", 1) => Some(Value::Bool(set.has(&key))),
            _ => None,
        }),
        _ => Ok(None),
    }
}

fn add_all(vm: &mut Vm, me: &Value, at: Option<i64>, more: Vec<Value>) -> Native {
    vm.heap.charge(more.len() * 24);
    if matches!(vm.heap.object(me), Some(Object::Set(_))) {
        let mut items = vm.items(me)?;
        items.extend(more);
        store(vm, me, items);
        return Ok(Some(Value::Bool(true)));
    }
    let changed = !more.is_empty();
    if let Some(Object::List(items)) = vm.heap.object_mut(me) {
        let at = at.and_then(|at| usize::try_from(at).ok()).unwrap_or(items.len()).min(items.len());
        items.splice(at..at, more);
    }
    Ok(Some(Value::Bool(changed)))
}

fn remove(vm: &mut Vm, me: &Value, name: &str, what: &Value) -> Native {
    let items = vm.items(me)?;
    let (at, value) = match (name, compare::whole(what)) {
        ("remove", Some(at)) => {
            let found = usize::try_from(at).ok().filter(|at| *at < items.len());
            let Some(found) = found else {
                return Err(Fault::new(class::BOUNDS, format!("Index: {at}, Size: {}", items.len())));
            };
            (Some(found), items[found].clone())
        }
        _ => {
            let at = items.iter().position(|i| vm.equal(i, what));
            (at, Value::Bool(at.is_some()))
        }
    };
    if let (Some(at), Some(Object::List(items))) = (at, vm.heap.object_mut(me)) {
        items.remove(at);
    }
    Ok(Some(value))
}

/// Replaces the content.
fn store(vm: &mut Vm, me: &Value, items: Vec<Value>) {
    let keys: Vec<_> = items.iter().map(|i| vm.key(i)).collect();
    match vm.heap.object_mut(me) {
        Some(Object::List(list)) => *list = items,
        Some(Object::Set(set)) => {
            set.clear();
            for (key, item) in keys.into_iter().zip(items) {
                if !set.has(&key) {
                    set.put(key, item, Value::Null);
                }
            }
        }
        _ => {}
    }
}

/// Methods that answer with something else than a list.
fn look(vm: &mut Vm, me: &Value, items: &[Value], name: &str, args: &[Value]) -> Native {
    let first = args.first().cloned().unwrap_or(Value::Null);
    Ok(Some(match name {
        "size" | "length" => Value::from(items.len()),
        "isEmpty" => Value::Bool(items.is_empty()),
        "get" => {
            let at = int(args, 0, 0);
            let found = usize::try_from(at).ok().and_then(|at| items.get(at));
            let message =
                || Fault::new(class::BOUNDS, format!("Index {at} out of bounds for length {}", items.len()));
            found.cloned().ok_or_else(message)?
        }
        "getAt" => return vm.get_index(me, &first).map(Some),
        "first" | "head" | "getFirst" => items.first().cloned().ok_or_else(|| empty("first"))?,
        "last" | "getLast" => items.last().cloned().ok_or_else(|| empty("last"))?,
        "peek" => items.last().cloned().unwrap_or(Value::Null),
        "contains" => Value::Bool(items.iter().any(|i| vm.equal(i, &first))),
        "containsAll" => {
            let wanted = vm.items(&first)?;
            Value::Bool(wanted.iter().all(|w| items.iter().any(|i| vm.equal(i, w))))
        }
        "disjoint" => {
            let other = vm.items(&first)?;
            Value::Bool(!other.iter().any(|w| items.iter().any(|i| vm.equal(i, w))))
        }
        "indexOf" => items.iter().position(|i| vm.equal(i, &first)).map_or(Value::Int(-1), Value::from),
        "lastIndexOf" => items.iter().rposition(|i| vm.equal(i, &first)).map_or(Value::Int(-1), Value::from),
        "count" if args.len() == 1 => Value::from(items.iter().filter(|i| vm.equal(i, &first)).count()),
        "join" => {
            let separator = text(vm, args, 0);
            let mut out = String::new();
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(&separator);
                }
                out.push_str(&vm.text(item));
                vm.limit_text(out.len())?;
            }
            vm.heap.charge(out.len());
            Value::from(out)
        }
        "sum" => {
            let start = args.first().cloned();
            let mut items = items.iter().cloned();
            let Some(mut sum) = start.or_else(|| items.next()) else { return Ok(Some(Value::Null)) };
            for item in items {
                sum = vm.add(&sum, &item)?;
            }
            sum
        }
        "max" | "min" if args.is_empty() => {
            let mut best: Option<&Value> = None;
            for item in items {
                let better = match best {
                    Some(best) => {
                        let order = vm.compare(item, best)?;
                        if name == "max" { order.is_gt() } else { order.is_lt() }
                    }
                    None => true,
                };
                if better {
                    best = Some(item);
                }
            }
            best.cloned().unwrap_or(Value::Null)
        }
        "equals" => Value::Bool(vm.equal(me, &first)),
        "encodeBase64" => {
            let byte = |item: &Value| u8::try_from(compare::whole(item).unwrap_or(0) & 255).unwrap_or(0);
            Value::from(super::string::base64(&items.iter().map(byte).collect::<Vec<_>>()))
        }
        "any" if args.is_empty() => Value::Bool(items.iter().any(|i| vm.truth(i))),
        "every" if args.is_empty() => Value::Bool(items.iter().all(|i| vm.truth(i))),
        _ => return Ok(None),
    }))
}

/// Methods that make another list.
fn derive(vm: &mut Vm, me: &Value, items: Vec<Value>, name: &str, args: &[Value]) -> Native {
    let set = matches!(vm.heap.object(me), Some(Object::Set(_)));
    let first = args.first().cloned().unwrap_or(Value::Null);
    let n = usize::try_from(int(args, 0, 0)).unwrap_or(0);
    let len = items.len();
    let made: Vec<Value> = match name {
        "toList" | "asList" | "toArray" | "collect" | "stream" | "asImmutable" | "asUnmodifiable"
        | "clone" | "asCollection" | "asSynchronized" => items,
        "toSet" | "asSet" => return Ok(Some(vm.set_of(items))),
        "iterator" => return Ok(Some(vm.heap.add(Object::Iterator(Cursor::Items(items, 0))))),
        "step" if n > 0 => items.into_iter().step_by(n).collect(),
        "reverse" => items.into_iter().rev().collect(),
        "plus" => return vm.add(me, &first).map(Some),
        "minus" => {
            vm.binary(crate::ast::BinaryOp::Sub, me.clone(), first)?;
            return Ok(Some(vm.pop()));
        }
        "multiply" => {
            vm.binary(crate::ast::BinaryOp::Mul, me.clone(), first)?;
            return Ok(Some(vm.pop()));
        }
        "intersect" => {
            let other = vm.items(&first)?;
            items.into_iter().filter(|i| other.iter().any(|o| vm.equal(o, i))).collect()
        }
        "take" => items.into_iter().take(n).collect(),
        "drop" => items.into_iter().skip(n).collect(),
        "takeRight" => items.into_iter().skip(len.saturating_sub(n)).collect(),
        "dropRight" => items.into_iter().take(len.saturating_sub(n)).collect(),
        "tail" => items.into_iter().skip(1).collect(),
        "init" => items.into_iter().take(len.saturating_sub(1)).collect(),
        "subList" => {
            let to = usize::try_from(int(args, 1, 0)).unwrap_or(0);
            if n > to || to > len {
                return Err(Fault::new(class::BOUNDS, format!("fromIndex: {n}, toIndex: {to}, size: {len}")));
            }
            items[n..to].to_vec()
        }
        "grep" | "findAll" if args.is_empty() => items.into_iter().filter(|i| vm.truth(i)).collect(),
        "flatten" => {
            let mut out = Vec::new();
            flatten(vm, &items, 0, &mut out);
            out
        }
        "sort" | "toSorted" => {
            let sorted = vm.sorted(items)?;
            if name == "sort"
                && !set
                && !matches!(first, Value::Bool(false))
                && !matches!(me, Value::Range(..))
            {
                store(vm, me, sorted);
                return Ok(Some(me.clone()));
            }
            sorted
        }
        "unique" | "toUnique" => {
            let mut seen = std::collections::HashSet::new();
            let kept: Vec<Value> = items.into_iter().filter(|i| seen.insert(vm.key(i))).collect();
            if name == "unique" && !matches!(first, Value::Bool(false)) {
                store(vm, me, kept);
                return Ok(Some(me.clone()));
            }
            kept
        }
        "swap" => {
            let mut items = items;
            let to = usize::try_from(int(args, 1, 0)).unwrap_or(0);
            if n < len && to < len {
                items.swap(n, to);
            }
            store(vm, me, items);
            return Ok(Some(me.clone()));
        }
        "transpose" => {
            let rows: Vec<Vec<Value>> = items.iter().map(|i| vm.items(i)).collect::<Result<_, _>>()?;
            let width = rows.iter().map(Vec::len).min().unwrap_or(0);
            (0..width)
                .map(|at| {
                    let row = rows.iter().map(|r| r[at].clone()).collect();
                    vm.heap.list(row)
                })
                .collect()
        }
        "combinations" => combinations(vm, &items)?,
        "collate" => collate(vm, &items, n.max(1), args)?,
        "indexed" => {
            let map = vm.heap.add(Object::Map(OrderedMap::default()));
            for (at, item) in (int(args, 0, 0)..).zip(items) {
                vm.map_put(&map, Value::from(at), item);
            }
            return Ok(Some(map));
        }
        "withIndex" => {
            let pairs = (int(args, 0, 0)..).zip(items);
            pairs.map(|(at, item)| vm.heap.list(vec![item, Value::from(at)])).collect()
        }
        "execute" => return Err(crate::library::classes::refused("List.execute()")),
        "shuffle" => return Err(crate::library::classes::refused("List.shuffle()")),
        _ => return Ok(None),
    };
    Ok(Some(if set { vm.set_of(made) } else { vm.heap.list(made) }))
}

fn flatten(vm: &Vm, items: &[Value], depth: u32, out: &mut Vec<Value>) {
    for item in items {
        let inner = match vm.heap.object(item) {
            Some(Object::Set(set)) => Some(set.iter().map(|p| p.0.clone()).collect()),
            _ => vm.list_items(item),
        };
        match inner.filter(|_| depth < compare::DEPTH) {
            Some(inner) => flatten(vm, &inner, depth + 1, out),
            None => out.push(item.clone()),
        }
    }
}

/// `collate(size)`, `collate(size, step)`, each with whether the last ones may be shorter.
fn collate(vm: &mut Vm, items: &[Value], size: usize, args: &[Value]) -> Result<Vec<Value>, Fault> {
    let (step, rest) = match &args[1.min(args.len())..] {
        [] => (size, true),
        [Value::Bool(rest)] => (size, *rest),
        [step] => (amount(step), true),
        [step, rest, ..] => (amount(step), vm.truth(rest)),
    };
    let parts = (0..items.len()).step_by(step.max(1)).map(|at| &items[at..(at + size).min(items.len())]);
    let parts: Vec<&[Value]> = parts.filter(|part| rest || part.len() == size).collect();
    vm.heap.charge(24 * parts.iter().map(|part| part.len()).sum::<usize>());
    vm.limit_text(24 * parts.iter().map(|part| part.len()).sum::<usize>())?;
    Ok(parts.into_iter().map(|part| vm.heap.list(part.to_vec())).collect())
}

fn amount(value: &Value) -> usize {
    compare::whole(value).and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

/// One of each, the first changing fastest.
fn combinations(vm: &mut Vm, items: &[Value]) -> Result<Vec<Value>, Fault> {
    let mut all: Vec<Vec<Value>> = vec![Vec::new()];
    for item in items {
        let choices = if vm.is_collection(item) { vm.items(item)? } else { vec![item.clone()] };
        if all.len().saturating_mul(choices.len()) > COMBINATIONS {
            let message = format!("there are more than {COMBINATIONS} combinations");
            return Err(Fault::new(class::MEMORY, message));
        }
        let with = |choice: &Value| {
            let choice = choice.clone();
            all.iter().map(move |before| before.iter().cloned().chain([choice.clone()]).collect())
        };
        all = choices.iter().flat_map(with).collect();
    }
    vm.heap.charge(24 * items.len() * all.len());
    Ok(all.into_iter().map(|one| vm.heap.list(one)).collect())
}
