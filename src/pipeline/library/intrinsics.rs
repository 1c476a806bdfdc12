//! What the Groovy part of the library asks of the machine. Scripts cannot call these.

use std::sync::Arc;

use super::globals::{result_name, result_of};
use super::methods;
use crate::act::{ActKind, BlockKind, BuildResult, Granted, MAX_LABEL, Scm, StepId};
use crate::vm::value::{Object, Value};
use crate::vm::{Context, Fault, NodeContext, Raise, Vm, Why, class, compare};

pub(crate) fn call(vm: &mut Vm, name: &str, args: Vec<Value>) -> Result<(), Fault> {
    let mut args = args.into_iter();
    let mut next = || args.next().unwrap_or(Value::Null);
    let value = match name {
        "$node" => {
            let label = optional(vm, &next());
            if label.as_ref().is_some_and(|label| label.len() > MAX_LABEL) {
                return Err(Fault::argument(format!("a label expression has more than {MAX_LABEL} bytes")));
            }
            return vm.want(ActKind::Node { label, custom_workspace: None });
        }
        "$inNode" => return in_node(vm, &next(), next()),
        "$release" => {
            let node = step(vm, &next());
            return vm.want(ActKind::ReleaseNode { node });
        }
        "$stageStart" => return stage_start(vm, &next(), &next()),
        "$branchStart" => {
            let name = vm.text(&next());
            return vm.want(ActKind::BlockStart { block: BlockKind::Branch, name });
        }
        "$inStage" => {
            let (id, name, body) = (step(vm, &next()), vm.text(&next()), next());
            let mut context = context(vm);
            context.stage = Some(id);
            Arc::make_mut(&mut context.env).insert("STAGE_NAME".into(), name);
            return vm.call_within(body, Vec::new(), context);
        }
        "$stageEnd" => return block_end(vm, BlockKind::Stage, &next(), &next(), &next()),
        "$branchEnd" => return block_end(vm, BlockKind::Branch, &next(), &next(), &next()),
        "$inPost" => {
            let (error, body) = (next(), next());
            let result = so_far(vm, &error);
            let shown = Some(result).filter(|result| *result != BuildResult::Success);
            return vm.call_within(body, Vec::new(), Context { shown, ..context(vm) });
        }
        "$inDir" => {
            let (dir, body) = (vm.text(&next()), next());
            return vm.call_within(body, Vec::new(), Context { dir, ..context(vm) });
        }
        "$inEnv" => {
            let (settings, body) = (next(), next());
            let settings = vm.items(&settings)?;
            let settings: Vec<String> = settings.iter().map(|s| vm.text(s)).collect();
            let env = vm.overlaid(&settings)?;
            return vm.call_within(body, Vec::new(), Context { env, ..context(vm) });
        }
        "$timer" => {
            let (time, unit, activity) = (next(), next(), next());
            let millis = millis(vm, &time, &unit, "MINUTES")?;
            let activity = vm.truth(&activity);
            return vm.want(ActKind::Timer { millis, activity });
        }
        "$inTimer" => {
            let (timer, body) = (step(vm, &next()), next());
            let mut context = context(vm);
            context.timers.push(timer);
            return vm.call_within(body, Vec::new(), context);
        }
        "$timerEnd" => return timer_end(vm, &next()),
        "$sleep" => {
            let millis = millis(vm, &next(), &Value::str("MILLISECONDS"), "MILLISECONDS")?;
            // No step of the Jenkinsfile asks for it.
            return vm.want_at(ActKind::Sleep { millis }, 0);
        }
        // Opens something, so an interrupted branch throws instead.
        "$say" => {
            let text = vm.text(&next());
            return vm.want_at(ActKind::Echo { text }, 0);
        }
        "$note" => {
            let text = vm.text(&next());
            return vm.want_closing(ActKind::Echo { text }, 0);
        }
        "$setResult" => {
            let result = result_of(&vm.text(&next()))?;
            if result == BuildResult::Success || vm.result_shown().is_some_and(|old| old >= result) {
                Value::Null
            } else {
                vm.globals.result = Some(result);
                let line = vm.line();
                return vm.want_closing(ActKind::SetResult { result }, line);
            }
        }
        "$parallel" => {
            let (map, fail_fast) = (next(), next());
            let bodies = vm.pairs(&map).into_iter().map(|(name, body)| (vm.text(&name), body)).collect();
            let fail_fast = vm.truth(&fail_fast);
            return vm.fork(bodies, fail_fast);
        }
        "$checkoutScm" => {
            let place = vm.place("checkout")?;
            return vm.want(ActKind::Checkout { place, scm: Scm::Job });
        }
        "$step" => {
            let (name, args, named) = (vm.text(&next()), next(), next());
            let args = vm.list_items(&args).unwrap_or_default();
            let named = vm.truth(&named);
            return super::steps::run(vm, &name, args, named);
        }
        "$with" => return with(vm, next(), &next()),
        _ => return plain(vm, name, args.collect()),
    };
    vm.push(value);
    Ok(())
}

/// Those that only answer.
fn plain(vm: &mut Vm, name: &str, args: Vec<Value>) -> Result<(), Fault> {
    let first = args.first().cloned().unwrap_or(Value::Null);
    let second = args.get(1).cloned().unwrap_or(Value::Null);
    let value = match name {
        "$stageResult" => {
            let result = result_of(&vm.text(&first))?;
            if let Some(stage) = vm.cur.context().stage.clone() {
                let worst = vm.globals.stages.entry(stage).or_insert(result);
                *worst = result.max(*worst);
            }
            Value::Null
        }
        "$resultOf" => Value::str(result_name(vm.thrown_result(&first))),
        "$currentResult" => Value::str(result_name(vm.result_shown().unwrap_or(BuildResult::Success))),
        "$leavesTimeout" => {
            let timer = step(vm, &second);
            vm.leaves_timeout(&first, &timer);
            Value::Null
        }
        "$actual" => Value::Bool(vm.is_actual_interruption(&first)),
        "$interruption" => Value::Bool(vm.is_interruption(&first)),
        "$fatal" => Value::Bool(vm.is_fatal(&first)),
        "$shown" => {
            let words = vm.last_words(&first);
            Value::from(words)
        }
        "$applies" => {
            let of_stage = args.get(2).is_some_and(|flag| vm.truth(flag));
            Value::Bool(applies(vm, &vm.text(&first), &second, of_stage))
        }
        "$folder" => {
            let unix = vm.node("dir")?.grant.unix;
            Value::from(joined(&vm.cur.context().dir, &vm.text(&first), unix))
        }
        "$hasScm" => Value::Bool(vm.began.has_scm),
        "$env" => vm.env(&vm.text(&first)).map_or(Value::Null, Value::from),
        "$text" => Value::from(vm.text(&first)),
        "$arity" => match vm.heap.object(&first) {
            Some(Object::Closure(closure)) => {
                let code = &vm.program.image.codes[closure.code as usize];
                let params = if code.implicit_it { 1 } else { code.params.len() };
                Value::from(params.saturating_sub(closure.bound.len()))
            }
            Some(Object::Pointer(Value::Global(_), name)) => {
                let code = vm.program.image.functions_named(name).next();
                let params = code.map(|code| vm.program.image.codes[code as usize].params.len());
                params.map_or(Value::Int(1), Value::from)
            }
            _ => Value::Int(1),
        },
        "$isCase" if methods::is_closure(vm, &first) => {
            return vm.call_value(first, vec![second], crate::vm::Ret::Truth);
        }
        "$isCase" => match &first {
            Value::Class(class) => Value::Bool(vm.instance_of(&second, &class.clone())),
            Value::Pattern(regex) => {
                Value::Bool(regex.whole(&vm.text(&second), &mut vm.heap.work)?.is_some())
            }
            first if vm.is_collection(first) => Value::Bool(vm.contains(first, &second)?),
            first => Value::Bool(vm.equal(first, &second)),
        },
        "$matcher" => {
            let regex = vm.regex(&second)?;
            let text = Arc::from(vm.text(&first));
            vm.matcher(regex, text)?
        }
        _ => return super::freestyle::call(vm, name, args),
    };
    vm.push(value);
    Ok(())
}

pub(super) fn context(vm: &Vm) -> Context {
    (*vm.cur.context()).clone()
}

pub(super) fn step(vm: &Vm, value: &Value) -> StepId {
    StepId(vm.text(value))
}

fn optional(vm: &Vm, value: &Value) -> Option<String> {
    Some(vm.text(value)).filter(|text| !value.is_null() && !text.trim().is_empty())
}

/// The executor that the `node` act was granted.
pub(super) fn granted_at(vm: &Vm, act: &StepId) -> Result<Arc<Granted>, Fault> {
    let none = || Fault::new(class::STATE, format!("no executor was granted at step {act}"));
    vm.globals.grants.get(act).cloned().ok_or_else(none)
}

fn in_node(vm: &mut Vm, granted: &Value, body: Value) -> Result<(), Fault> {
    let act = step(vm, granted);
    let grant = granted_at(vm, &act)?;
    let mut context = context(vm);
    context.dir.clone_from(&grant.workspace);
    context.node = Some(Arc::new(NodeContext { act, grant }));
    vm.call_within(body, Vec::new(), context)
}

fn stage_start(vm: &mut Vm, name: &Value, line: &Value) -> Result<(), Fault> {
    let name = vm.text(name);
    let line = compare::whole(line).and_then(|l| u32::try_from(l).ok()).filter(|l| *l > 0);
    let line = line.unwrap_or_else(|| vm.line());
    vm.want_at(ActKind::BlockStart { block: BlockKind::Stage, name }, line)
}

fn block_end(vm: &mut Vm, block: BlockKind, id: &Value, error: &Value, skipped: &Value) -> Result<(), Fault> {
    let start = step(vm, id);
    let skipped = vm.truth(skipped);
    let kept = vm.globals.stages.remove(&start);
    let failed = (!error.is_null()).then(|| vm.thrown_result(error));
    let plain = if skipped { BuildResult::NotBuilt } else { BuildResult::Success };
    let result = kept.into_iter().chain(failed).max().unwrap_or(plain);
    let message = |text: Option<&str>| text.map_or_else(|| vm.text(error), str::to_owned);
    let said = vm.is_abort(error);
    let error = vm.thrown(error).filter(|_| !said).map(|thrown| message(thrown.message.as_deref()));
    let line = vm.line();
    vm.want_closing(ActKind::BlockEnd { block, start, result, error, skipped }, line)
}

/// Takes the clock off; when it has struck while the body was leaving, the block still fails.
fn timer_end(vm: &mut Vm, timer: &Value) -> Result<(), Fault> {
    let timer = step(vm, timer);
    if vm.globals.fired.remove(&timer) {
        let mine = |why: &Why| matches!(why, Why::Timeout(at) if *at == timer);
        if let Some(interrupt) = vm.cur.interrupt.take_if(|i| mine(&i.why)) {
            return Err(vm.interruption(&interrupt));
        }
        vm.push(Value::Null);
        return Ok(());
    }
    let line = vm.line();
    vm.want_closing(ActKind::CancelTimer { timer }, line)
}

fn with(vm: &mut Vm, me: Value, body: &Value) -> Result<(), Fault> {
    let Some(Object::Closure(closure)) = vm.heap.object(body) else {
        return Err(Fault::argument("with takes a closure"));
    };
    let mut closure = closure.clone();
    closure.delegate = me.clone();
    closure.delegate_first = true;
    let closure = vm.heap.add(Object::Closure(closure));
    vm.call_value(closure, vec![me], crate::vm::Ret::Push)
}

/// A folder below another one, or an absolute one.
fn joined(base: &str, path: &str, unix: bool) -> String {
    let separator = if unix { '/' } else { '\\' };
    let drive = path.chars().nth(1) == Some(':');
    if path.starts_with('/') || !unix && (path.starts_with('\\') || drive) {
        return path.to_owned();
    }
    if path.is_empty() || path == "." {
        return base.to_owned();
    }
    format!("{}{separator}{path}", base.trim_end_matches(['/', '\\']))
}

/// A duration in milliseconds.
pub(super) fn millis(vm: &Vm, time: &Value, unit: &Value, default: &str) -> Result<u64, Fault> {
    let number = match time {
        Value::Str(text) => {
            text.trim().parse::<f64>().map_err(|_| Fault::argument(format!("{text:?} is no duration")))?
        }
        time if compare::is_number(time) => compare::double(time),
        _ => return Err(Fault::argument("a duration is a number")),
    };
    let unit = if unit.is_null() { default.to_owned() } else { vm.text(unit) };
    let each = match unit.as_str() {
        "NANOSECONDS" => 1e-6,
        "MICROSECONDS" => 1e-3,
        "MILLISECONDS" => 1.0,
        "SECONDS" => 1e3,
        "MINUTES" => 60e3,
        "HOURS" => 3_600e3,
        "DAYS" => 86_400e3,
        unit => return Err(Fault::argument(format!("there is no unit of time {unit:?}"))),
    };
    let millis = (number * each).clamp(0.0, 1e15);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped above")]
    Ok(millis as u64)
}

/// The result of the build together with the error that a `pipeline` or stage carries to its end.
pub(super) fn so_far(vm: &Vm, error: &Value) -> BuildResult {
    let failed = (!error.is_null()).then(|| vm.thrown_result(error));
    let aborted = (vm.globals.aborts > 0).then_some(BuildResult::Aborted);
    vm.result_shown().into_iter().chain(failed).chain(aborted).max().unwrap_or(BuildResult::Success)
}

/// Whether a `post` condition holds now.
fn applies(vm: &Vm, condition: &str, error: &Value, of_stage: bool) -> bool {
    use BuildResult::{Aborted, Failure, NotBuilt, Success, Unstable};
    let stage = vm.cur.context().stage.clone().filter(|_| of_stage);
    let own = stage.and_then(|stage| vm.globals.stages.get(&stage).copied());
    let now = so_far(vm, error).max(own.unwrap_or(Success));
    let before = vm.began.previous;
    match condition {
        "always" | "cleanup" => true,
        "changed" => before != Some(now),
        "fixed" => now == Success && matches!(before, Some(Failure | Unstable)),
        "regression" => {
            before.is_some_and(|before| before < now) && matches!(now, Failure | Unstable | Aborted)
        }
        "aborted" => now == Aborted,
        "failure" => now == Failure,
        "success" => now == Success,
        "unstable" => now == Unstable,
        "unsuccessful" => now != Success,
        "notBuilt" => now == NotBuilt,
        _ => false,
    }
}

/// An interruption as an exception, for steps that ended because they were told to.
pub(crate) fn cancelled() -> Fault {
    Fault::Raised(Box::new(Raise {
        class: class::INTERRUPTED,
        message: "The step was cancelled".into(),
        result: Some(BuildResult::Aborted),
        fatal: false,
        why: None,
    }))
}
