//! Builds: triggered, followed, read while they run, ended.

use serde_json::Value;

use crate::harness::{BINARY, job_xml, shared, until};

#[test]
fn a_console_is_read_progressively_until_there_is_no_more() {
    let it = shared();
    it.admin.create_job("progress", "node { sh 'for i in $(seq 1 40); do echo line $i; sleep 0.05; done' }");
    let number = it.admin.follow(&it.admin.trigger("progress", "build"));
    let (mut text, mut reads) = (Vec::new(), 0);
    let replicas = it.each_replica();
    until("the end of the log", || {
        let replica = &replicas[reads % replicas.len()];
        let path = format!("/job/progress/{number}/logText/progressiveText?start={}", text.len());
        let piece = replica.get(&path).expect(200);
        reads += 1;
        // Jenkins ends lines with CR LF here, and counts without the CR
        text.extend(piece.body.iter().filter(|b| **b != b'\r'));
        assert_eq!(piece.header("x-text-size"), text.len().to_string());
        (piece.header("x-more-data") != "true").then_some(())
    });
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text, it.admin.console("progress", number));
    assert!(reads > 3, "{reads}");
    assert!(text.ends_with("Finished: SUCCESS\n"), "{text}");
    let numbers: Vec<_> = text.lines().filter_map(|l| l.strip_prefix("line ")).collect();
    assert_eq!(numbers, (1..=40).map(|n| n.to_string()).collect::<Vec<_>>());
    it.unharmed();
}

#[test]
fn parameters_reach_the_script_and_the_process() {
    let it = shared();
    let script = "pipeline { agent any\n parameters { string(name: 'WHO', defaultValue: 'world')\n \
                  booleanParam(name: 'LOUD', defaultValue: false)\n choice(name: 'SIZE', choices: ['s', 'm']) }\n \
                  stages { stage('s') { steps { echo \"hello ${params.WHO} ${params.LOUD} ${params.SIZE}\"\n sh 'echo env $WHO' } } } }";
    it.admin.create_job("params", script);
    it.admin.post("/job/params/build").expect(400);
    let number = it.admin.follow(&it.admin.trigger("params", "buildWithParameters"));
    assert_eq!(it.admin.result("params", number), "SUCCESS");
    let console = it.admin.console("params", number);
    assert!(console.contains("hello world false s"), "{console}");
    let how = "buildWithParameters?WHO=a%20b%26c&LOUD=true";
    let number = it.admin.follow(&it.admin.trigger("params", how));
    assert_eq!(it.admin.result("params", number), "SUCCESS");
    let console = it.admin.console("params", number);
    assert!(console.contains("hello a b&c true s") && console.contains("\nenv a b&c\n"), "{console}");
    let shown = it.admin.json(&format!("/job/params/{number}/api/json?tree=actions[parameters[name,value]]"));
    assert!(
        shown.to_string().contains(r#"{"name":"WHO","value":"a b&c"}"#.trim_matches(['{', '}'])),
        "{shown}"
    );
    let wrong = it.admin.post("/job/params/buildWithParameters?SIZE=xxl").expect(400);
    assert!(!wrong.header("x-error").is_empty());
    let json = "json=%7B%22parameter%22%3A%7B%22name%22%3A%22WHO%22%2C%22value%22%3A%22json%22%7D%7D";
    let queued = it.admin.form("/job/params/build", json).expect(201);
    let item = queued.header("location").split_once("/queue").unwrap().1.to_owned();
    let number = it.admin.follow(&format!("/queue{item}"));
    it.admin.result("params", number);
    assert!(it.admin.console("params", number).contains("hello json false s"));
    it.unharmed();
}

#[test]
fn a_build_is_aborted_at_any_replica_and_its_processes_end() {
    let it = shared();
    it.admin.create_job("abort", "node { try { sh 'sleep 301 & sleep 301' } finally { echo 'cleaned up' } }");
    for replica in it.each_replica() {
        let number = it.admin.follow(&it.admin.trigger("abort", "build"));
        it.admin.console_has("abort", number, "+ sleep 301");
        replica.post(&format!("/job/abort/{number}/stop")).expect(302);
        assert_eq!(it.admin.result("abort", number), "ABORTED");
        let console = it.admin.console("abort", number);
        assert!(console.contains("Aborted by admin") && console.contains("cleaned up"), "{console}");
        assert!(console.ends_with("Finished: ABORTED\n"), "{console}");
        // once more does no harm
        replica.post(&format!("/job/abort/{number}/stop")).expect(302);
    }
    it.unharmed();
}

#[test]
fn archived_files_are_served_by_every_replica_and_a_large_one_whole() {
    let it = shared();
    let script = "node { sh '''mkdir -p out/sub; for i in $(seq 1 60); do echo $i > out/f$i.txt; done
                  echo \"a b\" > \"out/sub/a b#é.txt\"
                  dd if=/dev/zero bs=1M count=50 2>/dev/null | tr \"\\\\0\" x > big.bin; sha256sum big.bin'''
                  archiveArtifacts artifacts: 'out/**, big.bin' }";
    let (result, console) = it.admin.try_script("archive", script);
    assert_eq!(result, "SUCCESS", "{console}");
    let sum = console.lines().find_map(|l| l.strip_suffix("  big.bin")).unwrap();
    let shown = it.admin.json("/job/archive/1/api/json?tree=artifacts[relativePath,fileName]");
    assert_eq!(shown["artifacts"].as_array().unwrap().len(), 62);
    for replica in it.each_replica() {
        assert_eq!(replica.get("/job/archive/1/artifact/out/f7.txt").expect(200).text(), "7\n");
        let odd = "/job/archive/1/artifact/out/sub/a%20b%23%C3%A9.txt";
        assert_eq!(replica.get(odd).expect(200).text(), "a b\n");
    }
    let big = it.admin.get("/job/archive/lastSuccessfulBuild/artifact/big.bin").expect(200);
    assert_eq!(big.body.len(), 50 * 1024 * 1024);
    assert_eq!(hex(&<sha2::Sha256 as sha2::Digest>::digest(&big.body)), sum);
    let part = [("Range", "bytes=100-199")];
    let part = it.admin.send("GET", "/job/archive/1/artifact/big.bin", &part, b"");
    assert!(matches!((part.status, part.body.len()), (206, 100) | (200, 52_428_800)), "{}", part.status);
    for path in ["out/nothing", "..%2f..%2fmajordomo.db", "../../../../etc/passwd", "out/f7.txt%00"] {
        let status = it.admin.get(&format!("/job/archive/1/artifact/{path}")).status;
        assert!(matches!(status, 400 | 404), "{path}: {status}");
    }
    it.unharmed();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_stash_travels_from_one_agent_to_another() {
    let it = shared();
    let script =
        "node('agent-1') { sh 'mkdir -p d; echo secret > d/f; ln -s f d/link; chmod +x d/f; echo no > n.log'
                    stash name: 's', includes: '**', excludes: '**/*.log' }
                  node('agent-2') { deleteDir(); unstash 's'
                    sh 'cat d/f d/link; test -x d/f; test ! -e n.log; echo moved to $NODE_NAME' }
                  node { unstash 'nothing' }";
    let (result, console) = it.admin.try_script("stash", script);
    assert_eq!(result, "FAILURE", "{console}");
    assert!(console.contains("secret\nsecret\n"), "{console}");
    assert!(console.contains("moved to agent-2"), "{console}");
    assert!(console.contains("No such saved stash ‘nothing’"), "{console}");
    it.unharmed();
}

#[test]
fn a_build_waits_its_quiet_period_and_may_be_cancelled_meanwhile() {
    let it = shared();
    it.admin.create_job("patient", "echo 'x'");
    let item = it.admin.trigger("patient", "build?delay=600sec");
    let waiting = it.admin.json(&format!("{item}api/json"));
    assert_eq!(waiting["_class"], "hudson.model.Queue$WaitingItem", "{waiting}");
    assert!(waiting["why"].as_str().unwrap().contains("quiet period"), "{waiting}");
    assert_eq!(waiting["url"], format!("{}/", item.trim_matches('/')));
    assert_eq!(it.admin.json("/job/patient/api/json?tree=inQueue")["inQueue"], true);
    for replica in it.each_replica() {
        let queue = replica.json("/queue/api/json");
        assert!(queue["items"].as_array().unwrap().iter().any(|i| i["id"] == waiting["id"]), "{queue}");
        assert!(queue.get("discoverableItems").is_some());
    }
    // an equal item waits: there is one, and it comes sooner now
    assert_eq!(it.admin.trigger("patient", "build?delay=600sec"), item);
    let id = waiting["id"].as_i64().unwrap();
    it.admin.post(&format!("/queue/cancelItem?id={id}")).expect(204);
    let left = it.admin.json(&format!("{item}api/json"));
    assert_eq!(left["_class"], "hudson.model.Queue$LeftItem", "{left}");
    assert_eq!((&left["cancelled"], &left["why"]), (&true.into(), &Value::Null));
    it.admin.post(&format!("/queue/cancelItem?id={id}")).expect(404);
    assert_eq!(it.admin.json("/job/patient/api/json?tree=lastBuild")["lastBuild"], Value::Null);
    it.unharmed();
}

#[test]
fn builds_of_one_job_do_not_overlap_when_that_is_asked() {
    let it = shared();
    let script = "pipeline { agent any\n options { disableConcurrentBuilds()\n buildDiscarder(logRotator(numToKeepStr: '2')) }\n \
                  stages { stage('s') { steps { sh 'echo ${BUILD_NUMBER} begins; sleep 1; echo ${BUILD_NUMBER} ends' } } } }";
    it.admin.create_job("alone", script);
    // options of a Jenkinsfile are known once it has run
    it.admin.build("alone");
    let first = it.admin.follow(&it.admin.trigger("alone", "build"));
    let item = it.admin.trigger("alone", "build");
    let blocked = it.admin.json(&format!("{item}api/json"));
    if it.admin.json(&format!("/job/alone/{first}/api/json"))["building"] == true {
        assert!(blocked["why"].as_str().unwrap_or_default().contains("in progress"), "{blocked}");
    }
    let second = it.admin.follow(&item);
    let first_end = it.admin.json(&format!("/job/alone/{first}/api/json"));
    assert_eq!(first_end["building"], false, "{first_end}");
    assert_eq!(it.admin.result("alone", second), "SUCCESS");
    until("the oldest build to be discarded", || {
        (it.admin.get("/job/alone/1/api/json").status == 404).then_some(())
    });
    let left = it.admin.json("/job/alone/api/json?tree=builds[number],firstBuild[number],nextBuildNumber");
    assert_eq!(left["builds"].as_array().unwrap().len(), 2, "{left}");
    assert_eq!((&left["firstBuild"]["number"], &left["nextBuildNumber"]), (&2.into(), &4.into()));
    it.unharmed();
}

#[test]
fn a_jenkinsfile_comes_from_a_repository() {
    let it = shared();
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("repo");
    std::fs::create_dir(&repository).unwrap();
    let jenkinsfile = "pipeline { agent any\n stages { stage('s') { steps { sh 'cat data.txt; git log -1 --format=%s' } } } }";
    std::fs::write(repository.join("Jenkinsfile"), jenkinsfile).unwrap();
    std::fs::write(repository.join("data.txt"), "from the repository\n").unwrap();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"];
        crate::harness::run("git", &[&identity, arguments].concat(), &repository)
    };
    git(&["init", "--quiet"]);
    git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "the first change"]);
    let url = repository.display().to_string();
    it.admin.xml("/createItem?name=from-scm", &crate::harness::scm_xml(&url)).expect(200);
    let (_, result, console) = it.admin.build("from-scm");
    assert_eq!(result, "SUCCESS", "{console}");
    assert!(console.contains("from the repository\n") && console.contains("the first change"), "{console}");
    std::fs::write(repository.join("Jenkinsfile"), jenkinsfile.replace("cat data.txt", "echo new script"))
        .unwrap();
    git(&["commit", "--quiet", "-a", "-m", "the second change"]);
    let (_, result, console) = it.admin.build("from-scm");
    assert_eq!(result, "SUCCESS", "{console}");
    assert!(console.contains("new script\n") && console.contains("the second change"), "{console}");
    std::fs::remove_dir_all(&repository).unwrap();
    let (_, result, console) = it.admin.build("from-scm");
    assert_eq!(result, "FAILURE", "{console}");
    assert!(console.contains("ERROR") || console.contains("repo"), "{console}");
    it.unharmed();
}

#[test]
fn the_console_has_the_shape_that_jenkins_gives_it() {
    let it = shared();
    let script = "node { stage('a') { dir('d') { timeout(time: 1, unit: 'MINUTES') { echo 'x' } } } }\n\
                  parallel(p: { echo \"${currentBuild.getBuildCauses()[0].userId} ${currentBuild.previousBuild}\" })";
    it.admin.create_job("shape", script);
    let (_, result, console) = it.admin.build("shape");
    assert_eq!(result, "SUCCESS", "{console}");
    let place = |line: &&str| !line.starts_with("Running ");
    let lines: Vec<&str> =
        console.lines().skip_while(|l| !l.starts_with("[Pipeline]")).filter(place).collect();
    let wanted = [
        "[Pipeline] Start of Pipeline",
        "[Pipeline] node",
        "[Pipeline] {",
        "[Pipeline] stage",
        "[Pipeline] { (a)",
        "[Pipeline] dir",
        "[Pipeline] {",
        "[Pipeline] timeout",
        "Timeout set to expire in 1 min 0 sec",
        "[Pipeline] {",
        "[Pipeline] echo",
        "x",
        "[Pipeline] }",
        "[Pipeline] // timeout",
        "[Pipeline] }",
        "[Pipeline] // dir",
        "[Pipeline] }",
        "[Pipeline] // stage",
        "[Pipeline] }",
        "[Pipeline] // node",
        "[Pipeline] parallel",
        "[Pipeline] { (Branch: p)",
        "[Pipeline] echo",
        "admin null",
        "[Pipeline] }",
        "[Pipeline] // parallel",
        "[Pipeline] End of Pipeline",
        "Finished: SUCCESS",
    ];
    assert_eq!(lines, wanted, "{console}");
    it.unharmed();
}

#[test]
fn a_timeout_that_waits_for_silence_lets_a_talking_step_go_on() {
    let it = shared();
    let script = "node { timeout(time: 8, unit: 'SECONDS', activity: true) {\n\
                  sh 'for i in 1 2 3 4 5 6 7 8; do echo said $i; sleep 1.3; done'\n sh 'sleep 304' } }";
    it.admin.create_job("silence", script);
    let (_, result, console) = it.admin.build("silence");
    assert_eq!(result, "ABORTED", "{console}");
    assert!(console.contains("Timeout set to expire after 8 sec without activity\n"), "{console}");
    assert!(console.contains("\nsaid 8\n") && console.contains("+ sleep 304\n"), "{console}");
    assert!(console.contains("[Pipeline] }\n[Pipeline] // timeout\n"), "{console}");
    it.unharmed();
}

#[test]
fn timeouts_retries_and_posts_do_what_they_say() {
    let it = shared();
    let script = "pipeline {
      agent any
      stages {
        stage('flaky') {
          options { retry(3) }
          steps { sh 'echo try >> tries; test $(wc -l < tries) = 3' }
        }
        stage('never') {
          when { expression { false } }
          steps { echo 'must not be seen' }
        }
        stage('slow') {
          steps { script { try { timeout(time: 1, unit: 'SECONDS') { sh 'sleep 303' } } catch (e) { echo 'in time' } } }
        }
        stage('both') {
          failFast true
          parallel {
            stage('quick') { steps { sh 'sleep 0.3; exit 3' } }
            stage('long') {
              agent any
              steps { sh 'sleep 302' }
            }
          }
        }
        stage('after') { steps { echo 'must not be seen' } }
      }
      post {
        always { echo 'always' }
        failure { echo 'on failure' }
        success { echo 'must not be seen' }
        cleanup {
          deleteDir()
          echo 'at last'
        }
      }
    }";
    let (result, console) = it.admin.try_script("declarative", script);
    assert_eq!(result, "FAILURE", "{console}");
    for seen in
        ["Retrying", "in time", "always\n", "on failure\n", "at last\n", "script returned exit code 3"]
    {
        assert!(console.contains(seen), "{seen}: {console}");
    }
    assert!(!console.contains("must not be seen"), "{console}");
    let order = |text: &str| console.rfind(text).unwrap();
    assert!(order("always\n") < order("on failure\n") && order("on failure\n") < order("at last\n"));
    it.unharmed();
}

#[test]
fn an_error_in_a_jenkinsfile_names_its_line_and_column() {
    let it = shared();
    for (name, script, place) in [
        ("unclosed", "node {\n  echo 'a'\n", "line 3, column 1"),
        ("rubbish", "node {\n  echo ('a'\n  @@@ }\n", "line 3"),
        ("unknown-section", "pipeline {\n  agent any\n  stagez {\n  }\n}", "line 3, column 3"),
        ("unknown-step", "node {\n  frobnicate 'x'\n}", "WorkflowScript:2)"),
        ("no-such-name", "def a = 1\nif (a) {\n    echo b\n}", "WorkflowScript:3)"),
    ] {
        let (result, console) = it.admin.try_script(&format!("wrong-{name}"), script);
        assert_eq!(result, "FAILURE", "{console}");
        assert!(console.contains(place), "{name}: {console}");
        assert!(console.ends_with("Finished: FAILURE\n"), "{console}");
    }
    let config = job_xml("echo 'mended'");
    it.admin.xml("/job/wrong-rubbish/config.xml", &config).expect(200);
    assert_eq!(it.admin.build("wrong-rubbish").1, "SUCCESS");
    it.unharmed();
}

/// How `majordomo verify-log` ended, and what it said.
pub(crate) fn verify_log(home: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(BINARY);
    command.arg("verify-log").args(arguments).arg("--home").arg(home).env_remove("MAJORDOMO_AUTH");
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn a_log_is_verified_while_its_build_runs_and_afterwards() {
    use sha2::Digest;
    let it = shared();
    let script = "parallel(a: { node { sh 'for i in $(seq 1 60); do echo a $i; sleep 0.05; done' } }, \
                  b: { node { sh \"printf 'no \\\\377 UTF-8\\\\n'; sleep 2; echo b\" } })";
    let folder = "<com.cloudbees.hudson.plugins.folder.Folder/>";
    it.admin.xml("/createItem?name=checked", folder).expect(200);
    it.admin.xml("/job/checked/createItem?name=the%20log", &job_xml(script)).expect(200);
    let number = it.admin.follow(&it.admin.trigger("checked/job/the%20log", "build"));
    let mut running = 0;
    until("the build's end", || {
        let (status, said) = verify_log(&it.home, &["checked/the log", &number.to_string()]);
        assert_eq!(status, Some(0), "{said}");
        running += usize::from(said.contains(", runs") && said.contains("(as committed)"));
        said.contains(", SUCCESS").then_some(())
    });
    assert!(running > 0, "it was never seen running");
    let console = it.admin.get(&format!("/job/checked/job/the%20log/{number}/consoleText")).expect(200).body;
    let (status, said) = verify_log(&it.home, &["checked/the log", "lastSuccessfulBuild"]);
    assert_eq!(status, Some(0), "{said}");
    let sum: String = sha2::Sha256::digest(&console).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(said.contains(&format!("sha256   {sum}\n")), "{said}");
    assert!(said.contains(&format!("log      {} bytes in ", console.len())), "{said}");
    assert!(said.contains("steps    2 have printed") && said.contains("\nspools   "), "{said}");
    assert!(said.ends_with("defects  none\n"), "{said}");
    for replica in it.each_replica() {
        let path = format!("/job/checked/job/the%20log/{number}/verifyLog/api/json");
        assert_eq!(replica.json(&path)["sha256"], sum.as_str());
    }
    it.unharmed();
}

#[test]
fn what_can_not_be_verified_is_refused_with_a_sentence() {
    let it = shared();
    it.admin.create_job("unverified", "echo 'x'");
    it.admin.build("unverified");
    let credentials = |name: &str, text: &str| {
        let file = it.home.join("logs").join(name);
        std::fs::write(&file, text).unwrap();
        format!("@{}", file.display())
    };
    let (wrong, other) = (credentials("wrong", "admin:wrong\n"), credentials("other", "admin:x"));
    for (arguments, wanted) in [
        (&["unverified", "77"] as &[&str], "unverified has no build 77"),
        (&["nobody", "1"], "nobody has no build 1"),
        (&["../x", "1"], "the job \"../x\": "),
        (&["unverified", "1/2"], "say a build by its number"),
        (&["unverified", "1", "--auth", &wrong], "refuses this user and password"),
        (&["unverified", "1", "--auth", &other, "--url", "http://127.0.0.1:1/"], "nobody answers at"),
    ] {
        let (status, said) = verify_log(&it.home, arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
    it.anonymous().get("/job/unverified/1/verifyLog/api/json").expect(401);
    it.unharmed();
}
