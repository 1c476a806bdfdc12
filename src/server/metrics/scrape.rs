//! Answers to those who scrape.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Response, header};
use meter::{Document, Format, Name};
use parking_lot::Mutex;

use super::controller::{self, Controller};
use super::jenkins::{self, Job};
use super::kept::Kept;
use crate::api::QueueCounts;
use crate::error::Error;
use crate::path::Route;
use crate::ports::App;
use crate::reply::{self, Reply};
use crate::request::Base;

/// What all replicas say is gathered at most that often: several may scrape one controller.
const GATHER: Duration = Duration::from_secs(1);

/// Time for the store.
const READ: Duration = Duration::from_secs(2);

const SCRAPED: Name = Name::new(
    "majordomo_replica_scraped",
    "1 for each live replica whose samples are here, 0 for one that did not answer",
);

const READ_IT: Name = Name::new(
    "majordomo_controller_scraped",
    "1 when the values of the whole controller are here, 0 when the store did not answer in time",
);

/// What was gathered last; one for each server.
#[derive(Clone, Default)]
pub struct Scrapes {
    all: Kept<Document>,
    pub(super) jobs: Kept<Vec<Job>>,
    /// Whether builds of a job are discarded, by its id: its version, and what that says.
    pub(super) discards: Arc<Mutex<HashMap<i64, (i64, bool)>>>,
    pub(super) queue: Kept<QueueCounts>,
    controller: Kept<Controller>,
}

/// To whom may see it.
pub(crate) async fn serve(
    app: &App,
    route: &Route,
    base: &Base,
    headers: &HeaderMap,
    scope: Option<&str>,
) -> Reply {
    match route {
        Route::Prometheus { slash: false } => reply::found(&format!("{}prometheus/", base.root())),
        Route::Prometheus { slash: true } => jenkins::text(app).await,
        Route::MetricsOf(_, what) => jenkins::json(app, *what).await,
        _ => ours(app, headers, scope).await,
    }
}

/// `/metrics`
async fn ours(app: &App, headers: &HeaderMap, scope: Option<&str>) -> Reply {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::wanted(accept);
    let text = match scope {
        None | Some("replica") => Document::parse(&app.metrics.own()).write(format),
        Some("controller") => all(app).await.write(format),
        Some(_) => {
            return Err(Error::bad(
                "scope is replica, for the one that answers, or controller, for all of them",
            ));
        }
    };
    Ok(as_text(text, format))
}

fn as_text(text: String, format: Format) -> Response<axum::body::Body> {
    reply::typed(text, format.content_type())
}

/// Those of all live replicas, and of the controller.
pub(crate) async fn all(app: &App) -> Arc<Document> {
    let work = app.clone();
    let gathered: Result<Arc<Document>, Infallible> =
        app.scrapes.all.get(GATHER, async move { Ok(gather(&work).await) }).await;
    match gathered {
        Ok(document) => document,
    }
}

/// What is so of the whole controller.
pub(super) async fn whole(app: &App) -> Result<Arc<Controller>, Error> {
    let work = app.clone();
    app.scrapes.controller.get(GATHER, async move { controller::read(&work).await }).await
}

/// Items of the queue.
pub(crate) async fn queued(app: &App) -> Result<u64, Error> {
    Ok(whole(app).await?.queued)
}

async fn gather(app: &App) -> Document {
    // a store that is away makes what is in memory no less true
    let reading = tokio::time::timeout(READ, whole(app));
    let (others, controller) = tokio::join!(app.metrics.others(), reading);
    let mut document = Document::parse(&app.metrics.own());
    let mut scraped = vec![(app.replica.name(), true)];
    for (name, text) in others {
        scraped.push((name, text.is_some()));
        if let Some(text) = text {
            document.join(Document::parse(&text));
        }
    }
    let read = match controller {
        Ok(Ok(controller)) => {
            controller.write(&mut document);
            true
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "read the store for a scrape");
            false
        }
        Err(_) => false,
    };
    document.gauge(READ_IT, [(String::new(), f64::from(u8::from(read)))]);
    let of = |(name, answered): (model::ReplicaName, bool)| {
        (format!("replica=\"{name}\""), f64::from(u8::from(answered)))
    };
    document.gauge(SCRAPED, scraped.into_iter().map(of));
    document
}
