//! The engine of a replica: looks at running builds, adopts, takes builds, grants executors. As `engine::service` and
//! `engine::schedule` do it.

use std::collections::{BTreeMap, BTreeSet};

use cluster::assign::Loads;
use cluster::{LOOK, View};
use engine::allocate::{Allocation, Free, allocate};
use engine::{Delivery, delivery_text, forgotten};
use model::{BuildId, Cause, Fence, ReplicaId, ReplicaState};
use pipeline::act::Granted;
use store::{Adopted, Answer, Enqueue, Error, Link, Member, QueueItem, Running, Write};

use crate::home::{Ask, Reply, Seen, job};
use crate::links::PeerMessage;
use crate::mutation::Mutation;
use crate::replica::{ReplicaDo, Token, micros};
use crate::world::{Event, MS, SEC, World};

impl World {
    pub(crate) fn pass(&mut self, at: usize) {
        self.look_now(at);
        self.soon(at, micros(LOOK), ReplicaDo::Pass);
    }

    pub(crate) fn look_now(&mut self, at: usize) {
        self.replicas[at].pass_pending = true;
        let me = self.replicas[at].incarnation();
        let actors =
            self.replicas[at].actors.iter().map(|(build, actor)| (*build, actor.committed())).collect();
        if self.is(Mutation::FenceTwice) {
            self.replicas[at].ended.clear();
        }
        let ended = self.replicas[at].ended.clone();
        let links = self.replicas[at].local.values().copied().collect();
        self.ask(at, Token::Pass { actors, ended, links }, Ask::Pass { me });
    }

    /// Somebody gave a hint: look at once.
    pub(crate) fn hinted(&mut self, at: usize) {
        if !self.replicas[at].pass_pending && self.replicas[at].me.is_some() {
            self.look_now(at);
        }
    }

    /// `actors`, `ended` and `known` are what was there for sure before the store was asked.
    pub(crate) fn passed(
        &mut self,
        at: usize,
        actors: &BTreeMap<BuildId, (Fence, i64)>,
        ended: &BTreeMap<BuildId, Fence>,
        known: &[usize],
        reply: Result<Box<Reply>, Error>,
    ) {
        self.replicas[at].pass_pending = false;
        let Ok(Reply::Pass(seen)) = reply.map(|r| *r) else { return };
        let Some(view) = self.replicas[at].view.clone() else { return };
        if seen.tick < view.meta.tick {
            // Set back: nothing is begun in the old epoch.
            return;
        }
        self.close_old_links(at, known, &seen.links);
        // Whoever may count as lost begins nothing: another may have its incarnation then.
        if self.may_send(at) {
            self.own_builds(at, &view, &seen, actors, ended);
        }
        let me = self.me(at);
        if self.may_begin(at, &view) {
            self.take_builds(at, &me, &view.members, &seen.queue);
            self.grant(at, &view, *seen);
        }
    }

    fn may_begin(&self, at: usize, view: &View) -> bool {
        let ready = view.member(&self.me(at)).is_some_and(|m| m.state == ReplicaState::Ready);
        ready && !self.replicas[at].draining
    }

    /// Drives what is ours, and adopts what is nobody's.
    fn own_builds(
        &mut self,
        at: usize,
        view: &View,
        seen: &Seen,
        actors: &BTreeMap<BuildId, (Fence, i64)>,
        ended: &BTreeMap<BuildId, Fence>,
    ) {
        let me = self.me(at);
        for row in &seen.running {
            let fewer = actors.get(&row.build).is_some_and(|known| forgotten(row, me.incarnation, *known));
            if fewer && !self.is(Mutation::MomentForgotten) {
                self.set_back(at, row.build);
            }
        }
        let running: BTreeSet<BuildId> = seen.running.iter().map(|row| row.build).collect();
        self.replicas[at].ended.retain(|build, _| !ended.contains_key(build) || running.contains(build));
        let draining = view.member(&me).is_some_and(|m| m.state == ReplicaState::Draining);
        let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
        let mut orphans = Vec::new();
        for row in &seen.running {
            if row.owner == me.incarnation {
                let driven = actors.contains_key(&row.build);
                match ended.get(&row.build) {
                    _ if draining => {}
                    Some(last) if *last > row.fence => self.adopt_above(at, row.clone(), last.epoch()),
                    Some(last) if *last == row.fence => self.adopt(at, &me, row),
                    Some(_) | None if row.fence.epoch() < view.meta.epoch && !driven => {
                        self.adopt(at, &me, row)
                    }
                    Some(_) | None => self.drive(at, row.clone()),
                }
            } else if view.live(row.owner) {
                *counts.entry(row.owner).or_default() += 1;
            } else {
                orphans.push(row.clone());
            }
        }
        for build in &seen.with_inbox {
            self.look_at_inbox(at, *build);
        }
        if !self.may_begin(at, view) {
            return;
        }
        let known: BTreeSet<i64> = view.members.iter().map(|m| m.id.incarnation).collect();
        let newest = known.iter().max().copied().unwrap_or(0);
        orphans.retain(|row| known.contains(&row.owner) || row.owner < newest);
        counts.insert(me.incarnation, self.replicas[at].actors.len() as u64);
        self.adopt_orphans(at, &me, &view.members, &counts, orphans);
    }

    /// Only replicas that know a build's behaviour adopt it.
    pub(crate) fn adopt_orphans(
        &mut self,
        at: usize,
        me: &ReplicaId,
        members: &[Member],
        counts: &BTreeMap<i64, u64>,
        orphans: Vec<Running>,
    ) {
        let any = self.is(Mutation::AnyBehaviour);
        for behaviour in [1, 2] {
            let fit: Vec<Member> =
                members.iter().filter(|m| any || m.behaviour >= behaviour).cloned().collect();
            let mut loads = Loads::of(&fit, counts);
            for row in orphans.iter().filter(|r| r.behaviour == behaviour) {
                if loads.choose(None).as_ref() == Some(me) {
                    self.adopt(at, me, row);
                }
            }
        }
    }

    /// The store gave a higher fence and has forgotten it.
    fn adopt_above(&mut self, at: usize, row: Running, above: u32) {
        self.write(at, Token::AdoptEpoch { row: Box::new(row) }, Write::RaiseEpoch { above });
    }

    pub(crate) fn adopt_raised(&mut self, at: usize, row: &Running, reply: Result<Box<Reply>, Error>) {
        if reply.is_ok() {
            let me = self.me(at);
            self.adopt(at, &me, row);
        }
    }

    fn adopt(&mut self, at: usize, me: &ReplicaId, row: &Running) {
        let adopt = Write::Adopt { build: row.build, seen: row.fence, owner: me.clone() };
        self.write(at, Token::Adopt { row: Box::new(row.clone()) }, adopt);
    }

    pub(crate) fn adopted(&mut self, at: usize, row: Running, reply: Result<Box<Reply>, Error>) {
        if let Ok(Reply::Written(Answer::Adopted(Adopted { fence, seq, log_end }))) = reply.map(|r| *r) {
            let owner = self.replicas[at].incarnation();
            self.tell(|| format!("{} adopts {} under {fence}", self.replicas[at].name, row.build));
            self.drive(at, Running { owner, fence, seq, log_end, ..row });
        }
    }

    pub(crate) fn take_builds(&mut self, at: usize, me: &ReplicaId, members: &[Member], queue: &[QueueItem]) {
        let counts = members.iter().map(|m| (m.id.incarnation, u64::from(m.load.builds))).collect();
        let mut loads = Loads::of(members, &counts);
        for item in queue {
            let Some(owner) = loads.choose(Some(me)) else { return };
            let behaviour = members.iter().find(|m| m.id == owner).map_or(1, |m| m.behaviour);
            let (id, wall) = (item.id, self.clocks(at).wall);
            let take = Write::TakeBuild {
                id,
                owner: owner.clone(),
                exclusive: false,
                behaviour,
                at: wall,
                executor: None,
            };
            self.write(at, Token::Take { row: Box::new(item.clone()), owner, behaviour }, take);
        }
    }

    pub(crate) fn took(
        &mut self,
        at: usize,
        item: QueueItem,
        owner: ReplicaId,
        behaviour: u32,
        reply: Result<Box<Reply>, Error>,
    ) {
        let Ok(Reply::Written(Answer::Taken(taken))) = reply.map(|r| *r) else { return };
        if Some(&owner) == self.replicas[at].me.as_ref() {
            self.drive(at, Running::begun(taken, item.job, behaviour));
        } else {
            self.hint(at, Some(owner.incarnation), &PeerMessage::Running);
        }
    }

    // -- executors ---------------------------------------------------------------------------

    pub(crate) fn grant(&mut self, at: usize, view: &View, seen: Seen) {
        let linked = |l: &Link| l.holder.as_ref().is_some_and(|h| view.live(h.incarnation));
        let Seen { waits, slots, nodes, mut links, .. } = seen;
        links.retain(linked);
        for Allocation { wait, node, slot } in allocate(waits, Free::of(&nodes, &links, &slots)) {
            let Some(link) = links.iter().find(|l| l.node == node) else { continue };
            let granted = Granted {
                node: node.to_string(),
                executor: slot,
                workspace: format!("/w/{}@{slot}", wait.job),
                unix: true,
                labels: Vec::new(),
                env: BTreeMap::from([(engine::INSTANCE_ENV.to_owned(), link.instance.clone())]),
            };
            let body = delivery_text(&Delivery::Granted { step: wait.step, granted });
            self.write(
                at,
                Token::Grant { build: wait.build },
                Write::Grant { wait: wait.id, node, slot, body },
            );
        }
    }

    pub(crate) fn granted(&mut self, at: usize, build: BuildId, reply: Result<Box<Reply>, Error>) {
        if let Ok(Reply::Written(Answer::Bool(true))) = reply.map(|r| *r) {
            self.oracle.note("grants");
            self.look_at_inbox(at, build);
        }
    }

    /// Tells our actor, or everybody else.
    pub(crate) fn look_at_inbox(&mut self, at: usize, build: BuildId) {
        if self.replicas[at].actors.contains_key(&build) {
            self.look_inbox(at, build);
        } else {
            self.hint(at, None, &PeerMessage::Inbox(build));
        }
    }

    // -- the store went back under one build ---------------------------------------------------

    pub(crate) fn outranked(&mut self, at: usize, build: BuildId, fence: Fence, held: Fence) {
        self.oracle.note("outranked");
        let me = self.replicas[at].incarnation();
        self.ask(at, Token::Outranked { build, fence, held }, Ask::Pass { me });
    }

    pub(crate) fn outranked_read(
        &mut self,
        at: usize,
        build: BuildId,
        fence: Fence,
        held: Fence,
        reply: Result<Box<Reply>, Error>,
    ) {
        let rows = match reply.map(|r| *r) {
            Ok(Reply::Pass(seen)) => seen.running,
            Ok(_) | Err(_) => Vec::new(),
        };
        let row = rows.into_iter().find(|row| row.build == build && row.fence <= fence);
        match row.map(Box::new) {
            None => self.outranked_ends(at, build),
            Some(row) if self.is(Mutation::EpochStays) => self.outranked_claim(at, &row),
            Some(row) => self.outranked_raise(at, row, held.epoch()),
        }
    }

    fn outranked_raise(&mut self, at: usize, row: Box<Running>, above: u32) {
        self.write(at, Token::OutrankedEpoch { row, above }, Write::RaiseEpoch { above });
    }

    pub(crate) fn outranked_raised(
        &mut self,
        at: usize,
        row: Box<Running>,
        above: u32,
        reply: Result<Box<Reply>, Error>,
    ) {
        match reply {
            Ok(_) => self.outranked_claim(at, &row),
            Err(_) => self.outranked_raise(at, row, above),
        }
    }

    fn outranked_claim(&mut self, at: usize, row: &Running) {
        let adopt = Write::Adopt { build: row.build, seen: row.fence, owner: self.me(at) };
        self.write(at, Token::OutrankedAdopt { build: row.build }, adopt);
    }

    /// Whatever became of it: the next look drives what is ours under a fence that had no driver.
    pub(crate) fn outranked_ends(&mut self, at: usize, build: BuildId) {
        self.actor_ends(at, build);
        self.hinted(at);
    }

    // -- a clean end -------------------------------------------------------------------------

    pub(crate) fn drain(&mut self, at: usize) {
        let Some(me) = self.replicas[at].me.clone() else { return };
        if !self.replicas[at].ready || self.replicas[at].draining {
            return;
        }
        self.oracle.note("drains");
        self.replicas[at].draining = true;
        self.replicas[at].wanted = Some(ReplicaState::Draining);
        let set = Write::SetState { me, state: ReplicaState::Draining, at: self.clocks(at).wall };
        self.write(at, Token::Draining, set);
        let deadline = self.now + 8 * SEC;
        self.soon(at, 100 * MS, ReplicaDo::DrainOn { deadline });
    }

    pub(crate) fn drain_on(&mut self, at: usize, deadline: u64) {
        let builds: Vec<BuildId> = self.replicas[at].actors.keys().copied().collect();
        for build in &builds {
            self.hand_over(at, *build);
        }
        if builds.is_empty() || self.now >= deadline {
            let Some(me) = self.replicas[at].me.clone() else { return };
            let stop = Write::SetState { me, state: ReplicaState::Stopped, at: self.clocks(at).wall };
            return self.write(at, Token::Leave, stop);
        }
        self.soon(at, 50 * MS, ReplicaDo::DrainOn { deadline });
    }

    pub(crate) fn drained(&mut self, at: usize, token: &Token, _done: bool) {
        if matches!(token, Token::Leave) {
            self.no_witness(at);
            self.lost(at);
        }
    }

    /// A build that we do not drive any more goes to the least loaded of the others.
    pub(crate) fn give_away(&mut self, at: usize, build: BuildId, fence: Fence) {
        let Some(view) = self.replicas[at].view.clone() else { return };
        let me = self.replicas[at].me.clone();
        let behaviour = self.replicas[at].behaviour;
        let others =
            view.members.into_iter().filter(|m| Some(&m.id) != me.as_ref() && m.behaviour >= behaviour);
        let Some(owner) = Loads::of(&others.collect::<Vec<_>>(), &BTreeMap::new()).choose(None) else {
            return;
        };
        let to = owner.clone();
        self.write(at, Token::HandOver { to }, Write::Adopt { build, seen: fence, owner });
    }

    pub(crate) fn handed_over(&mut self, at: usize, to: &ReplicaId, reply: Result<Box<Reply>, Error>) {
        if reply.is_ok() {
            self.oracle.note("handovers");
            self.hint(at, Some(to.incarnation), &PeerMessage::Running);
        }
    }

    // -- users -------------------------------------------------------------------------------

    pub(crate) fn enqueue(&mut self, pipeline: usize, tries: u32) {
        let up: Vec<usize> = (0..self.replicas.len()).filter(|at| self.replicas[*at].ready).collect();
        if up.is_empty() {
            return self.after(SEC, Event::Enqueue { pipeline, tries: tries + 1 });
        }
        let at = up[self.random.index(up.len())];
        let unique = self.count();
        let wall = self.clocks(at).wall;
        let enqueue = Enqueue {
            job: job(pipeline),
            params: BTreeMap::from([("N".to_owned(), model::ParamValue::Text(unique.to_string()))]),
            causes: vec![Cause::User { id: "admin".into(), name: "admin".into() }],
            at: wall,
            buildable_at: wall,
        };
        self.write(at, Token::Forgotten, Write::Enqueue(enqueue));
    }

    pub(crate) fn abort(&mut self, again: Option<(BuildId, String)>) {
        let running = self.home.state.running(None);
        let up: Vec<usize> = (0..self.replicas.len()).filter(|at| self.replicas[*at].ready).collect();
        if running.is_empty() || up.is_empty() {
            return;
        }
        let at = up[self.random.index(up.len())];
        let number = self.count();
        let chosen = running[self.random.index(running.len())].build;
        let (build, key) = again.unwrap_or((chosen, format!("abort:{number}")));
        let body = delivery_text(&Delivery::Abort { by: "admin".into() });
        self.oracle.note("aborts");
        if self.random.chance(400) {
            // Whoever is in doubt asks twice.
            let other = up[self.random.index(up.len())];
            self.write(
                other,
                Token::Forgotten,
                Write::Deliver { build, key: key.clone(), body: body.clone() },
            );
        }
        self.write(at, Token::Abort { build, key: key.clone() }, Write::Deliver { build, key, body });
    }

    pub(crate) fn abort_answered(&mut self, build: BuildId, key: String, reply: Result<Box<Reply>, Error>) {
        match reply.map(|r| *r) {
            Err(error) if error.passing() => self.after(200 * MS, Event::Abort { again: Some((build, key)) }),
            Ok(_) | Err(_) => {}
        }
    }
}
