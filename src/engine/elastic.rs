//! The time-out of a Freestyle build that follows from how long the builds before it took.

use std::collections::BTreeMap;
use std::time::Duration;

use config::{Elastic, FreestyleJob};
use model::BuildResult;
use store::{Build, Store};

use crate::definition::expanded;

/// Builds that are read at once.
const PAGE: u32 = 100;
/// Most builds that are looked at, whatever became of them.
const MOST: usize = 1_000;

/// The job, with the time-out of this build in place of that of one without others.
pub(crate) async fn learned(
    store: &dyn Store,
    mut job: FreestyleJob,
    build: &Build,
    params: &BTreeMap<String, String>,
) -> Result<FreestyleJob, store::Error> {
    let (Some(elastic), Some(timeout)) = (&job.elastic, &mut job.steps.timeout) else { return Ok(job) };
    let wanted = expanded(&elastic.builds, params).trim().parse().unwrap_or(0);
    let took = durations(store, build, wanted).await?;
    if let Some(minutes) = minutes(elastic, &timeout.time, &took, params) {
        timeout.time = minutes.to_string();
    }
    Ok(job)
}

/// How long the builds before took that were not worse than unstable, the newest first.
async fn durations(store: &dyn Store, build: &Build, wanted: usize) -> Result<Vec<Duration>, store::Error> {
    let (mut below, mut seen, mut took) = (build.number, 0, Vec::new());
    while took.len() < wanted && seen < MOST {
        let page = store.builds(&build.job, Some(below), PAGE).await?;
        let Some(last) = page.last() else { break };
        below = last.number;
        seen += page.len();
        let good = page.iter().filter(|b| b.result.is_some_and(|result| result <= BuildResult::Unstable));
        took.extend(good.filter_map(|b| b.ended_at.map(|end| end.since(b.started_at))));
    }
    took.truncate(wanted);
    Ok(took)
}

/// In whole minutes, rounded up. `None`: what is configured for a build without others holds.
fn minutes(
    elastic: &Elastic,
    default: &str,
    took: &[Duration],
    params: &BTreeMap<String, String>,
) -> Option<u64> {
    let number = |text: &str| expanded(text, params).trim().parse::<u32>().ok();
    let percentage = number(&elastic.percentage).filter(|percentage| *percentage > 0)?;
    let average = took.iter().sum::<Duration>().checked_div(u32::try_from(took.len()).ok()?)?;
    if average.is_zero() {
        return None;
    }
    let millis = average.as_millis().saturating_mul(u128::from(percentage)) / 100;
    let minutes = u64::try_from(millis.div_ceil(60_000)).unwrap_or(u64::MAX);
    let least = number(default).filter(|_| elastic.fail_safe).map_or(0, u64::from);
    Some(minutes.max(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(percentage: &str, fail_safe: bool, minutes_each: &[u64]) -> Option<u64> {
        let elastic = Elastic { percentage: percentage.to_owned(), builds: "${N}".to_owned(), fail_safe };
        let took: Vec<Duration> = minutes_each.iter().map(|m| Duration::from_secs(m * 60)).collect();
        let params = [("P".to_owned(), "200".to_owned())].into();
        minutes(&elastic, "60", &took, &params)
    }

    #[test]
    fn the_timeout_is_a_part_of_the_average_and_without_one_that_of_the_job() {
        assert_eq!(of("150", false, &[]), None);
        assert_eq!(of("150", false, &[10, 30]), Some(30));
        assert_eq!(of("150", false, &[1, 2]), Some(3), "rounded up");
        assert_eq!(of("${P}", false, &[10]), Some(20));
        assert_eq!(of("150", true, &[10, 30]), Some(60), "not less than what is safe");
        assert_eq!(of("150", true, &[100]), Some(150));
        assert_eq!(of("0", false, &[10]), None);
        assert_eq!(of("half", false, &[10]), None);
        assert_eq!(of("4000000000", false, &[u64::from(u32::MAX)]), Some(171_798_691_800_000_000));
    }
}
