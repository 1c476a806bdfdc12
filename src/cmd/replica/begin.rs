//! All that comes before a replica is a member: what it is given, its addresses, the home, and the joining.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use cluster::Membership;
use local::{Paths, ReplicaWait, StoreUrl};
use machines::Programs;
use model::level::{BEHAVIOUR, LEVEL};
use model::{Clock, ReplicaName, SystemClock};
use mutual::PeerTls;
use security::{Keys, Token};
use server::Health;
use store::{Join, Store};
use telemetry::Endpoint;
use tokio::net::{TcpListener, TcpSocket};

use super::given::{First, Given, Place};
use super::listen::{BACKLOG, peer_address, reserve};
use super::objects::{self, Settled, settle};
use super::{ReplicaArgs, machine, metrics, traces};

/// What `/readyz` says when nothing particular is waited for.
pub(super) const STARTING: &str = "this replica is being started";

/// Between two attempts at a store that is away.
pub(super) const AGAIN: Duration = Duration::from_secs(1);
/// The same when somebody must mend something first; and between two looks whether there is a new password.
pub(super) const MENDED: Duration = Duration::from_secs(5);

/// A replica that is a member now, and does nothing yet.
pub(super) struct Begun {
    pub(super) paths: Paths,
    pub(super) first: First,
    pub(super) place: Place,
    /// The one that is used.
    pub(super) url: StoreUrl,
    pub(super) keys: Keys,
    /// `None`: peers talk in the clear.
    pub(super) tls: Option<PeerTls>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) home: home::Home,
    pub(super) store: Arc<dyn Store>,
    pub(super) programs: Option<Arc<Programs>>,
    pub(super) metrics_token: Token,
    pub(super) collector: Option<Endpoint>,
    pub(super) inherited: Option<std::net::TcpListener>,
    pub(super) reserved: Option<TcpSocket>,
    pub(super) peer_listener: TcpListener,
    /// Where peers reach this replica.
    pub(super) address: String,
    pub(super) membership: Membership,
    pub(super) cluster: cluster::Handle,
}

pub(super) async fn begin(args: &ReplicaArgs, health: &Health) -> Result<Begun> {
    let name = ReplicaName::parse(&args.name).with_context(|| format!("the name {:?}", args.name))?;
    let paths = Paths::new(&args.home);
    let Given { keys, tls, first, store: place, metrics_token: token_file } = Given::read(args, &paths)?;
    std::fs::create_dir_all(&args.home).with_context(|| format!("create {}", args.home.display()))?;
    let inherited = local::inherited().context("take the inherited socket")?;
    let reserved = match args.listen.filter(|_| inherited.is_none()) {
        Some(address) => Some(reserve(address, "--listen")?),
        None => None,
    };
    let peer_listener = reserve(args.peer_listen, "--peer-listen")?.listen(BACKLOG)?;
    let address = peer_address(args, peer_listener.local_addr()?)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let file = args.metrics_token_file.as_deref().or(token_file.as_deref());
    let metrics_token = metrics::token(args.metrics_token.as_deref(), file, &paths.metrics_token(), &keys)?;
    let collector = traces::collector(args.otlp_endpoint.as_deref())?;
    objects::address(args)?;
    let (home, url) = open(args, &paths, &place, health).await?;
    let opened = clock.elapsed();
    let store: Arc<dyn Store> = Arc::new(home.clone());
    not_foreign(&store, &first, args.expect_home).await?;
    let identity = first.identity()?;
    let settled = settle(args, &paths, home, &clock, (identity.as_deref(), health)).await?;
    let Settled { home, place: objects } = settled;
    let store: Arc<dyn Store> = Arc::new(home.clone());
    let programs = match reserved {
        Some(_) if !args.managed() => Some(machine::programs(&paths, &store).await?),
        Some(_) | None => None,
    };
    let runs = programs.as_ref().map(|programs| programs.runs().0.clone());
    let join = Join {
        name,
        ordinal: args.ordinal,
        pid: std::process::id(),
        address: address.clone(),
        revision: args.revision.clone().or(runs).unwrap_or_else(|| "1".to_owned()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        level: LEVEL,
        behaviour: BEHAVIOUR,
        at: clock.now(),
    };
    let asked = clock.elapsed();
    let (membership, cluster) = join_patiently(&store, &clock, join).await?;
    // Whoever has moved objects between our look and our joining has not seen us.
    if cluster.view().borrow().meta.objects != objects {
        bail!("where objects are was changed while this replica was started");
    }
    metrics::started(&cluster, opened, clock.elapsed().saturating_sub(asked));
    Ok(Begun {
        paths,
        first,
        place,
        url,
        keys,
        tls,
        clock,
        home,
        store,
        programs,
        metrics_token,
        collector,
        inherited,
        reserved,
        peer_listener,
        address,
        membership,
        cluster,
    })
}

/// Opens the home. A database that does not answer is waited for; what waiting can't mend ends the process. So does a wrong
/// password, unless somebody else looks after this replica and can give it the right one.
async fn open(
    args: &ReplicaArgs,
    paths: &Paths,
    place: &Place,
    health: &Health,
) -> Result<(home::Home, StoreUrl)> {
    let mut waiting = Waiting::new(health, paths.replica_wait(&args.name));
    let mut url = place.url()?;
    let opened = loop {
        // Other replicas of a database may be on other machines: its objects are in it.
        let folder = url.expose().starts_with("sqlite:").then(|| paths.root());
        let error = match home::open(url.expose(), folder).await {
            Ok(home) => break Ok((home, url)),
            Err(error) => error,
        };
        let mended = args.managed() && place.may_change() && error.to_be_mended();
        if !error.passing() && !mended {
            break Err(anyhow!(error));
        }
        waiting.waits(&error.to_string());
        // A server may lock out who comes again and again with a wrong password.
        tokio::time::sleep(if mended { MENDED } else { AGAIN }).await;
        match place.url() {
            Ok(now) => url = now,
            Err(error) => tracing::debug!("{error:#}"),
        }
    };
    waiting.over();
    opened
}

/// What this replica waits for, told whoever asks.
pub(super) struct Waiting<'a> {
    health: &'a Health,
    /// `up` reads there what is waited for.
    file: PathBuf,
    told: String,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(health: &'a Health, file: PathBuf) -> Waiting<'a> {
        Waiting { health, file, told: String::new() }
    }

    pub(super) fn waits(&mut self, why: &str) {
        self.health.waits(why);
        if self.told != why {
            tracing::warn!("{why}; waiting for it");
            why.clone_into(&mut self.told);
        }
        let wait = ReplicaWait { pid: std::process::id(), why: why.to_owned() };
        if let Err(error) = wait.write(&self.file) {
            tracing::debug!(%error, "say what is waited for");
        }
    }

    pub(super) fn over(&mut self) {
        self.told.clear();
        self.health.waits(STARTING);
        let _none = std::fs::remove_file(&self.file);
    }
}

/// Takes a new password for the database when there is one. Never ends.
pub(super) async fn follow(place: &Place, mut used: StoreUrl, home: &home::Home) {
    if !place.may_change() {
        return std::future::pending().await;
    }
    let mut told = None;
    loop {
        tokio::time::sleep(MENDED).await;
        let now = match place.url() {
            Ok(now) if now != used => now,
            Ok(_) => continue,
            Err(error) => {
                tracing::debug!("{error:#}");
                continue;
            }
        };
        if !now.same_place(&used) {
            if told.as_ref() != Some(&now) {
                tracing::warn!(
                    "another database is named now; it is looked at when this replica is started again"
                );
                told = Some(now);
            }
            continue;
        }
        match home.log_in_as(now.expose()) {
            Ok(()) => tracing::info!("new connections to the database are made with a new user or password"),
            Err(error) => tracing::warn!("{error}"),
        }
        used = now;
    }
}

/// Refuses a database in which another controller lives, or nobody where this one is expected, before anything of it is touched.
async fn not_foreign(store: &Arc<dyn Store>, first: &First, expected: bool) -> Result<()> {
    let Some(controller) = first.identity()? else {
        return if expected {
            Err(anyhow!("--expect-home needs --controller, which says whose home it is"))
        } else {
            Ok(())
        };
    };
    loop {
        match store.meta().await {
            Ok(meta) if meta.controller.is_empty() && expected => {
                return Err(anyhow!(
                    "the database is empty, and {controller} has run before: let the store be found where it was, or restore it into a \
                     database that is made anew (this one has empty tables by now)"
                ));
            }
            Ok(meta) if meta.controller.is_empty() => return Ok(()),
            Ok(meta) => return of(&controller, &meta.controller),
            Err(error) if error.passing() => {
                tracing::warn!(%error, "look whose database this is; waiting for the store");
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(anyhow!(error)).context("look whose database this is"),
        }
    }
}

pub(super) fn of(controller: &str, found: &str) -> Result<()> {
    if found == controller {
        return Ok(());
    }
    Err(anyhow!(
        "the database belongs to another controller, {found}; this home is of {controller}: use the home of the \
         former, or give another database with --store"
    ))
}

async fn join_patiently(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    join: Join,
) -> Result<(Membership, cluster::Handle)> {
    loop {
        match Membership::join(Arc::clone(store), Arc::clone(clock), join.clone()).await {
            Ok(joined) => return Ok(joined),
            Err(error) if error.passing() => {
                tracing::warn!(%error, "join; waiting for the store");
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(anyhow!(error)).context("join the controller"),
        }
    }
}
