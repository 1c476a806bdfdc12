//! A real nginx or HAProxy in front of replicas, with the configuration that is deployed: only its addresses are others.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::processes::{mark, send};

const START: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
}

/// One that runs.
pub(crate) struct Front {
    child: Child,
    log: PathBuf,
}

impl Kind {
    fn program(self) -> &'static str {
        match self {
            Kind::Nginx => "/usr/sbin/nginx",
            Kind::Haproxy => "/usr/sbin/haproxy",
        }
    }

    /// What is deployed, with these addresses, as a file of a folder of its own.
    pub(crate) fn configuration(self, root: &Path, listen: SocketAddr, replicas: &[SocketAddr]) -> PathBuf {
        let (deployed, door) = match self {
            Kind::Nginx => ("nginx/majordomo.conf", "listen 80;"),
            Kind::Haproxy => ("haproxy/haproxy.cfg", "bind :80\n"),
        };
        let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(deployed);
        let mut text = std::fs::read_to_string(deployed).unwrap();
        assert!(text.contains(door), "{door}");
        text = text.replace(door, &door.replace(":80", "80").replace("80", &listen.to_string()));
        for (at, replica) in replicas.iter().enumerate() {
            let deployed = format!("10.0.0.{}:8080", at + 1);
            assert!(text.contains(&deployed), "{deployed}");
            text = text.replace(&deployed, &replica.to_string());
        }
        // as many files as this process may have open
        text = text.replace("maxconn 50000", "maxconn 2000");
        assert!(!text.contains("10.0.0."), "an address that is none of the test's");
        let folder = root.join("front");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("configuration");
        match self {
            Kind::Haproxy => std::fs::write(&file, text).unwrap(),
            Kind::Nginx => {
                std::fs::write(folder.join("site.conf"), text).unwrap();
                std::fs::write(&file, around(&folder)).unwrap();
            }
        }
        file
    }

    /// What it says of a configuration when it only checks it.
    pub(crate) fn check(self, file: &Path) -> Result<(), String> {
        let mut command = Command::new(self.program());
        match self {
            Kind::Nginx => command.args(["-t", "-c"]).arg(file),
            Kind::Haproxy => command.args(["-c", "-f"]).arg(file),
        };
        let checked = command.output().unwrap_or_else(|error| panic!("{self:?}: {error}: see tests/run"));
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        if checked.status.success() && !said.to_lowercase().contains("warn") { Ok(()) } else { Err(said) }
    }
}

/// What the package of nginx has around a site.
fn around(folder: &Path) -> String {
    let folder = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String =
        temporary.iter().map(|kind| format!("    {kind}_temp_path {folder}/{kind};\n")).collect();
    format!(
        "daemon off;\nuser root;\nworker_processes 2;\npid {folder}/pid;\nerror_log {folder}/log info;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n    access_log {folder}/access.log;\n{temporary}    include {folder}/site.conf;\n}}\n"
    )
}

impl Front {
    pub(crate) fn start(kind: Kind, root: &Path, listen: SocketAddr, replicas: &[SocketAddr]) -> Front {
        let file = kind.configuration(root, listen, replicas);
        let log = root.join("front/log");
        let mut command = Command::new(kind.program());
        match kind {
            Kind::Nginx => command.arg("-c").arg(&file),
            Kind::Haproxy => command.arg("-db").arg("-f").arg(&file),
        };
        let written = std::fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(written.try_clone().unwrap()).stderr(written);
        mark(&mut command, root);
        let child = command.spawn().unwrap_or_else(|error| panic!("{kind:?}: {error}: see tests/run"));
        let front = Front { child, log };
        let deadline = Instant::now() + START;
        while TcpStream::connect(listen).is_err() {
            assert!(Instant::now() < deadline, "{kind:?} does not start: {}", front.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        front
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        send(self.child.id(), Signal::TERM);
        let deadline = Instant::now() + START;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                let _killed = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
