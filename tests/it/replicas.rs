//! Several replicas that are one controller.

use serde_json::Value;

use crate::harness::{BINARY, run, shared};

/// What differs by replica or from moment to moment.
fn settled(mut value: Value, address: &str, public: &str) -> String {
    fn forget(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for key in ["monitorData", "busyExecutors", "idle", "inQueueSince", "timestamp"] {
                    map.remove(key);
                }
                map.values_mut().for_each(forget);
            }
            Value::Array(list) => list.iter_mut().for_each(forget),
            _ => {}
        }
    }
    forget(&mut value);
    value.to_string().replace(address, public)
}

#[test]
fn every_replica_gives_the_same_whole_answer() {
    let it = shared();
    it.admin.create_job(
        "same",
        "node { sh 'echo same'; writeFile file: 'a.txt', text: 'x'; archiveArtifacts 'a.txt' }",
    );
    it.admin.build("same");
    let public = it.admin.address.to_string();
    for path in [
        "/job/same/api/json?depth=2",
        "/job/same/1/api/json?depth=2",
        "/computer/agent-1/api/json?depth=1&tree=displayName,offline,numExecutors,assignedLabels[name]",
        "/view/all/api/json?tree=name,url,jobs[name]{0,0}",
        "/api/json?tree=_class,mode,nodeDescription,numExecutors,useCrumbs,useSecurity,quietingDown,primaryView[name,url],views[name,url]",
    ] {
        let wanted = settled(it.admin.json(path), &public, &public);
        for replica in it.each_replica() {
            let got = settled(replica.json(path), &replica.address.to_string(), &public);
            assert_eq!(got, wanted, "{path}");
        }
    }
    for path in ["/job/same/1/consoleText", "/job/same/config.xml", "/job/same/1/artifact/a.txt"] {
        let wanted = it.admin.get(path).expect(200).body;
        for replica in it.each_replica() {
            assert_eq!(replica.get(path).expect(200).body, wanted, "{path}");
        }
    }
    it.unharmed();
}

#[test]
fn the_replicas_are_shown_with_what_they_do() {
    let it = shared();
    let shown = it.admin.json("/replicas/api/json");
    let replicas = shown["replicas"].as_array().unwrap();
    assert_eq!(replicas.len(), 3);
    for (ordinal, replica) in replicas.iter().enumerate() {
        assert_eq!(replica["ordinal"], ordinal);
        assert_eq!(replica["state"], "ready");
        assert!(replica["since"].as_i64().unwrap() > 0);
    }
    assert!(shown["startupLock"].get("holder").is_some(), "{shown}");
    assert!(shown["failovers"].is_array());
    let home = it.home.display().to_string();
    let table = run(BINARY, &["replicas", "--home", &home], &it.home);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("REPLICA") && lines[0].contains("BUILDS"), "{table}");
    assert_eq!(
        lines.iter().filter(|l| l.starts_with("majordomo-") && l.contains("ready")).count(),
        3,
        "{table}"
    );
    it.unharmed();
}

#[test]
fn pages_exist_for_browsers() {
    let it = shared();
    it.admin.create_job("paged", "echo '<b>not bold</b>'");
    it.admin.build("paged");
    for path in [
        "/",
        "/job/paged/",
        "/job/paged/1/",
        "/job/paged/1/console",
        "/computer/",
        "/computer/agent-1/",
        "/queue/",
        "/replicas/",
        "/view/all/",
        "/login",
    ] {
        let page = it.admin.get(path).expect(200);
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        let text = page.text();
        assert!(text.contains("</html>") && !text.contains("<b>not bold"), "{path}: {text}");
        assert_eq!(it.admin.send("HEAD", path, &[], b"").expect(200).body, b"");
    }
    it.admin.get("/job/nobody/").expect(404);
    it.unharmed();
}

#[test]
fn metrics_and_health_are_served() {
    let it = shared();
    let metrics = it.admin.get("/metrics").expect(200).text();
    assert!(metrics.contains("# HELP") && metrics.contains("majordomo_"), "{metrics}");
    it.anonymous().get("/metrics").expect(401);
    for replica in it.each_replica() {
        replica.get("/readyz").expect(200);
    }
    it.unharmed();
}
