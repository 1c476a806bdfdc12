//! Schema: numbered SQL files, each applied once, in order, in one transaction. Several processes may do it at once: on
//! SQLite they pass the turnstile, on PostgreSQL the row 0 of `migration` is locked (no advisory lock, DESIGN D3).
//!
//! Files expand first and contract a release later (DESIGN D13), so a home that a newer binary has expanded is served.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use model::level::LEVEL;

use crate::db::{Conn, args};
use crate::open::OpenError;
use crate::trouble::Trouble;

/// One step; its file never changes once it is released.
struct Migration {
    number: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
    /// Statements that make PostgreSQL faster. A server that does not know one goes on without it.
    perhaps: &'static [&'static str],
}

/// Text as logs and journals have it is compressed five times as fast as by PostgreSQL's own way, to nearly the same size.
/// Known from PostgreSQL 14 on, unless it was built without.
const LZ4: &[&str] = &[
    "ALTER TABLE log ALTER COLUMN body SET COMPRESSION lz4",
    "ALTER TABLE journal ALTER COLUMN body SET COMPRESSION lz4",
];
/// What a server says of a statement that it does not know: a syntax error, or a feature that is not supported.
const UNKNOWN: [&str; 2] = ["42601", "0A000"];

const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        name: "first",
        sqlite: include_str!("migrations/sqlite/0001_first.sql"),
        postgres: include_str!("migrations/postgres/0001_first.sql"),
        perhaps: LZ4,
    },
    // What a version may do to a home that the one before goes on using.
    #[cfg(feature = "next")]
    Migration {
        number: 2,
        name: "next",
        sqlite: include_str!("migrations/sqlite/next.sql"),
        postgres: include_str!("migrations/postgres/next.sql"),
        perhaps: &[],
    },
];

/// Both engines understand it. The row 0 is the lock.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS migration (number BIGINT PRIMARY KEY, name TEXT NOT NULL, \
                     checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)";
const LOCK_ROW: &str = "INSERT INTO migration (number, name, checksum, applied_at) VALUES (0, 'lock', '', 0) \
                        ON CONFLICT (number) DO NOTHING";

/// How long others may be in the way, and how long it is before the next try.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// How often two processes may create the table at the same moment; PostgreSQL refuses one of them then.
const TRIES: u32 = 5;

pub(crate) async fn migrate(conn: &mut Conn, now: i64) -> Result<(), OpenError> {
    let mut tries = 0;
    while let Err(error) = create_table(conn).await {
        tries += 1;
        if tries == TRIES {
            return Err(error.into());
        }
    }
    let until = Instant::now() + PATIENCE;
    loop {
        conn.script(begin(conn)).await?;
        let error = match apply(conn, now).await {
            Ok(()) => return Ok(conn.run("COMMIT", args![]).await.map(drop)?),
            Err(error) => error,
        };
        // The error that is told is the first one; a connection that cannot roll back is closed by the caller.
        let _ = conn.run("ROLLBACK", args![]).await;
        match error {
            OpenError::Database(error) if matches!(Trouble::of(&error), Trouble::Again(_)) => {
                if Instant::now() > until {
                    return Err(OpenError::Busy(error));
                }
                tracing::warn!(%error, "expand the schema; others are in the way, and it is tried again");
                tokio::time::sleep(PAUSE).await;
            }
            error => return Err(error),
        }
    }
}

/// A change of a table waits until nobody reads it, and all who come later wait behind it: so it waits but shortly, and lets
/// them go on before it tries again.
fn begin(conn: &Conn) -> &'static str {
    match conn {
        Conn::Sqlite(_) => "BEGIN IMMEDIATE",
        Conn::Postgres(_) => "BEGIN; SET LOCAL lock_timeout = '500ms'",
    }
}

async fn create_table(conn: &mut Conn) -> sqlx::Result<()> {
    if conn.row("SELECT number FROM migration WHERE number = 0", args![]).await.is_ok_and(|row| row.is_some())
    {
        return Ok(());
    }
    conn.run(TABLE, args![]).await?;
    conn.run(LOCK_ROW, args![]).await.map(drop)
}

async fn perhaps(conn: &mut Conn, sql: &'static str) -> sqlx::Result<()> {
    conn.script("SAVEPOINT perhaps").await?;
    match conn.script(sql).await {
        Ok(()) => conn.script("RELEASE SAVEPOINT perhaps").await,
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| UNKNOWN.contains(&&*code)) => {
            tracing::info!(%error, sql, "the database does not know a way to be faster");
            conn.script("ROLLBACK TO SAVEPOINT perhaps").await
        }
        Err(error) => Err(error),
    }
}

async fn apply(conn: &mut Conn, now: i64) -> Result<(), OpenError> {
    conn.run("UPDATE migration SET applied_at = $1 WHERE number = 0", args![now]).await?;
    let rows = conn.rows("SELECT number, checksum FROM migration WHERE number > 0", args![]).await?;
    let mut applied = Vec::with_capacity(rows.len());
    for row in &rows {
        applied.push((row.int(0)?, row.text(1)?));
    }
    for migration in MIGRATIONS {
        let sql = match conn {
            Conn::Sqlite(_) => migration.sqlite,
            Conn::Postgres(_) => migration.postgres,
        };
        let checksum = hex::encode(Sha256::digest(sql.as_bytes()));
        match applied.iter().find(|(number, _)| *number == migration.number) {
            Some((_, stored)) if *stored == checksum => {}
            Some(_) => return Err(OpenError::Changed { number: migration.number }),
            None => {
                conn.script(sql).await?;
                if let Conn::Postgres(_) = conn {
                    for sql in migration.perhaps {
                        perhaps(conn, sql).await?;
                    }
                }
                conn.run(
                    "INSERT INTO migration (number, name, checksum, applied_at) VALUES ($1, $2, $3, $4)",
                    args![migration.number, migration.name, &checksum, now],
                )
                .await?;
            }
        }
    }
    let row = conn.row("SELECT level FROM meta", args![]).await?;
    let level = row.map(|r| r.int(0)).transpose()?.unwrap_or_default();
    Ok(model::level::usable(level, LEVEL)?)
}
