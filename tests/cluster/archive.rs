//! Long logs become objects when their builds have ended, whoever is killed meanwhile.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::logs;
use crate::support::controller::{Controller, LONG, Options, wait};

const BUILDS: u64 = 6;
/// Some 1.6 MB.
const PRINT: &str = "node { sh 'set +x; for i in $(seq 1 60000); do echo \"line $i of a long text\"; done' }";

/// The objects of logs.
fn objects(controller: &Controller) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(controller.home.join("objects/logs")).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
    files.map(|file| file.path()).collect()
}

fn verified(controller: &Controller, number: u64) -> Value {
    let checked = controller.client().json(&format!("/job/long/{number}/verifyLog/api/json"));
    assert_eq!((&checked["checked"], &checked["defectCount"]), (&true.into(), &0.into()), "{checked}");
    checked
}

fn text(controller: &Controller, number: u64) -> String {
    controller.client().get(&format!("/job/long/{number}/consoleText")).text()
}

#[test]
fn long_logs_become_objects_and_read_the_same_while_replicas_are_killed() {
    let mut controller = Controller::start(Options { name: "archive", store: None, replicas: 3, agents: 2 });
    controller.create_job("long", PRINT);
    for n in 0..BUILDS {
        let path = format!("/job/long/buildWithParameters?ID={n}");
        assert_eq!(controller.client().post(&path).unwrap().status, 201);
    }
    let ended = |number: u64| {
        let build = controller.client().json(&format!("/job/long/{number}/api/json?tree=building,result"));
        (build["building"] == false).then(|| assert_eq!(build["result"], "SUCCESS"))
    };
    let texts: Vec<String> = (1..=BUILDS)
        .map(|number| {
            wait(LONG, "the build has begun", || {
                let job = controller.client().json("/job/long/api/json?tree=nextBuildNumber");
                (job["nextBuildNumber"].as_u64() > Some(number)).then_some(())
            });
            wait(LONG, "the build ends", || ended(number));
            text(&controller, number)
        })
        .collect();
    for (n, text) in texts.iter().enumerate() {
        assert_eq!(text.lines().filter(|line| line.starts_with("line ")).count(), 60_000, "build {}", n + 1);
    }
    // killed while they work at it, or before, or after
    for turn in 0..2 {
        let replicas = controller.replicas();
        assert!(controller.process(replicas[turn].pid).unwrap().signal(Signal::KILL));
        for (number, text) in (1..).zip(&texts) {
            assert!(self::text(&controller, number) == *text, "the log of build {number} has changed");
        }
        controller.wait_ready();
    }
    let keys: BTreeSet<String> = (1..=BUILDS)
        .map(|number| {
            wait(LONG, "the log is an object", || {
                verified(&controller, number)["object"].as_str().map(str::to_owned)
            })
        })
        .collect();
    assert_eq!(keys.len() as u64, BUILDS);
    for (number, text) in (1..).zip(&texts) {
        assert!(self::text(&controller, number) == *text, "the log of build {number} has changed");
        let half = text.len() / 2;
        let path = format!("/job/long/{number}/logText/progressiveText?start={half}");
        assert_eq!(controller.client().get(&path).text().replace("\r\n", "\n"), text[half..]);
    }
    // what those that were killed have left goes, too
    wait(LONG, "each log has one object", || (objects(&controller).len() as u64 == BUILDS).then_some(()));
    for key in &keys {
        let file = controller.home.join("objects").join(key);
        let plain = Command::new("gzip").arg("-dc").arg(&file).output().unwrap();
        assert!(plain.status.success(), "{}", String::from_utf8_lossy(&plain.stderr));
        assert!(texts.iter().any(|text| text.as_bytes() == plain.stdout), "{key}");
        assert!(std::fs::metadata(&file).unwrap().len() < plain.stdout.len() as u64 / 4);
    }
    for number in 1..=BUILDS {
        let path = format!("/job/long/{number}/doDelete");
        assert!(matches!(controller.client().post(&path).unwrap().status, 200..400));
    }
    wait(LONG, "the objects go with their builds", || objects(&controller).is_empty().then_some(()));
    controller.stop();
    logs::check(&controller, &[]);
}
