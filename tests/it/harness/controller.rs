//! A controller as a user starts it: `majordomo up`, in a home of its own, at a port of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{Client, until, within};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_majordomo");

/// Most resident memory of a replica, in MiB, whatever it is sent.
const MAX_MEMORY: u64 = 400;
/// What may stand in logs at WARN: each was looked at.
const HARMLESS: &[&str] = &[];

/// Ends what was started, whatever becomes of this process: when its standard input is closed, it asks `up` to stop, kills
/// by their ids those that are left of what names the folder or works in it, and removes the folder.
const REAPER: &str = r#"
cat >/dev/null
ours() {
    for process in /proc/[0-9]*; do
        command=$(tr '\0' ' ' <$process/cmdline) && at=$(readlink $process/cwd) || continue
        case "$command" in *"$FOLDER"*) echo "${process#/proc/}"; continue ;; esac
        case "$at" in "$FOLDER"*) echo "${process#/proc/}" ;; esac
    done 2>/dev/null
}
for pid in $(ours); do [ "$pid" != "$UP" ] || kill -TERM "$pid"; done
n=0
while [ $n -lt 25 ] && [ -n "$(ours)" ]; do sleep 0.2; n=$((n + 1)); done
for round in 1 2 3; do
    for pid in $(ours); do kill -KILL "$pid"; done
    sleep 0.1
done
rm -rf "$FOLDER"
"#;

/// Keeps a reaper waiting.
pub(crate) struct Guard {
    input: Option<ChildStdin>,
    reaper: Child,
}

impl Guard {
    /// `up` is asked to stop if it still is one of those in the folder; the id may be somebody else's by then.
    pub(crate) fn new(folder: &Path, up: u32) -> Guard {
        let mut reaper = Command::new("sh")
            .args(["-c", REAPER])
            .env("FOLDER", folder)
            .env("UP", up.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Guard { input: reaper.stdin.take(), reaper }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ended = self.reaper.wait();
    }
}

/// Options of `up`.
pub(crate) struct Up {
    pub(crate) folder: TempDir,
    pub(crate) replicas: u32,
    pub(crate) agents: u32,
    pub(crate) more: Vec<String>,
    /// What the replicas log; the default of the program when it is `None`.
    pub(crate) log: Option<&'static str>,
    pub(crate) env: Vec<(&'static str, String)>,
}

impl Up {
    pub(crate) fn new(replicas: u32, agents: u32) -> Up {
        let folder = tempfile::Builder::new().prefix("majordomo-it-").tempdir().unwrap();
        Up { folder, replicas, agents, more: vec!["--no-example".to_owned()], log: None, env: vec![] }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.args(["up", "--listen", "127.0.0.1:0", "--home"]).arg(self.home());
        command.args(["--replicas", &self.replicas.to_string(), "--agents", &self.agents.to_string()]);
        command.args(&self.more).env_remove("MAJORDOMO_STORE").env_remove("MAJORDOMO_LOG");
        if let Some(log) = self.log {
            command.env("MAJORDOMO_LOG", log);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Runs `up` to its end.
    pub(crate) fn refused(&self) -> Refusal {
        refused(self.command())
    }
}

/// How a command ended that should have refused.
pub(crate) struct Refusal {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
}

pub(crate) fn refused(mut command: Command) -> Refusal {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > Duration::from_secs(30) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not refuse: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    Refusal { status, said }
}

/// A running controller; dropped, it is stopped and its home removed.
pub(crate) struct Controller {
    pub(crate) home: PathBuf,
    _up: Child,
    pub(crate) admin: Client,
    pub(crate) pids: BTreeMap<String, u64>,
    _guard: Guard,
}

impl Controller {
    pub(crate) fn start(replicas: u32, agents: u32) -> Controller {
        Controller::of(Up::new(replicas, agents))
    }

    pub(crate) fn of(options: Up) -> Controller {
        let home = options.home();
        let said = fs::File::create(options.folder.path().join("up.log")).unwrap();
        let mut command = options.command();
        let up = command.stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
        // the folder outlives this process, so that the reaper and nobody else removes it
        let folder = options.folder.keep();
        let guard = Guard::new(&fs::canonicalize(&folder).unwrap(), up.id());
        let log = || fs::read_to_string(folder.join("up.log")).unwrap_or_default();
        let ready = |text: &str| text.contains("Try next");
        within(Duration::from_secs(90), "the controller to be ready", || {
            assert!(!log().contains("majordomo:"), "{}", log());
            ready(&log()).then_some(())
        });
        let record: Value = serde_json::from_slice(&fs::read(home.join("run/up.json")).unwrap()).unwrap();
        let url = record["url"].as_str().unwrap();
        let address: SocketAddr = url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        let token = fs::read_to_string(home.join("admin-token")).unwrap();
        let admin = Client::user(address, "admin", token.trim());
        let home = fs::canonicalize(&home).unwrap();
        let mut it = Controller { home, _up: up, admin, pids: BTreeMap::new(), _guard: guard };
        it.pids = it.pids_now();
        until("the agents", || {
            let online = it.admin.json("/computer/api/json?tree=computer[offline]");
            let online =
                online["computer"].as_array().unwrap().iter().filter(|c| c["offline"] == false).count();
            (online >= options.agents as usize).then_some(())
        });
        it
    }

    pub(crate) fn pids_now(&self) -> BTreeMap<String, u64> {
        let replicas = self.admin.json("/replicas/api/json");
        let replicas = replicas["replicas"].as_array().unwrap();
        let pid = |r: &Value| (r["name"].as_str().unwrap().to_owned(), r["pid"].as_u64().unwrap());
        replicas.iter().map(pid).collect()
    }

    /// The administrator's first password.
    pub(crate) fn password(&self) -> String {
        fs::read_to_string(self.home.join("admin-password")).unwrap().trim().to_owned()
    }

    pub(crate) fn anonymous(&self) -> Client {
        Client::anonymous(self.admin.address)
    }

    /// A client of each replica's own address.
    pub(crate) fn each_replica(&self) -> Vec<Client> {
        let replicas = self.admin.json("/replicas/api/json");
        let replicas = replicas["replicas"].as_array().unwrap().iter();
        replicas.map(|r| self.admin.at(r["address"].as_str().unwrap().parse().unwrap())).collect()
    }

    /// Resident memory of the largest replica, in MiB.
    pub(crate) fn memory(&self) -> u64 {
        let of = |pid: &u64| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
        };
        self.pids.values().map(of).max().unwrap()
    }

    /// All replicas are those of the beginning, and none has logged an error or an unknown warning.
    #[track_caller]
    pub(crate) fn unharmed(&self) {
        assert_eq!(self.pids_now(), self.pids, "a replica was lost");
        assert!(self.memory() < MAX_MEMORY, "a replica has {} MiB", self.memory());
        for entry in fs::read_dir(self.home.join("logs")).unwrap().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let level =
                |line: &str| line.split_whitespace().nth(1).is_some_and(|l| l == "ERROR" || l == "WARN");
            let bad = |line: &&str| level(line) || line.contains("panicked at");
            let known = |line: &&str| !HARMLESS.iter().any(|harmless| line.contains(harmless));
            let bad: Vec<&str> = text.lines().filter(bad).filter(known).collect();
            assert!(bad.is_empty(), "{}: {}", entry.path().display(), bad.join("\n"));
        }
    }
}

/// The controller that most tests share: three replicas, two agents. It ends with this process.
pub(crate) fn shared() -> &'static Controller {
    static SHARED: OnceLock<Controller> = OnceLock::new();
    SHARED.get_or_init(|| Controller::start(3, 2))
}
