//! `sh`, `bat`, `powershell`, `pwsh`.

use super::Given;
use crate::act::{ActKind, Process, Returns, Shell};
use crate::vm::{Fault, Vm};

pub(super) fn run(vm: &mut Vm, name: &str, given: &Given) -> Result<(), Fault> {
    let script = given.need(vm, name, "script")?;
    let shell = match name {
        "bat" => Shell::Bat,
        "powershell" => Shell::Powershell,
        "pwsh" => Shell::Pwsh,
        _ => Shell::Sh,
    };
    let place = vm.place(name)?;
    let (stdout, status) = (given.flag(vm, "returnStdout", false), given.flag(vm, "returnStatus", false));
    let returns = match (stdout, status) {
        (true, true) => {
            let message = "you may use returnStdout or returnStatus, but not both of them";
            return Err(Fault::argument(message));
        }
        (true, false) => Returns::Stdout,
        (false, true) => Returns::Status,
        (false, false) => Returns::Nothing,
    };
    let env = vm.environment();
    vm.want(ActKind::Process(Process { place, shell, script, env, returns }))
}
