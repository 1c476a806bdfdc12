//! Processes that a test started, and theirs: found by a mark in their environment, ended by their numbers.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Environment variable that all descendants inherit; its value is the folder of the test. Not `MAJORDOMO_…`: agents and
/// steps don't get those.
const MARK: &str = "TEST_OF_MAJORDOMO";

/// One that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) arguments: Vec<String>,
}

impl Process {
    pub(crate) fn is(&self, subcommand: &str) -> bool {
        self.arguments.get(1).is_some_and(|a| a == subcommand)
    }

    /// The value after a flag.
    pub(crate) fn value(&self, flag: &str) -> Option<&str> {
        let at = self.arguments.iter().position(|a| a == flag)?;
        self.arguments.get(at + 1).map(String::as_str)
    }

    pub(crate) fn lives(&self) -> bool {
        arguments(self.pid).as_ref() == Some(&self.arguments)
    }

    /// Whether nothing of it is left but its exit status. One that was killed has neither arguments nor environment from the
    /// moment its first thread is gone; its sockets it holds until all of them are.
    pub(crate) fn has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).map_or(0, Iterator::count);
        stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X'])) && threads <= 1
    }

    /// Whether it was there to get the signal.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        self.lives() && send(self.pid, signal)
    }
}

pub(crate) fn send(pid: u32, signal: Signal) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

pub(crate) fn mark(command: &mut Command, root: &Path) {
    command.env(MARK, root);
}

/// All that were started under the mark and live; zombies don't count.
pub(crate) fn marked(root: &Path) -> Vec<Process> {
    let wanted = format!("{MARK}={}", root.display()).into_bytes();
    let marked = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted)
    };
    pids().filter(marked).filter_map(|pid| Some(Process { pid, arguments: arguments(pid)? })).collect()
}

/// Kills all of them, and what they start meanwhile. Gives those that could not be killed.
pub(crate) fn kill_all(root: &Path) -> Vec<Process> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left = marked(root);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        for process in &left {
            send(process.pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A folder of this test process; what earlier ones left whose process is gone is ended and deleted.
pub(crate) fn folder(name: &str) -> PathBuf {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    sweep();
    let path = std::env::temp_dir().join(format!("majordomo-test-{}-{count}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path.canonicalize().unwrap()
}

fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix("majordomo-test-").and_then(|rest| rest.split('-').next()) else {
            continue;
        };
        let kept = entry.path().join("kept").exists();
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() && !kept {
            kill_all(&entry.path());
            let _gone = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Nothing for one that has ended.
fn arguments(pid: u32) -> Option<Vec<String>> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = line.strip_suffix(&[0]).unwrap_or(&line);
    let split = || line.split(|byte| *byte == 0).map(|a| String::from_utf8_lossy(a).into_owned());
    (!line.is_empty()).then(|| split().collect())
}
