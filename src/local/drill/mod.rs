//! `majordomo failover-test`: kills a replica of this machine as a crash would, waits until the others have taken over what
//! it did, and has the logs checked that it wrote.

mod history;
mod logs;
mod report;
mod standing;

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hyper::Method;
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use tokio::time::{sleep, timeout};

use crate::process::{Process, find, find_up};
use crate::record::ReplicaRecord;
use crate::table::{now, plain, send_within};
use crate::up::Say;
use crate::verify::Verdict;
use crate::whom::Whom;
use crate::{Error, Paths, UpRecord};

pub use history::failover_history;
use history::{MAX_PROBLEMS, MAX_TEXT, Test};
use report::{judge, told};
use standing::{Build, Glance, Replica, Seen, Standing, Watched, nobodys, pick, sample};

const LOOK: Duration = Duration::from_millis(200);
/// One request while replicas come and go.
const ANSWER: Duration = Duration::from_secs(5);
/// Most time from the kill until all is well again.
const DEADLINE: Duration = Duration::from_secs(180);
/// How long a killed process may take to end.
const ENDED: Duration = Duration::from_secs(10);
/// Most logs that are checked.
const MAX_LOGS: usize = 100;
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
    let picked = picked.clone();
    let (name, drives) = (plain(&picked.name, 63), picked.builds.len());
    let pid = pid_of(&picked)?;
    let plan = match drives {
        0 => format!("{name} (process {pid}) drives no build: it is killed, and only its return is measured"),
        _ => format!("{name} (process {pid}) drives {drives} of {all} running builds: it is killed"),
    };
    if !(test.sure)(&plan)? {
        return Err(Error::Refused("nothing was killed".to_owned()));
    }
    let noted = logs::note(whom, &sample(&picked.builds, MAX_LOGS)).await;
    // what it drives at the last moment
    let seen = look(whom).await?;
    let lost = pick(&seen.replicas, Some(&picked.name))?.clone();
    let mut watched = logs::watch(&lost.builds, noted);
    let mut process = process_of(&paths, &lost)?;
    let (at, began) = (now(), Instant::now());
    process.signal(Signal::KILL);
    if timeout(ENDED, process.wait()).await.is_err() {
        return Err(Error::Replica(format!("{name} does not end although it was sent SIGKILL")));
    }
    say(&format!("{name} is killed; waiting until others have adopted its builds and it is back"));

    let standing = follow(whom, &lost, &mut watched, began).await;
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
    logs::check_all(whom, &watched, &mut done).await;
    let verdict = judge(&standing, &lost, &watched, &mut done);
    let text = told(&done, &lost);
    // what was found is told in any case
    let kept = history::add(&paths, &done);
    Ok((
        kept.map_or_else(|error| format!("{text}\nthe result is not kept: {error}"), |()| text.clone()),
        verdict,
    ))
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

fn pid_of(replica: &Replica) -> Result<u32, Error> {
    let hidden = || {
        Error::Refused(
            "a failover test is for administrators, who see the processes; give one with --auth".to_owned(),
        )
    };
    replica.pid.ok_or_else(hidden)
}

/// The process of that replica and no other one: its record, its arguments and the controller agree.
fn process_of(paths: &Paths, replica: &Replica) -> Result<Process, Error> {
    let name = &replica.name;
    let strange = || {
        let place = paths.root().display();
        Error::Refused(format!("{name} is no process of this user on this machine that serves {place}"))
    };
    let record = ReplicaRecord::read(&paths.replica_record(name)).ok_or_else(strange)?;
    if (record.pid, record.incarnation) != (pid_of(replica)?, replica.incarnation) {
        return Err(Error::Refused(format!("{name} is being replaced just now; try again")));
    }
    let found = find("replica", "--home", paths.root()).into_iter();
    let mut its =
        found.filter(|p| p.pid == record.pid && p.value("--name").is_some_and(|n| n == name.as_str()));
    its.next().and_then(|running| running.adopt()).ok_or_else(strange)
}

/// Looks until all is well, or the time is over. What can't be asked just now is asked again.
async fn follow(whom: &Whom, lost: &Replica, watched: &mut [Watched], began: Instant) -> Standing {
    let mut standing = Standing::default();
    let looking = async {
        let mut over = HashSet::new();
        loop {
            logs::glance_at(whom, watched).await;
            over.extend(watched.iter().filter(|w| w.over()).map(|w| w.build.clone()));
            if let Ok(seen) = look(whom).await {
                let unknown = nobodys(lost, &seen).into_iter().filter(|b| !over.contains(*b));
                let asked: Vec<&Build> = unknown.take(MAX_ASKED).collect();
                for build in asked {
                    if let Some(Glance::Ended | Glance::Gone) = logs::glance(whom, build).await {
                        over.insert(build.clone());
                    }
                }
                standing = standing.next(lost, &seen, &over, watched, began.elapsed());
                if standing.over(lost, began.elapsed()) {
                    return;
                }
            }
            sleep(LOOK).await;
        }
    };
    let _in_time = timeout(DEADLINE.saturating_sub(began.elapsed()), looking).await;
    standing
}

fn name(build: &Build) -> String {
    format!("{} #{}", plain(&build.job, MAX_TEXT), build.number)
}

fn problem(done: &mut Test, what: &str) {
    if done.problems.len() < MAX_PROBLEMS {
        done.problems.push(plain(what, MAX_TEXT));
    }
}
