//! The home, its members and leases.

use model::{Fence, Millis, ReplicaId, ReplicaState, RestartWhen, RolloutReport};

use super::{Archive, State, next};
use crate::{
    Answer, Error, Failover, Join, Lease, Load, MAX_EPOCH, Member, ObjectPlace, Restart, Result, check_note,
    check_place, check_reason, first_id, place_stays, report_json, too_high,
};

impl State {
    pub(super) fn identify(&mut self, controller: &str) -> Answer {
        if self.meta.controller.is_empty() {
            controller.clone_into(&mut self.meta.controller);
        }
        Answer::Controller(self.meta.controller.clone())
    }

    pub(super) fn raise_epoch(&mut self, above: u32) -> Result<Answer> {
        if above >= MAX_EPOCH {
            return Err(Error::Limit(format!("no epoch is above {MAX_EPOCH}")));
        }
        if self.meta.epoch <= above {
            self.meta.epoch = above + 1;
            let last = first_id(above + 1) - 1;
            self.last.build = self.last.build.max(last);
            self.last.incarnation = self.last.incarnation.max(last);
        }
        Ok(Answer::Epoch(self.meta.epoch))
    }

    pub(super) fn raise_level(&mut self, level: i64) -> Answer {
        if self.members.values().filter(|m| m.live()).all(|m| m.level >= level) {
            self.meta.level = self.meta.level.max(level);
        }
        Answer::Level(self.meta.level)
    }

    pub(super) fn set_quiet(&mut self, reason: Option<&str>) -> Result<Answer> {
        check_reason(reason)?;
        self.meta.quiet = reason.map(str::to_owned);
        Ok(Answer::Unit)
    }

    pub(super) fn ask_restart(&mut self, seen: i64, when: RestartWhen, by: &str, reload: bool) -> Answer {
        let last = &self.meta.restart;
        if last.number <= seen || (reload && !last.reload) || last.withdrawn {
            let (number, by) = (last.number + 1, by.to_owned());
            self.meta.restart = Restart { number, when, by, reload, withdrawn: false };
        }
        Answer::Id(self.meta.restart.number)
    }

    pub(super) fn withdraw_restart(&mut self, number: i64) -> Answer {
        let last = self.meta.restart.number == number;
        self.meta.restart.withdrawn |= last;
        Answer::Bool(last)
    }

    pub(super) fn report_rollout(&mut self, report: &RolloutReport) -> Result<Answer> {
        report_json(report)?;
        self.meta.rollout = Some(report.clone());
        Ok(Answer::Unit)
    }

    pub(super) fn place_objects(
        &mut self,
        was: Option<&ObjectPlace>,
        place: Option<&ObjectPlace>,
        joined: i64,
    ) -> Result<Answer> {
        check_place(place)?;
        if self.meta.objects.as_ref() != was || self.last.incarnation > joined {
            return Ok(Answer::Bool(false));
        }
        let named = |of: &super::History| !of.artifacts.is_empty() || matches!(of.archive, Archive::Done(_));
        if !self.running.is_empty() || !self.garbage.is_empty() || self.builds.values().any(named) {
            return Err(place_stays());
        }
        self.meta.objects = place.cloned();
        Ok(Answer::Bool(true))
    }

    pub(super) fn join(&mut self, join: &Join) -> Result<Answer> {
        if self.meta.level > join.level {
            return Err(too_high(self.meta.level, join.level));
        }
        if let Some(old) = self.members.get(&join.name).filter(|m| m.live()) {
            self.note_loss(old.id.clone(), join.at);
        }
        let id = ReplicaId { name: join.name.clone(), incarnation: next(&mut self.last.incarnation) };
        let incarnation = id.incarnation;
        let member = Member {
            id,
            ordinal: join.ordinal,
            pid: join.pid,
            address: join.address.clone(),
            state: ReplicaState::Waiting,
            since: join.at,
            revision: join.revision.clone(),
            version: join.version.clone(),
            level: join.level,
            behaviour: join.behaviour,
            beat: 0,
            load: Load::default(),
        };
        self.members.insert(join.name.clone(), member);
        Ok(Answer::Joined { incarnation, epoch: self.meta.epoch })
    }

    fn member(&mut self, id: &ReplicaId) -> Option<&mut Member> {
        self.members.get_mut(&id.name).filter(|m| m.id.incarnation == id.incarnation && m.live())
    }

    pub(super) fn beat(&mut self, me: &ReplicaId, load: Load) -> Result<Answer> {
        let member = self.member(me).ok_or(Error::Fenced { current: None })?;
        member.beat += 1;
        member.load = load;
        self.meta.tick += 1;
        Ok(Answer::Unit)
    }

    pub(super) fn set_state(&mut self, me: &ReplicaId, state: ReplicaState, at: Millis) -> Result<Answer> {
        let member = self.member(me).ok_or(Error::Fenced { current: None })?;
        if member.state != state {
            member.state = state;
            member.since = at;
        }
        Ok(Answer::Unit)
    }

    pub(super) fn lapse(&mut self, who: &ReplicaId, beat: Option<i64>, at: Millis) -> Answer {
        let Some(member) = self.member(who).filter(|m| beat.is_none_or(|beat| m.beat == beat)) else {
            return Answer::Bool(false);
        };
        member.state = ReplicaState::Stopped;
        member.since = at;
        self.note_loss(who.clone(), at);
        Answer::Bool(true)
    }

    /// A live member was lost: a failover when it owned builds.
    fn note_loss(&mut self, replica: ReplicaId, at: Millis) {
        let owned = self.running.values().filter(|live| live.row.owner == replica.incarnation).count();
        if owned > 0 {
            let builds = u32::try_from(owned).unwrap_or(u32::MAX);
            let row = Failover { replica, at, builds, adopted: None, resumed: None };
            self.failovers.insert(row.replica.incarnation, row);
        }
    }

    pub(super) fn note_failover(
        &mut self,
        lost: i64,
        adopted_at: Option<Millis>,
        resumed_at: Option<Millis>,
    ) -> Answer {
        if let Some(row) = self.failovers.get_mut(&lost) {
            let after =
                |at: Option<Millis>| at.map(|at| u64::try_from(at.0.saturating_sub(row.at.0)).unwrap_or(0));
            row.adopted = row.adopted.max(after(adopted_at));
            row.resumed = row.resumed.max(after(resumed_at));
        }
        Answer::Unit
    }

    pub(super) fn acquire(
        &mut self,
        lease: &str,
        me: &ReplicaId,
        seen: Option<Fence>,
        at: Millis,
    ) -> Result<Answer> {
        self.must_live(me)?;
        let row = self.leases.get(lease);
        if row.map(|row| row.fence) != seen {
            return Ok(Answer::Acquired(None));
        }
        match row.and_then(|row| row.holder.as_ref()) {
            Some(holder) if holder == me => return Ok(Answer::Acquired(seen)),
            Some(holder) if self.live(holder) => return Ok(Answer::Acquired(None)),
            Some(_) | None => {}
        }
        let fence = seen.map_or(self.first_fence(), |seen| seen.next(self.meta.epoch));
        let note = row.map(|row| row.note.clone()).unwrap_or_default();
        let row = Lease { name: lease.to_owned(), holder: Some(me.clone()), fence, since: at, note };
        self.leases.insert(lease.to_owned(), row);
        Ok(Answer::Acquired(Some(fence)))
    }

    pub(super) fn release(&mut self, lease: &str, me: &ReplicaId, fence: Fence) -> Answer {
        match self.leases.get_mut(lease) {
            Some(row) if row.holder.as_ref() == Some(me) && row.fence == fence => {
                row.holder = None;
                Answer::Bool(true)
            }
            Some(_) | None => Answer::Bool(false),
        }
    }

    pub(super) fn note_lease(
        &mut self,
        lease: &str,
        me: &ReplicaId,
        fence: Fence,
        note: &str,
    ) -> Result<Answer> {
        check_note(note)?;
        let live = self.live(me);
        let row = self.leases.get_mut(lease);
        let current = row.as_ref().map(|row| row.fence);
        match row {
            Some(row) if live && row.holder.as_ref() == Some(me) && row.fence == fence => {
                note.clone_into(&mut row.note);
                Ok(Answer::Unit)
            }
            Some(_) | None => Err(Error::Fenced { current }),
        }
    }
}
