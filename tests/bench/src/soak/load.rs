//! What a soak keeps busy with: jobs that discard their old builds, clients that start builds, and what became of them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;

use super::verdict::{Answers, Failed};
use crate::controller::Controller;

/// Builds that each job keeps.
pub(super) const KEPT: usize = 20;
/// Lines that each branch of `wordy` prints: enough for its log to become an object.
const LINES: u64 = 1_500;
/// Between two builds of one job.
const PACE: Duration = Duration::from_millis(250);

pub(super) const JOBS: [&str; 3] = ["quick", "wordy", "filed"];

pub(super) fn create(controller: &Controller) -> Result<()> {
    let keep = format!(
        "<jenkins.model.BuildDiscarderProperty><strategy class=\"hudson.tasks.LogRotator\">\
         <numToKeep>{KEPT}</numToKeep></strategy></jenkins.model.BuildDiscarderProperty>"
    );
    let lines =
        format!("sh 'set +x; for i in $(seq 1 {LINES}); do echo \"line $i of a text of some length\"; done'");
    let scripts = [
        "node { sh 'true' }".to_owned(),
        format!("node {{ parallel a: {{ {lines} }}, b: {{ {lines} }} }}"),
        "node { writeFile file: 'a.txt', text: 'content of an artifact'\narchiveArtifacts artifacts: 'a.txt' }".to_owned(),
    ];
    JOBS.iter().zip(scripts).try_for_each(|(job, script)| controller.create_with(job, &keep, &script))
}

/// What clients were told, and what became of builds, over the whole time.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) answers: Mutex<BTreeMap<&'static str, Answers>>,
    failed: Mutex<BTreeMap<(&'static str, u64), Failed>>,
}

impl Seen {
    pub(super) fn answers(&self, job: &str) -> Answers {
        self.answers.lock().ok().and_then(|all| all.get(job).copied()).unwrap_or_default()
    }

    pub(super) fn acknowledged(&self) -> u64 {
        JOBS.iter().map(|job| self.answers(job).acknowledged).sum()
    }

    pub(super) fn failed(&self) -> Vec<Failed> {
        self.failed.lock().map(|failed| failed.values().cloned().collect()).unwrap_or_default()
    }

    /// Looks at the newest builds of each job, before they are discarded. The store may be away.
    pub(super) fn look(&self, controller: &Controller) {
        for job in JOBS {
            let path = format!("/job/{job}/api/json?tree=builds[number,result,timestamp,duration]");
            let Ok(found) = controller.get(&path) else { continue };
            for build in found["builds"].as_array().into_iter().flatten() {
                let number = build["number"].as_u64().unwrap_or(0);
                let Some(result) = build["result"].as_str().filter(|result| *result != "SUCCESS") else {
                    continue;
                };
                let began = build["timestamp"].as_u64().unwrap_or(0);
                let ended = began + build["duration"].as_u64().unwrap_or(0);
                let failed = Failed { job, number, result: result.to_owned(), began, ended };
                if let Ok(mut all) = self.failed.lock() {
                    all.insert((job, number), failed);
                }
            }
        }
    }
}

/// Starts builds of one job until it is told to stop.
pub(super) fn client(controller: &Controller, job: &'static str, seen: &Seen, stop: &AtomicBool) {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let answer = controller.try_build(job, n);
        if let Ok(mut answers) = seen.answers.lock() {
            let answers = answers.entry(job).or_default();
            match answer {
                Ok(200..400) => answers.acknowledged += 1,
                Ok(_) => answers.refused += 1,
                Err(_) => answers.unknown += 1,
            }
        }
        std::thread::sleep(PACE);
    }
}

/// The builds of `wordy` that are kept and did not fail.
fn wordy(controller: &Controller, failed: &[Failed]) -> Result<Vec<u64>> {
    let found = controller.get("/job/wordy/api/json?tree=builds[number]")?;
    let numbers = found["builds"].as_array().into_iter().flatten().filter_map(|b| b["number"].as_u64());
    let fine = |number: &u64| !failed.iter().any(|f| f.job == "wordy" && f.number == *number);
    Ok(numbers.filter(fine).collect())
}

/// How many of the logs of `wordy` are not objects yet.
pub(super) fn not_archived(controller: &Controller, failed: &[Failed]) -> Result<usize> {
    let mut count = 0;
    for number in wordy(controller, failed)? {
        let checked = controller.get(&format!("/job/wordy/{number}/verifyLog/api/json"))?;
        count += usize::from(!checked["object"].is_string());
    }
    Ok(count)
}

/// Logs of `wordy` that a check finds damaged, or in which lines are missing or too many.
pub(super) fn broken(controller: &Controller, failed: &[Failed]) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for number in wordy(controller, failed)? {
        let log = controller.ask("GET", &format!("/job/wordy/{number}/consoleText"), None)?.1;
        let mut counts = BTreeMap::<&str, u32>::new();
        for line in log.lines().filter(|line| line.starts_with("line ")) {
            *counts.entry(line).or_default() += 1;
        }
        if counts.len() as u64 != LINES || counts.values().any(|count| *count != 2) {
            broken.push(format!("the log of wordy #{number} has {} different lines", counts.len()));
        }
        let checked = controller.get(&format!("/job/wordy/{number}/verifyLog/api/json"))?;
        if checked["defectCount"] != 0 {
            broken.push(format!("the log of wordy #{number} is damaged: {}", checked["defects"]));
        }
    }
    Ok(broken)
}
