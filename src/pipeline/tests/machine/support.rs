//! A performer that performs nothing: it answers acts by a few words in their scripts, and keeps the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::act::{
    Act, ActKind, Began, BuildResult, Cause, Class, Data, Event, Failure, FailureKind, Granted, Language,
    Outcome, ParamValue, Record, Returns,
};
use pipeline::machine::{Divergence, Ended, Machine, Status};
use pipeline::program::Program;

/// What a build begins with.
pub(crate) fn began() -> Began {
    Began {
        format: 1,
        behaviour: 1,
        language: Language::Pipeline,
        program: String::new(),
        job: "folder/job".into(),
        number: 7,
        params: BTreeMap::from([
            ("WHO".to_owned(), ParamValue::Text("world".into())),
            ("FLAG".to_owned(), ParamValue::Flag(true)),
        ]),
        env: BTreeMap::from([
            ("BUILD_NUMBER".to_owned(), "7".to_owned()),
            ("JOB_NAME".to_owned(), "folder/job".to_owned()),
        ]),
        causes: vec![Cause::User { id: "alice".into(), name: "Alice A.".into() }],
        previous: None,
        earlier: Vec::new(),
        older: false,
        has_scm: false,
        at: 1_000_000,
    }
}

/// A Jenkinsfile never begins with a brace and a quote; what does is a Freestyle job.
pub(crate) fn program(source: &str) -> Arc<Program> {
    let language = if source.starts_with("{\"") { Language::Freestyle } else { Language::Pipeline };
    match Program::compile_in(language, source) {
        Ok(program) => Arc::new(program),
        Err(errors) => panic!("{source}\n{errors:#?}"),
    }
}

/// A build with its journal.
pub(crate) struct Build {
    pub(crate) machine: Machine,
    pub(crate) journal: Vec<Record>,
    pub(crate) acts: Vec<Act>,
    pub(crate) ended: Option<Ended>,
    /// What `readFile` finds.
    pub(crate) files: BTreeMap<String, String>,
    clock: u64,
    /// How many slices it may run yet; a build that used them up stands still.
    pub(crate) patience: u64,
}

impl Build {
    pub(crate) fn new(program: &Arc<Program>, began: &Began) -> Build {
        let mut build = Build {
            machine: Machine::new(program.clone(), began),
            journal: vec![Record::Began(began.clone())],
            acts: Vec::new(),
            ended: None,
            files: BTreeMap::new(),
            clock: began.at,
            patience: u64::MAX,
        };
        build.machine.feed(&Record::Began(began.clone())).unwrap();
        build
    }

    pub(crate) fn of(source: &str) -> Build {
        Build::of_began(source, &began())
    }

    pub(crate) fn of_began(source: &str, began: &Began) -> Build {
        let mut build = Build::new(&program(source), began);
        build.finish();
        build
    }

    /// A build that stands still, is aborted there by alice, and ends.
    pub(crate) fn aborted(source: &str) -> Build {
        let program = program(source);
        let mut build = Build::new(&program, &began());
        build.finish();
        assert!(build.ended.is_none(), "{source}\nended: {:#?}", build.story());
        build.abort("alice");
        build.finish();
        build.replays(&program);
        build
    }

    /// A build that ends, however often its journal changes hands.
    pub(crate) fn told(source: &str) -> Build {
        let program = program(source);
        let mut build = Build::new(&program, &began());
        build.finish();
        build.replays(&program);
        build
    }

    /// A build whose journal is this one, so far.
    pub(crate) fn replayed(program: &Arc<Program>, journal: &[Record]) -> Result<Build, Divergence> {
        let Record::Began(began) = &journal[0] else { panic!("a journal begins with Began") };
        let mut build = Build::new(program, began);
        for record in &journal[1..] {
            build.run();
            build.note_wanted(record);
            build.machine.feed(record)?;
            build.journal.push(record.clone());
            build.clock += 1;
        }
        build.run();
        Ok(build)
    }

    fn note_wanted(&mut self, record: &Record) {
        if let Record::Did { step, .. } | Record::Intent { step, .. } = record {
            let act = self.machine.wanted().iter().find(|a| a.step == *step).cloned();
            self.acts.extend(act);
        }
    }

    pub(crate) fn run(&mut self) {
        while self.patience > 0 {
            match self.machine.run(10_000) {
                Status::More => self.patience -= 1,
                Status::Waiting => return,
                Status::Done(ended) => {
                    self.ended = Some(ended);
                    return;
                }
            }
        }
    }

    pub(crate) fn feed(&mut self, record: Record) {
        self.run();
        if self.patience == 0 {
            return;
        }
        self.note_wanted(&record);
        self.machine.feed(&record).unwrap();
        self.journal.push(record);
        self.run();
    }

    pub(crate) fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(crate) fn abort(&mut self, by: &str) {
        let at = self.now();
        self.feed(Record::Event { key: format!("abort-{at}"), event: Event::Abort { by: by.into() }, at });
    }

    /// One move of the engine; false when nothing can move.
    pub(crate) fn advance(&mut self) -> bool {
        self.run();
        if self.ended.is_some() || self.patience == 0 {
            return false;
        }
        if let Some(act) = self.machine.wanted().first().cloned() {
            let (step, digest, at) = (act.step.clone(), act.digest(), self.now());
            self.feed(match act.class() {
                Class::Instant => Record::Did { step, digest, at },
                _ => Record::Intent { step, digest, at, deadline: None, agent: None },
            });
            return true;
        }
        let cancelled = self.machine.cancelled();
        let mut open: Vec<Act> = self.machine.open().cloned().collect();
        open.sort_by_key(|act| matches!(act.kind, ActKind::Timer { .. }));
        for act in open {
            let wanted_end = cancelled.iter().any(|c| c.0 == act.step);
            if let Some(outcome) = self.perform(&act, wanted_end) {
                let at = self.now();
                self.feed(Record::Outcome { step: act.step, outcome, at, raw: None });
                return true;
            }
        }
        false
    }

    pub(crate) fn finish(&mut self) {
        for _ in 0..200_000 {
            if !self.advance() {
                return;
            }
        }
        panic!("the build does not end");
    }

    fn perform(&mut self, act: &Act, cancelled: bool) -> Option<Outcome> {
        if cancelled {
            return Some(Outcome::Cancelled);
        }
        Some(Outcome::Done(match &act.kind {
            ActKind::Node { label, .. } if label.as_deref() == Some("nowhere") => return None,
            ActKind::Node { label, .. } => Data::Granted(granted(label.as_deref())),
            ActKind::Process(process) => {
                let mut words = process.script.trim().splitn(2, ' ');
                match (words.next().unwrap_or(""), words.next().unwrap_or("")) {
                    ("hang", _) => return None,
                    ("exit", status) => Data::Exit { status: status.parse().unwrap_or(1), stdout: None },
                    ("lost", _) => {
                        let message = "the agent is gone".to_owned();
                        return Some(Outcome::Failed(Failure { kind: FailureKind::Lost, message }));
                    }
                    ("out", text) => {
                        let stdout = (process.returns == Returns::Stdout).then(|| format!("{text}\n"));
                        Data::Exit { status: 0, stdout }
                    }
                    ("env", name) => {
                        let value = process.env.get(name).cloned().unwrap_or_default();
                        Data::Exit { status: 0, stdout: Some(value) }
                    }
                    _ => Data::Exit { status: 0, stdout: Some(String::new()) },
                }
            }
            ActKind::Checkout { .. } => {
                Data::Map(BTreeMap::from([("GIT_COMMIT".to_owned(), "abc123".to_owned())]))
            }
            ActKind::ReadFile { path, .. } => match self.files.get(path) {
                Some(text) => Data::Text(text.clone()),
                None => {
                    let message = path.clone();
                    return Some(Outcome::Failed(Failure { kind: FailureKind::NoSuchFile, message }));
                }
            },
            ActKind::WriteFile { path, text, .. } => {
                self.files.insert(path.clone(), text.clone());
                Data::None
            }
            ActKind::FileExists { path, .. } => Data::Flag(self.files.contains_key(path)),
            _ => Data::None,
        }))
    }

    /// Whoever takes the journal over, after any of its records, comes to the same end by the same acts.
    pub(crate) fn replays(&self, program: &Arc<Program>) {
        for cut in 1..=self.journal.len() {
            let mut other = Build::replayed(program, &self.journal[..cut]).unwrap();
            for record in &self.journal[cut..] {
                other.feed(record.clone());
            }
            assert_eq!(other.ended, self.ended, "cut at {cut}\n{:#?}", self.story());
            assert_eq!(other.acts, self.acts, "cut at {cut}");
        }
    }

    // -- what the log would show -----------------------------------------------------------------

    pub(crate) fn echoes(&self) -> Vec<String> {
        let echo = |act: &Act| match &act.kind {
            ActKind::Echo { text } if !is_shape(act) => Some(text.clone()),
            _ => None,
        };
        self.acts.iter().filter_map(echo).collect()
    }

    pub(crate) fn scripts(&self) -> Vec<String> {
        let script = |act: &Act| match &act.kind {
            ActKind::Process(process) => Some(process.script.clone()),
            _ => None,
        };
        self.acts.iter().filter_map(script).collect()
    }

    /// A line for each act, for comparing whole flows.
    pub(crate) fn story(&self) -> Vec<String> {
        self.acts.iter().filter(|act| !is_shape(act)).map(line).collect()
    }

    /// The same with what only shows that steps begin and end, line by line.
    pub(crate) fn shape(&self) -> Vec<String> {
        let lines = self.acts.iter().map(line).collect::<Vec<_>>().join("\n");
        lines.lines().map(|line| line.trim_start_matches("[Pipeline] ").to_owned()).collect()
    }

    pub(crate) fn result(&self) -> BuildResult {
        self.ended.as_ref().unwrap_or_else(|| panic!("not ended: {:#?}", self.story())).result
    }

    pub(crate) fn error(&self) -> String {
        self.ended.as_ref().and_then(|e| e.error.clone()).unwrap_or_default()
    }
}

pub(crate) fn granted(label: Option<&str>) -> Granted {
    let label = label.unwrap_or("agent");
    Granted {
        node: format!("{label}-1"),
        executor: 0,
        workspace: "/ws/job".into(),
        unix: !label.contains("windows"),
        labels: vec![label.to_owned()],
        env: BTreeMap::from([
            ("PATH".to_owned(), "/bin".to_owned()),
            ("HOME".to_owned(), "/home/ci".to_owned()),
        ]),
    }
}

/// Whether it only shows that a step begins or ends.
fn is_shape(act: &Act) -> bool {
    let shape = |text: &str| text.starts_with("[Pipeline] ") || text == "Post stage";
    act.line == 0 && matches!(&act.kind, ActKind::Echo { text } if shape(text))
}

fn line(act: &Act) -> String {
    match &act.kind {
        ActKind::Echo { text } => text.clone(),
        ActKind::BlockStart { name, .. } => format!("{{ {name}"),
        ActKind::BlockEnd { result, skipped, .. } if *skipped => format!("}} skipped {result:?}"),
        ActKind::BlockEnd { result, .. } => format!("}} {result:?}"),
        ActKind::SetResult { result } => format!("result {result:?}"),
        ActKind::SetDisplayName { name } => format!("name {name}"),
        ActKind::SetDescription { text } => format!("description {text}"),
        ActKind::ReleaseNode { .. } => "release".into(),
        ActKind::CancelTimer { .. } => "cancel timer".into(),
        ActKind::Node { label, .. } => format!("node {}", label.as_deref().unwrap_or("any")),
        ActKind::Sleep { millis } => format!("sleep {millis}"),
        ActKind::Timer { millis, activity: false } => format!("timer {millis}"),
        ActKind::Timer { millis, activity: true } => format!("timer {millis} of silence"),
        ActKind::Process(process) => format!("sh {}", process.script.trim()),
        ActKind::Checkout { scm, .. } => match scm {
            pipeline::act::Scm::Job => "checkout".into(),
            pipeline::act::Scm::Git { url, branch, .. } => format!("{} {url} {branch}", act.name()),
        },
        ActKind::ReadFile { path, .. } => format!("read {path}"),
        ActKind::WriteFile { path, .. } => format!("write {path}"),
        ActKind::FileExists { path, .. } => format!("exists {path}"),
        ActKind::DeleteDir { place } => format!("delete {}", place.dir),
        ActKind::Stash { name, .. } => format!("stash {name}"),
        ActKind::Unstash { name, .. } => format!("unstash {name}"),
        ActKind::ArchiveArtifacts { includes, .. } => format!("archive {includes}"),
        ActKind::Trigger { jobs } => format!("trigger {}", jobs.join(", ")),
    }
}
