//! The built-in PostgreSQL goes away and comes back: no build fails, no replica ends, and the status says why nothing goes on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cluster::wait_or;
use crate::support::container::Container;
use crate::support::controller::{Controller, LONG, PATIENCE};
use crate::support::kubectl::is_ready;
use crate::support::operator::story;
use crate::support::pulse::BUILDS;
use crate::support::scene::{Scene, WIDTH};

const POD: &str = "acme-postgres-0";
const AWAY: Duration = Duration::from_secs(60);

/// Names of pods with the ids of their containers.
fn containers(scene: &Scene) -> Vec<(Value, Option<Container>)> {
    let mut all: Vec<_> =
        scene.pods().iter().map(|pod| (pod["metadata"]["name"].clone(), Container::of(pod))).collect();
    all.sort_by_key(|(name, _)| name.to_string());
    all
}

fn database(controller: &Controller) -> Value {
    let ready = || controller.kubectl().look(&["pod", POD]).filter(is_ready);
    wait_or(LONG, "the database's pod is ready", ready, || controller.explain())
}

/// Builds go on; prints for how long they did not.
fn go_on(scene: &mut Scene, what: &str, lost: Instant, back: Duration) {
    let Scene { load, pulse, controller, .. } = scene;
    let returned = Instant::now();
    let more = load.acknowledged() + WIDTH;
    load.keep_going(WIDTH, |done| {
        assert!(returned.elapsed() < PATIENCE, "builds do not go on: {}", controller.explain());
        done >= more && (1..=BUILDS).all(|number| pulse.goes_on(number, returned))
    });
    let resumed = (1..=BUILDS).map(|number| pulse.stood_still(number, lost)).max().unwrap_or_default();
    let failed = scene.traffic.tally().failed;
    let last = failed.iter().map(|failure| failure.sent.saturating_duration_since(lost)).max();
    let last = last.unwrap_or_default();
    eprintln!(
        "{what}: builds resumed after {resumed:.1?}, all users are answered after {last:.1?} ({} were not), database \
         back after {back:.1?}",
        failed.len()
    );
}

/// Whoever was not answered was told that by somebody, and when to come again.
fn told(scene: Scene) {
    for failure in scene.settle().failed {
        assert!(failure.why.starts_with("503"), "{failure}");
    }
}

#[test]
fn no_build_fails_when_the_pod_of_the_database_is_deleted() {
    story(|cluster, _| {
        let mut scene = Scene::start(cluster, "database", json!({}));
        scene.warm_up();
        let before = containers(&scene);
        let first = Container::of(&database(&scene.controller));
        let lost = Instant::now();
        scene.controller.kubectl().run(&["delete", "pod", POD, "--wait=false"]);
        let another = || {
            let pod = scene.controller.kubectl().look(&["pod", POD]).filter(is_ready)?;
            (Container::of(&pod) != first).then_some(())
        };
        wait_or(PATIENCE, "another pod of the database is ready", another, || scene.controller.explain());
        let back = lost.elapsed();
        go_on(&mut scene, "database deleted", lost, back);
        scene.controller.wait_condition("StoreReady", "True", "StoreAnswers");
        assert_eq!(containers(&scene), before, "no replica ends because of it");
        told(scene);
    });
}

#[test]
fn no_build_fails_while_the_database_stands_still_for_a_minute() {
    story(|cluster, _| {
        let mut scene = Scene::start(cluster, "away", json!({}));
        scene.warm_up();
        let before = containers(&scene);
        let server = Container::of(&database(&scene.controller)).unwrap();
        let lost = Instant::now();
        let frozen = server.frozen();
        let why = scene.controller.wait_condition("StoreReady", "False", "StoreUnreachable");
        eprintln!("StoreReady is False after {:.1?}: {why}", lost.elapsed());
        std::thread::sleep(AWAY.saturating_sub(lost.elapsed()));
        drop(frozen);
        let back = lost.elapsed();
        scene.controller.wait_condition("StoreReady", "True", "StoreAnswers");
        go_on(&mut scene, "database away for 60 s", lost, back);
        assert_eq!(containers(&scene), before, "no replica ends because of it");
        assert_eq!(Container::of(&database(&scene.controller)), Some(server), "nor the database");
        told(scene);
    });
}
