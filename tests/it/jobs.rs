//! Jobs and folders: created, configured, shown, disabled, deleted.

use crate::harness::{Client, job_xml, shared, until};

#[test]
fn a_user_signs_in_with_the_first_password_and_nobody_else_does() {
    let it = shared();
    let me = it.admin.json("/whoAmI/api/json");
    assert_eq!((&me["name"], &me["authenticated"]), (&"admin".into(), &true.into()));
    it.anonymous().get("/login").expect(200);
    it.anonymous().get("/healthz").expect(200);
    it.anonymous().get("/readyz").expect(200);
    let nobody = it.anonymous().get("/api/json").expect(401);
    assert!(nobody.header("www-authenticate").starts_with("Basic"));
    let wrong = Client::user(it.admin.address, "admin", "wrong").get("/api/json").expect(401);
    assert!(!wrong.text().contains("jobs"));
    let page = it.admin.get("/").expect(200);
    Client::user(it.admin.address, "admin", &it.password()).get("/api/json").expect(200);
    assert!(page.header("x-jenkins").starts_with("2."), "{:?}", page.headers);
    it.unharmed();
}

#[test]
fn a_crumb_of_one_replica_is_good_at_every_other() {
    let it = shared();
    let admin = Client::user(it.admin.address, "admin", &it.password());
    let crumb = admin.get("/crumbIssuer/api/json").expect(200);
    let cookie = crumb.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("JSESSIONID"), "{cookie}");
    let crumb: serde_json::Value = serde_json::from_slice(&crumb.body).unwrap();
    let (field, value) = (crumb["crumbRequestField"].as_str().unwrap(), crumb["crumb"].as_str().unwrap());
    it.admin.create_job("crumbs", "echo 'x'");
    for replica in it.each_replica() {
        let headers = [(field, value), ("Cookie", cookie.as_str())];
        let replica = admin.at(replica.address);
        replica.send("POST", "/job/crumbs/disable", &headers, b"").expect(302);
        replica.post("/job/crumbs/disable").expect(403);
    }
    it.unharmed();
}

#[test]
fn a_configuration_comes_back_byte_for_byte() {
    let it = shared();
    let xml = "<?xml version='1.1' encoding='UTF-8'?>\r\n<!-- kept -->\n<flow-definition plugin=\"workflow-job@1.2\">\
               <actions/>\n  <description>Zwölf &amp; &lt;b&gt; &#233;</description><unknown.Plugin a='1'><x/></unknown.Plugin>\n  \
               <definition class=\"org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition\"><script><![CDATA[echo '<&>']]></script>\
               <sandbox>true</sandbox></definition></flow-definition>\n";
    it.admin.xml("/createItem?name=round-trip", xml).expect(200);
    let got = it.admin.get("/job/round-trip/config.xml").expect(200);
    assert_eq!(got.text(), xml);
    assert!(got.header("content-type").starts_with("application/xml"), "{:?}", got.headers);
    let other = xml.replace("Zwölf", "Elf");
    it.admin.xml("/job/round-trip/config.xml", &other).expect(200);
    for replica in it.each_replica() {
        assert_eq!(replica.get("/job/round-trip/config.xml").expect(200).text(), other);
        let shown = replica.json("/job/round-trip/api/json?tree=description");
        assert_eq!(shown["description"], "Elf & <b> é");
    }
    let (_, result, console) = it.admin.build("round-trip");
    assert_eq!(result, "SUCCESS", "{console}");
    assert!(console.contains("\n<&>\n"), "{console}");
    it.unharmed();
}

#[test]
fn folders_hold_jobs_and_go_with_all_that_is_in_them() {
    let it = shared();
    let folder = "<com.cloudbees.hudson.plugins.folder.Folder plugin=\"cloudbees-folder@6\"/>";
    it.admin.xml("/createItem?name=team", folder).expect(200);
    it.admin.xml("/job/team/createItem?name=in%20side", folder).expect(200);
    it.admin
        .xml("/job/team/job/in%20side/createItem?name=deep", &job_xml("echo 'from the deep'"))
        .expect(200);
    let shown = it.admin.json("/job/team/api/json?tree=_class,fullName,jobs[name,url,jobs[fullName,color]]");
    assert_eq!(shown["_class"], "com.cloudbees.hudson.plugins.folder.Folder");
    let inner = &shown["jobs"][0];
    assert_eq!(inner["url"], format!("http://{}/job/team/job/in%20side/", it.admin.address));
    assert_eq!(inner["jobs"][0]["fullName"], "team/in side/deep");
    assert_eq!(inner["jobs"][0]["color"], "notbuilt");
    let queued = it.admin.post("/job/team/job/in%20side/job/deep/build").expect(201);
    let item = queued.header("location").split_once("/queue").unwrap().1.to_owned();
    let number = it.admin.follow(&format!("/queue{item}"));
    assert_eq!(number, 1);
    until("the build in the folder", || {
        let build = it.admin.json("/job/team/job/in%20side/job/deep/1/api/json");
        (build["result"] == "SUCCESS")
            .then(|| assert_eq!(build["fullDisplayName"], "team » in side » deep #1"))
    });
    let again = it.admin.xml("/createItem?name=TEAM", folder).expect(400);
    assert!(again.header("x-error").contains("already exists"), "{}", again.header("x-error"));
    it.admin.post("/job/team/doDelete").expect(302);
    for replica in it.each_replica() {
        replica.get("/job/team/job/in%20side/job/deep/api/json").expect(404);
        replica.get("/job/team/").expect(404);
    }
    it.admin.xml("/createItem?name=TEAM", folder).expect(200);
    it.unharmed();
}

#[test]
fn a_disabled_job_is_not_built_until_it_is_enabled() {
    let it = shared();
    it.admin.create_job("switch", "echo 'on'");
    it.admin.post("/job/switch/disable").expect(302);
    let shown = it.admin.json("/job/switch/api/json?tree=color,buildable,disabled");
    assert_eq!((&shown["color"], &shown["buildable"]), (&"disabled".into(), &false.into()));
    assert!(it.admin.get("/job/switch/config.xml").text().contains("<disabled>true</disabled>"));
    it.admin.post("/job/switch/build").expect(409);
    it.admin.get("/job/switch/build").expect(405);
    it.admin.post("/job/switch/enable").expect(302);
    let (number, result, _) = it.admin.build("switch");
    assert_eq!((number, result.as_str()), (1, "SUCCESS"));
    it.unharmed();
}

#[test]
fn a_job_may_be_deleted_while_it_runs() {
    let it = shared();
    it.admin.create_job("doomed", "node { sh 'echo begun; sleep 300' }");
    let number = it.admin.follow(&it.admin.trigger("doomed", "build"));
    it.admin.console_has("doomed", number, "begun\n");
    it.admin.post("/job/doomed/doDelete").expect(302);
    it.admin.get("/job/doomed/api/json").expect(404);
    it.admin.get(&format!("/job/doomed/{number}/consoleText")).expect(404);
    until("its executor to be free", || {
        let nodes = it.admin.json("/computer/api/json?tree=computer[executors[currentExecutable[url]]]");
        (!nodes.to_string().contains("doomed")).then_some(())
    });
    until("its process to end", || {
        let agents = it.home.join("agents");
        let sleeping = |pid: &str| {
            let at = std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at.starts_with(&agents));
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            at && command.starts_with(b"sleep\x00300\x00")
        };
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        (!processes.into_iter().any(|p| sleeping(&p.file_name().to_string_lossy()))).then_some(())
    });
    // the name is free again, and its history begins anew
    let (result, console) = it.admin.try_script("doomed", "echo 'again'");
    assert_eq!(result, "SUCCESS", "{console}");
    it.unharmed();
}

#[test]
fn a_job_may_be_renamed_while_it_runs() {
    let it = shared();
    let folder = "<com.cloudbees.hudson.plugins.folder.Folder plugin=\"cloudbees-folder@6\"/>";
    it.admin.xml("/createItem?name=before", folder).expect(200);
    let go = it.home.join("go");
    let script = format!(
        "node {{ sh 'echo begun; until [ -e {0} ]; do sleep 0.1; done' }}\nnode {{ sh \"echo in $JOB_NAME\" }}",
        go.display()
    );
    it.admin.xml("/job/before/createItem?name=app", &job_xml(&script)).expect(200);
    let queued = it.admin.post("/job/before/job/app/build").expect(201);
    let item = queued.header("location").split_once("/queue").unwrap().1.to_owned();
    let number = it.admin.follow(&format!("/queue{item}"));
    it.admin.console_has("before/job/app", number, "begun\n");
    let answer = it.admin.post("/job/before/confirmRename?newName=after").expect(302);
    assert_eq!(answer.header("location"), format!("http://{}/job/after/", it.admin.address));
    let answer = it.admin.post("/job/after/job/app/doRename?newName=web").expect(302);
    assert_eq!(answer.header("location"), format!("http://{}/job/after/job/web/", it.admin.address));
    for replica in it.each_replica() {
        replica.get("/job/before/job/app/api/json").expect(404);
        assert_eq!(replica.json(&format!("/job/after/job/web/{number}/api/json"))["building"], true);
    }
    std::fs::write(&go, "").unwrap();
    until("the build to end under its new name", || {
        let build = it.admin.json(&format!("/job/after/job/web/{number}/api/json"));
        (build["result"] == "SUCCESS").then(|| assert_eq!(build["fullDisplayName"], "after » web #1"))
    });
    // what the build was told when it began stays, and the next one is told the new name
    it.admin.console_has("after/job/web", number, "in before/app\n");
    let queued = it.admin.post("/job/after/job/web/build").expect(201);
    let item = queued.header("location").split_once("/queue").unwrap().1.to_owned();
    let number = it.admin.follow(&format!("/queue{item}"));
    it.admin.console_has("after/job/web", number, "in after/web\n");
    it.unharmed();
}

#[test]
fn what_waits_in_the_queue_is_built_under_the_new_name() {
    let it = shared();
    it.admin.create_job("waits", "echo \"I am ${env.JOB_NAME}\"");
    let item = it.admin.trigger("waits", "build?delay=2sec");
    it.admin.post("/job/waits/confirmRename?newName=waited").expect(302);
    let waiting = it.admin.json(&format!("{item}api/json?tree=task[name]"));
    assert_eq!(waiting["task"]["name"], "waited");
    let number = it.admin.follow(&item);
    it.admin.console_has("waited", number, "I am waited\n");
    it.unharmed();
}

#[test]
fn tree_and_depth_choose_what_is_shown() {
    let it = shared();
    it.admin.create_job("shown", "echo 'x'");
    it.admin.build("shown");
    let tree =
        it.admin.json("/job/shown/api/json?tree=name,builds[number,result,actions[causes[userId]]]{0,1}");
    assert_eq!(tree["builds"][0]["number"], 1);
    assert_eq!(tree["builds"][0]["result"], "SUCCESS");
    assert!(tree["builds"][0].to_string().contains("\"userId\":\"admin\""), "{tree}");
    assert!(tree.get("url").is_none());
    let flat = it.admin.json("/job/shown/api/json");
    assert!(flat["builds"][0].get("result").is_none());
    assert_eq!(flat["lastBuild"]["number"], 1);
    let deep = it.admin.json("/job/shown/api/json?depth=1");
    assert_eq!(deep["builds"][0]["result"], "SUCCESS");
    it.admin.json("/job/shown/api/json?depth=999");
    let python = it.admin.get("/job/shown/api/python?tree=name,inQueue").expect(200).text();
    assert!(python.contains("\"inQueue\":False"), "{python}");
    let xml = it.admin.get("/job/shown/api/xml?tree=name").expect(200).text();
    assert!(xml.contains("<name>shown</name>"), "{xml}");
    it.unharmed();
}
