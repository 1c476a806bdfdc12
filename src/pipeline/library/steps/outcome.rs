//! What a step gives the script when its outcome is known.

use std::sync::Arc;

use crate::act::{Act, ActKind, Data, Failure, FailureKind, Outcome, Returns};
use crate::library::intrinsics;
use crate::vm::value::Value;
use crate::vm::{Fault, Vm, class};

/// The value or exception at the step.
pub(crate) fn finish(vm: &mut Vm, act: &Act, outcome: &Outcome) -> Result<Value, Fault> {
    match outcome {
        Outcome::Done(data) => done(vm, act, data),
        Outcome::Failed(failure) => Err(failed(failure)),
        Outcome::Cancelled => Err(intrinsics::cancelled()),
    }
}

fn failed(failure: &Failure) -> Fault {
    let class = match failure.kind {
        FailureKind::Abort | FailureKind::Lost => class::ABORT,
        FailureKind::NoSuchFile => class::FILE,
        FailureKind::Io => class::IO,
    };
    Fault::new(class, failure.message.clone())
}

fn done(vm: &mut Vm, act: &Act, data: &Data) -> Result<Value, Fault> {
    if let (ActKind::Process(process), Data::Exit { status, stdout }) = (&act.kind, data) {
        return match process.returns {
            Returns::Status => Ok(Value::Int(*status)),
            _ if *status != 0 => Err(Fault::abort(format!("script returned exit code {status}"))),
            Returns::Stdout => Ok(text(vm, stdout.as_deref().unwrap_or(""))),
            Returns::Nothing => Ok(Value::Null),
        };
    }
    if let (ActKind::Node { .. }, Data::Granted(granted)) = (&act.kind, data) {
        vm.globals.grants.insert(act.step.clone(), Arc::new(granted.clone()));
        return Ok(Value::str(&act.step.0));
    }
    Ok(match data {
        Data::None | Data::Granted(_) | Data::Exit { .. } | Data::Object { .. } | Data::ExitObject { .. } => {
            Value::Null
        }
        Data::Text(content) => text(vm, content),
        Data::Number(number) => Value::from(*number),
        Data::Flag(flag) => Value::Bool(*flag),
        Data::Map(map) => vm.map_from(map.iter().map(|(name, value)| (name.clone(), Value::str(value)))),
    })
}

fn text(vm: &mut Vm, content: &str) -> Value {
    vm.heap.charge(content.len());
    Value::str(content)
}
