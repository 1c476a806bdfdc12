//! Metrics of this process: every part's under one registry, with what they have in common.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use cluster::Stage;
use engine::Engine;
use home::Home;
use link::Links;
use meter::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use meter::{Family, Gauge, Name, Process, Registry};
use model::ReplicaName;
use security::{Accounts, Keys, Token};

const BUILD_INFO: Name = Name::new(
    "majordomo_build_info",
    "1, with the version of the program and the newest formats that it knows",
);

/// What is measured of one replica.
pub(super) struct Source {
    registry: Registry,
    cluster: cluster::Handle,
    engine: Engine,
    links: Links,
}

/// What the program is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Program;

impl EncodeLabelSet for Program {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> std::fmt::Result {
        ("version", env!("CARGO_PKG_VERSION")).encode(encoder.encode_label())?;
        ("level", model::level::LEVEL).encode(encoder.encode_label())?;
        ("behaviour", model::level::BEHAVIOUR).encode(encoder.encode_label())
    }
}

/// The parts that count.
pub(super) struct Parts<'a> {
    pub(super) home: &'a Home,
    pub(super) cluster: &'a cluster::Handle,
    pub(super) engine: &'a Engine,
    pub(super) links: &'a Links,
    pub(super) accounts: &'a Accounts,
    pub(super) server: &'a server::Metrics,
    pub(super) traces: &'a telemetry::Metrics,
}

impl Source {
    pub(super) fn new(parts: Parts<'_>) -> Source {
        let Parts { home, cluster, engine, links, accounts, server, traces } = parts;
        let mut registry = meter::registry_of(cluster.me().name.as_str());
        engine.metrics().register(&mut registry);
        links.metrics().register(&mut registry);
        home.metrics().register(&mut registry);
        cluster.metrics().register(&mut registry);
        accounts.metrics().register(&mut registry);
        server.register(&mut registry);
        traces.register(&mut registry);
        let program: Family<Program, Gauge> = Family::default();
        program.get_or_create(&Program).set(1);
        meter::add(&mut registry, BUILD_INFO, program);
        registry.register_collector(Box::new(Process));
        Source { registry, cluster: cluster.clone(), engine: engine.clone(), links: links.clone() }
    }
}

#[async_trait]
impl server::MetricsSource for Source {
    fn own(&self) -> String {
        // those that are looked at only when somebody asks
        let (_driving, _links, _members) =
            (self.engine.metrics(), self.links.metrics(), self.cluster.metrics());
        meter::encode(&self.registry)
    }

    async fn others(&self) -> Vec<(ReplicaName, Option<String>)> {
        self.links.metrics_of_others().await
    }
}

/// How long the stages before the startup lock took.
pub(super) fn started(cluster: &cluster::Handle, open: Duration, join: Duration) {
    cluster.metrics().stage(Stage::Open, open);
    cluster.metrics().stage(Stage::Join, join);
}

/// The token of the metrics: the one that is given, that of its file, or one that follows from the controller's key and is
/// written to that file, so that all replicas have the same.
pub(super) fn token(given: Option<&str>, file: Option<&Path>, home: &Path, keys: &Keys) -> Result<Token> {
    if let Some(given) = given.map(str::trim).filter(|given| !given.is_empty()) {
        return Ok(Token::chosen(given));
    }
    if let Some(file) = file {
        let text = local::read_secret(file)?;
        return text
            .with_context(|| format!("read the token of the metrics: there is no {}", file.display()));
    }
    if let Some(token) = local::read_secret(home)? {
        return Ok(token);
    }
    let token = keys.metrics_token();
    if let Err(error) = local::write_secret(home, &token) {
        // it can be read from another replica's home
        tracing::warn!(%error, "write down the token of the metrics");
    }
    Ok(token)
}
