//! What a build did and when, as spans: made of its journal when it has ended, so that nothing has to be remembered while
//! it runs, and a build that was adopted is one trace like any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{BuildId, BuildResult, JobName, Millis};
use pipeline::act::{Act, ActKind, Began, BlockKind, Data, Language, Outcome, Record, StepId};
use pipeline::machine::{Machine, Status};
use pipeline::program::Program;

use crate::service::Shared;
use crate::start::{self, Gone, NoDriver};

/// Instructions of the machine at once.
const SLICE: u64 = 200_000;
/// Most spans of one build; those of later steps are left out.
pub const MOST_SPANS: usize = 5_000;

/// A build that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildTrace {
    /// Identity of the controller, which makes builds of two of them different.
    pub controller: String,
    pub build: BuildId,
    pub job: JobName,
    pub number: u64,
    pub result: BuildResult,
    /// `pipeline` or `freestyle`.
    pub language: &'static str,
    /// Where users see it; `None` when no address is configured.
    pub url: Option<String>,
    pub queued_at: Millis,
    pub started_at: Millis,
    pub ended_at: Millis,
    pub spans: Vec<Span>,
    /// Spans that are left out.
    pub left_out: usize,
}

/// What a span is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    Stage,
    /// A branch of a `parallel`.
    Branch,
    /// From when an executor was wanted until it was given.
    Allocation,
    /// From then until it was given back.
    Node,
    Step,
}

/// A part of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Unique in the build.
    pub id: String,
    /// `None`: the build itself.
    pub parent: Option<String>,
    pub kind: SpanKind,
    /// Of a stage or branch its name, of a step what the Jenkinsfile calls it.
    pub name: String,
    /// Step id in the journal.
    pub step: String,
    /// Where it ran.
    pub node: Option<String>,
    pub began: Millis,
    pub ended: Millis,
    /// Why it failed.
    pub failed: Option<String>,
}

/// Reads the journal of a build and replays it; long texts in it are gone by then. `None`: the build is gone, or runs.
pub(crate) async fn of(shared: &Shared, id: BuildId) -> Result<Option<BuildTrace>, NoDriver> {
    let Some(build) = shared.store.build_by_id(id).await? else { return Ok(None) };
    let (Some(ended_at), Some(result)) = (build.ended_at, build.result) else { return Ok(None) };
    let (mut records, _) = start::journal(shared, id, Gone::Empty).await?;
    let first = (!records.is_empty()).then(|| records.remove(0));
    let mut language = "pipeline";
    let (spans, left_out) = match first {
        Some(Record::Began(began)) => {
            if began.language == Language::Freestyle {
                language = "freestyle";
            }
            match shared.store.source(&began.program).await? {
                Some(source) => replayed(shared, began, records, source, ended_at).await,
                None => (Vec::new(), 0),
            }
        }
        // it could not begin
        Some(_) | None => (Vec::new(), 0),
    };
    let path = format!("{}{}/", start::job_path(&build.job), build.number);
    Ok(Some(BuildTrace {
        controller: shared.cluster.view().borrow().meta.controller.clone(),
        build: id,
        job: build.job,
        number: build.number,
        result,
        language,
        url: shared.url.as_ref().map(|url| format!("{url}{path}")),
        queued_at: build.queued_at,
        started_at: build.started_at,
        ended_at,
        spans,
        left_out,
    }))
}

async fn replayed(
    shared: &Shared,
    began: Began,
    records: Vec<Record>,
    source: String,
    end: Millis,
) -> (Vec<Span>, usize) {
    let Ok(program) = shared.programs.compile(began.language, &source).await else { return (Vec::new(), 0) };
    // Replaying computes for as long as the build did: not on a thread that others wait for.
    let replay = tokio::task::spawn_blocking(move || spans(&program, &began, &records, end));
    replay.await.unwrap_or_default()
}

fn wall(at: u64) -> Millis {
    Millis(i64::try_from(at).unwrap_or(i64::MAX))
}

/// Replays the records. What can't be replayed ends the list.
pub(crate) fn spans(
    program: &Arc<Program>,
    began: &Began,
    records: &[Record],
    end: Millis,
) -> (Vec<Span>, usize) {
    let mut machine = Machine::new(Arc::clone(program), began);
    let mut spans =
        Spans { all: Vec::new(), open: BTreeMap::new(), blocks: BTreeMap::new(), left_out: 0, end };
    for record in records {
        while let Status::More = machine.run(SLICE) {}
        match record {
            Record::Intent { step, at, .. } | Record::Did { step, at, .. } => {
                if let Some(act) = machine.wanted().iter().find(|act| act.step == *step) {
                    spans.begin(act, wall(*at));
                }
            }
            Record::Outcome { step, outcome, at, .. } => spans.end(step, outcome, wall(*at)),
            Record::Began(_) | Record::Event { .. } => {}
        }
        if machine.feed(record).is_err() {
            break;
        }
    }
    (spans.all, spans.left_out)
}

/// Spans in the making.
struct Spans {
    all: Vec<Span>,
    /// Places in `all` of what has not ended, by id.
    open: BTreeMap<String, usize>,
    /// Blocks that are open, innermost last, by what is before the last `/` of the step ids in them.
    blocks: BTreeMap<String, Vec<String>>,
    left_out: usize,
    /// What never ends, ends with the build.
    end: Millis,
}

/// The branch in which a step is: what is before the last `/`.
fn branch(step: &str) -> &str {
    step.rsplit_once('/').map_or("", |(branch, _)| branch)
}

impl Spans {
    /// The innermost block around a step: of its branch, or of the ones around that.
    fn around(&self, step: &str) -> Option<String> {
        let mut of = branch(step);
        loop {
            if let Some(block) = self.blocks.get(of).and_then(|blocks| blocks.last()) {
                return Some(block.clone());
            }
            if of.is_empty() {
                return None;
            }
            of = branch(of);
        }
    }

    fn add(&mut self, id: String, act: &Act, kind: SpanKind, name: &str, at: Millis) {
        if self.all.len() >= MOST_SPANS {
            self.left_out += 1;
            return;
        }
        let step = act.step.0.clone();
        let node = act.kind.place().map(|place| place.name.clone());
        let parent = self.around(&step);
        self.open.insert(id.clone(), self.all.len());
        let span = Span {
            id,
            parent,
            kind,
            name: name.to_owned(),
            step,
            node,
            began: at,
            ended: self.end,
            failed: None,
        };
        self.all.push(span);
    }

    fn close(&mut self, id: &str, at: Millis, failed: Option<String>) {
        if let Some(span) = self.open.remove(id).and_then(|place| self.all.get_mut(place)) {
            (span.ended, span.failed) = (at, failed);
        }
    }

    fn begin(&mut self, act: &Act, at: Millis) {
        let id = act.step.0.clone();
        match &act.kind {
            ActKind::BlockStart { block, name } => {
                let kind = match block {
                    BlockKind::Stage => SpanKind::Stage,
                    BlockKind::Branch => SpanKind::Branch,
                };
                self.add(id.clone(), act, kind, name, at);
                self.blocks.entry(branch(&id).to_owned()).or_default().push(id);
            }
            ActKind::BlockEnd { start, result, error, .. } => {
                let bad = matches!(result, BuildResult::Failure | BuildResult::Aborted);
                let failed = bad.then(|| error.clone().unwrap_or_else(|| result.as_str().to_owned()));
                self.close(&start.0, at, failed);
                self.leave(&start.0);
            }
            ActKind::Node { label, .. } => {
                self.add(id, act, SpanKind::Allocation, label.as_deref().unwrap_or("any"), at);
            }
            ActKind::ReleaseNode { node } => {
                let id = held(node);
                self.close(&id, at, None);
                self.leave(&id);
            }
            ActKind::Echo { .. }
            | ActKind::SetResult { .. }
            | ActKind::SetDisplayName { .. }
            | ActKind::SetDescription { .. }
            | ActKind::CancelTimer { .. }
            | ActKind::Timer { .. } => {}
            ActKind::Sleep { .. }
            | ActKind::Process(_)
            | ActKind::Checkout { .. }
            | ActKind::ReadFile { .. }
            | ActKind::WriteFile { .. }
            | ActKind::FileExists { .. }
            | ActKind::DeleteDir { .. }
            | ActKind::Stash { .. }
            | ActKind::Unstash { .. }
            | ActKind::ArchiveArtifacts { .. }
            | ActKind::Trigger { .. } => self.add(id, act, SpanKind::Step, act.name(), at),
        }
    }

    /// The block is around nothing any more.
    fn leave(&mut self, block: &str) {
        for blocks in self.blocks.values_mut() {
            blocks.retain(|open| open != block);
        }
        self.blocks.retain(|_, blocks| !blocks.is_empty());
    }

    fn end(&mut self, step: &StepId, outcome: &Outcome, at: Millis) {
        let failed = match outcome {
            Outcome::Done(Data::Exit { status, .. } | Data::ExitObject { status, .. }) if *status != 0 => {
                Some(format!("exit status {status}"))
            }
            Outcome::Done(_) => None,
            Outcome::Failed(failure) => Some(failure.message.clone()),
            Outcome::Cancelled => Some("cancelled".to_owned()),
        };
        let granted = match outcome {
            Outcome::Done(Data::Granted(granted)) => {
                self.open.get(&step.0).map(|place| (*place, granted.node.clone()))
            }
            _ => None,
        };
        self.close(&step.0, at, failed);
        let Some((place, node)) = granted else { return };
        let id = held(step);
        if self.all.len() >= MOST_SPANS {
            self.left_out += 1;
            return;
        }
        let parent = self.all.get_mut(place).and_then(|span| {
            span.node = Some(node.clone());
            span.parent.clone()
        });
        self.open.insert(id.clone(), self.all.len());
        self.all.push(Span {
            id: id.clone(),
            parent,
            kind: SpanKind::Node,
            name: node.clone(),
            step: step.0.clone(),
            node: Some(node),
            began: at,
            ended: self.end,
            failed: None,
        });
        self.blocks.entry(branch(&step.0).to_owned()).or_default().push(id);
    }
}

/// The span of an executor that the step holds.
fn held(step: &StepId) -> String {
    format!("{step} held")
}

#[cfg(test)]
mod tests {
    use pipeline::act::Granted;

    use super::*;

    /// Runs a program with an agent that does all it is asked for; a millisecond later each time.
    fn ran(source: &str) -> (Arc<Program>, Began, Vec<Record>) {
        let program = Arc::new(Program::compile(source).unwrap());
        let began = Began {
            format: 1,
            behaviour: 1,
            language: Language::Pipeline,
            program: program.hash().to_owned(),
            job: "a".into(),
            number: 1,
            params: BTreeMap::new(),
            env: BTreeMap::new(),
            causes: vec![],
            previous: None,
            earlier: vec![],
            older: false,
            has_scm: false,
            at: 1_000,
        };
        let (mut machine, mut records, mut at) =
            (Machine::new(Arc::clone(&program), &began), Vec::new(), 1_000);
        let mut feed = |machine: &mut Machine, record: Record| {
            machine.feed(&record).unwrap();
            records.push(record);
        };
        loop {
            while let Status::More = machine.run(SLICE) {}
            let Some(act) = machine.wanted().first().cloned() else { break };
            at += 1;
            let (step, digest) = (act.step.clone(), act.digest());
            if act.class() == pipeline::act::Class::Instant {
                feed(&mut machine, Record::Did { step, digest, at });
                continue;
            }
            let intent = Record::Intent { step: step.clone(), digest, at, deadline: None, agent: None };
            feed(&mut machine, intent);
            at += 1;
            let data = match &act.kind {
                ActKind::Node { .. } => Data::Granted(Granted {
                    node: "n1".into(),
                    executor: 0,
                    workspace: "/w".into(),
                    unix: true,
                    labels: vec![],
                    env: BTreeMap::new(),
                }),
                ActKind::Process(process) => {
                    Data::Exit { status: i32::from(process.script == "false"), stdout: None }
                }
                _ => Data::None,
            };
            feed(&mut machine, Record::Outcome { step, outcome: Outcome::Done(data), at, raw: None });
        }
        (program, began, records)
    }

    #[test]
    fn stages_branches_nodes_and_steps_become_spans_inside_each_other() {
        let source = "node { stage('Build') { sh 'true' }\n stage('Test') { parallel a: { sh 'x' }, b: { sh 'false' } } }";
        let (program, began, records) = ran(source);
        let (spans, left_out) = super::spans(&program, &began, &records, Millis(9_000));
        assert_eq!(left_out, 0);
        let named =
            |name: &str, kind: SpanKind| spans.iter().find(|s| s.name == name && s.kind == kind).unwrap();
        let (allocation, node) = (named("any", SpanKind::Allocation), named("n1", SpanKind::Node));
        assert_eq!((allocation.parent.as_ref(), node.parent.as_ref()), (None, None));
        assert_eq!(allocation.ended, node.began);
        let (build, test) = (named("Build", SpanKind::Stage), named("Test", SpanKind::Stage));
        assert_eq!((build.parent.as_ref(), test.parent.as_ref()), (Some(&node.id), Some(&node.id)));
        assert!(build.ended <= test.began && test.failed.is_some());
        let b = named("b", SpanKind::Branch);
        assert_eq!(b.parent.as_ref(), Some(&test.id));
        let steps: Vec<&Span> = spans.iter().filter(|s| s.kind == SpanKind::Step).collect();
        assert_eq!(steps.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["sh", "sh", "sh"]);
        assert_eq!((steps[0].parent.as_ref(), steps[0].node.as_deref()), (Some(&build.id), Some("n1")));
        let failed = steps.iter().find(|s| s.failed.is_some()).unwrap();
        assert_eq!((failed.parent.as_ref(), failed.failed.as_deref()), (Some(&b.id), Some("exit status 1")));
        assert!(spans.iter().all(|s| s.began <= s.ended && s.ended <= Millis(9_000)));
        let ids: std::collections::BTreeSet<&str> = spans.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(ids.len(), spans.len());
    }

    #[test]
    fn a_journal_that_stops_in_the_middle_ends_what_is_open_with_the_build() {
        let (program, began, records) = ran("node { stage('Build') { sh 'true' } }");
        for end in 0..records.len() {
            let (spans, _) = super::spans(&program, &began, &records[..end], Millis(9_000));
            assert!(spans.iter().all(|s| s.began <= s.ended), "{end}");
        }
    }
}
