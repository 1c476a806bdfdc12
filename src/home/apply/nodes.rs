//! Nodes and who holds the links to their agents.

use model::{Millis, NodeName, ReplicaId};
use store::{Answer, Error, Node, Offline};

use super::{Applied, epoch_and_live, json};
use crate::db::{Conn, Lock, args};

fn no_node(name: &NodeName) -> Error {
    Error::NotFound(format!("the node “{name}”"))
}

pub(super) async fn create(conn: &mut Conn, node: &Node) -> Applied {
    let offline = node.offline.as_ref().map(json).transpose()?;
    let created = conn
        .run(
            "INSERT INTO node (name, name_key, executors, exclusive, description, labels, remote_fs, offline, config) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (name_key) DO NOTHING",
            args![
                node.name.as_str(),
                &node.name.key(),
                node.executors,
                node.exclusive,
                &node.description,
                &json(&node.labels)?,
                &node.remote_fs,
                offline.as_deref(),
                &node.config,
            ],
        )
        .await?;
    if created == 0 {
        return Err(Error::Exists(format!("the node “{}”", node.name)).into());
    }
    Ok(Answer::Unit)
}

pub(super) async fn configure(conn: &mut Conn, node: &Node) -> Applied {
    let changed = conn
        .run(
            "UPDATE node SET executors = $2, exclusive = $3, description = $4, labels = $5, remote_fs = $6, config = $7 \
             WHERE name = $1",
            args![
                node.name.as_str(),
                node.executors,
                node.exclusive,
                &node.description,
                &json(&node.labels)?,
                &node.remote_fs,
                &node.config,
            ],
        )
        .await?;
    if changed == 0 { Err(no_node(&node.name).into()) } else { Ok(Answer::Unit) }
}

pub(super) async fn delete(conn: &mut Conn, name: &NodeName) -> Applied {
    let node =
        conn.locked(Lock::Delete, "SELECT name FROM node WHERE name = $1", args![name.as_str()]).await?;
    if node.is_empty() {
        return Err(no_node(name).into());
    }
    let busy = conn.row("SELECT slot FROM busy WHERE node = $1 LIMIT 1", args![name.as_str()]).await?;
    if busy.is_some() {
        return Err(Error::Conflict(format!("an executor of the node “{name}” is in use")).into());
    }
    conn.run("DELETE FROM link WHERE node = $1", args![name.as_str()]).await?;
    conn.run("DELETE FROM node WHERE name = $1", args![name.as_str()]).await?;
    Ok(Answer::Unit)
}

pub(super) async fn set_offline(conn: &mut Conn, name: &NodeName, offline: Option<&Offline>) -> Applied {
    let offline = offline.map(json).transpose()?;
    let changed = conn
        .run("UPDATE node SET offline = $2 WHERE name = $1", args![name.as_str(), offline.as_deref()])
        .await?;
    if changed == 0 { Err(no_node(name).into()) } else { Ok(Answer::Unit) }
}

/// `about`: the agent's instance id, and what it said about itself.
pub(super) async fn link_up(
    conn: &mut Conn,
    node: &NodeName,
    holder: &ReplicaId,
    about: (&str, &str),
    at: Millis,
) -> Applied {
    let known =
        conn.locked(Lock::Keep, "SELECT name FROM node WHERE name = $1", args![node.as_str()]).await?;
    if known.is_empty() {
        return Err(no_node(node).into());
    }
    let (_, live) = epoch_and_live(conn, holder).await?;
    if !live {
        return Err(Error::Fenced { current: None }.into());
    }
    let row = conn
        .row(
            "INSERT INTO link (node, number, holder_name, holder_incarnation, instance, since, info, reason) \
             VALUES ($1, 1, $2, $3, $4, $5, $6, NULL) \
             ON CONFLICT (node) DO UPDATE SET number = link.number + 1, holder_name = excluded.holder_name, \
             holder_incarnation = excluded.holder_incarnation, instance = excluded.instance, \
             since = excluded.since, info = excluded.info, reason = NULL RETURNING number",
            args![node.as_str(), holder.name.as_str(), holder.incarnation, about.0, at, about.1],
        )
        .await?
        .ok_or_else(|| no_node(node))?;
    Ok(Answer::Linked { number: row.int(0)? })
}

pub(super) async fn link_down(
    conn: &mut Conn,
    node: &NodeName,
    number: i64,
    reason: &str,
    at: Millis,
) -> Applied {
    let ended = conn
        .run(
            "UPDATE link SET holder_name = NULL, holder_incarnation = NULL, since = $3, reason = $4 \
             WHERE node = $1 AND number = $2 AND holder_name IS NOT NULL",
            args![node.as_str(), number, at, reason],
        )
        .await?;
    Ok(Answer::Bool(ended > 0))
}
