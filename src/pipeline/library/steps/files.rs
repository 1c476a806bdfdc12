//! Files, stashes and artifacts.

use super::Given;
use crate::act::ActKind;
use crate::vm::value::Value;
use crate::vm::{Fault, Vm};

pub(super) fn run(vm: &mut Vm, name: &str, given: &Given) -> Result<(), Fault> {
    let place = vm.place(name)?;
    let act = match name {
        "readFile" => ActKind::ReadFile {
            place,
            path: given.need(vm, name, "file")?,
            encoding: given.text(vm, "encoding"),
        },
        "writeFile" => ActKind::WriteFile {
            place,
            path: given.need(vm, name, "file")?,
            text: given.need(vm, name, "text")?,
            encoding: given.text(vm, "encoding"),
        },
        "fileExists" => ActKind::FileExists { place, path: given.need(vm, name, "file")? },
        "deleteDir" | "cleanWs" => ActKind::DeleteDir { place },
        "stash" => ActKind::Stash {
            place,
            name: given.need(vm, name, "name")?,
            includes: given.text(vm, "includes").unwrap_or_else(|| "**".into()),
            excludes: given.text(vm, "excludes").unwrap_or_default(),
            use_default_excludes: given.flag(vm, "useDefaultExcludes", true),
            allow_empty: given.flag(vm, "allowEmpty", false),
        },
        "unstash" => ActKind::Unstash { place, name: given.need(vm, name, "name")? },
        "archiveArtifacts" => ActKind::ArchiveArtifacts {
            place,
            includes: given.need(vm, name, "artifacts")?,
            excludes: given.text(vm, "excludes").unwrap_or_default(),
            allow_empty: given.flag(vm, "allowEmptyArchive", false),
            default_excludes: given.flag(vm, "defaultExcludes", true),
            case_sensitive: given.flag(vm, "caseSensitive", true),
            fingerprint: given.flag(vm, "fingerprint", false),
        },
        _ => {
            vm.push(Value::Null);
            return Ok(());
        }
    };
    vm.want(act)
}
