//! `git`, `checkout` and `scmGit`.

use super::Given;
use crate::act::{ActKind, Scm};
use crate::vm::value::{Global, Object, Value};
use crate::vm::{Fault, Vm, class};

pub(super) fn run(vm: &mut Vm, name: &str, given: &Given) -> Result<(), Fault> {
    match name {
        "scmGit" => {
            let map = vm.map_from(given.named.clone());
            vm.map_put(&map, Value::str("$class"), Value::str("GitSCM"));
            vm.push(map);
            Ok(())
        }
        "git" => {
            let scm = Scm::Git {
                url: given.need(vm, name, "url")?,
                branch: given.text(vm, "branch").unwrap_or_else(|| "master".into()),
                credentials_id: given.text(vm, "credentialsId"),
                changelog: given.flag(vm, "changelog", true),
                poll: given.flag(vm, "poll", true),
                shallow: false,
                local_branch: true,
            };
            let place = vm.place(name)?;
            vm.want(ActKind::Checkout { place, scm })
        }
        _ => checkout(vm, given),
    }
}

fn checkout(vm: &mut Vm, given: &Given) -> Result<(), Fault> {
    let whole = vm.map_from(given.named.clone());
    let source = given.get("scm").cloned().unwrap_or(whole);
    let scm = match &source {
        Value::Global(Global::Scm) => Scm::Job,
        source => git(vm, source, given)?,
    };
    let place = vm.place("checkout")?;
    vm.want(ActKind::Checkout { place, scm })
}

/// `[$class: 'GitSCM', userRemoteConfigs: [[url: …]], branches: [[name: …]], extensions: […]]`
fn git(vm: &Vm, source: &Value, given: &Given) -> Result<Scm, Fault> {
    let Some(Object::Map(map)) = vm.heap.object(source) else {
        return Err(Fault::argument("checkout needs a source: checkout scm"));
    };
    let kind = map.get_str("$class").map(|v| vm.text(v)).unwrap_or_else(|| "GitSCM".into());
    if !matches!(kind.as_str(), "GitSCM" | "hudson.plugins.git.GitSCM" | "scmGit") {
        let message = format!("checkout of a {kind} does not run in Majordomo yet");
        return Err(Fault::new(class::UNSUPPORTED, message));
    }
    let entry = |list: &str, name: &str| -> Option<String> {
        let items = vm.list_items(map.get_str(list)?)?;
        match vm.heap.object(items.first()?)? {
            Object::Map(first) => first.get_str(name).filter(|v| !v.is_null()).map(|v| vm.text(v)),
            _ => None,
        }
    };
    let url = entry("userRemoteConfigs", "url");
    let url = url.ok_or_else(|| Fault::argument("checkout needs userRemoteConfigs with a url"))?;
    let branch = entry("branches", "name").unwrap_or_else(|| "*/master".into());
    let extensions = map.get_str("extensions").and_then(|e| vm.list_items(e)).unwrap_or_default();
    let shallow = extensions.iter().any(|extension| match vm.heap.object(extension) {
        Some(Object::Map(extension)) => extension.get_str("shallow").is_some_and(|v| vm.truth(v)),
        _ => false,
    });
    Ok(Scm::Git {
        url,
        branch: branch.trim_start_matches("*/").trim_start_matches("refs/heads/").to_owned(),
        credentials_id: entry("userRemoteConfigs", "credentialsId"),
        changelog: given.flag(vm, "changelog", true),
        poll: given.flag(vm, "poll", true),
        shallow,
        local_branch: false,
    })
}
