//! What a replica needs that no `up` has started: what all machines share, addresses of its own, and a service manager.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use local::{Paths, StoreUrl};
use machines::{INSTALLED_ENV, Notifier, Plan, Programs, ROLLOUT, Roller, Tell};
use model::{Clock, ReplicaState};
use resource::Span;
use store::Store;
use tokio::net::TcpSocket;

use super::ReplicaArgs;
use super::this::This;

/// What all machines of a controller share.
pub(super) struct Shared {
    pub(super) key: PathBuf,
    /// What is created when it is missing; need not be there.
    pub(super) bootstrap: PathBuf,
    pub(super) store: StoreUrl,
}

impl Shared {
    pub(super) fn of(args: &ReplicaArgs, paths: &Paths) -> Result<Shared> {
        let (key, bootstrap) = match &args.secrets {
            Some(folder) => (folder.join("master.key"), folder.join("bootstrap.json")),
            None => (paths.master_key(), paths.bootstrap()),
        };
        let file = args.secrets.as_ref().map(|folder| folder.join("store")).filter(|file| file.exists());
        let store = match (args.store.as_deref().filter(|store| !store.is_empty()), file) {
            (Some(store), _) => StoreUrl::parse(store)?,
            (None, Some(file)) => StoreUrl::parse(&format!("@{}", file.display()))?,
            (None, None) => StoreUrl::parse(&format!("sqlite:{}", paths.database().display()))?,
        };
        Ok(Shared { key, bootstrap, store })
    }
}

/// A length of time, as in `spec.rollout`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    Span::parse(text).map(|span| span.0).ok_or_else(|| "a time has the form 90s, 5m or 1h30m".to_owned())
}

/// Takes the address, so that what is wrong with it is known at the start. Nobody can connect yet.
pub(super) fn reserve(address: SocketAddr, option: &str) -> Result<TcpSocket> {
    let take = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // connections of the one before may still be about to end
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    take().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow!("{option}: {address} is in use by another program; stop that or choose another address")
        }
        io::ErrorKind::AddrNotAvailable => anyhow!("{option}: {address} is no address of this machine"),
        io::ErrorKind::PermissionDenied => {
            anyhow!("{option}: this user may not listen on {address}; choose a port above 1023")
        }
        _ => anyhow!(error).context(format!("{option}: listen on {address}")),
    })
}

/// Where the others are told to find this replica.
pub(super) fn peer_address(args: &ReplicaArgs, bound: SocketAddr) -> Result<String> {
    if let Some(given) = &args.peer_address {
        let port = given.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        if port.is_none_or(|(host, port)| host.is_empty() || port == 0) {
            bail!("--peer-address: {given} is not of the form HOST:PORT");
        }
        return Ok(given.clone());
    }
    if bound.ip().is_unspecified() {
        bail!(
            "--peer-listen: {bound} is all addresses of this machine, so the others can't know where it is: give one of \
             them, or say --peer-address HOST:PORT as well"
        );
    }
    let public = args.listen.is_some_and(|listen| !listen.ip().is_loopback());
    if public && bound.ip().is_loopback() {
        tracing::warn!("replicas on other machines can't reach {bound}: see --peer-listen");
    }
    Ok(bound.to_string())
}

/// Whether no start of this program will ever succeed here: the home was raised to a level that it does not know.
pub(super) fn outdated(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<home::OpenError>(), Some(home::OpenError::Level(_)))
}

/// What this machine runs, and what it can be told to run.
pub(super) async fn programs(
    args: &ReplicaArgs,
    paths: &Paths,
    store: &Arc<dyn Store>,
) -> Result<Arc<Programs>> {
    let installed = std::env::var_os(INSTALLED_ENV).map(PathBuf::from);
    std::fs::create_dir_all(&args.home).with_context(|| format!("create {}", args.home.display()))?;
    let leases = loop {
        match store.leases().await {
            Ok(leases) => break leases,
            Err(error) if error.passing() => {
                tracing::warn!(%error, "look what is to run; waiting for the store");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(anyhow!(error)).context("look what is to run"),
        }
    };
    let plan = leases.iter().find(|lease| lease.name == ROLLOUT).and_then(|lease| Plan::read(&lease.note));
    let programs = Programs::open(paths.root(), installed, plan.as_ref()).context("look what runs here")?;
    Ok(Arc::new(programs))
}

/// The replicas restart each other, unless `up` does it.
pub(super) struct Machine<'a> {
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) cluster: &'a cluster::Handle,
    pub(super) programs: Option<&'a Arc<Programs>>,
    /// `--bake`
    pub(super) bake: Option<Duration>,
}

impl Machine<'_> {
    /// Until the process ends. When this replica is the next to go, it is told to end.
    pub(super) async fn run(&self, this: &This) {
        let Some(programs) = self.programs else { return std::future::pending().await };
        let (store, clock) = (Arc::clone(self.store), Arc::clone(self.clock));
        let goes = async {
            machines::gone(self.store, self.clock, self.cluster, programs).await;
            this.end();
            std::future::pending::<()>().await;
        };
        tokio::join!(Roller::new(store, clock, self.cluster.clone(), self.bake).run(), goes);
    }
}

/// Tells the service manager what this replica does, and that its program is good once it is ready.
pub(super) async fn tell(notifier: &Notifier, this: &This, programs: Option<&Programs>) {
    let mut states = this.states();
    loop {
        let state = *states.borrow_and_update();
        match state {
            ReplicaState::Waiting | ReplicaState::Starting => {
                notifier.tell(Tell::Starting("waits for its turn to start".to_owned()));
            }
            ReplicaState::Ready | ReplicaState::Setup => {
                if let Some(Err(error)) = programs.map(Programs::ready) {
                    tracing::warn!("{error}; this program would be gone back from after some more starts");
                }
                let runs =
                    programs.map(|programs| format!("revision {}", programs.runs())).unwrap_or_default();
                notifier.tell(Tell::Ready(format!("ready {runs}").trim_end().to_owned()));
            }
            ReplicaState::Draining if this.ends() => notifier.tell(Tell::Stopping),
            ReplicaState::Draining => notifier.tell(Tell::Draining),
            ReplicaState::Stopped => {}
        }
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return std::future::pending().await },
            () = this.ending(), if state == ReplicaState::Draining && !this.ends() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_too_old_for_a_home_at_a_level_that_it_does_not_know() {
        let too_high = model::level::usable(9, 1).unwrap_err();
        assert!(outdated(&anyhow!(home::OpenError::from(too_high)).context("open the home")));
        assert!(!outdated(&anyhow!(home::OpenError::Url("x".to_owned()))));
    }

    #[tokio::test]
    async fn an_address_is_reserved_before_anybody_can_connect() {
        let socket = reserve("127.0.0.1:0".parse().unwrap(), "--listen").unwrap();
        let address = socket.local_addr().unwrap();
        assert!(std::net::TcpStream::connect(address).is_err());
        let listener = socket.listen(1).unwrap();
        let _connected = std::net::TcpStream::connect(address).unwrap();
        let said = reserve(listener.local_addr().unwrap(), "--listen").unwrap_err().to_string();
        assert!(said.contains("is in use by another program"), "{said}");
        let said = reserve("192.0.2.1:80".parse().unwrap(), "--peer-listen").unwrap_err().to_string();
        assert_eq!(said, "--peer-listen: 192.0.2.1:80 is no address of this machine");
    }
}
