//! `majordomo replica`: one replica of a controller. The only place where its parts are wired together.

mod begin;
mod door;
mod doors;
mod first;
mod given;
pub(crate) mod listen;
mod machine;
mod metrics;
mod objects;
mod order;
mod this;
mod traces;
mod wizard;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use engine::{Engine, Hints, Parts};
use link::Links;
use local::ReplicaRecord;
use machines::{INSTALLED_ENV, Notifier, Programs};
use mutual::Peering;
use parking_lot::Mutex;
use security::Accounts;
use server::{App, Health, Limits, LogChecks, MetricsAccess, Proxies, Scrapes, Settings, Tls, Wizard};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use begin::{Begun, STARTING, begin};
use door::{Door, SERVE_ON};
use listen::Listen;
use this::{Signals, This};

/// A replica whose membership was taken away ends with this status; whoever started it starts it again.
const FENCED: u8 = 75;
/// One whose program is too old for the home, on a machine with `majordomo-start`: that takes the installed one instead.
const OUTDATED: u8 = 76;

/// Those of probes and scrapes.
const HEALTH_CONNECTIONS: usize = 256;

/// Run one replica of a controller; `up` starts them by itself, on machines of their own a service manager does
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example, on the first of three machines, after `majordomo init --to /etc/majordomo`:\n  \
    majordomo replica --home /var/lib/majordomo --secrets /etc/majordomo --name ci-0 --ordinal 0 \\\n    \
    --listen 10.0.0.1:8080 --peer-listen 10.0.0.1:8081 --url https://ci.example.com/\n\n\
    With --listen, and without --revision, the replicas restart each other: see `majordomo restart`, `reload` and `drain` with --url. A service\n\
    manager must start this one again whenever it ends; the units in deploy/systemd do."
)]
pub(crate) struct ReplicaArgs {
    /// Folder for what is this replica's own; without --secrets and --store, with the keys and a SQLite database
    #[arg(long, value_name = "DIR")]
    home: PathBuf,
    /// Folder that `majordomo init` has made, the same on all machines: `master.key`, `peer.keys`, `bootstrap.json`, `store`.
    /// What a pod is shown may also have `agent.key` (as `master.key`), `encryption.keys`, `metrics-token`, and
    /// `admin/username` and `admin/password` of the first administrator
    #[arg(long, value_name = "DIR", env = "MAJORDOMO_SECRETS")]
    secrets: Option<PathBuf>,
    /// Whose home this is, as NAMESPACE/NAME, where `bootstrap.json` does not say it; another one's is refused
    #[arg(long, value_name = "NAME", env = "MAJORDOMO_CONTROLLER", value_parser = given::controller)]
    controller: Option<String>,
    /// Name of this replica: a DNS label, unique in the controller
    #[arg(long, env = "MAJORDOMO_NAME")]
    name: String,
    /// Place in the order of restarts, from 0
    #[arg(long, default_value_t = 0, env = "MAJORDOMO_ORDINAL")]
    ordinal: u32,
    /// Address for users and agents, as 10.0.0.1:8080; :8080 is all of this machine, of IPv6 too where it has it. Open while
    /// this replica is ready; a socket inherited from `up` is used instead when there is one
    #[arg(long, value_name = "ADDR", env = "MAJORDOMO_LISTEN", value_parser = Listen::parse)]
    listen: Option<Listen>,
    /// Address at which the other replicas reach this one; on several machines, one that they can reach
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", env = "MAJORDOMO_PEER_LISTEN", value_parser = Listen::parse)]
    peer_listen: Listen,
    /// HOST:PORT at which they reach it, when that is not what --peer-listen says; an address of IPv6 needs no brackets
    #[arg(long, value_name = "HOST:PORT", env = "MAJORDOMO_PEER_ADDRESS")]
    peer_address: Option<String>,
    /// Address for /healthz, /readyz and /metrics alone, in plain HTTP: open from the first moment to the end, also while the
    /// database is waited for
    #[arg(long, value_name = "ADDR", env = "MAJORDOMO_HEALTH_LISTEN", value_parser = Listen::parse)]
    health_listen: Option<Listen>,
    /// sqlite:PATH, postgres://… without a password, or @FILE with an address in it
    /// [default: the file `store` in --secrets, else SQLite in the home]
    #[arg(long, value_name = "URL", env = local::STORE_ENV, hide_env_values = true)]
    store: Option<String>,
    /// Where artifacts, stashes and archived logs are kept: s3://BUCKET/PREFIX?region=…&endpoint=…&path-style=true,
    /// gs://BUCKET/PREFIX, azure://ACCOUNT/CONTAINER/PREFIX or folder:/PATH that all replicas share; the same for all replicas, from
    /// the first build on. Credentials are taken from the environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,
    /// GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_KEY; without them from the identity of the pod or machine
    /// [default: with the store: in PostgreSQL itself, beside SQLite in the folder objects]
    #[arg(long, value_name = "URL", env = "MAJORDOMO_OBJECTS", hide_env_values = true)]
    objects: Option<String>,
    /// Where users reach the controller, for links in builds and answers
    #[arg(long, value_name = "URL", env = "MAJORDOMO_URL")]
    url: Option<String>,
    /// The same for builds alone, when there is no --url: answers then name the address that was asked
    #[arg(long, value_name = "URL")]
    build_url: Option<String>,
    /// How long all replicas must have been ready with a new version before what is new in it is used and the one before can't
    /// be gone back to any more: 90s, 5m, 1h; the same on all machines. Who posts to /admin/rollout may say another time
    /// [default: 10m]
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
    /// Refuse a store in which there is no home: this controller has run before, so its database is another one now, or was emptied
    #[arg(long, env = "MAJORDOMO_EXPECT_HOME", value_parser = clap::builder::BoolishValueParser::new())]
    expect_home: bool,
    /// Have a person make the first user of a new controller: the first replica shows the setup wizard, which is unlocked with the
    /// password in `admin/password` of --secrets, that of `majordomo init`, or else one that it makes in
    /// HOME/secrets/initialAdminPassword; the others wait for its end. Once there are users, it is not shown
    #[arg(long, env = "MAJORDOMO_SETUP_WIZARD", value_parser = clap::builder::BoolishValueParser::new())]
    setup_wizard: bool,
    /// What the wizard says of where that password is [default: its file]
    #[arg(long, value_name = "TEXT", env = "MAJORDOMO_SETUP_PASSWORD_PLACE")]
    setup_password_place: Option<String>,
    /// What this replica runs, said by whoever starts and restarts it. With --listen the replicas do not restart each other
    /// then: that is left to whoever posts to /admin/rollout [default: with --listen it knows that itself]
    #[arg(long)]
    revision: Option<String>,
}

impl ReplicaArgs {
    /// Whether somebody else says what this replica runs, and restarts it.
    fn managed(&self) -> bool {
        self.revision.is_some()
    }
}

pub(crate) fn run(args: ReplicaArgs) -> Result<ExitCode> {
    super::log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let notifier = Notifier::new("waits for the store");
    let home = args.home.clone();
    let on_trial = Programs::on_trial(&home);
    let starts_installed =
        args.listen.is_some() && !args.managed() && std::env::var_os(INSTALLED_ENV).is_some();
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
    // First of all: as process 1 of a container this one is not ended by a signal that it does not hear.
    let mut signals = Signals::hear().context("hear signals")?;
    let health = Health::new(STARTING);
    // It answers whatever the rest does, and ends with it.
    let mut always = JoinSet::new();
    if let Some(address) = args.health_listen {
        let listener = listen::reserve(address, "--health-listen")?.listen(listen::BACKLOG)?;
        let limits = Limits { connections: HEALTH_CONNECTIONS, ..Limits::default() };
        let served = server::serve(listener, health.router(), CancellationToken::new(), limits);
        always.spawn(served.in_current_span());
    }
    let begun = tokio::select! {
        begun = begin(&args, &health) => begun?,
        () = signals.next() => {
            tracing::info!("told to end before it was a member");
            return Ok(ExitCode::SUCCESS);
        }
    };
    work(&args, begun, &mut signals, (notifier, &health)).await
}

async fn work(
    args: &ReplicaArgs,
    begun: Begun,
    signals: &mut Signals,
    (notifier, health): (&Notifier, &Health),
) -> Result<ExitCode> {
    let Begun {
        paths,
        first: wanted,
        place,
        url: store_url,
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
    } = begun;
    let name = cluster.me().name.clone();
    let peering = Peering::of(&keys, tls.as_ref());
    let links = Links::new(Arc::clone(&store), Arc::clone(&clock), cluster.clone(), peering.clone());
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

    let this = Arc::new(This::new(cluster.clone(), home.clone(), peering));
    let wizard = Wizard::default();
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
        counted: Arc::clone(&counted),
        scrapes: Scrapes::default(),
        log_checks: LogChecks::default(),
        wizard: wizard.clone(),
        settings: Settings {
            root_url: url,
            proxies: args.trusted_proxies.clone().unwrap_or_default(),
            metrics: MetricsAccess { open: args.metrics_open, token: Some(metrics_token) },
            ..Settings::default()
        },
        tasks: TaskTracker::new(),
    };
    let peer_limits = Limits { tls: tls.map(|tls| Tls::new(tls.server(), counted)), ..Limits::default() };
    let settings = Settings { peers: peer_limits.tls.is_none(), ..app.settings.clone() };
    let router = server::router(App { settings, ..app.clone() });
    let peer_router = server::router(app);
    health.serves(router.clone());
    let (public_stop, all_stop) = (CancellationToken::new(), CancellationToken::new());
    let peers = server::serve(peer_listener, peer_router, all_stop.clone(), peer_limits);
    let serve_on = if reserved.is_some() { SERVE_ON } else { Duration::ZERO };
    let door = Door {
        inherited,
        reserved: Mutex::new(reserved),
        stop: public_stop,
        closed: CancellationToken::new(),
    };
    let public = door::public(&door, &paths, &name, router, &this);
    let starting = first::start(&cluster, (&store, &paths), &wanted, (&this, &wizard));
    let machine = machine::Machine {
        store: &store,
        clock: &clock,
        cluster: &cluster,
        programs: programs.as_ref(),
        bake: args.bake,
    };

    // On machines it comes with the report of whoever has the rollout.
    let bake = args.bake.filter(|_| args.managed()).unwrap_or(cluster::level::BAKE);
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
        () = this.hear(signals) => ExitCode::SUCCESS,
        () = links.run() => ExitCode::SUCCESS,
        () = engine.run() => ExitCode::SUCCESS,
        () = accounts.run() => ExitCode::SUCCESS,
        () = cluster::level::raise(&*store, &*clock, &cluster, bake) => ExitCode::SUCCESS,
        () = machine.run(&this) => ExitCode::SUCCESS,
        () = machine::tell(notifier, &this, programs.as_deref()) => ExitCode::SUCCESS,
        () = begin::follow(&place, store_url, &home) => ExitCode::SUCCESS,
        () = traces::send(collector, &engine, &name, traced) => ExitCode::SUCCESS,
        () = door::stop(&this, &cluster, &engine, &links, (&door, serve_on)) => ExitCode::SUCCESS,
    };
    all_stop.cancel();
    let _settled = tokio::time::timeout(Duration::from_secs(1), accounts.settle()).await;
    let _closed = tokio::time::timeout(Duration::from_secs(5), home.close()).await;
    Ok(code)
}
