//! Who is to be killed, and how far the controller has come since. Pure: answers of `/replicas/api/json` go in.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;

use crate::Error;

/// So long no build of the lost replica was the next one to be adopted or resumed: all are.
const QUIET: Duration = Duration::from_secs(3);
/// After that time a loss that nobody has noted was none: its builds had ended just before.
const NOTICED: Duration = Duration::from_secs(15);
/// After that time, what has not resumed only waits.
const RESUME: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Seen {
    pub(super) replicas: Vec<Replica>,
    #[serde(default)]
    pub(super) failovers: Vec<Failover>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Replica {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) incarnation: i64,
    pub(super) pid: u32,
    pub(super) builds: Vec<Build>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct Build {
    pub(super) job: String,
    pub(super) number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failover {
    pub(super) incarnation: i64,
    pub(super) adopted_millis: Option<u64>,
    pub(super) resumed_millis: Option<u64>,
}

/// The replica of that name, or the one with most builds. Refused unless another one is ready as well.
pub(super) fn pick<'a>(replicas: &'a [Replica], name: Option<&str>) -> Result<&'a Replica, Error> {
    let ready: Vec<&Replica> = replicas.iter().filter(|r| r.state == "ready").collect();
    let names = || ready.iter().map(|r| r.name.as_str()).collect::<Vec<_>>().join(", ");
    if ready.len() < 2 {
        let many = ready.len();
        return Err(Error::Refused(format!(
            "{many} replicas are ready; two must be, so that one can take over what the other loses"
        )));
    }
    let picked = match name {
        Some(name) => ready.iter().find(|r| r.name == name),
        // of several, the one of the lowest ordinal
        None => ready.iter().rev().max_by_key(|r| r.builds.len()),
    };
    let missing =
        || Error::Refused(format!("no replica {} is ready; there are {}", name.unwrap_or("?"), names()));
    picked.copied().ok_or_else(missing)
}

/// At most `most` of them, spread over all.
pub(super) fn sample(builds: &[Build], most: usize) -> Vec<Build> {
    if builds.len() <= most {
        return builds.to_vec();
    }
    (0..most).filter_map(|n| builds.get(n * builds.len() / most)).cloned().collect()
}

fn of_others<'a>(lost: &Replica, seen: &'a Seen) -> HashSet<&'a Build> {
    let others = seen.replicas.iter().filter(|r| r.incarnation != lost.incarnation);
    others.flat_map(|r| &r.builds).collect()
}

/// Builds that nobody drives by that answer: they have ended, or wait to be adopted.
pub(super) fn nobodys<'a>(lost: &'a Replica, seen: &Seen) -> Vec<&'a Build> {
    let theirs = of_others(lost, seen);
    let still: HashSet<&Build> =
        seen.replicas.iter().filter(|r| r.incarnation == lost.incarnation).flat_map(|r| &r.builds).collect();
    lost.builds.iter().filter(|b| !theirs.contains(b) && !still.contains(b)).collect()
}

/// What is known since the kill.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// The builds that the lost one still has.
    pub(super) left: usize,
    /// Until a new one of its name was ready.
    pub(super) ready: Option<Duration>,
    pub(super) adopted_millis: Option<u64>,
    pub(super) resumed_millis: Option<u64>,
    /// When adopted or resumed was another one, last.
    pub(super) changed: Duration,
}

impl Standing {
    /// After a look, that long after the kill. `over` are those that have ended or were deleted meanwhile.
    pub(super) fn next(
        mut self,
        lost: &Replica,
        seen: &Seen,
        over: &HashSet<Build>,
        now: Duration,
    ) -> Standing {
        let theirs = of_others(lost, seen);
        self.left = lost.builds.iter().filter(|b| !theirs.contains(b) && !over.contains(b)).count();
        let back =
            |r: &Replica| r.name == lost.name && r.incarnation != lost.incarnation && r.state == "ready";
        if self.ready.is_none() && seen.replicas.iter().any(back) {
            self.ready = Some(now);
        }
        if let Some(row) = seen.failovers.iter().find(|f| f.incarnation == lost.incarnation) {
            if (row.adopted_millis, row.resumed_millis) != (self.adopted_millis, self.resumed_millis) {
                self.changed = now;
            }
            (self.adopted_millis, self.resumed_millis) = (row.adopted_millis, row.resumed_millis);
        }
        self
    }

    /// Whether there is nothing more to wait for.
    pub(super) fn over(&self, lost: &Replica, now: Duration) -> bool {
        if self.ready.is_none() {
            return false;
        }
        let patience = match (self.adopted_millis, self.resumed_millis) {
            (None, _) => NOTICED,
            (Some(_), None) => RESUME,
            (Some(_), Some(_)) => QUIET,
        };
        lost.builds.is_empty() || self.left == 0 && now.saturating_sub(self.changed) >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(name: &str, state: &str, incarnation: i64, builds: &[u64]) -> Replica {
        let builds = builds.iter().map(|n| build(*n)).collect();
        Replica { name: name.to_owned(), state: state.to_owned(), incarnation, pid: 7, builds }
    }

    fn build(number: u64) -> Build {
        Build { job: "a".to_owned(), number }
    }

    #[test]
    fn the_busiest_is_picked_or_the_one_that_is_named() {
        let all = [
            replica("r-0", "ready", 1, &[1]),
            replica("r-1", "ready", 2, &[2, 3]),
            replica("r-2", "ready", 3, &[4, 5]),
            replica("r-3", "draining", 4, &[6, 7, 8]),
        ];
        assert_eq!(pick(&all, None).unwrap().name, "r-1");
        assert_eq!(pick(&all, Some("r-0")).unwrap().name, "r-0");
        let why = pick(&all, Some("r-3")).unwrap_err().to_string();
        assert_eq!(why, "no replica r-3 is ready; there are r-0, r-1, r-2");
        let why = pick(&all[2..], None).unwrap_err().to_string();
        assert!(why.starts_with("1 replicas are ready; two must be"), "{why}");
    }

    #[test]
    fn a_sample_is_spread_over_all() {
        let builds: Vec<Build> = (0..250).map(build).collect();
        assert_eq!(sample(&builds[..100], 100), builds[..100]);
        let some = sample(&builds, 100);
        assert_eq!((some.len(), some[0].number, some[99].number), (100, 0, 247));
        let numbers: HashSet<u64> = some.iter().map(|b| b.number).collect();
        assert_eq!(numbers.len(), 100);
    }

    fn seen(replicas: Vec<Replica>, moments: Option<(u64, Option<u64>)>) -> Seen {
        let row = |(adopted, resumed_millis)| Failover {
            incarnation: 2,
            adopted_millis: Some(adopted),
            resumed_millis,
        };
        Seen { replicas, failovers: moments.map(row).into_iter().collect() }
    }

    #[test]
    fn all_builds_are_adopted_or_over_and_resumed_before_the_test_is() {
        let lost = replica("r-1", "ready", 2, &[1, 2, 3]);
        let second = Duration::from_secs(1);
        let none = HashSet::new();
        let other = |builds: &[u64]| replica("r-0", "ready", 1, builds);
        // nobody has noticed yet
        let look = seen(vec![other(&[9]), lost.clone()], None);
        assert!(nobodys(&lost, &look).is_empty());
        let standing = Standing::default().next(&lost, &look, &none, second);
        assert_eq!((standing.left, standing.ready), (3, None), "the lost one itself is not back");
        // one adopted, and the new one starts
        let look = seen(vec![other(&[9, 1]), replica("r-1", "starting", 5, &[])], Some((200, None)));
        assert_eq!(nobodys(&lost, &look), [&build(2), &build(3)]);
        let standing = standing.next(&lost, &look, &none, 2 * second);
        assert_eq!((standing.left, standing.ready), (2, None));
        // all adopted or over, some resumed, and it is back
        let over = HashSet::from([build(3)]);
        let look = seen(vec![other(&[9, 1, 2]), replica("r-1", "ready", 5, &[])], Some((300, Some(400))));
        let standing = standing.next(&lost, &look, &over, 3 * second);
        assert_eq!((standing.left, standing.ready), (0, Some(3 * second)));
        assert!(!standing.over(&lost, 5 * second), "others may follow");
        // the last one resumes
        let look = seen(look.replicas, Some((300, Some(2_600))));
        let standing = standing.next(&lost, &look, &over, 5 * second);
        assert!(!standing.over(&lost, 7 * second) && standing.over(&lost, 8 * second));
        assert_eq!((standing.adopted_millis, standing.resumed_millis), (Some(300), Some(2_600)));
    }

    #[test]
    fn builds_that_only_wait_are_waited_for_a_minute() {
        let lost = replica("r-1", "ready", 2, &[1]);
        let new = replica("r-1", "ready", 5, &[1]);
        let look = seen(vec![new], Some((300, None)));
        let standing = Standing::default().next(&lost, &look, &HashSet::new(), Duration::from_secs(1));
        assert!(
            !standing.over(&lost, Duration::from_secs(60)) && standing.over(&lost, Duration::from_secs(61))
        );
    }

    #[test]
    fn without_builds_only_the_return_counts() {
        let lost = replica("r-1", "ready", 2, &[]);
        let step =
            |look: &Seen| Standing::default().next(&lost, look, &HashSet::new(), Duration::from_secs(1));
        assert!(!step(&seen(vec![lost.clone()], None)).over(&lost, Duration::from_secs(9)));
        let back = step(&seen(vec![replica("r-1", "ready", 5, &[])], None));
        assert!(back.over(&lost, Duration::from_secs(1)));
    }
}
