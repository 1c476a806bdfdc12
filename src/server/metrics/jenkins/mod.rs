//! Metrics under the names of Jenkins' plugins `prometheus` and `metrics`, of the whole controller.
//!
//! What belongs to one process (`http_…`, `vm_…`, `jenkins_runs_…`) has a label `replica` besides, so that each of its series
//! only grows. All else is read from the store. What is not known here is left out; `docs/metrics.md` says what.

mod jobs;
mod json;
mod page;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use model::Millis;
use store::Tally;

use crate::error::Error;
use crate::ports::App;
use crate::reply::{self, Reply};

pub(crate) use json::answer as json;

/// How old what is said of jobs may be. Jenkins' plugin counts them every two minutes.
const FRESH: Duration = Duration::from_secs(15);
/// Jobs that are shown; those with lower ids go first.
const MOST: usize = 10_000;
/// Jobs of one read.
const PAGE: u32 = 500;
/// Jobs of one piece of the answer.
const PIECE: usize = 500;

/// All jobs, as they were read last.
async fn jobs(app: &App) -> Result<Arc<Vec<Tally>>, Error> {
    let work = app.clone();
    app.scrapes.jobs.get(FRESH, async move { read(&work).await }).await
}

async fn read(app: &App) -> Result<Vec<Tally>, Error> {
    let (mut jobs, mut after) = (Vec::new(), 0);
    while jobs.len() < MOST {
        let page = app.commands.store().tallies(after, PAGE).await?;
        let Some(end) = page.last() else { break };
        after = end.item.id;
        jobs.extend(page);
    }
    jobs.truncate(MOST);
    Ok(jobs)
}

/// `/prometheus/`
pub(super) async fn text(app: &App) -> Reply {
    let jobs = jobs(app).await?;
    let whole = whole::text(app, &jobs).await?;
    let now = app.commands.now();
    Ok(reply::typed(body(whole, jobs, now), meter::Format::Prometheus.content_type()))
}

/// Written piece by piece: of 10,000 jobs it is some 14 MB.
fn body(whole: String, jobs: Arc<Vec<Tally>>, now: Millis) -> Body {
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
