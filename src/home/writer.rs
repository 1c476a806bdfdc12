//! The writer that commits in groups (DESIGN D4): one task of the process owns a connection, applies whatever is queued
//! in one transaction, waits for nobody, and answers each write after the commit.
//!
//! A new connection may lead to an older state: a database that was restored, or a standby that had not heard all. What
//! waits then was asked for in the lost time, so it is refused as fenced (DESIGN §4.10); its membership ends too.
//!
//! While the store is away, writes wait in the queue, each for [`PATIENCE`]; then their callers take them back, which is
//! only possible before the writer has taken them into a transaction.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store::{Answer, Effect, Enqueue, Error, Write};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::apply::{self, Room};
use crate::session::{Commit, Session};
use crate::stats::Stats;
use crate::trouble::Trouble;

/// How long a call waits for a store that is away (DESIGN D17).
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Most writes of one transaction.
const GROUP: usize = 256;
/// Most bytes of one transaction, but for the last write of it.
const GROUP_BYTES: usize = 1024 * 1024;
/// Writes that wait in the channel; more wait in their callers.
const QUEUE: usize = 1024;
/// Of them, those that keep the membership.
const QUEUE_FIRST: usize = 64;
/// How often a whole group is tried again before its members are tried singly.
const GROUP_TRIES: u32 = 3;
/// How often a write may be in a transaction whose connection ends before it is held for the cause.
const LOSSES: u32 = 3;
const BACK_OFF: Duration = Duration::from_millis(50);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(1);

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// Who has a write: its caller, who may still withdraw it, or the writer.
struct Ticket(AtomicU8);

impl Ticket {
    fn turn(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

struct Queued {
    write: Write,
    since: Instant,
    /// Connections that ended while it was in their transaction.
    losses: u32,
    ticket: Arc<Ticket>,
    answer: oneshot::Sender<store::Result<Answer>>,
}

impl Queued {
    fn tell(self, answer: store::Result<Answer>) {
        // A caller that has gone away needs no answer.
        let _ = self.answer.send(answer);
    }
}

/// Why the store is away, for those who give up.
type Why = Arc<Mutex<Option<String>>>;

fn why_away(why: &Why) -> Error {
    let why = why.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Error::Unavailable(why.unwrap_or_else(|| "it is too busy".to_owned()))
}

/// What callers have of the writer.
#[derive(Clone)]
pub(crate) struct Handle {
    queue: mpsc::Sender<Queued>,
    /// For what keeps this process a member: it passes what waits, and never waits for long transactions to queue up.
    first: mpsc::Sender<Queued>,
    why: Why,
    stats: Arc<Stats>,
}

impl Handle {
    pub(crate) async fn write(&self, write: Write) -> store::Result<Answer> {
        let since = Instant::now();
        let answer = self.answered(write, since).await;
        self.stats.metrics.answered(&answer, since.elapsed());
        answer
    }

    async fn answered(&self, write: Write, since: Instant) -> store::Result<Answer> {
        let deadline = since + PATIENCE;
        let closed = || Error::Unavailable("this process has closed it".to_owned());
        let queue = if keeps_membership(&write) { &self.first } else { &self.queue };
        // At once if there is room, so that writes queued in turn stand in turn.
        let permit = match queue.try_reserve() {
            Ok(permit) => permit,
            Err(TrySendError::Closed(())) => return Err(closed()),
            Err(TrySendError::Full(())) => match timeout_at(deadline, queue.reserve()).await {
                Ok(permit) => permit.map_err(|_| closed())?,
                Err(_) => return Err(why_away(&self.why)),
            },
        };
        let ticket = Arc::new(Ticket(AtomicU8::new(WAITING)));
        let (answer, mut answered) = oneshot::channel();
        permit.send(Queued { write, since, losses: 0, ticket: Arc::clone(&ticket), answer });
        match timeout_at(deadline, &mut answered).await {
            Ok(answer) => answer.map_err(|_| closed())?,
            Err(_) if ticket.turn(WAITING, WITHDRAWN) => Err(why_away(&self.why)),
            // It is in a transaction: only the writer knows what becomes of it.
            Err(_) => answered.await.map_err(|_| Error::Unknown("the writer has ended".to_owned()))?,
        }
    }
}

/// The task's own state.
pub(crate) struct Service {
    session: Session,
    queue: mpsc::Receiver<Queued>,
    first: mpsc::Receiver<Queued>,
    /// Received and not taken, or given back.
    backlog: VecDeque<Queued>,
    /// The first of the backlog must be in a group of its own, which is the next.
    alone: bool,
    /// So many of the backlog go alone: one of them may have ended the connection.
    singly: usize,
    room: Room,
    /// The store's tick at our last beat.
    tick: i64,
    /// The store is at an older tick: it was set back in time.
    behind: bool,
    stats: Arc<Stats>,
    why: Why,
    back_off: Duration,
}

/// What became of one transaction.
enum Done {
    Committed,
    Unknown(String),
    Failed(Trouble),
}

pub(crate) fn new(session: Session, stats: Arc<Stats>) -> (Handle, Service) {
    let (send, queue) = mpsc::channel(QUEUE);
    let (send_first, first) = mpsc::channel(QUEUE_FIRST);
    let why = Why::default();
    let handle = Handle { queue: send, first: send_first, why: Arc::clone(&why), stats: Arc::clone(&stats) };
    let service = Service {
        session,
        queue,
        first,
        backlog: VecDeque::new(),
        alone: false,
        singly: 0,
        room: Room::default(),
        tick: 0,
        behind: false,
        stats,
        why,
        back_off: BACK_OFF,
    };
    (handle, service)
}

impl Service {
    /// Until `stop` is true or all handles are gone; what is queued then is still written.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        while self.wait_for_one(&mut stop).await {
            if let Err(trouble) = self.session.begin().await {
                self.away(trouble).await;
                continue;
            }
            // Taken only now: until here callers may withdraw, and more may have come.
            let group = self.collect();
            if group.is_empty() {
                self.session.rollback().await;
                continue;
            }
            self.perform(group).await;
        }
        self.session.close().await;
    }

    async fn wait_for_one(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        if !self.backlog.is_empty() {
            return true;
        }
        loop {
            tokio::select! {
                Some(queued) = self.first.recv() => {
                    self.backlog.push_front(queued);
                    return true;
                }
                queued = self.queue.recv() => {
                    // Closed and empty; the other queue was closed with it, and may hold something.
                    let queued = queued.or_else(|| self.first.try_recv().ok());
                    let some = queued.is_some();
                    self.backlog.extend(queued);
                    return some;
                }
                // Cancel-safe: `recv` and `wait_for` lose nothing.
                stopped = stop.wait_for(|stop| *stop), if !self.queue.is_closed() => {
                    let _ = stopped;
                    self.queue.close();
                    self.first.close();
                }
            }
        }
    }

    /// Whatever is queued, up to the limits of a group.
    fn collect(&mut self) -> Vec<Queued> {
        let mut group = Vec::new();
        let mut bytes = 0;
        let most = if self.singly > 0 { 1 } else { GROUP };
        self.singly = self.singly.saturating_sub(1);
        while group.len() < most && bytes < GROUP_BYTES {
            let first = if std::mem::take(&mut self.alone) { None } else { self.first.try_recv().ok() };
            let waiting = first.or_else(|| self.backlog.pop_front());
            let Some(queued) = waiting.or_else(|| self.queue.try_recv().ok()) else {
                break;
            };
            if queued.answer.is_closed() || !queued.ticket.turn(WAITING, TAKEN) {
                continue;
            }
            self.alone = apply::alone(&queued.write);
            if self.alone && !group.is_empty() {
                queued.ticket.turn(TAKEN, WAITING);
                self.backlog.push_front(queued);
                break;
            }
            bytes += size(&queued.write);
            group.push(queued);
            if std::mem::take(&mut self.alone) {
                break;
            }
        }
        group
    }

    /// The group as a whole, then singly. The transaction has begun.
    async fn perform(&mut self, mut group: Vec<Queued>) {
        for attempt in 1.. {
            match self.attempt(&mut group).await {
                Done::Committed => return,
                Done::Unknown(why) => return unknown(group, &why),
                Done::Failed(trouble @ Trouble::Lost(_)) => return self.give_back(group, trouble).await,
                Done::Failed(Trouble::Again(why) | Trouble::Taken(why)) if attempt < GROUP_TRIES => {
                    tracing::debug!(attempt, why, "another transaction was in the way of a group");
                }
                Done::Failed(_) => break,
            }
            self.stats.retried();
            sleep(pause(attempt)).await;
            if let Err(trouble) = self.session.begin().await {
                return self.give_back(group, trouble).await;
            }
        }
        let mut rest = VecDeque::from(group);
        while let Some(queued) = rest.pop_front() {
            if let Err((queued, trouble)) = self.single(queued).await {
                rest.push_front(queued);
                return self.give_back(rest.into(), trouble).await;
            }
        }
    }

    /// One write in a transaction of its own. An error gives it back: the connection is lost.
    async fn single(&mut self, queued: Queued) -> Result<(), (Queued, Trouble)> {
        let mut group = vec![queued];
        for attempt in 1.. {
            let done = match self.session.begin().await {
                Ok(()) => self.attempt(&mut group).await,
                Err(trouble) => Done::Failed(trouble),
            };
            let Some(queued) = group.pop() else { return Ok(()) };
            match done {
                Done::Committed => {}
                Done::Unknown(why) => unknown(vec![queued], &why),
                Done::Failed(trouble @ Trouble::Lost(_)) => return Err((queued, trouble)),
                Done::Failed(trouble) if trouble.passes(attempt) && queued.since.elapsed() < PATIENCE => {
                    self.stats.retried();
                    sleep(pause(attempt)).await;
                    group.push(queued);
                    continue;
                }
                Done::Failed(trouble) => {
                    tracing::warn!(write = name(&queued.write), ?trouble, "a write could not be applied");
                    queued.tell(Err(trouble.into_error()));
                }
            }
            return Ok(());
        }
        Ok(())
    }

    /// Applies and commits; the transaction is over afterwards. After `Committed` the group is empty and answered.
    async fn attempt(&mut self, group: &mut Vec<Queued>) -> Done {
        let begun = Instant::now();
        if self.session.fresh() {
            match self.session.within(async |conn| apply::tick(conn).await).await {
                Ok(tick) => {
                    self.behind = tick < self.tick;
                    self.session.known();
                }
                Err(trouble) => return Done::Failed(trouble),
            }
        }
        if self.behind {
            refuse(group);
        }
        let room = &mut self.room;
        let writes: Vec<&Write> = group.iter().map(|q| &q.write).collect();
        let beats = writes.iter().any(|write| matches!(write, Write::Beat { .. }));
        let applied = self.session.within(async |conn| {
            let answers = apply::group(conn, room, &writes).await?;
            let tick = if beats { Some(apply::tick(conn).await?) } else { None };
            Ok((answers, tick))
        });
        let (answers, tick) = match applied.await {
            Ok(applied) => applied,
            Err(trouble) => {
                if matches!(trouble, Trouble::Lost(_)) {
                    group.iter_mut().for_each(|q| q.losses += 1);
                }
                return Done::Failed(trouble);
            }
        };
        let applied = Instant::now();
        match self.session.commit().await {
            Commit::Done => {}
            Commit::Unknown(why) => return Done::Unknown(why),
            Commit::Failed(trouble) => return Done::Failed(trouble),
        }
        self.tick = tick.unwrap_or(self.tick);
        self.back(&answers, applied.elapsed(), begun.elapsed());
        for (queued, answer) in group.drain(..).zip(answers) {
            queued.tell(answer);
        }
        Done::Committed
    }

    /// The store has answered.
    fn back(&mut self, answers: &[store::Result<Answer>], commit: Duration, round: Duration) {
        let refused = answers.iter().filter(|a| a.is_err()).count();
        self.stats.committed(answers.len() as u64, refused as u64, commit, round);
        if self.back_off != BACK_OFF {
            tracing::info!("the store is back");
            self.back_off = BACK_OFF;
            *self.why.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Nothing of these writes has happened. They wait for the store like all others, but for those that have waited long
    /// enough: their callers could not withdraw them while they were taken.
    async fn give_back(&mut self, group: Vec<Queued>, trouble: Trouble) {
        let suspect = group.iter().any(|q| q.losses > 0);
        for queued in group.into_iter().rev() {
            if queued.losses >= LOSSES || queued.since.elapsed() >= PATIENCE {
                tracing::warn!(write = name(&queued.write), ?trouble, "a write could not be applied");
                queued.tell(Err(trouble.clone().into_error()));
                continue;
            }
            queued.ticket.turn(TAKEN, WAITING);
            self.backlog.push_front(queued);
            self.singly += usize::from(suspect);
        }
        self.away(trouble).await;
    }

    async fn away(&mut self, trouble: Trouble) {
        self.stats.connection_lost();
        let (Trouble::Lost(text)
        | Trouble::Again(text)
        | Trouble::Taken(text)
        | Trouble::Value(text)
        | Trouble::Corrupt(text)
        | Trouble::Other(text)) = trouble;
        if self.back_off == BACK_OFF {
            tracing::warn!(why = text, "the store is away");
        }
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        sleep(self.back_off).await;
        self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
    }
}

/// Whether others count this process as lost, or wait for it, while the write is not committed.
fn keeps_membership(write: &Write) -> bool {
    matches!(
        write,
        Write::Beat { .. }
            | Write::SetState { .. }
            | Write::Lapse { .. }
            | Write::AcquireLease { .. }
            | Write::ReleaseLease { .. }
            | Write::NoteLease { .. }
            | Write::RaiseEpoch { .. }
    )
}

/// Only what ends the old epoch, and what begins anew, may be written to a store that was set back. Who acts as a member
/// or an owner of the lost time is fenced; what users ask for may be asked again, of a replica of the new epoch.
fn refuse(group: &mut Vec<Queued>) {
    let begins = |write: &Write| matches!(write, Write::RaiseEpoch { .. } | Write::Join(_));
    let (kept, refused): (Vec<_>, Vec<_>) = group.drain(..).partition(|queued| begins(&queued.write));
    *group = kept;
    for queued in refused {
        let fenced = keeps_membership(&queued.write)
            || matches!(queued.write, Write::Progress(_) | Write::TakeBuild { .. } | Write::Adopt { .. });
        queued.tell(Err(match fenced {
            true => Error::Fenced { current: None },
            false => Error::Unavailable("it was set back in time, and this replica ends".to_owned()),
        }));
    }
}

fn unknown(group: Vec<Queued>, why: &str) {
    tracing::warn!(writes = group.len(), why, "the store did not say whether it committed");
    for queued in group {
        queued.tell(Err(Error::Unknown(why.to_owned())));
    }
}

/// Before the next attempt; differs between processes, so that they do not meet again.
fn pause(attempt: u32) -> Duration {
    Duration::from_millis(u64::from(attempt.min(20)) * u64::from(2 + std::process::id() % 7))
}

/// For the log: the variant, nothing of its content.
fn name(write: &Write) -> String {
    let text = format!("{write:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn params(wanted: &Enqueue) -> usize {
    wanted.params.iter().map(|(name, value)| name.len() + value.to_string().len()).sum()
}

/// About how many bytes a write carries.
fn size(write: &Write) -> usize {
    let carried = match write {
        Write::Progress(p) => {
            let carried = |effect: &Effect| match effect {
                Effect::Source { text, .. } => text.len(),
                Effect::Enqueue(wanted) => params(wanted),
                _ => 0,
            };
            p.records.iter().map(bytes::Bytes::len).sum::<usize>()
                + p.chunks.iter().map(|c| c.bytes.len()).sum::<usize>()
                + p.effects.iter().map(carried).sum::<usize>()
        }
        Write::CreateItem { config, .. } | Write::ConfigureItem { config, .. } => config.len(),
        Write::CreateNode(node) | Write::ConfigureNode(node) => node.config.len(),
        Write::Deliver { body, .. } | Write::Grant { body, .. } => body.len(),
        Write::TakeBuild { executor: Some(executor), .. } => executor.body.len(),
        Write::Enqueue(wanted) => params(wanted),
        _ => 0,
    };
    carried + 256
}
