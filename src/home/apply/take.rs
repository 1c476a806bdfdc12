//! From the queue to a build that runs.

use std::collections::{BTreeMap, BTreeSet};

use model::{BuildId, Fence, Millis, QueueId, ReplicaId};
use store::{Answer, Error, Executor, Taken};

use super::unsigned;
use crate::db::{Arg, Conn, Lock, Many, Row, args};

/// A `TakeBuild`.
#[derive(Clone, Copy)]
pub(super) struct Take<'a> {
    pub(super) id: QueueId,
    pub(super) owner: &'a ReplicaId,
    pub(super) exclusive: bool,
    pub(super) behaviour: u32,
    pub(super) at: Millis,
    pub(super) executor: Option<&'a Executor>,
}

impl Take<'_> {
    /// Whose executor it is before the build has an id. No build has such a one.
    fn place(&self) -> i64 {
        -self.id.0
    }
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

/// Occupies the executors that are free, before items are locked (see `order`): executors come first. They stay without a
/// build until `batch` gives them to one, or back.
pub(super) async fn reserve(conn: &mut Conn, takes: &[Take<'_>]) -> sqlx::Result<()> {
    let mut wanted: BTreeMap<i64, &Executor> = BTreeMap::new();
    for take in takes {
        if let Some(executor) = take.executor {
            wanted.entry(take.place()).or_insert(executor);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let rows = wanted.iter().flat_map(|(place, executor)| {
        [Arg::from(*place), Arg::from(executor.node.as_str()), Arg::from(executor.slot)]
    });
    let head = "WITH v (place, node, slot) AS (VALUES";
    let tail = ") SELECT v.place, v.node, v.slot FROM v JOIN node ON node.name = v.node WHERE node.offline IS NULL \
                AND node.executors > v.slot AND EXISTS (SELECT 1 FROM link JOIN member ON member.name = link.holder_name \
                AND member.incarnation = link.holder_incarnation \
                WHERE link.node = node.name AND member.state <> 'stopped')";
    let mut fit = Vec::with_capacity(wanted.len());
    for row in conn.locked_many(Lock::KeepOf("node"), head, 3, &rows.collect::<Vec<_>>(), tail).await? {
        fit.push((row.text(1)?, row.small(2)?, row.int(0)?));
    }
    // In one order, so that two processes that insert the same do not wait for each other in a circle.
    fit.sort();
    let rows: Vec<Arg<'_>> = fit
        .iter()
        .flat_map(|(node, slot, place)| {
            [Arg::from(node), Arg::from(*slot), Arg::from(*place), Arg::from(Executor::STEP)]
        })
        .collect();
    let head = "INSERT INTO busy (node, slot, build, step) VALUES";
    conn.run_many(head, 4, &rows, "ON CONFLICT (node, slot) DO NOTHING").await
}

/// The places for which an executor is reserved.
async fn reserved(conn: &mut Conn, takes: &[(usize, Take<'_>)]) -> sqlx::Result<BTreeSet<i64>> {
    let places: Vec<i64> =
        takes.iter().filter(|(_, take)| take.executor.is_some()).map(|(_, take)| take.place()).collect();
    if places.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows = conn.rows_in("SELECT build FROM busy WHERE build IN", &places, "").await?;
    rows.iter().map(|row| row.int(0)).collect()
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
    let reserved = reserved(conn, takes).await?;
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
        if take.executor.is_some() && !reserved.contains(&take.place()) {
            answers[*at] = Err(Error::Conflict("its executor is not free".to_owned()));
            continue;
        }
        begin.push(Begin { at: *at, take: *take, item, number: job.next });
        job.next += 1;
        job.running += 1;
    }
    let builds = insert(conn, &begin).await?;
    start(conn, &begin, &builds, &jobs, epoch).await?;
    give_back(conn, reserved, &begin).await?;
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
async fn insert(conn: &mut Conn, begin: &[Begin<'_>]) -> sqlx::Result<BTreeMap<i64, BuildId>> {
    let rows: Vec<Arg<'_>> = begin
        .iter()
        .flat_map(|b| {
            let (at, behaviour) = (Arg::from(b.take.at), Arg::from(b.take.behaviour));
            let node = Arg::from(b.take.executor.map(|executor| executor.node.as_str()));
            [Arg::from(b.take.id), Arg::from(b.number), at, behaviour, node]
        })
        .collect();
    let head = "WITH v (id, number, at, behaviour, node) AS (VALUES";
    let tail = ") INSERT INTO build (item, number, queue_id, causes, params, queued_at, started_at, keep, log_end, \
                behaviour, built_on) SELECT queue.item, v.number, queue.id, queue.causes, queue.params, queue.since, v.at, 0, 0, \
                v.behaviour, v.node FROM v JOIN queue ON queue.id = v.id RETURNING queue_id, id";
    let mut builds = BTreeMap::new();
    for row in conn.rows_many(head, 5, &rows, tail).await? {
        builds.insert(row.int(0)?, BuildId(row.int(1)?));
    }
    Ok(builds)
}

/// What is there of builds that run, of their executors and jobs, whose rows are locked, and of the items they were.
async fn start(
    conn: &mut Conn,
    begin: &[Begin<'_>],
    builds: &BTreeMap<i64, BuildId>,
    jobs: &BTreeMap<i64, Job>,
    epoch: u32,
) -> sqlx::Result<()> {
    let (mut running, mut left, mut given, mut inbox) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let key = format!("granted:{}", Executor::STEP);
    let zero = Arg::from(0_i64);
    for b in begin {
        let build = *builds.get(&b.take.id.0).ok_or_else(no_row)?;
        running.extend([Arg::from(build), Arg::from(b.item), Arg::from(b.number)]);
        running.extend([Arg::from(b.take.owner.incarnation), Arg::from(Fence::first(epoch))]);
        running.extend([zero, zero, zero, Arg::from(epoch), Arg::from(b.take.behaviour)]);
        left.extend([Arg::from(b.take.id), Arg::from(b.take.at), Arg::from(build), Arg::from(b.number)]);
        if let Some(executor) = b.take.executor {
            given.extend([Arg::from(b.take.place()), Arg::from(build)]);
            inbox.extend([Arg::from(build), Arg::from(&key), Arg::from(&executor.body), zero]);
        }
    }
    let counts: Vec<Arg<'_>> = jobs
        .iter()
        .flat_map(|(item, job)| [Arg::from(*item), Arg::from(job.next), Arg::from(job.running)])
        .collect();
    conn.together(&[
        Many::new(
            "INSERT INTO running (build, item, number, owner, fence, seq, log_end, records, epoch, behaviour) VALUES",
            10,
            &running,
            "",
        ),
        Many::new(
            "WITH v (id, next_build, running) AS (VALUES",
            3,
            &counts,
            ") UPDATE item SET next_build = v.next_build, running = v.running FROM v WHERE item.id = v.id",
        ),
        Many::new(
            "WITH v (id, at, build, number) AS (VALUES",
            4,
            &left,
            ") UPDATE queue SET left_at = v.at, build = v.build, number = v.number FROM v WHERE queue.id = v.id",
        ),
        Many::new(
            "WITH v (place, build) AS (VALUES",
            2,
            &given,
            ") UPDATE busy SET build = v.build FROM v WHERE busy.build = v.place",
        ),
        Many::new("INSERT INTO inbox (build, row_key, body, consumed) VALUES", 4, &inbox, ""),
    ])
    .await
    .map(drop)
}

/// Gives back the executors that are reserved for what has not begun.
async fn give_back(conn: &mut Conn, reserved: BTreeSet<i64>, begin: &[Begin<'_>]) -> sqlx::Result<()> {
    let begun: BTreeSet<i64> = begin.iter().map(|b| b.take.place()).collect();
    let back: Vec<i64> = reserved.difference(&begun).copied().collect();
    if back.is_empty() {
        return Ok(());
    }
    conn.run_in("DELETE FROM busy WHERE build IN", &back, "").await
}
