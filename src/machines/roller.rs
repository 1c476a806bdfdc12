//! Whoever holds the lease `rollout` looks each second what is seen of the replicas, and leaves there who goes next.

use std::sync::Arc;
use std::time::Duration;

use cluster::View;
use model::{Clock, Fence, ReplicaId, ReplicaState, RestartWhen, RolloutReport};
use rollout::Policy;
use store::{Answer, Lease, Member, Store, Write};

use crate::going::said;
use crate::plan::{Memory, Next, Plan, Seen};
use crate::{Number, ROLLOUT};

/// One replica's part.
pub struct Roller {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    cluster: cluster::Handle,
    policy: Policy,
    /// What the reports say of it; `None`: as is usual.
    bake: Option<Duration>,
    memory: Memory,
    held: Option<Held>,
    /// The last that was said.
    said: Option<RolloutReport>,
    /// It was said that the plan can't be read.
    foreign: bool,
}

/// The lease, held.
struct Held {
    fence: Fence,
    plan: Plan,
    /// It is in the store.
    written: bool,
}

impl Roller {
    /// `bake`: how long all replicas must have been ready with a new level before the home is raised to it.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        cluster: cluster::Handle,
        bake: Option<Duration>,
    ) -> Roller {
        let (policy, memory) = (Policy::default(), Memory::default());
        Roller { store, clock, cluster, policy, bake, memory, held: None, said: None, foreign: false }
    }

    /// Runs until the process ends.
    pub async fn run(mut self) {
        let mut views = self.cluster.view();
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            if let Err(error) = self.turn(&view).await {
                match error {
                    // another one has it
                    store::Error::Fenced { .. } => self.held = None,
                    error => tracing::debug!(%error, "look who is replaced next"),
                }
                self.memory.forget();
            }
            if views.changed().await.is_err() {
                return;
            }
        }
    }

    async fn turn(&mut self, view: &View) -> Result<(), store::Error> {
        let lease = view.leases.iter().find(|lease| lease.name == ROLLOUT);
        if !self.may(view, lease) {
            return self.let_go(lease).await;
        }
        if self.held.is_none() && !self.acquire(view, lease).await? {
            return Ok(());
        }
        let busy = self.busy(view).await?;
        let Some(held) = &mut self.held else { return Ok(()) };
        let gave_up = said(view);
        let now = self.clock.now();
        let seen = Seen {
            now: self.clock.elapsed(),
            wall: now,
            members: &view.members,
            gave_up: &gave_up,
            withdrawn: view.meta.restart.withdrawn,
            busy,
        };
        let plan = held.plan.clone().hear(&view.meta.restart, now);
        let Next { plan, report } = plan.step(&seen, &mut self.memory, self.policy);
        if plan != held.plan || !held.written {
            (held.plan, held.written) = (plan, false);
            self.keep().await?;
        }
        self.report(view, RolloutReport { bake: self.bake, ..report }).await
    }

    /// Who is ready, and does not go itself while others could replace it; who has been drained where nobody is ready.
    fn may(&self, view: &View, lease: Option<&Lease>) -> bool {
        let me = self.cluster.me();
        let machines = view.members.iter().filter(|m| m.live()).all(|m| Number::parse(&m.revision).is_some());
        let plan = match &self.held {
            Some(held) => Some(held.plan.clone()),
            None => lease.and_then(|lease| Plan::read(&lease.note)),
        };
        let runs = view.member(me).map(|m| rollout::Revision(m.revision.clone()));
        let goes = plan.is_some_and(|plan| plan.names(&me.name) && Some(plan.target()) != runs.as_ref());
        let others = view.members.iter().any(|m| m.id != *me && m.state == ReplicaState::Ready);
        serves(&view.members, me) && machines && !(goes && others)
    }

    async fn let_go(&mut self, lease: Option<&Lease>) -> Result<(), store::Error> {
        let me = self.cluster.me().clone();
        let mine = lease.filter(|lease| lease.holder.as_ref() == Some(&me)).map(|lease| lease.fence);
        // What could not be written is not to be forgotten: the next one would not know who goes.
        if self.held.as_ref().is_some_and(|held| !held.written) {
            self.keep().await?;
        }
        let held = self.held.take().map(|held| held.fence);
        let Some(fence) = held.or(mine) else { return Ok(()) };
        self.store.write(Write::ReleaseLease { lease: ROLLOUT.to_owned(), me, fence }).await?;
        Ok(())
    }

    /// Whether the lease is ours now.
    async fn acquire(&mut self, view: &View, lease: Option<&Lease>) -> Result<bool, store::Error> {
        let me = self.cluster.me();
        let holder = lease.and_then(|lease| lease.holder.as_ref());
        if holder.is_some_and(|holder| holder != me && view.member(holder).is_some_and(store::Member::live)) {
            return Ok(false);
        }
        if lease.is_some_and(|lease| Plan::foreign(&lease.note)) {
            if !std::mem::replace(&mut self.foreign, true) {
                tracing::warn!(
                    "how far the restart is was written by another version: a replica that runs it goes on"
                );
            }
            return Ok(false);
        }
        let seen = lease.map(|lease| lease.fence);
        let at = self.clock.now();
        let acquire = Write::AcquireLease { lease: ROLLOUT.to_owned(), me: me.clone(), seen, at };
        let Answer::Acquired(Some(fence)) = self.store.write(acquire).await? else { return Ok(false) };
        // The one before may have written since we looked.
        let leases = self.store.leases().await?;
        let note = leases.iter().find(|lease| lease.name == ROLLOUT).map(|lease| lease.note.as_str());
        if note.is_some_and(Plan::foreign) {
            let (me, lease) = (me.clone(), ROLLOUT.to_owned());
            self.store.write(Write::ReleaseLease { lease, me, fence }).await?;
            return Ok(false);
        }
        let reported = view.meta.rollout.as_ref().map_or(0, |report| report.restart);
        let known = note.and_then(Plan::read);
        let written = known.is_some();
        let plan = known.unwrap_or_else(|| Plan::first(&view.members, reported));
        self.memory = Memory::default();
        self.held = Some(Held { fence, plan, written });
        Ok(true)
    }

    async fn keep(&mut self) -> Result<(), store::Error> {
        let Some(held) = &mut self.held else { return Ok(()) };
        let note = held.plan.write().map_err(|e| store::Error::Limit(e.to_string()))?;
        let (me, fence) = (self.cluster.me().clone(), held.fence);
        self.store.write(Write::NoteLease { lease: ROLLOUT.to_owned(), me, fence, note }).await?;
        held.written = true;
        self.cluster.look();
        Ok(())
    }

    async fn report(&mut self, view: &View, report: RolloutReport) -> Result<(), store::Error> {
        if view.meta.rollout.as_ref() == Some(&report) {
            return Ok(());
        }
        if self.said.replace(report.clone()).as_ref() != Some(&report) {
            tracing::info!(revision = report.revision, phase = report.phase.as_str(), "{}", report.message);
        }
        self.store.write(Write::ReportRollout { report }).await?;
        self.cluster.look();
        Ok(())
    }

    /// Acts in flight. Those of builds that nobody drives are not known: each counts.
    async fn busy(&self, view: &View) -> Result<Option<u64>, store::Error> {
        let mut busy: u64 = view.members.iter().filter(|m| m.live()).map(|m| u64::from(m.load.busy)).sum();
        if view.meta.restart.when == RestartWhen::Idle {
            let running = self.store.running(None).await?;
            busy += running.iter().filter(|row| !view.live(row.owner)).count() as u64;
        }
        Ok(Some(busy))
    }
}

/// Whether this member can look after a restart.
fn serves(members: &[Member], me: &ReplicaId) -> bool {
    let ready = |m: &Member| m.state == ReplicaState::Ready;
    match members.iter().find(|m| m.id == *me).map(|m| m.state) {
        Some(ReplicaState::Ready) => true,
        // All were drained by hand: a restart that is asked for begins with one of them.
        Some(ReplicaState::Draining) => !members.iter().any(ready),
        Some(
            ReplicaState::Setup | ReplicaState::Waiting | ReplicaState::Starting | ReplicaState::Stopped,
        )
        | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::member;

    #[test]
    fn a_drained_replica_looks_after_a_restart_only_while_nobody_is_ready() {
        use ReplicaState::{Draining, Ready, Starting, Stopped};
        for (states, wanted) in [
            ([Ready, Draining, Starting], [true, false, false]),
            ([Draining, Draining, Stopped], [true, true, false]),
            ([Draining, Starting, Stopped], [true, false, false]),
        ] {
            let members: Vec<_> = (0..).zip(states).map(|(at, state)| member(at, "1.0", state)).collect();
            let may: Vec<_> = members.iter().map(|m| serves(&members, &m.id)).collect();
            assert_eq!(may, wanted, "{states:?}");
        }
    }
}
