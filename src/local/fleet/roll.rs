//! The replicas, slot by slot, on their way to what is wanted of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Clock, RolloutAsked, RolloutReport, SystemClock};
use resource::LocalRollout;
use rollout::{Act, Observed, Phase, Policy, Revision, Rollout, State, step};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::members;
use crate::Error;
use crate::home::{Paths, Revisions};
use crate::peer::Peers;
use crate::record::ReplicaRecord;
use crate::supervise::{Event, Spec, What};
use crate::up::Say;

/// How often replicas are asked what users want, and told how the rollout stands.
const ASK: Duration = Duration::from_secs(1);
/// Nobody can say what is wanted after so many attempts in a row.
const SILENT: u32 = 5;
/// What was found running says by then how it is.
const UNSEEN: Duration = Duration::from_secs(10);
/// A replica that has ended so often since its revision began does not start.
const MOST_ENDS: u32 = 3;

/// The place of one replica.
pub(super) struct Slot {
    pub(super) name: String,
    seen: rollout::Slot,
    /// How often its replica has ended since the revision of the slot is what it is.
    ends: u32,
    /// How often one was started there.
    starts: u64,
    /// Nothing was seen yet of the replica that was found there.
    unseen: bool,
    wanted: watch::Sender<Option<Spec>>,
}

/// Moves the slots to the revision that is wanted.
pub(super) struct Roller {
    paths: Paths,
    peers: Peers,
    /// Where a new program is put.
    program: PathBuf,
    /// For links in builds and answers.
    public: Option<String>,
    revisions: Revisions,
    settings: LocalRollout,
    rollout: Rollout,
    pub(super) slots: Vec<Slot>,
    /// Places that are given up, in the order in which their replicas end.
    leaving: Vec<Slot>,
    clock: SystemClock,
    asked: watch::Receiver<Option<RolloutAsked>>,
    report: watch::Sender<Option<RolloutReport>>,
    events: mpsc::Sender<Event>,
    tasks: JoinSet<()>,
    said: Phase,
}

impl Roller {
    pub(super) fn new(
        paths: Paths,
        peers: Peers,
        program: PathBuf,
        public: Option<String>,
        revisions: Revisions,
        events: mpsc::Sender<Event>,
    ) -> Roller {
        let (asked, report) = (watch::Sender::new(None), watch::Sender::new(None));
        let mut tasks = JoinSet::new();
        let seen = asked.subscribe();
        tasks.spawn(ask(peers.clone(), asked, report.subscribe()));
        Roller {
            paths,
            peers,
            program,
            public,
            settings: LocalRollout::default(),
            rollout: revisions.rollout(),
            revisions,
            slots: Vec::new(),
            leaving: Vec::new(),
            clock: SystemClock::new(),
            asked: seen,
            report,
            events,
            tasks,
            said: Phase::Settled,
        }
    }

    /// What the replica of a slot runs under this revision; of an unknown one, what is wanted now.
    fn spec(&self, ordinal: usize, name: &str, revision: &Revision, start: u64) -> Spec {
        let program = self.revisions.program(&self.paths, revision);
        let program = program.or_else(|| self.revisions.program(&self.paths, self.revisions.wanted()));
        let arguments =
            members::replica_arguments(&self.paths, name, ordinal, self.public.as_deref(), revision);
        Spec { start, revision: Some(revision.clone()), program: program.unwrap_or_default(), arguments }
    }

    /// A further slot, with what runs there or is to be started.
    pub(super) fn add(
        &mut self,
        name: &str,
        found: Option<Revision>,
    ) -> (Spec, watch::Receiver<Option<Spec>>) {
        let unseen = found.is_some();
        let revision = found.unwrap_or_else(|| self.rollout.target().clone());
        let spec = self.spec(self.slots.len(), name, &revision, 0);
        let wanted = watch::Sender::new(Some(spec.clone()));
        let receiver = wanted.subscribe();
        let seen = rollout::Slot { revision, state: State::Starting, broken: None };
        self.slots.push(Slot { name: name.to_owned(), seen, ends: 0, starts: 0, unseen, wanted });
        (spec, receiver)
    }

    /// Nothing is to run in the last slots any more, once their replicas have handed over what they do.
    pub(super) fn cut(&mut self, count: usize) {
        self.leaving.extend(self.slots.drain(count.min(self.slots.len())..).rev());
    }

    /// Whether a replica of this name, whose place was given up, has not ended yet.
    pub(super) fn leaves(&self, name: &str) -> bool {
        self.leaving.iter().any(|slot| slot.name == name && !slot.wanted.is_closed())
    }

    /// Ends those whose places are given up, one after the other, while all that stay are ready. Whether one is ending.
    fn retire(&mut self) -> bool {
        // whoever keeps one running is gone when it has ended
        self.leaving.retain(|slot| !slot.wanted.is_closed());
        let Some(slot) = self.leaving.first() else { return false };
        let room =
            self.rollout.turn.is_none() && self.slots.iter().all(|slot| slot.seen.state == State::Ready);
        if room {
            slot.wanted.send_replace(None);
        }
        slot.wanted.borrow().is_none()
    }

    /// Whether there is nothing to go back to when this revision does not start.
    pub(super) fn last_resort(&self, revision: Option<&Revision>) -> bool {
        revision == Some(&self.rollout.good)
    }

    /// Takes over what was put in the place of this program. Gives the revision that is wanted.
    pub(super) fn reload(&mut self, program: &Path) -> Result<Revision, Error> {
        if self.revisions.reload(&self.paths, program)? {
            self.want();
        }
        Ok(self.revisions.wanted().clone())
    }

    /// Goes back to the program that ran before. `level`: of the home, where it is known. Gives the revision that is wanted.
    pub(super) fn back(&mut self, level: Option<i64>) -> Result<Revision, Error> {
        self.revisions.back(&self.paths, level)?;
        self.want();
        Ok(self.revisions.wanted().clone())
    }

    /// How replicas are to be replaced from now on.
    pub(super) fn set(&mut self, settings: LocalRollout) {
        self.settings = settings;
    }

    fn policy(&self) -> Policy {
        let usual = Policy::default();
        Policy {
            when: self.revisions.when(),
            drain: self.settings.drain_timeout.unwrap_or(usual.drain),
            ready: self.settings.ready_timeout.unwrap_or(usual.ready),
            ..usual
        }
    }

    fn want(&mut self) {
        self.rollout = self.rollout.clone().want(self.revisions.wanted().clone(), self.clock.elapsed());
    }

    pub(super) fn note(&mut self, event: &Event) {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.name == event.name) else { return };
        // Of a replica whose place has been given away already.
        if event.revision.as_ref() != Some(&slot.seen.revision) {
            return;
        }
        let found = match &event.what {
            What::Started { found: true, .. } => slot.unseen,
            _ => std::mem::take(&mut slot.unseen),
        };
        match &event.what {
            // It was left so by whoever started it: it serves again only when it is started again.
            What::Drained if found => (slot.seen.revision, slot.seen.state) = (unknown(), State::Drained),
            What::Started { .. } | What::Replaced => slot.seen.state = State::Starting,
            What::Ready | What::Setup => (slot.seen.state, slot.seen.broken) = (State::Ready, None),
            What::Unready if slot.seen.state == State::Ready => slot.seen.state = State::Draining,
            What::Drained => slot.seen.state = State::Drained,
            What::Ended { exit, said, .. } => {
                slot.seen.state = State::Starting;
                slot.ends += 1;
                let said = said.clone().unwrap_or_else(|| exit.how.clone());
                if exit.code == Some(super::REFUSED) {
                    slot.seen.broken = Some(said);
                } else if slot.ends >= MOST_ENDS {
                    slot.seen.broken = Some(format!("it ended {} times, {}: {said}", slot.ends, exit.how));
                }
            }
            What::CannotStart { why } => {
                slot.ends += 1;
                if slot.ends >= MOST_ENDS {
                    slot.seen.broken = Some(why.clone());
                }
            }
            What::Unready | What::Hangs => {}
        }
    }

    /// One step of the rollout, done.
    pub(super) fn roll(&mut self, say: &Say) {
        if let Err(error) = self.hear() {
            say(&format!("{error}; the restart is tried again"));
        }
        // one goes at a time
        if self.retire() {
            let message = "replicas whose places are given up end first".to_owned();
            return self.tell(self.said, message, say);
        }
        if self.slots.iter().any(|slot| slot.unseen) && self.clock.elapsed() < UNSEEN {
            return;
        }
        // Replicas that are ready and can't say what is wanted have no store: no new one would get ready either.
        let away =
            self.asked.borrow().is_none() && self.slots.iter().any(|slot| slot.seen.state == State::Ready);
        let mut policy = self.policy();
        if away {
            policy.ready = Duration::MAX;
        }
        let slots: Vec<rollout::Slot> = self.slots.iter().map(|slot| slot.seen.clone()).collect();
        let busy = self.asked.borrow().as_ref().map(|asked| asked.busy);
        let observed = Observed { now: self.clock.elapsed(), slots: &slots, busy };
        let mut rollout = self.rollout.clone();
        if self.asked.borrow().as_ref().is_some_and(|asked| asked.withdrawn) {
            rollout = rollout.withdraw(&observed, &policy);
        }
        let (rollout, mut act) = step(rollout, &observed, &policy);
        if away && matches!(act, Act::Drain(_)) {
            act = Act::Nothing;
        } else {
            self.rollout = rollout;
        }
        let running = slots.iter().map(|slot| &slot.revision);
        let level = self.asked.borrow().as_ref().map(|asked| asked.known).filter(|known| *known > 0);
        let level = level.filter(|_| slots.iter().all(|slot| slot.state == State::Ready));
        if let Err(error) = self.revisions.note(&self.paths, &self.rollout, running, level) {
            say(&format!("{error}; how far the rollout is would be forgotten"));
        }
        if self.rollout.good == *self.rollout.target() && self.rollout.turn.is_none() {
            self.slots.iter_mut().for_each(|slot| slot.ends = 0);
        }
        let message = self.message(&act);
        self.perform(act, &policy);
        self.tell(self.rollout.phase(&observed, &policy), message, say);
    }

    /// Users may have asked for a restart.
    fn hear(&mut self) -> Result<(), Error> {
        let Some(asked) = self.asked.borrow().clone() else { return Ok(()) };
        if self.revisions.restart(&self.paths, &asked, &self.program)? {
            self.want();
        }
        Ok(())
    }

    fn perform(&mut self, act: Act, policy: &Policy) {
        match act {
            Act::Nothing => {}
            Act::Drain(ordinal) => {
                let Some(slot) = self.slots.get_mut(ordinal) else { return };
                slot.seen.state = State::Draining;
                let (name, revision) = (slot.name.clone(), Some(slot.seen.revision.clone()));
                let (peers, events, within) = (self.peers.clone(), self.events.clone(), policy.drain);
                self.tasks.spawn(async move {
                    if let Some(record) = peers.newest_record(&name) {
                        peers.drain(record, within).await;
                    }
                    let _ended = events.send(Event { name, revision, what: What::Drained }).await;
                });
            }
            Act::Replace(ordinal, revision) => {
                let Some(name) = self.slots.get(ordinal).map(|slot| slot.name.clone()) else { return };
                let starts = self.slots.get(ordinal).map_or(0, |slot| slot.starts) + 1;
                let spec = self.spec(ordinal, &name, &revision, starts);
                let Some(slot) = self.slots.get_mut(ordinal) else { return };
                (slot.starts, slot.unseen) = (starts, false);
                (slot.seen, slot.ends) =
                    (rollout::Slot { revision, state: State::Starting, broken: None }, 0);
                slot.wanted.send_replace(Some(spec));
            }
        }
    }

    /// What happens now, for a person.
    fn message(&self, act: &Act) -> String {
        let name = |ordinal: usize| self.slots.get(ordinal).map_or("a replica", |slot| slot.name.as_str());
        match (act, self.rollout.turn) {
            (Act::Drain(ordinal), _) => format!("{} hands over what it does", name(*ordinal)),
            (Act::Replace(ordinal, revision), _) => {
                format!("{} starts with revision {revision}", name(*ordinal))
            }
            (Act::Nothing, Some(turn)) => match turn.stage {
                rollout::Stage::Drain => format!("{} hands over what it does", name(turn.ordinal)),
                rollout::Stage::Start => {
                    format!("{} starts with revision {}", name(turn.ordinal), self.rollout.target())
                }
            },
            (Act::Nothing, None) => String::new(),
        }
    }

    /// To the user, and to whoever asks a replica.
    fn tell(&mut self, phase: Phase, message: String, say: &Say) {
        let (wanted, good, reason) = (&self.rollout.wanted, &self.rollout.good, self.revisions.reason());
        let failed = self.rollout.failed.clone();
        let why = failed.clone().unwrap_or_default();
        let line = match phase {
            Phase::Settled => format!("revision {wanted} runs everywhere"),
            Phase::Waiting => {
                format!("revision {wanted} waits until no step of a build is at work: {reason}")
            }
            Phase::Rolling => format!("rolling out revision {wanted}: {reason}"),
            Phase::GoingBack => {
                format!("revision {wanted} is given up: {why}; going back to revision {good}")
            }
            Phase::Halted => format!("revision {good} runs everywhere again; {wanted} was given up: {why}"),
        };
        if std::mem::replace(&mut self.said, phase) != phase {
            say(&line);
        }
        let message = if message.is_empty() { line } else { message };
        let report = RolloutReport {
            phase,
            revision: wanted.to_string(),
            reason: reason.to_owned(),
            restart: self.revisions.last_restart(),
            failed,
            message,
            bake: self.settings.bake,
        };
        self.report.send_if_modified(|last| {
            let new = last.as_ref() != Some(&report);
            *last = Some(report);
            new
        });
    }
}

/// Asks any replica that answers, each second, and reports what is new.
async fn ask(
    peers: Peers,
    asked: watch::Sender<Option<RolloutAsked>>,
    mut reports: watch::Receiver<Option<RolloutReport>>,
) {
    let mut told = None;
    let mut silent = 0;
    loop {
        silent += 1;
        let report = reports.borrow_and_update().clone();
        let new = report.as_ref().filter(|_| report != told);
        for record in peers.records() {
            if let Some(answer) = peers.rollout(record, new).await {
                asked.send_replace(Some(answer));
                (told, silent) = (report, 0);
                break;
            }
        }
        if silent == SILENT {
            asked.send_replace(None);
        }
        tokio::time::sleep(ASK).await;
    }
}

/// Of a replica that must be started again, whatever it runs.
pub(super) fn unknown() -> Revision {
    Revision(String::new())
}

impl Peers {
    /// Of all replicas that have left one.
    fn records(&self) -> impl Iterator<Item = ReplicaRecord> + '_ {
        self.names().filter_map(|name| self.newest_record(name))
    }
}
