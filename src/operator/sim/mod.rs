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

use resource::{HAController, Spec};

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

/// What is seen of a controller for which nothing was made yet.
pub(crate) fn nothing_yet(spec: Spec) -> crate::seen::Seen {
    cluster::Cluster::new(controller(spec)).seen()
}
