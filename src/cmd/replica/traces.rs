//! Traces of builds, when a collector is named.

use std::sync::Arc;

use anyhow::{Context, Result};
use engine::Engine;
use model::ReplicaName;
use telemetry::{Endpoint, Exporter, Metrics};

/// As all programs that send traces have it; what is of traces goes before what is of all signals.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const TRACES_HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
const SERVICE: &str = "OTEL_SERVICE_NAME";
/// `true`: nothing is sent.
const DISABLED: &str = "OTEL_SDK_DISABLED";
/// `none`: no traces are sent.
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The collector that is named, if any.
pub(super) fn collector(flag: Option<&str>) -> Result<Option<Endpoint>> {
    named(flag, variable)
}

/// The environment may be meant for other programs: what is wrong with it is told, and no traces are sent. It can't switch
/// off what an argument asks for.
fn named(flag: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Endpoint>> {
    let headers = variable(TRACES_HEADERS).or_else(|| variable(HEADERS)).unwrap_or_default();
    if let Some(address) = flag {
        return Ok(Some(Endpoint::parse(address, &headers).context("--otlp-endpoint")?));
    }
    let says = |name: &str, word: &str| variable(name).is_some_and(|v| v.trim().eq_ignore_ascii_case(word));
    if says(DISABLED, "true") || says(EXPORTER, "none") {
        return Ok(None);
    }
    let (name, endpoint) = match (variable(TRACES_ENDPOINT), variable(ENDPOINT)) {
        (Some(address), _) => (TRACES_ENDPOINT, Endpoint::whole(&address, &headers)),
        (None, Some(address)) => (ENDPOINT, Endpoint::parse(&address, &headers)),
        (None, None) => return Ok(None),
    };
    match endpoint {
        Ok(endpoint) => Ok(Some(endpoint)),
        Err(error) => {
            tracing::warn!("{name}: {error}; no traces are sent");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(flag: Option<&str>, environment: &[(&str, &str)]) -> String {
        let variable =
            |name: &str| environment.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
        named(flag, variable).unwrap().map(|endpoint| format!("{endpoint:?}")).unwrap_or_default()
    }

    #[test]
    fn the_environment_names_a_collector_as_for_other_programs() {
        let all = (ENDPOINT, "http://all");
        assert_eq!(of(None, &[]), "");
        assert_eq!(of(None, &[all]), "Endpoint(http://all:4318/v1/traces)");
        let both = [all, (TRACES_ENDPOINT, "http://traces:1/x")];
        assert_eq!(of(None, &both), "Endpoint(http://traces:1/x)");
        for off in [(DISABLED, "True"), (EXPORTER, "none")] {
            assert_eq!(of(None, &[all, off]), "", "{off:?}");
            assert_eq!(of(Some("http://flag"), &[all, off]), "Endpoint(http://flag:4318/v1/traces)");
        }
        assert_ne!(of(None, &[all, (DISABLED, "false"), (EXPORTER, "otlp")]), "");
        assert_eq!(of(None, &[(ENDPOINT, "https://all")]), "", "it is told");
    }
}
