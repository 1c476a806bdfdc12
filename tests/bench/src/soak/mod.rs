//! A soak: load for as long as is wished, replicas killed at random, the disk full once. Nothing that was acknowledged is
//! lost, no build fails for it, and nothing grows.
//!
//! One replica is never killed, so that what leaks would show there. History is bounded by the jobs' discarders, so the
//! store must come to rest as well.

mod disk;
mod load;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};

use crate::controller::{Controller, Shape, Store};
use crate::postgres::Server;
use crate::random::{Random, seed};
use crate::system;
use disk::Disk;
use load::{JOBS, KEPT, Seen};
use verdict::{Margin, Sample, growth, promised, unexplained};

/// Between two looks at everything.
const LOOK: Duration = Duration::from_secs(2);
/// The replica that is never killed.
const SPARED: &str = "ordinal";
/// How long the disk is full.
const FULL: Duration = Duration::from_secs(10);
/// Until all goes on after that, or after the last build was started.
const PATIENCE: Duration = Duration::from_secs(180);

const MEBI: u64 = 1 << 20;
/// What must not grow, and how much more of it is no growth. Memory of a process is not given back page by page.
const WATCHED: [(&str, Margin); 7] = [
    ("memory of the spared replica", Margin { share: 0.15, amount: 8 * MEBI }),
    ("memory of all agents", Margin { share: 0.15, amount: 4 * MEBI }),
    ("files of the spared replica", Margin { share: 0.0, amount: 24 }),
    ("files of all agents", Margin { share: 0.0, amount: 24 }),
    ("size of the database", Margin { share: 0.25, amount: 8 * MEBI }),
    // the limit that it is cut to, and what one group adds
    ("size of its write-ahead log", Margin { share: 0.0, amount: 64 * MEBI }),
    // artifacts, and logs of builds that are kept; a few more of those that are just being discarded
    ("objects", Margin { share: 0.0, amount: 30 }),
];

/// Runs it. An error is what it has found.
pub(crate) fn run(binary: &Path, store: &Store<'_>, time: Duration) -> Result<()> {
    let disk = match store.server {
        // Its disk is the server's.
        Some(_) => Err(anyhow!("the database is not in the home")),
        None => Disk::mount(),
    };
    let disk = disk.inspect_err(|why| println!("a full disk is not tried: {why}")).ok();
    let home = match &disk {
        Some(disk) => tempfile::tempdir_in(disk.folder())?,
        None => tempfile::tempdir()?,
    };
    let shape = Shape { replicas: 3, agents: 2, executors: 8 };
    let controller = Controller::start_in(home, binary, store, shape)?;
    load::create(&controller)?;
    let soak = Soak {
        controller: &controller,
        server: store.server,
        disk: disk.as_ref(),
        time,
        began: Instant::now(),
        stop: AtomicBool::new(false),
        seen: Seen::default(),
        samples: Mutex::default(),
        done: Mutex::default(),
    };
    soak.load()?;
    let complaints = soak.judge()?;
    controller.stop()?;
    if complaints.is_empty() {
        let tried = if disk.is_some() { "" } else { "; a full disk was not tried" };
        println!("verdict: passed{tried}");
        return Ok(());
    }
    for complaint in &complaints {
        println!("  {complaint}");
    }
    bail!("verdict: the soak has failed: {} complaints", complaints.len())
}

struct Soak<'a> {
    controller: &'a Controller,
    /// Of the database and the objects, when they are not in the home.
    server: Option<&'a Server>,
    disk: Option<&'a Disk>,
    time: Duration,
    began: Instant,
    stop: AtomicBool,
    seen: Seen,
    samples: Mutex<Vec<Sample>>,
    done: Mutex<Done>,
}

/// What was done to it.
#[derive(Default, Clone)]
struct Done {
    kills: u32,
    /// Milliseconds since 1970.
    full: Option<(u64, u64)>,
    complaints: Vec<String>,
}

impl Soak<'_> {
    fn load(&self) -> Result<()> {
        std::thread::scope(|scope| {
            for job in JOBS {
                scope.spawn(move || load::client(self.controller, job, &self.seen, &self.stop));
            }
            scope.spawn(|| self.watch());
            let troubled = self.trouble();
            self.stop.store(true, Ordering::Relaxed);
            troubled
        })?;
        println!("all builds are started; waiting for the last ones");
        self.controller.until("all builds end", PATIENCE, || {
            self.seen.look(self.controller);
            let queue = self.controller.get("/queue/api/json?tree=items[id]")?;
            let waiting = queue["items"].as_array().is_some_and(|items| !items.is_empty());
            Ok(!waiting && self.controller.replicas()?.iter().map(|r| r.builds).sum::<usize>() == 0)
        })?;
        self.controller.until("all long logs are objects", PATIENCE, || {
            Ok(load::not_archived(self.controller, &self.seen.failed())? == 0)
        })
    }

    fn left(&self) -> Duration {
        self.time.saturating_sub(self.began.elapsed())
    }

    /// Kills replicas at random, and fills the disk when half of the time is over.
    fn trouble(&self) -> Result<()> {
        let mut random = Random::new(seed(), "soak");
        let pause = (self.time / 10).clamp(Duration::from_secs(5), Duration::from_secs(30));
        while !self.left().is_zero() {
            let tried = self.done.lock().is_ok_and(|done| done.full.is_some());
            if self.began.elapsed() * 2 >= self.time && !tried && self.disk.is_some() {
                self.fill_disk()?;
            } else {
                self.kill(&mut random)?;
            }
            let millis = u64::try_from(pause.as_millis())?;
            std::thread::sleep(random.millis(millis / 2, millis * 3 / 2).min(self.left()));
        }
        Ok(())
    }

    fn kill(&self, random: &mut Random) -> Result<()> {
        let all = self.controller.get("/replicas/api/json")?;
        let others: Vec<u64> = all["replicas"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|r| r[SPARED] != 0 && r["state"] == "ready")
            .filter_map(|r| r["pid"].as_u64())
            .collect();
        // the others are just starting again
        let Some(pid) = random.pick(&others) else { return Ok(()) };
        Command::new("kill").args(["-KILL", &pid.to_string()]).status()?;
        if let Ok(mut done) = self.done.lock() {
            done.kills += 1;
        }
        Ok(())
    }

    /// Nothing can be written for a while; then builds must go on by themselves.
    fn fill_disk(&self) -> Result<()> {
        let Some(disk) = self.disk else { return Ok(()) };
        let from = now();
        println!("the disk is full");
        let until = Instant::now() + FULL;
        while Instant::now() < until {
            // what others delete meanwhile is taken, too
            disk.fill()?;
            std::thread::sleep(Duration::from_millis(200));
        }
        disk.free()?;
        println!("the disk has room again");
        let (before, again) = (self.seen.acknowledged(), Instant::now());
        while self.seen.acknowledged() < before + 3 * JOBS.len() as u64 {
            if again.elapsed() > PATIENCE {
                bail!("no build is taken {} s after the disk has room again", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("builds are taken again {:.1} s later", again.elapsed().as_secs_f64());
        if let Ok(mut done) = self.done.lock() {
            done.full = Some((from, now()));
        }
        Ok(())
    }

    /// Looks at everything, and tells a line of it each minute.
    fn watch(&self) {
        let every = Duration::from_secs(60).min(self.time / 6);
        let mut tell = every;
        while !self.stop.load(Ordering::Relaxed) {
            self.seen.look(self.controller);
            let sample = self.sample();
            if sample.at >= tell {
                tell += every;
                println!("{}", self.line(&sample));
            }
            if let Ok(mut samples) = self.samples.lock() {
                samples.push(sample);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn sample(&self) -> Sample {
        let mut values = BTreeMap::new();
        if let Ok(all) = self.controller.get("/replicas/api/json") {
            let spared = all["replicas"].as_array().into_iter().flatten().find(|r| r[SPARED] == 0);
            if let Some(pid) = spared.and_then(|r| u32::try_from(r["pid"].as_u64()?).ok()) {
                values.insert("memory of the spared replica", system::memory(pid));
                values.insert("files of the spared replica", system::files(pid) as u64);
            }
        }
        let home = self.controller.folder();
        let agents = system::processes(&["agent", &home.display().to_string()]);
        values.insert("memory of all agents", agents.iter().map(|pid| system::memory(*pid)).sum());
        values.insert("files of all agents", agents.iter().map(|pid| system::files(*pid) as u64).sum());
        match self.server {
            // Its write-ahead log is the server's business.
            Some(_) => {
                values.insert(
                    "size of the database",
                    self.asked("SELECT pg_database_size(current_database())"),
                );
            }
            None => {
                let size = |name: &str| std::fs::metadata(home.join(name)).map_or(0, |meta| meta.len());
                values.insert("size of the database", size("majordomo.db"));
                values.insert("size of its write-ahead log", size("majordomo.db-wal"));
            }
        }
        values.insert("objects", self.objects(""));
        Sample { at: self.began.elapsed(), values }
    }

    /// How many objects there are whose keys begin so.
    fn objects(&self, prefix: &str) -> u64 {
        match self.server {
            Some(_) => self.asked(&format!("SELECT COUNT(*) FROM object WHERE object_key LIKE '{prefix}%'")),
            None => system::count(self.controller.folder().join("objects").join(prefix)),
        }
    }

    /// A number that the database says.
    fn asked(&self, sql: &str) -> u64 {
        let answer = self.server.zip(self.controller.database()).map(|(server, url)| server.sql(url, sql));
        answer.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    fn line(&self, sample: &Sample) -> String {
        let value = |name: &str| sample.values.get(name).copied().unwrap_or(0);
        let done = self.done.lock().map(|done| done.clone()).unwrap_or_default();
        format!(
            "{:>5} s: {} builds acknowledged, {} failed, {} kills; spared replica {} MiB, {} files; agents {} MiB, {} files; \
             database {} MiB, write-ahead log {} MiB; {} objects; home {} MiB",
            sample.at.as_secs(),
            self.seen.acknowledged(),
            self.seen.failed().len(),
            done.kills,
            value("memory of the spared replica") >> 20,
            value("files of the spared replica"),
            value("memory of all agents") >> 20,
            value("files of all agents"),
            value("size of the database") >> 20,
            value("size of its write-ahead log") >> 20,
            value("objects"),
            system::size(self.controller.folder()) >> 20
        )
    }

    /// What is to be complained of.
    fn judge(&self) -> Result<Vec<String>> {
        let done = self.done.lock().map(|done| done.clone()).unwrap_or_default();
        let mut complaints = done.complaints;
        for job in JOBS {
            let found = self
                .controller
                .get(&format!("/job/{job}/api/json?tree=nextBuildNumber,allBuilds[number]"))?;
            let builds = found["nextBuildNumber"].as_u64().context("a job without numbers")? - 1;
            let kept = found["allBuilds"].as_array().map_or(0, Vec::len);
            let answers = self.seen.answers(job);
            println!("{job}: {builds} builds, {kept} kept; requests: {answers:?}");
            complaints.extend(promised(job, answers, builds));
            if kept > KEPT {
                complaints.push(format!("{job}: {kept} builds are kept in place of {KEPT}"));
            }
        }
        let failed = self.seen.failed();
        println!("{} builds have failed; the disk was full from {:?}", failed.len(), done.full);
        for failed in unexplained(&failed, done.full) {
            complaints.push(format!("{} #{} has ended as {}", failed.job, failed.number, failed.result));
        }
        complaints.extend(load::broken(self.controller, &failed)?);
        let (logs, wordy) = (self.objects("logs/"), KEPT as u64);
        if logs > wordy {
            complaints.push(format!("{logs} objects of logs are kept for at most {wordy} builds"));
        }
        let samples = self.samples.lock().map(|samples| samples.clone()).unwrap_or_default();
        complaints.extend(WATCHED.iter().filter_map(|(name, margin)| growth(&samples, name, *margin)));
        if done.kills == 0 {
            complaints.push("no replica was killed".to_owned());
        }
        Ok(complaints)
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `90s`, `2m`, `1h`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write 90s, 2m or 1h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    let seconds = match unit {
        's' => number,
        'm' => number * 60,
        'h' => number * 3600,
        _ => return Err(wrong()),
    };
    if seconds < 60 {
        Err("a soak takes a minute at least".to_owned())
    } else {
        Ok(Duration::from_secs(seconds))
    }
}
