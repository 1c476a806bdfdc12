//! What can't start is given up, and others go on; what is being rolled out is stopped for a while, and undone.

use serde_json::{Value, json};

use crate::rolling::{Busy, ordinals, second};
use crate::support::cluster::wait_or;
use crate::support::controller::{Controller, NAME, PATIENCE};
use crate::support::kubectl::is_ready;
use crate::support::operator::story;
use crate::support::watch::Watch;

fn said(output: &std::process::Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{}: {out}{err}", output.status)
}

/// `kubectl majordomo rollout …`, which does not fail.
fn rollout(controller: &Controller, arguments: &[&str]) -> String {
    let done = controller.plugin(&[&["rollout"], arguments].concat());
    assert!(done.status.success(), "{arguments:?}: {}", said(&done));
    said(&done)
}

/// What pods run, by ordinal.
fn revisions(controller: &Controller) -> Vec<String> {
    let members = controller.resource()["status"]["members"].clone();
    let of = |member: &Value| member["revision"].as_str().unwrap_or_default().to_owned();
    members.as_array().into_iter().flatten().map(of).collect()
}

/// Waits until a replica is at work at this stage, and nobody else is.
fn at_work(controller: &Controller, ordinal: usize, stage: &str) {
    controller.until(&format!("replica {ordinal} is at {stage}"), |resource| {
        let turn = &resource["status"]["rollout"]["turn"];
        (turn["ordinal"] == ordinal && turn["stage"] == stage).then_some(())
    });
}

/// Deletes a pod and waits until it is there again; its revision.
fn replace(controller: &Controller, pod: &str) -> String {
    let kubectl = controller.kubectl();
    let uid = |pod: &Value| pod["metadata"]["uid"].clone();
    let former = uid(&kubectl.get(&["pod", pod]));
    kubectl.run(&["delete", "pod", pod, "--wait=false"]);
    let back = || kubectl.look(&["pod", pod]).filter(|pod| uid(pod) != former && is_ready(pod));
    let pod = wait_or(PATIENCE, &format!("{pod} is back"), back, || controller.explain());
    pod["metadata"]["labels"]["majordomo.dev/revision"].as_str().unwrap().to_owned()
}

#[test]
fn an_image_that_is_another_product_is_given_up_and_a_pod_that_is_deleted_meanwhile_comes_back_as_it_was() {
    story(|cluster, _| {
        let image = second(cluster);
        let mut busy = Busy::start(cluster, "back", json!({}));
        let good = busy.controller.resource()["status"]["revision"].as_str().unwrap().to_owned();
        let watch = Watch::of(busy.controller.kubectl(), 3);
        let record = busy.rolls(|controller| {
            controller.edit(&json!({"spec": {"image": "registry.local/broken:1"}}));
            at_work(controller, 2, "Start");
            assert_eq!(replace(controller, "acme-0"), good);
        });
        assert_eq!((&record["reason"], &record["end"]), (&"ImageChanged".into(), &"GoneBack".into()));
        let why = busy.controller.wait_condition("RolledBack", "True", "ImageUnfit");
        busy.controller.wait_condition("Progressing", "False", "Halted");
        assert!(record["message"].as_str().unwrap().contains("given up"), "{record} {why}");
        assert_ne!(record["revision"], *good);
        let status = &busy.controller.wait_ready()["status"];
        assert_eq!(
            (&status["rollout"]["phase"], &status["rollout"]["good"]),
            (&"Halted".into(), &(&*good).into())
        );
        assert_eq!(revisions(&busy.controller), [&*good; 3]);
        // of the others nobody but the one that was deleted was away
        let pods = watch.became_ready().split_off(3);
        let mut back = ordinals(&pods);
        back.sort_unstable();
        assert_eq!(back, ["0", "2"], "{pods:?}");

        // another edit mends it
        let record = busy.rolls(|controller| controller.edit(&json!({"spec": {"image": image}})));
        assert_eq!((&record["reason"], &record["end"]), (&"ImageChanged".into(), &"Finished".into()));
        busy.controller.wait_condition("RolledBack", "False", "NothingFailed");
        busy.controller.wait_ready();
        let pods = watch.became_ready().split_off(5);
        assert_eq!(ordinals(&pods), ["2", "1", "0"], "{pods:?}");
        busy.settle();
    });
}

#[test]
fn what_kubernetes_refuses_and_images_that_are_not_there_disturb_nobody() {
    story(|cluster, _| {
        let mut busy = Busy::start(cluster, "refused", json!({}));
        let good = busy.controller.resource()["status"]["revision"].as_str().unwrap().to_owned();
        let watch = Watch::of(busy.controller.kubectl(), 3);
        let first = watch.became_ready();

        // no pod is touched for what can't be made at all
        busy.controller.edit(&json!({"spec": {"podTemplate": {"spec": {"dnsPolicy": "Sometimes"}}}}));
        let why = busy.controller.wait_condition("ConfigurationValid", "False", "ObjectRefused");
        assert!(why.contains("dnsPolicy"), "{why}");
        busy.controller.edit(&json!({"spec": {"podTemplate": null}}));
        busy.controller.wait_condition("ConfigurationValid", "True", "Valid");
        busy.controller.wait_ready();
        assert_eq!(watch.became_ready(), first);

        let image = "registry.local/majordomo:never-made";
        let record = busy.rolls(|controller| controller.edit(&json!({"spec": {"image": image}})));
        assert_eq!(record["end"], "GoneBack", "{record}");
        let why = busy.controller.wait_condition("RolledBack", "True", "ImageRefused");
        assert!(why.contains(image), "{why}");
        busy.controller.wait_ready();
        assert_eq!(revisions(&busy.controller), [&*good; 3]);
        assert_eq!(ordinals(&watch.became_ready().split_off(3)), ["2"], "only the first place was touched");

        // what is wanted is what runs: it is mended
        busy.controller.edit(&json!({"spec": {"image": null}}));
        busy.controller.wait_condition("RolledBack", "False", "NothingFailed");
        busy.controller.wait_condition("Progressing", "False", "Settled");
        assert_eq!(watch.became_ready().len(), 4);
        busy.settle();
    });
}

#[test]
fn a_rollout_is_paused_resumed_and_undone() {
    story(|cluster, _| {
        let mut busy = Busy::start(cluster, "pause", json!({}));
        let old = busy.controller.resource()["status"]["revision"].as_str().unwrap().to_owned();
        let watch = Watch::of(busy.controller.kubectl(), 3);
        let template = json!({"metadata": {"annotations": {"example.com/team": "red"}}});
        let record = busy.rolls(|controller| {
            controller.edit(&json!({"spec": {"podTemplate": template}}));
            at_work(controller, 2, "Drain");
            let told = rollout(controller, &["pause", NAME]);
            assert!(told.contains("a replica that is being replaced is finished first"), "{told}");
            // the one at work is finished, and no other one is begun
            controller.wait_condition("Progressing", "True", "Paused");
            let status = controller.resource()["status"].clone();
            assert_eq!(
                (&status["rollout"]["phase"], &status["readyReplicas"]),
                (&"Paused".into(), &3.into())
            );
            assert!(status["rollout"]["turn"].is_null(), "{status:#}");
            let now = revisions(controller);
            assert!(now[0] == old && now[1] == old && now[2] != old, "{now:?}");
            // also not for a pod that is lost
            assert_eq!(replace(controller, "acme-1"), old);
            assert_eq!(revisions(controller), now);
            let told = rollout(controller, &["resume", NAME]);
            assert!(told.contains("resumed"), "{told}");
        });
        assert_eq!((&record["reason"], &record["end"]), (&"TemplateChanged".into(), &"Finished".into()));
        busy.controller.wait_ready();
        assert_eq!(ordinals(&watch.became_ready().split_off(3)), ["2", "1", "1", "0"]);

        let told = rollout(&busy.controller, &["history", NAME]);
        assert!(told.contains(&old), "{told}");
        let refused = busy.controller.plugin(&["rollout", "undo", NAME]);
        assert!(!refused.status.success() && said(&refused).contains("say --yes"), "{}", said(&refused));
        let record = busy.rolls(|controller| {
            let told = rollout(controller, &["undo", NAME, "--yes", "--no-wait"]);
            assert!(told.contains("podTemplate"), "{told}");
        });
        assert_eq!((&record["revision"], &record["end"]), (&(&*old).into(), &"Finished".into()), "{record}");
        busy.controller.wait_ready();
        assert_eq!(revisions(&busy.controller), [&*old; 3]);
        assert!(busy.controller.resource()["spec"]["podTemplate"].is_null());
        busy.settle();
    });
}
