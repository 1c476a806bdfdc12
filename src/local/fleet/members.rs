//! How replicas and agents are called.

use std::ffi::OsString;
use std::path::Path;

use rustix::process::Signal;

use crate::home::{Home, Paths};
use crate::process::{Process, find};
use crate::supervise::{Member, Role};

pub(super) fn replica_arguments(home: &Home, name: &str, ordinal: usize) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["replica".into(), "--home".into(), home.paths.root().into()];
    arguments.extend(["--name".into(), name.into(), "--ordinal".into(), ordinal.to_string().into()]);
    arguments
}

pub(super) fn agent(program: &Path, paths: &Paths, url: &str, number: u32) -> Member {
    let name = format!("agent-{number}");
    let mut secret = OsString::from("@");
    secret.push(paths.agent_secret(&name));
    let arguments: Vec<OsString> = vec![
        "agent".into(),
        "-url".into(),
        url.into(),
        "-name".into(),
        name.clone().into(),
        "-secret".into(),
        secret,
        "-webSocket".into(),
        "-workDir".into(),
        paths.agent_folder(&name).into(),
    ];
    Member { log: paths.log(&name), name, role: Role::Agent, program: program.to_owned(), arguments }
}

/// The agent when it runs already. One that connects elsewhere is ended: its processes don't depend on it.
pub(super) fn agent_running(member: &Member) -> Option<Process> {
    let folder = member.arguments.last()?;
    let mut kept = None;
    for running in find("agent", "-workDir", Path::new(folder)) {
        let url = member.arguments.get(2).map(OsString::as_os_str);
        let Some(process) = running.adopt() else { continue };
        if running.value("-url") == url && kept.is_none() {
            kept = Some(process);
        } else {
            process.signal(Signal::TERM);
        }
    }
    kept
}
