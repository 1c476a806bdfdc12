//! From the trigger through the queue to the log.

use model::BuildResult;
use serde_json::json;
use store::Effect;

use super::*;

fn finished(result: BuildResult) -> Vec<Effect> {
    vec![Effect::Finish { result, at: Millis(7_500), archive: false }]
}

#[tokio::test]
async fn a_build_is_followed_from_the_queue_to_its_end() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let admin = site.admin();
    let queued = admin.post("/job/hello/build?delay=0sec").await;
    assert_eq!(queued.status, 201);
    assert_eq!(queued.header("location"), "http://ci:8080/queue/item/1/");
    let item = admin.json("/queue/item/1/api/json").await;
    assert_eq!(item["_class"], "hudson.model.Queue$BuildableItem");
    assert_eq!(item["task"]["name"], "hello");
    assert_eq!(item["url"], "queue/item/1/");
    assert!(item["why"].is_string());
    assert_eq!(admin.json("/queue/api/json").await["items"][0]["id"], 1);
    let waiting = admin.json("/job/hello/api/json?tree=inQueue,queueItem[id]").await;
    assert_eq!((waiting["inQueue"].as_bool(), waiting["queueItem"]["id"].as_i64()), (Some(true), Some(1)));

    let taken = site.take().await;
    let left = admin.json("/queue/item/1/api/json?depth=1").await;
    assert_eq!(left["_class"], "hudson.model.Queue$LeftItem");
    assert_eq!(left["why"], json!(null));
    assert_eq!(left["cancelled"], false);
    assert_eq!(left["executable"]["number"], 1);
    assert_eq!(left["executable"]["url"], "http://ci:8080/job/hello/1/");
    assert_eq!(admin.json("/queue/api/json").await["items"], json!([]));

    site.progress(&taken, 0, "one\n", vec![]).await;
    let running = admin.json("/job/hello/lastBuild/api/json").await;
    assert_eq!((running["building"].as_bool(), &running["result"]), (Some(true), &json!(null)));
    assert_eq!(running["queueId"], 1);
    assert_eq!(admin.json("/job/hello/api/json?tree=color").await["color"], "notbuilt_anime");

    site.progress(&taken, 1, "two\n", finished(BuildResult::Success)).await;
    let done = admin.json("/job/hello/1/api/json").await;
    assert_eq!(done["result"], "SUCCESS");
    assert_eq!((done["timestamp"].as_i64(), done["duration"].as_i64()), (Some(5_000), Some(2_500)));
    assert_eq!(done["actions"][0]["_class"], "hudson.model.CauseAction");
    assert_eq!(done["actions"][0]["causes"][0]["userId"], "admin");
    assert_eq!(done["actions"][0]["causes"][0]["shortDescription"], "Started by user The Admin");
    let job = admin.json("/job/hello/api/json").await;
    for link in ["lastBuild", "lastStableBuild", "lastSuccessfulBuild", "lastCompletedBuild", "firstBuild"] {
        assert_eq!(job[link]["number"], 1, "{link}");
    }
    assert_eq!(job["lastFailedBuild"], json!(null));
    assert_eq!(job["color"], "blue");
    assert_eq!(admin.get("/job/hello/lastStableBuild/buildNumber").await.text(), "1");
    assert_eq!(admin.get("/job/hello/lastFailedBuild/api/json").await.status, 404);
    assert_eq!(admin.get("/job/hello/1/").await.status, 200);
}

#[tokio::test]
async fn a_log_is_read_by_offset() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let admin = site.admin();
    admin.post("/job/hello/build").await;
    let taken = site.take().await;
    let empty = admin.get("/job/hello/1/logText/progressiveText?start=0").await;
    assert_eq!((empty.header("x-text-size"), empty.header("x-more-data")), ("0", "true"));
    site.progress(&taken, 0, "one\ntwo\n", vec![]).await;
    let first = admin.get("/job/hello/1/logText/progressiveText/?start=0").await;
    assert_eq!(first.text(), "one\r\ntwo\r\n");
    assert_eq!((first.header("x-text-size"), first.header("x-more-data")), ("8", "true"));
    site.progress(&taken, 1, "<3>", finished(BuildResult::Success)).await;
    let next = admin.form("/job/hello/1/logText/progressiveText/api/json", "start=8").await;
    assert_eq!((next.text().as_str(), next.header("x-text-size")), ("<3>", "11"));
    assert!(next.headers.get("x-more-data").is_none());
    let beyond = admin.get("/job/hello/1/logText/progressiveText?start=999").await;
    assert_eq!(beyond.text(), "one\r\ntwo\r\n<3>");
    assert_eq!(admin.get("/job/hello/1/logText/progressiveText?start=x").await.status, 400);
    assert_eq!(admin.get("/job/hello/1/logText/progressiveHtml?start=8").await.text(), "&lt;3&gt;");
    let whole = admin.get("/job/hello/1/consoleText").await;
    assert_eq!(whole.text(), "one\ntwo\n<3>");
    assert_eq!(whole.header("content-type"), "text/plain;charset=utf-8");
    let head = admin.send("HEAD", "/job/hello/1/consoleText", Body::empty()).await;
    assert_eq!((head.body.len(), head.header("content-length")), (0, "11"));
    let head = admin.send("HEAD", "/job/hello/1/logText/progressiveText?start=0", Body::empty()).await;
    assert_eq!((head.body.len(), head.header("x-text-size")), (0, "11"));
    assert!(head.headers.get("content-length").is_none());
    assert!(admin.get("/job/hello/1/console").await.text().contains("/job/hello/1/logText/progressiveText"));
}

const TRIGGERED: &str = "<flow-definition><authToken>tok</authToken></flow-definition>";

#[tokio::test]
async fn a_right_token_has_a_job_built_without_a_user_and_a_wrong_one_nobody() {
    let site = Site::new().await;
    site.create("", "t", TRIGGERED).await;
    site.create("", "hello", PIPELINE).await;
    let (anon, admin) = (site.anon(), site.admin());
    let queued = anon.get("/job/t/build?token=tok&cause=by%0Ahook").await;
    assert_eq!((queued.status.as_u16(), queued.header("location")), (201, "http://ci:8080/queue/item/1/"));
    let item = admin.json("/queue/item/1/api/json").await;
    let cause = &item["actions"][0]["causes"][0];
    assert_eq!(cause["_class"], "hudson.model.Cause$RemoteCause");
    assert_eq!(cause["shortDescription"], "Started by remote host 127.0.0.1 with note: by hook");
    // of what a proxy says, the client is named, and not the proxy
    site.create("", "u", TRIGGERED).await;
    let client = site.anon().with("x-forwarded-for", "198.51.100.1, 192.0.2.7");
    assert_eq!(client.get("/job/u/build?token=tok").await.status, 201);
    let item = admin.json("/queue/item/2/api/json").await;
    let cause = &item["actions"][0]["causes"][0];
    assert_eq!(cause["shortDescription"], "Started by remote host 192.0.2.7");
    // POST needs no crumb, and who has signed in is not named by a token
    assert_eq!(anon.send("POST", "/job/t/build?token=tok", Body::empty()).await.status, 201);
    assert_eq!(admin.get("/job/t/build?token=tok&cause=x").await.status, 201);
    for (path, status) in [
        ("/job/t/build?token=Tok", 403),
        ("/job/t/build", 401),
        ("/job/hello/build?token=tok", 403),
        ("/job/none/build?token=tok", 403),
        ("/job/t/config.xml?token=tok", 401),
        ("/job/t/1/stop?token=tok", 401),
    ] {
        assert_eq!(anon.get(path).await.status, status, "{path}");
    }
    assert_eq!(admin.get("/job/t/build").await.status, 405);
    assert_eq!(admin.post("/job/t/build?token=wrong").await.status, 403);
    assert_eq!(admin.form("/job/t/build", "token=wrong").await.status, 403);
    assert_eq!(admin.post("/job/hello/build?token=any").await.status, 201);
    assert_eq!(admin.post("/job/t/build").await.status, 201);
}

#[tokio::test]
async fn guesses_of_a_job_s_token_are_refused_where_they_come_from() {
    let site = Site::new().await;
    site.create("", "t", TRIGGERED).await;
    site.create("", "u", TRIGGERED).await;
    let shown = async |from, path: &str| site.anon().with("x-forwarded-for", from).get(path).await;
    for job in ["t", "none"] {
        let wrong = format!("/job/{job}/build?token=wrong");
        for _ in 0..10 {
            assert_eq!(shown("192.0.2.7", &wrong).await.status, 403);
        }
        let refused = shown("192.0.2.7", &wrong).await;
        assert_eq!(refused.status, 429, "{job}: whether there is one or not");
        let wait = refused.header("retry-after").parse::<u64>().unwrap();
        assert!((1..=15).contains(&wait), "{wait}");
    }
    assert_eq!(shown("192.0.2.7", "/job/t/build?token=tok").await.status, 429);
    assert_eq!(shown("192.0.2.8", "/job/t/build?token=tok").await.status, 201);
    assert_eq!(shown("192.0.2.7", "/job/u/build?token=tok").await.status, 201);
}

#[tokio::test]
async fn a_long_log_is_streamed_whole() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    site.admin().post("/job/hello/build").await;
    let taken = site.take().await;
    let line = "0123456789abcdef\n".repeat(20_000);
    for seq in 0..4 {
        site.progress(&taken, seq, &line, vec![]).await;
    }
    let whole = site.admin().get("/job/hello/1/consoleText").await;
    assert_eq!(whole.body.len(), line.len() * 4);
    assert!(whole.text() == line.repeat(4));
}

#[tokio::test]
async fn parameters_are_taken_checked_and_passwords_never_shown() {
    let site = Site::new().await;
    site.create("", "p", PARAMETERIZED).await;
    let admin = site.admin();
    let job = admin.json("/job/p/api/json").await;
    let definitions = &job["property"][0]["parameterDefinitions"];
    assert_eq!(
        definitions[0],
        json!({"_class": "hudson.model.StringParameterDefinition",
            "defaultParameterValue": {"_class": "hudson.model.StringParameterValue", "name": "A", "value": "x"},
            "description": "an a", "name": "A", "type": "StringParameterDefinition"})
    );
    assert_eq!(definitions[2]["choices"], json!(["one", "two"]));
    assert_eq!(
        admin.post("/job/p/build").await.header("x-error"),
        "Nothing is submitted; this job has parameters"
    );
    let bad = admin.post("/job/p/buildWithParameters?C=three").await;
    assert_eq!((bad.status.as_u16(), bad.header("x-error")), (400, "Illegal choice for parameter C: three"));

    let first =
        admin.form("/job/p/buildWithParameters?A=from+query", "A=no&B=false&P=hidden&Z=dropped").await;
    assert_eq!((first.status.as_u16(), first.header("location")), (201, "http://ci:8080/queue/item/1/"));
    let same = admin.form("/job/p/buildWithParameters", "A=from query&B=false&P=hidden").await;
    assert_eq!((same.status.as_u16(), same.header("location")), (303, "http://ci:8080/queue/item/1/"));
    let item = admin.json("/queue/item/1/api/json").await;
    assert_eq!(item["params"], "\nA=from query\nB=false\nC=one\nP='****'");
    site.take().await;
    let build = admin.get("/job/p/1/api/json").await;
    assert!(!build.text().contains("hidden"));
    assert_eq!(build.json()["actions"][0]["_class"], "hudson.model.ParametersAction");
    let values = &build.json()["actions"][0]["parameters"];
    assert_eq!(
        values[1],
        json!({"_class": "hudson.model.BooleanParameterValue", "name": "B", "value": false})
    );
    assert_eq!(values[3], json!({"_class": "hudson.model.PasswordParameterValue", "name": "P"}));

    let json = r#"json={"parameter":[{"name":"A","value":"j"}],"statusCode":"303","redirectTo":"."}"#;
    assert_eq!(admin.form("/job/p/build", json).await.status, 201);
    assert_eq!(admin.json("/queue/item/2/api/json").await["params"], "\nA=j\nB=true\nC=one\nP='****'");
    let multipart = "--q\r\nContent-Disposition: form-data; name=\"A\"\r\n\r\nm\r\n--q--\r\n";
    let sent = admin.clone().with("content-type", "multipart/form-data; boundary=q");
    assert_eq!(sent.send("POST", "/job/p/buildWithParameters", multipart).await.status, 201);
    assert_eq!(admin.json("/queue/item/3/api/json").await["params"], "\nA=m\nB=true\nC=one\nP='****'");
    site.create("", "plain", PIPELINE).await;
    assert_eq!(admin.post("/job/plain/buildWithParameters?A=1").await.status, 400);
}

#[tokio::test]
async fn parameters_of_the_jenkinsfile_count_like_those_of_the_configuration() {
    let site = Site::new().await;
    let script = "pipeline { agent none\n parameters { string(name: 'A', defaultValue: 'x')\n \
                  password(name: 'P', defaultValue: 'hidden') }\n stages { stage('s') { steps { echo 'x' } } } }";
    let xml = PIPELINE.replace("echo 1", script);
    site.create("", "p", &xml).await;
    let admin = site.admin();
    let queued = admin.form("/job/p/buildWithParameters", "A=1&P=hidden").await;
    assert_eq!(queued.status, 201, "{}", queued.text());
    assert_eq!(admin.json("/queue/item/1/api/json").await["params"], "\nA=1\nP='****'");
    for path in ["/job/p/api/json?depth=2", "/queue/api/json?depth=5"] {
        assert!(!admin.get(path).await.text().contains("hidden"), "{path}");
    }
}

#[tokio::test]
async fn a_queued_item_is_cancelled_once() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let admin = site.admin();
    admin.post("/job/hello/build?delay=60sec").await;
    let item = admin.json("/queue/item/1/api/json").await;
    assert_eq!(item["_class"], "hudson.model.Queue$WaitingItem");
    assert_eq!(admin.form("/queue/cancelItem", "id=1").await.status, 204);
    let left = admin.json("/queue/item/1/api/json").await;
    assert_eq!((left["cancelled"].as_bool(), &left["executable"]), (Some(true), &json!(null)));
    assert_eq!(admin.post("/queue/cancelItem?id=1").await.status, 404);
    assert_eq!(admin.post("/queue/cancelItem?id=x").await.status, 400);
    assert_eq!(admin.post("/queue/item/77/cancelQueue").await.status, 404);
    assert_eq!(admin.get("/queue/item/77/api/json").await.status, 404);
}

#[tokio::test]
async fn a_running_build_is_stopped_and_a_finished_one_deleted() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let admin = site.admin();
    admin.post("/job/hello/build").await;
    let taken = site.take().await;
    assert_eq!(admin.post("/job/hello/1/doDelete").await.status, 409);
    let stop = admin.post("/job/hello/1/stop/api/json").await;
    assert_eq!((stop.status.as_u16(), stop.header("location")), (302, "http://ci:8080/job/hello/1/"));
    assert_eq!(site.store.inbox(taken.build).await.unwrap().len(), 1);
    assert_eq!(admin.post("/job/hello/1/kill").await.status, 200);
    assert_eq!(site.store.inbox(taken.build).await.unwrap().len(), 2);
    assert_eq!(admin.post("/job/hello/1/term").await.status, 200);
    site.progress(&taken, 0, "", finished(BuildResult::Aborted)).await;
    assert_eq!(admin.post("/job/hello/1/stop").await.status, 302);
    assert_eq!(admin.post("/job/hello/1/toggleLogKeep").await.status, 302);
    assert_eq!(admin.json("/job/hello/1/api/json?tree=keepLog").await["keepLog"], true);
    assert_eq!(admin.post("/job/hello/1/doDelete").await.status, 409);
    admin.post("/job/hello/1/toggleLogKeep").await;
    assert_eq!(admin.post("/job/hello/1/doDelete").await.status, 302);
    assert_eq!(admin.get("/job/hello/1/api/json").await.status, 404);
    assert_eq!(admin.post("/job/hello/1/stop").await.status, 404);
}

#[tokio::test]
async fn artifacts_are_listed_and_served() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    site.admin().post("/job/hello/build").await;
    let taken = site.take().await;
    let content = "<script>alert(1)</script>".repeat(20_000);
    site.objects.put("a/1", Bytes::from(content.clone())).await.unwrap();
    let artifact =
        |path: &str| Effect::Artifact { path: path.into(), size: content.len() as u64, object: "a/1".into() };
    site.progress(&taken, 0, "", vec![artifact("out/a b.html"), artifact("z.txt")]).await;
    let admin = site.admin();
    let shown = admin.json("/job/hello/1/api/json?tree=artifacts[relativePath,fileName]").await;
    assert_eq!(shown["artifacts"][0], json!({"fileName": "a b.html", "relativePath": "out/a b.html"}));
    let file = admin.get("/job/hello/1/artifact/out/a%20b.html").await;
    assert_eq!(file.text(), content);
    assert_eq!(file.header("content-length"), content.len().to_string());
    assert!(file.header("content-security-policy").starts_with("sandbox"));
    assert!(admin.get("/job/hello/1/artifact/out/").await.text().contains("out/a%20b.html"));
    assert!(admin.get("/job/hello/1/artifact/").await.text().contains("z.txt"));
    assert_eq!(admin.get("/job/hello/1/artifact/nothing").await.status, 404);
    assert_eq!(admin.get("/job/hello/1/artifact/../../x").await.status, 404);
    assert!(admin.get("/job/hello/1/artifact/").await.text().contains("artifact/*zip*/archive.zip"));
    assert_eq!(admin.get("/job/hello/1/artifact/*fingerprint*/").await.status, 501);
}

#[tokio::test]
async fn artifacts_come_as_one_zip() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    site.admin().post("/job/hello/build").await;
    let taken = site.take().await;
    let admin = site.admin();
    assert_eq!(admin.get("/job/hello/1/artifact/*zip*/archive.zip").await.status, 404);
    let large: Vec<u8> =
        (0..1_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    site.objects.put("a/large", Bytes::from(large.clone())).await.unwrap();
    site.objects.put("a/small", Bytes::from_static(b"small")).await.unwrap();
    site.objects.put("a/empty", Bytes::new()).await.unwrap();
    let artifact = |path: &str, size: usize, object: &str| Effect::Artifact {
        path: path.into(),
        size: size as u64,
        object: object.into(),
    };
    let mut files = vec![
        artifact("out/é large.bin", large.len(), "a/large"),
        artifact("out/sub/empty", 0, "a/empty"),
        artifact("out-of-it", 5, "a/small"),
    ];
    // more than one page of the index
    files.extend((0..700).map(|n| artifact(&format!("out/many/{n:04}"), 5, "a/small")));
    site.progress(&taken, 0, "", files).await;
    let names = |body: &Bytes| {
        let zip = zip::ZipArchive::new(std::io::Cursor::new(body.clone())).unwrap();
        let mut names: Vec<String> = zip.file_names().map(|n| n.unwrap().into_owned()).collect();
        names.sort();
        names
    };
    let answer = admin.get("/job/hello/lastBuild/artifact/*zip*/archive.zip").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/zip"));
    let all = names(&answer.body);
    assert_eq!((all.len(), all[0].as_str()), (703, "archive/out-of-it"));
    let answer = admin.get("/job/hello/1/artifact/out/*zip*/out.zip/").await;
    assert_eq!(names(&answer.body).len(), 702);
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(answer.body)).unwrap();
    for (name, content) in
        [("out/é large.bin", large.as_slice()), ("out/sub/empty", b""), ("out/many/0699", b"small")]
    {
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut zip.by_name(name).unwrap(), &mut read).unwrap();
        assert!(read == content, "{name}");
    }
    assert_eq!(names(&admin.get("/job/hello/1/artifact/out/sub/*zip*/sub.zip").await.body), ["sub/empty"]);
    assert_eq!(admin.get("/job/hello/1/artifact/nothing/*zip*/nothing.zip").await.status, 404);
    let head = admin.send("HEAD", "/job/hello/1/artifact/*zip*/archive.zip", Body::empty()).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert!(head.headers.get("content-length").is_none());
}

#[tokio::test]
async fn builds_know_their_neighbours_and_depth_opens_them() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let admin = site.admin();
    for result in [BuildResult::Success, BuildResult::Failure, BuildResult::Unstable] {
        admin.post("/job/hello/build").await;
        let taken = site.take().await;
        site.progress(&taken, 0, "", finished(result)).await;
    }
    let middle = admin.json("/job/hello/2/api/json").await;
    assert_eq!(middle["previousBuild"], json!({"number": 1, "url": "http://ci:8080/job/hello/1/"}));
    assert_eq!(middle["nextBuild"]["number"], 3);
    assert_eq!(middle["estimatedDuration"], 2_500);
    let job = admin.json("/job/hello/api/json").await;
    assert_eq!(job["color"], "yellow");
    for (link, number) in [("lastFailedBuild", 2), ("lastStableBuild", 1), ("lastUnsuccessfulBuild", 3)] {
        assert_eq!(job[link]["number"], number, "{link}");
    }
    assert_eq!(
        job["builds"][0],
        json!({"_class": "org.jenkinsci.plugins.workflow.job.WorkflowRun",
        "number": 3, "url": "http://ci:8080/job/hello/3/"})
    );
    let deep = admin.json("/job/hello/api/json?depth=1").await;
    assert_eq!(deep["builds"][1]["result"], "FAILURE");
    let one = admin.json("/job/hello/api/json?tree=builds[number]%7B0,1%7D,allBuilds[number]").await;
    assert_eq!((one["builds"].as_array().unwrap().len(), one["allBuilds"].as_array().unwrap().len()), (1, 3));
    let xml = admin.get("/job/hello/api/xml?tree=builds[number]").await;
    let class = "org.jenkinsci.plugins.workflow.job.WorkflowRun";
    assert!(
        xml.text()
            .starts_with("<workflowJob _class='org.jenkinsci.plugins.workflow.job.WorkflowJob'><build ")
    );
    assert!(xml.text().contains(&format!("<build _class='{class}'><number>3</number></build>")));
    // as Spinnaker's igor asks
    let path = "/job/hello/api/xml?tree=name,builds[number],property[x]&exclude=/*/build[number=3]&exclude=/*/property[not(parameterDefinition)]";
    let xml = admin.get(path).await.text();
    assert!(xml.contains("<number>2</number>") && !xml.contains("<number>3</number>"), "{xml}");
    let bad = admin.get("/job/hello/api/xml?exclude=//a&exclude=sum(b)").await;
    assert_eq!(bad.status, 400);
    assert!(bad.header("x-error").starts_with("exclude number 2 is not understood"));
}

#[tokio::test]
async fn a_step_that_waits_for_an_executor_stands_in_the_queue_and_is_cancelled_there() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let admin = site.admin();
    assert_eq!(admin.json("/queue/api/json").await["items"], json!([]));
    admin.post("/job/hello/build").await;
    let taken = site.take().await;
    let wait =
        store::Effect::WaitNode { step: "0".into(), label: Some("mac".into()), since: model::Millis(5) };
    site.progress(&taken, 0, "", vec![wait]).await;
    let items = admin.json("/queue/api/json").await["items"].clone();
    let item = &items[0];
    assert_eq!(items.as_array().unwrap().len(), 1);
    assert_eq!(item["_class"], "hudson.model.Queue$BuildableItem");
    let class = "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask";
    assert_eq!((&item["task"]["_class"], &item["task"]["name"]), (&json!(class), &json!("part of hello #1")));
    assert_eq!(
        (&item["why"], &item["stuck"]),
        (&json!("There are no nodes with the label ‘mac’"), &json!(true))
    );
    let id = item["id"].as_i64().unwrap();
    assert_eq!(admin.json(&format!("/queue/item/{id}/api/json")).await["inQueueSince"], 5);
    assert_eq!(admin.get(&format!("/queue/item/{}/api/json", id + 1)).await.status, 404);
    assert_eq!(admin.post(&format!("/queue/cancelItem?id={id}")).await.status, 204);
    assert_eq!(site.store.inbox(taken.build).await.unwrap().len(), 1, "its build is asked to stop");
}

#[tokio::test]
async fn a_password_stays_one_when_its_parameter_becomes_something_else() {
    let site = Site::new().await;
    let job = |kind: &str| {
        let definition = format!("<hudson.model.{kind}><name>P</name></hudson.model.{kind}>");
        let list = format!("<parameterDefinitions>{definition}</parameterDefinitions>");
        let property = format!(
            "<hudson.model.ParametersDefinitionProperty>{list}</hudson.model.ParametersDefinitionProperty>"
        );
        PIPELINE
            .replace("<properties/>", "")
            .replace("<definition", &format!("<properties>{property}</properties><definition"))
    };
    site.create("", "p", &job("PasswordParameterDefinition")).await;
    let admin = site.admin();
    assert_eq!(admin.form("/job/p/buildWithParameters", "P=hush").await.status, 201);
    assert_eq!(admin.xml("/job/p/config.xml", &job("StringParameterDefinition")).await.status, 200);
    assert_eq!(admin.json("/queue/item/1/api/json").await["params"], "\nP='****'");
    site.take().await;
    let build = admin.json("/job/p/1/api/json?tree=actions[parameters[name,value]]").await;
    let parameter = json!({"_class": "hudson.model.PasswordParameterValue", "name": "P"});
    assert_eq!(build["actions"][0]["parameters"], json!([parameter]));
}

#[tokio::test]
async fn a_build_that_a_page_asks_for_leads_back_to_the_page() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let browser = site.admin().with("sec-fetch-mode", "navigate").with("sec-fetch-site", "same-origin");
    let answer = browser.post("/job/hello/build").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "http://ci:8080/job/hello/"));
    // over plain HTTP, a browser on another machine sends no such headers
    let far = site.admin().with("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    assert_eq!(far.clone().with("origin", "http://ci:8080").post("/job/hello/build").await.status, 303);
    // neither alone is a browser: this is what Java sends of itself
    assert_eq!(far.post("/job/hello/build").await.status, 201);
    let script = site.admin().with("origin", "http://ci:8080").with("accept", "*/*");
    assert_eq!(script.post("/job/hello/build").await.status, 201);
}

#[tokio::test]
async fn what_can_not_be_built_says_so_before_it_asks_for_parameters() {
    let site = Site::new().await;
    let disabled = PIPELINE.replace("<definition", "<disabled>true</disabled><definition");
    site.create("", "off", &disabled).await;
    let admin = site.admin();
    assert_eq!(admin.post("/job/off/build").await.status, 409);
    assert_eq!(admin.post("/job/off/buildWithParameters?A=1").await.status, 409);
    let folder = "<com.cloudbees.hudson.plugins.folder.Folder/>";
    site.create("", "folder", folder).await;
    assert_eq!(admin.post("/job/folder/build").await.status, 404);
    assert_eq!(admin.xml("/createItem?name=%ff", PIPELINE).await.status, 400);
}

#[tokio::test]
async fn a_parameterised_job_is_built_from_its_page() {
    let site = Site::new().await;
    let text = "<hudson.model.TextParameterDefinition><name>T</name></hudson.model.TextParameterDefinition></parameterDefinitions>";
    site.create("", "p", &PARAMETERIZED.replace("</parameterDefinitions>", text)).await;
    let browser = site.admin().with("sec-fetch-mode", "navigate").with("sec-fetch-site", "same-origin");
    let page = browser.get("/job/p/").await.text();
    assert!(page.contains("action=\"/job/p/buildWithParameters\"") && page.contains("name=\"C\""), "{page}");
    assert!(!page.contains("secret") && !page.contains("Queued"), "{page}");
    // as a browser sends it: nothing ticked, no password typed
    let form = "A=x%26&B=false&C=two&P=&T=a%0D%0Ab";
    let answer = browser.form("/job/p/buildWithParameters", form).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "http://ci:8080/job/p/"));
    let queued = site.store.queue().await.unwrap().remove(0);
    let value = |name: &str| queued.params[name].to_string();
    assert_eq!(["A", "B", "C", "P", "T"].map(value), ["x&", "false", "two", "secret", "a\nb"]);
    let page = browser.get("/job/p/").await.text();
    assert!(page.contains("Queued") && page.contains("/queue/item/1/cancelQueue"), "{page}");
    assert!(page.contains(" UTC</time>"), "{page}");
    let cancelled = browser.post("/queue/item/1/cancelQueue").await;
    assert_eq!((cancelled.status.as_u16(), cancelled.header("location")), (303, "http://ci:8080/queue/"));
    // what scripts send is taken as it is
    site.admin().form("/job/p/buildWithParameters", "P=&T=a%0D%0Ab").await;
    let queued = site.store.queue().await.unwrap().remove(0);
    assert_eq!(
        (queued.params["P"].to_string(), queued.params["T"].to_string()),
        (String::new(), "a\r\nb".to_owned())
    );
}
