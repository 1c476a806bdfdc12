use model::ParameterKind;

use super::*;
use crate::{Definition, GitScm, ItemConfig, JobConfig};

const FULL: &str = r#"<?xml version='1.1' encoding='UTF-8'?>
<project>
  <actions/>
  <description>all of it</description>
  <displayName>Shown</displayName>
  <keepDependencies>false</keepDependencies>
  <properties>
    <jenkins.model.BuildDiscarderProperty><strategy class="hudson.tasks.LogRotator"><numToKeep>3</numToKeep></strategy>
    </jenkins.model.BuildDiscarderProperty>
    <hudson.model.ParametersDefinitionProperty><parameterDefinitions>
      <hudson.model.StringParameterDefinition><name>WHO</name><defaultValue>w</defaultValue></hudson.model.StringParameterDefinition>
    </parameterDefinitions></hudson.model.ParametersDefinitionProperty>
    <com.example.Odd__Property/>
  </properties>
  <scm class="hudson.plugins.git.GitSCM"><userRemoteConfigs><hudson.plugins.git.UserRemoteConfig><url>/r</url>
    <credentialsId>deploy</credentialsId></hudson.plugins.git.UserRemoteConfig></userRemoteConfigs>
    <branches><hudson.plugins.git.BranchSpec><name>*/main</name></hudson.plugins.git.BranchSpec></branches>
    <extensions><hudson.plugins.git.extensions.impl.WipeWorkspace/></extensions></scm>
  <quietPeriod>2</quietPeriod>
  <assignedNode>linux &amp;&amp; !slow</assignedNode>
  <canRoam>false</canRoam>
  <disabled>false</disabled>
  <blockBuildWhenDownstreamBuilding>false</blockBuildWhenDownstreamBuilding>
  <blockBuildWhenUpstreamBuilding>true</blockBuildWhenUpstreamBuilding>
  <jdk>(System)</jdk>
  <triggers><hudson.triggers.TimerTrigger><spec>H * * * *</spec></hudson.triggers.TimerTrigger></triggers>
  <concurrentBuild>true</concurrentBuild>
  <customWorkspace>shared/$WHO</customWorkspace>
  <builders>
    <hudson.tasks.Shell><command>echo &quot;&lt;hi&gt; ]]&gt; $WHO&quot;
exit 3</command><unstableReturn>3</unstableReturn></hudson.tasks.Shell>
    <hudson.tasks.BatchFile><command>dir</command><unstableReturn>0</unstableReturn></hudson.tasks.BatchFile>
    <com.example.build__it.Builder><x/></com.example.build__it.Builder>
  </builders>
  <publishers>
    <hudson.tasks.ArtifactArchiver><artifacts>out/**</artifacts><excludes>*.log</excludes><allowEmptyArchive>true</allowEmptyArchive>
      <onlyIfSuccessful>true</onlyIfSuccessful><fingerprint>true</fingerprint><defaultExcludes>false</defaultExcludes>
      <caseSensitive>false</caseSensitive><followSymlinks>false</followSymlinks></hudson.tasks.ArtifactArchiver>
    <hudson.tasks.Mailer/>
    <hudson.tasks.Mailer/>
    <hudson.tasks.BuildTrigger><childProjects>a, team/b ,,</childProjects><threshold><name>UNSTABLE</name><ordinal>1</ordinal>
      </threshold></hudson.tasks.BuildTrigger>
    <hudson.plugins.ws__cleanup.WsCleanup><patterns class="empty-list"/><cleanWhenFailure>false</cleanWhenFailure>
    </hudson.plugins.ws__cleanup.WsCleanup>
  </publishers>
  <buildWrappers>
    <hudson.plugins.ws__cleanup.PreBuildCleanup><deleteDirs>false</deleteDirs></hudson.plugins.ws__cleanup.PreBuildCleanup>
    <hudson.plugins.build__timeout.BuildTimeoutWrapper>
      <strategy class="hudson.plugins.build_timeout.impl.NoActivityTimeOutStrategy"><timeoutSecondsString>90</timeoutSecondsString></strategy>
      <operationList><hudson.plugins.build__timeout.operations.FailOperation/></operationList>
    </hudson.plugins.build__timeout.BuildTimeoutWrapper>
    <hudson.plugins.timestamper.TimestamperBuildWrapper/>
    <com.example.Wrapper/>
  </buildWrappers>
</project>
"#;

fn job_of(text: &str) -> JobConfig {
    match ItemConfig::parse(text).unwrap() {
        ItemConfig::Job(job) => *job,
        ItemConfig::Folder { .. } => panic!("a folder"),
    }
}

fn freestyle_of(text: &str) -> FreestyleJob {
    match job_of(text).definition {
        Definition::Freestyle(job) => *job,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_freestyle_job_as_jenkins_writes_it_is_read() {
    let config = ItemConfig::parse(FULL).unwrap();
    assert_eq!(config.kind(), store::ItemKind::Freestyle);
    let job = job_of(FULL);
    assert_eq!(job.description.as_deref(), Some("all of it"));
    assert_eq!((job.quiet_period, job.disable_concurrent_builds), (Some(2), false));
    assert_eq!(job.discarder.unwrap().num_to_keep, Some(3));
    assert_eq!(job.parameters[0].kind, ParameterKind::String { default: "w".to_owned(), trim: false });
    let FreestyleJob { steps, scm, ignored, .. } = freestyle_of(FULL);
    assert_eq!(
        scm,
        Some(Ok(GitScm {
            url: "/r".to_owned(),
            credentials_id: Some("deploy".to_owned()),
            branch: "*/main".to_owned(),
            ..GitScm::default()
        }))
    );
    assert_eq!(
        ignored,
        [
            "blockBuildWhenUpstreamBuilding",
            "hudson.triggers.TimerTrigger",
            "com.example.Odd_Property",
            "credentialsId",
            "hudson.plugins.git.extensions.impl.WipeWorkspace",
            "com.example.Wrapper",
            "fingerprint",
            "followSymlinks=false",
            "hudson.tasks.Mailer",
        ]
    );
    assert_eq!(steps.label.as_deref(), Some("linux && !slow"));
    assert_eq!(steps.custom_workspace.as_deref(), Some("shared/$WHO"));
    assert!(steps.clean_before);
    assert_eq!(steps.timeout, Some(BuildTimeout { time: "90".to_owned(), activity: true, fails: true }));
    assert_eq!(
        steps.builders,
        [
            Builder::Shell { command: "echo \"<hi> ]]> $WHO\"\nexit 3".to_owned(), unstable: Some(3) },
            Builder::Batch { command: "dir".to_owned(), unstable: None },
            Builder::Unknown { class: "com.example.build_it.Builder".to_owned() },
        ]
    );
    assert_eq!(steps.unknown_builder(), Some("com.example.build_it.Builder"));
    assert_eq!(
        steps.publishers,
        [
            Publisher::Archive {
                artifacts: "out/**".to_owned(),
                excludes: "*.log".to_owned(),
                allow_empty: true,
                only_if_successful: true,
                default_excludes: false,
                case_sensitive: false,
            },
            Publisher::Trigger {
                jobs: vec!["a".to_owned(), "team/b".to_owned()],
                threshold: BuildResult::Unstable,
            },
            Publisher::Clean {
                results: vec![
                    BuildResult::Success,
                    BuildResult::Unstable,
                    BuildResult::NotBuilt,
                    BuildResult::Aborted,
                ],
            },
        ]
    );
    assert_eq!(steps.downstream().collect::<Vec<_>>(), ["a", "team/b"]);
}

#[test]
fn an_empty_job_runs_anywhere_and_one_build_at_a_time() {
    let job = job_of("<project/>");
    assert!(job.disable_concurrent_builds);
    assert_eq!(job.definition, Definition::Freestyle(Box::default()));
    let roams = "<project><assignedNode>x</assignedNode><canRoam>true</canRoam></project>";
    assert_eq!(freestyle_of(roams).steps.label, None);
}

#[test]
fn a_timeout_is_read_in_all_its_forms() {
    let timeout = |inner: &str| {
        let name = "hudson.plugins.build__timeout.BuildTimeoutWrapper";
        let text = format!("<project><buildWrappers><{name}>{inner}</{name}></buildWrappers></project>");
        let job = freestyle_of(&text);
        let timeout = job.steps.timeout.unwrap();
        (timeout.time, timeout.activity, timeout.fails, job.ignored)
    };
    let absolute = "<strategy class='hudson.plugins.build_timeout.impl.AbsoluteTimeOutStrategy'>\
                    <timeoutMinutes>${LIMIT}</timeoutMinutes></strategy>";
    let operation = |name: &str| {
        let class = format!("hudson.plugins.build__timeout.operations.{name}");
        format!("<operationList><{class}/></operationList>")
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(
        timeout(&format!("{absolute}{}", operation("AbortOperation"))),
        ("${LIMIT}".into(), false, false, none.clone())
    );
    assert_eq!(timeout(absolute), ("${LIMIT}".into(), false, false, none.clone()));
    assert_eq!(
        timeout("<timeoutMinutes>7</timeoutMinutes><failBuild>true</failBuild>"),
        ("7".into(), false, true, none)
    );
    let odd = format!("{absolute}<timeoutEnvVar>T</timeoutEnvVar>{}", operation("WriteDescriptionOperation"));
    let (time, .., ignored) = timeout(&odd);
    assert_eq!(time, "${LIMIT}");
    assert_eq!(
        ignored,
        ["hudson.plugins.build_timeout.operations.WriteDescriptionOperation", "timeoutEnvVar"]
    );
}

fn timed(strategy: &str) -> FreestyleJob {
    let name = "hudson.plugins.build__timeout.BuildTimeoutWrapper";
    freestyle_of(&format!("<project><buildWrappers><{name}>{strategy}</{name}></buildWrappers></project>"))
}

#[test]
fn a_timeout_that_follows_from_earlier_builds_has_its_own_default() {
    let job = timed(
        "<strategy class='hudson.plugins.build_timeout.impl.ElasticTimeOutStrategy'><timeoutPercentage>150</timeoutPercentage>\
         <numberOfBuilds>5</numberOfBuilds><failSafeTimeoutDuration>true</failSafeTimeoutDuration>\
         <timeoutMinutesElasticDefault>60</timeoutMinutesElasticDefault></strategy>",
    );
    assert_eq!(job.steps.timeout.unwrap().time, "60");
    let elastic = Elastic { percentage: "150".to_owned(), builds: "5".to_owned(), fail_safe: true };
    assert_eq!((job.elastic, job.ignored), (Some(elastic), vec![]));
    let job = timed("<strategy class='hudson.plugins.build_timeout.impl.LikelyStuckTimeOutStrategy'/>");
    assert_eq!(job.steps.timeout.unwrap().time, "1440");
    assert_eq!((job.elastic, job.ignored), (Some(Elastic::likely_stuck()), vec![]));
}

#[test]
fn a_timeout_of_a_foreign_strategy_is_none_and_is_named() {
    for class in ["hudson.plugins.build_timeout.impl.DeadlineTimeOutStrategy", "com.example.Guess"] {
        let job = timed(&format!("<strategy class='{class}'><timeoutMinutes>1</timeoutMinutes></strategy>"));
        assert_eq!((job.steps.timeout, job.elastic), (None, None));
        assert_eq!(job.ignored, [class]);
    }
}

#[test]
fn a_clean_up_of_some_files_only_is_left_out() {
    let text = "<project><publishers><hudson.plugins.ws__cleanup.WsCleanup><patterns><x/></patterns>\
                </hudson.plugins.ws__cleanup.WsCleanup></publishers></project>";
    let job = freestyle_of(text);
    assert_eq!(job.steps.publishers, []);
    assert_eq!(job.ignored, ["hudson.plugins.ws_cleanup.WsCleanup"]);
}

#[test]
fn options_that_mean_nothing_here_are_named_when_they_are_switched_on() {
    let job = |flag: &str| {
        let option = |name: &str| format!("<{name}>{flag}</{name}>");
        let clean = "hudson.plugins.ws__cleanup.WsCleanup";
        freestyle_of(&format!(
            "<project>{}<publishers><hudson.tasks.ArtifactArchiver>{}{}</hudson.tasks.ArtifactArchiver>\
             <{clean}>{}{}</{clean}></publishers></project>",
            option("keepDependencies"),
            option("fingerprint"),
            option("latestOnly"),
            option("notFailBuild"),
            option("skipWhenFailed"),
        ))
    };
    assert_eq!(
        job("true").ignored,
        ["keepDependencies", "fingerprint", "latestOnly", "notFailBuild", "skipWhenFailed"]
    );
    assert_eq!(job("false").ignored, [""; 0]);
    assert_eq!(job("true").steps, job("false").steps);
}

#[test]
fn what_could_not_run_is_refused_by_name() {
    let many = "<a/>".repeat(1_001);
    for (text, why) in [
        (
            format!(
                "<project><publishers><hudson.tasks.BuildTrigger><childProjects>{}</childProjects>\
                 </hudson.tasks.BuildTrigger></publishers></project>",
                "a,".repeat(201)
            ),
            "<childProjects> names 201 jobs",
        ),
        (format!("<project><builders>{many}</builders></project>"), "<builders> has 1001 elements"),
        (
            format!("<project><assignedNode>{}</assignedNode></project>", "x".repeat(2_001)),
            "<assignedNode> has 2001 bytes",
        ),
        (
            "<project><builders><hudson.tasks.Shell><unstableReturn>x</unstableReturn></hudson.tasks.Shell>\
             </builders></project>"
                .to_owned(),
            "<unstableReturn> is not a whole number",
        ),
    ] {
        let said = ItemConfig::parse(&text).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
}
