//! `majordomo up`, from its options to its end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::controller::{HAController, LocalPlan, LocalStore, MAX_REPLICAS, local_plan};
use tokio::signal::unix::{SignalKind, signal};

use crate::fleet::Fleet;
use crate::found::{Found, listening};
use crate::home::{Taken, Wanted};
use crate::record::UpRecord;
use crate::{Error, StoreUrl, files};

/// What `up` was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// A `HAController` in YAML.
    pub file: Option<PathBuf>,
    pub home: PathBuf,
    /// 127.0.0.1:8080 when nobody says more.
    pub listen: Option<SocketAddr>,
    /// 1 to 9; overrides the file.
    pub replicas: Option<u32>,
    pub agents: u32,
    /// Overrides the file.
    pub store: Option<StoreUrl>,
    pub example: bool,
    /// What replicas and agents run.
    pub program: PathBuf,
}

/// Shows a line to the user.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Starts the controller, or takes over what runs of it, and keeps it running until Ctrl-C.
pub async fn run(options: Options, say: Say) -> Result<(), Error> {
    let mut signals = Signals::new()?;
    let (plan, wanted) = plan(&options, &say)?;
    let taken = Taken::take(&options.home, &wanted)?;
    let found = Found::look(taken.paths(), taken.name(&wanted), plan.replicas);
    let listener = listening(&found, taken.paths(), options.listen, &say).await?;
    let address = listener.local_addr().map_err(Error::io("look at", Path::new("the listening socket")))?;
    let home = taken.complete(&wanted)?;
    let url = format!("http://{}/", reachable(address));
    UpRecord { pid: std::process::id(), url: url.clone() }.write(&home.paths.up_record())?;
    let made = if home.new { "new home" } else { "home" };
    say(&format!("{made} {}", home.paths.root().display()));
    if let Some(why) = &home.no_example {
        say(&format!("no example job: {why}"));
    }
    let fleet = Fleet::start(&options, &plan, &home, listener, &url, found);
    let ended = fleet.run(&home, &say, &mut signals).await;
    if ended.is_err() {
        home.undo_first_start();
    }
    ended
}

/// What the file says, with the options over it.
fn plan(options: &Options, say: &Say) -> Result<(LocalPlan, Wanted), Error> {
    let default = LocalPlan { name: String::new(), replicas: 3, store: LocalStore::Sqlite };
    let (mut plan, name) = match &options.file {
        None => (default, None),
        Some(file) => {
            let place = file.display();
            let missing = || Error::Refused(format!("{place}: there is no such file"));
            let text = files::read_text(file)?.ok_or_else(missing)?;
            let controller =
                HAController::parse(&text).map_err(|e| Error::Refused(format!("{place}: {e}")))?;
            let (plan, warnings) = local_plan(&controller);
            warnings.iter().for_each(|warning| say(&format!("warning: {place}: {warning}")));
            let name = plan.name.clone();
            (plan, Some(name))
        }
    };
    plan.replicas = options.replicas.unwrap_or(plan.replicas);
    if !(1..=MAX_REPLICAS).contains(&plan.replicas) {
        let n = plan.replicas;
        return Err(Error::Refused(format!(
            "{n} replicas can't be started; --replicas takes 1 to {MAX_REPLICAS}"
        )));
    }
    let store = match (&options.store, &plan.store) {
        (Some(store), _) => Some(store.clone()),
        (None, LocalStore::Postgres(url)) => Some(StoreUrl::parse(url)?),
        (None, LocalStore::Sqlite) => None,
    };
    let wanted = Wanted { name, store, agents: options.agents, example: options.example };
    Ok((plan, wanted))
}

/// Where this machine reaches what listens there.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Ctrl-C and SIGTERM.
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Signals, Error> {
        let listen = |kind| signal(kind).map_err(|e| Error::Refused(format!("listen to signals: {e}")));
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests;
