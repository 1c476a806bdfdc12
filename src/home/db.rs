//! One small interface to both engines: arguments in, rows out. The SQL above it is the same text for both; what
//! differs is here, in `sqlite`, `postgres` and the migrations. No meaning of any table is known here.

use std::fmt::Write as _;

use model::{BuildId, Fence, Millis, QueueId};
use rusqlite::types::Value;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Arguments, AssertSqlSafe, PgConnection, Postgres, Row as _, SqlSafeStr, SqlStr};
use store::Error;

use crate::sqlite;

/// Most rows of one statement to SQLite; keeps it far below the engine's limit on arguments.
const MAX_ROWS: usize = 256;

/// A value for a placeholder.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arg<'a> {
    Int(Option<i64>),
    Text(Option<&'a str>),
    Bytes(&'a [u8]),
}

impl<'a> Arg<'a> {
    /// The value of a column of numbers.
    fn int(&self) -> Option<i64> {
        if let Arg::Int(value) = self { *value } else { None }
    }

    fn text(&self) -> Option<&'a str> {
        if let Arg::Text(value) = self { *value } else { None }
    }

    fn bytes(&self) -> Option<&'a [u8]> {
        if let Arg::Bytes(value) = self { Some(value) } else { None }
    }
}

macro_rules! arg {
    ($($from:ty, $value:ident => $arg:expr;)*) => {$(
        impl<'a> From<$from> for Arg<'a> {
            fn from($value: $from) -> Arg<'a> {
                $arg
            }
        }
    )*};
}
arg! {
    i64, v => Arg::Int(Some(v));
    Option<i64>, v => Arg::Int(v);
    u32, v => Arg::Int(Some(i64::from(v)));
    bool, v => Arg::Int(Some(i64::from(v)));
    Millis, v => Arg::Int(Some(v.0));
    Option<Millis>, v => Arg::Int(v.map(|m| m.0));
    BuildId, v => Arg::Int(Some(v.0));
    QueueId, v => Arg::Int(Some(v.0));
    Fence, v => Arg::Int(Some(v.to_i64()));
    &'a str, v => Arg::Text(Some(v));
    Option<&'a str>, v => Arg::Text(v);
    &'a String, v => Arg::Text(Some(v));
    &'a [u8], v => Arg::Bytes(v);
    &'a bytes::Bytes, v => Arg::Bytes(v);
}

/// `args![a, b]`: the values of `$1`, `$2`.
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        &[$($crate::db::Arg::from($value)),*]
    };
}
pub(crate) use args;

/// An unsigned number as the store keeps it.
pub(crate) fn int(value: u64) -> Result<i64, Error> {
    i64::try_from(value).map_err(|_| Error::Limit(format!("{value} is too large to be stored")))
}

/// How a row that was read is kept from changing until the commit. SQLite needs nothing: there is one writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// It will be changed.
    Change,
    /// The rows of these tables in a join will be changed.
    ChangeOf(&'static str),
    /// It must not be deleted.
    Keep,
    /// The row of this table in a join must not be deleted.
    KeepOf(&'static str),
    /// It will be deleted.
    Delete,
    /// As `Delete`; what others have locked is passed over.
    DeleteFree,
}

impl Lock {
    fn postgres(self, sql: &str) -> String {
        match self {
            Lock::Change => format!("{sql} FOR NO KEY UPDATE"),
            Lock::ChangeOf(tables) => format!("{sql} FOR NO KEY UPDATE OF {tables}"),
            Lock::Keep => format!("{sql} FOR KEY SHARE"),
            Lock::KeepOf(table) => format!("{sql} FOR KEY SHARE OF {table}"),
            Lock::Delete => format!("{sql} FOR UPDATE"),
            Lock::DeleteFree => format!("{sql} FOR UPDATE SKIP LOCKED"),
        }
    }
}

/// A statement for many rows: `{head} ($1, $2), ($3, $4) {tail}` with `args` as rows of `width` values. `head` ends with
/// `VALUES`. Without rows nothing is done.
#[derive(Clone, Copy)]
pub(crate) struct Many<'a> {
    head: &'a str,
    width: usize,
    args: &'a [Arg<'a>],
    tail: &'a str,
}

impl<'a> Many<'a> {
    pub(crate) fn new(head: &'a str, width: usize, args: &'a [Arg<'a>], tail: &'a str) -> Many<'a> {
        Many { head, width, args, tail }
    }
}

/// The connection that writes.
pub(crate) enum Conn {
    /// Its statements block the thread.
    Sqlite(rusqlite::Connection),
    Postgres(PgConnection),
}

impl Conn {
    /// Executes a statement that gives no rows; answers how many rows it changed.
    pub(crate) async fn run(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> sqlx::Result<u64> {
        let sql = sql.into_sql_str();
        Ok(match self {
            Conn::Sqlite(c) => sqlite::run(c, sql.as_str(), args)?,
            Conn::Postgres(c) => {
                sqlx::query_with(sql, postgres_args(args)?).execute(c).await?.rows_affected()
            }
        })
    }

    pub(crate) async fn rows(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> sqlx::Result<Vec<Row>> {
        let sql = sql.into_sql_str();
        Ok(match self {
            Conn::Sqlite(c) => sqlite::rows(c, sql.as_str(), args)?,
            Conn::Postgres(c) => {
                let rows = sqlx::query_with(sql, postgres_args(args)?).fetch_all(c).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// The first row.
    pub(crate) async fn row(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> sqlx::Result<Option<Row>> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// As `rows`, and keeps them from others until the commit. The statement must end where a `FOR UPDATE` may stand.
    pub(crate) async fn locked(
        &mut self,
        lock: Lock,
        sql: &'static str,
        args: &[Arg<'_>],
    ) -> sqlx::Result<Vec<Row>> {
        match self {
            Conn::Sqlite(_) => self.rows(sql, args).await,
            Conn::Postgres(_) => self.rows(AssertSqlSafe(lock.postgres(sql)), args).await,
        }
    }

    /// The rows of a table get numbers from `first` on, if theirs are lower.
    pub(crate) async fn number_from(&mut self, table: &'static str, first: i64) -> sqlx::Result<()> {
        match self {
            Conn::Sqlite(_) => {
                let args = args![table, first - 1];
                let insert = "INSERT INTO sqlite_sequence (name, seq) SELECT $1, 0 \
                              WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = $1)";
                self.run(insert, &args[..1]).await?;
                self.run("UPDATE sqlite_sequence SET seq = MAX(seq, $2) WHERE name = $1", args).await?;
            }
            Conn::Postgres(_) => {
                let sql = format!(
                    "SELECT setval(pg_get_serial_sequence($1, 'id'), \
                     GREATEST($2, (SELECT COALESCE(MAX(id), 0) FROM {table}) + 1), false)"
                );
                self.rows(AssertSqlSafe(sql), args![table, first]).await?;
            }
        }
        Ok(())
    }

    /// Several statements in one message, without arguments and answers.
    pub(crate) async fn script(&mut self, sql: impl SqlSafeStr) -> sqlx::Result<()> {
        match self {
            Conn::Sqlite(c) => sqlite::script(c, sql.into_sql_str().as_str()),
            Conn::Postgres(c) => sqlx::raw_sql(sql).execute(c).await.map(drop),
        }
    }

    /// `{head} ($1, $2), ($3, $4) {tail}` with `args` as rows of `width` values, in few statements whose texts repeat,
    /// so that the engine has them prepared. `head` ends with `VALUES`.
    pub(crate) async fn run_many(
        &mut self,
        head: &str,
        width: usize,
        args: &[Arg<'_>],
        tail: &str,
    ) -> sqlx::Result<()> {
        match self {
            Conn::Sqlite(c) => {
                for (sql, args) in pieces(head, width, args, tail) {
                    sqlite::run(c, sql.as_str(), args)?;
                }
            }
            Conn::Postgres(c) => drop(joined(c, &[Many { head, width, args, tail }]).await?),
        }
        Ok(())
    }

    /// Executes statements of which none sees or changes what another one changes; the rows that the last one gives, in no
    /// order. PostgreSQL does all of them at once, as parts of one statement, in no order: each message and its answer take
    /// longer than what a statement does.
    pub(crate) async fn together(&mut self, all: &[Many<'_>]) -> sqlx::Result<Vec<Row>> {
        let mut rows = Vec::new();
        match self {
            Conn::Sqlite(_) => {
                for Many { head, width, args, tail } in all {
                    rows = self.rows_many(head, *width, args, tail).await?;
                }
            }
            Conn::Postgres(c) => rows = joined(c, all).await?,
        }
        Ok(rows)
    }

    /// As `run_many`; the rows that the statements give, in no order.
    pub(crate) async fn rows_many(
        &mut self,
        head: &str,
        width: usize,
        args: &[Arg<'_>],
        tail: &str,
    ) -> sqlx::Result<Vec<Row>> {
        let mut rows = Vec::new();
        match self {
            Conn::Sqlite(c) => {
                for (sql, args) in pieces(head, width, args, tail) {
                    rows.append(&mut sqlite::rows(c, sql.as_str(), args)?);
                }
            }
            Conn::Postgres(c) => rows = joined(c, &[Many { head, width, args, tail }]).await?,
        }
        Ok(rows)
    }

    /// As `rows_many`, and keeps the rows from others until the commit, as `locked` does.
    pub(crate) async fn locked_many(
        &mut self,
        lock: Lock,
        head: &str,
        width: usize,
        args: &[Arg<'_>],
        tail: &str,
    ) -> sqlx::Result<Vec<Row>> {
        match self {
            Conn::Sqlite(_) => self.rows_many(head, width, args, tail).await,
            Conn::Postgres(_) => self.rows_many(head, width, args, &lock.postgres(tail)).await,
        }
    }

    /// `{head} ($1, $2, …) {tail}` for each of `ids`, in few statements whose texts repeat. `head` ends with `IN`.
    pub(crate) async fn run_in(&mut self, head: &str, ids: &[i64], tail: &str) -> sqlx::Result<()> {
        match self {
            Conn::Sqlite(c) => {
                for ids in ids.chunks(MAX_ROWS) {
                    let args = repeated(ids);
                    sqlite::run(c, values_sql(head, 1, args.len(), tail).as_str(), &args)?;
                }
                Ok(())
            }
            Conn::Postgres(_) => {
                self.run_many(&format!("{head} (VALUES"), 1, &listed(ids), &format!(") {tail}")).await
            }
        }
    }

    /// As `run_in`, for a query.
    pub(crate) async fn rows_in(&mut self, head: &str, ids: &[i64], tail: &str) -> sqlx::Result<Vec<Row>> {
        match self {
            Conn::Sqlite(c) => {
                let mut rows = Vec::new();
                for ids in ids.chunks(MAX_ROWS) {
                    let args = repeated(ids);
                    rows.append(&mut sqlite::rows(c, values_sql(head, 1, args.len(), tail).as_str(), &args)?);
                }
                Ok(rows)
            }
            Conn::Postgres(_) => {
                self.rows_many(&format!("{head} (VALUES"), 1, &listed(ids), &format!(") {tail}")).await
            }
        }
    }

    pub(crate) async fn close(self) {
        let closed = match self {
            // Closed when dropped.
            Conn::Sqlite(_) => return,
            Conn::Postgres(c) => sqlx::Connection::close(c).await,
        };
        if let Err(error) = closed {
            tracing::debug!(%error, "the store's connection did not close in order");
        }
    }
}

/// The ids, the first ones again up to a power of two, so that there are few texts.
fn repeated(ids: &[i64]) -> Vec<Arg<'_>> {
    (0..ids.len().next_power_of_two()).map(|i| Arg::from(ids[i % ids.len()])).collect()
}

fn listed(ids: &[i64]) -> Vec<Arg<'_>> {
    ids.iter().map(|id| Arg::from(*id)).collect()
}

/// Executes what has rows as one statement; gives the rows of the last.
async fn joined(c: &mut PgConnection, all: &[Many<'_>]) -> sqlx::Result<Vec<Row>> {
    let some: Vec<Many<'_>> = all.iter().filter(|many| !many.args.is_empty()).copied().collect();
    let Some((main, others)) = some.split_last() else { return Ok(Vec::new()) };
    let found = arrays(others, *main)?.fetch_all(c).await?;
    let answers = all.last().is_some_and(|last| !last.args.is_empty());
    Ok(found.into_iter().filter(|_| answers).map(Row::Postgres).collect())
}

/// One statement for PostgreSQL, whatever the number of rows: each column is an array, so one text is prepared, and one
/// round trip is made. The others are parts of it, which change what they do in any case.
fn arrays<'q>(others: &[Many<'_>], main: Many<'_>) -> sqlx::Result<Query<'q, Postgres, PgArguments>> {
    let (mut sql, mut arrays) = (String::new(), PgArguments::default());
    for (at, other) in others.iter().enumerate() {
        sql.push_str(if at == 0 { "WITH" } else { "," });
        // Writing to a string cannot fail.
        let _ = write!(sql, " other{at} AS (");
        unnest(other.head, other, &mut sql, &mut arrays)?;
        sql.push(')');
    }
    let own = main.head.strip_prefix("WITH").filter(|_| !others.is_empty());
    if own.is_some() {
        sql.push(',');
    }
    unnest(own.unwrap_or(main.head), &main, &mut sql, &mut arrays)?;
    // The callers' texts are literals.
    Ok(sqlx::query_with(AssertSqlSafe(sql), arrays))
}

fn unnest(head: &str, many: &Many<'_>, sql: &mut String, arrays: &mut PgArguments) -> sqlx::Result<()> {
    let _ = write!(sql, " {}SELECT * FROM unnest(", head.strip_suffix("VALUES").unwrap_or(head));
    for column in 0..many.width {
        let values = many.args.iter().skip(column).step_by(many.width);
        let (kind, added) = match many.args.get(column) {
            Some(Arg::Text(_)) => ("text", arrays.add(values.map(Arg::text).collect::<Vec<_>>())),
            Some(Arg::Bytes(_)) => ("bytea", arrays.add(values.map(Arg::bytes).collect::<Vec<_>>())),
            Some(Arg::Int(_)) | None => ("bigint", arrays.add(values.map(Arg::int).collect::<Vec<_>>())),
        };
        added.map_err(encode)?;
        let comma = if column == 0 { "" } else { ", " };
        let _ = write!(sql, "{comma}${}::{kind}[]", arrays.len());
    }
    let _ = write!(sql, ") {}", many.tail);
    Ok(())
}

/// Statements for all rows of `args`, `width` values each: the numbers of their rows are powers of two, so that there are
/// few texts.
fn pieces<'a, 'b>(
    head: &str,
    width: usize,
    args: &'a [Arg<'b>],
    tail: &str,
) -> impl Iterator<Item = (SqlStr, &'a [Arg<'b>])> {
    let mut rest = args;
    std::iter::from_fn(move || {
        let rows = (rest.len() / width).min(MAX_ROWS).checked_ilog2().map(|log| 1 << log)?;
        let (now, later) = rest.split_at(rows * width);
        rest = later;
        Some((values_sql(head, rows, width, tail), now))
    })
}

/// `{head} ($1, …, $width), (…) {tail}` with `rows` rows. Callers pass literals only.
pub(crate) fn values_sql(head: &str, rows: usize, width: usize, tail: &str) -> SqlStr {
    let mut sql = String::with_capacity(head.len() + tail.len() + rows * (width * 6 + 4));
    sql.push_str(head);
    for row in 0..rows {
        sql.push_str(if row == 0 { " (" } else { ", (" });
        for column in 0..width {
            let comma = if column == 0 { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(sql, "{comma}${}", row * width + column + 1);
        }
        sql.push(')');
    }
    sql.push(' ');
    sql.push_str(tail);
    AssertSqlSafe(sql).into_sql_str()
}

/// Engine errors say nothing about the argument, so they need no context.
fn encode(error: BoxDynError) -> sqlx::Error {
    sqlx::Error::Encode(error)
}

pub(crate) fn postgres_args(args: &[Arg<'_>]) -> sqlx::Result<PgArguments> {
    let mut out = PgArguments::default();
    out.reserve(args.len(), 0);
    for arg in args {
        match arg {
            Arg::Int(value) => out.add(value),
            Arg::Text(value) => out.add(value),
            Arg::Bytes(value) => out.add(value),
        }
        .map_err(encode)?;
    }
    Ok(out)
}

/// A type that a column of SQLite may have.
trait FromValue: Sized {
    /// `None`: it is of another type.
    fn of(value: &Value) -> Option<Self>;
}

impl FromValue for i64 {
    fn of(value: &Value) -> Option<i64> {
        if let Value::Integer(value) = value { Some(*value) } else { None }
    }
}

impl FromValue for String {
    fn of(value: &Value) -> Option<String> {
        if let Value::Text(value) = value { Some(value.clone()) } else { None }
    }
}

impl FromValue for Vec<u8> {
    fn of(value: &Value) -> Option<Vec<u8>> {
        if let Value::Blob(value) = value { Some(value.clone()) } else { None }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn of(value: &Value) -> Option<Option<T>> {
        if *value == Value::Null { Some(None) } else { T::of(value).map(Some) }
    }
}

fn from_value<T: FromValue>(value: Option<&Value>) -> sqlx::Result<T> {
    let value = value.ok_or_else(|| sqlx::Error::Decode("a row has fewer columns".into()))?;
    T::of(value)
        .ok_or_else(|| sqlx::Error::Decode(format!("a column is of type {}", value.data_type()).into()))
}

/// A row as the engine gave it; columns are asked for by position.
pub(crate) enum Row {
    Sqlite(Vec<Value>),
    Postgres(PgRow),
}

macro_rules! column {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(&self, at: usize) -> sqlx::Result<$type> {
            match self {
                Row::Sqlite(row) => from_value(row.get(at)),
                Row::Postgres(row) => row.try_get_unchecked(at),
            }
        }
    )*};
}

impl Row {
    column! {
        int: i64;
        int_or_null: Option<i64>;
        text: String;
        text_or_null: Option<String>;
        bytes: Vec<u8>;
    }

    pub(crate) fn yes(&self, at: usize) -> sqlx::Result<bool> {
        Ok(self.int(at)? != 0)
    }

    /// A number that is never negative.
    pub(crate) fn size(&self, at: usize) -> sqlx::Result<u64> {
        self.int(at)?.try_into().map_err(|e: std::num::TryFromIntError| sqlx::Error::Decode(e.into()))
    }

    pub(crate) fn small(&self, at: usize) -> sqlx::Result<u32> {
        self.int(at)?.try_into().map_err(|e: std::num::TryFromIntError| sqlx::Error::Decode(e.into()))
    }

    /// What `parse` makes of a text.
    pub(crate) fn parsed<T, E: std::error::Error + Send + Sync + 'static>(
        &self,
        at: usize,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> sqlx::Result<T> {
        parse(&self.text(at)?).map_err(|e| sqlx::Error::Decode(e.into()))
    }

    /// A word of a fixed list.
    pub(crate) fn word<T>(&self, at: usize, parse: impl FnOnce(&str) -> Option<T>) -> sqlx::Result<T> {
        let word = self.text(at)?;
        parse(&word).ok_or_else(|| sqlx::Error::Decode(format!("“{word}” is not a word known here").into()))
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, at: usize) -> sqlx::Result<T> {
        self.parsed(at, |text| serde_json::from_str(text))
    }
}
