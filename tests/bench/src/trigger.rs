//! From the request that starts a build to the first command of its first step.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::controller::Controller;
use crate::table::{Table, percentile};

pub(crate) fn measure(controller: &Controller, triggers: usize, table: &mut Table) -> Result<()> {
    controller.create("trigger", "node { sh 'set +x; date +%s%N' }")?;
    let mut millis = Vec::new();
    for n in 1..=triggers {
        let sent = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        controller.build("trigger", n)?;
        let mut text = String::new();
        controller.until("a triggered build ends", Duration::from_secs(30), || {
            let path = format!("/job/trigger/{n}/consoleText");
            text = controller.ask("GET", &path, None).map(|(_, text)| text).unwrap_or_default();
            Ok(text.contains("Finished: "))
        })?;
        let at: u128 = text
            .lines()
            .find(|l| l.len() == 19 && l.bytes().all(|b| b.is_ascii_digit()))
            .context("the step printed no time")?
            .parse()?;
        let micros = u32::try_from(at.saturating_sub(sent) / 1000).unwrap_or(u32::MAX);
        millis.push(f64::from(micros) / 1000.0);
    }
    // The first ones warm up caches and connections.
    let mut millis = millis.split_off(triggers.min(10));
    millis.sort_by(f64::total_cmp);
    let value = format!("p50 {:.1} ms, p99 {:.1} ms", percentile(&millis, 0.5), percentile(&millis, 0.99));
    table.row(controller.store, "trigger to first command", value, "goal p50 ≤ 10 ms, p99 ≤ 40 ms");
    Ok(())
}
