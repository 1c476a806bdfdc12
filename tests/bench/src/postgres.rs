//! A PostgreSQL server of the bench's own, on a free port, with its durability as the product needs it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub(crate) struct Server {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Server {
    /// `None`: the server is not installed.
    pub(crate) fn start() -> Result<Option<Server>> {
        let Some(bin) = binaries() else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let root = uid() == Some(0);
        if root {
            run(Command::new("chown").arg("postgres").arg(folder.path()))?;
        }
        let data = folder.path().join("data");
        let as_user = |program: PathBuf| {
            let mut command = if root { Command::new("runuser") } else { Command::new(&program) };
            if root {
                command.args(["-u", "postgres", "--"]).arg(program);
            }
            command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        run(as_user(bin.join("initdb")).args(["-A", "trust", "-U", "postgres", "-D"]).arg(&data))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = as_user(bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k"])
            .arg(folder.path())
            .args(["-c", "max_connections=200"])
            .spawn()?;
        let server = Server { process, port, _folder: folder };
        server.wait()?;
        Ok(Some(server))
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                std::thread::sleep(Duration::from_millis(500));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("PostgreSQL did not start")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // `runuser` passes the signal on.
        let _gone = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
        let _reaped = self.process.wait();
    }
}

fn binaries() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut all: Vec<PathBuf> = versions.filter_map(|v| Some(v.ok()?.path().join("bin"))).collect();
    all.retain(|bin| bin.join("initdb").exists());
    all.sort();
    all.pop()
}

fn uid() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").ok().map(|m| m.uid())
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("run {command:?}"))?;
    if status.success() { Ok(()) } else { bail!("{command:?} ended with {status}") }
}
