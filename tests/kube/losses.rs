//! A replica that has builds is lost, in all the ways in which a pod can be: builds go on elsewhere, no byte is lost, nothing runs
//! twice. Of whoever is told to go nobody notices anything.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::cluster::Cluster;
use crate::support::controller::{Controller, NAME, REPLICAS};
use crate::support::operator::{story, story_alone};
use crate::support::scene::Scene;

fn anyone(_pod: &Value) -> bool {
    true
}

/// `kubectl majordomo ARGUMENTS`, which does not fail.
fn done(controller: &Controller, arguments: &[&str]) -> String {
    let done = controller.plugin(arguments);
    let said = [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(done.status.success(), "{arguments:?}: {said}");
    said
}

#[test]
fn a_replica_that_is_deleted_by_force_or_killed_costs_no_build_and_no_byte() {
    story(|cluster, _| {
        let mut scene = Scene::start(cluster, "losses", json!({}));
        scene.warm_up();
        let victim = scene.victim(anyone);
        scene.loses("delete --force", &victim, |controller| {
            let now = ["--force", "--grace-period=0", "--wait=false"];
            controller.kubectl().run(&[&["delete", "pod", &victim.pod], &now[..]].concat());
        });
        let victim = scene.victim(anyone);
        scene.loses("kill -9", &victim, |_| victim.container.signal(Signal::KILL));
        scene.settle();
    });
}

#[test]
fn builds_of_a_replica_that_stands_still_go_on_elsewhere_and_liveness_ends_it() {
    story(|cluster, _| {
        let mut scene = Scene::start(cluster, "stopped", json!({}));
        scene.warm_up();
        let victim = scene.victim(anyone);
        let mut frozen = None;
        scene.loses("SIGSTOP", &victim, |_| frozen = Some(victim.container.frozen()));
        let pod = scene.controller.kubectl().get(&["pod", &victim.pod]);
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 1, "the pod stays: {pod:#}");
        scene.settle();
    });
}

#[test]
#[ignore = "what delete --force does is told above; on request"]
fn a_failover_is_tried_by_the_plugin_which_tells_how_it_went() {
    story(|cluster, _| {
        let mut scene = Scene::start(cluster, "failover", json!({}));
        scene.warm_up();
        let victim = scene.victim(anyone);
        scene.loses("failover-test", &victim, |controller| {
            let said = done(controller, &["failover-test", NAME, "--replica", &victim.pod, "--yes"]);
            for part in [
                "without a chance to hand over",
                "Ready        2 replicas at least",
                "The loss was survived.",
            ] {
                assert!(said.contains(part), "{part}: {said}");
            }
            eprintln!("{said}");
        });
        scene.settle();
    });
}

/// Schedulable again when dropped.
struct Cordoned<'a>(&'a Cluster, String);

impl Drop for Cordoned<'_> {
    fn drop(&mut self) {
        if let Err(why) = self.0.kubectl().attempt(&["uncordon", &self.1]) {
            eprintln!("{why}");
        }
    }
}

#[test]
fn whoever_is_deleted_evicted_or_drained_with_its_node_hands_over_before_it_goes() {
    story_alone(|cluster, _| {
        let mut scene = Scene::start(cluster, "orderly", json!({}));
        scene.warm_up();
        let victim = scene.victim(anyone);
        scene.loses("delete", &victim, |controller| {
            controller.kubectl().run(&["delete", "pod", &victim.pod, "--wait=false"]);
        });
        let victim = scene.victim(anyone);
        scene.loses("eviction", &victim, |controller| {
            let said = done(controller, &["drain", NAME, &victim.pod]);
            let [began, ended] = ["evicted; it hands over", "back and ready on"];
            assert!(said.contains(began) && said.contains(ended), "{said}");
        });

        let victim = scene.victim(anyone);
        let cordoned = Cordoned(cluster, victim.node.clone());
        scene.loses("kubectl drain", &victim, |_| {
            let these = format!("--pod-selector={REPLICAS}");
            let how = ["--delete-emptydir-data", "--ignore-daemonsets", "--timeout=180s"];
            cluster.kubectl().run(&[&["drain", &victim.node, &these], &how[..]].concat());
        });
        let pods = scene.pods();
        let left = pods.iter().filter(|pod| pod["spec"]["nodeName"] == victim.node.as_str()).count();
        assert_eq!((pods.len(), left), (3, 0), "pods, and those on {}", victim.node);
        drop(cordoned);
        scene.settle_unnoticed();
    });
}
