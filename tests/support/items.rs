//! Jobs and nodes, as a user makes them by REST.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::path::Path;

use super::http::{Client, percent};

/// The parameter `ID`.
const ID: &str = "<properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>\
    <hudson.model.StringParameterDefinition><name>ID</name></hudson.model.StringParameterDefinition>\
    </parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties>";

/// A Pipeline job.
pub(crate) fn create_job(client: &Client, name: &str, script: &str) {
    let script = escaped(script);
    let xml = format!(
        "<flow-definition>{ID}<definition class=\"org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition\">\
         <script>{script}</script><sandbox>true</sandbox></definition></flow-definition>"
    );
    create(client, name, &xml);
}

/// A Freestyle job, each of whose lines is a shell builder.
pub(crate) fn create_freestyle(client: &Client, name: &str, label: &str, lines: &str) {
    let shell =
        |line: &str| format!("<hudson.tasks.Shell><command>{}</command></hudson.tasks.Shell>", escaped(line));
    let builders: String = lines.lines().map(shell).collect();
    let label = escaped(label);
    let xml = format!(
        "<project>{ID}<assignedNode>{label}</assignedNode><canRoam>false</canRoam>\
         <concurrentBuild>true</concurrentBuild><builders>{builders}</builders></project>"
    );
    create(client, name, &xml);
}

fn create(client: &Client, name: &str, xml: &str) {
    let path = format!("/createItem?name={}", percent(name));
    let reply = client.send("POST", &path, "application/xml", xml.as_bytes()).unwrap();
    assert_eq!(reply.status, 200, "create {name}: {}", reply.text());
}

/// A node whose agent works in this folder.
pub(crate) fn create_node(client: &Client, name: &str, folder: &Path, executors: u32, labels: &str) {
    let json = format!(
        r#"{{"numExecutors":"{executors}","remoteFS":"{}","labelString":"{labels}","mode":"NORMAL"}}"#,
        folder.display()
    );
    let path = format!(
        "/computer/doCreateItem?name={name}&type={}&json={}",
        percent("hudson.slaves.DumbSlave$DescriptorImpl"),
        percent(&json)
    );
    let reply = client.post(&path).unwrap();
    assert_eq!(reply.status, 302, "create {name}: {}", reply.text());
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
