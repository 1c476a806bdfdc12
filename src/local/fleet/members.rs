//! How replicas and agents are called.

use std::ffi::OsString;
use std::path::Path;

use rollout::Revision;
use rustix::process::Signal;

use crate::home::Paths;
use crate::process::{Process, find};
use crate::supervise::{Member, Role, Spec};

pub(super) fn replica_arguments(
    paths: &Paths,
    name: &str,
    ordinal: usize,
    public: Option<&str>,
    revision: &Revision,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["replica".into(), "--home".into(), paths.root().into()];
    arguments.extend(["--name".into(), name.into(), "--ordinal".into(), ordinal.to_string().into()]);
    arguments.extend(["--revision".into(), revision.0.clone().into()]);
    // what the environment says of machines is not for replicas of one
    arguments.extend(["--peer-listen".into(), "127.0.0.1:0".into()]);
    if let Some(url) = public {
        arguments.extend(["--build-url".into(), url.into()]);
    }
    arguments
}

pub(super) fn agent(program: &Path, paths: &Paths, url: &str, number: u32) -> (Member, Spec) {
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
    let spec = Spec { start: 0, revision: None, program: program.to_owned(), arguments };
    (Member { log: paths.log(&name), name, role: Role::Agent }, spec)
}

/// The agent when it runs already. One that connects elsewhere is ended: its processes don't depend on it.
pub(super) fn agent_running(spec: &Spec) -> Option<Process> {
    let folder = spec.arguments.last()?;
    let mut kept = None;
    for running in find("agent", "-workDir", Path::new(folder)) {
        let url = spec.arguments.get(2).map(OsString::as_os_str);
        let Some(process) = running.adopt() else { continue };
        if running.value("-url") == url && kept.is_none() {
            kept = Some(process);
        } else {
            process.signal(Signal::TERM);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_told_where_users_reach_the_controller() {
        let paths = Paths::new("/h");
        let told = |public| {
            let arguments = replica_arguments(&paths, "ci-1", 1, public, &Revision("7".to_owned()));
            arguments.iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let plain = "replica --home /h --name ci-1 --ordinal 1 --revision 7 --peer-listen 127.0.0.1:0";
        assert_eq!(told(None), plain);
        assert_eq!(told(Some("http://ci:8080/")), format!("{plain} --build-url http://ci:8080/"));
    }
}
