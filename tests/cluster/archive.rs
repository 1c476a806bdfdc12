//! Long logs become objects when their builds have ended, whoever is killed meanwhile.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::logs;
use crate::support::controller::{Controller, LONG, Options, wait};

const BUILDS: u64 = 4;
const LINES: usize = 250_000;

/// Some 9 MB: it takes a while to become an object.
fn script() -> String {
    format!("node {{ sh 'set +x; for i in $(seq 1 {LINES}); do echo \"line $i of a long text\"; done' }}")
}

/// What the script prints, and what is around it.
fn is_whole(text: &str) {
    let lines = text.lines().filter(|line| line.starts_with("line "));
    let mut count = 0;
    for (n, line) in lines.enumerate() {
        assert_eq!(line, format!("line {} of a long text", n + 1));
        count += 1;
    }
    assert_eq!(count, LINES);
    assert!(text.ends_with("Finished: SUCCESS\n"));
}

/// The objects of logs, those too that are being written.
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
    controller.create_job("long", &script());
    // twice, whoever writes an object is killed
    let mut killed = BTreeSet::new();
    for begun in [BUILDS / 2, BUILDS] {
        for n in begun - BUILDS / 2..begun {
            let path = format!("/job/long/buildWithParameters?ID={n}");
            assert_eq!(controller.client().post(&path).unwrap().status, 201);
        }
        let writer = wait(LONG, "an object is written", || {
            let names = objects(&controller)
                .into_iter()
                .filter_map(|file| file.file_name()?.to_str().map(str::to_owned));
            let mut staged = names.filter(|name| name.contains(".gz#"));
            staged
                .find_map(|name| name.split('-').next()?.parse::<i64>().ok().filter(|w| !killed.contains(w)))
        });
        if let Some(replica) = controller.replicas().into_iter().find(|r| r.incarnation == writer) {
            assert!(controller.process(replica.pid).unwrap().signal(Signal::KILL));
        }
        killed.insert(writer);
        for number in 1..=begun {
            let path = format!("/job/long/{number}/logText/progressiveText?start=0");
            assert_eq!(controller.client().get(&path).status, 200);
        }
        controller.wait_ready();
    }
    let texts: Vec<String> = (1..=BUILDS)
        .map(|number| {
            wait(LONG, "the build ends", || {
                let path = format!("/job/long/{number}/api/json?tree=building,result");
                let build = controller.client().json(&path);
                (build["building"] == false).then(|| assert_eq!(build["result"], "SUCCESS"))
            });
            let text = text(&controller, number);
            is_whole(&text);
            text
        })
        .collect();
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
