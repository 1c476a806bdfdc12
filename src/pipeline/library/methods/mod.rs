//! Methods of values. Those that take a closure are Groovy functions of the prelude (`m_…`), because what runs in a
//! closure may be a step; all others are here, by the type they belong to.

mod format;
mod list;
mod map;
mod number;
mod other;
mod string;

use crate::vm::value::{Global, Object, Value};
use crate::vm::{Fault, Vm, class};

pub(crate) use format::format;

type Native = Result<Option<Value>, Fault>;

/// Runs a method that the script's own classes do not have.
pub(crate) fn call(vm: &mut Vm, object: Value, name: &str, args: Vec<Value>) -> Result<(), Fault> {
    let closure = args.iter().any(|a| is_closure(vm, a));
    let prelude = vm.program.image.library(&format!("m_{name}"));
    let fits = prelude.filter(|code| {
        let params = &vm.program.image.codes[*code as usize].params;
        args.len() < params.len() && args.len() + 1 >= params.iter().filter(|p| !p.optional).count()
    });
    if let Some(code) = fits.filter(|_| closure) {
        return prelude_method(vm, code, object, args);
    }
    if closure && matches!(object, Value::Str(_)) && !matches!(name, "is" | "equals") {
        return Err(missing(vm, &object, name, &args));
    }
    if let Some(done) = other::effect(vm, &object, name, &args) {
        return done;
    }
    if let Some(value) = native(vm, &object, name, &args)? {
        vm.push(value);
        return Ok(());
    }
    if let Some(code) = fits {
        return prelude_method(vm, code, object, args);
    }
    Err(missing(vm, &object, name, &args))
}

fn prelude_method(vm: &mut Vm, code: u32, object: Value, args: Vec<Value>) -> Result<(), Fault> {
    let args = std::iter::once(object).chain(args).collect();
    vm.call_code(code, args, Value::Global(Global::Script), crate::vm::Ret::Push)
}

/// Whether a call by plain name in a closure may mean this object, its delegate.
pub(crate) fn has(vm: &Vm, object: &Value, name: &str) -> bool {
    if name.starts_with("m_") || super::steps::is_step(name) && !matches!(name, "dir" | "sleep") {
        return false;
    }
    let names: &[&str] = match object {
        Value::Str(_) => string::NAMES,
        Value::Int(_) | Value::Long(_) | Value::Double(_) | Value::Decimal(_) => number::NAMES,
        Value::Range(..) => list::NAMES,
        value => match vm.heap.object(value) {
            Some(Object::List(_) | Object::Set(_)) => list::NAMES,
            Some(Object::Map(_)) => map::NAMES,
            Some(Object::Builder(_)) => other::BUILDER,
            _ => &[],
        },
    };
    names.contains(&name) || vm.program.image.library(&format!("m_{name}")).is_some()
}

fn native(vm: &mut Vm, object: &Value, name: &str, args: &[Value]) -> Native {
    let own = match object {
        Value::Str(text) => string::call(vm, &text.clone(), name, args)?,
        Value::Int(_) | Value::Long(_) | Value::Double(_) | Value::Decimal(_) => {
            number::call(vm, object, name, args)?
        }
        Value::Bool(flag) => other::boolean(*flag, name, args),
        Value::Class(class) => match super::statics::call(vm, class, name, args)? {
            Some(value) => Some(value),
            None => other::class(vm, &class.clone(), name, args)?,
        },
        Value::Pattern(regex) => other::pattern(vm, &regex.clone(), name, args)?,
        Value::Global(global) => super::globals::call(vm, *global, name, args)?,
        Value::Range(..) => list::call(vm, object, name, args)?,
        Value::Ref(_) => object_method(vm, object, name, args)?,
        Value::Null | Value::Absent => None,
    };
    match own {
        Some(value) => Ok(Some(value)),
        None => other::common(vm, object, name, args),
    }
}

fn object_method(vm: &mut Vm, object: &Value, name: &str, args: &[Value]) -> Native {
    match vm.heap.object(object) {
        Some(Object::List(_) | Object::Set(_)) => list::call(vm, object, name, args),
        Some(Object::Map(_)) => map::call(vm, object, name, args),
        Some(Object::Entry(..)) => other::entry(vm, object, name),
        Some(Object::Closure(_) | Object::Pointer(..)) => other::closure(vm, object, name, args),
        Some(Object::Instance(_)) => other::instance(vm, object, name, args),
        Some(Object::Matcher(_)) => other::matcher(vm, object, name, args),
        Some(Object::Builder(_)) => other::builder(vm, object, name, args),
        Some(Object::Iterator(_)) => other::iterator(vm, object, name),
        _ => Ok(None),
    }
}

/// A property that is no field: `list.empty`, `e.message`, `x.class`.
pub(crate) fn property(vm: &mut Vm, object: &Value, name: &str) -> Native {
    if name == "class" {
        let class = vm.type_name(object);
        let simple = super::classes::simple(&class).to_owned();
        return Ok(Some(Value::str_class(&simple)));
    }
    let mut chars = name.chars();
    let tail: String = chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default();
    match object {
        Value::Str(_) => match name {
            "bytes" | "chars" | "empty" => {
                native(vm, object, if name == "empty" { "isEmpty" } else { name }, &[])
            }
            _ => Ok(None),
        },
        Value::Range(from, to) => Ok(match name {
            "from" => Some(Value::from(*from.min(to))),
            "to" => Some(Value::from(*from.max(to))),
            _ => None,
        }),
        value => match vm.heap.object(value) {
            Some(Object::List(_) | Object::Set(_)) => match name {
                "empty" => native(vm, object, "isEmpty", &[]),
                "length" => native(vm, object, "size", &[]),
                _ => Ok(None),
            },
            Some(Object::Instance(_) | Object::Matcher(_) | Object::Closure(_) | Object::Builder(_)) => {
                object_method(vm, object, &format!("get{tail}"), &[])
            }
            _ => Ok(None),
        },
    }
}

pub(super) fn is_closure(vm: &Vm, value: &Value) -> bool {
    matches!(vm.heap.object(value), Some(Object::Closure(_) | Object::Pointer(..)))
}

fn missing(vm: &Vm, object: &Value, name: &str, args: &[Value]) -> Fault {
    let types: Vec<String> = args.iter().map(|a| vm.type_name(a)).collect();
    let values: Vec<String> = args.iter().map(|a| vm.text(a)).collect();
    if let Value::Class(class) = object {
        let full = vm.full_name(class);
        if vm.program.image.class(class).is_none() {
            return super::classes::refused(&format!("staticMethod {full} {name}"));
        }
    }
    let message = format!(
        "No signature of method: {}.{name}() is applicable for argument types: ({}) values: [{}]",
        vm.type_name(object),
        types.join(", "),
        values.join(", ")
    );
    Fault::new(class::METHOD, message)
}

/// The argument as a text; empty when it is not there.
fn text(vm: &Vm, args: &[Value], at: usize) -> String {
    args.get(at).map(|v| vm.text(v)).unwrap_or_default()
}

fn int(args: &[Value], at: usize, default: i64) -> i64 {
    args.get(at).and_then(crate::vm::compare::whole).unwrap_or(default)
}
