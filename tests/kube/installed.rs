//! The operator is installed in other ways, is upgraded, and finds what an older one has made: controllers go on as they are.

use serde_json::{Value, json};

use crate::rolling::{Busy, ordinals};
use crate::support::cluster::wait_or;
use crate::support::controller::{Controller, NAME, PATIENCE};
use crate::support::operator::story_alone;
use crate::support::watch::Watch;

/// Somebody removes the disruption budget of a controller; waits until whoever looks after it has made it again.
fn repaired(controller: &Controller) {
    let budget = || controller.kubectl().look(&["pdb", NAME]);
    let former = budget().unwrap()["metadata"]["uid"].clone();
    controller.kubectl().run(&["delete", "pdb", NAME]);
    let again = || budget().filter(|found| found["metadata"]["uid"] != former).map(drop);
    wait_or(PATIENCE, "the budget is there again", again, || controller.explain());
}

#[test]
#[ignore = "the operator is installed in other ways; on request"]
fn an_operator_of_some_namespaces_looks_after_no_others_and_its_upgrade_restarts_nobody() {
    story_alone(|cluster, operator| {
        let mut busy = Busy::start(cluster, "inside", json!({"replicas": 2}));
        let watch = Watch::of(busy.controller.kubectl(), 2);
        let pods = watch.became_ready();
        let outside = Controller::prepare(cluster, "outside");
        let inside = busy.controller.namespace.name.clone();
        busy.meanwhile(|controller| {
            let one = operator.only(cluster, &[&inside]);
            outside.apply(&json!({"replicas": 1}));
            repaired(controller);
            assert!(outside.resource()["status"].is_null(), "{:#}", outside.resource());
            for (namespace, may) in [(&inside, true), (&outside.namespace.name, false)] {
                for (verb, what) in [("create", "statefulsets.apps"), ("get", "secrets"), ("delete", "pods")]
                {
                    assert_eq!(operator.may(verb, what, namespace), may, "{verb} {what} in {namespace}");
                }
            }
            // both, and then all
            let both = operator.only(cluster, &[&inside, &outside.namespace.name]);
            outside.wait_ready();
            repaired(controller);
            drop((both, one));
            repaired(controller);
            repaired(&outside);
        });
        assert_eq!(watch.became_ready(), pods, "nobody was restarted");
        busy.settle();
    });
}

/// What its StatefulSet says, and of each pod whose it is.
fn set(controller: &Controller) -> (Value, Vec<Value>) {
    let set = controller.kubectl().look(&["statefulset", NAME]).unwrap_or_default();
    let pods = controller.pods();
    let owner = |pod: &String| {
        let pod = controller.kubectl().look(&["pod", pod]).unwrap_or_default();
        pod["metadata"]["ownerReferences"][0]["uid"].clone()
    };
    (set, pods.iter().map(owner).collect())
}

#[test]
#[ignore = "the operator is away for a while; on request"]
fn a_statefulset_that_can_not_be_changed_as_it_must_be_is_made_anew_and_its_pods_go_on() {
    story_alone(|cluster, operator| {
        let mut busy = Busy::start(cluster, "anew", json!({}));
        let watch = Watch::of(busy.controller.kubectl(), 3);
        let pods = watch.became_ready();
        busy.meanwhile(|controller| {
            let away = operator.away(cluster);
            // as another version might have made it
            let mut other = controller.kubectl().get(&["statefulset", NAME]);
            other["spec"]["podManagementPolicy"] = json!("OrderedReady");
            let metadata = other["metadata"].as_object_mut().unwrap();
            for made in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
                metadata.remove(made);
            }
            other.as_object_mut().unwrap().remove("status");
            controller.kubectl().run(&["delete", "statefulset", NAME, "--cascade=orphan"]);
            controller.kubectl().apply(&other.to_string());
            let adopted = |policy: &str| {
                let (set, owners) = set(controller);
                let uid = &set["metadata"]["uid"];
                let whole =
                    set["status"]["readyReplicas"] == 3 && set["metadata"]["deletionTimestamp"].is_null();
                let ours = owners.len() == 3 && owners.iter().all(|owner| owner == uid);
                (set["spec"]["podManagementPolicy"] == policy && whole && ours).then_some(())
            };
            wait_or(
                PATIENCE,
                "the pods have another set",
                || adopted("OrderedReady"),
                || controller.explain(),
            );
            drop(away);
            wait_or(PATIENCE, "they have ours again", || adopted("Parallel"), || controller.explain());
            let events = controller.kubectl().run(&["get", "events", "-o", "jsonpath={.items[*].reason}"]);
            assert!(events.split_whitespace().any(|told| told == "StatefulSetRecreated"), "{events}");
            controller.wait_ready();
        });
        assert_eq!(watch.became_ready(), pods, "nobody was restarted");
        assert_eq!(watch.fewest_ready(3), 3);
        // and goes on to be rolled
        let record = busy.rolls(|c| c.annotate("majordomo.dev/restartedAt=2026-11-26T20:00:00Z"));
        assert_eq!(record["end"], "Finished", "{record}");
        busy.controller.wait_ready();
        assert_eq!(ordinals(&watch.became_ready().split_off(3)), ["2", "1", "0"]);
        busy.settle();
    });
}
