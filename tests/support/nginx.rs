//! A real nginx in front of replicas, with the configuration that is deployed: only its addresses are others.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::processes::{mark, send};

const START: Duration = Duration::from_secs(10);

pub(crate) struct Nginx {
    child: Child,
    folder: PathBuf,
}

/// Where it is; `None`: not installed.
pub(crate) fn program() -> Option<PathBuf> {
    ["/usr/sbin/nginx", "/usr/bin/nginx"].iter().map(PathBuf::from).find(|path| path.exists())
}

/// The configuration for these addresses, with all that packages give around it, as a file of a folder of its own.
pub(crate) fn configuration(root: &Path, listen: SocketAddr, replicas: &[SocketAddr]) -> PathBuf {
    let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nginx/majordomo.conf");
    let mut site = std::fs::read_to_string(deployed).unwrap();
    site = site.replace("listen 80;", &format!("listen {listen};"));
    for (at, replica) in replicas.iter().enumerate() {
        let deployed = format!("server 10.0.0.{}:8080 ", at + 1);
        assert!(site.contains(&deployed), "{deployed}");
        site = site.replace(&deployed, &format!("server {replica} "));
    }
    assert!(!site.contains("10.0.0."), "an address that is none of the test's");
    let folder = root.join("nginx");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("site.conf"), site).unwrap();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String =
        temporary.iter().map(|kind| format!("    {kind}_temp_path {}/{kind};\n", folder.display())).collect();
    let whole = format!(
        "daemon off;\nuser root;\nworker_processes 2;\npid {0}/pid;\nerror_log {0}/error.log info;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n    access_log {0}/access.log;\n{temporary}    include {0}/site.conf;\n}}\n",
        folder.display()
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, whole).unwrap();
    file
}

/// What it says of a configuration when it only checks it.
pub(crate) fn check(file: &Path) -> Result<(), String> {
    let program = program().ok_or("nginx is not installed")?;
    let checked = Command::new(program).arg("-t").arg("-c").arg(file).output().unwrap();
    if checked.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&checked.stderr).into_owned()) }
}

impl Nginx {
    pub(crate) fn start(root: &Path, listen: SocketAddr, replicas: &[SocketAddr]) -> Nginx {
        let file = configuration(root, listen, replicas);
        let mut command = Command::new(program().expect("nginx is not installed: see tests/run"));
        command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        mark(&mut command, root);
        let nginx = Nginx { child: command.spawn().unwrap(), folder: root.join("nginx") };
        let deadline = Instant::now() + START;
        while TcpStream::connect(listen).is_err() {
            assert!(Instant::now() < deadline, "nginx does not start: {}", nginx.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        nginx
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
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
