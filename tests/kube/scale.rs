//! Replicas come and go under builds, down to none.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::cluster::wait_or;
use crate::support::controller::{Controller, NAME, PATIENCE};
use crate::support::kubectl::condition;
use crate::support::operator::story;
use crate::support::pulse::BUILDS;
use crate::support::scene::{Scene, WIDTH};
use crate::support::watch::Watch;

fn scale(controller: &Controller, replicas: usize) -> Instant {
    controller.kubectl().run(&["scale", "hac", NAME, &format!("--replicas={replicas}")]);
    Instant::now()
}

/// Builds begin and end until that many replicas are there and ready, and no pod more.
fn becomes(scene: &mut Scene, replicas: usize) {
    let asked = scale(&scene.controller, replicas);
    let Scene { load, controller, .. } = scene;
    load.keep_going(WIDTH, |_| {
        assert!(asked.elapsed() < PATIENCE, "{replicas} replicas: {}", controller.explain());
        let resource = controller.resource();
        let status = &resource["status"];
        let all = status["readyReplicas"] == replicas && status["replicas"] == replicas;
        status["phase"] == "Ready" && all && controller.pods().len() == replicas
    });
    let stood = longest(scene, asked);
    eprintln!("{replicas} replicas after {:.1?}; logs stood still for {stood:.1?} at most", asked.elapsed());
}

fn longest(scene: &Scene, since: Instant) -> Duration {
    (1..=BUILDS).map(|number| scene.pulse.stood_still(number, since)).max().unwrap_or_default()
}

/// The example of an autoscaler finds what it needs in the resource. Nobody here serves metrics; without them it keeps to its limits.
fn autoscaled(controller: &Controller) {
    let kubectl = controller.kubectl();
    kubectl.apply(include_str!("../../examples/autoscaler.yaml"));
    kubectl.run(&["patch", "hpa", NAME, "--type=merge", "-p", r#"{"spec": {"minReplicas": 4}}"#]);
    controller.until("the autoscaler has made them four", |resource| {
        (resource["spec"]["replicas"] == 4 && resource["status"]["readyReplicas"] == 4).then_some(())
    });
    let able = || {
        let autoscaler = kubectl.look(&["hpa", NAME])?;
        condition(&autoscaler, "AbleToScale").filter(|able| able["status"] == "True").cloned()
    };
    wait_or(PATIENCE, "the autoscaler is able to scale", able, || controller.explain());
    kubectl.run(&["delete", "hpa", NAME]);
}

#[test]
#[ignore = "replicas start one after the other; on request"]
fn builds_go_on_with_five_replicas_with_two_and_after_there_were_none() {
    story(|cluster, _| {
        let mut scene = Scene::start(cluster, "scale", json!({}));
        scene.warm_up();
        let watch = Watch::start(scene.controller.kubectl());
        becomes(&mut scene, 5);
        becomes(&mut scene, 2);
        let ended: Vec<_> = watch.pods().into_iter().filter(|seen| seen.gone).collect();
        let names = ended.iter().filter_map(|seen| seen.object["metadata"]["name"].as_str());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        assert_eq!(names, ["acme-2", "acme-3", "acme-4"], "the last ones go");
        let failed = scene.traffic.tally().failed;
        let told: Vec<String> = failed.iter().map(ToString::to_string).collect();
        assert!(failed.is_empty(), "{} requests failed:\n{}", failed.len(), told.join("\n"));

        let stopped = scale(&scene.controller, 0);
        scene.controller.until("no replica is left", |resource| {
            let status = &resource["status"];
            let none = status["phase"] == "Stopped" && status["members"].is_null();
            none.then_some(())
        });
        assert!(scene.pods().is_empty());
        eprintln!("no replicas after {:.1?}", stopped.elapsed());
        let none = Instant::now();
        scale(&scene.controller, 3);
        scene.controller.wait_ready();
        eprintln!("3 replicas after {:.1?}", none.elapsed());
        becomes(&mut scene, 3);
        let Scene { load, pulse, controller, .. } = &mut scene;
        let ready = Instant::now();
        load.keep_going(WIDTH, |_| {
            assert!(ready.elapsed() < PATIENCE, "builds do not go on: {}", controller.explain());
            (1..=BUILDS).all(|number| pulse.goes_on(number, ready))
        });
        autoscaled(&scene.controller);
        eprintln!("from 2 to 0 to 3, logs stood still for {:.1?} at most", longest(&scene, stopped));
        scene.settle();
    });
}
