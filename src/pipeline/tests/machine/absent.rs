//! What Jenkins has and Majordomo does not run yet is named as such.

use pipeline::act::BuildResult;

use crate::support::Build;

fn says(source: &str, wanted: &str) {
    let build = Build::told(source);
    assert!(build.error().contains(wanted), "{source}\nwanted {wanted}\nfound  {}", build.error());
    assert_eq!(build.result(), BuildResult::Failure);
}

#[test]
fn the_step_is_named_and_not_what_stands_in_its_arguments() {
    for (source, step) in [
        (
            "withCredentials([usernamePassword(credentialsId: 'x', usernameVariable: 'U', passwordVariable: 'P')]) { echo 'no' }",
            "withCredentials",
        ),
        (
            "withCredentials([string(credentialsId: 'x', variable: 'X'), file(credentialsId: 'f', variable: 'F')]) { }",
            "withCredentials",
        ),
        (
            "withCredentials([sshUserPrivateKey(credentialsId: 'x', keyFileVariable: 'K')]) { }",
            "withCredentials",
        ),
        (
            "properties([parameters([string(name: 'A'), booleanParam(name: 'B'), choice(name: 'C', choices: ['x'])]), pipelineTriggers([cron('@daily'), pollSCM('H * * * *')]), disableConcurrentBuilds()])",
            "properties",
        ),
        (
            "properties([buildDiscarder(logRotator(numToKeepStr: '5')), disableConcurrentBuilds(abortPrevious: true)])",
            "properties",
        ),
        ("build job: 'x', parameters: [string(name: 'A', value: 'b')]", "build"),
        ("node { junit 'x.xml' }", "junit"),
    ] {
        says(source, &format!("step \"{step}\" does not run in Majordomo yet"));
    }
}

#[test]
fn objects_of_plugins_are_named() {
    says("docker.image('x').inside { sh 'a' }", "docker.image(...).inside does not run in Majordomo yet");
    says("node { def image = docker.build('x') }", "docker.image(...).inside does not run in Majordomo yet");
    says("this.docker.image('x')", "docker.image(...).inside does not run in Majordomo yet");
}

#[test]
fn a_job_without_a_source_has_no_scm() {
    says(
        "node { checkout scm }",
        "ERROR: ‘checkout scm’ is only available when using “Multibranch Pipeline” or “Pipeline script from SCM”",
    );
}

#[test]
fn names_of_the_script_come_first() {
    let build = Build::told(
        "def string(Map m) { \"mine ${m.a}\" }\ndef docker = 'd'\ntext = { 't' }\necho string(a: 1); echo docker; echo text()\nwithEnv(['scm=s']) { echo scm }",
    );
    assert_eq!(build.echoes(), ["mine 1", "d", "t", "s"], "{}", build.error());
}
