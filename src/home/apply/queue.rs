//! Into the queue, and out of it without a build.

use std::collections::{BTreeSet, HashMap};

use model::{Cause, Millis, QueueId, join_causes};
use sha2::{Digest, Sha256};
use store::{Answer, Enqueue, Error, ItemKind, MAX_QUEUE};

use super::{Applied, jobs, json};
use crate::db::{Arg, Conn, Lock, args};

/// How many items may still be enqueued before the waiting ones are counted again. Counting each time would cost more
/// the longer the queue is. Other processes enqueue too, so only a sixteenth of the room is used without counting:
/// with up to 16 processes the limit holds exactly.
#[derive(Debug, Default)]
pub(crate) struct Room {
    uncounted: u64,
}

impl Room {
    async fn take_one(&mut self, conn: &mut Conn) -> sqlx::Result<Result<(), Error>> {
        if self.uncounted == 0 {
            let row = conn.row("SELECT COUNT(*) FROM queue WHERE left_at IS NULL", args![]).await?;
            let waiting = row.map_or(Ok(0), |r| r.size(0))?;
            let room = MAX_QUEUE.saturating_sub(waiting);
            if room == 0 {
                return Ok(Err(Error::Limit(format!("{MAX_QUEUE} items wait in the queue"))));
            }
            self.uncounted = (room / 16).max(1);
        }
        self.uncounted -= 1;
        Ok(Ok(()))
    }
}

/// How often what a build wants is tried.
const LOOKS: usize = 4;

/// Equal for items of one job that fold. Keys of an index must be short, parameters need not be.
fn fold(params: &str) -> String {
    hex::encode(Sha256::digest(params.as_bytes()))
}

/// What makes two items of the queue equal: the job, and its parameters.
pub(super) fn key(enqueue: &Enqueue) -> (String, String) {
    (enqueue.job.key(), fold(&json(&enqueue.params).unwrap_or_default()))
}

/// An item that is to wait.
struct New<'a> {
    /// Where its answer goes.
    at: usize,
    enqueue: &'a Enqueue,
    item: i64,
    params: String,
    fold: String,
    causes: String,
}

/// Enqueues items of which no two are equal.
pub(super) async fn batch(
    conn: &mut Conn,
    room: &mut Room,
    writes: &[(usize, &Enqueue)],
    answers: &mut [store::Result<Answer>],
) -> sqlx::Result<()> {
    let mut new = Vec::with_capacity(writes.len());
    let items = buildable(conn, writes).await?;
    for (at, enqueue) in writes {
        let item = items.get(enqueue.job.as_str()).cloned();
        let item = item.unwrap_or_else(|| Err(jobs::no_item(&enqueue.job)));
        let texts = || Ok((json(&enqueue.params)?, json(&enqueue.causes)?));
        match item.and_then(|item| texts().map(|texts| (item, texts))) {
            Ok((item, (params, causes))) => {
                let fold = fold(&params);
                new.push(New { at: *at, enqueue, item, params, fold, causes });
            }
            Err(error) => answers[*at] = Err(error),
        }
    }
    join_waiting(conn, &mut new, answers).await?;
    let mut fits = Vec::with_capacity(new.len());
    for new in new {
        match room.take_one(conn).await? {
            Ok(()) => fits.push(new),
            Err(error) => answers[new.at] = Err(error),
        }
    }
    insert(conn, &mut fits, answers).await?;
    // The unique key decides between two processes that enqueue the same: what was not inserted waits by now.
    join_waiting(conn, &mut fits, answers).await?;
    for left in fits {
        let why = "the same was enqueued and taken at this moment".to_owned();
        answers[left.at] = Err(Error::Unavailable(why));
    }
    Ok(())
}

/// Enqueues what builds want, of which no two are equal. What is refused is left out: it was told before.
pub(super) async fn by_builds(
    conn: &mut Conn,
    room: &mut Room,
    mut wanted: Vec<(usize, &Enqueue)>,
) -> sqlx::Result<()> {
    for _look in 0..LOOKS {
        for (at, (place, _)) in wanted.iter_mut().enumerate() {
            *place = at;
        }
        let mut answers = vec![Ok(Answer::Unit); wanted.len()];
        batch(conn, room, &wanted, &mut answers).await?;
        // Another process has enqueued and taken the same meanwhile.
        wanted.retain(|(at, _)| matches!(answers[*at], Err(Error::Unavailable(_))));
        if wanted.is_empty() {
            return Ok(());
        }
    }
    Err(sqlx::Error::Protocol("the same is enqueued and taken again and again".to_owned()))
}

/// The ids of the jobs by their names, or why nothing of them can be built. They stay until the commit.
async fn buildable(
    conn: &mut Conn,
    writes: &[(usize, &Enqueue)],
) -> sqlx::Result<HashMap<String, Result<i64, Error>>> {
    let keys: BTreeSet<String> = writes.iter().map(|(_, enqueue)| enqueue.job.key()).collect();
    let keys: Vec<Arg<'_>> = keys.iter().map(Arg::from).collect();
    let head = "WITH v (name_key) AS (VALUES";
    let tail = ") SELECT item.id, item.kind, item.disabled, item.name FROM v JOIN item ON item.name_key = v.name_key";
    let mut items = HashMap::new();
    for row in conn.locked_many(Lock::KeepOf("item"), head, 1, &keys, tail).await? {
        let name = row.text(3)?;
        let item = if !row.word(1, ItemKind::parse)?.is_job() {
            Err(Error::Conflict(format!("“{name}” cannot be built")))
        } else if row.yes(2)? {
            Err(Error::Conflict(format!("“{name}” is disabled")))
        } else {
            Ok(row.int(0)?)
        };
        items.insert(name, item);
    }
    Ok(items)
}

/// Folds into equal items that wait; what finds none stays in `new`.
async fn join_waiting(
    conn: &mut Conn,
    new: &mut Vec<New<'_>>,
    answers: &mut [store::Result<Answer>],
) -> sqlx::Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    let equal: Vec<Arg<'_>> = new.iter().flat_map(|n| [Arg::from(n.item), Arg::from(&n.fold)]).collect();
    let head = "WITH v (item, fold) AS (VALUES";
    let tail = ") SELECT queue.item, queue.fold, queue.id, queue.causes, queue.buildable_at FROM v \
                JOIN queue ON queue.item = v.item AND queue.fold = v.fold AND queue.left_at IS NULL \
                ORDER BY queue.id";
    let waiting = conn.locked_many(Lock::ChangeOf("queue"), head, 2, &equal, tail).await?;
    for row in waiting {
        let (item, fold) = (row.int(0)?, row.text(1)?);
        let Some(at) = new.iter().position(|n| n.item == item && n.fold == fold) else { continue };
        let joined = new.swap_remove(at);
        let mut causes: Vec<Cause> = row.json(3)?;
        join_causes(&mut causes, &joined.enqueue.causes);
        let id = row.int(2)?;
        let buildable_at = row.int(4)?.min(joined.enqueue.buildable_at.0);
        let causes = json(&causes).map_err(|e| sqlx::Error::Encode(e.into()))?;
        conn.run(
            "UPDATE queue SET causes = $2, buildable_at = $3 WHERE id = $1",
            args![id, &causes, buildable_at],
        )
        .await?;
        answers[joined.at] = Ok(Answer::Queued { id: QueueId(id), existing: true });
    }
    Ok(())
}

/// What is not inserted, because another process just did, stays in `new`.
async fn insert(
    conn: &mut Conn,
    new: &mut Vec<New<'_>>,
    answers: &mut [store::Result<Answer>],
) -> sqlx::Result<()> {
    // In the order in which they came, which is the order of their ids.
    new.sort_by_key(|n| n.at);
    let rows: Vec<Arg<'_>> = new
        .iter()
        .flat_map(|n| {
            let (since, buildable_at) = (n.enqueue.at, n.enqueue.buildable_at);
            let (params, fold, causes) = (Arg::from(&n.params), Arg::from(&n.fold), Arg::from(&n.causes));
            [Arg::from(n.item), params, fold, causes, Arg::from(since), Arg::from(buildable_at)]
        })
        .collect();
    let head = "INSERT INTO queue (item, params, fold, causes, since, buildable_at) VALUES";
    let tail = "ON CONFLICT (item, fold) WHERE left_at IS NULL DO NOTHING RETURNING id, item, fold";
    for row in conn.rows_many(head, 6, &rows, tail).await? {
        let (id, item, fold) = (row.int(0)?, row.int(1)?, row.text(2)?);
        let Some(at) = new.iter().position(|n| n.item == item && n.fold == fold) else { continue };
        answers[new.swap_remove(at).at] = Ok(Answer::Queued { id: QueueId(id), existing: false });
    }
    Ok(())
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
