//! Steps by name. Those with a body go to the Groovy part of the library, the others become acts at once.

mod files;
mod later;
mod outcome;
mod process;
mod scm;
mod unknown;

use std::fmt::Write;

use crate::act::ActKind;
use crate::vm::value::{Global, Object, Value};
use crate::vm::{Fault, Ret, Vm, class};

pub(crate) use later::object;
pub(crate) use outcome::finish;

/// Steps of the Groovy part: name, name of the plain argument, and whether there must be a body.
const BLOCKS: &[(&str, &str, bool)] = &[
    ("ansiColor", "colorMapName", true),
    ("catchError", "message", true),
    ("dir", "path", true),
    ("node", "label", true),
    ("retry", "count", true),
    ("script", "", true),
    ("stage", "name", true),
    ("timeout", "time", true),
    ("timestamps", "", true),
    ("unstable", "message", false),
    ("waitUntil", "", true),
    ("warnError", "message", true),
    ("withEnv", "overrides", true),
];

/// Those of them that cannot do without the plain argument.
const NEEDING: &[&str] = &["dir", "retry", "stage", "timeout", "unstable", "warnError", "withEnv"];

/// Steps that become acts or values: name and name of the plain argument.
const PLAIN: &[(&str, &str)] = &[
    ("archiveArtifacts", "artifacts"),
    ("bat", "script"),
    ("checkout", "scm"),
    ("cleanWs", ""),
    ("deleteDir", ""),
    ("echo", "message"),
    ("error", "message"),
    ("fileExists", "file"),
    ("git", "url"),
    ("isUnix", ""),
    ("powershell", "script"),
    ("print", "value"),
    ("printf", "value"),
    ("println", "value"),
    ("pwd", ""),
    ("pwsh", "script"),
    ("readFile", "file"),
    ("readJSON", "text"),
    ("scmGit", "userRemoteConfigs"),
    ("sh", "script"),
    ("sleep", "time"),
    ("sprintf", "format"),
    ("stash", "name"),
    ("unstash", "name"),
    ("writeFile", "file"),
];

/// Those of them that no act shows in the log.
const SHOWN: &[&str] = &["error", "isUnix", "pwd", "readJSON"];

/// What a step was given.
pub(super) struct Given {
    pub(super) named: Vec<(String, Value)>,
    body: Option<Value>,
}

impl Given {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.named.iter().find(|n| n.0 == name).map(|n| &n.1).filter(|v| !v.is_null())
    }

    pub(super) fn text(&self, vm: &Vm, name: &str) -> Option<String> {
        self.get(name).map(|v| vm.text(v))
    }

    pub(super) fn flag(&self, vm: &Vm, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, |v| vm.truth(v))
    }

    pub(super) fn need(&self, vm: &Vm, step: &str, name: &str) -> Result<String, Fault> {
        let missing = || Fault::argument(format!("the step {step} needs the argument {name}"));
        self.text(vm, name).ok_or_else(missing)
    }
}

pub(crate) fn is_step(name: &str) -> bool {
    name == "parallel"
        || BLOCKS.iter().any(|b| b.0 == name)
        || PLAIN.iter().any(|p| p.0 == name)
        || later::STEPS.contains(&name)
}

pub(crate) fn call(vm: &mut Vm, name: &str, args: Vec<Value>, named: bool) -> Result<(), Fault> {
    let shown = SHOWN.contains(&name).then(|| format!("[Pipeline] {name}"));
    let remarks: Vec<String> = unknown::warning(vm, name, &args).into_iter().chain(shown).collect();
    if !remarks.is_empty()
        && let Some(code) = vm.program.image.library("$announced")
    {
        let args = vm.heap.list(args);
        let args = vec![Value::from(remarks.join("\n")), Value::str(name), args, Value::Bool(named)];
        return vm.call_code(code, args, Value::Global(Global::Script), Ret::Push);
    }
    run(vm, name, args, named)
}

/// A step whose arguments were looked at.
pub(crate) fn run(vm: &mut Vm, name: &str, args: Vec<Value>, named: bool) -> Result<(), Fault> {
    if name == "parallel" {
        return parallel(vm, &args);
    }
    if let Some((_, plain, needs_body)) = BLOCKS.iter().find(|b| b.0 == name) {
        let given = given(vm, name, plain, args, named)?;
        if *needs_body && given.body.is_none() {
            return Err(Fault::argument(format!("the step {name} needs a body: {name}(…) {{ … }}")));
        }
        if NEEDING.contains(&name) {
            given.need(vm, name, plain)?;
        }
        if name == "withEnv" && given.get(plain).is_some_and(|list| !vm.is_collection(list)) {
            return Err(Fault::argument("withEnv takes a list: withEnv(['NAME=value']) { … }"));
        }
        let map = vm.map_from(given.named);
        let Some(code) = vm.program.image.library(name) else { return Err(unknown_step(name)) };
        let script = Value::Global(Global::Script);
        return vm.call_code(code, vec![map, given.body.unwrap_or(Value::Null)], script, Ret::Push);
    }
    if let Some((_, plain)) = PLAIN.iter().find(|p| p.0 == name) {
        if name == "sprintf" {
            let text = super::methods::format(vm, &args)?;
            vm.push(text);
            return Ok(());
        }
        if matches!(name, "println" | "print" | "printf") {
            return print(vm, name, args);
        }
        let given = given(vm, name, plain, args, named)?;
        return plain_step(vm, name, &given);
    }
    if later::SYMBOLS.contains(&name) {
        let given = given(vm, name, "value", args, named)?;
        let symbol = vm.map_from(given.named);
        vm.map_put(&symbol, Value::str("$symbol"), Value::str(name));
        vm.push(symbol);
        return Ok(());
    }
    Err(unknown_step(name))
}

fn unknown_step(name: &str) -> Fault {
    if later::STEPS.contains(&name) {
        return Fault::new(class::UNSUPPORTED, format!("step \"{name}\" does not run in Majordomo yet"));
    }
    if matches!(name, "evaluate" | "run") {
        return crate::library::classes::refused(&format!("{name}()"));
    }
    let mut all: Vec<&str> =
        BLOCKS.iter().map(|b| b.0).chain(PLAIN.iter().map(|p| p.0)).chain(["parallel"]).collect();
    all.sort_unstable();
    let mut message = format!("No such DSL method '{name}' found among steps [");
    let _ = write!(message, "{}]", all.join(", "));
    Fault::new(class::NO_STEP, message)
}

/// Sorts arguments by name. A single map without names is named arguments too, unless it is what the step is about.
fn given(vm: &Vm, step: &str, plain: &str, mut args: Vec<Value>, named: bool) -> Result<Given, Fault> {
    let closure = |v: &Value| matches!(vm.heap.object(v), Some(Object::Closure(_) | Object::Pointer(..)));
    let body = args.pop_if(|last| closure(last));
    let pairs = |map: &Value| {
        vm.pairs(map).into_iter().map(|(key, value)| (vm.text(&key), value)).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    let mut rest = args.into_iter();
    if named {
        all = rest.next().map(|map| pairs(&map)).unwrap_or_default();
    }
    let rest: Vec<Value> = rest.collect();
    match rest.as_slice() {
        [] => {}
        [one] if !named && step != "checkout" && matches!(vm.heap.object(one), Some(Object::Map(_))) => {
            all = pairs(one)
        }
        [one] if !plain.is_empty() => all.push((plain.to_owned(), one.clone())),
        many => {
            let shown: Vec<String> = many.iter().map(|v| vm.text(v)).collect();
            let message =
                format!("Expected named arguments for the step {step} but got [{}]", shown.join(", "));
            return Err(Fault::argument(message));
        }
    }
    Ok(Given { named: all, body })
}

fn print(vm: &mut Vm, name: &str, args: Vec<Value>) -> Result<(), Fault> {
    if let [own] = args.as_slice()
        && vm.own_method(own, "toString", &[]).is_some()
        && let Some(code) = vm.program.image.library("$print")
    {
        return vm.call_code(code, args, Value::Global(Global::Script), Ret::Push);
    }
    let text = match (name, args.as_slice()) {
        ("printf", _) => vm.text(&super::methods::format(vm, &args)?),
        (_, [one]) => vm.text_of_java(one),
        (_, []) => String::new(),
        (_, many) => many.iter().map(|v| vm.text(v)).collect::<Vec<_>>().join(" "),
    };
    vm.want(ActKind::Echo { text })
}

fn plain_step(vm: &mut Vm, name: &str, given: &Given) -> Result<(), Fault> {
    match name {
        "echo" => {
            let text = given.text(vm, "message").unwrap_or_else(|| "null".into());
            #[cfg(feature = "next")]
            let text = if vm.began.behaviour >= 2 { format!("[next] {text}") } else { text };
            vm.want(ActKind::Echo { text })
        }
        "error" => Err(Fault::abort(given.text(vm, "message").unwrap_or_default())),
        "sleep" => {
            let time = given.get("time").cloned().unwrap_or(Value::Null);
            let unit = given.get("unit").cloned().unwrap_or(Value::Null);
            let millis = super::intrinsics::millis(vm, &time, &unit, "SECONDS")?;
            vm.want(ActKind::Sleep { millis })
        }
        "isUnix" => {
            let unix = vm.node(name)?.grant.unix;
            vm.push(Value::Bool(unix));
            Ok(())
        }
        "pwd" => {
            let place = vm.place(name)?;
            let tmp = given.flag(vm, "tmp", false);
            vm.push(Value::from(if tmp { format!("{}@tmp", place.dir) } else { place.dir }));
            Ok(())
        }
        "readJSON" => {
            if given.get("file").is_some() {
                let what = "step \"readJSON\" with a file does not run in Majordomo yet: readJSON text: readFile('…')";
                return Err(Fault::new(class::UNSUPPORTED, what));
            }
            let text = given.need(vm, name, "text")?;
            let value = super::json::read(vm, &text)?;
            vm.push(value);
            Ok(())
        }
        "sh" | "bat" | "powershell" | "pwsh" => process::run(vm, name, given),
        "git" | "checkout" | "scmGit" => scm::run(vm, name, given),
        _ => files::run(vm, name, given),
    }
}

fn parallel(vm: &mut Vm, args: &[Value]) -> Result<(), Fault> {
    let mut fail_fast = false;
    let mut bodies = Vec::new();
    for (name, body) in args.iter().flat_map(|a| vm.pairs(a)) {
        let name = vm.text(&name);
        if name == "failFast" {
            fail_fast = vm.truth(&body);
        } else if super::methods::is_closure(vm, &body) {
            bodies.push((name, body));
        } else {
            return Err(Fault::argument(format!("the branch {name} of parallel is no closure")));
        }
    }
    if bodies.is_empty() {
        if args.is_empty() || args.iter().any(|a| !matches!(vm.heap.object(a), Some(Object::Map(_)))) {
            return Err(Fault::argument("parallel needs named branches: parallel(a: { … }, b: { … })"));
        }
        let empty = vm.map_from([]);
        vm.push(empty);
        return Ok(());
    }
    let map = vm.map_from(bodies);
    let Some(code) = vm.program.image.library("$branches") else { return Err(unknown_step("parallel")) };
    vm.call_code(code, vec![map, Value::Bool(fail_fast)], Value::Global(Global::Script), Ret::Push)
}
