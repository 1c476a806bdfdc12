//! What a soak has shown. Pure: samples and counts in, complaints out.

use std::collections::BTreeMap;
use std::time::Duration;

/// One look at everything that must not grow, by what it is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) at: Duration,
    /// Bytes, or a count.
    pub(super) values: BTreeMap<&'static str, u64>,
}

/// How much more of a value is no growth yet: a share, and an amount that small values may differ by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Margin {
    pub(super) share: f64,
    pub(super) amount: u64,
}

/// Compares the last quarter with the second one: what begins fills caches, and is no leak.
pub(super) fn growth(samples: &[Sample], name: &'static str, margin: Margin) -> Option<String> {
    let end = samples.last()?.at;
    let quarter = |from: u32| {
        let within = move |s: &&Sample| s.at * 4 >= end * from && s.at * 4 <= end * (from + 1);
        let mut values: Vec<u64> =
            samples.iter().filter(within).filter_map(|s| s.values.get(name)).copied().collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    };
    let (before, after) = (quarter(1)?, quarter(3)?);
    #[expect(clippy::cast_precision_loss, reason = "a comparison with a margin")]
    let most = (before as f64).mul_add(1.0 + margin.share, margin.amount as f64);
    #[expect(clippy::cast_precision_loss, reason = "a comparison with a margin")]
    let grows = after as f64 > most;
    grows.then(|| format!("{name} has grown from {before} to {after}"))
}

/// How the requests that start builds of one job were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) acknowledged: u64,
    /// Refused in words: nothing may come of it.
    pub(super) refused: u64,
    /// The connection ended without an answer: a build may come of it, or not.
    pub(super) unknown: u64,
}

/// Whether a job has all builds that were promised, and no others.
pub(super) fn promised(job: &str, answers: Answers, builds: u64) -> Option<String> {
    let Answers { acknowledged, unknown, .. } = answers;
    if builds < acknowledged {
        return Some(format!("{job}: of {acknowledged} acknowledged builds there are only {builds}"));
    }
    let most = acknowledged + unknown;
    (builds > most).then(|| format!("{job}: there are {builds} builds, and {most} were asked for at most"))
}

/// A build that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) job: &'static str,
    pub(super) number: u64,
    pub(super) result: String,
    /// Milliseconds since 1970.
    pub(super) began: u64,
    pub(super) ended: u64,
}

/// Those that a full disk does not explain.
pub(super) fn unexplained(failed: &[Failed], full: Option<(u64, u64)>) -> Vec<&Failed> {
    let during = |f: &Failed| full.is_some_and(|(from, to)| f.began <= to && f.ended >= from);
    failed.iter().filter(|f| !during(f)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARGIN: Margin = Margin { share: 0.1, amount: 2 };

    fn samples(values: &[u64]) -> Vec<Sample> {
        let sample = |(at, value): (usize, &u64)| Sample {
            at: Duration::from_secs(at as u64),
            values: BTreeMap::from([("memory", *value)]),
        };
        values.iter().enumerate().map(sample).collect()
    }

    #[test]
    fn what_fills_at_the_beginning_and_stays_has_not_grown() {
        let flat = samples(&[1, 50, 99, 100, 100, 101, 100, 103, 100, 100, 104, 100]);
        assert_eq!(growth(&flat, "memory", MARGIN), None);
        assert_eq!(growth(&flat, "files", MARGIN), None, "nothing is known of it");
        assert_eq!(growth(&[], "memory", MARGIN), None);
    }

    #[test]
    fn what_rises_to_the_end_has_grown() {
        let rising: Vec<u64> = (0..40).map(|n| 100 + n).collect();
        let said = growth(&samples(&rising), "memory", MARGIN).unwrap();
        assert!(said.starts_with("memory has grown from 1"), "{said}");
    }

    #[test]
    fn all_that_was_acknowledged_must_be_there_and_nothing_that_nobody_asked_for() {
        let answers = Answers { acknowledged: 10, refused: 3, unknown: 2 };
        let verdicts = [9, 10, 12, 13].map(|builds| promised("j", answers, builds).is_none());
        assert_eq!(verdicts, [false, true, true, false]);
    }

    #[test]
    fn a_full_disk_explains_builds_that_failed_meanwhile_and_no_others() {
        let failed = |began, ended| Failed { job: "j", number: 1, result: "FAILURE".into(), began, ended };
        let all = [failed(1, 4), failed(1, 5), failed(7, 9), failed(11, 12)];
        assert_eq!(unexplained(&all, Some((5, 10))), [&all[0], &all[3]]);
        assert_eq!(unexplained(&all, None).len(), 4);
    }
}
