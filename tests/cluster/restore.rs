//! A database that is set back in time while builds run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::load::{Load, counts};
use crate::logs;
use crate::support::controller::{Controller, FarAgent, LONG, Options, wait};
use crate::support::postgres::Server;

#[test]
fn a_restored_snapshot_doubles_no_step_and_hangs_no_build() {
    let Some(mut server) = Server::start_durable() else {
        panic!("PostgreSQL is not installed: see tests/run")
    };
    let options = Options { name: "restore", store: Some(server.database()), replicas: 3, agents: 2 };
    let mut controller = Controller::start(options);
    let agents: Vec<_> =
        (1..=2).map(|n| FarAgent::start(&controller, &format!("far-{n}"), 4, "work")).collect();
    let mut load = Load::new(&controller, "r");
    for _ in 0..9 {
        load.ask_any();
    }
    // one that is still in the queue would be taken again, and that is right
    wait(LONG, "builds have begun", || {
        let builds = load.builds();
        let says = |log: String| log.contains("Start of Pipeline") || log.contains("Running as SYSTEM");
        let begun = builds.iter().filter(|b| says(load.console(b))).count();
        (begun == load.asked.len()).then_some(())
    });

    server.stop();
    let snapshot = server.copy();
    server.begin();
    // a future that is going to be lost: builds go on and end, others begin
    wait(LONG, "builds end", || {
        load.ask_any();
        std::thread::sleep(Duration::from_millis(300));
        (load.builds().iter().filter(|b| b.result.is_some()).count() >= 4).then_some(())
    });
    let lost_from = 9;
    server.kill_9();
    server.restore(&snapshot);
    server.begin();

    let after = load.asked.len();
    wait(LONG, "builds are taken", || {
        load.ask_any();
        (load.asked[after..].iter().filter(|a| a.queue.is_some()).count() >= 4).then_some(())
    });
    controller.wait_ready();

    // what was acknowledged in the lost future may be gone
    let lost = load.asked.drain(lost_from..after).collect::<Vec<_>>();
    let builds = load.finish(LONG);
    let ran = counts(&load.folder().join("ids"));
    let doubled: BTreeMap<_, _> = ran.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "steps that ran more than once: {doubled:?}");
    let mut said = 0;
    for build in &builds {
        let log = load.console(build);
        if build.result.as_deref() == Some("SUCCESS") {
            load.check_one(build, &log, &ran);
        } else {
            assert!(SENTENCES.iter().any(|s| log.contains(s)), "{build:?} does not say why:\n{log}");
            said += 1;
        }
    }
    assert!(said > 0, "nothing was lost: the test is too late with its restore");
    let new = load.asked[lost_from..].iter().filter(|a| a.queue.is_some()).count();
    let succeeded = builds.iter().filter(|b| b.result.as_deref() == Some("SUCCESS")).count();
    assert!(new >= 4 && succeeded >= new, "builds after the restore run as ever: {succeeded} of {new}");
    let ended = builds.len();
    eprintln!("{} asked for in the lost future; of {ended} builds {said} say what they lost", lost.len());
    drop(agents);
    controller.stop();
    logs::check(
        &controller,
        &[
            ("the store was set back in time", "it was"),
            ("an agent holds a higher fence: the store went back", "it did"),
            ("the log of a build stays in the database", "its length was read before and its bytes after"),
            ("the store has forgotten what it has of a build: it went back", "it did"),
        ],
    );
}

/// How a build says that it can't know what became of a step.
const SENTENCES: &[&str] = &["lost", "set back in time"];
