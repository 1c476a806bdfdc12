//! `env`, `params`, `currentBuild`, `scm` and what they answer.

use std::sync::Arc;
use std::time::Duration;

use crate::act::{ActKind, BuildResult, ParamValue};
use crate::vm::value::{Global, Value};
use crate::vm::{Fault, Vm, class};

/// A bare name that is there in every script.
pub(crate) fn global(vm: &mut Vm, name: &str) -> Option<Value> {
    Some(match name {
        "env" => Value::Global(Global::Env),
        "currentBuild" => Value::Global(Global::CurrentBuild),
        "scm" if vm.began.has_scm => Value::Global(Global::Scm),
        "steps" => Value::Global(Global::Steps),
        "params" => params(vm),
        "binding" => Value::Global(Global::Script),
        _ => return None,
    })
}

/// Why a name that Jenkins knows stands for nothing here.
pub(crate) fn absent(name: &str) -> Option<Fault> {
    if name == "scm" {
        let message = "‘checkout scm’ is only available when using “Multibranch Pipeline” or “Pipeline script from SCM”";
        return Some(Fault::abort(message));
    }
    super::steps::object(name).map(|message| Fault::new(class::UNSUPPORTED, message))
}

fn params(vm: &mut Vm) -> Value {
    if let Some(params) = &vm.globals.params {
        return params.clone();
    }
    let began = vm.began.clone();
    let pairs = began.params.iter().map(|(name, value)| {
        let value = match value {
            ParamValue::Flag(flag) => Value::Bool(*flag),
            ParamValue::Text(text) | ParamValue::Secret { secret: text } => Value::str(text),
        };
        (name.clone(), value)
    });
    let params = vm.map_from(pairs);
    vm.globals.params = Some(params.clone());
    params
}

pub(crate) fn result_name(result: BuildResult) -> &'static str {
    match result {
        BuildResult::Success => "SUCCESS",
        BuildResult::Unstable => "UNSTABLE",
        BuildResult::Failure => "FAILURE",
        BuildResult::NotBuilt => "NOT_BUILT",
        BuildResult::Aborted => "ABORTED",
    }
}

pub(crate) fn result_of(name: &str) -> Result<BuildResult, Fault> {
    Ok(match name.to_ascii_uppercase().as_str() {
        "SUCCESS" => BuildResult::Success,
        "UNSTABLE" => BuildResult::Unstable,
        "FAILURE" => BuildResult::Failure,
        "NOT_BUILT" => BuildResult::NotBuilt,
        "ABORTED" => BuildResult::Aborted,
        _ => return Err(Fault::argument(format!("there is no build result {name:?}"))),
    })
}

pub(crate) fn property(vm: &mut Vm, global: Global, name: &str) -> Result<Value, Fault> {
    match global {
        Global::Env => Ok(vm.env(name).map_or(Value::Null, Value::from)),
        Global::CurrentBuild => current_build(vm, name),
        Global::Earlier(at) => super::builds::property(vm, at, name),
        Global::Scm => Ok(match name {
            "userRemoteConfigs" | "branches" => vm.heap.list(Vec::new()),
            _ => Value::Null,
        }),
        Global::Script | Global::Steps => {
            if let Some(value) = vm.binding.get(name) {
                return Ok(value.clone());
            }
            if let Some(value) = self::global(vm, name) {
                return Ok(value);
            }
            match vm.env(name) {
                Some(value) => Ok(Value::from(value)),
                None if let Some(fault) = absent(name) => Err(fault),
                None => {
                    let message = format!("No such property: {name} for class: groovy.lang.Binding");
                    Err(Fault::new(class::PROPERTY, message))
                }
            }
        }
    }
}

fn named(result: Option<BuildResult>) -> Value {
    result.map_or(Value::Null, |r| Value::str(result_name(r)))
}

fn current_build(vm: &mut Vm, name: &str) -> Result<Value, Fault> {
    let began = vm.began.clone();
    let at = || Value::Long(i64::try_from(began.at).unwrap_or(0));
    Ok(match name {
        "result" => named(vm.result_shown()),
        "currentResult" => named(Some(vm.result_shown().unwrap_or(BuildResult::Success))),
        "resultIsBetterOrEqualTo" | "resultIsWorseOrEqualTo" => Value::Null,
        "number" => Value::from(i64::try_from(began.number).unwrap_or(0)),
        "id" => Value::from(began.number.to_string()),
        "displayName" => {
            Value::from(vm.globals.display_name.clone().unwrap_or_else(|| format!("#{}", began.number)))
        }
        "fullDisplayName" => {
            let shown = vm.globals.display_name.clone().unwrap_or_else(|| format!("#{}", began.number));
            Value::from(format!("{} {shown}", began.job.replace('/', " » ")))
        }
        "description" => vm.globals.description.clone().map_or(Value::Null, Value::from),
        "projectName" => Value::str(began.job.rsplit('/').next().unwrap_or(&began.job)),
        "fullProjectName" => Value::str(&began.job),
        "absoluteUrl" => began.env.get("BUILD_URL").map_or(Value::Null, Value::str),
        "startTimeInMillis" | "timeInMillis" => at(),
        "duration" => {
            let spent = vm.now.saturating_sub(began.at);
            Value::Long(i64::try_from(spent).unwrap_or(0))
        }
        "durationString" => {
            let spent = Duration::from_millis(vm.now.saturating_sub(began.at));
            Value::from(format!("{} and counting", model::length(spent)))
        }
        "buildCauses" => super::builds::causes(vm, None),
        "nextBuild" => Value::Null,
        "changeSets" | "upstreamBuilds" => vm.heap.list(Vec::new()),
        "keepLog" => Value::Bool(false),
        "buildVariables" => {
            let all = vm.globals.env.clone();
            vm.map_from(all.into_iter().map(|(name, value)| (name, Value::from(value))))
        }
        "rawBuild" => return Err(super::classes::refused("currentBuild.rawBuild")),
        _ => super::builds::earlier(vm, name, 0)?.ok_or_else(|| no_property(name))?,
    })
}

pub(super) fn no_property(name: &str) -> Fault {
    let what = "org.jenkinsci.plugins.workflow.support.steps.build.RunWrapper";
    Fault::new(class::PROPERTY, format!("No such property: {name} for class: {what}"))
}

/// `currentBuild.result = …` and its kin are acts; the value of the assignment is what their record gives.
pub(crate) fn set_property(vm: &mut Vm, global: Global, name: &str, value: Value) -> Result<(), Fault> {
    match (global, name) {
        (Global::CurrentBuild, "result" | "currentResult") => {
            let result = result_of(&vm.text(&value))?;
            set_result(vm, result)
        }
        (Global::CurrentBuild, "displayName") => {
            let name = vm.text(&value);
            vm.globals.display_name = Some(name.clone());
            vm.want(ActKind::SetDisplayName { name })
        }
        (Global::CurrentBuild, "description") => {
            let text = if value.is_null() { String::new() } else { vm.text(&value) };
            vm.globals.description = Some(text.clone());
            vm.want(ActKind::SetDescription { text })
        }
        (Global::CurrentBuild, "keepLog") => {
            vm.push(value);
            Ok(())
        }
        (Global::CurrentBuild | Global::Earlier(_) | Global::Scm, _) => Err(no_property(name)),
        (Global::Env | Global::Script | Global::Steps, _) => {
            vm.set_plain_property(&Value::Global(global), name, value.clone())?;
            vm.push(value);
            Ok(())
        }
    }
}

/// Makes the result of the build worse; better does not come back.
pub(crate) fn set_result(vm: &mut Vm, result: BuildResult) -> Result<(), Fault> {
    if vm.result_shown().is_some_and(|old| old >= result) {
        vm.push(Value::Null);
        return Ok(());
    }
    vm.globals.result = Some(result);
    vm.want(ActKind::SetResult { result })
}

pub(crate) fn call(vm: &mut Vm, global: Global, name: &str, args: &[Value]) -> Result<Option<Value>, Fault> {
    let text = |at: usize| args.get(at).map(|v| vm.text(v)).unwrap_or_default();
    match (global, name) {
        (Global::Env, "getEnvironment") => {
            let all = vm.environment();
            Ok(Some(vm.map_from(all.into_iter().map(|(name, value)| (name, Value::from(value))))))
        }
        (Global::Env, "getProperty" | "get") => {
            let name = text(0);
            property(vm, Global::Env, &name).map(Some)
        }
        (Global::CurrentBuild | Global::Earlier(_), "resultIsBetterOrEqualTo" | "resultIsWorseOrEqualTo") => {
            let other = result_of(&text(0))?;
            let result = match global {
                Global::Earlier(at) => vm.began.earlier.get(usize::from(at)).and_then(|build| build.result),
                _ => vm.result_shown(),
            };
            let result = result.unwrap_or(BuildResult::Success);
            Ok(Some(Value::Bool(if name == "resultIsBetterOrEqualTo" {
                result <= other
            } else {
                result >= other
            })))
        }
        (Global::Script, "hasVariable") => Ok(Some(Value::Bool(vm.binding.contains_key(&*text(0))))),
        (Global::Script, "getVariable") => {
            let name = text(0);
            property(vm, Global::Script, &name).map(Some)
        }
        (Global::Script, "getVariables") => {
            let all: Vec<(String, Value)> =
                vm.binding.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
            Ok(Some(vm.map_from(all)))
        }
        (Global::Script, "setVariable") => {
            let value = args.get(1).cloned().unwrap_or(Value::Null);
            vm.set_name(Arc::from(text(0)), value)?;
            Ok(Some(Value::Null))
        }
        (Global::CurrentBuild, "getBuildCauses") => {
            let of = args.first().map(|_| text(0));
            Ok(Some(super::builds::causes(vm, of.as_deref())))
        }
        (global, getter) => {
            let Some(tail) = getter.strip_prefix("get").filter(|t| !t.is_empty()) else { return Ok(None) };
            let mut chars = tail.chars();
            let name: String =
                chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default();
            property(vm, global, &name).map(Some)
        }
    }
}
