//! `majordomo up`, from its options to its end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use resource::{HAController, LocalPlan, LocalRollout, LocalStore, MAX_REPLICAS, local_plan};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::fleet::{Fleet, Patience};
use crate::found::{Found, listening, replica_names};
use crate::home::{Taken, Wanted};
use crate::record::UpRecord;
use crate::{Error, StoreUrl, files};

/// Where replicas find the address that users know, when somebody has chosen it.
const URL_ENV: &str = "MAJORDOMO_URL";
/// How long the name of this machine may take to become an address.
const RESOLVE: Duration = Duration::from_secs(1);

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
    /// Replicas show their metrics to everybody.
    pub metrics_open: bool,
    /// The first user of a new controller is made by a person, in the setup wizard; the file may want that, too.
    pub setup_wizard: bool,
    /// What replicas and agents run.
    pub program: PathBuf,
}

/// Shows a line to the user.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Starts the controller, or takes over what runs of it, and keeps it running until Ctrl-C.
pub async fn run(options: Options, say: Say) -> Result<(), Error> {
    run_with(options, Patience::default(), say).await
}

async fn run_with(options: Options, patience: Patience, say: Say) -> Result<(), Error> {
    let mut signals = Signals::new()?;
    let (plan, wanted) = plan(&options, &say)?;
    let taken = Taken::take(&options.home, &wanted)?;
    let found = Found::look(taken.paths(), taken.name(&wanted), plan.replicas);
    let listener = listening(&found, taken.paths(), options.listen, &say).await?;
    let address = listener.local_addr().map_err(Error::io("look at", Path::new("the listening socket")))?;
    let home = taken.complete(&wanted)?;
    let url = format!("http://{}/", reachable(address));
    let replicas = replica_names(&home.name, plan.replicas);
    UpRecord { pid: std::process::id(), url: url.clone(), replicas }.write(&home.paths.up_record())?;
    let made = if home.new { "new home" } else { "home" };
    say(&format!("{made} {}", home.paths.root().display()));
    if let Some(why) = &home.no_example {
        say(&format!("no example job: {why}"));
    }
    let chosen = std::env::var(URL_ENV).is_ok_and(|chosen| !chosen.is_empty());
    let public = if chosen { None } else { Some(public(address).await) };
    let urls = Urls { here: url, public };
    let fleet = Fleet::start(&options, &plan, &home, listener, urls, found)?;
    fleet.run(home, &options, patience, &say, &mut signals).await
}

/// Under which addresses the controller is known.
pub(crate) struct Urls {
    /// On this machine.
    pub(crate) here: String,
    /// For links in builds and answers; `None` when replicas find it in their environment.
    pub(crate) public: Option<String>,
}

/// What the file says, with the options over it.
pub(crate) fn plan(options: &Options, say: &Say) -> Result<(LocalPlan, Wanted), Error> {
    let rollout = LocalRollout::default();
    let default = LocalPlan {
        name: String::new(),
        replicas: 3,
        store: LocalStore::Sqlite,
        rollout,
        setup_wizard: false,
    };
    let (mut plan, name, place) = match &options.file {
        None => (default, None, String::new()),
        Some(file) => {
            let place = file.display();
            let missing = || Error::Refused(format!("{place}: there is no such file"));
            let text = files::read_given(file)?.ok_or_else(missing)?;
            let controller =
                HAController::parse(&text).map_err(|e| Error::Refused(format!("{place}: {e}")))?;
            let (plan, warnings) = local_plan(&controller);
            warnings.iter().for_each(|warning| say(&format!("warning: {place}: {warning}")));
            let name = plan.name.clone();
            (plan, Some(name), place.to_string())
        }
    };
    if plan.replicas == 0 && options.replicas.is_none() {
        return Err(Error::Refused(format!(
            "{place}: spec.replicas: with 0 replicas nothing would run here; start some with --replicas 1 to \
             {MAX_REPLICAS}, or stop a controller that runs with Ctrl-C"
        )));
    }
    plan.setup_wizard |= options.setup_wizard;
    plan.replicas = options.replicas.unwrap_or(plan.replicas);
    if !(1..=MAX_REPLICAS).contains(&plan.replicas) {
        let n = plan.replicas;
        return Err(Error::Refused(format!(
            "{n} replicas can't be started; --replicas takes 1 to {MAX_REPLICAS}"
        )));
    }
    let store = match (&options.store, &plan.store) {
        (Some(store), _) => Some(store.clone()),
        (None, LocalStore::Postgres(url)) => Some(StoreUrl::postgres(url).ok_or_else(|| {
            // without the text, which may hold a password
            Error::Refused(format!(
                "{place}: spec.store.postgres.url: it must begin with postgres:// and have no spaces"
            ))
        })?),
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

/// Where users reach what listens there: an address for all is told by the machine's name, if that has an address.
async fn public(address: SocketAddr) -> String {
    if address.ip().is_unspecified()
        && let Some(name) = host_name()
        && let Ok(Ok(_)) = timeout(RESOLVE, tokio::net::lookup_host((name.as_str(), address.port()))).await
    {
        return format!("http://{name}:{}/", address.port());
    }
    format!("http://{}/", reachable(address))
}

/// `None`: it has none, or one that can't be part of a URL.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    (!name.is_empty() && name.chars().all(fits)).then(|| name.to_owned())
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Stop,
    Reload,
}

/// Ctrl-C and SIGTERM; SIGUSR1.
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    reload: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Signals, Error> {
        let listen = |kind| signal(kind).map_err(|e| Error::Refused(format!("listen to signals: {e}")));
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            reload: listen(SignalKind::user_defined1())?,
        })
    }

    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.reload.recv() => Asked::Reload,
        }
    }
}

#[cfg(test)]
mod tests;
