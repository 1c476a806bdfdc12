//! Nodes, their executors, and the built-in node that runs the pipelines themselves.

use model::NodeName;
use remoting::native::AgentInfo;
use store::{Busy, ItemKind, Node, Running};

use super::build;
use crate::error::Error;
use crate::export::{ALWAYS, PLAIN, Select, Shape, Value};
use crate::look::Look;

/// What clients call the built-in node.
pub(crate) const BUILT_IN_NAMES: [&str; 5] =
    ["(built-in)", "built-in", "(master)", "master", "Built-In Node"];
const EXECUTABLE: &str = "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask$PlaceholderExecutable";

pub(super) async fn all(look: &Look<'_>, select: &Select) -> Result<Value, Error> {
    let mut shape = Shape::new("hudson.model.ComputerSet", select);
    if shape.wants("busyExecutors", PLAIN).is_some() {
        shape.set("busyExecutors", look.busy().await?.len());
    }
    if let Some(inner) = shape.wants_inline("computer", PLAIN) {
        let nodes: Vec<Option<&Node>> =
            std::iter::once(None).chain(look.nodes().await?.iter().map(Some)).collect();
        let mut shown = Vec::new();
        for node in inner.range().cut(nodes) {
            shown.push(match node {
                None => built_in(look, &inner).await?,
                Some(node) => computer(look, node, &inner).await?,
            });
        }
        shape.set("computer", shown);
    }
    shape.put("displayName", PLAIN, "Nodes");
    if shape.wants("totalExecutors", PLAIN).is_some() {
        let mut total = 0;
        for node in look.nodes().await? {
            total += if look.holder(node).await?.is_some() { u64::from(node.executors) } else { 0 };
        }
        shape.set("totalExecutors", total);
    }
    look.done(shape)
}

pub(super) async fn one(look: &Look<'_>, name: &str, select: &Select) -> Result<Value, Error> {
    if BUILT_IN_NAMES.contains(&name) {
        return built_in(look, select).await;
    }
    let node = node_named(look, name).await?;
    computer(look, &node, select).await
}

/// The node of that name; 404 when there is none.
pub(crate) async fn node_named(look: &Look<'_>, name: &str) -> Result<Node, Error> {
    let missing = || Error::missing(format!("there is no node {name}"));
    let parsed = NodeName::parse(name).map_err(|_| missing())?;
    look.store().node(&parsed).await?.ok_or_else(missing)
}

/// What differs between the computers.
struct Facts<'n> {
    class: &'static str,
    name: String,
    /// The label that only this node has.
    own: &'n str,
    description: String,
    executors: u32,
    labels: Vec<&'n str>,
    connected: bool,
    temporarily: bool,
    idle: bool,
    agent: bool,
    reason: Option<String>,
}

fn put_common(shape: &mut Shape<'_>, facts: &Facts<'_>) {
    let offline = !facts.connected || facts.temporarily;
    if let Some(inner) = shape.wants("assignedLabels", PLAIN) {
        let names = facts.labels.iter().copied().chain([facts.own]);
        let label = |name: &str| {
            let mut label = Shape::plain(&inner);
            label.put("name", 2, name.to_owned());
            label.done()
        };
        shape.set("assignedLabels", names.map(label).collect::<Vec<_>>());
    }
    shape.put("description", PLAIN, facts.description.clone());
    shape.put("displayName", PLAIN, facts.name.clone());
    shape.put("icon", PLAIN, if offline { "symbol-computer-offline" } else { "symbol-computer" });
    shape.put("iconClassName", PLAIN, if offline { "symbol-computer-offline" } else { "symbol-computer" });
    shape.put("idle", PLAIN, facts.idle);
    shape.put("jnlpAgent", PLAIN, facts.agent);
    shape.put("launchSupported", PLAIN, !facts.agent);
    shape.put("loadStatistics", PLAIN, Value::empty());
    shape.put("manualLaunchAllowed", PLAIN, true);
    shape.put("numExecutors", PLAIN, facts.executors);
    shape.put("offline", PLAIN, offline);
    shape.put("offlineCauseReason", PLAIN, facts.reason.clone().unwrap_or_default());
    shape.put("temporarilyOffline", PLAIN, facts.temporarily);
}

async fn built_in(look: &Look<'_>, select: &Select) -> Result<Value, Error> {
    let facts = Facts {
        class: "hudson.model.Hudson$MasterComputer",
        name: "Built-In Node".to_owned(),
        own: "built-in",
        description: "the controller's built-in node".to_owned(),
        executors: 0,
        labels: Vec::new(),
        connected: true,
        temporarily: false,
        idle: look.pipelines().await?.is_empty(),
        agent: false,
        reason: None,
    };
    let mut shape = Shape::new(facts.class, select);
    shape.put("actions", PLAIN, Vec::new());
    shape.put("executors", PLAIN, Vec::new());
    monitors(&mut shape, None);
    put_common(&mut shape, &facts);
    shape.put("offlineCause", PLAIN, Value::Null);
    if let Some(inner) = shape.wants("oneOffExecutors", PLAIN) {
        let mut executors = Vec::new();
        for running in inner.range().cut(look.pipelines().await?) {
            executors.push(one_off(look, running, &inner)?);
        }
        shape.set("oneOffExecutors", executors);
    }
    look.done(shape)
}

fn one_off(look: &Look<'_>, running: &Running, select: &Select) -> Result<Value, Error> {
    let mut executor = Shape::plain(select);
    if let Some(inner) = executor.wants("currentExecutable", PLAIN) {
        let mut build = Shape::new(build::class(ItemKind::Pipeline), &inner);
        build.put("number", 2, running.number);
        build.put("url", 2, look.base.build(&running.job, running.number));
        executor.set("currentExecutable", build.done());
    }
    put_executor(&mut executor, -1, false);
    look.done(executor)
}

async fn computer(look: &Look<'_>, node: &Node, select: &Select) -> Result<Value, Error> {
    let busy: Vec<&Busy> = look.busy().await?.iter().filter(|b| b.node == node.name).collect();
    let link = look.link(node).await?;
    let connected = look.holder(node).await?.is_some();
    let user = node.offline.as_ref().map(|o| o.reason.clone());
    let ended = link.and_then(|l| l.reason.clone()).filter(|_| !connected);
    let facts = Facts {
        class: "hudson.slaves.SlaveComputer",
        name: node.name.to_string(),
        own: node.name.as_str(),
        description: node.description.clone(),
        executors: node.executors,
        labels: node.labels.iter().map(String::as_str).collect(),
        connected,
        temporarily: node.offline.is_some(),
        idle: busy.is_empty(),
        agent: true,
        reason: user.or(ended),
    };
    let mut shape = Shape::new(facts.class, select);
    shape.put("actions", PLAIN, Vec::new());
    if let Some(inner) = shape.wants("executors", PLAIN) {
        shape.set("executors", executors(look, node, &busy, &inner).await?);
    }
    let info = link.and_then(|l| serde_json::from_str::<AgentInfo>(&l.info).ok());
    monitors(&mut shape, info.as_ref());
    put_common(&mut shape, &facts);
    if let Some(inner) = shape.wants("offlineCause", PLAIN) {
        let ended_at = link.filter(|_| !connected).map(|l| l.since.0);
        shape.set("offlineCause", offline_cause(node, facts.reason.as_deref(), ended_at, &inner));
    }
    shape.put("oneOffExecutors", PLAIN, Vec::new());
    shape.put("absoluteRemotePath", PLAIN, info.map(|i| i.work_dir).filter(|_| connected));
    look.done(shape)
}

async fn executors(look: &Look<'_>, node: &Node, busy: &[&Busy], select: &Select) -> Result<Value, Error> {
    let mut shown = Vec::new();
    let last = busy.iter().map(|b| b.slot + 1).max().unwrap_or(0);
    for slot in select.range().cut((0..node.executors.max(last).min(1_000)).collect()) {
        let mut executor = Shape::plain(select);
        let current = busy.iter().find(|b| b.slot == slot);
        if let Some(inner) = executor.wants("currentExecutable", PLAIN) {
            let shown = match current {
                Some(busy) => Some(executable(look, busy, &inner).await?),
                None => None,
            };
            executor.set("currentExecutable", shown);
        }
        put_executor(&mut executor, i64::from(slot), current.is_none());
        shown.push(look.done(executor)?);
    }
    Ok(Value::List(shown))
}

/// A Freestyle build has its executor to its end; of a Pipeline, a part has.
async fn executable(look: &Look<'_>, busy: &Busy, select: &Select) -> Result<Value, Error> {
    let class = match look.kind(&busy.job).await? {
        ItemKind::Freestyle => build::class(ItemKind::Freestyle),
        ItemKind::Pipeline | ItemKind::Folder => EXECUTABLE,
    };
    let mut shown = Shape::new(class, select);
    shown.put("number", 2, busy.number);
    shown.put("url", 2, look.base.build(&busy.job, busy.number));
    Ok(shown.done())
}

fn put_executor(shape: &mut Shape<'_>, number: i64, idle: bool) {
    shape.put("idle", PLAIN, idle);
    shape.put("likelyStuck", PLAIN, false);
    shape.put("number", PLAIN, number);
    shape.put("progress", PLAIN, -1i64);
}

fn offline_cause(node: &Node, reason: Option<&str>, ended_at: Option<i64>, select: &Select) -> Value {
    let (class, at) = match (&node.offline, reason) {
        (Some(offline), _) => ("hudson.slaves.OfflineCause$UserCause", Some(offline.at.0)),
        (None, Some(_)) => ("hudson.slaves.OfflineCause$ChannelTermination", ended_at),
        (None, None) => return Value::Null,
    };
    let mut cause = Shape::new(class, select);
    cause.put("description", PLAIN, reason.unwrap_or_default().to_owned());
    cause.put("timestamp", PLAIN, at);
    cause.done()
}

/// What Jenkins' node monitors have measured. Ours is what the agent said when it connected.
fn monitors(shape: &mut Shape<'_>, info: Option<&AgentInfo>) {
    let Some(inner) = shape.wants_inline("monitorData", PLAIN) else { return };
    let mut data = Shape::plain(&inner);
    let architecture = info.map(|i| format!("{} ({})", i.os, i.arch));
    data.put("hudson.node_monitors.SwapSpaceMonitor", ALWAYS, Value::Null);
    data.put("hudson.node_monitors.TemporarySpaceMonitor", ALWAYS, Value::Null);
    data.put("hudson.node_monitors.DiskSpaceMonitor", ALWAYS, Value::Null);
    data.put("hudson.node_monitors.ArchitectureMonitor", ALWAYS, architecture);
    data.put("hudson.node_monitors.ResponseTimeMonitor", ALWAYS, Value::Null);
    data.put("hudson.node_monitors.ClockMonitor", ALWAYS, Value::Null);
    shape.set("monitorData", data.done());
}
