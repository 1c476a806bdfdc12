//! Traces of builds, when a collector is named.

use std::sync::Arc;

use anyhow::{Context, Result};
use engine::Engine;
use model::ReplicaName;
use telemetry::{Endpoint, Exporter, Metrics};

/// As all programs that send traces have it.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const SERVICE: &str = "OTEL_SERVICE_NAME";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The collector that is named, if any. The environment may be meant for other programs: what is wrong with it is told, and
/// no traces are sent.
pub(super) fn collector(flag: Option<&str>) -> Result<Option<Endpoint>> {
    let headers = variable(HEADERS).unwrap_or_default();
    if let Some(address) = flag {
        return Ok(Some(Endpoint::parse(address, &headers).context("--otlp-endpoint")?));
    }
    let Some(address) = variable(ENDPOINT) else { return Ok(None) };
    match Endpoint::parse(&address, &headers) {
        Ok(endpoint) => Ok(Some(endpoint)),
        Err(error) => {
            tracing::warn!("{ENDPOINT}: {error}; no traces are sent");
            Ok(None)
        }
    }
}

/// Until the process ends.
pub(super) async fn send(
    collector: Option<Endpoint>,
    engine: &Engine,
    replica: &ReplicaName,
    metrics: Arc<Metrics>,
) {
    let Some(endpoint) = collector else { return std::future::pending().await };
    tracing::info!(collector = ?endpoint, "traces of builds are sent");
    let service = variable(SERVICE).unwrap_or_else(|| "majordomo".to_owned());
    Exporter::new(endpoint, service, replica.to_string(), metrics).run(engine).await;
}
