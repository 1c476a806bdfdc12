//! What happens to builds when `up` or everything is killed.

use std::time::Duration;

use crate::load::{Load, MIXED};
use crate::logs;
use crate::support::controller::{Controller, FarAgent, LONG, Options, wait};

fn start(name: &'static str) -> Controller {
    Controller::start(Options { name, store: None, replicas: 3, agents: 2 })
}

fn label_work(controller: &Controller) -> FarAgent {
    FarAgent::start(controller, "far-1", 4, "work")
}

#[test]
fn killing_up_kills_no_build_and_the_next_up_takes_over() {
    let mut controller = start("up");
    let _agent = label_work(&controller);
    let mut load = Load::new(&controller, "u");
    let queued: Vec<_> = MIXED.iter().map(|job| load.ask(job).unwrap()).collect();
    wait(LONG, "builds run", || {
        (load.builds().iter().filter(|b| queued.contains(&b.queue)).count() == queued.len()).then_some(())
    });
    let before = controller.replicas();
    controller.kill_up();
    load.ask_any().expect("replicas answer without `up`");
    controller.start_up();
    let after = controller.replicas();
    for replica in &before {
        assert!(
            after.iter().any(|r| (r.pid, &r.name) == (replica.pid, &replica.name)),
            "{before:?} {after:?}"
        );
    }
    let builds = load.finish(LONG);
    assert_eq!(load.check(&builds).builds, MIXED.len() + 1);
    // what is killed now is started again by the new `up`
    assert!(controller.process(after[0].pid).unwrap().signal(rustix::process::Signal::KILL));
    controller.wait_ready();
    controller.stop();
    let left: Vec<_> =
        controller.processes().into_iter().filter(|p| p.value("-name") != Some("far-1")).collect();
    assert!(left.is_empty(), "{left:?}");
    logs::check(&controller, &[]);
}

#[test]
fn killing_everything_at_once_loses_no_build_and_no_acknowledged_write() {
    let mut controller = start("everything");
    let mut agent = label_work(&controller);
    let mut load = Load::new(&controller, "e");
    for round in 0..3 {
        for job in MIXED {
            load.ask(job);
        }
        let running = round * MIXED.len() + 1;
        wait(LONG, "builds run", || (load.builds().len() >= running).then_some(()));
        std::thread::sleep(Duration::from_millis(700 * round as u64));
        // the last one is acknowledged right before the end
        load.ask_any().unwrap();
        agent.kill();
        controller.kill_everything();
        controller.start_up();
        agent.begin();
    }
    let builds = load.finish(LONG);
    assert_eq!(load.check(&builds).builds, load.asked.len());
    controller.stop();
    logs::check(&controller, &[]);
}
