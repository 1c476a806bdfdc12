//! `majordomo operator`: looks after `HAController` resources of a Kubernetes cluster.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use meter::{Format, Registry};
use operator::{Candidate, Ended, Images, LeaseTimes, Metrics, Options};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::replica::listen::{BACKLOG, Listen, reserve};

/// Another one may lead now: whoever has started this process starts it again.
const LOST: u8 = 75;
/// What PostgreSQL a controller without one of its own is given.
const POSTGRES: &str = "docker.io/library/postgres:17-bookworm";

/// Look after the HAController resources of a Kubernetes cluster; the Helm chart starts it there
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example, against the cluster of your kubeconfig, for controllers of one namespace:\n  \
    majordomo operator --namespaces ci --image registry.example.com/majordomo:0.1.0 --lease-namespace ci\n\n\
    MAJORDOMO_LOG (info, or such as info,kube=debug) chooses what it says to standard error, MAJORDOMO_LOG_FORMAT=json how."
)]
pub(crate) struct OperatorArgs {
    /// Namespaces whose controllers are looked after, with commas [default: all]
    #[arg(long, value_name = "NAMES", env = "WATCH_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Image of replicas whose HAController names none; those that run already keep theirs until they are changed or restarted
    #[arg(long, value_name = "IMAGE", env = "MAJORDOMO_IMAGE")]
    image: String,
    /// Image of the PostgreSQL of controllers that bring no database
    #[arg(long, value_name = "IMAGE", env = "MAJORDOMO_POSTGRES_IMAGE", default_value = POSTGRES)]
    postgres_image: String,
    /// Address for /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDR", default_value = ":8080", value_parser = Listen::parse)]
    listen: Listen,
    /// The Lease that the one which leads has
    #[arg(long, value_name = "NAME", default_value = "majordomo-operator")]
    lease_name: String,
    /// Namespace of that Lease
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "default")]
    lease_namespace: String,
    /// A leader that does not renew its Lease for so many seconds, 5 to 600, is one no more
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = lease_duration())]
    lease_duration: u16,
    /// Who this one is among those that may lead [default: something by chance]
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: Option<String>,
}

fn lease_duration() -> impl clap::builder::TypedValueParser<Value = u16> {
    let seconds = LeaseTimes::SECONDS;
    clap::value_parser!(u16).range(i64::from(*seconds.start())..=i64::from(*seconds.end()))
}

pub(crate) fn run(args: OperatorArgs) -> Result<ExitCode> {
    super::log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: OperatorArgs) -> Result<ExitCode> {
    let listener = reserve(args.listen, "--listen")?.listen(BACKLOG)?;
    let client = kube::Client::try_default().await.context(
        "find the cluster: run it in a pod, or with a kubeconfig (KUBECONFIG, ~/.kube/config) of a cluster",
    )?;
    // one that is named twice would be looked after twice
    let namespaces: BTreeSet<&str> =
        args.namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    let identity = args.identity.unwrap_or_else(|| format!("{}-{}", hostname(), std::process::id()));
    let options = Options {
        namespaces: namespaces.into_iter().map(str::to_owned).collect(),
        images: Images { replica: args.image, postgres: args.postgres_image },
        candidate: Candidate {
            namespace: args.lease_namespace,
            lease: args.lease_name,
            identity,
            times: LeaseTimes::new(args.lease_duration),
        },
    };
    let metrics = Arc::new(Metrics::default());
    let stop = CancellationToken::new();
    let ended = tokio::select! {
        ended = operator::run(client, options, Arc::clone(&metrics), stop.clone()) => ended?,
        served = axum::serve(listener, router(&metrics)) => {
            served.context("serve health and metrics")?;
            Ended::Stopped
        }
        () = hear_signals(stop) => Ended::Stopped,
    };
    match ended {
        Ended::Stopped => Ok(ExitCode::SUCCESS),
        Ended::Lost => {
            tracing::warn!("the lease is lost: this process ends, and is started again");
            Ok(ExitCode::from(LOST))
        }
    }
}

fn hostname() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = read.trim();
    if name.is_empty() { "operator".to_owned() } else { name.to_owned() }
}

/// Never ends: what was begun is finished first.
async fn hear_signals(stop: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        stop.cancel();
    }
}

/// One that does not lead is ready, too: it can go on at any time.
fn router(metrics: &Metrics) -> Router {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    registry.register_collector(Box::new(meter::Process));
    let registry = Arc::new(registry);
    let text = move || {
        let registry = Arc::clone(&registry);
        async move { ([(header::CONTENT_TYPE, Format::OpenMetrics.content_type())], meter::encode(&registry)) }
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ok\n" }))
        .route("/metrics", get(text))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is /healthz, /readyz and /metrics\n") })
}
