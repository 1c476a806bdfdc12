//! What this machine can do at most: the figures that ours are read against.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::table::Table;

const TIME: Duration = Duration::from_secs(3);

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let rate = fork_exec(cores);
    table.row(
        "-",
        "limit: fork+exec of sh -c true, all cores",
        format!("{rate:.0}/s"),
        format!("{cores} cores"),
    );
    let rate = sqlite()?;
    table.row(
        "-",
        "limit: SQLite commits of one row, synchronous=FULL",
        format!("{rate:.0}/s"),
        "one writer",
    );
    Ok(())
}

fn fork_exec(threads: usize) -> f64 {
    let started = Instant::now();
    let one = move || {
        let mut count = 0u32;
        while started.elapsed() < TIME {
            let status = Command::new("/bin/sh")
                .args(["-c", "true"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status();
            count += u32::from(status.is_ok_and(|s| s.success()));
        }
        count
    };
    let all: Vec<_> = (0..threads).map(|_| std::thread::spawn(one)).collect();
    let count: u32 = all.into_iter().filter_map(|t| t.join().ok()).sum();
    f64::from(count) / started.elapsed().as_secs_f64()
}

fn sqlite() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let connection = rusqlite::Connection::open(folder.path().join("limit.db"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("CREATE TABLE row (id INTEGER PRIMARY KEY, body TEXT)")?;
    let mut insert = connection.prepare("INSERT INTO row (body) VALUES (?1)")?;
    let body = "x".repeat(200);
    let (started, mut count) = (Instant::now(), 0u32);
    while started.elapsed() < TIME {
        insert.execute([&body])?;
        count += 1;
    }
    let rate = f64::from(count) / started.elapsed().as_secs_f64();
    Ok(rate)
}
