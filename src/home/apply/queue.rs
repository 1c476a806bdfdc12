//! The queue: in, out, and from it to a build and its executors.

use model::{BuildId, Cause, Fence, Millis, NodeName, QueueId, ReplicaId};
use sha2::{Digest, Sha256};
use store::{Answer, Enqueue, Error, ItemKind, MAX_QUEUE, Taken};

use super::{Applied, jobs, json, unsigned};
use crate::db::{Conn, Lock, Row, args};

/// How many items may still be enqueued before the waiting ones are counted again. Counting each time would cost more
/// the longer the queue is. Other processes enqueue too, so only a sixteenth of the room is used without counting:
/// with up to 16 processes the limit holds exactly.
#[derive(Debug, Default)]
pub(crate) struct Room {
    uncounted: u64,
}

impl Room {
    async fn take_one(&mut self, conn: &mut Conn) -> Applied<()> {
        if self.uncounted == 0 {
            let row = conn.row("SELECT COUNT(*) FROM queue WHERE left_at IS NULL", args![]).await?;
            let waiting = unsigned(row.map_or(Ok(0), |r| r.int(0))?)?;
            let room = MAX_QUEUE.saturating_sub(waiting);
            if room == 0 {
                return Err(Error::Limit(format!("{MAX_QUEUE} items wait in the queue")).into());
            }
            self.uncounted = (room / 16).max(1);
        }
        self.uncounted -= 1;
        Ok(())
    }
}

/// Equal for items of one job that fold. Keys of an index must be short, parameters need not be.
fn fold(params: &str) -> String {
    hex::encode(Sha256::digest(params.as_bytes()))
}

pub(super) async fn enqueue(conn: &mut Conn, room: &mut Room, enqueue: &Enqueue) -> Applied {
    let rows = conn
        .locked(
            Lock::Keep,
            "SELECT id, kind, disabled FROM item WHERE name_key = $1 AND name = $2",
            args![&enqueue.job.key(), enqueue.job.as_str()],
        )
        .await?;
    let row = rows.first().ok_or_else(|| jobs::no_item(&enqueue.job))?;
    if row.word(1, ItemKind::parse)? != ItemKind::Pipeline {
        return Err(Error::Conflict(format!("“{}” cannot be built", enqueue.job)).into());
    }
    if row.yes(2)? {
        return Err(Error::Conflict(format!("“{}” is disabled", enqueue.job)).into());
    }
    let item = row.int(0)?;
    let params = json(&enqueue.params)?;
    let fold = fold(&params);
    if let Some(id) = join_waiting(conn, item, &fold, enqueue).await? {
        return Ok(Answer::Queued { id, existing: true });
    }
    room.take_one(conn).await?;
    // The unique key decides between two processes that enqueue the same.
    let row = conn
        .row(
            "INSERT INTO queue (item, params, fold, causes, since, buildable_at) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (item, fold) WHERE left_at IS NULL DO NOTHING RETURNING id",
            args![item, &params, &fold, &json(&enqueue.causes)?, enqueue.at, enqueue.buildable_at],
        )
        .await?;
    if let Some(row) = row {
        return Ok(Answer::Queued { id: QueueId(row.int(0)?), existing: false });
    }
    match join_waiting(conn, item, &fold, enqueue).await? {
        Some(id) => Ok(Answer::Queued { id, existing: true }),
        None => Err(Error::Unavailable("the same was enqueued and taken at this moment".to_owned()).into()),
    }
}

/// Folds into an equal item that waits.
async fn join_waiting(conn: &mut Conn, item: i64, fold: &str, enqueue: &Enqueue) -> Applied<Option<QueueId>> {
    let rows = conn
        .locked(
            Lock::Change,
            "SELECT id, causes, buildable_at FROM queue WHERE item = $1 AND fold = $2 AND left_at IS NULL",
            args![item, fold],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut causes: Vec<Cause> = row.json(1)?;
    for cause in &enqueue.causes {
        if !causes.contains(cause) {
            causes.push(cause.clone());
        }
    }
    let id = row.int(0)?;
    let buildable_at = row.int(2)?.min(enqueue.buildable_at.0);
    conn.run(
        "UPDATE queue SET causes = $2, buildable_at = $3 WHERE id = $1",
        args![id, &json(&causes)?, buildable_at],
    )
    .await?;
    Ok(Some(QueueId(id)))
}

pub(super) async fn cancel(conn: &mut Conn, id: QueueId, at: Millis) -> Applied {
    let left =
        conn.run("UPDATE queue SET left_at = $2 WHERE id = $1 AND left_at IS NULL", args![id, at]).await?;
    Ok(Answer::Bool(left > 0))
}

pub(super) async fn forget_left(conn: &mut Conn, before: Millis) -> Applied {
    conn.run("DELETE FROM queue WHERE left_at IS NOT NULL AND left_at < $1", args![before]).await?;
    Ok(Answer::Unit)
}

/// What `TakeBuild` says besides who takes what.
pub(super) struct Take {
    pub(super) exclusive: bool,
    pub(super) behaviour: u32,
    pub(super) at: Millis,
}

pub(super) async fn take(conn: &mut Conn, id: QueueId, owner: &ReplicaId, how: &Take) -> Applied {
    let rows = conn
        .locked(
            Lock::Change,
            "SELECT queue.left_at, queue.build, queue.number, item.id, item.next_build, item.running, \
             (SELECT epoch FROM meta), \
             (SELECT COUNT(*) FROM member WHERE name = $2 AND incarnation = $3 AND state <> 'stopped') \
             FROM queue JOIN item ON item.id = queue.item WHERE queue.id = $1",
            args![id, owner.name.as_str(), owner.incarnation],
        )
        .await?;
    let gone = || Error::NotFound(format!("the queue item {}", id.0));
    let row = rows.first().ok_or_else(gone)?;
    if !row.yes(7)? {
        return Err(Error::Fenced { current: None }.into());
    }
    if row.int_or_null(0)?.is_some() {
        return taken_before(conn, row, owner).await?.ok_or_else(|| gone().into());
    }
    let (item, number) = (row.int(3)?, row.int(4)?);
    if how.exclusive && row.int(5)? > 0 {
        return Err(Error::Conflict("a build of this job runs".to_owned()).into());
    }
    let fence = Fence::first(row.small(6)?);
    let build = begin(conn, id, (item, number), owner.incarnation, fence, how).await?;
    conn.run("UPDATE item SET next_build = next_build + 1, running = running + 1 WHERE id = $1", args![item])
        .await?;
    conn.run(
        "UPDATE queue SET left_at = $2, build = $3, number = $4 WHERE id = $1",
        args![id, how.at, build, number],
    )
    .await?;
    Ok(Answer::Taken(Taken { build, number: unsigned(number)?, fence }))
}

/// The answer once more, when this owner took the item and still drives its build.
async fn taken_before(conn: &mut Conn, row: &Row, owner: &ReplicaId) -> Applied<Option<Answer>> {
    let (Some(build), Some(number)) = (row.int_or_null(1)?, row.int_or_null(2)?) else {
        return Ok(None);
    };
    let running = conn
        .row("SELECT fence FROM running WHERE build = $1 AND owner = $2", args![build, owner.incarnation])
        .await?;
    let Some(running) = running else {
        return Ok(None);
    };
    let fence = Fence::from_i64(running.int(0)?);
    Ok(Some(Answer::Taken(Taken { build: BuildId(build), number: unsigned(number)?, fence })))
}

/// The rows of a new build.
async fn begin(
    conn: &mut Conn,
    id: QueueId,
    (item, number): (i64, i64),
    owner: i64,
    fence: Fence,
    how: &Take,
) -> Applied<BuildId> {
    let row = conn
        .row(
            "INSERT INTO build (item, number, queue_id, causes, params, queued_at, started_at, ended_at, result, \
             display_name, description, keep, log_end, behaviour) \
             SELECT item, $2, id, causes, params, since, $3, NULL, NULL, NULL, NULL, 0, 0, $4 \
             FROM queue WHERE id = $1 RETURNING id",
            args![id, number, how.at, how.behaviour],
        )
        .await?
        .ok_or_else(|| Error::NotFound(format!("the queue item {}", id.0)))?;
    let build = BuildId(row.int(0)?);
    conn.run(
        "INSERT INTO running (build, item, number, owner, fence, seq, log_end, records, behaviour) \
         VALUES ($1, $2, $3, $4, $5, 0, 0, 0, $6)",
        args![build, item, number, owner, fence, how.behaviour],
    )
    .await?;
    Ok(build)
}

pub(super) async fn grant(conn: &mut Conn, wait: i64, node: &NodeName, slot: u32, body: &str) -> Applied {
    let rows = conn
        .locked(
            Lock::KeepOf("node"),
            "SELECT wait.build, wait.step FROM wait, node WHERE wait.id = $1 AND node.name = $2 \
             AND node.offline IS NULL AND node.executors > $3 AND EXISTS (SELECT 1 FROM link \
             JOIN member ON member.name = link.holder_name AND member.incarnation = link.holder_incarnation \
             WHERE link.node = node.name AND member.state <> 'stopped')",
            args![wait, node.as_str(), slot],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Answer::Bool(false));
    };
    let (build, step) = (row.int(0)?, row.text(1)?);
    let free = conn
        .run(
            "INSERT INTO busy (node, slot, build, step) VALUES ($1, $2, $3, $4) ON CONFLICT (node, slot) DO NOTHING",
            args![node.as_str(), slot, build, &step],
        )
        .await?;
    if free == 0 {
        return Ok(Answer::Bool(false));
    }
    // The wait row decides: its build may have ended, or somebody else may have granted, since it was read.
    if conn.run("DELETE FROM wait WHERE id = $1", args![wait]).await? == 0 {
        conn.run("DELETE FROM busy WHERE node = $1 AND slot = $2", args![node.as_str(), slot]).await?;
        return Ok(Answer::Bool(false));
    }
    conn.run(
        "INSERT INTO inbox (build, row_key, body, consumed) VALUES ($1, $2, $3, 0) \
         ON CONFLICT (build, row_key) DO NOTHING",
        args![build, &format!("granted:{step}"), body],
    )
    .await?;
    Ok(Answer::Bool(true))
}
