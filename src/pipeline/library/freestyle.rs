//! What only Freestyle builds ask of the machine.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::globals::{result_name, result_of};
use super::intrinsics::{context, granted_at, millis, so_far, step};
use crate::act::ActKind;
use crate::vm::value::Value;
use crate::vm::{Fault, NodeContext, Vm, class};

/// Milliseconds that the builders have at least, as in Jenkins, unless it is silence that ends them.
const LEAST_LIMIT: u64 = 180_000;

pub(super) fn call(vm: &mut Vm, name: &str, args: Vec<Value>) -> Result<(), Fault> {
    let mut args = args.into_iter();
    let mut next = || args.next().unwrap_or(Value::Null);
    let value = match name {
        "$inWorkspace" => return in_workspace(vm, &next(), &next(), next()),
        "$whereItRuns" => Value::from(where_it_runs(vm)?),
        "$commandLine" => {
            let (step, script) = (vm.text(&next()), vm.text(&next()));
            Value::from(command_line(vm, &step, &script)?)
        }
        "$expand" => {
            let text = vm.text(&next());
            Value::from(vm.expanded(&text))
        }
        "$timedOut" => {
            let (error, timer) = (next(), next());
            let timer = step(vm, &timer);
            Value::Bool(vm.thrown(&error).is_some_and(|thrown| thrown.timer.as_ref() == Some(&timer)))
        }
        "$limit" => {
            let (time, activity) = (next(), next());
            let activity = vm.truth(&activity);
            let unit = if activity { "SECONDS" } else { "MINUTES" };
            let least = if activity { 0 } else { LEAST_LIMIT };
            let limit = millis(vm, &time, &Value::Null, unit)?.max(least);
            Value::from(i64::try_from(limit).unwrap_or(i64::MAX))
        }
        "$resultNow" => Value::str(result_name(so_far(vm, &Value::Null))),
        "$noWorseThan" => {
            let threshold = result_of(&vm.text(&next()))?;
            Value::Bool(so_far(vm, &Value::Null) <= threshold)
        }
        "$trigger" => {
            let jobs = next();
            let jobs = vm.items(&jobs)?.iter().map(|job| vm.text(job)).collect();
            return vm.want(ActKind::Trigger { jobs });
        }
        _ => return Err(Fault::new(class::NO_STEP, format!("{name} is not a part of the machine"))),
    };
    vm.push(value);
    Ok(())
}

/// On the granted executor. A workspace of the job's own choice may name variables of the build.
fn in_workspace(vm: &mut Vm, granted: &Value, custom: &Value, body: Value) -> Result<(), Fault> {
    let act = step(vm, granted);
    let mut grant = granted_at(vm, &act)?;
    if !custom.is_null() {
        let workspace = vm.expanded(&grant.workspace);
        Arc::make_mut(&mut grant).workspace = workspace;
    }
    let mut context = context(vm);
    context.dir.clone_from(&grant.workspace);
    context.node = Some(Arc::new(NodeContext { act, grant }));
    vm.call_within(body, Vec::new(), context)
}

fn where_it_runs(vm: &Vm) -> Result<String, Fault> {
    let node = vm.node("Freestyle")?;
    let grant = &node.grant;
    let labels: Vec<&str> = grant.labels.iter().map(String::as_str).filter(|l| *l != grant.node).collect();
    let labels = if labels.is_empty() { String::new() } else { format!(" ({})", labels.join(" ")) };
    Ok(format!("Building remotely on {}{labels} in workspace {}", grant.node, grant.workspace))
}

/// The line that Jenkins shows for a script. The script is kept in a folder of the agent's own; Jenkins has it in a file for
/// temporary use, whose name says nothing.
fn command_line(vm: &Vm, step: &str, script: &str) -> Result<String, Fault> {
    let place = vm.place(step)?;
    let folder = place.dir.rsplit(['/', '\\']).next().unwrap_or_default();
    let told = format!("{}\0{}\0{script}", vm.began.job, vm.began.number);
    let digits = Sha256::digest(told).iter().take(8).fold(0, |n: u64, byte| n << 8 | u64::from(*byte));
    Ok(match (step, script.lines().next().and_then(|line| line.strip_prefix("#!"))) {
        ("sh", Some(interpreter)) => {
            format!("[{folder}] $ {} /tmp/jenkins{digits}.sh", interpreter.trim())
        }
        ("sh", None) => format!("[{folder}] $ /bin/sh -xe /tmp/jenkins{digits}.sh"),
        _ => format!("[{folder}] $ cmd /c call jenkins{digits}.bat"),
    })
}
