//! One running build, as a pure state machine: events in, things to do out.
//!
//! It decides; the shell around it (`actor`) writes to the store, talks to agents and keeps the time. The order of what
//! the machine is fed is the order of the journal, live exactly as in replay:
//!
//! 1. records of our own making (`Did`, `Intent`) are fed when they join the write that commits them; nothing of them
//!    leaves this module before that commit, and a driver whose commit fails is thrown away;
//! 2. outcomes and events are fed after their commit, one by one;
//! 3. what the machine wants is taken only when all committed records are fed.
//!
//! One write of a build is in flight at a time. Its guard is (fence, seq); see `store::Progress`.

mod files;
mod log;
mod perform;
mod session;
mod settle;
mod trigger;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::{BuildId, BuildResult, Fence, JobName, Millis, NodeName};
use pipeline::act::{Act, ActKind, Began, Class, Language, Outcome, Record, StepId};
use pipeline::machine::{Machine, Status};
use pipeline::program::Program;
use remoting::ops::{FromAgent, ToAgent};
use store::{Chunk, Effect, InboxRow, MAX_RECORDS, Progress};

use crate::metrics::StepKind;
use files::Transfer;
pub use files::{ObjectDo, ObjectEvent};
use log::Output;
use session::Session;
pub use trigger::{Downstream, Fate};

/// Instructions of the machine before others get their turn.
const SLICE: u64 = 200_000;
/// Time that a lost agent has to come back before its steps fail.
pub const AGENT_LOST: Duration = Duration::from_secs(300);
/// A `node` step that waits for longer says why.
const STILL: Duration = Duration::from_secs(15);
/// Time in which that is said for sure.
const SAID: Duration = Duration::from_secs(5);
/// Before a write that the store did not take is given again.
const RETRY: Duration = Duration::from_millis(250);
/// Bytes of log in one write.
const MAX_LOG: usize = 1024 * 1024;
/// What steps may print ahead of what is committed, those of all builds of a replica together. The more steps, the less
/// each, but [`remoting::ops::CREDIT`] in any case.
const ROOM: u64 = 2 * 1024 * 1024;
/// Bytes of a build's journal, with the texts that its records name: whoever adopts it reads them all.
const MAX_JOURNAL: u64 = 256 * 1024 * 1024;
/// Bytes of a build's log.
const MAX_BUILD_LOG: u64 = 10 * 1024 * 1024 * 1024;
/// Records of acts in one write. A script may want any number of acts that nobody has to perform; without a bound they
/// would all wait for one transaction, which all other writes of the controller then wait for.
const MAX_ACTS: usize = 256;

/// The rules of the build protocol that a simulation can switch off to see that it would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Nothing is sent before its intent is committed.
    pub intent_first: bool,
    /// The machine is fed results only after their commit.
    pub result_committed: bool,
    /// An agent is claimed before anything else is sent there.
    pub claim_first: bool,
    /// Output is followed from the committed offset.
    pub follow_committed: bool,
    /// A step whose agent has another instance id than its intent is lost, not started again.
    pub same_instance: bool,
    /// Acts on files are done again after a loss.
    pub repeated: bool,
    /// A timer is due when its intent says so, whoever owns the build then.
    pub recorded_deadlines: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            intent_first: true,
            result_committed: true,
            claim_first: true,
            follow_committed: true,
            same_instance: true,
            repeated: true,
            recorded_deadlines: true,
        }
    }
}

/// The two clocks, as the shell read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub wall: Millis,
    /// Monotonic.
    pub elapsed: Duration,
}

/// What the driver is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed, or the machine is to go on.
    Tick,
    /// The write in flight is committed.
    Committed,
    /// The write in flight was refused.
    Refused(store::Error),
    /// All rows of the inbox.
    Inbox(Vec<InboxRow>),
    /// The agent can be reached, over a link that is new to this driver.
    LinkUp {
        node: NodeName,
        instance: String,
    },
    LinkDown {
        node: NodeName,
    },
    /// This replica can't be sure of its lease: it may not send, and agents can't link anywhere.
    Unsure,
    /// It may send again: everything is claimed anew, and agents that are away get their time to come back.
    Regained,
    Report {
        node: NodeName,
        report: FromAgent,
    },
    Object(ObjectEvent),
    /// Why a `node` step still waits.
    Waits {
        step: StepId,
        why: String,
    },
    /// What became of the jobs that were to be found.
    Jobs {
        step: StepId,
        found: Vec<Downstream>,
    },
}

/// What the shell is to do, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Do {
    /// Answer with `Committed` or `Refused`.
    Write(Progress),
    /// Answer with `LinkUp` whenever the agent can be reached, `LinkDown` when it can't any more.
    Attach(NodeName),
    Send(NodeName, ToAgent),
    Object(ObjectDo),
    /// Look for jobs of which builds are to be enqueued; answer with `Jobs`.
    FindJobs {
        step: StepId,
        jobs: Vec<String>,
    },
    /// Give `Tick` soon; others first.
    Again,
    /// Give `Tick` then.
    WakeAt(Duration),
    Stop(Stop),
}

/// Why a driver has nothing more to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    Finished(BuildResult),
    /// Another replica drives the build now.
    Fenced,
    /// An agent holds a higher fence than ours: fenced, or the store was set back in time. Our own: the store has less of the
    /// build than it has acknowledged under it.
    Outranked(Fence),
    /// The store can't be read: a person must look.
    Broken(String),
}

/// What a driver starts from.
#[derive(Debug, Clone)]
pub struct Facts {
    pub build: BuildId,
    pub job: JobName,
    pub number: u64,
    /// The incarnation that drives it.
    pub owner: i64,
    pub fence: Fence,
    pub seq: i64,
    pub log_end: u64,
    /// Bytes of its journal, with the texts that its records name.
    pub journal: u64,
    /// Committed raw offset of each step.
    pub raw: BTreeMap<String, u64>,
    /// What `checkout scm` fetches.
    pub scm: Option<crate::checkout::GitSource>,
    /// It left the queue with the executor of its first `Node` act.
    pub executor: bool,
    pub rules: Rules,
}

pub struct Driver {
    language: Language,
    facts: Facts,
    machine: Machine,
    /// Records that are committed or in the write in flight.
    records: i64,
    seq: i64,
    log_end: u64,
    next: Draft,
    in_flight: Option<InFlight>,
    /// The build is about to be handed over.
    resting: bool,
    /// Committed outcomes and events that the machine has not seen yet.
    to_feed: VecDeque<Fed>,
    /// Outcomes and events to be journaled, in the order of their arrival.
    arrived: VecDeque<Arrival>,
    /// Keys of inbox rows that have arrived. They stay: a read that began before the commit may show a consumed row again.
    taken: BTreeSet<String>,
    /// `Trigger` acts whose jobs are being looked for.
    finding: BTreeSet<StepId>,
    /// Acts in flight: intent committed (`sent` false: not yet), no outcome arrived.
    steps: BTreeMap<StepId, Open>,
    outputs: BTreeMap<StepId, Output>,
    /// See [`Driver::among`].
    builds: usize,
    /// How processes ended whose output is not all here yet.
    ends: BTreeMap<StepId, Result<(i32, Option<String>), String>>,
    transfers: BTreeMap<u64, Transfer>,
    /// Contents of objects that outcomes name, until the machine has seen them.
    texts: BTreeMap<(StepId, String), String>,
    next_op: u64,
    /// It was driven by another owner before.
    resumed: bool,
    sessions: BTreeMap<NodeName, Session>,
    /// Instance of the agent that each `node` step was granted, by that step.
    instances: BTreeMap<StepId, (NodeName, String)>,
    ending: Option<Ending>,
    unsure: bool,
    /// The store was set back in time since the build began: what an agent does not know of a step is lost.
    set_back: bool,
    /// Steps whose begin is committed and that nobody has counted.
    begun: BTreeMap<&'static str, (StepKind, u64)>,
    out: Vec<Do>,
}

/// What the next write will hold.
#[derive(Debug, Default)]
struct Draft {
    records: Vec<Record>,
    chunks: Vec<Chunk>,
    effects: Vec<Effect>,
    /// Bytes of log so far.
    log: usize,
    /// Steps that its records begin.
    begun: Vec<StepKind>,
}

struct InFlight {
    write: Progress,
    /// What the machine is fed when it is committed.
    feed: Vec<Fed>,
    /// Steps whose intents it holds.
    intents: Vec<StepId>,
    /// Raw offsets that are committed by it.
    raw: Vec<(StepId, u64)>,
    begun: Vec<StepKind>,
    retry_at: Option<Duration>,
}

struct Fed {
    record: Record,
    /// The machine was fed already (only with the rule switched off).
    done: bool,
}

struct Arrival {
    record: Record,
    effects: Vec<Effect>,
}

/// An act that the machine waits for.
struct Open {
    act: Act,
    /// Its intent is committed.
    committed: bool,
    /// By the wall clock; for `sleep` and time-outs. One that waits for silence has none until it is performed after a replay.
    deadline: Option<Millis>,
    /// When the intent was written, by the wall clock.
    since: Millis,
    /// The log says why it waits.
    told: bool,
    /// Instance of the agent when the intent was written.
    instance: Option<String>,
    /// Asked to end; the reason is in the log.
    cancelled: bool,
    /// An agent may have been told of it, by us or by an owner before us.
    asked: bool,
    /// Its outcome is on the way into the journal.
    settled: bool,
}

/// What is known of an act when its intent is written or replayed.
struct Opening {
    replayed: bool,
    committed: bool,
    since: Millis,
    deadline: Option<Millis>,
    instance: Option<String>,
}

enum Ending {
    /// The last words are in the draft or in flight.
    Finishing(BuildResult),
}

impl Driver {
    /// A build that begins: `began` becomes its first record. `head` goes to the log before anything else.
    pub fn begin(
        facts: Facts,
        program: &Arc<Program>,
        began: Began,
        source: String,
        head: &str,
        now: Now,
    ) -> Driver {
        let mut driver = Driver::new(facts, program, &began);
        driver.say(head.as_bytes(), now);
        driver.say_pipeline("Start of Pipeline", now);
        driver.next.effects.push(Effect::Source { hash: program.hash().to_owned(), text: source });
        driver.next.records.push(Record::Began(began));
        driver
    }

    /// A build that goes on: `records` is its whole journal, whose first record `began` is taken off already.
    pub fn resume(
        facts: Facts,
        program: &Arc<Program>,
        began: &Began,
        records: Vec<Record>,
    ) -> Result<Driver, String> {
        let mut driver = Driver::new(facts, program, began);
        driver.records = 1;
        driver.resumed = true;
        for record in records {
            driver.replay(record)?;
        }
        driver.claim_all();
        Ok(driver)
    }

    /// For a build that ran when the store was set back in time: a part of its journal is lost, and any agent may have
    /// run more steps than it says, and forgotten them. So a step that its agent does not know is not started.
    pub fn start_nothing_unknown(&mut self) {
        self.set_back = true;
    }

    /// So many builds are driven by this replica, this one too. They share the memory for output that is not committed.
    pub fn among(&mut self, builds: usize) {
        self.builds = builds;
    }

    fn new(facts: Facts, program: &Arc<Program>, began: &Began) -> Driver {
        Driver {
            language: program.language(),
            machine: Machine::new(Arc::clone(program), began),
            finding: BTreeSet::new(),
            records: 0,
            seq: facts.seq,
            log_end: facts.log_end,
            next: Draft::default(),
            in_flight: None,
            resting: false,
            to_feed: VecDeque::new(),
            arrived: VecDeque::new(),
            taken: BTreeSet::new(),
            steps: BTreeMap::new(),
            outputs: BTreeMap::new(),
            builds: 1,
            ends: BTreeMap::new(),
            transfers: BTreeMap::new(),
            texts: BTreeMap::new(),
            next_op: 1,
            resumed: false,
            sessions: BTreeMap::new(),
            instances: BTreeMap::new(),
            ending: None,
            unsure: false,
            set_back: false,
            begun: BTreeMap::new(),
            out: Vec::new(),
            facts,
        }
    }

    fn replay(&mut self, record: Record) -> Result<(), String> {
        while let Status::More = self.machine.run(SLICE) {}
        match &record {
            Record::Intent { step, deadline, agent, at, .. } => {
                let act = self.machine.wanted().iter().find(|a| a.step == *step).cloned();
                if let Some(act) = act {
                    let silence = matches!(act.kind, ActKind::Timer { activity: true, .. });
                    let recorded = self.facts.rules.recorded_deadlines && !silence;
                    let deadline = deadline.and_then(wall).filter(|_| recorded);
                    let instance = agent.clone();
                    let since = wall(*at).unwrap_or(Millis(0));
                    self.open(act, Opening { replayed: true, committed: true, since, deadline, instance });
                }
            }
            Record::Outcome { step, outcome, .. } => self.note_outcome(step, outcome),
            Record::Did { step, .. } => {
                let act = self.machine.wanted().iter().find(|a| a.step == *step);
                if let Some(ActKind::CancelTimer { timer }) = act.map(|a| a.kind.clone()) {
                    self.cancel_timer(&timer);
                }
            }
            Record::Began(_) | Record::Event { .. } => {}
        }
        self.records += 1;
        self.machine.feed(&record).map_err(|e| e.to_string())
    }

    /// Tells the driver what happened; it answers with what to do.
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Do> {
        match event {
            Event::Tick => {}
            Event::Committed => self.committed(now),
            Event::Refused(error) => self.refused(error, now),
            Event::Inbox(rows) => self.inbox(rows, now),
            Event::LinkUp { node, instance } => self.link_up(node, instance),
            Event::LinkDown { node } => self.link_down(&node, now),
            Event::Unsure => self.unsure = true,
            Event::Regained => self.regained(now),
            Event::Report { node, report } => self.report(&node, report, now),
            Event::Object(event) => self.object(event, now),
            Event::Waits { step, why } => self.still_waits(&step, &why, now),
            Event::Jobs { step, found } => self.jobs_found(&step, found, now),
        }
        self.go_on(now);
        std::mem::take(&mut self.out)
    }

    /// `node` steps of which the log is to say why they wait. An owner before us has said it of those that waited for long
    /// when it was lost.
    pub fn waiting(&mut self, now: Now) -> Vec<StepId> {
        let mut waiting = Vec::new();
        for (step, open) in &mut self.steps {
            let node = matches!(open.act.kind, ActKind::Node { .. });
            let waited = now.wall.since(open.since);
            if !node || open.told || open.settled || !open.committed || waited < STILL {
                continue;
            }
            open.told = true;
            if !open.asked || waited < STILL + SAID {
                waiting.push(step.clone());
            }
        }
        waiting
    }

    fn still_waits(&mut self, step: &StepId, why: &str, now: Now) {
        if self.ending.is_none() && self.steps.get(step).is_some_and(|open| !open.settled) {
            self.say(format!("Still waiting to schedule task\n{why}\n").as_bytes(), now);
        }
    }

    /// For the page: what it waits for.
    pub fn open_steps(&self) -> impl Iterator<Item = (&StepId, &'static str)> {
        self.steps.iter().map(|(step, open)| (step, open.act.name()))
    }

    /// Whether only acts are in flight that the next owner can do again or wait for as well: a drain may hand it over.
    pub fn quiet(&self) -> bool {
        self.in_flight.is_none() && self.transfers.is_empty()
    }

    /// The build is to be handed over as soon as it is quiet. Until then nothing more is written that the next owner can write as
    /// well: a step that prints all the time would have the next write ready at each commit.
    pub fn rest(&mut self) {
        self.resting = true;
    }

    /// Nothing has to be written before the build is handed over.
    fn rests(&self) -> bool {
        self.resting && self.ending.is_none() && self.transfers.is_empty() && self.arrived.is_empty()
    }

    /// Whether an act is in flight that the next owner would have to follow on or do again.
    pub fn busy(&self) -> bool {
        let heavy = |open: &Open| matches!(open.act.class(), Class::Durable | Class::Repeatable);
        self.steps.values().any(heavy)
    }

    /// How many guarded writes of the build are committed for sure: a store that has fewer was set back in time.
    pub fn committed_writes(&self) -> i64 {
        self.seq
    }

    /// Whether content may have gone to the object store for it, under this owner or one before.
    pub fn moved_content(&self) -> bool {
        self.resumed || self.next_op > 1
    }

    /// Steps that have begun since this was asked last, by kind.
    pub fn take_begun(&mut self) -> Vec<(StepKind, u64)> {
        std::mem::take(&mut self.begun).into_values().collect()
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    fn go_on(&mut self, now: Now) {
        if self.retry(now) || self.in_flight.is_some() || self.ending.is_some() {
            self.flush(now);
            return;
        }
        if !self.feed(now) {
            self.out.push(Do::Again);
            self.flush(now);
            return;
        }
        if self.ending.is_some() {
            // What it was fed does not fit its journal.
            return self.flush(now);
        }
        if let Some(why) = self.over_limit() {
            self.finish(BuildResult::Failure, Some(&why), now);
            return self.flush(now);
        }
        match self.run(now) {
            Status::More => self.out.push(Do::Again),
            // It was ended instead: nothing follows its last words.
            Status::Waiting if self.ending.is_some() => {}
            Status::Waiting => self.perform(now),
            Status::Done(ended) => self.finish(ended.result, ended.error.as_deref(), now),
        }
        self.flush(now);
    }

    /// Why the build can't go on, when it has written too much.
    fn over_limit(&self) -> Option<String> {
        let over = |what: &str, limit: u64| {
            format!("ERROR: {what} of this build is over its limit of {limit} bytes")
        };
        if self.facts.journal > MAX_JOURNAL {
            return Some(over("what its steps gave back", MAX_JOURNAL));
        }
        (self.log_end > MAX_BUILD_LOG).then(|| over("the log", MAX_BUILD_LOG))
    }

    /// Runs the machine until it waits, or the draft is full, and takes what it wants into the draft.
    fn run(&mut self, now: Now) -> Status {
        loop {
            if self.next.records.len() >= MAX_ACTS || self.next.log >= MAX_LOG {
                // It goes on after the commit.
                return Status::Waiting;
            }
            match self.machine.run(SLICE) {
                Status::Waiting => {}
                other => return other,
            }
            let Some(act) = self.machine.wanted().first().cloned() else { return Status::Waiting };
            if self.records + self.drafted() >= MAX_RECORDS - 8 {
                let text = format!("the journal is over its limit of {MAX_RECORDS} records");
                self.finish(BuildResult::Failure, Some(&text), now);
                return Status::Waiting;
            }
            let record = self.take(act, now);
            if let Err(divergence) = self.machine.feed(&record) {
                self.finish(BuildResult::Failure, Some(&divergence.to_string()), now);
                return Status::Waiting;
            }
            self.next.records.push(record);
        }
    }

    fn drafted(&self) -> i64 {
        i64::try_from(self.next.records.len() + self.arrived.len()).unwrap_or(i64::MAX)
    }

    fn open(&mut self, act: Act, open: Opening) {
        let Opening { replayed, committed, since, deadline, instance } = open;
        let step = act.step.clone();
        let open = Open {
            act,
            committed,
            deadline,
            since,
            told: false,
            instance,
            cancelled: false,
            asked: replayed,
            settled: false,
        };
        self.steps.insert(step, open);
    }

    /// Journals an outcome; the machine sees it after the commit.
    fn settle(&mut self, step: &StepId, outcome: Outcome, effects: Vec<Effect>, now: Now) {
        let Some(open) = self.steps.get_mut(step) else { return };
        if open.settled {
            return;
        }
        open.settled = true;
        let record = Record::Outcome { step: step.clone(), outcome, at: at(now), raw: None };
        self.arrived.push_back(Arrival { record, effects });
    }
}

/// Journal times are unsigned.
fn at(now: Now) -> u64 {
    u64::try_from(now.wall.0).unwrap_or(0)
}

fn wall(millis: u64) -> Option<Millis> {
    i64::try_from(millis).ok().map(Millis)
}

/// The first record of a build of the job `a` that was given nothing.
#[cfg(test)]
fn a_beginning(program: &Program) -> Began {
    Began {
        format: 1,
        behaviour: 1,
        language: program.language(),
        program: program.hash().to_owned(),
        job: "a".to_owned(),
        number: 1,
        params: BTreeMap::new(),
        env: BTreeMap::new(),
        causes: Vec::new(),
        previous: None,
        earlier: Vec::new(),
        older: false,
        has_scm: false,
        at: 0,
    }
}

/// Of the same build, before anything of it is written.
#[cfg(test)]
fn first_facts(executor: bool) -> Facts {
    Facts {
        build: BuildId(1),
        job: JobName::parse("a").unwrap(),
        number: 1,
        owner: 1,
        fence: Fence::first(1),
        seq: 0,
        log_end: 0,
        journal: 0,
        raw: BTreeMap::new(),
        scm: None,
        executor,
        rules: Rules::default(),
    }
}
