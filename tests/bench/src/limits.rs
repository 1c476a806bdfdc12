//! What this machine can do at most: the figures that ours are read against.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

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
