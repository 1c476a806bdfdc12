//! Creating, configuring and deleting nodes; the secret of their agents.

use config::NodeConfig;
use http::StatusCode;
use serde_json::Value;
use store::Node;

use crate::api::{BUILT_IN_NAMES, node_named};
use crate::error::Error;
use crate::export::escape_xml;
use crate::look::Look;
use crate::reply::{self, Reply};
use crate::request::Asked;

const DUMB_SLAVES: [&str; 2] = ["hudson.slaves.DumbSlave$DescriptorImpl", "hudson.slaves.DumbSlave"];

/// `computer/doCreateItem`: the node is described by the parameter `json`.
pub(crate) async fn create(look: &Look<'_>, asked: &Asked) -> Reply {
    let kind = asked.param("type").unwrap_or(DUMB_SLAVES[0]);
    if !DUMB_SLAVES.contains(&kind) {
        return Err(Error::bad(format!(
            "a node of type {kind} can't be created; it takes {}",
            DUMB_SLAVES[1]
        )));
    }
    let json = asked.param("json").ok_or_else(|| Error::bad("parameter 'json' is required"))?;
    let json: Value =
        serde_json::from_str(json).map_err(|_| Error::bad("the parameter 'json' can't be read"))?;
    if !json.is_object() {
        return Err(Error::bad("the parameter 'json' is no object"));
    }
    let named = json.get("name").and_then(Value::as_str);
    let name = asked.param("name").or(named).ok_or_else(|| Error::bad("parameter 'name' is required"))?;
    let config = NodeConfig::from_form(name, &json).map_err(|e| Error::bad(e.to_string()))?;
    look.app.commands.create_node(&config).await?;
    reply::found(&format!("{}computer/", look.base.root()))
}

pub(crate) async fn config(look: &Look<'_>, asked: &Asked, name: &str) -> Reply {
    let node = node_named(look, name).await?;
    if asked.post() {
        look.app.commands.configure_node(&node.name, asked.xml()?).await?;
        return Ok(reply::empty(StatusCode::OK));
    }
    Ok(reply::xml(node.config))
}

pub(crate) async fn delete(look: &Look<'_>, name: &str) -> Reply {
    not_built_in(name)?;
    let node = node_named(look, name).await?;
    look.app.commands.delete_node(&node.name).await?;
    reply::found(&format!("{}computer/", look.base.root()))
}

pub(crate) async fn toggle_offline(look: &Look<'_>, asked: &Asked, name: &str) -> Reply {
    not_built_in(name)?;
    let node = node_named(look, name).await?;
    let offline = match node.offline {
        Some(_) => None,
        None => {
            let reason = asked.param("offlineMessage").unwrap_or_default();
            Some((reason.chars().take(2_000).collect(), asked.by().to_owned()))
        }
    };
    look.app.commands.set_offline(&node.name, offline).await?;
    reply::found(&look.base.node(&node.name))
}

/// Of the statuses that refuse, python-jenkins shows its user the text of 403 only.
fn not_built_in(name: &str) -> Result<(), Error> {
    if !BUILT_IN_NAMES.contains(&name) {
        return Ok(());
    }
    let why = "the built-in node runs the pipelines themselves and has no executors: it can't be taken offline or deleted";
    Err(Error::Forbidden(why.to_owned()))
}

/// `jenkins-agent.jnlp`: the command line of the node's agent with its secret. For administrators.
pub(crate) async fn jnlp(look: &Look<'_>, name: &str) -> Reply {
    let node = node_named(look, name).await?;
    Ok(reply::typed(command_line(look, &node), "application/x-java-jnlp-file"))
}

/// `jenkins-agent.jnlp?encrypt=true`: the same as only the agent itself can read it, so it is for everybody.
pub(crate) async fn sealed_jnlp(look: &Look<'_>, name: &str) -> Reply {
    let node = node_named(look, name).await?;
    let mut iv = [0; 16];
    getrandom::fill(&mut iv).map_err(|_| Error::Internal("the system gives no random bytes".to_owned()))?;
    let sealed = look.app.secrets.seal_for_agent(node.name.as_str(), iv, &command_line(look, &node));
    Ok(reply::typed(sealed, "application/octet-stream"))
}

fn command_line(look: &Look<'_>, node: &Node) -> String {
    let secret = look.app.secrets.agent_secret(node.name.as_str());
    let mut arguments = vec![secret, node.name.to_string(), "-webSocket".to_owned()];
    if !node.remote_fs.is_empty() {
        arguments.extend(["-workDir".to_owned(), node.remote_fs.clone()]);
    }
    arguments.extend(["-url".to_owned(), look.base.root().to_owned()]);
    let mut text = String::from("<jnlp><application-desc>");
    for argument in &arguments {
        text.push_str("<argument>");
        escape_xml(argument, &mut text);
        text.push_str("</argument>");
    }
    text.push_str("</application-desc></jnlp>");
    text
}
