//! The API server is away for a minute: replicas, builds and users don't care, and the operator goes on by itself.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::cluster::wait_or;
use crate::support::controller::{NAME, PATIENCE};
use crate::support::operator::story_alone;
use crate::support::scene::{Scene, WIDTH};

const AWAY: Duration = Duration::from_secs(60);

#[test]
#[ignore = "the API server is away for a minute; on request"]
fn nobody_but_the_operator_notices_that_the_api_server_is_away() {
    story_alone(|cluster, operator| {
        let mut scene = Scene::start(cluster, "api", json!({}));
        scene.warm_up();
        let victim = scene.victim(|_| true);
        scene.read_past(&victim.pod);

        let (away, gone) = (cluster.broken(&["api-stop"]), Instant::now());
        let ended = scene.load.acknowledged();
        scene.load.keep_going(WIDTH, |done| {
            assert!(gone.elapsed() < PATIENCE, "builds do not go on without the API server");
            done > ended && gone.elapsed() > AWAY / 2
        });
        let failed = scene.traffic.tally().failed;
        let told: Vec<String> = failed.iter().map(ToString::to_string).collect();
        assert!(failed.is_empty(), "{} requests failed:\n{}", failed.len(), told.join("\n"));

        // nobody but the other replicas is there to do something about it
        let killed = Instant::now();
        victim.container.signal(Signal::KILL);
        let Scene { load, pulse, .. } = &mut scene;
        load.keep_going(WIDTH, |_| {
            assert!(gone.elapsed() < PATIENCE, "builds of {victim:?} do not go on");
            gone.elapsed() > AWAY && victim.builds.iter().all(|number| pulse.goes_on(*number, killed))
        });
        let resumed = victim.builds.iter().map(|number| pulse.stood_still(*number, killed)).max();
        eprintln!("kill -9 without an API server: builds resumed after {:.1?}", resumed.unwrap_or_default());
        away.mend();

        let back = Instant::now();
        scene.controller.wait_ready();
        eprintln!("all replicas are told to be ready {:.1?} after the API server was back", back.elapsed());
        // whoever leads, and whether it was one before
        let budget = scene.controller.kubectl().get(&["pdb", NAME])["metadata"]["uid"].clone();
        scene.controller.kubectl().run(&["delete", "pdb", NAME]);
        let again = || {
            let found = scene.controller.kubectl().look(&["pdb", NAME])?;
            (found["metadata"]["uid"] != budget).then_some(())
        };
        wait_or(PATIENCE, "the operator repairs what somebody has removed", again, || operator.logs());
        scene.warm_up();
        let failed = scene.settle().failed;
        eprintln!("{} requests failed after a replica was killed", failed.len());
    });
}
