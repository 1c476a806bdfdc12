//! Reads of the queue, of waiting `node` steps and of executors in use.

use model::{BuildId, Millis, NodeName, QueueId};
use sqlx::AssertSqlSafe;
use store::{Busy, ItemKind, Left, Queue, QueueItem, Result, Wait};

use super::{job, node};
use crate::Home;
use crate::db::{Row, args};

/// Columns of a queue item, for [`item`].
const ITEM: &str = "SELECT queue.id, item.name, queue.params, queue.causes, queue.since, queue.buildable_at, \
     queue.left_at, queue.number, item.kind FROM queue JOIN item ON item.id = queue.item";

/// Columns of a `node` step that waits, for [`wait`].
const WAIT: &str = "SELECT wait.id, wait.build, item.name, running.number, wait.step, wait.label, wait.since FROM wait \
     JOIN running ON running.build = wait.build JOIN item ON item.id = running.item";

#[async_trait::async_trait]
impl Queue for Home {
    async fn queue(&self) -> Result<Vec<QueueItem>> {
        let sql = format!("{ITEM} WHERE queue.left_at IS NULL ORDER BY queue.id");
        self.pool.list(AssertSqlSafe(sql), args![], item).await
    }

    async fn queue_item(&self, id: QueueId) -> Result<Option<QueueItem>> {
        self.pool.first(AssertSqlSafe(format!("{ITEM} WHERE queue.id = $1")), args![id], item).await
    }

    async fn waits(&self) -> Result<Vec<Wait>> {
        self.pool.list(AssertSqlSafe(format!("{WAIT} ORDER BY wait.id")), args![], wait).await
    }

    async fn waits_of(&self, build: BuildId) -> Result<Vec<Wait>> {
        let sql = format!("{WAIT} WHERE wait.build = $1 ORDER BY wait.id");
        self.pool.list(AssertSqlSafe(sql), args![build], wait).await
    }

    async fn wait_labels(&self) -> Result<Vec<String>> {
        self.pool.list("SELECT DISTINCT COALESCE(label, '') FROM wait", args![], |row| row.text(0)).await
    }

    async fn first_waits(&self, label: &str, most: u32) -> Result<Vec<Wait>> {
        let sql = format!("{WAIT} WHERE COALESCE(wait.label, '') = $1 ORDER BY wait.id LIMIT $2");
        self.pool.list(AssertSqlSafe(sql), args![label, most], wait).await
    }

    async fn slots(&self) -> Result<Vec<(NodeName, u32)>> {
        self.pool.list("SELECT node, slot FROM busy", args![], |row| Ok((node(row, 0)?, row.small(1)?))).await
    }

    async fn busy(&self) -> Result<Vec<Busy>> {
        self.pool
            .list(
                "SELECT busy.node, busy.slot, busy.build, item.name, running.number, busy.step FROM busy \
                 JOIN running ON running.build = busy.build JOIN item ON item.id = running.item \
                 JOIN node ON node.name = busy.node ORDER BY node.name_key, busy.slot",
                args![],
                busy,
            )
            .await
    }
}

fn item(row: &Row) -> sqlx::Result<QueueItem> {
    let left = match (row.int_or_null(6)?, row.int_or_null(7)?) {
        (None, _) => None,
        (Some(_), None) => Some(Left::Cancelled),
        (Some(_), Some(_)) => Some(Left::Built { number: row.size(7)? }),
    };
    Ok(QueueItem {
        id: QueueId(row.int(0)?),
        job: job(row, 1)?,
        kind: row.word(8, ItemKind::parse)?,
        params: row.json(2)?,
        causes: row.json(3)?,
        since: Millis(row.int(4)?),
        buildable_at: Millis(row.int(5)?),
        left,
    })
}

fn wait(row: &Row) -> sqlx::Result<Wait> {
    Ok(Wait {
        id: row.int(0)?,
        build: BuildId(row.int(1)?),
        job: job(row, 2)?,
        number: row.size(3)?,
        step: row.text(4)?,
        label: row.text_or_null(5)?,
        since: Millis(row.int(6)?),
    })
}

fn busy(row: &Row) -> sqlx::Result<Busy> {
    Ok(Busy {
        node: node(row, 0)?,
        slot: row.small(1)?,
        build: BuildId(row.int(2)?),
        job: job(row, 3)?,
        number: row.size(4)?,
        step: row.text(5)?,
    })
}
