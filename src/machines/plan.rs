//! What the replicas are to run, how far that is, and who goes next. Pure. The plan is kept in the lease `rollout`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{Millis, ReplicaId, ReplicaName, ReplicaState, RestartWhen, RolloutReport};
use rollout::{Act, Observed, Phase, Policy, Revision, Rollout, Slot, Stage, State};
use serde::{Deserialize, Serialize};
use store::{Member, Restart};

use crate::programs::{Order, Source};
use crate::{GaveUp, Number};

/// A replica that was lost is waited for so long before the others go on without it.
const AWAY: Duration = Duration::from_secs(5 * 60);
/// One that has been away for so long may not come back at all.
const GONE: i64 = 24 * 60 * 60 * 1_000;
/// How plans are written. A version that reads them otherwise than the ones before has a higher number.
const FORMAT: u32 = 1;

/// As the holder of the lease leaves it for the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`FORMAT`] of whoever has written it.
    format: u32,
    /// Number of the newest program that was asked for.
    newest: u64,
    /// All replicas were ready with it once.
    good: Revision,
    wanted: Revision,
    /// Why `wanted` was given up.
    failed: Option<String>,
    when: RestartWhen,
    /// When it was asked for, by the clock of the holder of then.
    asked_at: Millis,
    /// Why there is this revision, for people.
    reason: String,
    /// The last restart that a user has asked for and that is, or was, carried out, or withdrawn.
    restart: i64,
    /// The last revision that was wanted and withdrawn: its number is not given again.
    #[serde(default)]
    withdrawn: Option<Revision>,
    /// Who goes now.
    turn: Option<Turn>,
    /// Those who were lost for so long that nobody waits for them, neither the next holder.
    without: BTreeSet<ReplicaId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Turn {
    name: ReplicaName,
    stage: Stage,
    /// What it was told to run; empty before it was.
    told: Option<Revision>,
}

/// What the holder sees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// Monotonic.
    pub(crate) now: Duration,
    pub(crate) wall: Millis,
    pub(crate) members: &'a [Member],
    /// What replicas say that they could not start.
    pub(crate) gave_up: &'a BTreeMap<ReplicaName, GaveUp>,
    /// Whether the restart that was asked for last was withdrawn.
    pub(crate) withdrawn: bool,
    /// Acts in flight; `None`: nobody can say.
    pub(crate) busy: Option<u64>,
}

/// What a holder knows and the next one learns anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    /// Since when the turn is what it is.
    turn: Option<(Turn, Duration)>,
    /// Since when lost replicas are seen to be lost.
    away: BTreeMap<ReplicaId, Duration>,
}

/// What comes of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) plan: Plan,
    pub(crate) report: RolloutReport,
}

/// Slots and whose they are.
struct Slots<'a> {
    slots: Vec<Slot>,
    of: Vec<&'a Member>,
}

impl Plan {
    /// Of a controller that had none: what runs is good. `reported`: the last restart that somebody else has carried out.
    pub(crate) fn first(members: &[Member], reported: i64) -> Plan {
        let runs = members.iter().filter(|m| m.live()).filter_map(|m| Number::parse(&m.revision)).max();
        let good = runs.unwrap_or(Number { program: 1, restart: 0 });
        Plan {
            format: FORMAT,
            newest: good.program,
            good: good.revision(),
            wanted: good.revision(),
            failed: None,
            when: RestartWhen::Immediately,
            asked_at: Millis(0),
            reason: "the first start".to_owned(),
            restart: reported,
            withdrawn: None,
            turn: None,
            without: BTreeSet::new(),
        }
    }

    /// `None`: there is none, or it is of a version that we do not know ([`Plan::foreign`]).
    pub fn read(note: &str) -> Option<Plan> {
        serde_json::from_str(note).ok().filter(|plan: &Plan| plan.format <= FORMAT)
    }

    /// Whether there is one that only another version can read. It is not to be written over.
    pub(crate) fn foreign(note: &str) -> bool {
        !note.is_empty() && Plan::read(note).is_none()
    }

    pub(crate) fn write(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// What replicas are to run.
    pub fn target(&self) -> &Revision {
        if self.failed.is_some() { &self.good } else { &self.wanted }
    }

    /// What a replica that runs this is taken for: one that was restarted already when the restart of all was given up has
    /// the program that is gone back to.
    fn counts_as(&self, runs: &Revision) -> Revision {
        let program = |revision| Number::of(revision).map(|number| number.program);
        let same = program(runs).is_some() && program(runs) == program(&self.good);
        if self.failed.is_some() && same { self.good.clone() } else { runs.clone() }
    }

    /// Whether this replica is the one that goes now.
    pub(crate) fn names(&self, me: &ReplicaName) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.name == *me)
    }

    /// Whether the replica of this name, which runs that, is to end, and what is to be started then in its place. One that
    /// could not start what is wanted stays as it is.
    pub fn order(&self, me: &ReplicaName, runs: &Revision, gave_up: Option<&Revision>) -> Option<Order> {
        let target = self.target();
        if !self.names(me) || self.counts_as(runs) == *target || gave_up == Some(target) {
            return None;
        }
        let fresh = self.failed.is_none() && Number::of(target).is_some_and(|number| number.restart == 0);
        let source = if fresh { Source::Installed } else { Source::Kept };
        Some(Order { revision: target.clone(), source, keep: self.good.clone() })
    }

    /// Users may have asked for something.
    pub(crate) fn hear(mut self, asked: &Restart, at: Millis) -> Plan {
        if asked.number == self.restart {
            return self;
        }
        // one that is lower: the store was set back
        let newer = asked.number > self.restart;
        self.restart = asked.number;
        if !newer || asked.withdrawn {
            return self;
        }
        let Restart { number: _, when, by, reload, withdrawn: _ } = asked;
        let last = Number::of(self.target()).unwrap_or(Number { program: self.newest, restart: 0 });
        let next = if *reload {
            self.newest += 1;
            Number { program: self.newest, restart: 0 }
        } else {
            // of one that failed or was withdrawn, a further attempt has another number
            let tried = [Some(&self.wanted), self.withdrawn.as_ref()].into_iter().flatten();
            let tried = tried.filter_map(Number::of).filter(|tried| tried.program == last.program);
            let restart = tried.map(|tried| tried.restart).fold(last.restart, u64::max) + 1;
            Number { program: last.program, restart }
        };
        let what = if *reload { "the installed program" } else { "a restart" };
        self.reason = format!("{what} was asked for by {by}");
        (self.wanted, self.failed, self.when, self.asked_at) = (next.revision(), None, *when, at);
        self
    }

    /// One step.
    pub(crate) fn step(mut self, seen: &Seen<'_>, memory: &mut Memory, policy: Policy) -> Next {
        memory.notice(seen);
        self.without = self.longer_away(seen, memory);
        let policy = Policy { when: self.when, ..policy };
        let Slots { slots, of } = self.slots(seen);
        let observed = Observed { now: seen.now, slots: &slots, busy: seen.busy };
        let at = |name: &ReplicaName| of.iter().position(|member| member.id.name == *name);
        let turn = self.turn.as_ref().and_then(|turn| {
            let since = memory.since(turn, seen.now);
            Some(rollout::Turn { ordinal: at(&turn.name)?, stage: turn.stage, since })
        });
        let waited = u64::try_from(seen.wall.0.saturating_sub(self.asked_at.0)).unwrap_or(0);
        let rollout = Rollout {
            good: self.good.clone(),
            wanted: self.wanted.clone(),
            failed: self.failed.clone(),
            asked: seen.now.saturating_sub(Duration::from_millis(waited)),
            turn,
        };
        let rollout = if seen.withdrawn { rollout.withdraw(&observed, &policy) } else { rollout };
        if rollout.wanted != self.wanted {
            self.withdrawn = Some(std::mem::replace(&mut self.wanted, rollout.wanted.clone()));
            self.reason = "a restart was withdrawn".to_owned();
        }
        let (after, act) = rollout::step(rollout, &observed, &policy);
        let phase = after.phase(&observed, &policy);
        let turn = after.turn.and_then(|turn| {
            let name = of.get(turn.ordinal)?.id.name.clone();
            let told = match &act {
                Act::Replace(_, revision) => Some(revision.clone()),
                Act::Nothing | Act::Drain(_) => {
                    self.turn.as_ref().filter(|before| before.name == name).and_then(|t| t.told.clone())
                }
            };
            Some((Turn { name, stage: turn.stage, told }, turn.since))
        });
        memory.turn = turn.clone();
        let turn = turn.map(|(turn, _)| turn);
        let plan = Plan { good: after.good, failed: after.failed, turn, ..self };
        let report = plan.report(phase, &act, &of);
        Next { plan, report }
    }

    /// Who has been away for too long to be waited for, as it was seen by this holder or one before.
    fn longer_away(&self, seen: &Seen<'_>, memory: &Memory) -> BTreeSet<ReplicaId> {
        let lost = seen.members.iter().filter(|m| !m.live()).map(|m| &m.id);
        let long =
            |id: &ReplicaId| memory.away.get(id).is_some_and(|since| seen.now.saturating_sub(*since) >= AWAY);
        lost.filter(|id| self.without.contains(*id) || long(id)).cloned().collect()
    }

    fn slots<'a>(&self, seen: &Seen<'a>) -> Slots<'a> {
        let mut members: Vec<&Member> = seen.members.iter().collect();
        members.sort_by_key(|m| (m.ordinal, m.id.name.clone()));
        let live = members.iter().filter(|m| m.live()).count();
        let mut all = Slots { slots: Vec::new(), of: Vec::new() };
        for member in members {
            let slot =
                if member.live() { Some(self.live(member, seen)) } else { self.lost(member, live, seen) };
            if let Some(slot) = slot {
                all.slots.push(slot);
                all.of.push(member);
            }
        }
        all
    }

    fn live(&self, member: &Member, seen: &Seen<'_>) -> Slot {
        let revision = self.counts_as(&Revision(member.revision.clone()));
        let gave_up = seen.gave_up.get(&member.id.name);
        if let Some(gave_up) = gave_up.filter(|g| self.failed.is_none() && g.revision == self.wanted) {
            // It was to run that, and came back as it was: that revision can't be started here.
            let why = format!("{} can't start it: {}", member.id.name, gave_up.why);
            return Slot { revision: self.wanted.clone(), state: State::Starting, broken: Some(why) };
        }
        let idle = member.load.builds == 0 && member.load.agents == 0;
        let state = match member.state {
            ReplicaState::Ready | ReplicaState::Setup => State::Ready,
            ReplicaState::Draining if idle => State::Drained,
            ReplicaState::Draining => State::Draining,
            ReplicaState::Waiting | ReplicaState::Starting | ReplicaState::Stopped => State::Starting,
        };
        Slot { revision, state, broken: None }
    }

    /// `None`: the others go on without it.
    fn lost(&self, member: &Member, live: usize, seen: &Seen<'_>) -> Option<Slot> {
        let short = !self.without.contains(&member.id) || live < 2;
        let gone = seen.wall.0.saturating_sub(member.since.0) > GONE;
        let turn = self.turn.as_ref().filter(|turn| turn.name == member.id.name);
        let blames = turn.is_some_and(|turn| turn.told.as_ref() == Some(self.target())) && !self.proven(seen);
        let (revision, state) = match turn.map(|turn| turn.stage) {
            // A program that nobody has seen at work is not taken to a second machine after the first was lost with it: it
            // is given up. Any other is not to blame.
            Some(Stage::Start) if blames => (self.target().clone(), State::Starting),
            Some(_) | None if gone || !short => return None,
            // It has ended, as it was told.
            Some(Stage::Start) => (self.target().clone(), State::Away),
            Some(Stage::Drain) => (self.counts_as(&Revision(member.revision.clone())), State::Starting),
            // Nobody goes while one is away, and it can't be given a turn itself: it is told what to run when it is back.
            None => (self.target().clone(), State::Away),
        };
        Some(Slot { revision, state, broken: None })
    }

    /// Whether what replicas are to run was ready anywhere.
    fn proven(&self, seen: &Seen<'_>) -> bool {
        let program = |revision: &Revision| Number::of(revision).map(|number| number.program);
        let target = self.target();
        let serves = |m: &Member| m.state == ReplicaState::Ready && m.revision == target.0;
        program(target) == program(&self.good) || seen.members.iter().any(serves)
    }

    fn report(&self, phase: Phase, act: &Act, of: &[&Member]) -> RolloutReport {
        let (wanted, good, reason) = (&self.wanted, &self.good, &self.reason);
        let why = self.failed.clone().unwrap_or_default();
        let target = self.target();
        let given_up = match &self.failed {
            Some(why) => format!("; {wanted} was given up: {why}"),
            None => String::new(),
        };
        let message = match (&self.turn, phase) {
            (Some(Turn { name, stage: Stage::Drain, .. }), _) => {
                format!("{name} hands over what it does{given_up}")
            }
            (Some(Turn { name, stage: Stage::Start, .. }), _) => {
                format!("{name} starts with revision {target}{given_up}")
            }
            (None, Phase::Settled) => settled(wanted, of),
            (None, Phase::Waiting) => {
                format!("revision {wanted} waits until no step of a build is at work: {reason}")
            }
            (None, Phase::Rolling | Phase::GoingBack) if *act == Act::Nothing => {
                let unready = |m: &&&Member| m.state != ReplicaState::Ready;
                let names: BTreeSet<_> = of.iter().filter(unready).map(|m| m.id.name.as_str()).collect();
                let names = names.into_iter().collect::<Vec<_>>().join(", ");
                format!("revision {target} waits until all others are ready: {names}{given_up}")
            }
            (None, Phase::Rolling) => format!("rolling out revision {wanted}: {reason}"),
            (None, Phase::GoingBack) => {
                format!("revision {wanted} is given up: {why}; going back to revision {good}")
            }
            (None, Phase::Halted) => {
                format!("revision {good} runs everywhere again{given_up}")
            }
        };
        RolloutReport {
            phase,
            revision: wanted.to_string(),
            reason: reason.clone(),
            restart: self.restart,
            failed: self.failed.clone(),
            message,
            bake: None,
        }
    }
}

fn settled(revision: &Revision, of: &[&Member]) -> String {
    let versions: BTreeSet<&str> =
        of.iter().filter(|m| m.live()).map(|member| member.version.as_str()).collect();
    if versions.len() < 2 {
        return format!("revision {revision} runs everywhere");
    }
    let each = of.iter().map(|m| format!("{} has {}", m.id.name, m.version)).collect::<Vec<_>>().join(", ");
    format!("revision {revision} runs everywhere, but not one program: {each}")
}

impl Memory {
    /// The store was away, so nothing was seen: what takes too long begins anew.
    pub(crate) fn forget(&mut self) {
        *self = Memory::default();
    }

    fn notice(&mut self, seen: &Seen<'_>) {
        let lost = seen.members.iter().filter(|m| !m.live());
        let before = std::mem::take(&mut self.away);
        self.away = lost.map(|m| (m.id.clone(), before.get(&m.id).copied().unwrap_or(seen.now))).collect();
    }

    fn since(&self, turn: &Turn, now: Duration) -> Duration {
        self.turn.as_ref().filter(|(known, _)| known == turn).map_or(now, |(_, since)| *since)
    }
}

#[cfg(test)]
pub(crate) mod tests;
