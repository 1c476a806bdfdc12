//! A journal is the whole truth: whoever replays it stands where the one who wrote it stood.

use std::sync::Arc;

use pipeline::act::{Act, Began, Data, Outcome, ParamValue, Record, StepId};
use pipeline::program::Program;

use crate::corpus::CORPUS;
use crate::support::{Build, began, program};

fn started() -> Began {
    Began { has_scm: true, ..began() }
}

fn live(program: &Arc<Program>) -> Build {
    let mut build = Build::new(program, &started());
    build.finish();
    build
}

fn open(build: &Build) -> Vec<Act> {
    build.machine.open().cloned().collect()
}

fn same(a: &Build, b: &Build, what: &str) {
    assert_eq!(a.journal, b.journal, "{what}");
    assert_eq!(a.ended, b.ended, "{what}");
    assert_eq!(a.acts, b.acts, "{what}");
}

#[test]
fn every_cut_of_every_journal_goes_on_to_the_same_end() {
    for source in CORPUS {
        let program = program(source);
        let whole = live(&program);
        assert!(whole.ended.is_some(), "{source}\n{:#?}", whole.story());
        let mut walker = Build::new(&program, &started());
        for cut in 1..=whole.journal.len() {
            let mut replayed = Build::replayed(&program, &whole.journal[..cut]).unwrap();
            walker.run();
            assert_eq!(replayed.machine.wanted(), walker.machine.wanted(), "{source} cut at {cut}");
            assert_eq!(open(&replayed), open(&walker), "{source} cut at {cut}");
            assert_eq!(replayed.machine.cancelled(), walker.machine.cancelled());
            replayed.files.clone_from(&whole.files);
            replayed.finish();
            same(&replayed, &whole, source);
            if let Some(next) = whole.journal.get(cut) {
                walker.feed(next.clone());
            }
        }
    }
}

#[test]
fn slices_do_not_change_what_happens() {
    for source in CORPUS {
        let program = program(source);
        let whole = live(&program);
        let mut sliced = Build::new(&program, &started());
        for record in &whole.journal[1..] {
            while sliced.machine.run(1) == pipeline::machine::Status::More {}
            sliced.feed(record.clone());
        }
        assert_eq!(sliced.ended, whole.ended, "{source}");
    }
}

#[test]
fn a_record_that_comes_before_the_machine_rests_is_waited_for() {
    for source in CORPUS {
        let program = program(source);
        let whole = live(&program);
        let mut machine = pipeline::machine::Machine::new(program, &started());
        for record in &whole.journal {
            machine.feed(record).unwrap();
        }
        while machine.run(1_000_000) == pipeline::machine::Status::More {}
        assert_eq!(machine.run(0), pipeline::machine::Status::Done(whole.ended.unwrap()), "{source}");
    }
}

#[test]
fn an_outcome_that_comes_twice_counts_once() {
    for source in CORPUS {
        let program = program(source);
        let whole = live(&program);
        let mut doubled = Vec::new();
        for record in &whole.journal {
            doubled.push(record.clone());
            if matches!(record, Record::Outcome { .. }) {
                doubled.push(record.clone());
            }
        }
        let replayed = Build::replayed(&program, &doubled).unwrap();
        assert_eq!(replayed.ended, whole.ended, "{source}");
        assert_eq!(replayed.acts, whole.acts, "{source}");
    }
}

#[test]
fn an_altered_record_is_noticed_and_named() {
    for source in CORPUS {
        let program = program(source);
        let whole = live(&program);
        for at in 1..whole.journal.len() {
            let mut altered = whole.journal.clone();
            let (Record::Did { step, digest, .. } | Record::Intent { step, digest, .. }) = &mut altered[at]
            else {
                continue;
            };
            let step = step.clone();
            *digest = "0123456789abcdef".into();
            let divergence = Build::replayed(&program, &altered[..=at]).err().unwrap();
            assert_eq!(divergence.step, step, "{source}");
            assert!(divergence.to_string().contains("differs from the machine at step"), "{divergence}");
        }
    }
}

#[test]
fn another_program_does_not_fit_the_journal() {
    let journal = live(&program("node { sh 'a' }")).journal;
    let divergence = Build::replayed(&program("node { sh 'b' }"), &journal).err().unwrap();
    assert_eq!(divergence.step, StepId("1".into()));
    let divergence = Build::replayed(&program("echo 'x'"), &journal).err().unwrap();
    assert_eq!(divergence.step, StepId("0".into()));
}

#[test]
fn an_outcome_of_a_step_that_nobody_knows_is_refused() {
    let mut build = Build::new(&program("node { }"), &began());
    build.run();
    let record = Record::Outcome {
        step: StepId("9".into()),
        outcome: pipeline::act::Outcome::Cancelled,
        at: 1,
        raw: None,
    };
    assert_eq!(build.machine.feed(&record).unwrap_err().step.0, "9");
}

#[test]
fn a_machine_can_be_cloned_and_both_go_on() {
    let program = program(CORPUS[3]);
    let whole = live(&program);
    let mut build = Build::new(&program, &started());
    for record in &whole.journal[1..5] {
        build.feed(record.clone());
    }
    let mut twin = build.machine.clone();
    for record in &whole.journal[5..] {
        build.feed(record.clone());
        twin.feed(record).unwrap();
    }
    while twin.run(1000) == pipeline::machine::Status::More {}
    assert_eq!(twin.run(1000), pipeline::machine::Status::Done(build.ended.unwrap()));
}

#[test]
fn records_keep_their_form() {
    for source in CORPUS {
        for record in live(&program(source)).journal {
            let json = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
            assert!(json.len() < 65_536);
        }
    }
    let build = live(&program("node { sh 'a' }"));
    let digests: Vec<String> = build.acts.iter().map(Act::digest).collect();
    assert_eq!(digests[0].len(), 16);
    assert_ne!(digests[0], digests[1]);
}

#[test]
fn a_text_kept_outside_of_the_journal_must_be_put_back() {
    let (hash, size) = ("cd".to_owned(), 100_000);
    let data =
        [Data::Object { hash: hash.clone(), size }, Data::ExitObject { status: 0, hash: hash.clone(), size }];
    for data in data {
        let program = program("node { echo sh(script: 'out x', returnStdout: true) }");
        let whole = live(&program);
        let at = whole.journal.iter().rposition(|r| matches!(r, Record::Outcome { .. })).unwrap();
        let mut journal = whole.journal.clone();
        let Record::Outcome { outcome, .. } = &mut journal[at] else { panic!("found above") };
        *outcome = Outcome::Done(data);
        let json = serde_json::to_string(&journal[at]).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), journal[at]);
        let divergence = Build::replayed(&program, &journal).err().unwrap();
        assert_eq!(divergence.step.0, "1", "{json}");
        assert!(divergence.message.contains("was not put back"), "{divergence}");
    }
    let json = serde_json::to_string(&Data::ExitObject { status: 3, hash, size }).unwrap();
    assert_eq!(json, r#"{"exitObject":{"status":3,"hash":"cd","size":100000}}"#);
}

#[test]
fn parameters_are_in_the_environment_whether_or_not_the_journal_repeats_them() {
    let program = program(
        "node { echo \"${env.FLAG} $FLAG ${env.WHO} ${params.FLAG == true} ${env.JOB_NAME} ${env.getEnvironment().WHO}\"; withEnv(['X=${WHO}!']) { sh 'env X' } }",
    );
    let mut once = started();
    once.params.insert("JOB_NAME".into(), ParamValue::Text("hidden".into()));
    let mut twice = once.clone();
    twice.env.extend(once.params.iter().map(|(name, value)| (name.clone(), value.to_string())));
    let [once, twice] = [once, twice].map(|began| {
        let mut build = Build::new(&program, &began);
        build.finish();
        build
    });
    assert_eq!(once.echoes(), ["true true world true hidden world"], "{}", once.error());
    assert_eq!(once.acts, twice.acts);
    assert_eq!(once.journal[1..], twice.journal[1..]);
    let sh = once.acts.iter().find_map(|act| match &act.kind {
        pipeline::act::ActKind::Process(process) => Some(process),
        _ => None,
    });
    let process = sh.unwrap_or_else(|| panic!("{:?}", once.story()));
    for (name, value) in [("FLAG", "true"), ("WHO", "world"), ("X", "world!"), ("JOB_NAME", "hidden")] {
        assert_eq!(process.env.get(name).map(String::as_str), Some(value), "{name}");
    }
}
