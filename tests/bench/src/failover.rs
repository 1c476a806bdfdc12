//! `kill -9` of an owner while builds run that have a journal and two printing steps each.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::controller::Controller;
use crate::table::Table;

/// Records before the steps: each `echo` is one.
const RECORDS: usize = 200;
/// Between two lines of a step.
const PRINT: u64 = 500;

pub(crate) fn measure(controller: &Controller, running: usize, table: &mut Table) -> Result<()> {
    let printer = std::env::current_exe()?;
    let script = format!(
        "node {{ for (int i = 0; i < {RECORDS}; i++) {{ echo \"record ${{i}}\" }}\n\
         parallel a: {{ sh '{0} print {PRINT} {1}' }}, b: {{ sh '{0} print {PRINT} {1}' }} }}",
        printer.display(),
        std::process::id()
    );
    controller.create("long", &script)?;
    for n in 0..running {
        controller.build("long", n)?;
    }
    controller.until("all builds run", Duration::from_secs(300), || {
        Ok(controller.replicas()?.iter().map(|r| r.builds).sum::<usize>() == running
            && printing(controller, running)?)
    })?;
    let replicas = controller.replicas()?;
    let owner = replicas.iter().max_by_key(|r| r.builds).context("no replica")?;
    let lost = owner.builds;
    Command::new("kill").args(["-KILL", &owner.pid.to_string()]).status()?;
    let mut figures = (0, 0, 0);
    controller.until("all builds go on", Duration::from_secs(60), || {
        let all = controller.get("/replicas/api/json")?;
        let last = &all["failovers"][0];
        figures.0 = last["builds"].as_u64().unwrap_or(0);
        figures.1 = last["adoptedMillis"].as_u64().unwrap_or(0);
        figures.2 = last["resumedMillis"].as_u64().unwrap_or(0);
        let owned: usize = controller.replicas()?.iter().map(|r| r.builds).sum();
        Ok(figures.2 > 0 && owned == running)
    })?;
    // The last ones may still be on their way.
    std::thread::sleep(Duration::from_secs(4));
    let all = controller.get("/replicas/api/json")?;
    let last = &all["failovers"][0];
    let (adopted, resumed) =
        (last["adoptedMillis"].as_u64().unwrap_or(0), last["resumedMillis"].as_u64().unwrap_or(0));
    let what = format!("kill -9 of the owner of {lost} of {running} builds, {RECORDS} records each");
    table.row(
        controller.store,
        &what,
        format!("adopted {adopted} ms, resumed {resumed} ms (the slowest build)"),
        "goal ≤ 2 s, ≤ 3 s (p99)",
    );
    for n in 1..=running {
        controller.ask("POST", &format!("/job/long/{n}/stop"), None)?;
    }
    controller.until("all builds end", Duration::from_secs(120), || {
        Ok(controller.replicas()?.iter().map(|r| r.builds).sum::<usize>() == 0)
    })?;
    let broken = broken_logs(controller, running)?;
    table.row(controller.store, "  logs with a missing or doubled line", broken.to_string(), "goal 0");
    Ok(())
}

fn printing(controller: &Controller, running: usize) -> Result<bool> {
    for n in [1, running / 2, running] {
        let text = controller.ask("GET", &format!("/job/long/{}/consoleText", n.max(1)), None)?.1;
        if text.matches("line 2\n").count() < 2 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Each log must hold the numbers of both steps, each once more or less often than before, without a gap.
fn broken_logs(controller: &Controller, running: usize) -> Result<usize> {
    let mut broken = 0;
    for n in 1..=running {
        let text = controller.ask("GET", &format!("/job/long/{n}/consoleText"), None)?.1;
        let mut counts = std::collections::BTreeMap::<u64, u32>::new();
        for line in text.lines().filter_map(|l| l.strip_prefix("line ")) {
            *counts.entry(line.parse().unwrap_or(u64::MAX)).or_default() += 1;
        }
        let mut numbers = counts.iter().enumerate();
        let whole = numbers.all(|(at, (number, times))| at as u64 == *number && *times <= 2);
        let both = counts.values().filter(|times| **times == 2).count() + 20 >= counts.len();
        if !whole || !both || counts.is_empty() {
            broken += 1;
        }
    }
    Ok(broken)
}
