//! What `post` looks at, in which order and where it runs; and which error becomes the result of the build.

use pipeline::act::BuildResult;

use crate::support::Build;

const SAY: &str = "success { echo \"success of ${env.STAGE_NAME}\" }\n failure { echo \"failure of ${env.STAGE_NAME}\" }\n unstable { echo \"unstable of ${env.STAGE_NAME}\" }\n aborted { echo \"aborted of ${env.STAGE_NAME}\" }";

#[test]
fn a_sibling_that_succeeds_does_not_see_the_failure_of_another_one() {
    let build = Build::told(&format!(
        "pipeline {{ agent any\n stages {{ stage('P') {{ parallel {{
  stage('bad') {{ steps {{ sh 'exit 1' }}\n post {{ {SAY} }} }}
  stage('good') {{ steps {{ sh '1'\n sh '2'\n sh '3' }}\n post {{ {SAY}\n always {{ echo currentBuild.currentResult }} }} }} }}
  post {{ {SAY} }} }} }}\n post {{ {SAY} }} }}"
    ));
    let echoes = build.echoes();
    for said in [
        "failure of bad",
        "success of good",
        "SUCCESS",
        "failure of P",
        "failure of Declarative: Post Actions",
    ] {
        assert!(echoes.contains(&said.to_owned()), "{said}: {echoes:?}");
    }
    assert_eq!(echoes.iter().filter(|e| e.contains(" of ")).count(), 4, "{echoes:?}");
    assert_eq!(build.result(), BuildResult::Failure);
}

#[test]
fn a_retry_whose_last_attempt_passes_leaves_nothing_behind() {
    let build = Build::told(
        "def n = 0\npipeline { agent any\n stages { stage('A') { options { retry(3) }\n steps { script { n++\n if (n < 3) { error 'no' } } }\n post { failure { echo \"failed $n ${currentBuild.currentResult}\" }\n success { echo \"passed $n ${currentBuild.currentResult}\" } } } }\n post { success { echo 'all passed' }\n unsuccessful { echo 'no' } } }",
    );
    let echoes = build.echoes();
    let said: Vec<&String> = echoes.iter().filter(|e| !e.starts_with("ERROR") && *e != "Retrying").collect();
    assert_eq!(said, ["failed 1 FAILURE", "failed 2 FAILURE", "passed 3 SUCCESS", "all passed"]);
    assert_eq!(build.result(), BuildResult::Success);

    let build = Build::told(
        "def n = 0\npipeline { agent any\n options { retry(3) }\n stages { stage('A') { steps { script { n++\n if (n < 2) { error 'no' } } } } }\n post { failure { echo \"failed $n\" }\n success { echo \"passed $n\" } } }",
    );
    assert_eq!(build.echoes(), ["failed 1", "ERROR: no", "Retrying", "passed 2"]);
    assert_eq!(build.result(), BuildResult::Success);
}

#[test]
fn blocks_that_catch_still_set_the_result() {
    let build = Build::told(
        "pipeline { agent any\n stages { stage('A') { steps { catchError { sh 'exit 1' }\n script { echo \"${currentBuild.result}\" } }\n post { failure { echo 'a' } } }\n stage('B') { steps { warnError('w') { error 'x' }\n unstable 'u' } } }\n post { failure { echo 'f' } } }",
    );
    let echoes = build.echoes();
    for said in ["FAILURE", "a", "f"] {
        assert!(echoes.contains(&said.to_owned()), "{said}: {echoes:?}");
    }
    assert_eq!(build.result(), BuildResult::Failure);
}

#[test]
fn a_post_body_sees_the_error_that_is_still_to_be_thrown_and_others_do_not() {
    let build = Build::told(
        "pipeline { agent none\n stages { stage('A') { steps { error 'x' }\n post { always { echo \"1 ${currentBuild.result} ${currentBuild.currentResult}\"\n catchError(buildResult: 'SUCCESS') { error 'y' } } } } }\n post { always { echo \"2 ${currentBuild.result} ${currentBuild.resultIsWorseOrEqualTo('FAILURE')}\" }\n cleanup { script { currentBuild.result = 'NOT_BUILT'\n echo \"3 ${currentBuild.result}\" } } } }",
    );
    assert_eq!(build.echoes(), ["1 FAILURE FAILURE", "ERROR: y", "2 FAILURE true", "3 NOT_BUILT"]);
    assert_eq!(build.story().iter().filter(|l| l.starts_with("result")).count(), 1);
    assert_eq!(build.result(), BuildResult::NotBuilt);

    let build = Build::told(
        "pipeline { agent none\n stages { stage('A') { steps { echo 'a' }\n post { always { echo \"${currentBuild.result} ${currentBuild.currentResult}\" } } } } }",
    );
    assert_eq!(build.echoes(), ["a", "null SUCCESS"]);
}

#[test]
fn post_of_an_aborted_stage_says_aborted() {
    let build = Build::aborted(
        "pipeline { agent any\n stages { stage('A') { steps { sh 'hang' }\n post { always { echo \"1 ${currentBuild.currentResult}\" }\n aborted { echo '2' }\n failure { echo 'no' } } } }\n post { always { echo \"3 ${currentBuild.result}\" } } }",
    );
    assert_eq!(build.echoes(), ["1 ABORTED", "2", "3 ABORTED"]);
    assert_eq!(build.result(), BuildResult::Aborted);

    let build = Build::told(
        "pipeline { agent any\n stages { stage('A') { options { timeout(1) }\n steps { sh 'hang' }\n post { always { echo \"1 ${currentBuild.currentResult}\" }\n aborted { echo '2' } } } }\n post { always { echo \"3 ${currentBuild.result}\" } } }",
    );
    assert_eq!(build.echoes(), ["1 ABORTED", "2", "3 ABORTED"]);
    assert_eq!(build.result(), BuildResult::Aborted);
}

#[test]
fn conditions_run_in_the_order_of_jenkins() {
    let all =
        "cleanup failure unstable notBuilt unsuccessful success aborted regression fixed changed always";
    let post: Vec<String> = all.split(' ').map(|name| format!("{name} {{ echo '{name}' }}")).collect();
    let of = |step: &str| {
        let build = Build::told(&format!(
            "pipeline {{ agent none\n stages {{ stage('A') {{ steps {{ script {{ {step} }} }}\n post {{ {} }} }} }} }}",
            post.join("\n")
        ));
        build.echoes().into_iter().filter(|e| all.contains(e.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(of("echo '.'"), ["always", "changed", "success", "cleanup"]);
    assert_eq!(of("unstable '.'"), ["always", "changed", "unsuccessful", "unstable", "cleanup"]);
    assert_eq!(of("error '.'"), ["always", "changed", "unsuccessful", "failure", "cleanup"]);
    assert_eq!(
        of("currentBuild.result = 'NOT_BUILT'"),
        ["always", "changed", "unsuccessful", "notBuilt", "cleanup"]
    );
    assert_eq!(
        of("currentBuild.result = 'ABORTED'"),
        ["always", "changed", "aborted", "unsuccessful", "cleanup"]
    );
}

#[test]
fn options_of_the_pipeline_begin_when_the_agent_and_the_environment_are_there() {
    let build = Build::told(
        "pipeline { agent any\n environment { A = sh(script: 'out a', returnStdout: true) }\n options { timeout(1)\n retry(2) }\n stages { stage('S') { steps { sh 's' } } }\n post { always { sh 'p' } } }",
    );
    assert_eq!(
        build.story(),
        [
            "node any",
            "sh out a",
            "timer 60000",
            "{ S",
            "sh s",
            "} Success",
            "{ Declarative: Post Actions",
            "sh p",
            "} Success",
            "cancel timer",
            "release",
        ]
    );
}

#[test]
fn post_runs_without_a_node_when_the_stages_never_began() {
    let build = Build::aborted(
        "pipeline { agent { label 'nowhere' }\n stages { stage('A') { steps { sh 'a' } } }\n post { aborted { echo \"tidy ${currentBuild.currentResult}\" }\n always { sh 'no node' } } }",
    );
    assert!(build.scripts().is_empty());
    assert_eq!(build.echoes().last().unwrap(), "tidy ABORTED");
    assert!(build.echoes().iter().any(|e| e.contains("Required context class hudson.FilePath is missing")));
    assert_eq!(build.result(), BuildResult::Aborted);

    let build = Build::told(
        "pipeline { agent any\n environment { A = readFile('nope') }\n stages { stage('A') { steps { sh 'a' } } }\n post { failure { echo \"f ${env.NODE_NAME}\" } } }",
    );
    assert_eq!(build.echoes(), ["f null"]);
    assert_eq!(build.result(), BuildResult::Failure);
}

#[test]
fn when_is_looked_at_before_the_environment_of_its_stage() {
    let build = Build::told(
        "pipeline { agent none\n stages { stage('A') { agent any\n environment { X = sh(script: 'out x', returnStdout: true) }\n when { expression { env.X == null && env.NODE_NAME != null && params.WHO == 'x' } }\n steps { echo 'no' } }\n stage('B') { environment { Y = 'y' }\n when { environment name: 'Y', value: 'y' }\n steps { echo 'no' } } } }",
    );
    assert_eq!(
        build.story(),
        [
            "{ A",
            "node any",
            "Stage \"A\" skipped due to when conditional",
            "release",
            "} skipped NotBuilt",
            "{ B",
            "Stage \"B\" skipped due to when conditional",
            "} skipped NotBuilt"
        ]
    );
}

#[test]
fn post_of_a_stage_looks_at_the_result_of_the_stage_too() {
    let build = Build::told(
        "pipeline { agent none\n stages { stage('A') { steps { catchError(stageResult: 'UNSTABLE', buildResult: 'SUCCESS') { error 'x' } }\n post { unstable { echo \"u ${currentBuild.currentResult}\" }\n success { echo 'no' } } } }\n post { success { echo 's' }\n unstable { echo 'no' } } }",
    );
    assert_eq!(build.echoes(), ["ERROR: x", "u SUCCESS", "s"]);
    assert_eq!(build.result(), BuildResult::Success);
}

#[test]
fn variables_of_an_environment_may_name_each_other_in_any_order() {
    let build = Build::told(
        "pipeline { agent any\n environment { IMG = \"x:${env.TAG}\"\n FULL = \"${REG}/${IMG}\" + SUFFIX\n LATE = '$TAG-late'\n TAG = \"t${env['N']}\"\n N = '1'\n REG = 'r'\n SUFFIX = '!'\n PATH = \"/x:${env.PATH}\" }\n stages { stage('S') { steps { echo \"$IMG $FULL $LATE $PATH\" } } } }",
    );
    assert_eq!(build.echoes(), ["x:t1 r/x:t1! t1-late /x:/bin"], "{}", build.error());

    let build = Build::told(
        "pipeline { agent any\n environment { A = \"a${env.B}\"\n B = \"b${env.A}\" }\n stages { stage('S') { steps { echo \"$A $B\" } } } }",
    );
    assert_eq!(build.echoes(), ["abnull bnull"], "{}", build.error());
}

#[test]
fn the_post_of_a_stage_needs_the_agent_of_its_steps() {
    let build = Build::aborted(
        "pipeline { agent none\n stages { stage('A') { agent { label 'nowhere' }\n steps { sh 'a' }\n post { always { echo 'of the stage' } } } }\n post { aborted { echo 'of the build' } } }",
    );
    assert_eq!(build.echoes(), ["of the build"]);
    assert_eq!(build.result(), BuildResult::Aborted);
}

#[test]
fn the_post_of_parallel_stages_runs_once_and_outside_of_their_options() {
    let build = Build::told(
        "def n = 0\npipeline { agent any\n stages { stage('P') { environment { A = 'b' }\n options { retry(2) }\n parallel { stage('x') { steps { script { n++\n if (n < 2) { error 'x' } } } } }\n post { always { echo \"post ${n} ${env.A}\" } } } } }",
    );
    let echoes = build.echoes();
    let said: Vec<&String> = echoes.iter().filter(|e| e.starts_with("post")).collect();
    assert_eq!(said, ["post 2 null"]);
    assert_eq!(build.result(), BuildResult::Success);
}
