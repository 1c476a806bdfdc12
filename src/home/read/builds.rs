//! Reads of builds and what belongs to them. The log is in `logs`.

use bytes::Bytes;
use model::{BuildId, BuildResult, Fence, JobName, Millis, QueueId};
use sqlx::AssertSqlSafe;
use store::{
    ArchivedLog, Artifact, Build, Builds, InboxRow, JOURNAL_BYTES, JOURNAL_NUMBERS, JOURNAL_RECORDS, Result,
    Running, Stash, Tally, Which,
};

use super::tallies::tallies;
use super::{Pool, job, limit, logs, node, unreadable};
use crate::Home;
use crate::db::{Arg, Row, args};

/// Columns of a build, for [`build`].
const BUILD: &str = "SELECT build.id, item.name, build.number, build.queue_id, build.causes, build.params, \
     build.queued_at, build.started_at, build.ended_at, build.result, build.display_name, build.description, \
     build.keep, COALESCE(running.log_end, build.log_end), build.behaviour, build.built_on \
     FROM build JOIN item ON item.id = build.item LEFT JOIN running ON running.build = build.id";

/// Records of one look into the journal; the last ones count most, so the limit by bytes is kept in steps.
const STEP: usize = 64;
/// Builds of one look at which of them are over.
const MANY: usize = 32;

#[async_trait::async_trait]
impl Builds for Home {
    async fn build(&self, job: &JobName, which: Which) -> Result<Option<Build>> {
        let sql = format!("{BUILD} WHERE {}", condition(which));
        let number = match which {
            Which::Number(n) | Which::Before(n) | Which::After(n) => i64::try_from(n).unwrap_or(i64::MAX),
            _ => 0,
        };
        let (key, name) = (job.key(), job.as_str());
        match which {
            Which::Number(_) | Which::Before(_) | Which::After(_) => {
                self.pool.first(AssertSqlSafe(sql), args![&key, name, number], build).await
            }
            _ => self.pool.first(AssertSqlSafe(sql), args![&key, name], build).await,
        }
    }

    async fn build_by_id(&self, id: BuildId) -> Result<Option<Build>> {
        self.pool.first(AssertSqlSafe(format!("{BUILD} WHERE build.id = $1")), args![id], build).await
    }

    async fn builds(&self, job: &JobName, below: Option<u64>, most: u32) -> Result<Vec<Build>> {
        let below = below.map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX));
        let sql = format!(
            "{BUILD} WHERE build.item = {ITEM} AND build.number < $3 ORDER BY build.number DESC LIMIT $4"
        );
        self.pool.list(AssertSqlSafe(sql), args![&job.key(), job.as_str(), below, limit(most)], build).await
    }

    async fn tallies(&self, after: i64, most: u32) -> Result<Vec<Tally>> {
        tallies(&self.pool, after, limit(most)).await
    }

    async fn running(&self, owner: Option<i64>) -> Result<Vec<Running>> {
        const COLUMNS: &str = "SELECT running.build, item.name, running.number, running.owner, running.fence, \
             running.seq, running.log_end, running.epoch, running.behaviour FROM running JOIN item ON item.id = running.item";
        match owner {
            None => {
                let sql = format!("{COLUMNS} ORDER BY running.build");
                self.pool.list(AssertSqlSafe(sql), args![], running).await
            }
            Some(owner) => {
                let sql = format!("{COLUMNS} WHERE running.owner = $1 ORDER BY running.build");
                self.pool.list(AssertSqlSafe(sql), args![owner], running).await
            }
        }
    }

    async fn over(&self, builds: &[BuildId]) -> Result<Vec<BuildId>> {
        // One statement of a fixed size, so that it is prepared once: the rest of the last one names a build twice.
        let places: Vec<String> = (1..=MANY).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT CAST(0 AS BIGINT), COALESCE(MAX(id), 0) FROM build UNION ALL \
             SELECT CAST(1 AS BIGINT), id FROM build WHERE ended_at IS NULL AND id IN ({})",
            places.join(", ")
        );
        let mut over = Vec::new();
        for some in builds.chunks(MANY) {
            let mut ids = [Arg::from(some[0]); MANY];
            ids.iter_mut().zip(some).for_each(|(place, id)| *place = Arg::from(*id));
            let rows = self
                .pool
                .list(AssertSqlSafe(sql.clone()), &ids, |row| Ok((row.yes(0)?, row.int(1)?)))
                .await?;
            let highest = rows.iter().find(|(running, _)| !running).map_or(0, |(_, id)| *id);
            let ended = |id: &&BuildId| id.0 <= highest && !rows.contains(&(true, id.0));
            over.extend(some.iter().filter(ended));
        }
        Ok(over)
    }

    async fn journal(&self, build: BuildId, from: i64) -> Result<Vec<Bytes>> {
        journal(&self.pool, build, from).await
    }

    async fn journal_numbers(&self, build: BuildId, from: i64) -> Result<Vec<i64>> {
        let most = i64::try_from(JOURNAL_NUMBERS).unwrap_or(i64::MAX);
        self.pool
            .list(
                "SELECT number FROM journal WHERE build = $1 AND number >= $2 ORDER BY number LIMIT $3",
                args![build, from, most],
                |row| row.int(0),
            )
            .await
    }

    async fn recorded(&self, build: BuildId) -> Result<Option<i64>> {
        self.pool.first("SELECT records FROM running WHERE build = $1", args![build], |row| row.int(0)).await
    }

    async fn source(&self, hash: &str) -> Result<Option<String>> {
        self.pool.first("SELECT body FROM source WHERE hash = $1", args![hash], |row| row.text(0)).await
    }

    async fn inbox(&self, build: BuildId) -> Result<Vec<InboxRow>> {
        let sql = "SELECT row_key, body FROM inbox WHERE build = $1 AND consumed = 0 ORDER BY position";
        self.pool.list(sql, args![build], |row| Ok(InboxRow { key: row.text(0)?, body: row.text(1)? })).await
    }

    async fn with_inbox(&self, owner: i64) -> Result<Vec<BuildId>> {
        self.pool
            .list(
                "SELECT build FROM running WHERE owner = $1 AND EXISTS \
                 (SELECT 1 FROM inbox WHERE inbox.build = running.build AND inbox.consumed = 0) ORDER BY build",
                args![owner],
                |row| row.int(0).map(BuildId),
            )
            .await
    }

    async fn raw_offsets(&self, build: BuildId) -> Result<Vec<(String, u64)>> {
        let sql = "SELECT step, raw_to FROM raw WHERE build = $1 ORDER BY step";
        self.pool.list(sql, args![build], |row| Ok((row.text(0)?, row.size(1)?))).await
    }

    async fn to_archive(&self, after: Option<BuildId>, most: u32) -> Result<Vec<BuildId>> {
        let sql = "SELECT build FROM archive WHERE object IS NULL AND build > $1 ORDER BY build LIMIT $2";
        let after = after.map_or(0, |build| build.0);
        self.pool.list(sql, args![after, limit(most)], |row| row.int(0).map(BuildId)).await
    }

    async fn archived(&self, build: BuildId) -> Result<Option<ArchivedLog>> {
        logs::archived(&self.pool, build).await
    }

    async fn artifacts(&self, build: BuildId, after: Option<&str>, most: u32) -> Result<Vec<Artifact>> {
        self.pool
            .list(
                "SELECT path, size, object FROM artifact WHERE build = $1 AND path > $2 ORDER BY path LIMIT $3",
                args![build, after.unwrap_or_default(), limit(most)],
                artifact,
            )
            .await
    }

    async fn with_artifacts(&self, builds: &[BuildId]) -> Result<Vec<BuildId>> {
        let places: Vec<String> = (1..=MANY).map(|n| format!("${n}")).collect();
        let sql = format!("SELECT DISTINCT build FROM artifact WHERE build IN ({})", places.join(", "));
        let mut some = std::collections::HashSet::new();
        for page in builds.chunks(MANY) {
            // One statement of a fixed size, as for `over`.
            let mut ids = [Arg::from(page[0]); MANY];
            for (place, id) in ids.iter_mut().zip(page) {
                *place = Arg::from(*id);
            }
            some.extend(self.pool.list(AssertSqlSafe(sql.clone()), &ids, |row| row.int(0)).await?);
        }
        Ok(builds.iter().filter(|build| some.contains(&build.0)).copied().collect())
    }

    async fn artifact(&self, build: BuildId, path: &str) -> Result<Option<Artifact>> {
        let sql = "SELECT path, size, object FROM artifact WHERE build = $1 AND path = $2";
        self.pool.first(sql, args![build, path], artifact).await
    }

    async fn stash(&self, build: BuildId, name: &str) -> Result<Option<Stash>> {
        let sql = "SELECT name, size, object FROM stash WHERE build = $1 AND name = $2";
        self.pool
            .first(sql, args![build, name], |row| {
                Ok(Stash { name: row.text(0)?, size: row.size(1)?, object: row.text(2)? })
            })
            .await
    }

    async fn garbage(&self, most: u32) -> Result<Vec<String>> {
        let sql = "SELECT object FROM garbage ORDER BY object LIMIT $1";
        self.pool.list(sql, args![limit(most)], |row| row.text(0)).await
    }
}

/// The job that `$1` (key) and `$2` (name) name.
const ITEM: &str = "(SELECT id FROM item WHERE name_key = $1 AND name = $2)";

/// Which rows are meant; each is one look into an index.
fn condition(which: Which) -> String {
    let of_item = format!("build.item = {ITEM}");
    match which {
        Which::Number(_) => format!("{of_item} AND build.number = $3"),
        Which::First => format!("{of_item} ORDER BY build.number LIMIT 1"),
        Which::Last => format!("{of_item} ORDER BY build.number DESC LIMIT 1"),
        Which::Before(_) => format!("{of_item} AND build.number < $3 ORDER BY build.number DESC LIMIT 1"),
        Which::After(_) => format!("{of_item} AND build.number > $3 ORDER BY build.number LIMIT 1"),
        Which::LastCompleted
        | Which::LastStable
        | Which::LastSuccessful
        | Which::LastUnstable
        | Which::LastFailed
        | Which::LastUnsuccessful => {
            // The newest of the newest with each wanted result: the index (item, result, number) has each at its end.
            let newest: Vec<String> = BuildResult::ALL
                .into_iter()
                .filter(|result| which.wants(*result))
                .map(|result| {
                    format!(
                        "SELECT (SELECT MAX(b.number) FROM build b WHERE b.item = {ITEM} AND b.result = '{result}' \
                         AND b.ended_at IS NOT NULL) AS number"
                    )
                })
                .collect();
            format!(
                "{of_item} AND build.number = (SELECT MAX(newest.number) FROM ({}) AS newest)",
                newest.join(" UNION ALL ")
            )
        }
    }
}

async fn journal(pool: &Pool, build: BuildId, from: i64) -> Result<Vec<Bytes>> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    let mut next = from.max(0);
    loop {
        let step = STEP.min(JOURNAL_RECORDS - records.len());
        let rows = pool
            .rows(
                "SELECT body FROM journal WHERE build = $1 AND number >= $2 ORDER BY number LIMIT $3",
                args![build, next, i64::try_from(step).unwrap_or(i64::MAX)],
            )
            .await?;
        let last = rows.len() < step;
        for row in rows {
            let record = Bytes::from(row.bytes(0).map_err(unreadable)?);
            bytes += record.len();
            if bytes > JOURNAL_BYTES && !records.is_empty() {
                return Ok(records);
            }
            records.push(record);
            next += 1;
        }
        if last || records.len() == JOURNAL_RECORDS {
            return Ok(records);
        }
    }
}

fn build(row: &Row) -> sqlx::Result<Build> {
    let result = match row.text_or_null(9)? {
        None => None,
        Some(_) => Some(row.word(9, BuildResult::parse)?),
    };
    Ok(Build {
        id: BuildId(row.int(0)?),
        job: job(row, 1)?,
        number: row.size(2)?,
        queue_id: QueueId(row.int(3)?),
        causes: row.json(4)?,
        params: row.json(5)?,
        queued_at: Millis(row.int(6)?),
        started_at: Millis(row.int(7)?),
        ended_at: row.int_or_null(8)?.map(Millis),
        result,
        display_name: row.text_or_null(10)?,
        description: row.text_or_null(11)?,
        keep: row.yes(12)?,
        log_end: row.size(13)?,
        behaviour: row.small(14)?,
        built_on: match row.text_or_null(15)? {
            Some(_) => Some(node(row, 15)?),
            None => None,
        },
    })
}

fn running(row: &Row) -> sqlx::Result<Running> {
    Ok(Running {
        build: BuildId(row.int(0)?),
        job: job(row, 1)?,
        number: row.size(2)?,
        owner: row.int(3)?,
        fence: Fence::from_i64(row.int(4)?),
        seq: row.int(5)?,
        log_end: row.size(6)?,
        epoch: row.small(7)?,
        behaviour: row.small(8)?,
    })
}

fn artifact(row: &Row) -> sqlx::Result<Artifact> {
    Ok(Artifact { path: row.text(0)?, size: row.size(1)?, object: row.text(2)? })
}
