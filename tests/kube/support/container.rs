//! A container as this machine sees it: the processes in its control group, and nobody else's.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use rustix::process::Signal;
use serde_json::Value;

use super::kubectl::Kubectl;
use crate::common::processes::send;

/// How often the only container of a pod was started again.
pub(crate) fn restarts(kubectl: &Kubectl, pod: &str) -> u64 {
    let pod = kubectl.look(&["pod", pod]).unwrap_or_default();
    pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default()
}

/// Sends it to all processes of the only container of a pod; how many there were.
pub(crate) fn signal(kubectl: &Kubectl, pod: &str, signal: Signal) -> usize {
    let pod = kubectl.look(&["pod", pod]).unwrap_or_default();
    let processes = Container::of(&pod).map(|container| container.processes()).unwrap_or_default();
    processes.into_iter().filter(|pid| send(*pid, signal)).count()
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    id: String,
}

impl Container {
    /// The only one of a pod; nothing while it has none.
    pub(crate) fn of(pod: &Value) -> Option<Container> {
        let id = pod["status"]["containerStatuses"][0]["containerID"].as_str()?;
        Some(Container { id: id.rsplit('/').next()?.to_owned() })
    }

    /// Their pids.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| self.has(*pid)).collect()
    }

    fn has(&self, pid: u32) -> bool {
        // of a process that has just ended there is none
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups.lines().any(|group| group.rsplit('/').next() == Some(self.id.as_str()))
    }

    /// Sends it to all processes that are there.
    pub(crate) fn signal(&self, signal: Signal) {
        let sent = self.processes().into_iter().filter(|pid| send(*pid, signal)).count();
        assert!(sent > 0, "no process of {} is there", self.id);
    }

    /// All its processes stand still until the value is dropped.
    pub(crate) fn frozen(&self) -> Frozen<'_> {
        self.signal(Signal::STOP);
        Frozen(self)
    }
}

pub(crate) struct Frozen<'a>(&'a Container);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        for pid in self.0.processes() {
            send(pid, Signal::CONT);
        }
    }
}
