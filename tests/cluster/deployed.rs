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
        state.program(&state.root.join("bin/sleep"), "sleep");
        std::fs::write(state.root.join("bin/sleep"), "#!/bin/sh\necho sleep \"$@\"\n").unwrap();
        state
    }

    /// One that says who it is, and its arguments.
    fn program(&self, at: &Path, name: &str) {
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, format!("#!/bin/sh\necho {name} \"$@\"\nexit 3\n")).unwrap();
        std::fs::set_permissions(at, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn start(&self, arguments: &[&str]) -> String {
        self.after("3", arguments)
    }

    /// The former process has ended with this status.
    fn after(&self, status: &str, arguments: &[&str]) -> String {
        let mut start = Command::new(deploy("systemd/majordomo-start"));
        start.args(arguments).env("MAJORDOMO_INSTALLED", &self.installed).env("STATE_DIRECTORY", &self.root);
        start.env("SERVICE_RESULT", "exit-code").env("EXIT_CODE", "exited").env("EXIT_STATUS", status);
        // says how long it would sleep
        let path = std::env::var("PATH").unwrap();
        start.env("PATH", format!("{}:{path}", self.root.join("bin").display()));
        text(&start.output().unwrap()).replace(&self.root.display().to_string(), "STATE")
    }

    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(name)).ok()
    }

    /// As a replica does that has got its number.
    fn number(&self, number: &str) {
        let revisions = self.root.join("revisions");
        std::fs::rename(revisions.join("first"), revisions.join(number)).unwrap();
        self.point(number);
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
    state.number("1.0");
    // another one that is installed is not taken by itself
    state.program(&state.installed, "two");
    assert!(state.start(&[]).starts_with("one "));

    state.program(&state.root.join("revisions/2.0/majordomo"), "two");
    state.point("2.0");
    std::fs::write(state.root.join("trial"), "1.0 3\n").unwrap();
    for (left, before) in [("1.0 2\n", "two "), ("1.0 1\n", "sleep 5\ntwo "), ("1.0 0\n", "sleep 5\ntwo ")] {
        assert!(state.start(&[]).starts_with(before));
        assert_eq!(state.read("trial").as_deref(), Some(left));
        assert_eq!(state.read("said"), None, "what it said before is of another start");
        std::fs::write(state.root.join("said"), "not today").unwrap();
        assert_eq!(state.start(&["--ended"]), "");
    }
    assert_eq!(state.start(&[]), "one replica --home STATE\nrevision 2.0 did not get ready: back to 1.0\n");
    assert_eq!((state.read("trial"), state.read("ended"), state.read("said")), (None, None, None));
    let gave_up = state.read("gave-up").unwrap();
    assert_eq!(
        gave_up,
        "2.0\nit was started and did not get ready, again and again; the last time: exit-code: exited 3: not today\n"
    );
    assert!(state.start(&[]).starts_with("one "));
    assert_eq!(state.start(&["--ended"]), "", "no trial, nothing to note");
    assert_eq!(state.read("ended"), None);

    // a program that is not there at all, one that was lost with the power, and a trial that says nothing
    state.point("3.0");
    std::fs::create_dir_all(state.root.join("revisions/3.0")).unwrap();
    std::fs::write(state.root.join("trial"), "1.0 1\n").unwrap();
    assert!(state.start(&[]).contains("not found"));
    assert!(state.start(&[]).contains("back to 1.0"));
    std::fs::write(state.root.join("revisions/3.0/majordomo"), "").unwrap();
    std::fs::write(state.root.join("trial"), "3.0 0\n").unwrap();
    assert!(state.start(&[]).starts_with("one "), "that can't be gone back to");
    assert_eq!(state.read("trial"), None);
    std::fs::write(state.root.join("trial"), "").unwrap();
    assert!(state.start(&[]).starts_with("one "));
    assert_eq!(state.read("trial"), None);
}

#[test]
fn what_is_installed_is_taken_as_long_as_no_program_of_the_machine_could_ever_run() {
    let state = State::new();
    assert!(state.start(&[]).starts_with("one "));
    // it has got no number: a package that was broken, or too old, is mended
    state.program(&state.installed, "two");
    assert!(state.start(&[]).starts_with("two "));
    // the package is being replaced just now
    std::fs::remove_file(&state.installed).unwrap();
    assert!(state.start(&[]).contains("two "));
    state.number("1.0");
    state.program(&state.installed, "three");
    assert!(state.start(&[]).starts_with("two "));
    assert_eq!(state.after("3", &["--ended"]), "");
    assert!(state.start(&[]).starts_with("two "));
    // the controller has outgrown it
    assert_eq!(state.after("76", &["--ended"]), "");
    assert!(state.start(&[]).starts_with("three "));
    // a program that was lost with the power
    state.number("2.0");
    std::fs::write(state.root.join("revisions/2.0/majordomo"), "").unwrap();
    assert!(state.start(&[]).starts_with("three "));
}

#[test]
fn a_machine_whose_disk_is_full_goes_back_and_starts() {
    let state = State::new();
    assert!(state.start(&[]).starts_with("one "));
    state.number("1.0");
    state.program(&state.root.join("revisions/2.0/majordomo"), "two");
    state.point("2.0");
    std::fs::write(state.root.join("trial"), "1.0 3\n").unwrap();
    // no file can be written there
    for name in ["trial.new", "gave-up.new", "ended.new"] {
        std::fs::create_dir_all(state.root.join(name).join("full")).unwrap();
    }
    assert_eq!(state.start(&["--ended"]).lines().filter(|line| line.contains("one ")).count(), 0);
    let said = state.start(&[]);
    assert!(said.contains("revision 2.0 did not get ready: back to 1.0"), "{said}");
    assert!(said.contains("one replica"), "{said}");
    assert_eq!((state.read("trial"), state.read("gave-up")), (None, None));
}
