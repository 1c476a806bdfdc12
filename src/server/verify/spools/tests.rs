use bytes::Bytes;
use model::Millis;
use pipeline::act::{Granted, StepId};

use super::*;

const BUILD: BuildId = BuildId(7);

fn granted(step: &str, node: &str, instance: &str) -> Vec<u8> {
    let env = BTreeMap::from([(INSTANCE_ENV.to_owned(), instance.to_owned())]);
    let (node, workspace, labels) = (node.to_owned(), "/w".to_owned(), Vec::new());
    let granted = Granted { node, executor: 0, workspace, unix: true, labels, env };
    let outcome = Outcome::Done(Data::Granted(granted));
    serde_json::to_vec(&Record::Outcome { step: StepId(step.to_owned()), outcome, at: 1, raw: None }).unwrap()
}

fn intent(step: &str, instance: Option<&str>) -> Vec<u8> {
    let (step, digest, agent) = (StepId(step.to_owned()), String::new(), instance.map(str::to_owned));
    serde_json::to_vec(&Record::Intent { step, digest, at: 1, deadline: None, agent }).unwrap()
}

/// `mac` was given the steps 1 and 2, `linux` the step 3.
fn journal() -> Journal {
    let mut journal = Journal::default();
    for record in [
        granted("0", "mac", "i-mac"),
        intent("1", Some("i-mac")),
        intent("2", Some("i-mac")),
        granted("2.1/0", "linux", "i-linux"),
        intent("3", Some("i-linux")),
        // who can't be asked is nobody
        granted("4", "old", ""),
        granted("5", "no/node", "i-bad"),
        intent("6", Some("")),
        intent("7", None),
        b"no record".to_vec(),
    ] {
        journal.record(&record);
    }
    journal
}

fn mac() -> Agent {
    Agent { node: NodeName::parse("mac").unwrap(), instance: "i-mac".to_owned() }
}

/// Chunks as they were made of what a step has printed: offset, raw range, text.
fn printed(step: &str, chunks: &[(u64, (u64, u64), &'static str)]) -> Printed {
    let mut printed = Printed::default();
    for (offset, raw, text) in chunks {
        let bytes = Bytes::from_static(text.as_bytes());
        printed.chunk(&Chunk::new(*offset, step.to_owned(), *raw, Millis(1), bytes));
        printed.chunk(&Chunk::new(*offset, String::new(), (0, 0), Millis(1), Bytes::from_static(b"word")));
    }
    printed
}

fn sum(bytes: &[u8]) -> Option<String> {
    Some(hex::encode(Sha256::digest(bytes)))
}

/// What an agent says that has this in its spools, to a question.
fn says(asked: &SpoolsAsked, spools: &[(&str, &[u8])], rebooted: bool) -> SpoolsTold {
    let held = |asked: &SpoolAsked| match spools.iter().find(|(step, _)| *step == asked.step) {
        None => Held::Nothing,
        Some((_, bytes)) => {
            let first = usize::try_from(asked.first).unwrap();
            let sha256 = bytes.get(..first).filter(|_| first > 0).and_then(sum);
            Held::Spool { end: bytes.len() as u64, sha256 }
        }
    };
    let spools = asked.steps.iter().map(|asked| Spool { step: asked.step.clone(), held: held(asked) });
    SpoolsTold::Kept { rebooted, spools: spools.collect() }
}

/// What is made of what the agent of `mac` says, whose build runs.
fn judged(
    printed: &Printed,
    answer: impl Fn(&SpoolsAsked) -> Result<SpoolsTold, String>,
    building: bool,
) -> (Spools, Vec<Defect>) {
    let journal = journal();
    let questions = printed.questions(BUILD, &mac(), &journal);
    let answers: Vec<_> = questions.into_iter().map(|asked| (asked.clone(), answer(&asked))).collect();
    let mut spools = Spools::of(&journal);
    let defects = spools.told(&mac(), &answers, printed, building);
    (spools, defects)
}

#[test]
fn the_journal_says_which_agents_have_which_steps() {
    let journal = journal();
    let named: Vec<(String, String)> =
        journal.agents().into_iter().map(|agent| (agent.node.to_string(), agent.instance)).collect();
    let agent = |node: &str| (node.to_owned(), format!("i-{node}"));
    assert_eq!(named, [agent("linux"), agent("mac")]);
    let mut all = printed("1", &[(0, (0, 2), "ab")]);
    for step in ["2", "3", "6", "7", "99"] {
        all.steps.extend(printed(step, &[(9, (0, 1), "x")]).steps);
    }
    let asked = all.questions(BUILD, &mac(), &journal);
    let step = |step: &str, first| SpoolAsked { step: step.to_owned(), first };
    let steps = vec![step("1", 2), step("2", 1)];
    assert_eq!(asked, [SpoolsAsked { build: BUILD, millis: 5_000, steps }]);
    let nothing = Printed::default().questions(BUILD, &mac(), &journal);
    assert_eq!(nothing, [question(BUILD, Vec::new())]);
}

#[test]
fn a_question_is_short_and_has_time_for_what_is_to_be_summed() {
    let mut journal = journal();
    let mut all = Printed::default();
    let mut print = |step: String, summed: u64| {
        journal.record(&intent(&step, Some("i-mac")));
        all.steps.extend(printed(&step, &[(0, (0, 1), "x")]).steps);
        all.steps.get_mut(&step).unwrap().summed = summed;
    };
    (0..2 * MAX_SPOOLS + 1).for_each(|n| print(format!("1.{n:04}"), 1));
    print("2.1".to_owned(), 10 * 1024 * MAX_BYTES / 256);
    print("2.2".to_owned(), MAX_BYTES);
    print("2.3".to_owned(), 1);
    print("2.4".to_owned(), u64::MAX);
    print("2.5".to_owned(), u64::MAX);
    let questions = all.questions(BUILD, &mac(), &journal);
    let told: Vec<(usize, u64)> = questions.iter().map(|asked| (asked.steps.len(), asked.millis)).collect();
    let (whole, second) = (u64::MAX / BYTES_A_SECOND + MILLIS, MILLIS + 16_000);
    let wanted = [(200, 5_000), (200, 5_000), (1, 5_000), (1, 645_000), (1, second), (1, 5_000)];
    assert_eq!(told[..6], wanted);
    assert!(told[6..].iter().all(|(steps, millis)| *steps == 1 && *millis >= whole), "{told:?}");
    assert_eq!(questions.iter().map(|asked| asked.steps.len()).sum::<usize>(), 2 * MAX_SPOOLS + 6);
}

#[test]
fn what_the_log_has_of_a_step_is_what_its_spool_begins_with() {
    let log = [(5, (0, 3), "ab\n"), (12, (3, 5), "c\n")];
    for (spool, rebooted, wanted) in [
        (&b"ab\nc\n"[..], false, None),
        (b"ab\nc\nnot committed yet", false, None),
        (
            b"ab\nc",
            false,
            Some((Kind::SpoolEnd, "the log has 5 bytes of step 1, its spool at agent mac has 4")),
        ),
        (b"", false, Some((Kind::SpoolEnd, "the log has 5 bytes of step 1, its spool at agent mac has 0"))),
        (
            b"ab\nC\n",
            false,
            Some((Kind::Spool, "the first 5 bytes of step 1 are not those of its spool at agent mac")),
        ),
        (b"ab\nC\n", true, None),
        (b"ab\n", true, None),
        (b"ab\nc\n", true, None),
    ] {
        let answer = |asked: &SpoolsAsked| Ok(says(asked, &[("1", spool)], rebooted));
        let (spools, defects) = judged(&printed("1", &log), answer, true);
        let right = spool.starts_with(b"ab\nc\n");
        let wanted = wanted.map(|(kind, message): (Kind, &str)| Defect {
            kind,
            offset: 5,
            step: "1".to_owned(),
            message: message.to_owned(),
        });
        assert_eq!(defects, wanted.into_iter().collect::<Vec<_>>(), "{spool:?} {rebooted}");
        let counted = Spools {
            agents: 2,
            asked: 1,
            steps: 1,
            compared: u64::from(right),
            lost: u64::from(!right && rebooted),
            bytes: if right { 5 } else { 0 },
            ..Spools::default()
        };
        assert_eq!(spools, counted, "{spool:?} {rebooted}");
    }
    let none = |asked: &SpoolsAsked| Ok(says(asked, &[], false));
    let (_, defects) = judged(&printed("1", &log), none, true);
    assert_eq!(defects[0].kind, Kind::SpoolEnd, "the agent keeps the build and has nothing of the step");
}

#[test]
fn bytes_that_were_replaced_are_not_compared_and_those_before_them_are() {
    // three bytes that are no UTF-8 may become one mark, which is as long
    let log = [(0, (0, 3), "ab\n"), (3, (3, 6), "\u{fffd}"), (6, (6, 8), "c\n")];
    for (spool, wanted) in [
        (&b"ab\n\xf0\x9f\x98c\n"[..], None),
        (b"ab\n\xf0\x9f\x98C\n", None),
        (b"aB\n\xf0\x9f\x98c\n", Some(Kind::Spool)),
        (b"ab\n\xf0\x9f\x98c", Some(Kind::SpoolEnd)),
    ] {
        let answer = |asked: &SpoolsAsked| Ok(says(asked, &[("1", spool)], false));
        let (spools, defects) = judged(&printed("1", &log), answer, true);
        assert_eq!(defects.first().map(|defect| defect.kind), wanted, "{spool:?}");
        let right = u64::from(wanted.is_none());
        assert_eq!((spools.compared, spools.lengths, spools.bytes), (0, right, 3 * right), "{spool:?}");
    }
    // the log itself has a hole, which its check tells: only what is before it can be compared
    let hole = printed("1", &[(0, (0, 3), "ab\n"), (3, (5, 6), "x"), (4, (6, 7), "y")]);
    let (spools, defects) = judged(&hole, |asked| Ok(says(asked, &[("1", b"ab\n--xy")], false)), true);
    assert_eq!((defects, spools.lengths, spools.bytes), (vec![], 1, 3));
}

#[test]
fn who_does_not_answer_is_told_by_name_and_is_no_defect() {
    let log = printed("1", &[(0, (0, 1), "a")]);
    type Answer = Result<SpoolsTold, String>;
    type Case = (Answer, bool, (u64, u64), &'static [&'static str]);
    let strange = Spool { step: "9".to_owned(), held: Held::Nothing };
    let unreadable = Held::Unreadable { why: "no rights".to_owned() };
    let unreadable = Spool { step: "1".to_owned(), held: unreadable };
    let kept = |spools| Ok(SpoolsTold::Kept { rebooted: false, spools });
    let cases: [Case; 7] = [
        (Err("no connection".to_owned()), true, (0, 0), &["mac: no connection"]),
        (Ok(SpoolsTold::Failed { why: "busy".to_owned() }), true, (1, 0), &["mac: busy"]),
        (Ok(SpoolsTold::Nothing), true, (1, 0), &["mac: it keeps nothing of this build"]),
        (Ok(SpoolsTold::Nothing), false, (1, 1), &[]),
        (kept(vec![strange]), true, (1, 0), &["mac: it answers what was not asked"]),
        (kept(vec![]), true, (1, 0), &["mac: it answers what was not asked"]),
        (kept(vec![unreadable]), true, (1, 0), &["mac: the spool of step 1: no rights"]),
    ];
    for (answer, building, (asked, forgotten), unreachable) in cases {
        let (spools, defects) = judged(&log, |_| answer.clone(), building);
        assert_eq!(defects, [], "{answer:?}");
        let wanted = Spools {
            agents: 2,
            asked,
            forgotten,
            unreachable: unreachable.iter().map(|text| (*text).to_owned()).collect(),
            ..Spools::default()
        };
        assert_eq!(spools, wanted, "{answer:?}");
    }
    let (spools, _) = judged(&Printed::default(), |_| Ok(SpoolsTold::Nothing), true);
    assert_eq!(spools.unreachable, [] as [String; 0], "it was not needed yet");
    let (spools, _) = judged(&log, |_| Err("é".repeat(9_999)), true);
    assert_eq!(spools.unreachable[0].chars().count(), "mac: ".len() + MAX_WHY);
}
