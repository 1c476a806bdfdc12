//! What a build leaves behind at its end: processes that its steps have started and that outlived them. They are ended as
//! Jenkins' ProcessTreeKiller does it, unless they were told apart: by another `BUILD_ID` than that of the step, or by a
//! `JENKINS_NODE_COOKIE` (`dontKillMe`, as a rule).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tracing::info;

use super::process::Process;
use super::tree::{Census, Processes};

/// How long they may take to end when they are asked to.
const GRACE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
/// Between two looks at what was killed and does not end: each reads of every process of the machine.
pub(super) const SLOW: Duration = Duration::from_secs(1);
/// What lives for so long after it was killed waits for the kernel, and no signal helps.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Builds that seem to have left nothing are looked at together, so often: a look reads of every process of the machine.
pub(crate) const ROUND: Duration = Duration::from_secs(1);

/// Ends what carries a cookie that begins so. Done again, it ends what is there by then. Returns when nothing lives that it
/// may end, and when what it kills does not end.
pub(crate) async fn end_left(cookies: String, census: Arc<Census>) {
    let deadline = Instant::now() + GRACE;
    let (mut known, mut asked, mut foreign) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut pause = PAUSE;
    loop {
        let Some(all) = census.look().await else { return };
        let mut left = left(&all, &cookies, &mut known);
        drop(all);
        left.retain(|process| !foreign.contains(process));
        if left.is_empty() || stubborn(&left, deadline) {
            return;
        }
        let late = Instant::now() >= deadline;
        for process in left {
            let ours = match late {
                true => process.signal(Signal::KILL),
                false => !asked.insert(process) || process.ask(),
            };
            if !ours {
                foreign.insert(process);
            }
        }
        if late {
            pause = (pause * 2).min(SLOW);
        }
        tokio::time::sleep(pause).await;
    }
}

/// Whether what was killed from `since` on has lived for so long that it is given up, which is logged.
pub(super) fn stubborn(left: &[Process], since: Instant) -> bool {
    let given_up = since.elapsed() >= GIVE_UP;
    if given_up {
        let pids = left.iter().map(|process| process.pid.to_string()).collect::<Vec<_>>().join(", ");
        info!(pids, "processes of a build do not end though they were killed; they are left alone");
    }
    given_up
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
    fn what_does_not_end_a_minute_after_it_was_killed_is_given_up() {
        let left = [Process { pid: 7, start: 1 }];
        let now = Instant::now();
        assert!(!stubborn(&left, now));
        assert!(!stubborn(&left, now + GRACE), "it is not killed yet");
        let long_ago = now.checked_sub(GIVE_UP).unwrap();
        assert!(stubborn(&left, long_ago));
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
