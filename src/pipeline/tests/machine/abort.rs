//! A build that is told to end ends, cleans up, and says so.

use pipeline::act::{ActKind, BuildResult, Class};

use crate::corpus::CORPUS;
use crate::support::{Build, began, program};

/// Whatever was begun is ended: blocks, executors, timers.
pub(crate) fn nothing_is_left(build: &Build, what: &str) {
    let count = |f: &dyn Fn(&ActKind) -> bool| build.acts.iter().filter(|a| f(&a.kind)).count();
    let begun = count(&|k| matches!(k, ActKind::BlockStart { .. }));
    let ended = count(&|k| matches!(k, ActKind::BlockEnd { .. }));
    assert_eq!(begun, ended, "{what}\n{:#?}", build.story());
    let released = count(&|k| matches!(k, ActKind::ReleaseNode { .. }));
    let granted = build
        .journal
        .iter()
        .filter(|r| {
            matches!(
                r,
                pipeline::act::Record::Outcome {
                    outcome: pipeline::act::Outcome::Done(pipeline::act::Data::Granted(_)),
                    ..
                }
            )
        })
        .count();
    assert_eq!(granted, released, "{what}\n{:#?}", build.story());
    assert_eq!(build.machine.open().count(), 0, "{what}");
}

#[test]
fn an_abort_at_any_point_ends_the_build_and_replays() {
    for source in CORPUS {
        let program = program(source);
        let mut whole = Build::new(&program, &began());
        whole.finish();
        for cut in 1..whole.journal.len() {
            let mut build = Build::replayed(&program, &whole.journal[..cut]).unwrap();
            if build.ended.is_some() {
                break;
            }
            build.files.clone_from(&whole.files);
            build.abort("alice");
            build.finish();
            let what = format!("{source}\naborted after {cut} records");
            let ended = build.ended.clone().unwrap_or_else(|| panic!("{what}\n{:#?}", build.story()));
            assert_eq!(ended.result, BuildResult::Aborted, "{what}");
            nothing_is_left(&build, &what);
            let replayed = Build::replayed(&program, &build.journal).unwrap();
            assert_eq!(replayed.ended, build.ended, "{what}");
            assert_eq!(replayed.acts, build.acts, "{what}");
        }
    }
}

#[test]
fn a_second_abort_waits_for_nothing() {
    for source in CORPUS {
        let program = program(source);
        let mut whole = Build::new(&program, &began());
        whole.finish();
        for cut in 1..whole.journal.len() {
            for later in 0..4 {
                let mut build = Build::replayed(&program, &whole.journal[..cut]).unwrap();
                build.files.clone_from(&whole.files);
                build.abort("alice");
                for _ in 0..later {
                    build.advance();
                }
                if build.ended.is_some() {
                    continue;
                }
                let begun = build.acts.len();
                build.abort("bob");
                let settled = build.machine.wanted().to_vec();
                build.finish();
                let what = format!("{source}\naborted after {cut} and {later} records");
                assert_eq!(build.ended.as_ref().map(|e| e.result), Some(BuildResult::Aborted), "{what}");
                nothing_is_left(&build, &what);
                let late = build.acts[begun..]
                    .iter()
                    .filter(|a| a.class() != Class::Instant && !settled.contains(a));
                assert_eq!(late.count(), 0, "{what}\n{:#?}", build.story());
                let replayed = Build::replayed(&program, &build.journal).unwrap();
                assert_eq!(replayed.ended, build.ended, "{what}");
            }
        }
    }
}

#[test]
fn finally_and_post_run_after_an_abort() {
    let mut build = Build::new(&program("node { try { sh 'hang' } finally { sh 'tidy' } }"), &began());
    build.finish();
    assert!(build.ended.is_none());
    build.abort("alice");
    assert_eq!(build.machine.cancelled()[0].1, "Aborted by alice");
    build.finish();
    assert_eq!(build.scripts(), ["hang", "tidy"]);
    assert_eq!((build.result(), build.ended.and_then(|e| e.error)), (BuildResult::Aborted, None));

    let source = "pipeline { agent any\n stages { stage('A') { steps { sh 'hang' } }\n stage('B') { steps { sh 'b' } } }\n post { aborted { sh 'tidy' }\n failure { sh 'no' } } }";
    let mut build = Build::new(&program(source), &began());
    build.finish();
    build.abort("alice");
    build.finish();
    assert_eq!(build.scripts(), ["hang", "tidy"]);
    assert_eq!(build.result(), BuildResult::Aborted);
}

#[test]
fn a_script_may_catch_the_interruption_but_not_the_result() {
    let mut build = Build::new(
        &program("node { try { sh 'hang' } catch (e) { echo e.class.simpleName } \n sh 'on' }"),
        &began(),
    );
    build.finish();
    build.abort("alice");
    build.finish();
    assert_eq!(build.echoes(), ["FlowInterruptedException"]);
    assert_eq!(build.scripts(), ["hang", "on"]);
    assert_eq!(build.result(), BuildResult::Aborted);
}
