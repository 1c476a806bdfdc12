//! The store in memory: plain data and one function that changes it. For unit tests and the simulation.
//!
//! [`State`] is the whole home as a value: no lock, no clock, no random, so the same writes give the same state.
//! [`Memory`] is a shared one behind the traits. Each write first looks whether it may, then changes; nothing fails half-way.

mod history;
mod home;
mod items;
mod nodes;
mod objects;
mod progress;
mod queue;
mod read;
mod running;
mod shared;
mod users;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::{BuildId, Fence, JobName, Millis, QueueId, ReplicaId, ReplicaName};

pub use objects::MemoryObjects;
pub use shared::Memory;

use crate::{
    Answer, ApiToken, ArchivedLog, Artifact, Build, Busy, Chunk, Error, Failover, Hidden, InboxRow, Item,
    Lease, Link, Member, Meta, Node, QueueItem, Restart, Result, Running, Session, Stash, User, Wait, Write,
};

/// A home as plain data. Changed by [`State::apply`] only.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    meta: Meta,
    last: Last,
    /// By id in lower case.
    users: BTreeMap<String, User>,
    sessions: BTreeMap<Hidden, Session>,
    /// By id.
    tokens: BTreeMap<String, ApiToken>,
    anonymous_read: bool,
    members: BTreeMap<ReplicaName, Member>,
    leases: BTreeMap<String, Lease>,
    /// By lost incarnation.
    failovers: BTreeMap<i64, Failover>,
    /// By `JobName::key`.
    items: BTreeMap<String, Item>,
    /// Builds of each item that have ended, by result, and the milliseconds that they took.
    counted: BTreeMap<i64, ([u64; 5], u64)>,
    builds: BTreeMap<BuildId, History>,
    /// By item and number.
    numbers: BTreeMap<(i64, u64), BuildId>,
    running: BTreeMap<BuildId, Live>,
    sources: BTreeMap<String, Source>,
    queue: BTreeMap<QueueId, Queued>,
    /// The items that wait, by what makes them equal.
    waiting: BTreeMap<Same, QueueId>,
    waits: BTreeMap<i64, Wait>,
    /// By `NodeName::key` and slot.
    busy: BTreeMap<(String, u32), Busy>,
    /// By `NodeName::key`, as the links.
    nodes: BTreeMap<String, Node>,
    links: BTreeMap<String, Link>,
    garbage: BTreeSet<String>,
}

/// The highest number given so far, of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Last {
    incarnation: i64,
    item: i64,
    build: i64,
    queue: i64,
    wait: i64,
}

/// What stays of a build when it has ended.
#[derive(Debug, Clone, PartialEq)]
struct History {
    build: Build,
    item: i64,
    journal: Vec<Bytes>,
    /// By offset; without gaps.
    chunks: BTreeMap<u64, Chunk>,
    raw: BTreeMap<String, u64>,
    sources: BTreeSet<String>,
    artifacts: BTreeMap<String, Artifact>,
    archive: Archive,
}

/// What is to become of the log of a build.
#[derive(Debug, Clone, PartialEq)]
enum Archive {
    Stays,
    Due,
    Done(ArchivedLog),
}

/// What a build has only while it runs.
#[derive(Debug, Clone, PartialEq)]
struct Live {
    row: Running,
    /// In the order of delivery.
    inbox: Vec<InboxRow>,
    /// Keys of `inbox` and those consumed.
    keys: BTreeSet<String>,
    stashes: BTreeMap<String, Stash>,
}

#[derive(Debug, Clone, PartialEq)]
struct Source {
    text: String,
    /// Builds that name it.
    named: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Queued {
    item: QueueItem,
    /// Its key in `waiting`.
    same: Same,
    /// When it left.
    left_at: Option<Millis>,
}

/// Job and parameters (JSON): equal ones are one queue item.
type Same = (JobName, String);

impl Default for State {
    fn default() -> State {
        State {
            meta: Meta {
                controller: String::new(),
                level: 1,
                epoch: 1,
                tick: 0,
                quiet: None,
                restart: Restart::default(),
                rollout: None,
                objects: None,
                joined: 0,
            },
            last: Last::default(),
            users: BTreeMap::new(),
            sessions: BTreeMap::new(),
            tokens: BTreeMap::new(),
            anonymous_read: false,
            members: BTreeMap::new(),
            leases: BTreeMap::new(),
            failovers: BTreeMap::new(),
            items: BTreeMap::new(),
            counted: BTreeMap::new(),
            builds: BTreeMap::new(),
            numbers: BTreeMap::new(),
            running: BTreeMap::new(),
            sources: BTreeMap::new(),
            queue: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waits: BTreeMap::new(),
            busy: BTreeMap::new(),
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            garbage: BTreeSet::new(),
        }
    }
}

impl State {
    /// A new home.
    pub fn new() -> State {
        State::default()
    }

    /// Does the write whole, or nothing of it. What each does is told at [`Write`].
    pub fn apply(&mut self, write: &Write) -> Result<Answer> {
        match write {
            Write::Identify { controller } => Ok(self.identify(controller)),
            Write::RaiseLevel { level } => Ok(self.raise_level(*level)),
            Write::RaiseEpoch { above } => self.raise_epoch(*above),
            Write::SetQuiet { reason } => self.set_quiet(reason.as_deref()),
            Write::AskRestart { seen, when, by, reload } => Ok(self.ask_restart(*seen, *when, by, *reload)),
            Write::WithdrawRestart { number } => Ok(self.withdraw_restart(*number)),
            Write::ReportRollout { report } => self.report_rollout(report),
            Write::PlaceObjects { was, place, joined } => {
                self.place_objects(was.as_ref(), place.as_ref(), *joined)
            }
            Write::CreateFirstUser { user, token } => self.create_first_user(user, token.as_ref()),
            Write::CreateUser(user) => self.create_user(user),
            Write::EditUser { id, edit } => self.edit_user(id, edit),
            Write::RehashPassword { id, was, password } => Ok(self.rehash(id, was, password)),
            Write::DeleteUser { id } => self.delete_user(id),
            Write::CreateSession { session, password } => self.create_session(session, password),
            Write::TouchSession { hash, at } => Ok(self.touch_session(hash, *at)),
            Write::EndSession { hash } => Ok(Answer::Bool(self.sessions.remove(hash).is_some())),
            Write::ForgetSessions { now } => Ok(self.forget_sessions(*now)),
            Write::CreateToken(token) => self.create_token(token),
            Write::RenameToken { user, id, name } => self.rename_token(user, id, name),
            Write::RevokeToken { user, id } => Ok(self.revoke_token(user, id)),
            Write::RevokeTokens { user, except } => Ok(self.revoke_tokens(user, except.as_deref())),
            Write::UseToken { id, at, uses } => Ok(self.use_token(id, *at, *uses)),
            Write::AllowAnonymousRead { allowed } => {
                self.anonymous_read = *allowed;
                Ok(Answer::Unit)
            }
            Write::Join(join) => self.join(join),
            Write::Beat { me, load } => self.beat(me, *load),
            Write::SetState { me, state, at } => self.set_state(me, *state, *at),
            Write::Lapse { who, beat, at } => Ok(self.lapse(who, *beat, *at)),
            Write::AcquireLease { lease, me, seen, at } => self.acquire(lease, me, *seen, *at),
            Write::ReleaseLease { lease, me, fence } => Ok(self.release(lease, me, *fence)),
            Write::NoteLease { lease, me, fence, note } => self.note_lease(lease, me, *fence, note),
            Write::NoteFailover { lost, adopted_at, resumed_at } => {
                Ok(self.note_failover(*lost, *adopted_at, *resumed_at))
            }
            Write::CreateItem { name, kind, config, disabled, at: _ } => {
                self.create_item(name, *kind, config, *disabled)
            }
            Write::ConfigureItem { name, config, disabled } => self.configure_item(name, config, *disabled),
            Write::RenameItem { name, to } => self.rename_item(name, to),
            Write::DeleteItem { name } => self.delete_item(name),
            Write::CreateNode(node) => self.create_node(node),
            Write::ConfigureNode(node) => self.configure_node(node),
            Write::DeleteNode { name } => self.delete_node(name),
            Write::SetNodeOffline { name, offline } => self.set_offline(name, offline.as_ref()),
            Write::LinkUp { node, holder, instance, info, at } => {
                self.link_up(node, holder, instance, info, *at)
            }
            Write::LinkDown { node, number, reason, at } => Ok(self.link_down(node, *number, reason, *at)),
            Write::Enqueue(wanted) => self.enqueue(wanted),
            Write::CancelQueued { id, at } => Ok(self.cancel(*id, *at)),
            Write::TakeBuild { id, owner, exclusive, behaviour, at, executor } => {
                let taken = self.take(*id, owner, *exclusive, *behaviour, *at, executor.as_ref());
                taken.map(Answer::Taken)
            }
            Write::Grant { wait, node, slot, body } => Ok(self.grant(*wait, node, *slot, body)),
            Write::ForgetLeft { before } => Ok(self.forget_left(*before)),
            Write::Progress(progress) => self.progress(progress),
            Write::Adopt { build, seen, owner } => self.adopt(*build, *seen, owner),
            Write::Deliver { build, key, body } => self.deliver(*build, key, body),
            Write::DeleteBuild { job, number, build } => self.delete_build(job, *number, *build),
            Write::DeleteArtifacts { job, number, build } => self.delete_artifacts(job, *number, *build),
            Write::KeepBuild { job, number, keep } => self.keep_build(job, *number, *keep),
            Write::LogArchived { build, log } => self.log_archived(*build, log),
            // Here all that goes does so at once.
            Write::Erase => Ok(Answer::Bool(false)),
            Write::ForgetObjects { keys } => Ok(self.forget_objects(keys)),
        }
    }

    /// Changes what is stored of a build's log, whatever the rules say: for tests of those who look for damage. Gives the
    /// chunks by offset, the committed raw offsets, and the end of the log.
    pub fn damage(
        &mut self,
        build: BuildId,
        change: impl FnOnce(&mut BTreeMap<u64, Chunk>, &mut BTreeMap<String, u64>, &mut u64),
    ) {
        if let Some(history) = self.builds.get_mut(&build) {
            change(&mut history.chunks, &mut history.raw, &mut history.build.log_end);
        }
    }

    /// Whether this very incarnation is a live member.
    fn live(&self, id: &ReplicaId) -> bool {
        self.members.get(&id.name).is_some_and(|m| m.id.incarnation == id.incarnation && m.live())
    }

    fn must_live(&self, id: &ReplicaId) -> Result<()> {
        if self.live(id) { Ok(()) } else { Err(Error::Fenced { current: None }) }
    }

    fn first_fence(&self) -> Fence {
        Fence::first(self.meta.epoch)
    }
}

/// The next number of a counter.
fn next(counter: &mut i64) -> i64 {
    *counter += 1;
    *counter
}
