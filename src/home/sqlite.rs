//! SQLite: connections, statements, rows, errors, and the threads that read. Whatever is called here blocks its thread for
//! as long as the engine takes: the writer has a thread of its own, and so has each connection that reads. A group of
//! writes is some forty statements; handing each one to another thread and back cost more than all of them.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OpenFlags};
use sqlx::error::{DatabaseError, ErrorKind};
use tokio::sync::oneshot;

use crate::db::{Arg, Row};

/// How long SQLite waits for a program outside of Majordomo that has the file locked.
const BUSY: Duration = Duration::from_secs(2);
/// Pages of write-ahead log between two checkpoints: 16 MiB, so that few commits pay for one.
const CHECKPOINT_PAGES: i64 = 4000;
/// Bytes of write-ahead log that stay after a checkpoint.
const JOURNAL_SIZE: i64 = 64 * 1024 * 1024;
/// Prepared statements kept by a connection.
const STATEMENTS: usize = 512;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Made if it is not there, with its journal mode.
    Make,
    Write,
    Read,
}

pub(crate) fn connect(path: &Path, how: Use) -> sqlx::Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, how == Use::Make);
    let open = || {
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(BUSY)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        // Plans do not depend on arguments: without this, each new argument of a comparison has its statement prepared
        // once more.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        if how == Use::Make {
            conn.pragma_update(None, "journal_mode", "WAL")?;
        }
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "foreign_keys", false)?;
        conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        conn.pragma_update(None, "journal_size_limit", JOURNAL_SIZE)?;
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        conn.pragma_update(None, "query_only", how == Use::Read)?;
        Ok(conn)
    };
    open().map_err(error)
}

/// Executes a statement that gives no rows; answers how many rows it changed.
pub(crate) fn run(conn: &Connection, sql: &str, args: &[impl ToSql]) -> sqlx::Result<u64> {
    let execute = || {
        let mut statement = prepared(conn, sql, args)?;
        statement.raw_execute()
    };
    execute().map(|changed| changed as u64).map_err(error)
}

pub(crate) fn rows(conn: &Connection, sql: &str, args: &[impl ToSql]) -> sqlx::Result<Vec<Row>> {
    let query = || {
        let mut statement = prepared(conn, sql, args)?;
        let columns = statement.column_count();
        let mut found = statement.raw_query();
        let mut all = Vec::new();
        while let Some(row) = found.next()? {
            let values = (0..columns).map(|at| row.get::<_, Value>(at)).collect::<rusqlite::Result<_>>()?;
            all.push(Row::Sqlite(values));
        }
        Ok(all)
    };
    query().map_err(error)
}

/// Several statements, without arguments and answers.
pub(crate) fn script(conn: &Connection, sql: &str) -> sqlx::Result<()> {
    conn.execute_batch(sql).map_err(error)
}

/// The statement with its arguments: to SQLite `$2` is a name, which PostgreSQL takes for the second one.
fn prepared<'c>(
    conn: &'c Connection,
    sql: &str,
    args: &[impl ToSql],
) -> rusqlite::Result<rusqlite::CachedStatement<'c>> {
    let mut statement = conn.prepare_cached(sql)?;
    let (numbers, count) = (numbers(sql), statement.parameter_count());
    if numbers.len() != count {
        return Err(rusqlite::Error::InvalidParameterCount(numbers.len(), count));
    }
    for (at, number) in numbers.into_iter().enumerate() {
        let arg = number.checked_sub(1).and_then(|at| args.get(at));
        let arg = arg.ok_or(rusqlite::Error::InvalidParameterCount(args.len(), count))?;
        statement.raw_bind_parameter(at + 1, arg)?;
    }
    Ok(statement)
}

/// The numbers of a statement's arguments in the order in which SQLite counts them: that of their first appearance. It can be
/// asked for the name of each, but looks through all names for that, and a group has thousands.
fn numbers(sql: &str) -> Vec<usize> {
    let (mut numbers, mut seen) = (Vec::new(), Vec::new());
    for rest in sql.split('$').skip(1) {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Ok(number) = rest[..end].parse::<usize>() else { continue };
        if seen.len() <= number {
            seen.resize(number + 1, false);
        }
        if !std::mem::replace(&mut seen[number], true) {
            numbers.push(number);
        }
    }
    numbers
}

impl ToSql for Arg<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Arg::Int(value) => value.map_or(ValueRef::Null, ValueRef::Integer),
            Arg::Text(value) => value.map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes())),
            Arg::Bytes(value) => ValueRef::Blob(value),
        }))
    }
}

fn owned(arg: &Arg<'_>) -> Value {
    match arg {
        Arg::Int(value) => value.map_or(Value::Null, Value::Integer),
        Arg::Text(value) => value.map_or(Value::Null, |text| Value::Text(text.to_owned())),
        Arg::Bytes(value) => Value::Blob(value.to_vec()),
    }
}

/// What the engine says, as `sqlx` carries the errors of engines.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SqliteError {
    message: String,
    /// The result code, with what extends it.
    code: i32,
}

fn error(error: rusqlite::Error) -> sqlx::Error {
    let code = match &error {
        rusqlite::Error::SqliteFailure(failure, _) => failure.extended_code,
        rusqlite::Error::SqlInputError { error, .. } => error.extended_code,
        rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::Utf8Error(..) => {
            return sqlx::Error::Decode(error.into());
        }
        _ => 0,
    };
    sqlx::Error::Database(Box::new(SqliteError { message: error.to_string(), code }))
}

impl DatabaseError for SqliteError {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

type Ask = Box<dyn FnOnce(&mut Reader) + Send>;

/// Connections that read, each with a thread. They open the file when they are first asked.
pub(crate) struct Readers {
    ask: Mutex<Option<Sender<Ask>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Reader {
    path: PathBuf,
    conn: Option<Connection>,
}

impl Readers {
    pub(crate) fn start(path: &Path, count: u32) -> std::io::Result<Readers> {
        let (ask, asked) = channel::<Ask>();
        let asked = Arc::new(Mutex::new(asked));
        let thread = |_| {
            let (asked, mut reader) = (Arc::clone(&asked), Reader { path: path.to_owned(), conn: None });
            std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
                while let Some(ask) = next(&asked) {
                    ask(&mut reader);
                }
            })
        };
        let threads = (0..count).map(thread).collect::<std::io::Result<_>>()?;
        Ok(Readers { ask: Mutex::new(Some(ask)), threads: Mutex::new(threads) })
    }

    pub(crate) async fn rows(&self, sql: &str, args: &[Arg<'_>]) -> sqlx::Result<Vec<Row>> {
        let (tell, told) = oneshot::channel();
        let (sql, args) = (sql.to_owned(), args.iter().map(owned).collect::<Vec<_>>());
        let ask: Ask = Box::new(move |reader| {
            // A caller that has gone away needs no answer.
            if tell.is_closed() {
                return;
            }
            let _ = tell.send(reader.rows(&sql, &args));
        });
        let sent = match &*self.ask.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(to) => to.send(ask).is_ok(),
            None => false,
        };
        if !sent {
            return Err(sqlx::Error::PoolClosed);
        }
        told.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    pub(crate) fn closed(&self) -> bool {
        self.ask.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Answers what is asked already, and closes the connections.
    pub(crate) async fn close(&self) {
        self.ask.lock().unwrap_or_else(PoisonError::into_inner).take();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().for_each(|thread| {
                let _panicked = thread.join();
            });
        });
        let _cancelled = joined.await;
    }
}

fn next(asked: &Mutex<Receiver<Ask>>) -> Option<Ask> {
    asked.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

impl Reader {
    fn rows(&mut self, sql: &str, args: &[Value]) -> sqlx::Result<Vec<Row>> {
        let conn = match &self.conn {
            Some(conn) => conn,
            None => self.conn.insert(connect(&self.path, Use::Read)?),
        };
        let rows = rows(conn, sql, args);
        if rows.is_err() {
            // The next one opens the file again: whatever was wrong may be over.
            self.conn = None;
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_found_by_their_numbers_in_any_order() {
        let conn = Connection::open_in_memory().unwrap();
        script(&conn, "CREATE TABLE t (a INTEGER, b TEXT, c BLOB)").unwrap();
        let args = [Arg::Int(Some(1)), Arg::Text(Some("x")), Arg::Bytes(&[0, 1])];
        assert_eq!(run(&conn, "INSERT INTO t (c, b, a) VALUES ($3, $2, $1)", &args).unwrap(), 1);
        let found = rows(&conn, "SELECT a, b, c FROM t WHERE b = $2 AND a = $1 AND a = $1", &args).unwrap();
        let row = &found[0];
        assert_eq!(
            (row.int(0).unwrap(), row.text(1).unwrap(), row.bytes(2).unwrap()),
            (1, "x".into(), vec![0, 1])
        );
        assert!(rows(&conn, "SELECT $4", &args).is_err());
    }
}
