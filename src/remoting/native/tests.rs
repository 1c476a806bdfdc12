use super::*;
use crate::ops::StepState;

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
