//! Whatever write the operator is killed at, before it or after it: the next one ends the same.

use resource::{RestartReason, Rollout, RolloutEnd, RolloutPhase};

use super::cluster::{Cluster, Moment};
use super::{controller, image};
use crate::kinds::Kind;

/// One thing that a user does, and how many replicas serve meanwhile at least.
type Step = (fn(&mut Cluster), usize);

/// From nothing to a controller, to another image, to one that does not start, to fewer replicas, to a single one, which is then
/// replaced while another one serves.
const STORY: [Step; 6] = [
    (|_| {}, 0),
    (|cluster| cluster.controller.spec.image = Some("a:2".to_owned()), 2),
    (|cluster| cluster.controller.spec.image = Some("a:3".to_owned()), 2),
    (|cluster| cluster.controller.spec.replicas = 1, 1),
    (|cluster| cluster.controller.spec.image = Some("a:4".to_owned()), 1),
    (
        |cluster| {
            cluster.controller.spec.rollout = Some(Rollout { paused: Some(true), ..Rollout::default() });
        },
        1,
    ),
];

/// Of a controller at rest: a StatefulSet that is made anew, alone and when another image is asked for, then no replica, then all of them again, and the end.
const END: [Step; 5] = [
    (unchangeable, 3),
    (
        |cluster| {
            unchangeable(cluster);
            cluster.controller.spec.image = Some("a:2".to_owned());
        },
        2,
    ),
    (|cluster| cluster.controller.spec.replicas = 0, 0),
    (|cluster| cluster.controller.spec.replicas = 3, 0),
    (Cluster::delete, 0),
];

/// A StatefulSet as an older operator may have made it, with a field that can't be changed.
pub(super) fn unchangeable(cluster: &mut Cluster) {
    cluster.change(Kind::StatefulSet, "acme", |set| set["spec"]["serviceName"] = "acme-once".into());
}

#[derive(Debug, PartialEq)]
struct End {
    serving: Vec<(usize, String)>,
    pods: usize,
    torn: Vec<String>,
    held: bool,
    set: Option<serde_json::Value>,
    phase: Option<RolloutPhase>,
    history: Vec<(String, RestartReason, Option<RolloutEnd>)>,
}

fn end(cluster: &Cluster) -> End {
    let rollout = cluster.told().rollout;
    let history = rollout.iter().flat_map(|rollout| &rollout.history);
    let set = cluster.object(Kind::StatefulSet, "acme");
    End {
        serving: cluster.serving(),
        pods: cluster.pods(),
        torn: cluster.torn(),
        held: cluster.held(),
        set: set.map(|set| set.data["spec"]["serviceName"].clone()),
        phase: rollout.as_ref().map(|rollout| rollout.phase),
        history: history.map(|r| (r.revision.clone(), r.reason, r.end)).collect(),
    }
}

/// Tells the story, and each step of it again for each write with an operator that is killed there. How often that was.
async fn cut_everywhere(whole: &mut Cluster, story: &[Step]) -> usize {
    let mut cuts = 0;
    for (step, (change, least)) in story.iter().enumerate() {
        let before = whole.copy();
        let began = whole.writes();
        change(whole);
        whole.settle(|cluster| assert!(cluster.serving().len() >= *least)).await;
        let writes = whole.writes() - began;
        for write in 1..=writes {
            for moment in [Moment::Before, Moment::After] {
                let mut cut = before.copy();
                change(&mut cut);
                cut.kill_at(write, moment);
                let place = format!("step {step}, write {write}, {moment:?}");
                cut.settle(|cluster| assert!(cluster.serving().len() >= *least, "{place}")).await;
                assert_eq!(end(&cut), end(whole), "{place}");
                cuts += 1;
            }
        }
    }
    cuts
}

#[tokio::test]
async fn an_operator_that_is_killed_at_any_write_loses_nothing() {
    let mut whole = Cluster::new(controller(image("a:1")));
    whole.broken.insert("a:3".to_owned());
    let cuts = cut_everywhere(&mut whole, &STORY).await;
    assert_eq!(whole.serving(), [(0, "a:4".to_owned())]);
    assert_eq!(whole.torn(), Vec::<String>::new());
    assert!(cuts > 120, "{cuts} cuts");
}

#[tokio::test]
async fn an_operator_that_is_killed_at_any_write_ends_what_is_to_end() {
    let mut whole = Cluster::new(controller(image("a:1")));
    whole.settle(|_| {}).await;
    let cuts = cut_everywhere(&mut whole, &END).await;
    let End { pods, torn, held, set, .. } = end(&whole);
    assert_eq!((pods, torn, held, set), (0, Vec::new(), false, None));
    assert!(cuts > 60, "{cuts} cuts");
}

#[tokio::test]
async fn an_operator_whose_watches_are_late_ends_the_same() {
    for lag in [1, 3] {
        let mut cluster = Cluster::new(controller(image("a:1")));
        cluster.broken.insert("a:3".to_owned());
        cluster.lag = lag;
        for (change, least) in STORY {
            change(&mut cluster);
            cluster.settle(|cluster| assert!(cluster.serving().len() >= least, "{lag} ticks late")).await;
        }
        let End { serving, torn, phase, history, .. } = end(&cluster);
        assert_eq!((serving, torn), (vec![(0, "a:4".to_owned())], Vec::new()), "{lag} ticks late");
        assert_eq!(phase, Some(RolloutPhase::Settled));
        let reasons: Vec<_> = history.iter().map(|(_, reason, end)| (*reason, *end)).collect();
        let other = RestartReason::ImageChanged;
        let ends = [RolloutEnd::Finished, RolloutEnd::GoneBack, RolloutEnd::Finished];
        assert_eq!(reasons, ends.map(|end| (other, Some(end))), "{lag} ticks late");
        let mut cluster = Cluster::new(controller(image("a:1")));
        cluster.lag = lag;
        cluster.settle(|_| {}).await;
        for (change, least) in END {
            change(&mut cluster);
            cluster.settle(|cluster| assert!(cluster.serving().len() >= least, "{lag} ticks late")).await;
        }
        let End { pods, torn, held, .. } = end(&cluster);
        assert_eq!((pods, torn, held), (0, Vec::new(), false), "{lag} ticks late");
    }
}
