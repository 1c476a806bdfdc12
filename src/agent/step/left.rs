//! What a build leaves behind at its end: processes that its steps have started and that outlived them. They are ended as
//! Jenkins' ProcessTreeKiller does it, unless they were told apart: by another `BUILD_ID` than that of the step, or by a
//! `JENKINS_NODE_COOKIE` (`dontKillMe`, as a rule).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::process::Process;
use super::tree::{Census, Processes};

/// How long they may take to end when they are asked to.
const GRACE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
/// Builds that seem to have left nothing are looked at together, so often: a look reads of every process of the machine.
pub(crate) const ROUND: Duration = Duration::from_secs(1);

/// Ends what carries a cookie that begins so. Done again, it ends what is there by then. Returns when nothing lives.
pub(crate) async fn end_left(cookies: String, census: Arc<Census>) {
    let deadline = Instant::now() + GRACE;
    let (mut known, mut asked) = (HashSet::new(), HashSet::new());
    loop {
        let Some(all) = census.look().await else { return };
        let left = left(&all, &cookies, &mut known);
        drop(all);
        if left.is_empty() {
            return;
        }
        let late = Instant::now() >= deadline;
        for process in left {
            if late {
                process.signal(Signal::KILL);
            } else if asked.insert(process) {
                process.signal(Signal::TERM);
                process.signal(Signal::CONT);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Those that carry such a cookie, and what they have started; but none that was told apart, and nothing below it. `known` is
/// what was found before.
fn left(all: &Processes, cookies: &str, known: &mut HashSet<Process>) -> Vec<Process> {
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let ends = |process: &Process| process.pid != me && !all.stays(*process);
    let carriers = all.carriers().filter(|(cookie, _)| cookie.starts_with(cookies.as_bytes()));
    known.retain(|process| all.alive(*process));
    known.extend(carriers.flat_map(|(_, carriers)| carriers).copied().filter(ends));
    let mut unread: Vec<Process> = known.iter().copied().collect();
    while let Some(parent) = unread.pop() {
        unread.extend(all.children(parent).filter(|child| ends(child) && known.insert(**child)));
    }
    known.iter().copied().filter(|process| all.alive(*process)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::process::Stat;
    use super::*;

    fn found(rows: &[(i32, i32, &str)]) -> Vec<i32> {
        let mut all = Processes::default();
        for (pid, parent, environ) in rows {
            let process = Process { pid: *pid, start: 1 };
            let stat = Stat { process, parent: *parent, group: *pid, dead: false };
            all.add(stat, environ.replace(' ', "\0").into_bytes());
        }
        let mut pids: Vec<i32> =
            left(&all, "/w/7/", &mut HashSet::new()).iter().map(|process| process.pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn what_a_build_has_left_is_found_and_nothing_of_another_one() {
        let env = "BUILD_ID=3 MAJORDOMO_BUILD_ID=3 MAJORDOMO_STEP=";
        let of = |cookie: &str| format!("{env}{cookie}");
        assert_eq!(
            found(&[
                (10, 1, &of("/w/7/1")),
                (11, 10, "PATH=/bin"),
                (12, 1, &of("/w/7/2.0/4")),
                (20, 1, &of("/w/77/1")),
                (21, 1, &of("/w/8/1")),
                (22, 1, &of("/other/w/7/1")),
                (23, 1, "PATH=/bin"),
            ]),
            [10, 11, 12]
        );
    }

    #[test]
    fn a_process_that_was_told_apart_stays_with_all_below_it() {
        let cookie = "MAJORDOMO_STEP=/w/7/1 MAJORDOMO_BUILD_ID=3";
        assert_eq!(
            found(&[
                (10, 1, &format!("BUILD_ID=dontKillMe {cookie}")),
                (11, 10, "PATH=/bin"),
                (12, 1, &format!("BUILD_ID=3 JENKINS_NODE_COOKIE=dontKillMe {cookie}")),
                (13, 1, &format!("BUILD_ID=3 {cookie}")),
                (14, 13, &format!("BUILD_ID=4 {cookie}")),
                // it has unset it, which is no word for staying
                (15, 1, cookie),
            ]),
            [13, 15]
        );
    }
}
