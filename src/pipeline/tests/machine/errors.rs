//! What an error says, and where.

use crate::support::Build;

/// The whole text with which the build ends.
fn ends(source: &str, wanted: &str) {
    assert_eq!(Build::told(source).error(), wanted, "{source}");
}

fn at(line: u32, column: u32) -> String {
    format!("\n\tat WorkflowScript.run(WorkflowScript:{line}) @ line {line}, column {column}.")
}

#[test]
fn errors_at_run_time_name_line_and_column() {
    let null = "java.lang.NullPointerException: Cannot";
    let unknown =
        "groovy.lang.MissingPropertyException: No such property: nope for class: groovy.lang.Binding";
    ends(
        "def x = null\necho 'a'\nif (true) {\n    x.foo()\n}",
        &format!("{null} invoke method foo() on null object{}", at(4, 7)),
    );
    ends("def x = null\nx\n  .foo", &format!("{null} get property 'foo' on null object{}", at(3, 4)));
    ends("echo nope", &format!("{unknown}{}", at(1, 6)));
    ends("def f() {\n  nope\n}\n[1].each {\n  f()\n}", &format!("{unknown}{}", at(2, 3)));
    ends("throw new Exception('boom')", &format!("java.lang.Exception: boom{}", at(1, 7)));
    ends(
        "int a = 1\n  a = 'xy'",
        &format!(
            "org.codehaus.groovy.runtime.typehandling.GroovyCastException: Cannot cast object 'xy' with class 'java.lang.String' to class 'int'{}",
            at(2, 7)
        ),
    );
    ends(
        "pipeline { agent none\n stages { stage('A') { steps { script {\n   def l = 1 / 0 } } } } }",
        &format!("java.lang.ArithmeticException: Division by zero{}", at(3, 12)),
    );
}

#[test]
fn a_step_outside_of_a_node_is_named() {
    for (step, source) in [
        ("sh", "sh 'a'"),
        ("bat", "bat 'a'"),
        ("readFile", "readFile 'a'"),
        ("writeFile", "writeFile file: 'a', text: 'b'"),
        ("archiveArtifacts", "archiveArtifacts 'a'"),
        ("stash", "stash 'a'"),
        ("git", "git 'a'"),
        ("checkout", "checkout([$class: 'GitSCM', userRemoteConfigs: [[url: 'u']]])"),
        ("pwd", "pwd()"),
        ("isUnix", "isUnix()"),
        ("dir", "dir('a') { }"),
    ] {
        let text = format!(
            "org.jenkinsci.plugins.workflow.steps.MissingContextVariableException: Required context class hudson.FilePath is missing\nPerhaps you forgot to surround the {step} step with a step that provides this, such as: node{}",
            at(1, 1)
        );
        ends(source, &text);
    }
}

#[test]
fn a_named_argument_that_a_step_does_not_know_is_a_warning() {
    let build = Build::told(
        "node { def s = sh(script: 'out x', returnStdout: true, foo: 1, bar: 2); echo s\n timeout(time: 1, quiet: true) { echo message: 'b' }\n dir(path: 'd', x: 1) { sh 'c' } }",
    );
    let warning = |class: &str, names: &str| {
        format!(
            "WARNING: Unknown parameter(s) found for class type 'org.jenkinsci.plugins.workflow.steps.{class}': {names}"
        )
    };
    assert_eq!(
        build.echoes(),
        [
            warning("durable_task.ShellStep", "foo,bar"),
            "x\n".to_owned(),
            warning("TimeoutStep", "quiet"),
            "b".to_owned(),
            warning("PushdStep", "x"),
        ],
        "{}",
        build.error()
    );
    assert_eq!(build.scripts(), ["out x", "c"]);
    let build = Build::told("node(label: 'l', customWorkspace: '/p') { echo pwd() }");
    let node = "org.jenkinsci.plugins.workflow.support.steps.ExecutorStep";
    assert_eq!(
        build.echoes(),
        [
            format!("WARNING: Unknown parameter(s) found for class type '{node}': customWorkspace"),
            "/ws/job".to_owned()
        ]
    );
}

#[test]
fn what_a_step_was_not_given_is_named() {
    let argument = "java.lang.IllegalArgumentException: ";
    for (source, says) in [
        ("stage { echo 'x' }", "the step stage needs the argument name"),
        ("timeout { echo 'x' }", "the step timeout needs the argument time"),
        ("timeout(unit: 'HOURS') { echo 'x' }", "the step timeout needs the argument time"),
        ("retry { echo 'x' }", "the step retry needs the argument count"),
        ("withEnv { echo 'x' }", "the step withEnv needs the argument overrides"),
        ("withEnv('A=1') { echo A }", "withEnv takes a list: withEnv(['NAME=value']) { … }"),
        ("withEnv(['A']) { }", "\"A\" is not of the form NAME=value"),
        ("unstable()", "the step unstable needs the argument message"),
    ] {
        ends(source, &format!("{argument}{says}{}", at(1, 1)));
    }
}
