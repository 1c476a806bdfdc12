//! Nodes and replicas.

use serde_json::json;

use super::*;

const NODE: &str = "/computer/doCreateItem?name=n1&type=hudson.slaves.DumbSlave%24DescriptorImpl&json=\
    %7B%22numExecutors%22%3A%222%22%2C%22remoteFS%22%3A%22%2Fw%22%2C%22labelString%22%3A%22linux+big%22%2C%22mode%22%3A%22NORMAL%22%7D";

async fn link(site: &Site) {
    let up = Write::LinkUp {
        node: model::NodeName::parse("n1").unwrap(),
        holder: site.me.clone(),
        instance: "i".into(),
        info: r#"{"version":"1","instance":"i","pid":1,"hostname":"h","os":"linux","arch":"amd64","unix":true,"workDir":"/w","env":{}}"#.into(),
        at: Millis(1),
    };
    site.store.write(up).await.unwrap();
}

#[tokio::test]
async fn a_node_is_created_and_shows_whether_its_agent_is_there() {
    let site = Site::new().await;
    let admin = site.admin();
    let made = admin.form(NODE, "json=garbage").await;
    assert_eq!((made.status.as_u16(), made.header("location")), (302, "http://ci:8080/computer/"));
    let again = admin.post(NODE).await;
    assert_eq!(again.status, 400);
    assert!(again.header("x-error").contains("n1"), "{}", again.header("x-error"));
    let node = admin.json("/computer/n1/api/json").await;
    assert_eq!(node["_class"], "hudson.slaves.SlaveComputer");
    assert_eq!((node["offline"].as_bool(), node["numExecutors"].as_i64()), (Some(true), Some(2)));
    let labels: Vec<_> =
        node["assignedLabels"].as_array().unwrap().iter().map(|l| l["name"].clone()).collect();
    assert!(labels.contains(&json!("linux")) && labels.contains(&json!("n1")), "{labels:?}");
    link(&site).await;
    let node = admin.json("/computer/n1/api/json?depth=1").await;
    assert_eq!((node["offline"].as_bool(), node["idle"].as_bool()), (Some(false), Some(true)));
    assert_eq!(node["monitorData"]["hudson.node_monitors.ArchitectureMonitor"], "linux (amd64)");
    assert_eq!(node["executors"].as_array().unwrap().len(), 2);
    assert_eq!(node["executors"][0]["currentExecutable"], json!(null));
    let all = admin.json("/computer/api/json").await;
    assert_eq!(all["computer"][0]["displayName"], "Built-In Node");
    assert_eq!(all["computer"][1]["displayName"], "n1");
    assert_eq!((all["totalExecutors"].as_i64(), all["busyExecutors"].as_i64()), (Some(2), Some(0)));
    for name in ["(built-in)", "(master)", "built-in", "Built-In%20Node"] {
        let node = admin.json(&format!("/computer/{name}/api/json")).await;
        assert_eq!(node["_class"], "hudson.model.Hudson$MasterComputer");
        assert_eq!(node["assignedLabels"], json!([{"name": "built-in"}]));
        assert_eq!(admin.get(&format!("/computer/{name}/")).await.status, 200);
    }
    let refused = admin.post("/computer/(built-in)/toggleOffline?offlineMessage=x").await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("can&#39;t be taken offline"), "{}", refused.text());
    assert_eq!(admin.get("/computer/n1/").await.status, 200);
    assert_eq!(admin.get("/computer/nobody/api/json").await.status, 404);
}

#[tokio::test]
async fn a_node_is_taken_offline_configured_and_deleted() {
    let site = Site::new().await;
    let admin = site.admin();
    admin.post(NODE).await;
    assert_eq!(admin.get("/computer/n1/toggleOffline").await.status, 405);
    assert_eq!(admin.post("/computer/n1/toggleOffline?offlineMessage=broken+disk").await.status, 302);
    let node = admin.json("/computer/n1/api/json").await;
    assert_eq!(
        (node["temporarilyOffline"].as_bool(), &node["offlineCauseReason"]),
        (Some(true), &json!("broken disk"))
    );
    assert_eq!(node["offlineCause"]["_class"], "hudson.slaves.OfflineCause$UserCause");
    admin.post("/computer/n1/toggleOffline").await;
    assert_eq!(admin.json("/computer/n1/api/json").await["temporarilyOffline"], false);
    let xml = admin.get("/computer/n1/config.xml").await.text();
    assert!(xml.contains("<numExecutors>2</numExecutors>"), "{xml}");
    let more = xml.replace("<numExecutors>2<", "<numExecutors>5<");
    assert_eq!(admin.xml("/computer/n1/config.xml", &more).await.status, 200);
    assert_eq!(admin.json("/computer/n1/api/json").await["numExecutors"], 5);
    assert!(admin.xml("/computer/n1/config.xml", "<slave>").await.status == 400);
    let gone = admin.post("/computer/n1/doDelete").await;
    assert_eq!((gone.status.as_u16(), gone.header("location")), (302, "http://ci:8080/computer/"));
    assert_eq!(admin.get("/computer/n1/config.xml").await.status, 404);
}

#[tokio::test]
async fn the_secret_of_an_agent_is_for_administrators() {
    let site = Site::new().await;
    site.admin().post(NODE).await;
    let jnlp = site.admin().get("/computer/n1/slave-agent.jnlp").await;
    assert_eq!(jnlp.header("content-type"), "application/x-java-jnlp-file");
    let secret = site.keys.agent_secret("n1");
    assert_eq!(
        jnlp.text(),
        format!(
            "<jnlp><application-desc><argument>{secret}</argument><argument>n1</argument><argument>-webSocket</argument>\
             <argument>-workDir</argument><argument>/w</argument><argument>-url</argument>\
             <argument>http://ci:8080/</argument></application-desc></jnlp>"
        )
    );
    assert_eq!(site.anon().get("/computer/n1/jenkins-agent.jnlp").await.status, 401);
    assert_eq!(site.anon().get("/computer/n1/jenkins-agent.jnlp?encrypt=false").await.status, 401);
}

#[tokio::test]
async fn an_agent_that_signs_in_as_nobody_gets_its_command_line_as_only_it_can_read_it() {
    let site = Site::new().await;
    site.admin().post(NODE).await;
    let open = site.admin().get("/computer/n1/jenkins-agent.jnlp").await.text();
    let sealed = site.anon().get("/computer/n1/jenkins-agent.jnlp?encrypt=true").await;
    assert_eq!(sealed.status, 200);
    assert_eq!(sealed.header("content-type"), "application/octet-stream");
    let iv = sealed.body.first_chunk().copied().unwrap();
    assert_eq!(sealed.body, site.keys.seal_for_agent("n1", iv, &open));
    let again = site.anon().get("/computer/n1/slave-agent.jnlp?encrypt=true").await;
    assert_ne!(again.body, sealed.body, "never under the same random bytes");
    assert_eq!(site.anon().get("/computer/n2/jenkins-agent.jnlp?encrypt=true").await.status, 404);
    assert_eq!(site.anon().post("/computer/n1/jenkins-agent.jnlp?encrypt=true").await.status, 405);
}

#[tokio::test]
async fn replicas_are_shown_exactly_so() {
    let site = Site::new().await;
    site.admin().post(NODE).await;
    link(&site).await;
    site.create("", "hello", PIPELINE).await;
    site.admin().post("/job/hello/build").await;
    site.take().await;
    let take =
        Write::AcquireLease { lease: "startup".into(), me: site.me.clone(), seen: None, at: Millis(9) };
    site.store.write(take).await.unwrap();
    let shown = site.admin().get("/replicas/api/json").await.text();
    let fence = model::Fence::first(1).to_i64();
    assert_eq!(
        shown,
        format!(
            "{{\"replicas\":[{{\"name\":\"acme-0\",\"ordinal\":0,\"incarnation\":1,\"pid\":42,\"address\":\"10.0.0.1:1\",\
             \"state\":\"ready\",\"since\":2000,\"revision\":\"r1\",\"version\":\"0.1.0\",\"level\":1,\
             \"builds\":[{{\"job\":\"hello\",\"number\":1}}],\"agents\":[\"n1\"]}}],\"level\":1,\
             \"startupLock\":{{\"holder\":\"acme-0\",\"fence\":{fence},\"since\":9}},\"failovers\":[],\
             \"rollout\":null,\"restart\":{{\"number\":0,\"when\":\"immediately\",\"by\":\"\",\"withdrawn\":false}}}}"
        )
    );
    assert_eq!(site.anon().get("/replicas/api/json").await.status, 401);
    let token = site.user("ann", false).await;
    let seen = site.basic("ann", &token).json("/replicas/api/json").await["replicas"][0].clone();
    assert!(seen["state"] == "ready" && seen.get("pid").is_none() && seen.get("address").is_none(), "{seen}");
    let flyweight = "/computer/api/json?tree=computer[oneOffExecutors[currentExecutable[number,url]]]";
    let built_in = site.admin().json(flyweight).await["computer"][0].clone();
    assert_eq!(built_in["oneOffExecutors"][0]["currentExecutable"]["url"], "http://ci:8080/job/hello/1/");
}

#[tokio::test]
async fn a_restart_is_asked_for_by_administrators_and_reported_by_whoever_does_it() {
    let site = Site::new().await;
    let token = site.user("ann", false).await;
    for path in [
        "/safeRestart",
        "/restart",
        "/replicas/reload",
        "/replicas/cancelRestart",
        "/replicas/acme-0/drain",
        "/quietDown",
        "/cancelQuietDown",
    ] {
        assert_eq!(site.basic("ann", &token).post(path).await.status, 403, "{path}");
        assert_eq!(site.admin().get(path).await.status, 405, "{path}");
    }
    assert_eq!(site.admin().post("/safeRestart").await.status, 302);
    let report =
        r#"{"phase":"rolling","revision":"2","reason":"why","restart":1,"failed":null,"message":"now"}"#;
    let asked = site.peer().send("POST", "/admin/rollout", report).await.json();
    assert_eq!(
        asked,
        serde_json::json!({"restart": 1, "when": "idle", "by": "admin", "reload": false, "withdrawn": false, "busy": 0,
            "known": 1})
    );
    assert_eq!(site.peer().send("POST", "/admin/rollout", "").await.json(), asked, "nothing new is reported");
    assert_eq!(site.peer().send("POST", "/admin/rollout", "{}").await.status, 400);
    assert_eq!(site.admin().send("POST", "/admin/rollout", "").await.status, 401);
    let shown = site.admin().json("/replicas/api/json?tree=rollout[*],restart[*]").await;
    assert_eq!(
        shown["restart"],
        serde_json::json!({"number": 1, "when": "idle", "by": "admin", "withdrawn": false})
    );
    let mut wanted = serde_json::from_str::<serde_json::Value>(report).unwrap();
    wanted["holder"] = serde_json::Value::Null;
    assert_eq!(shown["rollout"], wanted);
    assert_eq!(site.admin().post("/replicas/reload").await.status, 302);
    let asked = site.peer().send("POST", "/admin/rollout", "").await.json();
    assert_eq!((asked["restart"].as_i64(), asked["reload"].as_bool()), (Some(2), Some(true)));
    let take =
        Write::AcquireLease { lease: "rollout".into(), me: site.me.clone(), seen: None, at: Millis(9) };
    site.store.write(take).await.unwrap();
    let holder = site.admin().json("/replicas/api/json?tree=rollout[holder]").await;
    assert_eq!(holder["rollout"]["holder"], "acme-0");
}

#[tokio::test]
async fn a_restart_that_waits_is_withdrawn_and_one_that_has_begun_is_not() {
    let site = Site::new().await;
    let withdrawn = async || site.store.meta().await.unwrap().restart.withdrawn;
    let report = async |phase: &str| {
        let number = site.store.meta().await.unwrap().restart.number;
        let report = serde_json::json!({"phase": phase, "revision": "2", "reason": "why", "restart": number,
            "failed": null, "message": "now"});
        assert_eq!(site.peer().send("POST", "/admin/rollout", report.to_string()).await.status, 200);
    };
    let none = site.admin().post("/replicas/cancelRestart").await;
    assert_eq!(
        (none.status.as_u16(), none.header("x-error")),
        (409, "no restart waits; one that has begun goes on")
    );
    for path in ["/replicas/cancelRestart", "/cancelQuietDown"] {
        assert_eq!(site.admin().post("/safeRestart").await.status, 302);
        report("waiting").await;
        assert!(!withdrawn().await);
        assert_eq!(site.admin().post(path).await.status, 302, "{path}");
        assert!(withdrawn().await, "{path}");
    }
    assert_eq!(site.admin().post("/safeRestart").await.status, 302);
    report("rolling").await;
    assert_eq!(site.admin().post("/replicas/cancelRestart").await.status, 409);
    // Jenkins answers the same, whatever there was to cancel
    assert_eq!(site.admin().post("/cancelQuietDown").await.status, 302);
    assert!(!withdrawn().await);
    // one at once does not wait
    assert_eq!(site.admin().post("/restart").await.status, 302);
    assert_eq!(site.admin().post("/replicas/cancelRestart").await.status, 409);
}

#[tokio::test]
async fn any_replica_is_asked_to_hand_over_by_its_name() {
    let site = Site::new().await;
    let last = site.admin().post("/replicas/acme-0/drain").await;
    assert_eq!(last.status, 409);
    assert!(last.header("x-error").starts_with("no other replica is ready"), "{}", last.header("x-error"));
    assert_eq!(site.admin().post("/replicas/acme-0/drain?force=true").await.status, 302);
    assert_eq!(site.nobody.asked.lock().as_slice(), ["drain acme-0#1 at 10.0.0.1:1"]);
    let unknown = site.admin().post("/replicas/acme-9/drain").await;
    assert_eq!(unknown.status, 400);
    assert_eq!(unknown.headers["x-error"], "there is no replica acme-9; there are acme-0");
    let begin = site.peer().send("POST", "/admin/drain", r#"{"wait":false}"#).await;
    assert_eq!(begin.status, 200);
    assert_eq!(site.nobody.asked.lock().last().map(String::as_str), Some("begin drain"));
}

#[tokio::test]
async fn a_quiet_period_has_the_reason_that_was_given() {
    let site = Site::new().await;
    let seen = async || {
        let root = site.admin().json("/api/json?tree=quietingDown,quietDownReason").await;
        (root["quietingDown"].as_bool().unwrap(), root["quietDownReason"].as_str().map(str::to_owned))
    };
    assert_eq!(seen().await, (false, None));
    assert_eq!(site.admin().post("/quietDown").await.status, 302);
    assert_eq!(seen().await, (true, Some("admin has asked for it".to_owned())));
    // as newer clients say it
    assert_eq!(site.admin().post("/quietDown?reason=&message=%20upgrade+").await.status, 302);
    assert_eq!(seen().await, (true, Some("upgrade".to_owned())));
    assert_eq!(site.admin().post("/quietDown?reason=new+disk").await.status, 302);
    assert_eq!(seen().await, (true, Some("new disk".to_owned())));
    let long = format!("/quietDown?reason={}", "x".repeat(1_001));
    assert_eq!(site.admin().post(&long).await.status, 400);
    assert_eq!(site.admin().post("/cancelQuietDown").await.status, 302);
    assert_eq!(seen().await, (false, None));
    // as the Java client sends them
    assert_eq!(site.admin().post("/quietDown//api/json").await.status, 302);
    assert!(seen().await.0);
    assert_eq!(site.admin().post("/cancelQuietDown/api/json").await.status, 302);
    assert!(!seen().await.0);
}

#[tokio::test]
async fn in_a_quiet_period_the_queue_and_the_pages_say_why_nothing_begins() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let admin = site.admin();
    assert_eq!(admin.post("/job/hello/build").await.status, 201);
    let item = async || admin.json("/queue/item/1/api/json").await;
    assert_eq!(item().await["why"], "Waiting for a replica to take it");
    assert_eq!(admin.post("/quietDown?reason=new+%3Cdisk%3E").await.status, 302);
    let waits = item().await;
    assert_eq!(waits["why"], "No build begins in the quiet period: new <disk>");
    assert_eq!(
        (&waits["_class"], &waits["buildable"]),
        (&"hudson.model.Queue$BuildableItem".into(), &true.into())
    );
    let banner = "<aside><p>No build begins in the quiet period: new &lt;disk&gt;</p>";
    let token = site.user("ann", false).await;
    for path in ["/", "/job/hello/", "/queue/", "/computer/", "/people/"] {
        let page = admin.get(path).await.text();
        assert!(page.contains(banner) && page.contains("action=\"/cancelQuietDown\""), "{path}: {page}");
        let page = site.basic("ann", &token).get(path).await.text();
        assert!(page.contains(banner) && !page.contains("cancelQuietDown"), "{path}: {page}");
    }
    assert!(!site.anon().get("/whoAmI/").await.text().contains("disk"));
    assert_eq!(admin.post("/cancelQuietDown").await.status, 302);
    assert!(!admin.get("/").await.text().contains("<aside>"));
    assert_eq!(item().await["why"], "Waiting for a replica to take it");
}

#[tokio::test]
async fn who_begins_a_quiet_period_may_wait_until_no_build_runs() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let admin = site.admin();
    let status = async |query: &str| admin.post(&format!("/quietDown?{query}")).await.status;
    assert_eq!(status("block=true").await, 302, "none runs");
    assert_eq!(admin.post("/cancelQuietDown").await.status, 302);
    assert_eq!(admin.post("/job/hello/build").await.status, 201);
    let taken = site.take().await;
    assert_eq!(status("block=true&timeout=soon").await, 400);
    assert_eq!(site.store.meta().await.unwrap().quiet, None, "nothing was done");
    assert_eq!(status("timeout=60000").await, 302, "who does not block does not wait");
    assert_eq!(status("block=true&timeout=1").await, 302);
    // a replica that is about to go does not wait to the end
    *site.nobody.state.lock() = ReplicaState::Draining;
    let later = admin.post("/quietDown?block=true").await;
    assert_eq!((later.status.as_u16(), later.header("retry-after")), (503, "2"));
    assert!(later.header("x-error").contains("one build still runs"), "{}", later.header("x-error"));
    *site.nobody.state.lock() = ReplicaState::Ready;
    let ends = async {
        while site.store.meta().await.unwrap().quiet.as_deref() != Some("last") {
            tokio::task::yield_now().await;
        }
        let result = model::BuildResult::Success;
        let finish = store::Effect::Finish { result, at: Millis(8_000), archive: false };
        site.progress(&taken, 0, "", vec![finish]).await;
    };
    let (waited, ()) = tokio::join!(status("block=true&reason=last"), ends);
    assert_eq!(waited, 302);
    assert!(site.store.running(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_person_who_comes_to_the_address_of_a_restart_is_asked_once_more() {
    let site = Site::new().await;
    let cookie = site.browse("admin", "right").await;
    let browser = site.anon().with("cookie", &cookie).with("accept", "text/html,*/*;q=0.8");
    let meta = async || site.store.meta().await.unwrap();
    for path in ["/restart", "/safeRestart", "/quietDown", "/cancelQuietDown"] {
        let before = meta().await;
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        let text = page.text();
        let form = format!("<form class=\"parameters\" method=\"post\" action=\"{path}\">");
        assert!(text.contains(&form) && text.contains("No build runs now."), "{path}: {text}");
        assert_eq!(meta().await, before, "nothing is done yet");
        let crumb =
            text.split("name=\"Jenkins-Crumb\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let crumb = crumb.unwrap_or_else(|| panic!("no crumb: {text}"));
        assert_eq!(browser.form(path, "").await.status, 403, "{path}");
        let sent = browser.form(path, &format!("Jenkins-Crumb={crumb}&reason=new+disk")).await;
        assert_eq!(sent.status, 302, "{path}: {}", sent.text());
        assert_ne!(meta().await, before, "{path}");
        // who wants no page, or is no administrator, is refused as ever
        assert_eq!(site.admin().get(path).await.status, 405, "{path}");
        assert_eq!(site.admin().with("accept", "application/json").get(path).await.status, 405, "{path}");
    }
    let token = site.user("ann", false).await;
    assert_eq!(site.basic("ann", &token).with("accept", "text/html").get("/restart").await.status, 403);
    let anon = site.anon().with("accept", "text/html").get("/restart").await;
    assert_eq!(
        (anon.status.as_u16(), anon.header("location")),
        (302, "http://ci:8080/login?from=%2Frestart")
    );
    assert_eq!(browser.get("/replicas/reload").await.status, 405, "this one has no page");
}
