//! The writer's connection: how it is made, how a transaction begins and ends on each engine.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Error};
use tokio::time::timeout;

use crate::db::{Conn, args};
use crate::sqlite::{self, Use};
use crate::trouble::{Trouble, code, sqlite_code};
use crate::turnstile::Turnstile;

/// Until a server that accepts connections must have answered.
const CONNECT: Duration = Duration::from_secs(3);
/// Until a group must have been applied, or its commit answered. A server that is silent for longer is given up.
const SILENCE: Duration = Duration::from_secs(10);

/// The limits are set in each transaction, not in the session, so that a pooler may stand between (DESIGN D3). A standby
/// refuses to begin, so that its older state is not taken for ours.
const BEGIN_POSTGRES: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
     SET LOCAL idle_in_transaction_session_timeout = '2s'; SET LOCAL lock_timeout = '2s'; \
     SET LOCAL statement_timeout = '10s'";

/// Where the connection leads.
pub(crate) enum Place {
    Sqlite {
        path: PathBuf,
        turnstile: Turnstile,
    },
    /// They change with the password.
    Postgres {
        options: Arc<RwLock<PgConnectOptions>>,
    },
}

/// How a commit ended.
pub(crate) enum Commit {
    Done,
    /// It happened or not.
    Unknown(String),
    /// It did not happen.
    Failed(Trouble),
}

/// The connection, made again when it was lost.
pub(crate) struct Session {
    place: Place,
    conn: Option<Conn>,
    /// Whether the turnstile is ours.
    turn: bool,
    /// Nobody has asked yet what this connection leads to.
    fresh: bool,
}

impl Session {
    pub(crate) fn new(place: Place) -> Session {
        Session { place, conn: None, turn: false, fresh: false }
    }

    /// Connects if need be, waits for the turn, begins. After an error nothing is begun.
    pub(crate) async fn begin(&mut self) -> Result<(), Trouble> {
        if self.conn.is_none() {
            self.conn = Some(connect(&self.place).await.map_err(|e| Trouble::Lost(e.to_string()))?);
            self.fresh = true;
        }
        if let Place::Sqlite { turnstile, .. } = &mut self.place {
            turnstile.take().await.map_err(|e| Trouble::Lost(e.to_string()))?;
            self.turn = true;
        }
        let begun = match &mut self.conn {
            None => Err(Error::WorkerCrashed),
            Some(conn @ Conn::Sqlite(_)) => conn.run("BEGIN IMMEDIATE", args![]).await.map(drop),
            Some(conn @ Conn::Postgres(_)) => {
                timeout(CONNECT, conn.script(BEGIN_POSTGRES)).await.unwrap_or_else(|_| Err(silent()))
            }
        };
        match begun {
            Ok(()) => Ok(()),
            Err(error) => Err(self.abort(&error).await),
        }
    }

    /// Does `work` in the transaction; after an error the transaction is gone.
    pub(crate) async fn within<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Conn) -> Result<T, Error>,
    ) -> Result<T, Trouble> {
        let done = match &mut self.conn {
            None => Err(Error::WorkerCrashed),
            // A local engine is never given up: its statements cannot be cut short.
            Some(conn @ Conn::Sqlite(_)) => work(conn).await,
            Some(conn @ Conn::Postgres(_)) => {
                timeout(SILENCE, work(conn)).await.unwrap_or_else(|_| Err(silent()))
            }
        };
        match done {
            Ok(done) => Ok(done),
            Err(error) => Err(self.abort(&error).await),
        }
    }

    /// Whether nobody knows yet what the connection leads to: it may be another database than the one before.
    pub(crate) fn fresh(&self) -> bool {
        self.fresh
    }

    pub(crate) fn known(&mut self) {
        self.fresh = false;
    }

    pub(crate) async fn commit(&mut self) -> Commit {
        let done = match &mut self.conn {
            None => Err(Error::WorkerCrashed),
            Some(conn @ Conn::Sqlite(_)) => conn.run("COMMIT", args![]).await.map(drop),
            Some(conn @ Conn::Postgres(_)) => {
                timeout(SILENCE, conn.script("COMMIT")).await.unwrap_or_else(|_| Err(silent()))
            }
        };
        let Err(error) = done else {
            self.leave();
            return Commit::Done;
        };
        let sure = refused_to_commit(&error);
        let trouble = self.abort(&error).await;
        if sure {
            return Commit::Failed(trouble);
        }
        // What the engine holds for committed is seen by a new connection only.
        self.conn = None;
        Commit::Unknown(error.to_string())
    }

    /// Ends a transaction that changed nothing.
    pub(crate) async fn rollback(&mut self) {
        self.abort(&Error::RowNotFound).await;
    }

    /// Whatever was begun is undone: by the engine's word, or by ending the connection.
    async fn abort(&mut self, error: &Error) -> Trouble {
        let trouble = Trouble::of(error);
        let undone = match (&trouble, &mut self.conn) {
            (Trouble::Lost(_), _) | (_, None) => false,
            // SQLite has rolled back by itself after some errors, and says so; then there is nothing to undo.
            (_, Some(conn @ Conn::Sqlite(_))) => match conn.run("ROLLBACK", args![]).await {
                Ok(_) => true,
                Err(error) => matches!(&error, Error::Database(e) if sqlite_code(e.as_ref()) == code::ERROR),
            },
            (_, Some(conn @ Conn::Postgres(_))) => {
                matches!(timeout(CONNECT, conn.script("ROLLBACK")).await, Ok(Ok(())))
            }
        };
        if !undone {
            self.conn = None;
        }
        self.leave();
        trouble
    }

    fn leave(&mut self) {
        if let (true, Place::Sqlite { turnstile, .. }) = (self.turn, &self.place) {
            turnstile.leave();
        }
        self.turn = false;
    }

    pub(crate) async fn close(mut self) {
        if let Some(conn) = self.conn.take() {
            conn.close().await;
        }
    }
}

async fn connect(place: &Place) -> Result<Conn, Error> {
    match place {
        Place::Sqlite { path, .. } => sqlite::connect(path, Use::Write).map(Conn::Sqlite),
        Place::Postgres { options } => {
            let options = options.read().clone();
            timeout(CONNECT, options.connect()).await.unwrap_or_else(|_| Err(silent())).map(Conn::Postgres)
        }
    }
}

/// Whether the engine itself says that it did not commit.
fn refused_to_commit(error: &Error) -> bool {
    match error {
        Error::Database(e) => match Trouble::of(error) {
            Trouble::Lost(_) => false,
            // SQLite may have written the commit before an I/O error, and find it when it opens the file again.
            _ => {
                sqlite_code(e.as_ref()) != code::IOERR
                    || e.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some()
            }
        },
        _ => false,
    }
}

fn silent() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the server does not answer"))
}
