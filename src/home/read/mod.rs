//! Reads: a small pool of connections that never write. A read that finds the store away is tried again for as long as a
//! write would wait; whatever it answers was committed.

mod builds;
mod cluster;
mod items;
mod logs;
mod nodes;
mod queue;
mod tallies;
mod users;

use std::time::Duration;

use model::{JobName, NodeName, ReplicaId, ReplicaName};
use sqlx::{PgPool, SqlSafeStr, SqlStr};
use store::Error;
use tokio::time::{Instant, sleep, timeout_at};

use crate::db::{Arg, Row, postgres_args};
use crate::sqlite::Readers;
use crate::trouble::Trouble;
use crate::writer::PATIENCE;

pub(crate) use logs::Archives;

const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The connections that read.
pub(crate) enum Pool {
    Sqlite(Readers),
    Postgres(PgPool),
}

impl Pool {
    pub(crate) async fn rows(&self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> store::Result<Vec<Row>> {
        let sql = sql.into_sql_str();
        let deadline = Instant::now() + PATIENCE;
        let mut pause = PAUSE;
        loop {
            let trouble = match timeout_at(deadline, self.once(sql.clone(), args)).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) => Trouble::of(&error),
                Err(_) => return Err(Error::Unavailable("it does not answer".to_owned())),
            };
            let passing = matches!(trouble, Trouble::Lost(_) | Trouble::Again(_));
            if !passing || self.closed() || Instant::now() + pause > deadline {
                return Err(trouble.into_error());
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn once(&self, sql: SqlStr, args: &[Arg<'_>]) -> sqlx::Result<Vec<Row>> {
        Ok(match self {
            Pool::Sqlite(pool) => pool.rows(sql.as_str(), args).await?,
            Pool::Postgres(pool) => {
                let rows = sqlx::query_with(sql, postgres_args(args)?).fetch_all(pool).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Each row as `make` reads it.
    async fn list<T>(
        &self,
        sql: impl SqlSafeStr,
        args: &[Arg<'_>],
        make: impl Fn(&Row) -> sqlx::Result<T>,
    ) -> store::Result<Vec<T>> {
        self.rows(sql, args).await?.iter().map(make).collect::<sqlx::Result<_>>().map_err(unreadable)
    }

    /// The first row, if any.
    pub(crate) async fn first<T>(
        &self,
        sql: impl SqlSafeStr,
        args: &[Arg<'_>],
        make: impl Fn(&Row) -> sqlx::Result<T>,
    ) -> store::Result<Option<T>> {
        self.rows(sql, args).await?.first().map(make).transpose().map_err(unreadable)
    }

    fn closed(&self) -> bool {
        match self {
            Pool::Sqlite(pool) => pool.closed(),
            Pool::Postgres(pool) => pool.is_closed(),
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}

fn unreadable(error: sqlx::Error) -> Error {
    Error::Corrupt(error.to_string())
}

fn job(row: &Row, at: usize) -> sqlx::Result<JobName> {
    row.parsed(at, JobName::parse)
}

fn node(row: &Row, at: usize) -> sqlx::Result<NodeName> {
    row.parsed(at, NodeName::parse)
}

/// A replica whose name and incarnation stand in two columns; both or none are there.
fn replica(row: &Row, at: usize) -> sqlx::Result<Option<ReplicaId>> {
    match (row.text_or_null(at)?, row.int_or_null(at + 1)?) {
        (Some(name), Some(incarnation)) => {
            let name = ReplicaName::parse(&name).map_err(|e| sqlx::Error::Decode(e.into()))?;
            Ok(Some(ReplicaId { name, incarnation }))
        }
        _ => Ok(None),
    }
}

/// A limit as SQL has it.
fn limit(limit: u32) -> i64 {
    i64::from(limit)
}
