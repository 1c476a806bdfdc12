//! Nodes, and how an agent is started for one.

use store::Node;

use super::html::{escape, link, mark, page, table};
use super::moment;
use crate::api::{BUILT_IN_NAMES, node_named};
use crate::error::Error;
use crate::look::Look;
use crate::request::segment;

pub(super) async fn all(look: &Look<'_>) -> Result<String, Error> {
    let mut rows = Vec::new();
    for node in look.nodes().await? {
        let busy = look.busy().await?.iter().filter(|b| b.node == node.name).count();
        let address = format!("{}computer/{}/", look.base.path(), segment(node.name.as_str()));
        rows.push(vec![
            state(look, node).await?,
            link(&address, node.name.as_str()),
            format!("{busy} of {}", node.executors),
            escape(&node.labels.join(" ")),
        ]);
    }
    let content =
        table("nodes", &["State", "Name", "Executors in use", "Labels"], &rows, "There are no nodes.");
    Ok(page(&look.frame, "Nodes", &[], &content))
}

async fn state(look: &Look<'_>, node: &Node) -> Result<String, Error> {
    Ok(match (&node.offline, look.holder(node).await?) {
        (Some(_), _) => mark("disabled", "taken offline"),
        (None, Some(_)) => mark("ready", "online"),
        (None, None) => mark("red", "offline"),
    })
}

pub(super) async fn one(look: &Look<'_>, name: &str) -> Result<String, Error> {
    let nodes = format!("{}computer/", look.base.path());
    let trail = [(nodes.clone(), "Nodes".to_owned())];
    if BUILT_IN_NAMES.contains(&name) {
        let content = "<p>It runs the pipelines themselves and has no executors.</p>";
        return Ok(page(&look.frame, "Built-In Node", &trail, content));
    }
    let node = node_named(look, name).await?;
    let mut content = format!("<p>{}", state(look, &node).await?);
    if let Some(link) = look.link(&node).await? {
        let what = if link.holder.is_some() { " linked since " } else { " not linked since " };
        content.push_str(&format!("{what}{}", moment(link.since)));
        if let Some(reason) = &link.reason {
            content.push_str(&format!(" ({})", escape(reason)));
        }
    }
    content.push_str("</p>");
    if let Some(offline) = &node.offline {
        content.push_str(&format!("<p>{}: {}</p>", escape(&offline.by), escape(&offline.reason)));
    }
    let path = format!("{nodes}{}/", segment(node.name.as_str()));
    let toggle = if node.offline.is_some() { "Bring online" } else { "Take offline" };
    content.push_str(&format!(
        "<div class=\"actions\">{}</div><p>Start its agent with</p>\
         <pre>majordomo agent -url {} -name '{}' -secret @FILE -webSocket -workDir DIR</pre>\
         <p>The secret, for that file, is in {}. Agents connect over WebSocket only: there is no TCP port.</p><p>{}</p>",
        look.frame.button(&format!("{path}toggleOffline"), toggle),
        escape(look.base.root()),
        escape(node.name.as_str()),
        link(&format!("{path}jenkins-agent.jnlp"), "jenkins-agent.jnlp"),
        link(&format!("{path}config.xml"), "config.xml"),
    ));
    Ok(page(&look.frame, node.name.as_str(), &trail, &content))
}
