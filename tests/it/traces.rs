//! What an OpenTelemetry collector is sent, and what logs say of a build.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Controller, Up, until, within};

/// A collector that keeps the spans that it was sent. Its thread ends with this process.
fn collector() -> (SocketAddr, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let spans = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&spans);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut reader = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            for resource in body["resourceSpans"].as_array().unwrap() {
                let sent = resource["scopeSpans"][0]["spans"].as_array().unwrap();
                kept.lock().unwrap().extend(sent.iter().cloned());
            }
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, spans)
}

fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    let all = span["attributes"].as_array()?;
    let value = &all.iter().find(|a| a["key"] == key)?["value"];
    value["stringValue"].as_str().or(value["intValue"].as_str())
}

#[test]
fn a_build_that_was_adopted_is_one_trace_and_the_logs_name_it() {
    let (address, spans) = collector();
    let mut options = Up::new(3, 1);
    options.log = Some("info,engine=debug");
    options.env = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
        ("MAJORDOMO_LOG_FORMAT", "json".to_owned()),
    ];
    let it = Controller::of(options);
    let go = it.home.join("go");
    let script =
        format!("stage('Build') {{ node {{ sh 'while [ ! -e {} ]; do sleep 0.1; done' }} }}", go.display());
    it.admin.create_job("traced", &script);
    it.admin.trigger("traced", "build?delay=0sec");
    let owner = until("the build at work", || {
        let shown = it.admin.json("/replicas/api/json");
        let replicas = shown["replicas"].as_array().unwrap().clone();
        let busy = it.admin.json("/computer/api/json?tree=busyExecutors")["busyExecutors"] == 1;
        let owner = replicas.iter().find(|r| r["builds"].as_array().is_some_and(|b| !b.is_empty()))?;
        let name = owner["name"].as_str().unwrap().to_owned();
        busy.then(|| (name, owner["incarnation"].clone()))
    });
    let pid = rustix::process::Pid::from_raw(i32::try_from(it.pids[&owner.0]).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("another owner", || {
        let answer = it.admin.get("/replicas/api/json");
        let shown: Value = (answer.status == 200).then(|| serde_json::from_slice(&answer.body).unwrap())?;
        let at = |r: &Value| r["builds"].as_array().is_some_and(|b| !b.is_empty());
        let now = shown["replicas"].as_array()?.iter().find(|r| at(r))?;
        // the killed one is started again, and may be the one that adopts
        (now["incarnation"] != owner.1).then_some(())
    });
    fs::write(&go, "").unwrap();
    let root = within(Duration::from_secs(60), "the trace of the build", || {
        let spans = spans.lock().unwrap();
        spans.iter().find(|span| attribute(span, "ci.pipeline.id") == Some("traced")).cloned()
    });
    assert_eq!(attribute(&root, "ci.pipeline.run.result"), Some("SUCCESS"), "{root}");
    assert_eq!(attribute(&root, "ci.pipeline.run.number"), Some("1"));
    assert!(attribute(&root, "ci.pipeline.run.url").unwrap().ends_with("/job/traced/1/"));
    let spans = spans.lock().unwrap();
    assert!(spans.iter().all(|span| span["traceId"] == root["traceId"]), "one trace: {spans:?}");
    let named = |name: &str| {
        let mut all = spans.iter().filter(|span| span["name"].as_str().is_some_and(|n| n.starts_with(name)));
        let one = all.next().unwrap_or_else(|| panic!("there is no {name}: {spans:?}"));
        assert!(all.next().is_none(), "{name} is there twice");
        one
    };
    assert_eq!(named("Queue")["parentSpanId"], root["spanId"]);
    let (stage, node, step) = (named("Stage: Build"), named("Agent: agent-1"), named("sh"));
    assert_eq!(stage["parentSpanId"], root["spanId"]);
    assert_eq!((&node["parentSpanId"], &step["parentSpanId"]), (&stage["spanId"], &node["spanId"]));
    assert_eq!(attribute(step, "jenkins.computer.name"), Some("agent-1"));
    drop(spans);

    let mut of_build = 0;
    for replica in it.pids.keys() {
        let text = fs::read_to_string(it.home.join(format!("logs/{replica}.log"))).unwrap();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let span = line["spans"].as_array().and_then(|spans| spans.iter().find(|s| s["name"] == "build"));
            if let Some(span) = span {
                assert_eq!((&span["job"], &span["number"]), (&"traced".into(), &1.into()), "{line}");
                assert_eq!(span["replica"], replica.as_str(), "{line}");
                of_build += 1;
            }
        }
    }
    assert!(of_build > 0, "the end of the build, at least");
}

#[test]
fn builds_that_can_not_begin_and_those_with_long_texts_have_traces_too() {
    let (address, spans) = collector();
    let mut options = Up::new(1, 1);
    options.env = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))];
    let it = Controller::of(options);
    it.admin.create_job("broken", "node {");
    it.admin.create_job(
        "long",
        "node { def t = sh(script: 'yes x | head -c 900000', returnStdout: true)\n stage('After') { sh 'true' } }",
    );
    it.admin.build("broken");
    it.admin.build("long");
    let root = |job: &str| {
        within(Duration::from_secs(60), "the trace of the build", || {
            let spans = spans.lock().unwrap();
            spans.iter().find(|span| attribute(span, "ci.pipeline.id") == Some(job)).cloned()
        })
    };
    assert_eq!(attribute(&root("broken"), "ci.pipeline.run.result"), Some("FAILURE"));
    let long = root("long");
    assert_eq!(attribute(&long, "ci.pipeline.run.result"), Some("SUCCESS"));
    let spans = spans.lock().unwrap();
    let of_long = spans.iter().filter(|span| span["traceId"] == long["traceId"]);
    let names: Vec<&str> = of_long.map(|span| span["name"].as_str().unwrap()).collect();
    for name in ["Agent: agent-1", "Stage: After", "sh"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let token = fs::read_to_string(it.home.join("metrics-token")).unwrap();
    let scraper = it.anonymous();
    let scraper =
        crate::harness::Client { authorization: Some(format!("Bearer {}", token.trim())), ..scraper };
    let metrics = scraper.get("/metrics").expect(200).text();
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{metrics}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(value("majordomo_builds_started_total"), 2.0);
    assert_eq!(value("majordomo_builds_adopted_total"), 0.0);
    assert_eq!(value("majordomo_build_seconds_count{replica=\"majordomo-0\",result=\"failure\"}"), 1.0);
}
