//! A process that `up` started, or that an earlier `up` started and this one found. Found by their arguments, so that
//! there is no list that could be out of date.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};

use crate::Error;

/// Characters of what a process has said last.
const MAX_WORDS: usize = 500;
/// A log that is larger is put aside when its process is started.
const MAX_LOG: u64 = 16 * 1024 * 1024;

pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Means this very process, also when its number is given to another one.
    handle: AsyncFd<OwnedFd>,
    /// `None`: somebody else's child.
    child: Option<Child>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    /// `None`: killed by a signal, or not our child.
    pub(crate) code: Option<i32>,
    /// For people.
    pub(crate) how: String,
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> std::io::Result<Process> {
        let mut child = command.spawn()?;
        // it has not been waited for, so the number is its own
        let pid = child.id().ok_or_else(|| std::io::Error::other("it ended at once"))?;
        match handle(pid) {
            Ok(handle) => Ok(Process { pid, handle, child: Some(child) }),
            Err(error) => {
                // whoever is not watched must not run
                let _ended = child.start_kill();
                Err(error)
            }
        }
    }

    /// Ends when the process has; may be dropped and called again.
    pub(crate) async fn wait(&mut self) -> Exit {
        match &mut self.child {
            Some(child) => match child.wait().await {
                Ok(status) => Exit { code: status.code(), how: status.to_string() },
                Err(error) => Exit { code: None, how: error.to_string() },
            },
            None => {
                // readable once it has ended
                let _ = self.handle.readable().await;
                Exit { code: None, how: "ended".to_owned() }
            }
        }
    }

    /// Nothing happens when it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(self.handle.get_ref(), signal);
    }
}

/// Stopped by a signal: it answers nobody.
pub(crate) fn is_frozen(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map(|(_, rest)| rest);
    after_name.is_some_and(|rest| rest.starts_with(['T', 't']))
}

#[expect(
    deprecated,
    reason = "its hole is with types that give away another descriptor; `OwnedFd` never does"
)]
fn handle(pid: u32) -> std::io::Result<AsyncFd<OwnedFd>> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let number = number.ok_or(std::io::ErrorKind::InvalidInput)?;
    AsyncFd::new(pidfd_open(number, PidfdFlags::NONBLOCK)?)
}

/// The arguments of a process that may be one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) pid: u32,
    pub(crate) arguments: Vec<Vec<u8>>,
}

impl Running {
    /// The value after a flag.
    pub(crate) fn value(&self, flag: &str) -> Option<&OsStr> {
        let at = self.arguments.iter().position(|a| a.as_slice() == flag.as_bytes())?;
        self.arguments.get(at + 1).map(|value| OsStr::from_bytes(value))
    }

    fn is(&self, subcommand: &str) -> bool {
        self.arguments.get(1).is_some_and(|a| a.as_slice() == subcommand.as_bytes())
    }

    /// Takes it over, unless it has ended meanwhile.
    pub(crate) fn adopt(&self) -> Option<Process> {
        let process = Process { pid: self.pid, handle: handle(self.pid).ok()?, child: None };
        // the number may have been given away between the look and the handle; from now on it can't
        let again = arguments(self.pid)?;
        (again == self.arguments).then_some(process)
    }
}

/// Processes of this user that run `SUBCOMMAND … FLAG VALUE …`.
pub(crate) fn find(subcommand: &str, flag: &str, value: &Path) -> Vec<Running> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let me = rustix::process::geteuid().as_raw();
    let of_user = |entry: &fs::DirEntry| entry.metadata().is_ok_and(|m| m.uid() == me);
    let pids = entries.flatten().filter(of_user).filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some(Running { pid, arguments: arguments(pid)? }))
        .filter(|running| running.is(subcommand) && running.value(flag) == Some(value.as_os_str()))
        .collect()
}

/// The `up` that has this number, if it is one of this user.
pub(crate) fn find_up(pid: u32) -> Option<Process> {
    let running = Running { pid, arguments: arguments(pid)? };
    if running.is("up") { running.adopt() } else { None }
}

/// `None`: there is no such process, or only what is left of it.
fn arguments(pid: u32) -> Option<Vec<Vec<u8>>> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = line.strip_suffix(&[0]).unwrap_or(&line);
    (!line.is_empty()).then(|| line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect())
}

/// A command whose output goes to the log, that a Ctrl-C in this terminal does not reach, and that outlives `up`.
pub(crate) fn command(program: &Path, log: &Path) -> Result<Command, Error> {
    if fs::metadata(log).is_ok_and(|found| found.len() > MAX_LOG) {
        fs::rename(log, log.with_extension("log.1")).map_err(Error::io("rename", log))?;
    }
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(log);
    let output = opened.map_err(Error::io("open", log))?;
    let errors = output.try_clone().map_err(Error::io("open", log))?;
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
    Ok(command)
}

/// Bytes in a log so far.
pub(crate) fn length(log: &Path) -> u64 {
    fs::metadata(log).map_or(0, |found| found.len())
}

/// The last line of a log after its first `from` bytes, for a sentence.
pub(crate) fn last_words(log: &Path, from: u64) -> Option<String> {
    const TAIL: u64 = 4096;
    use std::io::{Read, Seek, SeekFrom};
    let mut file = fs::File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    // one that is shorter than it was is another one
    let from = if from > length { 0 } else { from };
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL).max(from))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let words = line.strip_prefix("majordomo: ").or(line.strip_prefix("Error: ")).unwrap_or(line);
    Some(words.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sh` called as our program is: `sh SUBCOMMAND --home DIR`, with the script at its standard input's place.
    fn sleeper(folder: &Path, subcommand: &str) -> Command {
        let script = folder.join(subcommand);
        fs::write(&script, "while :; do sleep 1; done").unwrap();
        let mut command = command(Path::new("/bin/sh"), &folder.join("x.log")).unwrap();
        command.current_dir(folder).arg(subcommand).arg("--home").arg(folder);
        command
    }

    #[tokio::test]
    async fn a_process_is_found_by_its_arguments_and_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut ours = Process::spawn(&mut sleeper(folder.path(), "replica")).unwrap();
        let found = loop {
            // until it has replaced the copy of this process
            let found = find("replica", "--home", folder.path());
            // and while it has no copy of its own that is about to become its `sleep`
            if found.iter().map(|f| f.pid).eq([ours.pid]) {
                break found;
            }
            tokio::task::yield_now().await;
        };
        assert!(find("replica", "--home", Path::new("/elsewhere")).is_empty());
        assert!(find("agent", "--home", folder.path()).is_empty());
        let mut adopted = found[0].adopt().unwrap();
        adopted.signal(Signal::STOP);
        while !is_frozen(adopted.pid) {
            tokio::task::yield_now().await;
        }
        adopted.signal(Signal::KILL);
        assert_eq!(adopted.wait().await.code, None);
        assert!(ours.wait().await.how.contains("signal: 9"));
        assert!(found[0].adopt().is_none());
    }

    #[test]
    fn the_last_line_of_a_log_is_what_a_process_said() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("x.log");
        assert_eq!(last_words(&log, 0), None);
        fs::write(&log, format!("{}\nmajordomo: the database refuses\n\n", "x".repeat(9_000))).unwrap();
        assert_eq!(last_words(&log, 7).as_deref(), Some("the database refuses"));
        assert_eq!(last_words(&log, length(&log)), None, "what another process said");
        assert_eq!(last_words(&log, 1 << 40).as_deref(), Some("the database refuses"), "another file");
    }
}
