//! Processes as `/proc` shows them. A pid alone names nothing, for it is used again: a process is a pid with the time
//! of its start.

use std::fs;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::descriptor::readable;

/// How often a process is looked at where the kernel can't tell of its end.
const LOOK: Duration = Duration::from_millis(200);

/// One life of one process on this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Clock ticks since the boot.
    pub(crate) start: u64,
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) process: Process,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// It has ended, and its parent has not asked yet.
    pub(crate) dead: bool,
}

impl Stat {
    /// Reads a line of `/proc/PID/stat`. The name in parentheses may hold anything, also parentheses.
    pub(crate) fn parse(line: &str) -> Option<Stat> {
        let (pid, rest) = line.split_once(" (")?;
        let (_, rest) = rest.rsplit_once(") ")?;
        let mut fields = rest.split_ascii_whitespace();
        let dead = matches!(fields.next()?, "Z" | "X" | "x");
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let start = fields.nth(16)?.parse().ok()?;
        Some(Stat { process: Process { pid: pid.trim().parse().ok()?, start }, parent, group, dead })
    }

    pub(crate) fn of(pid: i32) -> Option<Stat> {
        Stat::parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
    }
}

impl Process {
    /// As `started` names it, with a newline.
    pub(crate) fn line(self) -> String {
        format!("{} {}\n", self.pid, self.start)
    }

    /// Reads what `line` has written; a line that was cut off names nobody.
    pub(crate) fn parse(line: &str) -> Option<Process> {
        let (pid, start) = line.strip_suffix('\n')?.split_once(' ')?;
        Some(Process { pid: pid.parse().ok()?, start: start.parse().ok()? })
    }

    pub(crate) fn alive(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.process == self && !stat.dead)
    }

    /// Sends a signal to this process and to no later one with its pid. `false`: it may not be signalled, for it is of
    /// another user, as one that `sudo` has started.
    #[must_use]
    pub(crate) fn signal(self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else { return true };
        let sent = match pidfd_open(pid, PidfdFlags::empty()) {
            // The descriptor is bound to the process that has the pid now, so looking after opening is no race.
            Ok(fd) if self.alive() => pidfd_send_signal(fd, signal),
            Err(Errno::NOSYS) if self.alive() => rustix::process::kill_process(pid, signal),
            Ok(_) | Err(_) => Ok(()),
        };
        sent != Err(Errno::PERM)
    }

    /// Asks it to end; the answer is that of `signal`.
    #[must_use]
    pub(crate) fn ask(self) -> bool {
        // A stopped process hears nothing before it goes on.
        self.signal(Signal::TERM) && self.signal(Signal::CONT)
    }
}

/// Whether something lives in the group that a process led which has ended. Its number may be used again by then, so this is
/// a reason to look and no more.
pub(crate) fn left(leader: Option<u32>) -> bool {
    let group = leader.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    group.is_some_and(|group| rustix::process::test_kill_process_group(group).is_ok())
}

/// Waits for the end of a process that is not a child.
pub(crate) async fn ended(process: Process) {
    let fd = Pid::from_raw(process.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    if !process.alive() {
        return;
    }
    if let Some(fd) = fd.and_then(|fd| readable(fd).ok())
        && fd.readable().await.is_ok()
    {
        return;
    }
    while process.alive() {
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_move_the_fields() {
        let line = "42 (a) b (c) S 7 40 40 0 -1 4194304 87 0 0 0 0 0 0 0 20 0 1 0 7199 2494464 181 1844674";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat.process, Process { pid: 42, start: 7199 });
        assert_eq!((stat.parent, stat.group, stat.dead), (7, 40, false));
        assert_eq!(Stat::parse("42 (x"), None);
    }

    #[test]
    fn a_process_of_another_user_is_told_from_one_that_is_gone() {
        let me = Stat::of(std::process::id().try_into().unwrap()).unwrap().process;
        assert!(me.signal(Signal::CONT));
        assert!(Process { start: me.start + 1, ..me }.signal(Signal::CONT), "it is gone, not another user's");
        // who is root may signal all
        if !rustix::process::geteuid().is_root() {
            assert!(!Stat::of(1).unwrap().process.signal(Signal::CONT));
        }
    }

    #[test]
    fn this_process_lives_and_one_with_another_start_does_not() {
        let me = Stat::of(std::process::id().try_into().unwrap()).unwrap().process;
        assert!(me.alive());
        assert_eq!(Process::parse(&me.line()), Some(me));
        assert_eq!(Process::parse("7 12"), None, "cut off");
        assert!(!Process { start: me.start + 1, ..me }.alive());
    }
}
