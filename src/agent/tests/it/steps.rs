//! Durable steps: started once, followed from any offset, whatever happens to the agent and its link.

use std::fs;
use std::time::Duration;

use remoting::ops::{Command, StepState};

use crate::process::{Agent, read_pid, until};
use crate::support::{Controller, Followed, build, fence, sh};

#[tokio::test]
async fn a_step_runs_in_its_folder_with_its_environment_and_its_output_and_status_come_back() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    assert!(link.claim(build(1), fence(1)).await.is_empty());
    let mut spec =
        sh("echo \"$GREETING from $(basename \"$PWD\")\"\necho err >&2\nexit 7\n", &agent.workspace());
    spec.env.insert("GREETING".into(), "hello".into());
    let (report, out) = link.run(build(1), fence(1), "main/0", spec).await;
    assert_eq!(report.state, StepState::Exited { status: 7, stdout: None });
    assert!(out.contains("hello from workspace\n") && out.contains("+ echo err\nerr\n"), "{out}");
    assert_eq!(report.end, out.len() as u64);
}

#[tokio::test]
async fn a_captured_standard_output_is_the_result_and_not_part_of_the_output() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    let mut spec = sh("#!/bin/sh\necho v1.2\necho note >&2\n", &agent.workspace());
    spec.capture = true;
    let (report, out) = link.run(build(1), fence(1), "0", spec).await;
    assert_eq!(report.state, StepState::Exited { status: 0, stdout: Some("v1.2\n".into()) });
    assert_eq!(out, "note\n");
}

#[tokio::test]
async fn a_step_that_is_started_again_and_again_runs_once() {
    let mut controller = Controller::start().await;
    let mut agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    for _ in 0..5 {
        link.start(build(1), fence(1), "0", "echo run >>runs; sleep 0.3", &agent.workspace()).await;
    }
    link.ended("0").await;
    agent.kill();
    agent.start();
    let mut link = controller.link().await;
    let steps = link.claim(build(1), fence(2)).await;
    assert_eq!(steps[0].state, StepState::Exited { status: 0, stdout: None });
    link.start(build(1), fence(2), "0", "echo run >>runs", &agent.workspace()).await;
    assert!(link.step("0").await.state.ended());
    assert_eq!(fs::read_to_string(agent.workspace().join("runs")).unwrap(), "run\n");
}

#[tokio::test]
async fn a_step_goes_on_while_the_agent_is_dead_and_not_a_byte_is_lost() {
    let mut controller = Controller::start().await;
    let mut agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    let script =
        "#!/bin/sh\ni=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); sleep 0.02; done; exit 5\n";
    link.start(build(1), fence(1), "0", script, &agent.workspace()).await;
    let mut got = Vec::new();
    assert!(matches!(link.follow(build(1), fence(1), "0", &mut got, 50).await, Followed::Stopped));
    agent.kill();
    tokio::time::sleep(Duration::from_millis(100)).await;
    agent.start();
    let mut link = controller.link().await;
    let steps = link.claim(build(1), fence(2)).await;
    assert_eq!(steps[0].state, StepState::Running);
    let end = link.follow(build(1), fence(2), "0", &mut got, u64::MAX).await;
    let Followed::End(end) = end else { panic!("{end:?}") };
    assert_eq!(end.state, StepState::Exited { status: 5, stdout: None });
    let expected: String = (0..40).map(|i| format!("line {i}\n")).collect();
    assert_eq!(String::from_utf8(got).unwrap(), expected);
}

#[tokio::test]
async fn a_step_that_ended_while_the_agent_was_dead_is_known_by_its_status() {
    let mut controller = Controller::start().await;
    let mut agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    link.start(build(1), fence(1), "0", "echo $$ >pid; sleep 0.2; echo done; exit 3", &agent.workspace())
        .await;
    until("the step has begun", || read_pid(&agent.workspace().join("pid")).is_some()).await;
    agent.kill();
    let exit = agent.work_dir().join("majordomo/builds/1/0/exit");
    until("the step has ended", || exit.exists()).await;
    agent.start();
    let mut link = controller.link().await;
    let steps = link.claim(build(1), fence(1)).await;
    assert_eq!(steps[0].state, StepState::Exited { status: 3, stdout: None });
    assert!(steps[0].end > 0);
}

/// The agent is killed again and again, wherever it happens to be; every step runs once, and no byte is lost.
#[tokio::test]
async fn a_storm_of_kills_runs_every_step_once() {
    const STEPS: i64 = 12;
    let seed = std::env::var("MAJORDOMO_SEED").ok().and_then(|s| s.parse().ok());
    let mut random: u64 =
        seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1);
    let failed = format!("MAJORDOMO_SEED={random}");
    let mut controller = Controller::start().await;
    let mut agent = Agent::new(&controller);
    let dir = agent.workspace();
    let script = |n: i64| {
        format!("#!/bin/sh\necho run >>runs-{n}\nfor i in 1 2 3 4 5; do echo {n} $i; sleep 0.05; done\n")
    };
    for round in 1..=20 {
        agent.start();
        let mut link = controller.link().await;
        let known = link.claim(build(1), fence(round)).await;
        assert!(
            !known.iter().any(|step| matches!(step.state, StepState::Lost { .. })),
            "{failed}: {known:?}"
        );
        for n in 0..(STEPS * round / 10).min(STEPS) {
            link.start(build(1), fence(round), &n.to_string(), &script(n), &dir).await;
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        tokio::time::sleep(Duration::from_micros(random % 40_000)).await;
        agent.kill();
    }
    agent.start();
    let mut link = controller.link().await;
    link.claim(build(1), fence(100)).await;
    for n in 0..STEPS {
        let (report, out) = link.run(build(1), fence(100), &n.to_string(), sh(&script(n), &dir)).await;
        assert_eq!(report.state, StepState::Exited { status: 0, stdout: None }, "{failed}");
        let expected: String = (1..=5).map(|i| format!("{n} {i}\n")).collect();
        assert_eq!(out, expected, "{failed}");
        assert_eq!(fs::read_to_string(dir.join(format!("runs-{n}"))).unwrap(), "run\n", "{failed}");
    }
}

#[tokio::test]
async fn ended_steps_keep_nothing_open() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    let open = || fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count();
    link.run(build(1), fence(1), "first", sh("true", &agent.workspace())).await;
    let before = open();
    for n in 0..20 {
        link.run(build(1), fence(1), &n.to_string(), sh("true", &agent.workspace())).await;
    }
    until("descriptors are closed", || open() <= before).await;
}

#[tokio::test]
async fn output_goes_on_from_any_offset_when_the_link_is_cut() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    let script = "#!/bin/sh\nseq 1 200000\n";
    link.start(build(1), fence(1), "0", script, &agent.workspace()).await;
    let mut got = Vec::new();
    for cut in [100_000, 300_001, 700_000] {
        assert!(matches!(link.follow(build(1), fence(1), "0", &mut got, cut).await, Followed::Stopped));
        drop(link);
        link = controller.link().await;
        link.claim(build(1), fence(1)).await;
    }
    link.follow(build(1), fence(1), "0", &mut got, u64::MAX).await;
    let expected: String = (1..=200_000).map(|i| format!("{i}\n")).collect();
    assert!(got == expected.as_bytes());
}

#[tokio::test]
async fn a_step_whose_processes_vanished_is_lost_and_says_so() {
    let mut controller = Controller::start().await;
    let mut agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    link.start(build(1), fence(1), "0", "echo $PPID >wrapper; sleep 30", &agent.workspace()).await;
    let wrapper = agent.workspace().join("wrapper");
    until("the step has begun", || read_pid(&wrapper).is_some()).await;
    agent.kill();
    let group = rustix::process::Pid::from_raw(read_pid(&wrapper).unwrap()).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    agent.start();
    let mut link = controller.link().await;
    // The end of a process that was killed a moment ago may still be under way.
    link.claim(build(1), fence(2)).await;
    link.tell(build(1), fence(2), Command::Follow { step: "0".into(), from: 0, upto: 0 }).await;
    let report = link.ended("0").await;
    assert!(
        matches!(&report.state, StepState::Lost { why } if why.contains("without leaving")),
        "{report:?}"
    );
    link.start(build(1), fence(2), "0", "echo again", &agent.workspace()).await;
    assert!(matches!(link.step("0").await.state, StepState::Lost { .. }));
}

#[tokio::test]
async fn what_no_program_can_run_fails_with_a_sentence_and_is_never_tried_again() {
    let mut controller = Controller::start().await;
    let mut agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    let mut spec = sh("dir", &agent.workspace());
    spec.shell = "bat".into();
    let (report, _) = link.run(build(1), fence(1), "0", spec).await;
    let failed = StepState::Failed { why: "Batch scripts can only be run on Windows nodes".into() };
    assert_eq!(report.state, failed);
    agent.kill();
    agent.start();
    let mut link = controller.link().await;
    assert_eq!(link.claim(build(1), fence(1)).await[0].state, failed);
    let (report, _) = link.run(build(1), fence(1), "0", sh("true", &agent.workspace())).await;
    assert_eq!(report.state, failed);
    let (report, _) = link.run(build(1), fence(1), "1", sh("true", std::path::Path::new("/proc/x"))).await;
    assert!(
        matches!(&report.state, StepState::Failed { why } if why.starts_with("start the step in /proc/x:"))
    );
}

#[tokio::test]
async fn a_program_that_can_not_be_found_says_so_in_the_output() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    let (report, out) = link.run(build(1), fence(1), "0", sh("#!/no/such\n", &agent.workspace())).await;
    assert_eq!(report.state, StepState::Exited { status: 127, stdout: None });
    assert!(out.contains("not found"), "{out}");
}

#[tokio::test]
async fn steps_see_nothing_that_is_meant_for_the_agent() {
    let mut controller = Controller::start().await;
    let hidden = [
        "MAJORDOMO_STORE",
        "MAJORDOMO_LOG",
        "PGPASSWORD",
        "JENKINS_SECRET",
        "JENKINS_AGENT_SECRET",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    ];
    let mut agent = Agent::new(&controller).env("SEEN", "yes");
    for name in hidden {
        agent = agent.env(name, "s3cr3t");
    }
    agent.start();
    let mut link = controller.link().await;
    assert_eq!(link.info.env.get("SEEN").map(String::as_str), Some("yes"));
    assert!(!link.info.env.values().any(|value| value == "s3cr3t"));
    link.claim(build(1), fence(1)).await;
    let mut spec = sh("#!/bin/sh\nenv\n", &agent.workspace());
    spec.env.insert("PGPASSWORD".into(), "of the build".into());
    let (_, out) = link.run(build(1), fence(1), "0", spec).await;
    let ours: Vec<&str> = out.lines().filter(|line| line.starts_with("MAJORDOMO_")).collect();
    assert!(ours.len() == 1 && ours[0].starts_with("MAJORDOMO_STEP="), "{ours:?}");
    assert!(out.contains("SEEN=yes\n") && out.contains("PGPASSWORD=of the build\n"), "{out}");
    assert!(!out.contains("s3cr3t"), "{out}");
}
