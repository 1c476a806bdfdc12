//! A node disappears with a replica on it, and comes back.

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, wait, wait_or};
use crate::support::controller::LONG;
use crate::support::kubectl::is_ready;
use crate::support::operator::story_alone;
use crate::support::scene::{Scene, Victim};

/// Nodes of the database and of the cluster's only DNS server: without them nobody could go on, whatever we do.
fn needed(cluster: &Cluster, scene: &Scene) -> Vec<Value> {
    let dns = cluster.kubectl().within("kube-system").get(&["pods", "-l", "k8s-app=kube-dns"]);
    let database = scene.controller.kubectl().get(&["pods", "-l", "app.kubernetes.io/component=postgres"]);
    let pods =
        [dns, database].into_iter().flat_map(|pods| pods["items"].as_array().cloned().unwrap_or_default());
    pods.map(|pod| pod["spec"]["nodeName"].clone()).collect()
}

fn disappears(cluster: &'static Cluster, name: &str, fault: &str) {
    let mut scene = Scene::start(cluster, name, json!({}));
    scene.warm_up();
    let needed = needed(cluster, &scene);
    let victim = scene.victim(|pod| !needed.contains(&pod["spec"]["nodeName"]));
    let first = scene.controller.kubectl().get(&["pod", &victim.pod]);
    let number = victim.node.trim_start_matches("node").to_owned();
    let mut broken = None;
    scene.loses(fault, &victim, |_| broken = Some(cluster.broken(&[fault, &number])));
    elsewhere(&scene, &victim, &first);

    if let Some(broken) = broken {
        broken.mend();
    }
    wait(LONG, "the node is back", || {
        cluster.kubectl().look(&["node", &victim.node]).filter(is_ready).map(drop)
    });
    // what has run on there, cut off, is ended by the kubelet, which hears only now that the pod is another one
    let processes = || victim.container.processes();
    wait_or(
        LONG,
        "nothing of the lost pod is left",
        || processes().is_empty().then_some(()),
        || format!("{:?}", processes()),
    );
    scene.warm_up();
    scene.settle();
}

/// The pod that took the lost one's place.
fn elsewhere(scene: &Scene, victim: &Victim, first: &Value) {
    let pod = scene.controller.kubectl().get(&["pod", &victim.pod]);
    assert_ne!(pod["metadata"]["uid"], first["metadata"]["uid"], "the operator removes the lost pod");
    assert_ne!(pod["spec"]["nodeName"], first["spec"]["nodeName"], "another node takes it");
}

#[test]
fn builds_of_a_node_without_power_go_on_and_its_replica_comes_back_on_another_one() {
    story_alone(|cluster, _| disappears(cluster, "node-off", "node-off"));
}

#[test]
fn what_runs_on_behind_a_cut_cable_doubles_nothing_when_it_is_heard_again() {
    story_alone(|cluster, _| disappears(cluster, "node-stop", "node-stop"));
}
