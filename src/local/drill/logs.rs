//! The logs of the builds that the killed replica drove: noted before, looked at meanwhile, checked after.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use hyper::Method;
use model::JobName;
use tokio::time::sleep;

use super::history::Test;
use super::standing::{Build, Fate, Glance, Noted, Watched};
use super::{ANSWER, MAX_LOGS, name, problem};
use crate::Error;
use crate::table::{plain, send_within};
use crate::verify::{Checked, Unchecked, build_path, check, line};
use crate::whom::Whom;

/// After that time no other log is noted before the kill.
const NOTE: Duration = Duration::from_secs(120);
/// After that time no other one is checked.
const ALL_LOGS: Duration = Duration::from_secs(30 * 60);
/// How often a replica that checks others already is asked again, and how long after.
const TRIES: usize = 30;
const PAUSE: Duration = Duration::from_secs(1);
/// Requests at once.
const AT_ONCE: usize = 8;
/// The option by which a Jenkinsfile discards builds.
const DISCARDER: &str = "buildDiscarder";

/// Lengths and sums of logs as they are now. What can't be read is left out: it can't be compared later.
pub(super) async fn note(whom: &Whom, builds: &[Build]) -> HashMap<Build, Noted> {
    let began = Instant::now();
    let mut noted = HashMap::new();
    for build in builds {
        if began.elapsed() > NOTE {
            break;
        }
        let Ok(job) = JobName::parse(&build.job) else { continue };
        if let Ok(checked) = patiently(whom, &job, build.number, None).await {
            noted.insert(build.clone(), Noted { bytes: checked.bytes, sha256: checked.sha256 });
        }
    }
    noted
}

/// Those that are watched: first the ones whose logs were noted.
pub(super) fn watch(builds: &[Build], mut noted: HashMap<Build, Noted>) -> Vec<Watched> {
    let (known, new): (Vec<&Build>, Vec<&Build>) = builds.iter().partition(|b| noted.contains_key(b));
    let chosen = known.into_iter().chain(new).take(MAX_LOGS);
    chosen.map(|build| Watched::new(build.clone(), noted.remove(build))).collect()
}

/// Looks at all that have not gone on yet.
pub(super) async fn glance_at(whom: &Whom, watched: &mut [Watched]) {
    let waiting = watched.iter_mut().filter(|w| w.fate == Fate::Waits);
    stream::iter(waiting)
        .for_each_concurrent(AT_ONCE, |watched| async {
            if let Some(glance) = glance(whom, &watched.build).await {
                watched.glance(glance);
            }
        })
        .await;
}

/// `None`: it can't be said just now.
pub(super) async fn glance(whom: &Whom, build: &Build) -> Option<Glance> {
    let job = JobName::parse(&build.job).ok()?;
    let path = build_path(&job, &build.number.to_string()) + "/logText/progressiveText";
    let answer = send_within(whom, Method::HEAD, &path, ANSWER).await.ok()?;
    match (answer.status, answer.text_size) {
        (404, _) => Some(Glance::Gone),
        (200, Some(_)) if !answer.more_data => Some(Glance::Ended),
        (200, Some(length)) => Some(Glance::Runs { length }),
        _ => None,
    }
}

/// One after the other, until the time for them is over.
pub(super) async fn check_all(whom: &Whom, watched: &[Watched], done: &mut Test) {
    let began = Instant::now();
    for (n, watched_one) in watched.iter().enumerate() {
        if began.elapsed() > ALL_LOGS {
            done.logs_unchecked += (watched.len() - n) as u64;
            let minutes = ALL_LOGS.as_secs() / 60;
            return problem(
                done,
                &format!("the logs took more than {minutes} min: the rest was not checked"),
            );
        }
        check_one(whom, watched_one, done).await;
    }
}

async fn check_one(whom: &Whom, watched: &Watched, done: &mut Test) {
    let Watched { build, before, .. } = watched;
    let job = match JobName::parse(&build.job) {
        Ok(job) => job,
        Err(error) => return unchecked(done, build, &error.to_string()),
    };
    match patiently(whom, &job, build.number, before.as_ref().map(|b| b.bytes)).await {
        Ok(checked) => take(done, build, before.as_ref(), &checked),
        Err(Unchecked::Gone) => {
            done.logs_deleted += 1;
            if !discards(whom, &job).await {
                done.logs_missing += 1;
                problem(done, &format!("{} is not there any more, and its job discards none", name(build)));
            }
        }
        Err(Unchecked::Busy) => unchecked(done, build, "the controller is busy or its store is away"),
        Err(Unchecked::Failed(error)) => unchecked(done, build, &error.to_string()),
    }
}

fn unchecked(done: &mut Test, build: &Build, why: &str) {
    done.logs_unchecked += 1;
    problem(done, &format!("{} was not checked: {why}", name(build)));
}

/// What was found in one log.
pub(super) fn take(done: &mut Test, build: &Build, before: Option<&Noted>, checked: &Checked) {
    done.logs_checked += 1;
    done.log_bytes += checked.bytes;
    done.defects += checked.defect_count;
    if let Some(first) = checked.defects.first() {
        problem(done, &format!("{} has {} defects: {}", name(build), checked.defect_count, line(first)));
    }
    match before {
        None => done.logs_uncompared += 1,
        Some(before) if checked.first_sha256.as_ref() != Some(&before.sha256) => {
            done.defects += 1;
            let (was, is) = (before.bytes, checked.bytes);
            problem(
                done,
                &format!(
                    "{}: its log does not begin any more with the {was} bytes that it had; it has {is}",
                    name(build)
                ),
            );
        }
        Some(before) => done.logs_longer += u64::from(checked.bytes > before.bytes),
    }
    if let Some(result) = checked.result.as_ref().filter(|_| !checked.building) {
        done.builds_ended += 1;
        if !["SUCCESS", "UNSTABLE"].contains(&result.as_str()) {
            done.builds_failed += 1;
            let result = plain(result, 20);
            problem(
                done,
                &format!("{} has ended with {result}: its log says whether by the loss", name(build)),
            );
        }
    }
}

async fn patiently(
    whom: &Whom,
    job: &JobName,
    number: u64,
    first: Option<u64>,
) -> Result<Checked, Unchecked> {
    for _ in 1..TRIES {
        match check(whom, job, &number.to_string(), first).await {
            Err(Unchecked::Busy) => sleep(PAUSE).await,
            other => return other,
        }
    }
    check(whom, job, &number.to_string(), first).await
}

/// Whether builds of the job go by themselves. One that is gone as a whole was deleted by somebody.
async fn discards(whom: &Whom, job: &JobName) -> bool {
    let path = build_path(job, "config.xml");
    let asked: Result<_, Error> = send_within(whom, Method::GET, &path, ANSWER).await;
    let Ok(answer) = asked else { return false };
    let text = String::from_utf8_lossy(&answer.body);
    match config::ItemConfig::parse(&text) {
        Ok(config::ItemConfig::Job(job)) => job.discarder.is_some() || text.contains(DISCARDER),
        Ok(config::ItemConfig::Folder { .. }) | Err(_) => false,
    }
}
