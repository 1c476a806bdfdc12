//! One to nine replicas under the same load: where more of them stop to help, and which resource makes it so.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::clients::{float, share};
use crate::controller::{Controller, Shape, Store};
use crate::sim::Agents;
use crate::table::Table;
use crate::{agents, system};

const CLIENTS: usize = 16;
/// Simulated agents, and what each may do at once: no processes are started, so that the controller is the limit.
const AGENTS: usize = 32;
const JOB: &str = "light";

pub(crate) fn measure(
    binary: &Path,
    store: &Store<'_>,
    counts: &[usize],
    builds: usize,
    table: &mut Table,
) -> Result<()> {
    for real in [true, false] {
        for &replicas in counts {
            let agents = if real { 2 } else { 0 };
            let shape = Shape { replicas, agents, executors: 64 };
            let controller = Controller::start(binary, store, shape)?;
            let mut simulated = Agents::new(controller.address()?)?;
            if !real {
                simulated.add(agents::nodes(&controller, AGENTS, 16)?);
                simulated.wait("signed in", Duration::from_secs(60), |seen| &seen.linked)?;
            }
            // the first ones warm up caches and connections
            let label = if real { "" } else { "('sim')" };
            controller.create(JOB, &format!("node{label} {{ sh 'true' }}"))?;
            run(&controller, 100)?;
            let seen = run(&controller, builds)?;
            let kind = if real { "two agents" } else { "simulated agents" };
            let what = format!("{replicas} replicas, trivial builds, {kind}");
            table.row(controller.store, &what, format!("{:.0} builds/s", seen.rate), seen.spent());
            controller.stop()?;
        }
    }
    Ok(())
}

struct Seen {
    rate: f64,
    /// Cores that were busy: the replicas, and everything on the machine.
    replicas: f64,
    machine: f64,
    commits: f64,
    writes: f64,
}

impl Seen {
    fn spent(&self) -> String {
        format!(
            "{:.2} cores busy, {:.2} of them replicas; {:.0} commits/s of {:.0} writes",
            self.machine, self.replicas, self.commits, self.writes
        )
    }
}

fn run(controller: &Controller, builds: usize) -> Result<Seen> {
    let pids: Vec<u32> = controller.replicas()?.iter().map(|r| r.pid).collect();
    let busy = || pids.iter().map(|pid| system::busy(*pid)).sum::<Duration>();
    let counters = || -> Result<(f64, f64)> {
        Ok((
            controller.counter("majordomo_store_commits_total")?,
            controller.counter("majordomo_store_writes_total")?,
        ))
    };
    let (busy_before, all_before, (commits, writes)) = (busy(), system::all_busy(), counters()?);
    let before = finished(controller)?;
    let began = Instant::now();
    share(CLIENTS, builds, |n| controller.build(JOB, usize::try_from(before)? + n))?;
    controller.until("all builds end", Duration::from_secs(300), || {
        let queued = controller.get(&format!("/job/{JOB}/api/json?tree=inQueue"))?;
        let running: usize = controller.replicas()?.iter().map(|r| r.builds).sum();
        Ok(running == 0 && queued["inQueue"] == false && finished(controller)? == before + builds as u64)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let (commits_after, writes_after) = counters()?;
    let (commits, writes) = (commits_after - commits, writes_after - writes);
    Ok(Seen {
        rate: float(builds) / seconds,
        replicas: (busy() - busy_before).as_secs_f64() / seconds,
        machine: (system::all_busy() - all_before).as_secs_f64() / seconds,
        commits: commits / seconds,
        writes: writes / commits.max(1.0),
    })
}

/// Builds that have ended, all of them in order.
fn finished(controller: &Controller) -> Result<u64> {
    let job = controller.get(&format!("/job/{JOB}/api/json?tree=nextBuildNumber"))?;
    Ok(job["nextBuildNumber"].as_u64().unwrap_or(1) - 1)
}
