//! The shell around one build's driver: it writes, sends, keeps time and moves objects; it decides nothing.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use link::AgentEvent;
use model::{BuildId, Millis};
use pipeline::act::StepId;
use remoting::ops::{FromAgent, Report};
use store::{Answer, Effect, InboxRow, Upload, Write};
use tokio::sync::mpsc;

use crate::downstream;
use crate::driver::{Do, Downstream, Driver, Event, Now, ObjectDo, ObjectEvent, Stop};
use crate::service::{Shared, Visible};

/// How often a build is looked after without any event.
const IDLE: Duration = Duration::from_secs(1);
/// Between two tries while the store is away.
const AWAY: Duration = Duration::from_millis(500);
/// Bytes of an object in one read.
const PIECE: usize = remoting::ops::MAX_PIECE;

/// What others tell an actor.
#[derive(Debug)]
pub(crate) enum Mail {
    /// Look at the inbox.
    Inbox,
    /// Stop as soon as nothing is in flight, and leave the build to somebody else.
    HandOver,
    /// The store has forgotten writes of the build.
    SetBack,
}

/// How an actor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    Stopped(Stop),
    HandedOver,
}

/// A build was somebody else's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loss {
    /// Incarnation of the lost owner.
    pub(crate) from: i64,
    /// When it was decided to adopt the build, by the monotonic clock.
    pub(crate) since: Duration,
}

type Finding = Pin<Box<dyn Future<Output = (StepId, Vec<Downstream>)> + Send>>;
type Pending<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

pub(crate) struct Actor {
    shared: Arc<Shared>,
    driver: Driver,
    build: BuildId,
    write: Pending<Result<Answer, store::Error>>,
    inbox: Pending<Result<Vec<InboxRow>, store::Error>>,
    /// Why steps wait for executors.
    why: Pending<Vec<(StepId, String)>>,
    /// Jobs that are being looked for.
    jobs: FuturesUnordered<Finding>,
    look_again: bool,
    /// The write in flight changes what waits to be built or for executors, or which are free.
    allots: bool,
    agents: mpsc::UnboundedSender<AgentEvent>,
    objects: mpsc::UnboundedSender<ObjectDo>,
    wake: Option<Duration>,
    again: bool,
    /// Our lease is not sure, and the driver knows: nothing is sent.
    muted: bool,
    handing_over: bool,
    /// Whose the build was, until the adoption is noted.
    lost: Option<Loss>,
    resumed: Option<Loss>,
    /// Bytes of log of the write in flight.
    log: u64,
    stop: Option<Stop>,
    visible: Arc<Visible>,
}

impl Actor {
    /// Runs a build until it ends or is somebody else's. `lost`: whom it was adopted from.
    pub(crate) async fn run(
        shared: Arc<Shared>,
        driver: Driver,
        mut mail: mpsc::UnboundedReceiver<Mail>,
        visible: Arc<Visible>,
        lost: Option<Loss>,
    ) -> Ended {
        let (agents, mut reports) = mpsc::unbounded_channel();
        let (objects, asked) = mpsc::unbounded_channel();
        let (answers, mut stored) = mpsc::unbounded_channel();
        let (build, fence) = (driver.facts().build, driver.facts().fence);
        let moving = move_objects(Arc::clone(&shared), build, asked, answers);
        let mut actor = Actor {
            shared,
            driver,
            build,
            write: None,
            inbox: None,
            why: None,
            jobs: FuturesUnordered::new(),
            look_again: false,
            allots: false,
            agents,
            objects,
            wake: None,
            again: false,
            muted: false,
            handing_over: false,
            lost,
            resumed: lost,
            log: 0,
            stop: None,
            visible,
        };
        actor.driver.among(actor.shared.driving());
        if actor.driver.committed_writes() > 0 || actor.driver.facts().executor {
            actor.look();
        }
        actor.tell(Event::Tick);
        let ended = {
            tokio::pin!(moving);
            loop {
                if let Some(stop) = actor.stop.take() {
                    break Ended::Stopped(stop);
                }
                if actor.handing_over && actor.write.is_none() && actor.driver.quiet() {
                    break Ended::HandedOver;
                }
                let due = actor.due();
                tokio::select! {
                    answer = pending(&mut actor.write) => actor.written(answer),
                    rows = pending(&mut actor.inbox) => actor.inbox_read(rows),
                    all = pending(&mut actor.why) => for (step, why) in all {
                        actor.tell(Event::Waits { step, why });
                    },
                    Some((step, found)) = actor.jobs.next() => actor.tell(Event::Jobs { step, found }),
                    Some(event) = reports.recv() => actor.agent(event),
                    Some(event) = stored.recv() => actor.tell(Event::Object(event)),
                    Some(mail) = mail.recv() => match mail {
                        Mail::Inbox => actor.look(),
                        Mail::HandOver => {
                            actor.handing_over = true;
                            actor.driver.rest();
                        }
                        Mail::SetBack => actor.stop = Some(Stop::Outranked(fence)),
                    },
                    () = tokio::time::sleep(due) => actor.tick(),
                    () = &mut moving => {}
                }
            }
        };
        actor.shared.links.detach(build, fence);
        if matches!(ended, Ended::Stopped(Stop::Finished(_))) && actor.driver.moved_content() {
            crate::history::tidy(&actor.shared, build).await;
        }
        ended
    }

    fn now(&self) -> Now {
        Now { wall: self.shared.clock.now(), elapsed: self.shared.clock.elapsed() }
    }

    fn due(&self) -> Duration {
        if self.again {
            return Duration::ZERO;
        }
        let now = self.shared.clock.elapsed();
        self.wake.map_or(IDLE, |at| at.saturating_sub(now)).min(IDLE)
    }

    fn tick(&mut self) {
        self.again = false;
        self.wake = None;
        match (self.muted, self.shared.cluster.may_send()) {
            (true, true) => {
                self.muted = false;
                self.tell(Event::Regained);
            }
            (false, false) => {
                self.muted = true;
                self.tell(Event::Unsure);
            }
            (true, false) | (false, true) => {}
        }
        if self.why.is_none() {
            let waiting = self.driver.waiting(self.now());
            if !waiting.is_empty() {
                self.why = Some(Box::pin(whys(Arc::clone(&self.shared), self.build, waiting)));
            }
        }
        self.tell(Event::Tick);
    }

    fn tell(&mut self, event: Event) {
        let muted = self.muted;
        for act in self.driver.handle(event, self.now()) {
            self.perform(act);
        }
        if self.muted && !muted {
            return self.tell(Event::Unsure);
        }
        self.visible.busy.store(self.driver.busy(), Ordering::Relaxed);
        self.note_adopted();
    }

    fn perform(&mut self, act: Do) {
        match act {
            Do::Write(progress) => {
                self.allots = progress.effects.iter().any(allots);
                self.log = progress.chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum();
                let store = Arc::clone(&self.shared.store);
                self.write =
                    Some(Box::pin(async move { store.write(Write::Progress(Box::new(progress))).await }));
            }
            Do::Attach(node) => {
                let facts = self.driver.facts();
                self.shared.links.attach(facts.build, facts.fence, &node, &self.agents);
            }
            Do::Send(node, message) => {
                if self.shared.cluster.may_send() {
                    self.shared.links.send(&node, message);
                } else {
                    self.muted = true;
                }
            }
            Do::Object(object) => {
                let _ended = self.objects.send(object);
            }
            Do::FindJobs { step, jobs } => {
                let (shared, build) = (Arc::clone(&self.shared), self.build);
                self.jobs.push(Box::pin(async move {
                    let found = patiently(|| downstream::find(&shared, build, &jobs)).await;
                    (step, found.unwrap_or_else(|error| downstream::unknown(&jobs, &error)))
                }));
            }
            Do::Again => self.again = true,
            Do::WakeAt(at) => self.wake = Some(self.wake.map_or(at, |wake| wake.min(at))),
            Do::Stop(stop) => self.stop = Some(stop),
        }
    }

    fn written(&mut self, answer: Result<Answer, store::Error>) {
        match answer {
            Ok(_) => {
                if let Some(lost) = self.resumed.take_if(|_| self.lost.is_none()) {
                    let took = self.shared.clock.elapsed().saturating_sub(lost.since);
                    self.shared.metrics.resumption.observe(took.as_secs_f64());
                    self.shared.note_failover(lost.from, None, Some(self.shared.clock.now()));
                }
                self.shared.metrics.writes.inc();
                self.shared.metrics.log_stored.inc_by(std::mem::take(&mut self.log));
                if std::mem::take(&mut self.allots) {
                    self.shared.hints.queue();
                }
                self.driver.among(self.shared.driving());
                self.tell(Event::Committed);
                for (kind, begun) in self.driver.take_begun() {
                    self.shared.metrics.steps.inc_by(kind, begun);
                }
                self.visible.committed.store(self.driver.committed_writes(), Ordering::Relaxed);
            }
            Err(error) => self.tell(Event::Refused(error)),
        }
    }

    fn look(&mut self) {
        if self.inbox.is_some() {
            self.look_again = true;
            return;
        }
        let (store, build) = (Arc::clone(&self.shared.store), self.build);
        self.inbox = Some(Box::pin(async move { store.inbox(build).await }));
    }

    fn inbox_read(&mut self, rows: Result<Vec<InboxRow>, store::Error>) {
        match rows {
            Ok(rows) if rows.is_empty() => {}
            Ok(rows) => self.tell(Event::Inbox(rows)),
            Err(error) => tracing::debug!(%error, build = %self.build, "read the inbox"),
        }
        if std::mem::take(&mut self.look_again) {
            self.look();
        }
    }

    fn agent(&mut self, event: AgentEvent) {
        if let AgentEvent::Report { report: FromAgent { report: Report::Output { bytes, .. }, .. }, .. } =
            &event
        {
            self.shared.metrics.log_received.inc_by(bytes.len() as u64);
        }
        self.tell(match event {
            AgentEvent::Up { node, instance } => Event::LinkUp { node, instance },
            AgentEvent::Down { node } => Event::LinkDown { node },
            AgentEvent::Report { node, report, weight: _ } => Event::Report { node, report },
        });
    }

    fn note_adopted(&mut self) {
        if let Some(lost) = self.lost.take_if(|_| self.driver.claimed_all()) {
            let at: Millis = self.shared.clock.now();
            let took = self.shared.clock.elapsed().saturating_sub(lost.since);
            self.shared.metrics.adoption.observe(took.as_secs_f64());
            self.shared.note_failover(lost.from, Some(at), None);
        }
    }
}

/// Why `node` steps of a build wait, of those that still do.
async fn whys(shared: Arc<Shared>, build: BuildId, steps: Vec<StepId>) -> Vec<(StepId, String)> {
    let Ok(seen) = crate::schedule::seen(&shared, build).await else { return Vec::new() };
    let of = |w: &store::Wait| steps.iter().find(|s| s.0 == w.step).cloned();
    seen.waits
        .iter()
        .filter_map(|w| Some((of(w)?, crate::allocate::why(w.label.as_deref(), &seen))))
        .collect()
}

fn allots(effect: &Effect) -> bool {
    match effect {
        Effect::WaitNode { .. }
        | Effect::ReleaseExecutor { .. }
        | Effect::Enqueue(_)
        | Effect::Finish { .. } => true,
        Effect::Source { .. }
        | Effect::CancelWait { .. }
        | Effect::Consume { .. }
        | Effect::DisplayName { .. }
        | Effect::Description { .. }
        | Effect::Result { .. }
        | Effect::Artifact { .. }
        | Effect::Stash { .. } => false,
    }
}

/// Waits for what is pending; for ever when nothing is.
async fn pending<T>(slot: &mut Pending<T>) -> T {
    match slot {
        Some(future) => {
            let value = future.await;
            *slot = None;
            value
        }
        None => std::future::pending().await,
    }
}

/// Moves content between agents and the object store, one thing after the other.
async fn move_objects(
    shared: Arc<Shared>,
    build: BuildId,
    mut asked: mpsc::UnboundedReceiver<ObjectDo>,
    answers: mpsc::UnboundedSender<ObjectEvent>,
) {
    let mut uploads: HashMap<u64, (Box<dyn Upload>, u64)> = HashMap::new();
    while let Some(act) = asked.recv().await {
        if let Some(event) = move_object(&shared, build, act, &mut uploads).await {
            let _ended = answers.send(event);
        }
    }
    std::future::pending().await
}

async fn move_object(
    shared: &Shared,
    build: BuildId,
    act: ObjectDo,
    uploads: &mut HashMap<u64, (Box<dyn Upload>, u64)>,
) -> Option<ObjectEvent> {
    let objects = &shared.objects;
    // A store that is away fails no step: what can be asked again is, and content on its way is sent anew.
    let failed = |op, error: store::Error| match error.passing() {
        true => Some(ObjectEvent::Interrupted { op }),
        false => Some(ObjectEvent::Failed { op, why: error.to_string() }),
    };
    match act {
        ObjectDo::Begin { op, key } => match patiently(|| objects.upload(&key)).await {
            Ok(upload) => {
                uploads.insert(op, (upload, 0));
                None
            }
            Err(error) => failed(op, error),
        },
        ObjectDo::Write { op, bytes } => {
            let (upload, size) = uploads.get_mut(&op)?;
            *size += bytes.len() as u64;
            let upto = *size;
            match upload.write(bytes).await {
                Ok(()) => Some(ObjectEvent::Written { op, upto }),
                Err(error) => {
                    uploads.remove(&op);
                    failed(op, error)
                }
            }
        }
        ObjectDo::Finish { op } => {
            let (upload, _) = uploads.remove(&op)?;
            match upload.finish().await {
                Ok(()) => Some(ObjectEvent::Finished { op }),
                Err(error) => failed(op, error),
            }
        }
        ObjectDo::Abort { op } => {
            uploads.remove(&op);
            None
        }
        ObjectDo::Put { op, key, bytes } => match patiently(|| objects.put(&key, bytes.clone())).await {
            Ok(()) => Some(ObjectEvent::Finished { op }),
            Err(error) => failed(op, error),
        },
        ObjectDo::FindStash { op, name } => match patiently(|| shared.store.stash(build, &name)).await {
            Ok(stash) => Some(ObjectEvent::Stash { op, object: stash.map(|s| s.object) }),
            Err(error) => failed(op, error),
        },
        ObjectDo::Read { op, key, from } => match patiently(|| objects.get(&key, from, PIECE)).await {
            Ok(Some(bytes)) => Some(ObjectEvent::Piece { op, from, bytes }),
            Ok(None) => Some(ObjectEvent::Failed { op, why: format!("the object {key} is gone") }),
            Err(error) => failed(op, error),
        },
    }
}

/// Asks again while the store is away.
async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, store::Error>
where
    F: Future<Output = Result<T, store::Error>>,
{
    loop {
        match ask().await {
            Err(error) if error.passing() => tokio::time::sleep(AWAY).await,
            answer => return answer,
        }
    }
}
