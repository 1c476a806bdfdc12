//! A rolling restart while builds print every 50 ms and clients read what they print.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::controller::Controller;
use crate::table::Table;

/// Builds that print.
const BUILDS: usize = 12;
/// Between two lines of a step.
const PRINT: u64 = 50;
/// Between two reads of a client.
const READ: Duration = Duration::from_millis(20);

/// What one client saw.
#[derive(Default)]
struct Seen {
    failed: AtomicU64,
    answered: AtomicU64,
    /// Longest time in which a log that it reads did not grow, in milliseconds.
    gap: AtomicU64,
}

pub(crate) fn measure(controller: &Controller, table: &mut Table) -> Result<()> {
    let printer = std::env::current_exe()?;
    let pid = std::process::id();
    controller.create("ticker", &format!("node {{ sh '{} print {PRINT} {pid}' }}", printer.display()))?;
    for n in 0..BUILDS {
        controller.build("ticker", n)?;
    }
    controller.until("all builds print", Duration::from_secs(60), || {
        let prints = |n: usize| Ok::<_, anyhow::Error>(text(controller, n)?.contains("line 3\n"));
        (1..=BUILDS).try_fold(true, |all, n| Ok(all && prints(n)?))
    })?;
    let (stop, seen) = (AtomicBool::new(false), Seen::default());
    let before = restarted(controller)?;
    let took = std::thread::scope(|scope| {
        for n in 1..=BUILDS {
            let (stop, seen) = (&stop, &seen);
            scope.spawn(move || read(controller, n, stop, seen));
        }
        let began = Instant::now();
        let rolled = controller.ask("POST", "/restart", None).and_then(|_| {
            controller.until("all replicas are restarted", Duration::from_secs(120), || {
                let all = controller.get("/replicas/api/json?tree=rollout[*]")?;
                Ok(all["rollout"]["restart"].as_i64() > before && all["rollout"]["phase"] == "settled")
            })
        });
        // what the last one did not hand over in time would show now
        std::thread::sleep(Duration::from_secs(2));
        stop.store(true, Ordering::Relaxed);
        rolled.map(|()| began.elapsed().saturating_sub(Duration::from_secs(2)))
    })?;
    for n in 1..=BUILDS {
        controller.ask("POST", &format!("/job/ticker/{n}/stop"), None)?;
    }
    controller.until("all builds end", Duration::from_secs(60), || {
        Ok(controller.replicas()?.iter().map(|r| r.builds).sum::<usize>() == 0)
    })?;
    let broken = (1..=BUILDS).filter(|n| !text(controller, *n).is_ok_and(|text| whole(&text))).count();
    let (failed, answered) = (seen.failed.into_inner(), seen.answered.into_inner());
    table.row(
        controller.store,
        &format!("rolling restart, {BUILDS} steps print every {PRINT} ms"),
        format!(
            "largest gap {} ms, as a reader sees it; all restarted after {:.1} s",
            seen.gap.into_inner(),
            took.as_secs_f32()
        ),
        "goal ≤ 1 s",
    );
    table.row(
        controller.store,
        "  requests that failed",
        format!("{failed} of {}", failed + answered),
        "goal 0",
    );
    table.row(controller.store, "  logs with a missing or doubled line", broken.to_string(), "goal 0");
    Ok(())
}

fn restarted(controller: &Controller) -> Result<Option<i64>> {
    Ok(controller.get("/replicas/api/json?tree=restart[*]")?["restart"]["number"].as_i64())
}

fn text(controller: &Controller, n: usize) -> Result<String> {
    Ok(controller.ask("GET", &format!("/job/ticker/{n}/consoleText"), None)?.1)
}

/// Reads on in the log of a build, and never asks twice for the same.
fn read(controller: &Controller, n: usize, stop: &AtomicBool, seen: &Seen) {
    let (mut offset, mut grown) = (0, None::<Instant>);
    while !stop.load(Ordering::Relaxed) {
        match controller.progress("ticker", n, offset) {
            Ok((size, _)) => {
                seen.answered.fetch_add(1, Ordering::Relaxed);
                if size > offset {
                    offset = size;
                    let gap = grown.replace(Instant::now()).map_or(Duration::ZERO, |last| last.elapsed());
                    seen.gap.fetch_max(u64::try_from(gap.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
                }
            }
            Err(error) => {
                seen.failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("a request failed: {error:#}");
            }
        }
        std::thread::sleep(READ);
    }
}

/// Whether the numbers of the lines go up one by one.
fn whole(text: &str) -> bool {
    let mut numbers = text.lines().filter_map(|line| line.strip_prefix("line ")?.parse::<u64>().ok());
    let mut count = 0;
    let rising = numbers.all(|number| {
        count += 1;
        number + 1 == count
    });
    rising && count > 0
}
