//! `measure URL [SECONDS]`: latency of single writes and throughput of grouped ones on a home, which should be empty.
//! Each write is a `Progress` with one record and one chunk of 200 bytes, as a printing step makes them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a tool for developers")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use home::Home;
use model::{BuildResult, Fence, JobName, Millis, ReplicaId, ReplicaName};
use store::{Answer, Builds, Chunk, Effect, Enqueue, ItemKind, Join, Progress, Taken, Write, Writer};

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| panic!("measure URL [SECONDS]"));
    let seconds = args.next().map_or(3, |s| s.parse().unwrap());
    let home = home::open(&url, None).await.unwrap();
    let me = join(&home).await;
    for tasks in [1, 8, 64, 500] {
        progress(&home, &me, tasks, Duration::from_secs(seconds)).await;
    }
    for tasks in [1, 64] {
        whole_builds(&home, &me, tasks, Duration::from_secs(seconds)).await;
    }
    home.close().await;
}

async fn join(home: &Home) -> ReplicaId {
    let name = ReplicaName::parse("measure").unwrap();
    let join = Join {
        name: name.clone(),
        ordinal: 0,
        pid: std::process::id(),
        address: String::new(),
        revision: String::new(),
        version: String::new(),
        level: 1,
        behaviour: 1,
        at: Millis(0),
    };
    let Answer::Joined { incarnation, .. } = home.write(Write::Join(join)).await.unwrap() else { panic!() };
    ReplicaId { name, incarnation }
}

/// `task` is a parameter: equal items would fold into one.
async fn start(home: &Home, me: &ReplicaId, job: &JobName, task: usize) -> Taken {
    let enqueue = Enqueue {
        job: job.clone(),
        params: [("task".to_owned(), model::ParamValue::Text(task.to_string()))].into(),
        causes: vec![],
        at: Millis(1),
        buildable_at: Millis(1),
    };
    let Answer::Queued { id, .. } = home.write(Write::Enqueue(enqueue)).await.unwrap() else { panic!() };
    let take = Write::TakeBuild {
        id,
        owner: me.clone(),
        exclusive: false,
        behaviour: 1,
        at: Millis(2),
        executor: None,
    };
    let Answer::Taken(taken) = home.write(take).await.unwrap() else { panic!() };
    taken
}

async fn job(home: &Home, name: &str) -> JobName {
    let name = JobName::parse(name).unwrap();
    let create = Write::CreateItem {
        name: name.clone(),
        kind: ItemKind::Pipeline,
        config: String::new(),
        disabled: false,
        at: Millis(0),
    };
    // It is there when this home was measured before.
    let _ = home.write(create).await;
    name
}

fn step(taken: &Taken, fence: Fence, n: i64, effects: Vec<Effect>) -> Write {
    let bytes = Bytes::from_static(&[b'x'; 200]);
    let offset = u64::try_from(n).unwrap() * 200;
    let chunk = Chunk::new(offset, "1".to_owned(), (offset, offset + 200), Millis(n), bytes.clone());
    Write::Progress(Box::new(Progress {
        build: taken.build,
        owner: taken.owner,
        fence,
        seq: n,
        first_record: n,
        records: vec![bytes],
        chunks: vec![chunk],
        log_end: offset + 200,
        effects,
    }))
}

/// `tasks` builds write as fast as they are answered.
async fn progress(home: &Home, me: &ReplicaId, tasks: usize, time: Duration) {
    let mut handles = Vec::new();
    let before = home.stats();
    let begun = Instant::now();
    for task in 0..tasks {
        let (home, me) = (home.clone(), me.clone());
        handles.push(tokio::spawn(async move {
            let job = job(&home, &format!("progress-{}", task % 10)).await;
            let taken = start(&home, &me, &job, task).await;
            let mut latencies = Vec::new();
            let mut n = 0;
            while begun.elapsed() < time {
                let at = Instant::now();
                home.write(step(&taken, taken.fence, n, vec![])).await.unwrap();
                latencies.push(at.elapsed());
                n += 1;
            }
            latencies
        }));
    }
    let mut latencies = Vec::new();
    for handle in handles {
        latencies.extend(handle.await.unwrap());
    }
    let elapsed = begun.elapsed().as_secs_f64();
    report(&format!("progress, {tasks:3} builds"), latencies, elapsed);
    let after = home.stats();
    let commits = after.commits - before.commits;
    let micros = |a: u64, b: u64| (a - b) / commits.max(1);
    println!(
        "    {commits} commits of {:.1} writes, round {} µs, of that commit {} µs",
        (after.writes - before.writes) as f64 / commits as f64,
        micros(after.round_micros, before.round_micros),
        micros(after.commit_micros, before.commit_micros),
    );
}

/// `tasks` run builds one after the other: enqueued, taken, three steps, ended.
async fn whole_builds(home: &Home, me: &ReplicaId, tasks: usize, time: Duration) {
    let begun = Instant::now();
    let mut handles = Vec::new();
    for task in 0..tasks {
        let (home, me) = (home.clone(), me.clone());
        handles.push(tokio::spawn(async move {
            let job = job(&home, &format!("whole-{task}")).await;
            let mut latencies = Vec::new();
            while begun.elapsed() < time {
                let at = Instant::now();
                let taken = start(&home, &me, &job, task).await;
                for n in 0..3 {
                    home.write(step(&taken, taken.fence, n, vec![])).await.unwrap();
                }
                let finish = Effect::Finish { result: BuildResult::Success, at: Millis(9), archive: false };
                home.write(step(&taken, taken.fence, 3, vec![finish])).await.unwrap();
                latencies.push(at.elapsed());
            }
            let read = Instant::now();
            home.build(&job, store::Which::LastSuccessful).await.unwrap().unwrap();
            (latencies, read.elapsed())
        }));
    }
    let (mut latencies, mut reads) = (Vec::new(), Vec::new());
    for handle in handles {
        let (builds, read) = handle.await.unwrap();
        latencies.extend(builds);
        reads.push(read);
    }
    let elapsed = begun.elapsed().as_secs_f64();
    report(&format!("whole builds, {tasks:2} at once"), latencies, elapsed);
    report("    reads of a permalink", reads, elapsed);
}

fn report(what: &str, mut latencies: Vec<Duration>, elapsed: f64) {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{what}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        latencies.len() as f64 / elapsed,
        at(0.5),
        at(0.99),
        at(1.0),
    );
}
