use super::*;
use crate::ops::StepState;
use crate::spools::{Held, Spool, SpoolAsked};

fn samples() -> Vec<Frame> {
    let (build, fence) = (BuildId(12), Fence::first(3));
    let spec = StartSpec {
        shell: "sh".into(),
        script: "echo \"é\"\n".into(),
        dir: "/w".into(),
        env: BTreeMap::from([("A".into(), "1".into())]),
        capture: false,
    };
    let files = crate::ops::FileSet {
        includes: "**/*.jar".into(),
        excludes: String::new(),
        default_excludes: true,
        case_sensitive: true,
    };
    let step = "7.1/0".to_owned();
    let bytes = Bytes::from_static(b"\0\xff{}");
    let commands = [
        Command::Claim,
        Command::Start { step: step.clone(), spec: Box::new(spec) },
        Command::Follow { step: step.clone(), from: 1, upto: 2 },
        Command::Kill { step: step.clone(), grace_millis: 5000 },
        Command::Op { op: 4, request: Box::new(OpRequest::Pack { dir: "/w".into(), files }) },
        Command::OpData { op: 4, offset: 9, last: true, bytes: bytes.clone() },
        Command::OpCredit { op: 4, upto: 1 << 40 },
        Command::OpCancel { op: 4 },
        Command::Forget,
    ];
    let running = StepReport { step: step.clone(), state: StepState::Running, end: 5 };
    let lost = StepReport { step: step.clone(), state: StepState::Lost { why: "gone".into() }, end: 5 };
    let reports = [
        Report::Claimed { steps: vec![running.clone(), lost], rebooted: true },
        Report::Refused { held: Fence::first(9) },
        Report::Step(running),
        Report::Output { step, offset: 77, bytes: bytes.clone() },
        Report::OpData { op: 4, offset: 0, bytes },
        Report::OpCredit { op: 4, upto: 12 },
        Report::OpDone { op: 4, result: OpResult::Count { files: 1, bytes: 2 } },
    ];
    let mut all = vec![
        Frame::Hello(Box::new(AgentInfo { instance: "i".into(), ..AgentInfo::default() })),
        Frame::Welcome(Welcome { replica: "r-0".into(), link: 8, controller: "c".into() }),
        Frame::Ping(1),
        Frame::Pong(1),
        Frame::Interval { millis: 2000 },
        Frame::Bye { reason: "drained".into() },
        Frame::Builds { builds: vec![(build, fence), (BuildId(13), fence)] },
    ];
    let asked = |step: &str, first| SpoolAsked { step: step.into(), first };
    let steps = vec![asked("1", 0), asked("7.1/0", u64::MAX)];
    all.push(Frame::Spools { ask: 3, asked: SpoolsAsked { build, millis: 5_000, steps } });
    let spools = [
        Held::Spool { end: 5, sha256: None },
        Held::Spool { end: u64::MAX, sha256: Some("ab12".into()) },
        Held::Nothing,
        Held::Unreadable { why: "é".into() },
    ];
    let spools = spools.map(|held| Spool { step: "1".into(), held }).to_vec();
    for told in [
        SpoolsTold::Kept { rebooted: true, spools },
        SpoolsTold::Nothing,
        SpoolsTold::Failed { why: "busy".into() },
    ] {
        all.push(Frame::Spooled { ask: 3, told });
    }
    all.extend(commands.map(|command| Frame::Command(ToAgent { build, fence, command })));
    all.extend(reports.map(|report| Frame::Report(FromAgent { build, fence, report })));
    all
}

#[test]
fn every_frame_is_read_as_it_was_written() {
    for frame in samples() {
        assert_eq!(Frame::decode(frame.clone().encode()), Ok(frame));
    }
}

#[test]
fn a_cut_or_damaged_frame_is_an_error_and_never_a_panic() {
    for frame in samples() {
        let whole = frame.encode();
        let header = 4 + u32::from_le_bytes(whole[..4].try_into().unwrap()) as usize;
        for cut in 0..header {
            assert!(Frame::decode(whole.slice(..cut)).is_err());
        }
        for at in 0..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0x55;
            let _ = Frame::decode(damaged.into());
        }
    }
    assert_eq!(
        Frame::decode(Bytes::from_static(&[255, 255, 255, 255, 1])),
        Err(FrameError::Large(u32::MAX as usize))
    );
    let mut large = Frame::Ping(1).encode().to_vec();
    large.resize(large.len() + MAX_PIECE + 1, 0);
    assert_eq!(Frame::decode(large.into()), Err(FrameError::Content(MAX_PIECE + 1)));
}

#[test]
fn a_frame_names_a_thousand_builds_and_no_more() {
    let builds = |count: usize| Frame::Builds { builds: vec![(BuildId(1), Fence::first(1)); count] };
    assert_eq!(Frame::decode(builds(MAX_BUILDS).encode()), Ok(builds(MAX_BUILDS)));
    let more = MAX_BUILDS + 1;
    assert_eq!(Frame::decode(builds(more).encode()), Err(FrameError::Builds(more)));
}

#[test]
fn no_more_spools_are_asked_for_or_told_of_than_the_limit() {
    let asked = |count: usize| {
        let steps = vec![SpoolAsked { step: "1".into(), first: 1 }; count];
        Frame::Spools { ask: 1, asked: SpoolsAsked { build: BuildId(1), millis: 1, steps } }
    };
    let told = |count: usize| {
        let spools = vec![Spool { step: "1".into(), held: Held::Nothing }; count];
        Frame::Spooled { ask: 1, told: SpoolsTold::Kept { rebooted: false, spools } }
    };
    let more = MAX_SPOOLS + 1;
    for frame in [asked as fn(usize) -> Frame, told] {
        assert_eq!(Frame::decode(frame(MAX_SPOOLS).encode()), Ok(frame(MAX_SPOOLS)));
        assert_eq!(Frame::decode(frame(more).encode()), Err(FrameError::Spools(more)));
    }
}

#[test]
fn an_agent_that_does_not_speak_of_spools_knows_nothing_of_them() {
    let text = br#"{"t":"hello","version":"1","instance":"i","pid":1,"hostname":"h","os":"linux","arch":"x","unix":true,
        "workDir":"/w","env":{}}"#;
    let mut message = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
    message.extend(text);
    let Ok(Frame::Hello(info)) = Frame::decode(message.into()) else { panic!("no greeting") };
    assert!(!info.spools);
}
