//! Agents that lie. Their builds may fail; nothing else may suffer.

use std::time::{Duration, Instant};

use model::{BuildId, Fence};
use remoting::native::{AgentInfo, Frame};
use remoting::ops::{Command, OpRequest, OpResult, Report, StepReport, StepState};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Asked, Controller, Hostile, shared};

/// A job that runs one step on the hostile node, begun: its number and the step.
fn begun(it: &Controller, hostile: &mut Hostile, script: &str) -> u64 {
    let script = format!("node('{}') {{ {script} }}", hostile.name);
    it.admin.create_job(&hostile.name, &script);
    it.admin.follow(&it.admin.trigger(&hostile.name, "build"))
}

fn abort(it: &Controller, job: &str, number: u64) -> String {
    it.admin.post(&format!("/job/{job}/{number}/stop")).expect(302);
    let begun = Instant::now();
    while it.admin.json(&format!("/job/{job}/{number}/api/json"))["building"] == true {
        // asked again, a build waits for nobody
        if begun.elapsed() > Duration::from_secs(8) {
            it.admin.post(&format!("/job/{job}/{number}/kill"));
        }
        std::thread::sleep(Duration::from_millis(100));
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{job} does not end: {}",
            it.admin.console(job, number)
        );
    }
    it.admin.result(job, number)
}

#[test]
fn output_that_skips_goes_back_or_changes_is_told_once() {
    let it = shared();
    let mut liar = Hostile::connect(it, "skips");
    let number = begun(it, &mut liar, "sh 'true'");
    let step = liar.started();
    liar.output(&step, 0, b"one\n");
    liar.output(&step, 0, b"ONE\n");
    liar.output(&step, 2, b"E\ntwo\n");
    it.admin.console_has("skips", number, "one\ntwo\n");
    // a gap: the owner claims again, and goes on from what it has
    liar.output(&step, 1 << 40, b"far away\n");
    let running = StepReport { step: step.step.clone(), state: StepState::Running, end: 8 };
    let from = loop {
        if let (_, _, Command::Follow { from, .. }) = liar.command(std::slice::from_ref(&running))
            && from > 0
        {
            break from;
        }
    };
    assert_eq!(from, 8);
    liar.output(&step, 8, b"three\n");
    liar.exited(&step, 0, 14);
    liar.exited(&step, 1, 99);
    liar.state(&step, StepState::Lost { why: "changed my mind".into() }, 1);
    assert_eq!(it.admin.result("skips", number), "SUCCESS");
    liar.exited(&step, 2, 14);
    liar.output(&step, 14, b"four\n");
    let console = it.admin.console("skips", number);
    assert!(console.contains("\none\ntwo\nthree\n[Pipeline] }"), "{console}");
    it.unharmed();
}

#[test]
fn steps_and_builds_that_are_not_there_and_wrong_fences_are_nothing() {
    let it = shared();
    let mut liar = Hostile::connect(it, "dreams");
    let number = begun(it, &mut liar, "sh 'true'");
    let step = liar.started();
    let strange = Asked { step: "99.9/9".into(), ..step.clone() };
    let fences = [0, -1, 1, i64::MIN, i64::MAX, step.fence.to_i64() + 1];
    let wrong = fences.map(|fence| Asked { fence: Fence::from_i64(fence), ..step.clone() });
    let builds = [0, -1, i64::MAX].map(|build| Asked { build: BuildId(build), ..step.clone() });
    for to in [strange].iter().chain(&wrong).chain(&builds) {
        liar.output(to, 0, b"dreamt\n");
        liar.exited(to, 0, 0);
        liar.report(to, Report::Claimed { steps: Vec::new(), rebooted: true });
        liar.report(to, Report::OpCredit { op: 1, upto: u64::MAX });
        liar.done(to, u64::MAX, OpResult::Done);
    }
    liar.output(&step, 0, b"awake\n");
    liar.exited(&step, 0, 6);
    assert_eq!(it.admin.result("dreams", number), "SUCCESS");
    let console = it.admin.console("dreams", number);
    assert!(console.contains("awake") && !console.contains("dreamt"), "{console}");
    it.unharmed();
}

#[test]
fn an_agent_says_nothing_of_builds_at_other_agents() {
    let it = Controller::start(1, 1);
    it.admin.create_job("honest", "node('agent-1') { sh 'sleep 3; echo honest' }");
    let number = it.admin.follow(&it.admin.trigger("honest", "build"));
    it.admin.console_has("honest", number, "+ sleep 3");
    let mut liar = Hostile::connect(&it, "forger");
    let own = begun(&it, &mut liar, "sh 'true'");
    let step = liar.started();
    for build in 0..=step.build.0 {
        for fence in -3..=3 {
            let fence = Fence::from_i64(step.fence.to_i64() + fence);
            let to = Asked { build: BuildId(build), fence, step: step.step.clone() };
            if build != step.build.0 {
                liar.output(&to, 0, b"forged\n");
                liar.exited(&to, 7, 7);
                liar.report(&to, Report::Refused { held: Fence::from_i64(step.fence.to_i64() + 1000) });
            }
        }
    }
    liar.exited(&step, 0, 0);
    assert_eq!(it.admin.result("forger", own), "SUCCESS");
    assert_eq!(it.admin.result("honest", number), "SUCCESS");
    let console = it.admin.console("honest", number);
    assert!(console.contains("\nhonest\n") && !console.contains("forged"), "{console}");
    it.unharmed();
}

#[test]
fn a_fence_that_cannot_be_fails_the_build_and_not_the_controller() {
    let it = Controller::start(1, 1);
    let mut liar = Hostile::connect(&it, "outranks");
    let number = begun(&it, &mut liar, "sh 'true'");
    let step = liar.started();
    for held in [i64::MAX, i64::MAX - 1, 1 << 62] {
        liar.report(&step, Report::Refused { held: Fence::from_i64(held) });
    }
    // it refuses every claim with a fence that is higher still
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline
        && it.admin.json(&format!("/job/outranks/{number}/api/json"))["building"] == true
    {
        if let Some(Some(Frame::Command(to))) = liar.next_within(Duration::from_millis(200)) {
            let held = Fence::from_i64(to.fence.to_i64() + (1 << 40));
            liar.report(
                &Asked { build: to.build, fence: to.fence, step: String::new() },
                Report::Refused { held },
            );
        }
    }
    assert_eq!(it.admin.result("outranks", number), "FAILURE");
    drop(liar);
    let (result, console) = it.admin.try_script("after", "node('agent-1') { sh 'echo fine' }");
    assert_eq!(result, "SUCCESS", "{console}");
}

#[test]
fn a_flood_of_output_is_not_kept() {
    // its memory is looked at
    let it = &Controller::start(1, 1);
    let mut liar = Hostile::connect(it, "floods");
    let number = begun(it, &mut liar, "sh 'true'");
    let step = liar.started();
    let before = it.memory();
    let piece = [b'x'; 32 * 1024];
    let began = Instant::now();
    let mut sent = 0u64;
    while began.elapsed() < Duration::from_secs(4) && liar.output(&step, sent, &piece) {
        sent += piece.len() as u64;
    }
    let grown = it.memory().saturating_sub(before);
    assert!(grown < 150, "{grown} MiB more after {} MiB", sent >> 20);
    assert_eq!(abort(it, "floods", number), "ABORTED");
    let (result, _) = it.admin.try_script("after-flood", "node('agent-1') { sh 'echo fine' }");
    assert_eq!(result, "SUCCESS");
    it.unharmed();
}

#[test]
fn a_line_without_end_is_cut_and_needs_little_memory() {
    // its memory is looked at
    let it = &Controller::start(1, 1);
    let size: u64 = 1 << 30;
    let mut liar = Hostile::connect(it, "long-line");
    let number = begun(it, &mut liar, "sh 'true'");
    let step = liar.started();
    let (mut sent, mut room, mut most) = (0u64, 0u64, 0);
    while sent < size {
        while sent + 32 * 1024 > room {
            if let (_, _, Command::Follow { upto, .. }) = liar.command(&[]) {
                room = upto;
            }
        }
        liar.output(&step, sent, &[b'y'; 32 * 1024]);
        sent += 32 * 1024;
        if sent.is_multiple_of(64 << 20) {
            most = most.max(it.memory());
        }
    }
    liar.exited(&step, 0, sent);
    assert_eq!(it.admin.result("long-line", number), "SUCCESS");
    assert!(most < 250, "{most} MiB");
    let near = size - (1 << 20);
    let end = it.admin.get(&format!("/job/long-line/{number}/logText/progressiveText?start={near}"));
    let all: u64 = end.header("x-text-size").parse().unwrap();
    assert!(all > size && all < size + (1 << 20), "{all}");
    assert!(end.text().starts_with("yyyy") && end.text().ends_with("Finished: SUCCESS\r\n"));
    it.admin.post("/job/long-line/doDelete").expect(302);
    it.unharmed();
}

#[test]
fn names_of_artifacts_that_lead_outside_are_refused() {
    let it = shared();
    let mut liar = Hostile::connect(it, "names");
    let list = |names: &[&str]| {
        names.iter().map(|n| serde_json::json!([n, 1]).to_string() + "\n").collect::<String>()
    };
    let many: String = (0..100_001).map(|n| format!("[\"f{n}\",1]\n")).collect();
    let lists = [
        (list(&["ok", "../../etc/passwd"]), "outside"),
        (list(&["/etc/passwd"]), "outside"),
        (list(&["a/../../b"]), "outside"),
        (list(&["a\0b"]), "outside"),
        (list(&["a\\..\\b"]), "outside"),
        (list(&["."]), "outside"),
        (list(&["x".repeat(5000).as_str()]), "outside"),
        (list(&["twice", "twice"]), "twice"),
        (many, "over the limit"),
        ("[\"a\"\n".to_owned(), "can't be read"),
        ("[".repeat(10_000), "can't be read"),
        ("\u{0}\u{1}\n".to_owned(), "can't be read"),
    ];
    it.admin.create_job("names", "node('names') { archiveArtifacts '**' }");
    for (list, wanted) in lists {
        let number = it.admin.follow(&it.admin.trigger("names", "build"));
        let (to, op, request) = liar.op();
        assert!(matches!(request, OpRequest::Glob { .. }), "{request:?}");
        liar.content(&to, op, list.as_bytes());
        liar.done(&to, op, OpResult::Count { files: 1, bytes: 1 });
        // what is asked for all the same is answered
        while it.admin.json(&format!("/job/names/{number}/api/json"))["building"] == true {
            let asked = liar.next_within(Duration::from_millis(50));
            if let Some(Some(Frame::Command(asked))) = asked {
                let to = Asked { build: asked.build, fence: asked.fence, step: String::new() };
                match asked.command {
                    Command::Claim => {
                        liar.report(&to, Report::Claimed { steps: Vec::new(), rebooted: false });
                    }
                    Command::Op { op, .. } => {
                        liar.content(&to, op, b"x");
                        liar.done(&to, op, OpResult::Done);
                    }
                    _ => {}
                }
            }
        }
        let console = it.admin.console("names", number);
        assert_eq!(it.admin.result("names", number), "FAILURE", "{wanted}: {console}");
        assert!(console.contains(wanted), "{wanted}: {console}");
        let build = it.admin.json(&format!("/job/names/{number}/api/json"));
        assert_eq!(build["artifacts"].as_array().unwrap().len(), 0);
    }
    it.unharmed();
}

#[test]
fn content_that_was_not_asked_for_is_refused_and_not_kept() {
    // its memory is looked at
    let it = &Controller::start(1, 1);
    let mut liar = Hostile::connect(it, "pushes");
    let number = begun(it, &mut liar, "stash 's'");
    let (to, op, request) = liar.op();
    assert!(matches!(request, OpRequest::Pack { .. }), "{request:?}");
    let before = it.memory();
    let piece = vec![7; 32 * 1024];
    let mut sent = 0u64;
    // without ever waiting for room
    while sent < 512 << 20 {
        let bytes = piece.clone().into();
        if !liar.report(&to, Report::OpData { op, offset: sent, bytes }) {
            break;
        }
        sent += piece.len() as u64;
        if sent.is_multiple_of(64 << 20)
            && it.admin.json(&format!("/job/pushes/{number}/api/json"))["building"] == false
        {
            break;
        }
    }
    let grown = it.memory().saturating_sub(before);
    assert!(grown < 150, "{grown} MiB more after {} MiB", sent >> 20);
    assert_eq!(it.admin.result("pushes", number), "FAILURE");
    it.unharmed();
}

#[test]
fn what_is_no_frame_ends_the_link() {
    let it = shared();
    let mut liar = Hostile::connect(it, "garbles");
    let hello = Frame::Hello(Box::new(AgentInfo { instance: "garbles".into(), ..AgentInfo::default() }));
    let garbage: Vec<Message> = vec![
        Message::Binary(vec![0xff; 64].into()),
        Message::Binary(Vec::new().into()),
        Message::Binary(vec![3, 0, 0, 0, b'{'].into()),
        Message::Binary([&[200, 0, 0, 0][..], &[b'['; 200]].concat().into()),
        Message::Text("hello".into()),
        Message::Binary(vec![0; 9 * 1024 * 1024].into()),
        Message::Binary(hello.clone().encode()),
        Message::Binary(Frame::Interval { millis: 1 }.encode()),
        Message::Ping(vec![0; 100].into()),
    ];
    for message in garbage {
        let ping = matches!(message, Message::Ping(_));
        let said = format!("{message:?}").chars().take(60).collect::<String>();
        liar.say(message);
        if ping {
            continue;
        }
        liar.closed(&said);
        liar = Hostile::dial(it, "garbles");
        liar.send(hello.clone());
        assert!(matches!(liar.next(), Some(Frame::Welcome(_))), "{said}");
    }
    // another one's greeting
    let mut liar = Hostile::dial(it, "garbles");
    let info = AgentInfo { instance: "other".into(), ..AgentInfo::default() };
    liar.send(Frame::Hello(Box::new(info)));
    liar.closed("a wrong greeting");
    assert!(it.admin.get("/computer/garbles/api/json").expect(200).body.len() < 100_000);
    it.unharmed();
}

#[test]
fn an_agent_that_does_not_answer_pings_is_left_and_its_build_can_be_ended() {
    let it = shared();
    let mut liar = Hostile::connect(it, "sleeps");
    let number = begun(it, &mut liar, "sh 'true'");
    liar.started();
    liar.answers_pings = false;
    liar.closed("silence");
    assert_eq!(abort(it, "sleeps", number), "ABORTED");
    it.unharmed();
}

#[test]
fn a_step_that_ends_beyond_all_it_prints_can_be_ended() {
    let it = shared();
    let mut liar = Hostile::connect(it, "endless");
    let number = begun(it, &mut liar, "sh 'true'");
    let step = liar.started();
    liar.exited(&step, 0, u64::MAX);
    liar.output(&step, u64::MAX - 3, b"end");
    std::thread::sleep(Duration::from_millis(500));
    let result = abort(it, "endless", number);
    assert!(matches!(result.as_str(), "ABORTED" | "FAILURE"), "{result}");
    it.unharmed();
}
