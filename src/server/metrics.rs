//! Metrics of the whole controller, read from the store; under the names that dashboards for Jenkins expect.

use std::fmt::Write;

use crate::error::Error;
use crate::look::Look;
use crate::ports::App;
use crate::request::Base;

/// One metric: name, help, and its samples (labels, value).
fn put(into: &mut String, name: &str, help: &str, samples: &[(String, u64)]) {
    let _ = writeln!(into, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (labels, value) in samples {
        let _ = writeln!(into, "{name}{labels} {value}");
    }
}

fn one(into: &mut String, name: &str, help: &str, value: u64) {
    put(into, name, help, &[(String::new(), value)]);
}

/// A label's value, escaped.
fn label(key: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{{{key}=\"{value}\"}}")
}

/// Appends what the store knows.
pub(crate) async fn controller(app: &App, into: &mut String) -> Result<(), Error> {
    let base = Base::of(Some("http://localhost"), &http::HeaderMap::new());
    let look = Look::new(app, &base);
    let queue = &look.queue().await?.items;
    let now = app.commands.now();
    let mut online = Vec::new();
    let (mut executors, mut up) = (0u64, 0u64);
    for node in look.nodes().await? {
        let on = look.holder(node).await?.is_some() && node.offline.is_none();
        online.push((label("node", node.name.as_str()), u64::from(on)));
        up += u64::from(on);
        executors += if on { u64::from(node.executors) } else { 0 };
    }
    let busy = look.busy().await?.len() as u64;
    let pending = queue.iter().filter(|i| i.buildable_at > now).count() as u64;
    let nodes = online.len() as u64;
    one(into, "default_jenkins_up", "Whether the controller answers.", 1);
    put(into, "default_jenkins_nodes_online", "Whether the node's agent is connected and may work.", &online);
    one(into, "jenkins_node_count_value", "Nodes.", nodes);
    one(into, "jenkins_node_online_value", "Nodes that may work.", up);
    one(into, "jenkins_node_offline_value", "Nodes that may not.", nodes - up);
    one(into, "jenkins_executor_count_value", "Executors of nodes that may work.", executors);
    one(into, "jenkins_executor_in_use_value", "Executors in use.", busy);
    one(into, "jenkins_executor_free_value", "Executors that are free.", executors.saturating_sub(busy));
    one(into, "jenkins_queue_size_value", "Items in the queue.", queue.len() as u64);
    one(into, "jenkins_queue_pending_value", "Items in their quiet period.", pending);
    one(into, "jenkins_queue_buildable_value", "Items that may be built.", queue.len() as u64 - pending);
    let waits = look.store().waits().await?.len() as u64;
    one(into, "majordomo_executor_waits", "Steps that wait for an executor.", waits);
    one(into, "majordomo_builds_running", "Builds that run.", look.running().await?.len() as u64);
    replicas(&look, into).await
}

async fn replicas(look: &Look<'_>, into: &mut String) -> Result<(), Error> {
    let mut states = Vec::new();
    let mut owned = Vec::new();
    for member in look.members().await? {
        let name = member.id.name.as_str();
        states.push((format!("{{replica=\"{name}\",state=\"{}\"}}", member.state.as_str()), 1));
        let builds = look.running().await?.iter().filter(|r| r.owner == member.id.incarnation).count();
        owned.push((label("replica", name), builds as u64));
    }
    put(into, "majordomo_replica_state", "1 for the state that the replica is in.", &states);
    put(into, "majordomo_replica_builds", "Builds that the replica drives.", &owned);
    Ok(())
}
