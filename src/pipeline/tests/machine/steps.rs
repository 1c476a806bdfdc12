//! Scripted pipelines: steps, blocks and branches.

use pipeline::act::{ActKind, BuildResult, Scm};

use crate::support::{Build, began};

fn story(source: &str, wanted: &[&str]) -> Build {
    let build = Build::of(source);
    assert_eq!(build.story(), *wanted, "{source}\n{}", build.error());
    build
}

#[test]
fn a_build_on_a_node_runs_its_steps_in_stages() {
    let build = story(
        "node('linux') {\n  stage('Build') { sh 'make' }\n  stage('Test') { echo \"on ${env.NODE_NAME} in ${pwd()} ${isUnix()}\" }\n}",
        &[
            "node linux",
            "{ Build",
            "sh make",
            "} Success",
            "{ Test",
            "on linux-1 in /ws/job true",
            "} Success",
            "release",
        ],
    );
    assert_eq!(build.result(), BuildResult::Success);
    assert_eq!(build.acts[1].line, 2);
    assert_eq!(build.acts[2].step.0, "2");
}

#[test]
fn sh_gives_status_or_output_or_fails_the_build() {
    let build = story(
        "node { def s = sh(script: 'exit 3', returnStatus: true)\n echo \"$s ${sh(script: 'out hi', returnStdout: true).trim()}\"\n sh 'exit 2' }",
        &["node any", "sh exit 3", "sh out hi", "3 hi", "sh exit 2", "release"],
    );
    assert_eq!(build.result(), BuildResult::Failure);
    assert_eq!(build.error(), "ERROR: script returned exit code 2");
}

#[test]
fn an_uncaught_exception_names_its_line() {
    let build = Build::of("echo 'a'\n\nthrow new Exception('boom')");
    assert_eq!(
        build.error(),
        "java.lang.Exception: boom\n\tat WorkflowScript.run(WorkflowScript:3) @ line 3, column 7."
    );
    assert_eq!(build.result(), BuildResult::Failure);
}

#[test]
fn steps_run_inside_closures_of_library_methods() {
    story(
        "node { ['a', 'b'].each { sh it }\n def r = [1, 2].collect { sh(script: \"out $it\", returnStdout: true).trim() }\n echo r.join(',')\n [3, 1].sort { sh \"s$it\"; it }\n 2.times { sh \"t$it\" } }",
        &[
            "node any", "sh a", "sh b", "sh out 1", "sh out 2", "1,2", "sh s3", "sh s1", "sh t0", "sh t1",
            "release",
        ],
    );
}

#[test]
fn environments_nest_and_are_restored() {
    let build = Build::of(
        "env.G = 'g'\nnode { withEnv(['A=1', \"B=${env.G}2\", 'PATH+X=/x', 'C=$A-c']) { echo \"$A $B ${env.PATH} ${env.C}\"; sh 'p' }\n echo \"${env.A}\" }",
    );
    assert_eq!(build.echoes(), ["1 g2 /x:/bin 1-c", "null"]);
    let process = build
        .acts
        .iter()
        .find_map(|a| if let ActKind::Process(p) = &a.kind { Some(p) } else { None })
        .unwrap();
    for (name, value) in [
        ("A", "1"),
        ("PATH", "/x:/bin"),
        ("WHO", "world"),
        ("NODE_NAME", "agent-1"),
        ("WORKSPACE", "/ws/job"),
        ("G", "g"),
    ] {
        assert_eq!(process.env.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(process.env.get("HOME"), None);
}

#[test]
fn folders_nest() {
    let build = Build::of(
        "node { dir('a') { dir('b') { echo pwd() }; dir('/abs') { echo pwd(); deleteDir() }; echo pwd(tmp: true) }; writeFile file: 'f', text: 'x'; echo readFile('f') + fileExists('g') }",
    );
    assert_eq!(build.echoes(), ["/ws/job/a/b", "/abs", "/ws/job/a@tmp", "xfalse"]);
}

#[test]
fn files_and_archives_become_acts() {
    story(
        "node { stash name: 's', includes: '**/*.jar'\n unstash 's'\n archiveArtifacts artifacts: 'out/*', fingerprint: true\n archiveArtifacts 'x'\n cleanWs() }",
        &["node any", "stash s", "unstash s", "archive out/*", "archive x", "delete /ws/job", "release"],
    );
    let missing = Build::of(
        "node { try { readFile 'none' } catch (java.nio.file.NoSuchFileException e) { echo \"no ${e.message}\" } }",
    );
    assert_eq!(missing.echoes(), ["no none"]);
}

#[test]
fn sources_are_checked_out() {
    let build = Build::of(
        "node { def r = git 'https://a/b.git'\n echo r.GIT_COMMIT\n git url: 'u', branch: 'dev'\n checkout([$class: 'GitSCM', userRemoteConfigs: [[url: 'v', credentialsId: 'c']], branches: [[name: '*/main']]])\n checkout scmGit(userRemoteConfigs: [[url: 'w']], branches: [[name: 'x']]) }",
    );
    assert_eq!(
        build.story()[1..7],
        ["git https://a/b.git master", "abc123", "git u dev", "checkout v main", "checkout w x", "release"]
    );
    let job = Build::of_began("node { checkout scm }", &pipeline::act::Began { has_scm: true, ..began() });
    assert!(job.acts.iter().any(|a| matches!(&a.kind, ActKind::Checkout { scm: Scm::Job, .. })));
}

#[test]
fn the_result_only_gets_worse() {
    let build = story(
        "currentBuild.result = 'UNSTABLE'\ncurrentBuild.result = 'SUCCESS'\necho currentBuild.result\ncurrentBuild.displayName = '#7 x'\ncurrentBuild.description = 'd'\necho currentBuild.displayName + currentBuild.currentResult\nunstable 'meh'",
        &["result Unstable", "UNSTABLE", "name #7 x", "description d", "#7 xUNSTABLE", "WARNING: meh"],
    );
    assert_eq!(build.result(), BuildResult::Unstable);
}

#[test]
fn errors_can_be_caught_by_blocks() {
    let build = story(
        "node { stage('a') { catchError(buildResult: 'UNSTABLE', stageResult: 'FAILURE') { sh 'exit 1' }\n echo 'on' }\n stage('b') { warnError('odd') { error 'x' } } }",
        &[
            "node any",
            "{ a",
            "sh exit 1",
            "ERROR: script returned exit code 1",
            "result Unstable",
            "on",
            "} Failure",
            "{ b",
            "ERROR: odd",
            "ERROR: x",
            "} Unstable",
            "release",
        ],
    );
    assert_eq!(build.result(), BuildResult::Unstable);
}

#[test]
fn retry_tries_again() {
    let build = story(
        "def n = 0\nretry(3) { n++; echo \"try $n\"; if (n < 3) { error \"no $n\" } }",
        &["try 1", "ERROR: no 1", "Retrying", "try 2", "ERROR: no 2", "Retrying", "try 3"],
    );
    assert_eq!(build.result(), BuildResult::Success);
    assert_eq!(Build::of("retry(2) { error 'x' }").error(), "ERROR: x");
}

#[test]
fn a_timer_stops_what_takes_too_long() {
    let quick = story(
        "node { timeout(time: 5, unit: 'SECONDS') { sh 'fast' } }",
        &["node any", "timer 5000", "sh fast", "cancel timer", "release"],
    );
    assert_eq!(quick.result(), BuildResult::Success);
    let slow = Build::of("node { timeout(1) { try { sh 'hang' } finally { sh 'tidy' } }\n echo 'never' }");
    assert_eq!(slow.story(), ["node any", "timer 60000", "sh hang", "sh tidy", "release"]);
    assert_eq!((slow.result(), slow.error().as_str()), (BuildResult::Aborted, "Timeout has been exceeded"));
    let caught = Build::of(
        "node { try { timeout(1) { sh 'hang' } } catch (org.jenkinsci.plugins.workflow.steps.FlowInterruptedException e) { echo 'late' } }",
    );
    assert_eq!(caught.echoes(), ["late"]);
    let nested =
        Build::of("node { timeout(2) { parallel(a: { sh 'hang' }, b: { timeout(1) { sh 'hang' } }) } }");
    assert_eq!(nested.result(), BuildResult::Aborted);
}

#[test]
fn sleep_and_wait_until_need_no_performer() {
    story(
        "sleep 5\nsleep(time: 2, unit: 'MINUTES')\ndef n = 0\nwaitUntil { n++ > 1 }",
        &["sleep 5000", "sleep 120000", "sleep 250", "sleep 300"],
    );
}

#[test]
fn branches_have_step_ids_of_their_own() {
    let build = Build::of(
        "node { parallel(a: { sh '1'; sh '2' }, b: { stage('s') { sh '3' } }, c: { parallel(x: { echo 'deep' }) }) }",
    );
    assert_eq!(build.result(), BuildResult::Success, "{}", build.error());
    let ids: Vec<(String, String)> =
        build.acts.iter().map(|a| (a.step.0.clone(), a.branch.join("/"))).collect();
    for (id, branch) in
        [("0", ""), ("2.0/0", "a"), ("2.0/2", "a"), ("2.1/1", "b"), ("2.2/2.0/1", "c/x"), ("4", "")]
    {
        assert!(ids.contains(&(id.to_owned(), branch.to_owned())), "{id} {branch} in {ids:?}");
    }
}

#[test]
fn a_failed_branch_fails_the_parallel_after_all_have_ended() {
    let build = Build::of(
        "node { try { parallel a: { sh 'exit 1' }, b: { sh 'one'; sh 'two' } } catch (e) { echo e.message } }",
    );
    assert_eq!(build.echoes(), ["Failed in branch a", "script returned exit code 1"]);
    assert!(build.scripts().contains(&"two".to_owned()));
    let map = Build::of(
        "def m = [:]\nfor (n in ['x', 'y']) { def k = n\n m[k] = { echo k; k * 2 } }\ndef r = parallel(m)\necho \"$r\"",
    );
    assert_eq!(map.echoes(), ["x", "y", "[x:xx, y:yy]"]);
}

#[test]
fn fail_fast_stops_the_siblings() {
    let build = Build::of("node { parallel a: { sh 'hang' }, b: { sh 'exit 4' }, failFast: true }");
    assert_eq!(build.result(), BuildResult::Failure);
    assert_eq!(build.error(), "ERROR: script returned exit code 4");
}

#[test]
fn what_is_lost_fails_the_step() {
    assert_eq!(Build::of("node { sh 'lost' }").error(), "ERROR: the agent is gone");
}

#[test]
fn an_unknown_step_lists_the_known_ones() {
    let error = Build::of("frobnicate 1").error();
    assert!(error.starts_with("java.lang.NoSuchMethodError: No such DSL method 'frobnicate' found among steps [ansiColor, archiveArtifacts, bat, "), "{error}");
    assert!(Build::of("junit 'x.xml'").error().contains("step \"junit\" does not run in Majordomo yet"));
}

#[test]
fn functions_of_the_script_may_take_bodies_and_run_steps() {
    story(
        "def withTool(name, body) { stage(name) { withEnv([\"TOOL=$name\"]) { body() } } }\nnode { withTool('jdk') { echo \"using ${env.TOOL}\" } }",
        &["node any", "{ jdk", "using jdk", "} Success", "release"],
    );
}

#[test]
fn every_act_on_an_agent_names_its_place() {
    let build = Build::of(
        "node { dir('a') { sh 'x'; git 'u'; writeFile file: 'f', text: ''; readFile 'f'; fileExists 'f'; stash name: 's'; unstash 's'; archiveArtifacts 'f'; deleteDir(); echo 'e'; sleep 1; timeout(1) { } } }",
    );
    assert_eq!(build.result(), BuildResult::Success, "{}", build.error());
    let placed: Vec<&str> =
        build.acts.iter().filter_map(|act| act.kind.place()).map(|place| place.dir.as_str()).collect();
    assert_eq!(placed, ["/ws/job/a"; 9]);
    let on_agent = |act: &&pipeline::act::Act| {
        matches!(act.class(), pipeline::act::Class::Durable | pipeline::act::Class::Repeatable)
    };
    assert_eq!(build.acts.iter().filter(on_agent).count(), 9);
}

#[test]
fn the_log_shows_what_begins_and_ends_as_jenkins_does() {
    let shape = |source: &str, wanted: &[&str]| assert_eq!(Build::told(source).shape(), wanted, "{source}");
    shape(
        "node { dir('d') { withEnv(['A=b']) { isUnix() } } }",
        &[
            "node any",
            "dir",
            "Running in /ws/job/d",
            "{",
            "withEnv",
            "{",
            "isUnix",
            "}",
            "// withEnv",
            "}",
            "// dir",
            "release",
        ],
    );
    shape(
        "retry(2) { error 'x' }",
        &["retry", "{", "error", "}", "ERROR: x", "Retrying", "{", "error", "}", "// retry"],
    );
    shape(
        "warnError('odd') { error 'x' }\nunstable 'u'",
        &[
            "warnError",
            "{",
            "error",
            "}",
            "ERROR: odd",
            "ERROR: x",
            "result Unstable",
            "// warnError",
            "unstable",
            "WARNING: u",
        ],
    );
    shape(
        "timeout(activity: true, time: 2, unit: 'SECONDS') { }",
        &["timer 2000 of silence", "cancel timer", "}", "// timeout"],
    );
    shape(
        "def n = 0\nwaitUntil { n++ > 0 }",
        &["waitUntil", "{", "}", "sleep 250", "{", "}", "// waitUntil"],
    );
    shape(
        "parallel a: { error 'x' }, b: { timeout(5) { echo 'b' } }",
        &[
            "parallel",
            "{ a",
            "{ b",
            "error",
            "timer 300000",
            "} Failure",
            "b",
            "Failed in branch a",
            "cancel timer",
            "}",
            "// timeout",
            "} Success",
            "// parallel",
        ],
    );
    shape(
        "pipeline { agent none\n environment { A = 'b' }\n options { timestamps() }\n stages { stage('s') { steps { script { echo 'x' } }\n post { always { echo 'y' } } } } }",
        &[
            "withEnv",
            "{",
            "timestamps",
            "{",
            "{ s",
            "script",
            "{",
            "x",
            "}",
            "// script",
            "Post stage",
            "y",
            "} Success",
            "}",
            "// timestamps",
            "}",
            "// withEnv",
        ],
    );
}

#[test]
fn an_act_names_the_clocks_that_what_it_says_starts_anew() {
    let build = Build::of(
        "node { timeout(5) { sh 'a'; timeout(activity: true, time: 1) { parallel(p: { sh 'b' }) } }; sh 'c' }",
    );
    let timers = |script: &str| {
        let sh = build.acts.iter().find(|act| matches!(&act.kind, ActKind::Process(p) if p.script == script));
        sh.map(|act| act.timers.len())
    };
    assert_eq!([timers("a"), timers("b"), timers("c")], [Some(1), Some(2), Some(0)]);
}
