//! The operator is killed again and again while it rolls a controller: what comes of it is the same, and nobody notices.

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::json;

use crate::common::random::{Random, seed};
use crate::rolling::{Busy, ordinals};
use crate::support::cluster::wait_or;
use crate::support::container;
use crate::support::controller::PATIENCE;
use crate::support::operator::{Operator, story_alone};
use crate::support::watch::Watch;

/// How often.
const KILLS: usize = 20;
/// So many that the rollout is not over before.
const REPLICAS: usize = 9;

/// Waits until somebody has taken up the Lease or renewed it after that time; the pod.
fn leader(operator: &Operator, after: Timestamp) -> String {
    let look = || operator.leader().filter(|(_, renewed)| *renewed > after).map(|(pod, _)| pod);
    wait_or(PATIENCE, "somebody leads", look, || operator.explain())
}

/// Kills who leads: its kubelet starts it again at once. A second time it would wait before it does so; then the pod goes, too, and
/// the other one takes over once the Lease has lapsed.
fn kill(operator: &Operator, pod: &str) -> Timestamp {
    let again = container::restarts(&operator.kubectl, pod) > 0;
    container::signal(&operator.kubectl, pod, Signal::KILL);
    let killed = Timestamp::now();
    if again {
        operator.kubectl.run(&["delete", "pod", pod, "--force", "--grace-period=0", "--wait=false"]);
    }
    killed
}

#[test]
fn an_operator_that_is_killed_twenty_times_rolls_as_one_that_is_not() {
    story_alone(|cluster, operator| {
        let mut busy = Busy::start(cluster, "operators", json!({"replicas": REPLICAS}));
        let watch = Watch::of(busy.controller.kubectl(), REPLICAS);
        let mut random = Random::new(seed(), "operators");
        let mut killed = 0;
        let record = busy.rolls(|controller| {
            controller.annotate("majordomo.dev/restartedAt=2026-11-26T20:00:00Z");
            let mut last = Timestamp::MIN;
            while killed < KILLS {
                let pod = leader(operator, last);
                std::thread::sleep(random.millis(0, 1_000));
                last = kill(operator, &pod);
                killed += 1;
                let ended = &controller.resource()["status"]["rollout"]["history"][0]["end"];
                assert!(killed == KILLS || ended.is_null(), "it ended after {killed} kills");
            }
        });
        assert_eq!(
            (&record["reason"], &record["end"]),
            (&"Annotation".into(), &"Finished".into()),
            "{record}"
        );
        busy.controller.wait_ready();
        let order: Vec<String> = (0..REPLICAS).rev().map(|ordinal| ordinal.to_string()).collect();
        assert_eq!(ordinals(&watch.became_ready().split_off(REPLICAS)), order, "each once");
        assert_eq!(watch.fewest_ready(REPLICAS), REPLICAS - 1, "one at a time");
        let history = busy.controller.resource()["status"]["rollout"]["history"].clone();
        assert_eq!(history.as_array().map(Vec::len), Some(1), "{history:#}");
        busy.settle();
    });
}
