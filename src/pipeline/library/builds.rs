//! What `currentBuild` says of its causes, and of the builds before it, as they were when it began.

use super::globals::{no_property, result_name};
use crate::act::{BuildResult, Earlier};
use crate::vm::value::{Global, Value};
use crate::vm::{Fault, Vm, class};
use model::Cause;

/// `getBuildCauses()`, with a class those of that class only.
pub(super) fn causes(vm: &mut Vm, of: Option<&str>) -> Value {
    let began = vm.began.clone();
    let mut maps = Vec::new();
    for cause in &began.causes {
        let mut pairs = vec![
            ("_class", Value::str(cause.class())),
            ("shortDescription", Value::from(cause.short_description())),
        ];
        pairs.extend(match cause {
            Cause::User { id, name } => vec![("userId", Value::str(id)), ("userName", Value::str(name))],
            Cause::Remote { address, note } => {
                let note = note.as_ref().map_or(Value::Null, Value::str);
                vec![("addr", Value::str(address)), ("note", note)]
            }
            Cause::Upstream { job, number } => vec![
                ("upstreamBuild", Value::from(i64::try_from(*number).unwrap_or(i64::MAX))),
                ("upstreamProject", Value::str(job)),
                ("upstreamUrl", Value::from(format!("job/{}/", job.replace('/', "/job/")))),
            ],
            Cause::More { .. } => Vec::new(),
        });
        if of.is_none_or(|of| of == cause.class()) {
            maps.push(vm.map_from(pairs.into_iter().map(|(name, value)| (name.to_owned(), value))));
        }
    }
    vm.heap.list(maps)
}

/// The build that `previous…Build` means, seen from the one at `from - 1` in the list, or from this build at 0.
/// `None` when the name means none of them.
pub(super) fn earlier(vm: &Vm, name: &str, from: usize) -> Result<Option<Value>, Fault> {
    let is = |wanted| move |build: &Earlier| build.result == Some(wanted);
    let wants: Box<dyn Fn(&Earlier) -> bool> = match name {
        "previousBuild" => Box::new(|_| true),
        "previousBuildInProgress" => Box::new(|build| build.running),
        "previousBuiltBuild" => Box::new(|build| build.result.is_some_and(|r| r != BuildResult::NotBuilt)),
        "previousCompletedBuild" => Box::new(|build| !build.running),
        "previousFailedBuild" => Box::new(is(BuildResult::Failure)),
        "previousNotFailedBuild" => Box::new(|build| build.result != Some(BuildResult::Failure)),
        "previousSuccessfulBuild" => Box::new(is(BuildResult::Success)),
        _ => return Ok(None),
    };
    let found = vm.began.earlier.iter().enumerate().skip(from).find(|(_, build)| wants(build));
    match found.and_then(|(at, _)| u16::try_from(at).ok()) {
        Some(at) => Ok(Some(Value::Global(Global::Earlier(at)))),
        None if vm.began.older => {
            let message = format!(
                "{name}: of the builds before this one, the newest {} are known",
                vm.began.earlier.len()
            );
            Err(Fault::new(class::UNSUPPORTED, message))
        }
        None => Ok(Some(Value::Null)),
    }
}

/// A property of an earlier build.
pub(super) fn property(vm: &mut Vm, at: u16, name: &str) -> Result<Value, Fault> {
    let at = usize::from(at);
    let began = vm.began.clone();
    let Some(build) = began.earlier.get(at) else { return Err(no_property(name)) };
    let shown = build.display_name.clone().unwrap_or_else(|| format!("#{}", build.number));
    let long = |number: u64| Value::Long(i64::try_from(number).unwrap_or(i64::MAX));
    Ok(match name {
        "number" => Value::from(i64::try_from(build.number).unwrap_or(i64::MAX)),
        "id" => Value::from(build.number.to_string()),
        "result" => build.result.map_or(Value::Null, |result| Value::str(result_name(result))),
        "currentResult" => Value::str(result_name(build.result.unwrap_or(BuildResult::Success))),
        "displayName" => Value::from(shown),
        "fullDisplayName" => Value::from(format!("{} {shown}", began.job.replace('/', " » "))),
        "projectName" => Value::str(began.job.rsplit('/').next().unwrap_or(&began.job)),
        "fullProjectName" => Value::str(&began.job),
        "absoluteUrl" => {
            let job = began.env.get("JOB_URL");
            job.map_or(Value::Null, |job| Value::from(format!("{job}{}/", build.number)))
        }
        "timeInMillis" | "startTimeInMillis" => long(build.at),
        "duration" if build.running => long(0),
        "duration" => long(build.duration),
        "durationString" => {
            let millis = if build.running { began.at.saturating_sub(build.at) } else { build.duration };
            let length = model::length(std::time::Duration::from_millis(millis));
            Value::from(if build.running { format!("{length} and counting") } else { length })
        }
        "nextBuild" => match at.checked_sub(1).and_then(|at| u16::try_from(at).ok()) {
            Some(at) => Value::Global(Global::Earlier(at)),
            None => Value::Global(Global::CurrentBuild),
        },
        name => match earlier(vm, name, at + 1)? {
            Some(build) => build,
            None if matches!(
                name,
                "description"
                    | "buildCauses"
                    | "buildVariables"
                    | "changeSets"
                    | "upstreamBuilds"
                    | "keepLog"
            ) =>
            {
                let message = format!("{name} of an earlier build is not known in Majordomo yet");
                return Err(Fault::new(class::UNSUPPORTED, message));
            }
            None if name == "rawBuild" => return Err(super::classes::refused("currentBuild.rawBuild")),
            None => return Err(no_property(name)),
        },
    })
}
