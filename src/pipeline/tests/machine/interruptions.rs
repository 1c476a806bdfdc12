//! What a script learns of the reason for which it was stopped, and how often the log says it.

use pipeline::act::{ActKind, BuildResult};

use crate::support::Build;

const TELL: &str = "catch (org.jenkinsci.plugins.workflow.steps.FlowInterruptedException e) { echo \"${e.causes.size()} ${e.causes[0].class.simpleName} ${e.causes[0].shortDescription} ${e.getCauses().get(0).getShortDescription()}\"";

#[test]
fn an_abort_names_its_user() {
    let build = Build::aborted(&format!(
        "node {{ try {{ sh 'hang' }} {TELL}\n def c = e.causes[0]\n echo \"${{c.user}} ${{c.getUser()}} ${{c.class.name}}\"\n echo \"${{c instanceof jenkins.model.CauseOfInterruption.UserInterruption}} ${{c instanceof jenkins.model.CauseOfInterruption}} ${{c instanceof org.jenkinsci.plugins.workflow.steps.TimeoutStepExecution.ExceededTimeout}} ${{c.class == jenkins.model.CauseOfInterruption.UserInterruption}}\"\n throw e }} }}"
    ));
    assert_eq!(
        build.echoes(),
        [
            "1 UserInterruption Aborted by alice Aborted by alice",
            "alice alice jenkins.model.CauseOfInterruption$UserInterruption",
            "true true false true",
        ]
    );
    assert_eq!(build.result(), BuildResult::Aborted);
}

#[test]
fn a_timeout_is_no_user() {
    let build = Build::told(&format!(
        "import org.jenkinsci.plugins.workflow.steps.TimeoutStepExecution.ExceededTimeout\nnode {{ try {{ timeout(1) {{ sh 'hang' }} }} {TELL}\n echo \"${{e.causes.any {{ it instanceof ExceededTimeout }}}} ${{e.causes*.class*.name}}\" }} }}"
    ));
    assert_eq!(
        build.echoes(),
        [
            "1 ExceededTimeout Timeout has been exceeded Timeout has been exceeded",
            "true [org.jenkinsci.plugins.workflow.steps.TimeoutStepExecution$ExceededTimeout]",
        ]
    );
}

#[test]
fn fail_fast_names_the_branch() {
    let build = Build::told(&format!(
        "node {{ parallel a: {{ try {{ sh 'hang' }} {TELL}\n throw e }} }}, b: {{ error 'x' }}, failFast: true }}"
    ));
    assert!(
        build.echoes().contains(&"1 FailFastCause Failed in branch b Failed in branch b".to_owned()),
        "{:?}",
        build.echoes()
    );
    assert_eq!(build.result(), BuildResult::Failure);
}

#[test]
fn an_abort_is_said_when_it_comes_and_not_again() {
    for source in [
        "node { stage('A') { sh 'hang' } }",
        "node { try { sh 'hang' } catch (e) { echo 'caught' } }",
        "pipeline { agent any\n stages { stage('A') { steps { sh 'hang' } } } }",
        "node('nowhere') { }",
    ] {
        let build = Build::aborted(source);
        assert_eq!(build.ended.as_ref().unwrap().error, None, "{source}");
        let said = build.acts.iter().filter(|act| match &act.kind {
            ActKind::BlockEnd { error, .. } => error.is_some(),
            ActKind::Echo { text } => text.contains("alice"),
            _ => false,
        });
        assert_eq!(said.count(), 0, "{source}\n{:#?}", build.story());
        assert_eq!(build.result(), BuildResult::Aborted);
    }
    let build = Build::aborted("node { try { sh 'hang' } finally { error 'worse' } }");
    assert_eq!((build.result(), build.error().as_str()), (BuildResult::Aborted, "ERROR: worse"));
}

#[test]
fn what_ran_too_long_is_tried_again_outside_of_its_timeout_only() {
    let build = Build::told("node { retry(2) { timeout(1) { sh 'hang' } } }");
    assert_eq!(build.scripts(), ["hang", "hang"]);
    assert_eq!(build.echoes(), ["Timeout has been exceeded", "Retrying"]);
    assert_eq!(build.result(), BuildResult::Aborted);
    let inside = Build::told("node { timeout(1) { retry(2) { sh 'hang' } } }");
    assert_eq!(inside.scripts(), ["hang"]);
    let nested = Build::told("node { timeout(1) { retry(2) { timeout(9) { sh 'hang' } } } }");
    assert_eq!(nested.scripts(), ["hang"]);
    let caught = "timeout(1) { node { sh 'hang' } }";
    let outside = Build::told(&format!("catchError(catchInterruptions: false) {{ {caught} }}\necho 'on'"));
    assert_eq!(outside.echoes(), ["Timeout has been exceeded", "on"]);
    assert_eq!(outside.result(), BuildResult::Aborted);
}
