//! Metrics under the names of Jenkins' plugins `prometheus` and `metrics`, of the whole controller.
//!
//! What belongs to one process (`http_…`, `vm_…`, `jenkins_runs_…`) has a label `replica` besides, so that each of its series
//! only grows. All else is read from the store. What is not known here is left out; `docs/metrics.md` says what.

mod jobs;
mod json;
mod page;
mod whole;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use config::{Definition, ItemConfig};
use futures_util::stream;
use model::{JobName, Millis};
use store::{ItemSummary, Tally};

use crate::api::{QueueCounts, queue_counts};
use crate::error::Error;
use crate::look::Look;
use crate::ports::App;
use crate::reply::{self, Reply};
use crate::request::Base;

pub(crate) use json::answer as json;

/// How old what is said of jobs may be. Jenkins' plugin counts them every two minutes.
const FRESH: Duration = Duration::from_secs(15);
/// Jobs that are shown; those with lower ids go first.
const MOST: usize = 10_000;
/// Jobs of one read.
const PAGE: u32 = 500;
/// Jobs of one piece of the answer.
const PIECE: usize = 500;

/// A job as the plugin counts it.
pub(super) struct Job {
    tally: Tally,
    /// Whether its builds go some day.
    discards: bool,
}

/// All jobs, as they were read last.
async fn jobs(app: &App) -> Result<Arc<Vec<Job>>, Error> {
    let work = app.clone();
    app.scrapes.jobs.get(FRESH, async move { read(&work).await }).await
}

/// The queue, as it was read last.
async fn queue(app: &App) -> Result<Arc<QueueCounts>, Error> {
    let work = app.clone();
    let read = async move {
        let base = Base::of(Some("http://localhost"), &http::HeaderMap::new());
        queue_counts(&Look::new(&work, &base)).await
    };
    app.scrapes.queue.get(FRESH, read).await
}

async fn read(app: &App) -> Result<Vec<Job>, Error> {
    let (mut jobs, mut after) = (Vec::new(), 0);
    while jobs.len() < MOST {
        let page = app.commands.store().tallies(after, PAGE).await?;
        let Some(end) = page.last() else { break };
        after = end.item.id;
        jobs.extend(page);
    }
    jobs.truncate(MOST);
    let (mut read, mut known) = (Vec::with_capacity(jobs.len()), HashMap::new());
    for tally in jobs {
        let ItemSummary { id, version, .. } = tally.item;
        let before = app.scrapes.discards.lock().get(&id).copied();
        let discards = match before {
            Some((of, discards)) if of == version => discards,
            Some(_) | None => !tally.item.disabled && discards(app, &tally.item.name).await?,
        };
        known.insert(id, (version, discards));
        read.push(Job { tally, discards });
    }
    *app.scrapes.discards.lock() = known;
    Ok(read)
}

/// Whether `config.xml` or the Jenkinsfile in it says so. Only one that may is compiled: there may be thousands.
async fn discards(app: &App, name: &JobName) -> Result<bool, Error> {
    let Some(item) = app.commands.store().item(name).await? else { return Ok(false) };
    let Ok(ItemConfig::Job(job)) = ItemConfig::parse(&item.config) else { return Ok(false) };
    let may = matches!(&job.definition, Definition::Script { text } if text.contains("buildDiscarder"));
    Ok(job.discarder.is_some() || may && app.commands.effective(&job).await.discarder.is_some())
}

/// `/prometheus/`
pub(super) async fn text(app: &App) -> Reply {
    let jobs = jobs(app).await?;
    let whole = whole::text(app, &*queue(app).await?, &jobs).await?;
    let now = app.commands.now();
    Ok(reply::typed(body(whole, jobs, now), meter::Format::Prometheus.content_type()))
}

/// Written piece by piece: of 10,000 jobs it is some 14 MB.
fn body(whole: String, jobs: Arc<Vec<Job>>, now: Millis) -> Body {
    let steps = jobs::FAMILIES.iter().flat_map(|family| {
        let of_jobs = (0..jobs.len()).step_by(PIECE).map(move |from| (family, Some(from)));
        std::iter::once((family, None)).chain(of_jobs)
    });
    let steps: Vec<_> = steps.collect();
    let first = stream::iter([Ok::<_, Error>(Bytes::from(whole))]);
    let rest = steps.into_iter().map(move |(family, from)| {
        let text = match from {
            None => family.head(),
            Some(from) => family.lines(jobs.iter().skip(from).take(PIECE), now),
        };
        Ok(Bytes::from(text))
    });
    use futures_util::StreamExt as _;
    Body::from_stream(first.chain(stream::iter(rest)))
}
