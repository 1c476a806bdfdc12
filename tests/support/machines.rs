//! Three machines of one controller: PostgreSQL between them, nginx or HAProxy in front, each with a unit of `deploy/systemd`.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::controller::{Controller, LONG, Options, quiet_address, wait};
use super::front::{Front, Kind};
use super::postgres::Server;
use super::processes;
use super::unit::{Machine, Unit};

const PROGRAM: &str = env!("CARGO_BIN_EXE_majordomo");

/// Dropped in this order.
pub(crate) struct Machines {
    pub(crate) units: Vec<Unit>,
    front: Option<Front>,
    pub(crate) controller: Controller,
    pub(crate) server: Server,
}

impl Machines {
    /// Starts three, and waits until all replicas are ready.
    pub(crate) fn start(name: &'static str, kind: Option<Kind>) -> Machines {
        let server = Server::start().expect("PostgreSQL is not installed: see tests/run");
        let root = processes::folder(name);
        let secrets = root.join("etc");
        init(&root, &secrets, &server.database());
        let addresses: Vec<SocketAddr> = (0..3).map(|_| quiet_address()).collect();
        let address = if kind.is_some() { quiet_address() } else { addresses[1] };
        let units = addresses.iter().enumerate().map(|(at, listen)| {
            let environment = [
                ("MAJORDOMO_NAME", format!("ci-{at}")),
                ("MAJORDOMO_ORDINAL", at.to_string()),
                ("MAJORDOMO_LISTEN", listen.to_string()),
                ("MAJORDOMO_PEER_LISTEN", "127.0.0.1:0".to_owned()),
                ("MAJORDOMO_URL", format!("http://{address}/")),
            ];
            let lines = environment.map(|(name, value)| format!("{name}={value}\n"));
            let environment = root.join(format!("ci-{at}.env"));
            std::fs::write(&environment, lines.concat()).unwrap();
            let installed = root.join(format!("ci-{at}.installed"));
            std::fs::copy(PROGRAM, &installed).unwrap();
            let (root, name, credentials) = (root.clone(), format!("ci-{at}"), secrets.clone());
            Unit::start(Machine { root, name, environment, credentials, installed })
        });
        let units: Vec<Unit> = units.collect();
        let front = kind.map(|kind| Front::start(kind, &root, address, &addresses));
        let options = Options { name, store: None, replicas: 3, agents: 0 };
        let controller = Controller::of_machines(root, secrets, address, options);
        let machines = Machines { units, front, controller, server };
        machines.wait_ready();
        machines
    }

    pub(crate) fn wait_ready(&self) {
        wait(LONG, "all replicas are ready", || (self.ready() == 3).then_some(()));
    }

    pub(crate) fn ready(&self) -> usize {
        let Ok(reply) = self.controller.client().try_get("/replicas/api/json") else { return 0 };
        Controller::replicas_of(&reply).iter().filter(|r| r.state == "ready").count()
    }

    /// Puts a program where the administrator of each machine does.
    pub(crate) fn install(&self, make: impl Fn(&Path)) {
        for unit in &self.units {
            let installed = &unit.machine().installed;
            let aside = installed.with_extension("new");
            make(&aside);
            std::fs::set_permissions(&aside, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            std::fs::rename(&aside, installed).unwrap();
        }
    }

    /// What the administrator of each machine adds to its `replica.env`: read when the replica is started again.
    pub(crate) fn say(&self, line: &str) {
        for unit in &self.units {
            let file = OpenOptions::new().append(true).open(&unit.machine().environment);
            writeln!(file.unwrap(), "{line}").unwrap();
        }
    }

    /// Revisions by name.
    pub(crate) fn revisions(&self) -> Vec<String> {
        self.controller.replicas().into_iter().map(|r| r.revision).collect()
    }

    pub(crate) fn rollout(&self) -> serde_json::Value {
        self.controller.client().json("/replicas/api/json")["rollout"].clone()
    }

    pub(crate) fn front_log(&self) -> String {
        self.front.as_ref().map(Front::log).unwrap_or_default()
    }

    /// All end in order.
    pub(crate) fn stop(&mut self) {
        std::thread::scope(|scope| {
            for unit in &mut self.units {
                scope.spawn(|| unit.stop());
            }
        });
        for unit in &self.units {
            assert_eq!(
                unit.killed(),
                Vec::<&str>::new(),
                "{} was killed by its service manager",
                unit.machine().name
            );
        }
    }
}

/// What the replicas on all machines are given.
pub(crate) fn init(root: &Path, secrets: &Path, store: &str) {
    let url = root.join("database-url");
    std::fs::write(&url, store).unwrap();
    let mut init = Command::new(PROGRAM);
    init.args(["init", "--name", "ci", "--to"])
        .arg(secrets)
        .arg("--store")
        .arg(format!("@{}", url.display()));
    let made = init.env_remove("MAJORDOMO_STORE").stdin(Stdio::null()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

pub(crate) fn path(unit: &Unit, name: &str) -> PathBuf {
    unit.state().join(name)
}
