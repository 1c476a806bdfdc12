//! Steps that print a numbered line every 50 ms, and readers of their logs that ask replicas themselves, past the ingress: they
//! see when a byte was committed, whatever becomes of users' connections.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::cluster::{wait, wait_or};
use super::controller::{Controller, LONG, PATIENCE};
use crate::common::http::Client;

/// Called with the number of its build. Leaves there how many lines it has printed.
const BEAT: &str = r#"#!/bin/sh
folder=${0%/*}
n=0
while [ ! -e "$folder/end" ]; do
    n=$((n + 1))
    echo "beat $n"
    sleep 0.05
done
echo "$n" >"$folder/$1"
"#;
const JOB: &str = "pulse";
/// So that most replicas have one of them.
pub(crate) const BUILDS: u64 = 3;
/// Between two reads of a reader.
const READ: Duration = Duration::from_millis(100);

pub(crate) struct Pulse {
    folder: PathBuf,
    client: Client,
    shared: Arc<Shared>,
    readers: Vec<JoinHandle<String>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Whom readers ask: the first one that answers.
    at: RwLock<Vec<Client>>,
    /// When the log of each build has grown.
    grown: Mutex<Vec<Vec<Instant>>>,
}

impl Pulse {
    /// Builds that print, and their readers. Somebody has an agent with the label `work`.
    pub(crate) fn start(controller: &Controller) -> Pulse {
        let folder = controller.root.join(JOB);
        std::fs::create_dir(&folder).unwrap();
        let beat = folder.join("beat");
        std::fs::write(&beat, BEAT).unwrap();
        std::fs::set_permissions(&beat, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        controller.create_job(JOB, &format!("node('work') {{ sh '{} $BUILD_NUMBER' }}", beat.display()));
        let client = controller.client();
        for number in 1..=BUILDS {
            let asked =
                client.post(&format!("/job/{JOB}/buildWithParameters?ID={number}&delay=0sec")).unwrap();
            assert_eq!(asked.status, 201, "{}", asked.text());
        }
        let shared = Arc::new(Shared::default());
        shared.grown.lock().unwrap().resize_with(BUILDS as usize, Vec::new);
        let mut pulse = Pulse { folder, client, shared, readers: Vec::new() };
        pulse.read_at(vec![pulse.client.clone()]);
        for number in 1..=BUILDS {
            let shared = Arc::clone(&pulse.shared);
            pulse.readers.push(std::thread::spawn(move || read(&shared, number)));
        }
        for number in 1..=BUILDS {
            wait(LONG, "a build prints", || (pulse.beats(number).len() > 1).then_some(()));
        }
        pulse
    }

    /// Readers ask these from now on.
    pub(crate) fn read_at(&self, clients: Vec<Client>) {
        *self.shared.at.write().unwrap() = clients;
    }

    /// The numbers of those of its builds that are among these.
    pub(crate) fn among(builds: &[(String, u64)]) -> Vec<u64> {
        builds.iter().filter(|(job, _)| job == JOB).map(|(_, number)| *number).collect()
    }

    fn beats(&self, number: u64) -> Vec<Instant> {
        self.shared.grown.lock().unwrap()[number as usize - 1].clone()
    }

    /// Whether the log of a build has grown since then.
    pub(crate) fn goes_on(&self, number: u64, since: Instant) -> bool {
        self.beats(number).last().is_some_and(|last| *last > since)
    }

    /// The longest time in which the log of a build did not grow, since then.
    pub(crate) fn stood_still(&self, number: u64, since: Instant) -> Duration {
        let beats = self.beats(number);
        let after = beats.into_iter().filter(|beat| *beat > since);
        let (mut longest, mut last) = (Duration::ZERO, since);
        for beat in after.chain([Instant::now()]) {
            longest = longest.max(beat - last);
            last = beat;
        }
        longest
    }

    /// Ends the builds. Each line is in its log, once and in order, and all that was read is what the log says.
    pub(crate) fn finish(mut self) {
        std::fs::write(self.folder.join("end"), "").unwrap();
        let client = self.client.clone();
        for number in 1..=BUILDS {
            let ended =
                || (client.json(&format!("/job/{JOB}/{number}/api/json"))["building"] == false).then_some(());
            let console = || client.get(&format!("/job/{JOB}/{number}/consoleText")).text();
            wait_or(PATIENCE, &format!("build {number} of {JOB} ends"), ended, console);
        }
        self.shared.stop.store(true, Ordering::Relaxed);
        for (number, reader) in (1..).zip(std::mem::take(&mut self.readers)) {
            let read = reader.join().unwrap();
            let log = client.get(&format!("/job/{JOB}/{number}/consoleText")).text();
            assert!(log.contains("Finished: SUCCESS"), "build {number}: {log}");
            let printed = std::fs::read_to_string(self.folder.join(number.to_string())).unwrap();
            let printed: usize = printed.trim().parse().unwrap();
            let lines: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("beat ")).collect();
            let wanted: Vec<String> = (1..=printed).map(|line| line.to_string()).collect();
            assert!(lines == wanted, "build {number} has printed {printed} lines: {log}");
            let plain = |text: &str| text.replace("\r\n", "\n");
            assert!(
                plain(&log).starts_with(&plain(&read)),
                "build {number}: read was:\n{read}\nThe log:\n{log}"
            );
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// Reads on, and asks the next one when one does not answer. Gives all that it has read.
fn read(shared: &Shared, number: u64) -> String {
    let (mut text, mut offset, mut turn) = (String::new(), 0_u64, 0_usize);
    while !shared.stop.load(Ordering::Relaxed) {
        let client = {
            let at = shared.at.read().unwrap();
            at.get(turn % at.len().max(1)).cloned()
        };
        match client.and_then(|client| progress(&client, number, offset)) {
            Some((more, size)) if size > offset => {
                text.push_str(&more);
                offset = size;
                shared.grown.lock().unwrap()[number as usize - 1].push(Instant::now());
            }
            Some(_) => {}
            None => turn += 1,
        }
        std::thread::sleep(READ);
    }
    text
}

fn progress(client: &Client, number: u64, from: u64) -> Option<(String, u64)> {
    let path = format!("/job/{JOB}/{number}/logText/progressiveText?start={from}");
    let reply = client.try_get(&path).ok().filter(|reply| reply.status == 200)?;
    let size = reply.header("x-text-size")?.parse().ok()?;
    Some((reply.text(), size))
}
