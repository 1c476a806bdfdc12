//! Who sees which metrics, and under which names.

use meter::{Document, Format};

use super::*;

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
}

#[tokio::test]
async fn metrics_are_for_who_shows_their_token_and_for_administrators() {
    let site = Site::new().await;
    let bearer = |token: &str| site.anon().with("authorization", &format!("Bearer {token}"));
    let token = site.keys.metrics_token();
    site.user("ann", false).await;
    let ann = site.basic("ann", "ann");
    for path in ["/metrics", "/metrics?scope=controller", "/prometheus/", "/metrics/currentUser/metrics"] {
        for client in [bearer(token.expose()), site.peer(), site.admin(), site.basic("admin", "right")] {
            // a key in the path is asked for instead of a bearer
            if path != "/metrics/currentUser/metrics" || client.get("/whoAmI/api/json").await.status == 200 {
                assert_eq!(client.get(path).await.status, 200, "{path}");
            }
        }
        let refused = site.anon().get(path).await;
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.text().contains("HOME/metrics-token"), "{}", refused.text());
        assert_eq!(ann.get(path).await.status, 403, "{path}");
    }
    for wrong in ["", "x", &token.expose()[1..]] {
        let refused = bearer(wrong).get("/metrics").await;
        assert_eq!(refused.status, 403, "{wrong}");
        assert!(refused.text().contains("not the token of the metrics"), "{}", refused.text());
        assert_eq!(site.anon().get(&format!("/metrics/{wrong}k/ping")).await.status, 403, "{wrong}");
    }
    assert_eq!(site.admin().post("/metrics").await.status, 405);
    assert_eq!(bearer(token.expose()).get("/api/json").await.status, 401, "it opens nothing else");
}

#[tokio::test]
async fn a_replica_says_what_it_has_counted_and_one_of_them_what_all_have() {
    let site = Site::new().await;
    let own = site.peer().get("/metrics").await;
    assert_eq!(own.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(own.header("cache-control"), "no-cache, no-store, must-revalidate");
    has(&own.text(), "# TYPE majordomo_builds_ended_total counter");
    has(&own.text(), "majordomo_builds_ended_total{replica=\"acme-0\",result=\"success\"} 3");
    assert!(!own.text().contains("acme-1") && !own.text().contains("majordomo_nodes"));
    let open = site.peer().with("accept", "application/openmetrics-text;version=1.0.0");
    let open = open.get("/metrics?scope=replica").await;
    assert_eq!(open.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    has(&open.text(), "# TYPE majordomo_builds_ended counter");
    assert!(open.text().ends_with("# EOF\n"));
    let all = site.peer().get("/metrics?scope=controller").await.text();
    for line in [
        "majordomo_builds_ended_total{replica=\"acme-0\",result=\"success\"} 3",
        "majordomo_builds_ended_total{replica=\"acme-1\",result=\"success\"} 3",
        "majordomo_replica_scraped{replica=\"acme-1\"} 1",
        "majordomo_replica_scraped{replica=\"acme-2\"} 0",
        "majordomo_replica_state{replica=\"acme-0\",state=\"ready\"} 1",
        "majordomo_queue_items{state=\"buildable\"} 0",
        "majordomo_rollout_phase{phase=\"rolling\"} 0",
    ] {
        has(&all, line);
    }
    assert_eq!(all.matches("# TYPE majordomo_builds_ended_total").count(), 1);
    assert_eq!(site.peer().get("/metrics?scope=all").await.status, 400);
}

#[tokio::test]
async fn a_replica_that_starts_is_measured_too() {
    let site = Site::new().await;
    *site.nobody.state.lock() = ReplicaState::Starting;
    assert_eq!(site.peer().get("/metrics").await.status, 200);
    assert_eq!(site.admin().get("/metrics").await.status, 503);
}

#[tokio::test]
async fn dashboards_of_jenkins_find_their_names() {
    let site = Site::new().await;
    site.create("", "team", FOLDER).await;
    site.create("/job/team", "web", PIPELINE).await;
    site.create("", "off", PIPELINE).await;
    assert_eq!(site.admin().post("/job/off/disable").await.status, 302);
    site.admin().form("/computer/doCreateItem", "name=n1&mode=NORMAL").await;
    assert_eq!(site.admin().post("/job/team/job/web/build?delay=0sec").await.status, 201);
    let build = site.take().await;
    let finish =
        store::Effect::Finish { result: model::BuildResult::Unstable, at: Millis(9_000), archive: false };
    site.progress(&build, 0, "hello\n", vec![finish]).await;
    let moved = site.peer().get("/prometheus").await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (302, "http://ci:8080/prometheus/"));
    let answer = site.peer().get("/prometheus/").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    let job = "{jenkins_job=\"team/web\",repo=\"NA\",buildable=\"true\"}";
    for line in [
        "default_jenkins_up 1".to_owned(),
        "default_jenkins_quietdown 0".to_owned(),
        "default_jenkins_version_info{version=\"2.479.1\"} 1".to_owned(),
        "jenkins_project_count_value 2".to_owned(),
        "jenkins_project_disabled_count_value 1".to_owned(),
        "jenkins_queue_size_value 0".to_owned(),
        "jenkins_runs_success_total{replica=\"acme-1\"} 3".to_owned(),
        "jenkins_runs_total_total{replica=\"acme-0\"} 3".to_owned(),
        format!("default_jenkins_builds_unstable_build_count_total{job} 1"),
        format!("default_jenkins_builds_last_build_result_ordinal{job} 1"),
        format!("default_jenkins_builds_last_build_duration_milliseconds{job} 4000"),
        format!("default_jenkins_builds_last_build_logfile_size_bytes{job} 6"),
        format!("default_jenkins_builds_duration_milliseconds_summary_sum{job} 4000"),
    ] {
        has(&text, &line);
    }
    assert!(!text.contains("jenkins_job=\"off\""), "a disabled job is left out");
    let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let parsed = Document::parse(&text).write(Format::Prometheus);
    assert_eq!(samples(&parsed), samples(&text), "each line is one of the format");
}

#[tokio::test]
async fn what_waits_is_counted_as_the_queue_shows_it_and_who_discards_is_told() {
    let site = Site::new().await;
    let alone = "org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty";
    let discards = "<jenkins.model.BuildDiscarderProperty><strategy class='hudson.tasks.LogRotator'><numToKeep>3</numToKeep>\
                    </strategy></jenkins.model.BuildDiscarderProperty>";
    let properties = format!("<properties><{alone}/>{discards}</properties><definition");
    let declarative = "pipeline { agent any\noptions { buildDiscarder(logRotator(numToKeepStr: '3')) }\n\
                       stages { stage('a') { steps { echo 'a' } } } }";
    site.create("", "one", &PIPELINE.replace("<definition", &properties)).await;
    site.create("", "said", &PIPELINE.replace("echo 1", declarative)).await;
    site.create("", "free", "<project><assignedNode>mac</assignedNode></project>").await;
    let admin = site.admin();
    admin.post("/job/one/build?delay=0sec").await;
    let running = site.take().await;
    let label = Some("gpu".into());
    let waits = store::Effect::WaitNode { step: "1".into(), label, since: Millis(5) };
    site.progress(&running, 0, "", vec![waits]).await;
    for path in ["/job/one/build?delay=0sec", "/job/free/build?delay=0sec", "/job/said/build?delay=20sec"] {
        assert_eq!(admin.post(path).await.status, 201, "{path}");
    }
    let text = site.peer().get("/prometheus/").await.text();
    for (name, value) in [("blocked", 1), ("buildable", 2), ("pending", 0), ("size", 4), ("stuck", 2)] {
        has(&text, &format!("jenkins_queue_{name}_value {value}"));
    }
    for (job, value) in [("one", 1), ("said", 1), ("free", 0)] {
        let labels = format!("jenkins_job=\"{job}\",repo=\"NA\",buildable=\"true\"");
        has(&text, &format!("default_jenkins_builds_discard_active{{{labels}}} {value}"));
    }
}

#[tokio::test]
async fn the_metrics_plugin_is_answered_under_a_key() {
    let site = Site::new().await;
    let key = site.keys.metrics_token();
    let at = |what: &str| format!("/metrics/{}/{what}", key.expose());
    let metrics = site.anon().json(&at("metrics")).await;
    assert_eq!(metrics["gauges"]["jenkins.queue.size.value"]["value"], 0);
    assert_eq!(metrics["meters"]["jenkins.runs.success"]["count"], 6);
    assert_eq!(site.anon().get(&at("ping")).await.text(), "pong\n");
    assert_eq!(site.anon().json(&at("healthcheck")).await["store"]["healthy"], true);
    assert_eq!(site.anon().get(&at("threads")).await.status, 401);
    assert_eq!(site.admin().get(&at("threads")).await.status, 501);
}

#[tokio::test]
async fn a_store_that_is_away_hides_only_what_is_in_it() {
    let store = store::Failing::new(Memory::new());
    let site = Site::on(Arc::new(store.clone())).await;
    store.deafen();
    let text = site.peer().get("/metrics?scope=controller").await.text();
    has(&text, "majordomo_controller_scraped 0");
    has(&text, "majordomo_builds_ended_total{replica=\"acme-1\",result=\"success\"} 3");
    assert!(!text.contains("majordomo_nodes"));
    assert_eq!(site.peer().get("/metrics").await.status, 200);
}
