//! The store: the real memory store, behind a network that loses answers, with groups, outages and a way back in time.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::{BuildId, JobName, NodeName};
use store::memory::State;
use store::{
    Answer, Build, Chunk, Effect, Error, InboxRow, ItemKind, Link, Member, Node, Progress, QueueItem,
    Running, Wait, Write,
};

use crate::mutation::Mutation;
use crate::oracle::Told;
use crate::replica::{ReplicaDo, Token};
use crate::world::{Event, MS, SEC, Time, World};

/// Who asks: a life of a replica, and what the answer is for.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) replica: usize,
    pub(crate) life: u64,
    pub(crate) token: Token,
    /// Its connection ends when the store is set back.
    pub(crate) restores: u32,
}

#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Write(Box<Write>),
    Look,
    Pass { me: i64 },
    Inbox(BuildId),
    Start(BuildId),
    Raw(BuildId),
    Stash(BuildId, String),
}

/// What the store answers.
#[derive(Debug)]
pub(crate) enum Reply {
    Written(Answer),
    Look(cluster::View),
    Pass(Box<Seen>),
    Inbox(Vec<InboxRow>),
    Start(Option<Build>, Vec<Bytes>),
    Raw(Vec<(String, u64)>),
    Stash(Option<String>),
}

/// What the engine's look and the scheduler's pass read.
#[derive(Debug)]
pub(crate) struct Seen {
    /// How many beats the store knows.
    pub(crate) tick: i64,
    pub(crate) running: Vec<Running>,
    pub(crate) with_inbox: Vec<BuildId>,
    pub(crate) queue: Vec<QueueItem>,
    pub(crate) waits: Vec<Wait>,
    pub(crate) slots: Vec<(NodeName, u32)>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
}

/// What happens at the n-th guarded write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trap {
    /// It is refused, and nothing is changed.
    Refused,
    /// It is done, and nobody hears of it.
    Unheard,
    /// Its owner dies before it is done.
    DiesBefore,
    /// Its owner dies when it is done.
    DiesAfter,
    /// A user ends the build.
    Abort,
}

#[derive(Default)]
pub(crate) struct Home {
    pub(crate) state: State,
    pub(crate) group: Vec<(Option<Caller>, Box<Write>)>,
    pub(crate) away_until: Time,
    pub(crate) restores: u32,
    pub(crate) restored_at: Option<Time>,
    pub(crate) snapshots: Vec<Snapshot>,
    /// Rows that a mutation hides after they were read once.
    pub(crate) read_once: BTreeSet<(BuildId, String)>,
    /// Offsets one write behind, for a mutation.
    pub(crate) raw_before: BTreeMap<BuildId, Vec<(String, u64)>>,
    pub(crate) copies: u64,
    /// Guarded writes that have come.
    pub(crate) writes: u64,
    pub(crate) trap: Option<(u64, Trap)>,
    /// The write that is applied now is one whose client has gone on.
    pub(crate) late: bool,
}

/// A copy of the home, and of what the oracle believes of it.
pub(crate) struct Snapshot {
    pub(crate) state: State,
    pub(crate) told: BTreeMap<BuildId, Told>,
}

impl Home {
    /// What was given before the store was set back may be gone, and whoever had it does not know yet.
    pub(crate) fn calm_for(&self, now: Time) -> bool {
        self.restored_at.is_none_or(|at| now > at + 5 * SEC)
    }
}

impl World {
    pub(crate) fn ask(&mut self, replica: usize, token: Token, ask: Ask) {
        let life = self.replicas[replica].life;
        let delay = self.delay(100, 2 * MS);
        let restores = self.home.restores;
        self.after(delay, Event::Ask { from: Caller { replica, life, token, restores }, ask });
    }

    pub(crate) fn write(&mut self, replica: usize, token: Token, write: Write) {
        self.ask(replica, token, Ask::Write(Box::new(write)));
    }

    pub(crate) fn answer(&mut self, to: Caller, reply: Result<Reply, Error>) {
        let delay = self.delay(100, 2 * MS);
        let what = ReplicaDo::Answer { token: to.token, reply: reply.map(Box::new) };
        self.after(delay, Event::Replica { at: to.replica, life: to.life, what });
    }

    pub(crate) fn asked(&mut self, from: Caller, ask: Ask) {
        if self.now < self.home.away_until || from.restores != self.home.restores {
            let delay = self.random.between(MS, 500 * MS);
            let what = ReplicaDo::Answer { token: from.token, reply: Err(Error::Unavailable("out".into())) };
            return self.after(delay, Event::Replica { at: from.replica, life: from.life, what });
        }
        let state = &self.home.state;
        let reply = match ask {
            Ask::Write(write) => return self.join_group(from, write),
            Ask::Look => Reply::Look(cluster::View {
                meta: state.meta(),
                members: state.members(),
                leases: state.leases(),
            }),
            Ask::Pass { me } => Reply::Pass(Box::new(self.seen(me))),
            Ask::Inbox(build) => Reply::Inbox(self.inbox(build)),
            Ask::Start(build) => Reply::Start(state.build_by_id(build), state.journal(build, 0)),
            Ask::Raw(build) => Reply::Raw(self.raw(build)),
            Ask::Stash(build, name) => Reply::Stash(state.stash(build, &name).map(|s| s.object)),
        };
        self.answer(from, Ok(reply));
    }

    pub(crate) fn seen(&self, me: i64) -> Seen {
        let state = &self.home.state;
        let waits = state.waits();
        let granting = !waits.is_empty();
        Seen {
            tick: state.meta().tick,
            running: state.running(None),
            with_inbox: state.with_inbox(me),
            queue: state.queue(),
            slots: if granting { state.slots() } else { Vec::new() },
            nodes: if granting { state.nodes() } else { Vec::new() },
            links: state.links(),
            waits,
        }
    }

    pub(crate) fn inbox(&mut self, build: BuildId) -> Vec<InboxRow> {
        let mut rows = self.home.state.inbox(build);
        if self.is(Mutation::RowsReadOnce) {
            rows.retain(|row| self.home.read_once.insert((build, row.key.clone())));
        }
        rows
    }

    pub(crate) fn raw(&self, build: BuildId) -> Vec<(String, u64)> {
        if self.is(Mutation::OffsetsLater) {
            return self.home.raw_before.get(&build).cloned().unwrap_or_default();
        }
        self.home.state.raw_offsets(build)
    }

    pub(crate) fn join_group(&mut self, from: Caller, write: Box<Write>) {
        let lost = Err(Error::Unknown("the answer is lost".into()));
        if matches!(*write, Write::Progress(_)) {
            self.home.writes += 1;
            let n = self.home.writes;
            if let Some((_, trap)) = self.home.trap.take_if(|(at, _)| *at == n) {
                return self.trapped(trap, from, write);
            }
        }
        if self.now < self.chaos.calm && self.random.chance(self.chaos.unknown) {
            *self.oracle.counts.entry("unknown").or_default() += 1;
            match self.random.below(3) {
                0 => {}
                1 => self.enter(None, write),
                _ => {
                    let restores = self.home.restores;
                    let delay = self.random.between(10 * MS, 3 * SEC);
                    self.after(delay, Event::Late { write, restores });
                }
            }
            return self.answer(from, lost);
        }
        if matches!(*write, Write::Progress(_)) && self.random.chance(self.chaos.doubled + 10) {
            // A copy that was held up somewhere.
            let restores = self.home.restores;
            let delay = self.random.between(MS, 2 * SEC);
            self.after(delay, Event::Late { write: write.clone(), restores });
        }
        self.enter(Some(from), write);
    }

    pub(crate) fn trapped(&mut self, trap: Trap, from: Caller, write: Box<Write>) {
        match trap {
            Trap::Refused => self.answer(from, Err(Error::Unavailable("a trap".into()))),
            Trap::Unheard => {
                self.enter(None, write);
                self.answer(from, Err(Error::Unknown("a trap".into())));
            }
            Trap::DiesBefore => self.kill(from.replica),
            Trap::DiesAfter => {
                self.enter(None, write);
                self.kill(from.replica);
            }
            Trap::Abort => {
                self.enter(Some(from), write);
                self.abort(None);
            }
        }
    }

    pub(crate) fn enter(&mut self, from: Option<Caller>, write: Box<Write>) {
        if self.home.group.is_empty() {
            let delay = self.delay(200, self.chaos.commit);
            self.after(delay, Event::Commit);
        }
        self.home.group.push((from, write));
    }

    /// Nobody hears the answer.
    pub(crate) fn late(&mut self, write: Box<Write>, restores: u32) {
        if self.home.restores == restores && self.now >= self.home.away_until {
            self.enter(None, write);
        }
    }

    /// Each write of the group by itself: a fenced one is skipped, its companions commit.
    pub(crate) fn commit(&mut self) {
        let group = std::mem::take(&mut self.home.group);
        if self.is(Mutation::CompanionsLost) && group.len() > 1 {
            let mut trial = self.home.state.clone();
            if group.iter().any(|(_, write)| matches!(trial.apply(write), Err(Error::Fenced { .. }))) {
                let mut trial = self.home.state.clone();
                for (from, write) in group {
                    let answer = trial.apply(&write);
                    self.acknowledged(&write, &answer);
                    self.reply(from, answer);
                }
                return;
            }
        }
        for (from, write) in group {
            self.home.late = from.is_none();
            let answer = self.apply(&write);
            self.acknowledged(&write, &answer);
            self.reply(from, answer);
        }
    }

    pub(crate) fn reply(&mut self, to: Option<Caller>, answer: Result<Answer, Error>) {
        if let Some(to) = to {
            self.answer(to, answer.map(Reply::Written));
        }
    }

    /// Changes the state; the oracle looks on.
    pub(crate) fn apply(&mut self, write: &Write) -> Result<Answer, Error> {
        let changed = self.mutated(write);
        let write = changed.as_ref().unwrap_or(write);
        if let Write::Progress(progress) = write {
            self.home.raw_before.insert(progress.build, self.home.state.raw_offsets(progress.build));
        }
        let before = self.before(write);
        let answer = self.home.state.apply(write);
        self.committed(write, &before, &answer);
        answer
    }

    /// The write as a store without one of the rules would do it.
    pub(crate) fn mutated(&mut self, write: &Write) -> Option<Write> {
        match (self.mutation?, write) {
            (Mutation::NoGuard, Write::Progress(progress)) => self.unguarded(progress),
            (Mutation::RowsStay, Write::Progress(progress)) => {
                let mut progress = progress.clone();
                progress.effects.retain(|e| !matches!(e, Effect::Consume { .. }));
                Some(Write::Progress(progress))
            }
            (Mutation::KeysNotUnique, Write::Deliver { build, key, body }) => {
                self.home.copies += 1;
                let key = format!("{key}+{}", self.home.copies);
                Some(Write::Deliver { build: *build, key, body: body.clone() })
            }
            _ => None,
        }
    }

    /// Fits a write to whatever the store has now.
    pub(crate) fn unguarded(&self, progress: &Progress) -> Option<Write> {
        let state = &self.home.state;
        let row = state.running(None).into_iter().find(|r| r.build == progress.build)?;
        let mut offset = row.log_end;
        let fit = |chunk: &Chunk| {
            let Chunk { step, raw_from, raw_to, at, bytes, .. } = chunk.clone();
            let chunk = Chunk::new(offset, step, (raw_from, raw_to), at, bytes);
            offset += chunk.bytes.len() as u64;
            chunk
        };
        let chunks: Vec<Chunk> = progress.chunks.iter().map(fit).collect();
        let first_record = i64::try_from(state.journal(progress.build, 0).len()).ok()?;
        let progress = Progress {
            owner: row.owner,
            fence: row.fence,
            seq: row.seq,
            first_record,
            chunks,
            log_end: offset,
            ..progress.clone()
        };
        Some(Write::Progress(Box::new(progress)))
    }

    // -- furniture ---------------------------------------------------------------------------

    /// A home with jobs and nodes.
    pub(crate) fn furnish_home(&mut self, agents: &[(NodeName, u32, bool)]) {
        for number in 0..crate::workload::SOURCES.len() {
            let write = Write::CreateItem {
                name: job(number),
                kind: ItemKind::Pipeline,
                config: String::new(),
                disabled: false,
                at: model::Millis(0),
            };
            self.home.state.apply(&write).expect("a new job");
        }
        for (name, executors, linux) in agents {
            let node = Node {
                name: name.clone(),
                description: String::new(),
                executors: *executors,
                labels: if *linux { vec!["linux".into()] } else { Vec::new() },
                exclusive: false,
                remote_fs: "/w".into(),
                offline: None,
                config: String::new(),
            };
            self.home.state.apply(&Write::CreateNode(node)).expect("a new node");
        }
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        self.home.state.members()
    }
}

pub(crate) fn job(pipeline: usize) -> JobName {
    JobName::parse(&format!("job-{pipeline}")).expect("a good name")
}

pub(crate) fn pipeline_of(job: &JobName) -> usize {
    job.as_str().trim_start_matches("job-").parse().unwrap_or(0)
}
