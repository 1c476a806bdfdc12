//! Declarative pipelines from agent to post.

use pipeline::act::{Began, BuildResult};
use pipeline::program::Program;

use crate::support::{Build, began};

fn story(source: &str, wanted: &[&str]) -> Build {
    story_began(source, &began(), wanted)
}

fn story_began(source: &str, began: &Began, wanted: &[&str]) -> Build {
    let build = Build::of_began(source, began);
    assert_eq!(build.story(), *wanted, "{source}\n{}", build.error());
    build
}

#[test]
fn stages_run_on_the_agent() {
    let build = story(
        "pipeline { agent any\n stages { stage('A') { steps { sh 'a' } }\n stage('B') { steps { echo 'b' } } } }",
        &["node any", "{ A", "sh a", "} Success", "{ B", "b", "} Success", "release"],
    );
    assert_eq!(build.result(), BuildResult::Success);
}

#[test]
fn sources_are_checked_out_first() {
    let with_scm = Began { has_scm: true, ..began() };
    story_began(
        "pipeline { agent { label 'x' }\n stages { stage('A') { steps { sh 'a' } } } }",
        &with_scm,
        &[
            "node x",
            "{ Declarative: Checkout SCM",
            "checkout",
            "} Success",
            "{ A",
            "sh a",
            "} Success",
            "release",
        ],
    );
    story_began(
        "pipeline { agent any\n options { skipDefaultCheckout() }\n stages { stage('A') { steps { sh 'a' } } } }",
        &with_scm,
        &["node any", "{ A", "sh a", "} Success", "release"],
    );
    story_began(
        "pipeline { agent none\n stages { stage('A') { agent { label 'y' }\n steps { sh 'a' } } } }",
        &with_scm,
        &["{ A", "node y", "checkout", "sh a", "release", "} Success"],
    );
}

#[test]
fn after_a_failure_stages_are_skipped_and_post_runs() {
    let build = story(
        "pipeline { agent any\n stages { stage('A') { steps { sh 'exit 1' }\n post { failure { echo 'a failed' }\n success { echo 'no' } } }\n stage('B') { steps { echo 'b' } } }\n post { cleanup { echo 'clean' }\n always { echo 'always' }\n failure { echo 'failed' }\n success { echo 'no' } } }",
        &[
            "node any",
            "{ A",
            "sh exit 1",
            "a failed",
            "} Failure",
            "{ B",
            "Stage \"B\" skipped due to earlier failure(s)",
            "} skipped NotBuilt",
            "{ Declarative: Post Actions",
            "always",
            "failed",
            "clean",
            "} Success",
            "release",
        ],
    );
    assert_eq!(
        (build.result(), build.error().as_str()),
        (BuildResult::Failure, "ERROR: script returned exit code 1")
    );
}

#[test]
fn when_decides() {
    let build = Build::of(
        "pipeline { agent any\n environment { A = 'yes' }\n stages {
  stage('1') { when { environment name: 'A', value: 'yes' }\n steps { echo 'one' } }
  stage('2') { when { expression { params.FLAG } }\n steps { echo 'two' } }
  stage('3') { when { not { equals expected: 1, actual: 1 } }\n steps { echo 'three' } }
  stage('4') { when { anyOf { expression { false }\n environment name: 'A', value: 'yes' } }\n steps { echo 'four' } }
  stage('5') { when { allOf { expression { false }\n expression { error 'not looked at' } } }\n steps { echo 'five' } }
 } }",
    );
    assert_eq!(
        build.echoes(),
        [
            "one",
            "two",
            "Stage \"3\" skipped due to when conditional",
            "four",
            "Stage \"5\" skipped due to when conditional"
        ],
        "{}",
        build.error()
    );
}

#[test]
fn before_agent_saves_the_agent() {
    story(
        "pipeline { agent none\n stages { stage('A') { agent any\n when { beforeAgent true\n expression { false } }\n steps { echo 'no' } } } }",
        &["{ A", "Stage \"A\" skipped due to when conditional", "} skipped NotBuilt"],
    );
}

#[test]
fn environments_see_what_stands_before() {
    let build = Build::of(
        "pipeline { agent any\n environment { A = 'a'\n B = \"${A}b\" }\n stages { stage('S') { environment { C = \"${env.B}c\" }\n steps { echo \"$A $B $C ${env.STAGE_NAME}\"\n sh 'env C' } }\n stage('T') { steps { echo \"${env.C}\" } } } }",
    );
    assert_eq!(build.echoes(), ["a ab abc S", "null"], "{}", build.error());
}

#[test]
fn stages_nest_and_branch() {
    let build = story(
        "pipeline { agent none\n stages { stage('Outer') { stages { stage('In 1') { steps { echo '1' } }\n stage('In 2') { steps { echo '2' } } } }\n stage('P') { failFast true\n parallel { stage('L') { steps { echo 'l' } }\n stage('R') { steps { echo 'r' } } } } } }",
        &[
            "{ Outer",
            "{ In 1",
            "1",
            "} Success",
            "{ In 2",
            "2",
            "} Success",
            "} Success",
            "{ P",
            "{ L",
            "{ R",
            "{ L",
            "{ R",
            "l",
            "r",
            "} Success",
            "} Success",
            "} Success",
            "} Success",
            "} Success",
        ],
    );
    assert_eq!(build.result(), BuildResult::Success);
}

#[test]
fn a_failing_parallel_stage_fails_the_build() {
    let build = Build::of(
        "pipeline { agent any\n stages { stage('P') { parallel { stage('L') { steps { sh 'exit 1' } }\n stage('R') { steps { sh 'r' } } } }\n stage('Z') { steps { echo 'z' } } } }",
    );
    assert_eq!(build.result(), BuildResult::Failure);
    assert!(build.echoes().contains(&"Stage \"Z\" skipped due to earlier failure(s)".to_owned()));
    assert!(build.scripts().contains(&"r".to_owned()));
}

#[test]
fn post_follows_the_result_and_the_build_before() {
    let source = "pipeline { agent none\n stages { stage('A') { steps { script { if (params.WHO == 'bad') { unstable 'u' } } } } }\n post { always { echo 'always' }\n changed { echo 'changed' }\n fixed { echo 'fixed' }\n regression { echo 'regression' }\n aborted { echo 'aborted' }\n failure { echo 'failure' }\n success { echo 'success' }\n unstable { echo 'unstable' }\n unsuccessful { echo 'unsuccessful' }\n cleanup { echo 'cleanup' } } }";
    let echoes = |who: &str, previous| {
        let mut began = Began { previous, ..began() };
        began.params.insert("WHO".into(), pipeline::act::ParamValue::Text(who.into()));
        Build::of_began(source, &began)
            .echoes()
            .into_iter()
            .filter(|e| !e.starts_with("WARNING"))
            .collect::<Vec<_>>()
    };
    assert_eq!(echoes("good", None), ["always", "changed", "success", "cleanup"]);
    assert_eq!(echoes("good", Some(BuildResult::Success)), ["always", "success", "cleanup"]);
    assert_eq!(
        echoes("good", Some(BuildResult::Failure)),
        ["always", "changed", "fixed", "success", "cleanup"]
    );
    assert_eq!(
        echoes("bad", Some(BuildResult::Success)),
        ["always", "changed", "regression", "unsuccessful", "unstable", "cleanup"]
    );
    assert_eq!(echoes("bad", Some(BuildResult::Unstable)), ["always", "unsuccessful", "unstable", "cleanup"]);
}

#[test]
fn an_error_in_post_does_not_hide_the_others() {
    let build = Build::of(
        "pipeline { agent none\n stages { stage('A') { steps { echo 'a' }\n post { always { error 'p' }\n cleanup { echo 'c' } } } }\n post { failure { echo 'f' } } }",
    );
    assert_eq!(build.echoes(), ["a", "Error when executing always post condition:", "ERROR: p", "c", "f"]);
    assert_eq!(build.result(), BuildResult::Failure);
}

#[test]
fn options_wrap_pipeline_and_stages() {
    let build = Build::of(
        "pipeline { agent any\n options { timeout(time: 1, unit: 'HOURS')\n timestamps()\n disableConcurrentBuilds(abortPrevious: true)\n buildDiscarder(logRotator(numToKeepStr: '5')) }\n stages { stage('A') { options { retry(2)\n timeout(time: 5, unit: 'SECONDS') }\n steps { sh 'exit 1' } } } }",
    );
    assert_eq!(
        build.story(),
        [
            "node any",
            "timer 3600000",
            "{ A",
            "timer 5000",
            "sh exit 1",
            "ERROR: script returned exit code 1",
            "Retrying",
            "sh exit 1",
            "cancel timer",
            "} Failure",
            "cancel timer",
            "release",
        ]
    );
}

#[test]
fn a_timeout_of_a_stage_aborts_and_post_runs() {
    let build = Build::of(
        "pipeline { agent any\n stages { stage('A') { options { timeout(time: 1) }\n steps { sh 'hang' }\n post { aborted { sh 'tidy' } } } }\n post { aborted { echo 'aborted' } } }",
    );
    assert_eq!(build.result(), BuildResult::Aborted);
    assert_eq!(build.scripts(), ["hang", "tidy"]);
    assert_eq!(build.echoes(), ["aborted"]);
}

#[test]
fn unstable_may_skip_what_follows() {
    let build = Build::of(
        "pipeline { agent none\n options { skipStagesAfterUnstable() }\n stages { stage('A') { steps { unstable 'u' } }\n stage('B') { steps { echo 'b' } } } }",
    );
    assert_eq!(
        build.echoes()[1],
        "Stage \"B\" skipped due to earlier stage(s) marking the build as unstable"
    );
    assert_eq!(build.result(), BuildResult::Unstable);
}

#[test]
fn properties_come_from_options_and_parameters() {
    let program = Program::compile(
        "pipeline { agent none\n options { disableConcurrentBuilds()\n timestamps() }\n parameters { string(name: 'S', defaultValue: 'd')\n choice(name: 'C', choices: ['a', 'b']) }\n stages { stage('A') { steps { echo 'a' } } } }",
    )
    .unwrap();
    let properties = program.properties();
    assert!(properties.declarative && properties.disable_concurrent_builds && properties.timestamps);
    assert!(!properties.abort_previous);
    assert_eq!(properties.parameters.len(), 2);
    assert_eq!(program.hash().len(), 64);
    assert!(!Program::compile("echo 'x'").unwrap().properties().declarative);
}

#[test]
fn functions_outside_the_pipeline_can_be_used() {
    let build = Build::of(
        "def greet(w) { echo \"hi $w\" }\ndef version = '1.2'\npipeline { agent none\n stages { stage('A') { steps { greet 'x'\n echo version\n script { def l = [1, 2]; l.each { echo \"$it\" } } } } } }",
    );
    assert_eq!(build.echoes(), ["hi x", "1.2", "1", "2"], "{}", build.error());
}

#[test]
fn a_stage_that_catches_its_error_stays_in_the_flow() {
    let build = Build::of(
        "pipeline { agent any\n stages { stage('A') { steps { catchError(buildResult: 'SUCCESS', stageResult: 'FAILURE') { sh 'exit 1' } } }\n stage('B') { steps { echo 'b' } } } }",
    );
    assert!(build.story().contains(&"} Failure".to_owned()));
    assert_eq!(build.result(), BuildResult::Success);
    assert_eq!(build.echoes().last().unwrap(), "b");
}
