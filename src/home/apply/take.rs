//! From the queue to a build that runs.

use std::collections::{BTreeMap, BTreeSet};

use model::{BuildId, Fence, Millis, QueueId, ReplicaId};
use store::{Answer, Error, Taken};

use super::unsigned;
use crate::db::{Arg, Conn, Lock, Row, args};

/// A `TakeBuild`.
#[derive(Clone, Copy)]
pub(super) struct Take<'a> {
    pub(super) id: QueueId,
    pub(super) owner: &'a ReplicaId,
    pub(super) exclusive: bool,
    pub(super) behaviour: u32,
    pub(super) at: Millis,
}

/// A build that begins.
struct Begin<'a> {
    /// Where its answer goes.
    at: usize,
    take: Take<'a>,
    item: i64,
    number: i64,
}

/// What is counted of a job while builds of it begin.
struct Job {
    next: i64,
    running: i64,
}

/// Takes items, each once.
pub(super) async fn batch(
    conn: &mut Conn,
    takes: &[(usize, Take<'_>)],
    answers: &mut [store::Result<Answer>],
) -> sqlx::Result<()> {
    let ids: Vec<Arg<'_>> = takes.iter().map(|(_, take)| Arg::from(take.id)).collect();
    let head = "WITH v (id) AS (VALUES";
    let tail = ") SELECT queue.id, queue.left_at, queue.build, queue.number, item.id, item.next_build, item.running \
                FROM v JOIN queue ON queue.id = v.id JOIN item ON item.id = queue.item";
    let rows = conn.locked_many(Lock::ChangeOf("queue, item"), head, 1, &ids, tail).await?;
    let rows = rows.iter().map(|row| Ok((row.int(0)?, row))).collect::<sqlx::Result<BTreeMap<_, _>>>()?;
    let (epoch, live) = epoch_and_live(conn).await?;
    let mut jobs: BTreeMap<i64, Job> = BTreeMap::new();
    let mut begin = Vec::with_capacity(takes.len());
    for (at, take) in takes {
        let gone = || Error::NotFound(format!("the queue item {}", take.id.0));
        let Some(row) = rows.get(&take.id.0) else {
            answers[*at] = Err(gone());
            continue;
        };
        if !live.contains(take.owner) {
            answers[*at] = Err(Error::Fenced { current: None });
            continue;
        }
        if row.int_or_null(1)?.is_some() {
            answers[*at] = taken_before(conn, row, take.owner).await?.ok_or_else(gone);
            continue;
        }
        let item = row.int(4)?;
        let job = match jobs.entry(item) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(Job { next: row.int(5)?, running: row.int(6)? })
            }
        };
        if take.exclusive && job.running > 0 {
            answers[*at] = Err(Error::Conflict("a build of this job runs".to_owned()));
            continue;
        }
        begin.push(Begin { at: *at, take: *take, item, number: job.next });
        job.next += 1;
        job.running += 1;
    }
    let builds = insert(conn, &begin, epoch).await?;
    count(conn, &jobs).await?;
    leave(conn, &begin, &builds).await?;
    for begin in &begin {
        let build = builds.get(&begin.take.id.0).copied().ok_or_else(no_row)?;
        let (owner, fence) = (begin.take.owner.incarnation, Fence::first(epoch));
        let taken = |number| Answer::Taken(Taken { build, number, owner, fence });
        answers[begin.at] = unsigned(begin.number).map(taken);
    }
    Ok(())
}

fn no_row() -> sqlx::Error {
    sqlx::Error::Decode("a build that was inserted has no row".into())
}

/// The epoch, and who is live.
async fn epoch_and_live(conn: &mut Conn) -> sqlx::Result<(u32, BTreeSet<ReplicaId>)> {
    let rows = conn
        .rows(
            "SELECT meta.epoch, member.name, member.incarnation FROM meta \
             LEFT JOIN member ON member.state <> 'stopped'",
            args![],
        )
        .await?;
    let epoch = rows.first().map_or(Err(sqlx::Error::RowNotFound), |row| row.small(0))?;
    let mut live = BTreeSet::new();
    for row in rows {
        if let (Some(name), Some(incarnation)) = (row.text_or_null(1)?, row.int_or_null(2)?) {
            let name = model::ReplicaName::parse(&name).map_err(|e| sqlx::Error::Decode(e.into()))?;
            live.insert(ReplicaId { name, incarnation });
        }
    }
    Ok((epoch, live))
}

/// The answer once more, when this owner took the item and still drives its build.
async fn taken_before(conn: &mut Conn, row: &Row, owner: &ReplicaId) -> sqlx::Result<Option<Answer>> {
    let (Some(build), Some(_)) = (row.int_or_null(2)?, row.int_or_null(3)?) else {
        return Ok(None);
    };
    let number = row.size(3)?;
    let running = conn
        .row("SELECT fence FROM running WHERE build = $1 AND owner = $2", args![build, owner.incarnation])
        .await?;
    let Some(running) = running else {
        return Ok(None);
    };
    let fence = Fence::from_i64(running.int(0)?);
    Ok(Some(Answer::Taken(Taken { build: BuildId(build), number, owner: owner.incarnation, fence })))
}

/// The rows of new builds; their ids by those of their queue items.
async fn insert(conn: &mut Conn, begin: &[Begin<'_>], epoch: u32) -> sqlx::Result<BTreeMap<i64, BuildId>> {
    let rows: Vec<Arg<'_>> = begin
        .iter()
        .flat_map(|b| {
            let (at, behaviour) = (Arg::from(b.take.at), Arg::from(b.take.behaviour));
            [Arg::from(b.take.id), Arg::from(b.number), at, behaviour]
        })
        .collect();
    let head = "WITH v (id, number, at, behaviour) AS (VALUES";
    let tail = ") INSERT INTO build (item, number, queue_id, causes, params, queued_at, started_at, keep, log_end, \
                behaviour) SELECT queue.item, v.number, queue.id, queue.causes, queue.params, queue.since, v.at, 0, 0, \
                v.behaviour FROM v JOIN queue ON queue.id = v.id RETURNING queue_id, id";
    let mut builds = BTreeMap::new();
    for row in conn.rows_many(head, 4, &rows, tail).await? {
        builds.insert(row.int(0)?, BuildId(row.int(1)?));
    }
    let mut running = Vec::with_capacity(begin.len() * 10);
    for b in begin {
        let build = *builds.get(&b.take.id.0).ok_or_else(no_row)?;
        let zero = Arg::from(0_i64);
        running.extend([Arg::from(build), Arg::from(b.item), Arg::from(b.number)]);
        running.extend([Arg::from(b.take.owner.incarnation), Arg::from(Fence::first(epoch))]);
        running.extend([zero, zero, zero, Arg::from(epoch), Arg::from(b.take.behaviour)]);
    }
    let head = "INSERT INTO running (build, item, number, owner, fence, seq, log_end, records, epoch, behaviour) VALUES";
    conn.run_many(head, 10, &running, "").await?;
    Ok(builds)
}

/// The rows of the jobs are locked.
async fn count(conn: &mut Conn, jobs: &BTreeMap<i64, Job>) -> sqlx::Result<()> {
    let rows: Vec<Arg<'_>> = jobs
        .iter()
        .flat_map(|(item, job)| [Arg::from(*item), Arg::from(job.next), Arg::from(job.running)])
        .collect();
    let head = "WITH v (id, next_build, running) AS (VALUES";
    let tail = ") UPDATE item SET next_build = v.next_build, running = v.running FROM v WHERE item.id = v.id";
    conn.run_many(head, 3, &rows, tail).await
}

async fn leave(conn: &mut Conn, begin: &[Begin<'_>], builds: &BTreeMap<i64, BuildId>) -> sqlx::Result<()> {
    let mut rows = Vec::with_capacity(begin.len() * 4);
    for b in begin {
        let build = *builds.get(&b.take.id.0).ok_or_else(no_row)?;
        rows.extend([Arg::from(b.take.id), Arg::from(b.take.at), Arg::from(build), Arg::from(b.number)]);
    }
    let head = "WITH v (id, at, build, number) AS (VALUES";
    let tail =
        ") UPDATE queue SET left_at = v.at, build = v.build, number = v.number FROM v WHERE queue.id = v.id";
    conn.run_many(head, 4, &rows, tail).await
}
