//! Trivial builds (one `sh 'true'`), end to end through two agents, read back over HTTP.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::clients::{float as count, share};
use crate::controller::Controller;
use crate::system;
use crate::table::Table;

pub(crate) fn measure(
    controller: &Controller,
    builds: usize,
    clients: usize,
    table: &mut Table,
) -> Result<()> {
    controller.create("trivial", "node { sh 'true' }")?;
    let (commits, writes) = counters(controller)?;
    let cores = Cores::now(controller)?;
    let started = Instant::now();
    share(clients, builds, |n| controller.build("trivial", n))?;
    let triggered = started.elapsed();
    controller.until("all trivial builds end", Duration::from_secs(300), || {
        let job = controller.get(
            "/job/trivial/api/json?tree=lastBuild[number],builds[building]{0,100},inQueue,nextBuildNumber",
        )?;
        let all = job["nextBuildNumber"].as_u64() == Some(builds as u64 + 1);
        Ok(all && !job["builds"].to_string().contains("\"building\":true") && running(controller)? == 0)
    })?;
    let took = started.elapsed();
    let cores = Cores::now(controller)?.since(&cores);
    let (commits_after, writes_after) = counters(controller)?;
    let succeeded = read_back(controller, "trivial", builds)?;
    let rate = count(succeeded) / took.as_secs_f64();
    table.row(controller.store, "trivial builds, end to end", format!("{rate:.0}/s"), "goal ≥ 500/s");
    let note = format!("{succeeded} of {builds} succeeded, triggered in {:.1} s", triggered.as_secs_f64());
    table.row(controller.store, "  all read back", note, format!("{clients} clients"));
    let value = cores.of_each(builds);
    table.row(controller.store, "  milliseconds of a core a build", value, "two cores give 4.0 at 500/s");
    let (commits, writes) = (commits_after - commits, writes_after - writes);
    let value = format!(
        "{:.0} commits/s, {:.1} writes a commit",
        commits / took.as_secs_f64(),
        writes / commits.max(1.0)
    );
    table.row(controller.store, "  store", value, format!("{:.1} writes a build", writes / count(builds)));
    Ok(())
}

/// Time that was had on cores.
struct Cores {
    all: Duration,
    replicas: Duration,
    load: Duration,
    database: Duration,
}

impl Cores {
    fn now(controller: &Controller) -> Result<Cores> {
        let sum = |pids: Vec<u32>| pids.into_iter().map(system::busy).sum();
        Ok(Cores {
            all: system::all_busy(),
            replicas: sum(controller.replicas()?.iter().map(|r| r.pid).collect()),
            load: system::busy(std::process::id()),
            database: sum(system::processes(&["postgres:"])),
        })
    }

    fn since(&self, before: &Cores) -> Cores {
        Cores {
            all: self.all.saturating_sub(before.all),
            replicas: self.replicas.saturating_sub(before.replicas),
            load: self.load.saturating_sub(before.load),
            database: self.database.saturating_sub(before.database),
        }
    }

    fn of_each(&self, builds: usize) -> String {
        let each = |time: Duration| time.as_secs_f64() * 1000.0 / count(builds);
        let rest = self.all.saturating_sub(self.replicas + self.load + self.database);
        let mut text = format!(
            "{:.2}: agents and their steps {:.2}, replicas {:.2}, load {:.2}",
            each(self.all),
            each(rest),
            each(self.replicas),
            each(self.load)
        );
        if !self.database.is_zero() {
            text.push_str(&format!(", database server {:.2}", each(self.database)));
        }
        text
    }
}

fn running(controller: &Controller) -> Result<usize> {
    Ok(controller.replicas()?.iter().map(|r| r.builds).sum())
}

fn counters(controller: &Controller) -> Result<(f64, f64)> {
    Ok((
        controller.counter("majordomo_store_commits_total")?,
        controller.counter("majordomo_store_writes_total")?,
    ))
}

/// How many of a job's builds have succeeded.
pub(crate) fn read_back(controller: &Controller, job: &str, builds: usize) -> Result<usize> {
    let mut succeeded = 0;
    for from in (0..builds).step_by(500) {
        let path = format!("/job/{job}/api/json?tree=allBuilds[number,result]{{{from},{}}}", from + 500);
        let page = controller.get(&path)?;
        succeeded += page["allBuilds"].to_string().matches("\"SUCCESS\"").count();
    }
    Ok(succeeded)
}
