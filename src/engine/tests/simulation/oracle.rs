//! What must hold, watched from outside: nobody in the simulation sees any of it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::{BuildId, BuildResult, Fence, ReplicaId, ReplicaState};
use pipeline::act::{Event as Outside, Outcome, Record};
use store::{Answer, Error, Progress, Write};

use crate::world::{SEC, Time, World};

/// More in one write would be a write without bounds.
const MOST_RECORDS: usize = 300;

/// What is committed of a build, as the oracle heard it. Goes back in time with the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) fence: Fence,
    pub(crate) records: usize,
    pub(crate) keys: BTreeSet<String>,
    /// Due times of open timers, by step.
    pub(crate) deadlines: BTreeMap<String, u64>,
    /// Of each step: raw bytes consumed, and what was stored of them.
    pub(crate) logs: BTreeMap<String, (u64, Vec<u8>)>,
    pub(crate) result: Option<BuildResult>,
    /// How much of the log some reader has seen, and what it was.
    pub(crate) read: Vec<u8>,
}

/// One run of a program, on whatever machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Printed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) status: Option<i32>,
    /// The machine was restarted: its spool may be shorter than what was printed.
    pub(crate) damaged: bool,
    pub(crate) capture: bool,
}

#[derive(Default)]
pub(crate) struct Oracle {
    pub(crate) builds: BTreeMap<BuildId, Told>,
    pub(crate) printed: BTreeMap<(BuildId, String), Printed>,
    /// Acknowledged records, by build and index.
    pub(crate) acknowledged: BTreeMap<(BuildId, i64), Bytes>,
    /// When the last beat of an incarnation was committed.
    pub(crate) beats: BTreeMap<i64, Time>,
    /// Fences under which a life drives or drove a build.
    pub(crate) drivers: BTreeSet<(u64, BuildId, Fence)>,
    /// Which driver showed a fence to agents.
    pub(crate) actors: BTreeMap<(BuildId, Fence), u64>,
    /// Fences that the store has given.
    pub(crate) given: BTreeSet<(BuildId, Fence)>,
    /// Lives that have seen the store before it was set back, and go on: they must raise the epoch.
    pub(crate) witnesses: BTreeSet<(usize, u64)>,
    /// Highest fence that an agent has answered a claim under.
    pub(crate) claimed: BTreeMap<(usize, BuildId), Fence>,
    pub(crate) rested: Option<Time>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl Oracle {
    pub(crate) fn note(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// The store forgot: so does what it was asked to keep.
    pub(crate) fn set_back(&mut self, told: BTreeMap<BuildId, Told>) {
        // Of builds that have ended, their owners need not remember anything; the others know what they drove.
        self.drivers.retain(|(_, build, _)| self.builds.get(build).is_some_and(|told| told.result.is_none()));
        self.builds = told;
        for build in self.builds.values_mut() {
            build.read.clear();
        }
        self.acknowledged.clear();
        // Fences that only the lost part of the history has given may be given again before the epoch is raised.
        self.actors.clear();
        self.note("restores");
    }
}

/// What the oracle looks at before a write.
pub(crate) struct Before {
    pub(crate) fence: Option<Fence>,
    pub(crate) seq: Option<(Fence, i64)>,
    pub(crate) live: bool,
}

impl World {
    pub(crate) fn before(&self, write: &Write) -> Before {
        let (mut fence, mut seq, mut live) = (None, None, false);
        match write {
            Write::Progress(p) => {
                let row = self.home.state.running(None).into_iter().find(|r| r.build == p.build);
                seq = row.map(|r| (r.fence, r.seq));
            }
            Write::Adopt { build, .. } => {
                fence =
                    self.home.state.running(None).into_iter().find(|r| r.build == *build).map(|r| r.fence);
            }
            Write::Lapse { who, .. } => live = self.members().iter().any(|m| m.id == *who && m.live()),
            _ => {}
        }
        Before { fence, seq, live }
    }

    pub(crate) fn committed(&mut self, write: &Write, before: &Before, answer: &Result<Answer, Error>) {
        if let Err(error @ (Error::Corrupt(_) | Error::Limit(_))) = answer {
            return self.fail(format!("the store refuses what must not be asked: {error}"));
        }
        match (write, answer) {
            (Write::Progress(progress), Ok(_)) => {
                let after = self.home.state.running(None).into_iter().find(|r| r.build == progress.build);
                if before.seq != after.map(|r| (r.fence, r.seq)) {
                    self.progressed(progress);
                }
            }
            (Write::TakeBuild { .. }, Ok(Answer::Taken(taken))) => {
                self.oracle.builds.entry(taken.build).or_default();
                self.oracle.given.insert((taken.build, taken.fence));
            }
            (Write::Join(_), Ok(Answer::Joined { incarnation, .. })) => {
                self.oracle.beats.insert(*incarnation, self.now);
            }
            (Write::Beat { me, .. }, Ok(_)) => {
                self.oracle.beats.insert(me.incarnation, self.now);
            }
            (Write::Lapse { who, beat: Some(_), .. }, Ok(Answer::Bool(true))) if before.live => {
                self.oracle.note("lapses");
                let beat = self.oracle.beats.get(&who.incarnation).copied().unwrap_or(0);
                // Two reads a lease apart both saw that beat.
                if self.now < beat + 5 * SEC && self.home.restores == 0 {
                    self.fail(format!("{who} is declared lapsed {} µs after its last beat", self.now - beat));
                }
            }
            (Write::Adopt { build, .. }, Ok(Answer::Adopted(adopted)))
                if before.fence != Some(adopted.fence) =>
            {
                self.oracle.note("adoptions");
                let new = self.oracle.given.insert((*build, adopted.fence));
                if !new && !self.oracle.witnesses.is_empty() && self.home.calm_for(self.now) {
                    self.fail(format!("fence {} of build {build} is given a second time", adopted.fence));
                }
            }
            (Write::SetState { me, state: ReplicaState::Starting, .. }, Ok(_))
                if !self.home.late && self.home.calm_for(self.now) =>
            {
                let leases = self.home.state.leases();
                if !leases.iter().any(|l| l.name == cluster::STARTUP && l.holder.as_ref() == Some(me)) {
                    self.fail(format!("{me} starts without the startup lock"));
                }
            }
            _ => {}
        }
    }

    /// Somebody was told that it is committed.
    pub(crate) fn acknowledged(&mut self, write: &Write, answer: &Result<Answer, Error>) {
        let (Write::Progress(progress), Ok(_)) = (write, answer) else { return };
        for (index, record) in (progress.first_record..).zip(&progress.records) {
            self.oracle.acknowledged.insert((progress.build, index), record.clone());
        }
    }

    /// One more committed write of a build.
    pub(crate) fn progressed(&mut self, progress: &Progress) {
        let Some(mut told) = self.oracle.builds.remove(&progress.build) else {
            return self.fail(format!("build {} has begun unseen", progress.build));
        };
        if let Err(why) = heard(&mut told, progress) {
            self.fail(format!("build {}: {why}", progress.build));
        }
        if progress.records.len() > MOST_RECORDS {
            self.fail(format!("build {}: {} records in one write", progress.build, progress.records.len()));
        }
        for record in &progress.records {
            if let Ok(Record::Outcome { outcome: Outcome::Failed(failure), .. }) =
                serde_json::from_slice(record)
                && failure.message.contains("no connection for")
            {
                self.lost_while_linked(&failure.message);
            }
        }
        self.oracle.builds.insert(progress.build, told);
    }

    /// An agent carries out a command of a build.
    pub(crate) fn obeyed(&mut self, agent: usize, build: BuildId, fence: Fence) {
        if let Some(held) = self.oracle.claimed.get(&(agent, build)).filter(|held| **held > fence) {
            self.fail(format!("an agent obeys fence {fence} of build {build} and has seen {held}"));
        }
    }

    /// An agent answers a claim.
    pub(crate) fn claimed(&mut self, agent: usize, build: BuildId, fence: Fence) {
        let held = *self.oracle.claimed.get(&(agent, build)).unwrap_or(&fence);
        if held > fence {
            self.fail(format!(
                "an agent answers a claim of build {build} under {fence} and has answered one under {held}"
            ));
        }
        self.oracle.claimed.insert((agent, build), fence);
    }

    /// The disk of an agent is new.
    pub(crate) fn claims_gone(&mut self, agent: usize) {
        self.oracle.claimed.retain(|(at, _), _| *at != agent);
    }

    /// An agent forgot all of a build.
    pub(crate) fn forgotten(&mut self, agent: usize, build: BuildId) {
        self.oracle.claimed.remove(&(agent, build));
    }

    /// A driver begins. What an earlier one had in flight would be taken for its own.
    pub(crate) fn begins(&mut self, life: u64, build: BuildId, fence: Fence) {
        if !self.oracle.drivers.insert((life, build, fence)) {
            self.fail(format!("build {build} gets a second driver under fence {fence}"));
        }
    }

    /// An owner that may send does send. No other driver, here or elsewhere, has sent under that fence.
    pub(crate) fn sends(&mut self, build: BuildId, fence: Fence, me: &ReplicaId, driver: u64) {
        let first = *self.oracle.actors.entry((build, fence)).or_insert(driver);
        if first != driver {
            self.fail(format!("two drivers act for build {build} under fence {fence}"));
        }
        if self.home.restores > 0 || self.members().iter().any(|m| m.id == *me && m.live()) {
            return;
        }
        let row = self.home.state.running(None).into_iter().find(|r| r.build == build);
        if let Some(row) = row.filter(|row| row.fence > fence) {
            self.fail(format!(
                "build {build}: {me} sends under {fence}, and its lease has lapsed: {} is given",
                row.fence
            ));
        }
    }

    /// A program begins to run.
    pub(crate) fn ran(&mut self, build: BuildId, step: &str, capture: bool) {
        let key = (build, step.to_owned());
        if self.oracle.printed.contains_key(&key) {
            return self.fail(format!("the program of step {step} of build {build} runs twice"));
        }
        self.oracle.note("steps");
        self.oracle.printed.insert(key, Printed { capture, ..Printed::default() });
        let began =
            self.home.state.journal(build, 0).iter().any(
                |r| matches!(serde_json::from_slice(r), Ok(Record::Intent { step: s, .. }) if s.0 == step),
            );
        if !began && self.home.restores == 0 {
            self.fail(format!("step {step} of build {build} runs without a committed intent"));
        }
    }

    // -- logs --------------------------------------------------------------------------------

    /// A reader looks at some log; what another has seen is still there.
    pub(crate) fn read_log(&mut self) {
        let builds: Vec<BuildId> = self.oracle.builds.keys().copied().collect();
        if builds.is_empty() {
            return;
        }
        let build = builds[self.random.index(builds.len())];
        let Some(slice) = self.home.state.log(build, 0, usize::MAX) else { return };
        let Some(told) = self.oracle.builds.get_mut(&build) else { return };
        let changed = !slice.bytes.starts_with(&told.read);
        told.read = slice.bytes;
        if changed {
            self.fail(format!("the log of build {build} is not what was served before"));
        }
    }
}

/// Takes a committed write into what is known.
fn heard(told: &mut Told, progress: &Progress) -> Result<(), String> {
    if told.result.is_some() {
        return Err("it is written to after its end".into());
    }
    if progress.fence < told.fence {
        return Err(format!("a write under {} comes after one under {}", progress.fence, told.fence));
    }
    told.fence = progress.fence;
    told.records += progress.records.len();
    for record in &progress.records {
        match serde_json::from_slice(record) {
            Ok(Record::Event { key, event: Outside::Abort { .. }, .. }) => {
                let plain = key.split('+').next().unwrap_or_default().to_owned();
                if !told.keys.insert(plain) {
                    return Err(format!("the delivery {key} is journaled twice"));
                }
            }
            Ok(Record::Intent { step, deadline: Some(due), .. }) => {
                told.deadlines.insert(step.0, due);
            }
            Ok(Record::Outcome { step, outcome: Outcome::Done(_), at, .. }) => {
                if told.deadlines.get(&step.0).is_some_and(|due| at < *due) {
                    return Err(format!("the timer {step} fired early"));
                }
            }
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    for chunk in progress.chunks.iter().filter(|c| !c.step.is_empty()) {
        let (raw, bytes) = told.logs.entry(chunk.step.clone()).or_default();
        if *raw != chunk.raw_from {
            return Err(format!(
                "output of step {} from {} is stored after {raw}",
                chunk.step, chunk.raw_from
            ));
        }
        *raw = chunk.raw_to;
        bytes.extend_from_slice(&chunk.bytes);
    }
    for record in &progress.records {
        if let Ok(Record::Outcome { step, raw, .. }) = serde_json::from_slice(record) {
            let there = told.logs.get(&step.0).map_or(0, |(raw, _)| *raw);
            if raw.unwrap_or_default() != there {
                return Err(format!("step {step} ends with {raw:?} raw bytes, and the log has {there}"));
            }
        }
    }
    for effect in &progress.effects {
        if let store::Effect::Finish { result, .. } = effect {
            told.result = Some(*result);
        }
    }
    Ok(())
}
