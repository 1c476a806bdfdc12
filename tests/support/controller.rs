//! A whole controller of real processes: `majordomo up`, its replicas and agents, and agents of the test behind proxies.
//!
//! All of it ends when this is dropped, however the test ends.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use security::Keys;
use serde_json::Value;

use super::http::{Client, Reply};
use super::items;
use super::peers::Parent;
use super::processes::{self, Process, kill_all, mark, marked};
use super::proxy::Proxy;

const PROGRAM: &str = env!("CARGO_BIN_EXE_majordomo");
/// Debug builds on busy machines take their time.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Options {
    /// Part of the folder's name.
    pub(crate) name: &'static str,
    /// `None`: SQLite in the home.
    pub(crate) store: Option<String>,
    pub(crate) replicas: u32,
    pub(crate) agents: u32,
}

pub(crate) struct Controller {
    /// Everything of this test; also the mark of its processes.
    pub(crate) root: PathBuf,
    pub(crate) home: PathBuf,
    program: PathBuf,
    options: Options,
    address: Option<SocketAddr>,
    client: Option<Client>,
    up: Option<Child>,
    /// Replicas run without `up`: commands name its address.
    machines: bool,
}

/// As `GET /replicas/api/json` shows it.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) incarnation: i64,
    pub(crate) pid: u32,
    pub(crate) peer: SocketAddr,
    pub(crate) revision: String,
    pub(crate) state: String,
    /// Job and number.
    pub(crate) builds: Vec<(String, u64)>,
    pub(crate) agents: Vec<String>,
}

/// An address that nobody has, at a port that the kernel gives to no connection: a controller that is killed must find it
/// free again.
pub(crate) fn quiet_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + u16::try_from(std::process::id() % 1_000).unwrap() * 10;
    let mut ports = std::iter::repeat_with(|| base + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000);
    let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).ok()?.local_addr().ok();
    ports.find_map(free).unwrap()
}

impl Controller {
    /// Starts one and waits until all replicas are ready.
    pub(crate) fn start(options: Options) -> Controller {
        let mut controller = Controller::prepare(options);
        controller.start_up();
        controller
    }

    /// The same of a program of its own, which can be replaced.
    pub(crate) fn start_own(options: Options) -> Controller {
        Controller::prepare(options).start_copy()
    }

    /// As `start_own`, of a `HAController`.
    pub(crate) fn start_described(options: Options, description: &str) -> Controller {
        let controller = Controller::prepare(options);
        controller.describe(description);
        controller.start_copy()
    }

    fn start_copy(mut self) -> Controller {
        let program = self.root.join("majordomo");
        std::fs::copy(PROGRAM, &program).unwrap();
        self.program = program;
        self.start_up();
        self
    }

    /// What `up` is told with `-f`, from its next start or reload on.
    pub(crate) fn describe(&self, description: &str) {
        std::fs::write(self.description(), description).unwrap();
    }

    fn description(&self) -> PathBuf {
        self.root.join("controller.yaml")
    }

    fn prepare(options: Options) -> Controller {
        let root = processes::folder(options.name);
        let (home, program) = (root.join("home"), PathBuf::from(PROGRAM));
        Controller { root, home, program, options, address: None, client: None, up: None, machines: false }
    }

    /// One whose replicas run without `up`, at this address: whoever starts them knows how. `home` is what `init` has made.
    pub(crate) fn of_machines(
        root: PathBuf,
        home: PathBuf,
        address: SocketAddr,
        options: Options,
    ) -> Controller {
        let token = std::fs::read_to_string(home.join("admin-token")).unwrap();
        let client = Some(Client::new(address, "admin", token.trim()));
        let (program, address) = (PathBuf::from(PROGRAM), Some(address));
        Controller { root, home, program, options, address, client, up: None, machines: true }
    }

    /// Puts another one in the place of the program that `up` runs, as whoever installs it does.
    pub(crate) fn install(&self, make: impl FnOnce(&Path)) {
        let aside = self.root.join("majordomo.new");
        make(&aside);
        std::fs::set_permissions(&aside, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(&aside, &self.program).unwrap();
    }

    /// Runs a command of ours on this home to its end.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--home").arg(&self.home).stdin(Stdio::null());
        if self.machines {
            command.arg("--url").arg(format!("http://{}/", self.address()));
        }
        command.env_remove("MAJORDOMO_AUTH").output().unwrap()
    }

    /// Starts `up` (again, at the same address) and waits until all replicas are ready.
    pub(crate) fn start_up(&mut self) {
        self.spawn_up();
        self.wait_ready();
    }

    pub(crate) fn spawn_up(&mut self) {
        assert!(self.up.is_none(), "it runs already");
        let listen = *self.address.get_or_insert_with(quiet_address);
        let mut up = Command::new(&self.program);
        up.arg("up").arg("--home").arg(&self.home).arg("--no-example");
        up.args(["--listen", &listen.to_string(), "--agents", &self.options.agents.to_string()]);
        let description = self.description();
        if description.exists() {
            up.arg("-f").arg(description);
        } else {
            up.args(["--replicas", &self.options.replicas.to_string()]);
        }
        up.env_remove("MAJORDOMO_STORE").env_remove("MAJORDOMO_LOG");
        if let Some(store) = &self.options.store {
            up.env("MAJORDOMO_STORE", store);
        }
        mark(&mut up, &self.root);
        let log = log_file(&self.root.join("up.log"));
        up.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.up = Some(up.spawn().unwrap());
    }

    pub(crate) fn wait_ready(&mut self) {
        let pid = self.up.as_ref().unwrap().id();
        let wanted = self.options.replicas as usize;
        wait(LONG, "replicas are ready", || {
            if let Some(status) = self.up.as_mut().and_then(|up| up.try_wait().unwrap()) {
                panic!("`up` has ended, {status}: {}", self.up_log());
            }
            let record = std::fs::read_to_string(self.home.join("run/up.json")).ok()?;
            let record: Value = serde_json::from_str(&record).ok()?;
            if record["pid"].as_u64() != Some(u64::from(pid)) {
                return None;
            }
            let address = record["url"].as_str()?.trim_start_matches("http://").trim_end_matches('/');
            let token = std::fs::read_to_string(self.home.join("admin-token")).ok()?;
            let address: SocketAddr = address.parse().ok()?;
            let client = Client::new(address, "admin", token.trim());
            let reply = client.try_get("/replicas/api/json").ok().filter(|r| r.status == 200)?;
            let ready = replicas(&serde_json::from_slice(&reply.body).ok()?);
            let live = |r: &Replica| r.state == "ready" && self.process(r.pid).is_some();
            (ready.iter().filter(|r| live(r)).count() >= wanted).then(|| {
                self.address = Some(address);
                self.client = Some(client);
            })
        });
    }

    pub(crate) fn up_log(&self) -> String {
        std::fs::read_to_string(self.root.join("up.log")).unwrap_or_default()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone().unwrap()
    }

    /// Of the user `admin`.
    pub(crate) fn password(&self) -> String {
        std::fs::read_to_string(self.home.join("admin-password")).unwrap().trim().to_owned()
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys::read(&self.home.join(if self.machines { "master.key" } else { "secrets/master.key" })).unwrap()
    }

    /// Whoever looks after its replicas.
    pub(crate) fn parent(&self) -> Parent {
        if self.machines { Parent::of(&self.home.join("peer.keys")) } else { Parent::plain(&self.keys()) }
    }

    pub(crate) fn up(&self) -> Process {
        let pid = self.up.as_ref().unwrap().id();
        self.process(pid).unwrap()
    }

    /// The process, if it is one of this controller's.
    pub(crate) fn process(&self, pid: u32) -> Option<Process> {
        marked(&self.root).into_iter().find(|p| p.pid == pid)
    }

    pub(crate) fn processes(&self) -> Vec<Process> {
        marked(&self.root)
    }

    pub(crate) fn replicas(&self) -> Vec<Replica> {
        replicas(&self.client().json("/replicas/api/json"))
    }

    /// What an answer of `/replicas/api/json` shows.
    pub(crate) fn replicas_of(reply: &Reply) -> Vec<Replica> {
        replicas(&serde_json::from_slice(&reply.body).unwrap_or_default())
    }

    /// kill -9 of `up` alone.
    pub(crate) fn kill_up(&mut self) {
        let mut up = self.up.take().unwrap();
        up.kill().unwrap();
        up.wait().unwrap();
    }

    /// kill -9 of `up`, all replicas and all agents; steps go on.
    pub(crate) fn kill_everything(&mut self) {
        let ours = |p: &Process| ["up", "replica", "agent"].iter().any(|kind| p.is(kind));
        let root = self.root.clone();
        let kill = || {
            let all: Vec<_> = marked(&root).into_iter().filter(ours).collect();
            for process in &all {
                process.signal(Signal::KILL);
            }
            all
        };
        let mut killed = kill();
        if let Some(mut up) = self.up.take() {
            let _killed = up.kill();
            up.wait().unwrap();
        }
        wait(LONG, "all have ended", || {
            // what `up` started between the look and its end
            killed.extend(kill());
            killed.retain(|process| !process.has_ended());
            killed.is_empty().then_some(())
        });
    }

    /// Ctrl-C, and the end of everything.
    pub(crate) fn stop(&mut self) {
        let mut up = self.up.take().unwrap();
        processes::send(up.id(), Signal::TERM);
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait(LONG, "`up` ends", || up.try_wait().unwrap())
        }));
        if ended.is_err() {
            let _killed = up.kill();
            up.wait().unwrap();
            panic!("`up` does not end after SIGTERM: {}", self.up_log());
        }
        assert!(ended.unwrap().success(), "{}", self.up_log());
    }

    pub(crate) fn create_job(&self, name: &str, script: &str) {
        items::create_job(&self.client(), name, script);
    }

    /// A Freestyle job, each of whose lines is a shell builder.
    pub(crate) fn create_freestyle(&self, name: &str, label: &str, lines: &str) {
        items::create_freestyle(&self.client(), name, label, lines);
    }

    /// A node for [`FarAgent`].
    pub(crate) fn create_node(&self, name: &str, executors: u32, labels: &str) {
        items::create_node(&self.client(), name, &self.root.join(name), executors, labels);
    }

    /// Logs of replicas and agents, by name.
    pub(crate) fn logs(&self) -> Vec<(String, String)> {
        let mut logs = Vec::new();
        for folder in [self.home.join("logs"), self.root.clone()] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.ends_with(".log") || name.ends_with(".log.1") {
                    let text = std::fs::read(entry.path()).unwrap_or_default();
                    logs.push((name, String::from_utf8_lossy(&text).into_owned()));
                }
            }
        }
        logs.sort();
        logs
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let left = kill_all(&self.root);
        if let Some(mut up) = self.up.take() {
            let _killed = up.kill();
            let _waited = up.wait();
        }
        if std::thread::panicking() {
            let _kept = File::create(self.root.join("kept"));
            eprintln!("kept for a look: {}", self.root.display());
        } else {
            assert!(left.is_empty(), "can't be killed: {left:?}");
            let _gone = std::fs::remove_dir_all(&self.root);
        }
    }
}

fn replicas(answer: &Value) -> Vec<Replica> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let replica = |r: &Value| {
        let builds = r["builds"].as_array().into_iter().flatten();
        Some(Replica {
            name: text(&r["name"]),
            incarnation: r["incarnation"].as_i64()?,
            pid: u32::try_from(r["pid"].as_u64()?).ok()?,
            peer: r["address"].as_str()?.parse().ok()?,
            revision: text(&r["revision"]),
            state: text(&r["state"]),
            builds: builds.filter_map(|b| Some((text(&b["job"]), b["number"].as_u64()?))).collect(),
            agents: r["agents"].as_array().into_iter().flatten().map(text).collect(),
        })
    };
    answer["replicas"].as_array().into_iter().flatten().filter_map(replica).collect()
}

/// An agent that the test starts itself; it reaches the controller through a proxy of its own.
pub(crate) struct FarAgent {
    pub(crate) name: String,
    pub(crate) proxy: Proxy,
    root: PathBuf,
    secret: PathBuf,
    child: Option<Child>,
}

impl FarAgent {
    pub(crate) fn start(controller: &Controller, name: &str, executors: u32, labels: &str) -> FarAgent {
        controller.create_node(name, executors, labels);
        let secret = controller.root.join(format!("{name}.secret"));
        std::fs::write(&secret, controller.keys().agent_secret(name)).unwrap();
        let proxy = Proxy::start(controller.address());
        let root = controller.root.clone();
        let mut agent = FarAgent { name: name.to_owned(), proxy, root, secret, child: None };
        agent.begin();
        agent
    }

    pub(crate) fn begin(&mut self) {
        self.kill();
        let mut command = Command::new(PROGRAM);
        let url = format!("http://{}/", self.proxy.address());
        command.args(["agent", "-url", &url, "-name", &self.name, "-webSocket", "-secret"]);
        command.arg(format!("@{}", self.secret.display()));
        command.arg("-workDir").arg(self.root.join(&self.name));
        command.env_remove("MAJORDOMO_STORE").env_remove("MAJORDOMO_LOG");
        mark(&mut command, &self.root);
        let log = log_file(&self.root.join(format!("{}.log", self.name)));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// kill -9; steps go on.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for FarAgent {
    fn drop(&mut self) {
        self.kill();
    }
}

fn log_file(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

/// Looks until there is something; fails with `what` after that time.
pub(crate) fn wait<T>(most: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + most;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {most:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
