//! What is said of each job. As the plugin does by default: of jobs that are not disabled.

use model::{BuildResult, Millis};
use store::{Recent, Tally};

use super::Job;
use super::page::{Page, float, label};

/// One metric of jobs. `value`: of one job at this moment; nothing when the job has none.
pub(super) struct Family {
    pub(super) name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// Suffix and value.
    value: fn(&Job, Millis) -> Values,
}

/// Most have one value; a summary has two.
type Values = [Option<(&'static str, f64)>; 2];

fn one(value: f64) -> Values {
    [Some(("", value)), None]
}

fn maybe(value: Option<f64>) -> Values {
    [value.map(|value| ("", value)), None]
}

/// The number of completed builds with a result, since the job was made.
fn ended(job: &Tally, result: BuildResult) -> Values {
    let count = BuildResult::ALL.iter().zip(job.ended).find(|(r, _)| **r == result).map_or(0, |(_, n)| n);
    one(float(count))
}

fn all(job: &Tally) -> u64 {
    job.ended.iter().sum()
}

fn millis(from: Millis, to: Millis) -> f64 {
    float(u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX))
}

fn last(job: &Tally) -> Option<&Recent> {
    job.newest.first()
}

/// The last one, if it has ended.
fn last_ended(job: &Tally) -> Option<(&Recent, Millis)> {
    let last = last(job)?;
    Some((last, last.ended_at?))
}

/// -1 while it runs, as Jenkins has it.
fn ordinal(build: &Recent) -> f64 {
    let result = build.ended_at.and(build.result);
    let at = result.and_then(|result| BuildResult::ALL.iter().position(|r| *r == result));
    at.and_then(|at| u32::try_from(at).ok()).map_or(-1.0, f64::from)
}

/// Of the last five completed builds, how many did not fail; 100 for a job without any.
fn health(job: &Tally) -> f64 {
    let results = job.newest.iter().filter(|b| b.ended_at.is_some()).filter_map(|b| b.result);
    let counted: Vec<BuildResult> = results.take(5).collect();
    let failed = counted.iter().filter(|r| **r == BuildResult::Failure).count();
    if counted.is_empty() {
        return 100.0;
    }
    (100.0 * (counted.len() - failed) as f64 / counted.len() as f64).floor()
}

/// In the order of the plugin. A counter stands there twice: its client library adds `_total`, and older versions did not.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "default_jenkins_builds_duration_milliseconds_summary",
        kind: "summary",
        help: "Summary of build times in milliseconds by job",
        value: |job, _| [Some(("_count", float(all(&job.tally)))), Some(("_sum", float(job.tally.took)))],
    },
    Family {
        name: "default_jenkins_builds_success_build_count",
        kind: "gauge",
        help: "Successful builds since the job was made",
        value: |job, _| ended(&job.tally, BuildResult::Success),
    },
    Family {
        name: "default_jenkins_builds_success_build_count_total",
        kind: "counter",
        help: "Successful builds since the job was made",
        value: |job, _| ended(&job.tally, BuildResult::Success),
    },
    Family {
        name: "default_jenkins_builds_failed_build_count",
        kind: "gauge",
        help: "Failed builds since the job was made",
        value: |job, _| ended(&job.tally, BuildResult::Failure),
    },
    Family {
        name: "default_jenkins_builds_failed_build_count_total",
        kind: "counter",
        help: "Failed builds since the job was made",
        value: |job, _| ended(&job.tally, BuildResult::Failure),
    },
    Family {
        name: "default_jenkins_builds_aborted_build_count",
        kind: "gauge",
        help: "Aborted builds since the job was made",
        value: |job, _| ended(&job.tally, BuildResult::Aborted),
    },
    Family {
        name: "default_jenkins_builds_aborted_build_count_total",
        kind: "counter",
        help: "Aborted builds since the job was made",
        value: |job, _| ended(&job.tally, BuildResult::Aborted),
    },
    Family {
        name: "default_jenkins_builds_unstable_build_count",
        kind: "gauge",
        help: "Unstable builds since the job was made",
        value: |job, _| ended(&job.tally, BuildResult::Unstable),
    },
    Family {
        name: "default_jenkins_builds_unstable_build_count_total",
        kind: "counter",
        help: "Unstable builds since the job was made",
        value: |job, _| ended(&job.tally, BuildResult::Unstable),
    },
    Family {
        name: "default_jenkins_builds_total_build_count",
        kind: "gauge",
        help: "Completed builds since the job was made",
        value: |job, _| one(float(all(&job.tally))),
    },
    Family {
        name: "default_jenkins_builds_total_build_count_total",
        kind: "counter",
        help: "Completed builds since the job was made",
        value: |job, _| one(float(all(&job.tally))),
    },
    Family {
        name: "default_jenkins_builds_health_score",
        kind: "gauge",
        help: "Health score of a job",
        value: |job, _| one(health(&job.tally)),
    },
    Family {
        name: "default_jenkins_builds_available_builds_count",
        kind: "gauge",
        help: "Number of builds available for this job",
        value: |job, _| one(float(job.tally.builds)),
    },
    Family {
        name: "default_jenkins_builds_discard_active",
        kind: "gauge",
        help: "1 when builds of the job are discarded some day",
        value: |job, _| one(f64::from(u8::from(job.discards))),
    },
    Family {
        name: "default_jenkins_builds_running_build_duration_milliseconds",
        kind: "gauge",
        help: "How long the last build runs, while it runs",
        value: |job, now| {
            let running = last(&job.tally).filter(|build| build.ended_at.is_none());
            maybe(running.map(|build| millis(build.started_at, now)))
        },
    },
    Family {
        name: "default_jenkins_builds_last_build_result_ordinal",
        kind: "gauge",
        help: "Result of the last build: 0 SUCCESS, 1 UNSTABLE, 2 FAILURE, 3 NOT_BUILT, 4 ABORTED, -1 while it runs",
        value: |job, _| maybe(last(&job.tally).map(ordinal)),
    },
    Family {
        name: "default_jenkins_builds_last_build_result",
        kind: "gauge",
        help: "1 unless the last build was worse than unstable",
        value: |job, _| maybe(last(&job.tally).map(|build| if ordinal(build) < 2.0 { 1.0 } else { 0.0 })),
    },
    Family {
        name: "default_jenkins_builds_last_build_duration_milliseconds",
        kind: "gauge",
        help: "Build times in milliseconds of last build",
        value: |job, _| maybe(last_ended(&job.tally).map(|(build, end)| millis(build.started_at, end))),
    },
    Family {
        name: "default_jenkins_builds_last_build_waiting_milliseconds",
        kind: "gauge",
        help: "How long the last build was in the queue, in milliseconds",
        value: |job, _| {
            maybe(last_ended(&job.tally).map(|(build, _)| millis(build.queued_at, build.started_at)))
        },
    },
    Family {
        name: "default_jenkins_builds_last_build_start_time_milliseconds",
        kind: "gauge",
        help: "Last build start timestamp in milliseconds",
        value: |job, _| {
            maybe(last(&job.tally).map(|build| float(u64::try_from(build.started_at.0).unwrap_or(0))))
        },
    },
    Family {
        name: "default_jenkins_builds_last_build_logfile_size_bytes",
        kind: "gauge",
        help: "Bytes of the log of the last build",
        value: |job, _| maybe(last_ended(&job.tally).map(|(build, _)| float(build.log_end))),
    },
];

/// The labels of a job as the plugin has them: `repo` is what is between the first two slashes of the full name.
fn labels(job: &Tally) -> String {
    let name = job.item.name.as_str();
    let between = name.split_once('/').and_then(|(_, rest)| rest.split_once('/')).map(|(repo, _)| repo);
    let repo = label("repo", between.unwrap_or("NA"));
    format!("{},{repo},buildable=\"true\"", label("jenkins_job", name))
}

impl Family {
    pub(super) fn head(&self) -> String {
        let mut page = Page::default();
        page.head(self.name, self.kind, self.help);
        page.end()
    }

    pub(super) fn lines<'a>(&self, jobs: impl Iterator<Item = &'a Job>, now: Millis) -> String {
        let mut page = Page::default();
        for job in jobs.filter(|job| !job.tally.item.disabled) {
            for (suffix, value) in (self.value)(job, now).into_iter().flatten() {
                page.sample(&format!("{}{suffix}", self.name), &labels(&job.tally), value);
            }
        }
        page.end()
    }
}

#[cfg(test)]
mod tests {
    use model::JobName;
    use store::{ItemKind, ItemSummary};

    use super::*;

    fn recent(number: u64, result: Option<BuildResult>) -> Recent {
        let ended_at = result.map(|_| Millis(1_500));
        Recent { number, queued_at: Millis(900), started_at: Millis(1_000), ended_at, result, log_end: 77 }
    }

    fn job(newest: Vec<Recent>) -> Job {
        let item = ItemSummary {
            id: 1,
            name: JobName::parse("team/web/ma\"in")
                .unwrap_or_else(|_| JobName::parse("team/web/main").unwrap()),
            kind: ItemKind::Pipeline,
            disabled: false,
            next_build: 9,
            running: 0,
            last_result: None,
            version: 1,
        };
        let tally = Tally { item, ended: [3, 1, 2, 0, 1], took: 12_345, builds: 5, newest };
        Job { tally, discards: true }
    }

    fn value(of: &Job, name: &str) -> Option<f64> {
        let family = FAMILIES.iter().find(|f| f.name.ends_with(name)).unwrap();
        (family.value)(of, Millis(4_000))[0].map(|(_, value)| value)
    }

    #[test]
    fn a_job_has_the_numbers_that_the_plugin_shows() {
        let ended = job(vec![recent(8, Some(BuildResult::Unstable)), recent(7, Some(BuildResult::Failure))]);
        for (name, wanted) in [
            ("summary", 7.0),
            ("success_build_count_total", 3.0),
            ("aborted_build_count", 1.0),
            ("total_build_count_total", 7.0),
            ("health_score", 50.0),
            ("available_builds_count", 5.0),
            ("discard_active", 1.0),
            ("last_build_result_ordinal", 1.0),
            ("last_build_result", 1.0),
            ("last_build_duration_milliseconds", 500.0),
            ("last_build_waiting_milliseconds", 100.0),
            ("last_build_start_time_milliseconds", 1_000.0),
            ("logfile_size_bytes", 77.0),
        ] {
            assert_eq!(value(&ended, name), Some(wanted), "{name}");
        }
        assert_eq!(value(&ended, "running_build_duration_milliseconds"), None);
        let runs = job(vec![recent(9, None)]);
        assert_eq!(value(&runs, "running_build_duration_milliseconds"), Some(3_000.0));
        assert_eq!(value(&runs, "last_build_result_ordinal"), Some(-1.0));
        assert_eq!(value(&runs, "last_build_duration_milliseconds"), None);
        let new = job(vec![]);
        assert_eq!((value(&new, "last_build_result"), value(&new, "health_score")), (None, Some(100.0)));
    }

    #[test]
    fn a_job_is_named_with_its_repository_and_a_disabled_one_is_left_out() {
        let mut one = job(vec![]);
        one.tally.item.name = JobName::parse("team/web/main").unwrap();
        let family = &FAMILIES[0];
        let labels = "{jenkins_job=\"team/web/main\",repo=\"web\",buildable=\"true\"}";
        assert_eq!(
            family.lines([&one].into_iter(), Millis(0)),
            format!("{0}_count{labels} 7\n{0}_sum{labels} 12345\n", family.name)
        );
        one.tally.item.name = JobName::parse("app").unwrap();
        assert!(family.lines([&one].into_iter(), Millis(0)).contains("repo=\"NA\""));
        one.tally.item.disabled = true;
        assert_eq!(family.lines([&one].into_iter(), Millis(0)), "");
    }
}
