//! The folder of a step: how its name is written, what its files mean, and the marks the agent leaves.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use remoting::ops::{Folder, StepState, step_state};

use super::process::Process;
use crate::home::make_private_dir;

/// Largest standard output that can be a result.
pub(crate) const MAX_STDOUT: u64 = 1024 * 1024;
/// How long a wrapper may take from making `started` to having written it.
const WRITING: Duration = Duration::from_secs(2);
/// Longest file name.
const MAX_FILE_NAME: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepFolder {
    path: PathBuf,
}

/// What a look at a folder tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) state: StepState,
    /// Who `started` names, when it lives.
    pub(crate) process: Option<Process>,
}

impl StepFolder {
    /// The folder of `step` among the steps of a build. Nothing when no folder can have such a name.
    pub(crate) fn new(steps: &Path, step: &str) -> Option<StepFolder> {
        let name = encode(step);
        let fits = !name.is_empty() && name.len() <= MAX_FILE_NAME;
        fits.then(|| StepFolder { path: steps.join(name) })
    }

    /// All folders of a build with the steps that they belong to.
    pub(crate) fn all(steps: &Path) -> Vec<(String, StepFolder)> {
        let entries = fs::read_dir(steps).into_iter().flatten().flatten();
        entries
            .filter_map(|e| Some((decode(e.file_name().to_str()?)?, StepFolder { path: e.path() })))
            .collect()
    }

    /// → whether it was made, so that nobody else can have anything in it
    pub(crate) fn make(&self) -> io::Result<bool> {
        if self.path.is_dir() {
            return Ok(false);
        }
        make_private_dir(&self.path).map(|()| true)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn script(&self) -> PathBuf {
        self.path.join("script")
    }

    /// Writes the script. In a folder that was there before, a wrapper that another life of this agent left may just be
    /// opening it: then it is replaced as a whole.
    pub(crate) fn write_script(&self, script: &str, fresh: bool) -> io::Result<()> {
        let path = if fresh { self.script() } else { self.path.join("script.new") };
        let mut open = OpenOptions::new();
        let mut file = open.write(true).create(true).truncate(true).mode(0o700).open(&path)?;
        file.write_all(script.as_bytes())?;
        drop(file);
        if fresh { Ok(()) } else { fs::rename(path, self.script()) }
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path.join("out")
    }

    pub(crate) fn append(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.path.join(name))
    }

    /// Bytes in the spool.
    pub(crate) fn spooled(&self) -> u64 {
        size(&self.out()).unwrap_or(0)
    }

    /// Bytes of captured standard output; nothing when it was not asked for.
    pub(crate) fn captured(&self) -> Option<u64> {
        size(&self.path.join("stdout"))
    }

    /// Takes the right to start, for ever, so that no wrapper gets it. → whether this call took it
    pub(crate) fn take_start(&self) -> io::Result<bool> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path.join("started")) {
            // Whole at once as nobody's, so that nobody waits for it to be written. On a full disk it stays empty.
            Ok(mut file) => file.write_all(b"-\n-\n").map(|()| true).or(Ok(true)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Says why there is not going to be an exit status. The first reason stays.
    pub(crate) fn mark_failed(&self, why: &str) -> io::Result<()> {
        let path = self.path.join("failed");
        if size(&path).is_some_and(|size| size > 0) { Ok(()) } else { fs::write(path, why) }
    }

    /// Says that the agent is about to end the step with a signal.
    pub(crate) fn mark_killed(&self, signal: i32) -> io::Result<()> {
        fs::write(self.path.join("killed"), format!("{signal}\n"))
    }

    /// What the files mean now. `boot` is the machine's present boot.
    pub(crate) fn look(&self, boot: &str) -> Look {
        let started = read(&self.path.join("started"));
        let named = started.as_deref().and_then(|text| parse_started(text, boot));
        // Before the exit status: a wrapper that ends in between has written it by then.
        let process = named.filter(|p| p.alive());
        let exit = read(&self.path.join("exit")).as_deref().and_then(parse_line);
        let failed = read(&self.path.join("failed")).filter(|why| !why.is_empty());
        let alive = process.is_some() || (exit.is_none() && failed.is_none() && self.being_written(&started));
        let state = match failed {
            Some(why) if !alive => StepState::Failed { why },
            Some(_) => StepState::Running,
            None => self.judge(&Folder { started: started.is_some(), exit, alive }),
        };
        Look { state, process }
    }

    fn judge(&self, folder: &Folder) -> StepState {
        match step_state(folder) {
            StepState::Lost { why } => {
                match read(&self.path.join("killed")).as_deref().and_then(parse_line) {
                    Some(signal) => StepState::Exited { status: 128 + signal, stdout: None },
                    None => StepState::Lost { why },
                }
            }
            StepState::Exited { status, .. } => StepState::Exited { status, stdout: self.stdout() },
            state @ (StepState::Accepted | StepState::Running | StepState::Failed { .. }) => state,
        }
    }

    /// `started` is made by one call and written by the next; between them nobody knows who made it.
    fn being_written(&self, started: &Option<String>) -> bool {
        let complete = started.as_deref().is_none_or(|text| text.lines().count() >= 2);
        let age = || fs::metadata(self.path.join("started")).and_then(|m| m.modified()).ok();
        !complete
            && age().is_some_and(|at| SystemTime::now().duration_since(at).unwrap_or_default() < WRITING)
    }

    fn stdout(&self) -> Option<String> {
        let file = File::open(self.path.join("stdout")).ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_STDOUT).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|m| m.len())
}

/// A number that was written whole.
fn parse_line(text: &str) -> Option<i32> {
    text.strip_suffix('\n')?.parse().ok()
}

/// Boot id and the process, a line each. A process of another boot is nobody.
fn parse_started(text: &str, boot: &str) -> Option<Process> {
    let (of, process) = text.split_once('\n')?;
    if of == boot { Process::parse(process) } else { None }
}

/// `/` is `_`, and what might mean something to a file system is `%XX`, so that no two steps share a folder.
fn encode(step: &str) -> String {
    let mut name = String::with_capacity(step.len());
    for (i, byte) in step.bytes().enumerate() {
        match byte {
            b'/' => name.push('_'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => name.push(char::from(byte)),
            b'.' if i > 0 => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

fn decode(name: &str) -> Option<String> {
    let mut step = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'_' => step.push(b'/'),
            b'%' => {
                let (code, tail) = tail.split_at_checked(2)?;
                step.extend(hex::decode(code).ok()?);
                rest = tail;
            }
            _ => step.push(byte),
        }
    }
    String::from_utf8(step).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_never_share_a_folder_and_each_is_found_again() {
        for step in ["7.1/0", "a_b", "a/b", "..", ".", "a/../b", "é%", "x/.y"] {
            let name = encode(step);
            assert_eq!(decode(&name).as_deref(), Some(step));
            assert!(!name.contains('/') && !name.starts_with('.'), "{name}");
        }
        assert_eq!(encode("7.1/0"), "7.1_0");
        assert_ne!(encode("a_b"), encode("a/b"));
        assert!(StepFolder::new(Path::new("/x"), "").is_none());
        assert!(StepFolder::new(Path::new("/x"), &"é".repeat(90)).is_none());
    }

    #[test]
    fn the_files_of_a_folder_say_what_became_of_the_step() {
        let dir = tempfile::tempdir().unwrap();
        let step = StepFolder::new(dir.path(), "1").unwrap();
        assert!(step.make().unwrap() && !step.make().unwrap());
        let state = || step.look("boot").state;
        assert_eq!(state(), StepState::Accepted);
        let me =
            super::super::process::Stat::of(std::process::id().try_into().unwrap()).unwrap().process.line();
        fs::write(step.path.join("started"), "").unwrap();
        assert_eq!(state(), StepState::Running, "being written");
        fs::write(step.path.join("started"), format!("boot\n{me}")).unwrap();
        assert_eq!(state(), StepState::Running);
        fs::write(step.path.join("started"), format!("older\n{me}")).unwrap();
        assert!(matches!(state(), StepState::Lost { .. }));
        step.mark_killed(9).unwrap();
        assert_eq!(state(), StepState::Exited { status: 137, stdout: None });
        fs::write(step.path.join("stdout"), "v1\n").unwrap();
        fs::write(step.path.join("exit"), "3\n").unwrap();
        assert_eq!(state(), StepState::Exited { status: 3, stdout: Some("v1\n".into()) });
        step.mark_failed("too long").unwrap();
        step.mark_failed("later").unwrap();
        assert_eq!(state(), StepState::Failed { why: "too long".into() });
    }

    #[test]
    fn the_right_to_start_is_given_once() {
        let dir = tempfile::tempdir().unwrap();
        let step = StepFolder::new(dir.path(), "1").unwrap();
        step.make().unwrap();
        assert!(step.take_start().unwrap());
        assert!(!step.take_start().unwrap());
    }
}
