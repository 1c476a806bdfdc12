//! Whoever shows the highest fence commands, also after the agent was killed.

use futures_util::SinkExt;
use remoting::native::Frame;
use remoting::ops::{Command, OpRequest, Report, ToAgent};
use tokio_tungstenite::tungstenite::Message;

use crate::process::{Agent, alive, read_pid, until};
use crate::support::{Controller, build, fence, sh};

#[tokio::test]
async fn an_old_owner_is_refused_also_after_the_agent_was_killed() {
    let mut controller = Controller::start().await;
    let mut agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    link.claim(build(1), fence(3)).await;
    for again in [false, true] {
        if again {
            agent.kill();
            agent.start();
            link = controller.link().await;
        }
        for command in [
            Command::Claim,
            Command::Start { step: "0".into(), spec: Box::new(sh("touch stale", &agent.workspace())) },
            Command::Kill { step: "0".into(), grace_millis: 0 },
            Command::Op { op: 1, request: Box::new(OpRequest::DeleteDir { dir: "/nowhere".into() }) },
            Command::Forget,
        ] {
            link.tell(build(1), fence(2), command).await;
            let report = link.report().await;
            assert_eq!(report.report, Report::Refused { held: fence(3) });
            assert_eq!(report.fence, fence(2));
        }
    }
    assert!(!agent.workspace().exists());
    link.claim(build(1), fence(3)).await;
}

#[tokio::test]
async fn a_former_owner_is_told_when_its_build_is_claimed_under_a_higher_fence() {
    let mut controller = Controller::start().await;
    let _agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    link.tell(build(1), fence(2), Command::Claim).await;
    let report = link.report().await;
    assert_eq!((report.fence, report.report), (fence(1), Report::Refused { held: fence(2) }));
    link.tell(build(1), fence(2), Command::Claim).await;
    for _ in 0..2 {
        assert_eq!(link.report().await.fence, fence(2), "it is told once");
    }
}

#[tokio::test]
async fn a_build_must_be_claimed_before_anything_else() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.start(build(1), fence(1), "0", "touch x", &agent.workspace()).await;
    assert_eq!(link.report().await.report, Report::Refused { held: fence(0) });
    link.claim(build(1), fence(1)).await;
    link.start(build(1), fence(2), "0", "touch x", &agent.workspace()).await;
    assert_eq!(link.report().await.report, Report::Refused { held: fence(1) });
    assert!(!agent.workspace().exists());
}

#[tokio::test]
async fn a_forgotten_build_leaves_nothing_behind() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(4)).await;
    let script = "trap '' TERM; echo $$ >pid; while :; do sleep 1; done";
    link.start(build(1), fence(4), "0", script, &agent.workspace()).await;
    let path = agent.workspace().join("pid");
    until("the step has begun", || read_pid(&path).is_some()).await;
    link.tell(build(1), fence(4), Command::Forget).await;
    let builds = agent.work_dir().join("majordomo/builds");
    let left = || std::fs::read_dir(&builds).unwrap().count();
    until("nothing is left", || left() == 0).await;
    assert!(!alive(read_pid(&path).unwrap()), "what runs is ended first");
    assert!(!link.step("0").await.state.ended());
    link.start(build(1), fence(4), "1", "true", &agent.workspace()).await;
    assert_eq!(link.report().await.report, Report::Refused { held: fence(4) });
    assert!(link.claim(build(1), fence(5)).await.is_empty());
}

#[tokio::test]
async fn a_former_owner_does_not_get_a_build_that_was_forgotten_under_a_newer_one() {
    let mut controller = Controller::start().await;
    let mut agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(3)).await;
    link.claim(build(1), fence(4)).await;
    link.tell(build(1), fence(4), Command::Forget).await;
    let gone = agent.work_dir().join("majordomo/builds/1");
    until("it is forgotten", || !gone.exists()).await;
    for again in [false, true] {
        if again {
            agent.kill();
            agent.start();
            link = controller.link().await;
        }
        link.tell(build(1), fence(3), Command::Claim).await;
        assert_eq!(link.report().await.report, Report::Refused { held: fence(4) });
        assert!(!gone.exists());
    }
}

#[tokio::test]
async fn what_another_controller_has_left_is_gone_before_builds_of_the_same_numbers_come() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    let first = link.info.instance.clone();
    link.claim(build(1), fence(9)).await;
    link.start(build(1), fence(9), "0", "echo $$ >pid; exec sleep 1000", &agent.workspace()).await;
    let path = agent.workspace().join("pid");
    until("the step has begun", || read_pid(&path).is_some()).await;
    *controller.identity.lock().unwrap() = "d".to_owned();
    drop(link);
    // while the step is being ended, the other controller is not served
    let (known, second) = loop {
        let mut link = controller.link().await;
        let instance = link.info.instance.clone();
        let claim = ToAgent { build: build(1), fence: fence(1), command: Command::Claim };
        let _may_be_closed = link.socket.send(Message::Binary(Frame::Command(claim).encode())).await;
        if let Some(Frame::Report(from)) = link.next().await {
            break (from.report, instance);
        }
    };
    assert_eq!(known, Report::Claimed { steps: Vec::new(), rebooted: false });
    assert_ne!(second, first, "the former controller must not find it without its steps");
    assert!(!alive(read_pid(&path).unwrap()));
}

#[tokio::test]
async fn an_agent_tells_each_link_which_builds_it_keeps() {
    let mut controller = Controller::start().await;
    let mut agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(4)).await;
    link.claim(build(2), fence(7)).await;
    link.claim(build(3), fence(7)).await;
    link.tell(build(3), fence(7), Command::Forget).await;
    let gone = agent.work_dir().join("majordomo/builds/3");
    until("it is forgotten", || !gone.exists()).await;
    for again in [false, true] {
        if again {
            agent.kill();
            agent.start();
        } else {
            drop(link);
        }
        link = controller.link().await;
        let Some(Frame::Builds { mut builds }) = link.next().await else { panic!("they are told first") };
        builds.sort();
        assert_eq!(builds, [(build(1), fence(4)), (build(2), fence(7))]);
    }
}
