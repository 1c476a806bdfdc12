//! Asking a controller for something that takes a while, and watching until it is done.

use std::path::Path;
use std::time::{Duration, Instant};

use hyper::Method;
use model::RestartWhen;
use rustix::process::Signal;
use security::Keys;
use serde::Deserialize;
use serde_json::Value;

use crate::peer::{AROUND, PROBE, Peers, drain_limit};
use crate::process::find_up;
use crate::record::{ReloadRecord, ReplicaRecord};
use crate::table::send;
use crate::up::Say;
use crate::whom::Whom;
use crate::{Error, Paths, UpRecord};

const LOOK: Duration = Duration::from_millis(500);
/// How long nobody may answer meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// Whoever starts the replicas has heard of it by then.
const HEARD: Duration = Duration::from_secs(15);
/// How long `up` takes to read its file.
const RELOADED: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
struct Seen {
    level: i64,
    rollout: Option<Rollout>,
    restart: Restart,
}

#[derive(Debug, Deserialize)]
struct Rollout {
    phase: String,
    revision: String,
    restart: i64,
    failed: Option<String>,
    message: String,
}

#[derive(Debug, Deserialize)]
struct Restart {
    number: i64,
    #[serde(default)]
    withdrawn: bool,
}

/// What is waited for.
enum Goal {
    Restart(i64),
    /// The restart of this number is not carried out.
    Withdrawn(i64),
    Revision(String),
}

impl Goal {
    fn heard(&self, rollout: &Rollout) -> bool {
        match self {
            Goal::Restart(number) | Goal::Withdrawn(number) => rollout.restart >= *number,
            Goal::Revision(revision) => rollout.revision == *revision,
        }
    }
}

/// Asks for a restart of all replicas, one after the other, and waits until it is done.
pub async fn restart(whom: &Whom, when: RestartWhen, wait: bool, say: &Say) -> Result<(), Error> {
    let path = match when {
        RestartWhen::Immediately => "/restart",
        RestartWhen::Idle => "/safeRestart",
    };
    post(whom, path).await?;
    let number = look(whom).await?.restart.number;
    if wait { follow(whom, &Goal::Restart(number), say).await } else { Ok(()) }
}

/// Withdraws a restart that waits, and waits until whoever restarts the replicas has heard of it.
pub async fn cancel_restart(whom: &Whom, say: &Say) -> Result<(), Error> {
    post(whom, "/replicas/cancelRestart").await?;
    let number = look(whom).await?.restart.number;
    follow(whom, &Goal::Withdrawn(number), say).await
}

/// Tells the replicas to run what is installed as their program, one after the other, and waits until they do.
pub async fn reload_over_http(whom: &Whom, say: &Say) -> Result<(), Error> {
    post(whom, "/replicas/reload").await?;
    let number = look(whom).await?.restart.number;
    follow(whom, &Goal::Restart(number), say).await
}

async fn post(whom: &Whom, path: &str) -> Result<(), Error> {
    let answer = send(whom, Method::POST, path).await?;
    match answer.status {
        302 => Ok(()),
        401 => Err(Error::Refused(format!("{} does not know the user or the password", whom.url))),
        status => Err(Error::Refused(match answer.error {
            Some(why) => why,
            None => format!("{} answers with status {status}", whom.url),
        })),
    }
}

/// Tells the `up` of this home that its file or its program has changed, or that the program before is wanted `back`, and
/// waits until all replicas run what it says now.
pub async fn reload(home: &Path, whom: &Whom, back: bool, say: &Say) -> Result<(), Error> {
    let home = std::fs::canonicalize(home).map_err(Error::io("look at", home))?;
    let paths = Paths::new(home);
    let nobody = || Error::Refused(format!("no `majordomo up` runs on {}", paths.root().display()));
    let record = UpRecord::read(&paths.up_record())?.ok_or_else(nobody)?;
    let process = find_up(record.pid).ok_or_else(nobody)?;
    let _none = std::fs::remove_file(paths.reload_record());
    let asks = paths.reload_back();
    let _none = std::fs::remove_file(&asks);
    if back {
        // a controller that does not answer may be what is gone back from
        let level = look(whom).await.map(|seen| seen.level.to_string()).unwrap_or_default();
        std::fs::write(&asks, level).map_err(Error::io("write", &asks))?;
    }
    process.signal(Signal::USR1);
    let began = Instant::now();
    let done = loop {
        if let Some(done) = ReloadRecord::read(&paths.reload_record())? {
            break done;
        }
        if began.elapsed() > RELOADED {
            return Err(Error::Refused(
                "`majordomo up` does not answer; its own output may say why".to_owned(),
            ));
        }
        tokio::time::sleep(PROBE).await;
    };
    match done.revision {
        None => Err(Error::Refused(done.outcome)),
        Some(revision) => {
            say(&done.outcome);
            follow(whom, &Goal::Revision(revision), say).await
        }
    }
}

/// Waits until the replica of that name has handed over all it has.
pub async fn drain(home: &Path, name: &str) -> Result<(), Error> {
    let paths = Paths::new(home);
    let record = ReplicaRecord::read(&paths.replica_record(name)).ok_or_else(|| {
        let names: Vec<String> =
            UpRecord::read(&paths.up_record()).ok().flatten().map(|up| up.replicas).unwrap_or_default();
        let known =
            if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) };
        Error::Refused(format!("no replica {name} has run in {}{known}", home.display()))
    })?;
    let keys = Keys::read(&paths.master_key()).map_err(|e| Error::Refused(e.to_string()))?;
    let peers = Peers::new(paths, vec![name.to_owned()], keys);
    let within = drain_limit();
    if peers.drain(record, within).await {
        return Ok(());
    }
    Err(Error::Refused(format!("{name} does not answer, or is not done after {} s", within.as_secs())))
}

/// The same, asked over HTTP: of a replica on any machine.
pub async fn drain_over_http(whom: &Whom, name: &str, force: bool) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct All {
        replicas: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        name: String,
        incarnation: i64,
        state: String,
        builds: Value,
        agents: Value,
    }
    let nothing = |value: &Value| value.as_array().is_some_and(Vec::is_empty) || value.as_u64() == Some(0);
    let asked = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    post(whom, &format!("/replicas/{asked}/drain?force={force}")).await?;
    let (began, within) = (Instant::now(), drain_limit());
    let mut drains = None;
    while began.elapsed() < within + AROUND {
        // the one that is asked may be the one that drains
        if let Ok(answer) = send(whom, Method::GET, "/replicas/api/json?tree=replicas[*]").await
            && let Ok(all) = serde_json::from_slice::<All>(&answer.body)
            && let Some(one) = all.replicas.into_iter().find(|one| one.name == name)
        {
            let same = *drains.get_or_insert(one.incarnation) == one.incarnation;
            if !same || one.state == "stopped" {
                return Err(Error::Replica(format!("{name} was restarted meanwhile")));
            }
            if one.state == "draining" && nothing(&one.builds) && nothing(&one.agents) {
                return Ok(());
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(Error::Refused(format!("{name} is not done after {} s", within.as_secs())))
}

async fn look(whom: &Whom) -> Result<Seen, Error> {
    let answer = send(whom, Method::GET, "/replicas/api/json?tree=level,rollout[*],restart[*]").await?;
    serde_json::from_slice(&answer.body)
        .map_err(|e| Error::Refused(format!("the answer is not that of a Majordomo controller: {e}")))
}

async fn follow(whom: &Whom, goal: &Goal, say: &Say) -> Result<(), Error> {
    let began = Instant::now();
    let mut told = String::new();
    let mut answered = Instant::now();
    let mut begun = false;
    loop {
        // the one that is asked may be the one that is restarted
        let seen = match look(whom).await {
            Ok(seen) => seen,
            Err(error) if answered.elapsed() > PATIENCE => return Err(error),
            Err(_) => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
        };
        answered = Instant::now();
        match seen.rollout.filter(|rollout| goal.heard(rollout)) {
            Some(rollout) => {
                if told != rollout.message {
                    say(&rollout.message);
                    told = rollout.message;
                }
                let withdrawn = seen.restart.withdrawn && matches!(goal, Goal::Restart(_));
                begun |= !matches!(rollout.phase.as_str(), "settled" | "waiting");
                match (rollout.phase.as_str(), rollout.failed) {
                    ("settled", _) if withdrawn && !begun => {
                        return Err(Error::Replica("the restart was withdrawn".to_owned()));
                    }
                    ("settled", _) => return Ok(()),
                    ("rolling", _) if matches!(goal, Goal::Withdrawn(_)) => {
                        return Err(Error::Replica("the restart has begun already, and goes on".to_owned()));
                    }
                    ("halted", failed) => {
                        return Err(Error::Replica(format!(
                            "revision {} was given up: {}",
                            rollout.revision,
                            failed.unwrap_or_default()
                        )));
                    }
                    _ => {}
                }
            }
            None if began.elapsed() > HEARD => {
                return Err(Error::Refused(
                    "nobody restarts the replicas: that is done by the `majordomo up` that has started them, and on \
                     machines of their own by one that is ready"
                        .to_owned(),
                ));
            }
            None => {}
        }
        tokio::time::sleep(LOOK).await;
    }
}
