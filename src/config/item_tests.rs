use model::ParameterKind;

use super::*;
use crate::new_pipeline_xml;

const FULL: &str = r#"<?xml version='1.1' encoding='UTF-8'?>
<flow-definition plugin="workflow-job@1400.v7fd111b_ec82f">
  <actions>
    <org.jenkinsci.plugins.pipeline.modeldefinition.actions.DeclarativeJobAction plugin="x@1"/>
  </actions>
  <description>What &amp; why</description>
  <displayName>Shown</displayName>
  <keepDependencies>false</keepDependencies>
  <properties>
    <org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty>
      <abortPrevious>true</abortPrevious>
    </org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty>
    <jenkins.model.BuildDiscarderProperty>
      <strategy class="hudson.tasks.LogRotator">
        <daysToKeep>-1</daysToKeep>
        <numToKeep>5</numToKeep>
        <artifactDaysToKeep></artifactDaysToKeep>
        <artifactNumToKeep>2</artifactNumToKeep>
      </strategy>
    </jenkins.model.BuildDiscarderProperty>
    <hudson.model.ParametersDefinitionProperty>
      <parameterDefinitions>
        <hudson.model.StringParameterDefinition>
          <name>TEXT</name><description>one line</description><defaultValue> x </defaultValue><trim>true</trim>
        </hudson.model.StringParameterDefinition>
        <hudson.model.TextParameterDefinition><name>LONG</name><defaultValue>a
b</defaultValue></hudson.model.TextParameterDefinition>
        <hudson.model.BooleanParameterDefinition><name>FLAG</name><defaultValue>true</defaultValue>
        </hudson.model.BooleanParameterDefinition>
        <hudson.model.ChoiceParameterDefinition><name>C1</name><choices class="java.util.Arrays$ArrayList">
          <a class="string-array"><string>one</string><string>two</string></a></choices>
        </hudson.model.ChoiceParameterDefinition>
        <hudson.model.ChoiceParameterDefinition><name>C2</name><choices class="string-array">
          <string>three</string></choices></hudson.model.ChoiceParameterDefinition>
        <hudson.model.ChoiceParameterDefinition><name>C3</name><choices><string>four</string><string/></choices>
        </hudson.model.ChoiceParameterDefinition>
        <hudson.model.PasswordParameterDefinition><name>P1</name><defaultValue>{AQAAABAAAAAQ1234567890=}</defaultValue>
        </hudson.model.PasswordParameterDefinition>
        <hudson.model.PasswordParameterDefinition><name>P2</name><defaultValue>plain</defaultValue>
        </hudson.model.PasswordParameterDefinition>
        <com.example.OddParameterDefinition><name>ODD</name></com.example.OddParameterDefinition>
      </parameterDefinitions>
    </hudson.model.ParametersDefinitionProperty>
  </properties>
  <definition class="org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition" plugin="workflow-cps@1">
    <script>node {
  sh &apos;echo &quot;&lt;hi&gt;&quot;&apos;
}
</script>
    <sandbox>true</sandbox>
  </definition>
  <triggers><hudson.triggers.TimerTrigger><spec>H * * * *</spec></hudson.triggers.TimerTrigger></triggers>
  <quietPeriod>7</quietPeriod>
  <authToken>tok</authToken>
  <disabled>true</disabled>
</flow-definition>
"#;

fn job_of(text: &str) -> JobConfig {
    match ItemConfig::parse(text).unwrap() {
        ItemConfig::Job(job) => *job,
        ItemConfig::Folder { .. } => panic!("a folder"),
    }
}

#[test]
fn a_pipeline_as_jenkins_writes_it_is_read() {
    let job = job_of(FULL);
    assert_eq!(job.description.as_deref(), Some("What & why"));
    assert_eq!(job.display_name.as_deref(), Some("Shown"));
    assert!(job.disabled && job.disable_concurrent_builds && job.abort_previous);
    assert_eq!(job.quiet_period, Some(7));
    assert_eq!(job.auth_token.as_deref(), Some("tok"));
    assert_eq!(job.definition, Definition::Script { text: "node {\n  sh 'echo \"<hi>\"'\n}\n".to_owned() });
    let kept =
        BuildDiscarder { num_to_keep: Some(5), artifact_num_to_keep: Some(2), ..BuildDiscarder::default() };
    assert_eq!(job.discarder, Some(kept));
    let kinds: Vec<_> = job.parameters.iter().map(|p| (p.name.as_str(), p.kind.clone())).collect();
    let choice =
        |words: &[&str]| ParameterKind::Choice { choices: words.iter().map(|w| w.to_string()).collect() };
    assert_eq!(
        kinds,
        [
            ("TEXT", ParameterKind::String { default: " x ".to_owned(), trim: true }),
            ("LONG", ParameterKind::Text { default: "a\nb".to_owned() }),
            ("FLAG", ParameterKind::Boolean { default: true }),
            ("C1", choice(&["one", "two"])),
            ("C2", choice(&["three"])),
            ("C3", choice(&["four", ""])),
            ("P1", ParameterKind::Password { default: String::new() }),
            ("P2", ParameterKind::Password { default: "plain".to_owned() }),
            ("ODD", ParameterKind::String { default: String::new(), trim: false }),
        ]
    );
    assert_eq!(job.parameters[0].description.as_deref(), Some("one line"));
}

#[test]
fn a_parameter_of_an_unknown_kind_is_a_text_and_the_log_says_so() {
    let of = |class: &str, inner: &str| format!("<{class}><name>X</name>{inner}</{class}>");
    let text = format!(
        "<project><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>{}{}{}\
         </parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties></project>",
        of(
            "net.uaznia.lukanus.hudson.plugins.gitparameter.GitParameterDefinition",
            "<defaultValue>main</defaultValue>"
        ),
        of("com.example.Odd__Definition", "<description>d</description>"),
        of("hudson.model.FileParameterDefinition", ""),
    );
    let job = job_of(&text);
    let kinds: Vec<ParameterKind> = job.parameters.iter().map(|p| p.kind.clone()).collect();
    let kind = |default: &str| ParameterKind::String { default: default.to_owned(), trim: false };
    assert_eq!(kinds, [kind("main"), kind("")]);
    assert_eq!(
        job.remarks,
        [
            "the parameter X (net.uaznia.lukanus.hudson.plugins.gitparameter.GitParameterDefinition) is a plain text in Majordomo",
            "the parameter X (com.example.Odd_Definition) is a plain text in Majordomo",
            "the parameter X (hudson.model.FileParameterDefinition) does not run in Majordomo yet and is ignored",
        ]
    );
}

#[test]
fn a_pipeline_from_scm_is_read() {
    let text = r#"<flow-definition><definition class="org.jenkinsci.plugins.workflow.cps.CpsScmFlowDefinition">
      <scm class="hudson.plugins.git.GitSCM" plugin="git@5.2.0"><configVersion>2</configVersion>
      <userRemoteConfigs><hudson.plugins.git.UserRemoteConfig><url> https://example.org/a.git </url>
      <credentialsId>deploy</credentialsId></hudson.plugins.git.UserRemoteConfig></userRemoteConfigs>
      <branches><hudson.plugins.git.BranchSpec><name>*/main</name></hudson.plugins.git.BranchSpec></branches>
      <doGenerateSubmoduleConfigurations>false</doGenerateSubmoduleConfigurations><extensions/></scm>
      <scriptPath>ci/Jenkinsfile</scriptPath><lightweight>true</lightweight></definition></flow-definition>"#;
    let scm = GitScm {
        url: "https://example.org/a.git".to_owned(),
        credentials_id: Some("deploy".to_owned()),
        branch: "*/main".to_owned(),
        ..GitScm::default()
    };
    let wanted =
        Definition::Scm { scm: Ok(scm), script_path: "ci/Jenkinsfile".to_owned(), lightweight: true };
    assert_eq!(job_of(text).definition, wanted);
}

#[test]
fn older_forms_mean_the_same() {
    let job = job_of(
        "<flow-definition><concurrentBuild>false</concurrentBuild><logRotator class='hudson.tasks.LogRotator'>\
         <daysToKeep>3</daysToKeep></logRotator></flow-definition>",
    );
    assert!(job.disable_concurrent_builds && !job.abort_previous);
    assert_eq!(job.discarder.unwrap().days_to_keep, Some(3));
    assert_eq!(job_of("<flow-definition/>"), JobConfig::default());
}

#[test]
fn folders_are_read() {
    let text = "<com.cloudbees.hudson.plugins.folder.Folder plugin='cloudbees-folder@6'><description>d</description>\
                <displayName>D</displayName></com.cloudbees.hudson.plugins.folder.Folder>";
    let folder = ItemConfig::parse(text).unwrap();
    assert_eq!(folder.kind(), ItemKind::Folder);
    assert_eq!(
        folder,
        ItemConfig::Folder { description: Some("d".to_owned()), display_name: Some("D".to_owned()) }
    );
}

#[test]
fn what_could_not_run_is_refused_by_name() {
    for (text, why) in [
        ("<matrix-project/>".to_owned(), "job type Multi-configuration does not run"),
        ("<x.Y/>".to_owned(), "job type x.Y does not run in Majordomo yet"),
        ("<flow-definition><definition class='a.B'/></flow-definition>".to_owned(), "class a.B does not run"),
        ("<flow-definition><quietPeriod>soon</quietPeriod></flow-definition>".to_owned(), "<quietPeriod>"),
        (
            "<flow-definition><quietPeriod>-1</quietPeriod></flow-definition>".to_owned(),
            "<quietPeriod> of -1",
        ),
    ] {
        let said = ItemConfig::parse(&text).unwrap_err().to_string();
        assert!(said.contains(why), "{text}: {said}");
    }
}

#[test]
fn a_job_whose_source_can_t_be_fetched_is_kept_and_says_why() {
    let remote = "<hudson.plugins.git.UserRemoteConfig><url>u</url></hudson.plugins.git.UserRemoteConfig>";
    let git = |remotes: &str, branches: &[&str]| {
        let branch = |name: &&str| {
            format!("<hudson.plugins.git.BranchSpec><name>{name}</name></hudson.plugins.git.BranchSpec>")
        };
        let branches: String = branches.iter().map(branch).collect();
        format!(
            "<scm class='hudson.plugins.git.GitSCM'><userRemoteConfigs>{remotes}</userRemoteConfigs>\
             <branches>{branches}</branches></scm>"
        )
    };
    for (scm, why) in [
        (
            "<scm class='hudson.scm.SubversionSCM'/>".to_owned(),
            "an SCM of class “hudson.scm.SubversionSCM” does not run",
        ),
        (git("", &[]), "the Git SCM has no repository"),
        (git(&remote.repeat(2), &[]), "the Git SCM has 2 repositories"),
        (git(remote, &["a", "b"]), "the Git SCM has 2 branches"),
        (git(remote, &["*/release-*"]), "the branch */release-* of the Git SCM is a pattern"),
    ] {
        let pipeline = format!(
            "<flow-definition><definition class='org.jenkinsci.plugins.workflow.cps.CpsScmFlowDefinition'>{scm}\
             </definition></flow-definition>"
        );
        let Definition::Scm { scm: Err(said), .. } = job_of(&pipeline).definition else {
            panic!("{pipeline}")
        };
        assert!(said.to_string().starts_with(why), "{said}");
        let Definition::Freestyle(job) = job_of(&format!("<project>{scm}</project>")).definition else {
            panic!()
        };
        let said = job.unfit().unwrap();
        assert!(said.starts_with(why), "{said}");
    }
    let without = "<flow-definition><definition class='org.jenkinsci.plugins.workflow.cps.CpsScmFlowDefinition'/></flow-definition>";
    let Definition::Scm { scm: Err(said), .. } = job_of(without).definition else { panic!() };
    assert_eq!(said.to_string(), "the definition has no <scm>");
}

#[test]
fn disabling_changes_nothing_else() {
    let enabled = FULL.replace("<disabled>true<", "<disabled>false<");
    assert_eq!(with_disabled(FULL, false).unwrap(), enabled);
    assert_eq!(with_disabled(&enabled, true).unwrap(), FULL);
    assert_eq!(with_disabled(FULL, true).unwrap(), FULL);
    for (before, after) in [
        ("<flow-definition/>", "<flow-definition><disabled>true</disabled></flow-definition>"),
        (
            "<flow-definition plugin='a/b' />\n",
            "<flow-definition plugin='a/b' ><disabled>true</disabled></flow-definition>\n",
        ),
        (
            "<flow-definition>\n</flow-definition>",
            "<flow-definition>\n  <disabled>true</disabled>\n</flow-definition>",
        ),
        (
            "<flow-definition><disabled/></flow-definition>",
            "<flow-definition><disabled>true</disabled></flow-definition>",
        ),
        (
            "<!-- <disabled>false</disabled> --><flow-definition><a><disabled>false</disabled></a></flow-definition>",
            "<!-- <disabled>false</disabled> --><flow-definition><a><disabled>false</disabled></a>\
             <disabled>true</disabled></flow-definition>",
        ),
    ] {
        assert_eq!(with_disabled(before, true).unwrap(), after);
        assert!(job_of(after).disabled);
    }
    assert_eq!(with_disabled("<flow-definition/>", false).unwrap(), "<flow-definition/>");
    assert!(with_disabled("<flow-definition>", true).is_err());
}

#[test]
fn a_written_pipeline_is_read_as_it_was() {
    let mut job = job_of(FULL);
    // what is a text here is written as one
    job.remarks.clear();
    assert_eq!(job_of(&new_pipeline_xml(&job)), job);
    let scm = GitScm {
        url: "/a&b".to_owned(),
        credentials_id: Some("c<".to_owned()),
        branch: "x".to_owned(),
        remote: "up".to_owned(),
        refspec: "+refs/pull/*:refs/remotes/up/*".to_owned(),
    };
    job.definition = Definition::Scm { scm: Ok(scm), script_path: "J\"".to_owned(), lightweight: false };
    assert_eq!(job_of(&new_pipeline_xml(&job)), job);
    job.definition = Definition::Script { text: "a\r\n\u{1b}[1m ]]> \t x".to_owned() };
    assert_eq!(job_of(&new_pipeline_xml(&job)), job);
    assert_eq!(job_of(&new_pipeline_xml(&JobConfig::default())), JobConfig::default());
}
