//! Limits: spools, captured output, a full disk, memory.

use std::process::Command as Program;

use remoting::ops::{Command, StepState};

use crate::process::Agent;
use crate::support::{Controller, Followed, build, fence, sh};

fn why(state: &StepState) -> &str {
    match state {
        StepState::Failed { why } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_step_whose_output_is_over_the_limit_is_ended_and_says_so() {
    let mut controller = Controller::start().await;
    let mut agent = Agent::new(&controller).env("TEST_MAX_SPOOL", "1000000");
    agent.start();
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    let script = "while :; do head -c 100000 /dev/zero; sleep 0.05; done";
    link.start(build(1), fence(1), "0", script, &agent.workspace()).await;
    let report = link.ended("0").await;
    assert_eq!(why(&report.state), "the output of the step is over the limit of 1000000 bytes");
    assert!(report.end > 1_000_000);
}

#[tokio::test]
async fn a_captured_output_over_the_limit_fails_the_step() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    let mut spec = sh("head -c 1048577 /dev/zero", &agent.workspace());
    spec.capture = true;
    let (report, _) = link.run(build(1), fence(1), "0", spec).await;
    assert!(why(&report.state).contains("over the limit of 1048576 bytes"));
}

#[tokio::test]
async fn a_hundred_megabytes_pass_in_flat_memory() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    let script = "#!/bin/sh\nhead -c 100000000 /dev/zero | tr '\\0' x\n";
    link.start(build(1), fence(1), "0", script, &agent.workspace()).await;
    let mut got = Vec::new();
    link.follow(build(1), fence(1), "0", &mut got, 1_000_000).await;
    let before = agent.memory();
    link.claim(build(1), fence(1)).await;
    let Followed::End(end) = link.follow(build(1), fence(1), "0", &mut got, u64::MAX).await else { panic!() };
    assert_eq!((end.end, got.len()), (100_000_000, 100_000_000));
    assert!(got.iter().all(|b| *b == b'x'));
    let grown = agent.memory().saturating_sub(before);
    assert!(grown < 2_000_000, "memory has grown by {grown}");
}

/// A small disk of its own, as long as this is root.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount(size: &str) -> Option<Disk> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Program::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir.path());
        mount.status().is_ok_and(|s| s.success()).then_some(Disk(dir))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Program::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_ends_the_step_with_a_sentence_and_the_agent_goes_on() {
    let Some(disk) = Disk::mount("8m") else {
        #[expect(clippy::print_stderr, reason = "a missing peer is told, never passed over")]
        {
            eprintln!("not run: a_full_disk_ends_the_step (mounting a tmpfs needs root)");
        }
        return;
    };
    let mut controller = Controller::start().await;
    let mut agent = Agent::new(&controller).at(disk.0.path());
    agent.start();
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    link.start(build(1), fence(1), "0", "cat /dev/zero; sleep 60", &agent.workspace()).await;
    let report = link.ended("0").await;
    assert!(why(&report.state).starts_with("no space is left on the device of /"), "{report:?}");
    link.tell(build(1), fence(1), Command::Forget).await;
    link.claim(build(2), fence(1)).await;
    let (report, _) = link.run(build(2), fence(1), "0", sh("true", &agent.workspace())).await;
    assert_eq!(report.state, StepState::Exited { status: 0, stdout: None });
}
