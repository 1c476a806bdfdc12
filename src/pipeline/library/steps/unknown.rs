//! Named arguments that a step does not know: Jenkins runs the step and warns.

use super::Value;
use crate::declarative;
use crate::vm::Vm;

/// The warning for a call, when there is something to warn of.
pub(super) fn warning(vm: &Vm, step: &str, args: &[Value]) -> Option<String> {
    let (known, class) = (declarative::keys(step)?, class(step)?);
    let pairs = vm.pairs(args.first()?);
    let given = pairs.iter().map(|(key, _)| vm.text(key));
    let unknown: Vec<String> = given.filter(|key| !known.contains(&key.as_str())).collect();
    (!unknown.is_empty()).then(|| {
        format!("WARNING: Unknown parameter(s) found for class type '{class}': {}", unknown.join(","))
    })
}

/// What Jenkins calls the step there.
fn class(step: &str) -> Option<String> {
    let (package, name) = match step {
        "bat" => ("workflow.steps.durable_task", "BatchScript"),
        "powershell" => ("workflow.steps.durable_task", "PowershellScript"),
        "pwsh" => ("workflow.steps.durable_task", "PowerShellCoreScript"),
        "sh" => ("workflow.steps.durable_task", "Shell"),
        "node" => ("workflow.support.steps", "Executor"),
        "stash" => ("workflow.support.steps.stash", "Stash"),
        "unstash" => ("workflow.support.steps.stash", "Unstash"),
        "git" => return Some("jenkins.plugins.git.GitStep".to_owned()),
        "catchError" => ("workflow.steps", "CatchError"),
        "deleteDir" => ("workflow.steps", "DeleteDir"),
        "dir" => ("workflow.steps", "Pushd"),
        "echo" => ("workflow.steps", "Echo"),
        "error" => ("workflow.steps", "Error"),
        "fileExists" => ("workflow.steps", "FileExists"),
        "isUnix" => ("workflow.steps", "IsUnix"),
        "pwd" => ("workflow.steps", "Pwd"),
        "readFile" => ("workflow.steps", "ReadFile"),
        "retry" => ("workflow.steps", "Retry"),
        "sleep" => ("workflow.steps", "Sleep"),
        "timeout" => ("workflow.steps", "Timeout"),
        "unstable" => ("workflow.steps", "Unstable"),
        "warnError" => ("workflow.steps", "WarnError"),
        "withEnv" => ("workflow.steps", "Env"),
        "writeFile" => ("workflow.steps", "WriteFile"),
        _ => return None,
    };
    Some(format!("org.jenkinsci.plugins.{package}.{name}Step"))
}
