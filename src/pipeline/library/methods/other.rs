//! Methods of closures, exceptions, objects of the script, matchers and string builders; and those that all have.

use std::sync::Arc;

use super::{Native, int, string, text};
use crate::library::regex::{Regex, next_start};
use crate::library::{classes, date};
use crate::vm::value::{Cursor, Object, Value};
use crate::vm::{Fault, Ret, Vm, class};

pub(super) const BUILDER: &[&str] = &["append", "insert", "length", "reverse", "setLength"];

/// Methods that end in a frame or an act instead of a value.
pub(super) fn effect(vm: &mut Vm, object: &Value, name: &str, args: &[Value]) -> Option<Result<(), Fault>> {
    let closure = matches!(vm.heap.object(object), Some(Object::Closure(_) | Object::Pointer(..)));
    match name {
        "call" | "doCall" | "run" if closure => Some(vm.call_value(object.clone(), args.to_vec(), Ret::Push)),
        "invokeMethod" if !closure => {
            let method = text(vm, args, 0);
            let rest = args.get(1).and_then(|a| vm.list_items(a)).unwrap_or_default();
            Some(vm.call_method(object.clone(), &method, rest, false))
        }
        "get" | "getAt" if args.len() == 1 => match vm.reads_default(object, &args[0]) {
            Ok(false) => None,
            Ok(true) => Some(Ok(())),
            Err(fault) => Some(Err(fault)),
        },
        "withDefault" if vm.is_collection(object) => Some(with_default(vm, object, args)),
        "newInstance" => match object {
            Value::Class(class) => Some(vm.construct(&class.clone(), args.to_vec(), false)),
            _ => None,
        },
        "setResult" | "setDisplayName" | "setDescription" if matches!(object, Value::Global(_)) => {
            let property = match name {
                "setResult" => "result",
                "setDisplayName" => "displayName",
                _ => "description",
            };
            let value = args.first().cloned().unwrap_or(Value::Null);
            Some(vm.set_property(object, property, value))
        }
        "setProperty" => {
            let property = text(vm, args, 0);
            Some(vm.set_property(object, &property, args.get(1).cloned().unwrap_or(Value::Null)))
        }
        _ => None,
    }
}

fn with_default(vm: &mut Vm, me: &Value, args: &[Value]) -> Result<(), Fault> {
    let Some(Object::Map(map)) = vm.heap.object_mut(me) else {
        let message = "withDefault of a list does not run in Majordomo: use a map or getAt(…) ?: …";
        return Err(Fault::new(class::UNSUPPORTED, message));
    };
    map.default = args.first().cloned();
    vm.push(me.clone());
    Ok(())
}

pub(super) fn common(vm: &mut Vm, object: &Value, name: &str, args: &[Value]) -> Native {
    let first = args.first().cloned().unwrap_or(Value::Null);
    Ok(Some(match name {
        "toString" if matches!(object, Value::Range(..)) => Value::from(vm.text_of_java(object)),
        "toString" => Value::from(vm.text(object)),
        "inspect" | "dump" => Value::from(vm.inspected(object)),
        "equals" => Value::Bool(vm.equal(object, &first)),
        "is" => Value::Bool(*object == first),
        "hashCode" => {
            let shown = vm.inspected(object);
            return string::call(vm, &Arc::from(shown), "hashCode", &[]);
        }
        "getClass" => {
            let class = vm.type_name(object);
            Value::str_class(classes::simple(&class))
        }
        "asBoolean" => Value::Bool(vm.truth(object)),
        "compareTo" => Value::Int(vm.compare(object, &first)? as i32),
        "asType" => {
            let ty = match &first {
                Value::Class(name) => name.to_string(),
                other => vm.text(other),
            };
            return vm.cast(object.clone(), &ty).map(Some);
        }
        "getProperty" | "getAt" if matches!(vm.heap.object(object), Some(Object::Instance(_))) => {
            let property = vm.text(&first);
            return vm.plain_property(object, &property).map(Some);
        }
        "toSet" | "toList" if vm.is_collection(object) => {
            let items = vm.items(object)?;
            if name == "toSet" { vm.set_of(items) } else { vm.heap.list(items) }
        }
        "getBinding" => Value::Global(crate::vm::value::Global::Script),
        _ => return Ok(None),
    }))
}

pub(super) fn boolean(me: bool, name: &str, args: &[Value]) -> Option<Value> {
    let other = matches!(args.first(), Some(Value::Bool(true)));
    Some(match name {
        "booleanValue" | "toBoolean" => Value::Bool(me),
        "and" => Value::Bool(me && other),
        "or" => Value::Bool(me || other),
        "xor" => Value::Bool(me != other),
        _ => return None,
    })
}

pub(super) fn class(vm: &mut Vm, class: &str, name: &str, args: &[Value]) -> Native {
    Ok(Some(match name {
        "getName" | "getTypeName" | "getCanonicalName" => Value::from(vm.full_name(class)),
        "getSimpleName" => Value::str(classes::simple(class)),
        "values" => {
            let all = vm.enum_constants(class);
            vm.heap.list(all)
        }
        "valueOf" => {
            let wanted = text(vm, args, 0);
            let missing = || Fault::argument(format!("No enum constant {class}.{wanted}"));
            vm.class_constant(class, &wanted).ok_or_else(missing)?
        }
        "isInstance" => Value::Bool(vm.instance_of(args.first().unwrap_or(&Value::Null), class)),
        _ => return Ok(None),
    }))
}

pub(super) fn pattern(vm: &mut Vm, regex: &Arc<Regex>, name: &str, args: &[Value]) -> Native {
    let subject = text(vm, args, 0);
    Ok(Some(match name {
        "matcher" => vm.matcher(regex.clone(), Arc::from(subject))?,
        "matches" => Value::Bool(regex.whole(&subject, &mut vm.heap.work)?.is_some()),
        "pattern" | "toString" => Value::str(&regex.source),
        "split" => {
            let me: Arc<str> = Arc::from(subject);
            return string::call(vm, &me, "split", &[Value::Pattern(regex.clone())]);
        }
        "isCase" => Value::Bool(regex.whole(&subject, &mut vm.heap.work)?.is_some()),
        _ => return Ok(None),
    }))
}

pub(super) fn iterator(vm: &mut Vm, me: &Value, name: &str) -> Native {
    let Some(Object::Iterator(Cursor::Items(items, at))) = vm.heap.object_mut(me) else { return Ok(None) };
    match name {
        "hasNext" => Ok(Some(Value::Bool(*at < items.len()))),
        "next" => {
            let item = items.get(*at).cloned();
            *at += 1;
            item.map(Some).ok_or_else(|| Fault::new(class::ELEMENT, "there is no next element"))
        }
        _ => Ok(None),
    }
}

pub(super) fn entry(vm: &Vm, me: &Value, name: &str) -> Native {
    let Some(Object::Entry(key, value)) = vm.heap.object(me) else { return Ok(None) };
    Ok(match name {
        "getKey" => Some(key.clone()),
        "getValue" => Some(value.clone()),
        _ => None,
    })
}

pub(super) fn closure(vm: &mut Vm, me: &Value, name: &str, args: &[Value]) -> Native {
    let Some(Object::Closure(closure)) = vm.heap.object(me) else { return Ok(None) };
    let mut closure = closure.clone();
    let params = {
        let code = &vm.program.image.codes[closure.code as usize];
        if code.implicit_it { 1 } else { code.params.len() }
    };
    match name {
        "curry" => closure.bound.extend(args.iter().cloned()),
        "clone" | "dehydrate" | "memoize" => {}
        "rehydrate" => closure.delegate = args.first().cloned().unwrap_or(Value::Null),
        "andThen" => closure.then.extend(args.iter().cloned()),
        "getMaximumNumberOfParameters" => {
            return Ok(Some(Value::from(params.saturating_sub(closure.bound.len()))));
        }
        "setDelegate" | "setResolveStrategy" => {
            let value = args.first().cloned().unwrap_or(Value::Null);
            let property = if name == "setDelegate" { "delegate" } else { "resolveStrategy" };
            vm.set_plain_property(me, property, value)?;
            return Ok(Some(Value::Null));
        }
        "getDelegate" => return vm.plain_property(me, "delegate").map(Some),
        _ => return Ok(None),
    }
    Ok(Some(vm.heap.add(Object::Closure(closure))))
}

pub(super) fn instance(vm: &mut Vm, me: &Value, name: &str, args: &[Value]) -> Native {
    let Some(Object::Instance(instance)) = vm.heap.object(me) else { return Ok(None) };
    let instance = instance.clone();
    if let Some(thrown) = &instance.thrown {
        let message = thrown.message.clone().map_or(Value::Null, Value::Str);
        match name {
            "getMessage" | "getLocalizedMessage" => return Ok(Some(message)),
            "getCause" => return Ok(Some(thrown.cause.clone())),
            "initCause" | "addSuppressed" | "printStackTrace" | "setStackTrace" => {
                return Ok(Some(Value::Null));
            }
            "getCauses" if let Some(causes) = instance.fields.get_str("causes") => {
                return Ok(Some(causes.clone()));
            }
            "getStackTrace" | "getSuppressed" | "getCauses" => return Ok(Some(vm.heap.list(Vec::new()))),
            "getResult" => {
                let result = thrown.result.map(|r| Value::str(crate::library::globals::result_name(r)));
                return Ok(Some(result.unwrap_or(Value::Null)));
            }
            "isActualInterruption" => return Ok(Some(Value::Bool(!thrown.expired))),
            _ => {}
        }
    }
    if *instance.class == *date::CLASS
        && let Some(value) = date::call(vm, &instance, name, args)
    {
        return Ok(Some(value));
    }
    match name {
        "name" | "getName" if let Some(name) = instance.fields.get_str("$name") => {
            return Ok(Some(name.clone()));
        }
        "ordinal" => return Ok(instance.fields.get_str("$ordinal").cloned()),
        "getProperties" => {
            let fields: Vec<_> = instance.fields.iter().map(|(k, v)| (vm.text(k), v.clone())).collect();
            return Ok(Some(vm.map_from(fields)));
        }
        _ => {}
    }
    accessor(vm, me, name, args)
}

/// `getX()` and `setX(v)` of a field.
fn accessor(vm: &mut Vm, me: &Value, name: &str, args: &[Value]) -> Native {
    let field = |tail: &str| {
        let mut chars = tail.chars();
        chars.next().map(|c| c.to_lowercase().chain(chars).collect::<String>()).unwrap_or_default()
    };
    let has = |vm: &Vm, field: &str| matches!(vm.heap.object(me), Some(Object::Instance(i)) if i.fields.get_str(field).is_some());
    if let Some(tail) =
        name.strip_prefix("get").or_else(|| name.strip_prefix("is")).filter(|_| args.is_empty())
    {
        let field = field(tail);
        return if has(vm, &field) { vm.plain_property(me, &field).map(Some) } else { Ok(None) };
    }
    if let (Some(tail), [value]) = (name.strip_prefix("set"), args) {
        let field = field(tail);
        if has(vm, &field) {
            vm.put_field(me, &field, value.clone());
            return Ok(Some(Value::Null));
        }
    }
    Ok(None)
}

pub(super) fn matcher(vm: &mut Vm, me: &Value, name: &str, args: &[Value]) -> Native {
    let Some(Object::Matcher(matcher)) = vm.heap.object(me) else { return Ok(None) };
    let mut matcher = matcher.clone();
    let no_match = || Fault::new(class::STATE, "No match found");
    let value = match name {
        "matches" | "lookingAt" => {
            let found = if name == "matches" {
                matcher.regex.whole(&matcher.text, &mut vm.heap.work)?
            } else {
                matcher.regex.prefix(&matcher.text, &mut vm.heap.work)?
            };
            matcher.current = found;
            Value::Bool(matcher.current.is_some())
        }
        "find" => {
            let from = matcher.from;
            let found = if from > matcher.text.len() {
                None
            } else {
                matcher.regex.find(&matcher.text, from, &mut vm.heap.work)?
            };
            matcher.from = found.as_ref().map_or(matcher.text.len() + 1, |f| next_start(&matcher.text, f));
            matcher.current = found;
            Value::Bool(matcher.current.is_some())
        }
        "group" | "start" | "end" => {
            if matcher.current.is_none() && matcher.from == 0 {
                matcher.current = matcher.regex.whole(&matcher.text, &mut vm.heap.work)?;
            }
            let found = matcher.current.as_ref().ok_or_else(no_match)?;
            let at = match args.first() {
                Some(Value::Str(name)) => matcher.regex.names.iter().find(|n| n.0 == **name).map(|n| n.1),
                _ => usize::try_from(int(args, 0, 0)).ok(),
            };
            let group = at.and_then(|at| found.groups.get(at));
            let missing = || Fault::new(class::BOUNDS, format!("No group {}", text(vm, args, 0)));
            match (group.ok_or_else(missing)?, name) {
                (Some((from, to)), "group") => Value::str(&matcher.text[*from..*to]),
                (Some((from, _)), "start") => Value::from(matcher.text[..*from].chars().count()),
                (Some((_, to)), _) => Value::from(matcher.text[..*to].chars().count()),
                (None, "group") => Value::Null,
                (None, _) => Value::Int(-1),
            }
        }
        "groupCount" | "getGroupCount" => Value::from(matcher.regex.groups),
        "hasGroup" => Value::Bool(matcher.regex.groups > 0),
        "size" | "getCount" => Value::from(matcher.regex.all(&matcher.text, &mut vm.heap.work)?.len()),
        "reset" => {
            matcher.from = 0;
            matcher.current = None;
            me.clone()
        }
        "replaceAll" | "replaceFirst" => {
            let with = text(vm, args, 0);
            let mut found = matcher.regex.all(&matcher.text, &mut vm.heap.work)?;
            if name == "replaceFirst" {
                found.truncate(1);
            }
            Value::from(string::replace(vm, &matcher.regex, &matcher.text, &found, &with)?)
        }
        "getAt" => return vm.get_index(me, args.first().unwrap_or(&Value::Int(0))).map(Some),
        "toList" | "collect" | "findAll" => {
            let items = vm.items(me)?;
            vm.heap.list(items)
        }
        _ => return Ok(None),
    };
    if let Some(Object::Matcher(old)) = vm.heap.object_mut(me) {
        *old = matcher;
    }
    Ok(Some(value))
}

pub(super) fn builder(vm: &mut Vm, me: &Value, name: &str, args: &[Value]) -> Native {
    let piece = text(vm, args, if name == "insert" { 1 } else { 0 });
    let Some(Object::Builder(text)) = vm.heap.object_mut(me) else { return Ok(None) };
    match name {
        "append" | "leftShift" => text.push_str(&piece),
        "insert" => {
            let at = usize::try_from(int(args, 0, 0)).unwrap_or(0);
            let at = text.char_indices().nth(at).map_or(text.len(), |c| c.0);
            text.insert_str(at, &piece);
        }
        "reverse" => *text = text.chars().rev().collect(),
        "setLength" => *text = text.chars().take(usize::try_from(int(args, 0, 0)).unwrap_or(0)).collect(),
        "deleteCharAt" => {
            let at = text.char_indices().nth(usize::try_from(int(args, 0, 0)).unwrap_or(0)).map(|c| c.0);
            at.into_iter().for_each(|at| {
                text.remove(at);
            });
        }
        "toString" => return Ok(Some(Value::str(&**text))),
        name => {
            let text: Arc<str> = Arc::from(text.as_str());
            return string::call(vm, &text, name, args);
        }
    }
    let len = text.len();
    vm.heap.charge(piece.len());
    vm.limit_text(len)?;
    Ok(Some(me.clone()))
}
