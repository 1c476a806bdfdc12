//! A step is ended with all it started.

use std::time::{Duration, Instant};

use remoting::ops::{Command, StepState};

use crate::process::{Agent, alive, read_pid, until};
use crate::support::{Controller, Link, build, fence, sh};

async fn begun(link: &mut Link, agent: &Agent, script: &str, pids: &[&str]) -> Vec<i32> {
    link.claim(build(1), fence(1)).await;
    link.start(build(1), fence(1), "0", script, &agent.workspace()).await;
    let path = |pid: &str| agent.workspace().join(pid);
    until("the step has begun", || pids.iter().all(|pid| read_pid(&path(pid)).is_some())).await;
    pids.iter().map(|pid| read_pid(&path(pid)).unwrap()).collect()
}

async fn kill(link: &mut Link, grace: Duration) {
    let grace_millis = grace.as_millis() as u64;
    link.tell(build(1), fence(1), Command::Kill { step: "0".into(), grace_millis }).await;
}

#[tokio::test]
async fn children_in_sessions_of_their_own_and_orphans_end_too() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    let script = "setsid sh -c 'echo $$ >session; sleep 60' &
        (nohup sh -c 'echo $$ >orphan; sleep 60' >/dev/null 2>&1 &)
        env -i /bin/sh -c 'echo $$ >bare; sleep 60' &
        sh -c 'echo $$ >child; sleep 60'";
    let pids = begun(&mut link, &agent, script, &["session", "orphan", "bare", "child"]).await;
    kill(&mut link, Duration::from_secs(10)).await;
    let report = link.ended("0").await;
    assert_eq!(report.state, StepState::Exited { status: 143, stdout: None });
    assert_eq!(pids.iter().filter(|pid| alive(**pid)).count(), 0, "{pids:?}");
}

#[tokio::test]
async fn what_does_not_listen_to_term_is_killed_after_the_grace() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    let script = "trap '' TERM\nsetsid sh -c 'echo $$ >deaf; while :; do sleep 1; done' &\n\
                  echo $$ >main; while :; do sleep 1; done";
    let pids = begun(&mut link, &agent, script, &["deaf", "main"]).await;
    let began = Instant::now();
    kill(&mut link, Duration::from_millis(400)).await;
    let report = link.ended("0").await;
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!(report.state, StepState::Exited { status: 137, stdout: None });
    assert!(!pids.iter().any(|pid| alive(*pid)));
}

#[tokio::test]
async fn a_step_that_cleans_up_when_it_is_ended_reports_its_own_status() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    let script = "trap 'echo cleaned; exit 9' TERM\necho $$ >main\nwhile :; do sleep 0.05; done";
    begun(&mut link, &agent, script, &["main"]).await;
    kill(&mut link, Duration::from_secs(10)).await;
    assert_eq!(link.ended("0").await.state, StepState::Exited { status: 9, stdout: None });
}

#[tokio::test]
async fn a_step_is_ended_by_the_next_agent_when_the_first_was_killed() {
    let mut controller = Controller::start().await;
    let mut agent = Agent::started(&controller);
    let mut link = controller.link().await;
    let script = "setsid sh -c 'echo $$ >session; sleep 60' & echo $$ >main; sleep 60";
    let pids = begun(&mut link, &agent, script, &["session", "main"]).await;
    agent.kill();
    agent.start();
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    kill(&mut link, Duration::from_secs(10)).await;
    kill(&mut link, Duration::from_secs(5)).await;
    assert_eq!(link.ended("0").await.state, StepState::Exited { status: 143, stdout: None });
    assert!(!pids.iter().any(|pid| alive(*pid)));
}

#[tokio::test]
async fn a_second_kill_without_grace_does_not_wait_for_the_first() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    begun(&mut link, &agent, "trap '' TERM; echo $$ >main; while :; do sleep 1; done", &["main"]).await;
    kill(&mut link, Duration::from_secs(600)).await;
    kill(&mut link, Duration::ZERO).await;
    assert_eq!(link.ended("0").await.state, StepState::Exited { status: 137, stdout: None });
}

#[tokio::test]
async fn a_step_that_was_ended_before_it_started_never_starts() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    kill(&mut link, Duration::ZERO).await;
    let failed = StepState::Failed { why: "it was ended before it started".into() };
    assert_eq!(link.ended("0").await.state, failed);
    link.start(build(1), fence(1), "0", "touch ran", &agent.workspace()).await;
    assert_eq!(link.ended("0").await.state, failed);
    assert!(!agent.workspace().join("ran").exists());
}

/// Whether the step of that name, of whatever build, has left its exit status.
fn ended(agent: &Agent, step: &str) -> bool {
    let builds = agent.work_dir().join("majordomo/builds");
    (1..=2).any(|n| builds.join(n.to_string()).join(step).join("exit").exists())
}

/// A build that has ended takes with it what its steps have left in the background.
#[tokio::test]
async fn what_steps_have_left_behind_ends_with_the_build_unless_it_was_told_apart() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    for n in 1..=2 {
        link.claim(build(n), fence(1)).await;
    }
    let script = "sh -c 'echo $$ >plain; exec sleep 60' &
        setsid sh -c 'echo $$ >session; exec sleep 60' >/dev/null 2>&1 </dev/null &
        sh -c 'trap \"\" TERM; echo $$ >deaf; while :; do sleep 1; done' &
        BUILD_ID=dontKillMe sh -c 'echo $$ >by_id; exec sleep 20' &
        JENKINS_NODE_COOKIE=dontKillMe sh -c 'echo $$ >by_cookie; exec sleep 20' &
        for name in plain session deaf by_id by_cookie; do while [ ! -s $name ]; do sleep 0.02; done; done";
    let mut spec = sh(script, &agent.workspace());
    spec.env.insert("BUILD_ID".into(), "3".into());
    link.tell(build(1), fence(1), Command::Start { step: "0".into(), spec: Box::new(spec) }).await;
    let other = "sh -c 'echo $$ >other; exec sleep 60' & while [ ! -s other ]; do sleep 0.02; done";
    link.start(build(2), fence(1), "1", other, &agent.workspace()).await;
    for step in ["0", "1"] {
        until("the step has ended", || ended(&agent, step)).await;
    }
    let pid = |name: &str| read_pid(&agent.workspace().join(name)).unwrap();
    let names = ["plain", "session", "deaf", "by_id", "by_cookie", "other"];
    assert!(names.iter().all(|name| alive(pid(name))), "they outlive their step");
    link.tell(build(1), fence(1), Command::Forget).await;
    until("what it has left is gone", || !["plain", "session", "deaf"].iter().any(|n| alive(pid(n)))).await;
    let lives: Vec<&str> = names.into_iter().filter(|name| alive(pid(name))).collect();
    assert_eq!(lives, ["by_id", "by_cookie", "other"]);
    link.tell(build(2), fence(1), Command::Forget).await;
    until("the other one has ended with its build", || !alive(pid("other"))).await;
    for name in ["by_id", "by_cookie"] {
        let pid = rustix::process::Pid::from_raw(pid(name)).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}
