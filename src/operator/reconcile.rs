//! One reconcile: fetch → decide → perform → tell. It never asks why it was called.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use model::{RolloutPhase, RolloutReport};
use parking_lot::Mutex;
use resource::{HAController, Spec, Status};
use rollout::Phase;

use crate::ask;
use crate::cache::{Caches, Guarded};
use crate::context::Context;
use crate::decide::{Decision, Outcome, decide};
use crate::error::{Class, Error, wait};
use crate::fetch::{fetch, owner, watched};
use crate::kept::Kept;
use crate::kinds::Kind;
use crate::kubernetes::Kubernetes;
use crate::names::{FINALIZER, Owner};
use crate::perform::{Live, perform};
use crate::remove::remove;
use crate::roll::Deed;
use crate::secrets;
use crate::seen::Seen;
use crate::status::news::{Look, News, news, publish, refused, removed, unreadable};
use crate::status::{differs, status};
use crate::world::World;

/// How soon a controller is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// A replica is at work in a rollout.
    Busy,
    /// Replicas come and go by themselves.
    Soon,
    /// Something is missing that somebody must mend.
    Wrong,
    /// Replicas are asked what they say, and whatever no watch has told is found.
    Rest,
}

impl Pace {
    fn action(self) -> Action {
        Action::requeue(Duration::from_secs(match self {
            Pace::Busy => 1,
            Pace::Soon => 3,
            Pace::Wrong | Pace::Rest => 10,
        }))
    }
}

/// What can't be read, until somebody writes it or removes it.
const UNREADABLE: Duration = Duration::from_secs(300);
/// A reconcile that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(60);
/// Somebody who always writes meanwhile undoes what is written here.
const DISPUTED: u32 = 5;
/// Counters are written so often at most.
const COUNTERS: Duration = Duration::from_secs(10);

/// Brings one controller a step nearer to what it is to be.
pub(crate) async fn reconcile(
    guarded: Arc<Guarded>,
    context: Arc<Context>,
    caches: Caches,
) -> Result<Action, Error> {
    for caches in &context.caches {
        // whoever is not known yet would seem to have no host
        caches.whole().await;
    }
    let began = Instant::now();
    let step = async {
        match &guarded.0 {
            Ok(controller) => one(controller, &context, &caches).await,
            Err(invalid) => cannot_read(&guarded, invalid, &context, &caches).await,
        }
    };
    let done = tokio::time::timeout(LONGEST, step).await.unwrap_or(Err(Error::Late(LONGEST)));
    context.metrics.reconciled(began.elapsed(), done.as_ref().err());
    if let Ok(owner) = owner(&*guarded) {
        match &done {
            Ok(_) => context.succeeded(&owner),
            Err(error) if error.class() == Class::Refused => {
                let news = refused(&Chain(error).to_string());
                tell_once(&guarded, &owner, news, &context).await;
            }
            Err(_) => {}
        }
    }
    done
}

/// All stays as it is, unless it is being removed: how replicas end is the same whatever the spec says.
async fn cannot_read(
    guarded: &Guarded,
    invalid: &InvalidObject,
    context: &Context,
    caches: &Caches,
) -> Result<Action, Error> {
    let owner = owner(guarded)?;
    if invalid.metadata.deletion_timestamp.is_none() {
        tracing::warn!(name = owner.name, error = %invalid.error, "a controller can't be read");
        tell_once(guarded, &owner, unreadable(&invalid.error), context).await;
        return Ok(Action::requeue(UNREADABLE));
    }
    let mut bare = HAController::new(&owner.name, Spec::default());
    bare.metadata = invalid.metadata.clone();
    let seen = watched(context.apis, caches, &bare)?;
    let done = end(&world(context, &seen), &seen, context, held(&bare)).await?;
    Ok(done.unwrap_or_else(|| Pace::Busy.action()))
}

/// What no status can say, as it was not got so far. Again when it was something else meanwhile.
async fn tell_once(guarded: &Guarded, owner: &Owner, news: News, context: &Context) {
    let told = context.with(owner, |memory| memory.warned.replace(news.note.clone()));
    if told.as_ref() != Some(&news.note) {
        let of = guarded.object_ref(&());
        publish(&context.client, &context.reporter, &of, &[news]).await;
    }
}

async fn one(controller: &HAController, context: &Context, caches: &Caches) -> Result<Action, Error> {
    context.metrics.knows(context.caches.iter().map(Caches::len).sum());
    // only whoever ends this one well says that it rests again
    let owner = owner(controller)?;
    let rests = context.with(&owner, |memory| std::mem::take(&mut memory.rests));
    let mut seen = fetch(context, caches, controller, rests).await?;
    let held = held(controller);
    if controller.metadata.deletion_timestamp.is_some() {
        let world = world(context, &seen);
        if let Some(done) = end(&world, &seen, context, held).await? {
            return Ok(done);
        }
        let outcome = Outcome { faults: Vec::new(), rolled: None, wanted: None };
        tell(&world, &seen, &outcome, context).await?;
        return Ok(Pace::Busy.action());
    }
    if context.unheard(&seen) {
        return Ok(Pace::Busy.action());
    }
    if !held {
        world(context, &seen).hold(&seen.owner, true).await?;
    }
    let fresh = secrets::fresh()?;
    let mut decision = decide(&seen, &context.images, &fresh);
    if rests && pace(&seen, &decision) != Pace::Rest {
        // nothing is begun by what was read a while ago
        seen = fetch(context, caches, controller, false).await?;
        decision = decide(&seen, &context.images, &fresh);
    }
    let world = world(context, &seen);
    let live = Known { caches, owner: &seen.owner };
    let refused = perform(&world, &seen, &decision, &live, &context.applied).await?;
    // whoever may not let us remove a pod is not asked each second; that it goes, its watch tells
    let held_up = matches!(decision.deed, Deed::Replace(_)) && !refused.is_empty();
    decision.outcome.faults.extend(refused);
    tell(&world, &seen, &decision.outcome, context).await?;
    report(&seen, &decision.outcome, context).await;
    let pace = if held_up { Pace::Wrong } else { pace(&seen, &decision) };
    context.with(&seen.owner, |memory| memory.rests = pace == Pace::Rest);
    Ok(pace.action())
}

fn world<'a>(context: &'a Context, seen: &Seen) -> Kubernetes<'a> {
    Kubernetes {
        client: &context.client,
        replicas: &context.replicas,
        metrics: &context.metrics,
        addresses: ask::addresses(seen),
        removed: Mutex::default(),
    }
}

fn held(controller: &HAController) -> bool {
    controller.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// A failed reconcile is tried again, less and less often, and never given up.
pub(crate) fn failed(guarded: Arc<Guarded>, error: &Error, context: Arc<Context>) -> Action {
    let attempt = owner(&*guarded).map_or(1, |owner| {
        context.with(&owner, |memory| {
            memory.failed = memory.failed.saturating_add(1);
            memory.failed
        })
    });
    let class = error.class();
    let after = wait(class, attempt, secrets::chance());
    let (name, error) = (guarded.name_any(), Chain(error));
    if class == Class::Conflict && attempt < DISPUTED {
        // the StatefulSet's own controller writes it, too
        tracing::debug!(name, %error, attempt, "reconcile");
    } else {
        tracing::warn!(name, %error, attempt, "reconcile");
    }
    Action::requeue(after)
}

/// An error with its causes in one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(next) = cause {
            write!(f, ": {next}")?;
            cause = next.source();
        }
        Ok(())
    }
}

/// It is being removed; `None`: something of it is still there.
async fn end(
    world: &Kubernetes<'_>,
    seen: &Seen,
    context: &Context,
    held: bool,
) -> Result<Option<Action>, Error> {
    if !held {
        context.forget(&seen.owner.key());
        return Ok(Some(Action::await_change()));
    }
    if !remove(world, seen).await? {
        return Ok(None);
    }
    world.hold(&seen.owner, false).await?;
    context.forget(&seen.owner.key());
    // whatever has kept it from going
    Ok(Some(Pace::Wrong.action()))
}

/// When to look again although no watch tells of a change: what replicas say is only heard when they are asked.
fn pace(seen: &Seen, decision: &Decision) -> Pace {
    let Outcome { faults, rolled, wanted } = &decision.outcome;
    let Some(rolled) = rolled else { return unfit(wanted.is_some(), !faults.is_empty()) };
    let ready = seen.pods.iter().filter(|pod| crate::pods::ready(pod)).count();
    let wanted = seen.controller.spec.replicas as usize + usize::from(rolled.note.surge);
    let changes = ready != rolled.replicas || seen.pods.len() != rolled.replicas || rolled.replicas != wanted;
    let rolls = matches!(rolled.phase, Phase::Rolling | Phase::GoingBack);
    Unrest {
        at_work: rolled.note.turn.is_some(),
        moves: changes || rolls,
        heard: !ask::addresses(seen).is_empty(),
        faults: !faults.is_empty(),
    }
    .pace()
}

/// Nothing can be rolled out: the keys were made just now, or something is missing.
fn unfit(wanted: bool, faults: bool) -> Pace {
    if wanted || faults { Pace::Wrong } else { Pace::Busy }
}

/// What keeps a controller from its rest.
#[derive(Debug, Clone, Copy)]
struct Unrest {
    /// A replica is being replaced.
    at_work: bool,
    /// Replicas come, go or are to be replaced.
    moves: bool,
    /// Some of them can be asked.
    heard: bool,
    faults: bool,
}

impl Unrest {
    fn pace(self) -> Pace {
        match self {
            Unrest { at_work: true, .. } => Pace::Busy,
            Unrest { moves: true, heard: true, .. } => Pace::Soon,
            Unrest { moves: true, .. } | Unrest { faults: true, .. } => Pace::Wrong,
            _ => Pace::Rest,
        }
    }
}

/// Writes the status if it says something new, and an Event for each thing that is news to people.
async fn tell(
    world: &Kubernetes<'_>,
    seen: &Seen,
    outcome: &Outcome,
    context: &Context,
) -> Result<(), Error> {
    let uid = &seen.owner.uid;
    let last = context.with(&seen.owner, |memory| memory.told.clone()).filter(|(of, ..)| of == uid);
    let lately = last.as_ref().is_some_and(|(.., at)| at.elapsed() < COUNTERS);
    let before =
        last.map(|(_, status, _)| status).or_else(|| seen.controller.status.clone()).unwrap_or_default();
    let after = status(seen, outcome, &before);
    context.metrics.told(&seen.owner, &after);
    if worth_a_write(&before, &after, lately) {
        world.tell(&seen.owner, &after).await?;
        context.with(&seen.owner, |memory| memory.told = Some((uid.clone(), after.clone(), Instant::now())));
    }
    let looked = context.with(&seen.owner, |memory| {
        memory.warned = None;
        memory.looked.replace(seen.now)
    });
    let mut news = news(&before, &after, &Look::new(seen, looked));
    news.extend(world.removed.lock().drain(..).filter_map(|doomed| removed(&doomed)));
    let of = seen.controller.object_ref(&());
    publish(&context.client, &context.reporter, &of, &news).await;
    Ok(())
}

/// What only counts is written now and then.
fn worth_a_write(before: &Status, after: &Status, lately: bool) -> bool {
    before != after && (differs(before, after) || !lately)
}

/// Tells replicas how the rollout stands, when that is new: pages show it, and a level is raised after it.
async fn report(seen: &Seen, outcome: &Outcome, context: &Context) {
    let (Some(rolled), Some(wanted)) = (&outcome.rolled, &outcome.wanted) else { return };
    let phase = match rolled.phase {
        Phase::Settled => RolloutPhase::Settled,
        Phase::Waiting => RolloutPhase::Waiting,
        Phase::Rolling => RolloutPhase::Rolling,
        Phase::GoingBack => RolloutPhase::GoingBack,
        Phase::Halted => RolloutPhase::Halted,
    };
    let rollout = seen.controller.spec.rollout.clone().unwrap_or_default();
    let report = RolloutReport {
        phase,
        revision: rolled.note.wanted.0.clone(),
        reason: wanted.message.clone().unwrap_or_else(|| wanted.reason.as_str().to_owned()),
        restart: rolled.note.heard.unwrap_or_default(),
        failed: rolled.note.failed.clone(),
        message: crate::status::message(seen, rolled).unwrap_or_default(),
        bake: rollout.bake.map(|bake| bake.0),
    };
    let Ok(text) = serde_json::to_string(&report) else { return };
    if context.with(&seen.owner, |memory| memory.reported.as_ref() == Some(&text)) {
        return;
    }
    // whoever did not answer just now would only be waited for again
    let answers = |pod: &String| seen.told.keys().any(|ordinal| seen.owner.pod(*ordinal) == *pod);
    for (_, address) in ask::addresses(seen).into_iter().filter(|(pod, _)| answers(pod)) {
        if context.replicas.report(&seen.owner, &address, &text).await {
            context.with(&seen.owner, |memory| memory.reported = Some(text));
            return;
        }
    }
}

/// What the watches know of the objects of a controller.
struct Known<'a> {
    caches: &'a Caches,
    owner: &'a Owner,
}

impl Live for Known<'_> {
    fn get(&self, kind: Kind, name: &str) -> Option<Arc<Kept>> {
        self.caches.get(kind, self.owner, name)
    }

    fn all(&self) -> Vec<(Kind, Arc<Kept>)> {
        let of = |kind| self.caches.of(kind, self.owner);
        let pruned = Kind::ALL.into_iter().filter(|kind| kind.pruned());
        pruned.flat_map(|kind| of(kind).into_iter().map(move |object| (kind, object))).collect()
    }
}

#[cfg(test)]
mod tests;
