//! `majordomo failover-test`: kills a replica of this machine as a crash would, waits until the others have taken over what
//! it did, and has the logs checked that it wrote.

mod history;
mod standing;

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hyper::Method;
use model::JobName;
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use tokio::time::{sleep, timeout};

use crate::process::{Process, find, find_up};
use crate::record::ReplicaRecord;
use crate::table::{columns, now, plain, send_within};
use crate::up::Say;
use crate::verify::{Unchecked, Verdict, build_path, check, line};
use crate::whom::Whom;
use crate::{Error, Paths, UpRecord};

pub use history::failover_history;
use history::{MAX_PROBLEMS, MAX_TEXT, Test};
use standing::{Build, Replica, Seen, Standing, nobodys, pick, sample};

const LOOK: Duration = Duration::from_millis(200);
/// One request while replicas come and go.
const ANSWER: Duration = Duration::from_secs(5);
/// Most time from the kill until all is well again.
const DEADLINE: Duration = Duration::from_secs(180);
/// How long a killed process may take to end.
const ENDED: Duration = Duration::from_secs(10);
/// Most logs that are checked.
const MAX_LOGS: usize = 100;
/// After that time no other one is begun.
const ALL_LOGS: Duration = Duration::from_secs(30 * 60);
/// How often a replica that checks others already is asked again, and how long after.
const TRIES: usize = 30;
const PAUSE: Duration = Duration::from_secs(1);
/// Builds that are asked for in one look whether they have ended.
const MAX_ASKED: usize = 50;
/// What `replicas/api/json` is asked for; named, lists come whole.
const TREE: &str = "/replicas/api/json?tree=replicas[name,state,incarnation,pid,builds[job,number]],\
                    failovers[incarnation,adoptedMillis,resumedMillis]";

pub struct FailoverTest<'a> {
    pub home: &'a Path,
    /// `None`: the one with most builds.
    pub replica: Option<&'a str>,
    /// Asked before anything is killed, with what will be done.
    pub sure: &'a dyn Fn(&str) -> Result<bool, Error>,
}

/// Runs the test; gives what is to be told at its end.
pub async fn failover_test(
    test: FailoverTest<'_>,
    whom: &Whom,
    say: &Say,
) -> Result<(String, Verdict), Error> {
    let home = std::fs::canonicalize(test.home).map_err(Error::io("look at", test.home))?;
    let paths = Paths::new(home);
    let nobody = || Error::Refused(format!("no `majordomo up` runs on {}", paths.root().display()));
    let up = UpRecord::read(&paths.up_record())?.ok_or_else(nobody)?;
    let _up = find_up(up.pid).ok_or_else(nobody)?;
    let _alone = lock(&paths)?;

    let seen = look(whom).await?;
    let all: usize = seen.replicas.iter().map(|r| r.builds.len()).sum();
    let picked = pick(&seen.replicas, test.replica)?;
    process_of(&paths, picked)?;
    let (name, pid, drives) = (plain(&picked.name, 63), picked.pid, picked.builds.len());
    let plan = match drives {
        0 => format!("{name} (process {pid}) drives no build: it is killed, and only its return is measured"),
        _ => format!("{name} (process {pid}) drives {drives} of {all} running builds: it is killed"),
    };
    if !(test.sure)(&plan)? {
        return Err(Error::Refused("nothing was killed".to_owned()));
    }
    let (lost, watched) = note(whom, &picked.name).await?;
    let mut process = process_of(&paths, &lost)?;
    let (at, began) = (now(), Instant::now());
    process.signal(Signal::KILL);
    if timeout(ENDED, process.wait()).await.is_err() {
        return Err(Error::Replica(format!("{name} does not end although it was sent SIGKILL")));
    }
    say(&format!("{name} is killed; waiting until others have adopted its builds and it is back"));

    let standing = follow(whom, &lost, began).await;
    let mut done = Test {
        at,
        replica: lost.name.clone(),
        incarnation: lost.incarnation,
        builds: lost.builds.len() as u64,
        adopted_millis: standing.adopted_millis,
        resumed_millis: standing.resumed_millis,
        ready_millis: standing.ready.map(|ready| u64::try_from(ready.as_millis()).unwrap_or(u64::MAX)),
        ..Test::default()
    };
    if !watched.is_empty() {
        say(&format!("checking {} of {} logs", watched.len(), lost.builds.len()));
    }
    check_logs(whom, &watched, &mut done).await;
    let verdict = judge(&standing, &lost, &mut done);
    history::add(&paths, &done)?;
    Ok((told(&done, &lost), verdict))
}

/// One test at a time: two would kill two replicas.
fn lock(paths: &Paths) -> Result<File, Error> {
    let path = paths.failover_lock();
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(Error::io("open", &path))?;
    let held = flock(&file, FlockOperation::NonBlockingLockExclusive);
    held.map_err(|_| Error::Refused("another failover test runs on this home".to_owned()))?;
    Ok(file)
}

async fn look(whom: &Whom) -> Result<Seen, Error> {
    let answer = send_within(whom, Method::GET, TREE, ANSWER).await?;
    if answer.status != 200 {
        return Err(Error::Refused(format!("{} answers with status {}", whom.url, answer.status)));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|e| Error::Refused(format!("the answer is not that of a Majordomo controller: {e}")))
}

/// The process of that replica and no other one: its record, its arguments and the controller agree.
fn process_of(paths: &Paths, replica: &Replica) -> Result<Process, Error> {
    let name = &replica.name;
    let strange = || {
        let place = paths.root().display();
        Error::Refused(format!("{name} is no process of this user on this machine that serves {place}"))
    };
    let record = ReplicaRecord::read(&paths.replica_record(name)).ok_or_else(strange)?;
    if (record.pid, record.incarnation) != (replica.pid, replica.incarnation) {
        return Err(Error::Refused(format!("{name} is being replaced just now; try again")));
    }
    let found = find("replica", "--home", paths.root()).into_iter();
    let mut its =
        found.filter(|p| p.pid == record.pid && p.value("--name").is_some_and(|n| n == name.as_str()));
    its.next().and_then(|running| running.adopt()).ok_or_else(strange)
}

/// What the replica drives at the last moment, and how long the logs are that will be checked.
async fn note(whom: &Whom, name: &str) -> Result<(Replica, Vec<(Build, u64)>), Error> {
    let seen = look(whom).await?;
    let lost = pick(&seen.replicas, Some(name))?.clone();
    let mut watched = Vec::new();
    for build in sample(&lost.builds, MAX_LOGS) {
        let Ok(job) = JobName::parse(&build.job) else { continue };
        let path = build_path(&job, &build.number.to_string()) + "/logText/progressiveText";
        let answer = send_within(whom, Method::HEAD, &path, ANSWER).await?;
        watched.push((build, answer.text_size.unwrap_or_default()));
    }
    Ok((lost, watched))
}

/// Looks until all is well, or the time is over. What can't be asked just now is asked again.
async fn follow(whom: &Whom, lost: &Replica, began: Instant) -> Standing {
    let mut standing = Standing::default();
    let mut over = HashSet::new();
    while began.elapsed() < DEADLINE {
        if let Ok(seen) = look(whom).await {
            let unknown = nobodys(lost, &seen).into_iter().filter(|b| !over.contains(*b));
            let asked: Vec<&Build> = unknown.take(MAX_ASKED).collect();
            for build in asked {
                if ended(whom, build).await {
                    over.insert(build.clone());
                }
            }
            standing = standing.next(lost, &seen, &over, began.elapsed());
            if standing.over(lost, began.elapsed()) {
                break;
            }
        }
        sleep(LOOK).await;
    }
    standing
}

/// Whether the build has ended for sure, or was deleted.
async fn ended(whom: &Whom, build: &Build) -> bool {
    let Ok(job) = JobName::parse(&build.job) else { return false };
    let path = build_path(&job, &build.number.to_string()) + "/api/json?tree=building";
    let Ok(answer) = send_within(whom, Method::GET, &path, ANSWER).await else { return false };
    let shown: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    answer.status == 404 || answer.status == 200 && shown["building"] == false
}

/// One after the other, until the time for them is over.
async fn check_logs(whom: &Whom, watched: &[(Build, u64)], done: &mut Test) {
    let began = Instant::now();
    for (n, (build, before)) in watched.iter().enumerate() {
        if began.elapsed() > ALL_LOGS {
            done.logs_unchecked += (watched.len() - n) as u64;
            let minutes = ALL_LOGS.as_secs() / 60;
            return problem(
                done,
                &format!("the logs took more than {minutes} min: the rest was not checked"),
            );
        }
        check_log(whom, build, *before, done).await;
    }
}

async fn check_log(whom: &Whom, build: &Build, before: u64, done: &mut Test) {
    let name = format!("{} #{}", plain(&build.job, MAX_TEXT), build.number);
    let checked = match JobName::parse(&build.job) {
        Ok(job) => patiently(whom, &job, build.number).await,
        Err(error) => Err(Unchecked::Failed(Error::Refused(error.to_string()))),
    };
    match checked {
        Ok(checked) => {
            done.logs_checked += 1;
            done.log_bytes += checked.bytes;
            done.defects += checked.defect_count;
            if let Some(first) = checked.defects.first() {
                problem(done, &format!("{name} has {} defects: {}", checked.defect_count, line(first)));
            }
            match checked.bytes.cmp(&before) {
                std::cmp::Ordering::Less => {
                    done.defects += 1;
                    let bytes = checked.bytes;
                    problem(done, &format!("{name} had a log of {before} bytes and now has {bytes}"));
                }
                std::cmp::Ordering::Equal => {}
                std::cmp::Ordering::Greater => done.logs_longer += 1,
            }
        }
        Err(Unchecked::Gone) => done.logs_deleted += 1,
        Err(Unchecked::Busy) => {
            done.logs_unchecked += 1;
            problem(done, &format!("{name} was not checked: the controller is busy or its store is away"));
        }
        Err(Unchecked::Failed(error)) => {
            done.logs_unchecked += 1;
            problem(done, &format!("{name} was not checked: {error}"));
        }
    }
}

async fn patiently(whom: &Whom, job: &JobName, number: u64) -> Result<crate::verify::Checked, Unchecked> {
    for _ in 1..TRIES {
        match check(whom, job, &number.to_string()).await {
            Err(Unchecked::Busy) => sleep(PAUSE).await,
            other => return other,
        }
    }
    check(whom, job, &number.to_string()).await
}

fn problem(done: &mut Test, what: &str) {
    if done.problems.len() < MAX_PROBLEMS {
        done.problems.push(plain(what, MAX_TEXT));
    }
}

/// What is wrong as a whole. A build that only waits commits nothing, so a resumption that was not seen proves nothing.
fn judge(standing: &Standing, lost: &Replica, done: &mut Test) -> Verdict {
    let mut verdict = if done.logs_unchecked > 0 { Verdict::Unknown } else { Verdict::Right };
    if standing.adopted_millis.is_some() && standing.resumed_millis.is_none() && !lost.builds.is_empty() {
        verdict = Verdict::Unknown;
        problem(done, "no build has committed anything since; those that only wait commit nothing");
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
    if standing.left > 0 || standing.ready.is_none() || done.defects > 0 {
        verdict = Verdict::Defects;
    }
    let outcome = match verdict {
        Verdict::Right => "passed",
        Verdict::Defects => "failed",
        Verdict::Unknown => "unknown",
    };
    outcome.clone_into(&mut done.outcome);
    verdict
}

fn told(done: &Test, lost: &Replica) -> String {
    let after = |value: Option<u64>| value.map_or("not seen".to_owned(), |ms| format!("after {ms} ms"));
    let builds = match done.builds {
        0 => "none ran there".to_owned(),
        count => {
            let (adopted, resumed) = (after(done.adopted_millis), after(done.resumed_millis));
            format!("{count}, the last one adopted {adopted}, resumed {resumed}")
        }
    };
    let ready = match done.ready_millis {
        Some(ms) => format!("{} is ready again after {ms} ms", plain(&lost.name, 63)),
        None => format!("{} is not back", plain(&lost.name, 63)),
    };
    let mut logs = format!("{} checked, {} bytes", done.logs_checked, done.log_bytes);
    logs.push_str(&format!(", {} longer than before", done.logs_longer));
    if lost.builds.len() > MAX_LOGS {
        logs.push_str(&format!("; a sample of {}", lost.builds.len()));
    }
    for (count, what) in [(done.logs_deleted, "deleted meanwhile"), (done.logs_unchecked, "not checked")] {
        if count > 0 {
            logs.push_str(&format!("; {count} {what}"));
        }
    }
    let defects = if done.defects == 0 { "none".to_owned() } else { done.defects.to_string() };
    let rows = [
        ("replica", ready),
        ("builds", builds),
        ("logs", logs),
        ("defects", defects),
        ("outcome", done.outcome.clone()),
    ];
    let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
    let problems = done.problems.iter().map(|problem| format!("\n{problem}"));
    columns(&rows) + &problems.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(builds: u64) -> Replica {
        let builds = (1..=builds).map(|number| Build { job: "a".to_owned(), number }).collect();
        Replica { name: "r-1".into(), state: "ready".into(), incarnation: 2, pid: 7, builds }
    }

    fn well() -> Standing {
        Standing {
            ready: Some(Duration::from_millis(900)),
            adopted_millis: Some(310),
            resumed_millis: Some(800),
            ..Standing::default()
        }
    }

    #[test]
    fn only_what_was_seen_to_be_right_passes() {
        let judged = |standing: Standing, change: fn(&mut Test)| {
            let mut done = Test::default();
            change(&mut done);
            let verdict = judge(&standing, &lost(2), &mut done);
            (verdict, done.outcome, done.problems.len())
        };
        let passed = "passed".to_owned();
        assert_eq!(judged(well(), |_| {}), (Verdict::Right, passed.clone(), 0));
        let unknown = (Verdict::Unknown, "unknown".to_owned(), 1);
        assert_eq!(judged(Standing { resumed_millis: None, ..well() }, |_| {}), unknown);
        assert_eq!(judged(well(), |t| t.logs_unchecked = 1).0, Verdict::Unknown);
        let failed = (Verdict::Defects, "failed".to_owned(), 1);
        assert_eq!(judged(Standing { left: 1, ..well() }, |_| {}), failed);
        assert_eq!(judged(Standing { ready: None, ..well() }, |_| {}), failed);
        let both = |t: &mut Test| (t.defects, t.logs_unchecked) = (1, 1);
        assert_eq!(judged(well(), both).0, Verdict::Defects, "what is wrong is worse than what is unknown");
        assert_eq!(judged(well(), |t| t.logs_deleted = 1).0, Verdict::Right);
        let mut done = Test::default();
        let back = Standing { ready: Some(Duration::ZERO), ..Standing::default() };
        assert_eq!(judge(&back, &lost(0), &mut done), Verdict::Right);
    }

    #[test]
    fn a_report_says_what_was_checked() {
        let mut done = Test {
            builds: 250,
            adopted_millis: Some(310),
            ready_millis: Some(900),
            logs_checked: 98,
            log_bytes: 5_000,
            logs_longer: 90,
            logs_deleted: 2,
            outcome: "unknown".to_owned(),
            ..Test::default()
        };
        problem(&mut done, "something\u{7}");
        let wanted = "replica  r-1 is ready again after 900 ms\n\
                      builds   250, the last one adopted after 310 ms, resumed not seen\n\
                      logs     98 checked, 5000 bytes, 90 longer than before; a sample of 250; 2 deleted meanwhile\n\
                      defects  none\n\
                      outcome  unknown\n\
                      something?";
        assert_eq!(told(&done, &lost(250)), wanted);
    }
}
