//! A server of S3 for tests, on a free port of localhost, with buckets in memory; gone when dropped. It is gofakes3 with a few
//! lines around it (`s3/main.go`), built from the Go proxy and kept in `${XDG_CACHE_HOME:-~/.cache}/majordomo-s3/KEY`.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Anybody may read and write there, with the right key.
pub(crate) const BUCKET: &str = "objects";
/// There nobody writes.
pub(crate) const READ_ONLY: &str = "readonly";

const SOURCES: [(&str, &str); 3] = [
    ("main.go", include_str!("s3/main.go")),
    ("go.mod", include_str!("s3/go.mod")),
    ("go.sum", include_str!("s3/go.sum")),
];

/// What a client of it has in its environment.
pub(crate) fn environment() -> [(String, String); 2] {
    [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "secret of a test")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

pub(crate) struct Server {
    process: Child,
    endpoint: String,
}

impl Server {
    /// `None`, said on stderr: it can't be built here.
    pub(crate) fn start() -> Option<Server> {
        let program = match program() {
            Ok(program) => program,
            Err(why) => {
                eprintln!("NOT RUN: S3: {why}");
                return None;
            }
        };
        let mut command = Command::new(program);
        let mut process =
            command.args([BUCKET, READ_ONLY]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut endpoint = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
        assert!(endpoint.starts_with("http://"), "the server says {endpoint:?}");
        Some(Server { process, endpoint: endpoint.trim().to_owned() })
    }

    /// It answers nobody until `resume`; connections are made still.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// The address of objects in a bucket.
    pub(crate) fn url(&self, bucket: &str, prefix: &str) -> String {
        let endpoint = self.endpoint.replace(':', "%3A").replace('/', "%2F");
        format!("s3://{bucket}/{prefix}?region=us-east-1&endpoint={endpoint}&path-style=true")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _ended = self.process.wait();
    }
}

fn program() -> Result<PathBuf, String> {
    let mut hash = DefaultHasher::new();
    SOURCES.hash(&mut hash);
    let cache = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => PathBuf::from(home).join(".cache"),
        (None, None) => return Err("there is no home folder to keep it in".to_owned()),
    };
    let folder = cache.join("majordomo-s3").join(format!("{:016x}", hash.finish()));
    let program = folder.join("s3");
    if !program.exists() {
        build(&folder, &program)?;
    }
    Ok(program)
}

/// Several tests may build at once: each has a file of its own, and the last name wins.
fn build(folder: &Path, program: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let sources = tempfile::tempdir().map_err(|e| e.to_string())?;
    for (name, text) in SOURCES {
        std::fs::write(sources.path().join(name), text).map_err(|e| e.to_string())?;
    }
    let made = folder.join(format!("s3.{}", std::process::id()));
    let mut go = Command::new("go");
    go.args(["build", "-mod=readonly", "-trimpath", "-o"]).arg(&made).arg(".");
    go.current_dir(sources.path()).env("CGO_ENABLED", "0");
    let built = go.output().map_err(|e| format!("go: {e}"))?;
    if !built.status.success() {
        return Err(format!("go build: {}", String::from_utf8_lossy(&built.stderr)));
    }
    std::fs::rename(&made, program).map_err(|e| e.to_string())
}
