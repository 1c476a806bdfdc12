//! Reads of nodes and links.

use model::{Millis, NodeName, ReplicaId};
use sqlx::AssertSqlSafe;
use store::{Link, Node, Nodes, Result};

use super::{node as node_name, replica};
use crate::Home;
use crate::db::{Row, args};

/// Columns of a node, for [`node`].
const NODE: &str =
    "SELECT name, description, executors, labels, exclusive, remote_fs, offline, config FROM node";

/// Columns of a link, for [`link`].
const LINK: &str = "SELECT link.node, link.number, link.holder_name, link.holder_incarnation, link.instance, link.since, \
     link.info, link.reason FROM link JOIN node ON node.name = link.node";

#[async_trait::async_trait]
impl Nodes for Home {
    async fn nodes(&self) -> Result<Vec<Node>> {
        self.pool.list(AssertSqlSafe(format!("{NODE} ORDER BY name_key")), args![], node).await
    }

    async fn node(&self, name: &NodeName) -> Result<Option<Node>> {
        self.pool.first(AssertSqlSafe(format!("{NODE} WHERE name = $1")), args![name.as_str()], node).await
    }

    async fn links(&self) -> Result<Vec<Link>> {
        self.pool.list(AssertSqlSafe(format!("{LINK} ORDER BY node.name_key")), args![], link).await
    }

    async fn link_numbers(&self) -> Result<Vec<(NodeName, i64, Option<ReplicaId>)>> {
        self.pool
            .list(
                "SELECT link.node, link.number, link.holder_name, link.holder_incarnation FROM link \
                 JOIN node ON node.name = link.node ORDER BY node.name_key",
                args![],
                |row| Ok((node_name(row, 0)?, row.int(1)?, replica(row, 2)?)),
            )
            .await
    }

    async fn link(&self, name: &NodeName) -> Result<Option<Link>> {
        let sql = format!("{LINK} WHERE link.node = $1");
        self.pool.first(AssertSqlSafe(sql), args![name.as_str()], link).await
    }
}

fn node(row: &Row) -> sqlx::Result<Node> {
    let offline = match row.text_or_null(6)? {
        None => None,
        Some(_) => Some(row.json(6)?),
    };
    Ok(Node {
        name: node_name(row, 0)?,
        description: row.text(1)?,
        executors: row.small(2)?,
        labels: row.json(3)?,
        exclusive: row.yes(4)?,
        remote_fs: row.text(5)?,
        offline,
        config: row.text(7)?,
    })
}

fn link(row: &Row) -> sqlx::Result<Link> {
    Ok(Link {
        node: node_name(row, 0)?,
        number: row.int(1)?,
        holder: replica(row, 2)?,
        instance: row.text(4)?,
        since: Millis(row.int(5)?),
        info: row.text(6)?,
        reason: row.text_or_null(7)?,
    })
}
