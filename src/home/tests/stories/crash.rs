//! Processes that are killed, and processes that share one SQLite home. The children are this test binary itself.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use store::{Builds, Logs, Writer};
use tempfile::TempDir;

use crate::postgres::Server;
use crate::support::{build, join, open, sqlite_url, step};

const URL: &str = "MAJORDOMO_TEST_CHILD_URL";
const SECONDS: &str = "MAJORDOMO_TEST_CHILD_SECONDS";

/// This binary once more, running only the test `name`.
fn child(name: &str, url: &str, seconds: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--nocapture"])
        .env(URL, url)
        .env(SECONDS, seconds.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
#[ignore = "a child of the tests below, which run it as a process"]
async fn child_that_writes_until_it_is_killed() {
    let Ok(url) = std::env::var(URL) else { return };
    let home = open(&url).await;
    let me = join(&home, "child").await;
    let taken = build(&home, &me, "job").await;
    println!("\nbuild {}", taken.build);
    for n in 0.. {
        home.write(step(&taken, n, vec![])).await.unwrap();
        println!("acknowledged {n}");
    }
}

/// Kills the child after it has acknowledged a few hundred writes; the build and the last acknowledged write.
fn killed_in_the_middle(url: &str) -> (i64, i64) {
    let mut child = child("crash::child_that_writes_until_it_is_killed", url, 0);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut build = None;
    let mut last = 0;
    while last < 300 {
        let line = lines.next().unwrap();
        if let Some(id) = line.strip_prefix("build ") {
            build = Some(id.parse().unwrap());
        } else if let Some(n) = line.strip_prefix("acknowledged ") {
            last = n.parse().unwrap();
        }
    }
    // SIGKILL.
    child.kill().unwrap();
    // What it wrote into the pipe before it died was acknowledged too.
    last = lines.filter_map(|l| l.strip_prefix("acknowledged ")?.parse().ok()).last().unwrap_or(last);
    child.wait().unwrap();
    (build.unwrap(), last)
}

async fn all_acknowledged_is_there(url: &str, build: i64, last: i64) {
    let home = open(url).await;
    let build = model::BuildId(build);
    let end = u64::try_from(last + 1).unwrap() * 10;
    let log = home.log(build, 0, usize::MAX).await.unwrap().unwrap();
    // One more may have been committed whose answer the child did not live to print.
    assert!(log.end == end || log.end == end + 10, "{} bytes of at least {end}", log.end);
    let text = String::from_utf8(log.bytes).unwrap();
    for (n, line) in text.lines().enumerate() {
        assert_eq!(line, format!("{n:09}"));
    }
    let running = &home.running(None).await.unwrap()[0];
    assert_eq!(u64::try_from(running.seq).unwrap() * 10, log.end);
    let mut records = 0;
    loop {
        let some = home.journal(build, records).await.unwrap();
        if some.is_empty() {
            break;
        }
        records += i64::try_from(some.len()).unwrap();
    }
    assert_eq!(records, running.seq);
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_on_sqlite() {
    let dir = TempDir::new().unwrap();
    let url = sqlite_url(dir.path());
    let (build, last) = killed_in_the_middle(&url);
    all_acknowledged_is_there(&url, build, last).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_of_the_server() {
    let Some(mut server) = Server::start_durable() else { return };
    let url = server.database();
    let (build, last) = killed_in_the_middle(&url);
    server.kill();
    server.begin();
    all_acknowledged_is_there(&url, build, last).await;
}

#[tokio::test]
#[ignore = "a child of the test below, which runs it as a process"]
async fn child_that_writes_for_a_while() {
    let Ok(url) = std::env::var(URL) else { return };
    let time = Duration::from_secs(std::env::var(SECONDS).unwrap().parse().unwrap());
    let home = open(&url).await;
    let name = format!("p-{}", std::process::id());
    let me = join(&home, &name).await;
    let taken = build(&home, &me, &name).await;
    let (begun, mut longest, mut writes) = (Instant::now(), Duration::ZERO, 0);
    while begun.elapsed() < time {
        let at = Instant::now();
        home.write(step(&taken, writes, vec![])).await.unwrap();
        longest = longest.max(at.elapsed());
        writes += 1;
    }
    println!("\nwrote {writes} {}", longest.as_millis());
}

#[tokio::test]
async fn several_processes_write_on_sqlite_in_turn() {
    let dir = TempDir::new().unwrap();
    let url = sqlite_url(dir.path());
    // The schema is there before the clock runs.
    open(&url).await.close().await;
    let children: Vec<_> = (0..3).map(|_| child("crash::child_that_writes_for_a_while", &url, 2)).collect();
    let mut counts = Vec::new();
    for child in children {
        let out = child.wait_with_output().unwrap();
        let out = String::from_utf8(out.stdout).unwrap();
        let line = out.lines().find_map(|l| l.strip_prefix("wrote ")).unwrap_or_else(|| panic!("{out}"));
        let (writes, longest) = line.split_once(' ').unwrap();
        counts.push((writes.parse::<u64>().unwrap(), longest.parse::<u64>().unwrap()));
    }
    eprintln!("writes and longest wait in ms of each process: {counts:?}");
    let all: u64 = counts.iter().map(|(writes, _)| writes).sum();
    for (writes, longest) in &counts {
        // Without the turnstile one process does nearly all and the others wait for seconds.
        assert!(writes * 6 > all, "one of three processes got {writes} of {all} writes");
        assert!(*longest < 1_000, "a write waited {longest} ms");
    }
}
