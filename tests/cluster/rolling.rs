//! Replicas are replaced one after the other under load: no request fails, no byte is lost.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::load::Load;
use crate::logs;
use crate::support::controller::{Controller, FarAgent, LONG, Options, wait};
use crate::support::http::{KeptAlive, Reply};
use crate::support::postgres::Server;
use crate::ticks::Ticks;

const PATHS: [&str; 4] = [
    "/api/json",
    "/job/line/api/json?depth=1",
    "/queue/api/json",
    "/computer/api/json?tree=computer[displayName,offline]",
];

/// Clients that ask all the time and never ask twice.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    ticks: Ticks,
    answers: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Clients {
    pub(crate) fn start(controller: &Controller) -> Clients {
        let (stop, answers, threads) = (Arc::default(), Arc::default(), Vec::new());
        let mut clients = Clients { stop, ticks: Ticks::start(controller), answers, threads };
        for _ in 0..2 {
            let client = controller.client();
            clients.spawn(move |path| client.try_get(path));
            let mut kept = KeptAlive::new(controller.client());
            clients.spawn(move |path| kept.get(path));
        }
        clients
    }

    /// And some that change what is so already: what is sent twice would not be noticed, what is not carried out is.
    pub(crate) fn and_posts(mut self, controller: &Controller) -> Clients {
        for _ in 0..2 {
            let client = controller.client();
            self.spawn(move |_| {
                let mut reply = client.post("/cancelQuietDown")?;
                reply.status = if reply.status == 302 { 200 } else { reply.status };
                Ok(reply)
            });
        }
        self
    }

    fn spawn(&mut self, mut get: impl FnMut(&str) -> std::io::Result<Reply> + Send + 'static) {
        let (stop, answers) = (Arc::clone(&self.stop), Arc::clone(&self.answers));
        self.threads.push(std::thread::spawn(move || {
            let mut failed = Vec::new();
            for path in PATHS.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                match get(path) {
                    Ok(reply) if reply.status == 200 => {
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(reply) => failed.push(format!("{path}: {} {}", reply.status, reply.text())),
                    Err(error) => failed.push(format!("{path}: {error}")),
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            failed
        }));
    }

    /// How many answers there were; that all were is checked.
    pub(crate) fn finish(self) -> u64 {
        self.ticks.finish();
        self.stop.store(true, Ordering::Relaxed);
        let failed: Vec<String> =
            self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(failed.is_empty(), "{} requests failed:\n{}", failed.len(), failed.join("\n"));
        self.answers.load(Ordering::Relaxed)
    }
}

pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub(crate) fn incarnations(controller: &Controller) -> BTreeSet<i64> {
    controller.replicas().iter().filter(|r| r.state == "ready").map(|r| r.incarnation).collect()
}

/// What those that are ready run.
fn programs(controller: &Controller) -> BTreeSet<PathBuf> {
    let ready = controller.replicas().into_iter().filter(|r| r.state == "ready");
    ready.map(|r| std::fs::read_link(format!("/proc/{}/exe", r.pid)).unwrap()).collect()
}

/// Runs a command of ours under load; gives how it ended.
pub(crate) fn under_load(controller: &Controller, load: &mut Load, arguments: &[&str]) -> Output {
    // Builds run and clients ask before, meanwhile and after.
    let ended = load.acknowledged() + 2;
    load.keep_going(6, |done| done + 6 >= ended);
    std::thread::scope(|scope| {
        let command = scope.spawn(|| controller.command(arguments));
        load.keep_going(6, |_| command.is_finished());
        command.join().unwrap()
    })
}

pub(crate) fn roll(name: &'static str, store: Option<String>) -> (Controller, Load, Vec<FarAgent>) {
    let controller = Controller::start_own(Options { name, store, replicas: 3, agents: 0 });
    let agents: Vec<_> =
        (1..=3).map(|n| FarAgent::start(&controller, &format!("far-{n}"), 4, "work")).collect();
    let load = Load::new(&controller, "r");
    (controller, load, agents)
}

/// No request has failed, and no byte is lost.
pub(crate) fn settle(load: &Load, clients: Clients) {
    let builds = load.finish(LONG);
    let answers = clients.finish();
    let refused = load.asked.iter().filter(|asked| asked.queue.is_none()).count();
    assert_eq!(refused, 0, "builds that nobody has acknowledged");
    eprintln!("{:?}, {answers} requests answered", load.check(&builds));
}

pub(crate) fn finish(mut controller: Controller, load: &Load, clients: Clients) {
    settle(load, clients);
    controller.stop();
    logs::check(&controller, &[]);
}

#[test]
fn a_restart_and_a_new_program_fail_no_request_and_lose_no_byte() {
    let (controller, mut load, _agents) = roll("rolling", None);
    let clients = Clients::start(&controller);
    let first = incarnations(&controller);

    let restart = under_load(&controller, &mut load, &["restart"]);
    assert!(restart.status.success(), "{}", said(&restart));
    let second = incarnations(&controller);
    assert!(second.len() == 3 && first.is_disjoint(&second), "{first:?} {second:?}");

    controller.install(|aside| {
        std::fs::write(aside, "#!/bin/sh\necho 'majordomo: not today' >&2\nexit 2\n").unwrap()
    });
    let broken = under_load(&controller, &mut load, &["reload"]);
    assert!(
        !broken.status.success() && said(&broken).contains("was given up: not today"),
        "{}",
        said(&broken)
    );
    wait(LONG, "the former program is back", || (incarnations(&controller).len() == 3).then_some(()));
    let kept: Vec<_> = incarnations(&controller).intersection(&second).copied().collect();
    assert_eq!(kept.len(), 2, "only the first slot was touched");

    let former = programs(&controller);
    controller.install(|aside| {
        std::fs::copy(env!("CARGO_BIN_EXE_majordomo"), aside).unwrap();
    });
    let reload = under_load(&controller, &mut load, &["reload"]);
    assert!(reload.status.success(), "{}", said(&reload));
    let third = incarnations(&controller);
    assert!(third.len() == 3 && second.is_disjoint(&third), "{second:?} {third:?}");
    let kept = std::fs::read_dir(controller.home.join("programs")).unwrap().count();
    assert_eq!(kept, 2, "what nobody can go back to is not kept");
    assert!(former.len() == 1 && former.is_disjoint(&programs(&controller)), "{former:?}");

    let back = under_load(&controller, &mut load, &["reload", "--back"]);
    assert!(back.status.success(), "{}", said(&back));
    let fourth = incarnations(&controller);
    assert!(fourth.len() == 3 && third.is_disjoint(&fourth), "{third:?} {fourth:?}");
    assert_eq!(programs(&controller), former);
    finish(controller, &load, clients);
}

#[test]
fn a_restart_on_postgres_fails_no_request_and_loses_no_byte() {
    let Some(server) = Server::start() else { panic!("PostgreSQL is not installed: see tests/run") };
    let (mut controller, mut load, _agents) = roll("rolling-pg", Some(server.database()));
    let clients = Clients::start(&controller);
    let first = incarnations(&controller);
    // `up` is killed in the middle of it, and the next one goes on
    let asked = controller.client().post("/restart").unwrap();
    assert_eq!(asked.status, 302);
    load.keep_going(6, |_| !first.is_subset(&incarnations(&controller)));
    controller.kill_up();
    controller.start_up();
    load.keep_going(6, |_| {
        let now = incarnations(&controller);
        now.len() == 3 && first.is_disjoint(&now)
    });
    finish(controller, &load, clients);
}

/// A build has a step at work, for as long as nobody stops it, and replicas have said so.
fn hold(controller: &Controller, label: &str) {
    controller.create_job("hold", &format!("node('{label}') {{ sh 'while :; do sleep 1; done' }}"));
    assert_eq!(controller.client().post("/job/hold/buildWithParameters?ID=1").unwrap().status, 201);
    let (parent, peer) = (controller.parent(), controller.replicas()[0].peer);
    wait(LONG, "a step is at work", || {
        let asked = parent.post(peer, "/admin/rollout").ok().filter(|reply| reply.status == 200)?;
        let asked: serde_json::Value = serde_json::from_slice(&asked.body).ok()?;
        asked["busy"].as_u64().filter(|busy| *busy > 0)
    });
}

fn stop_holding(controller: &Controller) {
    let client = controller.client();
    assert_eq!(client.post("/job/hold/1/stop").unwrap().status, 302);
    wait(LONG, "the build ends", || (client.json("/job/hold/1/api/json")["building"] == false).then_some(()));
}

/// While a step is at work, a restart waits, and is withdrawn. An agent has this label.
pub(crate) fn withdraw(controller: &Controller, label: &str) {
    let client = controller.client();
    let first = incarnations(controller);
    let waits = || {
        wait(LONG, "the restart waits", || {
            let seen = client.json("/replicas/api/json?tree=rollout[phase,restart],restart[number]");
            let heard = seen["rollout"]["restart"] == seen["restart"]["number"];
            (heard && seen["rollout"]["phase"] == "waiting").then_some(())
        });
    };
    hold(controller, label);
    let asked = controller.command(&["restart", "--when", "idle", "--no-wait"]);
    assert!(asked.status.success(), "{}", said(&asked));
    waits();
    let cancel = controller.command(&["restart", "--cancel"]);
    assert!(cancel.status.success(), "{}", said(&cancel));
    assert_eq!(client.json("/replicas/api/json")["rollout"]["phase"], "settled");
    let again = controller.command(&["restart", "--cancel"]);
    assert_eq!(again.status.code(), Some(2), "{}", said(&again));
    assert!(said(&again).contains("no restart waits"), "{}", said(&again));

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| controller.command(&["restart", "--when", "idle"]));
        waits();
        assert_eq!(client.post("/cancelQuietDown").unwrap().status, 302);
        let waiting = waiting.join().unwrap();
        assert!(!waiting.status.success(), "{}", said(&waiting));
        assert!(said(&waiting).contains("the restart was withdrawn"), "{}", said(&waiting));
    });
    stop_holding(controller);
    assert_eq!(incarnations(controller), first, "nobody was replaced");
}

#[test]
fn a_restart_that_waits_is_withdrawn() {
    let options = Options { name: "withdrawn", store: None, replicas: 2, agents: 1 };
    let mut controller = Controller::start(options);
    withdraw(&controller, "local");
    controller.stop();
    logs::check(&controller, &[]);
}

#[test]
fn nothing_begins_in_a_quiet_period_and_a_drained_replica_has_nothing() {
    let mut controller = Controller::start(Options { name: "quiet", store: None, replicas: 2, agents: 1 });
    let mut load = Load::new(&controller, "q");
    let client = controller.client();
    assert_eq!(client.post("/quietDown?reason=disk").unwrap().status, 302);
    let root = client.json("/api/json?tree=quietingDown,quietDownReason");
    assert_eq!(
        (root["quietingDown"].as_bool(), root["quietDownReason"].as_str()),
        (Some(true), Some("disk"))
    );
    load.ask_any().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(load.builds().is_empty());
    assert_eq!(client.post("/cancelQuietDown").unwrap().status, 302);
    assert_eq!(client.json("/api/json")["quietingDown"], false);
    wait(LONG, "the build begins", || (!load.builds().is_empty()).then_some(()));

    let name = controller.replicas()[0].name.clone();
    let drained = controller.command(&["drain", &name]);
    assert!(drained.status.success(), "{}", said(&drained));
    let unknown = controller.command(&["drain", "nobody"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));
    assert!(said(&unknown).contains("no replica nobody has run in"), "{}", said(&unknown));
    let replicas = controller.replicas();
    let replica = replicas.iter().find(|r| r.name == name).unwrap();
    assert_eq!((replica.state.as_str(), replica.builds.len()), ("draining", 0));
    assert!(replica.agents.is_empty(), "{replica:?}");
    let builds = load.finish(LONG);
    load.check(&builds);
    let restart = controller.command(&["restart"]);
    assert!(restart.status.success(), "{}", said(&restart));
    assert_eq!(incarnations(&controller).len(), 2);
    controller.stop();
    logs::check(&controller, &[]);
}

#[test]
fn replicas_are_added_and_taken_away_one_after_the_other() {
    let describe = |replicas: usize| {
        format!(
            "apiVersion: majordomo.dev/v1alpha1\nkind: HAController\nmetadata: {{name: up}}\n\
             spec: {{replicas: {replicas}}}\n"
        )
    };
    let options = Options { name: "count", store: None, replicas: 3, agents: 0 };
    let controller = Controller::start_described(options, &describe(3));
    let _agents: Vec<_> =
        (1..=2).map(|n| FarAgent::start(&controller, &format!("far-{n}"), 4, "work")).collect();
    let mut load = Load::new(&controller, "n");
    let clients = Clients::start(&controller);
    let mut becomes = |count: usize| {
        controller.describe(&describe(count));
        let reload = under_load(&controller, &mut load, &["reload"]);
        assert!(reload.status.success(), "{}", said(&reload));
        load.keep_going(4, |_| {
            let replicas = controller.replicas();
            let are = |state: &str| replicas.iter().filter(|r| r.state == state).count();
            assert!(are("starting") <= 1 && are("draining") <= 1, "{replicas:?}");
            are("ready") == count && are("starting") + are("draining") + are("waiting") == 0
        });
        incarnations(&controller)
    };
    let first = becomes(3);
    let more = becomes(5);
    assert!(more.len() == 5 && first.is_subset(&more), "{first:?} {more:?}");
    let fewer = becomes(2);
    assert!(fewer.len() == 2 && fewer.is_subset(&first), "{first:?} {fewer:?}");
    let seen = controller.client().json("/replicas/api/json?tree=replicas[name,state,since]");
    let stopped = seen["replicas"].as_array().unwrap().iter().filter(|r| r["state"] == "stopped");
    let mut stopped: Vec<_> = stopped.map(|r| (r["since"].as_i64(), r["name"].as_str())).collect();
    stopped.sort();
    let names: Vec<_> = stopped.iter().filter_map(|(_, name)| *name).collect();
    assert_eq!(names, ["up-4", "up-3", "up-2"], "the last one goes first: {seen}");
    finish(controller, &load, clients);
}
