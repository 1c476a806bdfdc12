//! The script that starts PostgreSQL, tried with the PostgreSQL of this machine.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::build::postgres::{ACCESS, READY, START};

/// Whoever has no rights.
const NOBODY: u32 = 65534;
const DEADLINE: Duration = Duration::from_secs(120);
const PASSWORD: &str = "it's $ecret";

/// Folders as in a pod, and what runs there.
struct Pod {
    root: TempDir,
    port: u16,
}

impl Pod {
    fn new() -> Pod {
        let root = TempDir::new().unwrap();
        for folder in ["data", "secrets", "scripts", "run", "run/postgresql"] {
            fs::create_dir(root.path().join(folder)).unwrap();
            given(&root.path().join(folder));
        }
        given(root.path());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let pod = Pod { root, port };
        for (name, text) in [("start", START), ("ready", READY), ("pg_hba.conf", ACCESS)] {
            pod.write(&format!("scripts/{name}"), text);
        }
        pod.write("secrets/password", PASSWORD);
        pod
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        given(&self.path(name));
    }

    fn script(&self, name: &str) -> Command {
        let mut command = as_nobody("sh");
        command.arg(self.path("scripts").join(name)).arg(self.root.path()).arg(self.port.to_string());
        command
    }

    fn start(&self) -> Server<'_> {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.script("start");
        // a group of its own, so that all of it can be killed
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Server { pod: self, child: command.spawn().unwrap() }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// It ends by itself, and says why.
    fn refusal(&self) -> String {
        let output = self.script("start").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn ask(&self, password: &str, statement: &str) -> Output {
        self.client(password, statement).output().unwrap()
    }

    fn client(&self, password: &str, statement: &str) -> Command {
        let mut command = Command::new(programs().unwrap().join("psql"));
        command.env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "10").stdin(Stdio::null());
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "majordomo", "-w", "-At", "-c"]);
        command.arg(statement).arg("majordomo");
        command
    }

    fn answer(&self, password: &str, statement: &str) -> String {
        let output = self.ask(password, statement);
        assert!(output.status.success(), "{output:?}\n{}", self.log());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

struct Server<'a> {
    pod: &'a Pod,
    child: Child,
}

impl Server<'_> {
    fn ready(&mut self) {
        wait("PostgreSQL is ready", || {
            let ended = self.child.try_wait().unwrap();
            assert_eq!(ended, None, "{}", self.pod.log());
            self.pod.script("ready").status().unwrap().success()
        });
    }

    fn signal(&self, signal: &str, whom: &str) {
        let status = Command::new("kill").args([signal, "--", whom]).stderr(Stdio::null()).status();
        drop(status);
    }

    /// Only the server: the script notices.
    fn killed(mut self) {
        let lock = fs::read_to_string(self.pod.path("data/pgdata/postmaster.pid")).unwrap();
        let server = lock.lines().next().unwrap();
        let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap();
        self.signal("-KILL", server);
        assert_eq!(self.child.wait().unwrap().code(), Some(128 + 9), "{}", self.pod.log());
        // in a pod, they end with the script; here they need not have been noticed by whoever takes them over
        let gone = |child: &str| {
            let stat = fs::read_to_string(format!("/proc/{child}/stat"));
            stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
        };
        wait("its processes have ended", || children.split_whitespace().all(gone));
    }

    /// As a pod that ends is told.
    fn stop(mut self) {
        self.signal("-TERM", &self.child.id().to_string());
        let mut code = None;
        wait("it ends", || {
            code = self.child.try_wait().unwrap().map(|status| status.code());
            code.is_some()
        });
        assert_eq!(code, Some(Some(0)), "{}", self.pod.log());
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal("-KILL", &format!("-{}", self.child.id()));
            drop(self.child.wait());
        }
    }
}

fn root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// PostgreSQL does not start as root.
fn as_nobody(program: &str) -> Command {
    let mut command = Command::new(program);
    if root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn given(path: &Path) {
    if root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Where this machine has its newest PostgreSQL.
fn programs() -> Option<PathBuf> {
    let mut all: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|folder| folder.join("postgres").exists() && folder.join("psql").exists())
        .collect();
    all.sort();
    all.pop()
}

/// A machine without PostgreSQL says so, and does not count as one where it worked.
fn pod() -> Option<Pod> {
    if programs().is_none() {
        eprintln!("NOT RUN: there is no PostgreSQL in /usr/lib/postgresql");
        return None;
    }
    Some(Pod::new())
}

#[test]
fn every_shell_can_read_the_scripts() {
    let pod = Pod::new();
    let shells = ["sh", "dash", "bash"].map(|shell| {
        let known = Command::new(shell).args(["-c", ":"]).status().is_ok();
        for script in ["start", "ready"].iter().filter(|_| known) {
            let output =
                Command::new(shell).arg("-n").arg(pod.path("scripts").join(script)).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
        }
        known
    });
    assert!(shells[0], "there is no sh");
}

#[test]
fn it_makes_a_database_serves_it_and_closes_it_while_clients_are_there() {
    let Some(pod) = pod() else { return };
    let mut server = pod.start();
    server.ready();
    let facts = "select current_user, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, \
                 (select rolsuper from pg_roles where rolname = current_user) \
                 from pg_database where datname = current_database()";
    assert_eq!(pod.answer(PASSWORD, facts), "majordomo|majordomo|UTF8|C|f");
    assert_eq!(pod.answer(PASSWORD, "show max_connections"), "200");
    pod.answer(PASSWORD, "create table t as select 7 as n");
    assert!(!pod.ask("another", "select 1").status.success());
    let mut idle = pod.client(PASSWORD, "select pg_sleep(600)").stderr(Stdio::null()).spawn().unwrap();
    let there = "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()";
    wait("the client is there", || pod.answer(PASSWORD, there) == "1");
    server.stop();
    assert!(!idle.wait().unwrap().success());

    // who has made the Secret anew has another password; a volume may have been given to the group
    pod.write("secrets/password", "another\n");
    fs::set_permissions(pod.path("data/pgdata"), fs::Permissions::from_mode(0o2770)).unwrap();
    let mut server = pod.start();
    server.ready();
    assert_eq!(pod.answer("another", "select n from t"), "7");
    assert!(!pod.ask(PASSWORD, "select 1").status.success());
    server.stop();
    let log = pod.log();
    assert!(!log.contains("ecret") && !log.contains("another"), "{log}");
    assert!(!log.contains("was interrupted"), "{log}");
}

#[test]
fn one_that_is_killed_while_it_makes_the_database_begins_anew() {
    let Some(pod) = pod() else { return };
    for mark in ["data/pgdata.new/PG_VERSION", "data/pgdata.new/global/pg_control"] {
        let server = pod.start();
        wait("it is about to", || pod.path(mark).exists());
        drop(server);
        assert!(!pod.path("data/pgdata").exists(), "{mark} came too late");
        // what was killed may have left anything
        pod.write("data/pgdata.new/left", "over");
    }
    let mut server = pod.start();
    server.ready();
    assert_eq!(pod.answer(PASSWORD, "select 1"), "1");
    assert!(!pod.path("data/pgdata.new").exists() && !pod.path("data/pgdata/left").exists());

    // and one that is killed later has lost nothing
    pod.answer(PASSWORD, "create table t as select 7 as n");
    server.killed();
    let mut server = pod.start();
    server.ready();
    assert_eq!(pod.answer(PASSWORD, "select n from t"), "7");
    server.stop();
}

#[test]
fn a_folder_that_is_no_database_of_this_version_is_left_alone_with_a_sentence() {
    let Some(pod) = pod() else { return };
    fs::create_dir(pod.path("data/pgdata")).unwrap();
    given(&pod.path("data/pgdata"));
    let refusal = pod.refusal();
    assert!(refusal.contains("data/pgdata is no whole database"), "{refusal}");
    fs::create_dir(pod.path("data/pgdata/global")).unwrap();
    given(&pod.path("data/pgdata/global"));
    pod.write("data/pgdata/global/pg_control", "x");
    pod.write("data/pgdata/PG_VERSION", "9\n");
    let refusal = pod.refusal();
    assert!(refusal.contains("was made by PostgreSQL 9, and this image has "), "{refusal}");
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
    let newest = programs().unwrap().parent().unwrap().file_name().unwrap().to_owned();
    pod.write("data/pgdata/PG_VERSION", &format!("{}\n", newest.display()));
    let refusal = pod.refusal();
    assert!(refusal.contains("data/pgdata can't be opened; the lines above say why"), "{refusal}");
    assert_eq!(fs::read_to_string(pod.path("data/pgdata/global/pg_control")).unwrap(), "x");
}

#[test]
fn without_a_password_or_a_volume_it_says_so() {
    let pod = Pod::new();
    for (password, sentence) in [("", "is empty"), ("a\nb", "has more than one line")] {
        pod.write("secrets/password", password);
        let refusal = pod.refusal();
        assert!(refusal.contains(sentence) && refusal.lines().count() == 1, "{refusal}");
    }
    fs::remove_file(pod.path("secrets/password")).unwrap();
    assert!(pod.refusal().contains("secrets/password can't be read"));
    pod.write("secrets/password", PASSWORD);
    fs::set_permissions(pod.path("data"), fs::Permissions::from_mode(0o500)).unwrap();
    let refusal = pod.refusal();
    assert!(refusal.contains("data can't be written to by user"), "{refusal}");
}
