//! What one real agent takes: at rest after it has connected, and after it has run builds.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::clients::float;
use crate::controller::Controller;
use crate::system;
use crate::table::Table;

const JOB: &str = "agent";
const BUILDS: usize = 100;
/// How long it is watched at rest: threads without work have gone by then.
const REST: Duration = Duration::from_secs(20);

pub(crate) fn measure(controller: &Controller, table: &mut Table) -> Result<()> {
    let home = controller.folder().join("agents");
    let pids = system::processes(&["agent", "-workDir", &home.display().to_string()]);
    let pid = *pids.first().context("there is no agent")?;
    let busy = system::busy(pid);
    std::thread::sleep(REST);
    let busy = system::busy(pid) - busy;
    let share = busy.as_secs_f64() / REST.as_secs_f64();
    let value = format!("{}; {:.1} % of a core", memory(pid), share * 100.0);
    table.row(controller.store, "an agent at rest", value, "goal ≤ 8 MB");
    controller.create(JOB, "node { sh 'true' }")?;
    for n in 1..=BUILDS {
        controller.build(JOB, n)?;
    }
    controller.until("all builds end", Duration::from_secs(60), || {
        let path = format!("/job/{JOB}/lastBuild/api/json?tree=number,building");
        let last = controller.get(&path).unwrap_or_default();
        Ok(last["number"] == BUILDS && last["building"] == false)
    })?;
    std::thread::sleep(REST);
    let what = format!("  after {BUILDS} builds");
    table.row(controller.store, &what, memory(pid), "-");
    Ok(())
}

fn memory(pid: u32) -> String {
    let megabytes = |bytes: u64| float(usize::try_from(bytes / 1000).unwrap_or(usize::MAX)) / 1000.0;
    let (all, own) = (system::memory(pid), system::own_memory(pid));
    format!("{:.1} MB, {:.1} MB its own", megabytes(all), megabytes(own))
}
