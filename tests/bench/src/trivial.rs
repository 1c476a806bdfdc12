//! Trivial builds (one `sh 'true'`), end to end through two agents, read back over HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::controller::Controller;
use crate::table::Table;

pub(crate) fn measure(
    controller: &Controller,
    builds: usize,
    clients: usize,
    table: &mut Table,
) -> Result<()> {
    controller.create("trivial", "node { sh 'true' }")?;
    let (commits, writes) = counters(controller)?;
    let (next, started) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        let client = || -> Result<()> {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= builds {
                    return Ok(());
                }
                controller.build("trivial", n)?;
            }
        };
        let all: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        all.into_iter()
            .try_for_each(|t| t.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client stopped"))))
    })?;
    let triggered = started.elapsed();
    controller.until("all trivial builds end", Duration::from_secs(300), || {
        let job = controller.get(
            "/job/trivial/api/json?tree=lastBuild[number],builds[building]{0,100},inQueue,nextBuildNumber",
        )?;
        let all = job["nextBuildNumber"].as_u64() == Some(builds as u64 + 1);
        Ok(all && !job["builds"].to_string().contains("\"building\":true") && running(controller)? == 0)
    })?;
    let took = started.elapsed();
    let (commits_after, writes_after) = counters(controller)?;
    let succeeded = read_back(controller, builds)?;
    let rate = count(succeeded) / took.as_secs_f64();
    table.row(controller.store, "trivial builds, end to end", format!("{rate:.0}/s"), "goal ≥ 500/s");
    let note = format!("{succeeded} of {builds} succeeded, triggered in {:.1} s", triggered.as_secs_f64());
    table.row(controller.store, "  all read back", note, format!("{clients} clients"));
    let (commits, writes) = (commits_after - commits, writes_after - writes);
    let value = format!(
        "{:.0} commits/s, {:.1} writes a commit",
        commits / took.as_secs_f64(),
        writes / commits.max(1.0)
    );
    table.row(controller.store, "  store", value, format!("{:.1} writes a build", writes / count(builds)));
    Ok(())
}

fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
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

fn read_back(controller: &Controller, builds: usize) -> Result<usize> {
    let mut succeeded = 0;
    for from in (0..builds).step_by(500) {
        let path = format!("/job/trivial/api/json?tree=allBuilds[number,result]{{{from},{}}}", from + 500);
        let page = controller.get(&path)?;
        succeeded += page["allBuilds"].to_string().matches("\"SUCCESS\"").count();
    }
    Ok(succeeded)
}
