//! Builds of jobs in numbers. What has ended is counted in the row of the job, so that this costs the same however many
//! builds there are, but for the count of those that are kept, which an index answers.

use std::collections::HashMap;

use model::BuildResult;
use store::{NEWEST, Recent, Result, Tally};

use super::Pool;
use super::items::summary;
use crate::db::{Row, args};

pub(super) async fn tallies(pool: &Pool, after: i64, limit: i64) -> Result<Vec<Tally>> {
    let mut tallies = pool
        .list(
            "SELECT id, name, kind, disabled, next_build, running, last_result, version, \
             succeeded, unstable, failed, not_built, aborted, took FROM item \
             WHERE id > $1 AND kind <> 'folder' ORDER BY id LIMIT $2",
            args![after, limit],
            tally,
        )
        .await?;
    let (Some(first), Some(last)) = (tallies.first(), tallies.last()) else { return Ok(tallies) };
    let (first, last) = (first.item.id, last.item.id);
    let counts = pool
        .list(
            "SELECT item, COUNT(*) FROM build WHERE item BETWEEN $1 AND $2 GROUP BY item",
            args![first, last],
            |row| Ok((row.int(0)?, row.size(1)?)),
        )
        .await?;
    let counts: HashMap<i64, u64> = counts.into_iter().collect();
    let newest = pool
        .list(
            "SELECT build.item, build.number, build.queued_at, build.started_at, build.ended_at, build.result, \
             build.log_end FROM (SELECT item, MAX(number) AS number FROM build WHERE item BETWEEN $1 AND $2 \
             GROUP BY item) top JOIN build ON build.item = top.item AND build.number > top.number - $3 \
             ORDER BY build.item, build.number DESC",
            args![first, last, NEWEST as i64],
            |row| Ok((row.int(0)?, recent(row)?)),
        )
        .await?;
    let mut of: HashMap<i64, Vec<Recent>> = HashMap::new();
    for (item, build) in newest {
        of.entry(item).or_default().push(build);
    }
    for tally in &mut tallies {
        tally.builds = counts.get(&tally.item.id).copied().unwrap_or(0);
        tally.newest = of.remove(&tally.item.id).unwrap_or_default();
    }
    Ok(tallies)
}

fn tally(row: &Row) -> sqlx::Result<Tally> {
    let mut ended = [0; BuildResult::ALL.len()];
    for (at, count) in ended.iter_mut().enumerate() {
        *count = row.size(8 + at)?;
    }
    Ok(Tally { item: summary(row)?, ended, took: row.size(13)?, builds: 0, newest: Vec::new() })
}

fn recent(row: &Row) -> sqlx::Result<Recent> {
    let result = match row.text_or_null(5)? {
        None => None,
        Some(_) => Some(row.word(5, BuildResult::parse)?),
    };
    let ended_at = row.int_or_null(4)?.map(model::Millis);
    Ok(Recent {
        number: row.size(1)?,
        queued_at: model::Millis(row.int(2)?),
        started_at: model::Millis(row.int(3)?),
        ended_at,
        result,
        log_end: if ended_at.is_some() { row.size(6)? } else { 0 },
    })
}
