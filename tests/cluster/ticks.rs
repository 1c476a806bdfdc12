//! Steps that print a numbered line every 50 ms, and clients that read on in their logs: for how long a log stands still. How short
//! that is (the goal is one second) `tests/bench` tells: here the machine has other things to do.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::controller::{Controller, LONG, wait};
use crate::support::http::{Client, Reply};

/// Called with the number of its build. Leaves there how many lines it has printed.
const TICK: &str = r#"#!/bin/sh
folder=${0%/*}
n=0
while [ ! -e "$folder/end" ]; do
    n=$((n + 1))
    echo "tick $n"
    sleep 0.05
done
echo "$n" >"$folder/$1"
"#;
/// So that more than one replica has one of them.
const BUILDS: usize = 2;
/// Between two reads of a client.
const READ: Duration = Duration::from_millis(20);

pub(crate) struct Ticks {
    folder: PathBuf,
    readers: Vec<JoinHandle<Seen>>,
}

/// By one client, of one log.
#[derive(Default)]
struct Seen {
    text: String,
    /// The longest time in which the log did not grow.
    gap: Duration,
    /// A request that failed: the last one.
    failed: Option<String>,
}

impl Ticks {
    /// Builds that print, and their readers.
    pub(crate) fn start(controller: &Controller) -> Ticks {
        let folder = controller.root.join("ticks");
        std::fs::create_dir(&folder).unwrap();
        let tick = folder.join("tick");
        std::fs::write(&tick, TICK).unwrap();
        std::fs::set_permissions(&tick, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let script = format!("node('local || work') {{ sh '{} $BUILD_NUMBER' }}", tick.display());
        controller.create_job("ticks", &script);
        let reader = |number: usize| {
            let client = controller.client();
            let asked =
                client.post(&format!("/job/ticks/buildWithParameters?ID={number}&delay=0sec")).unwrap();
            assert_eq!(asked.status, 201, "{}", asked.text());
            wait(LONG, "a build prints", || {
                let reply = progress(&client, number, 0).ok().filter(|reply| reply.status == 200)?;
                reply.text().lines().any(|line| line == "tick 1").then_some(())
            });
            std::thread::spawn(move || read(&client, number))
        };
        Ticks { readers: (1..=BUILDS).map(reader).collect(), folder }
    }

    /// Each line was read once and in order, no request has failed, and no log stood still.
    pub(crate) fn finish(self) {
        std::fs::write(self.folder.join("end"), "").unwrap();
        let seen: Vec<Seen> = self.readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        let gaps: Vec<Duration> = seen.iter().map(|seen| seen.gap).collect();
        eprintln!("logs of steps that print every 50 ms stood still for {gaps:?} at most");
        for (number, seen) in (1..).zip(&seen) {
            assert_eq!(seen.failed, None, "reading the log of build {number}");
            assert!(seen.text.contains("Finished: SUCCESS"), "build {number}: {}", seen.text);
            let printed = std::fs::read_to_string(self.folder.join(number.to_string())).unwrap();
            let printed: usize = printed.trim().parse().unwrap();
            let lines: Vec<&str> = seen.text.lines().filter_map(|line| line.strip_prefix("tick ")).collect();
            let wanted: Vec<String> = (1..=printed).map(|line| line.to_string()).collect();
            assert!(lines == wanted, "build {number} has printed {printed} lines: {}", seen.text);
            assert!(seen.gap < LONG, "the log of build {number} stood still for {:?}", seen.gap);
        }
    }
}

fn progress(client: &Client, number: usize, from: u64) -> std::io::Result<Reply> {
    client.try_get(&format!("/job/ticks/{number}/logText/progressiveText?start={from}"))
}

/// Reads on until the build ends, and never asks twice for the same.
fn read(client: &Client, number: usize) -> Seen {
    let (mut seen, mut offset, mut grown) = (Seen::default(), 0, Instant::now());
    // of one that stays where it is, enough is known
    while seen.gap < LONG {
        let reply = match progress(client, number, offset) {
            Ok(reply) if reply.status == 200 => reply,
            Ok(reply) => {
                seen.failed = Some(format!("{} {}", reply.status, reply.text()));
                break;
            }
            Err(error) => {
                seen.failed = Some(error.to_string());
                break;
            }
        };
        seen.gap = seen.gap.max(grown.elapsed());
        let size = reply.header("x-text-size").and_then(|size| size.parse().ok()).unwrap_or(offset);
        if size > offset {
            seen.text.push_str(&reply.text());
            (offset, grown) = (size, Instant::now());
        }
        if reply.header("x-more-data").is_none() {
            break;
        }
        std::thread::sleep(READ);
    }
    seen
}
