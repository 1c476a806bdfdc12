//! A real PostgreSQL server for tests: its own data folder, a free port of localhost, gone when dropped.
//!
//! Plain std and tokio, so that any test of any crate may include it by `#[path]`. The binaries are those of the Debian
//! package; root may not run a server, so root runs it as the user `postgres`.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(30);

/// Where the newest installed server's programs are; `None`: not installed.
pub(crate) fn binaries() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let bin = entry.path().join("bin");
            let version = entry.file_name().to_str()?.parse().ok()?;
            bin.join("postgres").exists().then_some((version, bin))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

/// A server; stopped and deleted when dropped.
pub(crate) struct Server {
    bin: PathBuf,
    data: PathBuf,
    port: u16,
    durable: bool,
    /// Waits for the process. It also started it: the kernel ends a process when the *thread* that started it ends.
    process: Option<JoinHandle<()>>,
    databases: AtomicU32,
}

impl Server {
    /// Starts a server without `fsync`, for tests in which no machine crashes. `None`, said on stderr: not installed.
    pub(crate) fn start() -> Option<Server> {
        Server::create(false)
    }

    /// As `start`, but what it acknowledges is on the disk.
    pub(crate) fn start_durable() -> Option<Server> {
        Server::create(true)
    }

    fn create(durable: bool) -> Option<Server> {
        let Some(bin) = binaries() else {
            eprintln!("not run: PostgreSQL server is not installed");
            return None;
        };
        static SERVERS: AtomicU32 = AtomicU32::new(0);
        let count = SERVERS.fetch_add(1, Ordering::Relaxed);
        let data = std::env::temp_dir().join(format!("majordomo-pg-{}-{count}", std::process::id()));
        sweep();
        let mut server =
            Server { bin, data, port: free_port(), durable, process: None, databases: AtomicU32::new(0) };
        server.init();
        server.begin();
        Some(server)
    }

    fn init(&self) {
        let mut init = as_postgres(&self.bin.join("initdb"));
        init.args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        let out = init.arg("-D").arg(&self.data).output().unwrap();
        assert!(out.status.success(), "initdb: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// Starts the server (again) and waits until it answers.
    pub(crate) fn begin(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let mut postgres = as_postgres(&self.bin.join("postgres"));
        postgres.arg("-D").arg(&self.data).args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k", ""]);
        postgres.args([
            "-c",
            "max_connections=200",
            "-c",
            "shared_buffers=64MB",
            "-c",
            "log_min_messages=error",
        ]);
        if !self.durable {
            postgres.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        postgres.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(std::thread::spawn(move || {
            postgres.spawn().unwrap().wait().unwrap();
        }));
        let deadline = Instant::now() + START;
        while !self.answers() {
            assert!(Instant::now() < deadline, "PostgreSQL did not start within {START:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> PathBuf {
        self.data.join("server.log")
    }

    /// What it has said of errors.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn answers(&self) -> bool {
        let mut ready = Command::new(self.bin.join("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        ready.status().is_ok_and(|s| s.success())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Creates an empty database and gives its URL.
    pub(crate) fn database(&self) -> String {
        let name = format!("home{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Executes SQL with `psql`; what it prints.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]);
        let out = psql.args(["-p", &self.port.to_string(), "-d", database, "-c", sql]).output().unwrap();
        assert!(out.status.success(), "{sql}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// From now on only who knows a password comes in.
    pub(crate) fn require_passwords(&self) {
        std::fs::write(self.data.join("pg_hba.conf"), "host all all 127.0.0.1/32 scram-sha-256\n").unwrap();
        self.signal("HUP");
        let deadline = Instant::now() + START;
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args([
            "-w",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-p",
            &self.port.to_string(),
            "-c",
            "SELECT 1",
        ]);
        while psql.output().unwrap().status.success() {
            assert!(Instant::now() < deadline, "PostgreSQL did not read its configuration again");
        }
    }

    /// Pid of the server's first process, from its own file: a child of ours may be `setpriv`'s.
    pub(crate) fn pid(&self) -> u32 {
        let text = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    /// Ends it as a crash would: all processes at once, without a word to clients.
    pub(crate) fn kill(&mut self) {
        self.signal("QUIT");
        self.wait();
    }

    /// kill -9 of all its processes.
    pub(crate) fn kill_9(&mut self) {
        self.signal_all("KILL");
        self.wait();
        // the next start waits for what is left of this one
        let _gone = std::fs::remove_file(self.data.join("postmaster.pid"));
    }

    /// Copies all its data; it must not run.
    pub(crate) fn copy(&self) -> PathBuf {
        assert!(self.process.is_none(), "it runs");
        let copy = self.data.with_extension("copy");
        duplicate(&self.data, &copy);
        copy
    }

    /// Sets it back to a copy; it must not run.
    pub(crate) fn restore(&self, copy: &Path) {
        assert!(self.process.is_none(), "it runs");
        std::fs::remove_dir_all(&self.data).unwrap();
        duplicate(copy, &self.data);
    }

    /// Ends it in order, ending the sessions of all clients.
    pub(crate) fn stop(&mut self) {
        self.signal("INT");
        self.wait();
    }

    /// Stops all its processes where they are: connections stay and nothing answers.
    pub(crate) fn pause(&self) {
        self.signal_all("STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal_all("CONT");
    }

    /// From now on commits are written and not answered, as if they waited for a standby, until [`Server::answer_commits`].
    pub(crate) fn hold_commits(&self) {
        self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        self.signal("HUP");
    }

    /// Commits are answered again, also those that wait.
    pub(crate) fn answer_commits(&self) {
        self.sql("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
        self.signal("HUP");
    }

    fn signal(&self, name: &str) {
        send(name, self.pid());
    }

    fn signal_all(&self, name: &str) {
        let first = self.pid();
        send(name, first);
        let out = Command::new("ps").args(["-o", "pid=", "--ppid", &first.to_string()]).output().unwrap();
        for pid in String::from_utf8_lossy(&out.stdout).split_whitespace() {
            send(name, pid.parse().unwrap());
        }
    }

    fn wait(&mut self) {
        if let Some(process) = self.process.take() {
            process.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some() && self.data.join("postmaster.pid").exists() {
            self.resume();
            self.kill();
        }
        let _ = std::fs::remove_dir_all(&self.data);
        let _ = std::fs::remove_dir_all(self.data.with_extension("copy"));
    }
}

fn duplicate(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Deletes what tests have left that ended without dropping their server, as statics do.
fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix("majordomo-pg-").and_then(|rest| rest.split('-').next()) else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn send(signal: &str, pid: u32) {
    // The process may have ended by itself.
    let _ =
        Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).stderr(Stdio::null()).status();
}

/// The program, as the user `postgres` when we are root. It ends with this process.
fn as_postgres(program: &Path) -> Command {
    let root = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    let mut command = Command::new("setpriv");
    if root {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig", "QUIT"]).arg("--").arg(program);
    // initdb wants a folder that it may read.
    command.current_dir("/tmp").env("LC_ALL", "C.UTF-8");
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
