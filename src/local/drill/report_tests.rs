use std::time::Duration;

use super::super::logs::take;
use super::super::standing::{Build, Glance, Noted};
use super::*;
use crate::verify::Checked;

fn build(number: u64) -> Build {
    Build { job: "a".to_owned(), number }
}

fn lost(builds: u64) -> Replica {
    let builds = (1..=builds).map(build).collect();
    Replica { name: "r-1".into(), state: "ready".into(), incarnation: 2, pid: Some(7), builds }
}

fn well() -> Standing {
    Standing {
        ready: Some(Duration::from_millis(900)),
        adopted_millis: Some(310),
        resumed_millis: Some(800),
        ..Standing::default()
    }
}

fn judged(standing: &Standing, change: fn(&mut Test)) -> (Verdict, String, usize) {
    let mut done = Test::default();
    change(&mut done);
    let verdict = judge(standing, &lost(2), &[], &mut done);
    (verdict, done.outcome, done.problems.len())
}

#[test]
fn only_what_was_seen_to_be_right_passes() {
    assert_eq!(judged(&well(), |_| {}), (Verdict::Right, "passed".to_owned(), 0));
    let unnoted = Standing { adopted_millis: None, ..well() };
    assert_eq!(judged(&unnoted, |_| {}), (Verdict::Unknown, "unknown".to_owned(), 1));
    assert_eq!(judged(&well(), |t| t.logs_unchecked = 1).0, Verdict::Unknown);
    assert_eq!(judged(&well(), |t| t.logs_missing = 1).0, Verdict::Unknown);
    assert_eq!(judged(&well(), |t| t.builds_failed = 1).0, Verdict::Unknown);
    let failed = (Verdict::Defects, "failed".to_owned(), 1);
    assert_eq!(judged(&Standing { left: 1, ..well() }, |_| {}), failed);
    assert_eq!(judged(&Standing { ready: None, ..well() }, |_| {}), failed);
    let both = |t: &mut Test| (t.defects, t.logs_unchecked) = (1, 1);
    assert_eq!(judged(&well(), both).0, Verdict::Defects, "what is wrong is worse than what is unknown");
    assert_eq!(judged(&well(), |t| t.logs_deleted = 1).0, Verdict::Right, "a discarder may do that");
    let mut done = Test::default();
    let back = Standing { ready: Some(Duration::ZERO), ..Standing::default() };
    assert_eq!(judge(&back, &lost(0), &[], &mut done), Verdict::Right);
}

#[test]
fn a_build_that_was_not_seen_to_go_on_is_named_whatever_the_others_do() {
    let mut done = Test::default();
    let mut goes = Watched::new(build(1), None);
    goes.glance(Glance::Runs { length: 1 });
    goes.glance(Glance::Runs { length: 2 });
    let watched = [goes, Watched::new(build(2), None)];
    assert_eq!(judge(&well(), &lost(2), &watched, &mut done), Verdict::Unknown);
    assert_eq!((done.builds_waiting, done.problems.len()), (1, 1));
    assert!(done.problems[0].starts_with("a #2 has written nothing"), "{:?}", done.problems);
}

fn checked(json: &str) -> Checked {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_log_that_begins_otherwise_than_before_is_a_defect_though_it_is_longer() {
    let before = Noted { bytes: 5, sha256: "aa".to_owned() };
    let taken = |json: &str| {
        let mut done = Test::default();
        take(&mut done, &build(1), Some(&before), &checked(json));
        (done.defects, done.logs_longer, done.problems.len())
    };
    assert_eq!(taken(r#"{"bytes":9,"building":true,"firstSha256":"aa"}"#), (0, 1, 0));
    assert_eq!(taken(r#"{"bytes":5,"building":true,"firstSha256":"aa"}"#), (0, 0, 0));
    assert_eq!(taken(r#"{"bytes":9,"building":true,"firstSha256":"bb"}"#), (1, 0, 1));
    assert_eq!(taken(r#"{"bytes":4,"building":true}"#), (1, 0, 1));
}

#[test]
fn results_of_builds_that_ended_meanwhile_are_told() {
    let mut done = Test { builds: 3, ..Test::default() };
    for (number, result) in [(1, "SUCCESS"), (2, "FAILURE")] {
        take(&mut done, &build(number), None, &checked(&format!(r#"{{"result":"{result}","bytes":1}}"#)));
    }
    take(&mut done, &build(3), None, &checked(r#"{"building":true,"bytes":1}"#));
    assert_eq!((done.builds_ended, done.builds_failed, done.logs_uncompared), (2, 1, 3));
    assert!(builds(&done).ends_with("; 2 ended; 1 of these failed"), "{}", builds(&done));
    assert_eq!(done.problems, ["a #2 has ended with FAILURE: its log says whether by the loss"]);
}

#[test]
fn a_report_says_what_was_checked() {
    let mut done = Test {
        builds: 250,
        adopted_millis: Some(310),
        ready_millis: Some(900),
        logs_checked: 98,
        log_bytes: 5_000,
        logs_longer: 90,
        logs_deleted: 2,
        outcome: "unknown".to_owned(),
        ..Test::default()
    };
    problem(&mut done, "something\u{7}");
    let wanted = "replica  r-1 is ready again after 900 ms\n\
                  builds   250, the last one adopted after 310 ms, resumed not seen\n\
                  logs     98 checked, 5000 bytes, 90 longer than before; a sample of 250; 2 deleted meanwhile\n\
                  defects  none\n\
                  outcome  unknown\n\
                  something?";
    assert_eq!(told(&done, &lost(250)), wanted);
}
