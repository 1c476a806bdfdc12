//! What membership counts and times.

use std::time::Duration;

use meter::{Counter, Gauges, Name, Registry, Seconds, add, labels};
use model::ReplicaState;

use crate::View;

const STARTUP: Name = Name::new(
    "majordomo_startup_seconds",
    "How long each stage of this replica's start took; the lock: how long it waited for the startup lock",
);
const GIVEN_UP: Name = Name::new(
    "majordomo_startup_failures_total",
    "Starts that failed or took too long, and let go of the startup lock",
);
const BEAT_AGE: Name = Name::new(
    "majordomo_beat_age_seconds",
    "Since the last beat of this replica that the store has committed",
);
const LAPSES: Name =
    Name::new("majordomo_lapses_declared_total", "Other replicas that this one has declared lost");
const MEMBERS: Name = Name::new("majordomo_members", "Replicas by state, as this one has seen them last");
const EPOCH: Name =
    Name::new("majordomo_epoch", "Raised each time that the store is found to have been set back in time");

labels! {
    /// A stage of a start.
    pub enum Stage("stage") {
        /// Until the store could be used.
        Open => "open",
        /// Until this replica was a member.
        Join => "join",
        /// Until it had the startup lock.
        Lock => "lock",
        /// From then until it had started.
        Start => "start",
        /// From then until a person had ended the setup wizard, if it was shown.
        Setup => "setup",
    }
}

labels! {
    /// What a replica is doing. Those that have stopped are not counted.
    pub(crate) enum State("state") {
        Waiting => "waiting",
        Starting => "starting",
        Setup => "setup",
        Ready => "ready",
        Draining => "draining",
    }
}

impl State {
    fn of(state: ReplicaState) -> Option<State> {
        match state {
            ReplicaState::Waiting => Some(State::Waiting),
            ReplicaState::Starting => Some(State::Starting),
            ReplicaState::Setup => Some(State::Setup),
            ReplicaState::Ready => Some(State::Ready),
            ReplicaState::Draining => Some(State::Draining),
            ReplicaState::Stopped => None,
        }
    }
}

/// Filled by the membership; read when somebody asks.
#[derive(Debug, Default)]
pub struct Metrics {
    startup: Gauges<Stage>,
    pub(crate) given_up: Counter,
    beat_age: Seconds,
    pub(crate) lapses: Counter,
    members: Gauges<State>,
    epoch: Seconds,
}

impl Metrics {
    pub fn register(&self, to: &mut Registry) {
        self.startup.add_to(to, STARTUP);
        add(to, GIVEN_UP, self.given_up.clone());
        add(to, BEAT_AGE, self.beat_age.clone());
        add(to, LAPSES, self.lapses.clone());
        self.members.add_to(to, MEMBERS);
        add(to, EPOCH, self.epoch.clone());
    }

    /// Says how long a stage of the start took.
    pub fn stage(&self, stage: Stage, took: Duration) {
        self.startup.set_time(stage, took);
    }

    /// What is so now.
    pub(crate) fn see(&self, view: &View, beat_age: Duration) {
        self.beat_age.set(beat_age.as_secs_f64());
        self.epoch.set(f64::from(view.meta.epoch));
        for state in <State as meter::Label>::ALL {
            let of = view.members.iter().filter(|member| State::of(member.state) == Some(*state));
            self.members.set(*state, of.count() as f64);
        }
    }
}
