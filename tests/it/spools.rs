//! `verify-log` and the spools that agents still hold.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::builds::verify_log;
use crate::harness::{Client, Controller, Hostile, shared, until};
use crate::nodes::{create_node, secret, start_agent};

/// The spool of an agent below the folder that begins with a text.
fn spool(folder: &Path, text: &[u8]) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        let found = if path.is_dir() {
            spool(&path, text)
        } else {
            let begins = |path: &Path| fs::read(path).is_ok_and(|bytes| bytes.starts_with(text));
            (path.ends_with("out") && begins(&path)).then_some(path)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The replicas without the agent's socket.
fn without(it: &Controller, agent: &str) -> Vec<Client> {
    let replicas = it.admin.json("/replicas/api/json");
    let replicas = replicas["replicas"].as_array().unwrap().iter();
    let others = replicas.filter(|replica| !replica["agents"].as_array().unwrap().contains(&json!(agent)));
    others.map(|replica| it.admin.at(replica["address"].as_str().unwrap().parse().unwrap())).collect()
}

#[test]
fn a_log_is_compared_with_the_spool_of_an_agent_behind_another_replica() {
    let it = shared();
    let go = it.home.join("go-on");
    let script = format!(
        "node('agent-1') {{ sh '''#!/bin/sh\necho spooled one\necho spooled two\n\
         while [ ! -e {} ]; do sleep 0.1; done\n''' }}",
        go.display()
    );
    it.admin.create_job("spooled", &script);
    let number = it.admin.follow(&it.admin.trigger("spooled", "build"));
    it.admin.console_has("spooled", number, "spooled two\n");
    let path = format!("/job/spooled/{number}/verifyLog/api/json");
    let text = b"spooled one\nspooled two\n";
    let right = json!({
        "agents": 1, "asked": 1, "forgotten": 0, "steps": 1, "compared": 1, "lengths": 0, "lost": 0,
        "bytes": text.len(), "unreachable": [],
    });
    let others = without(it, "agent-1");
    assert!(others.len() >= 2, "one has the agent");
    for replica in it.each_replica() {
        let checked = replica.json(&path);
        assert_eq!((&checked["spools"], &checked["defects"]), (&right, &json!([])), "{}", replica.address);
    }
    let (status, said) = verify_log(&it.home, &["spooled", &number.to_string()]);
    let line = "spools   1 of 1 agent asked; the log has 1 of 1 step as printed (24 bytes compared)\n";
    assert!(status == Some(0) && said.contains(line), "{said}");

    let out = spool(&it.home.join("agents"), text).unwrap();
    let out = OpenOptions::new().write(true).open(out).unwrap();
    out.write_all_at(b"S", 12).unwrap();
    for replica in others.iter().chain([&it.admin]) {
        let defects = replica.json(&path)["defects"].clone();
        let [defect] = defects.as_array().unwrap().as_slice() else { panic!("{defects}") };
        assert_eq!(defect["kind"], "spool");
        let wanted = "are not those of its spool at agent agent-1";
        assert!(defect["message"].as_str().unwrap().ends_with(wanted), "{defect}");
    }
    let (status, said) = verify_log(&it.home, &["spooled", &number.to_string()]);
    assert!(status == Some(1) && said.contains("defects  1\nspool at "), "{said}");
    out.write_all_at(b"s", 12).unwrap();
    assert_eq!(it.admin.json(&path)["defectCount"], 0);

    fs::write(&go, "").unwrap();
    assert_eq!(it.admin.result("spooled", number), "SUCCESS");
    let told = until("the agent forgets the build", || {
        let (status, said) = verify_log(&it.home, &["spooled", &number.to_string()]);
        assert_eq!(status, Some(0), "{said}");
        said.contains("spools   agents hold none any more\n").then_some(said)
    });
    assert!(told.contains(", SUCCESS"), "{told}");
    it.unharmed();
}

#[test]
fn an_agent_that_was_away_at_the_end_of_its_build_is_told_by_name() {
    let it = shared();
    create_node(&it.admin, "leaves", "leaves");
    let agent = start_agent(it, "leaves", &secret(&it.admin, "leaves"));
    it.admin.create_job("left", "node('leaves') { sh 'echo said before; sleep 30' }");
    let number = it.admin.follow(&it.admin.trigger("left", "build"));
    it.admin.console_has("left", number, "\nsaid before\n");
    drop(agent);
    until("the agent is gone", || (it.admin.node("leaves")["offline"] == true).then_some(()));
    let away = |said: &str, what: &str| {
        let line = "spools   none of 1 agent has answered\n         leaves: no connection\ndefects  none\n";
        assert!(said.contains(what) && said.ends_with(line), "{said}");
    };
    let number_text = number.to_string();
    let (status, said) = verify_log(&it.home, &["left", &number_text]);
    assert_eq!(status, Some(0), "{said}");
    away(&said, ", runs\n");
    until("the build ends without its agent", || {
        it.admin.post(&format!("/job/left/{number}/kill"));
        (it.admin.json(&format!("/job/left/{number}/api/json"))["building"] == false).then_some(())
    });
    let (status, said) = verify_log(&it.home, &["left", &number_text]);
    assert_eq!(status, Some(0), "{said}");
    away(&said, ", ABORTED\n");
    it.unharmed();
}

#[test]
fn an_agent_that_knows_no_such_question_is_told_by_name() {
    let it = shared();
    let mut old = Hostile::connect(it, "knows-nothing");
    it.admin.create_job("asked-in-vain", "node('knows-nothing') { sh 'true' }");
    let number = it.admin.follow(&it.admin.trigger("asked-in-vain", "build"));
    let step = old.started();
    old.output(&step, 0, b"printed\n");
    it.admin.console_has("asked-in-vain", number, "printed\n");
    let path = format!("/job/asked-in-vain/{number}/verifyLog/api/json");
    for replica in it.each_replica() {
        let checked = replica.json(&path);
        let why: Value = json!(["knows-nothing: its version knows no questions about spools"]);
        assert_eq!((&checked["spools"]["unreachable"], &checked["defectCount"]), (&why, &json!(0)));
    }
    old.exited(&step, 0, 8);
    assert_eq!(it.admin.result("asked-in-vain", number), "SUCCESS");
    it.unharmed();
}
