//! `majordomo replica`: one replica of a controller. The only place where its parts are wired together.

mod doors;
mod machine;
mod metrics;
mod this;
mod traces;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use cluster::Membership;
use cluster::assign::MOVES;
use config::NodeConfig;
use engine::{Engine, Hints, Parts};
use link::Links;
use local::{Administrator, Bootstrap, Paths, ReplicaRecord, ReplicaWait, StoreUrl};
use machines::{INSTALLED_ENV, Notifier, Programs};
use model::level::{BEHAVIOUR, LEVEL};
use model::{Clock, JobName, ReplicaName, ReplicaState, SystemClock};
use parking_lot::Mutex;
use security::{Accounts, Keys};
use server::{App, Limits, LogChecks, MetricsAccess, Proxies, Scrapes, Settings};
use store::{ApiToken, Hidden, Join, Store, User, Write};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use machine::Shared;
use this::This;

/// A replica whose membership was taken away ends with this status; whoever started it starts it again.
const FENCED: u8 = 75;
/// One whose program is too old for the home, on a machine with `majordomo-start`: that takes the installed one instead.
const OUTDATED: u8 = 76;
/// A replica with a listener of its own goes on accepting for so long after it has said that it is not ready: whoever
/// balances connections before it looks only now and then. A shared socket needs no such time.
const SERVE_ON: Duration = Duration::from_secs(5);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Time for builds and links to move when a replica stops, and for answers that are on their way.
const DRAIN: Duration = Duration::from_secs(30);

/// Run one replica of a controller; `up` starts them by itself, on machines of their own a service manager does
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example, on the first of three machines, after `majordomo init --to /etc/majordomo`:\n  \
    majordomo replica --home /var/lib/majordomo --secrets /etc/majordomo --name ci-0 --ordinal 0 \\\n    \
    --listen 10.0.0.1:8080 --peer-listen 10.0.0.1:8081 --url https://ci.example.com/\n\n\
    With --listen the replicas restart each other: see `majordomo restart`, `reload` and `drain` with --url. A service\n\
    manager must start this one again whenever it ends; the units in deploy/systemd do."
)]
pub(crate) struct ReplicaArgs {
    /// Folder for what is this replica's own; without --secrets and --store, with the keys and a SQLite database
    #[arg(long, value_name = "DIR")]
    home: PathBuf,
    /// Folder that `majordomo init` has made, the same on all machines: `master.key`, `bootstrap.json`, `store`
    #[arg(long, value_name = "DIR", env = "MAJORDOMO_SECRETS")]
    secrets: Option<PathBuf>,
    /// Name of this replica: a DNS label, unique in the controller
    #[arg(long, env = "MAJORDOMO_NAME")]
    name: String,
    /// Place in the order of restarts, from 0
    #[arg(long, default_value_t = 0, env = "MAJORDOMO_ORDINAL")]
    ordinal: u32,
    /// Address for users and agents; a socket inherited from `up` is used instead when there is one
    #[arg(long, value_name = "ADDR", env = "MAJORDOMO_LISTEN", value_parser = super::up::address)]
    listen: Option<SocketAddr>,
    /// Address at which the other replicas reach this one; on several machines, one that they can reach
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", env = "MAJORDOMO_PEER_LISTEN", value_parser = super::up::address)]
    peer_listen: SocketAddr,
    /// HOST:PORT at which they reach it, when that is not what --peer-listen says
    #[arg(long, value_name = "HOST:PORT", env = "MAJORDOMO_PEER_ADDRESS")]
    peer_address: Option<String>,
    /// sqlite:PATH, postgres://… without a password, or @FILE with an address in it
    /// [default: the file `store` in --secrets, else SQLite in the home]
    #[arg(long, value_name = "URL", env = local::STORE_ENV, hide_env_values = true)]
    store: Option<String>,
    /// Where users reach the controller, for links in builds and answers
    #[arg(long, value_name = "URL", env = "MAJORDOMO_URL")]
    url: Option<String>,
    /// The same for builds alone, when there is no --url: answers then name the address that was asked
    #[arg(long, value_name = "URL")]
    build_url: Option<String>,
    /// How long all replicas must have been ready with a new version before what is new in it is used and the one before can't
    /// be gone back to any more: 90s, 5m, 1h; the same on all machines [default: 10m]
    #[arg(long, value_name = "TIME", env = "MAJORDOMO_BAKE", value_parser = machine::time)]
    bake: Option<Duration>,
    /// Reverse proxies in front: their addresses and networks (10.0.0.0/8), with commas; what they say in X-Forwarded-For of
    /// their clients is believed [default: this machine]
    #[arg(long, value_name = "NETWORKS", env = "MAJORDOMO_TRUSTED_PROXIES")]
    trusted_proxies: Option<Proxies>,
    /// What those show who scrape /metrics, instead of the token in HOME/metrics-token; taken from the environment only
    #[arg(long, value_name = "TOKEN", env = "MAJORDOMO_METRICS_TOKEN", hide_env_values = true)]
    metrics_token: Option<String>,
    /// The same, in a file
    #[arg(long, value_name = "FILE", env = "MAJORDOMO_METRICS_TOKEN_FILE")]
    metrics_token_file: Option<PathBuf>,
    /// Show metrics to everybody who reaches this replica
    #[arg(long, env = "MAJORDOMO_METRICS_OPEN", value_parser = clap::builder::BoolishValueParser::new())]
    metrics_open: bool,
    /// Collector to which traces of builds are sent, as http://localhost:4318 [env: OTEL_EXPORTER_OTLP_ENDPOINT]
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// What this replica runs, said by whoever starts and restarts it [default: with --listen it knows that itself]
    #[arg(long)]
    revision: Option<String>,
}

pub(crate) fn run(args: ReplicaArgs) -> Result<ExitCode> {
    super::log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let notifier = Notifier::new("waits for the store");
    let home = args.home.clone();
    let on_trial = Programs::on_trial(&home);
    let starts_installed = args.listen.is_some() && std::env::var_os(INSTALLED_ENV).is_some();
    let span = tracing::info_span!("replica", name = args.name);
    let served = async {
        tokio::select! {
            code = serve(args, &notifier) => code,
            () = notifier.run(on_trial) => Err(anyhow!("nobody tells the service manager anything any more")),
        }
    };
    let code = runtime.block_on(served.instrument(span));
    // Blocking work that is left (a password being hashed) must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(200));
    if let Err(error) = &code
        && Programs::on_trial(&home)
    {
        Programs::last_words(&home, &format!("{error:#}"));
    }
    match code {
        Err(error) if starts_installed && machine::outdated(&error) => {
            eprintln!("majordomo: {error:#}");
            Ok(ExitCode::from(OUTDATED))
        }
        code => code,
    }
}

async fn serve(args: ReplicaArgs, notifier: &Notifier) -> Result<ExitCode> {
    let name = ReplicaName::parse(&args.name).with_context(|| format!("the name {:?}", args.name))?;
    let paths = Paths::new(&args.home);
    let shared = Shared::of(&args, &paths)?;
    let keys = Keys::read(&shared.key).context(match args.secrets {
        Some(_) => "read the key, which `majordomo init` makes on one machine and you copy to the others",
        None => "read the key of the controller",
    })?;
    let inherited = local::inherited().context("take the inherited socket")?;
    let reserved = match args.listen.filter(|_| inherited.is_none()) {
        Some(address) => Some(machine::reserve(address, "--listen")?),
        None => None,
    };
    let peer_listener = machine::reserve(args.peer_listen, "--peer-listen")?.listen(BACKLOG)?;
    let peer_address = machine::peer_address(&args, peer_listener.local_addr()?)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let metrics_token = metrics::token(
        args.metrics_token.as_deref(),
        args.metrics_token_file.as_deref(),
        &paths.metrics_token(),
        &keys,
    )?;
    let collector = traces::collector(args.otlp_endpoint.as_deref())?;
    let home = open(&args, &paths, &shared.store).await?;
    let opened = clock.elapsed();
    let store: Arc<dyn Store> = Arc::new(home.clone());
    not_foreign(&store, &shared.bootstrap).await?;
    let programs = match reserved {
        Some(_) => Some(machine::programs(&args, &paths, &store).await?),
        None => None,
    };
    let runs = programs.as_ref().map(|programs| programs.runs().0.clone());

    let join = Join {
        name: name.clone(),
        ordinal: args.ordinal,
        pid: std::process::id(),
        address: peer_address,
        revision: args.revision.clone().or(runs).unwrap_or_else(|| "1".to_owned()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        level: LEVEL,
        behaviour: BEHAVIOUR,
        at: clock.now(),
    };
    let address = join.address.clone();
    let asked = clock.elapsed();
    let (membership, cluster) = join_patiently(&store, &clock, join).await?;
    metrics::started(&cluster, opened, clock.elapsed().saturating_sub(asked));
    let links = Links::new(Arc::clone(&store), Arc::clone(&clock), cluster.clone(), keys.peer_token());
    let slashed = |url: &String| format!("{}/", url.trim_end_matches('/'));
    let url = args.url.as_ref().map(slashed);
    // Answers name the address that their client has used, unless one is configured; builds have no client.
    let build_url = url.clone().or_else(|| args.build_url.as_ref().map(slashed));
    let engine = Engine::new(Parts {
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        cluster: cluster.clone(),
        links: links.clone(),
        hints: Hints::new(),
        url: build_url,
    });
    let record =
        ReplicaRecord { pid: std::process::id(), peer: address, incarnation: cluster.me().incarnation };
    let noted = std::fs::create_dir_all(paths.run()).context("create the folder for what runs");
    let noted = noted.and_then(|()| {
        record.write(&paths.replica_record(name.as_str())).context("write down where this replica is")
    });
    match noted {
        // Nobody but commands on this machine reads it: a full disk does not keep the replica from serving.
        Err(error) if reserved.is_some() => tracing::warn!("{error:#}"),
        noted => noted?,
    }

    let this = Arc::new(This::new(cluster.clone(), keys.clone()));
    let accounts = Accounts::new(Arc::clone(&store));
    let counted = Arc::new(server::Metrics::default());
    let traced = Arc::new(telemetry::Metrics::default());
    let app = App {
        commands: engine.commands(),
        accounts: accounts.clone(),
        secrets: Arc::new(keys),
        agents: Arc::new(doors::Agents(links.clone())),
        peers: Arc::new(doors::Peers(links.clone())),
        spools: Arc::new(doors::Spools(links.clone())),
        replica: Arc::clone(&this) as Arc<dyn server::Replica>,
        metrics: Arc::new(metrics::Source::new(metrics::Parts {
            home: &home,
            cluster: &cluster,
            engine: &engine,
            links: &links,
            accounts: &accounts,
            server: &counted,
            traces: &traced,
        })),
        counted,
        scrapes: Scrapes::default(),
        log_checks: LogChecks::default(),
        settings: Settings {
            root_url: url,
            proxies: args.trusted_proxies.clone().unwrap_or_default(),
            metrics: MetricsAccess { open: args.metrics_open, token: Some(metrics_token) },
            ..Settings::default()
        },
        tasks: TaskTracker::new(),
    };
    let router = server::router(app);
    let (public_stop, all_stop) = (CancellationToken::new(), CancellationToken::new());
    let peers = server::serve(peer_listener, router.clone(), all_stop.clone(), Limits::default());
    let serve_on = if reserved.is_some() { SERVE_ON } else { Duration::ZERO };
    let door = Door {
        inherited,
        reserved: Mutex::new(reserved),
        stop: public_stop,
        closed: CancellationToken::new(),
    };
    let public = public(&door, &paths, &name, router, &this);
    let starting = start(&cluster, &store, &shared.bootstrap, &this);
    let machine = machine::Machine {
        store: &store,
        clock: &clock,
        cluster: &cluster,
        programs: programs.as_ref(),
        bake: args.bake,
    };

    let code = tokio::select! {
        lost = membership.run() => {
            tracing::warn!(?lost, "this replica is no member any more");
            ExitCode::from(FENCED)
        }
        () = home.ended() => {
            tracing::error!("nothing can be written any more: this process ends, and another one goes on");
            ExitCode::FAILURE
        }
        () = peers => ExitCode::SUCCESS,
        result = async { tokio::join!(starting, public) } => {
            let (started, served) = result;
            started.and(served)?;
            ExitCode::SUCCESS
        }
        () = this.hear_signals() => ExitCode::SUCCESS,
        () = links.run() => ExitCode::SUCCESS,
        () = engine.run() => ExitCode::SUCCESS,
        () = accounts.run() => ExitCode::SUCCESS,
        () = cluster::level::raise(&*store, &*clock, &cluster) => ExitCode::SUCCESS,
        () = machine.run(&this) => ExitCode::SUCCESS,
        () = machine::tell(notifier, &this, programs.as_deref()) => ExitCode::SUCCESS,
        () = traces::send(collector, &engine, &name, traced) => ExitCode::SUCCESS,
        () = stop(&this, &cluster, &engine, &links, (&door, serve_on)) => ExitCode::SUCCESS,
    };
    all_stop.cancel();
    let _settled = tokio::time::timeout(Duration::from_secs(1), accounts.settle()).await;
    let _closed = tokio::time::timeout(Duration::from_secs(5), home.close()).await;
    Ok(code)
}

/// Opens the home. A database that does not answer is waited for; what waiting can't mend ends the process.
async fn open(args: &ReplicaArgs, paths: &Paths, url: &StoreUrl) -> Result<home::Home> {
    let url = url.expose();
    // `up` reads there what is waited for
    let waits = paths.replica_wait(&args.name);
    let mut told = false;
    let opened = loop {
        // Other replicas of a database may be on other machines: its objects are in it.
        let folder = url.starts_with("sqlite:").then(|| paths.root());
        match home::open(url, folder).await {
            Ok(home) => break Ok(home),
            Err(error) if error.passing() => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!("{error}; waiting for it");
                }
                let wait = ReplicaWait { pid: std::process::id(), why: error.to_string() };
                if let Err(error) = wait.write(&waits) {
                    tracing::debug!(%error, "say what is waited for");
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => break Err(anyhow!(error)),
        }
    };
    let _none = std::fs::remove_file(&waits);
    opened
}

/// Refuses a database in which another controller lives, before anything of it is touched.
async fn not_foreign(store: &Arc<dyn Store>, bootstrap: &Path) -> Result<()> {
    let Some(Bootstrap { controller, .. }) = Bootstrap::read(bootstrap)? else { return Ok(()) };
    loop {
        match store.meta().await {
            Ok(meta) if meta.controller.is_empty() => return Ok(()),
            Ok(meta) => return of(&controller, &meta.controller),
            Err(error) if error.passing() => {
                tracing::warn!(%error, "look whose database this is; waiting for the store");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(anyhow!(error)).context("look whose database this is"),
        }
    }
}

fn of(controller: &str, found: &str) -> Result<()> {
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
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(anyhow!(error)).context("join the controller"),
        }
    }
}

/// Starts under the startup lock.
async fn start(cluster: &cluster::Handle, store: &Arc<dyn Store>, wanted: &Path, this: &This) -> Result<()> {
    tokio::select! {
        started = cluster.start(|| bootstrap(store, wanted)) => started.context("start")?,
        // Whoever is to go does not become ready any more.
        () = this.ordered() => return Ok(()),
    }
    this.set(ReplicaState::Ready);
    tracing::info!(replica = %cluster.me(), "ready");
    Ok(())
}

/// Creates what `up` wants to be there; done again, it changes nothing.
async fn bootstrap(store: &Arc<dyn Store>, wanted: &Path) -> Result<()> {
    let Some(wanted) = Bootstrap::read(wanted)? else { return Ok(()) };
    let Bootstrap { controller, admin, nodes, items } = wanted;
    let answer = store.write(Write::Identify { controller: controller.clone() }).await?;
    if let store::Answer::Controller(found) = answer {
        of(&controller, &found)?;
    }
    store.write(first_user(admin)).await?;
    for node in nodes {
        let mut config = NodeConfig {
            name: node.name,
            description: String::new(),
            executors: node.executors,
            labels: node.labels,
            exclusive: false,
            remote_fs: node.remote_fs,
            xml: String::new(),
        };
        config.xml = config.to_xml();
        unless_there(store.write(Write::CreateNode(config.to_node()?)).await)?;
    }
    for item in items {
        let config = config::ItemConfig::parse(&item.xml)?;
        let create = Write::CreateItem {
            name: JobName::parse(&item.name)?,
            kind: config.kind(),
            disabled: config.disabled(),
            config: item.xml,
            at: SystemClock::new().now(),
        };
        unless_there(store.write(create).await)?;
    }
    Ok(())
}

/// The administrator of the first start. Later there are users, whoever they are by then.
fn first_user(admin: Administrator) -> Write {
    let Administrator { id, full_name, password_hash, token } = admin;
    let token = token.map(|token| ApiToken {
        id: token.id,
        user: id.clone(),
        name: "made by the first start".to_owned(),
        hash: Hidden(token.hash),
        created_at: SystemClock::new().now(),
        used_at: None,
        uses: 0,
    });
    let password = Hidden(password_hash);
    Write::CreateFirstUser {
        user: User { id, full_name, email: String::new(), password, admin: true },
        token,
    }
}

fn unless_there(answer: store::Result<store::Answer>) -> Result<()> {
    match answer {
        Ok(_) | Err(store::Error::Exists(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Serves users and agents, from when this replica is ready on. On a shared socket an earlier accept would take a
/// connection away from those who are.
async fn public(
    door: &Door,
    paths: &Paths,
    name: &ReplicaName,
    router: axum::Router,
    this: &This,
) -> Result<()> {
    this.until(ReplicaState::Ready).await;
    let (stop, reserved) = (door.stop.clone(), door.reserved.lock().take());
    if let Some(listener) = &door.inherited {
        let socket = paths.replica_socket(name.as_str());
        let shared = listener.try_clone().context("share the inherited socket")?;
        let listener = TcpListener::from_std(listener.try_clone().context("share the inherited socket")?)
            .context("use the inherited socket")?;
        tokio::select! {
            () = server::serve(listener, router, stop.clone(), Limits::default()) => {}
            failed = local::share(&shared, &socket) => failed.context("hand out the socket")?,
        }
    } else if let Some(reserved) = reserved {
        let listener = reserved.listen(BACKLOG).context("listen for users and agents")?;
        server::serve(listener, router, stop, Limits { own: true, ..Limits::default() }).await;
    }
    door.closed.cancel();
    std::future::pending().await
}

/// Where users and agents come in.
struct Door {
    /// The socket of `up`, which all its replicas accept on.
    inherited: Option<std::net::TcpListener>,
    /// An address of our own. Nobody is accepted there before this replica is ready.
    reserved: Mutex<Option<TcpSocket>>,
    /// Nobody is let in any more.
    stop: CancellationToken,
    /// All who were in have gone.
    closed: CancellationToken,
}

/// Waits for the order to stop (a signal, `/admin/stop`, `/admin/drain`), and moves everything elsewhere first.
async fn stop(
    this: &This,
    cluster: &cluster::Handle,
    engine: &Engine,
    links: &Links,
    (door, serve_on): (&Door, Duration),
) {
    this.ordered().await;
    let served = *this.states().borrow() == ReplicaState::Ready;
    this.set(ReplicaState::Draining);
    // The store may be away: then there is nothing to hand over to, and others notice by our silence.
    let _told = tokio::time::timeout(Duration::from_secs(5), cluster.set_state(ReplicaState::Draining)).await;
    if served {
        tokio::time::sleep(serve_on).await;
    }
    door.stop.cancel();
    let started = std::time::Instant::now();
    let builds = engine.hand_over(DRAIN).await;
    // The others take them one by one: all at once would make each wait for the last.
    while links.shed(MOVES, "this replica stops") > 0 && started.elapsed() < DRAIN {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    if served {
        // Answers that are on their way.
        let left = DRAIN.saturating_sub(started.elapsed());
        let _ended = tokio::time::timeout(left, door.closed.cancelled()).await;
    }
    tracing::info!(builds_left = builds, millis = started.elapsed().as_millis(), "drained");
    this.drained();
    this.stopping().await;
    let _left = tokio::time::timeout(Duration::from_secs(5), cluster.leave()).await;
}
