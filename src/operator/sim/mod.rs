//! The operator on a cluster in memory: what it decides and writes, and what becomes of it when it is killed after any write.

mod cluster;
mod crashes;
mod doubts;
mod ends;
mod faults;
mod memory;
mod news;
mod rollouts;
mod sets;
mod status;

use cluster::Cluster;
use resource::{HAController, Spec};

use crate::perform::Applied;

/// A controller as the API server would hand it out.
fn controller(spec: Spec) -> HAController {
    let mut controller = HAController::new("acme", spec);
    controller.metadata.namespace = Some("ci".to_owned());
    controller.metadata.uid = Some("uid-1".to_owned());
    controller.metadata.generation = Some(1);
    controller
}

fn image(name: &str) -> Spec {
    Spec { image: Some(name.to_owned()), ..Spec::default() }
}

/// A cluster on which all is as it was asked for.
async fn settled(spec: Spec) -> Cluster {
    let cluster = Cluster::new(controller(spec));
    cluster.settle(|_| {}).await;
    cluster
}

/// So many reconciles, with a tick after each.
async fn steps(cluster: &Cluster, count: usize) {
    let applied = Applied::default();
    for _ in 0..count {
        cluster.reconcile(&applied).await.unwrap();
        cluster.tick();
    }
}

/// What is seen of a controller for which nothing was made yet.
pub(crate) fn nothing_yet(spec: Spec) -> crate::seen::Seen {
    Cluster::new(controller(spec)).seen()
}
