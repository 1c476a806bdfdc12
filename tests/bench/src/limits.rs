//! What this machine can do at most: the figures that ours are read against.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::postgres::{self, Server};
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
    let rate = steps(cores)?;
    table.row(
        "-",
        "limit: what an agent does for a step of sh true, and nothing else, all cores",
        format!("{rate:.0}/s"),
        "a folder with its files, a wrapper, the script in a shell of its own",
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

/// Statements of a group of writes of trivial builds, but for its begin and its end.
const GROUP: usize = 24;
/// A chunk of a log.
const CHUNK: usize = 128 * 1024;

/// What PostgreSQL does at most with our kind of work and no more: PostgreSQL's own pgbench asks, prepared statements of one row.
pub(crate) fn postgres(server: &Server, table: &mut Table) -> Result<()> {
    let database = server.database();
    server
        .sql(&database, "CREATE TABLE bare (client BIGINT, at BIGINT, body TEXT, PRIMARY KEY (client, at))");
    let insert = "\\set at random(1, 9000000000000)\n\
                  INSERT INTO bare VALUES (:client_id, :at, 'a row of some length') ON CONFLICT DO NOTHING;\n";
    let group = format!("BEGIN;\n{}COMMIT;\n", insert.repeat(GROUP));
    let chunk = "\\set at random(1, 9000000000000)\n\
                 INSERT INTO bare VALUES (:client_id, :at, (SELECT body FROM text)) ON CONFLICT DO NOTHING;\n";
    let lines = format!(
        "SELECT string_agg('line ' || n || ' of a long text', chr(10)) FROM generate_series(1, {}) n",
        CHUNK / 24
    );
    server.sql(&database, &format!("CREATE TABLE text AS SELECT ({lines}) AS body"));
    #[expect(clippy::cast_precision_loss, reason = "a figure to be shown")]
    let megabytes = CHUNK as f64 / 1e6;
    for (what, script, clients, unit, name) in [
        ("commits of one row", insert, 1, 1.0, "/s"),
        ("groups of 24 statements of one row", &group, 1, 1.0, "/s"),
        ("groups of 24 statements of one row", &group, 3, 1.0, "/s"),
        ("commits of a chunk of a log, which it compresses", chunk, 1, megabytes, " MB/s"),
    ] {
        let rate = pgbench(&database, script, clients)? * unit;
        let connections = format!("{clients} connections");
        table.row("-", &format!("limit: PostgreSQL, {what}"), format!("{rate:.0}{name}"), connections);
    }
    Ok(())
}

/// Transactions a second on the database of this URL.
fn pgbench(database: &str, script: &str, clients: usize) -> Result<f64> {
    let mut file = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut file, script.as_bytes())?;
    let program = postgres::binaries().context("PostgreSQL is not installed")?.join("pgbench");
    let (clients, seconds) = (clients.to_string(), TIME.as_secs().to_string());
    let done = Command::new(program)
        .args(["-n", "-M", "prepared", "-j", "1", "-c", &clients, "-T", &seconds, "-f"])
        .arg(file.path())
        .arg(database)
        .output()?;
    ensure!(done.status.success(), "pgbench: {}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.with_context(|| format!("pgbench says no rate: {said}"))
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

/// What runs a step's script and leaves its status: what the wrapper of our agents comes to.
const WRAPPER: &str = r#"trap : HUP INT TERM
set -C
{ echo "$2" >"$1/started"; } 2>/dev/null || exit 0
set +C
/bin/sh -xe "$1/script" </dev/null
echo "$?" >"$1/exit"
"#;

fn steps(threads: usize) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let (started, root) = (Instant::now(), folder.path().to_owned());
    let one = move |thread: usize| -> Result<u32> {
        let mut count = 0;
        while started.elapsed() < TIME {
            let step = root.join(format!("{thread}-{count}"));
            std::fs::create_dir(&step)?;
            std::fs::write(step.join("script"), "true")?;
            let out = std::fs::File::create(step.join("out"))?;
            let mut wrapper = Command::new("/bin/sh");
            wrapper.args(["-c", WRAPPER, "step"]).arg(&step).arg("boot").process_group(0);
            let status = wrapper.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).status()?;
            ensure!(status.success() && std::fs::read(step.join("exit"))? == b"0\n", "a bare step fails");
            std::fs::remove_dir_all(&step)?;
            count += 1;
        }
        Ok(count)
    };
    let all: Vec<_> = (0..threads)
        .map(|thread| {
            let one = one.clone();
            std::thread::spawn(move || one(thread))
        })
        .collect();
    let mut count = 0;
    for thread in all {
        count += thread.join().map_err(|_| anyhow!("a thread has crashed"))??;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
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
