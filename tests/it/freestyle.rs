//! Freestyle jobs: configured by `config.xml` alone, on the same machine as Pipelines.

use serde_json::Value;

use crate::harness::{Controller, run, shared, until};

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn shell(command: &str) -> String {
    format!("<hudson.tasks.Shell><command>{}</command></hudson.tasks.Shell>", escaped(command))
}

/// `config.xml` as Jenkins writes it, with `more` between the parts that all have.
fn project(more: &str, builders: &[String], publishers: &str) -> String {
    format!(
        "<?xml version='1.1' encoding='UTF-8'?>\n<project>\n  <actions/>\n  <description>free &amp; easy</description>\n  \
         <keepDependencies>false</keepDependencies>\n  {more}\n  <scm class=\"hudson.scm.NullSCM\"/>\n  \
         <canRoam>true</canRoam>\n  <disabled>false</disabled>\n  \
         <blockBuildWhenDownstreamBuilding>false</blockBuildWhenDownstreamBuilding>\n  \
         <blockBuildWhenUpstreamBuilding>false</blockBuildWhenUpstreamBuilding>\n  <triggers/>\n  \
         <concurrentBuild>false</concurrentBuild>\n  <builders>{}</builders>\n  <publishers>{publishers}</publishers>\n  \
         <buildWrappers/>\n</project>\n",
        builders.concat()
    )
}

fn archive(artifacts: &str) -> String {
    format!(
        "<hudson.tasks.ArtifactArchiver><artifacts>{artifacts}</artifacts></hudson.tasks.ArtifactArchiver>"
    )
}

fn trigger(jobs: &str, threshold: &str) -> String {
    format!(
        "<hudson.tasks.BuildTrigger><childProjects>{jobs}</childProjects><threshold><name>{threshold}</name>\
         </threshold></hudson.tasks.BuildTrigger>"
    )
}

fn create(it: &Controller, name: &str, xml: &str) {
    it.admin.xml(&format!("/createItem?name={name}"), xml).expect(200);
}

/// The console without what differs from build to build.
fn plain(console: &str) -> Vec<String> {
    let plain = |line: &str| {
        // whatever executor it was
        let line = &line.replace("@2", "");
        if line.starts_with("Building remotely on agent-") {
            return "Building remotely on agent".to_owned();
        }
        match line.split_once("/tmp/jenkins") {
            Some((before, _)) => format!("{before}N"),
            None => line.to_owned(),
        }
    };
    console.lines().map(plain).collect()
}

#[test]
fn a_freestyle_job_builds_archives_and_triggers_the_next() {
    let it = shared();
    create(it, "free-down", &project("", &[shell("echo below $JOB_NAME")], ""));
    let builders = [
        shell("mkdir -p out\necho \"<one> & $BUILD_NUMBER\" > out/a.txt"),
        shell("cat out/a.txt; echo $WORKSPACE"),
    ];
    let publishers = format!("{}{}", trigger("free-down, free-none", "SUCCESS"), archive("out/*.txt"));
    let xml = project("<quietPeriod>0</quietPeriod>", &builders, &publishers);
    create(it, "free", &xml);
    assert_eq!(it.admin.get("/job/free/config.xml").expect(200).text(), xml, "byte for byte");
    let (number, result, console) = it.admin.build("free");
    assert_eq!((number, result.as_str()), (1, "SUCCESS"), "{console}");
    let place = console.lines().find(|l| l.starts_with("Building remotely on agent-")).unwrap();
    let workspace = place.split_once(" in workspace ").unwrap().1.trim_end_matches("@2");
    assert!(workspace.ends_with("/workspace/free"), "{place}");
    let wanted = [
        "Started by user Administrator",
        "Running as SYSTEM",
        "Building remotely on agent",
        "[free] $ /bin/sh -xe N",
        "+ mkdir -p out",
        "+ echo <one> & 1",
        "[free] $ /bin/sh -xe N",
        "+ cat out/a.txt",
        "<one> & 1",
        &format!("+ echo {workspace}"),
        workspace,
        "Archiving artifacts",
        "Triggering a new build of free-down",
        "WARNING: free-none is not triggered: there is no such job",
        "Finished: SUCCESS",
    ];
    assert_eq!(plain(&console), wanted);
    for replica in it.each_replica() {
        assert_eq!(replica.get("/job/free/1/artifact/out/a.txt").expect(200).text(), "<one> & 1\n");
    }
    until("the build below", || {
        it.admin.json("/job/free-down/api/json")["lastCompletedBuild"].is_object().then_some(())
    });
    assert_eq!(it.admin.result("free-down", 1), "SUCCESS");
    let below = it.admin.console("free-down", 1);
    assert!(below.starts_with("Started by upstream project \"free\" build number 1\n"), "{below}");
    assert!(below.contains("\nbelow free-down\n"), "{below}");
    let cause = it.admin.json("/job/free-down/1/api/json?tree=actions[causes[*]]").to_string();
    assert!(cause.contains("\"upstreamProject\":\"free\"") && cause.contains("UpstreamCause"), "{cause}");
    it.unharmed();
}

#[test]
fn clients_see_a_freestyle_job_as_jenkins_shows_it() {
    let it = shared();
    create(it, "free-seen-down", &project("", &[shell("true")], ""));
    create(
        it,
        "free-seen",
        &project("<displayName>Seen</displayName>", &[shell("true")], &trigger("free-seen-down", "FAILURE")),
    );
    it.admin.build("free-seen");
    let job = it.admin.json("/job/free-seen/api/json");
    assert_eq!(job["_class"], "hudson.model.FreeStyleProject");
    assert_eq!((&job["displayName"], &job["description"]), (&"Seen".into(), &"free & easy".into()));
    assert_eq!(
        (&job["color"], &job["concurrentBuild"], &job["disabled"]),
        (&"blue".into(), &false.into(), &false.into())
    );
    assert_eq!(job["downstreamProjects"][0]["name"], "free-seen-down");
    assert_eq!(job["downstreamProjects"][0]["_class"], "hudson.model.FreeStyleProject");
    assert_eq!(job["scm"]["_class"], "hudson.scm.NullSCM");
    assert_eq!(job["labelExpression"], Value::Null);
    assert_eq!(job["builds"][0]["_class"], "hudson.model.FreeStyleBuild");
    let build = it.admin.json("/job/free-seen/1/api/json");
    assert_eq!(build["_class"], "hudson.model.FreeStyleBuild");
    assert!(build["builtOn"].as_str().unwrap().starts_with("agent-"), "{build}");
    assert_eq!(build["changeSet"]["_class"], "hudson.scm.EmptyChangeLogSet");
    assert_eq!(build["changeSet"]["items"], Value::Array(Vec::new()));
    assert!(build.get("changeSets").is_none(), "{build}");
    let xml = it.admin.get("/job/free-seen/1/api/xml").expect(200).text();
    assert!(xml.starts_with("<freeStyleBuild _class='hudson.model.FreeStyleBuild'>"), "{xml}");
    let xml = it.admin.get("/job/free-seen/api/xml").expect(200).text();
    assert!(xml.starts_with("<freeStyleProject _class='hudson.model.FreeStyleProject'>"), "{xml}");
    let root = it.admin.json("/api/json?tree=jobs[name,color]");
    let ours = root["jobs"].as_array().unwrap().iter().find(|j| j["name"] == "free-seen").unwrap();
    assert_eq!(ours["_class"], "hudson.model.FreeStyleProject");
    for path in ["/job/free-seen/", "/job/free-seen/1/", "/job/free-seen/1/console"] {
        it.admin.get(path).expect(200);
    }
    it.admin.post("/job/free-seen/disable").expect(302);
    it.admin.post("/job/free-seen/build").expect(409);
    it.admin.post("/job/free-seen/enable").expect(302);
    let changed = project("", &[shell("echo changed")], "");
    it.admin.xml("/job/free-seen/config.xml", &changed).expect(200);
    assert_eq!(it.admin.get("/job/free-seen/config.xml").expect(200).text(), changed);
    let (_, _, console) = it.admin.build("free-seen");
    assert!(console.contains("\nchanged\n"), "{console}");
    it.admin.xml("/job/free-seen/config.xml", &crate::harness::job_xml("echo 1")).expect(409);
    it.admin.post("/job/free-seen/doDelete").expect(302);
    it.admin.get("/job/free-seen/api/json").expect(404);
    it.unharmed();
}

#[test]
fn a_failing_builder_ends_the_builders_and_publishers_still_run() {
    let it = shared();
    create(it, "free-fail-down", &project("", &[shell("true")], ""));
    let builders = [shell("echo x > kept.txt; exit 3"), shell("echo never")];
    let publishers = format!("{}{}", archive("kept.txt"), trigger("free-fail-down", "UNSTABLE"));
    create(it, "free-fail", &project("", &builders, &publishers));
    let (_, result, console) = it.admin.build("free-fail");
    assert_eq!(result, "FAILURE", "{console}");
    let plain = plain(&console);
    let wanted = [
        "+ echo x",
        "+ exit 3",
        "Build step 'Execute shell' marked build as failure",
        "Archiving artifacts",
        "Finished: FAILURE",
    ];
    assert_eq!(plain[4..], wanted, "{console}");
    it.admin.get("/job/free-fail/1/artifact/kept.txt").expect(200);
    assert_eq!(it.admin.json("/job/free-fail-down/api/json")["lastBuild"], Value::Null);
    create(it, "free-nothing", &project("", &[shell("true")], &archive("nothing.txt")));
    let (_, result, console) = it.admin.build("free-nothing");
    assert_eq!(result, "FAILURE", "{console}");
    let why = "ERROR: Step ‘Archive the artifacts’ failed: No artifacts found that match the file pattern \"nothing.txt\". \
               Configuration error?";
    assert!(console.ends_with(&format!("Archiving artifacts\n{why}\nFinished: FAILURE\n")), "{console}");
    it.unharmed();
}

#[test]
fn what_does_not_run_is_named_and_an_unknown_builder_runs_nothing() {
    let it = shared();
    let odd = "<com.example.Odd__Builder plugin=\"odd@1\"><x>&lt;</x></com.example.Odd__Builder>".to_owned();
    let xml = project("", &[shell("echo never"), odd], "<hudson.tasks.Mailer/>");
    create(it, "free-odd", &xml);
    assert_eq!(it.admin.get("/job/free-odd/config.xml").expect(200).text(), xml);
    let (_, result, console) = it.admin.build("free-odd");
    assert_eq!(result, "FAILURE", "{console}");
    assert!(console.contains("ERROR: the builder com.example.Odd_Builder does not run"), "{console}");
    assert!(!console.contains("never"), "{console}");
    let subversion =
        project("", &[shell("echo never")], "").replace("hudson.scm.NullSCM", "hudson.scm.SubversionSCM");
    it.admin.xml("/job/free-odd/config.xml", &subversion).expect(200);
    assert_eq!(it.admin.get("/job/free-odd/config.xml").expect(200).text(), subversion);
    let (_, result, console) = it.admin.build("free-odd");
    assert_eq!(result, "FAILURE", "{console}");
    let why = "ERROR: an SCM of class “hudson.scm.SubversionSCM” does not run in Majordomo yet\nFinished: FAILURE\n";
    assert!(console.ends_with(why) && !console.contains("never"), "{console}");
    let known = project(
        "",
        &[shell("echo fine")],
        "<hudson.tasks.Mailer><recipients>a@b</recipients></hudson.tasks.Mailer>",
    );
    it.admin.xml("/job/free-odd/config.xml", &known).expect(200);
    let (_, result, console) = it.admin.build("free-odd");
    assert_eq!(result, "SUCCESS", "{console}");
    let warned =
        "Running as SYSTEM\nWARNING: hudson.tasks.Mailer does not run in Majordomo yet and is ignored\n";
    assert!(console.contains(warned), "{console}");
    it.unharmed();
}

#[test]
fn a_freestyle_build_is_stopped_and_publishes() {
    let it = shared();
    create(
        it,
        "free-stop",
        &project("", &[shell("echo a > a.txt; sleep 305"), shell("echo never")], &archive("a.txt")),
    );
    let number = it.admin.follow(&it.admin.trigger("free-stop", "build"));
    it.admin.console_has("free-stop", number, "+ sleep 305");
    let busy = it.admin.json(
        "/computer/api/json?tree=computer[executors[currentExecutable[number,url]],oneOffExecutors[*]]",
    );
    let busy = busy.to_string();
    assert!(
        busy.contains("\"_class\":\"hudson.model.FreeStyleBuild\"") && busy.contains("/job/free-stop/1/"),
        "{busy}"
    );
    // one build at a time: the next waits for it
    let item = it.admin.trigger("free-stop", "build");
    let blocked = it.admin.json(&format!("{item}api/json"));
    assert_eq!(blocked["_class"], "hudson.model.Queue$BlockedItem", "{blocked}");
    assert_eq!(blocked["task"]["_class"], "hudson.model.FreeStyleProject");
    let id = blocked["id"].as_i64().unwrap();
    it.admin.post(&format!("/queue/cancelItem?id={id}")).expect(204);
    it.admin.post(&format!("/job/free-stop/{number}/kill")).expect(404);
    it.admin.post(&format!("/job/free-stop/{number}/stop")).expect(302);
    assert_eq!(it.admin.result("free-stop", number), "ABORTED");
    let console = it.admin.console("free-stop", number);
    assert!(console.contains("\nBuild was aborted\nAborted by admin\n"), "{console}");
    assert!(console.ends_with("\nArchiving artifacts\nFinished: ABORTED\n"), "{console}");
    it.admin.get("/job/free-stop/1/artifact/a.txt").expect(200);
    it.unharmed();
}

#[test]
fn a_job_whose_label_no_node_has_waits_in_the_queue() {
    let it = shared();
    let label = "<assignedNode>free-nowhere</assignedNode>";
    let xml = project(label, &[shell("echo at last")], "").replace("<canRoam>true", "<canRoam>false");
    create(it, "free-label", &xml);
    let item = it.admin.trigger("free-label", "build");
    until("the item to wait for an executor", || {
        let waiting = it.admin.json(&format!("{item}api/json"));
        (waiting["why"] == "There are no nodes with the label ‘free-nowhere’").then_some(())
    });
    let waiting = it.admin.json(&format!("{item}api/json"));
    assert_eq!(waiting["_class"], "hudson.model.Queue$BuildableItem", "{waiting}");
    assert_eq!((&waiting["buildable"], &waiting["stuck"]), (&true.into(), &true.into()));
    let job = it
        .admin
        .json("/job/free-label/api/json?tree=lastBuild[number],inQueue,nextBuildNumber,labelExpression");
    assert_eq!(
        (&job["lastBuild"], &job["inQueue"], &job["nextBuildNumber"]),
        (&Value::Null, &true.into(), &1.into())
    );
    assert_eq!(job["labelExpression"], "free-nowhere");
    // others do not wait for it
    create(it, "free-beside", &project("", &[shell("true")], ""));
    assert_eq!(it.admin.build("free-beside").1, "SUCCESS");
    it.admin.xml("/job/free-label/config.xml", &xml.replace("free-nowhere", "agent-2")).expect(200);
    let number = it.admin.follow(&item);
    assert_eq!(it.admin.result("free-label", number), "SUCCESS");
    let build = it.admin.json("/job/free-label/1/api/json?tree=builtOn,queueId");
    assert_eq!(build["builtOn"], "agent-2");
    it.unharmed();
}

#[test]
fn parameters_reach_the_builders_and_a_timeout_ends_them() {
    let it = shared();
    let parameters = "<properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>\
        <hudson.model.StringParameterDefinition><name>WHO</name><defaultValue>world</defaultValue>\
        </hudson.model.StringParameterDefinition></parameterDefinitions></hudson.model.ParametersDefinitionProperty>\
        </properties>";
    let wrapper = "<buildWrappers><hudson.plugins.build__timeout.BuildTimeoutWrapper><strategy \
        class=\"hudson.plugins.build_timeout.impl.NoActivityTimeOutStrategy\"><timeoutSecondsString>2</timeoutSecondsString>\
        </strategy><operationList><hudson.plugins.build__timeout.operations.FailOperation/></operationList>\
        </hudson.plugins.build__timeout.BuildTimeoutWrapper></buildWrappers>";
    let xml = project(
        parameters,
        &[shell("echo hello $WHO; case $WHO in slow) sleep 306;; esac")],
        &archive("${WHO}.txt"),
    )
    .replace("<buildWrappers/>", wrapper)
    .replace("<artifacts>", "<allowEmptyArchive>true</allowEmptyArchive><artifacts>");
    create(it, "free-params", &xml);
    it.admin.post("/job/free-params/build").expect(400);
    let number = it.admin.follow(&it.admin.trigger("free-params", "buildWithParameters?WHO=a%20%26%20b"));
    assert_eq!(it.admin.result("free-params", number), "SUCCESS");
    let console = it.admin.console("free-params", number);
    assert!(console.contains("\nhello a & b\n"), "{console}");
    assert!(console.contains("No artifacts found that match the file pattern \"a & b.txt\""), "{console}");
    let number = it.admin.follow(&it.admin.trigger("free-params", "buildWithParameters?WHO=slow"));
    assert_eq!(it.admin.result("free-params", number), "FAILURE");
    let console = it.admin.console("free-params", number);
    let end = "Build timed out (after 0 minutes). Marking the build as failed.\nBuild was aborted\nArchiving artifacts\n\
               Finished: FAILURE\n";
    assert!(console.ends_with(end), "{console}");
    it.unharmed();
}

#[test]
fn a_freestyle_job_checks_its_source_out() {
    let it = shared();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data.txt"), "from the repository\n").unwrap();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"];
        run("git", &[&identity, arguments].concat(), folder.path())
    };
    git(&["init", "--quiet"]);
    git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "the first change"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let scm = format!(
        "<scm class=\"hudson.plugins.git.GitSCM\"><userRemoteConfigs><hudson.plugins.git.UserRemoteConfig><url>{}</url>\
         </hudson.plugins.git.UserRemoteConfig></userRemoteConfigs><branches><hudson.plugins.git.BranchSpec><name>*/main</name>\
         </hudson.plugins.git.BranchSpec></branches></scm>",
        folder.path().display()
    );
    let xml = project("", &[shell("cat data.txt; echo at $GIT_COMMIT $GIT_BRANCH")], "");
    create(it, "free-git", &xml.replace("<scm class=\"hudson.scm.NullSCM\"/>", &scm));
    let (_, result, console) = it.admin.build("free-git");
    assert_eq!(result, "SUCCESS", "{console}");
    assert!(console.contains("\nfrom the repository\n"), "{console}");
    assert!(console.contains(&format!("\nat {} origin/main\n", commit.trim())), "{console}");
    assert_eq!(
        it.admin.json("/job/free-git/api/json?tree=scm")["scm"]["_class"],
        "hudson.plugins.git.GitSCM"
    );
    std::fs::remove_dir_all(folder.path().join(".git")).unwrap();
    let (_, result, console) = it.admin.build("free-git");
    assert_eq!(result, "FAILURE", "{console}");
    assert!(console.contains("ERROR: git ended with status"), "{console}");
    it.unharmed();
}

#[test]
fn a_freestyle_build_outlives_its_replica_and_triggers_once() {
    let it = Controller::start(3, 2);
    create(&it, "below", &project("", &[shell("true")], ""));
    let builders = [
        shell("for i in $(seq 1 60); do echo line $i; sleep 0.1; done; echo kept > kept.txt"),
        shell("echo after"),
    ];
    let publishers = format!("{}{}", archive("kept.txt"), trigger("below", "SUCCESS"));
    create(&it, "lives", &project("", &builders, &publishers));
    let number = it.admin.follow(&it.admin.trigger("lives", "build"));
    it.admin.console_has("lives", number, "\nline 5\n");
    let shown = it.admin.json("/replicas/api/json");
    let drives = |replica: &&Value| replica["builds"].to_string().contains("\"lives\"");
    let owner =
        shown["replicas"].as_array().unwrap().iter().find(drives).unwrap_or_else(|| panic!("{shown}"));
    run("kill", &["-9", &owner["pid"].to_string()], &it.home);
    assert_eq!(it.admin.result("lives", number), "SUCCESS");
    let console = it.admin.console("lives", number);
    let lines: Vec<&str> = console.lines().filter(|line| line.starts_with("line ")).collect();
    assert_eq!(lines, (1..=60).map(|n| format!("line {n}")).collect::<Vec<_>>(), "{console}");
    let end = "\nafter\nArchiving artifacts\nTriggering a new build of below\nFinished: SUCCESS\n";
    assert!(console.ends_with(end), "{console}");
    assert_eq!(it.admin.get("/job/lives/1/artifact/kept.txt").expect(200).text(), "kept\n");
    until("the build below", || {
        it.admin.json("/job/below/api/json?tree=lastCompletedBuild[number]")["lastCompletedBuild"]
            .is_object()
            .then_some(())
    });
    let below = it.admin.json("/job/below/api/json?tree=nextBuildNumber,inQueue");
    assert_eq!(
        (&below["nextBuildNumber"], &below["inQueue"]),
        (&2.into(), &false.into()),
        "it is triggered once"
    );
}
