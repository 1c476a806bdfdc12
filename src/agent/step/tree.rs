//! Ending a step with all it started: its process group, its descendants, and everything that carries its cookie,
//! also what made a session of its own. A process that left the tree before, with an emptied environment, is not found.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::watch;
use tracing::warn;

use super::folder::StepFolder;
use super::process::{Process, Stat};
use super::wrapper::COOKIE;

const TERM: i32 = 15;
const KILL: i32 = 9;
/// Pause between two looks at the tree: short at first, for most steps end at once.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How long the wrapper may take to write the exit status of a program that was killed.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What belongs to a step.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) folder: StepFolder,
    pub(crate) cookie: String,
    /// The wrapper, which leads the group. Nothing until it is known.
    pub(crate) wrapper: Option<Process>,
}

impl Tree {
    /// Everything of the tree that lives. `known` is what was found before: its children belong to it as well.
    fn members(&self, known: &mut HashSet<Process>) -> Vec<Process> {
        let all = all_processes();
        let me = i32::try_from(std::process::id()).unwrap_or(0);
        let alive = |p: &Process| all.iter().any(|stat| stat.process == *p && !stat.dead);
        // A group's number may be used again once its leader is gone.
        let group = self.wrapper.filter(alive).map(|p| p.pid);
        let entry = format!("{COOKIE}={}", self.cookie);
        known.retain(|p| all.iter().any(|stat| stat.process == *p));
        // Nothing of a step is older than its wrapper: on a busy machine that spares most of the looking.
        let since = self.wrapper.map_or(0, |wrapper| wrapper.start);
        for stat in all.iter().filter(|stat| stat.process.pid != me && stat.process.start >= since) {
            if Some(stat.group) == group || carries(stat.process.pid, entry.as_bytes()) {
                known.insert(stat.process);
            }
        }
        loop {
            let pids: HashSet<i32> = known.iter().map(|p| p.pid).collect();
            let before = known.len();
            let children = all.iter().filter(|s| pids.contains(&s.parent) && s.process.pid != me);
            known.extend(children.map(|s| s.process));
            if known.len() == before {
                break;
            }
        }
        all.iter().filter(|s| !s.dead && known.contains(&s.process)).map(|s| s.process).collect()
    }
}

fn all_processes() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| Stat::of(e.file_name().to_str()?.parse().ok()?)).collect()
}

fn carries(pid: i32, entry: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| env.split(|b| *b == 0).any(|e| e == entry))
}

/// Asks the tree to end, and kills what is left at the deadline. Returns when nothing of it lives.
pub(crate) async fn end_tree(tree: Tree, deadline: watch::Receiver<Instant>) {
    let mut known = HashSet::new();
    let mut asked = HashSet::new();
    let mut pause = FIRST_PAUSE;
    let mut alone_since = None;
    let mut killing = false;
    loop {
        let looked = tokio::task::spawn_blocking({
            let (tree, mut known) = (tree.clone(), std::mem::take(&mut known));
            move || (tree.members(&mut known), known)
        });
        let Ok((members, seen)) = looked.await else { return };
        known = seen;
        if members.is_empty() {
            return;
        }
        if Instant::now() < *deadline.borrow() {
            for process in members.iter().filter(|p| asked.insert(**p)) {
                process.signal(Signal::TERM);
                // A stopped process hears nothing before it goes on.
                process.signal(Signal::CONT);
            }
        } else {
            if !std::mem::replace(&mut killing, true) {
                mark(&tree.folder, KILL);
                pause = FIRST_PAUSE;
            }
            let alone = members.iter().all(|p| Some(*p) == tree.wrapper);
            let waited = alone_since.get_or_insert_with(Instant::now).elapsed() > LAST_WORDS;
            if !alone {
                alone_since = None;
            }
            for process in members.iter().filter(|p| Some(**p) != tree.wrapper || (alone && waited)) {
                process.signal(Signal::KILL);
            }
        }
        let left = deadline.borrow().saturating_duration_since(Instant::now());
        tokio::time::sleep(if killing || left.is_zero() { pause } else { pause.min(left) }).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Before any signal: an end without exit status is then known to be ours.
pub(crate) fn mark_term(folder: &StepFolder) {
    mark(folder, TERM);
}

fn mark(folder: &StepFolder, signal: i32) {
    if let Err(e) = folder.mark_killed(signal) {
        warn!("mark {} as killed: {e}", folder.path().display());
    }
}
