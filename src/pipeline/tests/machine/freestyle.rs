//! Freestyle jobs: the same machine, with what Jenkins' log shows of such builds.

use std::sync::Arc;

use model::{BuildResult, BuildTimeout, Builder, Freestyle, Publisher};
use pipeline::act::{ActKind, Began, Language};
use pipeline::program::Program;

use crate::support::{Build, began};

fn shell(command: &str) -> Builder {
    Builder::Shell { command: command.to_owned(), unstable: None }
}

fn archive(artifacts: &str) -> Publisher {
    Publisher::Archive {
        artifacts: artifacts.to_owned(),
        excludes: String::new(),
        allow_empty: false,
        only_if_successful: false,
        default_excludes: true,
        case_sensitive: true,
    }
}

fn trigger(threshold: BuildResult) -> Publisher {
    Publisher::Trigger { jobs: vec!["down".to_owned(), "other".to_owned()], threshold }
}

fn builders(commands: &[&str]) -> Freestyle {
    let publishers = vec![trigger(BuildResult::Success), archive("out/$WHO")];
    Freestyle { builders: commands.iter().map(|c| shell(c)).collect(), publishers, ..Freestyle::default() }
}

fn compiled(job: &Freestyle) -> Arc<Program> {
    let source = Program::freestyle_source(job);
    let program = Program::compile_in(Language::Freestyle, &source).unwrap();
    assert_eq!(program.language(), Language::Freestyle);
    Arc::new(program)
}

fn began_freestyle() -> Began {
    Began { language: Language::Freestyle, ..began() }
}

fn told(job: &Freestyle) -> Build {
    let program = compiled(job);
    let mut build = Build::new(&program, &began_freestyle());
    build.finish();
    build.replays(&program);
    build
}

/// The story without the names of files that say nothing.
fn story(build: &Build) -> Vec<String> {
    let named = |line: String| match line.split_once("jenkins") {
        Some((before, after)) => {
            format!("{before}N{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => line,
    };
    build.story().into_iter().map(named).collect()
}

const HEAD: [&str; 2] = ["node any", "Building remotely on agent-1 (agent) in workspace /ws/job"];

fn with_head<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    HEAD.iter().copied().chain(rest.iter().copied()).collect()
}

#[test]
fn builders_run_one_after_the_other_and_publishers_after_them() {
    let build = told(&builders(&["echo a", "echo b"]));
    assert_eq!(build.result(), BuildResult::Success);
    assert_eq!(
        story(&build),
        with_head(&[
            "[job] $ /bin/sh -xe /tmp/N.sh",
            "sh echo a",
            "[job] $ /bin/sh -xe /tmp/N.sh",
            "sh echo b",
            "archive out/world",
            "trigger down, other",
            "release",
        ])
    );
    assert!(build.acts.iter().all(|act| act.branch.is_empty() && act.line == 0), "{:?}", build.acts);
}

#[test]
fn a_builder_that_fails_ends_the_builders_only() {
    let build = told(&builders(&["echo a", "exit 4", "echo never"]));
    assert_eq!(build.result(), BuildResult::Failure);
    assert_eq!(build.ended.as_ref().unwrap().error, None);
    assert_eq!(
        story(&build)[4..],
        [
            "[job] $ /bin/sh -xe /tmp/N.sh",
            "sh exit 4",
            "Build step 'Execute shell' marked build as failure",
            "result Failure",
            "archive out/world",
            "release",
        ]
    );
    let lost = told(&builders(&["lost"]));
    assert_eq!(lost.result(), BuildResult::Failure);
    let echoes = lost.echoes();
    assert_eq!(
        echoes[2..],
        ["ERROR: the agent is gone", "Build step 'Execute shell' marked build as failure"]
    );
}

#[test]
fn a_status_can_make_a_build_unstable() {
    let unstable = |n| Builder::Shell { command: "exit 3".to_owned(), unstable: Some(n) };
    let mut job = builders(&["exit 0"]);
    job.builders = vec![unstable(3), unstable(3), shell("after")];
    job.publishers = vec![trigger(BuildResult::Unstable)];
    let build = told(&job);
    assert_eq!(build.result(), BuildResult::Unstable);
    let said = "Build step 'Execute shell' changed build result to UNSTABLE";
    assert_eq!(build.echoes().iter().filter(|line| *line == said).count(), 1);
    assert_eq!(build.scripts(), ["exit 3", "exit 3", "after"]);
    assert!(story(&build).contains(&"trigger down, other".to_owned()));
    job.builders = vec![unstable(4)];
    assert_eq!(told(&job).result(), BuildResult::Failure);
    job.publishers = vec![trigger(BuildResult::Success)];
    job.builders = vec![unstable(3)];
    assert!(!story(&told(&job)).contains(&"trigger down, other".to_owned()));
}

#[test]
fn publishers_see_the_result() {
    let mut only = archive("x");
    let Publisher::Archive { only_if_successful, .. } = &mut only else { panic!() };
    *only_if_successful = true;
    let mut job = builders(&["exit 1"]);
    job.publishers = vec![
        trigger(BuildResult::Failure),
        Publisher::Clean { results: vec![BuildResult::Failure] },
        only.clone(),
        archive("y"),
    ];
    let build = told(&job);
    assert_eq!(
        story(&build)[6..],
        [
            "Skipped archiving because build is not successful",
            "archive y",
            "[WS-CLEANUP] Deleting project workspace...",
            "delete /ws/job",
            "[WS-CLEANUP] done",
            "trigger down, other",
            "release",
        ]
    );
    let lenient =
        |act: &pipeline::act::Act| matches!(act.kind, ActKind::ArchiveArtifacts { allow_empty: true, .. });
    assert!(build.acts.iter().any(lenient), "nobody expects files of a build that failed");
    job.builders = vec![shell("fine")];
    let fine = story(&told(&job));
    assert!(
        fine.contains(&"archive x".to_owned()) && !fine.iter().any(|l| l.starts_with("delete")),
        "{fine:?}"
    );
}

#[test]
fn a_timeout_fails_or_aborts_and_publishers_still_run() {
    for (fails, result, word) in
        [(true, BuildResult::Failure, "failed"), (false, BuildResult::Aborted, "aborted")]
    {
        let timeout = BuildTimeout { time: "${LIMIT}".to_owned(), activity: false, fails };
        let job = Freestyle { timeout: Some(timeout), ..builders(&["hang", "never"]) };
        let program = compiled(&job);
        let mut began = began_freestyle();
        began.env.insert("LIMIT".to_owned(), "7".to_owned());
        let mut build = Build::new(&program, &began);
        build.finish();
        build.replays(&program);
        assert_eq!(build.result(), result);
        let story = story(&build);
        assert!(story.contains(&"timer 420000".to_owned()), "{story:?}");
        let said =
            format!("Build timed out (after 7 minutes). Marking the build as {word}.\nBuild was aborted");
        assert!(story.contains(&said), "{story:?}");
        assert!(story.contains(&"archive out/world".to_owned()), "{story:?}");
        assert!(!build.scripts().contains(&"never".to_owned()));
        assert_eq!(build.ended.as_ref().unwrap().error, None);
    }
    let timeout = BuildTimeout { time: "90".to_owned(), activity: true, fails: true };
    let job = Freestyle { timeout: Some(timeout), ..builders(&["quick"]) };
    let build = told(&job);
    assert_eq!(build.result(), BuildResult::Success);
    assert!(story(&build).contains(&"timer 90000 of silence".to_owned()));
    assert!(story(&build).contains(&"cancel timer".to_owned()));
}

#[test]
fn a_timeout_in_minutes_is_three_at_least_and_one_of_silence_is_not() {
    for (time, activity, wanted) in
        [("1", false, "timer 180000"), ("0.5", true, "timer 500 of silence"), ("4", false, "timer 240000")]
    {
        let timeout = BuildTimeout { time: time.to_owned(), activity, fails: false };
        let build = told(&Freestyle { timeout: Some(timeout), ..builders(&["quick"]) });
        assert!(story(&build).contains(&wanted.to_owned()), "{:?}", story(&build));
    }
}

#[test]
fn an_aborted_build_still_publishes_and_the_second_time_it_does_not() {
    let program = compiled(&builders(&["hang", "never"]));
    let mut build = Build::new(&program, &began_freestyle());
    build.finish();
    build.abort("alice");
    build.finish();
    build.replays(&program);
    assert_eq!(build.result(), BuildResult::Aborted);
    assert_eq!(build.ended.as_ref().unwrap().error, None);
    assert_eq!(story(&build)[4..], ["result Aborted", "archive out/world", "release"]);
    let mut build = Build::new(&program, &began_freestyle());
    build.finish();
    build.abort("alice");
    build.abort("alice");
    build.finish();
    assert_eq!(build.result(), BuildResult::Aborted);
    assert_eq!(story(&build)[4..], ["release"]);
}

#[test]
fn a_source_is_checked_out_first_and_its_variables_reach_the_builders() {
    let program = compiled(&Freestyle { clean_before: true, ..builders(&["env GIT_COMMIT"]) });
    let mut build = Build::new(&program, &Began { has_scm: true, ..began_freestyle() });
    build.finish();
    let story = story(&build);
    assert_eq!(
        story[2..6],
        ["[WS-CLEANUP] Deleting project workspace...", "delete /ws/job", "[WS-CLEANUP] done", "checkout",]
    );
    let variable = |act: &pipeline::act::Act| match &act.kind {
        ActKind::Process(process) => process.env.get("GIT_COMMIT").cloned(),
        _ => None,
    };
    assert_eq!(build.acts.iter().find_map(variable).as_deref(), Some("abc123"));
}

#[test]
fn no_character_of_a_configuration_is_read_as_groovy() {
    let odd = "echo '''${x}''' \"$y\" \\ \u{0} \u{1f600}\n'); sh('evil') //\r\n}}";
    let mut job = builders(&[odd]);
    job.label = Some("a ' \" ${b}".to_owned());
    job.publishers =
        vec![Publisher::Trigger { jobs: vec!["${z}'".to_owned()], threshold: BuildResult::Success }];
    let build = told(&job);
    let scripts: Vec<_> = build
        .acts
        .iter()
        .filter_map(|act| {
            if let ActKind::Process(process) = &act.kind { Some(process.script.clone()) } else { None }
        })
        .collect();
    assert_eq!(scripts, [odd.replace("\r\n", "\n")]);
    assert!(build.story().contains(&"trigger ${z}'".to_owned()));
    assert_eq!(build.story()[0], "node a ' \" ${b}");
}

#[test]
fn the_interpreter_of_a_script_is_shown() {
    let build = told(&builders(&["#!/usr/bin/env python3\nprint(1)"]));
    assert!(
        build.echoes()[1].starts_with("[job] $ /usr/bin/env python3 /tmp/jenkins"),
        "{:?}",
        build.echoes()
    );
    let mut job = builders(&[]);
    job.builders = vec![Builder::Batch { command: "dir".to_owned(), unstable: None }];
    assert!(told(&job).echoes()[1].starts_with("[job] $ cmd /c call "));
}

#[test]
fn a_workspace_of_the_jobs_own_choice_may_name_variables() {
    let mut job = builders(&["x"]);
    job.custom_workspace = Some("unused: the scheduler has put it into the executor".to_owned());
    let program = compiled(&job);
    let mut began = began_freestyle();
    began.params.insert("job".to_owned(), pipeline::act::ParamValue::Text("mine".to_owned()));
    let mut build = Build::new(&program, &began);
    while build.journal.len() < 2 {
        build.advance();
    }
    let step = build.acts[0].step.clone();
    let mut granted = crate::support::granted(None);
    granted.workspace = "/ws/${job}/$BUILD_NUMBER".to_owned();
    let outcome = pipeline::act::Outcome::Done(pipeline::act::Data::Granted(granted));
    build.feed(pipeline::act::Record::Outcome { step, outcome, at: 5_000_000, raw: None });
    build.finish();
    assert_eq!(build.echoes()[0], "Building remotely on agent-1 (agent) in workspace /ws/mine/7");
    let process = build.acts.iter().find_map(|act| match &act.kind {
        ActKind::Process(process) => Some(process.clone()),
        _ => None,
    });
    let process = process.unwrap();
    assert_eq!(process.place.dir, "/ws/mine/7");
    assert_eq!(process.env["WORKSPACE"], "/ws/mine/7");
}
