//! The build protocol (DESIGN §4.1): the guard is an UPDATE of the `running` row, which adoption updates too, so that the
//! two are serial on every engine. The writes of a group share their statements.

use std::collections::HashSet;

use model::{BuildId, Fence, ReplicaId};
use store::{Adopted, Answer, Effect, Enqueue, Error, MAX_RECORD, MAX_RECORDS, Progress};

use super::effects::{self, Rows};
use super::late::Late;
use super::{Applied, epoch_and_live, finish, unsigned};
use crate::db::{Arg, Conn, args, int};

/// A write whose numbers were checked.
struct Checked<'a> {
    /// Where its answer goes.
    at: usize,
    progress: &'a Progress,
    /// Where its chunks begin.
    log_start: i64,
    log_end: i64,
}

/// Applies writes of different builds and puts each answer in its place; what they enqueue is left to do. An error is the
/// engine's.
pub(super) async fn batch<'a>(
    conn: &mut Conn,
    writes: &[(usize, &'a Progress)],
    answers: &mut [store::Result<Answer>],
    late: &mut Late<'a>,
) -> sqlx::Result<Vec<&'a Enqueue>> {
    let mut checked = Vec::with_capacity(writes.len());
    for (at, progress) in writes {
        match check(progress) {
            Ok((log_start, log_end)) => checked.push(Checked { at: *at, progress, log_start, log_end }),
            Err(error) => answers[*at] = Err(error),
        }
    }
    if checked.is_empty() {
        return Ok(Vec::new());
    }
    let passed = guard(conn, &checked).await?;
    let (passed, refused): (Vec<_>, Vec<_>) =
        checked.into_iter().partition(|c| passed.contains(&c.progress.build.0));
    for write in refused {
        answers[write.at] = diagnose(conn, write.progress).await?;
    }
    let mut rows = Rows::default();
    let mut ended = Vec::new();
    let mut effects = Vec::new();
    let mut wanted = Vec::new();
    for write in &passed {
        let build = write.progress.build;
        rows.append(write.progress)?;
        for effect in &write.progress.effects {
            match effect {
                Effect::Finish { result, at, archive } => {
                    let (result, at, log_end, archive) = (*result, *at, write.log_end, *archive);
                    ended.push(finish::Ended { build, result, at, log_end, archive });
                }
                Effect::Enqueue(enqueue) => wanted.push(enqueue),
                other => effects.push((build, other)),
            }
        }
        answers[write.at] = Ok(Answer::Unit);
    }
    effects::apply(conn, rows, &effects, late).await?;
    finish::batch(conn, &ended, late).await?;
    Ok(wanted)
}

/// What can be seen without the store; where the chunks begin and end.
fn check(progress: &Progress) -> Result<(i64, i64), Error> {
    let build = progress.build;
    if progress.records.iter().any(|r| r.len() > MAX_RECORD) {
        return Err(Error::Limit(format!("a record of the journal is larger than {MAX_RECORD} bytes")));
    }
    let records = int(progress.records.len() as u64)?;
    if progress.first_record.saturating_add(records) > MAX_RECORDS {
        return Err(Error::Limit(format!("the journal has {MAX_RECORDS} records")));
    }
    let start = progress.chunks.first().map_or(progress.log_end, |c| c.offset);
    let mut end = start;
    for chunk in &progress.chunks {
        if chunk.offset != end || chunk.bytes.is_empty() {
            return Err(Error::Corrupt(format!("the log of build {build} would have a gap at {end}")));
        }
        end += chunk.bytes.len() as u64;
    }
    if end != progress.log_end {
        return Err(Error::Corrupt(format!(
            "the log of build {build} would end at {end}, not at {}",
            progress.log_end
        )));
    }
    let last = progress.effects.iter().position(|e| matches!(e, Effect::Finish { .. }));
    if last.is_some_and(|at| at + 1 != progress.effects.len()) {
        return Err(Error::Corrupt(format!("something follows the end of build {build}")));
    }
    Ok((int(start)?, int(end)?))
}

/// The builds whose guard held. Journal length and log end are conditions too, so that a refused write changes nothing.
async fn guard(conn: &mut Conn, writes: &[Checked<'_>]) -> sqlx::Result<HashSet<i64>> {
    let args: Vec<Arg<'_>> = writes
        .iter()
        .flat_map(|w| {
            let p = w.progress;
            let guard = [Arg::from(p.build), Arg::from(p.owner), Arg::from(p.fence), Arg::from(p.seq)];
            let records = [Arg::from(p.first_record), Arg::Int(i64::try_from(p.records.len()).ok())];
            guard.into_iter().chain(records).chain([Arg::from(w.log_start), Arg::from(w.log_end)])
        })
        .collect();
    let head = "WITH v (build, owner, fence, seq, first_record, records, log_start, log_end) AS (VALUES";
    let tail = ") UPDATE running SET seq = running.seq + 1, log_end = v.log_end, records = running.records + v.records \
                FROM v WHERE running.build = v.build AND running.owner = v.owner AND running.fence = v.fence \
                AND running.seq = v.seq AND running.log_end = v.log_start AND (v.records = 0 OR running.records = v.first_record) \
                RETURNING running.build";
    conn.rows_many(head, 8, &args, tail).await?.iter().map(|row| row.int(0)).collect()
}

/// Why the guard of a write did not hold.
async fn diagnose(conn: &mut Conn, progress: &Progress) -> sqlx::Result<store::Result<Answer>> {
    let row =
        conn.row("SELECT fence, seq, owner FROM running WHERE build = $1", args![progress.build]).await?;
    let Some(row) = row else {
        return Ok(Err(Error::Fenced { current: None }));
    };
    let (fence, seq) = (Fence::from_i64(row.int(0)?), row.int(1)?);
    let ours = fence == progress.fence && row.int(2)? == progress.owner;
    Ok(match seq.saturating_sub(progress.seq) {
        // The lost answer of a commit that happened.
        1 if ours => Ok(Answer::Unit),
        0 if ours => Err(Error::Corrupt(format!(
            "build {}: journal or log do not go on where they ended",
            progress.build
        ))),
        _ => Err(Error::Fenced { current: Some(fence) }),
    })
}

pub(super) async fn adopt(conn: &mut Conn, build: BuildId, seen: Fence, owner: &ReplicaId) -> Applied {
    let (epoch, live) = epoch_and_live(conn, owner).await?;
    if !live {
        return Err(Error::Fenced { current: None }.into());
    }
    let fence = seen.next(epoch);
    let row = conn
        .row(
            "UPDATE running SET owner = $3, fence = $4 WHERE build = $1 AND fence = $2 RETURNING seq, log_end",
            args![build, seen, owner.incarnation, fence],
        )
        .await?;
    if let Some(row) = row {
        return Ok(Answer::Adopted(Adopted { fence, seq: row.int(0)?, log_end: unsigned(row.int(1)?)? }));
    }
    let row = conn
        .row("SELECT fence, owner, seq, log_end FROM running WHERE build = $1", args![build])
        .await?
        .ok_or(Error::Fenced { current: None })?;
    let current = Fence::from_i64(row.int(0)?);
    if current == fence && row.int(1)? == owner.incarnation {
        return Ok(Answer::Adopted(Adopted { fence, seq: row.int(2)?, log_end: unsigned(row.int(3)?)? }));
    }
    Err(Error::Fenced { current: Some(current) }.into())
}

pub(super) async fn deliver(conn: &mut Conn, build: BuildId, key: &str, body: &str) -> Applied {
    // Changes nothing, and keeps the build from ending before the commit.
    if conn.run("UPDATE running SET owner = owner WHERE build = $1", args![build]).await? == 0 {
        return Err(Error::NotFound(format!("the running build {build}")).into());
    }
    let new = conn
        .run(
            "INSERT INTO inbox (build, row_key, body, consumed) VALUES ($1, $2, $3, 0) \
             ON CONFLICT (build, row_key) DO NOTHING",
            args![build, key, body],
        )
        .await?;
    Ok(Answer::Bool(new > 0))
}
