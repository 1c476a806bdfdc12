//! Users who ask 50 times a second through the ingress and never ask twice.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::controller::Controller;
use crate::common::http::{KeptAlive, Reply};

const PATHS: [&str; 4] = [
    "/api/json",
    "/queue/api/json",
    "/computer/api/json?tree=computer[displayName,offline]",
    "/replicas/api/json",
];
/// Half of them use a connection again and again, the others make one for each request. That many, so that one who waits for an
/// answer does not slow the others down.
const USERS: u32 = 10;
const A_SECOND: u32 = 50;

/// A request that was not answered, or with another status than 200.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// When it was sent.
    pub(crate) sent: Instant,
    clock: SystemTime,
    pub(crate) kept: bool,
    path: &'static str,
    pub(crate) why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = self.clock.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let (day, millis) = (clock.as_secs() % 86_400, clock.subsec_millis());
        let (hours, minutes, seconds) = (day / 3_600, day / 60 % 60, day % 60);
        let connection = if self.kept { "kept" } else { "fresh" };
        let Failure { path, why, .. } = self;
        write!(f, "{hours:02}:{minutes:02}:{seconds:02}.{millis:03} UTC, {connection}: {path}: {why}")
    }
}

/// What became of the requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Answered with 200.
    pub(crate) fresh: usize,
    pub(crate) kept: usize,
    pub(crate) failed: Vec<Failure>,
    /// The longest that an answer took.
    pub(crate) slowest: Duration,
}

pub(crate) struct Traffic {
    began: Instant,
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    users: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// The calling thread must be in the cluster's network.
    pub(crate) fn start(controller: &Controller) -> Traffic {
        let (stop, tally): (Arc<AtomicBool>, Arc<Mutex<Tally>>) = Default::default();
        let user = |number: u32| {
            let (client, mut connection) = (controller.client(), KeptAlive::new(controller.client()));
            let (stop, tally, kept) = (Arc::clone(&stop), Arc::clone(&tally), number.is_multiple_of(2));
            let get = move |path: &str| if kept { connection.get(path) } else { client.try_get(path) };
            std::thread::spawn(move || ask(number, kept, get, &stop, &tally))
        };
        let users = (0..USERS).map(user).collect();
        Traffic { began: Instant::now(), stop, tally, users }
    }

    /// So far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }

    /// Ends it.
    pub(crate) fn finish(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let rate = |tally: &Tally| {
            let answered = u32::try_from(tally.fresh + tally.kept).unwrap();
            f64::from(answered) / self.began.elapsed().as_secs_f64()
        };
        let rate = rate(&self.tally.lock().unwrap());
        for user in self.users {
            user.join().unwrap();
        }
        let tally = self.tally.lock().unwrap().clone();
        eprintln!(
            "{} requests on fresh connections and {} on kept ones were answered, {rate:.0} a second, the slowest after {:?}",
            tally.fresh, tally.kept, tally.slowest
        );
        tally
    }

    /// Ends it; none has failed.
    pub(crate) fn all_answered(self) {
        let Tally { fresh, kept, failed, .. } = self.finish();
        let told: Vec<String> = failed.iter().map(ToString::to_string).collect();
        assert!(failed.is_empty(), "{} requests failed:\n{}", failed.len(), told.join("\n"));
        assert!(fresh > 0 && kept > 0, "nobody has asked");
    }
}

fn ask(
    number: u32,
    kept: bool,
    mut get: impl FnMut(&str) -> io::Result<Reply>,
    stop: &AtomicBool,
    tally: &Mutex<Tally>,
) {
    let pause = Duration::from_secs(1) * USERS / A_SECOND;
    // not all at once
    let mut next = Instant::now() + pause * number / USERS;
    for path in PATHS.iter().cycle() {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (sent, clock) = (Instant::now(), SystemTime::now());
        let why = match get(path) {
            Ok(reply) if reply.status == 200 => None,
            Ok(reply) => Some(format!("{} {}", reply.status, reply.text())),
            Err(error) => Some(error.to_string()),
        };
        let mut tally = tally.lock().unwrap();
        tally.slowest = tally.slowest.max(sent.elapsed());
        match why {
            None if kept => tally.kept += 1,
            None => tally.fresh += 1,
            Some(why) => tally.failed.push(Failure { sent, clock, kept, path, why }),
        }
        // whoever was late does not make up for it
        next = (next + pause).max(Instant::now());
    }
}
