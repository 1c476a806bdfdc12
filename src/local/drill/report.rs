//! What a failover test comes to. Pure.

use super::history::Test;
use super::standing::{Fate, Replica, Standing, Watched};
use super::{DEADLINE, MAX_LOGS, name, problem};
use crate::table::{columns, plain};
use crate::verify::Verdict;

/// What is wrong as a whole. What was not seen to be right is unknown; what is wrong is worse than that.
pub(super) fn judge(standing: &Standing, lost: &Replica, watched: &[Watched], done: &mut Test) -> Verdict {
    let mut unknown = done.logs_unchecked + done.logs_missing + done.builds_failed > 0;
    if !lost.builds.is_empty() && standing.adopted_millis.is_none() {
        unknown = true;
        problem(
            done,
            &format!("the controller has noted no loss of {}: its builds may have ended before", lost.name),
        );
    }
    for waits in watched.iter().filter(|w| w.fate == Fate::Waits) {
        unknown = true;
        done.builds_waiting += 1;
        problem(
            done,
            &format!("{} has written nothing to its log since: it waits, or hangs", name(&waits.build)),
        );
    }
    if standing.left > 0 {
        problem(
            done,
            &format!("not adopted after {} s: {} of its builds", DEADLINE.as_secs(), standing.left),
        );
    }
    if standing.ready.is_none() {
        problem(done, &format!("{} is not ready again after {} s", lost.name, DEADLINE.as_secs()));
    }
    let wrong = standing.left > 0 || standing.ready.is_none() || done.defects > 0;
    let (verdict, outcome) = match (wrong, unknown) {
        (true, _) => (Verdict::Defects, "failed"),
        (false, true) => (Verdict::Unknown, "unknown"),
        (false, false) => (Verdict::Right, "passed"),
    };
    outcome.clone_into(&mut done.outcome);
    verdict
}

pub(super) fn told(done: &Test, lost: &Replica) -> String {
    let ready = match done.ready_millis {
        Some(ms) => format!("{} is ready again after {ms} ms", plain(&lost.name, 63)),
        None => format!("{} is not back", plain(&lost.name, 63)),
    };
    let mut logs = format!("{} checked, {} bytes", done.logs_checked, done.log_bytes);
    logs.push_str(&format!(", {} longer than before", done.logs_longer));
    if lost.builds.len() > MAX_LOGS {
        logs.push_str(&format!("; a sample of {}", lost.builds.len()));
    }
    for (count, what) in [
        (done.logs_uncompared, "could not be read before"),
        (done.logs_deleted, "deleted meanwhile"),
        (done.logs_unchecked, "not checked"),
    ] {
        if count > 0 {
            logs.push_str(&format!("; {count} {what}"));
        }
    }
    let defects = if done.defects == 0 { "none".to_owned() } else { done.defects.to_string() };
    let rows = [
        ("replica", ready),
        ("builds", builds(done)),
        ("logs", logs),
        ("defects", defects),
        ("outcome", done.outcome.clone()),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
    let problems = done.problems.iter().map(|problem| format!("\n{problem}"));
    columns(&rows) + &problems.collect::<String>()
}

fn builds(done: &Test) -> String {
    let after = |value: Option<u64>| value.map_or("not seen".to_owned(), |ms| format!("after {ms} ms"));
    if done.builds == 0 {
        return "none ran there".to_owned();
    }
    let (adopted, resumed) = (after(done.adopted_millis), after(done.resumed_millis));
    let mut text = format!("{}, the last one adopted {adopted}, resumed {resumed}", done.builds);
    for (count, what) in [
        (done.builds_waiting, "not seen to go on"),
        (done.builds_ended, "ended"),
        (done.builds_failed, "of these failed"),
    ] {
        if count > 0 {
            text.push_str(&format!("; {count} {what}"));
        }
    }
    text
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
