//! Everything at once, on SQLite and on PostgreSQL, while builds run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::faults::{self, Quota, Scene, Tally};
use crate::load::Load;
use crate::logs;
use crate::support::controller::{Controller, FarAgent, Options};
use crate::support::postgres::Server;
use crate::support::random::{Random, seed};

/// Builds that are kept going.
const WIDTH: usize = 8;
/// Of one store; a run that needs more is stuck. Alone on two cores it takes two minutes.
const LONGEST: Duration = Duration::from_secs(420);
/// After the last fault, until all has ended.
const REST: Duration = Duration::from_secs(60);

const BUILDS: &str = "builds";
const STEPS: &str = "steps";
const BYTES: &str = "bytes of output compared";
const ADOPTED: &str = "adoptions that the store has noted";
const UNKNOWN: &str = "requests for a build without an answer";

/// What a run must have done, on both stores together.
const REQUIRED: [(&str, u64); 9] = [
    (BUILDS, 200),
    (STEPS, 2_000),
    (faults::OWNER_KILLS, 30),
    (faults::LONG_STOPS, 10),
    (faults::SHORT_STOPS, 10),
    (faults::AGENT_KILLS, 10),
    (faults::LINK_CUTS, 10),
    (faults::DATABASE_KILLS, 3),
    (faults::OUTAGES, 1),
];

const QUOTA: Quota = Quota {
    owner_kills: 15,
    long_stops: 5,
    short_stops: 5,
    agent_kills: 5,
    link_cuts: 5,
    database_kills: 0,
    outages: 0,
};

#[test]
fn builds_survive_whatever_is_killed_stopped_or_cut() {
    let seed = seed();
    let minutes: u64 = std::env::var("MAJORDOMO_CHAOS_MINUTES").map_or(0, |m| m.parse().unwrap());
    let least = Duration::from_secs(60 * minutes);
    let (sqlite, postgres) = std::thread::scope(|scope| {
        let sqlite = scope.spawn(|| chaos("sqlite", seed, least, None));
        let postgres = scope.spawn(|| match Server::start_durable() {
            Some(server) => chaos("postgres", seed, least, Some(server)),
            None => panic!("PostgreSQL is not installed: see tests/run"),
        });
        (sqlite.join(), postgres.join())
    });
    let (Ok(sqlite), Ok(postgres)) = (sqlite, postgres) else { panic!("see above; MAJORDOMO_SEED={seed}") };
    show(&sqlite, &postgres);
    for (what, least) in REQUIRED {
        let count = sqlite.get(what).unwrap_or(&0) + postgres.get(what).unwrap_or(&0);
        assert!(count >= least, "{count} {what}, at least {least} are required");
    }
}

fn chaos(
    store: &'static str,
    seed: u64,
    least: Duration,
    mut server: Option<Server>,
) -> BTreeMap<&'static str, u64> {
    let began = Instant::now();
    let database = server.as_ref().map(Server::database);
    let controller = Controller::start(Options { name: store, store: database, replicas: 3, agents: 2 });
    let mut far: Vec<_> =
        (1..=2).map(|n| FarAgent::start(&controller, &format!("far-{n}"), 4, "work")).collect();
    let mut load = Load::new(&controller, if server.is_some() { "p" } else { "s" });
    let (tally, failed) = (Tally::default(), AtomicBool::new(false));
    let quota = match &server {
        None => QUOTA,
        Some(_) => Quota { database_kills: 3, outages: 1, ..QUOTA },
    };
    let until = Instant::now() + least;
    let scene = Scene {
        controller: &controller,
        tally: &tally,
        quota,
        until,
        deadline: until + LONGEST,
        failed: &failed,
    };
    let random = |stream: &str| Random::new(seed, &format!("{store}/{stream}"));
    std::thread::scope(|scope| {
        let guard = Guard(&failed);
        let mut lanes = vec![
            scope.spawn(|| scene.owners(random("owners"))),
            scope.spawn(|| scene.hangs(random("hangs"))),
            scope.spawn(|| scene.agents(random("agents"), &mut far)),
        ];
        if let Some(server) = &mut server {
            lanes.push(scope.spawn(|| scene.database(random("database"), server)));
        }
        let mut told = Instant::now();
        load.keep_going(WIDTH, |ended| {
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                eprintln!(
                    "{store} {:>3} s: {ended} builds have ended, {:?}",
                    began.elapsed().as_secs(),
                    tally.all()
                );
            }
            assert!(Instant::now() < scene.deadline, "{store}: too slow: {ended} builds, {:?}", tally.all());
            let done = lanes.iter().all(std::thread::ScopedJoinHandle::is_finished);
            (done && ended >= 101) || failed.load(Ordering::Relaxed)
        });
        lanes.into_iter().for_each(|lane| lane.join().unwrap());
        std::mem::forget(guard);
    });
    let faults = began.elapsed();
    let builds = load.finish(REST);
    let checked = load.check(&builds);
    let failovers = controller.client().json("/replicas/api/json");
    tally.add(ADOPTED, failovers["failovers"].as_array().map_or(0, Vec::len) as u64);
    tally.add(BUILDS, checked.builds as u64);
    tally.add(STEPS, checked.steps as u64);
    tally.add(BYTES, checked.bytes as u64);
    tally.add(UNKNOWN, (load.asked.len() - load.acknowledged()) as u64);
    tally.add("seconds under fire", faults.as_secs());
    far.clear();
    finish(controller);
    tally.add("seconds", began.elapsed().as_secs());
    tally.all()
}

/// Stops in order; nothing is left, and no log has a warning that is not listed.
fn finish(mut controller: Controller) {
    controller.stop();
    let left = controller.processes();
    assert!(left.is_empty(), "left behind: {left:?}");
    logs::check(&controller, &[]);
}

/// Says that all shall stop, when its thread panics.
struct Guard<'a>(&'a AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn show(sqlite: &BTreeMap<&'static str, u64>, postgres: &BTreeMap<&'static str, u64>) {
    let names: std::collections::BTreeSet<_> = sqlite.keys().chain(postgres.keys()).collect();
    eprintln!("{:<42} {:>10} {:>10} {:>10} {:>10}", "", "SQLite", "PostgreSQL", "together", "required");
    for name in names {
        let (a, b) = (sqlite.get(name).unwrap_or(&0), postgres.get(name).unwrap_or(&0));
        let required = REQUIRED.iter().find(|(n, _)| n == name).map_or(String::new(), |(_, n)| n.to_string());
        eprintln!("{name:<42} {a:>10} {b:>10} {:>10} {required:>10}", a + b);
    }
}
