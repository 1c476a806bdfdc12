use super::check;
use crate::ast::{AgentSpec, Declarative, ExprKind, ParameterKind, PostCondition, StageBody, WhenCondition};
use crate::parser::parse;

fn read(source: &str) -> Result<Option<Declarative>, Vec<String>> {
    let script = parse(source).unwrap_or_else(|error| panic!("{error} in\n{source}"));
    check(&script).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// A pipeline that is right but for what `sections` adds at the top and `stage` in its only stage.
fn pipeline(sections: &str, stage: &str) -> String {
    format!("pipeline {{\nagent any\n{sections}\nstages {{ stage('a') {{\n{stage}\n}} }} }}")
}

const STEPS: &str = "steps { echo 'a' }";

fn accepted(source: &str) -> Declarative {
    match read(source) {
        Ok(Some(pipeline)) => pipeline,
        Ok(None) => panic!("is not declarative:\n{source}"),
        Err(errors) => panic!("{errors:?} in\n{source}"),
    }
}

/// The only error, without its position.
fn refused(source: &str) -> String {
    let errors = read(source).expect_err(source);
    let [error] = errors.as_slice() else { panic!("{errors:?} in\n{source}") };
    let message = error.split_once(": ").and_then(|(_, rest)| rest.split_once(": ")).map(|(_, rest)| rest);
    message.and_then(|m| m.rsplit_once(" @ ")).map(|(m, _)| m.to_owned()).unwrap_or_default()
}

#[test]
fn a_scripted_pipeline_is_not_declarative() {
    assert_eq!(read("node { echo 'a' }"), Ok(None));
    assert_eq!(read("pipeline = 1\npipeline()"), Ok(None));
}

#[test]
fn other_statements_may_stand_around_it() {
    let source = format!("import a.B\ndef a = 1\nprintln a\n{}\necho 'b'", pipeline("", STEPS));
    assert_eq!(accepted(&source).stages.len(), 1);
}

#[test]
fn there_is_one_pipeline_and_it_stands_at_the_top() {
    let twice = format!("{}\n{}", pipeline("", STEPS), pipeline("", STEPS));
    assert!(refused(&twice).starts_with("Only one pipeline"));
    let nested = format!("node {{ {} }}", pipeline("", STEPS));
    assert!(refused(&nested).contains("must be at the top-level"));
}

#[test]
fn all_errors_are_reported_in_their_order() {
    let errors =
        read("pipeline {\n  foo { }\n  post { maybe { } }\n  stages { }\n}").expect_err("is refused");
    assert_eq!(
        errors,
        [
            "WorkflowScript: 1: Missing required section \"agent\" @ line 1, column 1.",
            "WorkflowScript: 2: Undefined section \"foo\" @ line 2, column 3.",
            "WorkflowScript: 3: Invalid condition \"maybe\" - valid conditions are [always, changed, fixed, regression, \
             aborted, success, unsuccessful, unstable, failure, notBuilt, cleanup] @ line 3, column 10.",
            "WorkflowScript: 4: No stages specified @ line 4, column 3.",
        ]
    );
}

#[test]
fn agents_are_read() {
    let agent = |text: &str| {
        accepted(&format!("pipeline {{ agent {text}\nstages {{ stage('a') {{ {STEPS} }} }} }}")).agent
    };
    assert_eq!(agent("any"), AgentSpec::Any);
    assert_eq!(agent("none"), AgentSpec::None);
    assert!(matches!(agent("{ label 'x' }"), AgentSpec::Label { .. }));
    let node = agent("{ node { label \"x-${y}\" } }");
    let AgentSpec::Label { label } = node else { panic!("{node:?}") };
    assert!(matches!(label.kind, ExprKind::GString(_)));
}

#[test]
fn wrong_agents_are_refused() {
    let agent =
        |text: &str| refused(&format!("pipeline {{ agent {text}\nstages {{ stage('a') {{ {STEPS} }} }} }}"));
    assert_eq!(agent("{ docker 'x' }"), "agent type \"docker\" does not run in Majordomo yet");
    assert_eq!(agent("{ docker { image 'x' } }"), "agent type \"docker\" does not run in Majordomo yet");
    assert_eq!(agent("{ }"), "No agent type specified. Must be one of [any, label, node, none]");
    assert!(agent("{ foo 'x' }").starts_with("Invalid agent type \"foo\" specified."));
    assert!(agent("foo").contains("must be map of config options or bare [any, none]"));
    assert!(agent("{ node { } }").starts_with("Missing required parameter for agent type \"node\""));
    assert_eq!(
        agent("{ node { label 'x'\ncustomWorkspace '/p' } }"),
        "customWorkspace does not run in Majordomo yet"
    );
    assert_eq!(agent("{ node { label 'x'\nretries 2 } }"), "retries does not run in Majordomo yet");
    assert_eq!(agent("{ label { label 'x' } }"), "Expected a string for the label of the agent");
    assert!(agent("{ label 'x'\nlabel 'y' }").starts_with("Only one agent type"));
}

#[test]
fn environments_are_checked() {
    let good =
        "environment { A = 'x'\n_b1 = \"${A}\" + A + foo('y')\nC = readFile('z').trim()\nD = env.A\nE = 1 }";
    let names: Vec<String> =
        accepted(&pipeline(good, STEPS)).environment.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["A", "_b1", "C", "D", "E"]);
    let bad = |text: &str| refused(&pipeline(&format!("environment {{ {text} }}"), STEPS));
    assert_eq!(bad(""), "No variables specified for environment");
    assert_eq!(bad("A = 'x'\nA = 'y'"), "Duplicate environment variable name: \"A\"");
    assert_eq!(bad("echo 'x'"), "Expected name=value pairs");
    assert!(bad("$a = 'x'").starts_with("\"$a\" is not a valid identifier"));
    assert!(bad("A = [1]").starts_with("Environment variable values must either be single quoted"));
    assert!(bad("A = 'x' - 'y'").contains("can only be joined together with '+'s"));
}

#[test]
fn options_are_read() {
    let all = "options { timeout(time: 1, unit: 'HOURS', activity: true)\nretry(3)\ntimestamps()\nskipDefaultCheckout(true)\n\
        disableConcurrentBuilds(abortPrevious: true)\nbuildDiscarder(logRotator(numToKeepStr: '5', daysToKeepStr: '-1', artifactNumToKeepStr: ''))\n\
        parallelsAlwaysFailFast()\nskipStagesAfterUnstable()\ndurabilityHint('MAX_SURVIVABILITY')\nansiColor('xterm') }";
    let options = accepted(&pipeline(all, STEPS)).options;
    let timeout = options.timeout.expect("has a timeout");
    assert_eq!((timeout.unit.as_str(), timeout.activity), ("HOURS", true));
    assert!(options.timestamps && options.skip_default_checkout && options.abort_previous);
    assert!(
        options.disable_concurrent_builds
            && options.parallels_always_fail_fast
            && options.skip_stages_after_unstable
    );
    let discarder = options.build_discarder.expect("has a discarder");
    assert_eq!(
        (discarder.num_to_keep, discarder.days_to_keep, discarder.artifact_num_to_keep),
        (Some(5), None, None)
    );
    assert!(
        !accepted(&pipeline("options { skipDefaultCheckout(false) }", STEPS)).options.skip_default_checkout
    );
    assert_eq!(
        accepted(&pipeline("options { timeout(5) }", STEPS)).options.timeout.expect("is there").unit,
        "MINUTES"
    );
}

#[test]
fn wrong_options_are_refused() {
    let option = |text: &str| refused(&pipeline(&format!("options {{ {text} }}"), STEPS));
    assert!(option("foo()").starts_with("Invalid option type \"foo\". Valid option types: [ansiColor, "));
    assert_eq!(option("quietPeriod(5)"), "option \"quietPeriod\" does not run in Majordomo yet");
    assert_eq!(option(""), "\"options\" section must not be empty");
    assert_eq!(option("timeout(unit: 'HOURS')"), "Missing required parameter: \"time\"");
    assert!(
        option("timeout(time: 'soon')")
            .starts_with("Expecting \"int\" for parameter \"time\" but got \"soon\"")
    );
    assert!(option("retry('x')").starts_with("Expecting \"int\" for parameter \"count\" but got \"x\""));
    assert!(option("retry(true)").starts_with("Expecting \"int\" for parameter \"count\" but got \"true\""));
    assert_eq!(option("retry()"), "Missing required parameter: \"count\"");
    assert!(option("skipDefaultCheckout('x')").starts_with("Expecting \"boolean\""));
    assert_eq!(option("timestamps(1)"), "The option \"timestamps\" takes no parameters");
    assert!(option("timeout(time: 1, unit: 'WEEKS')").starts_with("\"WEEKS\" is no unit of time"));
    assert_eq!(option("timestamps()\ntimestamps()"), "Duplicate option name: \"timestamps\"");
    let stage = refused(&pipeline("", &format!("options {{ skipStagesAfterUnstable() }}\n{STEPS}")));
    assert!(stage.starts_with("Invalid option type \"skipStagesAfterUnstable\""));
}

#[test]
fn parameters_are_read() {
    let all = "parameters { string(name: 'A', defaultValue: 'x', trim: true)\ntext(name: 'B', defaultValue: 'a' + \"b\")\n\
        booleanParam(name: 'C', defaultValue: true, description: 'd')\nchoice(name: 'D', choices: ['x', 'y'])\n\
        choice(name: 'E', choices: 'x\\ny')\npassword(name: 'F', defaultValue: 's') }";
    let parameters = accepted(&pipeline(all, STEPS)).parameters;
    let kinds: Vec<ParameterKind> = parameters.iter().map(|p| p.kind.clone()).collect();
    let choices = || vec!["x".to_owned(), "y".to_owned()];
    assert_eq!(
        kinds,
        [
            ParameterKind::String { default: "x".to_owned(), trim: true },
            ParameterKind::Text { default: "ab".to_owned() },
            ParameterKind::Boolean { default: true },
            ParameterKind::Choice { choices: choices() },
            ParameterKind::Choice { choices: choices() },
            ParameterKind::Password { default: "s".to_owned() },
        ]
    );
    assert_eq!(parameters[2].description.as_deref(), Some("d"));
}

#[test]
fn wrong_parameters_are_refused() {
    let parameter = |text: &str| refused(&pipeline(&format!("parameters {{ {text} }}"), STEPS));
    assert!(
        parameter("foo(name: 'A')").starts_with("Invalid parameter type \"foo\". Valid parameter types: [")
    );
    assert_eq!(parameter("file(name: 'A')"), "parameter type \"file\" does not run in Majordomo yet");
    assert_eq!(parameter("string(defaultValue: 'x')"), "Missing required parameter: \"name\"");
    assert_eq!(
        parameter("string(name: 'A', defaultVal: 'x')"),
        "Invalid parameter \"defaultVal\", did you mean \"defaultValue\"?"
    );
    assert!(parameter("booleanParam(name: 'A', defaultValue: 'x')").starts_with("Expecting \"boolean\""));
    assert!(parameter("string(name: 'A', defaultValue: env.X)").contains("known only when the build runs"));
    assert_eq!(parameter("string(name: 'A')\ntext(name: 'A')"), "Duplicate parameter name: \"A\"");
    assert_eq!(parameter("choice(name: 'A', choices: [])"), "a choice parameter needs at least one choice");
}

#[test]
fn stages_nest() {
    let stage = "failFast true\nparallel { stage('b') { steps { echo 'b' } }\nstage('c') { stages { stage('d') { steps { echo 'd' } } } } }";
    let pipeline = accepted(&pipeline("", stage));
    let StageBody::Parallel { stages, fail_fast: true } = &pipeline.stages[0].body else {
        panic!("{pipeline:?}")
    };
    assert_eq!(stages[0].name, "b");
    assert!(matches!(&stages[1].body, StageBody::Stages(inner) if inner[0].name == "d"));
}

#[test]
fn wrong_stages_are_refused() {
    let stage = |text: &str| refused(&pipeline("", text));
    assert_eq!(
        stage("echo 'a'\nsteps { echo 'b' }"),
        "Unknown stage section \"echo\". Starting with version 0.5, steps in a stage must be in a ‘steps’ block."
    );
    assert_eq!(stage(""), "Expected one of \"steps\", \"stages\", or \"parallel\" for stage \"a\"");
    assert!(
        stage(&format!("{STEPS}\nstages {{ stage('b') {{ {STEPS} }} }}"))
            .starts_with("Only one of \"matrix\"")
    );
    assert_eq!(stage(&format!("{STEPS}\n{STEPS}")), "Multiple occurrences of the steps section");
    assert_eq!(
        stage(&format!("{STEPS}\ninput {{ message 'x' }}")),
        "section \"input\" does not run in Majordomo yet"
    );
    assert_eq!(stage("matrix { }"), "section \"matrix\" does not run in Majordomo yet");
    assert_eq!(
        stage(&format!("failFast 'x'\nparallel {{ stage('b') {{ {STEPS} }} }}")),
        "Expected a boolean with failFast"
    );
    assert!(
        stage(&format!("agent any\nparallel {{ stage('b') {{ {STEPS} }} }}"))
            .contains("as it contains parallel stages")
    );
    assert!(
        stage(&format!("parallel {{ stage('b') {{ parallel {{ stage('c') {{ {STEPS} }} }} }} }}"))
            .starts_with("Parallel stages or branches")
    );
    let stages = |text: &str| refused(&format!("pipeline {{ agent any\nstages {{ {text} }} }}"));
    assert_eq!(stages("echo 'a'"), "Expected a stage");
    assert_eq!(
        stages(&format!("stage('a') {{ {STEPS} }}\nstage('a') {{ {STEPS} }}")),
        "Duplicate stage name: \"a\""
    );
    assert_eq!(stages(&format!("stage(\"${{x}}\") {{ {STEPS} }}")), "Expected string literal");
    assert_eq!(stages("stage('a')"), "Expected a block for stage");
}

#[test]
fn conditions_are_read() {
    let when = "when { beforeAgent true\nenvironment name: 'A', value: 'b'\nexpression { return x }\nnot { equals expected: 1, actual: y }\n\
        anyOf { expression { a }\nallOf { expression { b } } } }";
    let when =
        accepted(&pipeline("", &format!("{when}\n{STEPS}"))).stages.remove(0).when.expect("has conditions");
    assert!(when.before_agent);
    let [
        WhenCondition::Environment { ignore_case: false, .. },
        WhenCondition::Expression(_),
        WhenCondition::Not(not),
        WhenCondition::AnyOf(any),
    ] = when.conditions.as_slice()
    else {
        panic!("{when:?}")
    };
    assert!(matches!(**not, WhenCondition::Equals { .. }));
    assert!(
        matches!(any.as_slice(), [WhenCondition::Expression(_), WhenCondition::AllOf(all)] if all.len() == 1)
    );
}

#[test]
fn wrong_conditions_are_refused() {
    let when = |text: &str| refused(&pipeline("", &format!("when {{ {text} }}\n{STEPS}")));
    assert_eq!(when(""), "Empty when closure, remove the property or add some content.");
    assert_eq!(when("branch 'main'"), "condition \"branch\" does not run in Majordomo yet");
    assert!(when("foo 'x'").starts_with("Unknown conditional foo. Valid conditionals are: allOf, "));
    assert_eq!(when("x == y"), "Expected a when condition");
    assert_eq!(when("environment name: 'A'"), "Missing required parameter: \"value\"");
    assert_eq!(when("allOf { }"), "Expected at least one nested condition in \"allOf\"");
    assert_eq!(
        when("not { expression { a }\nexpression { b } }"),
        "\"not\" takes exactly one nested condition"
    );
}

#[test]
fn steps_are_calls() {
    let good = "steps { echo \"a${b}\"\nsh(script: 'x', returnStatus: true)\ndir('x') { retry(3) { sh 'y' } }\nscript { def a = 1\nif (a) { b.c() } }\n\
        timeout(time: 1, unit: 'HOURS') { foo a.b(), c: [d] }\nwithEnv(['A=b']) { }\ngit url: 'u', branch: 'b' }";
    accepted(&pipeline("", good));
    let step = |text: &str| refused(&pipeline("", &format!("steps {{ {text} }}")));
    for wrong in [
        "def a = 1",
        "a = 1",
        "if (a) { echo 'b' }",
        "for (x in y) { echo x }",
        "a",
        "'a'",
        "dir('x') { a = 1 }",
    ] {
        assert_eq!(step(wrong), "Expected a step", "{wrong}");
    }
    assert_eq!(step("a.b('c')"), "Method calls on objects not allowed outside \"script\" blocks.");
    assert_eq!(
        step("dir('x') { a.b 'c' }"),
        "Method calls on objects not allowed outside \"script\" blocks."
    );
    assert_eq!(step(""), "No steps specified for branch");
    assert!(
        step("stage('x') { echo 'a' }")
            .starts_with("Invalid step \"stage\" used - not allowed in this context")
    );
    assert!(step("echo 'a'\nparallel(b: { echo 'b' })").starts_with("Invalid step \"parallel\" used"));
    assert_eq!(step("sh 'x', returnStatus: true"), "Can't mix named and unnamed parameters");
    assert_eq!(step("script 'x'"), "Expected a block for script");
    assert_eq!(
        step("sh script: 'x', returnStdOut: true"),
        "Invalid parameter \"returnStdOut\", did you mean \"returnStdout\"?"
    );
    assert_eq!(step("timeout(unit: 'HOURS') { echo 'x' }"), "Missing required parameter: \"time\"");
    assert_eq!(step("echo message: 'x', message: 'y'"), "Duplicate named parameter 'message' found");
    assert!(step("echo ${x}").starts_with("${…} outside of quotes"));
}

#[test]
fn parallel_may_be_the_only_step() {
    accepted(&pipeline("", "steps { parallel(a: { echo 'a' }, b: { echo 'b' }, failFast: true) }"));
    let step = |text: &str| refused(&pipeline("", &format!("steps {{ {text} }}")));
    assert_eq!(step("parallel(a: { echo 'a' }, b: 1)"), "Expected closure or failFast");
    assert_eq!(step("parallel(a: { echo 'a' }, failFast: 'x')"), "Expected a boolean with failFast");
    assert_eq!(step("parallel(a: { })"), "No steps specified for branch");
}

#[test]
fn a_function_of_the_script_hides_a_step() {
    let source = format!("def sleep(a, b) {{ }}\n{}", pipeline("", "steps { sleep 'x', 'y' }"));
    accepted(&source);
}

#[test]
fn post_conditions_come_in_the_order_in_which_they_run() {
    let post = accepted(&pipeline(
        "post { cleanup { echo 'c' }\nsuccess { echo 's' }\nalways { echo 'a' } }",
        STEPS,
    ))
    .post;
    let order: Vec<PostCondition> = post.iter().map(|p| p.condition).collect();
    assert_eq!(order, [PostCondition::Always, PostCondition::Success, PostCondition::Cleanup]);
    let bad = |text: &str| refused(&pipeline(&format!("post {{ {text} }}"), STEPS));
    assert_eq!(bad("always { echo 'a' }\nalways { echo 'b' }"), "Duplicate build condition name: \"always\"");
    assert_eq!(bad(""), "\"post\" section must not be empty");
    assert_eq!(bad("always { }"), "No steps specified for branch");
    assert!(bad("echo 'a'").starts_with("Invalid condition \"echo\""));
}

#[test]
fn sections_that_do_not_run_yet_are_named() {
    for section in ["triggers { cron('@daily') }", "tools { maven '3' }", "libraries { lib('x') }"] {
        let name = section.split(' ').next().unwrap_or_default();
        assert_eq!(
            refused(&pipeline(section, STEPS)),
            format!("section \"{name}\" does not run in Majordomo yet")
        );
    }
}
