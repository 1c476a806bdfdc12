//! What holds for all addresses: signing in, methods, headers, crumbs.

use super::*;

#[tokio::test]
async fn only_a_few_addresses_are_open() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let open =
        ["/login", "/healthz", "/readyz", "/static/main.css", "/favicon.ico", "/whoAmI/", "/whoAmI/api/json"];
    for path in open {
        assert_eq!(site.anon().get(path).await.status, 200, "{path}");
    }
    let closed = [
        "/",
        "/api/json",
        "/job/hello/config.xml",
        "/crumbIssuer/api/json",
        "/nothing",
        "/metrics",
        "/tcpSlaveAgentListener/",
    ];
    for path in closed {
        let answer = site.anon().get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"Jenkins\"");
        assert_eq!(answer.header("x-jenkins"), "2.479.1");
    }
    for wrong in ["Basic YWRtaW46d3Jvbmc=", "Basic !", "Basic YWRtaW4=", "Bearer x", "Basic", ""] {
        let answer = site.anon().with("authorization", wrong).get("/api/json").await;
        assert_eq!(answer.status, 401, "{wrong}");
    }
    assert_eq!(site.admin().get("/tcpSlaveAgentListener/").await.status, 404);
    assert_eq!(site.anon().post("/job/hello/doDelete").await.status, 401);
    assert_eq!(site.admin().get("/job/hello/").await.status, 200);
}

#[tokio::test]
async fn every_answer_carries_the_headers_of_jenkins() {
    let site = Site::new().await;
    for path in ["/", "/api/json", "/nothing", "/login", "/static/main.js", "/healthz"] {
        let secure = site.admin().with("x-forwarded-proto", "https").get(path).await;
        assert_eq!(secure.header("strict-transport-security"), "max-age=31536000", "{path}");
        assert_eq!(site.anon().get(path).await.header("x-frame-options"), "sameorigin");
        let answer = site.admin().get(path).await;
        assert_eq!(answer.header("strict-transport-security"), "");
        assert_eq!(answer.header("referrer-policy"), "same-origin");
        assert_eq!(answer.header("x-jenkins"), "2.479.1", "{path}");
        assert_eq!(answer.header("x-hudson"), "1.395");
        assert_eq!(answer.header("x-jenkins-session").len(), 8);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"));
        assert!(!answer.header("x-request-id").is_empty());
    }
    assert!(site.admin().get("/nothing").await.headers.get("x-error").is_none());
}

#[tokio::test]
async fn a_handler_that_panics_costs_one_answer() {
    let site = Site::new().await;
    site.nobody.asked.lock().push("panic".into());
    let answer = site.peer().get("/metrics").await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains(answer.header("x-request-id")), "{}", answer.text());
    assert!(!answer.text().contains("a test wants it"));
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    for path in
        ["/", "/api/json", "/job/hello/api/json", "/job/hello/config.xml", "/computer/api/json", "/nothing"]
    {
        let get = site.admin().get(path).await;
        let head = site.admin().send("HEAD", path, Body::empty()).await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path}");
    }
}

#[tokio::test]
async fn what_changes_something_refuses_get() {
    let site = Site::new().await;
    for path in [
        "/createItem?name=x",
        "/job/hello/doDelete",
        "/job/hello/build",
        "/job/hello/1/stop",
        "/computer/doCreateItem",
        "/computer/n/doDelete",
        "/queue/cancelItem?id=1",
    ] {
        let answer = site.admin().get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"), "{path}");
    }
    assert_eq!(site.admin().send("DELETE", "/job/hello/", Body::empty()).await.status, 405);
    assert_eq!(site.admin().send("OPTIONS", "/", Body::empty()).await.status, 405);
}

#[tokio::test]
async fn a_crumb_is_given_in_all_forms_and_bound_to_user_and_session() {
    let site = Site::new().await;
    let first = site.basic("admin", "right").get("/crumbIssuer/api/json").await;
    let cookie = first.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("JSESSIONID."), "{cookie}");
    let crumb = first.json()["crumb"].as_str().unwrap().to_owned();
    assert_eq!(first.json()["_class"], "hudson.security.csrf.DefaultCrumbIssuer");
    assert_eq!(first.json()["crumbRequestField"], "Jenkins-Crumb");
    let known = site.basic("admin", "right").with("cookie", &cookie);
    let again = known.get("/crumbIssuer/api/json").await;
    assert_eq!((again.json()["crumb"].as_str().unwrap(), again.header("set-cookie")), (crumb.as_str(), ""));
    let python = known.get("/crumbIssuer/api/python").await;
    assert!(python.text().contains(&format!("\"crumb\":\"{crumb}\"")));
    for (xpath, expected) in [
        ("concat(//crumbRequestField,%22:%22,//crumb)", format!("Jenkins-Crumb:{crumb}")),
        ("concat(//crumbRequestField,%27=%27,//crumb)", format!("Jenkins-Crumb={crumb}")),
        ("/*/crumb/text()", crumb.clone()),
        ("/*/crumbRequestField/text()", "Jenkins-Crumb".to_owned()),
    ] {
        let xml = known.get(&format!("/crumbIssuer/api/xml?xpath={xpath}")).await;
        assert_eq!(xml.text(), expected);
        assert_eq!(xml.header("content-type"), "text/plain;charset=UTF-8");
    }
    assert_eq!(known.get("/crumbIssuer/api/xml?xpath=//crumb/text()").await.status, 403);
    let other = site.basic("admin", "right").get("/crumbIssuer/api/json").await;
    assert_ne!(other.json()["crumb"], crumb.as_str());
    site.user("bob", false).await;
    let bob = site.basic("bob", "bob").with("cookie", &cookie).get("/crumbIssuer/api/json").await;
    assert_ne!(bob.json()["crumb"], crumb.as_str());
}

#[tokio::test]
async fn a_change_needs_a_crumb_unless_a_token_is_shown() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let first = site.basic("admin", "right").get("/crumbIssuer/api/json").await;
    let cookie = first.header("set-cookie").split(';').next().unwrap().to_owned();
    let crumb = first.json()["crumb"].as_str().unwrap().to_owned();
    let client = site.basic("admin", "right").with("cookie", &cookie);
    assert_eq!(client.post("/job/hello/build").await.status, 403);
    assert_eq!(client.clone().with("jenkins-crumb", "0000").post("/job/hello/build").await.status, 403);
    let without = site.basic("admin", "right").with("jenkins-crumb", &crumb);
    let refused = without.post("/job/hello/build").await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("No valid crumb was included in the request"), "{}", refused.text());
    assert!(site.store.queue().await.unwrap().is_empty());
    assert_eq!(client.clone().with("jenkins-crumb", &crumb).post("/job/hello/build").await.status, 201);
    assert_eq!(client.form("/job/hello/build", &format!("Jenkins-Crumb={crumb}")).await.status, 201);
    assert_eq!(client.post(&format!("/job/hello/build?Jenkins-Crumb={crumb}")).await.status, 201);
    let evil = site.admin().with("origin", "https://evil.example").with("sec-fetch-site", "cross-site");
    assert_eq!(evil.post("/job/hello/build").await.status, 201, "no browser sends a token by itself");
    let foreign = client.with("origin", "https://evil.example");
    assert_eq!(foreign.post("/job/hello/build").await.status, 403);
}

#[tokio::test]
async fn formats_and_people() {
    let site = Site::new().await;
    let admin = site.admin();
    let pretty = admin.get("/whoAmI/api/json?pretty=true").await;
    assert!(pretty.text().starts_with("{\n  \"_class\" : \"hudson.security.WhoAmI\","), "{}", pretty.text());
    assert_eq!(pretty.json()["name"], "admin");
    let me = admin.json("/me/api/json").await;
    assert_eq!(
        (me["id"].as_str(), me["absoluteUrl"].as_str()),
        (Some("admin"), Some("http://ci:8080/user/admin"))
    );
    let python = admin.get("/api/python?tree=useCrumbs,description").await;
    assert_eq!(python.text(), r#"{"_class":"hudson.model.Hudson","description":None,"useCrumbs":True}"#);
    assert_eq!(python.header("content-type"), "text/x-python;charset=UTF-8");
    assert_eq!(admin.get("/api/json?jsonp=x").await.status, 403);
    assert_eq!(admin.get("/api/xml?xpath=//nothing").await.status, 404);
    assert_eq!(admin.get("/api/xml?xpath=//nothing&wrapper=w").await.text(), "<w/>");
    assert_eq!(admin.get("/api/xml?xpath=//url&wrapper=1").await.status, 400);
    let proxied = admin.with("x-forwarded-proto", "https").with("x-forwarded-host", "ci.example");
    assert_eq!(proxied.json("/api/json?tree=url").await["url"], "https://ci.example/");
}

#[tokio::test]
async fn a_replica_that_starts_is_alive_but_not_ready() {
    let site = Site::new().await;
    *site.nobody.state.lock() = ReplicaState::Starting;
    assert_eq!(site.anon().get("/healthz").await.status, 200);
    let ready = site.anon().get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.text().as_str()), (503, "starting: it is starting\n"));
    let early = site.admin().get("/api/json").await;
    assert_eq!(early.status, 503);
    assert!(early.headers.contains_key("retry-after"));
    *site.nobody.state.lock() = ReplicaState::Draining;
    assert_eq!(site.anon().get("/readyz").await.status, 503);
    assert_eq!(site.admin().get("/api/json").await.status, 200);
}

#[tokio::test]
async fn a_drain_may_have_a_limit_and_rubbish_is_refused() {
    let site = Site::new().await;
    for (body, asked) in [
        ("", "drain"),
        ("{}", "drain"),
        (r#"{"later":1,"within":null}"#, "drain"),
        (r#"{"within":0}"#, "drain within 0 s"),
        (r#"{"wait":false,"within":900}"#, "begin drain within 900 s"),
        // what is longer than a day is a day
        (r#"{"wait":false,"within":18446744073709551615}"#, "begin drain within 86400 s"),
    ] {
        assert_eq!(site.peer().send("POST", "/admin/drain", body).await.status, 200, "{body}");
        assert_eq!(site.nobody.asked.lock().pop().as_deref(), Some(asked), "{body}");
    }
    for body in [
        "now",
        "[]",
        r#"{"wait":"no"}"#,
        r#"{"within":-1}"#,
        r#"{"within":1.5}"#,
        r#"{"within":"5m"}"#,
        r#"{"within":18446744073709551616}"#,
    ] {
        let refused = site.peer().send("POST", "/admin/drain", body).await;
        assert_eq!(refused.status, 400, "{body}");
        assert!(
            refused.header("x-error").contains("\"within\":SECONDS"),
            "{body}: {}",
            refused.header("x-error")
        );
    }
    assert!(site.nobody.asked.lock().is_empty());
}

#[tokio::test]
async fn only_the_controllers_own_token_opens_the_admin_addresses() {
    let site = Site::new().await;
    assert_eq!(site.anon().post("/admin/drain").await.status, 401);
    assert_eq!(site.admin().post("/admin/drain").await.status, 401);
    assert_eq!(site.anon().with("authorization", "Bearer x").post("/admin/stop").await.status, 403);
    assert_eq!(site.peer().get("/admin/stop").await.status, 405);
    assert!(site.nobody.asked.lock().is_empty());
    *site.nobody.state.lock() = ReplicaState::Starting;
    assert_eq!(site.peer().post("/admin/drain").await.json()["state"], "starting");
    assert_eq!(site.peer().post("/admin/stop").await.status, 200);
    let lapsed = site.peer().send("POST", "/admin/lapsed", r#"{"name":"acme-1","incarnation":7}"#).await;
    assert_eq!(lapsed.json()["lapsed"], true);
    assert_eq!(site.peer().send("POST", "/admin/lapsed", "{}").await.status, 400);
    assert_eq!(*site.nobody.asked.lock(), ["drain", "stop", "lapsed acme-1#7"]);
}

#[tokio::test]
async fn clients_that_look_for_plugins_find_none() {
    let site = Site::new().await;
    let empty = r#"{"_class":"hudson.LocalPluginManager","plugins":[]}"#;
    for path in ["/pluginManager/api/json?depth=2", "/pluginManager/api/python?depth=1"] {
        assert_eq!(site.admin().get(path).await.text(), empty, "{path}");
    }
    assert_eq!(site.admin().get("/pluginManager/").await.status, 200);
}
