//! Replicas that hang and are not killed: they wake as former owners, with commands on their way, and are refused by
//! the store and by the agents.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::faults::Tally;
use crate::load::Load;
use crate::logs;
use crate::support::controller::{Controller, FarAgent, LONG, Options, Replica};
use crate::support::http::Client;
use crate::support::postgres::Server;
use crate::support::random::{Random, seed};

const ZOMBIES: &str = "former owners woken";
const BY_STORE: &str = "zombies refused by the store";
const BY_AGENTS: &str = "commands refused by agents";

/// Until both have refused something.
const LONGEST: Duration = Duration::from_secs(240);

#[test]
fn former_owners_that_wake_are_refused_by_the_store_and_by_agents() {
    let Some(server) = Server::start() else { panic!("PostgreSQL is not installed: see tests/run") };
    let options = Options { name: "zombies", store: Some(server.database()), replicas: 3, agents: 0 };
    let mut controller = Controller::start(options);
    let agents: Vec<_> =
        (1..=3).map(|n| FarAgent::start(&controller, &format!("far-{n}"), 4, "work")).collect();
    let mut load = Load::quick(&controller, "z");
    let mut random = Random::new(seed(), "zombies");
    let (tally, began) = (Tally::default(), Instant::now());
    let mut round = 0;
    load.keep_going(8, |_| {
        assert!(began.elapsed() < LONGEST, "{:?}", tally.all());
        let refused = |what: &'static str, part: &str| {
            tally.add(what, logs::count(&controller, part) as u64 - tally.of(what));
            tally.of(what) > 0
        };
        let by_store = refused(BY_STORE, "a build is driven by another replica now");
        let by_agents = refused(BY_AGENTS, "refuse a command under a stale fence");
        if by_store && by_agents && tally.of(ZOMBIES) >= 6 {
            return true;
        }
        round += 1;
        if wake_a_zombie(&controller, &server, &mut random, round % 4 == 1) {
            tally.count(ZOMBIES);
        }
        false
    });
    controller.wait_ready();
    let builds = load.finish(LONG);
    let checked = load.check(&builds);
    eprintln!("{checked:?} {:?}", tally.all());
    drop(agents);
    controller.stop();
    logs::check(&controller, &[]);
}

/// Stops an owner until others have its builds, and lets it go on. `up` must not see it, so it is stopped as well.
fn wake_a_zombie(controller: &Controller, server: &Server, random: &mut Random, silent: bool) -> bool {
    let replicas = controller.replicas();
    let Some((owner, heir)) = roles(&replicas) else {
        std::thread::sleep(Duration::from_millis(100));
        return false;
    };
    let Some(zombie) = controller.process(owner.pid) else { return false };
    let up = controller.up();
    up.signal(Signal::STOP);
    if silent {
        // nobody says that it has gone: its lease lapses
        zombie.signal(Signal::STOP);
        wait_until_gone(controller, owner, Duration::from_secs(12));
    } else {
        // It has committed what it is about to do and learns of it only when it wakes, which is before its own
        // lease could lapse: it believes that the builds are its own, and sends.
        server.hold_commits();
        std::thread::sleep(random.millis(200, 500));
        zombie.signal(Signal::STOP);
        server.answer_commits();
        let word = format!(r#"{{"name":"{}","incarnation":{}}}"#, owner.name, owner.incarnation);
        let parent = Client::bearer(heir.peer, &controller.keys().peer_token());
        let told = parent.send("POST", "/admin/lapsed", "application/json", word.as_bytes());
        assert_eq!(told.map(|reply| reply.status).ok(), Some(200), "the word of its parent");
        wait_until_gone(controller, owner, Duration::from_secs(2));
        // and the agents are claimed
        std::thread::sleep(random.millis(100, 400));
    }
    zombie.signal(Signal::CONT);
    std::thread::sleep(Duration::from_millis(500));
    up.signal(Signal::CONT);
    true
}

/// Others drive what it drove, or time is up.
fn wait_until_gone(controller: &Controller, owner: &Replica, most: Duration) {
    let deadline = Instant::now() + most;
    let drives = |r: &Replica| r.incarnation == owner.incarnation && !r.builds.is_empty();
    while controller.replicas().iter().any(drives) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An owner, and one of those that may have its builds; another one than the owner holds links.
fn roles(replicas: &[Replica]) -> Option<(&Replica, &Replica)> {
    let ready: Vec<_> = replicas.iter().filter(|r| r.state == "ready").collect();
    let others_hold = |owner: &Replica| ready.iter().any(|r| r.pid != owner.pid && !r.agents.is_empty());
    let owners = ready.iter().filter(|r| !r.builds.is_empty() && others_hold(r));
    let owner = owners.max_by_key(|r| r.builds.len())?;
    let heir = ready.iter().find(|r| r.pid != owner.pid)?;
    Some((owner, heir))
}
