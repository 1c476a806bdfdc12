//! The check of a log, with damage in the store.

use std::collections::BTreeMap;

use model::{BuildId, BuildResult, NodeName};
use pipeline::act::{Data, Granted, Outcome, Record, StepId};
use remoting::spools::{Held, MAX_SPOOLS, Spool, SpoolAsked, SpoolsAsked, SpoolsOf};
use serde_json::json;
use store::archive::{Packer, prefix};
use store::{ArchivedLog, Effect, Logs, Writer};

use super::*;

const PATH: &str = "/job/hello/1/verifyLog/api/json";

/// A build that runs: the controller's word, two steps in turn, and five records.
async fn running() -> (Memory, Site, Taken) {
    let memory = Memory::new();
    let site = Site::on(Arc::new(memory.clone())).await;
    site.create("", "hello", PIPELINE).await;
    site.admin().post("/job/hello/build").await;
    let taken = site.take().await;
    let mut chunks = Vec::new();
    let mut offset = 0;
    for (step, raw, text) in
        [("", (0, 0), "begin\n"), ("1", (0, 3), "ab\n"), ("2", (0, 1), "\u{fffd}"), ("1", (3, 5), "c\n")]
    {
        let bytes = Bytes::from(text);
        let length = bytes.len() as u64;
        let at = Millis(1);
        chunks.push(Chunk::new(offset, step.into(), raw, at, bytes));
        offset += length;
    }
    let progress = Progress {
        build: taken.build,
        owner: taken.owner,
        fence: taken.fence,
        seq: 0,
        first_record: 0,
        records: vec![Bytes::from_static(b"r"); 5],
        chunks,
        log_end: offset,
        effects: vec![],
    };
    site.store.write(Write::Progress(Box::new(progress))).await.unwrap();
    (memory, site, taken)
}

#[tokio::test]
async fn a_log_is_checked_while_its_build_runs_and_after() {
    let (_, site, taken) = running().await;
    let checked = site.admin().get(PATH).await;
    assert_eq!(
        (checked.status.as_u16(), checked.header("content-type")),
        (200, "application/json;charset=utf-8")
    );
    let checked = checked.json();
    let wanted = json!({
        "job": "hello", "number": 1, "building": true, "result": null, "checked": true, "why": null, "gone": false,
        "compared": true, "object": null, "spools": no_agents(), "bytes": 14, "chunks": 4,
        "sha256": sha256("begin\nab\n\u{fffd}c\n"),
        "steps": 2, "rawBytes": 6, "records": 5, "defectCount": 0, "defects": [],
    });
    assert_eq!(checked, wanted);
    let finish = vec![Effect::Finish { result: BuildResult::Unstable, at: Millis(7_500), archive: false }];
    site.progress(&taken, 1, "end\n", finish).await;
    let checked = site.admin().json("/job/hello/lastBuild/verifyLog/api/json").await;
    assert_eq!((&checked["building"], &checked["result"]), (&json!(false), &json!("UNSTABLE")));
    assert_eq!((&checked["compared"], &checked["defectCount"]), (&json!(true), &json!(0)));
    let console = site.admin().get("/job/hello/1/consoleText").await.text();
    assert_eq!((&checked["bytes"], &checked["sha256"]), (&json!(18), &json!(sha256(&console))));
}

/// A journal that names the agent of `mac` for the step 1.
fn journal() -> Vec<Bytes> {
    let (step, digest) = (|step: &str| StepId(step.to_owned()), String::new());
    let env = BTreeMap::from([(engine::INSTANCE_ENV.to_owned(), "i-mac".to_owned())]);
    let (node, workspace, labels) = ("mac".to_owned(), "/w".to_owned(), Vec::new());
    let granted = Granted { node, executor: 0, workspace, unix: true, labels, env };
    let outcome = Outcome::Done(Data::Granted(granted));
    let records = [
        Record::Outcome { step: step("0"), outcome, at: 1, raw: None },
        Record::Intent { step: step("1"), digest, at: 1, deadline: None, agent: Some("i-mac".to_owned()) },
    ];
    records.iter().map(|record| Bytes::from(serde_json::to_vec(record).unwrap())).collect()
}

/// Writes records into the journal of the build that runs.
async fn note(site: &Site, taken: &Taken, effects: Vec<Effect>) {
    let progress = Progress {
        build: taken.build,
        owner: taken.owner,
        fence: taken.fence,
        seq: 1,
        first_record: 5,
        records: journal(),
        chunks: vec![],
        log_end: 14,
        effects,
    };
    site.store.write(Write::Progress(Box::new(progress))).await.unwrap();
}

/// The agent of `mac` has this of the step 1.
fn spooled(site: &Site, spool: &'static str) {
    *site.nobody.spools.lock() = Box::new(move |of| {
        assert_eq!((of.node.as_str(), of.instance.as_str()), ("mac", "i-mac"));
        let held = |asked: &SpoolAsked| {
            let sha256 = spool.get(..usize::try_from(asked.first).unwrap()).map(sha256);
            Spool { step: asked.step.clone(), held: Held::Spool { end: spool.len() as u64, sha256 } }
        };
        let spools = of.asked.steps.iter().map(held).collect();
        Ok(SpoolsTold::Kept { rebooted: false, spools })
    });
}

#[tokio::test]
async fn the_log_of_a_build_is_compared_with_the_spools_that_its_agents_hold() {
    let (_, site, taken) = running().await;
    note(&site, &taken, vec![]).await;
    let away = site.admin().json(PATH).await;
    assert_eq!(away["spools"]["unreachable"], json!(["mac: no connection"]));
    assert_eq!((&away["checked"], &away["defectCount"]), (&json!(true), &json!(0)));
    spooled(&site, "ab\nc\n and more");
    let checked = site.admin().json(PATH).await;
    let wanted = json!({
        "agents": 1, "asked": 1, "forgotten": 0, "steps": 1, "compared": 1, "lengths": 0, "lost": 0, "bytes": 5,
        "unreachable": [],
    });
    assert_eq!((&checked["spools"], &checked["defectCount"]), (&wanted, &json!(0)));
    for (spool, kind) in [("ab\nC\n", "spool"), ("ab\n", "spoolEnd")] {
        spooled(&site, spool);
        let checked = site.admin().json(PATH).await;
        let defect = &checked["defects"][0];
        assert_eq!(
            (&defect["kind"], &defect["offset"], &defect["step"]),
            (&json!(kind), &json!(6), &json!("1"))
        );
        assert_eq!(checked["defectCount"], 1);
    }
}

#[tokio::test]
async fn of_a_build_that_has_ended_agents_hold_spools_or_nothing() {
    let (_, site, taken) = running().await;
    let finish = Effect::Finish { result: BuildResult::Success, at: Millis(7_500), archive: false };
    note(&site, &taken, vec![finish]).await;
    *site.nobody.spools.lock() = Box::new(|of| {
        assert_eq!(of.asked.steps, [], "it is asked whether it keeps anything first");
        Ok(SpoolsTold::Nothing)
    });
    let checked = site.admin().json(PATH).await;
    assert_eq!((&checked["spools"]["asked"], &checked["spools"]["forgotten"]), (&json!(1), &json!(1)));
    // who can't say now may keep something
    for busy in [Err("busy".to_owned()), Ok(SpoolsTold::Failed { why: "busy".to_owned() })] {
        let answered = u64::from(busy.is_ok());
        *site.nobody.spools.lock() = Box::new(move |_| busy.clone());
        let checked = site.admin().json(PATH).await;
        let spools = &checked["spools"];
        assert_eq!((&spools["asked"], &spools["forgotten"]), (&json!(answered), &json!(0)));
        assert_eq!((&spools["unreachable"], &checked["checked"]), (&json!(["mac: busy"]), &json!(true)));
    }
    // it was not there when the build ended
    spooled(&site, "ab\nC\n");
    let checked = site.admin().json(PATH).await;
    assert_eq!((&checked["spools"]["steps"], &checked["spools"]["compared"]), (&json!(1), &json!(0)));
    assert_eq!(checked["defects"][0]["kind"], "spool");
}

#[tokio::test]
async fn another_replica_has_agents_here_asked_with_the_controllers_token() {
    let site = Site::new().await;
    let steps = vec![SpoolAsked { step: "1".to_owned(), first: 2 }; MAX_SPOOLS];
    let asked = SpoolsAsked { build: BuildId(7), millis: 5_000, steps };
    let of = SpoolsOf { node: NodeName::parse("mac").unwrap(), instance: "i-mac".to_owned(), asked };
    let body = serde_json::to_string(&of).unwrap();
    assert_eq!(site.anon().send("POST", "/peer/spools", body.clone()).await.status, 401);
    assert_eq!(site.admin().send("POST", "/peer/spools", body.clone()).await.status, 401);
    assert_eq!(site.peer().get("/peer/spools").await.status, 405);
    assert_eq!(site.peer().send("POST", "/peer/spools", "{}").await.status, 400);
    let answer = site.peer().send("POST", "/peer/spools", body.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "Err": "no connection" })));
    spooled(&site, "abc");
    let answer = site.peer().send("POST", "/peer/spools", body).await.text();
    let told: Result<SpoolsTold, String> = serde_json::from_str(&answer).unwrap();
    let Ok(SpoolsTold::Kept { spools, .. }) = told else { panic!("{answer}") };
    assert_eq!(spools.len(), MAX_SPOOLS);
    assert_eq!(*site.nobody.asked.lock(), vec!["spools of mac i-mac"; 2]);
    // what a version answers that does not know the address: the asker tells it by this
    assert_eq!(site.peer().send("POST", "/peer/later", "{}").await.status, 401);
}

/// What is said of spools when the journal names no agent.
fn no_agents() -> Value {
    json!({
        "agents": 0, "asked": 0, "forgotten": 0, "steps": 0, "compared": 0, "lengths": 0, "lost": 0, "bytes": 0,
        "unreachable": [],
    })
}

fn sha256(text: &str) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(text))
}

#[tokio::test]
async fn planted_damage_is_found_with_its_offset() {
    type Chunks = BTreeMap<u64, Chunk>;
    type Raw = BTreeMap<String, u64>;
    type Damage = fn(&mut Chunks, &mut Raw, &mut u64);
    type Found = &'static [(&'static str, u64)];
    let planted: [(&str, Damage, Found); 8] = [
        ("a gap", |chunks, _, _| drop(chunks.remove(&0)), &[("gap", 0)]),
        ("lost output", |chunks, _, _| drop(chunks.remove(&9)), &[("gap", 9), ("rawEnd", 14)]),
        (
            "an overlap",
            |chunks, _, _| {
                let mut chunk = chunks[&12].clone();
                (chunk.offset, chunk.raw_from, chunk.raw_to) = (13, 5, 6);
                chunks.insert(13, chunk);
            },
            &[("overlap", 13), ("rawLength", 13), ("end", 14), ("rawEnd", 15)],
        ),
        ("a wrong end", |_, _, end| *end = 20, &[("end", 14)]),
        ("an end too early", |_, _, end| *end = 12, &[("rawEnd", 12)]),
        (
            "output that goes back",
            |chunks, _, _| chunks.get_mut(&12).unwrap().raw_from = 1,
            &[("rawBack", 12), ("rawLength", 12)],
        ),
        (
            "missing output",
            |chunks, _, _| chunks.get_mut(&12).unwrap().raw_from = 4,
            &[("rawGap", 12), ("rawLength", 12)],
        ),
        ("a wrong raw offset", |_, raw, _| *raw.get_mut("2").unwrap() = 7, &[("rawEnd", 14)]),
    ];
    for (what, damage, wanted) in planted {
        let (memory, site, taken) = running().await;
        memory.with(|state| {
            state.damage(taken.build, |chunks, raw, end| {
                damage(chunks, raw, end);
                // by somebody who knows of the sums
                chunks.values_mut().for_each(|chunk| chunk.sum = chunk.checksum());
            });
        });
        let checked = site.admin().json(PATH).await;
        let found: Vec<(&str, u64)> = checked["defects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| (d["kind"].as_str().unwrap(), d["offset"].as_u64().unwrap()))
            .collect();
        assert_eq!(found, wanted, "{what}: {checked}");
        assert_eq!(checked["defectCount"], wanted.len(), "{what}");
        assert_eq!(checked["checked"], true, "{what}");
    }
}

#[tokio::test]
async fn a_log_longer_than_its_row_says_is_found_when_the_build_has_ended() {
    let (memory, site, taken) = running().await;
    let finish = vec![Effect::Finish { result: BuildResult::Success, at: Millis(7_500), archive: false }];
    site.progress(&taken, 1, "", finish).await;
    memory.with(|state| state.damage(taken.build, |_, _, end| *end = 12));
    let checked = site.admin().json(PATH).await;
    assert_eq!(checked["defects"][0]["message"], "the log ends at 14, its row says 12");
}

/// What the review of the check has planted in a build that had ended.
#[tokio::test]
async fn damage_that_leaves_no_gap_is_found_when_the_build_has_ended() {
    type Chunks = BTreeMap<u64, Chunk>;
    type Damage = fn(&mut Chunks, &mut u64);
    let planted: [(&str, Damage, &str); 3] = [
        (
            "a shorter chunk, and the later ones moved",
            |chunks, end| {
                chunks.get_mut(&6).unwrap().bytes = Bytes::from_static(b"a");
                moved(chunks, 6, 2);
                *end -= 2;
            },
            "rawLength",
        ),
        (
            "the last chunk of a step gone, and the later ones moved",
            |chunks, end| {
                chunks.remove(&12);
                moved(chunks, 12, 2);
                *end -= 2;
            },
            "rawEnd",
        ),
        ("another text", |chunks, _| chunks.get_mut(&6).unwrap().bytes = Bytes::from_static(b"##\n"), "sum"),
    ];
    for (what, damage, wanted) in planted {
        let (memory, site, taken) = running().await;
        let ended = |step: &str, raw| {
            let (step, outcome) = (StepId(step.to_owned()), Outcome::Cancelled);
            let record = Record::Outcome { step, outcome, at: 1, raw: Some(raw) };
            Bytes::from(serde_json::to_vec(&record).unwrap())
        };
        let chunk = Chunk::new(14, String::new(), (0, 0), Millis(1), Bytes::from_static(b"end\n"));
        let progress = Progress {
            build: taken.build,
            owner: taken.owner,
            fence: taken.fence,
            seq: 1,
            first_record: 5,
            records: vec![ended("1", 5), ended("2", 1)],
            chunks: vec![chunk],
            log_end: 18,
            effects: vec![Effect::Finish { result: BuildResult::Success, at: Millis(7_500), archive: false }],
        };
        site.store.write(Write::Progress(Box::new(progress))).await.unwrap();
        assert_eq!(site.admin().json(PATH).await["defectCount"], 0);
        memory.with(|state| state.damage(taken.build, |chunks, _, end| damage(chunks, end)));
        let checked = site.admin().json(PATH).await;
        let kinds: Vec<&str> =
            checked["defects"].as_array().unwrap().iter().map(|d| d["kind"].as_str().unwrap()).collect();
        assert!(kinds.contains(&wanted), "{what}: {checked}");
        assert!(!kinds.contains(&"gap") && !kinds.contains(&"end"), "{what}: {checked}");
    }
}

/// Moves all chunks above `from` down by so many bytes.
fn moved(chunks: &mut BTreeMap<u64, Chunk>, from: u64, by: u64) {
    for (offset, chunk) in chunks.split_off(&(from + 1)) {
        chunks.insert(offset - by, Chunk { offset: offset - by, ..chunk });
    }
}

/// The log becomes an object as the engine would make it.
async fn archived(memory: &Memory, taken: &Taken) -> ArchivedLog {
    let mut packer = Packer::default();
    for chunk in memory.chunks(taken.build, 0).await.unwrap() {
        assert!(packer.add(&chunk).unwrap().is_none());
    }
    let segment = packer.last().unwrap().pack().unwrap();
    packer.wrote(0, segment.len());
    let (directory, log) = packer.finish(format!("{}/1.gz", prefix(taken.build))).unwrap();
    memory.kept().put(&log.object, Bytes::from([segment, directory].concat())).await.unwrap();
    let write = Write::LogArchived { build: taken.build, log: log.clone() };
    assert_eq!(memory.write(write).await, Ok(Answer::Bool(true)));
    log
}

#[tokio::test]
async fn a_log_that_has_become_an_object_is_read_and_checked_as_before() {
    let (memory, site, taken) = running().await;
    let finish = vec![Effect::Finish { result: BuildResult::Success, at: Millis(7_500), archive: true }];
    site.progress(&taken, 1, "end\n", finish).await;
    let before = site.admin().json(PATH).await;
    let text = site.admin().get("/job/hello/1/consoleText").await.text();
    let log = archived(&memory, &taken).await;
    let checked = site.admin().json(PATH).await;
    assert_eq!((&checked["object"], &checked["defectCount"]), (&json!(log.object), &json!(0)));
    assert_eq!(checked["sha256"], before["sha256"]);
    assert_eq!(site.admin().get("/job/hello/1/consoleText").await.text(), text);
    let rest = site.admin().get("/job/hello/1/logText/progressiveText?start=14").await;
    assert_eq!((rest.text().as_str(), rest.header("x-text-size")), ("end\r\n", "18"));

    let file = memory.kept().get(&log.object, 0, usize::MAX).await.unwrap().unwrap();
    memory.kept().put(&log.object, file.slice(..file.len() - 1)).await.unwrap();
    let checked = site.admin().json(PATH).await;
    assert_eq!((&checked["checked"], &checked["defectCount"]), (&json!(true), &json!(1)), "{checked}");
    assert_eq!(checked["defects"][0]["kind"], "unreadable");
    memory.kept().delete(&log.object).await.unwrap();
    let checked = site.admin().json(PATH).await;
    let gone = format!("the object {} of a log is gone", log.object);
    assert!(checked["defects"][0]["message"].as_str().unwrap().contains(&gone), "{checked}");
}

#[tokio::test]
async fn the_sum_of_the_first_bytes_is_told_if_the_log_has_them() {
    let (_, site, _) = running().await;
    let checked = site.admin().json(&format!("{PATH}?first=8")).await;
    assert_eq!(checked["firstSha256"], sha256("begin\nab"));
    assert_eq!(checked["sha256"], sha256("begin\nab\n\u{fffd}c\n"));
    assert!(site.admin().json(&format!("{PATH}?first=15")).await.get("firstSha256").is_none());
    assert_eq!(site.admin().get(&format!("{PATH}?first=x")).await.status, 400);
}

#[tokio::test]
async fn who_may_not_or_asks_too_much_gets_no_check() {
    let (_, site, _) = running().await;
    assert_eq!(site.anon().get(PATH).await.status, 401);
    assert_eq!(site.admin().post(PATH).await.status, 405);
    assert_eq!(site.admin().get("/job/hello/2/verifyLog/api/json").await.status, 404);
    assert_eq!(site.admin().get("/job/hello/1/verifyLog").await.status, 404);
    // answers that nobody reads yet
    let ask = || async {
        let request = Request::builder().uri(PATH).header("authorization", "Basic YWRtaW46cmlnaHQ=");
        site.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let (one, two) = (ask().await, ask().await);
    assert_eq!((one.status().as_u16(), two.status().as_u16()), (200, 200));
    let third = site.admin().get(PATH).await;
    assert_eq!((third.status.as_u16(), third.header("retry-after")), (503, "2"));
    drop(one);
    assert_eq!(site.admin().get(PATH).await.status, 200);
}
