//! Replacing replicas by others of a new revision, one after the other, while the controller serves. Pure: it is told what
//! was observed and says what to do next; whoever starts the replicas does it, as often as it is said.
//!
//! A slot is the place of one replica, named by its ordinal. A slot that serves is drained before it is replaced, and only
//! while all others are ready. A revision that does not become ready halts the rollout, and all slots go back to the one
//! before.

use std::fmt;
use std::time::Duration;

use model::RestartWhen;
pub use model::RolloutPhase as Phase;
use serde::{Deserialize, Serialize};

/// What a replica runs: two that differ in it are not interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub String);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is seen of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Of the replica that runs or is to be started there.
    pub revision: Revision,
    pub state: State,
    /// Why this replica will not become ready, as far as it can be known: it says so, or ends again and again.
    pub broken: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No replica is there, or one that does not serve yet.
    Starting,
    Ready,
    /// It hands over what it has.
    Draining,
    /// It has nothing any more.
    Drained,
    /// It was lost, and whoever starts replicas can't know whether it comes back: no proof against what it was to run.
    Away,
}

/// What the administrator has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub when: RestartWhen,
    /// A slot that drains for longer is replaced all the same: fences make that safe.
    pub drain: Duration,
    /// A replica that is not ready after this never will be.
    pub ready: Duration,
    /// What waits to be idle goes on after this.
    pub idle: Duration,
    pub order: Order,
    pub hold: Option<Hold>,
}

/// Which slot is taken next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One that does not serve first: that costs nobody anything.
    IdleFirst,
    /// As they are listed, because whoever starts replicas can't do it otherwise. A slot that does not serve and is broken is
    /// no reason to wait then, or what mends it would never reach it.
    Listed,
}

/// Why nothing begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Somebody has said so. The slot at work is finished.
    Paused,
    /// It is not the time for it. A rollout that has begun goes on.
    Closed,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            when: RestartWhen::Immediately,
            drain: Duration::from_secs(5 * 60),
            ready: Duration::from_secs(5 * 60),
            idle: Duration::from_secs(24 * 60 * 60),
            order: Order::IdleFirst,
            hold: None,
        }
    }
}

/// What is seen of the controller.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// Monotonic.
    pub now: Duration,
    /// By ordinal.
    pub slots: &'a [Slot],
    /// Acts in flight; `None` while nobody can say.
    pub busy: Option<u64>,
}

/// Where a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// All replicas were ready with it once.
    pub good: Revision,
    pub wanted: Revision,
    /// Why `wanted` was given up: `good` is gone back to.
    pub failed: Option<String>,
    /// When `wanted` was asked for.
    pub asked: Duration,
    /// The slot at work.
    pub turn: Option<Turn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub ordinal: usize,
    pub stage: Stage,
    pub since: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Drain,
    Start,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Nothing,
    /// Move all that the replica of this slot has to others.
    Drain(usize),
    /// End the replica of this slot and start one of this revision.
    Replace(usize, Revision),
}

impl Rollout {
    pub fn settled(revision: Revision) -> Rollout {
        Rollout { good: revision.clone(), wanted: revision, failed: None, asked: Duration::ZERO, turn: None }
    }

    /// Another revision is wanted from now on. Of one that failed, a further attempt is a revision of its own.
    #[must_use]
    pub fn want(self, revision: Revision, now: Duration) -> Rollout {
        if self.wanted == revision {
            return self;
        }
        Rollout { wanted: revision, failed: None, asked: now, ..self }
    }

    /// What waits until no act is in flight is not wanted any more, if it has not begun. What has begun goes on.
    #[must_use]
    pub fn withdraw(self, observed: &Observed<'_>, policy: &Policy) -> Rollout {
        if self.failed.is_some() || policy.when != RestartWhen::Idle || self.begun(observed) {
            return self;
        }
        Rollout { wanted: self.good.clone(), ..self }
    }

    /// What slots get.
    pub fn target(&self) -> &Revision {
        if self.failed.is_some() { &self.good } else { &self.wanted }
    }

    pub fn phase(&self, observed: &Observed<'_>, policy: &Policy) -> Phase {
        let done = observed.slots.iter().all(|slot| slot.revision == *self.target());
        match (&self.failed, done && self.turn.is_none()) {
            (Some(_), true) => Phase::Halted,
            (Some(_), false) => Phase::GoingBack,
            (None, true) => Phase::Settled,
            (None, false) if self.waits(observed, policy) => Phase::Waiting,
            (None, false) => Phase::Rolling,
        }
    }

    /// Whether it has not begun and must wait until no act is in flight. One that took the place of another one half-way goes
    /// on at once: no slots are left with different programs for a day.
    fn waits(&self, observed: &Observed<'_>, policy: &Policy) -> bool {
        if self.failed.is_some() || self.begun(observed) {
            return false;
        }
        let over = observed.now.saturating_sub(self.asked) >= policy.idle;
        let busy = policy.when == RestartWhen::Idle && !over && observed.busy.is_none_or(|busy| busy > 0);
        busy || policy.hold == Some(Hold::Closed)
    }

    /// Of a slot that is away it is only known what it is to run.
    fn begun(&self, observed: &Observed<'_>) -> bool {
        let other = |slot: &Slot| slot.revision != self.good && slot.state != State::Away;
        self.turn.is_some() || observed.slots.iter().any(other)
    }
}

/// One step: where the rollout stands now, and what is to be done. Done again on the same observation, it says the same.
pub fn step(rollout: Rollout, observed: &Observed<'_>, policy: &Policy) -> (Rollout, Act) {
    let rollout = judge(rollout, observed, policy);
    let Some(turn) = rollout.turn else { return next(rollout, observed, policy) };
    let Some(slot) = observed.slots.get(turn.ordinal) else {
        // there are fewer slots than there were
        return next(Rollout { turn: None, ..rollout }, observed, policy);
    };
    let current = slot.revision == *rollout.target();
    match (turn.stage, slot.state) {
        (_, State::Ready) if current => next(Rollout { turn: None, ..rollout }, observed, policy),
        // one that drains, or that seems to, because nobody can ask it, is no worse off for being waited for
        (Stage::Start, State::Starting | State::Away | State::Draining) if current => (rollout, Act::Nothing),
        (Stage::Drain, State::Ready | State::Draining) if !expired(turn.since, policy.drain, observed) => {
            let act = if slot.state == State::Ready { Act::Drain(turn.ordinal) } else { Act::Nothing };
            (rollout, act)
        }
        (Stage::Start, State::Ready | State::Draining) => {
            begin(rollout, turn.ordinal, Stage::Drain, observed)
        }
        (Stage::Start | Stage::Drain, _) => begin(rollout, turn.ordinal, Stage::Start, observed),
    }
}

/// Gives a revision up that does not become ready.
fn judge(rollout: Rollout, observed: &Observed<'_>, policy: &Policy) -> Rollout {
    if rollout.failed.is_some() || rollout.good == rollout.wanted {
        return rollout;
    }
    let mut wanted = observed.slots.iter().enumerate().filter(|(_, slot)| slot.revision == rollout.wanted);
    let broken = wanted.find_map(|(_, slot)| slot.broken.clone());
    let late = rollout.turn.filter(|turn| {
        let slot = observed.slots.get(turn.ordinal);
        let starts = slot.is_some_and(|s| s.revision == rollout.wanted && s.state == State::Starting);
        turn.stage == Stage::Start && starts && expired(turn.since, policy.ready, observed)
    });
    let late = late.map(|_| format!("it was not ready after {} s", policy.ready.as_secs()));
    Rollout { failed: broken.or(late), ..rollout }
}

/// Nobody is at work: settles, or begins with the next slot.
fn next(rollout: Rollout, observed: &Observed<'_>, policy: &Policy) -> (Rollout, Act) {
    let starts = |slot: &Slot| slot.revision == rollout.wanted && slot.state == State::Starting;
    let under_way = rollout.failed.is_none() && rollout.good != rollout.wanted;
    if let Some(ordinal) = observed.slots.iter().position(starts).filter(|_| under_way) {
        // One that was begun before, or that was lost again: it has as long as any other.
        let turn = Some(Turn { ordinal, stage: Stage::Start, since: observed.now });
        return (Rollout { turn, ..rollout }, Act::Nothing);
    }
    let outdated = || {
        let slots = observed.slots.iter().enumerate();
        slots.filter(|(_, slot)| slot.revision != *rollout.target())
    };
    let idle = || outdated().find(|(_, slot)| matches!(slot.state, State::Starting | State::Drained));
    let first = match policy.order {
        Order::IdleFirst => idle().or_else(|| outdated().next()),
        Order::Listed => outdated().next(),
    };
    let Some((ordinal, slot)) = first else {
        let all = observed.slots.iter().all(|slot| slot.state == State::Ready);
        // with no slots at all, nothing was proven
        let good =
            if all && !observed.slots.is_empty() { rollout.target().clone() } else { rollout.good.clone() };
        return (Rollout { good, ..rollout }, Act::Nothing);
    };
    // One that seems to drain may only have been slow to say that it is ready.
    let serves = matches!(slot.state, State::Ready | State::Draining);
    let held = policy.hold == Some(Hold::Paused);
    if held || rollout.waits(observed, policy) || (serves && !room(&rollout, ordinal, observed, policy)) {
        return (rollout, Act::Nothing);
    }
    begin(rollout, ordinal, if serves { Stage::Drain } else { Stage::Start }, observed)
}

/// Whether this slot may go without anybody noticing.
fn room(rollout: &Rollout, ordinal: usize, observed: &Observed<'_>, policy: &Policy) -> bool {
    let mut others = observed.slots.iter().enumerate().filter(|(other, _)| *other != ordinal);
    let mut serving = others.clone().filter(|(_, slot)| slot.state == State::Ready);
    let broken = |slot: &Slot| slot.broken.is_some() && slot.revision != *rollout.target();
    match policy.order {
        Order::IdleFirst => others.all(|(_, slot)| slot.state == State::Ready),
        Order::Listed => {
            let only = observed.slots.len() == 1;
            (only || serving.next().is_some())
                && others.all(|(_, slot)| slot.state == State::Ready || broken(slot))
        }
    }
}

fn begin(rollout: Rollout, ordinal: usize, stage: Stage, observed: &Observed<'_>) -> (Rollout, Act) {
    let act = match stage {
        Stage::Drain => Act::Drain(ordinal),
        Stage::Start => Act::Replace(ordinal, rollout.target().clone()),
    };
    (Rollout { turn: Some(Turn { ordinal, stage, since: observed.now }), ..rollout }, act)
}

fn expired(since: Duration, after: Duration, observed: &Observed<'_>) -> bool {
    observed.now.saturating_sub(since) >= after
}

#[cfg(test)]
mod tests;
