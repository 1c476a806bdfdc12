//! What an earlier `up` left running, and the socket that it listens on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use rollout::Revision;
use rustix::process::Signal;
use tokio::time::timeout;

use crate::home::Paths;
use crate::process::{Process, Running, find};
use crate::up::Say;
use crate::{Error, listener};

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// How long replicas that were found may take to hand out their socket: as long as a silent one may live.
const HAND_OVER: Duration = Duration::from_secs(5);

/// Replicas that an earlier `up` left running.
pub(crate) struct Found {
    wanted: Vec<(String, Running)>,
    /// Too many, or of another name.
    pub(crate) unwanted: Vec<(String, Running)>,
}

impl Found {
    pub(crate) fn look(paths: &Paths, name: &str, replicas: u32) -> Found {
        let mut found = Found { wanted: Vec::new(), unwanted: Vec::new() };
        for running in find("replica", "--home", paths.root()) {
            let its = running.value("--name").map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let ours = replica_names(name, replicas).contains(&its);
            let twice = found.wanted.iter().any(|(name, _)| *name == its);
            let list = if ours && !twice { &mut found.wanted } else { &mut found.unwanted };
            list.push((its, running));
        }
        found
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.wanted.iter().chain(&self.unwanted).map(|(name, _)| name.as_str())
    }

    /// What the replica of that name runs.
    pub(crate) fn revision(&self, name: &str) -> Option<Revision> {
        let (_, running) = self.wanted.iter().find(|(its, _)| its == name)?;
        Some(Revision(running.value("--revision")?.to_string_lossy().into_owned()))
    }

    /// Takes the replica of that name over.
    pub(crate) fn adopt(&self, name: &str) -> Option<Process> {
        self.wanted.iter().find(|(its, _)| its == name).and_then(|(_, running)| running.adopt())
    }
}

pub(crate) fn replica_names(name: &str, replicas: u32) -> Vec<String> {
    (0..replicas).map(|ordinal| format!("{name}-{ordinal}")).collect()
}

/// The socket: from a replica that runs, so that all accept on one; else a new one.
pub(crate) async fn listening(
    found: &Found,
    paths: &Paths,
    wanted: Option<SocketAddr>,
    say: &Say,
) -> Result<TcpListener, Error> {
    if found.names().next().is_none() {
        return listener::bind(wanted.unwrap_or(DEFAULT_LISTEN)).await;
    }
    say("replicas of an earlier start run: taking them over");
    let deadline = Instant::now() + HAND_OVER;
    loop {
        let received = found.names().find_map(|name| listener::receive(&paths.replica_socket(name)).ok());
        if let Some(listener) = received {
            let address = listener.local_addr().map_err(Error::io("look at", Path::new("the socket")))?;
            let other =
                wanted.filter(|w| w.ip() != address.ip() || (w.port() != 0 && w.port() != address.port()));
            return match other {
                None => Ok(listener),
                Some(other) => Err(Error::Refused(format!(
                    "replicas of an earlier start serve {address}; start without --listen {other}, or stop them first"
                ))),
            };
        }
        if Instant::now() >= deadline {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    say("none of them answers: killing them");
    for (_, running) in found.wanted.iter().chain(&found.unwanted) {
        if let Some(mut process) = running.adopt() {
            process.signal(Signal::KILL);
            let _ = timeout(HAND_OVER, process.wait()).await;
        }
    }
    listener::bind(wanted.unwrap_or(DEFAULT_LISTEN)).await
}
