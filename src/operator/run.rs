//! The process: it waits until it leads, then looks after the controllers until it leads no more.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kube::runtime::Controller;
use kube::runtime::controller::{self, Config};
use kube::runtime::events::Reporter;
use kube::{Client, Discovery};
use tokio_util::sync::CancellationToken;

use crate::ask::Replicas;
use crate::cache::{Caches, Watches, watch};
use crate::context::Context;
use crate::error::Error;
use crate::leader::Candidate;
use crate::metrics::Metrics;
use crate::names::FIELD_MANAGER;
use crate::perform::Applied;
use crate::plan::{Apis, Images};
use crate::reconcile::{failed, reconcile};

/// Reconciles at once.
const CONCURRENCY: u16 = 64;
/// How often it is looked whether the cluster knows other objects by now.
const DISCOVER: Duration = Duration::from_secs(60);

/// What it is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Empty: all namespaces.
    pub namespaces: Vec<String>,
    pub images: Images,
    pub candidate: Candidate,
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// Another one may lead now, so this process must end.
    Lost,
}

/// Waits until this process leads and looks after the controllers, until `stop`.
pub async fn run(
    client: Client,
    options: Options,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> Result<Ended, Error> {
    let acquired = tokio::select! {
        acquired = options.candidate.clone().acquire(client.clone()) => acquired,
        () = stop.cancelled() => return Ok(Ended::Stopped),
    };
    let mut leadership = acquired;
    tracing::info!("this process leads");
    metrics.leads(true);
    let ended = tokio::select! {
        () = leadership.keep() => Ended::Lost,
        () = work(client, &options, Arc::clone(&metrics), stop.clone()) => Ended::Stopped,
    };
    metrics.leads(false);
    if ended == Ended::Stopped {
        leadership.release().await;
    }
    Ok(ended)
}

/// Until `stop`. When the cluster learns or forgets a kind of object, all begins anew, with other watches.
async fn work(client: Client, options: &Options, metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut known = loop {
        tokio::select! {
            found = apis(&client) => match found {
                Ok(found) => break found,
                Err(error) => tracing::warn!(%error, "begin"),
            },
            () = stop.cancelled() => return,
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    loop {
        tracing::info!(apis = ?known, "objects that this cluster knows besides its own");
        tokio::select! {
            () = controllers(&client, options, &metrics, known, &stop) => return,
            found = other(&client, known) => known = found,
        }
    }
}

/// Until the cluster knows other objects than these.
async fn other(client: &Client, known: Apis) -> Apis {
    loop {
        tokio::time::sleep(DISCOVER).await;
        match apis(client).await {
            Ok(found) if found != known => return found,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "look again"),
        }
    }
}

async fn controllers(
    client: &Client,
    options: &Options,
    metrics: &Arc<Metrics>,
    apis: Apis,
    stop: &CancellationToken,
) {
    let all: Vec<Option<&str>> = match options.namespaces.as_slice() {
        [] => vec![None],
        names => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    let watched: Vec<(Caches, Watches)> =
        all.into_iter().map(|namespace| watch(client, namespace, apis)).collect();
    let reporter =
        Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(options.candidate.identity.clone()) };
    let context = Arc::new(Context {
        reporter,
        client: client.clone(),
        apis,
        images: options.images.clone(),
        replicas: Replicas::default(),
        applied: Applied::default(),
        metrics: Arc::clone(metrics),
        caches: watched.iter().map(|(caches, _)| caches.clone()).collect(),
        memory: parking_lot::Mutex::default(),
    });
    let each = watched
        .into_iter()
        .map(|(caches, watches)| Box::pin(control(Arc::clone(&context), caches, watches, stop.clone())));
    ended(each, stop).await;
}

/// Until each has ended what it does when it is told to stop. One that ends unasked ends all: with it, the process starts anew.
async fn ended(each: impl Iterator<Item = impl Future<Output = ()>>, stop: &CancellationToken) {
    let mut left: FuturesUnordered<_> = each.collect();
    while left.next().await.is_some() && stop.is_cancelled() {}
}

async fn control(context: Arc<Context>, caches: Caches, watches: Watches, stop: CancellationToken) {
    let Watches { controllers, touched } = watches;
    let known = caches.controllers.clone();
    let of = caches;
    let reconcile = move |guarded, context| {
        let caches = of.clone();
        async move {
            // while it is not known what there is, all would seem to be missing
            caches.ready().await;
            reconcile(guarded, context, caches).await
        }
    };
    Controller::for_stream(controllers, known)
        .reconcile_on(touched)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, failed, Arc::clone(&context))
        .for_each(|done| async {
            if let Err(error) = done {
                no_reconcile(&context, error)
            }
        })
        .await;
}

/// A reconcile that was none.
pub(crate) fn no_reconcile<E: std::error::Error + 'static>(
    context: &Context,
    error: controller::Error<Error, E>,
) {
    match error {
        // it has ended, maybe without us, when somebody has taken our finalizer from it
        controller::Error::ObjectNotFound(of) => {
            context.forget(&(of.namespace.unwrap_or_default(), of.name));
        }
        // of the controllers themselves: it is begun again
        controller::Error::QueueError(error) => tracing::warn!(%error, "watch controllers"),
        // what a reconcile says was told where it was handled
        error => tracing::debug!(%error, "a reconcile or a watch failed"),
    }
}

/// Which objects the cluster knows. A restart of the operator notices what was installed since.
async fn apis(client: &Client) -> Result<Apis, Error> {
    let wanted =
        ["gateway.networking.k8s.io", "route.openshift.io", "monitoring.coreos.com", "postgresql.cnpg.io"];
    let found = Discovery::new(client.clone()).filter(&wanted).run().await;
    let found = found.map_err(Error::api("look which objects the cluster knows"))?;
    let has = |group: &str, version: &str, kind: &str| {
        let groups = found.groups().filter(|known| known.name() == group);
        groups.flat_map(|known| known.versioned_resources(version)).any(|(resource, _)| resource.kind == kind)
    };
    Ok(Apis {
        http_route: has("gateway.networking.k8s.io", "v1", "HTTPRoute"),
        route: has("route.openshift.io", "v1", "Route"),
        service_monitor: has("monitoring.coreos.com", "v1", "ServiceMonitor"),
        cloud_native_pg: has("postgresql.cnpg.io", "v1", "Cluster"),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;

    use super::*;

    /// One namespace in which nothing is to be done, and one in the middle of a reconcile.
    async fn two(stop: &CancellationToken) -> usize {
        let done = Cell::new(0);
        let one = |reconciles: usize| {
            let done = &done;
            async move {
                for _ in 0..reconciles {
                    tokio::task::yield_now().await;
                }
                done.set(done.get() + 1);
            }
        };
        ended([0, 3].map(one).into_iter(), stop).await;
        done.get()
    }

    #[tokio::test]
    async fn a_namespace_in_which_nothing_is_to_be_done_does_not_end_the_others_in_the_middle() {
        let stop = CancellationToken::new();
        stop.cancel();
        assert_eq!(two(&stop).await, 2);
    }

    #[tokio::test]
    async fn one_that_ends_unasked_is_noticed_at_once() {
        assert_eq!(two(&CancellationToken::new()).now_or_never(), Some(1));
    }
}
