//! From one version to the next, back, and forth again until the home is raised to what only the next one knows, with builds in
//! flight all the time.

use std::path::Path;

use serde_json::{Value, json};

use crate::common::next::next_version;
use crate::rolling::{Busy, ordinals};
use crate::support::cluster::{Cluster, wait_or};
use crate::support::controller::{Controller, LONG, NAME};
use crate::support::operator::story;
use crate::support::watch::Watch;

/// Each is replaced three times.
const REPLICAS: usize = 2;
/// Goes on until it is told to end.
const TURNS: &str = r#"
node('work') {
    int turn = 0
    while (sh(script: 'test -e FOLDER/end', returnStatus: true) != 0) {
        echo "turn ${turn++}"
        sh 'sleep 0.5'
    }
}
"#;

/// The image of the next version.
fn next(cluster: &Cluster) -> &'static str {
    let program = next_version();
    let archive = cluster.image("majordomo", &[program.to_str().unwrap(), "next"]);
    cluster.load(&[archive]);
    "registry.local/majordomo:next"
}

/// Of the home, and those that its replicas know.
fn levels(controller: &Controller) -> (i64, Vec<i64>) {
    let seen = controller.client().json("/replicas/api/json?tree=level,replicas[level,state]");
    let replicas = seen["replicas"].as_array().unwrap().iter().filter(|r| r["state"] == "ready");
    (seen["level"].as_i64().unwrap(), replicas.map(|r| r["level"].as_i64().unwrap()).collect())
}

/// One more build that goes on until the end.
fn begin(controller: &Controller, number: u64) {
    let client = controller.client();
    assert_eq!(client.post("/job/turns/buildWithParameters?ID=turns&delay=0sec").unwrap().status, 201);
    let path = format!("/job/turns/{number}/consoleText");
    let says = || client.try_get(&path).ok().filter(|reply| reply.text().contains("turn 0")).map(|_| ());
    wait_or(LONG, "the build says something", says, || controller.explain());
}

/// Ends them all; each has said its turns in the words of the version under whose level it began.
fn end(controller: &Controller, folder: &Path, words: &[&str]) {
    std::fs::write(folder.join("end"), "").unwrap();
    let client = controller.client();
    let ended = || {
        let seen = client.json("/job/turns/api/json?tree=builds[building]");
        seen["builds"].as_array().unwrap().iter().all(|b| b["building"] == false).then_some(())
    };
    wait_or(LONG, "the long builds end", ended, || controller.explain());
    for (number, words) in (1..).zip(words) {
        let said = client.get(&format!("/job/turns/{number}/consoleText")).text();
        assert!(said.contains("Finished: SUCCESS"), "build {number}: {said}");
        let lines = said.lines().filter(|line| line.contains("turn "));
        for (turn, line) in lines.enumerate() {
            assert_eq!(line, format!("{words}turn {turn}"), "build {number}");
        }
    }
}

fn finished(record: &Value, reason: &str) {
    assert_eq!((&record["reason"], &record["end"]), (&reason.into(), &"Finished".into()), "{record}");
}

#[test]
fn the_next_version_is_rolled_out_and_gone_back_from_until_the_level_is_raised() {
    story(|cluster, _| {
        let next = next(cluster);
        let mut busy =
            Busy::start(cluster, "upgrade", json!({"replicas": REPLICAS, "rollout": {"bake": "1h"}}));
        let folder = busy.load.folder().to_owned();
        let watch = Watch::of(busy.controller.kubectl(), REPLICAS);
        busy.controller.create_job("turns", &TURNS.replace("FOLDER", &folder.display().to_string()));

        begin(&busy.controller, 1);
        let forth = busy.rolls(|controller| controller.edit(&json!({"spec": {"image": next}})));
        finished(&forth, "ImageChanged");
        assert_eq!(levels(&busy.controller), (1, vec![2; REPLICAS]));
        begin(&busy.controller, 2);
        let undone = busy.rolls(|controller| {
            let undo = controller.plugin(&["rollout", "undo", NAME, "--yes", "--no-wait"]);
            assert!(undo.status.success(), "{}", String::from_utf8_lossy(&undo.stderr));
        });
        finished(&undone, "Undone");
        assert_eq!(levels(&busy.controller), (1, vec![1; REPLICAS]), "it has not baked for an hour");

        let forth = busy.rolls(|controller| {
            controller.edit(&json!({"spec": {"image": next, "rollout": {"bake": "1s"}}}));
        });
        finished(&forth, "ImageChanged");
        let raised = || (levels(&busy.controller) == (2, vec![2; REPLICAS])).then_some(());
        wait_or(LONG, "the level is raised", raised, || busy.controller.explain());
        begin(&busy.controller, 3);
        // from here on the version before is refused, and the others go on
        let back = busy.rolls(|controller| controller.edit(&json!({"spec": {"image": null}})));
        assert_eq!(back["end"], "GoneBack", "{back}");
        let why = busy.controller.wait_condition("RolledBack", "True", "ReplicaEnds");
        assert!(why.contains("the home is at level 2 and this version knows 1 only"), "{why}");
        busy.controller.wait_ready();
        assert_eq!(levels(&busy.controller), (2, vec![2; REPLICAS]));

        let pods = watch.became_ready().split_off(REPLICAS);
        assert_eq!(ordinals(&pods), ["1", "0", "1", "0", "1", "0", "1"], "{pods:?}");
        assert_eq!(watch.fewest_ready(REPLICAS), REPLICAS - 1, "one at a time");
        end(&busy.controller, &folder, &["", "", "[next] "]);
        busy.settle();
    });
}
