//! A small service manager: does with a unit of `deploy/systemd` what systemd does. It reads the unit, so what is tested is
//! what is deployed; what it does not know of it does not matter to processes (sandboxing, users).
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::processes::{mark, send};

/// Between two looks at the process and its socket.
const LOOK: Duration = Duration::from_millis(10);

/// What a machine is given.
#[derive(Clone)]
pub(crate) struct Machine {
    /// Folder of the test; also the mark of its processes.
    pub(crate) root: PathBuf,
    pub(crate) name: String,
    /// The unit's EnvironmentFile: read at each start.
    pub(crate) environment: PathBuf,
    /// What `LoadCredential` gives.
    pub(crate) credentials: PathBuf,
    /// Where the administrator installs the program.
    pub(crate) installed: PathBuf,
}

/// The unit, for as long as the machine has power.
pub(crate) struct Unit {
    machine: Machine,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// 0: no process runs.
    pid: AtomicU32,
    starts: AtomicU64,
    wanted: Mutex<Wanted>,
    /// Why the process was killed by us, each time.
    killed: Mutex<Vec<&'static str>>,
    status: Mutex<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    #[default]
    Run,
    /// `systemctl stop`
    Stop,
    /// The machine has lost its power.
    Nothing,
}

/// What the unit says.
struct Said {
    start: Vec<String>,
    stop_post: Vec<String>,
    start_timeout: Duration,
    stop_timeout: Duration,
    restart_after: Duration,
    watchdog: Duration,
}

impl Said {
    fn read() -> Said {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd");
        let text = std::fs::read_to_string(deploy.join("majordomo.service")).unwrap();
        let values: BTreeMap<&str, &str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .collect();
        for (key, value) in
            [("Type", "notify"), ("NotifyAccess", "main"), ("Restart", "always"), ("KillMode", "process")]
        {
            assert_eq!(values.get(key), Some(&value), "{key}: this service manager does nothing else");
        }
        let program = deploy.join("majordomo-start").display().to_string();
        let words = |key: &str| -> Vec<String> {
            let line = values[key].replace("/usr/lib/majordomo/majordomo-start", &program);
            line.split(' ').map(str::to_owned).collect()
        };
        let time = |key: &str| match values[key].strip_suffix("ms") {
            Some(millis) => Duration::from_millis(millis.parse().unwrap()),
            None => Duration::from_secs(values[key].parse().unwrap()),
        };
        Said {
            start: words("ExecStart"),
            stop_post: words("ExecStopPost"),
            start_timeout: time("TimeoutStartSec"),
            stop_timeout: time("TimeoutStopSec"),
            restart_after: time("RestartSec"),
            watchdog: time("WatchdogSec"),
        }
    }
}

impl Unit {
    /// Switches the machine on.
    pub(crate) fn start(machine: Machine) -> Unit {
        let mut unit = Unit { machine, shared: Arc::default(), thread: None };
        unit.power_on();
        unit
    }

    pub(crate) fn power_on(&mut self) {
        assert!(self.thread.is_none(), "it has power");
        *self.shared.wanted.lock().unwrap() = Wanted::Run;
        let (machine, shared) = (self.machine.clone(), Arc::clone(&self.shared));
        self.thread = Some(std::thread::spawn(move || manage(&machine, &shared, &Said::read())));
    }

    /// All of the machine's processes are gone at once, and nobody starts them again.
    pub(crate) fn power_off(&mut self) {
        self.end(Wanted::Nothing);
    }

    /// `systemctl stop`
    pub(crate) fn stop(&mut self) {
        self.end(Wanted::Stop);
    }

    fn end(&mut self, how: Wanted) {
        *self.shared.wanted.lock().unwrap() = how;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// kill -9 of the main process; it is started again.
    pub(crate) fn kill(&self) {
        let pid = self.pid();
        assert!(pid != 0 && send(pid, Signal::KILL), "{} does not run", self.machine.name);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.shared.pid.load(Ordering::SeqCst)
    }

    pub(crate) fn starts(&self) -> u64 {
        self.shared.starts.load(Ordering::SeqCst)
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What `systemctl status` shows.
    pub(crate) fn status(&self) -> String {
        self.shared.status.lock().unwrap().clone()
    }

    /// Why its process was killed by the service manager.
    pub(crate) fn killed(&self) -> Vec<&'static str> {
        self.shared.killed.lock().unwrap().clone()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.machine.state()
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.power_off();
    }
}

impl Machine {
    fn state(&self) -> PathBuf {
        self.root.join(format!("{}.state", self.name))
    }

    fn command(&self, words: &[String]) -> Command {
        let credentials = self.credentials.display().to_string();
        let mut command = Command::new("/bin/sh");
        command.args(words.iter().map(|word| word.replace("${CREDENTIALS_DIRECTORY}", &credentials)));
        let environment = std::fs::read_to_string(&self.environment).unwrap();
        command.envs(environment.lines().filter_map(|line| line.split_once('=')));
        command.env("STATE_DIRECTORY", self.state()).env("CREDENTIALS_DIRECTORY", credentials);
        command.env("MAJORDOMO_INSTALLED", &self.installed);
        command.env_remove("MAJORDOMO_STORE").env_remove("MAJORDOMO_LOG");
        mark(&mut command, &self.root);
        let log = self.root.join(format!("{}.log", self.name));
        let log = OpenOptions::new().append(true).create(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }
}

fn wanted(shared: &Shared) -> Wanted {
    *shared.wanted.lock().unwrap()
}

/// As long as the unit is to run.
fn manage(machine: &Machine, shared: &Shared, said: &Said) {
    std::fs::create_dir_all(machine.state()).unwrap();
    let socket = machine.root.join(format!("{}.notify", machine.name));
    while wanted(shared) == Wanted::Run {
        let _none = std::fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).unwrap();
        notify.set_read_timeout(Some(LOOK)).unwrap();
        let mut command = machine.command(&said.start);
        command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", said.watchdog.as_micros().to_string());
        let child = command.spawn().unwrap();
        shared.pid.store(child.id(), Ordering::SeqCst);
        shared.starts.fetch_add(1, Ordering::SeqCst);
        let (status, result) = watch(child, shared, said, &notify);
        shared.pid.store(0, Ordering::SeqCst);
        if wanted(shared) == Wanted::Nothing {
            return;
        }
        let (code, number) = match (status.code(), status.signal()) {
            (Some(code), _) => ("exited", code.to_string()),
            (None, signal) => ("killed", signal.unwrap_or_default().to_string()),
        };
        let mut after = machine.command(&said.stop_post);
        after.env("SERVICE_RESULT", result).env("EXIT_CODE", code).env("EXIT_STATUS", number);
        assert!(after.status().unwrap().success(), "ExecStopPost");
        let again = Instant::now() + said.restart_after;
        while wanted(shared) == Wanted::Run && Instant::now() < again {
            std::thread::sleep(LOOK);
        }
    }
}

/// One life of the process.
fn watch(
    mut child: Child,
    shared: &Shared,
    said: &Said,
    notify: &UnixDatagram,
) -> (ExitStatus, &'static str) {
    let now = Instant::now();
    let (mut ready, mut alive) = (false, now);
    let mut deadline = Some((now + said.start_timeout, "timeout"));
    let mut ending = false;
    let mut result = "success";
    let mut buffer = [0; 4096];
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            let failed = if status.code().is_some() { "exit-code" } else { "signal" };
            return (status, if status.success() || result != "success" { result } else { failed });
        }
        let pid = child.id();
        match wanted(shared) {
            Wanted::Run => {}
            Wanted::Stop if ending => {}
            Wanted::Stop => {
                send(pid, Signal::TERM);
                (ending, deadline) = (true, Some((Instant::now() + said.stop_timeout, "timeout")));
            }
            Wanted::Nothing => {
                send(pid, Signal::KILL);
            }
        }
        if let Ok(size) = notify.recv(&mut buffer) {
            for line in String::from_utf8_lossy(&buffer[..size]).lines() {
                match line.split_once('=') {
                    Some(("READY", "1")) => (ready, deadline, alive) = (true, None, Instant::now()),
                    Some(("STOPPING", "1")) => {
                        (ending, deadline) = (true, Some((Instant::now() + said.stop_timeout, "timeout")));
                    }
                    Some(("EXTEND_TIMEOUT_USEC", micros)) if deadline.is_some() => {
                        let longer = Instant::now() + Duration::from_micros(micros.parse().unwrap());
                        deadline = deadline.map(|(at, why)| (at.max(longer), why));
                    }
                    Some(("WATCHDOG", "1")) => alive = Instant::now(),
                    Some(("STATUS", text)) => text.clone_into(&mut shared.status.lock().unwrap()),
                    Some(_) | None => {}
                }
            }
        }
        let kill = |why| {
            shared.killed.lock().unwrap().push(why);
            send(pid, Signal::KILL);
        };
        if let Some((_, why)) = deadline.filter(|(at, _)| Instant::now() > *at) {
            result = "timeout";
            kill(why);
            deadline = None;
        } else if ready && !ending && alive.elapsed() > said.watchdog {
            result = "watchdog";
            kill("watchdog");
            ready = false;
        }
    }
}
