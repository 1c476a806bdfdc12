//! Whoever shows the highest fence commands, also after the agent was killed.

use remoting::ops::{Command, OpRequest, Report, StepState};

use crate::process::{Agent, until};
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
    link.start(build(1), fence(4), "0", "sleep 0.3", &agent.workspace()).await;
    link.tell(build(1), fence(4), Command::Forget).await;
    let builds = agent.work_dir().join("majordomo/builds");
    let left = || std::fs::read_dir(&builds).unwrap().count();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(left(), 1, "it waits for what runs");
    until("nothing is left", || left() == 0).await;
    assert_eq!(link.step("0").await.state, StepState::Running);
    link.start(build(1), fence(4), "1", "true", &agent.workspace()).await;
    assert_eq!(link.report().await.report, Report::Refused { held: fence(0) });
    assert!(link.claim(build(1), fence(5)).await.is_empty());
}
