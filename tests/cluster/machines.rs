//! Three machines without `up`: service managers that do with our unit what systemd does, PostgreSQL, and nginx in front.

use std::collections::BTreeSet;

use crate::load::Load;
use crate::logs;
use crate::rolling::{Clients, incarnations, said, under_load, withdraw};
use crate::support::controller::{FarAgent, LONG, wait};
use crate::support::front::Kind;
use crate::support::machines::{Machines, path};

/// What this harness does on purpose.
const ON_PURPOSE: &[(&str, &str)] =
    &[("does not run: Exec format error", "what was installed is no program")];

struct Story {
    machines: Machines,
    load: Load,
    agents: Vec<FarAgent>,
    clients: Option<Clients>,
}

impl Story {
    /// Agents, builds, and clients that never ask twice, all through the proxy.
    fn begin(name: &'static str, kind: Kind) -> Story {
        let machines = Machines::start(name, Some(kind));
        let controller = &machines.controller;
        let agents = (1..=3).map(|n| FarAgent::start(controller, &format!("far-{n}"), 4, "work")).collect();
        let load = Load::new(controller, "m");
        let clients = Some(Clients::start(controller).and_posts(controller));
        Story { machines, load, agents, clients }
    }

    fn command(&mut self, arguments: &[&str]) -> std::process::Output {
        under_load(&self.machines.controller, &mut self.load, arguments)
    }

    /// No request has failed, no byte is lost, and nothing unexpected was logged.
    fn end(mut self) {
        let builds = self.load.finish(LONG);
        let front = self.machines.front_log();
        let answers = self.clients.take().map(Clients::finish);
        let refused: Vec<_> = self.load.asked.iter().filter(|asked| asked.queue.is_none()).collect();
        assert!(refused.is_empty(), "builds that nobody has acknowledged: {refused:?}\n{front}");
        eprintln!("{:?}, {answers:?} requests answered", self.load.check(&builds));
        drop(self.agents);
        self.machines.stop();
        logs::check(&self.machines.controller, ON_PURPOSE);
    }
}

fn replaced(before: &BTreeSet<i64>, after: &BTreeSet<i64>) -> bool {
    after.len() == 3 && before.is_disjoint(after)
}

#[test]
fn machines_restart_each_other_without_a_proxy() {
    let mut machines = Machines::start("machines-bare", None);
    let first = incarnations(&machines.controller);
    // asked at the second one: while that is away itself, it is asked again
    let restart = machines.controller.command(&["restart"]);
    assert!(restart.status.success(), "{}", said(&restart));
    let second = incarnations(&machines.controller);
    assert!(replaced(&first, &second), "{first:?} {second:?}\n{}", said(&restart));
    assert_eq!(machines.revisions(), ["1.1", "1.1", "1.1"]);

    let drained = machines.controller.command(&["drain", "ci-2"]);
    assert!(drained.status.success(), "{}", said(&drained));
    assert!(incarnations(&machines.controller).len() == 2);
    let unknown = machines.controller.command(&["drain", "nobody"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));
    assert!(
        said(&unknown).contains("there is no replica nobody; there are ci-0, ci-1, ci-2"),
        "{}",
        said(&unknown)
    );
    let _agent = FarAgent::start(&machines.controller, "far", 1, "work");
    withdraw(&machines.controller, "work");
    let idle = machines.controller.command(&["restart", "--when", "idle"]);
    assert!(idle.status.success(), "{}", said(&idle));
    assert!(replaced(&second, &incarnations(&machines.controller)), "{}", said(&idle));
    machines.stop();
    logs::check(&machines.controller, ON_PURPOSE);
}

#[test]
fn a_rolling_restart_behind_nginx_fails_no_request_and_loses_no_byte() {
    rolling_restart(Story::begin("machines-nginx", Kind::Nginx));
}

#[test]
fn a_rolling_restart_behind_haproxy_fails_no_request_and_loses_no_byte() {
    rolling_restart(Story::begin("machines-haproxy", Kind::Haproxy));
}

fn rolling_restart(mut story: Story) {
    let first = incarnations(&story.machines.controller);
    let restart = story.command(&["restart"]);
    assert!(restart.status.success(), "{}", said(&restart));
    let second = incarnations(&story.machines.controller);
    assert!(replaced(&first, &second), "{first:?} {second:?}\n{}", said(&restart));
    story.end();
}

#[test]
fn a_new_program_is_taken_and_one_that_can_not_start_is_gone_back_from() {
    let mut story = Story::begin("machines-new", Kind::Nginx);
    let first = incarnations(&story.machines.controller);
    // It says its version, so it is tried; and it does not start.
    story.machines.install(|aside| {
        let script = "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'majordomo: not today' >&2\nexit 2\n";
        std::fs::write(aside, script).unwrap();
    });
    let broken = story.command(&["reload"]);
    assert!(!broken.status.success(), "{}", said(&broken));
    assert!(
        said(&broken).contains("ci-0 can't start it") && said(&broken).contains("exited 2"),
        "{}",
        said(&broken)
    );
    wait(LONG, "the former program is back", || (story.machines.ready() == 3).then_some(()));
    let kept: Vec<_> = incarnations(&story.machines.controller).intersection(&first).copied().collect();
    assert_eq!(kept.len(), 2, "only the first was touched");
    assert_eq!(story.machines.revisions(), ["1.0", "1.0", "1.0"]);
    assert_eq!(story.machines.rollout()["phase"], "halted");
    assert_eq!(story.machines.units[0].starts(), 1 + 4, "three attempts, and the way back");

    // one that does not even run is not tried
    story.machines.install(|aside| std::fs::write(aside, "no program\n").unwrap());
    let rubbish = story.command(&["reload"]);
    assert!(said(&rubbish).contains("does not run"), "{}", said(&rubbish));
    assert_eq!(story.machines.units[0].starts(), 5);

    story.machines.install(|aside| {
        std::fs::copy(env!("CARGO_BIN_EXE_majordomo"), aside).unwrap();
    });
    let before = incarnations(&story.machines.controller);
    let reload = story.command(&["reload"]);
    assert!(reload.status.success(), "{}", said(&reload));
    assert!(replaced(&before, &incarnations(&story.machines.controller)), "{}", said(&reload));
    assert_eq!(story.machines.revisions(), ["4.0", "4.0", "4.0"]);
    for unit in &story.machines.units {
        assert!(!path(unit, "trial").exists() && !path(unit, "gave-up").exists(), "{}", unit.machine().name);
        assert_eq!(unit.status(), "ready revision 4.0");
    }
    story.end();
}

#[test]
fn another_one_goes_on_when_the_holder_of_the_rollout_is_killed() {
    let mut story = Story::begin("machines-holder", Kind::Nginx);
    // what a killed replica was answering fails: this story asks only for builds
    let _answers = story.clients.take().map(Clients::finish);
    let controller = &story.machines.controller;
    let first = incarnations(controller);
    assert_eq!(controller.client().post("/restart").unwrap().status, 302);
    let machines = &story.machines;
    let mut killed = None;
    story.load.keep_going(6, |_| {
        let rollout = machines.rollout();
        let holder = rollout["holder"].as_str();
        let goes_on = rollout["phase"] == "rolling" && incarnations(controller).len() == 2;
        if let (None, Some(holder), true) = (&killed, holder, goes_on) {
            let unit = machines.units.iter().find(|unit| unit.machine().name == holder).unwrap();
            unit.kill();
            killed = Some(holder.to_owned());
        }
        killed.is_some() && rollout["phase"] == "settled" && replaced(&first, &incarnations(controller))
    });
    eprintln!("{} was killed", killed.unwrap());
    assert_eq!(machines.revisions(), ["1.1"; 3]);
    let builds = story.load.finish(LONG);
    eprintln!("{:?}", story.load.check(&builds));
}

#[test]
fn builds_go_on_when_a_machine_is_lost_and_it_is_told_what_to_run_when_it_is_back() {
    let mut story = Story::begin("machines-lost", Kind::Nginx);
    let _answers = story.clients.take().map(Clients::finish);
    let ended = story.load.acknowledged() + 4;
    story.load.keep_going(6, |done| done >= ended);
    story.machines.units[1].power_off();
    // builds begin and end without it
    let ended = story.load.acknowledged() + 4;
    story.load.keep_going(6, |done| done >= ended);
    assert_eq!(incarnations(&story.machines.controller).len(), 2);
    // a restart waits for it
    assert_eq!(story.machines.controller.client().post("/restart").unwrap().status, 302);
    let machines = &story.machines;
    story.load.keep_going(6, |_| {
        machines.rollout()["message"] == "revision 1.1 waits until all others are ready: ci-1"
    });
    story.machines.units[1].power_on();
    let machines = &story.machines;
    story.load.keep_going(6, |_| machines.rollout()["phase"] == "settled");
    story.machines.wait_ready();
    assert_eq!(story.machines.revisions(), ["1.1"; 3]);
    let builds = story.load.finish(LONG);
    eprintln!("{:?}", story.load.check(&builds));
}

#[test]
fn a_machine_whose_program_has_become_too_old_takes_what_is_installed() {
    let mut machines = Machines::start("machines-old", None);
    machines.units[2].power_off();
    // as if the others had a newer version meanwhile
    let former = machines.server.sql("home0", "SELECT level FROM meta");
    machines.server.sql("home0", "UPDATE meta SET level = 1000");
    machines.units[2].power_on();
    let current = path(&machines.units[2], "current");
    wait(LONG, "it gives its program up", || {
        (std::fs::read_link(&current).unwrap().ends_with("first")).then_some(())
    });
    // what is installed is too old as well, then it is not
    let starts = machines.units[2].starts();
    wait(LONG, "it goes on trying", || (machines.units[2].starts() > starts + 1).then_some(()));
    let another = "#!/bin/sh\nexit 5\n";
    machines.install(|aside| std::fs::write(aside, another).unwrap());
    let taken = current.join("majordomo");
    wait(LONG, "a package is taken", || {
        std::fs::read(&taken).is_ok_and(|program| program == another.as_bytes()).then_some(())
    });
    machines.install(|aside| {
        std::fs::copy(env!("CARGO_BIN_EXE_majordomo"), aside).unwrap();
    });
    machines.server.sql("home0", &format!("UPDATE meta SET level = {former}"));
    machines.wait_ready();
    assert_eq!(machines.revisions(), ["1.0"; 3]);
    machines.stop();
}
