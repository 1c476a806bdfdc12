//! A thousand simulated agents that print all the time, while one replica is killed and another one drained.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::clients::{float, share};
use crate::controller::{Controller, Shape, Store};
use crate::sim::{Agents, text};
use crate::table::{Table, percentile};
use crate::{agents, system};

/// Bytes a second of each agent.
const RATE: u64 = 20_000;
/// How long each step prints.
const SECONDS: u64 = 60;
const JOB: &str = "chatty";
/// Between two looks at the memory of all replicas.
const LOOK: Duration = Duration::from_millis(500);

pub(crate) fn measure(binary: &Path, store: &Store<'_>, count: usize, table: &mut Table) -> Result<()> {
    let controller = Controller::start(binary, store, Shape { replicas: 3, agents: 0, executors: 0 })?;
    let mut agents = Agents::new(controller.address()?)?;
    agents.add(agents::nodes(&controller, count, 1)?);
    agents.wait("signed in", Duration::from_secs(120), |seen| &seen.linked)?;
    let script = format!("node(\"sim-${{params.N}}\") {{ sh 'print {RATE} {SECONDS}' }}");
    controller.create(JOB, &script)?;
    let began = Instant::now();
    share(16, count, |n| controller.build(JOB, n))?;
    controller.until(
        "all builds run",
        Duration::from_secs(SECONDS),
        || Ok(running(&controller)? == count),
    )?;
    let started = began.elapsed();
    let memory = Memory::default();
    let trouble = Trouble { binary, controller: &controller, agents: &agents, memory: &memory };
    let calm = trouble.pings(Duration::from_secs(10))?;
    let (killed, adopted) = trouble.kill()?;
    let stormy = trouble.pings(Duration::from_secs(10))?;
    let drained = trouble.drain()?;
    let after = trouble.pings(Duration::from_secs(10))?;
    trouble.end(count)?;
    let ended = began.elapsed();
    let broken = broken(&controller, count)?;

    let what = format!("{count} agents print {} kB/s each to three replicas", RATE / 1000);
    let mega = float(count) * float(RATE * SECONDS / 1000) / 1000.0;
    let value = format!("{:.1} MB/s in all", mega / ended.as_secs_f64());
    table.row(controller.store, &what, value, format!("all started after {:.1} s", started.as_secs_f64()));
    table.row(controller.store, "  an agent's own pings", calm, "-");
    let what = format!("  kill -9 of a replica with {killed} builds, pings after it");
    table.row(
        controller.store,
        &what,
        stormy,
        format!("adopted and followed again: {adopted} ms, the slowest"),
    );
    let what = "  drain of another one, pings after it";
    table.row(controller.store, what, after, format!("drained after {:.1} s", drained.as_secs_f64()));
    let value = format!("{} MiB", memory.most.load(Ordering::Relaxed) >> 20);
    table.row(controller.store, "  memory of a replica, at most", value, memory.first());
    table.row(controller.store, "  logs with a byte lost, doubled or changed", broken.to_string(), "goal 0");
    controller.stop()
}

fn running(controller: &Controller) -> Result<usize> {
    Ok(controller.replicas()?.iter().map(|r| r.builds).sum())
}

#[derive(Default)]
struct Memory {
    /// Of any replica at any time.
    most: AtomicUsize,
    /// What each had when the builds had begun.
    first: Mutex<Vec<u64>>,
}

impl Memory {
    fn look(&self, controller: &Controller) -> Result<()> {
        let now: Vec<u64> = controller.replicas()?.iter().map(|r| system::memory(r.pid)).collect();
        let most = now.iter().copied().max().unwrap_or(0);
        self.most.fetch_max(usize::try_from(most)?, Ordering::Relaxed);
        if let Ok(mut first) = self.first.lock()
            && first.is_empty()
        {
            *first = now;
        }
        Ok(())
    }

    fn first(&self) -> String {
        let first = self.first.lock().map(|first| first.clone()).unwrap_or_default();
        let first: Vec<String> = first.iter().map(|bytes| (bytes >> 20).to_string()).collect();
        format!("{} MiB at first", first.join(", "))
    }
}

struct Trouble<'a> {
    binary: &'a Path,
    controller: &'a Controller,
    agents: &'a Agents,
    memory: &'a Memory,
}

impl Trouble<'_> {
    /// Each agent pings its replica every two seconds.
    fn pings(&self, time: Duration) -> Result<String> {
        self.agents.ask(Some(Duration::from_secs(2)));
        let began = Instant::now();
        while began.elapsed() < time {
            self.memory.look(self.controller)?;
            std::thread::sleep(LOOK);
        }
        self.agents.ask(None);
        let answers = self.agents.answers();
        let [half, most] = [0.5, 0.99].map(|share| percentile(&answers, share));
        Ok(format!("p50 {half:.1} ms, p99 {most:.1} ms"))
    }

    /// Kills the replica with most builds, and waits until they all go on. → how many, milliseconds
    fn kill(&self) -> Result<(usize, u64)> {
        let replicas = self.controller.replicas()?;
        let victim = replicas.iter().max_by_key(|r| r.builds).context("there is no replica")?;
        if victim.builds == 0 {
            bail!("all builds ended before a replica was killed");
        }
        Command::new("kill").args(["-KILL", &victim.pid.to_string()]).status()?;
        let mut resumed = 0;
        self.controller.until("all builds go on", Duration::from_secs(60), || {
            self.memory.look(self.controller)?;
            let all = self.controller.get("/replicas/api/json")?;
            let last = &all["failovers"][0];
            resumed = last["resumedMillis"].as_u64().unwrap_or(0);
            let pid = victim.pid.to_string();
            let gone = !all["replicas"].to_string().contains(&format!("\"pid\":{pid},"));
            Ok(resumed > 0 && gone)
        })?;
        Ok((victim.builds, resumed))
    }

    /// Drains another replica as an administrator does.
    fn drain(&self) -> Result<Duration> {
        let all = self.controller.get("/replicas/api/json")?;
        let busiest = all["replicas"].as_array().into_iter().flatten().max_by_key(|r| {
            r["builds"].as_array().map_or_else(|| r["builds"].as_u64().unwrap_or(0), |b| b.len() as u64)
        });
        let name = busiest.and_then(|r| r["name"].as_str()).context("there is no replica")?.to_owned();
        let began = Instant::now();
        let status = Command::new(self.binary)
            .args(["drain", &name, "--home"])
            .arg(self.controller.folder())
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("the replica {name} can't be drained: {status}");
        }
        Ok(began.elapsed())
    }

    /// Waits until all builds have ended.
    fn end(&self, count: usize) -> Result<()> {
        self.controller.until("all builds end", Duration::from_secs(4 * SECONDS), || {
            self.memory.look(self.controller)?;
            Ok(running(self.controller)? == 0)
        })?;
        let succeeded = crate::trivial::read_back(self.controller, JOB, count)?;
        if succeeded != count {
            bail!("{succeeded} of {count} builds have succeeded");
        }
        Ok(())
    }
}

/// Compares each byte that was printed.
fn broken(controller: &Controller, count: usize) -> Result<usize> {
    let broken = AtomicUsize::new(0);
    share(4, count, |n| {
        let (_, log) = controller.ask("GET", &format!("/job/{JOB}/{}/consoleText", n + 1), None)?;
        if let Err(why) = text::check(log.as_bytes(), RATE * SECONDS) {
            eprintln!("the log of build {} is broken: {why}", n + 1);
            broken.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })?;
    Ok(broken.into_inner())
}
