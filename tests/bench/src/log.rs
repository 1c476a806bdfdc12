//! Log throughput: a real agent's step prints as fast as it may, and a reader follows over HTTP to the last byte.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::clients::float;
use crate::controller::{Controller, Shape, Store};
use crate::table::Table;
use crate::{copy, system};

/// What `cat` prints, so often.
const FILE: u64 = 32 << 20;
const JOB: &str = "loud";

pub(crate) fn measure(binary: &Path, store: &Store<'_>, megabytes: u64, table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("text");
    write(&file)?;
    let controller = Controller::start(binary, store, Shape { replicas: 1, agents: 2, executors: 16 })?;
    let times = (megabytes << 20).div_ceil(FILE);
    let files = vec![file.display().to_string(); usize::try_from(times)?].join(" ");
    controller.create(JOB, &format!("node {{ sh 'set +x; cat {files}' }}"))?;
    let copied = copy::measure(times * FILE).context("copy over a bare WebSocket")?;
    let mut number = 0;
    for builds in [1, 4] {
        let what = format!("log of {builds} builds at once, agent to store to reader");
        let seen = run(&controller, number + 1..number + 1 + builds, times * FILE)?;
        number += builds;
        let rate =
            float((builds * usize::try_from(times * FILE)?) >> 20) * 1.048_576 / seen.took.as_secs_f64();
        let value = format!("{rate:.0} MB/s; {:.0} KiB a commit", seen.commit / 1024.0);
        table.row(controller.store, &what, value, "goal ≥ 100 MB/s");
        let value = format!(
            "{:.0} MiB at most, {:.0} MiB before; {:.2} of a core",
            mebi(seen.peak),
            mebi(seen.before),
            seen.busy.as_secs_f64() / seen.took.as_secs_f64()
        );
        table.row(controller.store, "  memory of the replica", value, "goal: flat");
        if builds == 1 {
            let beside = format!("goal ≥ 0.5 × {:.0} MB/s, a bare copy with commits", copied / 1e6);
            table.row(controller.store, "  beside the limit", format!("{:.2}", rate * 1e6 / copied), beside);
        }
    }
    controller.stop()
}

fn mebi(bytes: u64) -> f64 {
    float(bytes / 1024) / 1024.0
}

/// Numbered lines of different lengths.
fn write(file: &Path) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    let mut size = 0;
    for n in 0u64.. {
        let line = format!("{n:010} {:.<1$}\n", "", usize::try_from(n * 7 % 140)?);
        let line = &line.as_bytes()[..line.len().min(usize::try_from(FILE - size)?)];
        out.write_all(line)?;
        size += line.len() as u64;
        if size == FILE {
            break;
        }
    }
    out.flush()?;
    Ok(())
}

struct Seen {
    took: Duration,
    before: u64,
    peak: u64,
    busy: Duration,
    /// Bytes a commit.
    commit: f64,
}

/// Runs builds at once, each with a reader that follows it.
fn run(controller: &Controller, numbers: std::ops::Range<usize>, size: u64) -> Result<Seen> {
    let pid = controller.replicas()?.first().context("there is no replica")?.pid;
    let (before, busy) = (system::memory(pid), system::busy(pid));
    let commits = controller.counter("majordomo_store_commits_total")?;
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(before));
    let began = Instant::now();
    for n in numbers.clone() {
        controller.build(JOB, n)?;
    }
    let took = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(system::memory(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let readers: Vec<_> =
            numbers.clone().map(|n| scope.spawn(move || follow(controller, n, size))).collect();
        let read = readers.into_iter().try_for_each(|reader| match reader.join() {
            Ok(read) => read,
            Err(_) => bail!("a reader stopped"),
        });
        done.store(true, Ordering::Relaxed);
        read.map(|()| began.elapsed())
    })?;
    let commits = controller.counter("majordomo_store_commits_total")? - commits;
    let bytes = float(usize::try_from(size >> 10)? * numbers.len()) * 1024.0;
    let busy = system::busy(pid) - busy;
    Ok(Seen { took, before, peak: peak.into_inner(), busy, commit: bytes / commits.max(1.0) })
}

/// Reads on in the log of a build to its end, and counts the bytes that the step printed.
fn follow(controller: &Controller, n: usize, size: u64) -> Result<()> {
    let (mut offset, deadline) = (0, Instant::now() + Duration::from_secs(600));
    loop {
        // the build may not have begun
        let (end, more) = controller.progress(JOB, n, offset).unwrap_or((offset, true));
        if !more && end == offset {
            break;
        }
        if Instant::now() > deadline {
            bail!("the log of build {n} has not ended at {offset} of {size} bytes");
        }
        if end == offset {
            std::thread::sleep(Duration::from_millis(2));
        }
        offset = end;
    }
    if offset < size || offset > size + 2_000 {
        bail!("the log of build {n} has {offset} bytes in place of some more than {size}");
    }
    Ok(())
}
