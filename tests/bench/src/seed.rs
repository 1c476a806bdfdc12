//! A home with very many builds, made in a minute: one build is run by the product, and its rows are copied.
//!
//! A copy differs from the original in its id, its job, its number and its times, and in nothing else; which columns there
//! are is read from the database, so that a later schema is copied as well. `home` compares copies with the original through
//! the product. All builds have their row; journal and log have the newest ones of each job only, or the database would be
//! many gigabytes large, most of it never touched.

use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::postgres::Server;

/// The job whose only build is copied.
pub(crate) const ORIGINAL: &str = "original";
/// Between two builds of a job, in milliseconds.
const APART: u64 = 60 * 60 * 1000;
/// What else belongs to a build that has ended.
const WITH_IT: [&str; 3] = ["journal", "log", "source_use"];

/// Where the rows are.
pub(crate) enum Rows<'a> {
    Sqlite(rusqlite::Connection),
    Postgres(&'a Server, String),
}

impl Rows<'_> {
    /// The database of a home whose replicas have ended.
    pub(crate) fn open<'a>(home: &Path, server: Option<&'a Server>, url: Option<&str>) -> Result<Rows<'a>> {
        match (server, url) {
            (Some(server), Some(url)) => {
                let name = url.rsplit('/').next().and_then(|rest| rest.split('?').next());
                Ok(Rows::Postgres(server, name.context("the URL names no database")?.to_owned()))
            }
            _ => {
                let connection = rusqlite::Connection::open(home.join("majordomo.db"))?;
                // it is made anew when the machine fails meanwhile
                connection.pragma_update(None, "synchronous", "OFF")?;
                connection.pragma_update(None, "cache_size", -200_000)?;
                Ok(Rows::Sqlite(connection))
            }
        }
    }

    fn run(&self, sql: &str) -> Result<()> {
        match self {
            Rows::Sqlite(connection) => {
                connection.execute_batch(&format!("BEGIN; {sql}; COMMIT")).context(sql.to_owned())
            }
            Rows::Postgres(server, database) => {
                server.sql(database, sql);
                Ok(())
            }
        }
    }

    /// Columns of a table, without those named.
    fn columns(&self, table: &str, without: &[&str]) -> Result<Vec<String>> {
        let all: Vec<String> = match self {
            Rows::Sqlite(connection) => {
                let mut names = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
                names.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?
            }
            Rows::Postgres(server, database) => {
                let sql = format!(
                    "SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"
                );
                server.sql(database, &sql).lines().map(ToOwned::to_owned).collect()
            }
        };
        if all.is_empty() {
            return Err(anyhow!("there is no table {table}"));
        }
        Ok(all.into_iter().filter(|name| !without.contains(&name.as_str())).collect())
    }
}

/// Gives every other job so many builds, the newest `logs` of each with journal and log.
pub(crate) fn copy(rows: &Rows<'_>, builds: usize, logs: usize) -> Result<()> {
    let first =
        "(SELECT MIN(build.id) FROM build JOIN item ON item.id = build.item WHERE item.name = 'original')";
    let times = ["queued_at", "started_at", "ended_at"];
    let columns = rows.columns("build", &["id", "item", "number"])?;
    let taken = columns.iter().map(|column| match times.contains(&column.as_str()) {
        true => format!("t.{column} - ({builds} - n.k) * {APART}"),
        false => format!("t.{column}"),
    });
    // in the order in which they would have been made
    rows.run(&format!(
        "INSERT INTO build (item, number, {}) \
         WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {builds}) \
         SELECT item.id, n.k, {} FROM n CROSS JOIN item CROSS JOIN build t \
         WHERE t.id = {first} AND item.name <> '{ORIGINAL}' ORDER BY n.k, item.id",
        columns.join(", "),
        taken.collect::<Vec<_>>().join(", ")
    ))?;
    for table in WITH_IT {
        let columns = rows.columns(table, &["build"])?;
        let taken: Vec<String> = columns.iter().map(|column| format!("t.{column}")).collect();
        rows.run(&format!(
            "INSERT INTO {table} (build, {}) SELECT b.id, {} FROM build b CROSS JOIN {table} t \
             WHERE b.number > {} AND b.id <> {first} AND t.build = {first} ORDER BY b.id",
            columns.join(", "),
            taken.join(", "),
            builds.saturating_sub(logs)
        ))?;
    }
    rows.run(&format!(
        "UPDATE item SET next_build = {}, last_completed = {builds}, \
         last_result = (SELECT last_result FROM item original WHERE original.name = '{ORIGINAL}') \
         WHERE name <> '{ORIGINAL}'",
        builds + 1
    ))?;
    // as PostgreSQL does by itself after a while
    match rows {
        Rows::Sqlite(connection) => connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .context("write the log back"),
        Rows::Postgres(..) => rows.run("ANALYZE"),
    }
}
