//! The membership of a replica: what `cluster::membership` does with tokio is done here with events. What is pure is the
//! real code.

use std::time::Duration;

use cluster::{LOOK, STARTUP, View, startup};
use model::{Fence, ReplicaId, ReplicaState};
use store::{Answer, Error, Join, Load, Member, Write};

use crate::home::{Ask, Reply};
use crate::mutation::Mutation;
use crate::replica::{ReplicaDo, Start, Token, micros};
use crate::world::{MS, SEC, World};

impl World {
    // -- membership --------------------------------------------------------------------------

    pub(crate) fn boot(&mut self, at: usize) {
        let asked = self.clocks(at);
        let join = Join {
            name: self.replicas[at].name.clone(),
            ordinal: u32::try_from(at).unwrap_or(0),
            pid: 0,
            address: String::new(),
            revision: String::new(),
            version: String::new(),
            level: 1,
            behaviour: self.replicas[at].behaviour,
            at: asked.wall,
        };
        self.write(at, Token::Join { asked: asked.elapsed }, Write::Join(join));
    }

    pub(crate) fn joined(&mut self, at: usize, incarnation: i64, asked: Duration) {
        let replica = &mut self.replicas[at];
        replica.me = Some(ReplicaId { name: replica.name.clone(), incarnation });
        replica.lease.confirm(asked);
        self.tell(|| format!("{}#{incarnation} joins", self.replicas[at].name));
        for what in [ReplicaDo::Beat, ReplicaDo::Look, ReplicaDo::Pass, ReplicaDo::StartOn] {
            self.soon(at, MS, what);
        }
        for to in 0..self.replicas.len() {
            if to != at {
                self.soon(at, 5 * MS, ReplicaDo::DialPeer { to });
            }
        }
    }

    pub(crate) fn me(&self, at: usize) -> ReplicaId {
        self.replicas[at].me.clone().expect("it has joined")
    }

    pub(crate) fn beat(&mut self, at: usize) {
        let asked = self.clocks(at).elapsed;
        let replica = &self.replicas[at];
        let load = Load {
            builds: u32::try_from(replica.actors.len()).unwrap_or(0),
            agents: u32::try_from(replica.local.len()).unwrap_or(0),
            busy: 0,
        };
        self.write(at, Token::Beat { asked }, Write::Beat { me: self.me(at), load });
    }

    pub(crate) fn looked(&mut self, at: usize, reply: Result<Box<Reply>, Error>) {
        let now = self.clocks(at).elapsed;
        match reply.map(|r| *r) {
            Ok(Reply::Look(view)) => {
                let newest = self.replicas[at]
                    .view
                    .as_ref()
                    .map(|v| v.meta.clone())
                    .unwrap_or_else(|| view.meta.clone());
                if view.meta.tick < newest.tick {
                    return self.raise(at, newest.epoch, true);
                }
                let me = self.me(at);
                let lapsed = match self.is(Mutation::LapsedEarly) {
                    true => self.stood_still(at, &view.members),
                    false => self.replicas[at].watch.read(now, &me, &view.members),
                };
                for lapsed in lapsed {
                    self.declare(at, lapsed.who, Some(lapsed.beat));
                }
                self.correct(at, &view);
                self.replicas[at].view = Some(view);
                if matches!(self.replicas[at].start, Start::Waiting) {
                    self.start_on(at);
                }
            }
            _ => self.replicas[at].watch.interrupted(),
        }
        self.soon(at, micros(LOOK), ReplicaDo::Look);
    }

    /// Makes our rows true again.
    pub(crate) fn correct(&mut self, at: usize, view: &View) {
        let (me, Some(state)) = (self.me(at), self.replicas[at].wanted) else { return };
        if view.member(&me).is_some_and(|m| m.live() && m.state != state) {
            let set = Write::SetState { me: me.clone(), state, at: self.clocks(at).wall };
            self.write(at, Token::Forgotten, set);
        }
        let lock = view.leases.iter().find(|l| l.name == STARTUP && l.holder.as_ref() == Some(&me));
        if let (Some(lock), ReplicaState::Ready | ReplicaState::Draining) = (lock, state) {
            self.release(at, lock.fence);
        }
    }

    /// The mutation of the lease: two looks that see the same beat.
    pub(crate) fn stood_still(&self, at: usize, members: &[Member]) -> Vec<cluster::watch::Lapsed> {
        let before = self.replicas[at].view.as_ref().map(|v| v.members.as_slice()).unwrap_or_default();
        let me = self.replicas[at].me.as_ref();
        let others = members.iter().filter(|m| m.live() && Some(&m.id) != me);
        let still = others.filter(|m| before.iter().any(|b| b.id == m.id && b.beat == m.beat));
        still.map(|m| cluster::watch::Lapsed { who: m.id.clone(), beat: m.beat }).collect()
    }

    pub(crate) fn declare(&mut self, at: usize, who: ReplicaId, beat: Option<i64>) {
        if self.replicas[at].me.as_ref() != Some(&who) {
            let lapse = Write::Lapse { who, beat, at: self.clocks(at).wall };
            self.write(at, Token::Forgotten, lapse);
        }
    }

    /// `leave`: the store went back under this membership, which ends.
    pub(crate) fn raise(&mut self, at: usize, above: u32, leave: bool) {
        if self.is(Mutation::EpochStays) {
            if leave {
                self.lost(at);
            }
            return;
        }
        self.write(at, Token::RaiseEpoch { above, leave }, Write::RaiseEpoch { above });
    }

    pub(crate) fn may_send(&self, at: usize) -> bool {
        self.is(Mutation::SentOn) || self.replicas[at].lease.may_send(self.clocks(at).elapsed)
    }

    /// The membership is lost: the process ends, and its parent starts it again.
    pub(crate) fn lost(&mut self, at: usize) {
        let pause = self.random.between(100 * MS, SEC);
        self.exit(at, pause);
    }

    // -- start -------------------------------------------------------------------------------

    pub(crate) fn start_on(&mut self, at: usize) {
        let clock = self.clocks(at).wall;
        let me = self.me(at);
        let set = |state| Write::SetState { me: me.clone(), state, at: clock };
        match self.replicas[at].start {
            Start::Waiting => {
                let Some(view) = &self.replicas[at].view else { return };
                let lease = view.leases.iter().find(|l| l.name == STARTUP);
                if let startup::Step::Acquire { seen } = startup::step(lease, &view.members, &me) {
                    self.replicas[at].start = Start::Acquiring;
                    let write = Write::AcquireLease { lease: STARTUP.to_owned(), me, seen, at: clock };
                    self.write(at, Token::StartOn, write);
                }
            }
            Start::Acquired(_) => {
                self.replicas[at].wanted = Some(ReplicaState::Starting);
                self.write(at, Token::StartOn, set(ReplicaState::Starting));
            }
            Start::Done(_) => {
                self.replicas[at].wanted = Some(ReplicaState::Ready);
                self.write(at, Token::StartOn, set(ReplicaState::Ready));
            }
            Start::Acquiring | Start::Running(_) | Start::Over => {}
        }
    }

    pub(crate) fn start_answered(&mut self, at: usize, reply: Result<Box<Reply>, Error>) {
        let start = self.replicas[at].start;
        match (start, reply.map(|r| *r)) {
            (Start::Acquiring, Ok(Reply::Written(Answer::Acquired(Some(fence))))) => {
                self.replicas[at].start = Start::Acquired(fence);
                self.start_on(at);
            }
            (Start::Acquiring, Ok(_)) => self.replicas[at].start = Start::Waiting,
            (Start::Acquiring, Err(error)) if error.passing() => self.replicas[at].start = Start::Waiting,
            (Start::Acquired(fence), Ok(_)) => {
                self.replicas[at].start = Start::Running(fence);
                let takes = self.delay(50 * MS, 2 * SEC);
                self.soon(at, takes, ReplicaDo::Started);
            }
            (Start::Done(fence), Ok(_)) => {
                self.tell(|| format!("{} is ready", self.replicas[at].name));
                self.replicas[at].start = Start::Over;
                self.replicas[at].ready = true;
                self.release(at, fence);
            }
            (_, Err(error)) if error.passing() => self.soon(at, SEC, ReplicaDo::StartOn),
            (_, Err(_)) => self.ask(at, Token::LastLook, Ask::Look),
            (Start::Waiting | Start::Running(_) | Start::Over, Ok(_)) => {}
        }
    }

    pub(crate) fn started(&mut self, at: usize) {
        if let Start::Running(fence) = self.replicas[at].start {
            self.replicas[at].start = Start::Done(fence);
            self.start_on(at);
        }
    }

    pub(crate) fn release(&mut self, at: usize, fence: Fence) {
        let release = Write::ReleaseLease { lease: STARTUP.to_owned(), me: self.me(at), fence };
        self.write(at, Token::Release { fence }, release);
    }
}
