//! The rollout of a StatefulSet: what is seen of its pods as slots for [`rollout::step`], and what comes of its answer. Pure.
//!
//! Pods are replaced from the highest ordinal down, because a StatefulSet does it in no other way: pods from its `partition` on
//! get the template, those below come back as what all ran last (`status.currentRevision`), which is what was proven, but where
//! nothing was or all pods were away meanwhile: so it is looked at ([`Seen::below`]). A pod that is lost in the middle of a rollout
//! never comes back as something that was not proven. Where the rollout stands is written in an annotation of the StatefulSet,
//! together with what follows from it. At rest the partition is above all pods: nothing is replaced that is not asked for here.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use model::RestartWhen;
use resource::{Reason, Span, When};
use rollout::{Act, Hold, Observed, Order, Phase, Policy, Revision, Rollout, Slot, Stage, State, Turn, step};
use serde::{Deserialize, Serialize};

use crate::check;
use crate::plan;
use crate::pods;
use crate::seen::Seen;
use crate::shrink;
use crate::told::Told;
use crate::window;
use model::overview::Overview;

/// An image that could not be had is tried again after so long, then after twice as long, up to sixteen times.
const RETRY: SignedDuration = SignedDuration::from_mins(5);

/// Where the rollout stands, as it is kept. Times are those of the wall: an operator may be another process than the one that
/// began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Note {
    pub good: Revision,
    /// All replicas were ready with `good` once. Before that there is nothing to go back to.
    #[serde(default)]
    pub proven: bool,
    pub wanted: Revision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// The same in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_for: Option<Reason>,
    pub asked: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<NotedTurn>,
    /// A further pod serves while a single one is replaced.
    #[serde(default)]
    pub surge: bool,
    /// When it failed, and how often what is wanted has been tried again since it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    #[serde(default)]
    pub retries: u32,
    /// The number of the last restart of the controller that was heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<i64>,
    /// Since when the replica at work serves, as its kubelet says, and does not answer the operator, while others do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unheard: Option<Timestamp>,
    /// The last time that the store was away; `None`: it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<NotedStore>,
}

/// While the store is away nobody becomes ready and nothing is handed over, whatever a replica runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NotedStore {
    /// Since then.
    Away(Timestamp),
    /// It has answered again since then.
    Back(Timestamp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NotedTurn {
    /// Of the pod.
    pub ordinal: usize,
    pub stage: Stage,
    pub since: Timestamp,
}

impl Note {
    pub(crate) fn first(revision: Revision, now: Timestamp) -> Note {
        Note {
            good: revision.clone(),
            proven: false,
            wanted: revision,
            failed: None,
            failed_for: None,
            asked: now,
            turn: None,
            surge: false,
            failed_at: None,
            retries: 0,
            heard: None,
            unheard: None,
            store: None,
        }
    }

    /// What replicas say of the store, unless nothing goes on. The time in which it was away counts for nobody who is waited for.
    fn look_at_store(self, seen: &Seen) -> Note {
        let rests = self.turn.is_none() && self.good == self.wanted && seen.pods.iter().all(pods::ready);
        match (store_away(seen), self.store) {
            (Some(true), Some(NotedStore::Away(_))) | (None, _) => self,
            (Some(true), _) if rests => self,
            (Some(true), _) => Note { store: Some(NotedStore::Away(seen.now)), ..self },
            (Some(false), Some(NotedStore::Away(since))) => {
                let later = |turn: NotedTurn| {
                    let away = seen.now.duration_since(since.max(turn.since));
                    NotedTurn { since: turn.since.checked_add(away).unwrap_or(seen.now), ..turn }
                };
                Note { store: Some(NotedStore::Back(seen.now)), turn: self.turn.map(later), ..self }
            }
            (Some(false), _) => self,
        }
    }

    /// Whether the replica at work answers.
    fn listen(self, seen: &Seen) -> Note {
        let starts = self.turn.filter(|turn| turn.stage == Stage::Start);
        let pod = starts.and_then(|turn| seen.pod(turn.ordinal).filter(|pod| pods::ready(pod)));
        let silent = starts.is_some_and(|turn| pod.is_some() && !seen.told.contains_key(&turn.ordinal));
        let unheard = (silent && overviews(seen).next().is_some()).then(|| self.unheard.unwrap_or(seen.now));
        Note { unheard, ..self }
    }

    /// The further pod is not waited for any more once what is wanted was given up, and the single one runs what is gone back to:
    /// there may be no room for it.
    fn alone_again(self, seen: &Seen) -> Note {
        let serves = |pod| pods::ready(pod) && pods::revision(pod).is_some_and(|runs| runs == self.good);
        let over = self.surge && self.failed.is_some() && seen.pod(0).is_some_and(serves);
        if over { Note { surge: false, turn: None, ..self } } else { self }
    }

    fn store_is_away(&self) -> bool {
        matches!(self.store, Some(NotedStore::Away(_)))
    }

    /// Whether the pod at work would not come back as what is wanted: a StatefulSet gives its template to the highest places
    /// first, and what it makes below them is another revision.
    fn out_of_reach(&self, slots: &[Slot], below: Option<&Revision>) -> bool {
        let above = |turn: NotedTurn| slots.iter().take(slots.len().saturating_sub(turn.ordinal + 1));
        let differs = |slot: &Slot| slot.revision != *self.target();
        below != Some(self.target()) && self.turn.is_some_and(|turn| above(turn).any(differs))
    }

    /// `None`: nobody can read it.
    pub(crate) fn read(text: &str) -> Option<Note> {
        serde_json::from_str(text).ok()
    }

    pub(crate) fn write(&self) -> String {
        // texts, numbers and times
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Another revision is wanted from now on, if it is another one.
    fn want(self, revision: &Revision, now: Timestamp) -> Note {
        if self.wanted == *revision {
            return self;
        }
        // what was never ready is nothing to go back to
        let good = if self.proven { self.good } else { revision.clone() };
        let wanted = revision.clone();
        Note { good, wanted, failed: None, failed_for: None, failed_at: None, retries: 0, asked: now, ..self }
    }

    /// Whether a pod was touched for what is wanted.
    pub(crate) fn begun(&self, seen: &Seen) -> bool {
        let runs = |pod| pods::revision(pod).is_some_and(|runs| runs == self.wanted);
        self.turn.is_some() || (self.good != self.wanted && seen.pods.iter().any(runs))
    }

    pub(crate) fn target(&self) -> &Revision {
        if self.failed.is_some() { &self.good } else { &self.wanted }
    }

    fn rollout(&self, count: usize) -> Rollout {
        // slots are listed in the order in which they are replaced
        let turn = self.turn.filter(|turn| turn.ordinal < count).map(|turn| Turn {
            ordinal: count - 1 - turn.ordinal,
            stage: turn.stage,
            since: since_epoch(turn.since),
        });
        Rollout {
            good: self.good.clone(),
            wanted: self.wanted.clone(),
            failed: self.failed.clone(),
            asked: since_epoch(self.asked),
            turn,
        }
    }

    fn after(&self, rollout: Rollout, count: usize) -> Note {
        let Rollout { good, wanted, failed, asked, turn } = rollout;
        let turn = turn.filter(|turn| turn.ordinal < count).map(|turn| NotedTurn {
            ordinal: count - 1 - turn.ordinal,
            stage: turn.stage,
            since: at(turn.since),
        });
        Note { good, wanted, failed, asked: at(asked), turn, ..self.clone() }
    }
}

fn since_epoch(time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default()
}

fn at(since_epoch: Duration) -> Timestamp {
    Timestamp::UNIX_EPOCH.checked_add(since_epoch).unwrap_or(Timestamp::MAX)
}

/// What is to be done now to the pods, once the StatefulSet is as the note says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    Nothing,
    /// Ask the replica in this pod to hand over what it has.
    Drain(usize),
    /// Remove this pod; it comes back with what it is to run.
    Replace(usize),
}

/// What came of one step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rolled {
    pub note: Note,
    pub phase: Phase,
    pub hold: Option<Hold>,
    pub deed: Deed,
    /// Pods that the StatefulSet is to have.
    pub replicas: usize,
    pub partition: usize,
    /// The revision of the StatefulSet's template.
    pub target: Revision,
}

/// What is wanted of the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    pub revision: &'a Revision,
    /// A user has asked for it with the word that it may wait until nothing runs.
    pub idle: bool,
}

/// One step towards what is wanted.
pub(crate) fn roll(seen: &Seen, before: Note, wanted: Wanted<'_>) -> Rolled {
    let note = again(before.want(wanted.revision, seen.now), seen.now).look_at_store(seen).listen(seen);
    let single = seen.controller.spec.replicas == 1;
    let note = Note { surge: note.surge && single, ..note }.alone_again(seen);
    let rolled = take(seen, &note, wanted);
    let would_be_away = matches!(rolled.deed, Deed::Drain(0)) && single && !note.surge && surges(seen);
    if would_be_away { take(seen, &Note { surge: true, ..note }, wanted) } else { rolled }
}

/// An image that could not be had may be there later, without anybody changing the resource.
fn again(note: Note, now: Timestamp) -> Note {
    let wait = RETRY.saturating_mul(2_i32.saturating_pow(note.retries.min(4)));
    let due = note.failed_at.is_some_and(|at| now.duration_since(at) >= wait);
    if note.failed_for != Some(Reason::ImageRefused) || note.turn.is_some() || !due {
        return note;
    }
    let retries = note.retries.saturating_add(1);
    Note { failed: None, failed_for: None, failed_at: None, asked: now, retries, ..note }
}

fn take(seen: &Seen, note: &Note, wanted: Wanted<'_>) -> Rolled {
    let asked = seen.controller.spec.replicas as usize;
    let count = if note.surge { asked + 1 } else { asked };
    let policy = policy(seen, note, wanted);
    let mut places = pods::places(seen, count, note);
    places.reverse();
    let slots: Vec<Slot> = places.iter().map(|place| place.slot.clone()).collect();
    let observed = Observed { now: since_epoch(seen.now), slots: &slots, busy: busy(seen) };
    let rollout = note.rollout(count);
    let below = pods::below(seen, note);
    let rollout = if note.out_of_reach(&slots, below) { Rollout { turn: None, ..rollout } } else { rollout };
    let at_work = rollout.turn.map(|turn| turn.ordinal);
    let (next, act) = step(rollout.clone(), &observed, &policy);
    let begins = matches!(act, Act::Drain(_)) && next.turn != rollout.turn;
    // those that are too many go first
    let shrinks = act != Act::Nothing && shrink::surplus(seen, count).next().is_some();
    let waits = shrinks || (begins && (pods::lacks_its_share(seen, note) || no_room(seen, &slots)));
    let (rollout, act) = if waits { (Rollout { turn: None, ..rollout }, Act::Nothing) } else { (next, act) };
    let act = if act == Act::Nothing { relieve(at_work, &slots, note.target(), below) } else { act };
    let phase = rollout.phase(&observed, &policy);
    let ready = slots.iter().all(|slot| slot.state == State::Ready && slot.revision == rollout.good);
    let proven = (note.proven && note.good == rollout.good) || (ready && count > 0);
    let done = matches!(phase, Phase::Settled | Phase::Halted);
    let after = note.after(rollout, count);
    // who is waited for stays the one at work, so that the wait is known and ends
    let after = if waits { Note { turn: note.turn, ..after } } else { after };
    let why = || places.iter().find_map(|place| place.why.filter(|_| place.slot.broken == after.failed));
    let failed_for =
        after.failed.as_ref().map(|_| note.failed_for.or_else(why).unwrap_or(Reason::NotReadyInTime));
    let failed_at = after.failed.as_ref().map(|_| note.failed_at.unwrap_or(seen.now));
    let late = note.failed.is_none() && failed_for == Some(Reason::NotReadyInTime);
    let words = at_work.filter(|_| late).and_then(|slot| pods::words(seen, count - 1 - slot));
    let failed = after.failed.clone().map(|why| match words {
        Some(words) => format!("{why}: {words}"),
        None => why,
    });
    let note = Note { proven, surge: note.surge && !done, failed, failed_for, failed_at, ..after };
    let wanted = if note.surge { asked + 1 } else { asked };
    let replicas = shrink::step(seen, wanted);
    let deed = match act {
        Act::Nothing => Deed::Nothing,
        Act::Drain(slot) => Deed::Drain(count - 1 - slot),
        Act::Replace(slot, _) => Deed::Replace(count - 1 - slot),
    };
    let target = target(seen, &note, &slots);
    let as_they_are = shrink::differs(seen, wanted, &target);
    // whoever changes the template by hand, as `kubectl rollout restart` does, is not followed past all that rolls here
    let rests = note.turn.is_none() && slots.iter().all(|slot| slot.revision == target);
    let partition = match &seen.below {
        _ if as_they_are => replicas,
        Some(below) if rests && *below == target => replicas,
        _ => partition(&note, &slots, replicas),
    };
    Rolled { note, phase, hold: policy.hold, deed, replicas, partition, target }
}

/// One that has handed over all that it had, and whose turn it is not, serves nobody until its pod is replaced: somebody has asked
/// it, or it was at work when another revision was wanted. Nor does one that never gets ready with what is not wanted any more, and
/// nobody else may go meanwhile: it comes back as what the StatefulSet makes, if that is something else.
fn relieve(at_work: Option<usize>, slots: &[Slot], target: &Revision, below: Option<&Revision>) -> Act {
    let others = || slots.iter().enumerate().filter(|(index, _)| at_work != Some(*index));
    let drained = |(_, slot): &(usize, &Slot)| slot.state == State::Drained;
    let hangs = |(_, slot): &(usize, &Slot)| {
        let other = below.is_some_and(|below| *below != slot.revision);
        slot.state == State::Starting && slot.broken.is_some() && slot.revision != *target && other
    };
    let found = others().find(drained).or_else(|| others().find(hangs).filter(|_| at_work.is_none()));
    found.map_or(Act::Nothing, |(index, slot)| Act::Replace(index, slot.revision.clone()))
}

/// What the StatefulSet is to make: before a rollout has begun, pods that are lost or added are of what was proven. Where there are
/// none, nothing is replaced: all that start run what is wanted.
fn target(seen: &Seen, note: &Note, slots: &[Slot]) -> Revision {
    let none = slots.is_empty() && seen.pods.is_empty();
    let begun = none || note.turn.is_some() || slots.iter().any(|slot| slot.revision != note.good);
    if begun || note.good == note.wanted { note.target().clone() } else { note.good.clone() }
}

/// Whether Kubernetes says that no pod may be missed, although all that we know of serve.
fn no_room(seen: &Seen, slots: &[Slot]) -> bool {
    let all = slots.iter().all(|slot| slot.state == State::Ready);
    all && seen.disruptions_allowed.is_some_and(|allowed| allowed < 1)
}

/// From which ordinal on pods are given the target: those that have it, and the one at work.
fn partition(note: &Note, slots: &[Slot], replicas: usize) -> usize {
    let count = slots.len();
    let starts =
        |ordinal| note.turn.is_some_and(|turn| turn.ordinal == ordinal && turn.stage == Stage::Start);
    let have = slots
        .iter()
        .enumerate()
        .take_while(|(index, slot)| slot.revision == *note.target() || starts(count - 1 - index));
    (count - have.count()).min(replicas)
}

fn policy(seen: &Seen, note: &Note, wanted: Wanted<'_>) -> Policy {
    let given = seen.controller.spec.rollout.clone().unwrap_or_default();
    let usual = Policy::default();
    let away = note.store_is_away();
    let limit = |given: Option<Span>, usual| match given {
        _ if away => Duration::MAX,
        Some(Span(given)) => given,
        None => usual,
    };
    let idle = given.when == Some(When::Idle) || wanted.idle;
    let closed = given.window.as_ref().filter(|_| given.when == Some(When::Window));
    let closed = closed.is_some_and(|window| !window::open(window, seen.now));
    let hold = match (given.paused == Some(true), closed) {
        (true, _) => Some(Hold::Paused),
        (false, true) => Some(Hold::Closed),
        (false, false) => None,
    };
    Policy {
        when: if idle { RestartWhen::Idle } else { RestartWhen::Immediately },
        drain: limit(given.drain_timeout, usual.drain),
        ready: limit(given.ready_timeout, usual.ready),
        order: Order::Listed,
        hold,
        ..usual
    }
}

/// A single replica on PostgreSQL need not be away: another one can serve meanwhile, unless both need a volume that one node only
/// can mount.
fn surges(seen: &Seen) -> bool {
    let spec = &seen.controller.spec;
    let claims = plan::volumes(spec, &seen.owner);
    let mut claims =
        claims.iter().filter(|volume| volume.shared).filter_map(|volume| seen.claims.get(volume.claim()));
    claims.all(check::shared) && spec.store.as_ref().is_none_or(|store| store.sqlite.is_none())
}

/// Whether all who were asked miss it; `None`: nobody could be asked.
fn store_away(seen: &Seen) -> Option<bool> {
    let mut told = overviews(seen).peekable();
    told.peek().is_some().then(|| told.all(|told| !told.store_answers))
}

fn busy(seen: &Seen) -> Option<u64> {
    overviews(seen).map(|overview| overview.busy).max()
}

/// What all replicas that could be asked say.
pub(crate) fn overviews(seen: &Seen) -> impl Iterator<Item = &Overview> {
    seen.told.values().filter_map(|told| match told {
        Told::Overview(overview) => Some(&**overview),
        Told::Waits(_) => None,
    })
}
