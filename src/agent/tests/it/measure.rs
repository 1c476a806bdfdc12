//! Measurements, not tests. In a release build, with the agent as a program of its own:
//!
//! ```text
//! cargo build --release -p majordomo-agent --example agent
//! AGENT_PROGRAM=target/release/examples/agent \
//!     cargo test --release -p majordomo-agent --test it measure -- --ignored --nocapture --test-threads 1
//! ```

#![expect(clippy::print_stdout, reason = "measurements are told")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use remoting::ops::{Command, Report};

use crate::process::Agent;
use crate::support::{Controller, Followed, Link, build, fence};

/// Processor time of a process and of its children that ended.
fn cpu(pid: u32) -> (Duration, Duration) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<u64> =
        stat.rsplit_once(") ").unwrap().1.split(' ').map(|f| f.trim().parse().unwrap_or(0)).collect();
    let ticks = |n: u64| Duration::from_millis(n * 10);
    (ticks(fields[11] + fields[12]), ticks(fields[13] + fields[14]))
}

/// Runs `count` steps, `window` at a time, each to the last byte of its output.
async fn steps(link: &mut Link, agent: &Agent, id: i64, count: usize, window: usize) -> Vec<Duration> {
    link.claim(build(id), fence(1)).await;
    let (mut next, mut open) = (0, BTreeMap::new());
    let mut took = Vec::new();
    let mut got: BTreeMap<String, u64> = BTreeMap::new();
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    while took.len() < count {
        while open.len() < window && next < count {
            let step = format!("{next}");
            open.insert(step.clone(), Instant::now());
            link.start(build(id), fence(1), &step, "true", &agent.workspace()).await;
            link.tell(build(id), fence(1), Command::Follow { step, from: 0, upto: 1 << 18 }).await;
            next += 1;
        }
        let step = match link.report().await.report {
            Report::Output { step, bytes, .. } => {
                *got.entry(step.clone()).or_default() += bytes.len() as u64;
                step
            }
            Report::Step(report) if report.state.ended() => {
                ends.insert(report.step.clone(), report.end);
                report.step
            }
            _ => continue,
        };
        if ends.get(&step).is_some_and(|end| got.get(&step) == Some(end)) {
            took.extend(open.remove(&step).map(|began| began.elapsed()));
        }
    }
    took.sort();
    took
}

#[tokio::test]
#[ignore = "a measurement"]
async fn trivial_steps() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    for (id, window) in [(1, 1), (2, 4), (3, 32)] {
        let (began, cpu_before) = (Instant::now(), cpu(agent.pid()));
        let took = steps(&mut link, &agent, id, 1000, window).await;
        let (all, cpu_after) = (began.elapsed(), cpu(agent.pid()));
        println!(
            "{window} at a time: {:.0} steps/s, p50 {:?}, p99 {:?}; agent {:?} per step, its programs {:?}",
            took.len() as f64 / all.as_secs_f64(),
            took[took.len() / 2],
            took[took.len() * 99 / 100],
            (cpu_after.0 - cpu_before.0) / 1000,
            (cpu_after.1 - cpu_before.1) / 1000,
        );
    }
    println!("memory {} kB", agent.memory() / 1024);
}

#[tokio::test]
#[ignore = "a measurement"]
async fn trivial_builds() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    let began = Instant::now();
    let (mut next, mut ended, mut open) = (0, 0, BTreeSet::new());
    while ended < 1000 {
        while open.len() < 8 && next < 1000 {
            next += 1;
            open.insert(next);
            link.tell(build(next), fence(1), Command::Claim).await;
        }
        let report = link.report().await;
        match report.report {
            Report::Claimed { .. } => {
                link.start(report.build, fence(1), "0", "true", &agent.workspace()).await;
                link.tell(
                    report.build,
                    fence(1),
                    Command::Follow { step: "0".into(), from: 0, upto: 1 << 18 },
                )
                .await;
            }
            Report::Step(step) if step.state.ended() => {
                link.tell(report.build, fence(1), Command::Forget).await;
                open.remove(&report.build.0);
                ended += 1;
            }
            _ => {}
        }
    }
    println!(
        "8 at a time: {:.0} builds/s (claim, start, follow, forget)",
        1000.0 / began.elapsed().as_secs_f64()
    );
}

#[tokio::test]
#[ignore = "a measurement"]
async fn output() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    let size: usize = 500_000_000;
    let script = format!("#!/bin/sh\nhead -c {size} /dev/zero\n");
    link.start(build(1), fence(1), "0", &script, &agent.workspace()).await;
    link.ended("0").await;
    let mut got = Vec::with_capacity(size);
    let (before, began) = (cpu(agent.pid()).0, Instant::now());
    let Followed::End(_) = link.follow(build(1), fence(1), "0", &mut got, u64::MAX).await else { panic!() };
    let (took, used) = (began.elapsed(), cpu(agent.pid()).0 - before);
    println!(
        "{:.0} MB/s; agent {used:?} of {took:?}; memory {} kB",
        500.0 / took.as_secs_f64(),
        agent.memory() / 1024
    );
}

#[tokio::test]
#[ignore = "a measurement"]
async fn idle() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let _link = controller.link().await;
    let before = cpu(agent.pid()).0;
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("idle: {} kB, {:?} in 3 s", agent.memory() / 1024, cpu(agent.pid()).0 - before);
}
