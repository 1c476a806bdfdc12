//! A restart that is to come when no step is at work waits for those that are, and for nobody else.

use crate::load::Load;
use crate::logs;
use crate::rolling::{incarnations, said};
use crate::support::controller::{Controller, FarAgent, LONG, Options, wait};
use crate::support::machines::Machines;

/// Its step goes on until it is told to end.
const STEP: &str = r#"
node('work') {
    sh 'echo begins; while [ ! -e FOLDER/end ]; do sleep 0.1; done; echo ends'
    echo 'all of it'
}
"#;
/// Nothing of it is at work, for longer than this test.
const SLEEP: &str = "node('work') { sleep 3600 }";

/// Builds that have an act in flight which another owner would have to follow on, as replicas tell whoever restarts them.
fn busy(controller: &Controller) -> u64 {
    let (parent, peer) = (controller.parent(), controller.replicas()[0].peer);
    let asked = parent.post(peer, "/admin/rollout").unwrap();
    let asked: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
    asked["busy"].as_u64().unwrap()
}

fn phase(controller: &Controller) -> String {
    controller.client().json("/replicas/api/json")["rollout"]["phase"].as_str().unwrap_or_default().to_owned()
}

/// The first build of that job; it has said that.
fn begin(controller: &Controller, job: &str, script: &str, says: &str) {
    let client = controller.client();
    controller.create_job(job, script);
    let asked = client.post(&format!("/job/{job}/buildWithParameters?ID={job}&delay=0sec")).unwrap();
    assert_eq!(asked.status, 201, "{}", asked.text());
    wait(LONG, says, || log(controller, job).lines().any(|line| line == says).then_some(()));
}

fn log(controller: &Controller, job: &str) -> String {
    let reply = controller.client().get(&format!("/job/{job}/1/consoleText"));
    if reply.status == 200 { reply.text() } else { String::new() }
}

fn result(controller: &Controller, job: &str) -> Option<String> {
    let build = controller.client().json(&format!("/job/{job}/1/api/json?tree=result"));
    build["result"].as_str().map(str::to_owned)
}

fn waits_for_the_step(controller: &Controller) {
    let _agent = FarAgent::start(controller, "far-1", 4, "work");
    let mut load = Load::new(controller, "i");
    let first = incarnations(controller);
    begin(controller, "sleeps", SLEEP, "Sleeping for 1 hr 0 min");
    wait(LONG, "who sleeps is not busy", || (busy(controller) == 0).then_some(()));
    let step = STEP.replace("FOLDER", &load.folder().display().to_string());
    begin(controller, "works", &step, "begins");
    wait(LONG, "who works is busy", || (busy(controller) == 1).then_some(()));

    let restart = controller.command(&["restart", "--when", "idle", "--no-wait"]);
    assert!(restart.status.success(), "{}", said(&restart));
    wait(LONG, "the restart waits", || (phase(controller) == "waiting").then_some(()));
    // builds go on beginning and ending meanwhile
    load.ask_any().unwrap();
    let builds = load.finish(LONG);
    load.check(&builds);
    assert_eq!((phase(controller).as_str(), incarnations(controller)), ("waiting", first.clone()));
    assert_eq!(result(controller, "works"), None);

    std::fs::write(load.folder().join("end"), "").unwrap();
    wait(LONG, "all are restarted", || {
        let now = incarnations(controller);
        let all = now.len() == first.len() && first.is_disjoint(&now);
        (all && phase(controller) == "settled").then_some(())
    });
    wait(LONG, "it succeeds", || (result(controller, "works").as_deref() == Some("SUCCESS")).then_some(()));
    let printed = log(controller, "works");
    let printed = printed.lines().filter(|line| ["begins", "ends", "all of it"].contains(line));
    assert_eq!(printed.collect::<Vec<_>>(), ["begins", "ends", "all of it"]);
    // it has not held up anybody, and sleeps on
    assert_eq!(result(controller, "sleeps"), None);
    assert_eq!(controller.client().post("/job/sleeps/1/stop").unwrap().status, 302);
    wait(LONG, "it is aborted", || {
        (result(controller, "sleeps").as_deref() == Some("ABORTED")).then_some(())
    });
}

#[test]
fn a_restart_when_idle_waits_for_a_step_and_for_nobody_who_only_waits() {
    let mut controller = Controller::start(Options { name: "idle", store: None, replicas: 2, agents: 0 });
    waits_for_the_step(&controller);
    controller.stop();
    logs::check(&controller, &[]);
}

#[test]
fn machines_that_restart_when_idle_wait_for_a_step_and_for_nobody_who_only_waits() {
    let mut machines = Machines::start("machines-idle", None);
    waits_for_the_step(&machines.controller);
    machines.stop();
    logs::check(&machines.controller, &[]);
}
