//! What the kernel says of a process: memory, time on a core, open files.

use std::path::PathBuf;
use std::time::Duration;

/// Ticks of a second in `/proc`: fixed on Linux, whatever the kernel's own are.
const TICKS: u64 = 100;

/// Resident memory in bytes.
pub(crate) fn memory(pid: u32) -> u64 {
    field(pid, "VmRSS:") * 1024
}

/// Of it in bytes, what is not of a file: pages of the program are shared by all processes that run it.
pub(crate) fn own_memory(pid: u32) -> u64 {
    field(pid, "RssAnon:") * 1024
}

fn field(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Time that it has had on a core.
pub(crate) fn busy(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 1000 / TICKS)
}

/// Time that all cores were busy since the start of the machine.
pub(crate) fn all_busy() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user, nice, system; then idle and waiting; then interrupts
    let busy: u64 =
        fields.iter().enumerate().filter(|(at, _)| matches!(at, 0..=2 | 5..=6)).map(|(_, t)| t).sum();
    Duration::from_millis(busy * 1000 / TICKS)
}

/// Open files.
pub(crate) fn files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Lets this process, and those that it starts, open as many files as they may. → how many
pub(crate) fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _as_it_was = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Processes on whose command line all these words stand, or begin one.
pub(crate) fn processes(words: &[&str]) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        words.iter().all(|word| line.split('\0').any(|said| said.starts_with(word)))
    };
    pids.filter(all).collect()
}

/// Bytes of all files below a folder.
pub(crate) fn size(folder: PathBuf) -> u64 {
    below(folder).0
}

/// All files below a folder.
pub(crate) fn count(folder: PathBuf) -> u64 {
    below(folder).1
}

fn below(folder: PathBuf) -> (u64, u64) {
    let (mut sum, mut count, mut left) = (0, 0, vec![folder]);
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => left.push(entry.path()),
                Ok(meta) => (sum, count) = (sum + meta.len(), count + 1),
                Err(_) => {}
            }
        }
    }
    (sum, count)
}
