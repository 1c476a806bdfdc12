//! Ending a step with all it started: its process group, its descendants, and everything that carries its cookie,
//! also what made a session of its own. A process that left the tree before, with an emptied environment, is not found.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::{Mutex, watch};
use tracing::warn;

use super::folder::StepFolder;
use super::left::{SLOW, stubborn};
use super::process::{Process, Stat};
use super::wrapper::{BUILD_ID, COOKIE};

const TERM: i32 = 15;
const KILL: i32 = 9;
/// Pause between two looks at the tree: short at first, for most steps end at once.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How long the wrapper may take to write the exit status of a program that was killed.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What belongs to a step.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) folder: StepFolder,
    pub(crate) cookie: String,
    /// The wrapper, which leads the group. Nothing until it is known.
    pub(crate) wrapper: Option<Process>,
}

impl Tree {
    /// Everything of the tree that lives. `known` is what was found before: its children belong to it as well.
    fn members(&self, all: &Processes, known: &mut HashSet<Process>) -> Vec<Process> {
        let me = i32::try_from(std::process::id()).unwrap_or(0);
        // A group's number may be used again once its leader is gone.
        let group = self.wrapper.filter(|wrapper| all.alive(*wrapper)).map(|wrapper| wrapper.pid);
        let group = group.and_then(|pid| all.groups.get(&pid)).into_iter().flatten();
        let carriers = all.carriers.get(self.cookie.as_bytes()).into_iter().flatten();
        known.retain(|process| all.dead.contains_key(process));
        known.extend(group.chain(carriers).filter(|process| process.pid != me));
        let mut unread: Vec<Process> = known.iter().copied().collect();
        while let Some(parent) = unread.pop() {
            let children = all.children.get(&parent.pid).into_iter().flatten();
            unread.extend(children.filter(|child| child.pid != me && known.insert(**child)));
        }
        let mut members: Vec<Process> = known.iter().copied().filter(|process| all.alive(*process)).collect();
        // Parents begin before their children. A shell that is told first runs its trap; otherwise it may see its child end
        // before, and end itself for that (`set -e`).
        members.sort_unstable_by_key(|process| (process.start, process.pid));
        members
    }
}

/// The processes of this machine at one time.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// Every process, and whether it has ended without being asked for.
    dead: HashMap<Process, bool>,
    groups: HashMap<i32, Vec<Process>>,
    children: HashMap<i32, Vec<Process>>,
    /// Those with a cookie in their environment, by the cookie.
    carriers: HashMap<Vec<u8>, Vec<Process>>,
    /// Those that are not to end with their build.
    staying: HashSet<Process>,
}

/// Set otherwise than the agent has it, this says that a process is not to end with its build.
const NODE_COOKIE: &str = "JENKINS_NODE_COOKIE";

impl Processes {
    fn look() -> Processes {
        let mut all = Processes::default();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(stat) = pid.and_then(Stat::of) {
                all.add(stat, fs::read(format!("/proc/{}/environ", stat.process.pid)).unwrap_or_default());
            }
        }
        all
    }

    pub(super) fn add(&mut self, stat: Stat, environ: Vec<u8>) {
        let process = stat.process;
        self.dead.insert(process, stat.dead);
        self.groups.entry(stat.group).or_default().push(process);
        self.children.entry(stat.parent).or_default().push(process);
        let var = |name: &str| {
            let mut all = environ.split(|byte| *byte == 0);
            all.find_map(|var| var.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        };
        let Some(cookie) = var(COOKIE) else { return };
        self.carriers.entry(cookie.to_vec()).or_default().push(process);
        let other_id = var("BUILD_ID").is_some_and(|id| Some(id) != var(BUILD_ID));
        let own = std::env::var_os(NODE_COOKIE);
        let told_apart =
            var(NODE_COOKIE).is_some_and(|cookie| own.is_none_or(|own| own.as_bytes() != cookie));
        if other_id || told_apart {
            self.staying.insert(process);
        }
    }

    pub(super) fn carriers(&self) -> impl Iterator<Item = (&Vec<u8>, &Vec<Process>)> {
        self.carriers.iter()
    }

    pub(super) fn children(&self, parent: Process) -> impl Iterator<Item = &Process> {
        self.children.get(&parent.pid).into_iter().flatten()
    }

    pub(super) fn stays(&self, process: Process) -> bool {
        self.staying.contains(&process)
    }

    pub(super) fn alive(&self, process: Process) -> bool {
        self.dead.get(&process) == Some(&false)
    }
}

/// Looks at the processes of this machine for all trees that are being ended: however many these are, one look at a
/// time serves all that wait for one.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// The last look, and when it began.
    last: Mutex<Option<(Instant, Arc<Processes>)>>,
}

impl Census {
    /// A look that began after this was called. Nothing, should the runtime be shutting down.
    pub(super) async fn look(&self) -> Option<Arc<Processes>> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((_, all)) = last.as_ref().filter(|(begun, _)| *begun >= asked) {
            return Some(all.clone());
        }
        let begun = Instant::now();
        let all = Arc::new(tokio::task::spawn_blocking(Processes::look).await.ok()?);
        *last = Some((begun, all.clone()));
        Some(all)
    }
}

/// Asks the tree to end, and kills what is left at the deadline. Returns when nothing of it lives that may be ended, and when
/// what was killed does not end.
pub(crate) async fn end_tree(tree: Tree, census: Arc<Census>, deadline: watch::Receiver<Instant>) {
    let (mut known, mut asked, mut foreign) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut pause = FIRST_PAUSE;
    let mut alone_since = None;
    let mut killing: Option<Instant> = None;
    loop {
        let Some(all) = census.look().await else { return };
        let mut members = tree.members(&all, &mut known);
        drop(all);
        members.retain(|process| !foreign.contains(process));
        if members.is_empty() {
            return;
        }
        if killing.is_some_and(|since| stubborn(&members, since)) {
            // without it the step has ended, whatever else of it stays
            let _ended = tree.wrapper.map(|wrapper| wrapper.signal(Signal::KILL));
            return;
        }
        if Instant::now() < *deadline.borrow() {
            for process in members.iter().filter(|p| asked.insert(**p)) {
                if !process.ask() {
                    foreign.insert(*process);
                }
            }
        } else {
            if killing.is_none() {
                killing = Some(Instant::now());
                mark(&tree.folder, KILL);
                pause = FIRST_PAUSE;
            }
            let alone = members.iter().all(|p| Some(*p) == tree.wrapper);
            let waited = alone_since.get_or_insert_with(Instant::now).elapsed() > LAST_WORDS;
            if !alone {
                alone_since = None;
            }
            for process in members.iter().filter(|p| Some(**p) != tree.wrapper || (alone && waited)) {
                if !process.signal(Signal::KILL) {
                    foreign.insert(*process);
                }
            }
        }
        let left = deadline.borrow().saturating_duration_since(Instant::now());
        tokio::time::sleep(if killing.is_some() || left.is_zero() { pause } else { pause.min(left) }).await;
        let longest = if killing.is_some_and(|since| since.elapsed() > SLOW) { SLOW } else { LONGEST_PAUSE };
        pause = (pause * 2).min(longest);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32) -> Process {
        Process { pid, start: 100 }
    }

    /// Processes as (pid, parent, group, dead, cookie).
    fn processes(rows: &[(i32, i32, i32, bool, &str)]) -> Processes {
        let mut all = Processes::default();
        for (pid, parent, group, dead, cookie) in rows {
            let stat = Stat { process: process(*pid), parent: *parent, group: *group, dead: *dead };
            all.add(stat, format!("HOME=/\0{COOKIE}={cookie}\0").into_bytes());
        }
        all
    }

    fn members(tree: &Tree, all: &Processes, known: &mut HashSet<Process>) -> Vec<i32> {
        tree.members(all, known).iter().map(|process| process.pid).collect()
    }

    #[test]
    fn a_tree_is_its_group_its_descendants_and_what_carries_its_cookie() {
        let folder = StepFolder::new(std::path::Path::new("/nowhere"), "0").unwrap();
        let tree = Tree { folder, cookie: "c".to_owned(), wrapper: Some(process(10)) };
        let mut known = HashSet::new();
        let all = processes(&[
            (10, 1, 10, false, ""),
            (11, 10, 10, false, ""),
            (12, 11, 12, false, ""),
            (13, 12, 12, true, ""),
            (14, 1, 14, false, "c"),
            (15, 14, 15, false, ""),
            (20, 1, 20, false, "cc"),
            (21, 1, 21, false, ""),
        ]);
        assert_eq!(members(&tree, &all, &mut known), [10, 11, 12, 14, 15]);

        // The wrapper has gone, and its number leads another group; what was found before has children still.
        let mut other = processes(&[(12, 1, 12, false, ""), (16, 12, 16, false, "")]);
        let stat = |pid, start| Stat { process: Process { pid, start }, parent: 1, group: 10, dead: false };
        other.add(stat(10, 900), Vec::new());
        other.add(stat(17, 901), Vec::new());
        assert_eq!(members(&tree, &other, &mut known), [12, 16]);
    }

    #[test]
    fn parents_are_told_before_their_children_also_when_numbers_begin_again() {
        let folder = StepFolder::new(std::path::Path::new("/nowhere"), "0").unwrap();
        let tree = Tree { folder, cookie: "c".to_owned(), wrapper: None };
        let mut all = Processes::default();
        for (pid, parent, start) in [(7, 5, 102), (5, 32_000, 101), (32_000, 31_999, 100), (31_999, 1, 100)] {
            let stat = Stat { process: Process { pid, start }, parent, group: pid, dead: false };
            all.add(stat, format!("{COOKIE}=c\0").into_bytes());
        }
        assert_eq!(members(&tree, &all, &mut HashSet::new()), [31_999, 32_000, 5, 7]);
    }

    #[tokio::test]
    async fn one_look_serves_all_who_wait_and_none_who_comes_later() {
        let census = Census::default();
        let all = futures_util::future::join_all((0..100).map(|_| census.look())).await;
        let looks: HashSet<_> = all.iter().flatten().map(Arc::as_ptr).collect();
        assert!(looks.len() <= 2, "{} looks", looks.len());
        let later = census.look().await.unwrap();
        assert!(!looks.contains(&Arc::as_ptr(&later)), "it began before it was asked for");
    }
}
