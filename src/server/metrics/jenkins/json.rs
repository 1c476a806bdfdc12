//! `/metrics/KEY/…` as the plugin `metrics` answers: the registry of Dropwizard as JSON.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::whole::{code, gauges};
use crate::metrics::{REQUESTS, scrape};
use crate::path::MetricsOf;
use crate::ports::App;
use crate::reply::{self, Reply};

pub(crate) async fn answer(app: &App, what: MetricsOf) -> Reply {
    match what {
        MetricsOf::Ping => Ok(reply::text("pong\n")),
        MetricsOf::Healthcheck => health(app).await,
        MetricsOf::Metrics => metrics(app).await,
    }
}

/// One check: whether the store answers. The status says it, too.
async fn health(app: &App) -> Reply {
    let (status, check) = match app.commands.store().meta().await {
        Ok(_) => (StatusCode::OK, json!({ "healthy": true })),
        Err(error) => {
            let message = error.to_string();
            (StatusCode::INTERNAL_SERVER_ERROR, json!({ "healthy": false, "message": message }))
        }
    };
    let mut response = reply::json(json!({ "store": check }).to_string());
    *response.status_mut() = status;
    Ok(response)
}

/// Rates are left out: whoever asks twice can work them out, and each replica would say another one.
async fn metrics(app: &App) -> Reply {
    let jobs = super::jobs(app).await?;
    let controller = scrape::whole(app).await?;
    let values = gauges(&controller, &*super::queue(app).await?, &jobs).into_iter();
    let values = values.map(|(name, value)| (name.to_owned() + ".value", json!({ "value": value })));
    let values: Map<String, Value> = values.collect();
    let meters = counts(app).await;
    let body = json!({
        "version": "4.0.0",
        "gauges": values,
        "counters": {},
        "histograms": {},
        "meters": meters,
        "timers": {},
    });
    Ok(reply::json(body.to_string()))
}

/// Of all live replicas together, since each began.
async fn counts(app: &App) -> Map<String, Value> {
    let replicas = scrape::all(app).await;
    let mut sums: std::collections::BTreeMap<String, f64> = std::collections::BTreeMap::new();
    for sample in replicas.family("majordomo_builds_ended_total").iter().flat_map(|f| &f.samples) {
        let result = sample.label("result").unwrap_or_default();
        for name in [result, "total"] {
            *sums.entry(format!("jenkins.runs.{name}")).or_default() += sample.number();
        }
    }
    for sample in replicas.family(REQUESTS.name).iter().flat_map(|f| &f.samples) {
        let code = code(sample.label("code").unwrap_or_default());
        *sums.entry(format!("http.responseCodes.{code}")).or_default() += sample.number();
    }
    // counts are whole numbers
    sums.into_iter().map(|(name, count)| (name, json!({ "count": count.round() as u64 }))).collect()
}
