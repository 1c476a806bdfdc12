//! Nodes: created over HTTP, connected by hand, taken offline, deleted.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::harness::{BINARY, Client, Controller, Guard, job_xml, shared, until};

/// An agent started by hand; ends when it is dropped.
pub(crate) struct Agent {
    child: Child,
    folder: PathBuf,
    _guard: Guard,
}

impl Agent {
    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("said")).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub(crate) fn start_agent(it: &Controller, name: &str, secret: &str) -> Agent {
    let folder = tempfile::Builder::new().prefix("majordomo-it-agent-").tempdir().unwrap().keep();
    let url = format!("http://{}/", it.admin.address);
    let child = Command::new(BINARY)
        .env("JENKINS_SECRET", secret)
        .args(["agent", "-url", &url, "-name", name, "-webSocket", "-workDir"])
        .arg(&folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("said")).unwrap())
        .spawn()
        .unwrap();
    let guard = Guard::new(&folder, child.id());
    Agent { child, folder, _guard: guard }
}

/// The secret, from where administrators find it.
pub(crate) fn secret(admin: &Client, name: &str) -> String {
    let jnlp = admin.get(&format!("/computer/{name}/jenkins-agent.jnlp")).expect(200).text();
    jnlp.split("<argument>").nth(1).unwrap().split('<').next().unwrap().to_owned()
}

pub(crate) fn create_node(admin: &Client, name: &str, label: &str) {
    let json = format!(
        r#"{{"name":"{name}","nodeDescription":"made by a test","numExecutors":"1","remoteFS":"/tmp/x","labelString":"{label}","mode":"EXCLUSIVE","retentionStrategy":{{"stapler-class":"hudson.slaves.RetentionStrategy$Always"}},"launcher":{{"stapler-class":"hudson.slaves.JNLPLauncher"}},"nodeProperties":{{"stapler-class-bag":"true"}},"type":"hudson.slaves.DumbSlave"}}"#
    );
    let json: String = json.bytes().map(|b| format!("%{b:02X}")).collect();
    let path = format!("/computer/doCreateItem?name={name}&type=hudson.slaves.DumbSlave");
    admin.form(&path, &format!("json={json}")).expect(302);
}

#[test]
fn a_node_is_created_connected_taken_offline_and_deleted() {
    let it = shared();
    create_node(&it.admin, "by-hand", "hand made");
    let node = it.admin.node("by-hand");
    assert_eq!((&node["offline"], &node["numExecutors"]), (&true.into(), &1.into()));
    let again =
        it.admin.form("/computer/doCreateItem?name=By-Hand&type=hudson.slaves.DumbSlave", "json=%7B%7D");
    assert!(again.expect(400).header("x-error").contains("already exists"));
    let config = it.admin.get("/computer/by-hand/config.xml").expect(200).text();
    assert!(config.contains("<label>hand made</label>"), "{config}");

    let agent = start_agent(it, "by-hand", &secret(&it.admin, "by-hand"));
    until("the agent to connect", || (it.admin.node("by-hand")["offline"] == false).then_some(()));
    let script = "node('hand && made') { sh 'echo on $NODE_NAME' }";
    let (result, console) = it.admin.try_script("on-hand", script);
    assert_eq!(result, "SUCCESS", "{console}");
    assert!(console.contains("on by-hand\n"), "{console}");

    it.admin.get("/computer/by-hand/toggleOffline").expect(405);
    it.admin.post("/computer/by-hand/toggleOffline?offlineMessage=new%20disk").expect(302);
    for replica in it.each_replica() {
        let node = replica.node("by-hand");
        assert_eq!((&node["offline"], &node["temporarilyOffline"]), (&true.into(), &true.into()));
        assert!(node["offlineCauseReason"].as_str().unwrap().contains("new disk"), "{node}");
    }
    let item = it.admin.trigger("on-hand", "build");
    until("the build to wait for the node", || {
        let item = it.admin.json(&format!("{item}api/json"));
        let number = item["executable"]["number"].as_u64()?;
        it.admin.console("on-hand", number).contains("[Pipeline] node").then_some(())
    });
    it.admin.post("/computer/by-hand/toggleOffline").expect(302);
    let number = it.admin.follow(&item);
    assert_eq!(it.admin.result("on-hand", number), "SUCCESS");

    it.admin.post("/computer/by-hand/doDelete").expect(302);
    for replica in it.each_replica() {
        replica.get("/computer/by-hand/api/json").expect(404);
    }
    drop(agent);
    it.unharmed();
}

#[test]
fn a_build_waits_for_a_label_that_nobody_has_and_says_so() {
    let it = shared();
    it.admin.xml("/createItem?name=lonely", &job_xml("node('no-such-label') { echo 'x' }")).expect(200);
    let number = it.admin.follow(&it.admin.trigger("lonely", "build"));
    until("the page to say what is waited for", || {
        it.admin
            .get("/queue/")
            .text()
            .contains("There are no nodes with the label ‘no-such-label’")
            .then_some(())
    });
    it.admin.post(&format!("/job/lonely/{number}/stop")).expect(302);
    assert_eq!(it.admin.result("lonely", number), "ABORTED");
    it.unharmed();
}

#[test]
fn a_wrong_secret_and_an_unknown_node_are_refused() {
    let it = shared();
    let secret = secret(&it.admin, "agent-1");
    for (name, secret) in
        [("agent-1", "0".repeat(64)), ("nobody", secret.clone()), ("AGENT-1", secret), ("..", "x".into())]
    {
        let headers = [
            ("Node-Name", name),
            ("Secret-Key", secret.as_str()),
            ("X-Majordomo-Native", "1"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let answer = it.anonymous().send("GET", "/wsagents/", &headers, b"");
        assert!(matches!(answer.status, 400 | 403), "{name}: {}", answer.status);
    }
    // as the stock agent, it says why and goes on trying
    let agent = start_agent(it, "agent-1", &"0".repeat(64));
    until("the agent to say what is wrong", || agent.said().contains("403").then_some(()));
    assert!(agent.said().contains("the secret is not that of this node"), "{}", agent.said());
    it.unharmed();
}
