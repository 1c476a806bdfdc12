//! What an engine's error means for us: once and for all callers. No retry is done here.

use sqlx::error::DatabaseError;
use store::Error;

/// The kinds of engine errors that are handled differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection is of no use any more. What was not committed has not happened.
    Lost(String),
    /// Another transaction was in the way: the same again may work at once.
    Again(String),
    /// A unique key was taken between a look and a change: a second look finds it, unless something is wrong.
    Taken(String),
    /// The engine cannot keep this value, whenever it is tried.
    Value(String),
    /// What is stored cannot be read.
    Corrupt(String),
    /// Anything else: disk full, a bug of ours.
    Other(String),
}

/// How often a change is tried again that met a unique key.
const LOOKS: u32 = 3;

impl Trouble {
    /// Whether the same may work when it is tried again after the `attempt`th time.
    pub(crate) fn passes(&self, attempt: u32) -> bool {
        match self {
            Trouble::Again(_) => true,
            Trouble::Taken(_) => attempt < LOOKS,
            Trouble::Lost(_) | Trouble::Value(_) | Trouble::Corrupt(_) | Trouble::Other(_) => false,
        }
    }

    pub(crate) fn of(error: &sqlx::Error) -> Trouble {
        match error {
            sqlx::Error::Database(e) if e.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() => {
                postgres(e.as_ref())
            }
            sqlx::Error::Database(e) => sqlite(e.as_ref()),
            sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::TypeNotFound { .. } => Trouble::Corrupt(error.to_string()),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Trouble::Lost(error.to_string()),
            _ => Trouble::Other(error.to_string()),
        }
    }

    /// As callers see it, when nothing was changed.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Trouble::Lost(why) | Trouble::Again(why) | Trouble::Taken(why) | Trouble::Other(why) => {
                Error::Unavailable(why)
            }
            Trouble::Value(why) => Error::Limit(format!("the store cannot keep this value: {why}")),
            Trouble::Corrupt(why) => Error::Corrupt(why),
        }
    }
}

fn postgres(error: &dyn DatabaseError) -> Trouble {
    let why = error.message().to_owned();
    let code = error.code().unwrap_or_default();
    match code.as_ref() {
        // serialization failure, deadlock, lock timeout
        "40001" | "40P01" | "55P03" => Trouble::Again(why),
        // a unique key that another has just taken
        "23505" => Trouble::Taken(why),
        // a plan or prepared statement that a migration or a pooler has outdated; a connection that leads to a standby
        "0A000" | "26000" | "25006" | "25P03" | "53300" => Trouble::Lost(why),
        // nobody is let in with this password: a new one is on its way to us
        "28P01" | "28000" => Trouble::Lost(why),
        code if code.starts_with("57P") || code.starts_with("08") => Trouble::Lost(why),
        code if code.starts_with("22") || code.starts_with("54") => Trouble::Value(why),
        "XX001" | "XX002" => Trouble::Corrupt(why),
        _ => Trouble::Other(why),
    }
}

/// Primary result codes of SQLite.
pub(crate) mod code {
    pub(crate) const ERROR: i32 = 1;
    pub(crate) const BUSY: i32 = 5;
    pub(crate) const LOCKED: i32 = 6;
    pub(crate) const READONLY: i32 = 8;
    pub(crate) const IOERR: i32 = 10;
    pub(crate) const CORRUPT: i32 = 11;
    pub(crate) const FULL: i32 = 13;
    pub(crate) const CANTOPEN: i32 = 14;
    pub(crate) const TOOBIG: i32 = 18;
    pub(crate) const NOTADB: i32 = 26;
}

/// The primary result code, without what extends it.
pub(crate) fn sqlite_code(error: &dyn DatabaseError) -> i32 {
    error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0) & 0xff
}

fn sqlite(error: &dyn DatabaseError) -> Trouble {
    let why = error.message().to_owned();
    match sqlite_code(error) {
        code::BUSY | code::LOCKED => Trouble::Again(why),
        code::TOOBIG => Trouble::Value(why),
        code::CORRUPT | code::NOTADB => Trouble::Corrupt(why),
        _ => Trouble::Other(why),
    }
}
