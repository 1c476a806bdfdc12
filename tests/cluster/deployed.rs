//! What `deploy/` holds is understood by the programs that read it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::front::Kind;
use crate::support::processes::folder;

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn proxies_understand_their_configurations() {
    for kind in [Kind::Nginx, Kind::Haproxy] {
        let root = folder("front-check");
        let address = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let file = kind.configuration(&root, address(1), &[address(2), address(3), address(4)]);
        kind.check(&file).unwrap();
        std::fs::remove_dir_all(root).unwrap();
    }
}

#[test]
fn systemd_understands_the_units() {
    let root = folder("units");
    for name in ["majordomo.service", "majordomo-agent.service"] {
        let unit = std::fs::read_to_string(deploy("systemd").join(name)).unwrap();
        // programs and users that packages install
        let unit = unit.replace("/usr/lib/majordomo/majordomo-start", "/bin/true");
        let unit = unit.replace("/usr/bin/majordomo ", "/bin/true ");
        let file = root.join(name);
        std::fs::write(&file, unit).unwrap();
        match Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&file).output() {
            Ok(verified) => {
                let said = text(&verified);
                let ours: Vec<_> = said.lines().filter(|line| line.contains(name)).collect();
                assert!(verified.status.success() && ours.is_empty(), "{said}");
            }
            Err(error) => eprintln!("not run: systemd-analyze verify {name}: {error}"),
        }
    }
    std::fs::remove_dir_all(root).unwrap();
}

/// A machine as `majordomo-start` sees it.
struct State {
    root: PathBuf,
    installed: PathBuf,
}

impl State {
    fn new() -> State {
        let root = folder("start");
        let installed = root.join("installed");
        let state = State { root, installed };
        state.program(&state.installed, "one");
        state
    }

    /// One that says who it is, and its arguments.
    fn program(&self, at: &Path, name: &str) {
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, format!("#!/bin/sh\necho {name} \"$@\"\nexit 3\n")).unwrap();
        std::fs::set_permissions(at, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn start(&self, arguments: &[&str]) -> String {
        let mut start = Command::new(deploy("systemd/majordomo-start"));
        start.args(arguments).env("MAJORDOMO_INSTALLED", &self.installed).env("STATE_DIRECTORY", &self.root);
        start.env("SERVICE_RESULT", "exit-code").env("EXIT_CODE", "exited").env("EXIT_STATUS", "3");
        text(&start.output().unwrap()).replace(&self.root.display().to_string(), "STATE")
    }

    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(name)).ok()
    }

    fn point(&self, revision: &str) {
        let current = self.root.join("current");
        let _none = std::fs::remove_file(&current);
        std::os::unix::fs::symlink(format!("revisions/{revision}"), current).unwrap();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.root);
    }
}

#[test]
fn the_start_program_goes_back_from_what_does_not_get_ready() {
    let state = State::new();
    assert_eq!(state.start(&["--secrets", "/s"]), "one replica --home STATE --secrets /s\n");
    assert_eq!(std::fs::read_link(state.root.join("current")).unwrap(), Path::new("revisions/first"));
    // another one that is installed is not taken by itself
    state.program(&state.installed, "two");
    assert!(state.start(&[]).starts_with("one "));

    state.program(&state.root.join("revisions/2.0/majordomo"), "two");
    state.point("2.0");
    std::fs::write(state.root.join("trial"), "first 3\n").unwrap();
    for left in ["first 2\n", "first 1\n", "first 0\n"] {
        assert!(state.start(&[]).starts_with("two "));
        assert_eq!(state.read("trial").as_deref(), Some(left));
        assert_eq!(state.start(&["--ended"]), "");
    }
    assert_eq!(state.start(&[]), "one replica --home STATE\nrevision 2.0 did not get ready: back to first\n");
    assert_eq!((state.read("trial"), state.read("ended")), (None, None));
    let gave_up = state.read("gave-up").unwrap();
    assert_eq!(
        gave_up,
        "2.0\nit was started and did not get ready, again and again; the last time: exit-code: exited 3\n"
    );
    assert!(state.start(&[]).starts_with("one "));
    assert_eq!(state.start(&["--ended"]), "", "no trial, nothing to note");
    assert_eq!(state.read("ended"), None);

    // a program that is not there at all, and a trial that says nothing
    state.point("3.0");
    std::fs::create_dir_all(state.root.join("revisions/3.0")).unwrap();
    std::fs::write(state.root.join("trial"), "first 1\n").unwrap();
    assert!(state.start(&[]).contains("not found"));
    assert!(state.start(&[]).contains("back to first"));
    state.point("first");
    std::fs::write(state.root.join("trial"), "").unwrap();
    assert!(state.start(&[]).starts_with("one "));
    assert_eq!(state.read("trial"), None);
}
